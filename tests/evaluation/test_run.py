from __future__ import annotations

import json
from pathlib import Path

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.asking import read_predictions
from ecgllm.evaluation.material import Material
from ecgllm.evaluation.run import Options, evaluate_to_folder
from ecgllm.evaluation.seen import Seen, without_seen
from tests.evaluation.conftest import Blind, Seeing

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


def test_the_answers_of_another_model_are_not_gone_on_with(material: Material, tmp_path: Path) -> None:
    def fails(name: str) -> Blind:
        class Failing(Blind):
            def answer(self, asked, ecgs):
                raise KeyboardInterrupt

        return Failing()

    with pytest.raises(KeyboardInterrupt):
        evaluate_to_folder(fails, "blind", material, tmp_path, Seen(False, 1), PARTS)
    with pytest.raises(ECGError, match="unfinished evaluation of another model"):
        evaluate_to_folder(lambda name: Seeing(material), "seeing", material, tmp_path, Seen(False, 1), PARTS)


def test_a_folder_with_other_things_is_refused(material: Material, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ECGError, match=r"thesis\.txt"):
        evaluate_to_folder(lambda name: Blind(), "blind", material, tmp_path, Seen(False, 1), PARTS)


def test_what_nobody_noted_is_not_called_unseen(material: Material, tmp_path: Path) -> None:
    corpus, seen = without_seen(material.corpus, str(tmp_path))
    assert len(corpus) == len(material.corpus)
    assert not seen.never
    assert "may have seen" in seen.sentences()[1][0]
