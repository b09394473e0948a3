"""What cells that are too small to guess from may hide: bounds of question-only accuracy from pairs of questions.

In: keys, answers, clusters, weights and the baseline's credits. Out: `Bounds`. Decided here: how much can be known
from few questions of each key. Two questions say nothing of their own paraphrase, but a thousand paraphrases with two
questions each say how alike two answers to one paraphrase are. That agreement of pairs estimates the sum of the
squared probabilities of the answers without bias, from two questions on, and is below chance where the set was
balanced by design.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from .cross_fitting import error_of_sum, numbers

SIZES = (2, 8, 32, 128)  # cells are judged together with those of about their size
_COMPARED = 3  # the first size of cells that show all answers that are likely
LARGE = SIZES[-1]  # 60 % answered alike are told from 50 %, by 2.3 standard deviations; with fewer they are not
_CLEAR, _CLEAR_IF_SMALL = 2.0, 4.0  # standard deviations of a lead that needs no bounds, in large and in small cells
_Z95 = 1.644854  # one-sided


@dataclass(frozen=True)
class Bounds:
    """Per question, what the best baseline that knows its key could reach on average: at least, and at most.

    lumps: what is alike by chance: the cell where its lead may be chance, else the record (numbers).
    """

    least: np.ndarray
    most: np.ndarray
    lumps: np.ndarray

    def of(self, rows: Sequence[int]) -> Bounds:
        """The bounds of some of the questions."""
        return Bounds(self.least[rows], self.most[rows], self.lumps[rows])


def cell_sizes(keys: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """Of every question, how many there are with its key, itself included."""
    cell = numbers([tuple(key) for key in keys])
    return np.bincount(cell)[cell]


def bounds(
    keys: Sequence[Sequence[Hashable]],
    answers: Sequence[Hashable],
    clusters: Sequence[Hashable],
    weights: np.ndarray,
    credits: np.ndarray,
) -> Bounds:
    """Bounds of what the exact keys tell, of questions of one type.

    Cells with a clear lead are what the baseline earned. Of all others let p be a cell's probabilities of the
    answers, q those of the nearest broader key that is large (else all answers alike), and V the variance, the mean
    sum of (p - q)^2. It is the agreement of pairs within cells less that across cells, pooled over cells of about a
    size that have the first part of the key in common, plus 1.64 standard errors. Then
        at least  the agreement of pairs, the mean of sum p^2 <= max p
        at most   max q + min(sqrt(V (1 - 1/k)), V / 2g), g being the lead in q and k its number of answers, as
                  max p - max q <= max (p - q) <= sqrt((1 - 1/k) |p - q|^2) and, by completing the square,
                  p_a - p_b <= sqrt(2) |p - q| - g <= |p - q|^2 / 2g
    with the mean taken by Jensen's inequality. Cells of 32 and more are compared with all their answers alike, too,
    and the lesser bound is taken. Cells of one question have no pair; they are taken to be like those of
    two to seven, and where there are none of those either nothing bounds them.
    """
    answer, cluster = numbers(answers), numbers(clusters)
    mass = np.asarray(weights, dtype=float)
    levels = _cells(keys)
    cell = levels[-1]
    size = np.bincount(cell)[cell]
    reference = _References(levels, answer, mass)
    within = _agreement(cell, answer, cluster, mass)
    excess = within - reference.agreement
    group = np.searchsorted(SIZES, size, side="right")
    topic = levels[min(1, len(levels) - 1)]  # the broadest part of the key; topics may differ in all
    open_ = _lead(cell, answer, cluster, mass) < np.where(size >= LARGE, _CLEAR, _CLEAR_IF_SMALL)
    least, most = credits.copy(), credits.copy()
    kinds = np.maximum(2, _two_best(cell, answer, mass)[2])
    known = np.isfinite(excess)
    least[open_ & known] = within[open_ & known]
    most[open_] = 1.0
    for one, own in product(range(len(SIZES) + 1), range(int(topic.max()) + 1)):
        alike = open_ & (topic == own)
        rows = np.flatnonzero(alike & (group == one))
        if len(rows):
            variance = _highest(
                np.flatnonzero(alike & (group == max(one, 1)) & known), excess, within, cell, cluster, mass
            )
            gain = _gain(variance, reference.lead[rows], reference.answers[rows])
            most[rows] = np.minimum(most[rows], reference.best[rows] + gain)
        for answers in np.unique(kinds[rows]) if one >= _COMPARED else ():
            own_rows = rows[kinds[rows] == answers]
            variance = _highest(own_rows[known[own_rows]], within - 1 / answers, within, cell, cluster, mass)
            gain = _gain(variance, np.zeros(len(own_rows)), np.full(len(own_rows), answers))
            most[own_rows] = np.minimum(most[own_rows], 1 / answers + gain)
    lumps = np.where(open_, cell, cell.max() + 1 + cluster)
    return Bounds(least, most, lumps)


def _gain(variance: float, lead: np.ndarray, answers: np.ndarray) -> np.ndarray:
    if not np.isfinite(variance):
        return np.ones(len(lead))
    far = np.sqrt(variance * (1 - 1 / answers))
    two = np.sqrt(variance / 2 + lead**2 / 4) - lead / 2
    more = np.minimum(far, np.divide(variance, 2 * lead, out=far.copy(), where=lead > 0))
    return np.where(answers == 2, two, more)


def _highest(
    rows: np.ndarray, excess: np.ndarray, within: np.ndarray, cell: np.ndarray, cluster: np.ndarray, mass: np.ndarray
) -> float:
    """The variance pooled over rows, plus 1.64 standard errors; infinite without a pair. The error is the largest of
    three: by cells, by records (one may stand in many cells), and what pairs that are independent make."""
    if not len(rows):
        return np.inf
    share = mass[rows] / mass[rows].sum()
    value = float(share @ excess[rows])
    errors = [error_of_sum(share * (excess[rows] - value), one[rows]) for one in (cell, cluster)]
    agree = float(np.clip(share @ within[rows], 0, 1))
    _, number, size = np.unique(cell[rows], return_inverse=True, return_counts=True)
    pairs = 2 * np.bincount(number, share) ** 2 / (size * np.maximum(1, size - 1))
    return max(0.0, value + _Z95 * max(*errors, float(np.sqrt(agree * (1 - agree) * pairs.sum()))))


class _References:
    """Of every question the nearest broader key that is large: best, lead, answers, agreement across its cells."""

    def __init__(self, levels: list[np.ndarray], answer: np.ndarray, mass: np.ndarray):
        exact, known = levels[-1], int(answer.max()) + 1
        total = np.bincount(exact)[exact]
        everything = max(2, known)
        self.best, self.lead = np.full(len(answer), 1 / everything), np.zeros(len(answer))
        self.answers, self.agreement = np.full(len(answer), everything), np.full(len(answer), 1 / everything)
        own = _sums(exact * known + answer, mass), _sums(exact, mass)
        for cell in levels[:-1]:
            size = np.bincount(cell)[cell]
            rows = np.flatnonzero((size >= LARGE) & (size > total))
            if not len(rows):
                continue
            best, second, answers = _two_best(cell, answer, mass)
            whole = _sums(cell, mass)
            others = whole - own[1]
            alike = (_sums(cell * known + answer, mass) - own[0]) / np.where(others > 0, others, 1)
            # One value for a reference: what its questions' answers find in other cells, on average.
            alike = _sums(cell, mass * alike) / whole
            self.best[rows], self.lead[rows] = (best / whole)[rows], ((best - second) / whole)[rows]
            self.answers[rows], self.agreement[rows] = np.maximum(2, answers)[rows], alike[rows]


def _agreement(cell: np.ndarray, answer: np.ndarray, cluster: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Share of a question's answer among the questions of its cell about other records; NaN where there are none."""
    alike = _pairs(cell, answer)
    same = _sums(alike, mass) - _sums(_pairs(alike, cluster), mass)
    others = _sums(cell, mass) - _sums(_pairs(cell, cluster), mass)
    return np.divide(same, others, out=np.full(len(cell), np.nan), where=others > 1e-9)


def _lead(cell: np.ndarray, answer: np.ndarray, cluster: np.ndarray, mass: np.ndarray) -> np.ndarray:
    """Standard deviations by which a cell's most frequent answer leads."""
    best, second, _ = _two_best(cell, answer, mass)
    alike = _pairs(cell, answer)
    lumps = _pairs(alike, cluster)
    squares = _sums(cell, mass * _sums(lumps, mass))  # sum over records of squared mass
    return (best - second) / np.sqrt(squares)


def _two_best(cell: np.ndarray, answer: np.ndarray, mass: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of every question's cell: mass of the most frequent answer and of the next, and how many answers there are."""
    pairs, pair = np.unique(np.stack([cell, answer], axis=1), axis=0, return_inverse=True)
    pair = pair.reshape(-1)
    counts = np.bincount(pair, mass)
    order = np.lexsort((-counts, pairs[:, 0]))
    ranked, cells = counts[order], pairs[order, 0]
    first = np.flatnonzero(np.diff(cells, prepend=-1))
    number = np.diff(first, append=len(cells))
    second = np.where(number > 1, ranked[np.minimum(first + 1, len(ranked) - 1)], 0.0)
    return ranked[first][cell], second[cell], number[cell]


def _cells(keys: Sequence[Sequence[Hashable]]) -> list[np.ndarray]:
    """Of every level, from none of the key to all of it, the number of every question's cell."""
    found = [np.zeros(len(keys), dtype=int)]
    for depth in range(len(keys[0])):
        found.append(numbers(list(zip(found[-1].tolist(), (key[depth] for key in keys), strict=True))))
    return found


def _pairs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.unique(a.astype(np.int64) * (int(b.max()) + 1) + b, return_inverse=True)[1].reshape(-1)


def _sums(lumps: np.ndarray, mass: np.ndarray) -> np.ndarray:
    _, number = np.unique(lumps, return_inverse=True)
    return np.bincount(number, mass)[number]
