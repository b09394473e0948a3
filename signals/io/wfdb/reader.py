"""WFDB records: a header and its signal files in, an ECGRecord in millivolt out.

A record of several segments is read segment by segment; what a single one takes lies in `header` (the text),
`samples` (the counts) and `scaling` (millivolt).
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import replace
from functools import lru_cache

import numpy as np

from ...limits import DEFAULT_MAX_BYTES, check_size
from ...record import ECGReadError, ECGRecord, known_lead_name
from .format16 import read_format16
from .header import Segment, WFDBHeader, header_text, read_header, record_name
from .samples import read_counts
from .scaling import to_millivolt


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
    path = os.fspath(header_path)
    text = header_text(path) if text is None else text
    header = read_header(path, text)
    record = read_format16(header, signal_file, verify_checksum, max_bytes)
    if record is not None:
        return record
    options = {"allow_truncated": allow_truncated, "verify_checksum": verify_checksum, "max_bytes": max_bytes}
    if header.segments:
        return _read_segments(header, signal_file, options)
    lines = header.signals
    notes = list(header.notes)
    counts, truncated = read_counts(header, signal_file, allow_truncated, verify_checksum, max_bytes, notes)
    signal = to_millivolt(
        header.path, lines, counts, notes, has_ludb_comments=header.has_ludb_comments, truncated=truncated
    )
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


def _read_segments(
    header: WFDBHeader, signal_file: str | os.PathLike[str] | None, options: dict[str, bool | int]
) -> ECGRecord:
    """Segments one after the other; NaN where one lacks a lead, or is a gap ("~").

    The first segment may be a layout: no samples of its own, but all leads of the record.
    Source: https://physionet.org/physiotools/wag/header-5.htm, "multi-segment records"
    """
    path, notes = header.path, list(header.notes)
    total = sum(segment.n_samples for segment in header.segments)
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
    noticed: dict[str, list[str]] = defaultdict(list)  # note -> the segments that it holds for
    start = 0
    for number, segment in enumerate(header.segments):
        if segment.name != "~":
            inner = _segment_header(header, segment)
            voltages = [line.name for line in inner.signals if line.millivolts_per_unit is not None]
            if segment.n_samples == 0 and number == 0:
                leads += map(known_lead_name, voltages)
            elif not voltages:
                noticed[f"no ECG, but {', '.join(line.name for line in inner.signals)}"].append(segment.name)
            else:
                part = _read_segment(path, segment, inner.path, options)
                leads += [lead for lead in part.leads if lead not in leads]
                for note in part.notes:
                    noticed[note].append(segment.name)
                parts.append((start, part))
        start += segment.n_samples
    if not parts:
        raise ECGReadError(f"{path}: a record of {len(header.segments)} segments, none of which holds samples.")

    check_size(path, len(leads), total, int(options["max_bytes"]))
    for note, names in noticed.items():
        where = f"segment {names[0]}" if len(names) == 1 else f"{len(names)} segments, from {names[0]} on"
        notes.append(f"{where}: {note}")
    record = _record(header, _joined(leads, parts, total, notes), leads, notes)
    first = parts[0][1]
    return replace(
        record,
        age=record.age if record.age is not None else first.age,
        sex=record.sex or first.sex,
        statements=record.statements or first.statements,
    )


def _segment_header(header: WFDBHeader, segment: Segment) -> WFDBHeader:
    path, named = header.path, f"the segment {segment.name}"
    own = os.path.join(os.path.dirname(path), f"{segment.name}.hea")
    if not os.path.isfile(own):
        raise ECGReadError(f"{path}: names {named}, but there is no {segment.name}.hea.")
    inner = read_header(own, header_text(own))
    if inner.segments:
        # The format forbids it, and a header that names itself would never end.
        raise ECGReadError(
            f"{path}: {named} is itself a record of several segments; expected plain segments. Do not trust this "
            "header; read the innermost segments by their own headers."
        )
    if inner.sampling_rate != header.sampling_rate:
        raise ECGReadError(
            f"{path}: {named} has {inner.sampling_rate:g} Hz, the record {header.sampling_rate:g} Hz; expected one "
            "rate. Read the segments by their own headers."
        )
    return inner


def _read_segment(path: str, segment: Segment, own: str, options: dict[str, bool | int]) -> ECGRecord:
    part = read_wfdb(own, **options)
    short = part.n_samples < segment.n_samples and options["allow_truncated"]
    if part.n_samples != segment.n_samples and not short:
        raise ECGReadError(
            f"{path}: the segment {segment.name} holds {part.n_samples:,} samples, the record promises "
            f"{segment.n_samples:,}. One of the two headers is wrong; copy both again."
        )
    return part


def _joined(leads: list[str], parts: list[tuple[int, ECGRecord]], total: int, notes: list[str]) -> np.ndarray:
    signal = np.full((len(leads), total), np.nan, dtype=np.float32)
    for start, part in parts:
        signal[[leads.index(lead) for lead in part.leads], start : start + part.n_samples] = part.signal
    missing = np.isnan(signal).sum(axis=1)
    notes.append(f"put together from {len(parts)} segments")
    if missing.any():
        lacking = ", ".join(lead for lead, count in zip(leads, missing, strict=True) if count)
        notes.append(f"{int(missing.sum())} samples are NaN, as their segment lacks them, in {lacking}")
    return signal
