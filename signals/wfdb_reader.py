"""WFDB records: a header and its signal files in, an ECGRecord in millivolt out.

Format 16, which nearly every ECG corpus uses, is read by numpy alone; every other format by the `wfdb` package; a
record of several segments is read segment by segment. Decided here: that sizes are compared before memory is spent,
that a checksum which does not match means damage (all 323 records of five corpora that were looked at match theirs),
and when the gains of a header are not to be believed.
"""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import numpy as np

from .record import ECGReadError, ECGRecord, known_lead_name
from .wfdb_header import SignalLine, WFDBHeader, read_header

# Bytes per sample as a fraction (numerator, denominator), and the value that marks a missing sample.
# Source: https://physionet.org/physiotools/wag/signal-5.htm
_BYTES_PER_SAMPLE = {8: (1, 1), 16: (2, 1), 24: (3, 1), 32: (4, 1), 61: (2, 1), 80: (1, 1), 160: (2, 1), 212: (3, 2),
                     310: (4, 3), 311: (4, 3)}  # fmt: skip
_MISSING = {16: -(1 << 15), 24: -(1 << 23), 32: -(1 << 31), 61: -(1 << 15), 80: -(1 << 7), 160: -(1 << 15),
            212: -(1 << 11), 310: -(1 << 9), 311: -(1 << 9), 508: -(1 << 7), 516: -(1 << 15),
            524: -(1 << 23)}  # fmt: skip
_FLAC = (508, 516, 524)
_FLAC_MAX_SAMPLES_PER_BYTE = 4096  # a FLAC frame of constant blocks is some 10 bytes for at most 65,535 samples

# What two roundings can leave of II = I + III, in steps of the converter; real records leave 3 at most.
_EINTHOVEN_STEPS = 5

DEFAULT_MAX_BYTES = 1 << 30


def read_wfdb(
    header_path: str | os.PathLike[str],
    *,
    text: bytes | None = None,
    signal_file: str | os.PathLike[str] | None = None,
    allow_truncated: bool = False,
    verify_checksum: bool = True,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> ECGRecord:
    """Read the WFDB record whose header is `header_path`.

    Args:
        header_path: the .hea file; the signal files are those that its signal lines name, in the same folder.
        text: the header's content, where it has been read already.
        signal_file: the .dat or .mat file that the caller asked for, which must then be one of them.
        allow_truncated, verify_checksum, max_bytes: see `read_ecg`.

    Returns: signal float32 [leads, samples] in mV (NaN where the file marks a missing sample, or a segment lacks);
        id is the header's file name without suffix; statements "SNOMED:<code>" from '#Dx:' lines and
        "LUDB:<statement>" from LUDB's lines.
    Raises: ECGReadError as `read_ecg` says.
    """
    header = read_header(header_path, text)
    options = {"allow_truncated": allow_truncated, "verify_checksum": verify_checksum, "max_bytes": max_bytes}
    if header.segments:
        return _read_segments(header, signal_file, options)
    lines = header.signals
    notes = list(header.notes)
    groups = [list(group) for _, group in groupby(lines, key=lambda line: line.file)]
    _check_names(header, [group[0].file for group in groups], signal_file)

    n_samples = _n_samples(header, groups, allow_truncated, notes)
    check_size(header.path, len(lines), n_samples, max_bytes)
    truncated = header.n_samples is not None and n_samples < header.n_samples
    if all(line.format == 16 and line.skew == 0 for line in lines):
        parts = [_read_format_16(_folder(header), group, n_samples) for group in groups]
        by_lead = parts[0] if len(parts) == 1 else np.concatenate(parts)
    else:
        by_lead = np.ascontiguousarray(_read_by_wfdb(header, n_samples, max_bytes).T)
    if verify_checksum and not truncated:
        _verify_checksums(header, by_lead)

    signal = _millivolts(header, by_lead, truncated, notes)
    leads = [_lead_name(line.name) for line in lines]
    odd = [line for line in lines if line.millivolts_per_unit is None]
    if odd:
        described = ", ".join(f"{line.name} ({line.unit})" for line in odd)
        if len(odd) == len(lines):
            raise ECGReadError(f"{header.path}: no signal is a voltage: {described}; expected mV, uV or V.")
        notes.append(f"left out, as their unit is no voltage: {described}")
        kept = [row for row, line in enumerate(lines) if line.millivolts_per_unit is not None]
        signal, leads = signal[kept], [leads[row] for row in kept]
    return _record(header, signal, leads, notes)


def _record(header: WFDBHeader, signal: np.ndarray, leads: list[str], notes: list[str]) -> ECGRecord:
    try:
        return ECGRecord(
            signal=signal,
            sampling_rate=header.sampling_rate,
            leads=tuple(leads),
            id=record_name(header.path),
            recorded_at=header.recorded_at,
            age=header.age,
            sex=header.sex,
            statements=header.statements,
            notes=tuple(notes),
            source="wfdb",
        )
    except ValueError as error:
        raise ECGReadError(f"{header.path}: {error}") from error


_lead_name = lru_cache(maxsize=1024)(known_lead_name)


def record_name(path: str) -> str:
    """The file's name without its suffix; a record may be called "a.b"."""
    name = os.path.basename(path)
    return name.removesuffix(".hea") if name.endswith(".hea") else os.path.splitext(name)[0]


def check_size(path: str, leads: int, samples: int, max_bytes: int) -> None:
    """Refuse what would not fit: float32 [leads, samples] above `max_bytes`, said before it is allocated."""
    if leads * samples * 4 > max_bytes:
        raise ECGReadError(
            f"{path}: promises {leads} leads x {samples:,} samples = {leads * samples * 4:,} bytes in memory; the "
            f"limit is {max_bytes:,}. If the file is right, pass max_bytes=..., or cut the recording first."
        )


def _folder(header: WFDBHeader) -> str:
    return os.path.dirname(header.path)


def _read_segments(
    header: WFDBHeader, signal_file: str | os.PathLike[str] | None, options: dict[str, bool | int]
) -> ECGRecord:
    """Segments one after the other; NaN where one lacks a lead, or is a gap ("~").

    The first segment may be a layout: no samples of its own, but all leads of the record.
    Source: https://physionet.org/physiotools/wag/header-5.htm, "multi-segment records"
    """
    path, segments, notes = header.path, header.segments, list(header.notes)
    total = sum(segment.n_samples for segment in segments)
    if header.n_samples is not None and total != header.n_samples:
        raise ECGReadError(
            f"{path}: its segments hold {total:,} samples, its record line promises {header.n_samples:,}. The header "
            "is damaged; copy it again."
        )
    check_size(path, header.n_signals, total, int(options["max_bytes"]))
    if signal_file is not None and not os.fspath(signal_file).endswith(".hea"):
        raise ECGReadError(f"{signal_file}: belongs to a record of several segments; read {path} instead.")

    leads: list[str] = []
    parts: list[tuple[int, ECGRecord]] = []
    start = 0
    for number, segment in enumerate(segments):
        if segment.name == "~":
            start += segment.n_samples
            continue
        own = os.path.join(_folder(header), f"{segment.name}.hea")
        if not os.path.isfile(own):
            raise ECGReadError(f"{path}: names the segment {segment.name}, but there is no {segment.name}.hea.")
        inner = read_header(own)
        if inner.segments:
            # The format forbids it, and a header that names itself would never end.
            raise ECGReadError(
                f"{path}: the segment {segment.name} is itself a record of several segments; expected plain "
                "segments. Do not trust this header; read the innermost segments by their own headers."
            )
        if inner.sampling_rate != header.sampling_rate:
            raise ECGReadError(
                f"{path}: the segment {segment.name} has {inner.sampling_rate:g} Hz, the record "
                f"{header.sampling_rate:g} Hz; expected one rate. Read the segments by their own headers."
            )
        if segment.n_samples == 0 and number == 0:
            leads += [known_lead_name(line.name) for line in inner.signals if line.millivolts_per_unit is not None]
            continue
        part = read_wfdb(own, **options)
        short = part.n_samples < segment.n_samples and options["allow_truncated"]
        if part.n_samples != segment.n_samples and not short:
            raise ECGReadError(
                f"{path}: the segment {segment.name} holds {part.n_samples:,} samples, the record promises "
                f"{segment.n_samples:,}. One of the two headers is wrong; copy both again."
            )
        leads += [lead for lead in part.leads if lead not in leads]
        notes += [f"segment {segment.name}: {note}" for note in part.notes]
        parts.append((start, part))
        start += segment.n_samples
    if not parts:
        raise ECGReadError(f"{path}: a record of {len(segments)} segments, none of which holds samples.")

    check_size(path, len(leads), total, int(options["max_bytes"]))
    signal = np.full((len(leads), total), np.nan, dtype=np.float32)
    for start, part in parts:
        signal[[leads.index(lead) for lead in part.leads], start : start + part.n_samples] = part.signal
    missing = np.isnan(signal).sum(axis=1)
    notes.append(f"put together from {len(parts)} segments")
    if missing.any():
        lacking = ", ".join(lead for lead, count in zip(leads, missing, strict=True) if count)
        notes.append(f"{int(missing.sum())} samples are NaN, as their segment lacks them, in {lacking}")
    record = _record(header, signal, leads, notes)
    first = parts[0][1]
    return replace(
        record,
        age=record.age if record.age is not None else first.age,
        sex=record.sex or first.sex,
        statements=record.statements or first.statements,
    )


def _check_names(header: WFDBHeader, files: list[str], signal_file: str | os.PathLike[str] | None) -> None:
    """Refuse a header that leads to another record's samples, or to none."""
    folder, stem = _folder(header), record_name(header.path)
    if len(set(files)) < len(files):
        raise ECGReadError(
            f"{header.path}: the signals of one file do not stand together ({', '.join(files)}); expected them in "
            "the order of the file. Reorder the signal lines."
        )
    if signal_file is not None:
        asked = os.path.basename(os.fspath(signal_file))
        if not asked.endswith(".hea") and asked not in files:
            raise ECGReadError(
                f"{signal_file}: its header {os.path.basename(header.path)} describes {', '.join(files)} instead. "
                "Read the header's path if that is what you want, or correct the file name in the header."
            )
    for name in files:
        if os.path.splitext(name)[0] == stem:
            continue
        own = f"{stem}{Path(name).suffix}"
        if own not in files and os.path.isfile(os.path.join(folder, own)):
            raise ECGReadError(
                f"{header.path}: names the signal file {name}, though {own} lies beside it. Reading either could "
                "give another patient's ECG; correct the file name in the header, or remove the file that does not "
                "belong to it."
            )


def _size(header: WFDBHeader, name: str) -> int:
    path = os.path.join(_folder(header), name)
    try:
        status = os.stat(path)
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise ECGReadError(
            f"{header.path}: names the signal file {name}, which is not there. Copy it beside the header."
        )
    return status.st_size


def _n_samples(header: WFDBHeader, groups: list[list[SignalLine]], allow_truncated: bool, notes: list[str]) -> int:
    """Samples per lead that can be read, known from file sizes before anything is allocated."""
    available: list[int] = []
    for lines in groups:
        first, leads = lines[0], len(lines)
        if any(line.format != first.format or line.byte_offset != first.byte_offset for line in lines):
            raise ECGReadError(
                f"{header.path}: the signals of {first.file} differ in format or offset; expected one of each."
            )
        path = os.path.join(_folder(header), first.file)
        size = _size(header, first.file)
        if first.format in _FLAC:
            limit = size * _FLAC_MAX_SAMPLES_PER_BYTE // leads
            if header.n_samples is None or header.n_samples > limit:
                raise ECGReadError(
                    f"{path}: {size:,} bytes of FLAC; the header promises {leads} leads x "
                    f"{header.n_samples or 'unknown'} samples, which they cannot hold. Correct the header's number "
                    "of samples."
                )
            available.append(header.n_samples)
            continue
        if first.format not in _BYTES_PER_SAMPLE:
            raise ECGReadError(
                f"{header.path}: {first.file} is in format {first.format}; expected one of "
                f"{', '.join(map(str, sorted([*_BYTES_PER_SAMPLE, *_FLAC])))}. Convert the record with the WFDB tool "
                "xform."
            )
        numerator, denominator = _BYTES_PER_SAMPLE[first.format]
        available.append(max(0, size - first.byte_offset) * denominator // (numerator * leads))
        if header.n_samples is None:
            continue
        needed = first.byte_offset + -(-header.n_samples * leads * numerator // denominator)
        if available[-1] < header.n_samples:
            found = (
                f"{path} holds {size:,} bytes; its header promises {leads} leads x {header.n_samples:,} samples"
                + (f" x {numerator} bytes" if denominator == 1 else f" in format {first.format}")
                + (f" + {first.byte_offset} bytes before them" if first.byte_offset else "")
                + f" = {needed:,}. The file is truncated at {available[-1]:,} samples "
                f"({available[-1] / header.sampling_rate:.2f} s)."
            )
            if not allow_truncated or available[-1] == 0:
                raise ECGReadError(f"{found} Copy it again, or pass allow_truncated=True to read what is there.")
            notes.append(
                f"{first.file} is truncated: {available[-1]} of {header.n_samples} samples; checksums not verified"
            )
        elif first.format in (16, 61) and size > needed:
            notes.append(
                f"{first.file} holds {size - needed} bytes more than the header describes; they were not read"
            )
    n_samples = min([*available, *([header.n_samples] if header.n_samples is not None else [])])
    if n_samples == 0:
        raise ECGReadError(
            f"{header.path}: no samples in {', '.join(lines[0].file for lines in groups)}; the files are empty."
        )
    return n_samples


def _read_format_16(folder: str, lines: list[SignalLine], n_samples: int) -> np.ndarray:
    """Counts int16 [leads, samples] of one file: a view of its little-endian, interleaved samples."""
    counts = np.fromfile(
        os.path.join(folder, lines[0].file), dtype="<i2", count=n_samples * len(lines), offset=lines[0].byte_offset
    )
    return counts.reshape(n_samples, len(lines)).T


def _read_by_wfdb(header: WFDBHeader, n_samples: int, max_bytes: int) -> np.ndarray:
    """Counts [samples, leads] of any other format."""
    import wfdb  # with pandas behind it: slow to import, and rarely needed

    longest_skew = max(line.skew for line in header.signals)
    if longest_skew >= n_samples:
        raise ECGReadError(
            f"{header.path}: a lead is skewed by {longest_skew:,} samples, the record has {n_samples:,}. Correct the "
            "header."
        )
    # wfdb holds int64 and some copies on the way
    check_size(header.path, len(header.signals) * 8, n_samples, max_bytes * 4)
    name = header.path.removesuffix(".hea")
    try:
        counts = wfdb.rdrecord(name, physical=False, sampto=n_samples).d_signal
    except Exception as error:  # wfdb raises many kinds; each means that this record is not readable
        raise ECGReadError(f"{header.path}: wfdb cannot read the signals: {type(error).__name__}: {error}") from error
    if counts is None or counts.shape != (n_samples, len(header.signals)):
        found = None if counts is None else counts.shape
        raise ECGReadError(
            f"{header.path}: wfdb read {found}; expected {(n_samples, len(header.signals))} [samples, leads]."
        )
    return counts


def _verify_checksums(header: WFDBHeader, by_lead: np.ndarray) -> None:
    """A checksum is the 16-bit sum of all samples; writers print it signed or unsigned."""
    sums = _sums(by_lead).tolist()
    damaged = [
        line.name
        for line, total in zip(header.signals, sums, strict=True)
        if line.checksum is not None and (total - line.checksum) % 65536
    ]
    if damaged:
        raise ECGReadError(
            f"{header.path}: the samples do not match the header's checksum in {', '.join(damaged)} ({len(damaged)} "
            f"of {len(sums)} leads). The signal file is damaged or belongs to another record; copy both again, or "
            "pass verify_checksum=False to read it all the same."
        )


def _sums(by_lead: np.ndarray) -> np.ndarray:
    """Sum of each lead, modulo 65,536 where the counts are int16: such sums wrap around as the checksum does."""
    if by_lead.dtype != np.int16 or by_lead.flags.c_contiguous:
        return by_lead.sum(axis=1, dtype=np.int16 if by_lead.dtype == np.int16 else np.int64)
    # Interleaved samples: rows of 32 samples x leads are added at once, eight times as fast as sample by sample.
    counts = by_lead.T
    samples, leads = counts.shape
    even = samples // 32 * 32
    rows = counts[:even].reshape(-1, 32 * leads).sum(axis=0, dtype=np.int16)
    return rows.reshape(32, leads).sum(axis=0, dtype=np.int16) + counts[even:].sum(axis=0, dtype=np.int16)


def _millivolts(header: WFDBHeader, by_lead: np.ndarray, truncated: bool, notes: list[str]) -> np.ndarray:
    """float32 [leads, samples]; rows of another unit than a voltage stay in that unit."""
    lines = header.signals
    is_missing = _missing(lines, by_lead)
    physical = _scaled(lines, by_lead)
    if _gains_are_wrong(header, by_lead, physical, is_missing, truncated):
        notes.append(
            "the header's gains scale every lead to 1 mV peak to peak and contradict II = I + III, which the samples "
            "obey (LUDB); read as 1 step = 1 microvolt"
        )
        physical = by_lead / np.float32(1000.0) if by_lead.dtype == np.int16 else by_lead / 1000.0
    signal = physical.astype(np.float32, order="C", copy=False)
    if is_missing is not None:
        signal[is_missing] = np.nan
        leads = [line.name for line, row in zip(lines, is_missing, strict=True) if row.any()]
        notes.append(f"{int(is_missing.sum())} samples marked as missing are NaN, in {', '.join(leads)}")
    return signal


def _missing(lines: tuple[SignalLine, ...], by_lead: np.ndarray) -> np.ndarray | None:
    """Which samples are marked as missing; None where none is."""
    if by_lead.dtype == np.int16 and by_lead.min() > -(1 << 15) and all(line.format == 16 for line in lines):
        return None
    marks = np.array([[_MISSING.get(line.format, np.iinfo(np.int64).min)] for line in lines])
    is_missing = by_lead.astype(np.int64, copy=False) == marks
    return is_missing if is_missing.any() else None


_AMPLITUDE = attrgetter("gain", "baseline", "millivolts_per_unit")


def _scaled(lines: tuple[SignalLine, ...], by_lead: np.ndarray) -> np.ndarray:
    """(counts - baseline) / gain in millivolt, equal to the last bit to wfdb's double precision rounded to float32.

    Where counts, baseline and gain are float32 numbers, one division in float32 gives just that: rounding a quotient
    to 53 bits and then to 24 never differs from rounding it to 24 at once (Figueroa 1995: 53 >= 2 x 24 + 2).
    """
    first = lines[0]
    if by_lead.dtype == np.int16 and first.baseline == 0 and first.millivolts_per_unit == 1.0:
        gain = np.float32(first.gain)
        if float(gain) == first.gain and all(_AMPLITUDE(line) == _AMPLITUDE(first) for line in lines):
            # Into C order at once: a copy of the counts in between costs more than it saves.
            return np.divide(by_lead, gain, dtype=np.float32, order="C")
    gains = np.array([line.gain for line in lines])[:, None]
    factors = [line.millivolts_per_unit or 1.0 for line in lines]
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd gain gives infinity, which ECGRecord refuses
        if (
            by_lead.dtype == np.int16
            and all(
                factor == 1.0 and -(1 << 23) < line.baseline < 1 << 23
                for factor, line in zip(factors, lines, strict=True)
            )
            and (gains.astype(np.float32) == gains).all()
        ):
            counts = by_lead
            if any(line.baseline for line in lines):
                counts = by_lead - np.array([line.baseline for line in lines], dtype=np.float32)[:, None]
            return np.divide(counts, gains.astype(np.float32), dtype=np.float32, order="C")
        # In double precision and in wfdb's order of operations, so that results agree to the last bit.
        physical = (by_lead - np.array([line.baseline for line in lines])[:, None]) / gains
        if any(factor != 1.0 for factor in factors):
            physical *= np.array(factors)[:, None]
        return physical


def _gains_are_wrong(
    header: WFDBHeader, counts: np.ndarray, physical: np.ndarray, is_missing: np.ndarray | None, truncated: bool
) -> bool:
    """Whether the limb leads contradict the gains: II = I + III holds for the counts and fails for the millivolts.

    LUDB's headers carry one gain per lead that makes each lead 1 mV peak to peak. The samples themselves are
    microvolts (inferred: Einthoven's law then holds in all 150 records that were looked at, and amplitudes are those
    of other corpora).

    Raises: ECGReadError where the gains are wrong in a way whose right value is not known.
    """
    first = header.signals[0]
    if all(line.gain == first.gain and line.unit == first.unit for line in header.signals):
        return False
    rows = {known_lead_name(line.name): row for row, line in enumerate(header.signals)}
    limb = [rows.get(lead) for lead in ("I", "II", "III")]
    if None in limb or len({(header.signals[row].gain, header.signals[row].unit) for row in limb}) == 1:
        return False
    one, two, three = limb
    whole = np.ones(counts.shape[1], dtype=bool) if is_missing is None else ~is_missing[limb].any(axis=0)
    everything = is_missing is None or bool(whole.all())
    steps = counts[limb].astype(np.int64) if everything else counts[limb][:, whole].astype(np.int64)
    if not whole.any() or np.abs(steps[1] - steps[0] - steps[2]).max() > _EINTHOVEN_STEPS:
        return False
    volts = physical if everything else physical[:, whole]
    excess_mv = np.abs(volts[two] - volts[one] - volts[three]).max()
    rounding_mv = _EINTHOVEN_STEPS / min(abs(header.signals[row].gain) for row in limb)
    span_mv = np.ptp(volts, axis=1)
    # A truncated LUDB file no longer spans its 1 mV; then its comments tell.
    normalised = np.abs(span_mv - 1).max() < 0.01 or (truncated and header.has_ludb_comments and span_mv.max() < 1.01)
    if normalised:
        return True
    if excess_mv > max(0.05, rounding_mv):
        raise ECGReadError(
            f"{header.path}: the gains of I, II and III differ, and contradict II = I + III by {excess_mv:.3f} mV, "
            f"though the raw samples obey it within {_EINTHOVEN_STEPS} steps. The header's gains are wrong; correct "
            "them."
        )
    return False
