"""The question-only baseline: what the questions about other records were answered, cross-fitted by record.

In: keys (what a question-only baseline sees, from broad to exact: template, attribute, paraphrase), answers, clusters
(records or patients), weights; of questions of one type. Out: the credit of every question. Decided here: how the
baseline is kept honest near balance. It learns from nine tenths of the records and is asked about the last tenth. From
a perfectly balanced cell it then sees a lead of the answer that it was not shown: a baseline that followed every lead
would be wrong more often than chance, and one question more or less would turn the figure over. So
- an answer is given up only as far as its shortfall is beyond chance, from one to two standard deviations (cautious);
- cells that are alike in size may follow smaller leads (bold) as far as that earns more, beyond chance, among them;
- and what they tell is used at all as far as it earns more than the broader key does.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from .baseline_scores import Score, baseline_score
from .cell_evidence import SIZES, bounds
from .cross_fitting import folds_of, numbers, ramp, trust

FOLDS = 10
_REPEATS = 5  # of the partition into folds; their mean depends little on where one record falls
#: Standard deviations of a lead that is not followed at all, and of one that is followed wholly; None: none is.
_CAUTION = (None, (1.0, 2.0), (0.0, 0.5))

_Split = tuple[np.ndarray, np.ndarray]


def baseline_credits(
    keys: Sequence[Sequence[Hashable]],
    answers: Sequence[Hashable],
    clusters: Sequence[Hashable] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Credit of the question-only baseline for every question: the probability that it gives the true answer.

    Args: keys: of every question, from broad to exact; each level is looked up together with those before it.
        clusters: records or patients, in a fold as a whole; None: every question is a record of its own.
    """
    table = _Table(keys, answers, clusters, weights)
    own = range(len(answers)) if clusters is None else clusters
    return table.credits(_splits(own, np.arange(len(answers)))) / _REPEATS


def baseline_accuracy(
    keys: Sequence[Sequence[Hashable]],
    answers: Sequence[Hashable],
    clusters: Sequence[Hashable],
    weights: np.ndarray | None = None,
) -> Score:
    """Question-only accuracy of questions of one type, without a value where their cells are too small to tell."""
    mass = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=float)
    credits = baseline_credits(keys, answers, clusters, mass)
    return baseline_score(credits, clusters, mass, bounds(keys, answers, clusters, mass, credits))


def transfer_credits(
    train: tuple[Sequence[Sequence[Hashable]], Sequence[Hashable], Sequence[Hashable], np.ndarray],
    test: tuple[Sequence[Sequence[Hashable]], Sequence[Hashable]],
) -> np.ndarray:
    """Credit on the questions of one split of the baseline that saw another.

    Args: train: keys, answers, clusters and weights. test: keys and answers.
    """
    count, asked = len(train[1]), len(test[1])
    mass = np.concatenate([np.asarray(train[3], dtype=float), np.zeros(asked)])
    table = _Table([*train[0], *test[0]], [*train[1], *test[1]], [*train[2], *([""] * asked)], mass)
    splits = [
        (np.concatenate([seen, np.zeros(asked, dtype=bool)]), rows)
        for seen, rows in _splits(train[2], np.arange(count))
    ]
    return table.credits(splits, (mass > 0, np.arange(count, count + asked)))[count:]


def _splits(clusters: Sequence[Hashable], rows: np.ndarray) -> list[_Split]:
    folds = [folds_of(clusters, FOLDS, repeat) for repeat in range(_REPEATS)]
    return [(fold != one, rows[fold == one]) for fold in folds for one in range(FOLDS) if (fold == one).any()]


class _Table:
    """Counts of answers by key, on every level, and what is predicted from some of them.

    A cell is what has one key on one level, a pair is one answer of a cell.
    """

    def __init__(
        self,
        keys: Sequence[Sequence[Hashable]],
        answers: Sequence[Hashable],
        clusters: Sequence[Hashable] | None,
        weights: np.ndarray | None,
    ):
        self.mass = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=float)
        self.answers = len(set(answers))
        answer = numbers(answers)
        cluster = self.cluster = np.arange(len(answers)) if clusters is None else numbers(clusters)
        self.levels: list[_Level] = []
        cell = np.zeros(len(answers), dtype=int)
        for depth in range(len(keys[0]) + 1 if len(keys) else 0):
            if depth:
                cell = numbers(list(zip(cell.tolist(), (key[depth - 1] for key in keys), strict=True)))
            above = self.levels[-1] if self.levels else None
            self.levels.append(_Level(cell, answer, cluster, self.mass, above))

    def credits(self, splits: Sequence[_Split], last: _Split | None = None) -> np.ndarray:
        """Of every question the sum of the probabilities with which its answer is given, over the splits that ask it.

        splits: (which questions are seen, the numbers of those asked). last: a split that is asked with the caution
            that the others show to be best; then its credits are returned, and those of the others are not.
        """
        everything = [*splits, *([] if last is None else [last])]
        given, credits = [np.full(1, 1 / max(2, self.answers)) for _ in everything], np.zeros(len(self.mass))
        for level in self.levels:
            found = [
                level.given(before[level.above], seen, self.mass)
                for before, (seen, _) in zip(given, everything, strict=True)
            ]
            earned = np.zeros((len(_CAUTION), len(self.mass)))
            for one, (_, asked) in zip(found, splits, strict=False):
                earned[:, asked] += one[:, level.pair[asked]]
            cell = level.cell[level.pair]
            credits, given = earned[0], [one[0] for one in found]
            for caution in range(1, len(_CAUTION)):
                gains = earned[caution] - credits
                trusted = trust(gains, level.group[cell], self.cluster, self.mass, len(SIZES) + 1)
                credits = credits + trusted[level.group[cell]] * gains
                by_pair = trusted[level.group[level.cell]]
                given = [one + by_pair * (new[caution] - one) for one, new in zip(given, found, strict=True)]
        if last is not None:
            credits = np.zeros(len(self.mass))
            credits[last[1]] = given[-1][self.levels[-1].pair[last[1]]]
        return credits


class _Level:
    """The cells of one level. pair: of every question. cell, above: of every pair, above on the broader level."""

    def __init__(
        self, cell: np.ndarray, answer: np.ndarray, cluster: np.ndarray, mass: np.ndarray, above: _Level | None
    ):
        pairs, first, self.pair = np.unique(
            np.stack([cell, answer], axis=1), axis=0, return_index=True, return_inverse=True
        )
        self.pair = self.pair.reshape(-1)
        self.cell, self.cells = pairs[:, 0], int(cell.max()) + 1
        self.starts = np.flatnonzero(np.diff(self.cell, prepend=-1))
        self.above = np.zeros(len(pairs), dtype=int) if above is None else above.pair[first]
        _, lump = np.unique(np.stack([self.pair, cluster], axis=1), axis=0, return_inverse=True)
        self.group = np.searchsorted(SIZES, np.bincount(self.cell[self.pair]), side="right")
        self.lump = lump.reshape(-1)  # questions of one pair about one record, which are no independent ones
        self.pair_of_lump = np.zeros(self.lump.max() + 1, dtype=int)
        self.pair_of_lump[self.lump] = self.pair

    def given(self, before: np.ndarray, seen: np.ndarray, mass: np.ndarray) -> np.ndarray:
        """Probability of giving each answer, after what is seen on this level, from that of the level above.

        An answer is given up as far as it falls short of its cell's most frequent one beyond chance. What that sets
        free goes to the answers that do not.
        """
        size = len(self.cell)
        lumps = np.bincount(self.lump[seen], mass[seen], minlength=len(self.pair_of_lump))
        counts = np.bincount(self.pair_of_lump, lumps, minlength=size)
        squares = np.bincount(self.pair_of_lump, lumps**2, minlength=size)
        best = np.maximum.reduceat(counts, self.starts)
        leads = counts >= best[self.cell] * (1 - 1e-6)
        spread = np.minimum.reduceat(np.where(leads, squares, np.inf), self.starts)  # of the best
        unseen = np.maximum(0.0, 1 - np.add.reduceat(before, self.starts))  # what answers that do not occur here have
        found = []
        for chance, clear in _CAUTION[1:]:
            kept = 1 - ramp(best[self.cell] - counts, squares + spread[self.cell], chance, clear)
            freed = np.add.reduceat(before * (1 - kept), self.starts) + unseen * ramp(best, spread, chance, clear)
            takes = np.where(counts > 0, kept, 0.0)
            total = np.add.reduceat(takes, self.starts)
            share = np.divide(freed, total, out=np.zeros_like(freed), where=total > 0)
            found.append(before * kept + share[self.cell] * takes)
        return np.stack([before, *found])
