"""What stands in tables and charts as text, by `figures_in_words`, and whether it is a share or a score.

In: a table or a chart. Out: the text of each cell, with its interval apart from its value. Decided here: what is a
score. That is what stands under a head of `_SCORES`, in a row that begins with one, or in a table whose title has one,
if the column's head does not say that it holds shares. Any other `Estimate` is a share. A bare number from 0 to 1
beside estimates is written as they are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import numpy as np

from ...errors_ecgllm import ECGError
from ...intervals import Estimate
from ..figures import Cell, Chart, Table
from ..figures_in_words import MISSING, Shown, figure, p_value, shown_estimate, signed, without_zero

_SCORES = re.compile(
    r"\b(au-?roc|auc|auprc|average precision|ap|f1|mcc|kappa|brier|ece|calibration error|correlation|youden)\b", re.I
)
_SHARES = re.compile(
    r"%|p\(yes\)|\b(shares?|frequency|prevalence|coverage|chance|accuracy|probability|right|yes|no|sensitivity|specificity)\b",
    re.I,
)
_OTHERS = re.compile(r"\b(bpm|ms|mv|s|hz|seconds|minutes|ratio|factor)\b", re.I)
_P_VALUE = re.compile(r"^p\b(?!\()|\bp[- ]values?\b|\bholm\b", re.I)
NO_VALUE = f"{MISSING} cannot be computed from these records."
NO_INTERVAL = f"[{MISSING}] too few patients for an interval."


def is_score(*words: str) -> bool:
    """Whether a figure under these heads is a score from 0 to 1, and no share of anything."""
    return any(_SCORES.search(each) for each in words)


def trimmed(table: Table) -> Table:
    """Without the columns in which no row says anything, such as those of P(yes) of a model that gives none."""
    kept = [place for place in range(len(table.columns)) if any(row[place] is not None for row in table.rows)]
    if len(kept) == len(table.columns) or any(len(row) != len(table.columns) for row in table.rows):
        return table
    columns = tuple(table.columns[place] for place in kept)
    return replace(table, columns=columns, rows=[tuple(row[place] for place in kept) for row in table.rows])


def shown_rows(table: Table) -> list[list[Shown]]:
    """Every cell of a table as text. Raises: ECGError for a row with more or fewer cells than there are columns."""
    for row in table.rows:
        if len(row) != len(table.columns):
            raise ECGError(
                f"table {table.title!r}: a row has {len(row)} cells, {row[:1]}; expected {len(table.columns)}."
            )
    estimated = any(isinstance(cell, Estimate) for row in table.rows for cell in row)
    return [
        [
            _shown(cell, _Place(table.title, head, row[0], estimated))
            for head, cell in zip(table.columns, row, strict=True)
        ]
        for row in table.rows
    ]


def notes_of(table: Table, rows: list[list[Shown]]) -> str:
    """The note of a table, and what the dashes in it mean where there are some."""
    cells = [cell for row in rows for cell in row]
    notes = [table.note]
    if any(cell.value == MISSING for cell in cells):
        notes.append(NO_VALUE)
    if any(cell.interval == f"[{MISSING}]" for cell in cells):
        notes.append(NO_INTERVAL)
    return " ".join(note for note in notes if note)


def figure_of(value: Estimate | float) -> float:
    """The number itself."""
    return float(value.value if isinstance(value, Estimate) else value)


def value_label(chart: Chart) -> str:
    """What the values of a chart are called: y, even where they lie flat beside names, which are x."""
    return chart.y_label or (chart.x_label if chart.kind == "dots" else "")


def unit_of(chart: Chart) -> str:
    """What the values of a chart are: "score", "share", "points" (differences of shares), "difference" (of scores),
    or "number" (none of these)."""
    axis = value_label(chart)
    values = [value for series in chart.series for value in series.values]
    estimates = [value for value in values if isinstance(value, Estimate)]
    finite = [figure for figure in map(figure_of, values) if math.isfinite(figure)]
    score = is_score(axis) or (not axis and is_score(chart.title))
    if estimates and all(estimate.against == 0.0 for estimate in estimates):
        return "difference" if score else "points"
    if score:
        return "score"
    if estimates or chart.kind == "reliability":
        return "share"
    in_range = bool(finite) and all(0 <= figure <= 1 for figure in finite)
    return "share" if in_range and _SHARES.search(f"{axis} {chart.title}") else "number"


def is_share(words: str, values: list[float]) -> bool:
    """Whether plain numbers under this head are shares."""
    return bool(_SHARES.search(words)) and all(0 <= value <= 1 for value in values if math.isfinite(value))


def axis_figure(value: float, unit: str) -> str:
    """A number at an axis."""
    if unit in ("share", "points"):
        text = f"{100 * value:.3g}".replace("-", "−")
        return f"{text} %" if unit == "share" else signed(text, value)
    if unit in ("score", "difference"):
        text = without_zero(f"{value:.2f}")
        return text if unit == "score" else signed(text, value)
    return f"{value:g}".replace("-", "−")


@dataclass(frozen=True)
class _Place:
    """Where a cell stands: title of the table, head of the column, first cell of the row; estimated: whether there are
    estimates in the table."""

    title: str
    head: str
    row: Cell
    estimated: bool

    @property
    def score(self) -> bool:
        if is_score(self.head, self.row if isinstance(self.row, str) else ""):
            return True
        return is_score(self.title) and not _SHARES.search(self.head)


def _shown(cell: Cell, place: _Place) -> Shown:
    if cell is None:
        return Shown("", number=False)
    if isinstance(cell, str):
        return Shown(cell, number=False)
    if isinstance(cell, Estimate):
        return shown_estimate(cell, place.score)
    if isinstance(cell, (bool, np.bool_)):
        return Shown("yes" if cell else "no", number=False)
    if isinstance(cell, (int, np.integer)):
        return Shown(f"{cell:,}".replace("-", "−"))
    return Shown(_number(float(cell), place))


def _number(value: float, place: _Place) -> str:
    if not math.isfinite(value):
        return MISSING
    if _P_VALUE.search(place.head):
        return p_value(value)
    if not _OTHERS.search(place.head) and 0 <= value <= 1:
        if place.score:
            return figure(value, True)
        if place.estimated or _SHARES.search(place.head):
            return f"{figure(value, False)} %"
    return f"{value:,.3g}".replace("-", "−") if abs(value) < 1000 else f"{value:,.0f}".replace("-", "−")
