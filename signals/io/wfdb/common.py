"""The common WFDB record, read fast: format 16 in one signal file, as PTB-XL, MIMIC-IV-ECG and the .mat files of the
CinC Challenges hold it.

In: a header's path and text. Out: the record, or None for everything that is not plainly this case and in order; the
general reader then reads or refuses it. So this module decides nothing but what is plain, and gives no error of its
own. Time goes where bytes are: samples are read once and divided once, in the file's order, and the signal lines that
a corpus repeats in each header are parsed once. `benchmarks/README.md` has the figures.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...limits import HIGHEST_PLAUSIBLE_MV, LOWEST_PLAUSIBLE_MV, check_rate
from ...record import ECGReadError, ECGRecord, known_lead_name
from .header import RecordLine, SignalLine, comment_facts, parse_record_line, signal_kind
from .scaling import fold_interleaved, is_exact_in_float32, to_millivolt

# Half a megabyte: 43 s of twelve leads at 500 Hz. What is longer takes its time anyway, and leads that lie apart in
# memory are summed sample after sample, which float32 bears for so many only.
_MOST_COUNTS = 1 << 18
_SMALLEST_GAIN = 1e-20  # steps per unit: any count divided by it is a finite float32
_MISSING = -(1 << 15)
_FIRST = 1024
_LONGEST_TEXT = 8192  # of a header
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _Lines(NamedTuple):
    """All signal lines of a header but their file, first sample and checksum.

    `gain` is the steps per millivolt that all of them share, with the baseline 0, and None where they share none or
    int16 could pass what is plausible; `lowest_span` the steps that any ECG spans at it.
    """

    lines: tuple[SignalLine, ...]
    leads: tuple[str, ...]
    byte_offset: int
    notes: tuple[str, ...]
    gain: np.float32 | None
    lowest_span: float


def read_common_file(path: str, verify_checksum: bool, max_bytes: int) -> ECGRecord | None:
    """`read_common` of the header `path`. None also where it cannot be read."""
    try:
        handle = os.open(path, _READ_ONLY)
    except (OSError, ValueError):
        return None
    try:
        text = os.read(handle, _LONGEST_TEXT)
    except OSError:
        return None
    finally:
        os.close(handle)
    return read_common(path, text, None, verify_checksum, max_bytes) if len(text) < _LONGEST_TEXT else None


def read_common(
    path: str, text: bytes, signal_file: str | os.PathLike[str] | None, verify_checksum: bool, max_bytes: int
) -> ECGRecord | None:
    """Read the record whose header is `path`, holding `text`. Arguments as `read_wfdb`. None: read it the general
    way."""
    head, hash_sign, comments = text.decode("utf-8", errors="replace").partition("#")
    first, _, rest = head.partition("\n")
    name, _, described = first.partition(" ")
    record_line = _record_line(described)
    fields = rest.split()
    if record_line is None or not fields or name.split() != [name] or "/" in name:
        return None
    _, n_leads, rate, n_samples, recorded_at, notes = record_line
    file, files = fields[0], fields[::9]
    stem, dot, _ = file.rpartition(".")
    ends_in_line = rest[-1] != "\n"
    # Every line starts with the file's name, so that the fields stand in their columns: one too many in a line would
    # put that name in the place of a format.
    if (
        not dot
        or n_samples is None
        or len(fields) != 9 * n_leads
        or files.count(file) != n_leads
        or rest.count(f"\n{file} ") != n_leads - 1
        or rest.count("\n") != n_leads - ends_in_line
    ):
        return None
    if not "".join([*fields[3::9], *fields[7::9]]).isdecimal():  # bits and block size, or what slid into their place
        return None
    lines = _signal_lines(tuple(fields[1::9]), tuple(fields[2::9]), tuple(fields[4::9]), tuple(fields[8::9]))
    remarks = _remarks(comments) if hash_sign else []
    folder, size = path[: -len(stem) - 4], n_samples * n_leads
    if (
        lines is None
        or remarks is None
        or (hash_sign and ends_in_line)
        or f"{folder}{stem}.hea" != path
        or (folder and folder[-1] not in _SEPARATORS)
        or "/" in file
        or "\\" in file
        or size > _MOST_COUNTS
        or size * 4 > max_bytes
    ):
        return None
    if lines.byte_offset and not verify_checksum:
        return None  # what stands before the samples must then be looked at
    if signal_file is not None and os.path.basename(os.fspath(signal_file)) not in (file, f"{stem}.hea"):
        return None
    try:
        checksums = [int(text) & 0xFFFF for text in fields[6::9]]  # written signed or unsigned
        sum(map(int, fields[5::9]))  # the first sample; like bits and block size not used, but a number in sound lines
    except ValueError:
        return None
    counts = _counts(folder + file, lines.byte_offset, size)
    if counts is None:
        return None
    if verify_checksum and fold_interleaved(np.add, counts, n_leads).view(np.uint16).tolist() != checksums:
        return None
    samples = counts.reshape(n_samples, n_leads).T

    age, sex, statements, has_ludb_comments = None, None, (), False
    if remarks or lines.notes:
        noticed = [*notes, *lines.notes]
        age, sex, statements, has_ludb_comments = comment_facts(remarks, noticed)
        notes = tuple(noticed)
    if lines.gain is not None and _is_plausible(counts, lines.lowest_span):
        signal = np.divide(samples, lines.gain, dtype=np.float32)  # exact: see `scaling`
    else:
        noticed = [*notes]
        signal = to_millivolt(path, lines.lines, samples, noticed, has_ludb_comments=has_ludb_comments)
        notes = tuple(noticed)
    return ECGRecord._proven(
        signal=signal, sampling_rate=rate, leads=lines.leads, id=stem, recorded_at=recorded_at, age=age, sex=sex,
        statements=statements, notes=notes, source="wfdb",
    )  # fmt: skip


def _remarks(comments: str) -> list[str] | None:
    """The comments of the text after the first "#"; None where something else stands between them."""
    first, *others = comments.splitlines() or [""]
    remarks = [first]
    for line in others:
        if not line.startswith("#"):
            return None
        remarks.append(line[1:])
    return remarks


@lru_cache(maxsize=256)
def _record_line(text: str) -> RecordLine | None:
    try:
        line = parse_record_line("", f"record {text}")
        check_rate("", line.sampling_rate)
    except ECGReadError:
        return None
    return line


@lru_cache(maxsize=256)
def _signal_lines(
    forms: tuple[str, ...], gains: tuple[str, ...], zeros: tuple[str, ...], names: tuple[str, ...]
) -> _Lines | None:
    """The lines with these fields, one item per lead; None where one is not plain."""
    lines, notes = [], []
    for columns in zip(forms, gains, zeros, names, strict=True):
        try:
            kind, noticed = signal_kind(*columns)
        except ValueError:
            return None
        lines.append(SignalLine("", *kind, None))
        notes += noticed
    leads = tuple(known_lead_name(name) for name in names)
    line = lines[0]
    plain = (
        len({line.byte_offset for line in lines}) == 1
        and len(set(leads)) == len(leads)
        and all(
            line.format == 16 and line.skew == 0 and line.millivolts_per_unit and abs(line.gain) >= _SMALLEST_GAIN
            for line in lines
        )
    )
    if not plain:
        return None
    amplitudes = {(line.gain, line.baseline, line.millivolts_per_unit) for line in lines}
    is_simple = (
        len(amplitudes) == 1
        and line.baseline == 0
        and line.gain * HIGHEST_PLAUSIBLE_MV > 1 << 15
        and is_exact_in_float32(*amplitudes.pop())
    )
    gain = np.float32(line.gain) if is_simple else None
    return _Lines(tuple(lines), leads, line.byte_offset, tuple(notes), gain, line.gain * LOWEST_PLAUSIBLE_MV + 1)


def _counts(path: str, offset: int, size: int) -> np.ndarray | None:
    """`size` counts from byte `offset` on, in memory of their own; None unless the file ends there.

    Their own, because whatever readers share (a buffer kept between reads, a memory map) another process may be
    writing into: PyTorch's loader, `datasets` and process pools all fork.
    """
    try:
        handle = os.open(path, _READ_ONLY)
    except OSError:
        return None
    try:
        if offset:
            os.lseek(handle, offset, os.SEEK_SET)
        content = os.read(handle, size * 2 + 1)  # one byte more than expected, so that a longer file shows
    except OSError:  # a pipe, a folder
        return None
    finally:
        os.close(handle)
    return np.frombuffer(content, dtype="<i2") if len(content) == size * 2 else None


def _is_plausible(counts: np.ndarray, lowest_span: float) -> bool:
    """No sample marked as missing, and a span that `to_millivolt` would not remark on."""
    low = np.minimum.reduce(counts)
    # As a rule the beginning tells that the span is wide enough.
    return low > _MISSING and int(np.maximum.reduce(counts[:_FIRST])) - int(low) > lowest_span
