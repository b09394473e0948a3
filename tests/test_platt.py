"""Two numbers a finding make P(yes) a probability: against what was simulated, and against scikit-learn."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from ecgllm.calibration import calibration
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.baselines.folds import held_out
from ecgllm.platt import cross_fitted, fit


def answers(rng, findings=20, records=300):
    """P(yes) of a model that is too sure and says yes too often; what is true; which finding."""
    names = np.repeat([f"f{number}" for number in range(findings)], records)
    frequency = np.repeat(rng.uniform(0.02, 0.3, findings), records)
    true = rng.random(len(names)) < frequency
    odds = rng.normal(np.where(true, 1.5, -1.5), 1.7)
    return expit(2.5 * odds + 1.0), true, names


def test_many_records_give_the_regression_s_numbers() -> None:
    p_yes, true, names = answers(np.random.default_rng(0), 2, 20_000)
    own = fit(p_yes, true, names)
    for name in ("f0", "f1"):
        rows = names == name
        plain = LogisticRegression(C=1e6).fit(logit(p_yes[rows])[:, None], true[rows])
        assert own[name].slope == pytest.approx(plain.coef_[0, 0], abs=0.02)
        assert own[name].intercept == pytest.approx(plain.intercept_[0], abs=0.05)
        assert own[name].frequency == pytest.approx(true[rows].mean(), abs=1e-3)


def test_probabilities_hold_for_patients_that_were_not_fitted() -> None:
    rng = np.random.default_rng(1)
    p_yes, true, names = answers(rng)
    patients = [[str(row % 300)] for row in range(len(names))]
    found = cross_fitted(p_yes, true, names, held_out(patients))
    whose = [one[0] for one in patients]
    raw, own = calibration(p_yes, true, whose), calibration(found, true, whose)
    assert raw.expected_calibration_error > 0.15 and own.expected_calibration_error < 0.02
    assert own.brier.value < raw.brier.value - 0.05


def test_a_handful_of_positives_moves_little_from_the_common_numbers() -> None:
    p_yes, true, names = answers(np.random.default_rng(2))
    common = np.median([one.slope for one in fit(p_yes, true, names).values()])
    few = np.arange(40)  # of another finding, three positives with the lowest P(yes) of all: backwards
    upside = np.where(few < 3, 1e-4, 0.5)
    own = fit(np.r_[p_yes, upside], np.r_[true, few < 3], np.r_[names, np.repeat("rare", 40)])["rare"]
    assert 0 <= own.slope <= common and own.frequency == pytest.approx(3.5 / 41)
    lucky = fit(np.r_[p_yes, 1 - upside], np.r_[true, few < 3], np.r_[names, np.repeat("rare", 40)])["rare"]
    assert abs(lucky.slope - common) < 0.6  # they are told apart by any threshold, which is no certainty
    alone = fit([0.51] * 5 + [0.49] * 5, [True] * 5 + [False] * 5, ["a"] * 10)["a"]
    assert alone.slope < 4 and 0.4 < alone.probability(np.array([0.51]))[0] < 0.7


def test_ways_to_ask_about_one_record_count_as_one() -> None:
    p_yes, true, names = answers(np.random.default_rng(3), 3, 60)
    once = fit(p_yes, true, names)
    thrice = fit(np.tile(p_yes, 3), np.tile(true, 3), np.tile(names, 3), np.full(3 * len(names), 1 / 3))
    for name, one in once.items():
        assert (thrice[name].slope, thrice[name].intercept) == pytest.approx((one.slope, one.intercept), abs=1e-3)


def test_what_cannot_be_fitted_is_refused() -> None:
    for given in (
        ([], [], []),
        ([0.5, np.nan], [1, 0], ["a"] * 2),
        ([0.5, 2.0], [1, 0], ["a"] * 2),
        ([0.5], [1], ["a"], [-1]),
    ):
        with pytest.raises(ECGError, match="no probability to calibrate"):
            fit(*given)
    with pytest.raises(ECGError, match="expected as many"):
        fit([0.5], [1, 0], ["a", "a"])
