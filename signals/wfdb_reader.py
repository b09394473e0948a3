"""WFDB records: a header and its signal files in, an ECGRecord in millivolt out.

Format 16, which nearly every ECG corpus uses, is read by numpy alone; every other format by the `wfdb` package.
Decided here: that sizes are compared before memory is spent, that a checksum which does not match means damage (all
323 records of five corpora that were looked at match theirs), and when the gains of a header are not to be believed.
"""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np

from .record import ECGReadError, ECGRecord, known_lead_name
from .wfdb_header import SignalLine, WFDBHeader, read_header

# Bytes per sample as a fraction (numerator, denominator), and the value that marks a missing sample.
# Source: https://physionet.org/physiotools/wag/signal-5.htm
_BYTES_PER_SAMPLE = {8: (1, 1), 16: (2, 1), 24: (3, 1), 32: (4, 1), 61: (2, 1), 80: (1, 1), 160: (2, 1), 212: (3, 2),
                     310: (4, 3), 311: (4, 3)}  # fmt: skip
_MISSING = {16: -(1 << 15), 24: -(1 << 23), 32: -(1 << 31), 61: -(1 << 15), 80: -(1 << 7), 160: -(1 << 15), 212: -(1
<< 11),
            310: -(1 << 9), 311: -(1 << 9), 508: -(1 << 7), 516: -(1 << 15), 524: -(1 << 23)}  # fmt: skip
_FLAC = (508, 516, 524)
_FLAC_MAX_SAMPLES_PER_BYTE = 4096  # a FLAC frame of constant blocks is some 10 bytes for at most 65,535 samples

# What two roundings can leave of II = I + III, in steps of the converter; real records leave 3 at most.
_EINTHOVEN_STEPS = 5


def read_wfdb(
    header_path: Path, *, signal_file: Path | None = None, allow_truncated: bool = False, verify_checksum: bool = True
) -> ECGRecord:
    """Read the WFDB record whose header is `header_path`.

    Args:
        header_path: the .hea file; the signal files are those that its signal lines name, in the same folder.
        signal_file: the .dat or .mat file that the caller asked for, which must then be one of them.
        allow_truncated, verify_checksum: see `read_ecg`.

    Returns: signal float32 [leads, samples] in mV (NaN where the file marks a missing sample); id is the header's
    file name
        without suffix; statements "SNOMED:<code>" from '#Dx:' lines and "LUDB:<statement>" from LUDB's lines.
    Raises: ECGReadError as `read_ecg` says.
    """
    header = read_header(header_path)
    notes = list(header.notes)
    groups = [list(lines) for _, lines in groupby(header.signals, key=lambda line: line.file)]
    files = [lines[0].file for lines in groups]
    _check_names(header, files, signal_file)

    n_samples = _n_samples(header, groups, allow_truncated, notes)
    truncated = header.n_samples is not None and n_samples < header.n_samples
    if all(line.format == 16 and line.skew == 0 for line in header.signals):
        parts = [_read_format_16(header.path.parent, lines, n_samples) for lines in groups]
        counts = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)
    else:
        counts = _read_by_wfdb(header, n_samples)
    if verify_checksum and not truncated:
        _verify_checksums(header, counts)

    signal = _millivolts(header, counts, truncated, notes)
    kept = [row for row, line in enumerate(header.signals) if line.millivolts_per_unit is not None]
    if len(kept) < len(header.signals):
        odd = [f"{line.name} ({line.unit})" for line in header.signals if line.millivolts_per_unit is None]
        if not kept:
            raise ECGReadError(f"{header.path}: no signal is a voltage: {', '.join(odd)}; expected mV, uV or V.")
        notes.append(f"left out, as their unit is no voltage: {', '.join(odd)}")
        signal = signal[kept]

    try:
        return ECGRecord(
            signal=signal,
            sampling_rate=header.sampling_rate,
            leads=tuple(known_lead_name(header.signals[row].name) for row in kept),
            id=header.path.name.removesuffix(".hea"),
            recorded_at=header.recorded_at,
            age=header.age,
            sex=header.sex,
            statements=header.statements,
            notes=tuple(notes),
            source="wfdb",
        )
    except ValueError as error:
        raise ECGReadError(f"{header.path}: {error}") from error


def _check_names(header: WFDBHeader, files: list[str], signal_file: Path | None) -> None:
    """Refuse a header that leads to another record's samples, or to none."""
    folder, stem = header.path.parent, header.path.name.removesuffix(".hea")
    if len(set(files)) < len(files):
        raise ECGReadError(
            f"{header.path}: the signals of one file do not stand together ({', '.join(files)}); expected them in "
            "the order of "
            "the file. Reorder the signal lines."
        )
    if signal_file is not None and signal_file.suffix != ".hea" and signal_file.name not in files:
        raise ECGReadError(
            f"{signal_file}: its header {header.path.name} describes {', '.join(files)} instead. Read the header's "
            "path if "
            "that is what you want, or correct the file name in the header."
        )
    for name in files:
        own = folder / f"{stem}{Path(name).suffix}"
        if own.name != name and own.name not in files and own.is_file():
            raise ECGReadError(
                f"{header.path}: names the signal file {name}, though {own.name} lies beside it. Reading either "
                "could give "
                "another patient's ECG; correct the file name in the header, or remove the file that does not belong "
                "to it."
            )
        if not (folder / name).is_file():
            raise ECGReadError(
                f"{header.path}: names the signal file {name}, which is not there. Copy it beside the header."
            )


def _n_samples(header: WFDBHeader, groups: list[list[SignalLine]], allow_truncated: bool, notes: list[str]) -> int:
    """Samples per lead that can be read, known from file sizes before anything is allocated."""
    available: list[int] = []
    for lines in groups:
        first, leads = lines[0], len(lines)
        if any((line.format, line.byte_offset) != (first.format, first.byte_offset) for line in lines):
            raise ECGReadError(
                f"{header.path}: the signals of {first.file} differ in format or offset; expected one of each."
            )
        path = header.path.parent / first.file
        size = path.stat().st_size
        if first.format in _FLAC:
            limit = size * _FLAC_MAX_SAMPLES_PER_BYTE // leads
            if header.n_samples is None or header.n_samples > limit:
                raise ECGReadError(
                    f"{path}: {size:,} bytes of FLAC; the header promises {leads} leads x "
                    f"{header.n_samples or 'unknown'} samples, "
                    "which they cannot hold. Correct the header's number of samples."
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


def _read_format_16(folder: Path, lines: list[SignalLine], n_samples: int) -> np.ndarray:
    """Counts int16 [samples, leads] of one file: little-endian, leads interleaved."""
    counts = np.fromfile(
        folder / lines[0].file, dtype="<i2", count=n_samples * len(lines), offset=lines[0].byte_offset
    )
    return counts.reshape(n_samples, len(lines))


def _read_by_wfdb(header: WFDBHeader, n_samples: int) -> np.ndarray:
    """Counts [samples, leads] of any other format."""
    import wfdb  # with pandas behind it: slow to import, and rarely needed

    name = str(header.path).removesuffix(".hea")
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


def _verify_checksums(header: WFDBHeader, counts: np.ndarray) -> None:
    """A checksum is the 16-bit sum of all samples; writers print it signed or unsigned."""
    sums = counts.sum(axis=0, dtype=np.int64)
    damaged = [
        line.name
        for line, total in zip(header.signals, sums, strict=True)
        if line.checksum is not None and (int(total) - line.checksum) % 65536
    ]
    if damaged:
        raise ECGReadError(
            f"{header.path}: the samples do not match the header's checksum in {', '.join(damaged)} ({len(damaged)} "
            "of "
            f"{len(sums)} leads). The signal file is damaged or belongs to another record; copy both again, or pass "
            "verify_checksum=False to read it all the same."
        )


def _millivolts(header: WFDBHeader, counts: np.ndarray, truncated: bool, notes: list[str]) -> np.ndarray:
    """float32 [leads, samples]; rows of another unit than a voltage stay in that unit."""
    lines = header.signals
    by_lead = np.ascontiguousarray(counts.T)
    missing = np.array([[_MISSING.get(line.format, np.iinfo(np.int64).min)] for line in lines])
    is_missing = by_lead == missing if by_lead.dtype != np.int16 else by_lead == np.int16(-(1 << 15))
    gains = np.array([line.gain for line in lines])[:, None]
    baselines = np.array([line.baseline for line in lines])[:, None]
    # In double precision and in wfdb's order of operations, so that results agree to the last bit.
    physical = (by_lead - baselines) / gains
    factors = np.array([line.millivolts_per_unit or 1.0 for line in lines])[:, None]
    if (factors != 1.0).any():
        physical *= factors
    if _gains_are_wrong(header, by_lead, physical, is_missing, truncated):
        notes.append(
            "the header's gains scale every lead to 1 mV peak to peak and contradict II = I + III, which the samples "
            "obey (LUDB); "
            "read as 1 step = 1 microvolt"
        )
        physical = by_lead / 1000.0
    signal = physical.astype(np.float32)
    if is_missing.any():
        signal[is_missing] = np.nan
        leads = [line.name for line, row in zip(lines, is_missing, strict=True) if row.any()]
        notes.append(f"{int(is_missing.sum())} samples marked as missing are NaN, in {', '.join(leads)}")
    return signal


def _gains_are_wrong(
    header: WFDBHeader, counts: np.ndarray, physical: np.ndarray, is_missing: np.ndarray, truncated: bool
) -> bool:
    """Whether the limb leads contradict the gains: II = I + III holds for the counts and fails for the millivolts.

    LUDB's headers carry one gain per lead that makes each lead 1 mV peak to peak. The samples themselves are
    microvolts (inferred: Einthoven's law then holds in all 150 records that were looked at, and amplitudes are those
    of other corpora).

    Raises: ECGReadError where the gains are wrong in a way whose right value is not known.
    """
    rows = {known_lead_name(line.name): row for row, line in enumerate(header.signals)}
    limb = [rows.get(lead) for lead in ("I", "II", "III")]
    if None in limb or len({(header.signals[row].gain, header.signals[row].unit) for row in limb}) == 1:
        return False
    one, two, three = limb
    whole = ~is_missing[limb].any(axis=0)
    steps = counts[:, whole].astype(np.int64)
    volts = physical[:, whole]
    if not whole.any() or np.abs(steps[two] - steps[one] - steps[three]).max() > _EINTHOVEN_STEPS:
        return False
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
            "though the raw "
            f"samples obey it within {_EINTHOVEN_STEPS} steps. The header's gains are wrong; correct them."
        )
    return False
