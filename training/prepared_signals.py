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
from datasets import Dataset, Features, List, Value, load_from_disk

from ..processing_ecgllm import ECGFeatureExtractor, ECGInputError

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
        ids, refused = table["id"], table["refused"]
        self.refused = {id_: reason for id_, reason in zip(ids, refused, strict=True) if reason}
        self._row = {id_: row for row, id_ in enumerate(ids) if id_ not in self.refused}
        self._length = dict(zip(ids, table["ecg_length"], strict=True))

    def __getitem__(self, record_id: str) -> dict[str, Any]:
        row = self._table[self._row[record_id]]
        mask = np.array(row["lead_mask"], dtype=bool)
        values = np.frombuffer(row["ecg_values"], dtype="<f4").reshape(len(mask), -1)
        return {"ecg_values": values, "lead_mask": mask, "preprocessing_id": row["preprocessing_id"]}

    def __iter__(self):
        return iter(self._row)

    def __len__(self) -> int:
        return len(self._row)

    def length(self, record_id: str) -> int:
        """Samples of a record, at the model's rate."""
        return self._length[record_id]


def prepare_signals(corpus: Dataset, feature_extractor: ECGFeatureExtractor, folder: Path) -> None:
    """Prepare every record of a corpus and write the table to `folder`, which appears only once it is complete."""

    def prepare(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows: dict[str, list[Any]] = {name: [] for name in _FEATURES}
        for record_id, ecg in zip(batch["id"], batch["ecg"], strict=True):
            try:
                features = feature_extractor(ecg, return_tensors="np")
            except ECGInputError as error:
                values, mask, length, refused = b"", [], 0, str(error)
            else:
                values = features["ecg_values"][0].astype("<f4").tobytes()
                mask, length, refused = features["lead_mask"][0].tolist(), int(features["ecg_lengths"][0]), ""
            entries = (record_id, values, mask, length, feature_extractor.preprocessing_id, refused)
            for name, entry in zip(_FEATURES, entries, strict=True):
                rows[name].append(entry)
        return rows

    table = corpus.map(
        prepare,
        batched=True,
        batch_size=64,
        remove_columns=corpus.column_names,
        features=_FEATURES,
        load_from_cache_file=False,
        desc="Preparing signals",
    )
    partial = folder.with_name(folder.name + ".partial")
    table.save_to_disk(partial)
    partial.replace(folder)


def load_signals(folder: Path) -> PreparedSignals:
    """Open what `prepare_signals` wrote."""
    return PreparedSignals(load_from_disk(folder))
