"""A classifier of words finds what a paraphrase tells on paraphrases it never saw, and nothing where there is
nothing."""

import numpy as np
import pytest

from ecgllm.corpora.debiasing.word_baseline import held_out_credits, transferred_credits, word_credits

FINDINGS = [f"finding{i}" for i in range(40)]


def test_a_word_tells_on_paraphrases_never_seen() -> None:
    train = [(f"Would you diagnose {name}?", "yes") for name in FINDINGS[:20]]
    train += [(f"Is {name} absent?", "no") for name in FINDINGS[:20]]
    texts, answers = zip(*train, strict=True)
    unseen = ([f"Would you diagnose {name} here?" for name in FINDINGS[20:]], ["yes"] * 20)
    assert word_credits((texts, answers, np.ones(40)), unseen).mean() == 1.0


def test_balanced_paraphrases_tell_nothing() -> None:
    texts = [f"Is there {name}?" for name in FINDINGS for _ in range(2)]
    answers = ["yes", "no"] * len(FINDINGS)
    assert held_out_credits(texts, answers, range(len(texts))).mean() == pytest.approx(0.5, abs=0.01)


def test_answers_that_depend_on_nothing_are_guessed_by_chance() -> None:
    found = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        texts = [f"Is there {FINDINGS[i]}?" for i in rng.integers(0, 40, 300)]
        answers = [("yes", "no")[i] for i in rng.integers(0, 2, 300)]
        found.append(held_out_credits(texts, answers, range(300)).mean())
    assert np.mean(found) == pytest.approx(0.5, abs=0.02)


def test_a_balanced_set_stays_balanced_without_one_question() -> None:
    texts = [f"Is there {name}?" for name in FINDINGS for _ in range(26)]
    answers = ["yes", "no"] * (len(texts) // 2)
    records = [f"r{i}" for i in range(len(texts))]
    assert held_out_credits(texts, answers, records).mean() == pytest.approx(0.5, abs=1e-9)
    for gone in (0, 1, 500, 1001):
        left = [[value for i, value in enumerate(values) if i != gone] for values in (texts, answers, records)]
        assert held_out_credits(*left).mean() == pytest.approx(0.5, abs=0.01)


def test_what_a_word_tells_is_found_beside_paraphrases_that_tell_nothing() -> None:
    rng = np.random.default_rng(1)
    texts, answers = [], []
    for i in range(1200):
        told = i % 2 == 0
        texts.append(f"{'Would you diagnose' if told and i % 4 else 'Is there'} {FINDINGS[i % 40]}?")
        lean = 0.5 if not told else 0.9 if i % 4 else 0.1
        answers.append("yes" if rng.random() < lean else "no")
    found = held_out_credits(texts, answers, [f"r{i}" for i in range(1200)])
    assert found.mean() == pytest.approx(0.7, abs=0.03)


def test_another_split_is_guessed_only_by_what_the_first_one_tells() -> None:
    texts = [f"Is there {name}?" for name in FINDINGS for _ in range(20)]
    records = [f"r{i}" for i in range(len(texts))]
    test = (texts, ["yes"] * len(texts))
    for last in ("yes", "no"):  # one question more or less
        balanced = ["yes", "no"] * (len(texts) // 2 - 1) + ["yes", last]
        assert transferred_credits((texts, balanced, records, np.ones(len(texts))), test).mean() == pytest.approx(0.5)
    leaning = ["yes"] * len(texts)
    assert transferred_credits((texts, leaning, records, np.ones(len(texts))), test).mean() == 1.0


def test_weights_count() -> None:
    texts = ["Is there a?"] * 3
    guess = word_credits((texts, ["yes", "no", "no"], np.array([5.0, 1.0, 1.0])), (["Is there a?"], ["yes"]))
    assert guess.tolist() == [1.0]
