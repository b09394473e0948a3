"""WFDB headers: the text of a .hea file in, a `WFDBHeader` out.

Nothing is read but the header. Decided here: which headers are refused before any sample is touched (names that leave
the record's folder, several rates), the defaults that the format defines, and what of the comments is kept: age, sex
and diagnostic statements, never a name. Corpora hold hundreds of thousands of these texts, so what repeats from line
to line and from record to record (a record line, the columns of formats and gains) is parsed once and remembered.
Source: https://physionet.org/physiotools/wag/header-5.htm
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ....errors_ecgllm import ECGError
from ...limits import LARGEST_GAIN, MAX_LEADS, SMALLEST_GAIN, check_rate
from ...record import ECGReadError

MAX_HEADER_BYTES = 1 << 20
_MILLIVOLT_PER_UNIT = {"mv": 1.0, "millivolt": 1.0, "millivolts": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3,
                       "microvolt": 1e-3, "microvolts": 1e-3, "v": 1e3, "volt": 1e3, "volts": 1e3,
                       "mvolt": 1.0, "millivol": 1.0, "uvolt": 1e-3, "microvol": 1e-3,  # EDF's field has 8 characters
                       "nv": 1e-6, "nanovolt": 1e-6, "nanovolts": 1e-6}  # fmt: skip
_DEFAULT_GAIN = 200.0  # adu per millivolt
_DEFAULT_RATE = 250.0  # Hz
_FORMAT = re.compile(r"^(?P<format>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<offset>\d+))?$")
_GAIN = re.compile(r"^(?P<gain>[^(/]*)(?:\((?P<baseline>[+-]?\d+)\))?(?:/(?P<unit>.+))?$")
_FIELDS = frozenset(("age", "sex", "gender", "dx", "diagnoses"))
_NAMES_A_PERSON = re.compile(r"<?[\w ]*(?:name|patient|birth|dob|mrn|\bid|physician|doctor|address)\b", re.IGNORECASE)
_SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
_UNKNOWN = ("", "nan", "unknown", "n/a", "none")
_SEGMENTS = re.compile(r"^(?P<name>.+)/(?P<segments>\d+)$")
_MAX_SEGMENTS = 100_000
# Fields of a signal line that may lack at its end; the name's place is taken by the signal's number.
_OPTIONAL_FIELDS = ("", "", "0", "0", "0", None, "0")
_NO_FACTS = (None, None, (), False)  # of a header without comments


def unit_in_millivolt(unit: str) -> float | None:
    """Millivolts per unit for "mV", "uV", "V", "nV" and their usual spellings; None for anything else."""
    return _MILLIVOLT_PER_UNIT.get(unit.strip().lower())


class SignalLine(NamedTuple):
    """What a corpus repeats of a signal line: all but its file and checksum. `gain` in adu per `unit`;
    `millivolts_per_unit` is None where the unit is no voltage."""

    format: int
    skew: int
    byte_offset: int
    gain: float
    baseline: int
    unit: str
    millivolts_per_unit: float | None
    name: str


class Segment(NamedTuple):
    """One segment of a record of several: the name of its own record, or "~" for a gap, and its length."""

    name: str
    n_samples: int


@dataclass(frozen=True, eq=False)
class SignalKinds:
    """All signal lines of a header; records whose columns are alike share one, so that it can be remembered what it
    means. `notes` are what was noticed in them."""

    lines: tuple[SignalLine, ...]
    notes: tuple[str, ...] = ()


@dataclass
class WFDBHeader:
    """What a .hea file says. `n_samples` is None where it leaves the length to the signal file.

    `files` and `checksums` (None where it states none) go with the signals, one each. A record of several segments
    has `segments` and no signals; `n_signals` is what its record line says.
    """

    path: str
    sampling_rate: float
    n_samples: int | None
    recorded_at: datetime | None = field(repr=False)
    kinds: SignalKinds
    files: tuple[str, ...]
    checksums: tuple[int | None, ...]
    age: float | None = field(repr=False)
    sex: str | None = field(repr=False)
    statements: tuple[str, ...] = field(repr=False)
    has_ludb_comments: bool
    notes: tuple[str, ...]
    n_signals: int = 0
    segments: tuple[Segment, ...] = ()

    @property
    def signals(self) -> tuple[SignalLine, ...]:
        return self.kinds.lines


_NO_SIGNALS = SignalKinds(())


def header_text(path: str) -> bytes:
    """The content of the .hea file at `path`. Raises: ECGReadError if it is too long for one."""
    size = os.stat(path).st_size
    if size > MAX_HEADER_BYTES:
        raise ECGReadError(f"{path}: {size:,} bytes; a header is a short text, at most {MAX_HEADER_BYTES:,} are read.")
    with open(path, "rb") as file:
        return file.read()


def read_header(path: str, text: bytes) -> WFDBHeader:
    """Parse the .hea file at `path`, whose content is `text`. Raises: ECGReadError naming the line that does not
    fit."""
    head, hash_sign, rest = text.decode("utf-8", errors="replace").partition("#")
    lines = [line for line in head.splitlines() if line and not line.isspace()]
    comments: list[str] = []
    # A comment may follow on the line of a signal, as in a header whose line break got lost.
    for line in f"#{rest}".splitlines() if hash_sign else ():
        content, hash_sign, comment = line.partition("#")
        if content and not content.isspace():
            lines.append(content)
        if hash_sign:
            comments.append(comment)
    if not lines:
        raise ECGReadError(
            f"{path}: holds no record line; expected 'name leads rate samples' first. Is it a WFDB header?"
        )

    n_segments, n_signals, rate, n_samples, recorded_at, noticed = parse_record_line(path, lines.pop(0))
    notes = list(noticed)
    if len(lines) != (n_segments or n_signals):
        kind = "segments" if n_segments else "signals"
        raise ECGReadError(
            f"{path}: the record line promises {n_segments or n_signals} {kind}, {len(lines)} lines follow. The "
            "header is damaged or cut; copy it again."
        )
    segments: tuple[Segment, ...] = ()
    kinds = _NO_SIGNALS
    files: tuple[str, ...] = ()
    checksums: tuple[int | None, ...] = ()
    if n_segments:
        segments = tuple(_segment_line(path, line) for line in lines)
    else:
        kinds, files, checksums = _signal_lines(path, lines)
        notes += kinds.notes
    check_rate(path, rate)  # after the signals: of several samples a frame, the record line gives frames per second
    age, sex, statements, has_ludb_comments = comment_facts(comments, notes) if comments else _NO_FACTS
    return WFDBHeader(
        path, rate, n_samples, recorded_at, kinds, files, checksums, age, sex, statements, has_ludb_comments,
        tuple(notes), n_signals, segments,
    )  # fmt: skip


# Behind the record's name: what each field of a record line is, and what reads it.
_RECORD_FIELDS = (
    ("the number of leads", int),
    ("the rate", lambda text: float(text.partition("/")[0].partition("(")[0])),
    ("the number of samples", int),
)


def _wrong_field(fields: list[str], kinds: tuple[tuple[str, Callable[[str], Any]], ...]) -> str:
    """Which field behind the first is missing or no number. Nothing is quoted: it may be a name."""
    for position, (what, read) in enumerate(kinds, 1):
        if position == len(fields):
            return f"which ends before {what}"
        try:
            read(fields[position])
        except ValueError:
            return f"whose field {position + 1}, {what}, is no number"
    return f"which has {len(fields)} fields"


class RecordLine(NamedTuple):
    """A header's first line. `n_segments` is 0 for a record of one piece; the record's name is not used: real headers
    carry others, such as "E07938.mat"."""

    n_segments: int
    n_signals: int
    sampling_rate: float
    n_samples: int | None
    recorded_at: datetime | None
    notes: tuple[str, ...]

    def __repr__(self) -> str:
        year = None if self.recorded_at is None else self.recorded_at.year
        return f"RecordLine({self.n_signals} leads x {self.n_samples} at {self.sampling_rate:g} Hz, year {year})"


def parse_record_line(path: str, line: str) -> RecordLine:
    """Parse a record line. Raises: ECGReadError with `path` where it does not fit."""
    name, *described = line.split(None, 1)
    try:
        return _record_line(line if "/" in name else " ".join(["name", *described]))
    except ECGReadError as error:
        raise ECGReadError(f"{path}: {error}") from None


@lru_cache(maxsize=256)
def _record_line(line: str) -> RecordLine:
    fields = line.split()
    several = _SEGMENTS.match(fields[0]) if "/" in fields[0] else None
    try:
        n_segments = int(several["segments"]) if several else 0
        n_signals = int(fields[1])
        rate = float(fields[2].partition("/")[0].partition("(")[0]) if len(fields) > 2 else _DEFAULT_RATE
        n_samples = int(fields[3]) if len(fields) > 3 else 0
    except (IndexError, ValueError):  # whose message may quote a name
        raise ECGReadError(
            f"cannot read the record line, {_wrong_field(fields, _RECORD_FIELDS)}; expected 'name leads rate "
            "samples', such as 'a01 12 500 5000'."
        ) from None
    if not 1 <= n_signals <= MAX_LEADS or n_samples < 0:
        raise ECGReadError(
            f"the record line gives {n_signals} signals and {n_samples} samples; expected 1 to "
            f"{MAX_LEADS:,} signals and no negative length."
        )
    if several and not 1 <= n_segments <= _MAX_SEGMENTS:
        raise ECGReadError(
            f"the record line promises {n_segments} segments; expected 1 to {_MAX_SEGMENTS:,}. Read the "
            "segments by their own headers."
        )
    notes: list[str] = []
    if len(fields) <= 2:
        notes.append(f"the header names no sampling rate; WFDB's default of {_DEFAULT_RATE:g} Hz was taken")
    recorded_at = _start(fields[4:], notes) if len(fields) > 5 else None
    return RecordLine(n_segments, n_signals, rate, n_samples or None, recorded_at, tuple(notes))


def _start(fields: list[str], notes: list[str]) -> datetime | None:
    """The start of the recording from WFDB's 'HH:MM:SS DD/MM/YYYY'; a time of day alone is no date."""
    for form in ("%H:%M:%S %d/%m/%Y", "%H:%M:%S.%f %d/%m/%Y", "%H:%M %d/%m/%Y"):
        try:
            return datetime.strptime(" ".join(fields[:2]), form)
        except ValueError:
            continue
    # CinC Challenge headers hold 'DD-Mon-YYYY HH:MM:SS': one second for dozens of patients, the time of the files'
    # conversion.
    notes.append(
        "the header's date is not in WFDB's form; converters write other forms for the time of conversion, so it was "
        "not taken as the time of recording"
    )
    return None


def _segment_line(path: str, line: str) -> Segment:
    fields = line.split()
    if len(fields) != 2 or not fields[1].isdecimal() or len(fields[1]) > 15:
        raise ECGReadError(
            f"{path}: cannot read a segment line of {len(fields)} words; expected 'name samples', such as 'a01_0001 "
            "5000'."
        )
    if fields[0] != "~":
        check_bare_name(path, "names a segment", fields[0])
    return Segment(fields[0], int(fields[1]))


def check_bare_name(path: str, what: str, name: str) -> None:
    """Refuse a name that leads out of the header's folder."""
    if "/" in name or "\\" in name or name in (".", "..") or "\0" in name or Path(name).name != name:
        raise ECGReadError(
            f"{path}: {what}, which lies outside the header's folder; expected a bare file name. Do not trust this "
            "header; if it is yours, put the files into one folder and correct the name."
        )


def record_name(path: str) -> str:
    """The header's name without its suffix; a record may be called "a.b"."""
    name = os.path.basename(path)
    return name.removesuffix(".hea") if name.endswith(".hea") else os.path.splitext(name)[0]


def _layout(text: str) -> tuple[int, int, int, int]:
    """(format, samples per frame, skew, byte offset) of '16x1:0+24'. Raises: ValueError."""
    found = _FORMAT.match(text)
    if found is None:
        raise ECGError("format")
    return int(found["format"]), int(found["per_frame"] or 1), int(found["skew"] or 0), int(found["offset"] or 0)


def _amplitude(text: str) -> tuple[float, int | None, str, float | None]:
    """(gain, baseline, unit, millivolts per unit) of '1000.0(0)/mV'. Raises: ValueError."""
    found = _GAIN.match(text)
    if found is None:
        raise ECGError("gain")
    unit = (found["unit"] or "mV").strip()
    baseline = None if found["baseline"] is None else int(found["baseline"])
    return float(found["gain"] or 0), baseline, unit, _MILLIVOLT_PER_UNIT.get(unit.lower())


@lru_cache(maxsize=1024)
def _is_bare(name: str) -> bool:
    try:
        check_bare_name("", "", name)
    except ECGReadError:
        return False
    return True


def _signal_lines(
    path: str, lines: list[str], first: int = 0
) -> tuple[SignalKinds, tuple[str, ...], tuple[int | None, ...]]:
    """(signals, their files, their checksums) of the lines from signal `first` on. They are read column by
    column, since records of a corpus differ in few of them; where a column does not fit, line by line, to name the
    one at fault."""
    rows = [line.split(None, 8) for line in lines]
    for number, row in enumerate(rows, first):
        if len(row) < 9:
            row += (*_OPTIONAL_FIELDS[len(row) - 1 :], f"signal {number}")
        elif row[8][-1].isspace():
            row[8] = row[8].rstrip()
    files, forms, gains, bits, zeros, firsts, sums, blocks, names = zip(*rows, strict=True)
    try:
        # Bits, first sample and block size are not used, but one that is no number says that a field got lost, and
        # with it the name its place.
        if not "".join([*bits, *blocks]).isdecimal():
            raise ECGError("bits or block size")
        sum(map(int, firsts))
        checksums = tuple([None if text is None else int(text) for text in sums])
        kinds = _signal_kinds(forms, gains, zeros, names)
        are_bare = all(map(_is_bare, set(files)))
    except ValueError as error:
        if len(lines) > 1:
            for number, line in enumerate(lines, first):
                _signal_lines(path, [line], number)
        if isinstance(error, ECGReadError):
            raise ECGReadError(f"{path}: {error}") from error
        raise ECGReadError(
            f"{path}: cannot read the line of signal {first + 1}, which has {len(lines[0].split(None, 8))} fields; "
            "expected 'file format gain(baseline)/unit bits zero first checksum block name', such as 'a01.dat 16 "
            "1000(0)/mV 16 0 -9 7045 0 II'."
        ) from None  # its cause quotes the field, which may be a name
    if not are_bare:
        for file, name in zip(files, names, strict=True):
            check_bare_name(path, f"lead {name} names a signal file", file)
    return kinds, files, checksums


@lru_cache(maxsize=256)
def _signal_kinds(
    forms: tuple[str, ...], gains: tuple[str, ...], zeros: tuple[str, ...], names: tuple[str, ...]
) -> SignalKinds:
    """The signals with these fields, one item a lead. Raises as `signal_kind`."""
    kinds = [signal_kind(*fields) for fields in zip(forms, gains, zeros, names, strict=True)]
    return SignalKinds(tuple([kind for kind, _ in kinds]), tuple([note for _, noticed in kinds for note in noticed]))


@lru_cache(maxsize=4096)
def signal_kind(form_text: str, gain_text: str, zero_text: str, name: str) -> tuple[SignalLine, tuple[str, ...]]:
    """A signal by the fields of its line that say what its counts mean, and notes.

    Raises: ValueError where a number is none, ECGReadError (without the path) where it cannot be right.
    """
    form, per_frame, skew, offset = _layout(form_text)
    if not f"{gain_text}{name}".replace("\t", " ").isprintable():  # "mV" with one bit flipped would be no voltage
        raise ECGError("control characters")
    gain, baseline, unit, millivolts = _amplitude(gain_text)
    zero = int(zero_text)
    if not math.isfinite(gain) or (gain and not SMALLEST_GAIN <= abs(gain) <= LARGEST_GAIN):
        raise ECGReadError(
            f"lead {name} has the gain {gain:g}; expected {SMALLEST_GAIN:g} to {LARGEST_GAIN:g} steps per unit, or 0 "
            "for WFDB's default."
        )
    noticed: tuple[str, ...] = ()
    if gain == 0:
        gain = _DEFAULT_GAIN
        noticed = (
            f"lead {name} has no gain in the header; WFDB's default of {_DEFAULT_GAIN:g} steps per mV was taken",
        )
    elif gain < 0:
        noticed = (f"lead {name} has the negative gain {gain:g}: the header turns it upside down",)
    if per_frame != 1:
        raise ECGReadError(
            f"lead {name} has {per_frame} samples per frame; leads of one common rate are expected. Convert the "
            "record with wfdb (rdrecord, then wrsamp)."
        )
    if baseline is None:
        baseline = zero
    if abs(baseline) > 1 << 31:
        raise ECGReadError(f"lead {name} has the baseline {baseline}; expected a 32-bit number of steps.")
    return SignalLine(form, skew, offset, gain, baseline, unit, millivolts, name), noticed


def comment_facts(comments: list[str], notes: list[str]) -> tuple[float | None, str | None, tuple[str, ...], bool]:
    """(age, sex, statements, are these LUDB's comments) of comments without their "#". Anything else is left where it
    is; what is noticed is added to `notes`."""
    age: float | None = None
    sex: str | None = None
    statements: list[str] = []
    in_diagnoses = False
    for comment in comments:
        key, colon, value = comment.partition(":")
        key = key.strip().removeprefix("<").removesuffix(">").lower()
        if not colon or key not in _FIELDS:
            # LUDB: after '<diagnoses>:' one statement a line
            if in_diagnoses and comment.strip() and not _NAMES_A_PERSON.match(comment.strip()):
                statements.append(f"LUDB:{comment.strip().removesuffix('.')}")
            continue
        value = value.strip()
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
                notes.append("the header's sex is neither female nor male; it was left out")
    return age, sex, tuple(statements), in_diagnoses


def _age(text: str, notes: list[str]) -> float | None:
    if text.isascii() and text.isdecimal() and len(text) < 3:
        return float(text)
    number = re.fullmatch(r"(\d+(?:\.\d*)?)\s*(?:y|yr|yrs|years?)?", text, re.IGNORECASE)
    if number and float(number[1]) <= 130:
        return float(number[1])
    notes.append("the header's age is not a number of years from 0 to 130; it was left out")
    return None
