"""A classifier of words finds what a wording tells on wordings it never saw, and nothing where there is nothing."""

import numpy as np
import pytest

from ecgllm.corpora.word_guesser import held_out_credits, is_even, word_credits

FINDINGS = [f"finding{i}" for i in range(40)]


def test_a_word_tells_on_wordings_never_seen() -> None:
    train = [(f"Would you diagnose {name}?", "yes") for name in FINDINGS[:20]]
    train += [(f"Is {name} absent?", "no") for name in FINDINGS[:20]]
    texts, answers = zip(*train, strict=True)
    unseen = ([f"Would you diagnose {name} here?" for name in FINDINGS[20:]], ["yes"] * 20)
    assert word_credits((texts, answers, np.ones(40)), unseen).mean() == 1.0


def test_balanced_wordings_tell_nothing() -> None:
    texts = [f"Is there {name}?" for name in FINDINGS for _ in range(2)]
    answers = ["yes", "no"] * len(FINDINGS)
    assert is_even(texts, answers, np.ones(len(texts)))
    assert held_out_credits(texts, answers, range(len(texts))).mean() == pytest.approx(0.5, abs=0.01)


def test_answers_that_depend_on_nothing_are_guessed_by_chance() -> None:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        texts = [f"Is there {FINDINGS[i]}?" for i in rng.integers(0, 40, 300)]
        answers = [("yes", "no")[i] for i in rng.integers(0, 2, 300)]
        assert not is_even(texts, answers, np.ones(300))
        found.append(held_out_credits(texts, answers, range(300)).mean())
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_weights_count() -> None:
    texts = ["Is there a?"] * 3
    assert is_even(texts, ["yes", "no", "no"], np.array([2.0, 1.0, 1.0]))
    assert not is_even(texts, ["yes", "no", "no"], np.ones(3))
    guess = word_credits((texts, ["yes", "no", "no"], np.array([5.0, 1.0, 1.0])), (["Is there a?"], ["yes"]))
    assert guess.tolist() == [1.0]
