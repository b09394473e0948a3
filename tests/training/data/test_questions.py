"""Questions of a stage: what balancing leaves of them."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset

from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training import load_recipe
from ecgllm.training.data.questions import balanced_questions, stage_questions

from ..conftest import FINDINGS


@pytest.fixture(scope="module")
def records() -> Dataset:
    return records_to_corpus(simulate_ecgs(120, seed=6), source="simulation")


def test_a_later_stage_keeps_what_is_not_answered_by_yes_or_no(
    write_recipe: Callable[..., Path], records: Dataset
) -> None:
    settings = {"questions": {"per_record": 3}, "balance": True, "match_on": ["severity"]}
    recipe = load_recipe(write_recipe(stages={"debias": settings, "finetune": settings}))
    questions = stage_questions(recipe, "finetune", records, "train")
    balanced, report = balanced_questions(recipe, "finetune", questions, records)
    others = [row["question_id"] for row in questions if row["answers"] not in (["yes"], ["no"])]
    assert {"choose", "query"} <= set(questions["type"])
    assert sorted(others) == sorted(row["question_id"] for row in balanced if row["answers"] not in (["yes"], ["no"]))
    assert f"(kept besides: {len(others)})" in str(report)
    answers = Counter((row["question"], *row["answers"]) for row in balanced if row["type"] == "verify")
    assert answers and all(answers[question, "yes"] == answers[question, "no"] for question, _ in answers)
    # The stage debias is made of yes/no questions, whatever it is given.
    kinds = set(balanced_questions(recipe, "debias", questions, records)[0]["type"])
    assert "verify" in kinds and all(kind.endswith("verify") for kind in kinds)


def test_a_stage_in_more_words_trains_on_refusals_and_validates_in_test_paraphrases(
    write_recipe: Callable[..., Path], records: Dataset
) -> None:
    settings = {"questions": {"per_record": 3, "words": "varied"}, "balance": True, "match_on": ["severity"]}
    recipe = load_recipe(write_recipe(stages={"debias": settings, "finetune": settings}))
    questions = stage_questions(recipe, "finetune", records, "train")
    balanced, _ = balanced_questions(recipe, "finetune", questions, records)
    assert Counter(questions["type"])["unanswerable"] == Counter(balanced["type"])["unanswerable"] > 0
    assert "verify-absence" in set(balanced["template"])
    assert "unanswerable" not in balanced_questions(recipe, "debias", questions, records)[0]["type"][:]
    assert "unanswerable" not in stage_questions(recipe, "finetune", records, "validation")["type"][:]


def test_each_split_is_asked_in_paraphrases_of_its_own(write_recipe: Callable[..., Path], records: Dataset) -> None:
    recipe = load_recipe(write_recipe(stages={"debias": {"questions": {"per_record": 1}}}))
    few = records.select(range(30))
    asked = {
        name: stage_questions(recipe, "debias", few, name)["question"][:] for name in ("train", "validation", "test")
    }
    for name, paraphrases in (("train", "train"), ("validation", "test"), ("test", "test")):
        settings = {"per_record": 1, "attributes": FINDINGS}
        built = build_questions(few, types=["verify"], paraphrases=paraphrases, seed=recipe.seed, **settings)
        assert asked[name] == built["question"][:]
    assert not set(asked["train"]) & set(asked["test"])


def test_questions_of_a_folder_are_those_of_the_split_about_records_that_are_there(
    write_recipe: Callable[..., Path], records: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    questions = build_questions(records, types=["verify"], paraphrases="split")
    questions.save_to_disk(tmp_path / "questions")
    given = {"questions": {"path": str(tmp_path / "questions")}}
    recipe = load_recipe(write_recipe(stages={"debias": given}))
    there = records.select(range(60))
    for split in ("train", "test"):
        own = [row for row in questions if row["split"] == split]
        expected = [row["question_id"] for row in own if set(row["ecg_ids"]) <= set(there["id"])]
        assert 0 < len(expected) < len(own) < len(questions)
        assert stage_questions(recipe, "debias", there, split)["question_id"][:] == expected
        assert f"{len(own) - len(expected)} {split} questions of" in capsys.readouterr().out
