"""What is kept, or weighted, makes answers independent of paraphrases and of strata, and nothing larger does."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgllm.corpora.debiasing.matching import balancing_weights, most_balanced

CELLS = [(paraphrase, stratum, answer) for paraphrase in "ab" for stratum in (0, 1) for answer in ("yes", "no")]
COUNTS = st.lists(st.integers(0, 6), min_size=len(CELLS), max_size=len(CELLS)).map(
    lambda found: dict(zip(CELLS, found, strict=True))
)


def excess(kept: dict, part: int) -> dict:
    """Yes less no in every paraphrase (part 0) or stratum (part 1)."""
    found: Counter = Counter()
    for cell, mass in kept.items():
        found[cell[part]] += mass if cell[2] == "yes" else -mass
    return found


@given(COUNTS)
def test_a_selection_is_balanced_in_paraphrases_and_strata(counts) -> None:
    kept = most_balanced(counts)
    assert all(0 < kept[cell] <= counts[cell] for cell in kept)
    assert not any(excess(kept, 0).values()) and not any(excess(kept, 1).values())


def test_no_balanced_selection_is_larger() -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        counts = dict(zip(CELLS, rng.integers(0, 3, len(CELLS)).tolist(), strict=True))
        largest = 0
        for chosen in product(*(range(counts[cell] + 1) for cell in CELLS)):
            kept = dict(zip(CELLS, chosen, strict=True))
            if not any(excess(kept, 0).values()) and not any(excess(kept, 1).values()):
                largest = max(largest, sum(chosen))
        assert sum(most_balanced(counts).values()) == largest


def test_with_one_stratum_the_lesser_side_decides() -> None:
    counts = {("a", 0, "yes"): 5, ("a", 0, "no"): 2, ("b", 0, "yes"): 3}
    assert most_balanced(counts) == {("a", 0, "yes"): 2, ("a", 0, "no"): 2}
    assert most_balanced({}) == {} == balancing_weights({})


@given(COUNTS)
def test_weights_balance_every_paraphrase_and_have_mean_one(counts) -> None:
    weights = balancing_weights(counts)
    if not weights:
        return
    mass = {cell: weight * counts[cell] for cell, weight in weights.items()}
    assert min(weights.values()) > 0
    assert sum(mass.values()) == pytest.approx(sum(counts[cell] for cell in weights))
    assert all(abs(one) < 1e-3 for one in excess(mass, 0).values())


def test_weights_without_paraphrases_are_inverse_propensity_weights() -> None:
    # of stratum 0 a quarter answers yes, of stratum 1 three quarters
    counts = {("a", 0, "yes"): 10, ("a", 0, "no"): 30, ("a", 1, "yes"): 30, ("a", 1, "no"): 10}
    weights = balancing_weights(counts)
    assert weights["a", 0, "yes"] == pytest.approx(0.5 / 0.25)
    assert weights["a", 0, "no"] == pytest.approx(0.5 / 0.75)
    mass = {cell: weight * counts[cell] for cell, weight in weights.items()}
    assert all(abs(one) < 1e-3 for one in excess(mass, 1).values())


def test_what_has_one_answer_gets_no_weight() -> None:
    counts = {("a", 0, "yes"): 4, ("a", 0, "no"): 4, ("a", 1, "yes"): 9, ("b", 0, "no"): 3}
    assert set(balancing_weights(counts)) == {("a", 0, "yes"), ("a", 0, "no")}


def test_no_weight_comes_to_nothing() -> None:
    # The paraphrases' margins and the strata's cannot all be met: raked together, one cell shrinks to 2e-274.
    counts = {("a", 0, "yes"): 30, ("a", 1, "no"): 30, ("a", 1, "yes"): 4, ("b", 0, "no"): 20, ("b", 0, "yes"): 3}
    counts |= {("b", 1, "yes"): 2, ("b", 1, "no"): 1}
    weights = balancing_weights(counts)
    assert set(weights) == set(counts) - {("b", 1, "no")} and min(weights.values()) > 0.5
    mass = {cell: weight * counts[cell] for cell, weight in weights.items()}
    assert all(abs(one) < 1e-3 for one in excess(mass, 0).values())
