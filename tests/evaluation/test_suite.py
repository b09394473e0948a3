"""Models of which it is known what they do land where they belong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from ecgllm.corpora import records_to_corpus
from ecgllm.evaluation.building import build_material
from ecgllm.evaluation.failures import examples
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.protocol import Answer, Asked, Model, ShownECG
from ecgllm.evaluation.run import Options, evaluate_to_folder
from ecgllm.evaluation.seen import Seen
from ecgllm.evaluation.suite import SECTIONS, Evaluation, chosen_sections, evaluate, figures_of
from ecgllm.reliance import DOES_NOT_READ, READS
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs
from tests.evaluation.conftest import Blind, Seeing, YesSayer

NO_BASELINES = Options(baselines=False, date="2026-01-01")
CHOSEN = ("reliance", "questions", "yes_and_no", "findings", "language", "groups")


@pytest.fixture(scope="module")
def evaluated(material: Material, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    models = (Seeing(material), Blind(), YesSayer())
    return {
        model.name: evaluate(model, material, tmp_path_factory.mktemp(model.name), CHOSEN, model.name, baselines=False)
        for model in models
    }


def test_a_model_that_reads_the_truth_is_seeing(evaluated: dict[str, Evaluation]) -> None:
    seeing = evaluated["seeing"]
    found = seeing.section("reliance").values
    assert found["verdict"].outcome == READS
    assert found["verdict"].sentences[0].startswith("It reads the ECG")
    assert found["conditions"]["opposite"]["accuracy"].value == pytest.approx(0.0, abs=0.1)
    assert found["conditions"]["none"]["accuracy"].value == pytest.approx(0.5)
    assert found["groups"].value == 1.0
    assert seeing.section("findings").values["model"]["macro_auroc"].value == 1.0


def test_a_model_that_goes_by_the_words_is_blind(evaluated: dict[str, Evaluation]) -> None:
    blind = evaluated["blind"]
    found = blind.section("reliance").values
    assert found["verdict"].outcome == DOES_NOT_READ
    assert found["conditions"]["true"]["accuracy"].value == pytest.approx(0.5)
    assert found["pairs"]["true"].value == 0.0
    assert found["conditions"]["true"]["p_yes_moves"] is None
    assert blind.section("findings").values["model"]["macro_auroc"] is None


def test_a_model_that_says_yes_to_everything_is_biased(evaluated: dict[str, Evaluation]) -> None:
    found = evaluated["yes-sayer"].section("reliance").values
    assert found["verdict"].outcome == DOES_NOT_READ
    assert found["verdict"].figures.yes.biased == "yes"


def test_a_model_that_is_consistent_and_blind_is_dangerous(evaluated: dict[str, Evaluation]) -> None:
    assert dangerous(evaluated["yes-sayer"]) == pytest.approx(1.0)
    assert dangerous(evaluated["seeing"]) < 0.1


def dangerous(evaluation: Evaluation) -> float:
    return evaluation.section("language").values["model"]["quadrants"]["dangerous"].value


class Silent:
    """Refuses every question."""

    name = "silent"

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [Answer(None, refused="not today") for _ in asked]


class Senseless:
    """Says what is no answer to any question."""

    name = "senseless"

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [Answer("The mitochondrion is the powerhouse of the cell.") for _ in asked]


class FindingsOnly:
    """Knows findings of one ECG, with probabilities, and refuses all other questions."""

    name = "findings only"

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        return [
            Answer(None, {"yes": 0.3, "no": 0.7}) if one.finding and len(one.ecgs) == 1 else Answer(None, refused="no")
            for one in asked
        ]


@pytest.fixture(scope="module")
def few() -> Material:
    corpus = records_to_corpus(simulate_ecgs(20, seed=3), source="simulation")
    return build_material(corpus, None, Settings(questions=60, least=3))


@pytest.mark.parametrize("model", [Silent(), Senseless(), FindingsOnly()], ids=lambda model: model.name)
def test_a_model_that_leaves_questions_open_gets_a_whole_report(model: Model, few: Material, tmp_path: Path) -> None:
    done = evaluate_to_folder(lambda name: model, model.name, few, tmp_path, Seen(False, 20), NO_BASELINES)
    asked = {section.NAME for section in SECTIONS if hasattr(section, "plan")}
    assert {section.name for section in done.evaluation.sections} >= asked
    assert "against" not in {section.name for section in done.evaluation.sections}
    report = (tmp_path / "report.md").read_text()
    assert "nan" not in report.lower().split() and "says yes to –" not in report
    assert ("such as 'The mitochondrion is" in report) is isinstance(model, Senseless)


class KnowsFindings(Seeing):
    """As a dual encoder: whether one ECG shows a finding, and no other question."""

    def _one(self, asked: Asked) -> Answer:
        if asked.finding is None or len(asked.ecgs) != 1:
            return Answer(None, refused="it knows findings and no questions")
        return super()._one(asked)


def test_what_a_model_of_findings_cannot_be_asked_is_said_and_not_counted(material: Material, tmp_path: Path) -> None:
    found = evaluate(
        KnowsFindings(material),
        material,
        tmp_path,
        ("reliance", "questions", "language", "unanswerable"),
        baselines=False,
    )
    reliance = found.section("reliance")
    conditions = reliance.values["conditions"]
    assert conditions["true"]["accuracy"].value == 1.0 and conditions["none"]["accuracy"] is None
    wordings = found.section("language").values["model"]["wordings"]
    assert wordings["test"]["right"].value == 1.0 and wordings["negation"]["right"] is None
    assert found.section("language").values["model"]["consistent"] is None
    assert [one.name for one in found.section("language").headlines] == []
    answered = found.section("questions").headlines[0]
    assert answered.value.value == 1.0 and not answered.metric and answered.name.endswith("questions that it answers")
    unanswerable = found.section("unanswerable")
    assert unanswerable.values["model"]["kinds"]["treatment"]["answered"].value == 0.0


def test_a_part_without_an_answer_is_one_sentence(evaluated: dict[str, Evaluation], material: Material) -> None:
    rows = evaluated["seeing"].predictions
    none = rows.assign(answer=None, answers=None, p_yes=float("nan"), right=None, refused="it sees one ECG at a time")
    for section in figures_of(none, material, chosen_sections(CHOSEN)):
        (said,) = section.sentences
        assert "answers none of the" in said and said.endswith("it sees one ECG at a time.")
        assert not section.tables and not section.charts


def test_failures_show_each_ecg_once_and_both_ways_to_be_wrong(
    evaluated: dict[str, Evaluation], material: Material
) -> None:
    rows = evaluated["seeing"].predictions
    wrong = rows["right"].eq(True)
    turned = rows.assign(
        right=~wrong, answers=[["no"] if list(one) == ["yes"] else ["yes"] for one in rows["expected"]],
        p_yes=1 - rows["p_yes"],
    )  # fmt: skip
    found = examples(turned, material)
    assert len(found) == 6
    assert len({one.record.id for one in found}) == 6 and {one.record.source for one in found} == {"simulation"}
    assert [one.answer.split()[0] for one in found].count("yes") == 3
