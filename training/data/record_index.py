"""RecordIndex: from a record's id to its row, in a few bytes per record.

In: the ids of a table's rows. Out: a mapping from id to row number. Decided here: ids are bytes in one sorted array. A
dictionary of strings takes some 200 bytes per record, which is gigabytes for millions of records.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np


class RecordIndex(Mapping):
    """Record id -> row number (int), for the rows that are `kept` (bool [rows]; None: all).

    ids: of all rows, as text or as the bytes of `encoded_ids`.
    """

    def __init__(self, ids: Sequence[str] | np.ndarray, kept: np.ndarray | None = None):
        ids = ids if isinstance(ids, np.ndarray) else encoded_ids(ids)
        rows = np.arange(len(ids)) if kept is None else np.flatnonzero(kept)
        self._in_order = rows
        order = np.argsort(ids[rows], kind="stable")
        self._ids, self._rows = ids[rows][order], rows[order]
        self._all = ids

    def __getitem__(self, record_id: str) -> int:
        name = record_id.encode()
        place = int(np.searchsorted(self._ids, name))
        if place == len(self._ids) or self._ids[place] != name:
            raise KeyError(record_id)
        return int(self._rows[place])

    def __iter__(self) -> Iterator[str]:
        """Ids in the order of their rows."""
        return (self._all[row].decode() for row in self._in_order)

    def __len__(self) -> int:
        return len(self._rows)


def encoded_ids(ids: Sequence[str]) -> np.ndarray:
    """Ids as an array of UTF-8 bytes, as wide as the longest."""
    return np.array([name.encode() for name in ids], dtype=np.bytes_)
