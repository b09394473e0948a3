from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.asking import ask, read_predictions, write_predictions
from ecgllm.evaluation.material import Material
from ecgllm.evaluation.predictions import PREDICTIONS, planned
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG
from ecgllm.signals import ECGRecord


class Counting:
    """Counts what it is asked, and can stop in the middle."""

    name = "counting"

    def __init__(self, stops_after: int | None = None):
        self.asked: list[Asked] = []
        self.stops_after = stops_after

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        if self.stops_after is not None and len(self.asked) >= self.stops_after:
            raise KeyboardInterrupt
        self.asked += asked
        return [Answer("Yes, it is", {"Yes": 0.6, "No": 0.2}, refused="noisy" if one.ecgs else None) for one in asked]


def rows_about(material: Material, number: int, section: str = "questions"):
    return planned(
        [
            {
                "section": section,
                "question_id": f"{section}/{row}",
                "question": "Is there atrial fibrillation?",
                "record_ids": [record_id],
                "patients": [material.patient(record_id)],
                "expected": ["yes"],
                "candidates": ["yes", "no"],
            }
            for row, record_id in enumerate(list(material.about)[:number])
        ]
    )


def test_what_several_sections_ask_is_asked_once(material: Material, tmp_path: Path) -> None:
    import pandas as pd

    rows = pd.concat([rows_about(material, 5, "questions"), rows_about(material, 5, "findings")], ignore_index=True)
    model = Counting()
    found = ask(model, rows, material.ecgs, tmp_path, "one")
    assert len(model.asked) == 5
    assert list(found.columns) == PREDICTIONS.names
    assert found["section"].tolist() == rows["section"].tolist()
    assert found["p_yes"].tolist() == pytest.approx([0.75] * 10)
    assert found["right"].tolist() == [True] * 10
    assert found["refused"].tolist() == ["noisy"] * 10


def test_the_same_words_are_asked_with_and_without_the_finding(material: Material, tmp_path: Path) -> None:
    """A dual encoder answers by the finding, which a section that tests the words leaves out."""
    rows = planned(
        row | {"finding": finding}
        for finding in (None, "atrial fibrillation")
        for row in rows_about(material, 5).to_dict("records")
    )
    model = Counting()
    ask(model, rows, material.ecgs, tmp_path, "one")
    assert sorted(one.finding or "" for one in model.asked) == [""] * 5 + ["atrial fibrillation"] * 5


def test_a_killed_run_goes_on_and_another_model_does_not_get_its_answers(material: Material, tmp_path: Path) -> None:
    rows = rows_about(material, 12)
    with pytest.raises(KeyboardInterrupt):
        ask(Counting(stops_after=8), rows, material.ecgs, tmp_path, "one", chunk=4)
    second = Counting()
    found = ask(second, rows, material.ecgs, tmp_path, "one", chunk=4)
    assert len(second.asked) == 4
    assert found["question_id"].tolist() == rows["question_id"].tolist()
    other = Counting()
    ask(other, rows, material.ecgs, tmp_path, "other", chunk=4)
    assert len(other.asked) == 12


def test_too_few_answers_are_an_error(material: Material, tmp_path: Path) -> None:
    class Lazy(Counting):
        def answer(self, asked, ecgs):
            return [Answer("no")]

    with pytest.raises(ECGError, match="gave 1 answers to 3 questions"):
        ask(Lazy(), rows_about(material, 3), material.ecgs, tmp_path, "one")


def test_predictions_come_back_as_they_were_written(material: Material, tmp_path: Path) -> None:
    rows = rows_about(material, 3)
    rows.at[0, "expected"] = None
    found = ask(Counting(), rows, material.ecgs, tmp_path, "one")
    assert found["right"].tolist() == [None, True, True]
    write_predictions(found, tmp_path / "predictions.parquet")
    again = read_predictions(tmp_path / "predictions.parquet")
    assert again["expected"].tolist() == [None, ["yes"], ["yes"]]
    assert again["right"].tolist() == [None, True, True]
    assert again["candidates"].tolist() == [["yes", "no"]] * 3
    assert again["p_yes"].tolist() == found["p_yes"].tolist()
