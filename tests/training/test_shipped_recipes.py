"""Every shipped recipe runs with tiny models and data in place of its own; the launchers' files are Accelerate's."""

import json
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file

from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import QuestionStage
from ecgllm.training.start_from import find_start

from .conftest import ROOT
from .swapping import swapped

EXPERIMENTS = sorted((ROOT / "recipes" / "experiments").glob("*.yaml"))
RECIPES = sorted((ROOT / "recipes").glob("*.yaml")) + EXPERIMENTS
# Enough for one batch of 32.
RECORDS = 100
# All but the paper's form and the classifier: their stages, packed rows and starts are those of `test_run`,
# `test_start_from` and `test_pretrain_stage`.
QUICK = ("paper-small", "ptbxl-classify")


@pytest.mark.parametrize(
    "file", [pytest.param(f, marks=[] if f.stem in QUICK else [pytest.mark.slow], id=f.stem) for f in RECIPES]
)
def test_it_runs_swapped_for_tiny_models_and_data(file: Path, finished_run: Path, tmp_path: Path) -> None:
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    small = swapped(values, RECORDS, tmp_path / "run", start=finished_run)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(small, sort_keys=False), encoding="utf-8")
    recipe, own = load_recipe(tmp_path / "recipe.yaml"), load_recipe(file)
    # What the function leaves alone is what ships.
    for name, stage in recipe.stages.items():
        if isinstance(stage, QuestionStage):
            stated = {key: value for key, value in own.stages[name].questions.items() if key != "path"}
            assert {key: stage.questions[key] for key in stated} == stated
    assert recipe.feature_extractor.items() >= own.feature_extractor.items() and recipe.lora == own.lora
    run = run_recipe(recipe)
    config = json.loads((run / "config.json").read_text())
    assert (
        own.start_from
        or {"classify", "pretrain"} & {list(own.stages)[-1]}
        or config["projector_summary"] == own.projector.summary
    )
    metrics = json.loads((run / "metrics.json").read_text())
    assert list(metrics) == list(own.stages)
    validated = own.split.get("validation", 0.1) >= 0.1  # of a hundred records a smaller share may be none
    for stage in metrics.values():
        assert stage["steps"] == 4 and (not validated or stage["validation"]["eval_loss"] > 0)


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: file.stem)
def test_an_experiment_is_found_by_name(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From any folder, with the checkpoint that ships."""
    monkeypatch.chdir(tmp_path)
    for name in (f"experiments/{file.stem}", f"recipes/experiments/{file.name}"):
        recipe, path = load_recipe(name), file.relative_to(ROOT)
        assert recipe == load_recipe(ROOT / path) and find_start(recipe.encoder["from"]) is not None


def test_the_debiasing_experiment_differs_in_the_questions_alone() -> None:
    confounded, debiased = (
        yaml.safe_load((ROOT / "recipes" / "experiments" / f"{name}.yaml").read_text(encoding="utf-8"))
        for name in ("confounded", "debiased")
    )
    for values in (confounded, debiased):
        assert list(values["stages"]["finetune"].pop("questions")) == ["path"]
        assert values.pop("description") and values.pop("output")
    assert confounded == debiased


@pytest.mark.parametrize("file", sorted((ROOT / "recipes" / "accelerate").glob("*.yaml")), ids=lambda file: file.stem)
def test_accelerate_reads_its_file(file: Path) -> None:
    """With its own reader, which refuses keys that it does not know."""
    config = load_config_from_file(str(file))
    assert config.num_processes == 8 and config.mixed_precision == "bf16"
    if file.stem == "fsdp2":
        assert str(config.distributed_type) == "DistributedType.FSDP" and config.fsdp_config["fsdp_version"] == 2
    else:
        assert config.deepspeed_config["zero_stage"] == 3
        # It must be what the recipe's stages have.
        stages = load_recipe("mimic-llama3-8b").stages.values()
        steps = config.deepspeed_config["gradient_accumulation_steps"]
        assert {stage.gradient_accumulation_steps for stage in stages} == {steps}
