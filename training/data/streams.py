"""Records that are read or simulated during training: more than memory or disk holds.

In: a source of records (`SimulatedWindows`, `parquet_windows.ParquetWindows`) and the feature extractor. Out: a
map-style data set, and the order in which `pretrain` asks for its examples. The Trainer makes the batches, divides
them among processes and resumes a run. Decided here: records that are read or simulated together are asked for
together, by one worker, which keeps them until others are needed.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Protocol

import torch
from torch.utils.data import Sampler

from ...findings.labels import implied
from ...processing_ecgllm import ECGFeatureExtractor
from ...signal_ecgllm import ECGInputError
from ...signals import ECGRecord
from ...signals.simulation import CHUNK, FINDINGS, simulate_ecgs
from .augmentations import Augmenter
from .pretraining_examples import example
from .statement_targets import StatementTargets

_SIMULATED = "simulation"  # the source, as `prepare` calls it


@dataclass(frozen=True)
class StreamedRecord:
    """A record of a stream. number: the same in every pass. ecg: returns what `ECGFeatureExtractor` takes."""

    number: int
    ecg: Callable[[], Any]
    report: str | None
    findings: tuple[str, ...]
    source: str | None


class Windows(Protocol):
    """A source of records, each known by its number.

    lane: which share of it, of `lanes` without overlap: numbers of records, window after window without end; a finite
    source begins again in another order, and `pass_number` of a window counts how often. part_of: what is read
    together with a record; read: its records by their numbers. kept: how many a worker keeps, so that each is read
    once. stated: source -> what it ever states.
    """

    stated: Mapping[str | None, frozenset[str]]
    kept: int

    def lane(self, lane: int, lanes: int) -> Iterator[tuple[int, Sequence[int]]]: ...

    def part_of(self, number: int) -> int: ...

    def read(self, part: int) -> dict[int, StreamedRecord]: ...

    def name(self, number: int) -> str: ...


class StreamOrder(Sampler):
    """The order of records: (pass, number) of each, one batch of every lane in turn.

    Batches go to processes and their workers in turn, so that one worker has one lane and alone reads its windows.
    Args: batch_size: of one process. lanes: processes times their workers. length: of all processes together.
    """

    def __init__(self, windows: Windows, batch_size: int, lanes: int, length: int):
        self.windows, self.batch_size, self.lanes, self.length = windows, batch_size, lanes, length

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        lanes = [self._lane(lane) for lane in range(self.lanes)]
        for batch in range(self.length // self.batch_size):
            yield from islice(lanes[batch % self.lanes], self.batch_size)

    def _lane(self, lane: int) -> Iterator[tuple[int, int]]:
        for pass_number, numbers in self.windows.lane(lane, self.lanes):
            yield from ((pass_number, number) for number in numbers)


class StreamedExamples(torch.utils.data.Dataset):
    """Examples of a source by the places of `StreamOrder`; `length` of them. The rest as of `PretrainingExamples`.

    A record that the feature extractor refuses is replaced by the next one of its window.
    """

    def __init__(
        self,
        windows: Windows,
        feature_extractor: ECGFeatureExtractor,
        length: int,
        text: str = "report",
        statements: StatementTargets | None = None,
        augmenter: Augmenter | None = None,
    ):
        self.windows, self.feature_extractor, self.length = windows, feature_extractor, length
        self.text, self.statements, self.augmenter = text, statements, augmenter
        self._parts: dict[int, dict[int, StreamedRecord]] = {}

    def __len__(self) -> int:
        return self.length

    def names(self, number: int) -> dict[str, Any]:
        """What an example is called."""
        return {"records": [self.windows.name(number)]}

    def __getitem__(self, number: int) -> dict[str, Any]:
        """An example by its number, without augmentation: to look at one of a batch."""
        return self._example(self._together(number)[number], None)

    def __getitems__(self, places: list[tuple[int, int]]) -> list[dict[str, Any]]:
        return [self._usable(pass_number, number) for pass_number, number in places]

    def _together(self, number: int) -> dict[int, StreamedRecord]:
        """The records of the same window, which are kept until enough others were read."""
        part = self.windows.part_of(number)
        if part not in self._parts:
            self._parts[part] = self.windows.read(part)
            while len(self._parts) > 1 and sum(map(len, self._parts.values())) > self.windows.kept:
                del self._parts[next(iter(self._parts))]
        return self._parts[part]

    def _usable(self, pass_number: int, number: int) -> dict[str, Any]:
        records = self._together(number)
        numbers = list(records)
        first = numbers.index(number)
        for own in numbers[first:] + numbers[:first]:
            try:
                return self._example(records[own], pass_number)
            except ECGInputError as error:
                reason = error
        raise ECGInputError(f"none of {len(records)} streamed records can be used; the last: {reason}")

    def _example(self, record: StreamedRecord, pass_number: int | None) -> dict[str, Any]:
        (ecg,) = self.feature_extractor.prepare(record.ecg())
        if self.augmenter is not None and pass_number is not None:
            ecg = self.augmenter(ecg, pass_number, record.number)
        said = record.report, record.findings, record.source
        return example(record.number, ecg, *said, self.text, self.statements)


def _same(record: ECGRecord) -> ECGRecord:
    return record


class SimulatedWindows:
    """Fresh simulated records, those of `simulate_ecgs(..., seed)` that a corpus does not hold.

    known: ids of the corpus' records; the stream begins after the last of them, so that no validation record is
    trained on, and no record comes twice. reader_spread: as of `simulate_ecgs`.
    """

    kept = CHUNK

    def __init__(self, seed: int, known: Iterable[str], reader_spread: float = 0.0):
        self.seed, self.reader_spread = seed, reader_spread
        self.stated = {_SIMULATED: frozenset(implied(FINDINGS))}
        own = re.compile(rf"sim-{seed}-(\d+)")
        numbers = [int(found.group(1)) for found in map(own.fullmatch, known) if found]
        self.first = -(-(max(numbers, default=-1) + 1) // CHUNK) * CHUNK

    def lane(self, lane: int, lanes: int) -> Iterator[tuple[int, Sequence[int]]]:
        for first in itertools.count(self.first + lane * CHUNK, lanes * CHUNK):
            yield 0, range(first, first + CHUNK)

    def part_of(self, number: int) -> int:
        return number // CHUNK

    def read(self, part: int) -> dict[int, StreamedRecord]:
        first = part * CHUNK
        made = simulate_ecgs(CHUNK, self.seed, first=first, reader_spread=self.reader_spread)
        return {
            # As in a corpus, with the broader findings that follow; otherwise they would count as denied.
            number: StreamedRecord(number, partial(_same, record), record.report, implied(record.findings), _SIMULATED)
            for number, record in enumerate(made, start=first)
        }

    def name(self, number: int) -> str:
        return f"sim-{self.seed}-{number:06d}"
