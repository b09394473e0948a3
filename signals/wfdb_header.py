"""WFDB headers: the text of a .hea file in, a `WFDBHeader` out.

Nothing is read but the header. Decided here: which headers are refused before any sample is touched (file names that
leave the record's folder, several segments, several rates), the defaults that the format defines, and what of the
comments is kept: age, sex and diagnostic statements, never a name.
Source: https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from .record import ECGReadError

_MAX_HEADER_BYTES = 1 << 20
_MILLIVOLT_PER_UNIT = {"mv": 1.0, "millivolt": 1.0, "millivolts": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3,
"microvolt": 1e-3,
                       "microvolts": 1e-3, "v": 1e3, "volt": 1e3, "volts": 1e3}  # fmt: skip
_DEFAULT_GAIN = 200.0  # adu per millivolt
_DEFAULT_RATE = 250.0  # Hz
_FORMAT = re.compile(r"^(?P<format>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?$")
_GAIN = re.compile(r"^(?P<gain>[^(/]*)(?:\((?P<baseline>[+-]?\d+)\))?(?:/(?P<unit>.+))?$")
_FIELD = re.compile(r"^\s*<?(?P<key>age|sex|gender|dx|diagnoses)>?\s*:\s*(?P<value>.*?)\s*$", re.IGNORECASE)
_SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
_UNKNOWN = ("", "nan", "unknown", "n/a", "none")


@dataclass(frozen=True)
class SignalLine:
    """One signal of the header. `gain` in adu per `unit`; `millivolts_per_unit` is None where the unit is no
    voltage."""

    file: str
    format: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    unit: str
    millivolts_per_unit: float | None
    checksum: int | None
    name: str


@dataclass(frozen=True)
class WFDBHeader:
    """What a .hea file says. `n_samples` is None where it leaves the length to the signal file."""

    path: Path
    sampling_rate: float
    n_samples: int | None
    recorded_at: datetime | None
    signals: tuple[SignalLine, ...]
    age: float | None
    sex: str | None
    statements: tuple[str, ...]
    has_ludb_comments: bool
    notes: tuple[str, ...]


def read_header(path: Path) -> WFDBHeader:
    """Parse the .hea file at `path`. Raises: ECGReadError naming the line that does not fit."""
    size = path.stat().st_size
    if size > _MAX_HEADER_BYTES:
        raise ECGReadError(
            f"{path}: {size:,} bytes; a header is a short text, at most {_MAX_HEADER_BYTES:,} are read."
        )
    lines, comments = [], []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        # A comment may follow on the line of a signal, as in a header whose line break got lost.
        content, hash_sign, comment = line.partition("#")
        if content.strip():
            lines.append(content.strip())
        if hash_sign:
            comments.append(comment)
    if not lines:
        raise ECGReadError(
            f"{path}: holds no record line; expected 'name leads rate samples' first. Is it a WFDB header?"
        )

    notes: list[str] = []
    n_signals, rate, n_samples, recorded_at = _record_line(path, lines[0], notes)
    if len(lines) - 1 != n_signals:
        raise ECGReadError(
            f"{path}: the record line promises {n_signals} signals, {len(lines) - 1} lines follow. The header is "
            "damaged or "
            "cut; copy it again."
        )
    signals = tuple(_signal_line(path, line, number, notes) for number, line in enumerate(lines[1:]))
    age, sex, statements, has_ludb_comments = _comments(comments, notes)
    return WFDBHeader(
        path, rate, n_samples, recorded_at, signals, age, sex, statements, has_ludb_comments, tuple(notes)
    )


def _record_line(path: Path, line: str, notes: list[str]) -> tuple[int, float, int | None, datetime | None]:
    """(signals, Hz, samples, start). The record's name is not used: real headers carry others, such as "
    ""E07938.mat"."""
    fields = line.split()
    if re.search(r"/\d+$", fields[0]):
        raise ECGReadError(
            f"{path}: a record of several segments ({fields[0]!r}); one ECG is one segment. Read a segment by its "
            "own header."
        )
    try:
        n_signals = int(fields[1])
        rate = float(re.split(r"[/(]", fields[2])[0]) if len(fields) > 2 else _DEFAULT_RATE
        n_samples = int(fields[3]) if len(fields) > 3 else 0
    except (IndexError, ValueError) as error:
        raise ECGReadError(
            f"{path}: cannot read the record line {line!r}; expected 'name leads rate samples', such as 'a01 12 500 "
            "5000'."
        ) from error
    if n_signals < 1 or n_samples < 0 or not math.isfinite(rate) or rate <= 0:
        raise ECGReadError(
            f"{path}: the record line {line!r} gives {n_signals} signals, {rate:g} Hz and {n_samples} samples; "
            "expected at least "
            "one signal and a rate above 0."
        )
    if len(fields) <= 2:
        notes.append(f"the header names no sampling rate; WFDB's default of {_DEFAULT_RATE:g} Hz was taken")
    return n_signals, rate, n_samples or None, _start(fields[4:], notes)


def _start(fields: list[str], notes: list[str]) -> datetime | None:
    """The start of the recording from WFDB's 'HH:MM:SS DD/MM/YYYY'."""
    if len(fields) < 2:  # a time of day alone is no date
        return None
    for form in ("%H:%M:%S %d/%m/%Y", "%H:%M:%S.%f %d/%m/%Y", "%H:%M %d/%m/%Y"):
        try:
            return datetime.strptime(" ".join(fields[:2]), form)
        except ValueError:
            continue
    # CinC Challenge headers hold 'DD-Mon-YYYY HH:MM:SS': one second for dozens of patients, the time of the files'
    # conversion.
    notes.append(
        f"the header's date {' '.join(fields)!r} is not in WFDB's form; converters write that form for the time of "
        "conversion, "
        "so it was not taken as the time of recording"
    )
    return None


def _signal_line(path: Path, line: str, number: int, notes: list[str]) -> SignalLine:
    fields = line.split(maxsplit=8)
    name = fields[8].strip() if len(fields) > 8 else f"signal {number}"
    layout = _FORMAT.match(fields[1]) if len(fields) > 1 else None
    amplitude = _GAIN.match(fields[2]) if len(fields) > 2 else _GAIN.match("")
    try:
        if layout is None or amplitude is None:
            raise ValueError("format or gain")
        gain = float(amplitude["gain"] or 0)
        adc_zero = int(fields[4]) if len(fields) > 4 else 0
        checksum = int(fields[6]) if len(fields) > 6 else None
    except ValueError as error:
        raise ECGReadError(
            f"{path}: cannot read the signal line {line!r}; expected 'file format gain(baseline)/unit bits zero "
            "first checksum "
            "block name', such as 'a01.dat 16 1000(0)/mV 16 0 -9 7045 0 II'."
        ) from error
    if not math.isfinite(gain):
        raise ECGReadError(f"{path}: lead {name} has the gain {gain}; expected a number of steps per millivolt.")
    if gain == 0:
        gain = _DEFAULT_GAIN
        notes.append(
            f"lead {name} has no gain in the header; WFDB's default of {_DEFAULT_GAIN:g} steps per mV was taken"
        )
    if int(layout["per_frame"] or 1) != 1:
        raise ECGReadError(
            f"{path}: lead {name} has {layout['per_frame']} samples per frame; leads of one common rate are "
            "expected. Convert "
            "the record with wfdb (rdrecord, then wrsamp)."
        )
    file = fields[0]
    if Path(file).name != file or "\\" in file or file in (".", "..") or "\0" in file:
        raise ECGReadError(
            f"{path}: lead {name} names the signal file {file!r}, which lies outside the header's folder; expected a "
            "bare file "
            "name. Do not trust this header; if it is yours, put the files into one folder and correct the name."
        )
    unit = (amplitude["unit"] or "mV").strip()
    return SignalLine(
        file=file,
        format=int(layout["format"]),
        skew=int(layout["skew"] or 0),
        byte_offset=int(layout["offset"] or 0),
        gain=gain,
        baseline=int(amplitude["baseline"]) if amplitude["baseline"] else adc_zero,
        unit=unit,
        millivolts_per_unit=_MILLIVOLT_PER_UNIT.get(unit.lower()),
        checksum=checksum,
        name=name,
    )


def _comments(comments: list[str], notes: list[str]) -> tuple[float | None, str | None, tuple[str, ...], bool]:
    """(age, sex, statements, are these LUDB's comments). Anything else in comments is left where it is."""
    age: float | None = None
    sex: str | None = None
    statements: list[str] = []
    in_diagnoses = False
    for comment in comments:
        field = _FIELD.match(comment)
        if field is None:
            if in_diagnoses and comment.strip():  # LUDB: after '<diagnoses>:' one statement a line
                statements.append(f"LUDB:{comment.strip().removesuffix('.')}")
            continue
        key, value = field["key"].lower(), field["value"]
        if key == "diagnoses":
            in_diagnoses = True
            if value:
                statements.append(f"LUDB:{value.removesuffix('.')}")
        elif key == "dx":
            codes = [code.strip() for code in value.split(",")]
            statements.extend(f"SNOMED:{code}" for code in codes if code.lower() not in _UNKNOWN)
        elif value.lower() in _UNKNOWN:
            continue
        elif key == "age":
            age = _age(value, notes)
        else:
            sex = _SEXES.get(value.lower())
            if sex is None:
                notes.append(f"the header's sex {value!r} is neither female nor male; it was left out")
    return age, sex, tuple(statements), in_diagnoses


def _age(text: str, notes: list[str]) -> float | None:
    number = re.fullmatch(r"(\d+(?:\.\d*)?)\s*(?:y|yr|yrs|years?)?", text, re.IGNORECASE)
    if number and float(number[1]) <= 130:
        return float(number[1])
    notes.append(f"the header's age {text!r} is not a number of years from 0 to 130; it was left out")
    return None
