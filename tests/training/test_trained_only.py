"""Runs on a language model by name write what was trained and go on from it; any checkpoint's encoder before it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from ecgllm import ECGLLMForConditionalGeneration
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError
from ecgllm.training.start_from import start_of

from .conftest import ROOT

FEW = {"max_steps": 2, "learning_rate": 1e-2}
NOTHING = {"max_steps": 1, "learning_rate": 0.0}


def asked(**changes: Any) -> dict[str, Any]:
    questions = {"per_record": 2, "types": ["verify"]}
    return {"batch_size": 8, "evaluate": 4, "questions": questions, "training": FEW} | changes


@pytest.fixture(scope="module")
def language_model(finished_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A language model of its own, as a download is: that of a finished run, without its ECG side."""
    folder = tmp_path_factory.mktemp("models") / "small-lm"
    whole = ECGLLMForConditionalGeneration.from_pretrained(finished_run)
    whole.language_model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(finished_run).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def run(write_recipe: Callable[..., Path], language_model: Path) -> Path:
    """debias and finetune by LoRA on that language model."""
    stages = {name: asked(tune="lora") for name in ("debias", "finetune")}
    named = {"language_model": {"name": str(language_model)}, "text_encoder": None}
    return run_recipe(load_recipe(write_recipe(limit=40, stages=stages, **named)))


def adapter(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def test_stages_leave_the_language_model_out(run: Path, language_model: Path) -> None:
    for folder in (run / "debias" / "model", run / "finetune" / "model", run):
        assert {name.split(".")[0] for name in load_file(folder / "model.safetensors")} == {"ecg_encoder", "projector"}
        assert json.loads((folder / "config.json").read_text())["language_model_base"]["name"] == "small-lm"
    assert not (run / "debias" / "base").exists() and not (run / "debias" / "adapter").exists()
    # One adapter learns through both stages.
    first, last = adapter(run / "debias" / "model"), adapter(run)
    assert first.keys() == last.keys()
    changed = [not torch.equal(first[name], last[name]) for name in first]
    assert any(changed) and any(value.abs().max() > 0 for name, value in first.items() if ".lora_B." in name)
    large = max(file.stat().st_size for file in run.rglob("*.safetensors") if "checkpoint-" not in str(file))
    assert large < (language_model / "model.safetensors").stat().st_size


def test_a_run_starts_from_one(run: Path, write_recipe: Callable[..., Path], language_model: Path) -> None:
    """A rate of zero leaves adapter and projector as they were; the base is where the recipe says."""
    open_keys = dict.fromkeys(("encoder", "projector", "text_encoder", "lora"))
    named = {"language_model": {"name": str(language_model)}, "start_from": str(run)}
    recipe = load_recipe(write_recipe(limit=40, stages={"finetune": asked(training=NOTHING)}, **open_keys, **named))
    assert recipe.lora.r == 4
    again = run_recipe(recipe)
    for folder_of in (lambda folder: load_file(folder / "model.safetensors"), adapter):
        before, after = folder_of(run), folder_of(again)
        assert all(torch.equal(before[name], after[name]) for name in before)
    with pytest.raises(RecipeError, match=r"lora\.r is 8 and there 4"):
        load_recipe(write_recipe(stages={"finetune": asked()}, **open_keys | {"lora": {"r": 8}}, **named))


def test_merged_where_the_recipe_says_so(run: Path, write_recipe: Callable[..., Path], language_model: Path) -> None:
    open_keys = dict.fromkeys(("encoder", "projector", "text_encoder", "lora"))
    named = {"language_model": {"name": str(language_model), "merge": True}, "start_from": str(run)}
    whole = run_recipe(
        load_recipe(write_recipe(limit=40, stages={"finetune": asked(training=NOTHING)}, **open_keys, **named))
    )
    assert not (whole / "adapter").exists()
    merged = ECGLLMForConditionalGeneration.from_pretrained(whole).language_model.state_dict()
    trained = ECGLLMForConditionalGeneration.from_pretrained(run, adapter="merge", language_model=language_model)
    for name, value in trained.language_model.state_dict().items():
        assert torch.allclose(merged[name], value, atol=1e-6), name
    base = AutoModelForCausalLM.from_pretrained(language_model).state_dict()
    assert any(not torch.equal(base[name], value) for name, value in merged.items())


def test_another_checkpoints_encoder_before_any_language_model(
    run: Path, finished_run: Path, write_recipe: Callable[..., Path], language_model: Path
) -> None:
    """Of a whole model, of a dual encoder and of a trained-only one, whose language model is not needed for it."""
    named = {"language_model": {"name": str(language_model)}, "text_encoder": None, "stages": {"finetune": asked()}}
    for folder in (finished_run, finished_run / "pretrain" / "model", run):
        recipe = load_recipe(write_recipe(encoder={"from": str(folder)}, **named))
        assert recipe.encoder["hidden_size"] == 32 and recipe.feature_extractor["sampling_rate"] == 100
        start = start_of(recipe)
        own = {f"ecg_encoder.{name}": value for name, value in start.encoder().state_dict().items()}
        there = load_file(folder / "model.safetensors")
        assert own and all(torch.equal(value, there[name]) for name, value in own.items())
        assert not start.has_language_model
    with pytest.raises(RecipeError, match="encoder.hidden_size is 64 and there 32"):
        load_recipe(write_recipe(encoder={"from": str(finished_run), "hidden_size": 64}, **named))
    with pytest.raises(RecipeError, match="both given"):
        load_recipe(write_recipe(encoder={"from": str(finished_run)}, start_from=str(finished_run), **named))
    with pytest.raises(RecipeError, match="encoder: {from: FOLDER} takes the encoder alone"):
        load_recipe(write_recipe(encoder=None, projector=None, start_from=str(finished_run), **named))


def test_fsdp_on_cpus_is_refused(write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Accelerate would train whole copies in every process and say nothing."""
    divided = load_recipe(write_recipe(), ["stages.debias.training.fsdp=full_shard"])
    with pytest.raises(RecipeError, match=r"stages\.debias\.training\.fsdp asks for FSDP.* on CPUs"):
        run_recipe(divided)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    with pytest.raises(RecipeError, match="the launcher's configuration asks for FSDP"):
        run_recipe(load_recipe(write_recipe()))


def test_the_shipped_encoder_before_another_language_model(
    write_recipe: Callable[..., Path], language_model: Path
) -> None:
    named = {"language_model": {"name": str(language_model)}, "text_encoder": None}
    shipped = {"from": str(ROOT / "checkpoints" / "ecgllm-tiny")}
    recipe = load_recipe(write_recipe(encoder=shipped, limit=40, stages={"debias": asked(tune="frozen")}, **named))
    made = run_recipe(recipe)
    assert json.loads((made / "config.json").read_text())["trained_on"].count("simulated ECGs") == 2
    there = load_file(ROOT / "checkpoints" / "ecgllm-tiny" / "model.safetensors")
    own = {name: value for name, value in load_file(made / "model.safetensors").items() if "ecg_encoder" in name}
    assert own and all(torch.equal(value, there[name]) for name, value in own.items())
