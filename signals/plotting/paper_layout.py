"""Where everything lies on ECG paper, in millimetres: what `plot` draws, without anything of matplotlib.

In: records, a layout, a stretch of time, speed and gain. Out: one `Strip` per ECG, with the points of every trace and
the words around it, and how far apart the rows stand. Decided here: the layouts, which leads are derived, how an
offset is removed (each trace lies with its median on its row's line), and how rows make room for each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...errors_ecgllm import ECGError
from ...signal_ecgllm import LEADS, complete_limb_leads
from ..record import ECGRecord, known_lead_name

SQUARE = 5.0  # mm between the thick lines of ECG paper; all that the paper holds stands on multiples of it
PULSE_MV, PULSE_S = 1.0, 0.2  # the calibration pulse of every electrocardiograph (IEC 60601-2-25)
PULSE_FOOT = 2.5  # mm of flat line on either side of the pulse
STANDARD_S = 10.0  # a resting ECG's length
_ROOM = 2.0  # mm that rows keep between their traces
_EDGE = (10.0, 30.0)  # mm, least and most, from the first and the last row's line to the edge of the grid
_MIN_WIDTH = 120.0  # mm; header and footer need them
_MAX_WIDTH = 2000.0  # mm, 80 s at 25 mm/s; longer recordings go on several pages

_CHEST = (("V1", "V2", "V3"), ("V4", "V5", "V6"))
_CABRERA = ("aVL", "I", "-aVR", "II", "aVF", "III")


@dataclass(frozen=True)
class Layout:
    """Columns of leads, read downwards, and the usual distance between rows (mm). "-aVR" is aVR drawn inverted."""

    columns: tuple[tuple[str, ...], ...]
    row_mm: float
    has_rhythm: bool = False


# Cabrera's order runs around the frontal plane in steps of 30 degrees; that is why aVR is inverted in it.
LAYOUTS = {
    "3x4": Layout((("I", "II", "III"), ("aVR", "aVL", "aVF"), *_CHEST), 30, has_rhythm=True),
    "6x2": Layout((LEADS[:6], LEADS[6:]), 25),
    "12x1": Layout((LEADS,), 15),
    "cabrera-3x4": Layout((_CABRERA[:3], _CABRERA[3:], *_CHEST), 30, has_rhythm=True),
    "cabrera-6x2": Layout((_CABRERA, LEADS[6:]), 25),
    "cabrera": Layout(((*_CABRERA, *LEADS[6:]),), 15),
}
LAYOUT_NAMES = ("auto", *LAYOUTS, "recorded")


@dataclass(frozen=True)
class PaperStyle:
    """Colours of the paper, as matplotlib understands them; line widths in mm."""

    background: str = "#fffafa"
    thin: str = "#f8d3d4"
    thick: str = "#eda5a8"
    trace: str = "#000000"
    text: str = "#1a1a1a"
    thin_mm: float = 0.1
    thick_mm: float = 0.2
    trace_mm: float = 0.3


STYLES = {"paper": PaperStyle(), "plain": PaperStyle(background="#ffffff", thin="#e6e6e6", thick="#bdbdbd")}


@dataclass(frozen=True)
class Highlight:
    """A translucent stretch over the traces.

    Args:
        lead: on which lead, or None for all. start_s, end_s: seconds from the start of the recording.
        label: a word above it, written once a page. color: as matplotlib understands it. alpha: 0 to 1.
        second: in a comparison, on the second ECG instead of the first.

    Raises: ValueError if the stretch is empty or not finite, or alpha is no fraction.
    """

    lead: str | None
    start_s: float
    end_s: float
    label: str | None = None
    color: str = "#1f77b4"
    alpha: float = 0.3
    second: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.start_s) and math.isfinite(self.end_s) and self.start_s < self.end_s):
            raise ECGError(
                f"highlight on {self.lead or 'all leads'}: from {self.start_s} s to {self.end_s} s; expected an end "
                "after the start, in seconds from the start of the recording."
            )
        if not 0 <= self.alpha <= 1:
            raise ECGError(f"highlight on {self.lead or 'all leads'}: alpha is {self.alpha}; expected 0 to 1.")


@dataclass(frozen=True)
class Scale:
    """speed in mm/s, gain in mm/mV."""

    speed: float
    gain: float

    def __post_init__(self) -> None:
        for name, value, unit, most in (("speed", self.speed, "mm/s", 500), ("gain", self.gain, "mm/mV", 500)):
            if not (math.isfinite(value) and 0 < value <= most):
                raise ECGError(f"{name} is {value} {unit}; expected above 0 and at most {most}; usual is {_USUAL}.")

    @property
    def trace_x(self) -> float:
        """mm from the grid's left edge to where traces start: behind the calibration pulse, on a thick line."""
        return _round_up(SQUARE + 2 * PULSE_FOOT + PULSE_S * self.speed)


_USUAL = "25 mm/s and 10 mm/mV"


@dataclass(frozen=True)
class Window:
    """The stretch of a recording that a page shows, in seconds."""

    start: float
    duration: float


@dataclass(frozen=True)
class Trace:
    """One lead's stretch: x in mm from where traces start, y in mm from the row's line; empty without samples.

    `lead` is the plain name, `label` what is written on paper. `start_s` and `end_s` bound the place it has, in
    recording time, `left` and `right` in mm.
    """

    lead: str
    label: str
    row: int
    column: int
    start_s: float
    end_s: float
    left: float
    right: float
    x: np.ndarray
    y: np.ndarray
    recorded: bool = True
    derived: bool = False
    rhythm: bool = False


@dataclass(frozen=True)
class Strip:
    """One ECG laid out. width: mm of grid. undrawn: names of recorded leads that the layout has no place for."""

    record: ECGRecord
    window: Window
    scale: Scale
    traces: tuple[Trace, ...]
    width: float
    undrawn: tuple[str, ...]

    @property
    def rows(self) -> int:
        return 1 + max(trace.row for trace in self.traces)


def choose_window(record: ECGRecord, start: float, duration: float | None) -> Window:
    """At most `duration` seconds (None: 10) from `start` on, and no more than the recording has.

    Raises: ValueError if nothing of the recording lies there.
    """
    wanted = STANDARD_S if duration is None else duration
    if not (math.isfinite(start) and 0 <= start < record.duration):
        raise ECGError(f"start is {start} s; expected 0 to less than the recording's {record.duration:g} s.")
    if not (math.isfinite(wanted) and wanted > 0):
        raise ECGError(f"duration is {duration} s; expected seconds above 0.")
    return Window(start, min(wanted, record.duration - start))


def choose_layout(name: str, records: Sequence[ECGRecord]) -> Layout:
    """The layout of that name for these ECGs. "auto" is 3x4 where an ECG has, or gives by derivation, at least six
    standard leads, and else "recorded": a row for each lead that is there.

    Raises: ValueError for an unknown name.
    """
    if name not in LAYOUT_NAMES:
        raise ECGError(f"layout is {name!r}; expected one of {', '.join(LAYOUT_NAMES)}.")
    if name == "auto":
        standard = max(len(_by_name(record).keys() & set(LEADS)) for record in records)
        name = "3x4" if standard >= 6 else "recorded"
    if name in LAYOUTS:
        return LAYOUTS[name]
    names = dict.fromkeys(known_lead_name(lead) for record in records for lead in record.leads)
    return Layout((tuple(names),), 30 if len(names) <= 4 else 15)


def choose_rhythm_leads(layout: Layout, wanted: Iterable[str] | None, records: Sequence[ECGRecord]) -> tuple[str, ...]:
    """Standard names of the leads that get a row over the whole stretch below the columns.

    None: lead II where the layout is one with a rhythm strip, or V1 or V5 where there is no lead II.
    Raises: TypeError for one bare string, ValueError for a lead that is no standard lead and not recorded.
    """
    present = {name for record in records for name in _by_name(record)}
    if wanted is None:
        usual = [name for name in ("II", "V1", "V5") if name in present]
        return tuple((usual or ["II"])[:1]) if layout.has_rhythm else ()
    if isinstance(wanted, str):
        raise TypeError(f"rhythm_leads is the string {wanted!r}; expected a sequence of names, such as ({wanted!r},).")
    names = tuple(known_lead_name(name) for name in wanted)
    check_leads("rhythm_leads", names, records)
    return names


def check_leads(argument: str, names: Iterable[str], records: Sequence[ECGRecord]) -> None:
    """Refuse a name that is neither a standard lead nor one of these records."""
    known = dict.fromkeys([*LEADS, *(name for record in records for name in _by_name(record))])
    for name in names:
        if name not in known:
            raise ECGError(f"{argument} names the lead {name!r}; expected one of {', '.join(known)}.")


def lay_out(
    record: ECGRecord, window: Window, scale: Scale, layout: Layout, rhythm_leads: Sequence[str] = ()
) -> Strip:
    """Place every lead of a layout: columns share the window's time one after the other, as printers do.

    Raises: ValueError if the strip would be wider than 2 m.
    """
    if scale.speed * window.duration > _MAX_WIDTH:
        raise ECGError(
            f"{window.duration:g} s at {scale.speed:g} mm/s are {scale.speed * window.duration:,.0f} mm; expected at "
            f"most {_MAX_WIDTH:,.0f}. Draw several pages (plot_pages, or a .pdf on the command line), or a shorter "
            "duration."
        )
    leads = _by_name(record)
    share = window.duration / len(layout.columns)
    traces = []
    for column, names in enumerate(layout.columns):
        part = Window(window.start + column * share, share)
        traces += [_trace(record, leads, name, part, window, scale, row, column) for row, name in enumerate(names)]
    rows = max(len(names) for names in layout.columns)
    for row, name in enumerate(rhythm_leads, start=rows):
        traces.append(_trace(record, leads, name, window, window, scale, row, 0, rhythm=True))
    width = _round_up(scale.trace_x + window.duration * scale.speed + SQUARE)
    drawn = {trace.lead for trace in traces}
    undrawn = tuple(lead for lead in record.leads if known_lead_name(lead) not in drawn)
    return Strip(record, window, scale, tuple(traces), max(width, _MIN_WIDTH), undrawn)


def row_lines(strips: Sequence[Strip], row_mm: float) -> tuple[list[float], float]:
    """Height of every row's line over the bottom of the grid, first row first, and the grid's height (mm).

    Rows stand `row_mm` apart and move apart by 5 mm at a time, to at most twice that, where traces would touch;
    beyond, they cross as on any paper. The same for all strips, so that their rows lie side by side.
    """
    rows = max(strip.rows for strip in strips)
    extents = [_extents(strip, rows) for strip in strips]
    gaps = []
    for row in range(rows - 1):
        touching = max(float((below[row] + above[row + 1]).max()) for above, below in extents)
        gaps.append(min(max(_round_up(touching + _ROOM), row_mm), 2 * row_mm))
    least, most = max(_EDGE[0], _round_up(row_mm / 2)), _EDGE[1]
    top = max(float(above[0].max()) for above, _ in extents)
    bottom = max(float(below[-1].max()) for _, below in extents)
    over, under = (min(max(_round_up(edge + _ROOM), least), most) for edge in (top, bottom))
    height = over + sum(gaps) + under
    return [float(height - over - sum(gaps[:row])) for row in range(rows)], float(height)


def clipped_leads(strip: Strip, lines: Sequence[float], height: float) -> list[str]:
    """Labels of the leads that run off the grid."""
    labels = {}
    for trace in strip.traces:
        y = trace.y[np.isfinite(trace.y)] + lines[trace.row]
        if y.size and (y.max() > height or y.min() < 0):
            labels[trace.label] = None
    return list(labels)


def calibration_pulse(scale: Scale) -> tuple[np.ndarray, np.ndarray]:
    """x (mm from the grid's left edge) and y (mm over the row's line) of the 1 mV, 200 ms pulse."""
    foot, wide, high = PULSE_FOOT, PULSE_S * scale.speed, PULSE_MV * scale.gain
    left = scale.trace_x - SQUARE / 2 - 2 * foot - wide  # half a square of paper between the pulse and the trace
    return left + np.cumsum([0, foot, 0, wide, 0, foot]), np.array([0, 0, high, high, 0, 0])


def _by_name(record: ECGRecord) -> dict[str, tuple[np.ndarray, bool]]:
    """Standard name -> samples (mV) and whether they were derived from other leads."""
    given: dict[str, np.ndarray] = {}
    for name, samples in zip(record.leads, record.signal, strict=True):
        given.setdefault(known_lead_name(name), samples)
    complete = complete_limb_leads({name: given[name] for name in LEADS if name in given})
    return {name: (samples, name not in given) for name, samples in (given | complete).items()}


def _trace(
    record: ECGRecord,
    leads: Mapping[str, tuple[np.ndarray, bool]],
    name: str,
    part: Window,
    window: Window,
    scale: Scale,
    row: int,
    column: int,
    rhythm: bool = False,
) -> Trace:
    inverted = name == "-aVR"
    lead = "aVR" if inverted else name
    recorded, (samples, derived) = lead in leads, leads.get(lead, (np.empty(0, dtype=np.float32), False))
    rate = record.sampling_rate
    # Both ends belong to it, so that a column's line meets that of the next; the tolerance is for 2.5 s * rate.
    first = math.ceil(part.start * rate - 1e-6)
    samples = samples[first : math.floor((part.start + part.duration) * rate + 1e-6) + 1]
    finite = samples[np.isfinite(samples)]
    y = (samples - (np.median(finite) if finite.size else 0)).astype(np.float64) * scale.gain
    left = (part.start - window.start) * scale.speed
    return Trace(
        lead=lead,
        label="\N{MINUS SIGN}aVR" if inverted else lead,
        row=row,
        column=column,
        start_s=part.start,
        end_s=part.start + part.duration,
        left=left,
        right=left + part.duration * scale.speed,
        x=((first + np.arange(len(samples))) / rate - window.start) * scale.speed,
        y=-y if inverted else y,
        recorded=recorded,
        derived=derived,
        rhythm=rhythm,
    )


def _extents(strip: Strip, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """How far traces reach above and below their row's line (mm), [rows, squares along the strip]."""
    squares = int(strip.window.duration * strip.scale.speed // SQUARE) + 2
    above, below = np.zeros((rows, squares)), np.zeros((rows, squares))
    above[:, 0] = strip.scale.gain * PULSE_MV  # the pulse stands just left of it
    for trace in strip.traces:
        square = (trace.x // SQUARE).astype(int)
        starts = np.flatnonzero(np.diff(square, prepend=-1))
        if starts.size:
            for extent, y in ((above, trace.y), (below, -trace.y)):
                reached = np.nan_to_num(np.fmax.reduceat(y, starts), nan=0.0)
                np.maximum.at(extent[trace.row], square[starts], reached)
    return above, below


def _round_up(mm: float) -> float:
    """To the next thick line."""
    return math.ceil(mm / SQUARE - 1e-9) * SQUARE


def label_place(trace: Trace, width: float, free: float) -> tuple[float, float]:
    """mm right of the trace's start and over the row's line where a label of that width meets the least of it.

    Args: free: how far over the line a label may stand without leaving the row.
    """
    usual, most = 5.0, max(5.0, min(free, 14.0))
    best = None
    for right in np.arange(1.0, 12.5, 0.5):
        over = trace.x - trace.left - right
        beside = trace.y[(over >= -0.7) & (over <= width + 0.7) & np.isfinite(trace.y)]
        needed = max(usual, float(beside.max()) + 1.5 if beside.size else 0.0)
        cost = (max(0.0, needed - most), needed - usual + right / 2)  # running into it; then standing out of line
        if best is None or cost < best[0]:
            best = cost, float(right), min(needed, most)
    return best[1:]
