"""Any function of Python behind the protocol: `answer(records, questions) -> answers`.

In: a callable, or its name as `file.py:function` or `module:function`. Out: a `Model`. Decided here: the function gets
signal, rate and leads of an ECG and nothing that could tell whose it is; how what it gives is read is decided in
`given_answers`.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors_ecgllm import ECGError, shorten
from ...signals import ECGRecord
from ..protocol import Answer, Asked, ShownECG
from .given_answers import answer_of
from .rewritten_ecgs import anonymous
from .told_apart import identity_of

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class FunctionModel:
    """A function that answers questions.

    Args:
        function: takes `records`, for each question the list of its `ECGRecord`s (empty where none is shown), and
            `questions`, as many texts; and, if it has arguments of these names, `candidates` (for each question the
            answers to choose from, or None), `findings` (for each the finding that it is about, or None) and
            `prompts` (for each the words around its ECGs, or None; see `Asked`). It gives as many answers: texts,
            numbers (P(yes)), mappings of answers to probabilities, or None for no answer.
        name: whose answers these are. batch_size: questions a call.
    """

    def __init__(self, function: Callable[..., Any], name: str | None = None, batch_size: int = 64):
        if not callable(function):
            raise ECGError(f"found a {type(function).__name__}; expected a function answer(records, questions)")
        if batch_size < 1:
            raise ECGError(f"batch_size is {batch_size}; expected at least 1")
        self.function, self.batch_size = function, batch_size
        self.name = name or getattr(function, "__name__", type(function).__name__)
        found = inspect.getsourcefile(inspect.unwrap(function)) if inspect.isfunction(function) else None
        self._file = Path(found) if found is not None and Path(found).is_file() else None
        self._takes = [
            each for each in ("candidates", "findings", "prompts") if each in inspect.signature(function).parameters
        ]

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """What the function gives. Raises: ECGError for what is no answer, and from what the function raises."""
        answers = []
        for start in range(0, len(asked), self.batch_size):
            batch = asked[start : start + self.batch_size]
            shown = {one: anonymous(ecgs[one]) for question in batch for one in question.ecgs}
            more = {"candidates": [question.candidates for question in batch]}
            more["findings"] = [question.finding for question in batch]
            more["prompts"] = [question.prompt for question in batch]
            records = [[shown[one] for one in question.ecgs] for question in batch]
            questions = [question.question for question in batch]
            with _code_of_others(self.name, self._file):
                given = self.function(records, questions, **{name: more[name] for name in self._takes})
            answers += self._read(given, batch, start)
        return answers

    @property
    def identity(self) -> str:
        """Tells its answers from those of the same function once its file has changed; not from others that a file
        beside it has a part in."""
        there = [] if self._file is None else [self._file]
        return identity_of([self.name, type(self.function).__qualname__], there)

    def _read(self, given: Any, batch: Sequence[Asked], start: int) -> list[Answer]:
        if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
            raise ECGError(
                f"{self.name} gave a {type(given).__name__}, {shorten(repr(given))}; expected a list of "
                f"{len(batch)} answers, one for each question"
            )
        given = list(given)
        if len(given) != len(batch):
            raise ECGError(f"{self.name} gave {len(given)} answers to {len(batch)} questions; expected as many")
        return [
            answer_of(value, question, f"{self.name}, question {number} ({shorten(question.question, 60)!r})")
            for number, (value, question) in enumerate(zip(given, batch, strict=True), start=start + 1)
        ]


def load_function(spec: str, batch_size: int = 64) -> FunctionModel:
    """The function that `file.py:function` or `module:function` names; the file or module is run.

    Raises: ECGError where there is none, and from what the module raises.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name.isidentifier():
        raise ECGError(f"{spec!r} names no function; expected file.py:function or module:function")
    module = _from_file(Path(place)) if place.endswith(".py") else _by_name(place, spec)
    if not hasattr(module, name):
        functions = [each for each, value in vars(module).items() if inspect.isfunction(value) and each[0] != "_"]
        raise ECGError(f"{place} has no {name!r}; it has {', '.join(functions) or 'no function'}")
    return FunctionModel(getattr(module, name), name=spec, batch_size=batch_size)


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise ECGError(f"{path} is no file; expected the file that holds the function")
    name = f"_ecgllm_model_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # data classes and pickle look it up
    sys.path.insert(0, str(path.resolve().parent))  # its neighbours, as when it is run
    try:
        with _code_of_others(str(path), path):
            spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _by_name(place: str, spec: str) -> ModuleType:
    if not _NAME.fullmatch(place):
        raise ECGError(f"{spec!r} names no function; expected file.py:function or module:function")
    sys.path.insert(0, str(Path.cwd()))  # as `python -m` finds it
    try:
        with _code_of_others(place, None):
            return importlib.import_module(place)
    except ECGError as error:
        missing = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if missing is None or not place.startswith(missing):
            raise
        raise ECGError(f"no module {place!r} is installed, or lies in {Path.cwd()}") from error
    finally:
        sys.path.pop(0)


@contextmanager
def _code_of_others(name: str, file: Path | None) -> Iterator[None]:
    """What the code of somebody else raises is said in a sentence, with the last line of its own file that ran."""
    try:
        yield
    except (ECGError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if file is not None and Path(frame.filename).resolve() == file.resolve()
        ]
        place = f" (line {lines[-1]})" if lines else ""
        raise ECGError(f"{name} raised {type(error).__name__}: {error}{place}") from error
