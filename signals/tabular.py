"""Tables and arrays: CSV, TSV, NumPy and Parquet in, ECGRecords in millivolt out.

Such files say little about themselves. Decided here: what counts as a statement of the file (comment lines, names of
columns, a time column that names its unit) and that what neither the file nor the caller says is asked for. A unit is
never guessed from amplitudes.
"""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .detection import decode_head, split_unit, table_columns
from .limits import check_size
from .record import ECGReadError, ECGRecord, known_lead_name
from .wfdb_header import unit_in_millivolt

if TYPE_CHECKING:
    import pyarrow as pa

_COMMENT = re.compile(r"^[#%]\s*(?P<key>[\w ]+?)\s*(?:\[(?P<in>\w+)\])?\s*[:=]\s*(?P<value>.*?)\s*$")
_RATE_KEYS = (
    "sampling_rate",
    "sampling rate",
    "sampling_frequency",
    "sampling frequency",
    "sample_rate",
    "fs",
    "rate",
)
_UNIT_KEYS = ("unit", "units")
_TIME = re.compile(r"^(?:time|t|seconds?|timestamp)(?:_(?P<unit>s|ms))?$", re.IGNORECASE)
_INDEX = re.compile(r"^(?:|index|sample|samples|n|unnamed: 0)$", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3}
_MISSING = -(1 << 15)  # of the ECG feature's steps
_MAX_COLUMNS = 1024
_MAX_COMMENT_LINES = 1000


class Told:
    """What the caller says of a file that does not say it itself."""

    def __init__(self, sampling_rate: float | None, unit: str | None, leads: Sequence[str] | None) -> None:
        self.sampling_rate, self.unit = sampling_rate, unit
        self.leads = None if leads is None else tuple(leads)

    def rate(self, name: str, found: float | None, where: str = "the file") -> float:
        """The rate in Hz, by file or caller. Raises: ECGReadError where neither says it, or they differ."""
        given = self.sampling_rate
        if found is not None and given is not None and abs(found - given) > 1e-3 * given:
            raise ECGReadError(
                f"{name}: {where} says {found:g} Hz, sampling_rate={given:g} was passed; drop one of them."
            )
        value = found if given is None else float(given)
        if value is None:
            raise ECGReadError(
                f"{name}: does not say its sampling rate. Pass sampling_rate=... in Hz, or write a first line such as "
                "'# sampling_rate: 500'; it cannot be guessed from the samples."
            )
        if not math.isfinite(value) or value <= 0:
            raise ECGReadError(f"{name}: the sampling rate is {value:g}; expected Hz above 0.")
        return value

    def millivolt(self, name: str, found: str | None) -> float:
        """Millivolts per unit, by file or caller. Raises: ECGReadError where neither names one, or they differ."""
        scales = {unit: unit_in_millivolt(unit) for unit in (found, self.unit) if unit is not None}
        for unit, scale in scales.items():
            if scale is None:
                raise ECGReadError(f"{name}: has the unit {unit!r}; expected mV, uV, V or nV.")
        if len(set(scales.values())) > 1:
            raise ECGReadError(f"{name}: the file says {found}, unit={self.unit!r} was passed; drop one of them.")
        if not scales:
            raise ECGReadError(
                f"{name}: does not say in which unit it is. Pass unit='mV' or unit='uV', or write a first line such "
                "as '# unit: mV'; a unit is never guessed, as a wrong one is off by a thousand."
            )
        return next(iter(scales.values()))


def read_csv(data: bytes, told: Told, *, name: str, record_id: str | None, max_bytes: int) -> ECGRecord:
    """Read a table with one column per lead.

    Lines that start with # or % may say `sampling_rate: 500` and `unit: mV`. The first other line names the columns;
    a name may bear its unit, "V1 (uV)". A column called time, with s or ms in its name, gives the rate. Without a
    header line, `told.leads` names the columns.
    """
    text = decode_head(data)
    if text is None:
        raise ECGReadError(f"{name}: is no text; expected a table of numbers with a header of lead names.")
    said, header, body = _comments_and_header(text, name)
    found = table_columns(header)
    if found is None and told.leads is None:
        raise ECGReadError(
            f"{name}: the first line names no lead; expected a header such as 'I,II,V1'. Pass "
            "leads=[...] if the columns have no header."
        )
    if found is None:
        delimiter = max("\t;,", key=header.count)
        columns, body = list(told.leads), f"{header}\n{body}"
    else:
        delimiter, columns = found
        if told.leads is not None and [known_lead_name(lead) for lead in told.leads] != [
            known_lead_name(split_unit(column)[0]) for column in columns
        ]:
            raise ECGReadError(
                f"{name}: names its columns {', '.join(columns)} itself; drop leads=..., or the header."
            )
    if len(columns) > _MAX_COLUMNS:
        raise ECGReadError(f"{name}: has {len(columns):,} columns; at most {_MAX_COLUMNS:,} are read.")
    check_size(name, len(columns), body.count("\n") + 1, max_bytes)
    values = _numbers(body, delimiter, len(columns), name)

    kept, names, units, rate = [], [], set(), _first(said, _RATE_KEYS, name)
    where = "a comment in the file"
    for row, column in enumerate(columns):
        bare, unit = split_unit(column)
        time = _TIME.match(bare)
        if time or (_INDEX.match(bare) and row == 0):
            seconds = _SECONDS.get((unit or (time["unit"] if time else "") or "").lower()) if time else None
            if seconds is not None:
                clock = _rate_of_clock(values[row] * seconds, name)
                if rate is not None and abs(clock - rate) > 1e-3 * rate:
                    raise ECGReadError(f"{name}: a comment says {rate:g} Hz, the column {column!r} {clock:g} Hz.")
                if rate is None:
                    rate, where = clock, "its time column"
            continue
        kept.append(row)
        names.append(known_lead_name(bare))
        units.add(unit)
    if not kept:
        raise ECGReadError(f"{name}: has no column of a lead among {', '.join(columns)}.")
    stated = {unit for unit in units if unit is not None}
    if len(units) > 1 or len(stated) > 1:
        raise ECGReadError(
            f"{name}: the columns' units differ ({', '.join(sorted(unit or 'none' for unit in units))}); expected one."
        )
    commented = next((value for key, value in said.items() if key in _UNIT_KEYS), None)
    in_column = next(iter(stated), None)
    if in_column and commented and unit_in_millivolt(in_column) != unit_in_millivolt(commented):
        raise ECGReadError(f"{name}: a comment says {commented}, the columns say {in_column}; correct one of them.")
    scale = told.millivolt(name, in_column or commented)
    return _record(name, values[kept] * scale, told.rate(name, rate, where), names, record_id, "csv")


def read_numpy(data: bytes, told: Told, *, name: str, record_id: str | None, max_bytes: int) -> ECGRecord:
    """Read a .npy or .npz file: [leads, samples], or the transpose where only that fits the number of leads.

    An .npz may hold `signal`, `sampling_rate`, `leads` and `unit`; whatever it lacks the caller says.
    """
    if data.startswith(b"PK"):
        arrays = _npz(data, name, max_bytes)
        source = "npz"
    else:
        arrays, source = {"signal": _npy(data, name, max_bytes)}, "npy"
    signal = arrays.pop("signal", None)
    if signal is None:
        raise ECGReadError(f"{name}: holds {', '.join(arrays) or 'nothing'}; expected an array called 'signal'.")
    if signal.dtype.kind not in "fiu":
        raise ECGReadError(f"{name}: holds {signal.dtype}; expected numbers, [leads, samples].")
    leads = told.leads
    if "leads" in arrays:
        leads = tuple(str(lead) for lead in np.atleast_1d(arrays["leads"]))
    if not leads:
        raise ECGReadError(f"{name}: does not name its leads. Pass leads=['I', 'II', ...] in the order of its rows.")
    if signal.ndim == 1:
        signal = signal[None]
    notes = []
    if signal.ndim == 2 and signal.shape[0] != len(leads) and signal.shape[1] == len(leads):
        signal = signal.T
        notes.append("the array is [samples, leads]; it was transposed")
    if signal.ndim != 2 or signal.shape[0] != len(leads) or not signal.shape[1]:
        raise ECGReadError(
            f"{name}: has the shape {signal.shape}, {len(leads)} leads are named; expected [{len(leads)}, samples]."
        )
    rate, unit = _scalar(arrays, "sampling_rate", name), _scalar(arrays, "unit", name)
    if rate is not None and not isinstance(rate, (int, float)):
        raise ECGReadError(f"{name}: its sampling_rate is {type(rate).__name__}; expected a number of Hz.")
    scale = told.millivolt(name, None if unit is None else str(unit))
    rate = told.rate(name, None if rate is None else float(rate))
    names = [known_lead_name(lead) for lead in leads]
    return _record(name, signal.astype(np.float64) * scale, rate, names, record_id, source, notes)


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
            "groups, or pass max_bytes=...."
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
    leads, gain, steps = list(ecg["leads"] or ()), ecg["gain"] or [], ecg["bytes"]
    if not leads or len(gain) != len(leads) or not steps or len(steps) % (2 * len(leads)):
        raise ECGReadError(
            f"{name}: holds {len(steps):,} bytes, {len(gain)} gains and {len(leads)} leads; expected one gain per "
            "lead and 2 bytes x leads x samples."
        )
    if not all(value is not None and math.isfinite(value) and value > 0 for value in gain):
        raise ECGReadError(f"{name}: has the gains {gain}; expected millivolt per step above 0.")
    counts = np.frombuffer(steps, dtype="<i2").reshape(len(leads), -1)
    # The feature stores microvolts: division by 1000 rounds once, a product with float32(0.001) twice.
    divisor = [1000.0 if np.float32(value) == np.float32(0.001) else 1 / float(np.float32(value)) for value in gain]
    signal = (counts / np.array(divisor)[:, None]).astype(np.float32)
    signal[counts == _MISSING] = np.nan
    when = row.get("recorded_at")
    try:
        return ECGRecord(
            signal=signal,
            sampling_rate=float(ecg["sampling_rate"]),
            leads=tuple(known_lead_name(str(lead)) for lead in leads),
            id=row.get("id") or record_id,
            patient_id=row.get("patient_id"),  # a corpus holds pseudonyms, never a hospital's number
            recorded_at=datetime.fromisoformat(when) if isinstance(when, str) else when,
            report=row.get("report"),
            findings=None if row.get("findings") is None else tuple(row["findings"]),
            statements=tuple(row.get("statements") or ()),
            age=row.get("age"),
            sex=row.get("sex"),
            source=row.get("source") or "parquet",
        )
    except (TypeError, ValueError) as error:
        raise ECGReadError(f"{name}: {error}") from error


def _comments_and_header(text: str, name: str) -> tuple[dict[str, str], str, str]:
    """(what the comments say, the first other line, the rest)."""
    said: dict[str, str] = {}
    for _ in range(_MAX_COMMENT_LINES):
        line, _, text = text.partition("\n")
        line = line.strip()
        if not line and not text:
            break
        if line and not line.startswith(("#", "%")):
            return said, line, text
        comment = _COMMENT.match(line)
        if comment:
            said[comment["key"].lower()] = comment["value"]
            if comment["in"]:  # '# sampling_rate [Hz]: 500'
                said[f"{comment['key'].lower()} in"] = comment["in"]
    raise ECGReadError(f"{name}: holds no table; expected a header of lead names and a line per sample.")


def _first(said: dict[str, str], keys: tuple[str, ...], name: str) -> float | None:
    for key in keys:
        if key in said:
            number = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(?:Hz)?", said[key], re.IGNORECASE)
            if number is None or said.get(f"{key} in", "Hz").lower() != "hz":
                raise ECGReadError(f"{name}: says {key} {said[key]!r}; expected a number of Hz, such as 500.")
            return float(number[1])
    return None


def _numbers(body: str, delimiter: str, columns: int, name: str) -> np.ndarray:
    """float64 [columns, rows]; an empty field is NaN."""
    import pandas as pd

    decimal = "," if delimiter == ";" and "," in body[:10_000] and "." not in body[:10_000] else "."
    try:
        frame = pd.read_csv(
            io.StringIO(body),
            sep=delimiter,
            decimal=decimal,
            header=None,
            dtype=np.float64,
            comment="#",
            skipinitialspace=True,
            on_bad_lines="error",
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError, OverflowError) as error:
        raise ECGReadError(
            f"{name}: is no table of {columns} columns of numbers: {_cause(error)}. Expected one "
            "line per sample, empty where a sample is missing."
        ) from error
    if frame.shape[1] != columns:
        raise ECGReadError(
            f"{name}: is no table of {columns} columns: its lines have {frame.shape[1]}. Expected one field per name."
        )
    return frame.to_numpy(dtype=np.float64).T


def _cause(error: Exception) -> str:
    """pandas' message without the words that it quotes from the file."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "(not shown)", " ".join(str(error).split()))[:200]


def _rate_of_clock(seconds: np.ndarray, name: str) -> float:
    """Hz of equally spaced times."""
    steps = np.diff(seconds)
    if not len(steps) or not np.isfinite(steps).all() or steps.min() <= 0:
        raise ECGReadError(f"{name}: its time column does not rise from line to line; expected seconds or ms.")
    step = (seconds[-1] - seconds[0]) / len(steps)
    if np.abs(steps - step).max() > 0.5 * step:
        raise ECGReadError(
            f"{name}: its time column has gaps: steps from {steps.min():g} to {steps.max():g} s. Expected equal "
            "steps; fill what is missing with empty fields."
        )
    rate = 1 / step
    return float(round(rate)) if abs(rate - round(rate)) < 1e-3 * rate else rate


def _record(
    name: str,
    signal: np.ndarray,
    rate: float,
    names: list[str],
    record_id: str | None,
    source: str,
    notes: Sequence[str] = (),
) -> ECGRecord:
    notes = list(notes)
    missing = np.isnan(signal)
    if missing.all():
        raise ECGReadError(f"{name}: holds no number at all.")
    if missing.any():
        lacking = ", ".join(lead for lead, row in zip(names, missing, strict=True) if row.any())
        notes.append(f"{int(missing.sum())} missing samples are NaN, in {lacking}")
    try:
        with np.errstate(over="ignore"):
            samples = signal.astype(np.float32)
        return ECGRecord(samples, rate, tuple(names), id=record_id, notes=tuple(notes), source=source)
    except (TypeError, ValueError) as error:
        raise ECGReadError(f"{name}: {error}") from error


def _npy(data: bytes, name: str, max_bytes: int) -> np.ndarray:
    """One array, its header compared with the file before anything is allocated."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = header(stream, max_header_size=10_000)
        if dtype.hasobject:
            raise ValueError("it holds Python objects, which could run code")
        count = math.prod(shape)
        promised, held = count * dtype.itemsize, len(data) - stream.tell()
        if count < 0 or promised > min(held, max_bytes):
            raise ValueError(f"it promises {shape} x {dtype.itemsize} bytes = {promised:,} and holds {held:,}")
        array = np.frombuffer(data, dtype=dtype, count=count, offset=stream.tell())
        return array.reshape(shape, order="F" if fortran else "C")
    except (ValueError, TypeError, SyntaxError, OverflowError) as error:
        raise ECGReadError(f"{name}: is no readable NumPy array: {error}. Save or copy it again.") from error


def _npz(data: bytes, name: str, max_bytes: int) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.endswith(".npy")]
            total = sum(entry.file_size for entry in entries)  # zipfile reads no more than this of an entry
            if total > max_bytes:
                raise ECGReadError(f"{name}: unpacks to {total:,} bytes; the limit is {max_bytes:,} (max_bytes=...).")
            return {entry.filename[:-4]: _npy(archive.read(entry), name, max_bytes) for entry in entries}
    except ECGReadError:
        raise
    except Exception as error:  # zipfile raises its own errors, and those of zlib, struct and the codecs
        raise ECGReadError(f"{name}: is no readable .npz archive: {error}. Save or copy it again.") from error


def _scalar(arrays: Mapping[str, np.ndarray], key: str, name: str) -> Any:
    if key not in arrays:
        return None
    if arrays[key].size != 1:
        raise ECGReadError(f"{name}: its {key} has {arrays[key].size} values; expected one.")
    return arrays[key].item()
