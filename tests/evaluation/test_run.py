from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.asking import read_predictions
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.run import Options, evaluate_to_folder
from ecgllm.evaluation.seen import Seen, without_seen
from tests.evaluation.conftest import Blind, Seeing

FINDINGS = Options(sections=("findings", "against"), baselines=False)
PARTS = Options(sections=("reliance", "findings", "against"), baselines=False, date="2026-01-01")


@pytest.fixture(scope="module")
def reports(material: Material, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    seen = Seen(False, len(material.corpus))
    blind, seeing = tmp_path_factory.mktemp("blind"), tmp_path_factory.mktemp("seeing")
    evaluate_to_folder(lambda name: Blind(), "blind", material, blind, seen, PARTS)
    evaluate_to_folder(lambda name: Seeing(material), "seeing", material, seeing, seen, PARTS, against=str(blind))
    return blind, seeing


def test_the_folder_holds_the_report_and_nothing_of_the_asking(reports: tuple[Path, Path]) -> None:
    names = {path.name for path in reports[0].iterdir() if not path.name.startswith(".")}
    assert names == {"index.html", "report.md", "metrics.json", "predictions.parquet", "run.json"}
    metrics = json.loads((reports[0] / "metrics.json").read_text())
    assert "does not read" in json.dumps(metrics)
    assert "It does not read the ECG" in (reports[0] / "report.md").read_text()


def test_another_model_is_held_against_it_question_by_question(reports: tuple[Path, Path]) -> None:
    table = read_predictions(reports[1] / "predictions.parquet")
    assert set(table["by"]) == {"model", "against"}
    asked = table[table["section"] == "findings"].groupby("by")["question_id"].agg(list)
    assert asked["model"] == asked["against"]


def test_a_finished_report_is_not_written_over(reports: tuple[Path, Path], material: Material) -> None:
    with pytest.raises(ECGError, match="finished report"):
        evaluate_to_folder(lambda name: Blind(), "blind", material, reports[0], Seen(False, 1), PARTS)


class Interrupted(Blind):
    """Is interrupted once it has answered so many times."""

    def __init__(self, name: str, times: int = 0):
        self.name, self.times = name, times

    def answer(self, asked, ecgs):
        if not self.times:
            raise KeyboardInterrupt
        self.times -= 1
        return super().answer(asked, ecgs)


def test_the_answers_of_another_model_are_not_gone_on_with(material: Material, tmp_path: Path) -> None:
    for model in (Interrupted("misspelt"), Interrupted("first", 1)):  # of the one that never answered nothing is left
        with pytest.raises(KeyboardInterrupt):
            evaluate_to_folder(lambda name: model, "first", material, tmp_path, Seen(False, 1), PARTS)  # noqa: B023
    for other, message in (
        (material, "of another model"),
        (replace(material, settings=Settings(questions=1300)), "of another model .* and other records or questions;"),
    ):
        with pytest.raises(ECGError, match=message):
            evaluate_to_folder(lambda name: Seeing(material), "seeing", other, tmp_path, Seen(False, 1), PARTS)


def test_a_report_that_lacks_questions_is_refused_before_any_is_asked_and_one_that_has_more_serves(
    reports: tuple[Path, Path], material: Material, tmp_path: Path
) -> None:
    def asked(name: str) -> Blind:
        raise AssertionError("loaded")

    more = replace(material, settings=replace(material.settings, least=3))
    with pytest.raises(ECGError, match=r"answers \d+ of the \d+ questions that are compared"):
        evaluate_to_folder(asked, "blind", more, tmp_path, Seen(False, 1), PARTS, against=str(reports[0]))
    fewer = replace(material, settings=replace(material.settings, least=20))
    done = evaluate_to_folder(
        lambda name: Blind(), "blind", fewer, tmp_path, Seen(False, 1), FINDINGS, against=str(reports[0])
    )
    counts = done.evaluation.predictions["by"].value_counts()
    assert counts["against"] == counts["model"] > 0


class InWords(Blind):
    remark = "It is told the ECG in words."


def test_what_a_model_remarks_stands_in_its_report(material: Material, tmp_path: Path) -> None:
    few = replace(material, corpus=material.corpus.select(range(20)), questions=material.questions.select([]))
    options = Options(sections=("unanswerable",), baselines=False)
    evaluate_to_folder(lambda name: InWords(), "blind", few, tmp_path, Seen(False, 20), options)
    for file in ("index.html", "report.md", "metrics.json"):
        assert InWords.remark in (tmp_path / file).read_text()


def test_a_loader_that_cannot_be_sent_to_other_processes_is_refused(material: Material, tmp_path: Path) -> None:
    options = replace(PARTS, processes=2)
    with pytest.raises(ECGError, match=r"cannot be sent to other processes .* such as partial\(model_of, name\)"):
        evaluate_to_folder(lambda name: Blind(), "blind", material, tmp_path, Seen(False, 1), options)


def test_a_folder_with_other_things_is_refused(material: Material, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for folder, message in ((tmp_path, r"thesis\.txt"), (tmp_path / "thesis.txt", r"thesis\.txt is a file")):
        with pytest.raises(ECGError, match=message):
            evaluate_to_folder(lambda name: Blind(), "blind", material, folder, Seen(False, 1), PARTS)


def test_what_nobody_noted_is_not_called_unseen(material: Material, tmp_path: Path) -> None:
    corpus, seen = without_seen(material.corpus, str(tmp_path))
    assert len(corpus) == len(material.corpus)
    assert not seen.never
    assert "may have seen" in seen.sentences()[1][0]
