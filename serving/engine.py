"""A checkpoint that is loaded once and asked by many threads (`Engine`).

In: the files of an ECG as bytes, then questions about what was read. Out: what `asking.answer_question` gives, which
`ecgllm ask` prints. Decided here: an ECG is read, checked, measured and encoded once and kept for its next questions
(`kept_ecgs`); the model is called by one thread alone, on all that waits (`batching`); an `Asking` stands for one
request, and can be given up.

    read(files) -> ServedECG;  asking() -> Asking;  asking.answer(ecgs, question), .converse(turns), .embed(ecgs)
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from concurrent.futures import TimeoutError as NotYet  # another than the built-in one before Python 3.11
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from transformers.generation.streamers import BaseStreamer

from ..asking import answer_question, load_answerer
from ..errors_ecgllm import ECGError, shorten
from ..heart_ecgllm import NO_HEART
from ..prefix_scoring_ecgllm import AnswerScorer
from ..scoring_ecgllm import Row, encode_answers, write_answers
from ..signals import ECGReadError, ECGRecord, assess_quality, measure, read_ecg
from ..signals.summary import SHORT_BELOW_S, shown_notes
from .batching import Batcher
from .kept_ecgs import KeptECGs, digest_of

NOBODY = ""
"""The owner of what is read where there are no keys."""
_POLL_S = 0.25
_OF_WFDB = (".hea", ".dat", ".mat")
_LONGEST_NAME = 255  # bytes, of most file systems


class GivenUp(ECGError):
    """Nobody waits for the answer any more."""


class TooLate(ECGError):
    """There was no answer in time."""


@dataclass
class ServedECG:
    """One ECG that was read.

    measurements: of `signals.measure`. notes: what its reader noticed. doubts: what the check of its quality says.
    encoded: what the model sees, as `AnswerScorer.encode` gives it. size: bytes in memory. patient: a hash of who it
    is, by which two can be told apart in this process; None where the file does not say. The record itself does not.
    """

    record: ECGRecord
    measurements: Any
    notes: list[str]
    doubts: list[str]
    encoded: Mapping[str, Any]
    size: int
    patient: str | None = None


@dataclass(frozen=True)
class _Encode:
    prepared: Mapping[str, Any]


@dataclass(frozen=True)
class _Score:
    rows: Sequence[Row]
    ecgs: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Write:
    row: Row
    ecgs: Sequence[Mapping[str, Any]]
    max_new_tokens: int
    on_text: Callable[[str], None] | None = None


@dataclass(frozen=True)
class _Tokens:
    row: Row
    ecgs: Sequence[Mapping[str, Any]]
    top: int


@dataclass(frozen=True)
class _Call:
    work: Callable[[Any], Any]


class Engine:
    """Args:
        model: a checkpoint, as `load_answerer` takes it, with its further arguments in `loading`.
        most: requests that the model answers together. waiting: that may wait. keep_bytes, keep_seconds: of the ECGs
            that are kept for their next questions. max_bytes: of an ECG's files.
    Raises: CheckpointError.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        most: int = 32,
        waiting: int = 256,
        keep_bytes: int = 512 << 20,
        keep_seconds: float = 900.0,
        max_bytes: int = 64 << 20,
        **loading: Any,
    ):
        self.name, self.max_bytes = str(model), max_bytes
        self._secret = secrets.token_bytes(32)
        self.pipe = load_answerer(model, **loading)
        self.processor, self.model = self.pipe.processor, self.pipe.model
        self._scorer = AnswerScorer(self.model, self.processor)
        # Chat templates and fast tokenizers are not made for several threads.
        self.tokenizing = threading.Lock()
        self.kept: KeptECGs[ServedECG] = KeptECGs(keep_bytes, keep_seconds)
        self.batcher = Batcher(self._work, most, waiting, name="model")

    def close(self) -> None:
        """Answer what waits, and end."""
        self.batcher.close()

    def hash_of(self, text: str) -> str:
        """Another one in each process, so that nobody can look a number up."""
        return hashlib.blake2b(text.encode(), key=self._secret, digest_size=16).hexdigest()

    def asking(self, seconds: float = 60.0, owner: str = NOBODY) -> Asking:
        """One request: it has so many seconds, and sees the ECGs of its owner alone."""
        return Asking(self, seconds, owner)

    def _work(self, jobs: Sequence[Any]) -> list[Any]:
        """Of each job what it asks for, or its error: like ones together, and where that fails each alone, so that
        nobody gets the error of another's ECG."""
        found: list[Any] = [None] * len(jobs)
        alike: dict[Any, list[int]] = defaultdict(list)
        for number, job in enumerate(jobs):
            streams = isinstance(job, _Write) and job.on_text is not None
            length = job.max_new_tokens if isinstance(job, _Write) else None
            alone = number if streams or isinstance(job, _Tokens | _Call) else None
            alike[type(job), length, alone].append(number)
        for (kind, *_), numbers in alike.items():
            own = [jobs[number] for number in numbers]
            work = _WORK[kind]
            try:
                results = work(self, own)
            except Exception as error:
                results = [error] if len(own) == 1 else [self._alone(work, job) for job in own]
            for number, result in zip(numbers, results, strict=True):
                found[number] = result
        return found

    def _alone(self, work: Callable[[Engine, Sequence[Any]], Sequence[Any]], job: Any) -> Any:
        try:
            return work(self, [job])[0]
        except Exception as error:
            return error

    def _encode(self, jobs: Sequence[_Encode]) -> list[Any]:
        return list(self._scorer.encode([job.prepared for job in jobs]))

    def _score(self, jobs: Sequence[_Score]) -> list[Any]:
        return list(self._scorer.score_rows([job.rows for job in jobs], [job.ecgs for job in jobs]))

    def _write(self, jobs: Sequence[_Write]) -> list[Any]:
        settings: dict[str, Any] = {"max_new_tokens": jobs[0].max_new_tokens}
        if jobs[0].on_text is not None:
            settings["streamer"] = _Streamer(self.processor, jobs[0].on_text)
        tokens, likely = write_answers(
            self.model, self.processor, [job.row for job in jobs], [job.ecgs for job in jobs], **settings
        )
        return list(zip(tokens, likely, strict=True))

    def _call(self, jobs: Sequence[_Call]) -> list[Any]:
        return [job.work(self.pipe) for job in jobs]

    @torch.no_grad()
    def _token_scores(self, jobs: Sequence[_Tokens]) -> list[Any]:
        (job,) = jobs
        inputs = dict(self.processor.collate([job.row], [job.ecgs]).to(self.model.device))
        labels = inputs.pop("labels")[0]
        places = (labels[1:] != -100).nonzero().flatten()
        likely = self.model(**inputs).logits[0, places].float().log_softmax(dim=-1)
        own = labels[1:][places]
        scores, tokens = likely.topk(min(job.top, likely.shape[1]), dim=-1)
        return [(own.tolist(), likely.gather(1, own[:, None])[:, 0].tolist(), tokens.tolist(), scores.tolist())]


_WORK: dict[type, Callable[[Engine, Sequence[Any]], Sequence[Any]]] = {
    _Encode: Engine._encode,
    _Score: Engine._score,
    _Write: Engine._write,
    _Tokens: Engine._token_scores,
    _Call: Engine._call,
}


class Asking:
    """One request to an engine; `answer_question` takes it for a pipeline. For one thread, but for `give_up`."""

    def __init__(self, engine: Engine, seconds: float, owner: str):
        self.engine, self.owner = engine, owner
        self.processor, self.model = engine.processor, engine.model
        self.prompt_tokens = self.completion_tokens = 0
        self.cut = False
        """Whether the last written answer ended for want of room."""
        self._until = time.monotonic() + seconds
        self._gone = threading.Event()
        self._pending: Future[Any] | None = None
        self._on_text: Callable[[str], None] | None = None
        self._max_new_tokens = 64
        self._last: tuple[list[dict[str, Any]], Sequence[ServedECG]] | None = None

    def give_up(self) -> None:
        """From any thread: what waits is not begun, and the next step raises `GivenUp`."""
        self._gone.set()
        if self._pending is not None:
            self._pending.cancel()

    # What is asked

    def read(self, files: Mapping[str, bytes], **options: Any) -> ServedECG:
        """One ECG; read, checked, measured and encoded, unless its owner brought it before.

        Args: files: name -> bytes; one file, or those of one WFDB record. options: of `read_ecg`.
        Raises: ECGReadError, in the client's own file names; ECGInputError for what does not fit the model; ECGError
            where no heart beats.
        """
        if sum(map(len, files.values())) > self.engine.max_bytes:
            raise ECGReadError(f"The ECG's files are larger than {self.engine.max_bytes >> 20} MiB, the most here.")
        return self.engine.kept.get(self.owner, digest_of(files, **options), lambda: self._read(files, options))

    def answer(
        self,
        ecgs: Sequence[ServedECG],
        question: str,
        candidates: list[str] | None = None,
        prevalence: float | None = None,
        check: bool = True,
        max_new_tokens: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """What `answer_question` gives.

        Args: max_new_tokens: of a written answer; None for 64. on_text: gets what is written freely, piece by piece,
            in another thread; the answer may be another one, where yes and no are compared.
        """
        self._on_text, self._max_new_tokens = on_text, max_new_tokens or 64
        measured = [ecg.measurements for ecg in ecgs]
        return answer_question(self, list(ecgs), question, candidates, prevalence, check, measurements=measured)

    def __call__(
        self,
        question: str,
        ecgs: Sequence[ServedECG],
        candidates: list[str] | None = None,
        prevalence: float | None = None,
        measured: Sequence[Any] | None = None,
    ) -> dict[str, Any]:
        """As `ECGTextToTextPipeline` of one question."""
        conversation = self.processor.build_conversation(question, [{}] * len(ecgs), measured=measured)
        return self._said(conversation, ecgs, candidates, prevalence, question)

    def converse(
        self,
        conversation: list[dict[str, Any]],
        ecgs: Sequence[ServedECG],
        candidates: list[str] | None = None,
        max_new_tokens: int | None = None,
        on_text: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """The model's own answer to a conversation, as the pipeline gives it. Its ECG parts have no ECGs; these come
        in their order."""
        self._on_text, self._max_new_tokens = on_text, max_new_tokens or 64
        return self._said(conversation, ecgs, candidates, None, None)

    def token_scores(self, answer: str, top: int) -> list[dict[str, Any]]:
        """Of each token of an answer to what was asked last: token, logprob, the `top` likeliest in its place, and
        whether it is special, as the end is, whose text is no part of the answer."""
        if self._last is None:
            return []
        conversation, ecgs = self._last
        with self.engine.tokenizing:
            (row,) = encode_answers(self.processor, conversation, _lengths(ecgs), [answer])
        own, scores, tokens, likeliest = self._done(_Tokens(row, self._seen(ecgs), top))
        decode, special = self.processor.tokenizer.decode, set(self.processor.tokenizer.all_special_ids)
        return [
            {
                "token": decode([token]),
                "logprob": score,
                "special": token in special,
                "top": [{"token": decode([one]), "logprob": value} for one, value in zip(ones, values, strict=True)],
            }
            for token, score, ones, values in zip(own, scores, tokens, likeliest, strict=True)
        ]

    def embed(self, ecg: ServedECG) -> np.ndarray:
        """float32 [encoder size]: the mean of the encoder's patches, as `ecgllm embed` of this checkpoint."""
        return ecg.encoded["ecg_embeds"].mean(axis=0)

    def call(self, work: Callable[[Any], Any]) -> Any:
        """What a function makes of the pipeline, in the thread that asks the model; others wait for it."""
        return self._done(_Call(work))

    # How it is done

    def _said(
        self,
        conversation: list[dict[str, Any]],
        ecgs: Sequence[ServedECG],
        candidates: list[str] | None,
        prevalence: float | None,
        question: str | None,
    ) -> dict[str, Any]:
        processor, pipe, lengths = self.processor, self.engine.pipe, _lengths(ecgs)
        self._last = conversation, ecgs
        if candidates is not None:
            with self.engine.tokenizing:
                rows = encode_answers(processor, conversation, lengths, candidates, processor.refusal)
            scores = self._done(_Score(rows, self._seen(ecgs)))
            self._count(rows[int(scores[: len(candidates)].argmax())])
            asked = question, len(ecgs)
            given = {"log_probabilities": [scores], "candidates": [candidates], "asked": asked}
            return pipe.postprocess(given, prevalence)
        with self.engine.tokenizing:
            row = processor.encode_conversation(conversation, lengths, add_generation_prompt=True)
        job = _Write(row, self._seen(ecgs), self._room(row), self._on_text)
        self._on_text = None  # what is asked next is no longer what was written
        tokens, likely = self._done(job)
        self._count(row, tokens)
        end = self.model.generation_config.eos_token_id
        self.cut = len(tokens[0]) == job.max_new_tokens and tokens[0, -1].item() not in np.atleast_1d(end)
        return pipe.postprocess({"log_probabilities": [likely], "answers": [tokens]})

    def _room(self, row: Row) -> int:
        left = (self.processor.max_positions or math.inf) - len(row["input_ids"])
        self.processor.check_length(len(row["input_ids"]), of_answer=1)
        return int(min(self._max_new_tokens, left))

    def _count(self, row: Row, written: torch.Tensor | None = None) -> None:
        """A prompt and what is written after it, or with the answer in it that is chosen: in tokens."""
        if written is None:
            answer = sum(label != -100 for label in row["labels"])
        else:
            answer = int((written != self.processor.tokenizer.pad_token_id).sum())
        self.prompt_tokens += len(row["input_ids"]) - (answer if written is None else 0)
        self.completion_tokens = answer

    def _seen(self, ecgs: Sequence[ServedECG]) -> list[Mapping[str, Any]]:
        return [ecg.encoded for ecg in ecgs]

    def _done(self, job: Any) -> Any:
        """What the model thread makes of a job. Raises: GivenUp, TooLate, Busy, and what the job raises."""
        self._check()
        self._pending = future = self.engine.batcher.submit(job)
        while True:
            try:
                return future.result(timeout=_POLL_S)
            except CancelledError:
                raise GivenUp("The request was given up.") from None
            except NotYet:
                if future.done():  # the job's own
                    raise
                try:
                    self._check()
                except ECGError:
                    future.cancel()
                    raise

    def _check(self) -> None:
        if self._gone.is_set():
            raise GivenUp("The request was given up.")
        if time.monotonic() > self._until:
            raise TooLate("There was no answer in time; ask again later, or ask for less.")

    def _read(self, files: Mapping[str, bytes], options: Mapping[str, Any]) -> ServedECG:
        self._check()
        record = _record_of(files, {"keep_identity": True} | options, self.engine.max_bytes)
        patient = None if record.patient_id is None else self.engine.hash_of(record.patient_id)
        record = replace(record, id=None, patient_id=None, report=None, statements=())
        quality = assess_quality(record)
        if not quality.heart.found and record.duration >= SHORT_BELOW_S:  # shorter ones the model refuses as such
            raise ECGError(f"{NO_HEART.format(found=quality.heart.missing)}. Nothing can be asked about it.")
        (prepared,) = self.processor.feature_extractor.prepare(record, require_heart=True)
        encoded = self._done(_Encode(prepared))
        size = record.signal.nbytes + encoded["ecg_embeds"].nbytes
        notes, doubts = shown_notes(record), list(quality.reasons)
        return ServedECG(record, measure(record), notes, doubts, encoded, size, patient)


class _Streamer(BaseStreamer):
    """Gives what `generate` writes, piece by piece, to a function."""

    def __init__(self, processor: Any, on_text: Callable[[str], None]):
        self._processor, self._on_text = processor, on_text
        self._tokens: list[int] = []
        self._prompt, self._given = True, ""

    def put(self, value: torch.Tensor) -> None:
        if self._prompt:  # the first is what the model was given
            self._prompt = False
            return
        self._tokens += value.reshape(-1).tolist()
        text = self._processor.batch_decode([self._tokens], skip_special_tokens=True)[0].lstrip()
        if not text.endswith("\ufffd"):  # a character whose bytes are not all there
            self._give(text)

    def end(self) -> None:
        self._give(self._processor.batch_decode([self._tokens], skip_special_tokens=True)[0].strip())

    def _give(self, text: str) -> None:
        if text.startswith(self._given) and (new := text[len(self._given) :]):
            self._given = text
            self._on_text(new)


def _lengths(ecgs: Sequence[ServedECG]) -> list[int]:
    return [ecg.encoded["ecg_length"] for ecg in ecgs]


def _record_of(files: Mapping[str, bytes], options: Mapping[str, Any], max_bytes: int) -> ECGRecord:
    """The record in one file, or in those of a WFDB record, which need a folder for a moment."""
    if len(files) == 1:
        ((name, data),) = files.items()
        try:
            return read_ecg(data, max_bytes=max_bytes, **options)
        except ECGReadError as error:
            if (suffix := PurePosixPath(name).suffix) in _OF_WFDB:
                other = "the files that it names" if suffix == ".hea" else "its .hea"
                raise ECGReadError(
                    f"{name}: one file of a WFDB record; send {other} in the same turn, as a file of its own, under "
                    f"the same name up to the suffix. Read alone: {error}"
                ) from error
            raise ECGReadError(f"{name}: {error}") from error
    headers = [name for name in files if PurePosixPath(name).suffix == ".hea"]
    if len(headers) != 1:
        raise ECGReadError(
            f"Found the files {', '.join(sorted(files))} of one ECG; expected one file, or a WFDB record: one .hea "
            "and the files that it names."
        )
    if wrong := [name for name in files if name in ("", ".", "..") or set(name) & set("/\\\0")]:
        raise ECGReadError(f"Found the file name {wrong[0]!r}; expected names without a folder.")
    if long := [name for name in files if len(name.encode()) > _LONGEST_NAME]:
        raise ECGReadError(f"Found the file name {shorten(long[0])}; expected {_LONGEST_NAME} bytes at most.")
    with tempfile.TemporaryDirectory(prefix="ecgllm-") as folder:
        os.chmod(folder, 0o700)
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        try:
            return read_ecg(Path(folder) / headers[0], max_bytes=max_bytes, **options)
        except ECGReadError as error:
            raise ECGReadError(str(error).replace(f"{folder}{os.sep}", "")) from None


__all__ = ["Asking", "Engine", "GivenUp", "ServedECG", "TooLate"]
