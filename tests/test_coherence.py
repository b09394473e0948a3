"""Probabilities that cannot all be right become the nearest ones that can."""

from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize

from ecgllm.coherence import coherent
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.contradictions import without_contradictions


def test_worked_by_hand() -> None:
    assert coherent({"lah": 0.65, "laa": 0.41}, [("lah", "laa")], []) == pytest.approx({"lah": 0.53, "laa": 0.53})
    assert coherent({"normal": 0.78, "mi": 0.66}, [], [("normal", "mi")]) == pytest.approx(
        {"normal": 0.56, "mi": 0.44}
    )
    # One beside two that exclude it: x + y = x + z = 1, and 3 x = .9 + 2 * (1 - .8) by the least squares.
    found = coherent({"x": 0.9, "y": 0.8, "z": 0.8}, [], [("x", "y"), ("x", "z")])
    assert found == pytest.approx({"x": 1.3 / 3, "y": 1 - 1.3 / 3, "z": 1 - 1.3 / 3})


def test_what_is_coherent_stays_to_the_last_digit() -> None:
    given = {"b": 0.3, "a": 0.1 + 0.2 - 0.1, "c": 0.7}
    found = coherent(given, [("a", "b"), ("a", "unknown")], [("b", "c"), ("unknown", "c")])
    assert found == given and list(found) == ["b", "a", "c"]
    assert coherent({}, [("a", "b")], []) == {} and coherent({"a": 1.0}, [], []) == {"a": 1.0}


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_nearest_and_no_worse_whatever_is_true(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"f{number}" for number in range(7)]
    pairs = [tuple(rng.choice(names, 2, replace=False)) for _ in range(8)]
    implied, exclusive = pairs[:4], pairs[4:]
    given = dict(zip(names, rng.random(7).tolist(), strict=True))
    found = coherent(given, implied, exclusive)
    value, column = np.array(list(found.values())), names.index
    limits = [{"type": "ineq", "fun": lambda q, a=a, b=b: q[column(b)] - q[column(a)]} for a, b in implied]
    limits += [{"type": "ineq", "fun": lambda q, a=a, b=b: 1 - q[column(a)] - q[column(b)]} for a, b in exclusive]
    assert all(limit["fun"](value) >= -1e-9 for limit in limits)
    start = np.array(list(given.values()))
    best = minimize(lambda q: ((q - start) ** 2).sum(), start, constraints=limits, bounds=[(0, 1)] * 7, tol=1e-12)
    assert value == pytest.approx(best.x, abs=1e-5)
    for truth in product((0, 1), repeat=7):
        if all(limit["fun"](np.array(truth)) >= 0 for limit in limits):
            assert ((value - truth) ** 2).sum() <= ((start - truth) ** 2).sum() + 1e-9


@pytest.mark.parametrize("wrong", [-0.1, 1.2, float("nan")])
def test_what_is_no_probability_is_refused(wrong: float) -> None:
    with pytest.raises(ECGError, match=r"a .*; expected probabilities from 0 to 1"):
        coherent({"a": wrong, "b": 0.5}, [], [])


def test_findings_imply_what_is_broader_by_more_than_one_step() -> None:
    given = {"mobitz type i av block": 0.8, "av block": 0.2, "normal ecg": 0.9, "atrial flutter": 0.05}
    found = without_contradictions(given)
    assert found["mobitz type i av block"] <= found["av block"] + 1e-9
    assert found["normal ecg"] + found["av block"] <= 1 + 1e-9 and found["atrial flutter"] == pytest.approx(0.05)
