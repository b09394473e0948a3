"""Prepared signals: every record of a corpus through the feature extractor once, on disk, memory-mapped.

In: a corpus and a feature extractor. Out: `PreparedSignals`, a mapping from record id to a prepared ECG that
`ECGFeatureExtractor` and `ECGProcessor` take as it is. Records that the feature extractor refuses are listed in
`refused` with the reason. They are not trained on, and do not stop the run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value, concatenate_datasets

from ...atomic_writing import written_whole
from ...processing_ecgllm import ECGFeatureExtractor
from ...signal_ecgllm import ECGInputError
from .record_index import RecordIndex, encoded_ids

_FILE = "signals.arrow"
_WORTH_A_PROCESS = 2000  # records: fewer are prepared by the time that another process has started
_FEATURES = Features(
    {
        "id": Value("string"),
        "ecg_values": Value("binary"),
        "lead_mask": List(Value("bool")),
        "ecg_length": Value("int64"),
        "preprocessing_id": Value("int64"),
        "refused": Value("string"),
    }
)


class PreparedSignals(Mapping):
    """Record id -> {"ecg_values" float32 [leads, samples], "lead_mask" bool [leads], "preprocessing_id"}."""

    def __init__(self, table: Dataset):
        self._table = table
        rows = zip(table["id"], table["refused"], strict=True)
        self.refused = {id_: reason for id_, reason in rows if reason}
        self._lengths = np.fromiter(table["ecg_length"], dtype=np.int64, count=len(table))
        usable = np.fromiter((not reason for reason in table["refused"]), dtype=bool, count=len(table))
        self._row = RecordIndex(encoded_ids(table["id"]), usable)

    def __getitem__(self, record_id: str) -> dict[str, Any]:
        row = self._table[self._row[record_id]]
        mask = np.array(row["lead_mask"], dtype=bool)
        values = np.frombuffer(row["ecg_values"], dtype="<f4").reshape(len(mask), -1)
        return {"ecg_values": values, "lead_mask": mask, "preprocessing_id": row["preprocessing_id"]}

    def __contains__(self, record_id: object) -> bool:
        return record_id in self._row  # without reading the signal

    def __iter__(self):
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def length(self, record_id: str) -> int:
        """Samples of a record, at the model's rate."""
        return int(self._lengths[self._row[record_id]])


def prepare_signals(
    corpus: Dataset, feature_extractor: ECGFeatureExtractor, folder: Path, processes: int | None = None
) -> None:
    """Prepare every record of a corpus and write the table to `folder`, which appears only once it is complete.

    processes: how many work in parallel; None: one per CPU, or fewer where there is little to do.
    """
    rows = corpus.select_columns(["id", "ecg"])
    processes = processes or processes_for(len(rows), _WORTH_A_PROCESS)
    with written_whole(folder) as partial:
        rows.map(
            _prepare,
            with_rank=True,
            fn_kwargs={"feature_extractor": feature_extractor, "parent": os.getpid()},
            remove_columns=["ecg"],
            features=_FEATURES,
            num_proc=processes if processes > 1 else None,
            # Written where it is read from: in the cache of `datasets` there would be a second copy of every signal.
            cache_file_name=str(partial / _FILE),
            writer_batch_size=64,
            desc="Preparing signals",
        )


def processes_for(records: int, worth: int) -> int:
    """How many processes work off so many records, of which `worth` are worth one: one per CPU at most."""
    return min(os.cpu_count() or 1, records // worth)


def begin_row(rank: int | None, parent: int) -> None:
    """What one process of several (rank: which, None for one alone) does before each row of `Dataset.map`."""
    if rank is None:
        return
    if os.getppid() != parent:
        sys.exit(1)  # the run was killed, and its part of the records would go on for minutes
    # Each process has one CPU, and threads that were started before a fork do not exist after it.
    torch.set_num_threads(1)


def _prepare(
    record: dict[str, Any], rank: int | None, feature_extractor: ECGFeatureExtractor, parent: int
) -> dict[str, Any]:
    begin_row(rank, parent)
    row = {"id": record["id"], "preprocessing_id": feature_extractor.preprocessing_id}
    try:
        (prepared,) = feature_extractor.prepare(record["ecg"])
    except ECGInputError as error:
        return row | {"ecg_values": b"", "lead_mask": [], "ecg_length": 0, "refused": str(error)}
    return row | {
        "ecg_values": prepared["ecg_values"].astype("<f4").tobytes(),
        "lead_mask": prepared["lead_mask"].tolist(),
        "ecg_length": prepared["ecg_values"].shape[1],
        "refused": "",
    }


def load_signals(folder: Path) -> PreparedSignals:
    """Open what `prepare_signals` wrote."""
    # Several processes leave a file each.
    files = sorted(folder.glob(_FILE.replace(".", "*.")))
    return PreparedSignals(concatenate_datasets([Dataset.from_file(str(file)) for file in files]))
