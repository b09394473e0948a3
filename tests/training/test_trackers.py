"""What a run measures reaches the trackers that `report_to` names, and callbacks of one's own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback
from transformers.integrations import is_tensorboard_available

from ecgllm.training import load_recipe, run_recipe

STAGES = {
    "pretrain": {
        "batch_size": 8,
        "training": {"max_steps": 4, "logging_steps": 2, "eval_strategy": "steps", "eval_steps": 2},
    }
}


class Figures(TrainerCallback):
    """Keeps what a tracker would be sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, dict[str, float]]] = []

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        self.sent.append((Path(args.output_dir).name, state.global_step, dict(logs)))


def test_every_figure_reaches_a_callback(write_recipe: Callable[..., Path]) -> None:
    figures = Figures()
    run_recipe(load_recipe(write_recipe(stages=STAGES)), [figures])
    assert {stage for stage, _, _ in figures.sent} == {"pretrain"}
    assert [step for _, step, logs in figures.sent if "loss" in logs] == [2, 4]
    assert [step for _, step, logs in figures.sent if "eval_loss" in logs] == [2, 4, 4]
    assert all({"grad_norm", "learning_rate"} <= logs.keys() for _, _, logs in figures.sent if "loss" in logs)


@pytest.mark.skipif(not is_tensorboard_available(), reason="tensorboard is not installed")
def test_tensorboard_has_the_figures(write_recipe: Callable[..., Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    overrides = ["stages.pretrain.training.report_to=tensorboard"]
    run = run_recipe(load_recipe(write_recipe(stages=STAGES), overrides))
    (file,) = (run / "pretrain").rglob("events.out.tfevents.*")
    events = EventAccumulator(str(file))
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == [2, 4]
    assert [event.step for event in events.Scalars("eval/loss")] == [2, 4, 4]


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_tracker_that_is_installed_is_accepted(
    name: str, write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "ecgllm.training.recipe.forwarded_arguments.get_available_reporting_integrations", lambda: [name]
    )
    recipe = load_recipe(write_recipe(stages=STAGES), [f"stages.pretrain.training.report_to={name}"])
    assert recipe.stages["pretrain"].training["report_to"] == name
