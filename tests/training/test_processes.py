"""Two processes do what one does at the same global batch, step by step.

Not bit for bit: the two sum the same numbers in another order (per-process sums, then an all-reduce), and padding
within a process' share of a batch is another. The two also checkpoint activations, which changes no number, and with
which no parameter that learns may stay without a gradient (else Trainer lets DDP look for such). float32 keeps about 7
digits, of which optimizer steps magnify the last; the tolerances below are about ten times what was measured over 24
steps (see each).
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError

from .conftest import STAGES, run_train_in_two

RELATIVE = 1e-5
CHECKPOINTED = [f"stages.{stage}.training.gradient_checkpointing=true" for stage in STAGES]


def losses(run: Path, stage: str) -> list[float]:
    log = json.loads((run / stage / "metrics.json").read_text())["log"]
    # A run that learns nothing would have the losses of any other.
    assert all(entry["grad_norm"] > 1e-3 for entry in log if "loss" in entry)
    return [entry["loss"] for entry in log if "loss" in entry]


@pytest.fixture(scope="module")
def two_processes(write_recipe: Callable[..., Path]) -> Path:
    recipe = write_recipe()
    run_train_in_two(recipe, *CHECKPOINTED)
    return recipe.parent / "run"


@pytest.mark.slow
def test_torchrun_as_it_is_typed(write_recipe: Callable[..., Path], two_processes: Path) -> None:
    recipe = write_recipe()
    run_train_in_two(recipe, *CHECKPOINTED, torchrun=True)
    for stage in STAGES:
        assert losses(recipe.parent / "run", stage) == losses(two_processes, stage)


@pytest.mark.parametrize("stage", STAGES)
def test_two_processes_have_the_loss_curve_of_one(stage: str, two_processes: Path, finished_run: Path) -> None:
    world = [
        json.loads((run / stage / "metrics.json").read_text())["world_size"] for run in (two_processes, finished_run)
    ]
    assert world == [2, 1]
    two, one = losses(two_processes, stage), losses(finished_run, stage)
    assert len(one) == 24
    worst = max(abs(a - b) / abs(b) for a, b in zip(two, one, strict=True))
    print(f"{stage}: largest relative difference {worst:.1e}")
    assert worst < RELATIVE


def test_two_processes_measure_what_one_measures(two_processes: Path, finished_run: Path) -> None:
    """Every validation example once, although processes of unequal shares repeat some."""
    for stage in ("debias", "finetune"):
        two, one = (
            json.loads((run / stage / "metrics.json").read_text())["validation"]["eval_loss"]
            for run in (two_processes, finished_run)
        )
        assert two == pytest.approx(one, rel=1e-5)
    two, one = (
        json.loads((run / "pretrain" / "metrics.json").read_text())["validation"]
        for run in (two_processes, finished_run)
    )
    names = [name for name in one if "recall" in name or "rank" in name or name == "eval_reports"]
    assert len(names) == 9 and {name: two[name] for name in names} == {name: one[name] for name in names}


def test_more_processes_than_gpus_are_refused(write_recipe: Callable[..., Path], monkeypatch: Any) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(RecipeError, match="2 processes on a machine with 1 GPU; start one for each .*per_node 1"):
        run_recipe(load_recipe(write_recipe()))
