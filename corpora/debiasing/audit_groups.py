"""Groups of questions and how often a question-only baseline is right about each: the rows of an audit.

In: types, answers, credits with their bounds, patients, weights. Out: `Group`s.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .baseline_scores import Score, baseline_score, score
from .cell_evidence import Bounds, bounds, cell_sizes
from .confounders import AGE_BANDS

_RANKS = {
    "unknown": len(AGE_BANDS),
    **{name: rank for rank, (_, name) in enumerate(AGE_BANDS)},
}  # else by the alphabet


@dataclass(frozen=True)
class Group:
    """One group of questions: how often a question-only baseline is right. yes: share of "yes" among its verify
    questions.

    cell: how many questions have the key of the median question; None for a baseline that learned from other
    questions.
    """

    name: str
    baseline: Score
    majority: float
    chance: float
    yes: float | None
    cell: int | None = None

    def line(self, indent: str = "", name: str | None = None) -> str:
        """A row of the table under `HEAD`."""
        yes = "" if self.yes is None else f"{self.yes:.0%}"
        cell = "" if self.cell is None else f"{self.cell:,}"
        shown = indent + (self.name if name is None else name)
        return (
            f"{shown[:33]:<34}{self.baseline.n:>10,}{cell:>8}{str(self.baseline):>29}{self.majority:>11.1%}"
            f"{self.chance:>8.0%}{yes:>7}"
        )


HEAD = f"{'':<34}{'questions':>10}{'cell':>8}{'question-only [95 %]':>29}{'commonest':>11}{'chance':>8}{'yes':>7}"


class Tally:
    """Questions with the credits of a baseline, to be grouped.

    evidence: bounds of what its keys tell; None for a baseline that learned from other questions than these. sizes: of
        each question's cell.
    """

    def __init__(
        self,
        types: Sequence[str],
        answers: Sequence[str],
        credits: np.ndarray,
        clusters: Sequence[Hashable],
        weights: np.ndarray,
        evidence: Bounds | None = None,
        sizes: np.ndarray | None = None,
    ):
        self.types, self.answers, self.credits, self.clusters = types, answers, credits, clusters
        self.weights, self.evidence, self.sizes = weights, evidence, sizes

    def groups(self, names: Sequence[Any]) -> list[Group]:
        ordered = sorted(rows_by(names).items(), key=lambda item: (_RANKS.get(item[0], 0), str(item[0])))
        return [self.group(str(name), rows) for name, rows in ordered]

    def group(self, name: str, rows: Sequence[int]) -> Group:
        rows = list(rows)
        answers = [self.answers[row] for row in rows]
        # The commonest answer, and guessing, know the type of a question: yes or no is no answer to "which".
        by_type = rows_by([self.types[row] for row in rows])
        mass = self.weights[rows]
        counts = []
        for own in by_type.values():
            counts.append(Counter())
            for i in own:
                counts[-1][answers[i]] += float(mass[i])
        verify = [i for i, row in enumerate(rows) if self.types[row].endswith("verify")]
        said = float(sum(mass[i] for i in verify))
        clusters = [self.clusters[row] for row in rows]
        if self.evidence is None:
            baseline = score(self.credits[rows], clusters, mass)
        else:
            baseline = baseline_score(self.credits[rows], clusters, mass, self.evidence.of(rows))
        return Group(
            name=name,
            baseline=baseline,
            majority=sum(max(count.values()) for count in counts) / float(mass.sum()),
            chance=sum(sum(count.values()) / max(2, len(count)) for count in counts) / float(mass.sum()),
            yes=float(sum(mass[i] for i in verify if answers[i] == "yes")) / said if verify else None,
            cell=None if self.sizes is None else int(np.median(self.sizes[rows])),
        )


def bounds_by_type(
    types: Sequence[str],
    keys: Sequence[Sequence[Hashable]],
    answers: Sequence[str],
    clusters: Sequence[Hashable],
    weights: np.ndarray,
    credits: np.ndarray,
) -> tuple[Bounds, np.ndarray]:
    """Bounds of what keys tell within each type, and the size of every question's cell."""
    least, most = credits.copy(), credits.copy()
    lumps, sizes = np.zeros(len(answers), dtype=int), np.zeros(len(answers), dtype=int)
    for own in rows_by(types).values():
        cut = [[values[row] for row in own] for values in (keys, answers, clusters)]
        found = bounds(*cut, weights[own], credits[own])
        least[own], most[own] = found.least, found.most
        lumps[own] = found.lumps + (lumps.max() + 1)
        sizes[own] = cell_sizes(cut[0])
    return Bounds(least, most, lumps), sizes


def rows_by(names: Sequence[Any]) -> dict[Any, list[int]]:
    """Name -> the rows that have it."""
    rows: dict[Any, list[int]] = defaultdict(list)
    for row, name in enumerate(names):
        rows[name].append(row)
    return rows
