"""Intervals over patients: against counts by hand, scikit-learn, and by how often they hold the true value."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm, t
from sklearn.metrics import roc_auc_score

from ecgllm.errors_ecgllm import ECGError
from ecgllm.intervals import auroc, auroc_difference, holm, macro_auroc, patients_needed, share, share_difference


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
    assert found.low > 0 and found.p_value < 0.01
    assert share(right, patients).low < share(worse, patients).high  # side by side they say nothing
    same = share_difference(right, right, patients)
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)


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
    with pytest.raises(ECGError, match="label 1 is the same in all 120"):
        macro_auroc(scores, np.where(np.arange(4) == 1, 1, abs(targets)), patients)


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


@pytest.mark.slow
def test_intervals_hold_the_true_value_as_often_as_they_say() -> None:
    """93 to 97 % with 100 patients, 30 of them positive; printed what it is with fewer, and nearer 1."""
    rng, repetitions = np.random.default_rng(4), 2000
    for true in (0.7, 0.9):
        found = {patients: _covered_share(true, patients, repetitions, rng) for patients in (100, 10)}
        print(f"share {true}: {found[100]:.3f} with 100 patients, {found[10]:.3f} with 10")
        assert 0.93 <= found[100] <= 0.97
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


def test_coverage_is_about_right() -> None:
    """The slow test's, with few repetitions: it can tell 95 % from 80 %."""
    rng = np.random.default_rng(5)
    assert _covered_share(0.9, 100, 150, rng) > 0.88
    assert _covered_auroc(0.8, 100, 30, 150, rng) > 0.88
