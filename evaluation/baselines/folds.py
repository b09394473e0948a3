"""Folds by patient: who is asked, and from whom one may learn for it.

In: rows with their patients. Out: sets of rows, each with the rows that share no patient with any of them. Decided
here: folds hang on patients' names alone, so that no row more or less moves another one; a row about two patients
learns from neither's fold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ...corpora.debiasing.cross_fitting import folds_of

FOLDS = 5


def held_out(patients: Sequence[Sequence[str]], folds: int = FOLDS) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(Positions of rows that are asked, positions of those that may be learned from), so that each is asked once.

    Args: patients: of each row, one or several.
    """
    people = sorted({name for names in patients for name in names})
    fold = dict(zip(people, folds_of(people, folds).tolist(), strict=True))
    member = np.zeros((len(patients), folds), dtype=bool)
    for row, names in enumerate(patients):
        member[row, [fold[name] for name in names]] = True
    for asked in np.unique(member, axis=0):
        yield np.flatnonzero((member == asked).all(axis=1)), np.flatnonzero(~member[:, asked].any(axis=1))
