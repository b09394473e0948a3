"""The split of a run of a cross-validation: each patient is held out once, with all records."""

from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, concatenate_datasets

from ecgllm.corpora import records_to_corpus, save_corpus
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training.data.corpus import load_corpus
from ecgllm.training.recipe import Recipe, RecipeError, parse_recipe


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    """Twelve records of six patients, two sources."""
    parts = []
    for number, source in enumerate(("a", "b")):
        own = records_to_corpus(simulate_ecgs(6, seed=number), source=source)
        patients = [f"{source}{row // 2}" for row in range(6)]
        own = own.remove_columns(["patient_id", "id"]).add_column("patient_id", patients)
        parts.append(own.add_column("id", [f"{source}-{row}" for row in range(6)]))
    return concatenate_datasets(parts)


@pytest.fixture(scope="module")
def folder(corpus: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("corpus") / "both"
    save_corpus(corpus, path)
    return path


def recipe(folder: Path | None, **values: Any) -> Recipe:
    stages = {"pretrain": {"training": {"max_steps": 1}}}
    text_encoder = {"config": {"model_type": "bert"}}
    base = {"corpus": "own", "data": folder and str(folder), "output": "none", "stages": stages}
    return parse_recipe(base | {"text_encoder": text_encoder} | values, "recipe")


def test_copies_of_one_recording_stay_in_one_split_of_the_recipe_too(corpus: Dataset, tmp_path: Path) -> None:
    """Under other names and patients, as they come in exports; by their patients alone they would part."""
    ids, patients = ([f"{name}-copy" for name in corpus[column]] for column in ("id", "patient_id"))
    copies = corpus.remove_columns(["id", "patient_id"]).add_column("id", ids).add_column("patient_id", patients)
    save_corpus(concatenate_datasets([corpus, copies]), tmp_path / "twice")
    splits = set()
    for seed in range(6):
        found, _ = load_corpus(recipe(tmp_path / "twice", split={"validation": 0.2, "test": 0.3}, seed=seed))
        own = dict(zip(found["id"], found["split"], strict=True))
        assert all(own[name] == own[f"{name}-copy"] for name in corpus["id"])
        splits |= set(own.values())
    assert splits == {"train", "validation", "test"}


def split(folder: Path, **hold_out: Any) -> dict[str, str]:
    corpus, _ = load_corpus(recipe(folder, hold_out=hold_out))
    return dict(zip(corpus["id"], corpus["split"], strict=True))


def test_every_patient_is_held_out_once(folder: Path, corpus: Dataset) -> None:
    patient = dict(zip(corpus["id"], corpus["patient_id"], strict=True))
    found = []
    for fold in range(3):
        try:
            own = split(folder, fold=fold, of=3)
        except RecipeError:  # of six patients a fold may get none, and then says so
            continue
        held = {patient[record_id] for record_id, name in own.items() if name == "test"}
        assert not held & {patient[record_id] for record_id, name in own.items() if name == "train"}
        found += held
    assert sorted(found) == sorted(set(patient.values()))


def test_a_source_is_held_out_whole(folder: Path) -> None:
    own = split(folder, sources=["b"])
    assert {record_id[0] for record_id, name in own.items() if name == "test"} == {"b"}
    assert {record_id[0] for record_id, name in own.items() if name == "train"} == {"a"}


def test_the_others_may_give_a_validation_split(folder: Path) -> None:
    corpus, _ = load_corpus(recipe(folder, hold_out={"sources": ["b"]}, split={"validation": 0.7, "test": 0}))
    own = dict(zip(corpus["id"], corpus["split"], strict=True))
    assert {name for record_id, name in own.items() if record_id[0] == "b"} == {"test"}
    assert "validation" in {name for record_id, name in own.items() if record_id[0] == "a"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"hold_out": {}}, "either fold or sources"),
        ({"hold_out": {"fold": 1, "sources": ["a"]}}, "either fold or sources"),
        ({"hold_out": {"fold": 5}}, "expected 0 to 4"),
        ({"hold_out": {"sources": ["a"], "of": 3}}, "of has no effect"),
        ({"hold_out": {"fold": 1}, "split": {"test": 0.2}}, "leave one out"),
        ({"hold_out": {"fold": 1}, "limit": 5}, "leave one out"),
        ({"hold_out": {"sources": ["c"]}}, "names c; the corpus holds a, b"),
        ({"hold_out": {"sources": ["a", "b"]}}, "12 of 12 records"),
    ],
)
def test_what_cannot_be_held_out_is_refused(folder: Path, values: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_corpus(recipe(folder, **values))


def test_a_patient_of_two_sources_is_not_divided(corpus: Dataset, tmp_path: Path) -> None:
    patients = ["b0", *corpus["patient_id"][1:]]
    save_corpus(corpus.remove_columns("patient_id").add_column("patient_id", patients), tmp_path / "shared")
    with pytest.raises(RecipeError, match="1 patients stand in b and in other sources, such as b0"):
        load_corpus(recipe(tmp_path / "shared", hold_out={"sources": ["b"]}))


def test_one_recording_under_two_names_is_held_out_as_one(corpus: Dataset, tmp_path: Path) -> None:
    copy = corpus.select([0]).remove_columns(["id", "patient_id", "source"])
    copy = copy.add_column("id", ["c-0"]).add_column("patient_id", ["c0"]).add_column("source", ["c"])
    save_corpus(concatenate_datasets([corpus, copy]), tmp_path / "copied")
    for hold_out in ({"sources": ["a"]}, {"sources": ["b"]}):
        own = split(tmp_path / "copied", **hold_out)
        assert own["c-0"] == own["a-0"] == ("test" if hold_out["sources"] == ["a"] else "train")


def test_only_a_prepared_corpus_is_divided() -> None:
    with pytest.raises(RecipeError, match="ecgllm join"):
        recipe(None, corpus="simulation", hold_out={"fold": 0})
