"""Calibration, selective accuracy, yes and no at both frequencies: against counts by hand and scikit-learn."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    precision_score,
    recall_score,
    roc_auc_score,
)

from ecgllm.calibration import calibration, natural_weights, selective, yes_no
from ecgllm.errors_ecgllm import ECGError
from ecgllm.intervals import predictive_value, share


def test_bins_by_hand() -> None:
    stated, happened = [0.05, 0.15, 0.95, 0.85, 1.0], [False, True, True, False, True]
    found = calibration(stated, happened, range(5), bins=5)
    assert [(one.low, one.high, one.part, one.happened.value) for one in found.bins] == [
        (0.0, 0.2, 0.4, 0.5),
        (0.8, 1.0, 0.6, pytest.approx(2 / 3)),
    ]
    assert [one.stated for one in found.bins] == pytest.approx([0.1, 2.8 / 3])
    assert found.expected_calibration_error == pytest.approx(0.4 * 0.4 + 0.6 * (2.8 - 2) / 3)
    assert found.brier.value == pytest.approx(np.mean((np.array(stated) - happened) ** 2))
    assert (found.stated, found.happened.value, found.left_out) == (pytest.approx(0.6), 0.6, 0)
    weighed = calibration(stated, happened, range(5), [1, 1, 2, np.nan, 0], bins=5)
    assert weighed.left_out == 1 and [one.part for one in weighed.bins] == [0.5, 0.5]
    assert weighed.expected_calibration_error == pytest.approx(0.5 * 0.4 + 0.5 * 0.05)


def test_bins_and_brier_are_scikit_learn_s() -> None:
    rng = np.random.default_rng(0)
    stated = rng.random(500)
    happened = rng.random(500) < stated**2
    weights = rng.random(500)
    found = calibration(stated, happened, np.arange(500) // 2, weights)
    assert found.brier.value == pytest.approx(brier_score_loss(happened, stated, sample_weight=weights), abs=1e-9)
    plain = calibration(stated, happened, range(500))
    true, mean = calibration_curve(happened, stated, n_bins=10)
    assert [one.happened.value for one in plain.bins] == pytest.approx(true, abs=1e-9)
    assert [one.stated for one in plain.bins] == pytest.approx(mean, abs=1e-9)
    assert plain.expected_calibration_error > 2 * plain.by_chance
    calibrated = [
        calibration(p := rng.random(300), rng.random(300) < p, range(300)).expected_calibration_error
        for _ in range(20)
    ]
    assert np.mean(calibrated) == pytest.approx(
        calibration(p := rng.random(300), rng.random(300) < p, range(300)).by_chance, rel=0.2
    )


def test_what_is_refused_is_never_covered() -> None:
    """Ten questions, two refused; the surest are right, the least sure wrong, three are equally sure."""
    confidence = [0.9, 0.9, 0.8, 0.7, 0.7, 0.7, 0.6, 0.5, 1.0, np.nan]
    right = [1, 1, 1, 1, 0, 1, 0, 0, 1, 1]
    answered = [True] * 8 + [False] * 2
    found = selective(confidence, right, range(10), answered, coverages=(0.9, 0.5, 0.2))
    assert [(one.coverage, one.threshold, one.right.value) for one in found.points] == [
        (pytest.approx(0.8), 0.5, 5 / 8),
        (pytest.approx(0.6), 0.7, pytest.approx(5 / 6)),  # half are asked for; three are equally sure
        (pytest.approx(0.2), 0.9, 1.0),
    ]
    assert found.answered.value == 0.8
    risks = [0, 0, 0, 1 / 3 / 4, 2 / 3 / 5, 1 / 6, 2 / 7, 3 / 8]
    assert found.area == pytest.approx(np.mean(risks))
    assert found.least_area == pytest.approx(np.mean([0, 0, 0, 0, 0, 1 / 6, 2 / 7, 3 / 8]))
    silent = selective(confidence, right, range(10), [False] * 10)
    assert silent.points == () and silent.answered.value == 0 and np.isnan(silent.area)
    with pytest.raises(ECGError, match="1 answers have NaN"):
        selective(confidence, right, range(10))


def test_an_order_that_says_nothing_gains_nothing() -> None:
    rng = np.random.default_rng(1)
    right = rng.random(2000) < 0.7
    found = selective(np.ones(2000), right, range(2000))
    assert found.area == pytest.approx(1 - right.mean()) and len(found.points) == 1
    weights = np.where(right, 2.0, 1.0)
    weighed = selective(rng.random(2000), right, range(2000), weights=weights)
    assert weighed.area == pytest.approx(np.average(~right, weights=weights), abs=0.03)
    assert [round(one.coverage, 2) for one in weighed.points] == [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]


def test_natural_weights_by_hand() -> None:
    true = [True, True, False, False, True, False, False, False, True]
    keys = ["a"] * 4 + ["b"] * 4 + ["only yes"]
    found = natural_weights(true, keys, {"a": 0.1, "b": 0.4, "only yes": 0.5})
    assert found[:8] == pytest.approx([0.2, 0.2, 1.8, 1.8, 1.6, 0.8, 0.8, 0.8])
    assert np.isnan(found[8]) and np.isnan(natural_weights(true, keys, {"a": 0.1})[4:]).all()
    certain = natural_weights(true, keys, {"a": 0.0, "b": 1.0, "only yes": 1.0})
    assert certain == pytest.approx([0, 0, 2, 2, 4, 0, 0, 0, 1])
    with pytest.raises(ECGError, match="the prevalence of 'a' is 30; expected 0 to 1"):
        natural_weights(true, keys, {"a": 30})


def test_an_answer_that_is_neither_is_wrong_and_no_no() -> None:
    found = yes_no([1, np.nan, 0, np.nan, 0, 1], [True, True, False, False, False, False], range(6))
    assert found.accuracy.value == pytest.approx(3 / 6) and found.says_yes.value == 2 / 4
    assert (found.sensitivity.value, found.specificity.value) == (1 / 2, 2 / 4)
    assert (found.ppv.value, found.npv.value) == (1 / 2, 1)


def test_a_yes_that_is_right_three_times_in_four_is_rarely_right_at_natural_frequency() -> None:
    """The same answers, half of them about those who have it, and one in twenty."""
    true = np.repeat([True, False], 100)
    says = np.repeat([True, False, True, False], [75, 25, 25, 75])
    sampled = yes_no(says, true, range(200))
    weights = natural_weights(true, ["fibrillation"] * 200, {"fibrillation": 0.05})
    natural = yes_no(says, true, range(200), weights)
    assert sampled.ppv.value == 0.75 and sampled.ppv.low == predictive_value(says, true, range(200)).low
    assert natural.ppv.value == pytest.approx(0.05 * 0.75 / (0.05 * 0.75 + 0.95 * 0.25))
    assert natural.npv.value == pytest.approx(0.95 * 0.75 / (0.95 * 0.75 + 0.05 * 0.25))
    assert (natural.expected, natural.says_yes.value) == pytest.approx((0.05, 0.05 * 0.75 + 0.95 * 0.25))
    for name in ("sensitivity", "specificity", "balanced_accuracy", "accuracy"):
        assert getattr(natural, name).value == pytest.approx(0.75), name
    assert sampled.sensitivity == share(says[true], range(100))
    plain = asdict(natural)
    assert all(np.isnan(plain[name].pop("p_value")) for name in ("ppv", "npv"))  # of no stated value
    json.dumps(plain, allow_nan=False)


def test_figures_of_yes_and_no_are_scikit_learn_s() -> None:
    rng = np.random.default_rng(2)
    true, keys = rng.random(400) < 0.4, rng.choice(["a", "b", "c", "unknown"], 400)
    scores = rng.random(400) * 0.6 + 0.3 * true
    says = scores > 0.5
    weights = natural_weights(true, keys, {"a": 0.1, "b": 0.3, "c": 0.45})
    kept = ~np.isnan(weights)
    found = yes_no(says, true, np.arange(400) // 2, weights, scores, keys)
    assert found.left_out == (keys == "unknown").sum()
    arguments = {"y_true": true[kept], "sample_weight": weights[kept]}
    for name, value in {
        "accuracy": accuracy_score(y_pred=says[kept], **arguments),
        "balanced_accuracy": balanced_accuracy_score(y_pred=says[kept], **arguments),
        "sensitivity": recall_score(y_pred=says[kept], **arguments),
        "specificity": recall_score(y_pred=says[kept], pos_label=0, **arguments),
        "ppv": precision_score(y_pred=says[kept], **arguments),
        "npv": precision_score(y_pred=says[kept], pos_label=0, **arguments),
        "average_precision": average_precision_score(y_score=scores[kept], **arguments),
    }.items():
        assert getattr(found, name).value == pytest.approx(value, abs=1e-9), name
    one_question = yes_no(says, true, range(400), scores=scores)
    assert one_question.auroc.value == pytest.approx(roc_auc_score(true, scores), abs=1e-9)
    assert one_question.left_out == 0 and found.auroc.value != one_question.auroc.value


def test_where_nothing_decides_it_there_is_no_figure() -> None:
    found = yes_no([True, True], [False, False], [("a", "b"), ("c", "d")], scores=[0.9, 0.8])
    for name in ("sensitivity", "balanced_accuracy", "ppv", "npv", "auroc", "average_precision"):
        assert np.isnan(getattr(found, name).value), name
    assert found.specificity.value == 0 and found.says_yes.value == 1
    with pytest.raises(ECGError, match="2 answers, 1 expected, 2 patients; expected as many of each"):
        yes_no([True, True], [False], "ab")
    with pytest.raises(ECGError, match="none of 2 questions has a weight"):
        yes_no([True, True], [False, True], "ab", [np.nan, np.nan])
    with pytest.raises(ECGError, match="outside 0 to 1"):
        calibration([1.2], [True], "a")
