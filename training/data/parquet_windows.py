"""A folder of Parquet files with the columns of a corpus, as a source of `streams`.

In: files that `save_corpus(format="parquet")` or `corpus.to_parquet` wrote. Out: windows of records. Decided here:
usable records are found from the small columns when the folder is opened; a row group is the smallest unit that is
read; and every pass has its own order, which follows from the seed, so that any position can be found without reading
the records before it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...corpora import ECG
from ...corpora.records.silence import stated_by_source
from ...errors_ecgllm import ECGError
from .streams import StreamedRecord

_LEAST_MIXED = 1024  # records that are shuffled together; row groups that are smaller are joined
_COLUMNS = ("id", "patient_id", "ecg", "report", "findings", "split")


@dataclass(frozen=True, eq=False)
class _Group:
    """A row group. rows: its usable rows. first: number of its first row among all rows of the folder."""

    file: Path
    number: int
    first: int
    rows: np.ndarray


class ParquetWindows:
    """Training records of a folder of Parquet files.

    Args: needed: "report" or "findings", which a record must have. excluded: patients who must not be trained on.
    Attributes: usable: records; left_out: those without `needed`, of other splits or of excluded patients. stated:
        source -> every finding that it states in some record of the folder; files without the column source: None.
    Raises: ValueError that names the folder or file, for files without the columns of a corpus or without a usable
    record.
    """

    kept = 2 * _LEAST_MIXED  # all that are shuffled together: groups below that number, joined until they reach it

    def __init__(self, folder: str | Path, needed: str, excluded: Iterable[str], seed: int):
        self.folder, self.seed = Path(folder), seed
        files = sorted(self.folder.glob("**/*.parquet"))
        if not files:
            raise ECGError(f"{folder} holds no *.parquet file; expected what ecgllm prepare --parquet writes.")
        patients = set(excluded)
        self._groups: list[_Group] = []
        self.stated: dict[str | None, frozenset[str]] = {}
        total = 0
        for file in files:
            with pq.ParquetFile(file) as opened:
                missing = [name for name in _COLUMNS if name not in opened.schema_arrow.names]
                if missing:
                    raise ECGError(f"{file} lacks the columns {', '.join(missing)} of a corpus; see docs/corpora.md.")
                for number in range(opened.num_row_groups):
                    small = {"patient_id", "split", "findings", "source", needed}
                    table = opened.read_row_group(number, columns=sorted(small & set(opened.schema_arrow.names)))
                    for source, names in stated_by_source(table["findings"].to_pylist(), _sources(table)).items():
                        self.stated[source] = self.stated.get(source, frozenset()) | names
                    rows = _usable(table, needed, patients)
                    self._groups.append(_Group(file, number, total, rows))
                    total += table.num_rows
        self._starts = [group.first for group in self._groups]
        self._filled = [group for group in self._groups if len(group.rows)]
        self.usable = sum(len(group.rows) for group in self._filled)
        self.left_out = total - self.usable
        if not self.usable:
            raise ECGError(
                f"none of the {total} records of {folder} can be trained on: expected split train, a {needed}, and a "
                "patient outside the validation and test splits."
            )

    def lane(self, lane: int, lanes: int) -> Iterator[tuple[int, Sequence[int]]]:
        """See `streams.Windows`. Raises: ECGError where there are fewer row groups than lanes."""
        if len(self._filled) < lanes:
            raise ECGError(
                f"{self.folder} has {len(self._filled)} row groups for {lanes} processes and workers; write smaller "
                "ones (corpus.to_parquet(file, batch_size=1000)), or take fewer workers."
            )
        for pass_number in itertools.count():
            order = np.random.default_rng([self.seed, pass_number, 17]).permutation(len(self._filled))[lane::lanes]
            joined: list[_Group] = []
            for position, index in enumerate(order):
                joined.append(self._filled[index])
                if sum(len(group.rows) for group in joined) >= _LEAST_MIXED or position == len(order) - 1:
                    seed = [self.seed, pass_number, joined[0].first, 19]
                    numbers = np.concatenate([group.first + group.rows for group in joined])
                    yield pass_number, np.random.default_rng(seed).permutation(numbers).tolist()
                    joined = []

    def part_of(self, number: int) -> int:
        return int(np.searchsorted(self._starts, number, side="right")) - 1

    def read(self, part: int) -> dict[int, StreamedRecord]:
        """The usable records of a row group."""
        group = self._groups[part]
        return {record.number: record for record in _records(group, group.rows)}

    def name(self, number: int) -> str:
        group = self._groups[self.part_of(number)]
        with pq.ParquetFile(group.file) as opened:
            return opened.read_row_group(group.number, columns=["id"])["id"][number - group.first].as_py()


def _usable(table: pa.Table, needed: str, excluded: set[str]) -> np.ndarray:
    splits, patients, what = (table[name].to_pylist() for name in ("split", "patient_id", needed))
    return np.array(
        [
            row
            for row, (split, patient, has) in enumerate(zip(splits, patients, what, strict=True))
            if split == "train" and has and patient not in excluded
        ],
        dtype=np.int32,
    )


def _records(group: _Group, rows: Iterable[int]) -> list[StreamedRecord]:
    """Records of a row group; their signals stay packed (int16) until the feature extractor asks for them."""
    with pq.ParquetFile(group.file) as opened:
        known = {"ecg", "report", "findings", "source"} & set(opened.schema_arrow.names)
        table = opened.read_row_group(group.number, columns=sorted(known))
    table = table.take(pa.array(np.asarray(rows)))
    columns = (table[name].to_pylist() for name in ("ecg", "report", "findings"))
    decode = ECG().decode_example
    return [
        StreamedRecord(group.first + int(row), partial(decode, ecg), report, tuple(findings or ()), source)
        for row, ecg, report, findings, source in zip(rows, *columns, _sources(table), strict=True)
    ]


def _sources(table: pa.Table) -> list[str | None]:
    return table["source"].to_pylist() if "source" in table.column_names else [None] * table.num_rows
