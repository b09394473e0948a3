"""What every patient adds to a share or an AUROC: the sums from which `intervals` has its standard errors.

In: what was right, or scores and labels, and whose ECG each is about. Out: checked arrays, and sums over patients.
Decided here: what counts as the same patient, that questions about several patients depend on all that share one, and
what a record adds to an AUROC.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from math import nan

import numpy as np
from scipy.sparse import csr_array
from scipy.stats import rankdata

from .errors_ecgllm import ECGError

Patients = Sequence[Hashable] | Sequence[Sequence[Hashable]]
"""Whose ECG each question is about: a name, or the names of several."""


# ---------------------------------------------------------------------------------------------------------------------
# Sums over patients: shares
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """number: of patients. effective: how many independent ones that weigh alike they are worth. own: int
    [questions], which set of patients each is about. members: bool [sets, patients], or None where every set is one
    patient."""

    number: int
    effective: float
    own: np.ndarray
    members: csr_array | None

    @cached_property
    def shared(self) -> np.ndarray:
        """Which sets have a patient in common, 0 or 1 [sets, sets]."""
        return (self.members @ self.members.T).toarray() > 0

    def among(self, some: np.ndarray) -> int:
        """How many patients some questions, bool [questions], are about."""
        sets = np.unique(self.own[some])
        return len(sets) if self.members is None else int((self.members[sets].sum(axis=0) > 0).sum())


def checked(
    values: Sequence[bool] | np.ndarray, patients: Patients, weights: Sequence[float] | np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, Groups]:
    """(Values, what each counts for, with the sum 1, and the patients of those questions that weigh anything.)"""
    found = np.asarray(values, dtype=float)
    if not len(found):
        raise ECGError("no question was answered; expected one or more.")
    if len(found) != len(patients):
        raise ECGError(f"{len(found)} answers and the patients of {len(patients)}; expected as many.")
    if weights is None:
        counted = np.full(len(found), 1 / len(found))
        return found, counted, groups_of(patients, counted)
    counted = checked_weights(weights, len(found))
    rows = np.flatnonzero(counted)
    if not len(rows):
        raise ECGError(f"all {len(found)} questions weigh nothing; expected one that does.")
    counted = counted[rows] / counted[rows].sum()
    return found[rows], counted, groups_of([patients[row] for row in rows], counted)


def checked_weights(weights: Sequence[float] | np.ndarray, number: int) -> np.ndarray:
    found = np.asarray(weights, dtype=float)
    if len(found) != number:
        raise ECGError(f"{number} answers and {len(found)} weights; expected as many.")
    bad = ~(np.isfinite(found) & (found >= 0))
    if bad.any():
        raise ECGError(f"{bad.sum()} weights are negative or unknown; leave these questions out, and say so.")
    return found


def mean_of(values: np.ndarray, counted: np.ndarray) -> float:
    """Without the rounding of weights where these, or the values, are all alike: a share of 1 is 1."""
    if not np.ptp(values) or not np.ptp(counted):
        return float(values.mean())
    return float(counted @ values)


def names_of(patients: Hashable | Sequence[Hashable]) -> Sequence[Hashable]:
    """Whose ECGs one question is about."""
    return (patients,) if isinstance(patients, str) or not isinstance(patients, Sequence) else patients


def groups_of(patients: Patients, counted: np.ndarray) -> Groups:
    sets = [frozenset(names_of(one)) for one in patients]
    if not all(sets):
        raise ECGError("a question is about no patient; expected one or more.")
    position = {names: number for number, names in enumerate(dict.fromkeys(sets))}
    own = np.array([position[names] for names in sets])
    people = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(position)))}
    rows = np.repeat(np.arange(len(position)), [len(names) for names in position])
    columns = np.array([people[name] for names in position for name in names])
    weight = np.bincount(columns, np.bincount(own, counted)[rows]) / np.bincount(columns, np.bincount(own)[rows])
    alike = np.ptp(weight) <= 1e-9 * weight.max()
    effective = len(people) if alike else float((weight**2).sum() ** 2 / (weight**4).sum())
    if len(columns) == len(position):
        return Groups(len(people), effective, own, None)
    members = csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(position), len(people)))
    taken: set[Hashable] = set()
    apart = 0  # sets that share no patient, found one after the other: no more of them are independent for certain
    for names in position:
        if taken.isdisjoint(names):
            taken |= names
            apart += 1
    return Groups(len(people), min(effective, apart), own, members)


def centred(values: np.ndarray, counted: np.ndarray, kinds: np.ndarray, groups: Groups) -> np.ndarray:
    """Values less the mean of their kind, where how many there are of each kind is given: a bit larger, as their own
    mean is nearer to them than the true one. NaN for a kind of one patient: nothing says how they vary."""
    found = np.array(values, dtype=float)
    for kind in np.unique(kinds):
        rows = kinds == kind
        people = groups.among(rows)
        # `error_of` has this correction for all patients together.
        ratio = people / (people - 1) * (groups.number - 1) / groups.number if people > 1 else nan
        found[rows] = (found[rows] - np.average(found[rows], weights=counted[rows])) * np.sqrt(ratio)
    return found


def error_of(parts: np.ndarray, groups: Groups) -> float:
    """Standard error from what each question adds to a figure, summed over all pairs that share a patient."""
    sums = np.bincount(groups.own, parts)
    if groups.members is None:
        total = float((sums**2).sum())
    else:
        # Sums of indefinite parts: in few patients they may fall below zero, and then below what each set has alone.
        total = max(float(sums @ (groups.shared @ sums)), float((sums**2).sum()))
    return float(np.sqrt(groups.number / max(groups.number - 1, 1) * total))


# ---------------------------------------------------------------------------------------------------------------------
# Sums over patients: records of two labels
# ---------------------------------------------------------------------------------------------------------------------


def records_of(
    scores: Sequence[float] | np.ndarray, positive: Sequence[bool] | np.ndarray, patients: Sequence[Hashable]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Scores, labels, the number of each record's patient.)"""
    values, labels = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
    if not len(values) == len(labels) == len(patients):
        raise ECGError(f"{len(values)} scores, {len(labels)} labels, {len(patients)} patients; expected as many.")
    if np.isnan(values).any():
        raise ECGError(f"{np.isnan(values).sum()} scores are NaN; leave out what was not scored, and say so.")
    people = {name: number for number, name in enumerate(dict.fromkeys(patients))}
    return values, labels, np.array([people[name] for name in patients], dtype=int)


def rarer_of(labels: np.ndarray, own: np.ndarray) -> int:
    """Patients of the rarer label."""
    return min(len(np.unique(own[labels])), len(np.unique(own[~labels])))


def sums_of(parts: np.ndarray, labels: np.ndarray, own: np.ndarray) -> np.ndarray:
    """What each patient adds to a figure, float [patients]; NaN where one patient has all of a label."""
    people = int(own.max(initial=-1)) + 1
    found = np.zeros(people)
    for label in (labels, ~labels):
        number = len(np.unique(own[label]))
        if number < 2:
            return np.full(people, nan)
        found += np.sqrt(number / (number - 1)) * np.bincount(own[label], parts[label], people)
    return found


def norm_of(sums: np.ndarray) -> float:
    return float(np.sqrt((sums**2).sum()))


class Components:
    """What every record adds to an AUROC (DeLong's components), and with it every patient."""

    def __init__(
        self,
        scores: Sequence[float] | np.ndarray,
        positive: Sequence[bool] | np.ndarray,
        patients: Sequence[Hashable],
        groups: Sequence[Hashable] | None = None,
    ):
        values, labels, own = records_of(scores, positive, patients)
        self.number = len(values)
        won, against = np.zeros(len(values)), np.zeros(len(values))
        for rows in _rows_of(groups, len(values)):
            yes, no = rows[labels[rows]], rows[~labels[rows]]
            if not len(yes) or not len(no):
                continue
            ranks = rankdata(values[np.r_[yes, no]])
            won[yes] = ranks[: len(yes)] - rankdata(values[yes])  # how many of the others each is above
            won[no] = len(yes) - (ranks[len(yes) :] - rankdata(values[no]))
            against[yes], against[no] = len(no), len(yes)
        compared = against > 0
        self._labels, self._own = labels[compared], own[compared]
        self.rarer = rarer_of(self._labels, self._own)
        pairs = float(against[labels].sum())
        self.area = float(won[labels].sum()) / pairs if self.rarer else nan
        self._parts = (won - self.area * against)[compared] / max(pairs, 1.0)
        # Patients whose records are compared with nothing add nothing, and keep their place.
        self._people = int(own.max(initial=-1)) + 1

    def minus(self, other: Components) -> Components:
        """The components of the difference of two AUROCs of the same records."""
        difference = object.__new__(Components)
        difference.__dict__ |= self.__dict__
        difference._parts = self._parts - other._parts
        return difference

    def added(self) -> np.ndarray:
        """What each patient adds to the AUROC, float [patients], in the order in which they come; the root of the sum
        of squares is the standard error."""
        found = sums_of(self._parts, self._labels, self._own)
        return np.pad(found, (0, self._people - len(found)))

    def error(self) -> float:
        return norm_of(self.added())


def _rows_of(groups: Sequence[Hashable] | None, number: int) -> list[np.ndarray]:
    if groups is None:
        return [np.arange(number)]
    if len(groups) != number:
        raise ECGError(f"{number} scores and the groups of {len(groups)}; expected as many.")
    names = {name: place for place, name in enumerate(dict.fromkeys(groups))}
    own = np.array([names[name] for name in groups], dtype=int)
    return [np.flatnonzero(own == place) for place in names.values()]
