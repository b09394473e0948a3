"""The laws of question-only accuracy: what is guessable reads so, what is not reads as chance, and no one question
decides."""

import numpy as np
import pytest

from ecgllm.corpora.debiasing.question_only_baseline import baseline_accuracy, baseline_credits, transfer_credits


def balanced(paraphrases: int, pairs: int) -> list[tuple[tuple, str, str]]:
    """(key, answer, record): in every paraphrase as many yes as no."""
    return [
        (("template", f"finding {w // 4}", f"paraphrase {w}"), answer, f"r{w}-{i}-{answer}")
        for w in range(paraphrases)
        for i in range(pairs)
        for answer in ("yes", "no")
    ]


def leaning(share: float, paraphrases: int, size: int, seed: int) -> list[tuple[tuple, str, str]]:
    """Each paraphrase is answered yes, or no, with a probability: the best guess is right in that share of
    questions."""
    rng = np.random.default_rng(seed)
    likely = rng.choice([share, 1 - share], paraphrases)
    return [
        (("template", f"finding {w}", f"paraphrase {w}"), ("no", "yes")[int(rng.random() < likely[w])], f"r{w}-{i}")
        for w in range(paraphrases)
        for i in range(size)
    ]


def accuracy(rows: list[tuple[tuple, str, str]]):
    return baseline_accuracy(*zip(*rows, strict=True))


@pytest.mark.parametrize(("paraphrases", "pairs"), [(500, 1), (231, 13), (30, 100), (1, 500)])
def test_a_balanced_set_reads_50_and_no_question_turns_it_over(paraphrases: int, pairs: int) -> None:
    rows = balanced(paraphrases, pairs)
    assert accuracy(rows).value == pytest.approx(0.5, abs=0.001)
    rng = np.random.default_rng(0)
    for gone in rng.integers(0, len(rows), 6):
        assert accuracy([*rows[:gone], *rows[gone + 1 :]]).value == pytest.approx(0.5, abs=0.002)


@pytest.mark.parametrize("share", [0.5, 0.52, 0.55, 0.6, 0.8])
@pytest.mark.parametrize("size", [1000, 250, 100, 20, 5])
def test_no_question_moves_the_figure_by_a_point(share: float, size: int) -> None:
    keys, answers, records = zip(*leaning(share, 1000 // size, size, seed=size), strict=True)
    whole, rng = baseline_credits(keys, answers, records).mean(), np.random.default_rng(1)
    for gone in rng.integers(0, len(keys), 5):
        left = [[value for i, value in enumerate(values) if i != gone] for values in (keys, answers, records)]
        assert abs(baseline_credits(*left).mean() - whole) < 0.01


@pytest.mark.parametrize("by_cell", [True, False])
def test_halves_of_a_balanced_set_read_50(by_cell: bool) -> None:
    rows, found = balanced(80, 13), []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        if by_cell:  # half of every paraphrase's yes and half of its no
            order = rng.permutation(len(rows))
            half, seen = [], {}
            for i in order:
                cell = rows[i][0], rows[i][1]
                seen[cell] = seen.get(cell, 0) + 1
                half += [rows[i]] if seen[cell] % 2 else []
        else:
            half = [rows[i] for i in rng.permutation(len(rows))[: len(rows) // 2]]
        found.append(accuracy(half).value)
    assert np.mean(found) == pytest.approx(0.5, abs=0.01)
    assert max(abs(one - 0.5) for one in found) < 0.03


@pytest.mark.parametrize(
    ("share", "paraphrases", "size"), [(0.8, 5, 200), (0.8, 300, 20), (0.8, 1, 2000), (0.6, 30, 200)]
)
def test_what_is_guessable_reads_so(share: float, paraphrases: int, size: int) -> None:
    found = [accuracy(leaning(share, paraphrases, size, seed)) for seed in range(10)]
    assert np.mean([one.value for one in found]) == pytest.approx(share, abs=0.01)
    # With so many questions a set itself is within that of its share; the interval knows how far.
    assert sum(abs(one.value - share) < 0.02 for one in found) >= 8
    assert sum(one.holds(share) for one in found) >= 8


def test_exactly_guessable_sets_read_exactly_so() -> None:
    for share, paraphrases, size in ((0.8, 5, 200), (0.6, 5, 200), (0.8, 50, 20)):
        rows = [
            (("template", f"finding {w}", f"paraphrase {w}"), ("yes", "no")[(i < share * size) ^ (w % 2)], f"r{w}-{i}")
            for w in range(paraphrases)
            for i in range(size)
        ]
        assert accuracy(rows).value == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_cells_too_small_to_tell_say_so(size: int) -> None:
    for share in (0.8, 0.6):
        found = [accuracy(leaning(share, 3000 // size, size, seed)) for seed in range(3)]
        assert all(one.value is None and "cannot tell" in str(one) for one in found)
        assert sum(one.holds(share) for one in found) >= 2
    if size == 2:  # what is known is said: two answers to one paraphrase are alike in 68 % where 80 % are guessable
        assert all(0.62 < one.low < 0.70 for one in [accuracy(leaning(0.8, 1500, 2, seed)) for seed in range(3)])


def test_a_few_questions_are_no_evidence_of_balance() -> None:
    assert accuracy(balanced(1, 5)).value is None


def test_intervals_hold_the_true_value_where_patients_answer_alike() -> None:
    """Ten questions about one patient have one answer; coverage over 20 sets, nominally 95 %."""
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        rows = []
        for patient in range(200):
            answer = "yes" if rng.random() < 0.7 else "no"
            rows += [(("template", "finding", f"paraphrase {i}"), answer, f"p{patient}") for i in range(10)]
        held += accuracy(rows).holds(0.7)
    assert held >= 17


def test_one_biased_attribute_among_balanced_ones_is_not_hidden() -> None:
    rows = balanced(40, 25) + leaning(0.9, 10, 50, seed=3)  # 2,000 and 500 questions
    assert accuracy(rows).value == pytest.approx((2000 * 0.5 + 500 * 0.9) / 2500, abs=0.02)


def test_options_of_a_choice_are_known_from_its_paraphrase() -> None:
    rng = np.random.default_rng(0)
    rows = []
    for w in range(20):
        for i in range(300):
            answer = f"option {2 * w + int(rng.random() < 0.5)}"
            rows.append((("choose", "", f"{2 * w} or {2 * w + 1}?"), answer, f"r{w}-{i}"))
    assert accuracy(rows).value == pytest.approx(0.5, abs=0.02)
    told = [(key, f"option {2 * int(key[2].split()[0])}", record) for key, _, record in rows]
    assert accuracy(told).value == pytest.approx(1.0, abs=0.01)


def test_another_split_is_not_turned_over_by_one_question() -> None:
    rows = balanced(1, 500)
    keys, answers, records = zip(*rows, strict=True)
    test = (list(keys), ["yes"] * len(keys))
    for left in (slice(None), slice(1, None), slice(0, -1)):
        train = (keys[left], answers[left], records[left], np.ones(len(keys[left])))
        assert transfer_credits(train, test).mean() == pytest.approx(0.5, abs=0.01)
    sure = (keys, ["yes"] * len(keys), records, np.ones(len(keys)))
    assert transfer_credits(sure, test).mean() == 1.0


def test_weights_count() -> None:
    rows = leaning(0.5, 4, 250, seed=0)
    weights = np.array([3.0 if answer == "yes" else 1.0 for _, answer, _ in rows])
    assert baseline_accuracy(*zip(*rows, strict=True), weights).value == pytest.approx(0.75, abs=0.03)
