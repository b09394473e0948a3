"""The stage `pretrain`: what it learns from, what it measures, in which languages, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoModel

from ecgllm import ECGTextDualEncoder
from ecgllm.corpora import prepare
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError

GERMAN = {
    "sinus rhythm": "Sinusrhythmus, regelmäßige Überleitung",
    "atrial fibrillation": "Vorhofflimmern — absolute Arrhythmie",
    "left axis deviation": "überdrehter Linkstyp",
    "premature ventricular complexes": "ventrikuläre Extrasystolen (VES) größerer Häufigkeit",
}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """120 simulated records, a third of them for validation, so that findings are frequent enough to be measured."""
    records = prepare("simulation", limit=120, seed=5)
    return records.map(lambda row, number: {"split": "validation" if number % 3 == 0 else "train"}, with_indices=True)


@pytest.fixture(scope="module")
def pretrain(
    corpus: Dataset, write_recipe: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, dict]]:
    """Runs the stage alone on the corpus above, or on another; returns the run folder and its metrics."""

    def run(*overrides: str, corpus: Dataset = corpus) -> tuple[Path, dict]:
        folder = tmp_path_factory.mktemp("pretrain")
        corpus.save_to_disk(folder / "corpus")
        stages = {"pretrain": {"batch_size": 8, "training": {"max_steps": 6, "learning_rate": 2e-3}}}
        own = [f"data={folder / 'corpus'}", f"output={folder / 'run'}", "limit="]
        run_recipe(load_recipe(write_recipe(stages=stages), [*own, *overrides]))
        return folder / "run", json.loads((folder / "run" / "metrics.json").read_text())["pretrain"]

    return run


@pytest.mark.parametrize("text", ["report", "findings", "both"])
def test_every_text_trains_and_is_measured(text: str, pretrain: Callable[..., tuple[Path, dict]]) -> None:
    evaluate = ["stages.pretrain.training.eval_strategy=steps", "stages.pretrain.training.eval_steps=3"]
    run, metrics = pretrain(f"stages.pretrain.text={text}", *evaluate)
    evaluations = [entry for entry in metrics["log"] if "eval_loss" in entry]
    assert [entry["step"] for entry in evaluations] == [3, 6, 6]
    for found in (*evaluations, metrics["validation"]):
        assert 0 <= found["eval_zero_shot_auroc_low"] <= found["eval_zero_shot_auroc"] <= 1
        assert 0 <= found["eval_auroc sinus rhythm"] <= 1 and 0 <= found["eval_zero_shot_auroc_unseen_wording"] <= 1
        assert ("eval_ecg_to_report_recall_at_10" in found) == (text != "findings")
    measured = metrics["zero_shot"]["findings"]
    assert min(min(each["positives"], each["negatives"]) for each in measured.values()) >= 5
    assert not {"arrhythmia", "any abnormality"} & measured.keys()  # groups are not findings
    card = (run / "README.md").read_text()
    assert f"Mean AUROC of {len(measured)} findings: {metrics['zero_shot']['macro'][0]:.3f} (" in card
    assert ("report of an ECG" in card) == (text != "findings")
    assert type(AutoModel.from_pretrained(run)) is ECGTextDualEncoder


@pytest.mark.slow
def test_statements_teach_what_they_state(pretrain: Callable[..., tuple[Path, dict]]) -> None:
    """Of validation records, by words and by vectors; 320 ECGs and 150 steps are no basis for more."""
    records = prepare("simulation", limit=480, seed=5).map(
        lambda row, number: {"split": "validation" if number % 3 == 0 else "train"}, with_indices=True
    )
    losses = {}
    for steps in (1, 150):
        what = ("stages.pretrain.text=findings", f"stages.pretrain.training.max_steps={steps}")
        _, metrics = pretrain(*what, corpus=records)
        losses[steps] = metrics["validation"]["eval_loss"]
    assert losses[150] < 0.93 * losses[1]


def test_reports_in_german_without_a_finding(corpus: Dataset, pretrain: Callable[..., tuple[Path, dict]]) -> None:
    def translated(row: dict) -> dict:
        said = [GERMAN[name] for name in row["findings"] if name in GERMAN]
        return {"report": "; ".join(said) or "Auffälliges EKG mit geänderter ST-Strecke", "findings": []}

    german = corpus.map(translated)
    run, metrics = pretrain(corpus=german)
    different = len(set(german.filter(lambda row: row["split"] == "validation")["report"]))
    assert metrics["validation"]["eval_reports"] == different
    assert metrics["validation"]["eval_ecg_to_report_median_rank"] <= different
    assert metrics["zero_shot"] == {} and "Findings by statement" not in (run / "README.md").read_text()


def test_statements_without_findings_are_refused(corpus: Dataset, pretrain: Callable[..., tuple[Path, dict]]) -> None:
    bare = corpus.map(lambda row: {"findings": []})
    with pytest.raises(RecipeError, match="text is 'findings', and no finding of the corpus"):
        pretrain("stages.pretrain.text=findings", corpus=bare)


def test_statements_need_no_reports(corpus: Dataset, pretrain: Callable[..., tuple[Path, dict]]) -> None:
    silent = corpus.map(lambda row: {"report": None}, features=corpus.features)
    _, metrics = pretrain("stages.pretrain.text=findings", corpus=silent)
    assert metrics["zero_shot"]["findings"] and "eval_reports" not in metrics["validation"]
