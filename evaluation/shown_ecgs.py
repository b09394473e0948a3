"""The ECGs that a model is shown: records of a corpus, as they are or changed.

In: a corpus. Out: a mapping `ShownECG` -> `ECGRecord`. Decided here: a change is drawn from seed, record and name
of the change alone, so that the same ECG is shown in every run and to every model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import lru_cache

import numpy as np
from datasets import Dataset

from ..corpora import ECG
from ..errors_ecgllm import ECGError
from ..signals import ECGRecord
from .changes import CHANGES
from .protocol import ShownECG

_KEPT = 64  # decoded records, of 0.2 to 5 MB


class ShownECGs(Mapping[ShownECG, ECGRecord]):
    """All that can be shown of a corpus. Iterates over the unchanged records."""

    def __init__(self, corpus: Dataset, seed: int = 0):
        self._corpus = corpus.select_columns(["id", "ecg"]).cast_column("ecg", ECG())
        self._row = {record_id: row for row, record_id in enumerate(corpus["id"])}
        self._seed = seed
        self._record = lru_cache(maxsize=_KEPT)(self._decoded)

    def __reduce__(self) -> tuple[type, tuple[Dataset, int]]:
        return type(self), (self._corpus, self._seed)  # for other processes; the cache is not sent

    def __getitem__(self, shown: ShownECG) -> ECGRecord:
        """Raises: KeyError for a record that the corpus does not hold; ECGError for an unknown change."""
        shown = shown.signal
        record = self._record(shown.record_id)
        if not shown.change:
            return record
        if shown.change not in CHANGES:
            raise ECGError(f"no change is called {shown.change!r}; there are {', '.join(CHANGES)}")
        key = hashlib.blake2b("\n".join(shown[:2]).encode(), digest_size=8).digest()
        return CHANGES[shown.change](record, np.random.default_rng([self._seed, int.from_bytes(key, "big")]))

    def __iter__(self) -> Iterator[ShownECG]:
        return (ShownECG(record_id) for record_id in self._row)

    def __len__(self) -> int:
        return len(self._row)

    def _decoded(self, record_id: str) -> ECGRecord:
        row = self._corpus[self._row[record_id]]
        ecg = row["ecg"]
        return ECGRecord(
            signal=ecg["signal"], sampling_rate=ecg["sampling_rate"], leads=tuple(ecg["leads"]), id=record_id
        )
