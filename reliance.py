"""Does a model read the ECG? Figures with intervals over patients, and a rule with three outcomes.

In: what was right with the true ECG and, of the same questions, with others; what was right of both questions of a
pair with opposite answers; whose ECGs each is about. Out: a `Reliance`, the `Quadrants` of consistency and reliance,
or how far a model is biased towards yes (`YesRatio`).

Decided here: what it takes to say that a model reads the ECG, or that it does not. A model that cannot see is right as
often with a random patient's ECG as with the true one, whatever it says; and of two ECGs with opposite answers to the
same words it is right of both as often as wrong of both: never if it goes by the words, each a quarter of the time if
it tosses coins. Both gains are measured on the scale of accuracy: that over the random ECG, and half of the share of
pairs with both right less that with both wrong, which is the accuracy on pairs less one half.

It reads the ECG if both gains are above 0. It does not if either is less than the margin, of no use: a gain that is
small and certain is no reading, nor is one below 0 (it depends on the ECG, and takes it the wrong way round).
Otherwise there are too few records to say. The first claim errs in at most 2.5 % (both intervals of 95 % have to lie
above 0, so there is nothing to correct for), the second in 5 % for each gain, of two that say nearly the same (an
interval of 90 %, as in two one-sided tests, Schuirmann 1987). Further conditions are shown, with p-values by Holm, and
decide nothing. A model that says yes to everything gains nothing, however often yes is true.

In simulation, 200 evaluations of each model with two questions a patient (`tests/test_reliance.py`), it was said to
read / not to read in so many %, the rest being too few records:

    of whom it is known                                  30 patients   100      300
    blind: goes by the words, or says yes to all         0 / 0         0 / 100  0 / 100
    blind: tosses coins                                  0 / 17        0 / 36   1 / 78
    sees: 85 % right                                     98 / 0        100 / 0  100 / 0
    sees, yes too often: sensitivity .95, specificity .3 12 / 0        86 / 0   100 / 0
    weak: 60 % right                                     2 / 2         45 / 0   92 / 0
    of no use: 52 % right                                0 / 8         2 / 22   4 / 45
    the wrong way round: 30 % right                      0 / 96        0 / 100  0 / 100
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, log, sqrt
from typing import Any

import numpy as np

from .errors_ecgllm import ECGError
from .intervals import LEVEL, Estimate, holm, patients_needed, share, share_difference
from .patient_sums import Patients, names_of

READS, DOES_NOT_READ, TOO_FEW = "reads", "does not read", "too few records"
MARGIN = 0.05
YES_MARGIN = 0.1


@dataclass(frozen=True)
class YesRatio:
    """share: how often it says yes (POPE's yes-ratio). expected: how often yes is true of these questions.
    biased: "yes" or "no" where the interval of the share lies more than the margin away from that, towards it."""

    share: Estimate
    expected: float
    biased: str | None


@dataclass(frozen=True)
class Reliance:
    """outcome: `READS`, `DOES_NOT_READ` or `TOO_FEW`, by `rule`, a sentence, with the margin.

    true: accuracy with the true ECG. others: by condition. gains: true less each. p_values: that a gain is 0, by Holm
    over all conditions but `against`, which decides. both_right, both_wrong: of pairs; pair_gain: half the difference.
    wrong_way: the gain is certainly below 0. patients_needed: about how many would tell a gain of the margin from
    none; None where there is an outcome.
    """

    outcome: str
    rule: str
    margin: float
    against: str
    true: Estimate
    others: dict[str, Estimate]
    gains: dict[str, Estimate]
    p_values: dict[str, float]
    both_right: Estimate | None
    both_wrong: Estimate | None
    pair_gain: Estimate | None
    yes: YesRatio | None
    wrong_way: bool
    patients_needed: int | None


@dataclass(frozen=True)
class Quadrants:
    """Shares of questions by whether the answer stays the same in other words, and whether it depends on the ECG.

    ideal: consistent, and relies on the ECG. fragile: relies, not consistent. dangerous: consistent without the ECG.
    worst: neither. model: the name of the largest. Source: arXiv 2603.20985.
    """

    ideal: Estimate
    fragile: Estimate
    dangerous: Estimate
    worst: Estimate
    model: str


def reliance(
    true: Sequence[bool] | np.ndarray,
    patients: Patients,
    others: Mapping[str, Sequence[bool] | np.ndarray],
    other_patients: Mapping[str, Patients] | None = None,
    pairs: Sequence[Sequence[bool]] | np.ndarray | None = None,
    pair_patients: Patients | None = None,
    says_yes: Sequence[bool] | np.ndarray | None = None,
    expected_yes: float = 0.5,
    against: str = "random",
    margin: float = MARGIN,
    level: float = LEVEL,
) -> Reliance:
    """Does it read the ECG?

    Args: true: right or wrong with the true ECG, bool [questions]; here and below NaN where there is no answer: it
        is left out, of a gain where one of the two is missing, of pairs where one is. patients: whose ECGs these are.
        others: right or wrong of the same questions with another ECG in its place, judged by the true one, by
        condition; one without an answer that can be held against one with the true ECG is left out.
        other_patients: whose ECGs were shown then, by condition; None, or a condition that is missing: nobody's.
        pairs: bool [pairs, 2], right or wrong of two questions in the same words with the true ECGs, one to be
        answered yes and one no; None: only the first gain decides. pair_patients: whose both are. says_yes: bool
        [questions], with the true ECG; expected_yes: how often yes is true. against: the condition that decides.
        margin: a gain in accuracy that would be of no use.
    Raises: ECGError without `against`, for other numbers of answers, where a gain that decides has no answers, and for
        a margin that is not between 0 and 1.
    """
    if not 0 < margin < 1:
        raise ECGError(f"margin is {margin}; expected a gain in accuracy between 0 and 1.")
    if against not in others:
        raise ECGError(f"there are answers with {sorted(others)}; the rule needs those with {against!r}.")
    gains, shares, narrower = {}, {}, None
    for name, right in others.items():
        seen = _joined(patients, (other_patients or {}).get(name))
        *compared, whose = _answered(true, right, seen)
        if name != against and not len(whose):
            continue
        gains[name] = share_difference(*compared, whose, level)
        shares[name] = share(*_answered(right, seen), level)
        if name == against:
            narrower = share_difference(*compared, whose, 2 * level - 1)
    deciding = [(gains[against], narrower)]
    both_right = both_wrong = None
    if pairs is not None:
        both_right, both_wrong, *pair_gains = _pair_figures(pairs, pair_patients, level)
        deciding.append(tuple(pair_gains))
    outcome = _outcome(deciding, margin)
    further = [name for name in gains if name != against]
    adjusted = holm([gains[name].p_value for name in further])
    return Reliance(
        outcome=outcome,
        rule=rule(against, pairs is not None, margin, level),
        margin=margin,
        against=against,
        true=share(*_answered(true, patients), level),
        others=shares,
        gains=gains,
        p_values={name: float(value) for name, value in zip(further, adjusted, strict=True)},
        both_right=both_right,
        both_wrong=both_wrong,
        pair_gain=deciding[1][0] if pairs is not None else None,
        yes=None if says_yes is None else yes_ratio(says_yes, patients, expected_yes, level=level),
        wrong_way=gains[against].high < 0,
        patients_needed=_needed(deciding, margin) if outcome == TOO_FEW else None,
    )


def rule(against: str, pairs: bool, margin: float, level: float = LEVEL) -> str:
    """The rule in words."""
    wide, narrow, least = f"{100 * level:.0f} %", f"{100 * (2 * level - 1):.0f} %", f"{100 * margin:g} points"
    gain = f"the share of right answers with the true ECG less that with {_SHOWN.get(against, against)}"
    if not pairs:
        return (
            f"It reads the ECG if {gain} has a {wide} interval above 0; it does not if the "
            f"{narrow} interval lies below {least}; otherwise there are too few records."
        )
    return (
        f"Two gains count: {gain}; and, of two ECGs with opposite answers to the same words, half the share of pairs "
        "with both answers right less that with both wrong, 0 for whoever does not look. It reads the ECG if the "
        f"{wide} intervals of both lie above 0; it does not if the {narrow} interval of either lies below {least}; "
        "otherwise there are too few records."
    )


def quadrants(
    consistent: Sequence[bool] | np.ndarray,
    relies: Sequence[bool] | np.ndarray,
    patients: Patients,
    level: float = LEVEL,
) -> Quadrants:
    """Consistency beside reliance: a model that goes by the words alone is consistent, and that is dangerous.

    Args: consistent: whether the answer to a question is the same in all its paraphrases. relies: whether it changes
        when the ECG is taken away.
    """
    same, depends = np.asarray(consistent, dtype=bool), np.asarray(relies, dtype=bool)
    parts = {
        "ideal": same & depends,
        "fragile": ~same & depends,
        "dangerous": same & ~depends,
        "worst": ~same & ~depends,
    }
    found = {name: share(part, patients, level) for name, part in parts.items()}
    # Of two that are as frequent the one that is worse for a patient is the model's.
    order = ("dangerous", "worst", "fragile", "ideal")
    return Quadrants(**found, model=max(order, key=lambda name: found[name].value))


def yes_ratio(
    says_yes: Sequence[float] | np.ndarray,
    patients: Patients,
    expected: float = 0.5,
    margin: float = YES_MARGIN,
    level: float = LEVEL,
) -> YesRatio:
    """How often it says yes, against how often yes is true of these questions. Source: POPE, arXiv 2305.10355.

    Args: says_yes: bool; NaN for an answer that is neither yes nor no, or none: it is left out.
    """
    found = share(*_answered(says_yes, patients), level)
    biased = "yes" if found.low > expected + margin else "no" if found.high < expected - margin else None
    return YesRatio(found, expected, biased)


# ---------------------------------------------------------------------------------------------------------------------
# The rule
# ---------------------------------------------------------------------------------------------------------------------

_SHOWN = {"random": "a random patient's", "opposite": "one with the opposite answer", "none": "no ECG"}


def _joined(one: Patients, other: Patients | None) -> Patients:
    """Whose ECGs a question is about under two conditions."""
    if other is None:
        return one
    if len(one) != len(other):
        raise ECGError(f"the patients of {len(one)} and of {len(other)} answers; expected as many.")
    return [tuple(dict.fromkeys((*names_of(some), *names_of(more)))) for some, more in zip(one, other, strict=True)]


def _answered(*answers_and_patients: Any) -> tuple[Any, ...]:
    """Answers (1, 0, NaN for none) and, last, their patients: of the questions that have an answer in all."""
    *answers, patients = answers_and_patients
    if len({*map(len, answers), len(patients)}) > 1:
        raise ECGError(
            f"{[len(one) for one in answers]} answers and the patients of {len(patients)}; expected as many."
        )
    found = [np.asarray(one, dtype=float) for one in answers]
    rows = np.flatnonzero(~np.isnan(np.sum(found, axis=0)))
    return *(one[rows] for one in found), [patients[row] for row in rows]


def _pair_figures(
    pairs: Sequence[Sequence[bool]] | np.ndarray, patients: Patients | None, level: float
) -> tuple[Estimate, Estimate, Estimate, Estimate]:
    """(Both right, both wrong, half the difference, the same with the narrower interval.)"""
    right = np.asarray(pairs, dtype=float)
    if right.ndim != 2 or right.shape[1] != 2 or patients is None:
        raise ECGError(
            f"pairs has the shape {right.shape}, its patients are {'not ' if patients is None else ''}given; expected "
            "[pairs, 2], right or wrong of both questions of each pair, and whose ECGs they are about."
        )
    one, other, patients = _answered(*right.T, patients)
    both, neither = one * other == 1, one + other == 0
    differences = [_halved(share_difference(both, neither, patients, each)) for each in (level, 2 * level - 1)]
    return share(both, patients, level), share(neither, patients, level), *differences


def _halved(one: Estimate) -> Estimate:
    return replace(one, value=one.value / 2, low=one.low / 2, high=one.high / 2, error=one.error / 2)


def _outcome(gains: Sequence[tuple[Estimate, Estimate]], margin: float) -> str:
    """gains: each with its interval at the level, and with the narrower one. NaN decides nothing."""
    if any(narrower.high < margin for _, narrower in gains):
        return DOES_NOT_READ
    return READS if all(wider.low > 0 for wider, _ in gains) else TOO_FEW


def _needed(gains: Sequence[tuple[Estimate, Estimate]], margin: float) -> int:
    """About how many patients like these tell a gain of the margin from none, with a power of 80 %.

    Never fewer than those of whom none may answer differently if a gain of the margin is to be ruled out, and more
    than there are, for these did not do. Where all answer alike, they vary as if one in two more did not (Laplace).
    """
    least, here = ceil(log(1 - gains[0][0].level) / log(1 - margin)), max(wider.patients for wider, _ in gains)
    found = [least]
    for wider, _ in gains:
        varied = (wider.patients + 1) / (wider.patients + 2) ** 2 / wider.patients
        found.append(patients_needed(wider if wider.error > 0 else replace(wider, error=sqrt(varied)), margin))
    return max(found) if max(found) > here else 2 * here
