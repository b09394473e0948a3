"""Shares of right answers, AUROCs and their differences, each with an interval over patients.

In: what was right, or scores and labels, and whose ECG each is about. Out: an `Estimate`: value, interval, p-value of
a stated value, and how many patients it rests on.

    share(right, patients)                      auroc(scores, positive, patients)
    share_difference(right, other, patients)    auroc_difference(scores, others, positive, patients)
    macro_auroc(scores, targets, patients)      holm(p_values)      patients_needed(estimate, margin)

Decided here: answers about one patient are not independent, nor are answers about two patients of others about either
of them. The variance is that of sums over patients (linearisation), and the interval is Student's on the logit, with
as many degrees of freedom as patients, less one. Nothing is drawn at random. It was chosen over resampling patients by
its coverage in simulation (`tests/test_intervals.py`): at 95 % it has 94 to 97 % down to five positive patients and up
to an AUROC of .95, where percentiles and BCa of 500 resamples have 85 to 93 %.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import chain
from math import inf, nan

import numpy as np
from scipy.sparse import csr_array
from scipy.special import expit, logit
from scipy.stats import norm, rankdata, t

from .errors_ecgllm import ECGError

LEVEL = 0.95
Patients = Sequence[Hashable] | Sequence[Sequence[Hashable]]
"""Whose ECG each question is about: a name, or the names of several."""


@dataclass(frozen=True)
class Estimate:
    """value, with its interval [low, high] at `level`; NaN where it is not defined.

    error: standard error, on the scale of the value. patients: how many it rests on, of the rarer label for an AUROC.
    number: of questions or records. p_value: two-sided, that the value is `against`: one half, or no difference.
    """

    value: float
    low: float
    high: float
    error: float
    patients: int
    number: int
    p_value: float
    against: float
    level: float = LEVEL


def share(right: Sequence[bool] | np.ndarray, patients: Patients, level: float = LEVEL) -> Estimate:
    """Share of right answers.

    Args: right: bool, or a score from 0 to 1, of each question. patients: whose ECGs each question is about.
    Raises: ECGError for no question, and for other numbers of them.
    Source: variance of a ratio over clusters (Cochran, Sampling Techniques, 3rd ed., 6.13), for questions about
        several patients that of Aronow, Samii and Assenova 2015; the logit's interval: Korn and Graubard 1998. A share
        of 0 or 1 has no variance: binomial limit, every patient counted once (Clopper and Pearson 1934).
    """
    values, groups = _checked(right, patients)
    mean = float(values.mean())
    error = _error_of_mean(values - mean, groups)
    return _on_logit(mean, error, groups.number, len(values), level)


def share_difference(
    right: Sequence[bool] | np.ndarray,
    other: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
) -> Estimate:
    """Share of `right` minus that of `other`, answers to the same questions (paired)."""
    values, groups = _checked(right, patients)
    others, _ = _checked(other, patients)
    difference = values - others
    mean = float(difference.mean())
    return _as_it_is(mean, _error_of_mean(difference - mean, groups), groups.number, len(values), level)


def auroc(
    scores: Sequence[float] | np.ndarray,
    positive: Sequence[bool] | np.ndarray,
    patients: Sequence[Hashable],
    level: float = LEVEL,
) -> Estimate:
    """Area under the ROC curve; ties count half.

    Args: scores: the higher, the likelier positive. positive: the labels of the records. patients: whose they are.
    Returns: NaN where all records have one label; low and high are NaN where one patient has all of a label.
    Source: Obuchowski 1997 (DeLong's components, summed over patients); interval on the logit.
    """
    parts = _Components(scores, positive, patients)
    return _on_logit(parts.area, parts.error(), parts.rarer, parts.number, level)


def auroc_difference(
    scores: Sequence[float] | np.ndarray,
    others: Sequence[float] | np.ndarray,
    positive: Sequence[bool] | np.ndarray,
    patients: Sequence[Hashable],
    level: float = LEVEL,
) -> Estimate:
    """AUROC of `scores` minus that of `others`, of the same records (paired)."""
    one, two = (_Components(each, positive, patients) for each in (scores, others))
    difference = one.minus(two)
    return _as_it_is(one.area - two.area, difference.error(), one.rarer, one.number, level)


def macro_auroc(
    scores: np.ndarray, targets: np.ndarray, patients: Sequence[Hashable], level: float = LEVEL
) -> tuple[Estimate, list[Estimate]]:
    """(Mean AUROC over labels, the AUROC of each).

    Args: scores: float [records, labels]. targets: int [records, labels], 1, 0, or -1 where it is unknown: such a
        record does not count for that label.
    The mean's interval counts what a patient adds to all labels together, since they share patients; its degrees of
    freedom are those of the label whose rarer side has the median number of patients.
    Raises: ECGError for a label of which all known records are alike: choose the labels first, and say how.
    """
    known = np.asarray(targets) >= 0
    people = {name: number for number, name in enumerate(dict.fromkeys(patients))}
    added, each, rarer = np.zeros(len(people)), [], []
    for column in range(known.shape[1]):
        rows = np.flatnonzero(known[:, column])
        own = [patients[row] for row in rows]
        parts = _Components(scores[rows, column], targets[rows, column] == 1, own)
        if not parts.rarer:
            raise ECGError(f"label {column} is the same in all {len(rows)} records that decide it; leave it out.")
        each.append(_on_logit(parts.area, parts.error(), parts.rarer, parts.number, level))
        added[[people[name] for name in dict.fromkeys(own)]] += parts.added()
        rarer.append(parts.rarer)
    labels = len(each)
    mean, error = float(np.mean([one.value for one in each])), float(np.sqrt((added**2).sum())) / labels
    return _on_logit(mean, error, int(np.median(rarer)), int(known.any(axis=1).sum()), level), each


def holm(p_values: Sequence[float]) -> np.ndarray:
    """p-values of a family, adjusted so that the chance of any false finding stays below the level (Holm 1979)."""
    found = np.asarray(p_values, dtype=float)
    order = np.argsort(found)
    steps = np.minimum(found[order] * np.arange(len(found), 0, -1), 1.0)
    adjusted = np.empty_like(found)
    adjusted[order] = np.maximum.accumulate(steps)
    return adjusted


def patients_needed(estimate: Estimate, margin: float, power: float = 0.8) -> int:
    """How many patients like these would tell a value from one that lies `margin` away, two-sided at the level.

    Source: (z of the level + z of the power)^2 times the variance of one patient, over margin^2.
    """
    if not margin > 0:
        raise ECGError(f"margin is {margin}; expected more than 0.")
    one_patient = estimate.error * np.sqrt(estimate.patients)
    distance = norm.ppf(0.5 + estimate.level / 2) + norm.ppf(power)
    return int(np.ceil((distance * one_patient / margin) ** 2))


# ---------------------------------------------------------------------------------------------------------------------
# Intervals
# ---------------------------------------------------------------------------------------------------------------------


def _on_logit(value: float, error: float, patients: int, number: int, level: float) -> Estimate:
    """patients: one more than the degrees of freedom; so many count where the value is 0 or 1."""
    if np.isnan(value):
        return Estimate(nan, nan, nan, nan, patients, number, nan, 0.5, level)
    if value in (0.0, 1.0):
        limit = float((1 - level) / 2) ** (1 / max(patients, 1))
        low, high = (limit, 1.0) if value else (0.0, 1 - limit)
        return Estimate(value, low, high, 0.0, patients, number, min(2 * 0.5 ** max(patients, 1), 1.0), 0.5, level)
    slope = value * (1 - value)
    if patients < 2 or not error:
        return Estimate(value, nan, nan, error, patients, number, nan, 0.5, level)
    distance = t.ppf(0.5 + level / 2, patients - 1) * error / slope
    low, high = (float(expit(logit(value) + sign * distance)) for sign in (-1, 1))
    p_value = float(2 * t.sf(abs(logit(value)) * slope / error, patients - 1))
    return Estimate(value, low, high, error, patients, number, p_value, 0.5, level)


def _as_it_is(value: float, error: float, patients: int, number: int, level: float) -> Estimate:
    if np.isnan(value) or patients < 2:
        return Estimate(value, nan, nan, nan, patients, number, nan, 0.0, level)
    distance = t.ppf(0.5 + level / 2, patients - 1) * error
    statistic = abs(value) / error if error else (inf if value else 0.0)
    p_value = float(2 * t.sf(statistic, patients - 1))
    return Estimate(value, value - distance, value + distance, error, patients, number, p_value, 0.0, level)


# ---------------------------------------------------------------------------------------------------------------------
# Sums over patients
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Groups:
    """number: of patients. own: int [questions], which set of patients each is about. members: bool [sets, patients],
    or None where every set is one patient."""

    number: int
    own: np.ndarray
    members: csr_array | None


def _checked(values: Sequence[bool] | np.ndarray, patients: Patients) -> tuple[np.ndarray, _Groups]:
    found = np.asarray(values, dtype=float)
    if not len(found):
        raise ECGError("no question was answered; expected one or more.")
    if len(found) != len(patients):
        raise ECGError(f"{len(found)} answers and the patients of {len(patients)}; expected as many.")
    return found, _groups(patients)


def _groups(patients: Patients) -> _Groups:
    sets = [frozenset([one]) if isinstance(one, str) or not isinstance(one, Sequence) else frozenset(one)
            for one in patients]  # fmt: skip
    if not all(sets):
        raise ECGError("a question is about no patient; expected one or more.")
    position = {names: number for number, names in enumerate(dict.fromkeys(sets))}
    own = np.array([position[names] for names in sets])
    people = {name: number for number, name in enumerate(dict.fromkeys(chain.from_iterable(position)))}
    if all(len(names) == 1 for names in position):
        return _Groups(len(people), own, None)
    rows = np.repeat(np.arange(len(position)), [len(names) for names in position])
    columns = [people[name] for names in position for name in names]
    members = csr_array((np.ones(len(columns)), (rows, columns)), shape=(len(position), len(people)))
    return _Groups(len(people), own, members)


def _error_of_mean(residuals: np.ndarray, groups: _Groups) -> float:
    """Standard error of a mean from what each question adds to it, summed over all pairs that share a patient."""
    sums = np.bincount(groups.own, residuals)
    if groups.members is None:
        total = float((sums**2).sum())
    else:
        shared = (groups.members @ groups.members.T).astype(bool).astype(float)
        # Sums of indefinite parts: in few patients they may fall below zero, and then below what each set has alone.
        total = max(float(sums @ (shared @ sums)), float((sums**2).sum()))
    correction = groups.number / max(groups.number - 1, 1)
    return float(np.sqrt(correction * total)) / len(residuals)


class _Components:
    """What every patient adds to an AUROC: DeLong's components of records, summed over patients."""

    def __init__(
        self, scores: Sequence[float] | np.ndarray, positive: Sequence[bool] | np.ndarray, patients: Sequence[Hashable]
    ):
        values, labels = np.asarray(scores, dtype=float), np.asarray(positive, dtype=bool)
        if not len(values) == len(labels) == len(patients):
            raise ECGError(f"{len(values)} scores, {len(labels)} labels, {len(patients)} patients; expected as many.")
        if np.isnan(values).any():
            raise ECGError(f"{np.isnan(values).sum()} scores are NaN; leave out what was not scored, and say so.")
        people = {name: number for number, name in enumerate(dict.fromkeys(patients))}
        own = np.array([people[name] for name in patients], dtype=int)
        self.number, self.patients = len(values), len(people)
        self.yes, self.no = int(labels.sum()), int((~labels).sum())
        self.with_yes, self.with_no = len(np.unique(own[labels])), len(np.unique(own[~labels]))
        self.rarer = min(self.with_yes, self.with_no)
        if not self.rarer:
            self.area = nan
            return
        ranks = rankdata(values)
        above = (ranks[labels] - rankdata(values[labels])) / self.no  # shares of the others that each is above
        below = 1 - (ranks[~labels] - rankdata(values[~labels])) / self.yes
        self.area = float(above.mean())
        self._yes = np.bincount(own[labels], above - self.area, minlength=len(people))
        self._no = np.bincount(own[~labels], below - self.area, minlength=len(people))

    def minus(self, other: _Components) -> _Components:
        """The components of the difference of two AUROCs of the same records."""
        difference = object.__new__(_Components)
        difference.__dict__ |= self.__dict__
        if self.rarer:
            difference._yes, difference._no = self._yes - other._yes, self._no - other._no
        return difference

    def added(self) -> np.ndarray:
        """What each patient adds to the AUROC, float [patients], in the order in which they come; the root of the sum
        of squares is the standard error."""
        if self.rarer < 2:
            return np.full(self.patients, nan)
        yes, no = (np.sqrt(count / (count - 1)) for count in (self.with_yes, self.with_no))
        return yes * self._yes / self.yes + no * self._no / self.no

    def error(self) -> float:
        return float(np.sqrt((self.added() ** 2).sum()))
