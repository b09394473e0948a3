"""CSV and TSV: the text of a table with one column per lead in, an ECGRecord in millivolt out.

Decided here: what counts as a statement of the file (comment lines, names and units of columns, a line of units, a
time column that names its unit), and that a line with fewer fields than names is damage, not missing samples.
"""

from __future__ import annotations

import io
import re

import numpy as np

from ....signal_ecgllm import LEADS
from ...limits import check_leads, check_size
from ...quotes import without_quotes
from ...record import ECGReadError, ECGRecord, known_lead_name
from ..detection import decode_text, is_comment, is_unit_line, split_unit, table_columns
from ..wfdb.header import unit_in_millivolt
from .tabular import TableDescription, table_record

_COMMENT_KEY = re.compile(r"[\w ]+")
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
_TIME = re.compile(r"^(?:elapsed[ _])?(?:time|t|seconds?|timestamp)(?:_(?P<unit>s|ms))?$", re.IGNORECASE)
_INDEX = re.compile(r"^(?:|index|sample|samples|n|unnamed: 0)$", re.IGNORECASE)
_SECONDS = {"s": 1.0, "sec": 1.0, "seconds": 1.0, "ms": 1e-3}
_MAX_COMMENT_LINES = 1000


def read_csv(
    data: bytes, described: TableDescription, *, name: str, record_id: str | None, max_bytes: int
) -> ECGRecord:
    """Read a table with one column per lead.

    Lines that start with # or % may say `sampling_rate: 500` and `unit: mV`. The first other line names the columns;
    a name may bear its unit, "V1 (uV)", or a second line gives the units. A column called time, with s or ms as its
    unit, gives the rate. Without a header line, `described.leads` names the columns.
    """
    text = decode_text(data)
    if text is None:
        raise ECGReadError(f"{name}: is no text; expected a table of numbers with a header of lead names.")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    said, header, body = _comments_and_header(text, name)
    delimiter, columns, body = _columns(header, body, described, name)
    check_size(name, len(columns), body.count("\n") + 1, max_bytes)
    below = body.partition("\n")
    units = [split_unit(column)[1] for column in columns]
    fields = below[0].split(delimiter)
    if len(fields) == len(columns) and is_unit_line(fields):
        units = [unit or field.strip(" \"'()[]") or None for unit, field in zip(units, fields, strict=True)]
        body = below[2]
    values = _numbers(body, delimiter, len(columns), name)

    rate, where = _rate_of_comments(said, name), "a comment in the file"
    kept, names = [], []
    for row, column in enumerate(columns):
        bare = split_unit(column)[0]
        time = _TIME.match(bare)
        if time or (_INDEX.match(bare) and row == 0):
            unit = (units[row] or (time["unit"] if time else "") or "").lower()
            if time and unit in _SECONDS:
                clock = _rate_of_clock(values[row] * _SECONDS[unit], name)
                if rate is not None and abs(clock - rate) > 1e-3 * rate:
                    raise ECGReadError(f"{name}: a comment says {rate:g} Hz, the column of times {clock:g} Hz.")
                if rate is None:
                    rate, where = clock, "its time column"
            elif time:
                _check_clock_without_unit(values[row], described.rate(name, rate), name)
            continue
        if not bare and np.isnan(values[row]).all():  # the names end with a delimiter
            continue
        kept.append(row)
        names.append(known_lead_name(bare))
    if not kept:
        raise ECGReadError(f"{name}: none of its {len(columns)} columns is of a lead; expected names such as I or V1.")
    scale = described.millivolt(name, _unit({units[row] for row in kept}, said, name))
    unknown = [lead for lead in names if lead not in LEADS]
    notes = (
        [f"columns whose names are no standard lead were read all the same: {', '.join(unknown)}"] if unknown else []
    )
    return table_record(name, values[kept] * scale, described.rate(name, rate, where), names, record_id, "csv", notes)


def _columns(header: str, body: str, described: TableDescription, name: str) -> tuple[str, list[str], str]:
    """(delimiter, names of the columns, the lines of numbers), with names from the file or the caller."""
    found = table_columns(header)
    if found is None and described.leads is None:
        raise ECGReadError(
            f"{name}: the first line names no lead; expected a header such as 'I,II,V1'. Pass "
            "leads=[...] (--leads I,II,...) if the columns have no header."
        )
    if found is None:
        delimiter = max("\t;,", key=header.count)
        columns, body = list(described.leads), f"{header}\n{body}"
    else:
        delimiter, columns = found
        if described.leads is not None and [known_lead_name(lead) for lead in described.leads] != [
            known_lead_name(split_unit(column)[0]) for column in columns
        ]:
            raise ECGReadError(
                f"{name}: names its {len(columns)} columns itself, and otherwise; drop leads=..., or the header."
            )
    check_leads(name, len(columns))
    return delimiter, columns, body


def _unit(units: set[str | None], said: dict[str, str], name: str) -> str | None:
    """The one unit that columns and comments state; None where neither does."""
    stated = {unit for unit in units if unit is not None}
    if len(units) > 1 or len(stated) > 1:
        raise ECGReadError(
            f"{name}: the columns' units differ ({', '.join(sorted(map(_known_unit, units)))}); expected one."
        )
    commented = next((value for key, value in said.items() if key in _UNIT_KEYS), None)
    in_column = next(iter(stated), None)
    if in_column and commented and unit_in_millivolt(in_column) != unit_in_millivolt(commented):
        raise ECGReadError(
            f"{name}: a comment says {_known_unit(commented)}, the columns say {_known_unit(in_column)}; correct one "
            "of them."
        )
    return in_column or commented


def _known_unit(unit: str | None) -> str:
    """A unit as an error may show it: what the file says instead of one may be anything."""
    return "none" if unit is None else unit if unit_in_millivolt(unit) else "no voltage"


def _comments_and_header(text: str, name: str) -> tuple[dict[str, str], str, str]:
    """(what the comments say, the first other line, the rest)."""
    said: dict[str, str] = {}
    start = 0
    for _ in range(_MAX_COMMENT_LINES):
        end = text.find("\n", start)
        end = len(text) if end < 0 else end
        line, start = text[start:end].strip(), end + 1
        if line and not is_comment(line):
            return said, line, text[start:]
        said |= _said(line)
        if start >= len(text):
            break
    raise ECGReadError(f"{name}: holds no table; expected a header of lead names and a line per sample.")


def _said(line: str) -> dict[str, str]:
    """{"fs": "500"} of "# fs: 500"; of "# fs [Hz]: 500" {"fs": "500", "fs in": "Hz"}; nothing of other lines."""
    places = [place for place in (line.find(":"), line.find("=")) if place > 0]
    if not places or line[0] not in "#%":
        return {}
    key, value = line[1 : min(places)].strip(), line[min(places) + 1 :].strip()
    key, bracket, unit = key.removesuffix("]").partition("[") if key.endswith("]") else (key, "", "")
    key, unit = key.strip().lower(), unit.strip()
    if not _COMMENT_KEY.fullmatch(key) or (bracket and not unit.isalnum()):
        return {}
    return {key: value, f"{key} in": unit} if bracket else {key: value}


def _rate_of_comments(said: dict[str, str], name: str) -> float | None:
    rates = {}
    for key in _RATE_KEYS:
        if key in said:
            number = re.fullmatch(r"(\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*(?:Hz)?", said[key], re.IGNORECASE)
            if number is None or said.get(f"{key} in", "Hz").lower() != "hz":
                raise ECGReadError(f"{name}: says {key} and no number of Hz behind it; expected one, such as 500.")
            rates[key] = float(number[1])
    if len(set(rates.values())) > 1:
        described = ", ".join(f"{key} {rate:g}" for key, rate in rates.items())
        raise ECGReadError(f"{name}: its comments state several rates ({described}); correct or drop one of them.")
    return next(iter(rates.values()), None)


def _numbers(body: str, delimiter: str, columns: int, name: str) -> np.ndarray:
    """float64 [columns, rows]; an empty field is NaN. Raises: ECGReadError for lines with too many or too few."""
    import pandas as pd

    if "#" in body:
        body = re.sub(r"#.*", "", body)
    if columns == 1 and "\n\n" in body.strip("\n"):
        raise ECGReadError(
            f"{name}: has empty lines between its numbers; expected one line per sample. Write NaN where a sample is "
            "missing, or drop the empty lines."
        )
    decimal = "," if delimiter != "," and "," in body and "." not in body else "."
    try:
        frame = pd.read_csv(
            io.StringIO(body),
            sep=delimiter,
            decimal=decimal,
            header=None,
            dtype=np.float64,
            na_values=["-", "--"],
            skipinitialspace=True,
            on_bad_lines="error",
        )
    except (ValueError, pd.errors.ParserError, pd.errors.EmptyDataError, OverflowError) as error:
        raise ECGReadError(
            f"{name}: is no table of {columns} columns of numbers: {without_quotes(str(error))[:200]}. "
            + (
                _about_commas(body, delimiter, columns)
                or "Expected one line per sample, empty where a sample is missing."
            )
        ) from None
    if frame.shape[1] != columns:
        raise ECGReadError(
            f"{name}: is no table of {columns} columns: its lines have {frame.shape[1]}. "
            + (_about_commas(body, delimiter, columns) or "Expected one field per name.")
        )
    found, expected = body.count(delimiter), len(frame) * (columns - 1)
    if found != expected:
        last = body.rstrip("\n").rpartition("\n")[2].count(delimiter) + 1
        where = (
            f"the last line has {last}; the file is cut" if expected - found == columns - last else "some have fewer"
        )
        raise ECGReadError(
            f"{name}: its lines should have {columns} fields each, and {where}. Expected an empty field where a "
            "sample is missing; copy the file again, or delete the broken lines."
        )
    if _ends_within_a_number(body, delimiter):
        raise ECGReadError(
            f"{name}: its last number has fewer decimals than all others and no line break behind it; the file is "
            "cut. Copy it again, or delete its last line."
        )
    return frame.to_numpy(dtype=np.float64).T


def _about_commas(body: str, delimiter: str, columns: int) -> str | None:
    """What to do about decimal commas that cannot be told from other commas; None where there are none such."""
    # A number with a decimal comma is two fields: of every line, or of all but a time or an integer in some.
    most = max((line.count(",") + 1 for line in body[:20_000].splitlines()), default=0)
    doubled = "." not in body and 2 * columns - (columns > 2) <= most <= 2 * columns
    if delimiter == "," and (doubled or re.search(r'"-?\d+,\d+"', body)):
        return (
            "Commas seem to stand within its numbers, as decimal commas, and between its columns; expected one of the "
            "two. Write decimal points, or put semicolons or tabs between the columns."
        )
    if delimiter != "," and "," in body and "." in body:
        return (
            "It holds decimal commas and decimal points; expected the same in all numbers, and none between "
            "thousands. Write decimal points everywhere."
        )
    return None


def _ends_within_a_number(body: str, delimiter: str) -> bool:
    """Whether a table of numbers of equal decimals stops in the middle of its last one."""
    if body.endswith("\n"):
        return False
    *before, last = (line.rpartition(delimiter)[2] for line in body[-20_000:].split("\n")[1:] or [""])
    decimals = {len(field) - 1 - max(field.rfind("."), field.rfind(",")) for field in before if field}
    point = max(last.rfind("."), last.rfind(","))
    return len(before) > 20 and len(decimals) == 1 and len(last) - 1 - point not in decimals


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


def _check_clock_without_unit(times: np.ndarray, rate: float, name: str) -> None:
    """Refuse a time column that names no unit where it fits the rate in none: s, ms, us or samples counted."""
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0
    if not any(abs(step * rate - per_second) <= 1e-2 * per_second for per_second in (1, 1e3, 1e6, rate)):
        raise ECGReadError(
            f"{name}: its column of times rises by {step:g} a line, which is {rate:g} Hz in no unit of time. "
            "Correct the rate, or name the unit, as in 'time (s)'."
        )
