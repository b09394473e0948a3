"""What is measured on training records, and in which examples it stands beside the ECG.

In: records of a corpus. Out: `MeasuredRecords`, which says for an example what its prompt says was measured. Decided
here: records are measured as they are, whatever an augmenter makes of them; of those that are said, each figure is
left out one time in ten, so that a model learns to answer without any; in a share of these examples the ECG itself is
blank (`alone`), since a model that sees in the ECG what was measured has no reason to read it; all of it follows from
seed, epoch and records, so that questions about the same ECGs have the same prompt, and a run can be repeated and
resumed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ...atomic_writing import write_json
from ...measured_figures_ecgllm import FLAGS, NUMBERS, Figures
from ...signals import ECGRecord, measure
from .prepared_signals import begin_row, processes_for

_LEFT_OUT = 0.1
_NAMES = (*NUMBERS, *FLAGS)
_WORTH_A_PROCESS = 100  # records, some 30 ms each


class MeasuredRecords:
    """Args: figures: of each record, by id. said: in which share of examples. seed: of all drawing. alone: in which
    share of those in which they are said the ECGs are blank."""

    def __init__(self, figures: Mapping[str, Figures], said: float = 1.0, seed: int = 0, alone: float = 0.0):
        self._figures, self._said, self._seed, self._alone = figures, said, seed, alone
        # Shared memory, so that persistent workers learn of the next epoch.
        self._epoch = torch.zeros((), dtype=torch.long).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """From here on others are said, and left out."""
        self._epoch.fill_(epoch)

    def whole(self, ids: Sequence[str]) -> tuple[Figures | None, ...]:
        """All that was measured on each of the records."""
        return tuple(self._figures.get(record_id) for record_id in ids)

    def of(self, ids: Sequence[str]) -> tuple[Figures | None, ...]:
        """What an example about these records says of each, None where it says nothing of any."""
        rng = self._rng(ids, 17)
        if rng.random() >= self._said:
            return (None,) * len(ids)
        return tuple(None if one is None else _some(one, rng) for one in self.whole(ids))

    def alone(self, ids: Sequence[str]) -> bool:
        """Whether an example about these records shows what was measured, and blank ECGs."""
        return self._rng(ids, 18).random() < self._alone and any(self.of(ids))

    def _rng(self, ids: Sequence[str], purpose: int) -> np.random.Generator:
        key = hashlib.blake2b("\n".join(ids).encode(), digest_size=8).digest()
        return np.random.default_rng([self._seed, int(self._epoch), int.from_bytes(key, "big"), purpose])


def _some(figures: Figures, rng: np.random.Generator) -> Figures:
    # All numbers are drawn whatever there is, so that one missing figure does not change which others are.
    kept = rng.random(len(_NAMES)) >= _LEFT_OUT
    return {name: figures[name] for name, own in zip(_NAMES, kept, strict=True) if own and name in figures}


class MeasuredSignals(Mapping):
    """Prepared or encoded signals, each with what was measured, for `AnswerScorer`; without figures as they are."""

    def __init__(self, signals: Mapping[str, Mapping[str, Any]], figures: Mapping[str, Figures]):
        self._signals, self._figures = signals, figures

    def __getitem__(self, record_id: str) -> Mapping[str, Any]:
        measured = self._figures.get(record_id)
        signal = self._signals[record_id]
        return signal if measured is None else {**signal, "measured": measured}

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._signals  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._signals)

    def __len__(self) -> int:
        return len(self._signals)


def measure_records(corpus: Dataset, file: Path) -> dict[str, Figures]:
    """Figures of every record of a corpus by id, measured by several processes; kept in a JSON file, from which a run
    that goes on has them."""
    if not file.is_file():
        processes = processes_for(len(corpus), _WORTH_A_PROCESS)
        found = corpus.select_columns(["id", "ecg"]).map(
            _measure,
            with_rank=True,
            fn_kwargs={"parent": os.getpid()},
            remove_columns=["ecg"],
            num_proc=processes if processes > 1 else None,
            keep_in_memory=True,
            desc="Measuring",
        )
        write_json(file, dict(zip(found["id"], map(json.loads, found["figures"]), strict=True)))
    return json.loads(file.read_text(encoding="utf-8"))


def _measure(row: dict[str, Any], rank: int | None, parent: int) -> dict[str, str]:
    begin_row(rank, parent)
    ecg = row["ecg"]
    record = ECGRecord(signal=ecg["signal"], sampling_rate=ecg["sampling_rate"], leads=tuple(ecg["leads"]))
    return {"id": row["id"], "figures": json.dumps(measure(record).figures())}
