"""The words around an ECG on paper: what the header and the footer say, as lines of plain text.

In: a laid-out strip. Out: lines. Decided here: that nothing which may name a patient is written unless it is asked
for, and what a reader of the paper must be told (scale, source, what was derived, left out or cut off).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..analysis.measurements import LONGEST_S, measure
from ..record import ECGRecord
from ..recording_time import order_in_time
from .paper_layout import Strip

# Measurement -> its name on paper and its unit; what is not listed is not written.
_MEASUREMENTS = {
    "heart_rate": ("Rate", " bpm"),
    "rr": ("RR", " ms"),
    "p": ("P", " ms"),
    "pr": ("PR", " ms"),
    "qrs": ("QRS", " ms"),
    "qt": ("QT", " ms"),
    "qtc": ("QTc", " ms"),
    "qtc_bazett": ("QTcB", " ms"),
    "qtc_fridericia": ("QTcF", " ms"),
    "p_axis": ("P axis", "\N{DEGREE SIGN}"),
    "axis": ("Axis", "\N{DEGREE SIGN}"),
    "qrs_axis": ("QRS axis", "\N{DEGREE SIGN}"),
    "t_axis": ("T axis", "\N{DEGREE SIGN}"),
}
_GAINS = {5.0: " (half standard)", 20.0: " (double standard)"}
_BETWEEN = "    "


def heading(strip: Strip, name: str | None, show_date: bool, show_patient: bool) -> str:
    """The first line over an ECG: name ("first", a title), the record's id, and by request its date and patient."""
    record = strip.record
    parts = [name, record.id]
    if show_date and record.recorded_at is not None:
        parts.append(f"{record.recorded_at:%Y-%m-%d %H:%M:%S}")
    if show_patient:
        parts += [record.patient_id, None if record.age is None else f"{record.age:g} years", record.sex]
    return printable(_BETWEEN.join(part for part in parts if part))


def earlier_and_later(records: Sequence[ECGRecord]) -> list[str]:
    """Of two ECGs, which was recorded first; "" for each where that is not known, and of one alone."""
    places = order_in_time([record.recorded_at for record in records])
    if len(set(places)) < 2 or None in places:
        return [""] * len(records)
    return ["recorded earlier" if place == 1 else "recorded later" for place in places]


@dataclass(frozen=True)
class Known:
    """Rate, intervals and axes of an ECG, as `ECGRecord.measurements`; `remark` says where they come from, or why
    there are none."""

    values: Mapping[str, float]
    remark: str = ""


def known_measurements(record: ECGRecord, given: Mapping[str, float] | None, measuring: bool | None) -> Known:
    """What a header says of rate and intervals; arguments as `plot_ecg`."""
    stated = record.measurements if given is None else given
    if given is not None or measuring is False or (measuring is None and _worth_writing(stated)):
        return Known(stated or {}, "not measured")
    found = measure(record)
    over = min(record.duration, LONGEST_S)
    return Known(found.values(), f"measured over {over:g} s" if found.values() else "cannot be measured")


def _worth_writing(values: Mapping[str, float] | None) -> list[str]:
    known = values or {}
    return [
        f"{name} {known[key]:.0f}{unit}"
        for key, (name, unit) in _MEASUREMENTS.items()
        if key in known and math.isfinite(known[key])
    ]


def measurement_line(known: Known) -> str:
    """Rate, intervals and axes, or that there are none and why."""
    parts = _worth_writing(known.values)
    if not parts:
        return f"Rate and intervals {known.remark}"
    return _BETWEEN.join([*parts, *([f"({known.remark})"] if known.remark.startswith("measured") else [])])


def footer_lines(strip: Strip, clipped: Sequence[str]) -> list[str]:
    """Scale and source; then what a reader must know of what is not on the paper as it was recorded."""
    record, window, gain = strip.record, strip.window, strip.scale.gain
    parts = [
        f"{strip.scale.speed:g} mm/s",
        f"{gain:g} mm/mV{_GAINS.get(gain, '')}",
        f"{record.sampling_rate:g} Hz",
        f"source {record.source or 'unknown'}",
    ]
    end = min(window.start + window.duration, record.duration)
    if window.start > 0 or end < record.duration - 0.5 / record.sampling_rate:
        parts.append(f"{window.start:g}\N{EN DASH}{end:g} s of {record.duration:g} s")
    else:
        parts.append(f"{record.duration:g} s")
    lines = [_BETWEEN.join(parts)]
    derived = dict.fromkeys(trace.label for trace in strip.traces if trace.derived)
    if derived:
        lines.append(f"Derived from other limb leads: {', '.join(derived)}")
    if strip.undrawn:
        lines.append(f"Recorded, not drawn: {', '.join(strip.undrawn)}")
    if clipped:
        smaller = next((step for step in (20, 10, 5, 2.5) if step < gain), gain / 2)
        lines.append(f"Cut off at the edge: {', '.join(clipped)} (gain {smaller:g} mm/mV shows more)")
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """On one line, without control characters, which no SVG may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def wrapped(text: str, width_mm: float, size_pt: float) -> list[str]:
    """Lines that fit `width_mm`, at 0.62 em a letter: somewhat more than DejaVu Sans needs."""
    if not text:
        return []
    return textwrap.wrap(text, max(10, int(width_mm / (0.62 * size_pt * 25.4 / 72))), drop_whitespace=True)
