from __future__ import annotations

import pytest

from ecgllm.evaluation.reading_answers import read_answer

YES_NO = ("yes", "no")
FINDINGS = ("sinus rhythm", "atrial fibrillation", "st depression", "non-specific st depression", "none")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("yes", ["yes"]),
        ("No.", ["no"]),
        ("**Yes**, there is atrial fibrillation.", ["yes"]),
        ("no, not at all", ["no"]),
        ("No evidence of atrial fibrillation.", ["no"]),
        ("The answer is yes.", ["yes"]),
        ("yes and no", None),
        ("Yes, there is no P wave.", ["yes"]),
        ("It could be yes or no.", None),
        ("I cannot tell.", None),
        ("", None),
        (None, None),
    ],
)
def test_yes_and_no(text: str | None, answer: list[str] | None) -> None:
    assert read_answer(text, YES_NO) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("sinus rhythm", ["sinus rhythm"]),
        ("St depression, sinus rhythm.", ["sinus rhythm", "st depression"]),
        ("none", ["none"]),
        ("There is non-specific ST depression in sinus rhythm", ["non-specific st depression", "sinus rhythm"]),
        ("A lovely ECG", None),
    ],
)
def test_findings(text: str, answer: list[str] | None) -> None:
    assert read_answer(text, FINDINGS) == answer
