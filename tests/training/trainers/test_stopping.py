"""Early stopping and the best checkpoint, in one go and after kills; what contradicts them is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from ecgllm.corpora import prepare
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError

# A rate at which validation soon gets worse.
STAGE = {
    "batch_size": 8,
    "evaluate": 0,
    "tune": "full",
    "early_stopping_patience": 2,
    "questions": {"per_record": 2, "types": ["verify"]},
    "training": {"max_steps": 90, "save_steps": 4, "logging_steps": 4, "learning_rate": 2e-2, "save_total_limit": 3},
}


class Killed(Exception):
    pass


class KillAt(TrainerCallback):
    """Ends the process' work as a kill would, as far as files are concerned."""

    def __init__(self, step: int | None = None):
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise Killed

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.step is None:
            raise Killed


def result(run: Path, stage: str = "finetune") -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    metrics = json.loads((run / stage / "metrics.json").read_text())
    return metrics, load_file(run / stage / "model" / "model.safetensors")


@pytest.fixture(scope="module", params=["full", pytest.param("lora", marks=pytest.mark.slow)])
def stopped(request: pytest.FixtureRequest, write_recipe: Callable[..., Path]) -> tuple[Path, Path]:
    """(recipe, run folder) of a run that stopped early."""
    file = write_recipe(stages={"finetune": STAGE | {"tune": request.param}})
    return file, run_recipe(load_recipe(file))


def test_it_stops_and_keeps_the_best(stopped: tuple[Path, Path]) -> None:
    metrics, weights = result(stopped[1])
    losses = {entry["step"]: entry["eval_loss"] for entry in metrics["log"] if "eval_loss" in entry}
    best = metrics["best"]["step"]
    during = {step: loss for step, loss in losses.items() if step <= metrics["steps"]}
    assert metrics["steps"] == best + 2 * 4 < 90
    assert metrics["best"]["value"] == min(during.values()) and metrics["best"]["metric"] == "loss"
    # what is validated at the end is what was kept
    assert metrics["validation"]["eval_loss"] == pytest.approx(metrics["best"]["value"], rel=1e-6)
    checkpoint = stopped[1] / "finetune" / f"checkpoint-{best}"
    if (checkpoint / "model.safetensors").exists():
        saved = load_file(checkpoint / "model.safetensors")
        assert all(torch.equal(saved[name], weights[name]) for name in saved)
    else:
        saved, kept = (
            load_file(folder / "adapter_model.safetensors") for folder in (checkpoint, stopped[1] / "finetune/adapter")
        )
        assert saved.keys() == kept.keys() and all(torch.equal(saved[name], kept[name]) for name in saved)


def test_killed_and_moved_it_ends_in_the_same_bits(stopped: tuple[Path, Path], tmp_path: Path) -> None:
    """Killed between two validations without a gain, then after it stopped; and moved in between."""
    metrics, weights = result(stopped[1])
    between = metrics["steps"] - 3
    with pytest.raises(Killed):
        run_recipe(load_recipe(stopped[0], [f"output={tmp_path / 'run'}"]), [KillAt(between)])
    shutil.move(tmp_path / "run", tmp_path / "moved")
    recipe = load_recipe(stopped[0], [f"output={tmp_path / 'moved'}"])
    with pytest.raises(Killed):
        run_recipe(recipe, [KillAt()])
    again, same = result(run_recipe(recipe))
    assert (again["steps"], again["best"]) == (metrics["steps"], metrics["best"])
    assert weights.keys() == same.keys() and all(torch.equal(weights[name], same[name]) for name in weights)
    assert [entry for entry in again["log"] if "loss" in entry] == [e for e in metrics["log"] if "loss" in e]


@pytest.mark.parametrize("strategy", ["steps", pytest.param("epoch", marks=pytest.mark.slow)])
def test_killed_after_its_last_step_it_takes_no_other(
    strategy: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    """The last step is in the middle of an epoch, and the rate has not fallen to zero there."""
    training = {"max_steps": 14, "save_steps": 7, "logging_steps": 7, "learning_rate": 1e-3}
    if strategy == "epoch":
        training = {"num_train_epochs": 2, "save_strategy": "epoch", "logging_steps": 7, "learning_rate": 1e-3}
    stage = {"batch_size": 9, "training": training | {"lr_scheduler_type": "constant", "eval_strategy": strategy}}
    file = write_recipe(stages={"pretrain": stage})
    metrics, weights = result(run_recipe(load_recipe(file)), "pretrain")
    recipe = load_recipe(file, [f"output={tmp_path / 'run'}"])
    with pytest.raises(Killed):
        run_recipe(recipe, [KillAt()])
    again, same = result(run_recipe(recipe), "pretrain")
    assert again["steps"] == metrics["steps"]
    assert all(torch.equal(weights[name], same[name]) for name in weights)


def test_the_best_checkpoint_without_early_stopping(write_recipe: Callable[..., Path]) -> None:
    stage = {key: value for key, value in STAGE.items() if key != "early_stopping_patience"}
    # The highest loss is that of the beginning.
    chosen = {"max_steps": 16, "load_best_model_at_end": True, "greater_is_better": True}
    stage["training"] = STAGE["training"] | chosen
    metrics, _ = result(run_recipe(load_recipe(write_recipe(stages={"finetune": stage}))))
    assert metrics["steps"] == 16 and metrics["best"]["step"] == 4


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("early_stopping_patience=0", "early_stopping_patience is 0; expected 1 or more"),
        ("training.load_best_model_at_end=false", "load_best_model_at_end is false; leave one of them out"),
        ("training.eval_strategy=epoch", "eval_strategy is 'epoch' while save_strategy is 'steps'"),
        ("training.eval_strategy=no", "eval_strategy is False while save_strategy is 'steps'"),
        ("training.save_strategy=no", "eval_strategy is False while save_strategy is False"),
        ("training.save_strategy='no'", "eval_strategy is 'no' while save_strategy is 'no'"),
        ("training.eval_steps=3", "save_steps 4 is not a multiple of eval_steps 3"),
        ("training.metric_for_best_model=accuracy", "a stage of questions is validated by loss"),
    ],
)
def test_contradictions_are_refused(write_recipe: Callable[..., Path], override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write_recipe(stages={"finetune": STAGE}), [f"stages.finetune.{override}"])


def test_nothing_to_validate_on_is_refused(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    corpus = prepare("simulation", limit=40)
    training = [row for row, split in enumerate(corpus["split"]) if split == "train"]
    corpus.select(training).save_to_disk(tmp_path / "own")
    recipe = load_recipe(write_recipe(stages={"finetune": STAGE}, data=str(tmp_path / "own"), corpus="own"))
    with pytest.raises(RecipeError, match="finetune has no validation examples, and is to be validated"):
        run_recipe(recipe)
