"""Models of which it is known what they do land where they belong."""

from __future__ import annotations

import pytest

from ecgllm.evaluation.material import Material
from ecgllm.evaluation.suite import Evaluation, evaluate
from ecgllm.reliance import DOES_NOT_READ, READS
from tests.evaluation.conftest import Blind, Seeing, YesSayer

SECTIONS = ("reliance", "questions", "yes_and_no", "findings", "language", "groups")


@pytest.fixture(scope="module")
def evaluated(material: Material, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Evaluation]:
    models = (Seeing(material), Blind(), YesSayer())
    return {
        model.name: evaluate(
            model, material, tmp_path_factory.mktemp(model.name), SECTIONS, model.name, baselines=False
        )
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
