"""Records that are read or made while they are learned from: more than memory or disk holds.

In: a source of record windows (`SimulatedWindows`, `parquet_windows.ParquetWindows`) and the feature extractor. Out:
a torch `IterableDataset` of examples for `pretrain`. Decided here: what a process and its workers draw follows from
their numbers and the step alone, so that no record is drawn by two of them, and a run that is taken up again goes on
at its record without drawing what came before. No `datasets.IterableDataset` is in between: to write each simulated
record to Arrow and read it back costs twice the simulation (375 records/s instead of 1,070,
one core), and its shuffle buffer cannot be resumed exactly.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch.utils.data import get_worker_info

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
    """A record on its way. number: its own, in every pass. ecg: gives what `ECGFeatureExtractor` takes."""

    number: int
    ecg: Callable[[], Any]
    report: str | None
    findings: tuple[str, ...]
    source: str | None


class Window(Protocol):
    """Some records that are read or made together: `size` of them, in the order in which they are drawn."""

    size: int

    def records(self) -> list[StreamedRecord]: ...


class Windows(Protocol):
    """A source of records.

    lane: which share of it, of `lanes` without overlap. Windows come without end; where a source is finite, it begins
    again in another order, and `pass_number` of a window says how often it did. stated: source -> what it ever states.
    """

    stated: Mapping[str | None, frozenset[str]]

    def lane(self, lane: int, lanes: int) -> Iterator[tuple[int, Window]]: ...

    def record(self, number: int) -> StreamedRecord: ...

    def name(self, number: int) -> str: ...


class StreamedExamples(torch.utils.data.IterableDataset):
    """Examples of a source; see the module.

    Args: batch_size: of one process. rank, world_size: this process among all. The rest as of `PretrainingExamples`.
    A record that the feature extractor refuses is left out, and the next one of its window comes twice: positions stay
    what they are.
    """

    def __init__(
        self,
        windows: Windows,
        feature_extractor: ECGFeatureExtractor,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        text: str = "report",
        statements: StatementTargets | None = None,
        augmenter: Augmenter | None = None,
    ):
        self.windows, self.feature_extractor, self.batch_size = windows, feature_extractor, batch_size
        self.rank, self.world_size = rank, world_size
        self.text, self.statements, self.augmenter = text, statements, augmenter
        self._steps_done = 0

    def start_at(self, step: int) -> None:
        """Go on as if `step` batches had been drawn."""
        self._steps_done = step

    def names(self, number: int) -> dict[str, Any]:
        """What an example is called."""
        return {"records": [self.windows.name(number)]}

    def __getitem__(self, number: int) -> dict[str, Any]:
        """An example by its number, not varied: for whoever looks at one of a batch."""
        return self._example(self.windows.record(number), None)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        workers, index = (1, 0) if worker is None else (worker.num_workers, worker.id)
        # Batches come from the workers in turn, and a new loader starts with the first of them: it takes the part of
        # the one whose turn it was.
        turn = self._steps_done + index
        lane = self.rank * workers + turn % workers
        skipped = turn // workers * self.batch_size
        for pass_number, window in self.windows.lane(lane, self.world_size * workers):
            if skipped >= window.size:
                skipped -= window.size
                continue
            yield from self._usable(window.records(), skipped, pass_number)
            skipped = 0

    def _usable(self, records: list[StreamedRecord], first: int, pass_number: int) -> Iterator[dict[str, Any]]:
        for position in range(first, len(records)):
            # The record itself, or the next one, round the window, that can be used.
            for record in records[position:] + records[:position]:
                try:
                    found = self._example(record, pass_number)
                except ECGInputError as error:
                    reason = error
                    continue
                yield found
                break
            else:
                raise ECGInputError(f"none of {len(records)} streamed records can be used; the last: {reason}")

    def _example(self, record: StreamedRecord, pass_number: int | None) -> dict[str, Any]:
        (ecg,) = self.feature_extractor.prepare(record.ecg())
        if self.augmenter is not None and pass_number is not None:
            ecg = self.augmenter(ecg, pass_number, record.number)
        said = record.report, record.findings, record.source
        return example(record.number, ecg, *said, self.text, self.statements)


@dataclass(frozen=True)
class _Chunk:
    """A chunk of the simulator."""

    seed: int
    first: int
    reader_spread: float = 0.0
    size: int = CHUNK

    def records(self) -> list[StreamedRecord]:
        made = simulate_ecgs(CHUNK, self.seed, first=self.first, reader_spread=self.reader_spread)
        return [
            # As a corpus has them: with the broader findings that follow, which else would count as denied.
            StreamedRecord(
                self.first + row, partial(_same, record), record.report, implied(record.findings), _SIMULATED
            )
            for row, record in enumerate(made)
        ]


def _same(record: ECGRecord) -> ECGRecord:
    return record


class SimulatedWindows:
    """Fresh simulated records, those of `simulate_ecgs(..., seed)` that a corpus does not hold.

    known: ids of the corpus' records; the stream begins behind the last that the same seed made, so that nothing that
    validates is ever trained on, and no record comes twice. reader_spread: as of `simulate_ecgs`.
    """

    def __init__(self, seed: int, known: Iterable[str], reader_spread: float = 0.0):
        self.seed, self.reader_spread = seed, reader_spread
        self.stated = {_SIMULATED: frozenset(implied(FINDINGS))}
        own = re.compile(rf"sim-{seed}-(\d+)")
        numbers = [int(found.group(1)) for found in map(own.fullmatch, known) if found]
        self.first = -(-(max(numbers, default=-1) + 1) // CHUNK) * CHUNK

    def lane(self, lane: int, lanes: int) -> Iterator[tuple[int, Window]]:
        first = self.first + lane * CHUNK
        while True:
            yield 0, _Chunk(self.seed, first, self.reader_spread)
            first += lanes * CHUNK

    def record(self, number: int) -> StreamedRecord:
        return _Chunk(self.seed, number // CHUNK * CHUNK, self.reader_spread).records()[number % CHUNK]

    def name(self, number: int) -> str:
        return f"sim-{self.seed}-{number:06d}"
