"""Charts of a report, drawn by matplotlib as SVG that stands inside a page.

In: a `Chart`. Out: an `<svg>` element that scales, whose words are text, with what it shows in words for those who do
not see it. Decided here: how the three kinds look. Series differ by shape and line as well as colour (Okabe and Ito
2008), words have the colour of the page's, and the same chart gives the same bytes.
"""

from __future__ import annotations

import html
import io
import math
import re
import textwrap
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ...errors_ecgllm import ECGError, MissingExtraError
from ...intervals import Estimate
from ..figures import Chart, Series
from ..figures_in_words import MISSING, shown_estimate
from .writing_figures import axis_figure, figure_of, is_share, unit_of, value_label

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ImportError as error:
    raise MissingExtraError(f"drawing a report needs matplotlib: pip install 'ecgllm[evaluate]' ({error})") from error

_INK, _GRID = "#1a1a1a", "#c9c9c9"
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
# What a page may choose otherwise, as on a dark screen.
_CHOSEN_BY_PAGE = {_INK: "currentColor", _GRID: f"var(--grid, {_GRID})"} | {
    colour: f"var(--series-{number}, {colour})" for number, colour in enumerate(_COLOURS, 1)
}
_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (7, 2)), (0, (2, 2)))
_WIDTH = 5.0  # inches: 10 pt are still 10 px where a phone shows the chart 360 px wide
_SQUARE = 4.2
_POINTS = 10
_HIGHEST = 8.5  # inches of the rows of dots in one drawing
_LINE, _APART = 0.17, 0.11  # inches that a line of text takes, and from one series to the next in a row
_LONGEST = 26  # characters in a line of a name beside a row
_TOLD = 12  # values that the description of a chart names; more are in the tables
_ID = re.compile(r'(\bid="|href="#|url\(#)([^")]+)')
_FONT = re.compile(r"font: (\d+(?:\.\d+)?)px [^;\"]*")
_FAMILY = re.compile(r"font-family: [^;\"]*;? ?")


def svgs(chart: Chart, prefix: str) -> list[str]:
    """A chart as an `<svg>` element; as several with one scale, side by side or one below the other, where it has more
    names than a printed page holds.

    Ids in them begin with `prefix`, which no other chart of the page may have.
    Raises: ECGError for another kind, for no series, and for series whose x and values differ in number.
    """
    _check(chart)
    limits = _limits(chart)
    return [_svg(part, f"{prefix}-{number}", limits) for number, part in enumerate(_parts(chart), 1)]


def _parts(chart: Chart) -> list[Chart]:
    """The chart, or for dots as many as are needed for none to be higher than a page, of much the same height."""
    rows = _rows(chart) if chart.kind == "dots" else {}
    total = sum(rows.values())
    number = math.ceil(total / _HIGHEST)
    if number <= 1:
        return [chart]
    part_of, above = {}, 0.0
    for name, height in rows.items():
        part_of[name] = int((above + height / 2) * number / total)
        above += height
    parts = []
    for part in range(number):
        series = []
        for each in chart.series:
            own = [(x, value) for x, value in zip(each.x, each.values, strict=True) if part_of[_name(x)] == part]
            series.append(Series(each.name, [x for x, _ in own], [value for _, value in own]))
        parts.append(replace(chart, title=f"{chart.title}, part {part + 1} of {number}", series=series))
    return parts


def _rows(chart: Chart) -> dict[str, float]:
    """Name of each row of dots -> its height in inches."""
    names = dict.fromkeys(_name(x) for series in chart.series for x in series.x)
    least = _APART * len(chart.series)
    return {name: max(_LINE * len(textwrap.wrap(name, _LONGEST)), least) + 0.07 for name in names}


def _svg(chart: Chart, prefix: str, limits: tuple[float, float]) -> str:
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(
            {
                "svg.fonttype": "none",
                "svg.hashsalt": prefix,
                "font.size": _POINTS,
                "axes.edgecolor": _GRID,
                "axes.spines.top": False,
                "axes.spines.right": False,
                **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
            }
        )
        figure = Figure(figsize=(_WIDTH, 3.4), layout="constrained")
        axes = figure.add_subplot()
        _KINDS[chart.kind](axes, chart)
        if chart.kind != "reliability":
            axes.set(**{"xlim" if chart.kind == "dots" else "ylim": limits})
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(out.getvalue(), chart, prefix)


def description(chart: Chart) -> str:
    """What a chart shows, in words: all its values if they are few, else from where to where they go."""
    unit = unit_of(chart)
    said = []
    for series in chart.series:
        known = [figure for figure in map(figure_of, series.values) if math.isfinite(figure)]
        if len(series.values) <= _TOLD:
            pairs = zip(series.x, series.values, strict=True)
            told = "; ".join(f"{_name(x)}: {_told(value, unit)}" for x, value in pairs)
        elif known:
            told = f"{len(series.values)} values from {_told(min(known), unit)} to {_told(max(known), unit)}"
        else:
            told = f"{len(series.values)} values that cannot be computed"
        said.append(f"{series.name}: {told}" if series.name else told)
    guess = "" if chart.chance is None else f" Guessing gives {axis_figure(chart.chance, unit)}."
    return f"{chart.title}. {'. '.join(said)}.{guess}"


def _check(chart: Chart) -> None:
    if chart.kind not in _KINDS:
        raise ECGError(f"chart {chart.title!r} is of kind {chart.kind!r}; expected {', '.join(_KINDS)}.")
    if chart.empty:
        raise ECGError(f"chart {chart.title!r} has nothing to show; leave it out.")
    for series in chart.series:
        if len(series.x) != len(series.values):
            raise ECGError(
                f"chart {chart.title!r}, {series.name!r}: {len(series.x)} x and {len(series.values)} values; "
                "expected as many."
            )


# ---------------------------------------------------------------------------------------------------------------------
# Kinds
# ---------------------------------------------------------------------------------------------------------------------


def _dots(axes: Axes, chart: Chart) -> None:
    """Names from top to bottom, in the order in which they come, and beside each its values."""
    rows, several = _rows(chart), len(chart.series)
    centres, total = {}, 0.0
    for name, height in rows.items():
        centres[name] = total + height / 2
        total += height
    for number, series in enumerate(chart.series):
        shift = _APART * (number - (several - 1) / 2)
        places = [centres[_name(x)] + shift for x in series.x]
        _points(axes, series, number, list(zip(series.values, places, strict=True)))
    axes.set_ylim(total, 0)
    labels = ["\n".join(textwrap.wrap(name, _LONGEST)) for name in rows]
    axes.set_yticks(list(centres.values()), labels, linespacing=1.1)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(value_label(chart))
    axes.grid(axis="y", color=_GRID, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    _value_axis(axes, "x", chart)
    _legend(axes, chart, _WIDTH)
    axes.figure.set_size_inches(_WIDTH, total + 0.75 + _legend_height(axes))


def _lines(axes: Axes, chart: Chart) -> None:
    """Values over a number, or over names in the order in which they come."""
    every = [x for series in chart.series for x in series.x]
    named = any(isinstance(x, str) for x in every)
    places = {_name(x): place for place, x in enumerate(dict.fromkeys(every))} if named else {}
    for number, series in enumerate(chart.series):
        at = [float(places[_name(x)]) if named else float(x) for x in series.x]
        values = [figure_of(value) for value in series.values]
        axes.plot(at, values, color=_colour(number), linestyle=_DASHES[number % len(_DASHES)], linewidth=1.4)
        _points(axes, series, number, list(zip(at, series.values, strict=True)), upright=True)
    if named:
        axes.set_xticks(list(places.values()), ["\n".join(textwrap.wrap(name, 12)) for name in places])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6))
        unit = "share" if is_share(chart.x_label, [float(x) for x in every]) else "number"
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: axis_figure(value, unit)))
    axes.set(xlabel=chart.x_label, ylabel=chart.y_label)
    axes.grid(axis="y", color=_GRID, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    _value_axis(axes, "y", chart)
    _legend(axes, chart, _WIDTH)
    axes.figure.set_size_inches(_WIDTH, 3.2 + _legend_height(axes))


def _reliability(axes: Axes, chart: Chart) -> None:
    """What was found over what was stated; on the diagonal the two agree."""
    axes.plot([0, 1], [0, 1], color=_INK, linewidth=0.8, linestyle=(0, (4, 3)), label="as often as stated")
    for number, series in enumerate(chart.series):
        at, values = [float(x) for x in series.x], [figure_of(value) for value in series.values]
        axes.plot(at, values, color=_colour(number), linestyle=_DASHES[number % len(_DASHES)], linewidth=1.0)
        _points(axes, series, number, list(zip(at, series.values, strict=True)), upright=True)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel=chart.x_label, ylabel=chart.y_label)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: axis_figure(value, "share")))
    axes.grid(color=_GRID, linewidth=0.4, alpha=0.6)
    axes.set_axisbelow(True)
    _legend(axes, chart, _SQUARE)
    axes.figure.set_size_inches(_SQUARE, _SQUARE - 0.3 + _legend_height(axes))


_KINDS: dict[str, Callable[[Axes, Chart], None]] = {"dots": _dots, "lines": _lines, "reliability": _reliability}


# ---------------------------------------------------------------------------------------------------------------------
# Parts
# ---------------------------------------------------------------------------------------------------------------------


def _points(axes: Axes, series: Series, number: int, pairs: list[tuple[Any, Any]], upright: bool = False) -> None:
    """Marks with their intervals, hollow where there is none. pairs: (x, y), of which one is the value."""
    colour, marker = _colour(number), _MARKERS[number % len(_MARKERS)]
    style = {"linestyle": "none", "marker": marker, "markersize": 5, "color": colour, "elinewidth": 1.2}
    labelled = False
    for hollow in (False, True):
        own = [pair for pair in pairs if (_interval(pair[upright]) is None) == hollow]
        own = [pair for pair in own if math.isfinite(figure_of(pair[upright]))]
        if not own:
            continue
        values = [figure_of(pair[upright]) for pair in own]
        others = [pair[1 - upright] for pair in own]
        bars = None
        if not hollow:
            bounds = [_interval(pair[upright]) for pair in own]
            bars = [
                [max(value - low, 0) for value, (low, _) in zip(values, bounds, strict=True)],
                [max(high - value, 0) for value, (_, high) in zip(values, bounds, strict=True)],
            ]
        where = {"x": others, "y": values, "yerr": bars} if upright else {"x": values, "y": others, "xerr": bars}
        filled = {"markerfacecolor": "none"} if hollow and _has_intervals(series) else {}
        axes.errorbar(**where, **style, **filled, label=series.name if not labelled else "_")
        labelled = True


def _interval(value: Estimate | float) -> tuple[float, float] | None:
    if isinstance(value, Estimate) and math.isfinite(value.low) and math.isfinite(value.high):
        return value.low, value.high
    return None


def _has_intervals(series: Series) -> bool:
    return any(isinstance(value, Estimate) for value in series.values)


def _value_axis(axes: Axes, axis: str, chart: Chart) -> None:
    """Ticks and the line of chance of the axis on which the values stand."""
    unit = unit_of(chart)
    ticks = axes.xaxis if axis == "x" else axes.yaxis
    ticks.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    ticks.set_major_formatter(FuncFormatter(lambda value, _: axis_figure(value, unit)))
    line = axes.axvline if axis == "x" else axes.axhline
    if chart.chance is not None:
        same = unit in ("points", "difference")
        words = "no difference" if same and chart.chance == 0 else "guessing"
        line(chart.chance, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), label=words)
    elif unit in ("points", "difference"):
        line(0.0, color=_INK, linewidth=0.9, linestyle=(0, (4, 3)), label="no difference")


def _limits(chart: Chart) -> tuple[float, float]:
    """From where to where the values of a chart go, with their intervals and the line of chance."""
    unit = unit_of(chart)
    ends = [
        end for series in chart.series for value in series.values for end in _interval(value) or (figure_of(value),)
    ]
    ends = [end for end in ends if math.isfinite(end)]
    ends += [] if chart.chance is None else [chart.chance]
    ends += [0.0] if unit in ("points", "difference") else []
    ends = ends or [0.0, 1.0]
    room = 0.05 * (max(ends) - min(ends)) or 0.05
    low, high = min(ends) - room, max(ends) + room
    if unit in ("share", "score"):
        low, high = max(low, -0.01), min(high, 1.01)
    return low, high


def _legend(axes: Axes, chart: Chart, width: float) -> None:
    """Above the chart, in two columns where they fit its width (inches): series first, then the line of chance."""
    handles, labels = axes.get_legend_handles_labels()
    kept = [(handle, label) for handle, label in zip(handles, labels, strict=True) if label and label[0] != "_"]
    if len(chart.series) == 1 and len(kept) == 1:
        return
    kept.sort(key=lambda pair: isinstance(pair[0], Line2D))
    room = int(width / 0.09) - 6  # characters beside a handle
    wrapped = ["\n".join(textwrap.wrap(label, room)) for _, label in kept]
    columns = 2 if 2 * max(len(label) for label in wrapped) + 6 <= room else 1
    axes.figure.legend(
        [handle for handle, _ in kept], wrapped, loc="outside upper left", ncols=columns, frameon=False,
        handlelength=2.2, columnspacing=1.2, borderpad=0.1,
    )  # fmt: skip


def _legend_height(axes: Axes) -> float:
    if not axes.figure.legends:
        return 0.0
    (legend,) = axes.figure.legends
    lines = sum(text.get_text().count("\n") + 1 for text in legend.get_texts())
    return 0.21 * math.ceil(lines / legend._ncols) + 0.05


def _colour(number: int) -> str:
    return _COLOURS[number % len(_COLOURS)]


def _name(x: Any) -> str:
    return x if isinstance(x, str) else f"{x:g}"


def _told(value: Estimate | float, unit: str) -> str:
    if isinstance(value, Estimate):
        return shown_estimate(value, unit in ("score", "difference")).text
    return axis_figure(value, unit) if math.isfinite(value) else MISSING


def _inline(drawn: str, chart: Chart, prefix: str) -> str:
    """The drawing as an element of a page: without prolog, of the page's colour and font, with ids of its own."""
    body = drawn[drawn.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>|<style[^>]*>.*?</style>", "", body, flags=re.S)
    body = _ID.sub(lambda found: f"{found[1]}{prefix}-{found[2]}", body)
    body = _FAMILY.sub("", _FONT.sub(r"font-size: \1px", body))
    for drawn_as, colour in _CHOSEN_BY_PAGE.items():
        body = body.replace(drawn_as, colour)
    view = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', body)
    words = html.escape(description(chart))
    width = f"max-width: {float(view[1]) / 72:.2f}in"
    head = f'<svg class="chart" role="img" aria-label="{words}" style="{width}" viewBox="{view[0][9:-1]}">'
    return re.sub(r"<svg[^>]*>", lambda _: head, body, count=1).strip()
