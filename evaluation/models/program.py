"""A program behind the protocol: JSON lines on its standard input, JSON lines on its standard output.

In: a command. Out: a `Model`. A line that it reads is a question: `id`, `question`, `candidates` (answers to choose
from, or null), `finding` (that it is about, or null) and `ecgs`, each as `rewritten_ecgs.as_samples` gives it, as the
text of a table ({"csv": ...}), or as a file of that table ({"path": ...}). A line that it writes is an answer: the
`id`, and `answer`, or `p_yes`, or `scores` (answer -> probability), or `refused` (why it does not answer). Decided
here: it is started anew for each call of `answer` and its input ends with the last question, so that a program may
read all before it answers; whatever it does wrong ends the evaluation with what it wrote on standard error.
"""

from __future__ import annotations

import json
import os
import queue
import shlex
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ...errors_ecgllm import ECGError, shorten
from ...signals import ECGRecord
from ..protocol import Answer, Asked, ShownECG
from .given_answers import SILENT, answer_of, probability
from .rewritten_ecgs import as_csv, as_samples
from .told_apart import identity_of

FORMS = ("samples", "csv", "path")
_GIVES = ("answer", "p_yes", "scores", "probability", "refused")
_ENDED_S = 10.0  # a program that has answered all has so long to end
_SHOWN = 2000  # letters of its standard error


class ProgramModel:
    """A program that answers questions.

    Args:
        command: as a shell would split it, or its parts; no shell runs it. ecgs_as: "samples", "csv" or "path", see
            above. timeout_s: how long it may write nothing. name: whose answers these are.
    """

    def __init__(
        self, command: str | Sequence[str], ecgs_as: str = "samples", timeout_s: float = 600.0, name: str | None = None
    ):
        self.command = shlex.split(command) if isinstance(command, str) else list(command)
        if not self.command:
            raise ECGError("the command of the program is empty; expected one such as 'python my_model.py'")
        if ecgs_as not in FORMS:
            raise ECGError(f"ecgs_as is {ecgs_as!r}; expected {', '.join(FORMS)}")
        self.ecgs_as, self.timeout_s = ecgs_as, timeout_s
        self.name = name or shlex.join(self.command)

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """What the program writes. Raises: ECGError where it dies, is silent, or writes no or other than answers."""
        if not asked:
            return []
        with tempfile.TemporaryDirectory(prefix="ecgllm-") as folder, tempfile.TemporaryFile() as errors:
            lines = self._lines(asked, ecgs, Path(folder))
            try:
                return self._run(asked, lines, errors)
            except _Failed as failed:
                errors.seek(0)
                said = errors.read().decode(errors="replace").strip()
                wrote = f"On standard error it wrote:\n{said[-_SHOWN:]}" if said else "It wrote no error."
                raise ECGError(f"the program `{shlex.join(self.command)}` {failed}. {wrote}") from None

    @property
    def identity(self) -> str:
        """Tells its answers from those of the same command once a file that it names has changed."""
        return identity_of([self.command, self.ecgs_as], [Path(each) for each in self.command if Path(each).is_file()])

    def _lines(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord], folder: Path) -> Iterator[bytes]:
        files: dict[ShownECG, str] = {}

        def shown(one: ShownECG) -> dict[str, Any]:
            if self.ecgs_as == "samples":
                return as_samples(ecgs[one])
            if self.ecgs_as == "csv":
                return {"csv": as_csv(ecgs[one]).decode()}
            if one not in files:
                path = folder / f"ecg-{len(files) + 1}.csv"
                path.write_bytes(as_csv(ecgs[one]))
                files[one] = str(path)
            return {"path": files[one]}

        for number, question in enumerate(asked):
            line = {
                "id": number,
                "question": question.question,
                "candidates": None if question.candidates is None else list(question.candidates),
                "finding": question.finding,
                "ecgs": [shown(one) for one in question.ecgs],
            }
            yield json.dumps(line).encode() + b"\n"

    def _run(self, asked: Sequence[Asked], lines: Iterator[bytes], errors: IO[bytes]) -> list[Answer]:
        try:
            process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise ECGError(f"the program `{shlex.join(self.command)}` cannot be started: {error}") from error
        try:
            feeding = _Feeding(process.stdin, lines)
            answers = self._read(asked, _written(process.stdout, self.timeout_s))
            feeding.join(_ENDED_S)
            if feeding.failed is not None:  # an ECG that cannot be shown
                raise feeding.failed
            missing = [number for number, answer in enumerate(answers) if answer is None]
            code = _exit_code(process)
            died = "" if code == 0 else f" and ended with exit code {code}"
            if missing:
                raise _Failed(
                    f"answered {len(asked) - len(missing)} of {len(asked)} questions{died}; expected a line for each, "
                    f"the first without one is id {missing[0]}"
                )
            if died:
                raise _Failed(f"answered all questions{died}; expected 0")
            return answers
        finally:
            _kill(process)

    def _read(self, asked: Sequence[Asked], lines: Iterator[str]) -> list[Answer | None]:
        answers: list[Answer | None] = [None] * len(asked)
        for place, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            number, given = _parsed(line, place, len(asked))
            if answers[number] is not None:
                raise _Failed(f"answered id {number} twice, the second time in line {place}")
            try:
                answers[number] = _answer(given, asked[number], f"line {place}, id {number}")
            except ECGError as error:
                raise _Failed(f"wrote no answer: {error}") from None
        return answers


class _Failed(Exception):
    """What a program did wrong, behind its name."""


def _parsed(line: str, place: int, count: int) -> tuple[int, dict[str, Any]]:
    """(id, all else) of a line."""
    try:
        given = json.loads(line)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise _Failed(
            f"wrote {shorten(line.strip())!r} as line {place}; expected a JSON object such as "
            '{"id": 0, "answer": "yes"}. What else it says belongs on standard error'
        )
    number = given.pop("id", None)
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < count:
        raise _Failed(f"wrote the id {number!r} in line {place}; expected that of a question, 0 to {count - 1}")
    if unknown := sorted(set(given) - set(_GIVES)):
        raise _Failed(f"wrote {', '.join(map(repr, unknown))} in line {place}; expected some of {', '.join(_GIVES)}")
    return number, given


def _answer(given: dict[str, Any], asked: Asked, where: str) -> Answer:
    text, refused, scores = given.get("answer"), given.get("refused"), None
    for name, value in (("answer", text), ("refused", refused)):
        if value is not None and not isinstance(value, str):
            raise ECGError(f"{where}: {name} is {shorten(repr(value))}; expected a text or null")
    for name in ("p_yes", "scores"):
        if given.get(name) is not None:
            compared = answer_of(given[name], asked, where)
            text, scores = compared.text if text is None else text, compared.scores
    sure = given.get("probability")
    sure = None if sure is None else probability(sure, "probability", where)
    return Answer(text, scores, sure, refused or (SILENT if text is None else None))


class _Feeding(threading.Thread):
    """Writes lines to a program, which may write at the same time, and ends its input."""

    def __init__(self, pipe: IO[bytes], lines: Iterator[bytes]):
        super().__init__(daemon=True)
        self._pipe, self._lines = pipe, lines
        self.failed: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            with self._pipe:
                for line in self._lines:
                    self._pipe.write(line)
                    self._pipe.flush()
        except OSError:  # it reads no more; what it answered, or its exit code, says why
            return
        except Exception as error:  # raised again where the program is waited for
            self.failed = error


def _written(pipe: IO[bytes], timeout_s: float) -> Iterator[str]:
    """The lines of a pipe until its end. Raises: _Failed where none comes in time."""
    lines: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        for line in pipe:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=timeout_s)
        except queue.Empty:
            raise _Failed(
                f"wrote nothing for {timeout_s:g} s (does it flush what it writes?); it was ended. Give it more time "
                "with timeout_s"
            ) from None
        if line is None:
            return
        yield line.decode(errors="replace")


def _exit_code(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(_ENDED_S)
    except subprocess.TimeoutExpired:
        raise _Failed(f"closed its output and did not end in {_ENDED_S:g} s; it was ended") from None


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program with all that it started."""
    if hasattr(os, "killpg"):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:  # it has ended, and left nothing behind
            return
        finally:
            process.wait()
    else:
        process.kill()
        process.wait()
