"""What a section of an evaluation finds, in a form that any report can draw: sentences, tables, charts, values.

A section gives `SectionFigures`. Cells and points are `Estimate`s where they are shares or AUROCs,
so that no figure comes without its interval.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..intervals import Estimate

Cell = str | int | float | Estimate | None


@dataclass(frozen=True)
class Table:
    """title; columns: heads; rows: cells, as many as columns; note: what a reader has to know, below it."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    note: str = ""


@dataclass(frozen=True)
class Series:
    """One line or set of dots: x (numbers, or names) and values, Estimates or bare numbers."""

    name: str
    x: list[float | str]
    values: list[Estimate | float]


@dataclass(frozen=True)
class Chart:
    """kind: "dots" (values with intervals beside names), "lines" (over a number), "reliability" (stated against
    found, with the diagonal). chance: where a line is drawn for guessing, or None."""

    title: str
    kind: str
    series: list[Series]
    x_label: str = ""
    y_label: str = ""
    chance: float | None = None
    note: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(one.values for one in self.series)


@dataclass(frozen=True)
class Headline:
    """A figure that sums a part up: with the others it stands at the top of a report and in a card.

    name: what it is, in words that need no others. beside: (what it is held against, its figure), such as a baseline
    or chance. metric: what the Hub calls it, if it belongs into a card's metadata ("roc_auc"), else "".
    """

    name: str
    value: Estimate
    beside: tuple[str, Estimate | float] | None = None
    metric: str = ""


@dataclass(frozen=True)
class SectionFigures:
    """sentences: the first says the most, and alone stands in a card. headlines: see `Headline`. values: all
    figures, JSON-ready but for Estimates, which are written as mappings; metrics.json holds them."""

    name: str
    title: str
    sentences: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    headlines: list[Headline] = field(default_factory=list)
