"""Records that a model has seen, known again by their signals, without keeping signals or names.

In: corpora that a model was trained on. Out: a small file of signatures, and for records of any other corpus whether
they are among these. Decided here: a signature is the signs of 128 fixed random projections of a record's
`fingerprint` (Charikar, STOC 2002), from which no signal can be had back; two records are one where at most `MOST` of
128 signs differ. So another file format, sampling rate, order of leads, gain or unit changes nothing. A record of
which there is no fingerprint (no leads I, II, V2, or flat) is not known to be new, nor to be seen.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from ...atomic_writing import write_bytes
from ...errors_ecgllm import ECGError
from .duplicates import fingerprint

FILE = "trained_records.parquet"
BITS, MOST = 128, 8
TRAINED, CHOSEN, NEW = "trained", "chosen", "new"
_METADATA = b"ecgllm"
_ROWS = 256  # compared at once with all that is known


def signatures(corpus: Dataset) -> list[bytes | None]:
    """16 bytes a record; None where a record has no fingerprint."""
    ecgs = (row["ecg"] for row in corpus.select_columns(["ecg"]))
    return [signature(ecg["signal"], ecg["sampling_rate"], ecg["leads"]) for ecg in ecgs]


def signature(signal: np.ndarray, sampling_rate: float, leads: Sequence[str]) -> bytes | None:
    """16 bytes; None where there is no `fingerprint`, of which see the arguments."""
    own = fingerprint(signal, sampling_rate, leads)
    return None if own is None else np.packbits(own @ _directions(len(own)) > 0).tobytes()


@lru_cache(maxsize=1)
def _directions(size: int) -> np.ndarray:
    return np.random.default_rng(128).standard_normal((size, BITS)).astype(np.float32)


@dataclass(frozen=True)
class SeenRecords:
    """trained, chosen: signatures of records that weights, and settings, were chosen on, uint8 [records, 16]. missing:
    what else was seen, in words, and is not among them; empty where that is all."""

    trained: np.ndarray
    chosen: np.ndarray
    missing: tuple[str, ...] = ()

    def of(self, corpus: Dataset) -> list[str | None]:
        """`uses` of the records of a corpus."""
        return self.uses(signatures(corpus))

    def uses(self, own: Sequence[bytes | None]) -> list[str | None]:
        """For each of these signatures "trained", "chosen", "new", or None where it cannot be told."""
        known = [row for row, one in enumerate(own) if one is not None]
        packed = _packed([own[row] for row in known])
        trained, chosen = _is_among(packed, self.trained), _is_among(packed, self.chosen)
        told: list[str | None] = [None] * len(own)
        for row, first, second in zip(known, trained, chosen, strict=True):
            told[row] = TRAINED if first else CHOSEN if second else NEW
        return told

    def joined(self, other: SeenRecords) -> SeenRecords:
        return SeenRecords(
            np.unique(np.concatenate([self.trained, other.trained]), axis=0),
            np.unique(np.concatenate([self.chosen, other.chosen]), axis=0),
            tuple(dict.fromkeys([*self.missing, *other.missing])),
        )

    def save(self, path: Path) -> None:
        uses = [TRAINED] * len(self.trained) + [CHOSEN] * len(self.chosen)
        rows = [one.tobytes() for one in (*self.trained, *self.chosen)]
        table = pa.table({"signature": pa.array(rows, pa.binary(BITS // 8)), "use": pa.array(uses, pa.string())})
        about = {"missing": list(self.missing), "bits": BITS, "format": 1}
        sink = pa.BufferOutputStream()
        pq.write_table(
            table.replace_schema_metadata({_METADATA: json.dumps(about).encode()}), sink, compression="zstd"
        )
        write_bytes(path, sink.getvalue().to_pybytes())

    @classmethod
    def load(cls, path: Path) -> SeenRecords:
        """Raises: FileNotFoundError; ECGError for another file."""
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {}).get(_METADATA, b"{}"))
        if about.get("bits") != BITS or about.get("format") != 1:
            raise ECGError(f"{path} holds no signatures of records; expected the {FILE} of a run of `ecgllm train`.")
        rows, uses = table["signature"].to_pylist(), np.array(table["use"].to_pylist(), dtype=object)
        packed = _packed(rows)
        return cls(packed[uses == TRAINED], packed[uses == CHOSEN], tuple(about["missing"]))


def seen_records(corpus: Dataset, missing: tuple[str, ...] = ()) -> SeenRecords:
    """What a run sees of its corpus: it trains on the train split, and chooses on the validation split."""
    own, splits = signatures(corpus), corpus["split"][:]
    if without := own.count(None):
        missing = (*missing, f"{without} records without a fingerprint")
    by_use = {
        use: _packed([one for one, is_of in zip(own, splits, strict=True) if one is not None and is_of == split])
        for use, split in ((TRAINED, "train"), (CHOSEN, "validation"))
    }
    return SeenRecords(by_use[TRAINED], by_use[CHOSEN], missing)


def find_seen_records(checkpoint: str | Path) -> Path | None:
    """The file beside a checkpoint, or in the run folder that it is part of; None where there is none."""
    folder = Path(checkpoint)
    if not folder.is_dir():
        return None
    around = [folder.resolve(), *folder.resolve().parents[:2]]
    return next((own / FILE for own in around if (own / FILE).is_file()), None)


def _packed(rows: list[bytes]) -> np.ndarray:
    return np.frombuffer(b"".join(rows), dtype=np.uint8).reshape(-1, BITS // 8)


def _is_among(some: np.ndarray, known: np.ndarray) -> np.ndarray:
    """bool [some]: whether one of the known is nearer than `MOST`."""
    found = np.zeros(len(some), dtype=bool)
    if not len(known):
        return found
    wide = np.ascontiguousarray(known).view(np.uint64)
    for start in range(0, len(some), _ROWS):
        own = np.ascontiguousarray(some[start : start + _ROWS]).view(np.uint64)
        apart = np.bitwise_count(own[:, None] ^ wide[None]).sum(axis=2, dtype=np.uint16)
        found[start : start + _ROWS] = apart.min(axis=1) <= MOST
    return found
