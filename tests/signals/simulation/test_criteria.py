"""Diagnostic criteria: published limits by default, others from record to record, the signals left as they are."""

import numpy as np
import pytest

from ecgllm.signals.simulation import criteria as simulation_criteria
from ecgllm.signals.simulation import simulate as simulation
from ecgllm.signals.simulation import simulate_ecgs, simulate_follow_ups
from ecgllm.signals.simulation.criteria import draw_limits
from ecgllm.signals.simulation.heart import draw_hearts, labels_of
from ecgllm.signals.simulation.plan import draw_plan

LEFT = "left axis deviation"


@pytest.fixture(scope="module")
def read() -> tuple[list, list]:
    return simulate_ecgs(2048, 5), simulate_ecgs(2048, 5, reader_spread=1.0)


def test_criteria_change_findings_and_nothing_else(read):
    published, others = read
    for one, other in zip(published, others, strict=True):
        np.testing.assert_array_equal(one.signal, other.signal)
        assert one.measurements == other.measurements
    differing = np.mean([one.findings != other.findings for one, other in zip(*read, strict=True)])
    assert 0.05 < differing < 0.6


def test_criteria_agree_on_what_is_far_from_every_limit_and_not_on_what_lies_between(read):
    published, others = read
    axis = np.array([record.measurements["axis"] for record in published])
    by_one, by_many = (np.array([LEFT in record.findings for record in records]) for records in read)
    np.testing.assert_array_equal(by_one, (axis < -30) & (axis >= -90))
    assert by_many[(axis < -45) & (axis >= -90)].all() and not by_many[axis > 30].any()
    low, high = axis < -30, (axis > -20) & (axis < 20)
    assert by_many[high].mean() > 0.1 and by_many[low & (axis > -40)].mean() < 1.0
    assert by_many[(axis > -30) & (axis < -20)].mean() > by_many[(axis > 5) & (axis < 25)].mean()


def test_some_criteria_call_ninety_beats_a_minute_fast(read):
    published, others = read
    rate = np.array([record.measurements["heart_rate"] for record in published])
    between = (rate > 91) & (rate < 99)
    fast, fast_for_some = (np.array(["sinus tachycardia" in one.findings for one in records]) for records in read)
    assert between.sum() > 20 and not fast[between].any() and fast_for_some[between].any()


def test_no_criteria_call_a_block_normal():
    """What is too narrow for a block by some criteria is something lesser, not nothing."""
    for name in ("complete right bundle branch block", "complete left bundle branch block"):
        hearts, plans = [], []
        for seed in range(4):
            plan = draw_plan(np.random.default_rng(seed), 256, frozenset({name}), None)
            body, visit = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
            hearts.append(draw_hearts(body, visit, plan, 10.0))
            plans.append(draw_limits(np.random.default_rng([seed, 2]), 256, 1.0))
        labels = [labels_of(heart, 10.0, limits) for heart, limits in zip(hearts, plans, strict=True)]
        called = np.concatenate([own.holds[name] for own in labels])
        normal = np.concatenate([own.holds["normal ecg"] for own in labels])
        assert 0.9 < called.mean() < 1.0  # some are read as lesser ones
        assert not normal.any()


def test_both_visits_have_the_same_criteria(monkeypatch):
    """And the criteria of one pair are not those of the next."""
    handed = []

    def watched(hearts, duration, limits):
        handed.append(limits)
        return labels_of(hearts, duration, limits)

    monkeypatch.setattr(simulation, "labels_of", watched)
    simulate_follow_ups(3, 3, reader_spread=1.0)
    assert handed and len(handed) % 2 == 0
    for first, second in zip(handed[::2], handed[1::2], strict=True):
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
    assert len(np.unique(handed[0]["pr"])) > 100


def test_limits_lie_between_the_lowest_and_the_highest():
    limits = simulation_criteria.draw_limits(np.random.default_rng(0), 2000, 1.0)
    half = simulation_criteria.draw_limits(np.random.default_rng(0), 2000, 0.5)
    for name, (low, published, high) in simulation_criteria._LIMITS.items():
        assert low <= published <= high
        assert low <= limits[name].min() and limits[name].max() <= high
        np.testing.assert_allclose(half[name] - published, (limits[name] - published) / 2, atol=1e-9)
        assert (simulation_criteria.draw_limits(np.random.default_rng(0), 3, 0.0)[name] == published).all()


@pytest.mark.parametrize("spread", [-0.1, 1.5, float("nan")])
def test_a_spread_that_is_none_is_refused(spread):
    with pytest.raises(ValueError, match="reader_spread is"):
        simulate_ecgs(1, 0, reader_spread=spread)
