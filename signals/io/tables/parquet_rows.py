"""Parquet: a table with a column of this package's `ECG` feature in, an ECGRecord per row out.

Decided here: that the column is known by its type, not by its name, and which other columns are taken over.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ....errors_ecgllm import ECGError
from ...limits import check_leads, check_rate
from ...quotes import without_quotes
from ...record import ECGReadError, ECGRecord, known_lead_name
from .stored_ecg import check_stored, millivolts, stored_steps

if TYPE_CHECKING:
    import pyarrow as pa


def read_parquet(source: Path | bytes, *, name: str, record_id: str | None, max_bytes: int) -> Iterator[ECGRecord]:
    """Read the rows of a table that has a column of our `ECG` feature, one by one.

    The column is known by its type: a struct of bytes, gain, leads and sampling_rate. Columns called id, patient_id,
    report, findings, statements, age, sex, recorded_at and source are taken over, as `ecgllm prepare` writes them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(source) if isinstance(source, bytes) else source)
        fields = list(file.schema_arrow)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ECGReadError(f"{name}: is no readable Parquet file: {error}. Write or copy it again.") from error
    columns = [field.name for field in fields if is_ecg_type(field.type)]
    if len(columns) != 1:
        raise ECGReadError(
            f"{name}: has {len(columns) or 'no'} columns of the ECG feature among {', '.join(f.name for f in fields)}"
            "; expected one: a struct of bytes, gain, leads and sampling_rate."
        )
    read = [columns[0], *(field.name for field in fields if field.name in _ROW_FIELDS)]
    largest = max((file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups)), default=0)
    if largest > max_bytes:
        raise ECGReadError(
            f"{name}: unpacks to {largest:,} bytes at once; the limit is {max_bytes:,}. Write it with smaller row "
            "groups, or read it in Python with max_bytes=...."
        )
    number = 0
    try:
        for batch in file.iter_batches(batch_size=16, columns=read):
            for row in batch.to_pylist():
                yield _row(row, columns[0], f"{name}, row {number}", record_id and f"{record_id}#{number}")
                number += 1
    except (pa.ArrowException, OSError) as error:
        raise ECGReadError(f"{name}: cannot be read beyond row {number}: {error}. Copy the file again.") from error


_ROW_FIELDS = ("id", "patient_id", "report", "findings", "statements", "age", "sex", "recorded_at", "source")


def is_ecg_type(type_: pa.DataType) -> bool:
    import pyarrow as pa

    names = {field.name for field in type_} if pa.types.is_struct(type_) else set()
    return {"bytes", "gain", "leads", "sampling_rate"} <= names


def _row(row: Mapping[str, Any], column: str, name: str, record_id: str | None) -> ECGRecord:
    ecg = row[column]
    if ecg is None or ecg["bytes"] is None:
        raise ECGReadError(f"{name}: holds no samples" + (", only a path; read that file." if ecg else "."))
    leads, gain, samples = list(ecg["leads"] or ()), ecg["gain"] or [], ecg["bytes"]
    try:
        check_stored(samples, gain, leads)
    except ECGError as error:
        raise ECGReadError(f"{name}: {error}.") from None
    check_leads(name, len(leads))
    rate = check_rate(name, math.nan if ecg["sampling_rate"] is None else float(ecg["sampling_rate"]))
    signal = millivolts(stored_steps(samples, len(leads)), gain)
    try:
        when = _time(row.get("recorded_at"))
        return ECGRecord(
            signal=signal,
            sampling_rate=rate,
            leads=tuple(known_lead_name(str(lead)) for lead in leads),
            id=row.get("id") or record_id,
            patient_id=row.get("patient_id"),  # a corpus holds pseudonyms, never a hospital's number
            recorded_at=when,
            report=row.get("report"),
            findings=None if row.get("findings") is None else tuple(row["findings"]),
            statements=tuple(row.get("statements") or ()),
            age=row.get("age"),
            sex=row.get("sex"),
            source=row.get("source") or "parquet",
        )
    except (TypeError, ValueError) as error:
        raise ECGReadError(f"{name}: {without_quotes(str(error))}") from None


def _time(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return datetime.fromisoformat(cell)
    except ValueError:  # whose message quotes the cell
        raise ECGReadError("recorded_at is no time in ISO 8601; expected one such as 2024-05-31T08:15:00.") from None
