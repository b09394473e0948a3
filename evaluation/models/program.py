"""A program behind the protocol: JSON lines on its standard input, JSON lines on its standard output.

In: a command. Out: a `Model`. A line that it reads is a question: `id`, `question`, `candidates` (answers to choose
from, or null), `finding` (that it is about, or null), `prompt` (words around several ECGs, or null) and `ecgs`, each
as `rewritten_ecgs.as_samples` gives it, as the text of a table ({"csv": ...}), or as a file of that table ({"path":
...}). A line that it writes is an answer: the `id`, and `answer`, or `p_yes`, or `scores` (answer -> probability), or
`refused` (why it does not answer). Decided here: unless it is to be kept, it is started anew for each call of `answer`
and its input ends with the last question, so that a program may read all before it answers; whatever it does wrong
ends the evaluation with what it wrote on standard error.
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
import weakref
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
            above. keep: start it once, for one that takes long to load; it has to answer while its input is open, and
            to flush what it writes. timeout_s: how long it may write nothing. name: whose answers these are.
    """

    def __init__(
        self,
        command: str | Sequence[str],
        ecgs_as: str = "samples",
        keep: bool = False,
        timeout_s: float = 600.0,
        name: str | None = None,
    ):
        try:
            self.command = shlex.split(command) if isinstance(command, str) else list(command)
        except ValueError as error:
            raise ECGError(f"the command {command} cannot be split as a shell does: {error}") from error
        if not self.command:
            raise ECGError("the command of the program is empty; expected one such as 'python my_model.py'")
        if ecgs_as not in FORMS:
            raise ECGError(f"ecgs_as is {ecgs_as!r}; expected {', '.join(FORMS)}")
        if not timeout_s > 0:
            raise ECGError(f"timeout_s is {timeout_s}; expected seconds, more than 0")
        self.ecgs_as, self.keep, self.timeout_s = ecgs_as, keep, timeout_s
        self.name = name or shlex.join(self.command)
        self._running: _Running | None = None

    @property
    def identity(self) -> str:
        """Tells its answers from those of the same command once a file that it names has changed."""
        return identity_of([self.command, self.ecgs_as], [Path(each) for each in self.command if Path(each).is_file()])

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """What the program writes. Raises: ECGError where it dies, is silent, or writes no or other than answers."""
        if not asked:
            return []
        running, self._running = self._running or _Running(self.command), None
        try:
            with tempfile.TemporaryDirectory(prefix="ecgllm-") as folder:
                answers = self._ask(running, asked, self._lines(running.asked, asked, ecgs, Path(folder)))
            if self.keep:
                self._running = running
            return answers
        except _Failed as failed:
            said = running.said()
            wrote = f"On standard error it wrote:\n{said}" if said else "It wrote no error."
            raise ECGError(f"the program `{shlex.join(self.command)}` {failed}. {wrote}") from None
        finally:
            if self._running is None:
                running.end()

    def _lines(
        self, first: int, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord], folder: Path
    ) -> Iterator[bytes]:
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

        for number, question in enumerate(asked, start=first):
            line = {
                "id": number,
                "question": question.question,
                "candidates": None if question.candidates is None else list(question.candidates),
                "finding": question.finding,
                "prompt": question.prompt,
                "ecgs": [shown(one) for one in question.ecgs],
            }
            yield json.dumps(line).encode() + b"\n"

    def _ask(self, running: _Running, asked: Sequence[Asked], lines: Iterator[bytes]) -> list[Answer]:
        feeding = _Feeding(running.process.stdin, lines, end=not self.keep)
        answers = self._read(running, asked)
        feeding.join(_ENDED_S)
        if feeding.failed is not None:  # an ECG that cannot be shown
            raise feeding.failed
        missing = [number for number, answer in enumerate(answers, start=running.asked) if answer is None]
        if self.keep and not missing:
            running.asked += len(asked)
            return answers
        code = running.exit_code()
        died = "" if code == 0 else f" and ended with exit code {code}"
        if missing:
            raise _Failed(
                f"answered {len(asked) - len(missing)} of {len(asked)} questions{died}; expected a line for each, "
                f"the first without one is id {missing[0]}"
            )
        if died:
            raise _Failed(f"answered all questions{died}; expected 0")
        return answers

    def _read(self, running: _Running, asked: Sequence[Asked]) -> list[Answer | None]:
        """The answers until the program ends, or has answered all where it is kept."""
        answers: list[Answer | None] = [None] * len(asked)
        left = len(asked)
        while (left or not self.keep) and (line := running.line(self.timeout_s)) is not None:
            if not line.strip():
                continue
            place, ids = running.written, range(running.asked, running.asked + len(asked))
            number, given = _parsed(line, place, ids)
            row = number - ids.start
            if answers[row] is not None:
                raise _Failed(f"answered id {number} twice, the second time in line {place}")
            try:
                answers[row] = _answer(given, asked[row], f"line {place}, id {number}")
            except ECGError as error:
                raise _Failed(f"wrote no answer: {error}") from None
            left -= 1
        return answers


class _Running:
    """A program that runs. asked: how many questions it has answered; written: how many lines it wrote."""

    def __init__(self, command: Sequence[str]):
        self.asked = self.written = 0
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as this is
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True
            )
        except OSError as error:
            raise ECGError(f"the program `{shlex.join(command)}` cannot be started: {error}") from error
        self.end = weakref.finalize(self, _kill, self.process)  # at the latest with this process
        self._lines: queue.Queue[bytes | None] = queue.Queue()
        threading.Thread(target=_pass_on, args=(self.process.stdout, self._lines), daemon=True).start()

    def line(self, timeout_s: float) -> str | None:
        """The next line; None at its end. Raises: _Failed where none comes in time."""
        try:
            line = self._lines.get(timeout=timeout_s)
        except queue.Empty:
            raise _Failed(
                f"wrote nothing for {timeout_s:g} s (does it flush what it writes?); it was ended. Give it more time "
                "with timeout_s"
            ) from None
        self.written += 1
        return None if line is None else line.decode(errors="replace")

    def exit_code(self) -> int:
        try:
            return self.process.wait(_ENDED_S)
        except subprocess.TimeoutExpired:
            raise _Failed(f"closed its output and did not end in {_ENDED_S:g} s; it was ended") from None

    def said(self) -> str:
        """The end of what it wrote on standard error."""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace").strip()[-_SHOWN:]


class _Failed(Exception):
    """What a program did wrong, behind its name."""


def _parsed(line: str, place: int, ids: range) -> tuple[int, dict[str, Any]]:
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
    if isinstance(number, bool) or not isinstance(number, int) or number not in ids:
        raise _Failed(f"wrote the id {number!r} in line {place}; expected that of a question, {ids[0]} to {ids[-1]}")
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
    """Writes lines to a program, which may write at the same time. end: whether its input ends with the last."""

    def __init__(self, pipe: IO[bytes], lines: Iterator[bytes], end: bool):
        super().__init__(daemon=True)
        self._pipe, self._lines, self._end = pipe, lines, end
        self.failed: Exception | None = None
        self.start()

    def run(self) -> None:
        try:
            for line in self._lines:
                self._pipe.write(line)
                self._pipe.flush()
            if self._end:
                self._pipe.close()
        except OSError:  # it reads no more; what it answered, or its exit code, says why
            return
        except Exception as error:  # raised again where the program is waited for, which ends now
            self.failed = error
            self._pipe.close()


def _pass_on(pipe: IO[bytes], lines: queue.Queue[bytes | None]) -> None:
    for line in pipe:
        lines.put(line)
    lines.put(None)


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
