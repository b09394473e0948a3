"""Prepared signals: every record of a corpus through the feature extractor once, on disk, memory-mapped.

In: a corpus and a feature extractor. Out: `PreparedSignals`, a mapping from record id to a prepared ECG that
`ECGFeatureExtractor` and `ECGProcessor` take as it is. Records that the feature extractor refuses are kept in
`refused` with the reason, never trained on and never a crash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from datasets.utils import tqdm

from ...processing_ecgllm import ECGFeatureExtractor
from ...signal_ecgllm import ECGInputError
from ...writing import written_whole
from .record_index import RecordIndex, encoded_ids

_FILE = "signals.arrow"
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


def prepare_signals(corpus: Dataset, feature_extractor: ECGFeatureExtractor, folder: Path) -> None:
    """Prepare every record of a corpus and write the table to `folder`, which appears only once it is complete."""
    with (
        written_whole(folder) as partial,
        # Written row by row: `map` would leave a second copy of every signal in its cache.
        ArrowWriter(features=_FEATURES, path=str(partial / _FILE), writer_batch_size=64) as writer,
    ):
        rows = corpus.select_columns(["id", "ecg"])
        for row in tqdm(rows, total=len(rows), desc="Preparing signals", unit="record"):
            writer.write(_prepare(row["id"], row["ecg"], feature_extractor))
        writer.finalize()


def _prepare(record_id: str, ecg: Any, feature_extractor: ECGFeatureExtractor) -> dict[str, Any]:
    row = {"id": record_id, "preprocessing_id": feature_extractor.preprocessing_id}
    try:
        (prepared,) = feature_extractor.prepare(ecg)
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
    return PreparedSignals(Dataset.from_file(str(folder / _FILE)))
