"""A report's answers of yes with what they rest on: drawn at random, borne out by deletion or said not to be."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.asking import read_predictions
from ecgllm.evaluation.explained import explained_answers
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.models.checkpoint import CheckpointModel, load_checkpoint
from ecgllm.evaluation.run import Done, Options, evaluate_to_folder
from ecgllm.evaluation.seen import Seen
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals.simulation import simulate_ecgs
from tests.evaluation.conftest import Blind

OPTIONS = Options(sections=("findings",), baselines=False, explained=2)


@pytest.fixture(scope="module")
def few() -> Material:
    records = simulate_ecgs(24, seed=5, findings=["premature ventricular complexes"])
    records = [*records, *simulate_ecgs(24, seed=6, findings=["sinus rhythm"])]
    named = [replace(record, id=f"SECRET-{number}") for number, record in enumerate(records)]
    corpus = records_to_corpus(named, source="simulation")
    questions = build_questions(corpus, types=("verify",), paraphrases="test", per_record=1)
    return Material(corpus, questions, Settings(questions=40, least=5))


@pytest.fixture(scope="module")
def model() -> CheckpointModel:
    return load_checkpoint(shipped_checkpoint())


@pytest.fixture(scope="module")
def report(few: Material, model: CheckpointModel, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    folder = tmp_path_factory.mktemp("report")
    return folder, evaluate_to_folder(lambda name: model, "tiny", few, folder, Seen(False, 48), OPTIONS)


def test_the_report_shows_answers_that_were_given_and_what_they_rest_on(report: tuple[Path, Done]) -> None:
    folder, done = report
    section = done.evaluation.section("explained")
    assert section.values["answers"] == 2 == len(section.tables[0].rows)
    rows = read_predictions(folder / "predictions.parquet")
    said = {row.attribute for row in rows.itertuples() if row.answers is not None and list(row.answers) == ["yes"]}
    named = [row[0] for row in section.tables[0].rows]
    assert set(named) <= said and len(set(named)) == min(2, len(said))  # findings in turn
    page = (folder / "index.html").read_text()
    assert page.count("data:image/png") >= 2 and "SECRET" not in page
    falls = json.loads((folder / "metrics.json").read_text())["sections"]["explained"]["values"]["fall"]
    borne_out = sum(row[-1] == "yes" for row in section.tables[0].rows)
    assert section.values["borne_out"].value == pytest.approx(borne_out / 2)
    assert page.count("<dt>Rests on</dt>") == 2 and {len(own) for own in falls.values()} == {2}
    assert page.count("the answer does not rest on what is marked") == 2 - borne_out


def test_the_same_seed_explains_the_same_answers(
    report: tuple[Path, Done], few: Material, model: CheckpointModel
) -> None:
    evaluation = report[1].evaluation
    again, examples = explained_answers(model, evaluation.predictions, few, 1)
    assert again.tables[0].rows == evaluation.section("explained").tables[0].rows[:1]
    assert [example.title for example in examples] == [again.tables[0].rows[0][0]]


def test_what_cannot_be_explained_is_refused_before_it_is_asked(
    few: Material, model: CheckpointModel, tmp_path: Path
) -> None:
    with pytest.raises(ECGError, match="--explain takes an ECG language model of ecgllm apart, and blind is none"):
        evaluate_to_folder(lambda name: Blind(), "blind", few, tmp_path / "a", Seen(False, 48), OPTIONS)
    without = replace(OPTIONS, sections=("consistency",))
    with pytest.raises(ECGError, match="section findings; add it to --sections"):
        evaluate_to_folder(lambda name: model, "tiny", few, tmp_path / "b", Seen(False, 48), without)
