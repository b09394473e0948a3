"""Standardisation: weights by which every question is asked of alike records, for the sum of P(Y|Q,s) P(s) over s.

In: counts of rows by question and stratum of the confounders. Out: a weight for each such cell, and what no weight can
mend. Decided here: that the adjustment formula is only used where every question was asked in every stratum. A
question that was never asked of the gravely ill says nothing about them (no positivity), and nothing is put in its
place: questions and strata are left out, and named, until no cell is empty.
Source: the backdoor adjustment, P(Y | do(Q)) = sum over s of P(Y | Q, s) P(s) (Pearl, Causality, 2009, section 3.3);
as weights P(s) / P(s | Q), standardisation to the whole set (Sato and Matsuyama, Epidemiology 2003).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np

QuestionAndStratum = tuple[Hashable, Hashable]


@dataclass(frozen=True)
class Standardised:
    """Weights of cells, of mean 1 by question, and what was left out.

    questions: of those left out the strata in which they were never asked. strata: of those left out the share of all
    rows. distance: how far a question's strata are from those of all, before and after (total variation, the mean over
    the rows kept).
    """

    weights: dict[QuestionAndStratum, float]
    questions: dict[Hashable, list[Hashable]]
    strata: dict[Hashable, float]
    distance: tuple[float, float]


def standardising_weights(counts: Mapping[QuestionAndStratum, int]) -> Standardised:
    """Weights that make the strata of every question those of all rows kept.

    What is left out is chosen step by step: the question or the stratum that costs fewest rows for each empty cell
    that goes with it.
    """
    questions, strata = (list(dict.fromkeys(cell[part] for cell in counts)) for part in (0, 1))
    table = np.zeros((len(questions), len(strata)))
    where = {name: place for place, name in enumerate(questions)}, {name: place for place, name in enumerate(strata)}
    for (question, stratum), count in counts.items():
        table[where[0][question], where[1][stratum]] = count
    rows, columns = _without_empty_cells(table)
    kept = table[np.ix_(rows, columns)]
    target = kept.sum(axis=0) / max(1.0, kept.sum())
    own = kept / np.maximum(1.0, kept.sum(axis=1, keepdims=True))
    weights = np.divide(target, own, out=np.zeros_like(own), where=own > 0)
    share = kept.sum(axis=1) / max(1.0, kept.sum())
    distance = [float(share @ np.abs(one - target).sum(axis=1) / 2) for one in (own, own * weights)]
    gone_questions = sorted(set(range(len(questions))).difference(rows.tolist()))
    gone_strata = sorted(set(range(len(strata))).difference(columns.tolist()))
    return Standardised(
        weights={
            (questions[row], strata[column]): float(weights[i, j])
            for i, row in enumerate(rows)
            for j, column in enumerate(columns)
        },
        questions={
            questions[row]: [name for name, count in zip(strata, table[row], strict=True) if not count]
            for row in gone_questions
        },
        strata={strata[column]: float(table[:, column].sum() / table.sum()) for column in gone_strata},
        distance=(distance[0], distance[1]),
    )


def _without_empty_cells(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of a table of counts between which no cell is empty."""
    rows, columns = np.arange(table.shape[0]), np.arange(table.shape[1])
    while True:
        left = table[np.ix_(rows, columns)]
        empty = left == 0
        if not empty.any():
            return rows, columns
        costs = [
            np.divide(
                left.sum(axis=1 - axis), (n := empty.sum(axis=1 - axis)), out=np.full(len(n), np.inf), where=n > 0
            )
            for axis in (0, 1)
        ]
        if costs[0].min() <= costs[1].min():
            rows = np.delete(rows, costs[0].argmin())
        else:
            columns = np.delete(columns, costs[1].argmin())
