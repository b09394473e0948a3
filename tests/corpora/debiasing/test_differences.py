"""Standardised differences are taken attribute by attribute."""

import numpy as np
import pytest

from ecgllm.corpora.debiasing.differences import differences_of


def test_opposite_differences_do_not_cancel() -> None:
    rng = np.random.default_rng(0)
    yes = rng.random(4000) < 0.5
    names = ["x" if i % 2 else "y" for i in range(4000)]
    shift = np.where(np.array(names) == "x", 1.0, -1.0) * yes
    found = differences_of((rng.normal(size=4000) + shift).tolist(), yes.tolist(), names, np.ones(4000))
    assert abs(found.pooled) < 0.1 and found.mean == pytest.approx(1.0, abs=0.1)
    assert abs(found.largest) == pytest.approx(1.0, abs=0.12) and found.attributes == 2


def test_without_a_difference_the_mean_is_what_chance_makes() -> None:
    rng = np.random.default_rng(1)
    names = [f"f{i % 100}" for i in range(6000)]
    yes = rng.random(6000) < 0.5
    found = differences_of(rng.normal(size=6000).tolist(), yes.tolist(), names, np.ones(6000))
    assert found.mean == pytest.approx(found.chance, rel=0.15) and found.attributes == 100


def test_kinds_weights_and_what_is_unknown() -> None:
    values = ["male"] * 30 + ["female"] * 10 + [None] * 5 + ["male"] * 20 + ["female"] * 20
    yes = [True] * 45 + [False] * 40
    found = differences_of(values, yes, ["x"] * 85, np.ones(85))
    spread = np.sqrt((0.75 * 0.25 + 0.5 * 0.5) / 2)  # Austin 2009
    assert abs(found.pooled) == pytest.approx(0.25 / spread)
    weights = np.array([1 / 3] * 30 + [1.0] * 55)
    assert abs(differences_of(values, yes, ["x"] * 85, weights).pooled) < 1e-9
    assert differences_of([1, None], [True, False], ["x", "x"], np.ones(2)) is None
    few = differences_of([1, 2, 3, 4], [True, True, False, False], ["x"] * 4, np.ones(4))
    assert few.mean is None and "cannot tell" in str(few)


def test_nothing_is_infinite() -> None:
    found = differences_of([3] * 20 + [0] * 20, [True] * 20 + [False] * 20, ["x"] * 40, np.ones(40))
    assert found.pooled == found.largest == 2.0
