"""Exact match as ECG-QA publishes it: answers are sets."""

import csv
from pathlib import Path

import pytest

from ecgllm.corpora import answers_in_text, exact_match, set_match


@pytest.mark.parametrize(
    ("prediction", "reference", "right"),
    [
        (["p duration", "QT interval"], ["qt interval", "P duration"], True),
        (["qt interval"], ["qt interval", "p duration"], False),
        (["qt interval", "p duration", "rr interval"], ["qt interval", "p duration"], False),
        ("Yes ", ["yes"], True),
        ([], ["none"], True),
        ([], ["no"], False),
        (["lead I"], ["lead II"], False),
        # one answer with commas in it stays one answer
        ("a (b, c, or d)", ["A (b,  c, or d)"], True),
    ],
)
def test_answers_are_sets(prediction, reference, right):
    assert set_match(prediction, reference) is right


def test_exact_match_by_type():
    found = exact_match(
        ["yes", "no", ["b", "a"], ["a"]],
        [["yes"], ["yes"], ["a", "b"], ["a", "b"]],
        ["verify", "verify", "query", "query"],
    )
    assert found["exact_match"] == 0.5 and found["questions"] == 4
    uneven = exact_match(["yes", "yes", "yes", "b"], [["yes"], ["yes"], ["no"], ["b"]], ["v", "v", "v", "q"])
    assert (uneven["exact_match"], uneven["macro_exact_match"]) == (3 / 4, pytest.approx((2 / 3 + 1) / 2))
    assert found["by_type"] == {
        "query": {"exact_match": 0.5, "questions": 2},
        "verify": {"exact_match": 0.5, "questions": 2},
    }
    assert exact_match(["yes"], [["yes"]]) == {"exact_match": 1.0, "questions": 1, "by_type": {}}
    with pytest.raises(ValueError, match="2 predictions, 1 references"):
        exact_match(["a", "b"], [["a"]])
    with pytest.raises(ValueError, match="no question"):
        exact_match([], [])


def test_options_in_a_text():
    options = ["no", "not sure", "yes", "lead I", "lead II", "st depression", "non-specific st depression", "none"]
    assert answers_in_text("Not sure.", options) == ["not sure"]
    assert answers_in_text("lead II, Lead I", options) == ["lead i", "lead ii"]
    assert answers_in_text("Non-specific ST depression", options) == ["non-specific st depression"]
    assert answers_in_text("nothing to see", options) == ["none"]


def test_each_of_the_published_answers_is_found_in_its_own_text(shared_data: Path) -> None:
    """The 103 closed answers of the PTB-XL version, given alone, and in a list as that code asks for."""
    with (shared_data / "ecg-qa" / "ptbxl" / "answers.csv").open(newline="", encoding="utf-8") as file:
        options = [row["class"] for row in csv.DictReader(file) if row["class"] != "none"]
    assert len(options) == 103
    for option in options:
        assert set_match(answers_in_text(option.upper(), options), option), option
    some = options[::10]
    assert set_match(answers_in_text(", ".join(some), options), some)
