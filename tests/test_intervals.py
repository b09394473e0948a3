"""Intervals over patients: against counts by hand, scikit-learn, and by how often they hold the true value."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import expit, logit
from scipy.stats import binomtest, norm, t
from sklearn.metrics import average_precision_score, balanced_accuracy_score, precision_score, roc_auc_score

from ecgllm.errors_ecgllm import ECGError
from ecgllm.intervals import (
    auroc,
    auroc_difference,
    average_precision,
    holm,
    macro_auroc,
    macro_share,
    patients_needed,
    predictive_value,
    share,
    share_difference,
)


def test_a_share_of_independent_patients_has_the_logit_s_interval() -> None:
    right = np.array([1, 1, 1, 0, 1, 0, 1, 1], dtype=bool)
    found = share(right, [f"p{number}" for number in range(8)])
    error = np.sqrt(right.var(ddof=1) / 8)
    distance = t.ppf(0.975, 7) * error / (0.75 * 0.25)
    assert found.value == 0.75 and found.error == pytest.approx(error)
    assert (found.low, found.high) == pytest.approx(tuple(expit(logit(0.75) + np.array([-distance, distance]))))
    assert found.patients == found.number == 8


def test_answers_about_one_patient_count_as_one() -> None:
    """The same answers again and again say nothing new."""
    right, patients = [True, False, True, True, False, True], list("abcdef")
    once, often = share(right, patients), share(right * 50, patients * 50)
    assert (once.low, once.high) == pytest.approx((often.low, often.high))
    assert often.number == 300 and often.patients == 6
    apart = share(right * 50, [f"{name}{number}" for number in range(50) for name in patients])
    assert apart.high - apart.low < (once.high - once.low) / 5


def test_questions_about_two_patients_depend_on_all_that_share_one() -> None:
    """Against the sum over all pairs of questions, written out."""
    rng = np.random.default_rng(0)
    patients = [tuple(rng.choice(9, size=2, replace=False).tolist()) for _ in range(40)]
    right = np.array([min(pair) > 2 or rng.random() < 0.2 for pair in patients])  # some patients are hard
    residual = right - right.mean()
    total = sum(
        residual[one] * residual[two]
        for one, two in itertools.product(range(40), repeat=2)
        if set(patients[one]) & set(patients[two])
    )
    assert total > 0
    assert share(right, patients).error == pytest.approx(np.sqrt(total * 9 / 8) / 40)
    apart = share(right, [(f"{number} a", f"{number} b") for number in range(40)])
    assert apart.error < 0.8 * share(right, patients).error
    one_each = [(name,) for name, _ in patients]
    assert share(right, one_each) == share(right, [name for (name,) in one_each])


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_all_right_or_all_wrong_is_not_certain(value: float) -> None:
    found = share([value] * 30, [number // 3 for number in range(30)])
    limit = 0.025 ** (1 / 10)  # ten patients
    assert (found.low, found.high) == pytest.approx((limit, 1.0) if value else (0.0, 1 - limit))
    assert found.p_value == pytest.approx(2 / 2**10)


def test_an_auroc_is_scikit_learn_s_and_its_error_is_delong_s() -> None:
    rng = np.random.default_rng(1)
    positive = np.repeat([True, False], [30, 50])
    scores = np.round(rng.normal(size=80) + positive, 1)  # with ties
    found = auroc(scores, positive, range(80))
    assert found.value == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    compared = (scores[positive][:, None] > scores[~positive]) + (scores[positive][:, None] == scores[~positive]) / 2
    variance = compared.mean(axis=1).var(ddof=1) / 30 + compared.mean(axis=0).var(ddof=1) / 50
    assert found.error == pytest.approx(np.sqrt(variance), rel=0.02)  # with the covariance of patients, which is small
    assert found.patients == 30 and found.number == 80
    again = auroc(np.tile(scores, 4), np.tile(positive, 4), np.tile(np.arange(80), 4))
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=2e-3)


def test_where_there_is_nothing_to_say_nothing_is_said() -> None:
    assert np.isnan(auroc([0.1, 0.2], [True, True], "ab").value)
    alone = auroc([0.9, 0.4, 0.5, 0.1], [True, False, False, False], "abcd")
    assert alone.value == 1.0 and alone.low == pytest.approx(0.025)  # one patient
    uncertain = auroc([0.45, 0.4, 0.5, 0.1], [True, False, False, False], "abcd")
    assert np.isnan(uncertain.low) and np.isnan(uncertain.p_value)
    for arguments, words in (
        (([], []), "no question was answered"),
        (([True], ["a", "b"]), "1 answers and the patients of 2"),
        (([True], [()]), "about no patient"),
    ):
        with pytest.raises(ECGError, match=words):
            share(*arguments)
    with pytest.raises(ECGError, match="1 scores are NaN"):
        auroc([np.nan, 1.0], [True, False], "ab")


def test_a_paired_difference_is_surer_than_two_shares() -> None:
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(60), 5)
    right = rng.random(300) < 0.7
    worse = right & (rng.random(300) < 0.9)
    found = share_difference(right, worse, patients)
    assert found.value == pytest.approx(right.mean() - worse.mean())
    assert found.low > 0 and found.p_value < 0.03
    assert share(right, patients).low < share(worse, patients).high  # side by side they say nothing
    same = share_difference(right, right, patients)
    limit = 1 - 0.025 ** (1 / 60)  # sixty patients of whom none differs
    assert (same.value, same.p_value) == (0, 1) and (same.low, same.high) == pytest.approx((-limit, limit))


def test_a_difference_that_goes_both_ways_is_no_surer_for_that() -> None:
    """With many that differ the interval is about Student's; the two ways cannot both be many, so they are tied."""
    rng = np.random.default_rng(11)
    right, other = rng.random(400) < 0.6, rng.random(400) < 0.5
    found = share_difference(right, other, range(400))
    assert found.high - found.low == pytest.approx(2 * t.ppf(0.975, 399) * found.error, rel=0.03)


def test_pairs_of_patients_count_as_often_as_they_have_nobody_in_common() -> None:
    apart = share(np.ones(15), [(2 * pair, 2 * pair + 1) for pair in range(15)])
    assert apart.low == pytest.approx(0.025 ** (1 / 15)) and apart.patients == 30
    one_for_all = share(np.ones(15), [(0, pair + 1) for pair in range(15)])
    assert one_for_all.low == pytest.approx(0.025)


def test_a_difference_of_aurocs_is_paired() -> None:
    rng = np.random.default_rng(3)
    positive = rng.random(200) < 0.4
    scores = rng.normal(size=200) + positive
    near = scores + 0.3 * rng.normal(size=200)
    patients = np.arange(200) // 2
    found = auroc_difference(scores, near, positive, patients)
    assert found.value == pytest.approx(roc_auc_score(positive, scores) - roc_auc_score(positive, near))
    assert 0 < found.error < auroc(scores, positive, patients).error / 2
    assert auroc_difference(scores, scores, positive, patients).error == 0


def test_a_mean_over_labels_counts_what_they_share() -> None:
    rng = np.random.default_rng(6)
    targets = (rng.random((120, 4)) < 0.3).astype(int)
    targets[rng.random((120, 4)) < 0.2] = -1
    scores = rng.normal(size=(120, 4)) + targets
    patients = np.arange(120) // 2
    mean, each = macro_auroc(scores, targets, patients)
    for column, one in enumerate(each):
        known = targets[:, column] >= 0
        assert one == auroc(scores[known, column], targets[known, column] == 1, patients[known])
    assert mean.value == pytest.approx(np.mean([one.value for one in each]))
    # Four labels apart are surer than one; one label four times is as sure as once.
    assert 0.3 < mean.error / np.mean([one.error for one in each]) < 0.7
    again, _ = macro_auroc(np.repeat(scores[:, :1], 4, axis=1), np.repeat(targets[:, :1], 4, axis=1), patients)
    assert again.error == pytest.approx(each[0].error)
    targets[:, 3] = np.arange(120) == 0  # one patient has it, who says nothing of others: the mean is less sure
    alone, each = macro_auroc(scores, targets, patients)
    assert np.isnan(each[3].error) and mean.error < alone.error < 0.5 / 4 + mean.error
    with pytest.raises(ECGError, match="label 1 is the same in all 120"):
        macro_auroc(scores, np.where(np.arange(4) == 1, 1, abs(targets)), patients)


def test_weights_make_a_sample_speak_for_a_population() -> None:
    """Half of the questions are answered yes; in the population one in ten."""
    right = np.r_[np.repeat([True, False], [40, 10]), np.repeat([True, False], [25, 25])]
    weights = np.repeat([0.1 / 0.5, 0.9 / 0.5], 50)
    found = share(right, range(100), weights=weights)
    assert found.value == pytest.approx(0.1 * 0.8 + 0.9 * 0.5) and found.patients == 100
    counted = weights / weights.sum()
    assert found.error == pytest.approx(np.sqrt(((counted * (right - found.value)) ** 2).sum() * 100 / 99))
    # As sure as 50 patients and a bit, not 100: those who answer yes weigh next to nothing.
    degrees = (weights**2).sum() ** 2 / (weights**4).sum() - 1
    distance = t.ppf(0.975, degrees) * found.error / (found.value * (1 - found.value))
    assert 50 < degrees < 52 and found.low == pytest.approx(expit(logit(found.value) - distance))
    alike, plain = share(right, range(100), weights=np.full(100, 0.3)), share(right, range(100))
    assert (alike.value, alike.low, alike.high) == pytest.approx((plain.value, plain.low, plain.high))
    left_out = share(right, range(100), weights=np.repeat([0.0, 1.0], 50))
    assert left_out == share(right[50:], range(50, 100))
    twice = share_difference(right, ~right, range(100), weights=weights)
    assert twice.value == pytest.approx(2 * found.value - 1) and twice.error == pytest.approx(2 * found.error)
    for bad, words in (
        (np.full(100, -1.0), "100 weights are negative or unknown"),
        (np.r_[np.nan, np.ones(99)], "1 weights are negative or unknown"),
        (np.ones(3), "100 answers and 3 weights"),
        (np.zeros(100), "all 100 questions weigh nothing"),
    ):
        with pytest.raises(ECGError, match=words):
            share(right, range(100), weights=bad)


def test_a_mean_over_kinds_is_the_balanced_accuracy() -> None:
    rng = np.random.default_rng(7)
    true = rng.random(200) < 0.15
    right = rng.random(200) < np.where(true, 0.9, 0.6)
    patients = np.arange(200) // 2
    mean, each = macro_share(right, true, patients)
    assert mean.value == pytest.approx(balanced_accuracy_score(true, true == right), abs=1e-12)
    assert each[True] == share(right[true], patients[true]) and each[False].number == (~true).sum()
    apart, shares = macro_share(right, true, range(200))
    assert apart.error == pytest.approx(np.hypot(*(one.error for one in shares.values())) / 2)
    always_yes, _ = macro_share(true, true, range(200))
    assert always_yes.value == 0.5 and 0 < always_yes.low < 0.5 < always_yes.high < 1
    perfect, _ = macro_share(np.ones(200), true, range(200))
    assert perfect.high == 1 and perfect.low < 0.95
    alone, _ = macro_share([True, False, True], ["verify", "verify", "query"], "abc")
    assert alone.value == 0.75 and np.isnan(alone.low)
    with pytest.raises(ECGError, match="2 answers and the kinds of 1"):
        macro_share([True, False], ["verify"], "ab")


def test_a_predictive_value_is_that_of_the_case_control_formula() -> None:
    """40 of 50 with the finding are called, and 5 of 50 without; one in fifty has it."""
    true, called = np.repeat([True, False], 50), np.repeat([True, False, True, False], [40, 10, 5, 45])
    weights = np.repeat([0.02 / 0.5, 0.98 / 0.5], 50)
    found = predictive_value(called, true, range(100), weights=weights)
    assert found.value == pytest.approx(0.02 * 0.8 / (0.02 * 0.8 + 0.98 * 0.1))
    variance_of_logit = 0.2 / (50 * 0.8) + 0.9 / (50 * 0.1)
    slope = found.value * (1 - found.value)
    assert found.error == pytest.approx(slope * np.sqrt(variance_of_logit * 50 / 49))
    assert predictive_value(called, true, range(100)).value == pytest.approx(precision_score(true, called))
    negative = predictive_value(~called, ~true, range(100), weights=weights)
    assert negative.value == pytest.approx(0.98 * 0.9 / (0.98 * 0.9 + 0.02 * 0.2))
    none_wrong = predictive_value(called & true, true, range(100), weights=weights)
    rate = 1 - 0.025 ** (1 / 50)  # so many of those without it may be called all the same
    least = share(called[:50], range(50)).low
    least = np.sqrt(least * (2 * 0.8 - least))  # Donner and Zou's limit of a ratio, the other share being 0
    assert none_wrong.value == 1 and none_wrong.high == 1
    assert none_wrong.low == pytest.approx(0.02 * least / (0.02 * least + 0.98 * rate))
    none_right = predictive_value(called & ~true, true, range(100))
    least = share(called[50:], range(50)).low
    least = np.sqrt(least * (2 * 0.1 - least))
    assert (none_right.value, none_right.low) == (0, 0) and none_right.high == pytest.approx(rate / (rate + least))
    assert np.isnan(predictive_value(np.zeros(100), true, range(100)).value)
    assert np.isnan(predictive_value(called, np.ones(100), range(100)).value)


def test_a_predictive_value_of_a_handful_is_not_certain() -> None:
    """Two patients say what is right of whom; a hundred others are as sure as anybody."""
    rare = np.array([0.02 / 2] * 2 + [0.98 / 200] * 200)
    true, called = np.arange(202) < 2, np.arange(202) % 2 == 0
    found = predictive_value(called & ~true, true, range(202), weights=rare)
    assert found.value == 0 and found.high > 0.02  # of .02 one half are called
    half = predictive_value(called, true, range(202), weights=rare)
    assert half.value == pytest.approx(0.02) and half.high - half.low > 0.01
    alone = predictive_value(called, np.arange(202) < 1, range(202))
    assert alone.low < alone.value / 20  # the one patient who has it, and is called, might be one of forty
    apart = predictive_value(called[:20], true[:20], range(20))
    alike = predictive_value(called[:20], true[:20], [0, 1, *range(18)])  # the same patients have it and do not
    assert apart.value == alike.value and (apart.low, apart.high) != (alike.low, alike.high)


def test_limits_of_a_predictive_value_lie_on_either_side() -> None:
    """Of a few patients with questions of unlike weight, too."""
    own = predictive_value([0, 1, 0, 1, 1, 0], [1, 0, 0, 0, 1, 1], "abebbf", weights=[10, 10, 10, 1, 10, 10])
    assert own.low <= own.value <= own.high
    rng = np.random.default_rng(8)
    for _ in range(300):
        number = int(rng.integers(4, 12))
        called, true = rng.random(number) < 0.5, rng.random(number) < 0.5
        weights = rng.choice([1.0, 10.0], number)
        found = predictive_value(called, true, rng.integers(0, 6, number).tolist(), weights=weights)
        assert np.isnan(found.low) == np.isnan(found.high)
        assert np.isnan(found.low) or found.low <= found.value + 1e-9 and found.value <= found.high + 1e-9


def test_p_values_and_intervals_of_a_difference_agree() -> None:
    """A difference of which 95 % says that it may be none has a p-value of 5 % and more."""
    rng = np.random.default_rng(3)
    for patients, gained, lost in itertools.product((8, 30, 200), (0.0, 0.05, 0.2, 0.5), (0.0, 0.03, 0.2)):
        drawn = rng.random(2 * patients)
        right, other = drawn < gained, (drawn >= gained) & (drawn < gained + lost)
        found = share_difference(right, other, np.arange(2 * patients) // 2)
        assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)
        if found.value:
            at_p = share_difference(right, other, np.arange(2 * patients) // 2, level=1 - found.p_value)
            nearest = at_p.low if found.value > 0 else at_p.high
            assert found.p_value in (1.0, pytest.approx(1e-12)) or abs(nearest) < 1e-6


def test_average_precision_is_scikit_learn_s() -> None:
    rng = np.random.default_rng(8)
    positive = rng.random(300) < 0.2
    scores = np.round(rng.normal(size=300) + positive, 1)  # with ties
    patients = np.arange(300) // 2
    found = average_precision(scores, positive, patients)
    assert found.value == pytest.approx(average_precision_score(positive, scores), abs=1e-12)
    assert found.against == positive.mean() and found.p_value < 0.001 and found.low < found.value < found.high
    weights = np.where(positive, 1.0, 0.5)
    weighed = average_precision(scores, positive, patients, weights=weights)
    assert weighed.value == pytest.approx(average_precision_score(positive, scores, sample_weight=weights), abs=1e-12)
    rare = average_precision(scores, positive, patients, weights=np.where(positive, 0.01, 1.0))
    assert 0 < rare.low < rare.value < rare.high < 0.2 and np.isnan(rare.error)
    assert np.isnan(average_precision(scores, positive, [(one, one + 1) for one in patients.tolist()],
                                      weights=np.where(positive, 0.01, 1.0)).low)  # fmt: skip
    again = average_precision(np.tile(scores, 3), np.tile(positive, 3), np.tile(patients, 3))
    assert (again.low, again.high) == pytest.approx((found.low, found.high), abs=1e-9)
    assert average_precision([0.9, 0.1, 0.2], [True, False, False], "abc").value == 1
    assert np.isnan(average_precision([0.1, 0.2], [True, True], "ab").value)


def test_the_error_of_an_average_precision_is_the_jackknife_s() -> None:
    rng = np.random.default_rng(9)
    positive = np.repeat([True, False], [30, 60])
    scores = rng.normal(size=90) + positive
    found = average_precision(scores, positive, range(90))
    total = 0.0
    for label in (positive, ~positive):
        rows = np.flatnonzero(label)
        left = [average_precision_score(np.delete(positive, row), np.delete(scores, row)) for row in rows]
        total += np.var(left) * (len(rows) - 1)
    # Leaving one out also makes its label a bit rarer, which the linearisation takes as given: nearly the same.
    assert found.error == pytest.approx(np.sqrt(total), rel=0.08)


def test_within_groups_only_their_own_pairs_count() -> None:
    rng = np.random.default_rng(10)
    groups, positive = rng.choice(list("abc"), 120), rng.random(120) < 0.4
    scores = np.round(rng.normal(size=120) + positive + (groups == "b") * 3, 1)
    found = auroc(scores, positive, np.arange(120) // 2, groups=groups)
    yes, no = np.flatnonzero(positive), np.flatnonzero(~positive)
    pairs = [(one, two) for one, two in itertools.product(yes, no) if groups[one] == groups[two]]
    won = sum((scores[one] > scores[two]) + 0.5 * (scores[one] == scores[two]) for one, two in pairs)
    assert found.value == pytest.approx(won / len(pairs), abs=1e-12)
    assert auroc(scores, positive, range(120), groups=["one"] * 120) == auroc(scores, positive, range(120))
    # A source that shows it always has no pair, and adds nothing.
    more = auroc(np.r_[scores, 9.0], np.r_[positive, True], range(121), groups=[*groups, "d"])
    assert more.value == pytest.approx(found.value) and more.patients == positive.sum()
    assert np.isnan(auroc([0.1, 0.2], [True, False], "ab", groups="cd").value)
    targets = positive[:, None].astype(int)
    mean, _ = macro_auroc(scores[:, None], targets, np.arange(120) // 2, groups=groups)
    assert (mean.value, mean.error) == pytest.approx((found.value, found.error))
    with pytest.raises(ECGError, match="2 scores and the groups of 1"):
        auroc([0.1, 0.2], [True, False], "ab", groups=["c"])


def test_questions_of_two_patients_depend_on_all_that_share_one() -> None:
    """The variance is that of what each question adds, over all pairs of questions that have a patient in common."""
    rng = np.random.default_rng(11)
    whose = [tuple(rng.choice(40, rng.integers(1, 3), replace=False).tolist()) for _ in range(60)]
    own, positive = rng.normal(size=40), np.array([names[0] < 16 for names in whose])  # both are the patients'
    scores = np.round([own[list(names)].sum() + 0.3 * rng.normal() for names in whose] + 2.0 * positive, 1)
    found = auroc(scores, positive, whose)
    won = (scores[positive][:, None] > scores[~positive]) + 0.5 * (scores[positive][:, None] == scores[~positive])
    added = np.empty(60)
    added[positive], added[~positive] = (won.mean(axis=1) - won.mean()), (won.mean(axis=0) - won.mean())
    for label in (positive, ~positive):
        apart, taken = 0, set()
        for names in dict.fromkeys(frozenset(whose[row]) for row in range(60)):
            if taken.isdisjoint(names) and names in {frozenset(whose[row]) for row in np.flatnonzero(label)}:
                taken |= names
                apart += 1
        added[label] *= np.sqrt(apart / (apart - 1)) / label.sum()
    total = sum(
        added[one] * added[two] for one in range(60) for two in range(60) if not {*whose[one]}.isdisjoint(whose[two])
    )
    assert found.value == pytest.approx(roc_auc_score(positive, scores))
    assert found.error == pytest.approx(np.sqrt(total))
    assert found.error > 1.1 * auroc(scores, positive, list(map(frozenset, whose))).error  # sets as if independent
    assert found.patients == len({name for row in np.flatnonzero(positive) for name in whose[row]})
    mean, [same] = macro_auroc(scores[:, None], positive[:, None].astype(int), whose)
    assert (mean.error, same) == (pytest.approx(found.error), found)
    # One patient is in every positive question: nothing says how they vary.
    alone = auroc([3, 1, 2, 0], [True, True, False, False], [("a", "b"), ("a", "c"), "d", "e"])
    assert alone.value == 0.75 and np.isnan(alone.low)


def test_holm_steps_down() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0] and len(holm([])) == 0


def test_so_many_patients_would_do() -> None:
    found = share(np.repeat([True, False], [70, 30]), range(100))
    needed = patients_needed(found, 0.05)
    assert needed == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) ** 2 * 0.21 / 0.05**2, rel=0.02)
    with pytest.raises(ECGError, match="margin is 0"):
        patients_needed(found, 0)


# ---------------------------------------------------------------------------------------------------------------------
# Coverage: how often an interval holds the true value, in simulation
# ---------------------------------------------------------------------------------------------------------------------


def _covered_share(true: float, patients: int, repetitions: int, rng: np.random.Generator) -> float:
    """One to six questions a patient; patients differ (beta, correlation .2 within one)."""
    held = 0
    for _ in range(repetitions):
        count = rng.integers(1, 7, patients)
        own = np.repeat(np.arange(patients), count)
        right = rng.random(len(own)) < rng.beta(true * 4, (1 - true) * 4, patients)[own]
        found = share(right, own)
        held += found.low <= true <= found.high
    return held / repetitions


def _covered_difference(gained: float, lost: float, patients: int, repetitions: int, rng: Any) -> float:
    """One to three questions a patient; which of both is right depends on the patient."""
    held = 0
    for _ in range(repetitions):
        own = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        rates = rng.dirichlet(np.array([gained, lost, 1 - gained - lost]) * 4 + 1e-9, patients).cumsum(axis=1)[own]
        drawn = rng.random(len(own))
        found = share_difference(drawn < rates[:, 0], (drawn >= rates[:, 0]) & (drawn < rates[:, 1]), own)
        held += found.low <= gained - lost <= found.high
    return held / repetitions


def _covered_auroc(true: float, patients: int, positive: int, repetitions: int, rng: np.random.Generator) -> float:
    """One to three records a patient, normal scores, correlation .5 within a patient."""
    held, distance = 0, norm.ppf(true) * np.sqrt(2)
    for _ in range(repetitions):
        own = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        label = (own[:, None] == rng.choice(patients, positive, replace=False)).any(axis=1)
        scores = (rng.normal(size=patients)[own] + rng.normal(size=len(own))) / np.sqrt(2) + distance * label
        found = auroc(scores, label, own)
        held += found.low <= true <= found.high
    return held / repetitions


def _covered_auroc_of_two(
    patients: int, questions: int, by_patient: bool, repetitions: int, rng: np.random.Generator
) -> float:
    """Every question is about two patients drawn from all, each of whom has 40 % of its score; its label is a coin's,
    or one of the first patient's own. AUROC .8."""
    held, distance = 0, norm.ppf(0.8) * np.sqrt(2)
    for _ in range(repetitions):
        first = rng.integers(patients, size=patients * questions // 2)
        second = (first + rng.integers(1, patients, len(first))) % patients
        coins = rng.random(patients)[first] if by_patient else rng.random(len(first))
        label, own = coins < 0.4, rng.normal(size=patients)
        noise = np.sqrt(0.4) * (own[first] + own[second]) + np.sqrt(0.2) * rng.normal(size=len(first))
        found = auroc(noise + distance * label, label, list(zip(first.tolist(), second.tolist(), strict=True)))
        held += found.low <= 0.8 <= found.high
    return held / repetitions


def _covered_mean(true: float, patients: int, positive: Sequence[int], repetitions: int, rng: Any) -> float:
    """One to three records a patient, a label for each number of positive patients, all shown by the same scores."""
    held, distance = 0, norm.ppf(true) * np.sqrt(2)
    for _ in range(repetitions):
        own = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        chosen = [rng.choice(patients, count, replace=False) for count in positive]
        targets = np.stack([(own[:, None] == some).any(axis=1) for some in chosen], axis=1).astype(int)
        noise = rng.normal(size=(patients, 1))[own] + rng.normal(size=(len(own), len(positive)))
        found, _ = macro_auroc(noise / np.sqrt(2) + distance * targets, targets, own)
        held += found.low <= true <= found.high
    return held / repetitions


def _covered_at_natural_frequency(sizes: tuple[int, int], prevalence: float, repetitions: int, rng: Any) -> Any:
    """(Accuracy, PPV, NPV, balanced accuracy) of a balanced sample; one to three questions a patient, correlated."""
    sensitivity, specificity, held = 0.9, 0.85, np.zeros(4)
    positive = prevalence * sensitivity + (1 - prevalence) * (1 - specificity)
    true_values = (
        prevalence * sensitivity + (1 - prevalence) * specificity,
        prevalence * sensitivity / positive,
        (1 - prevalence) * specificity / (1 - positive),
        (sensitivity + specificity) / 2,
    )
    for _ in range(repetitions):
        own = np.repeat(np.arange(sum(sizes)), rng.integers(1, 4, sum(sizes)))
        true = own < sizes[0]
        rate = np.repeat([sensitivity, specificity], sizes)
        right = rng.random(len(own)) < rng.beta(rate * 4, (1 - rate) * 4)[own]
        weights, called = np.where(true, prevalence / true.mean(), (1 - prevalence) / (~true).mean()), right == true
        found = (
            share(right, own, weights=weights),
            predictive_value(called, true, own, weights=weights),
            predictive_value(~called, ~true, own, weights=weights),
            macro_share(right, true, own)[0],
        )
        held += [one.low <= value <= one.high for one, value in zip(found, true_values, strict=True)]
    return held / repetitions


def _covered_average_precision(auc: float, patients: int, positive: int, repetitions: int, rng: Any) -> float:
    distance, grid = norm.ppf(auc) * np.sqrt(2), np.linspace(-8, 12, 20001)
    called = positive * norm.sf(grid - distance)
    precision = called / (called + (patients - positive) * norm.sf(grid))
    true, held = np.trapezoid(norm.pdf(grid - distance) * precision, grid), 0
    for _ in range(repetitions):
        own = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        label = (own[:, None] == rng.choice(patients, positive, replace=False)).any(axis=1)
        scores = (rng.normal(size=patients)[own] + rng.normal(size=len(own))) / np.sqrt(2) + distance * label
        found = average_precision(scores, label, own)
        held += found.low <= true <= found.high
    return held / repetitions


def _precision_at(distance: float, prevalence: float) -> float:
    """True average precision of normal scores at a natural frequency."""
    grid = np.linspace(-8, 14, 22001)
    called = prevalence * norm.sf(grid - distance)
    return float(np.trapezoid(norm.pdf(grid - distance) * called / (called + (1 - prevalence) * norm.sf(grid)), grid))


def _covered_rare_precision(
    true: float, patients: int, positive: int, prevalence: float, repetitions: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    """(How often held, mean value, mean limits); one to three records a patient, correlation .5 within a patient."""
    distance, found = brentq(lambda one: _precision_at(one, prevalence) - true, 0.01, 8.0), []
    for _ in range(repetitions):
        own = np.repeat(np.arange(patients), rng.integers(1, 4, patients))
        label = (own[:, None] == rng.choice(patients, positive, replace=False)).any(axis=1)
        scores = (rng.normal(size=patients)[own] + rng.normal(size=len(own))) / np.sqrt(2) + distance * label
        weights = np.where(label, prevalence / label.mean(), (1 - prevalence) / (~label).mean())
        one = average_precision(scores, label, own, weights=weights)
        found.append((one.low <= true <= one.high, one.value, one.low, one.high))
    return tuple(np.mean(found, axis=0).round(3).tolist())


@pytest.mark.slow
def test_average_precision_of_what_is_rare_has_limits_that_are_wide_enough() -> None:
    rng = np.random.default_rng(13)
    for patients, true, prevalence in itertools.product((100, 300), (0.3, 0.8), (0.01, 0.05)):
        found = _covered_rare_precision(true, patients, 30, prevalence, 200, rng)
        print(f"average precision {true} at {prevalence:.0%}, 30 of {patients}: held, value, limits {found}")
        assert found[0] >= 0.93


@pytest.mark.slow
def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    """93 to 97 % with 100 patients, 30 of them positive; printed what it is with fewer, and nearer 1."""
    rng, repetitions = np.random.default_rng(4), 2000
    for true in (0.7, 0.9):
        found = {patients: _covered_share(true, patients, repetitions, rng) for patients in (100, 10)}
        print(f"share {true}: {found[100]:.3f} with 100 patients, {found[10]:.3f} with 10")
        assert 0.93 <= found[100] <= 0.97
    for rates in ((0.4, 0.1), (0.25, 0.25), (0.06, 0.01), (0.02, 0.02), (0.1, 0.0)):
        found = {patients: _covered_difference(*rates, patients, repetitions, rng) for patients in (100, 30)}
        print(f"difference {rates}: {found[100]:.3f} with 100 patients, {found[30]:.3f} with 30")
        assert found[100] >= 0.93 and found[30] >= 0.93  # more where few differ
    for true in (0.8, 0.95):
        found = {
            sizes: _covered_auroc(true, *sizes, repetitions, rng)
            for sizes in ((100, 30), (300, 30), (30, 10), (100, 5))
        }
        print(f"AUROC {true}: " + ", ".join(f"{held:.3f} with {yes} of {all_}" for (all_, yes), held in found.items()))
        assert 0.93 <= found[100, 30] <= 0.97
        mean = _covered_mean(true, 100, (5, 10, 20, 30, 40), repetitions, rng)
        print(f"mean AUROC {true} of five labels with 5 to 40 of 100 patients: {mean:.3f}")
        assert 0.93 <= mean <= 0.97


@pytest.mark.slow
def test_an_auroc_of_questions_about_two_patients_holds_as_often() -> None:
    rng = np.random.default_rng(6)
    for patients, questions in ((100, 2), (100, 4), (100, 10), (40, 4)):
        found = [_covered_auroc_of_two(patients, questions, by, 1000, rng) for by in (False, True)]
        print(f"AUROC .8, {patients} patients in {questions} questions of two: label a coin's, the first's: {found}")
        assert min(found) > 0.92


@pytest.mark.slow
def test_intervals_at_natural_frequency_and_of_average_precision_hold_as_often() -> None:
    rng, repetitions = np.random.default_rng(12), 2000
    for sizes, prevalence in (((50, 50), 0.1), ((50, 50), 0.02), ((150, 150), 0.05), ((15, 15), 0.1)):
        found = _covered_at_natural_frequency(sizes, prevalence, repetitions, rng)
        print(f"{sizes} patients, yes in {prevalence}: accuracy, PPV, NPV, balanced accuracy: {found}")
        assert found.min() > (0.93 if sizes[0] > 15 else 0.9) and found.max() < 0.995
    for sizes in ((100, 30), (300, 30), (300, 150), (300, 10)):
        found = {auc: _covered_average_precision(auc, *sizes, repetitions, rng) for auc in (0.8, 0.95)}
        print(f"average precision, {sizes[1]} of {sizes[0]} patients positive, by AUROC: {found}")
        assert min(found.values()) > (0.92 if sizes[1] > 10 else 0.9)


def test_coverage_is_about_right() -> None:
    """The slow test's, with few repetitions: it can tell 95 % from 80 %."""
    rng = np.random.default_rng(5)
    assert _covered_share(0.9, 100, 150, rng) > 0.88
    assert _covered_difference(0.1, 0.03, 60, 60, rng) > 0.83
    assert _covered_auroc(0.8, 100, 30, 150, rng) > 0.88
    assert _covered_auroc_of_two(100, 10, True, 100, rng) > 0.85  # .73 if each pair were a patient of its own
    assert _covered_at_natural_frequency((50, 50), 0.05, 60, rng).min() > 0.83
    assert _covered_average_precision(0.8, 100, 30, 60, rng) > 0.83
    assert _covered_rare_precision(0.55, 100, 30, 0.02, 30, rng)[0] > 0.86  # .63 to .83 by linearisation


@pytest.mark.parametrize("each", [[True, True, False], [True, False]])
def test_the_same_of_every_patient_is_not_certain(each: list[bool]) -> None:
    """Its variance is 0, or what rounding leaves of it."""
    for number in (2, 5, 40):
        patients = [str(one) for one in range(number) for _ in each]
        found = share(each * number, patients)
        binomial = binomtest(round(found.value * 60), 60).proportion_ci(method="exact")
        assert found.low < found.value < found.high and found.p_value > 1e-3
        if number == 40:
            assert found.high - found.low > binomial.high - binomial.low
        gain = share_difference(each * number, [False] * len(patients), patients)
        assert gain.low < gain.value < gain.high and 2 * 0.5**number * 0.9 < gain.p_value < 1
        every = share_difference([True] * number, [False] * number, range(number))
        assert every.p_value == pytest.approx(max(2 * 0.5**number, 1e-12))  # the sign test's
    exact = share([True, False] * 10, [str(row // 2) for row in range(20)])
    assert (exact.low, exact.high) == pytest.approx(tuple(binomtest(5, 10).proportion_ci(method="exact")))
    assert exact.p_value == pytest.approx(1.0)
