"""The words around an ECG on paper: what the header and the footer say, as lines of plain text.

In: a laid-out strip. Out: lines. Decided here: that nothing which may name a patient is written unless it is asked
for, and what a reader of the paper must be told (scale, source, what was derived, left out or cut off).
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence

from .paper import Strip

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


def measurement_line(strip: Strip, measurements: Mapping[str, float] | None) -> str:
    """Rate, intervals and axes that are known, of `measurements` or, where that is None, of the record."""
    known = (strip.record.measurements if measurements is None else measurements) or {}
    parts = []
    for key, (name, unit) in _MEASUREMENTS.items():
        if key in known and math.isfinite(known[key]):
            parts.append(f"{name} {known[key]:.0f}{unit}")
    return _BETWEEN.join(parts)


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
