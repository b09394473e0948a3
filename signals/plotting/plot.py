"""ECGs drawn on the paper that a cardiologist reads, in true millimetres.

In: an `ECGRecord` (or two to compare) and how to lay it out. Out: a matplotlib figure. One axes covers the page and
its unit is the millimetre. Decided here: how things look. Where they lie is decided in `paper_layout`, what is written
in `paper_text`; `files` writes files. pyplot and other global state of matplotlib are left alone, so that threads may
draw at once and the same record gives the same picture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors_ecgllm import ECGError, MissingExtraError
from ..record import ECGRecord, known_lead_name
from .paper_layout import (
    SQUARE,
    STANDARD_S,
    STYLES,
    Highlight,
    PaperStyle,
    Scale,
    Strip,
    Trace,
    Window,
    calibration_pulse,
    check_leads,
    choose_layout,
    choose_rhythm_leads,
    choose_window,
    clipped_leads,
    label_place,
    lay_out,
    row_lines,
)
from .paper_text import (
    earlier_and_later,
    footer_lines,
    heading,
    known_measurements,
    measurement_line,
    printable,
    wrapped,
)

try:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.lines import Line2D
    from matplotlib.patches import Rectangle
    from matplotlib.textpath import TextPath
    from matplotlib.transforms import Bbox, TransformedBbox
except ImportError as error:
    raise MissingExtraError(f"drawing ECGs needs matplotlib: pip install 'ecgllm[plot]' ({error})") from error

__all__ = ["Highlight", "PaperStyle", "plot_ecg", "plot_pages"]

MM = 25.4  # an inch
DPI = 254  # ten pixels a millimetre: grid lines fall on whole pixels
_MARGIN, _BETWEEN_STRIPS = 8.0, 10.0  # mm; printers leave some 5 mm blank
_TITLE_PT, _HEADING_PT, _TEXT_PT, _LABEL_PT, _FOOTER_PT = 11.0, 9.5, 8.5, 9.0, 7.5
_LINE = 1.35 * MM / 72  # mm of height of a line of text for each point of its size
_TICK = (2.5, 5.0)  # mm from the row's line: where a mark between two columns begins and ends


def plot_ecg(
    record: ECGRecord,
    *,
    layout: str = "auto",
    compare: ECGRecord | None = None,
    start: float = 0.0,
    duration: float | None = None,
    speed: float = 25.0,
    gain: float = 10.0,
    rhythm_leads: Iterable[str] | None = None,
    highlights: Iterable[Highlight] = (),
    title: str | None = None,
    measuring: bool | None = None,
    measurements: Mapping[str, float] | Sequence[Mapping[str, float] | None] | None = None,
    show_date: bool = False,
    show_patient: bool = False,
    style: str | PaperStyle = "paper",
) -> Figure:
    """Draw an ECG, or two side by side, on one page.

    Args:
        layout: "3x4", "6x2", "12x1", "cabrera", "cabrera-3x4", "cabrera-6x2", "recorded" (a row for each lead of the
            record), or "auto": 3x4, or "recorded" where fewer than six standard leads are there.
        compare: a second record, drawn to the right at the same scale; the two are then called "first" and "second".
        start, duration: which stretch to draw, in seconds; at most 10 s, and no more than there is, by default.
        speed: mm/s. gain: mm/mV. Neither is ever changed to make a trace fit: what runs off the grid is cut, and the
            footer says so.
        rhythm_leads: leads drawn below the columns over the whole stretch; None draws II in the 3x4 layouts.
        highlights: stretches to mark. title: first line of the page; else there is none.
        measuring: True measures rate, intervals and axis for the header; None does so for a record that states none;
            False writes what the record states.
        measurements: as `ECGRecord.measurements`, in place of all that; a pair when comparing.
        show_date, show_patient: write when it was recorded; pseudonym, age and sex. By default only the id is written.
        style: "paper" (pink), "plain" (grey) or a `PaperStyle`.

    Returns: a figure whose single axes covers the page, in mm from its lower left corner; `save_ecg` writes it.
    Raises: ValueError if an argument does not fit; the message says which, and what was expected.
    """
    records = [record] if compare is None else [record, compare]
    page = _Page(
        records, layout, speed, gain, rhythm_leads, highlights, title, measuring, measurements, show_date,
        show_patient, style,
    )  # fmt: skip
    windows = [choose_window(each, start, duration) for each in records]
    return page.draw([page.strip(each, window) for each, window in zip(records, windows, strict=True)])


def plot_pages(
    record: ECGRecord, *, start: float = 0.0, duration: float = STANDARD_S, **options: Any
) -> Iterator[Figure]:
    """Draw a whole recording, `duration` seconds a page, from `start` to its end; other options as of `plot_ecg`.

    All pages have one size, and rows stand at the same heights. Figures are made one at a time, as they are taken.
    Raises: ValueError as `plot_ecg` does, before the first page.
    """
    page = _Page([record], **options)
    whole = choose_window(record, start, duration)
    count = max(1, int(np.ceil((record.duration - start) / whole.duration - 0.5 / record.n_samples)))
    strips = [page.strip(record, Window(start + i * whole.duration, whole.duration)) for i in range(count)]
    lines = row_lines(strips, page.layout.row_mm)
    return (page.draw([strip], lines) for strip in strips)


@dataclass
class _Page:
    """What one call asked for (as `plot_ecg` says), checked; draws strips side by side."""

    records: Sequence[ECGRecord]
    layout: Any = "auto"
    speed: float = 25.0
    gain: float = 10.0
    rhythm_leads: Iterable[str] | None = None
    highlights: Iterable[Highlight] = ()
    title: str | None = None
    measuring: bool | None = None
    measurements: Mapping[str, float] | Sequence[Mapping[str, float] | None] | None = None
    show_date: bool = False
    show_patient: bool = False
    style: Any = "paper"

    def __post_init__(self) -> None:
        self.scale = Scale(self.speed, self.gain)
        self.layout = choose_layout(self.layout, self.records)
        self.rhythm_leads = choose_rhythm_leads(self.layout, self.rhythm_leads, self.records)
        self.highlights = tuple(self.highlights)
        check_leads("highlights", (known_lead_name(h.lead) for h in self.highlights if h.lead), self.records)
        if len(self.records) == 1 and any(highlight.second for highlight in self.highlights):
            raise ECGError("a highlight is on the second ECG, and there is none; give it as compare=.")
        if self.measurements is None or isinstance(self.measurements, Mapping):
            self.measurements = [self.measurements, *([None] * (len(self.records) - 1))]
        if len(self.measurements) != len(self.records):
            raise ECGError(
                f"measurements are {len(self.measurements)} mappings for {len(self.records)} ECGs; expected one each."
            )
        if isinstance(self.style, str):
            if self.style not in STYLES:
                raise ECGError(f"style is {self.style!r}; expected {' or '.join(STYLES)}, or a PaperStyle.")
            self.style = STYLES[self.style]
        self.known = [
            known_measurements(record, given, self.measuring)
            for record, given in zip(self.records, self.measurements, strict=True)
        ]

    def strip(self, record: ECGRecord, window: Window) -> Strip:
        return lay_out(record, window, self.scale, self.layout, self.rhythm_leads)

    def draw(self, strips: Sequence[Strip], rows: tuple[list[float], float] | None = None) -> Figure:
        """One page: title, then for each ECG its header, grid and footer, from left to right."""
        lines, height = row_lines(strips, self.layout.row_mm) if rows is None else rows
        names = ("first", "second") if len(strips) > 1 else (None,)
        headers, footers = [], []
        when = earlier_and_later(self.records)
        for strip, name, time, known in zip(strips, names, when, self.known, strict=True):
            first = heading(strip, f"{name}, {time}" if time else name, self.show_date, self.show_patient)
            headers.append(
                _styled(first, strip.width, _HEADING_PT, bold=True)
                + _styled(measurement_line(known), strip.width, _TEXT_PT)
            )
            words = footer_lines(strip, clipped_leads(strip, lines, height))
            footers.append([line for text in words for line in _styled(text, strip.width, _FOOTER_PT)])
        width = 2 * _MARGIN + sum(strip.width for strip in strips) + _BETWEEN_STRIPS * (len(strips) - 1)
        title = _styled(printable(self.title or ""), width - 2 * _MARGIN, _TITLE_PT, bold=True)
        over = _text_height(title) + max(_text_height(header) for header in headers)
        under = max(_text_height(footer) for footer in footers)
        bottom = float(np.ceil(_MARGIN + under + 1))
        page_height = float(np.ceil(bottom + height + 1.5 + over + _MARGIN))

        axes = _blank_page(width, page_height)
        _write(axes, title, _MARGIN, page_height - _MARGIN, self.style.text)
        left = _MARGIN
        for number, (strip, header, footer) in enumerate(zip(strips, headers, footers, strict=True)):
            _write(axes, header, left, page_height - _MARGIN - _text_height(title), self.style.text)
            _write(axes, footer, left, bottom - 1, self.style.text)
            marks = [highlight for highlight in self.highlights if highlight.second == (number == 1)]
            prefix = f"{names[number]}-" if names[number] else ""
            _Grid(axes, strip, self.style, left, bottom, height, lines, prefix).draw(marks)
            left += strip.width + _BETWEEN_STRIPS
        return axes.figure


def _blank_page(width: float, height: float) -> Axes:
    """An axes over a whole page, in mm."""
    # A hair more, since canvases cut the page to whole pixels: 285.99999 mm would lose one.
    size = (width / MM * (1 + 1e-12), height / MM * (1 + 1e-12))
    figure = Figure(figsize=size, dpi=DPI, facecolor="white", edgecolor="none", layout="none")
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, width), ylim=(0, height), autoscale_on=False)
    axes.set_axis_off()
    return axes


@dataclass(frozen=True)
class _Grid:
    """Draws one strip with the lower left corner of its grid at `left`, `bottom`; `lines` are the rows' heights."""

    axes: Axes
    strip: Strip
    style: PaperStyle
    left: float
    bottom: float
    height: float
    lines: Sequence[float]
    prefix: str

    def draw(self, highlights: Sequence[Highlight]) -> None:
        self._paper()
        for highlight in highlights:
            self._highlight(highlight)
        self._pulses()
        self._column_marks()
        for trace in self.strip.traces:
            self._trace(trace)

    @property
    def _trace_left(self) -> float:
        return self.left + self.strip.scale.trace_x

    def _row(self, trace: Trace) -> float:
        return self.bottom + self.lines[trace.row]

    def _paper(self) -> None:
        style, width, height = self.style, self.strip.width, self.height
        page = Rectangle((self.left, self.bottom), width, height, facecolor=style.background, linewidth=0, zorder=0)
        self.axes.add_patch(page)
        for step, color, thickness in ((1.0, style.thin, style.thin_mm), (SQUARE, style.thick, style.thick_mm)):
            across, up = np.arange(0, width + 0.5, step), np.arange(0, height + 0.5, step)
            if step < SQUARE:  # thick lines lie where they are
                across, up = across[across % SQUARE != 0], up[up % SQUARE != 0]
            strokes = [((x, self.bottom), (x, self.bottom + height)) for x in across + self.left]
            strokes += [((self.left, y), (self.left + width, y)) for y in up + self.bottom]
            lines = LineCollection(strokes, colors=color, linewidths=_points(thickness), capstyle="butt", zorder=1)
            lines.set_gid(f"{self.prefix}grid-{step:g}mm")
            self.axes.add_collection(lines, autolim=False)

    def _highlight(self, highlight: Highlight) -> None:
        lead = None if highlight.lead is None else known_lead_name(highlight.lead)
        label, speed = highlight.label, self.strip.scale.speed
        for trace in self.strip.traces:
            start, end = max(highlight.start_s, trace.start_s), min(highlight.end_s, trace.end_s)
            if lead not in (None, trace.lead) or start >= end or not trace.recorded:
                continue
            x = self._trace_left + trace.left + (start - trace.start_s) * speed
            low, high = self._band(trace)
            stretch = Rectangle((x, low), (end - start) * speed, high - low, linewidth=0, zorder=2)
            stretch.set(facecolor=highlight.color, alpha=highlight.alpha)
            stretch.set_gid(f"{self.prefix}highlight-{trace.lead}")
            self.axes.add_patch(stretch)
            if label:
                line = [(printable(label), _FOOTER_PT, False)]
                _write(self.axes, line, x + 0.5, high - 0.3, highlight.color)
                label = None

    def _band(self, trace: Trace) -> tuple[float, float]:
        """Bottom and top of a row's share of the grid: to half way to its neighbours."""
        edges = [self.height, *((a + b) / 2 for a, b in zip(self.lines, self.lines[1:], strict=False)), 0.0]
        return self.bottom + edges[trace.row + 1], self.bottom + edges[trace.row]

    def _pulses(self) -> None:
        x, y = calibration_pulse(self.strip.scale)
        for row in range(self.strip.rows):
            self._line(self.left + x, self.bottom + self.lines[row] + y, f"calibration-{row + 1}")

    def _column_marks(self) -> None:
        """Short strokes above and below the line where one lead ends and the next begins."""
        strokes = []
        for trace in self.strip.traces:
            if trace.column > 0 and (trace.x.size or not trace.recorded):
                x, y = self._trace_left + trace.left, self._row(trace)
                strokes += [[(x, y + side * _TICK[0]), (x, y + side * _TICK[1])] for side in (-1, 1)]
        if strokes:
            marks = LineCollection(strokes, colors=self.style.trace, linewidths=_points(0.2), zorder=4)
            marks.set_gid(f"{self.prefix}lead-changes")
            self.axes.add_collection(marks, autolim=False)

    def _trace(self, trace: Trace) -> None:
        if trace.recorded and not trace.x.size:  # the last page's end, after the recording's
            return
        x, y = self._trace_left + trace.left, self._row(trace)
        label = f"{trace.label} (derived)" if trace.derived else trace.label
        free = self._band(trace)[1] - y - 3.5
        right, up = label_place(trace, _width(label, _LABEL_PT), free)
        self._word(x + right, y + up, label, _LABEL_PT, bold=True)
        if not trace.recorded:
            self._word(x + 1, y - 1.5, "not recorded", _TEXT_PT)
        elif not np.isfinite(trace.y).any():
            self._word(x + 1, y - 1.5, "no signal", _TEXT_PT)
        else:
            kind = "rhythm" if trace.rhythm else "trace"
            name = trace.label.replace("\N{MINUS SIGN}", "minus-")
            self._line(self._trace_left + trace.x, y + trace.y, f"{kind}-{re.sub(r'[^A-Za-z0-9_-]', '_', name)}")

    def _line(self, x: np.ndarray, y: np.ndarray, gid: str) -> None:
        line = Line2D(
            x,
            y,
            color=self.style.trace,
            linewidth=_points(self.style.trace_mm),
            linestyle="-",
            marker="None",
            solid_joinstyle="round",
            solid_capstyle="round",
            antialiased=True,
            zorder=5,
        )
        line.set_gid(self.prefix + gid)
        self.axes.add_line(line)
        # The grid's edge cuts what is too large for the paper.
        box = ((self.left, self.bottom), (self.left + self.strip.width, self.bottom + self.height))
        line.set_clip_box(TransformedBbox(Bbox(box), self.axes.transData))

    def _word(self, x: float, y: float, text: str, size: float, bold: bool = False) -> None:
        word = self.axes.text(
            x, y, text, fontproperties=_font(size, bold), color=self.style.text, va="baseline", ha="left", zorder=6
        )
        word.set_parse_math(False)


_Text = tuple[str, float, bool]  # what, size in points, bold


def _styled(text: str, width: float, size: float, bold: bool = False) -> list[_Text]:
    return [(line, size, bold) for line in wrapped(text, width, size * (1.1 if bold else 1))]


def _text_height(lines: Sequence[_Text]) -> float:
    return sum(size * _LINE for _, size, _ in lines)


def _write(axes: Axes, lines: Sequence[_Text], left: float, top: float, color: str) -> None:
    """Lines of text below `top` (mm)."""
    for text, size, bold in lines:
        word = axes.text(left, top, text, fontproperties=_font(size, bold), color=color, va="top", ha="left", zorder=6)
        word.set_parse_math(False)  # a dollar sign in an id is a dollar sign
        top -= size * _LINE


def _font(size: float, bold: bool) -> FontProperties:
    # Named, since it comes with matplotlib: a picture does not depend on the fonts or rcParams of a machine.
    return FontProperties(family="DejaVu Sans", size=size, weight="bold" if bold else "normal")


def _width(text: str, size: float) -> float:
    """mm that bold text of that size takes."""
    return TextPath((0, 0), text, prop=_font(size, bold=True)).get_extents().xmax * MM / 72


def _points(mm: float) -> float:
    return mm * 72 / MM
