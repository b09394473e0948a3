"""Shares of right answers, AUROCs and their differences, each with an interval over patients.

In: what was right, or scores and labels, and whose ECG each is about. Out: an `Estimate`: value, interval, p-value of
a stated value, and how many patients it rests on.

    share(right, patients)                      auroc(scores, positive, patients)
    share_difference(right, other, patients)    auroc_difference(scores, others, positive, patients)
    macro_share(right, kinds, patients)         macro_auroc(scores, targets, patients)
    predictive_value(called, true, patients)    average_precision(scores, positive, patients)
    holm(p_values)                              patients_needed(estimate, margin)

Decided here: answers about one patient are not independent, nor are answers about two patients of others about either
of them. The variance is that of sums over patients (linearisation), and the interval is Student's on the logit, with
as many degrees of freedom as patients, less one. Nothing is drawn at random but the limits of an average precision of
what is rare, and these from a fixed seed. It was chosen over resampling patients by its coverage in simulation
(`tests/test_intervals.py`): at 95 % it has 94 to 97 % down to five positive patients and up to an AUROC of .95, where
percentiles and BCa of 500 resamples have 85 to 93 %.

Weights say how often each question counts, so that a balanced sample speaks for a population in which yes is rare.
Where they differ, some patients carry more than others: the degrees of freedom are Satterthwaite's for patients that
vary alike, (sum of squares)^2 / sum of fourth powers of what each weighs, which is their number where all weigh alike.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from math import nan

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import beta, norm, t

from .errors_ecgllm import ECGError
from .patient_sums import (
    Components,
    Groups,
    Patients,
    centred,
    checked,
    checked_weights,
    error_of,
    groups_of,
    mean_of,
    rarer_of,
    records_of,
    sums_of,
)

LEVEL = 0.95
_DRAWS = 1000
_ROUNDING = 1e-12


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


def share(
    right: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
    weights: Sequence[float] | np.ndarray | None = None,
) -> Estimate:
    """Share of right answers.

    Args: right: bool, or a score from 0 to 1, of each question. patients: whose ECGs each question is about. weights:
        how often each question counts, 0 or more; None: all alike. Questions that weigh nothing are left out.
    Raises: ECGError for no question, for other numbers of them, and for weights that are negative or unknown.
    Source: variance of a ratio over clusters (Cochran, Sampling Techniques, 3rd ed., 6.13), for questions about
        several patients that of Aronow, Samii and Assenova 2015; the logit's interval: Korn and Graubard 1998. A share
        of 0 or 1, or one that is the same of every patient, has no variance: binomial limits, every patient counted
        once (Clopper and Pearson 1934).
    """
    return _share(*checked(right, patients, weights), level)


def share_difference(
    right: Sequence[bool] | np.ndarray,
    other: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
    weights: Sequence[float] | np.ndarray | None = None,
) -> Estimate:
    """Share of `right` minus that of `other`, answers to the same questions (paired); weights as for `share`.

    p_value: one less the level at which the interval ends at 0, or 1e-12 where that is less.
    Source: both parts of the difference, where only one is right and where only the other is, have the interval of a
        share; those of the difference follow from them and their correlation (Zou and Donner 2008; Newcombe 1998), so
        that none or few that differ do not make it certain.
    """
    values, counted, groups = checked(right, patients, weights)
    difference = values - checked(other, patients, weights)[0]
    mean = mean_of(difference, counted)
    error = error_of(counted * (difference - mean), groups)
    found = _as_it_is(mean, error, groups.number, len(values), level, groups.effective)
    parts = [np.maximum(part, 0) for part in (difference, -difference)]
    gained, lost = (_share(part, counted, groups, level) for part in parts)
    if np.isnan(gained.error + lost.error + found.low):
        return found
    product = gained.error * lost.error
    if product:
        tied = float(np.clip((gained.error**2 + lost.error**2 - error**2) / (2 * product), -1, 1))
    else:  # one of them is the same of all; where all differ, what is not gained is lost
        tied = -1.0 if gained.value + lost.value == 1 else 0.0

    def distance(one: float, two: float) -> float:
        return float(np.sqrt(one**2 + two**2 - 2 * tied * one * two))

    def limits(level: float) -> tuple[float, float]:
        up, down = (_again(one, groups.effective, level) for one in (gained, lost))
        low = mean - distance(up.value - up.low, down.high - down.value)
        return low, mean + distance(up.high - up.value, down.value - down.low)

    low, high = limits(level)
    return replace(found, low=low, high=high, p_value=_p_of_limits(mean, limits))


def difference_of_others(one: Estimate, two: Estimate) -> Estimate:
    """one less two, of different patients: their errors are independent."""
    error = float(np.hypot(one.error, two.error))
    patients = min(one.patients, two.patients)
    return _as_it_is(one.value - two.value, error, patients, one.number + two.number, one.level)


def macro_share(
    right: Sequence[bool] | np.ndarray,
    kinds: Sequence[Hashable],
    patients: Patients,
    level: float = LEVEL,
    weights: Sequence[float] | np.ndarray | None = None,
) -> tuple[Estimate, dict[Hashable, Estimate]]:
    """(Mean over kinds of the share of right answers, the share of each kind, in the order in which kinds come).

    Args: kinds: of each question: its type, or its true answer, which makes the mean the balanced accuracy. weights:
        as for `share`, within each kind; all kinds count alike.
    The interval of the mean takes the number of questions of each kind as given, and knows that kinds share patients;
    a kind with one patient has no interval, and then the mean has none.
    """
    if len(kinds) != len(right):
        raise ECGError(f"{len(right)} answers and the kinds of {len(kinds)}; expected as many.")
    every = np.ones(len(right)) if weights is None else checked_weights(weights, len(right))
    rows = np.flatnonzero(every)
    values, every, whose = np.asarray(right, dtype=float)[rows], every[rows], [patients[row] for row in rows]
    numbers = {kind: number for number, kind in enumerate(dict.fromkeys(kinds[row] for row in rows))}
    own = np.array([numbers[kinds[row]] for row in rows], dtype=int)
    each = {}
    for kind, number in numbers.items():
        some = np.flatnonzero(own == number)
        weighed = None if weights is None else every[some]
        each[kind] = share(values[some], [whose[row] for row in some], level, weighed)
    values, counted, groups = checked(values, whose, every / np.bincount(own, every)[own])
    shares, people = (np.array([getattr(one, name) for one in each.values()]) for name in ("value", "patients"))
    error = error_of(counted * centred(values, counted, own, groups), groups)
    # Where all of a kind are alike its variance is not 0: Laplace's share, one success and one failure more.
    alike = np.where(np.isin(shares, (0.0, 1.0)), (people + 1) / (people + 2) ** 2 / people, 0.0)
    error = float(np.sqrt(error**2 + alike.sum() / len(shares) ** 2))
    return _on_logit(float(shares.mean()), error, groups.number, len(values), level, groups.effective), each


def predictive_value(
    called: Sequence[bool] | np.ndarray,
    true: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
    weights: Sequence[float] | np.ndarray | None = None,
) -> Estimate:
    """Share of `true` among those that are `called` so: PPV; of `~true` among `~called`: NPV.

    Args: called, true: of every question, not only of those called. weights: as for `share`.
    Returns: NaN where nothing is called, or all are alike in `true`; p_value is NaN. How many are true is taken as
        given.
    Source: its odds are those of `true`, times the share of calls among them over that among the others (Mercaldo, Lau
        and Zhou 2007). Both shares have their intervals, and that of their ratio follows from them and their
        correlation (Donner and Zou 2012), so that 0 or 1 of a handful is not certain.
    """
    labels, counted, groups = checked(true, patients, weights)
    says, labels = checked(called, patients, weights)[0] > 0, labels > 0
    if not says.any() or labels.all() or not labels.any():
        return Estimate(nan, nan, nan, nan, groups.number, len(says), nan, 0.5, level)
    both, each = macro_share(np.asarray(called) > 0, np.asarray(true) > 0, patients, level, weights)
    low, high = _ratio_limits(each[True], each[False], both)
    odds = float(counted[labels].sum() / counted[~labels].sum())
    all_called = float(counted[says].sum())
    value = mean_of(labels[says].astype(float), counted[says] / all_called)
    error = error_of(counted * centred(says * (labels - value), counted, labels, groups) / all_called, groups)
    low, high = (1.0 if np.isinf(ratio) else float(odds * ratio / (1 + odds * ratio)) for ratio in (low, high))
    return Estimate(value, low, high, error, groups.number, len(says), nan, 0.5, level)


def auroc(
    scores: Sequence[float] | np.ndarray,
    positive: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
    groups: Sequence[Hashable] | None = None,
) -> Estimate:
    """Area under the ROC curve; ties count half.

    Args: scores: the higher, the likelier positive. positive: the labels of the records. patients: whose they are, of
        one or several each. groups: of the records, e.g. their sources, or questions: only pairs of records of one
        group are compared.
    Returns: NaN where all records (of every group) have one label; low and high are NaN where one patient has all of
        a label.
    Source: Obuchowski 1997 (DeLong's components, summed over patients), of records of several patients as for `share`;
        interval on the logit.
    """
    return _of(Components(scores, positive, patients, groups), level)


def auroc_difference(
    scores: Sequence[float] | np.ndarray,
    others: Sequence[float] | np.ndarray,
    positive: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
) -> Estimate:
    """AUROC of `scores` minus that of `others`, of the same records (paired)."""
    one, two = (Components(each, positive, patients) for each in (scores, others))
    difference = one.minus(two)
    return _as_it_is(one.area - two.area, difference.error(), one.rarer, one.number, level, one.apart)


def macro_auroc(
    scores: np.ndarray,
    targets: np.ndarray,
    patients: Patients,
    level: float = LEVEL,
    groups: Sequence[Hashable] | None = None,
) -> tuple[Estimate, list[Estimate]]:
    """(Mean AUROC over labels, the AUROC of each).

    Args: scores: float [records, labels]. targets: int [records, labels], 1, 0, or -1 where it is unknown: such a
        record does not count for that label. groups: as for `auroc`.
    The mean's interval counts what a patient adds to all labels together, since they share patients; its degrees of
    freedom are those of the label whose rarer side has the median number of patients. A label that one patient has
    varies at most as a coin with its AUROC for a chance (here Laplace's).
    Raises: ECGError for a label of which all known records are alike: choose the labels first, and say how.
    """
    known = np.asarray(targets) >= 0
    whose = groups_of(patients, np.ones(len(known)))
    added, alone, each, rarer, apart = np.zeros(whose.sets), 0.0, [], [], []
    for column in range(known.shape[1]):
        rows = np.flatnonzero(known[:, column])
        own = [patients[row] for row in rows]
        within = None if groups is None else [groups[row] for row in rows]
        parts = Components(scores[rows, column], targets[rows, column] == 1, own, within)
        if not parts.rarer:
            raise ECGError(f"label {column} is the same in all {len(rows)} records that decide it; leave it out.")
        each.append(_of(parts, level))
        if parts.apart > 1:
            added[list(dict.fromkeys(whose.own[rows].tolist()))] += parts.added()
        else:
            alone += (parts.area + 1) * (2 - parts.area) / 9
        rarer.append(parts.rarer)
        apart.append(parts.apart)
    mean, error = float(np.mean([one.value for one in each])), float(np.sqrt(whose.total(added) + alone)) / len(each)
    number = int(known.any(axis=1).sum())
    return _on_logit(mean, error, int(np.median(rarer)), number, level, int(np.median(apart))), each


def average_precision(
    scores: Sequence[float] | np.ndarray,
    positive: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
    weights: Sequence[float] | np.ndarray | None = None,
) -> Estimate:
    """Average precision: the mean, over positive records, of the precision down to their score (scikit-learn's).

    It depends on how frequent the positive are: in these records, or as `weights` make them.
    Returns: as for `auroc`. against is the share of positives, which scores that say nothing reach. In small samples
        it is too high, by .02 at 30 positives and .03 at 10 of 300. Where one negative record weighs more than a
        fortieth of all positive ones, precision hangs on negatives that are not in the sample: the value is too high
        by up to .12 (.42 for .3, at 1 % and 30 of 100 patients), error and p_value are NaN, and the limits are those
        of `_of_unseen_negatives` (of records of several patients NaN): wide, [.07, .82] for .55 at 1 %, and in
        simulation they held the true value in 98 to 100 %. Linearised ones did in 58 to 97 %.
    Source: variance by linearisation, the numbers of both labels taken as given; the logit's interval: Boyd, Eng and
        Page 2013.
    """
    values, labels, whose = records_of(scores, positive, patients)
    counted = np.ones(len(values)) if weights is None else checked_weights(weights, len(values))
    whose = whose.of(counted > 0)
    values, labels, counted = (each[counted > 0] for each in (values, labels, counted))
    yes, (people, apart) = float(counted[labels].sum()), rarer_of(labels, whose)
    prior = yes / float(counted.sum()) if len(values) else nan
    if not people or not 0 < prior < 1:
        return Estimate(nan, nan, nan, nan, people, len(values), nan, prior, level)
    thresholds, place = np.unique(-values, return_inverse=True)
    found = np.bincount(place, counted * labels, len(thresholds))
    called = np.cumsum(np.bincount(place, counted, len(thresholds)))
    precision = np.cumsum(found) / called
    area = float(found @ precision) / yes
    # What a record adds: its own precision if it is positive, and to the precision at its score and at all lower ones.
    own_share = np.cumsum((found / called)[::-1])[::-1][place]
    others = np.cumsum((found * precision / called)[::-1])[::-1][place]
    added = np.where(labels, precision[place] - area + own_share, 0.0) - others
    for label in (labels, ~labels):
        added[label] -= np.average(added[label], weights=counted[label])
    error = float(np.sqrt(whose.total(sums_of(counted * added / yes, labels, whose))))
    if weights is not None and counted[~labels].max() > yes / 40:
        low, high = _of_unseen_negatives(place, labels, counted, whose, level) if apart > 1 else (nan, nan)
        return Estimate(min(area, 1.0), low, high, nan, people, len(values), nan, prior, level)
    one = _on_logit(min(area, 1.0), error, people, len(values), level, apart)
    slope = area * (1 - area)
    if not slope or not error or apart < 2:
        return replace(one, p_value=nan, against=prior)
    statistic = abs(logit(area) - logit(prior)) * slope / error
    return replace(one, p_value=float(2 * t.sf(statistic, apart - 1)), against=prior)


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


def _share(values: np.ndarray, counted: np.ndarray, groups: Groups, level: float) -> Estimate:
    mean = mean_of(values, counted)
    error = error_of(counted * (values - mean), groups)
    return _on_logit(mean, error, groups.number, len(values), level, groups.effective)


def _again(one: Estimate, effective: float, level: float) -> Estimate:
    """A share with its interval at another level."""
    return _on_logit(one.value, one.error, one.patients, one.number, level, effective)


def _p_of_limits(value: float, limits: Callable[[float], tuple[float, float]]) -> float:
    """One less the level at which an interval around a difference ends at none."""

    def beyond(log_p: float) -> float:
        low, high = limits(-float(np.expm1(log_p)))
        return low if value > 0 else -high

    most, least = -_ROUNDING, float(np.log(_ROUNDING))
    if abs(value) <= _ROUNDING or beyond(most) <= 0:
        return 1.0
    return float(np.exp(least if beyond(least) > 0 else brentq(beyond, least, most)))


def _ratio_limits(one: Estimate, two: Estimate, mean: Estimate) -> tuple[float, float]:
    """Limits of one over two, shares in different questions, whose correlation the error of their mean says."""
    product = one.error * two.error
    if np.isnan([one.low, one.high, two.low, two.high]).any():
        return nan, nan
    tied = np.clip((4 * mean.error**2 - one.error**2 - two.error**2) / (2 * product), -1, 1) if product else 0.0
    # Of shares that rise together and hardly known, the formula cancels: then as if they did not.
    tied = min(tied, 0.0) if _too_tied(one, two, tied) else tied
    a, b = one.value, two.value
    most = a * b - tied * (a - one.low) * (two.high - b)
    below, above = one.low * (2 * a - one.low), two.high * (2 * b - two.high)
    low = below / (most + np.sqrt(most**2 - below * above)) if below else 0.0
    most = a * b - tied * (one.high - a) * (b - two.low)
    below, above = two.low * (2 * b - two.low), one.high * (2 * a - one.high)
    high = (most + np.sqrt(most**2 - below * above)) / below if below else np.inf
    return float(low), float(high)


def _too_tied(one: Estimate, two: Estimate, tied: float) -> bool:
    a, b = one.value, two.value
    return (
        min(a * b - tied * (a - one.low) * (two.high - b), a * b - tied * (one.high - a) * (b - two.low)) <= 0 < tied
    )


def _of_unseen_negatives(
    place: np.ndarray, labels: np.ndarray, counted: np.ndarray, whose: Groups, level: float
) -> tuple[float, float]:
    """Limits of an average precision that hangs on negatives which are not in the sample.

    Patients weigh as often as chance would draw them again (Rubin 1981; from a fixed seed), and so does one negative
    patient more, whom nobody saw: above all others for the lower limit, below all for the upper one, as Clopper and
    Pearson take one more or less (Cui and Hannig 2019).

    Args: place: which threshold a record reaches, the highest score first.
    """
    if whose.members is not None:
        return nan, nan
    order = np.argsort(place, kind="stable")
    ends = np.flatnonzero(np.diff(place[order], append=place.max() + 1))
    people, positive = whose.own[order], labels[order]
    yes, no = (float(counted[label].sum()) for label in (labels, ~labels))
    rng, areas = np.random.default_rng(0), []
    size = max(1, 500_000 // len(order))  # draws at once
    for start in range(0, _DRAWS, size):
        weigh = rng.exponential(size=(min(size, _DRAWS - start), whose.sets + 1))
        unseen = weigh[:, -1:] * no / whose.among(~labels)
        weigh = weigh[:, people] * counted[order]
        hit, false = (np.cumsum(weigh * label, axis=1)[:, ends] for label in (positive, ~positive))
        hit, total = hit / hit[:, -1:], false[:, -1:] + unseen
        found = np.diff(hit, axis=1, prepend=0)
        rates = np.stack([false + unseen, false]) / total
        areas.append((found * (yes * hit / (yes * hit + no * rates))).sum(axis=2))
    lower, upper = np.concatenate(areas, axis=1)
    return float(np.quantile(lower, 0.5 - level / 2)), float(np.quantile(upper, 0.5 + level / 2))


def _of(parts: Components, level: float) -> Estimate:
    """The AUROC of the components."""
    return _on_logit(parts.area, parts.error(), parts.rarer, parts.number, level, parts.apart)


def _on_logit(
    value: float, error: float, patients: int, number: int, level: float, effective: float | None = None
) -> Estimate:
    """effective: one more than the degrees of freedom, and so many count where the value is 0 or 1; None: patients."""
    effective = patients if effective is None else effective
    if np.isnan(value):
        return Estimate(nan, nan, nan, nan, patients, number, nan, 0.5, level)
    certain = error <= _ROUNDING  # a sum of what cancels is seldom 0 exactly
    if value in (0.0, 1.0) or (certain and effective > 1):
        return _without_variance(value, max(effective, 1), patients, number, level)
    if effective <= 1:
        return Estimate(value, nan, nan, error, patients, number, nan, 0.5, level)
    slope = value * (1 - value)
    distance = t.ppf(0.5 + level / 2, effective - 1) * error / slope
    low, high = (float(expit(logit(value) + sign * distance)) for sign in (-1, 1))
    p_value = float(2 * t.sf(abs(logit(value)) * slope / error, effective - 1))
    return Estimate(value, low, high, error, patients, number, p_value, 0.5, level)


def _without_variance(value: float, effective: float, patients: int, number: int, level: float) -> Estimate:
    """The same of every patient: binomial limits, every patient counted once (Clopper and Pearson 1934)."""
    right, wrong = value * effective, (1 - value) * effective
    tail = (1 - level) / 2
    low = float(beta.ppf(tail, right, wrong + 1)) if right else 0.0
    high = float(beta.isf(tail, right + 1, wrong)) if wrong else 1.0
    at_least = float(beta.cdf(0.5, right, wrong + 1)) if right else 1.0
    at_most = float(beta.sf(0.5, right + 1, wrong)) if wrong else 1.0
    p_value = min(2 * min(at_least, at_most), 1.0)
    return Estimate(value, low, high, 0.0, patients, number, p_value, 0.5, level)


def _as_it_is(
    value: float, error: float, patients: int, number: int, level: float, effective: float | None = None
) -> Estimate:
    effective = patients if effective is None else effective
    if np.isnan(value) or effective <= 1:
        return Estimate(value, nan, nan, nan, patients, number, nan, 0.0, level)
    distance = t.ppf(0.5 + level / 2, effective - 1) * error
    if error > _ROUNDING:
        p_value = float(2 * t.sf(abs(value) / error, effective - 1))
    else:  # the same of every patient: a sign test
        p_value = min(2 * 0.5**effective, 1.0) if abs(value) > _ROUNDING else 1.0
    return Estimate(value, value - distance, value + distance, error, patients, number, p_value, 0.0, level)
