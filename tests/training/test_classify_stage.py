"""The stage `classify`: linear probe, fine-tuning from it, figures, and what its recipe refuses."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from ecgllm import ECGFeatureExtractor, ECGForSequenceClassification
from ecgllm.training import dry_run, load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError

from ..test_pipeline import make_ecg

LABELS = ["sinus rhythm", "conduction disturbance"]
# What a recipe may leave out when it starts from a checkpoint.
OPEN = dict.fromkeys(("encoder", "projector", "language_model", "text_encoder", "lora"))


def encoder_of(folder: Path) -> dict[str, torch.Tensor]:
    found = load_file(folder / "model.safetensors")
    return {name: value for name, value in found.items() if name.startswith("ecg_encoder.")}


@pytest.fixture
def write(write_recipe: Callable[..., Path]) -> Callable[..., Path]:
    """The recipe of a classifier of few records; `write_recipe` would give its stage questions."""

    def written(start: Path | None = None, **stage: object) -> Path:
        file = write_recipe(**OPEN, **({"start_from": str(start)} if start else {}), limit=80, stages={})
        values = json.loads(json.dumps({"labels": LABELS, "batch_size": 8} | stage))
        file.write_text(file.read_text().replace("stages: {}", f"stages: {json.dumps({'classify': values})}"))
        return file

    return written


def test_a_linear_probe_and_fine_tuning_that_starts_from_it(
    finished_run: Path, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    training = {"max_steps": 6, "learning_rate": 1e-3, "eval_strategy": "steps", "eval_steps": 3, "logging_steps": 1}
    file = write(finished_run, tune_encoder=True, augment={"amplitude": 0.2}, training=training)
    run = run_recipe(load_recipe(file))
    assert "linear probe: macro AUROC" in capsys.readouterr().out
    stage = run / "classify"
    assert all(
        torch.equal(value, encoder_of(finished_run)[name]) for name, value in encoder_of(stage / "probe").items()
    )
    moved = [name for name, value in encoder_of(run).items() if not torch.equal(value, encoder_of(finished_run)[name])]
    assert moved

    metrics = json.loads((run / "metrics.json").read_text())["classify"]
    assert metrics["steps"] == 6 and metrics["labels"] == LABELS and metrics["measured_on"] == "test"
    for what in ("linear_probe", "fine_tuned"):
        assert 0 <= metrics[what]["low"] <= metrics[what]["macro_auroc"] <= metrics[what]["high"] <= 1
    losses = [entry["loss"] for entry in metrics["log"] if "loss" in entry]
    assert len(losses) == 6 and losses[0] < 0.7  # from the probe's head, not from chance
    card = (run / "README.md").read_text()
    assert "| linear probe |" in card and "| fine tuned |" in card and "pipeline_tag" not in card
    assert "are held against the source's own\nlabels" in card and "questions" not in card.split("## Recipe")[0]
    assert "49 simulated ECGs, no patient's data; then " in card

    (snippet,) = re.findall(r"```python\n(.*?)```", card, re.S)
    ecg = make_ecg()
    exec(snippet, found := {"path": str(run), "signal": ecg["signal"]})
    assert {each["label"] for each in found["pipe"](ecg)} == set(LABELS)
    model = ECGForSequenceClassification.from_pretrained(run)
    assert list(model.config.id2label.values()) == LABELS
    assert model.config.encoder_config.preprocessing == ECGFeatureExtractor.from_pretrained(run).preprocessing
    again = run_recipe(load_recipe(file))  # is over, and stays as it is
    assert "done before" in capsys.readouterr().out and json.loads((again / "metrics.json").read_text())["classify"]


def test_a_probe_alone_takes_no_steps(
    finished_run: Path, write: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load_recipe(write(finished_run, evaluate_split="validation"))
    dry_run(recipe)
    planned = capsys.readouterr().out
    assert "a linear probe: every record is encoded once" in planned and "classify: 2 labels" in planned
    run = run_recipe(recipe)
    metrics = json.loads((run / "metrics.json").read_text())["classify"]
    assert metrics["steps"] == 0 and "fine_tuned" not in metrics
    assert all(torch.equal(value, encoder_of(finished_run)[name]) for name, value in encoder_of(run).items())


def test_a_dry_run_measures_steps(finished_run: Path, write: Callable[..., Path], capsys) -> None:
    dry_run(load_recipe(write(finished_run, tune_encoder=True, training={"num_train_epochs": 2})))
    planned = capsys.readouterr().out
    assert "2.0 times each of" in planned and "three steps measured on this machine" in planned


@pytest.mark.parametrize(
    ("stage", "said"),
    [
        ({"training": {"max_steps": 5}}, "training has no effect on a linear probe, which takes no steps"),
        ({"augment": {"amplitude": 0.1}}, "augment has no effect on a linear probe"),
        ({"tune_encoder": True, "training": {"label_smoothing_factor": 0.1}}, "label_smoothing_factor is for answers"),
        ({"labels": "ptbxl-superclass"}, "ptbxl-super"),
        ({"questions": {"per_record": 1}}, "questions"),
    ],
)
def test_what_has_no_effect_is_refused(write: Callable[..., Path], stage: dict, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe(write(**stage))


def test_labels_that_the_corpus_has_not_are_refused(finished_run: Path, write: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError, match="stages.classify.labels: not one of 80 records bears a class of the task"):
        run_recipe(load_recipe(write(finished_run, labels="ptbxl-super")))


def test_it_stands_beside_no_questions(write: Callable[..., Path]) -> None:
    file = write()
    file.write_text(file.read_text().replace('stages: {"classify"', 'stages: {"debias": {}, "classify"'))
    with pytest.raises(RecipeError, match="classify beside questions, of which neither builds on the other"):
        load_recipe(file)
