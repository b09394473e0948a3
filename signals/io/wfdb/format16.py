"""The common WFDB record, read fast: format 16 in one signal file, as PTB-XL, MIMIC-IV-ECG and the .mat files of the
CinC Challenges hold it.

In: its header. Out: the record, or None for everything that is not plainly this case and in order; the general way
then reads or refuses it. So this module decides nothing but what is plain, and gives no error of its own. Samples are
read once and divided once, in the file's order, and what a corpus' headers have in common is looked at once.
`benchmarks/README.md` has the figures.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ...limits import HIGHEST_PLAUSIBLE_MV, LOWEST_PLAUSIBLE_MV
from ...record import ECGRecord, known_lead_name
from .header import SignalKinds, WFDBHeader
from .scaling import MISSING, fold_interleaved, is_exact_in_float32, to_millivolt

# Half a megabyte: 43 s of twelve leads at 500 Hz. What is longer takes its time anyway, and leads that lie apart in
# memory are summed sample after sample, which float32 bears for so many only.
_MOST_COUNTS = 1 << 18
_FIRST = 1024
_SEPARATORS = tuple(filter(None, (os.sep, os.altsep)))
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class _Plain(NamedTuple):
    """What the signal lines have in common. `gain` is the steps per millivolt that all of them share, with the
    baseline 0, and None where they share none or int16 could pass what is plausible; `lowest_span` the steps that any
    ECG spans at it."""

    leads: tuple[str, ...]
    byte_offset: int
    gain: np.float32 | None
    lowest_span: float


def read_format16(
    header: WFDBHeader, signal_file: str | os.PathLike[str] | None, verify_checksum: bool, max_bytes: int
) -> ECGRecord | None:
    """Read the record of `header`. Arguments as `read_wfdb`. None: read it the general way."""
    path, n_samples, files = header.path, header.n_samples, header.files
    plain = None if header.segments or n_samples is None else _plain(header.kinds)
    if plain is None:
        return None
    file, n_leads = files[0], len(files)
    stem, dot, _ = file.rpartition(".")
    folder, size = path[: -len(stem) - 4], n_samples * n_leads
    if (
        not dot
        or files.count(file) != n_leads
        or f"{folder}{stem}.hea" != path
        or (folder and folder[-1] not in _SEPARATORS)
        or size > _MOST_COUNTS
        or size * 4 > max_bytes
        or None in header.checksums
        or (plain.byte_offset and not verify_checksum)  # what stands before the samples must then be looked at
        or (signal_file is not None and os.path.basename(os.fspath(signal_file)) not in (file, f"{stem}.hea"))
    ):
        return None
    counts = _counts(folder + file, plain.byte_offset, size)
    if counts is None:
        return None
    if verify_checksum:
        written = [checksum & 0xFFFF for checksum in header.checksums]  # signed or unsigned
        if fold_interleaved(np.add, counts, n_leads).view(np.uint16).tolist() != written:
            return None
    samples, notes = counts.reshape(n_samples, n_leads).T, header.notes
    if plain.gain is not None and _is_plausible(counts, plain.lowest_span):
        signal = np.divide(samples, plain.gain, dtype=np.float32)  # exact: see `scaling`
    else:
        noticed = [*notes]
        signal = to_millivolt(path, header.signals, samples, noticed, has_ludb_comments=header.has_ludb_comments)
        notes = tuple(noticed)
    return ECGRecord._proven(
        signal=signal, sampling_rate=header.sampling_rate, leads=plain.leads, id=stem, recorded_at=header.recorded_at,
        age=header.age, sex=header.sex, statements=header.statements, notes=notes, source="wfdb",
    )  # fmt: skip


@lru_cache(maxsize=256)
def _plain(kinds: SignalKinds) -> _Plain | None:
    """What is common to signals of format 16; None where they are not plain."""
    lines = kinds.lines
    leads = tuple(known_lead_name(line.name) for line in lines)
    first = lines[0]
    is_plain = (
        len({line.byte_offset for line in lines}) == 1
        and len(set(leads)) == len(leads)
        and all(line.format == 16 and line.skew == 0 and line.millivolts_per_unit for line in lines)
    )
    if not is_plain:
        return None
    amplitudes = {(line.gain, line.baseline, line.millivolts_per_unit) for line in lines}
    is_simple = (
        len(amplitudes) == 1
        and first.baseline == 0
        and first.gain * HIGHEST_PLAUSIBLE_MV > 1 << 15
        and is_exact_in_float32(*amplitudes.pop())
    )
    gain = np.float32(first.gain) if is_simple else None
    return _Plain(leads, first.byte_offset, gain, first.gain * LOWEST_PLAUSIBLE_MV + 1)


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
    return low > MISSING[16] and int(np.maximum.reduce(counts[:_FIRST])) - int(low) > lowest_span
