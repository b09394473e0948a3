"""The counts of a WFDB record: its header in, int [leads, samples] as the signal files hold them out.

Format 16, which nearly every ECG corpus uses, is read by numpy alone; every other format by the `wfdb` package.
Decided here: that sizes are compared before memory is spent, which signal files may belong to a header, and that a
checksum which does not match means damage (all 323 records of five corpora that were looked at match theirs).
"""

from __future__ import annotations

import os
import stat
from itertools import groupby
from pathlib import Path

import numpy as np

from ...limits import check_size
from ...quotes import without_quotes
from ...record import ECGReadError
from .header import WFDBHeader, record_name
from .scaling import fold_samples

# Bytes per sample as a fraction (numerator, denominator). Source: https://physionet.org/physiotools/wag/signal-5.htm
_BYTES_PER_SAMPLE = {8: (1, 1), 16: (2, 1), 24: (3, 1), 32: (4, 1), 61: (2, 1), 80: (1, 1), 160: (2, 1), 212: (3, 2),
                     310: (4, 3), 311: (4, 3)}  # fmt: skip
_FLAC = (508, 516, 524)
_FLAC_MAX_SAMPLES_PER_BYTE = 4096  # a FLAC frame of constant blocks is some 10 bytes for at most 65,535 samples


def read_counts(
    header: WFDBHeader,
    signal_file: str | os.PathLike[str] | None,
    allow_truncated: bool,
    verify_checksum: bool,
    max_bytes: int,
    notes: list[str],
) -> tuple[np.ndarray, bool]:
    """Read the samples of a record that has no segments.

    Args: signal_file: the file that the caller asked for, which must be one of the header's. notes: what is noticed
        is added to them. The others as `read_ecg`.
    Returns: (counts [leads, samples], contiguous in either order, int16 for format 16 and int64 for others), whether
        the file is truncated.
    Raises: ECGReadError as `read_ecg` says.
    """
    lines = header.signals
    parts = _parts(header.files)
    _check_names(header, [file for file, _ in parts], signal_file)
    n_samples = _n_samples(header, parts, allow_truncated, notes)
    check_size(header.path, len(lines), n_samples, max_bytes)
    truncated = header.n_samples is not None and n_samples < header.n_samples
    if {(line.format, line.skew) for line in lines} == {(16, 0)}:
        files = [_read_format_16(header, file, rows, n_samples).T for file, rows in parts]
        counts = files[0] if len(files) == 1 else np.concatenate(files)  # one file's counts stay in its order
    else:
        counts = np.ascontiguousarray(_read_by_wfdb(header, n_samples, max_bytes).T)
    if verify_checksum and not truncated:
        _verify_checksums(header, counts, notes)
    return counts, truncated


def _parts(files: tuple[str, ...]) -> list[tuple[str, slice]]:
    """(signal file, which signals lie in it) in the order of the header."""
    if files.count(files[0]) == len(files):
        return [(files[0], slice(0, len(files)))]
    parts, start = [], 0
    for file, group in groupby(files):
        stop = start + len(list(group))
        parts.append((file, slice(start, stop)))
        start = stop
    return parts


def _folder(header: WFDBHeader) -> str:
    return os.path.dirname(header.path)


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


def _size(header: WFDBHeader, path: str, name: str) -> int:
    try:
        status = os.stat(path)
    except OSError:
        status = None
    if status is None or not stat.S_ISREG(status.st_mode):
        raise ECGReadError(
            f"{header.path}: names the signal file {name}, which is not there. Copy it beside the header."
        )
    return status.st_size


def _n_samples(header: WFDBHeader, parts: list[tuple[str, slice]], allow_truncated: bool, notes: list[str]) -> int:
    """Samples per lead that can be read, known from file sizes before anything is allocated."""
    available: list[int] = []
    for file, rows in parts:
        lines = header.signals[rows]
        first, leads = lines[0], len(lines)
        if len({(line.format, line.byte_offset) for line in lines}) > 1:
            raise ECGReadError(
                f"{header.path}: the signals of {file} differ in format or offset; expected one of each."
            )
        path = os.path.join(_folder(header), file)
        if file == "~":
            raise ECGReadError(
                f"{header.path}: names no signal file; it is the layout of a record of several segments. Read that "
                "record's own header."
            )
        size = _size(header, path, file)
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
                f"{header.path}: {file} is in format {first.format}; expected one of "
                f"{', '.join(map(str, sorted([*_BYTES_PER_SAMPLE, *_FLAC])))}. Convert the record with the WFDB tool "
                "xform."
            )
        numerator, denominator = _BYTES_PER_SAMPLE[first.format]
        available.append(max(0, size - first.byte_offset) * denominator // (numerator * leads))
        if header.n_samples is None:
            continue
        needed = first.byte_offset + -(-header.n_samples * leads * numerator // denominator)
        if available[-1] < header.n_samples:
            if not allow_truncated or available[-1] == 0:
                raise ECGReadError(
                    f"{path} holds {size:,} bytes; its header promises {leads} leads x {header.n_samples:,} samples"
                    + (f" x {numerator} bytes" if denominator == 1 else f" in format {first.format}")
                    + (f" + {first.byte_offset} bytes before them" if first.byte_offset else "")
                    + f" = {needed:,}. The file is truncated at {available[-1]:,} samples "
                    f"({available[-1] / header.sampling_rate:.2f} s). Copy it again, or pass allow_truncated=True "
                    "(--allow-truncated) to read what is there."
                )
            notes.append(f"{file} is truncated: {available[-1]} of {header.n_samples} samples; checksums not verified")
        elif first.format in (16, 61) and size > needed:
            notes.append(f"{file} holds {size - needed} bytes more than the header describes; they were not read")
    n_samples = min([*available, *([header.n_samples] if header.n_samples is not None else [])])
    if n_samples == 0:
        raise ECGReadError(
            f"{header.path}: no samples in {', '.join(file for file, _ in parts)}; the files are empty."
        )
    return n_samples


def _read_format_16(header: WFDBHeader, file: str, rows: slice, n_samples: int) -> np.ndarray:
    """Counts int16 [samples, leads] of one file, little-endian and interleaved, in memory of their own.

    Their own, because whatever readers share (a buffer kept between reads, a memory map) another process may be
    writing into: PyTorch's loader, `datasets` and process pools all fork.
    """
    path, offset = os.path.join(_folder(header), file), header.signals[rows.start].byte_offset
    leads = rows.stop - rows.start
    size = n_samples * leads * 2
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        if offset:
            os.lseek(handle, offset, os.SEEK_SET)
        content = os.read(handle, size)
    finally:
        os.close(handle)
    if offset and path.endswith(".mat"):
        _check_mat(path, leads, n_samples)
    if len(content) < size:  # systems read 2 GiB at most at once
        counts = np.fromfile(path, dtype="<i2", count=size // 2, offset=offset)
    else:
        counts = np.frombuffer(content, dtype="<i2")
    if counts.size * 2 < size:
        raise ECGReadError(f"{path}: ended while it was read; is somebody writing to it? Try again.")
    return counts.reshape(n_samples, leads)


def _check_mat(path: str, leads: int, n_samples: int) -> None:
    """Refuse a .mat file that is no int16 matrix [leads, samples] of level 4: WFDB skips its head unread.

    Source: MathWorks, "MAT-File Format", level 4: int32 type (thousands: byte order, tens: 3 is int16), rows, columns
    """
    with open(path, "rb") as file:
        head = file.read(20)
    if head.startswith(b"MATLAB 5"):
        kind = "a MATLAB 5 file"
    elif len(head) == 20:
        form, rows, columns = np.frombuffer(head, "<i4", 3).tolist()
        if not (0 <= form < 5000 and rows > 0 and columns > 0) or (form, rows) == (30, leads):
            return  # no head that can be judged, or the right one
        kind = f"a MATLAB 4 matrix {rows} x {columns} of type {form}"
    else:
        return
    raise ECGReadError(
        f"{path}: is {kind}; its header describes int16 [{leads} leads, {n_samples:,} samples] of MATLAB 4 (type 30). "
        "Save it again so, for instance by scipy.io.savemat(..., {'val': counts}, format='4')."
    )


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
    check_size(header.path, len(header.signals), n_samples * 8, max_bytes * 4)
    name = header.path.removesuffix(".hea")
    try:
        # Where the header states no length, wfdb takes no end either, and reads the whole file.
        end = None if header.n_samples is None else n_samples
        counts = wfdb.rdrecord(name, physical=False, sampto=end).d_signal
    except Exception as error:  # wfdb raises many kinds; each means that this record is not readable
        cause = without_quotes(str(error))  # which may quote the header
        raise ECGReadError(f"{header.path}: wfdb cannot read the signals: {type(error).__name__}: {cause}") from None
    if counts is None or counts.shape != (n_samples, len(header.signals)):
        found = None if counts is None else counts.shape
        raise ECGReadError(
            f"{header.path}: wfdb read {found}; expected {(n_samples, len(header.signals))} [samples, leads]."
        )
    return counts


def _verify_checksums(header: WFDBHeader, counts: np.ndarray, notes: list[str]) -> None:
    """A checksum is the 16-bit sum of all samples; writers print it signed or unsigned."""
    if any(line.skew for line in header.signals):
        # wfdb has moved them against each other, and dropped what then stands alone at the ends.
        notes.append("the header states skew between leads, which was undone; checksums were not verified")
        return
    sums = fold_samples(np.add, counts).tolist()  # those of int16 wrap around as the checksum does
    damaged = [
        line.name
        for line, total, checksum in zip(header.signals, sums, header.checksums, strict=True)
        if checksum is not None and (total - checksum) % 65536
    ]
    if damaged and not any(header.checksums):
        # So say all headers of the CinC Challenge 2017, whatever the samples.
        notes.append("the header's checksums are all 0, as where none was computed; samples were not verified")
    elif damaged:
        raise ECGReadError(
            f"{header.path}: the samples do not match the header's checksum in {', '.join(damaged)} ({len(damaged)} "
            f"of {len(sums)} leads). The signal file is damaged or belongs to another record; copy both again, or "
            "pass verify_checksum=False (--skip-checksum) to read it all the same."
        )
