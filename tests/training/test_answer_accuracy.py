"""How answers are written, read back and counted."""

from typing import Any

import pytest
from datasets import Dataset

from ecgllm.training import answer_accuracy
from ecgllm.training.data.question_examples import answer_set, answer_text


def test_one_set_of_answers_is_one_text() -> None:
    assert answer_text(["sinus rhythm", "atrial flutter"]) == "atrial flutter, sinus rhythm"
    assert answer_text(["sinus rhythm", "atrial flutter"]) == answer_text(["atrial flutter", "sinus rhythm"])


@pytest.mark.parametrize("found", [["yes"], ["none"], ["b", "a"], ["left axis deviation", "sinus rhythm", "x"]])
def test_what_is_written_is_read_back(found: list[str]) -> None:
    assert answer_set(answer_text(found)) == frozenset(found)


def test_reading_ignores_order_case_blanks_and_empty_parts() -> None:
    assert answer_set(" Sinus Rhythm ,atrial flutter,, ") == {"sinus rhythm", "atrial flutter"}
    assert answer_set("") == frozenset()


def test_exact_match_and_the_commonest_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        # type, expected, given
        ("verify", ["yes"], "Yes"),
        ("verify", ["yes"], "no"),
        ("verify", ["no"], "no"),
        ("query", ["a", "b"], "b, a"),
        ("query", ["a"], "a, b"),  # one too many is wrong
        ("query", ["none"], ""),
        ("verify", ["yes"], "never asked"),
    ]
    columns: dict[str, Any] = {
        "type": [row[0] for row in rows],
        "answers": [row[1] for row in rows],
        "question": [row[2] for row in rows],
        "ecg_ids": [["r"]] * 6 + [["refused"]],
    }
    monkeypatch.setattr(
        answer_accuracy, "generate_answers", lambda model, processor, questions, signals: questions["question"]
    )
    metrics = answer_accuracy.answer_metrics(None, None, Dataset.from_dict(columns), {"r": None})
    assert metrics["verify"] == {"exact_match": 2 / 3, "commonest_answer": 2 / 3, "questions": 3}
    assert metrics["query"] == {"exact_match": 1 / 3, "commonest_answer": 1 / 3, "questions": 3}
    assert metrics["all"] == {"exact_match": 0.5, "commonest_answer": 2 / 6, "questions": 6}
    assert answer_accuracy.answer_metrics(None, None, Dataset.from_dict(columns).select([]), {}) == {}
