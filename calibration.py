"""How sure a model is held against how often it is right, and its yes and no, as sampled and at natural frequency.

In: probabilities or answers of each question, what is true, whose ECG it is about, and weights. Out: dataclasses of
figures with intervals over patients (`intervals`), which `dataclasses.asdict` makes plain.

    calibration(probabilities, happened, patients)      reliability, expected calibration error, Brier score
    selective(confidence, right, patients)              accuracy of the surer part: risk and coverage
    yes_no(says_yes, expected_yes, patients)            sensitivity, specificity, predictive values and more
    natural_weights(expected_yes, question_key, prevalence)   weights that make yes as frequent as in a corpus

Decided here: bins are of equal width; what was not answered is never covered; a question whose natural frequency is
not known has no weight, and is counted as left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from math import nan, pi, sqrt

import numpy as np

from .errors_ecgllm import ECGError
from .intervals import LEVEL, Estimate, auroc, average_precision, macro_share, predictive_value, share
from .patient_sums import Patients, checked_weights

BINS = 10
COVERAGES = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1)
Weights = Sequence[float] | np.ndarray | None


@dataclass(frozen=True)
class Bin:
    """Questions with a probability from `low` to below `high` (the last bin: to 1).

    part: their share of all questions. stated: mean of their probabilities. happened: how often it was so.
    """

    low: float
    high: float
    part: float
    stated: float
    happened: Estimate


@dataclass(frozen=True)
class Calibration:
    """bins: those with a question. expected_calibration_error: mean of |stated - happened| over questions, by bin.
    by_chance: about what a calibrated model has on so few questions. brier: mean squared error of the probabilities.
    stated, happened: means over all. left_out: questions without a weight."""

    bins: tuple[Bin, ...]
    expected_calibration_error: float
    by_chance: float
    brier: Estimate
    stated: float
    happened: Estimate
    left_out: int


@dataclass(frozen=True)
class Selected:
    """The surest questions: confidence of at least `threshold`, `coverage` of all questions; how many are right."""

    coverage: float
    threshold: float
    right: Estimate


@dataclass(frozen=True)
class Selective:
    """points: all that were answered, then the surest part of them, by falling coverage. answered: of all questions.
    area: mean share of wrong answers over all coverages that are reached, the area under the risk-coverage curve;
    least_area: of these answers, were the right ones the surest."""

    points: tuple[Selected, ...]
    answered: Estimate
    area: float
    least_area: float
    left_out: int


@dataclass(frozen=True)
class YesNo:
    """expected: share of questions whose true answer is yes. says_yes: how many answers of yes or no are yes (POPE's
    yes-ratio). ppv, npv: how often a yes, and a no, is right. balanced_accuracy: mean of sensitivity and specificity.
    auroc, average_precision: None without scores. left_out: questions without a weight."""

    expected: float
    says_yes: Estimate
    accuracy: Estimate
    balanced_accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    auroc: Estimate | None
    average_precision: Estimate | None
    left_out: int


def calibration(
    probabilities: Sequence[float] | np.ndarray,
    happened: Sequence[bool] | np.ndarray,
    patients: Patients,
    weights: Weights = None,
    bins: int = BINS,
    level: float = LEVEL,
) -> Calibration:
    """Probabilities against what happened: P(yes) and whether yes is true, or how sure of an answer and whether right.

    Args: probabilities: 0 to 1. happened: bool. patients, weights: as for `intervals.share`; what has a weight of NaN
        is left out.
    Raises: ECGError for a probability outside 0 to 1, and where no question is left.
    Source: Guo et al. 2017 (expected calibration error), Brier 1950. In small samples the error is never 0:
        `by_chance` is the mean of |x| of a normal x with the standard error of each bin.
    """
    stated, true = np.asarray(probabilities, dtype=float), np.asarray(happened, dtype=bool)
    _same_length(probabilities=stated, outcomes=true, patients=patients)
    if not ((stated >= 0) & (stated <= 1)).all():
        raise ECGError("a probability lies outside 0 to 1, or is NaN; leave out what was not answered, and say so.")
    counted, kept = _kept(weights, len(stated))
    place = np.minimum((stated * bins).astype(int), bins - 1)

    def shared(values: np.ndarray, rows: np.ndarray) -> Estimate:
        return share(values[rows], [patients[row] for row in rows], level, counted[rows])

    total, found, error, chance = counted[kept].sum(), [], 0.0, 0.0
    for number in np.unique(place[kept]):
        rows = kept[place[kept] == number]
        part, mean = float(counted[rows].sum() / total), float(np.average(stated[rows], weights=counted[rows]))
        one = shared(true, rows)
        found.append(Bin(float(number / bins), float((number + 1) / bins), part, mean, one))
        error += part * abs(one.value - mean)
        chance += part * sqrt(2 / pi) * (one.error if one.error > 0 else sqrt(mean * (1 - mean) / one.patients))
    return Calibration(
        bins=tuple(found),
        expected_calibration_error=error,
        by_chance=chance,
        brier=shared((stated - true) ** 2, kept),
        stated=float(np.average(stated[kept], weights=counted[kept])),
        happened=shared(true, kept),
        left_out=_left_out(weights),
    )


def selective(
    confidence: Sequence[float] | np.ndarray,
    right: Sequence[bool] | np.ndarray,
    patients: Patients,
    answered: Sequence[bool] | np.ndarray | None = None,
    weights: Weights = None,
    coverages: Sequence[float] = COVERAGES,
    level: float = LEVEL,
) -> Selective:
    """How right the surest answers are, and how many these are.

    Args: confidence: the higher, the surer; of what was not answered it does not matter. answered: bool; None: all.
        What was refused counts among all questions, never among those covered. coverages: take at least so many of
        all questions; those as sure as the last one are taken, too. More than were answered has no point.
    Source: El-Yaniv and Wiener 2010; the area: Geifman and El-Yaniv 2017, a question more at a time; equally sure ones
        count with the mean of all their orders.
    """
    sure, correct = np.asarray(confidence, dtype=float), np.asarray(right, dtype=float)
    given = np.ones(len(sure), dtype=bool) if answered is None else np.asarray(answered, dtype=bool)
    _same_length(confidences=sure, answers=correct, patients=patients, refusals=given)
    if np.isnan(sure[given]).any():
        raise ECGError(f"{np.isnan(sure[given]).sum()} answers have NaN for a confidence; expected a number.")
    counted, kept = _kept(weights, len(sure))
    refused = share(given[kept], [patients[row] for row in kept], level, counted[kept])
    rows = kept[given[kept]]
    if not len(rows):
        return Selective((), refused, nan, nan, _left_out(weights))
    rows = rows[np.argsort(-sure[rows], kind="stable")]
    covered = np.cumsum(counted[rows]) / counted[kept].sum()
    ends = np.flatnonzero(np.r_[sure[rows[1:]] != sure[rows[:-1]], True])  # the last of those that are equally sure
    taken = {len(rows) - 1: None}
    for coverage in sorted(coverages, reverse=True):
        reached = np.flatnonzero(covered[ends] >= coverage - 1e-12)
        if len(reached):
            taken[int(ends[reached[0]])] = None
    points = []
    for last in taken:
        some = rows[: last + 1]
        one = share(correct[some], [patients[row] for row in some], level, counted[some])
        points.append(Selected(float(covered[last]), float(sure[some[-1]]), one))
    wrong = 1 - correct[rows]
    place = np.searchsorted(ends, np.arange(len(rows)))
    alike = np.bincount(place, wrong * counted[rows]) / np.bincount(place, counted[rows])
    area = _area(alike[place], counted[rows])
    best = np.argsort(wrong, kind="stable")
    return Selective(tuple(points), refused, area, _area(wrong[best], counted[rows][best]), _left_out(weights))


def yes_no(
    says_yes: Sequence[float] | np.ndarray,
    expected_yes: Sequence[bool] | np.ndarray,
    patients: Patients,
    weights: Weights = None,
    scores: Sequence[float] | np.ndarray | None = None,
    question_key: Sequence[str] | None = None,
    level: float = LEVEL,
) -> YesNo:
    """Figures of yes and no: at the balance of the sample, or with `natural_weights` at the natural frequency.

    Args: says_yes: bool; NaN for an answer that is neither: it is wrong, and counts in no share of yes. weights: NaN
        where unknown: left out, and counted. scores: P(yes), for AUROC and average precision. question_key: what each
        question asks; AUROC then compares ECGs within one question only. Weights leave it as it is.
    Returns: an Estimate of NaN where nothing decides it (no question that is answered yes, nobody who has it).
    """
    says, true = np.asarray(says_yes, dtype=float), np.asarray(expected_yes, dtype=bool)
    _same_length(answers=says, expected=true, patients=patients)
    counted, kept = _kept(weights, len(says))
    says, true, counted, whose = says[kept], true[kept], counted[kept], [patients[row] for row in kept]
    yes, no = says == 1, says == 0
    right, unknown = says == true, Estimate(nan, nan, nan, nan, 0, 0, nan, 0.5, level)

    def shared(values: np.ndarray, among: np.ndarray) -> Estimate:
        rows = np.flatnonzero(among)
        return share(values[rows], [whose[row] for row in rows], level, counted[rows]) if len(rows) else unknown

    ranked: list[Estimate | None] = [None, None]
    if scores is not None:
        values = np.asarray(scores, dtype=float)[kept]
        within = None if question_key is None else [question_key[row] for row in kept]
        ranked = [
            auroc(values, true, whose, level, within),
            average_precision(values, true, whose, level, None if weights is None else counted),
        ]
    both = true.any() and not true.all()
    return YesNo(
        expected=float(np.average(true, weights=counted)),
        says_yes=shared(yes, yes | no),
        accuracy=shared(right, np.ones(len(says), dtype=bool)),
        balanced_accuracy=macro_share(right, true, whose, level, counted)[0] if both else unknown,
        sensitivity=shared(yes, true),
        specificity=shared(no, ~true),
        ppv=predictive_value(yes, true, whose, level, counted),
        npv=predictive_value(no, ~true, whose, level, counted),
        auroc=ranked[0],
        average_precision=ranked[1],
        left_out=_left_out(weights),
    )


def natural_weights(
    expected_yes: Sequence[bool] | np.ndarray, question_key: Sequence[str], prevalence: Mapping[str, float]
) -> np.ndarray:
    """Weights that make yes as frequent among the questions of each key as in the corpus, float [questions].

    Args: question_key: what each question asks. prevalence: how often yes is true of it in the corpus, by key.
    Returns: prevalence over the sampled share for yes, the rest over the rest for no: mean 1 in every key. NaN for a
        key of unknown prevalence, and for one whose sample lacks the yes or the no that the corpus has.
    Raises: ECGError for a prevalence outside 0 to 1.
    Source: post-stratification (Cochran, Sampling Techniques, 3rd ed., 5A.9).
    """
    true, keys = np.asarray(expected_yes, dtype=bool), np.asarray(question_key, dtype=str)
    _same_length(answers=true, keys=keys)
    found = np.full(len(true), nan)
    for key in np.unique(keys):
        natural = prevalence.get(str(key))
        if natural is None or np.isnan(natural):
            continue
        if not 0 <= natural <= 1:
            raise ECGError(f"the prevalence of {str(key)!r} is {natural}; expected 0 to 1.")
        rows = keys == key
        sampled = true[rows].mean()
        if (natural > 0 and not sampled) or (natural < 1 and sampled == 1):
            continue
        found[rows & true] = natural / sampled if natural else 0.0
        found[rows & ~true] = (1 - natural) / (1 - sampled) if natural < 1 else 0.0
    return found


# ---------------------------------------------------------------------------------------------------------------------
# Checks
# ---------------------------------------------------------------------------------------------------------------------


def _same_length(**given: Sized) -> None:
    if len({len(each) for each in given.values()}) > 1:
        counts = ", ".join(f"{len(each)} {name}" for name, each in given.items())
        raise ECGError(f"{counts}; expected as many of each.")


def _kept(weights: Weights, number: int) -> tuple[np.ndarray, np.ndarray]:
    """(Weights, the rows that have one and weigh anything.)"""
    found = np.ones(number) if weights is None else np.asarray(weights, dtype=float)
    found = checked_weights(np.where(np.isnan(found), 0.0, found), number)
    rows = np.flatnonzero(found)
    if not len(rows):
        raise ECGError(f"none of {number} questions has a weight; nothing can be said of them.")
    return found, rows


def _left_out(weights: Weights) -> int:
    return 0 if weights is None else int(np.isnan(np.asarray(weights, dtype=float)).sum())


def _area(wrong: np.ndarray, counted: np.ndarray) -> float:
    """Mean over coverages of the share of wrong answers, the surest first."""
    return float(np.average(np.cumsum(wrong * counted) / np.cumsum(counted), weights=counted))
