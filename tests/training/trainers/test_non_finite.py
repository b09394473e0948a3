"""A loss or gradient that is no number ends the run, names the batch, and reaches no checkpoint."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.prepared_signals import PreparedSignals
from ecgllm.training.run_folder import RunFolder
from ecgllm.training.trainers.non_finite import NonFiniteError, NonFiniteGuard

QUESTIONS = {
    "batch_size": 8,
    "evaluate": 0,
    "tune": "full",
    "cache_encoder": False,
    "questions": {"per_record": 2, "types": ["verify"]},
    "training": {"max_steps": 100, "save_steps": 2, "logging_steps": 1, "learning_rate": 1e-3},
}
REPORTS = {"batch_size": 8, "training": QUESTIONS["training"]}


class BadRecord(TrainerCallback):
    """From a step on, one record's signal is not a number."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: int):
        self.step, self.on, self.bad = step, False, ""
        read = PreparedSignals.__getitem__

        def spoiled(signals: PreparedSignals, record_id: str) -> dict[str, Any]:
            row = read(signals, record_id)
            if self.on and record_id == self.bad:
                return row | {"ecg_values": np.full_like(row["ecg_values"], np.nan)}
            return row

        monkeypatch.setattr(PreparedSignals, "__getitem__", spoiled)

    def on_train_begin(self, args: Any, state: Any, control: Any, train_dataloader: Any = None, **kwargs: Any) -> None:
        self.bad = train_dataloader.dataset.names(5)["records"][0]

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.on = state.global_step >= self.step


class BadGradient(TrainerCallback):
    """At a step, a gradient overflows although the loss is finite."""

    def __init__(self, step: int):
        self.step, self.now = step, 0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        weight = next(parameter for parameter in model.parameters() if parameter.requires_grad)
        weight.register_hook(lambda gradient: gradient * (torch.inf if self.now == self.step else 1.0))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.now = state.global_step + 1


def assert_the_last_checkpoint_is_good(run: Path, stage: str, before: int) -> None:
    checkpoint = RunFolder(run).last_checkpoint(stage)
    assert checkpoint is not None and 0 < int(checkpoint.name.split("-")[1]) < before
    assert all(torch.isfinite(value).all() for value in load_file(checkpoint / "model.safetensors").values())
    assert not (run / stage / "model").exists() and not (run / stage / "metrics.json").exists()


@pytest.mark.parametrize(("stage", "settings"), [("pretrain", REPORTS), ("finetune", QUESTIONS)])
def test_a_bad_record_is_named(
    stage: str,
    settings: dict[str, Any],
    write_recipe: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    recipe = load_recipe(write_recipe(stages={stage: settings}))
    spoil, run = BadRecord(monkeypatch, step=5), Path(recipe.output)
    with pytest.raises(NonFiniteError) as caught:
        run_recipe(recipe, [spoil])
    message, found = str(caught.value), json.loads((run / stage / "non_finite.json").read_text())
    assert f"{stage}, step {found['step']}: the loss is nan" in message and found["step"] > 5
    assert spoil.bad in message and "have a loss that is not finite on their own" in message
    assert len(found["batch"]) == 8
    assert found["not_finite_alone"] == [name for name in found["batch"] if spoil.bad in name["records"]]
    if stage == "finetune":
        assert all(name["question_id"] and name["question"] for name in found["batch"])
        assert found["not_finite_alone"][0]["question_id"] in message
    assert f"the last checkpoint is checkpoint-{(found['step'] - 1) // 2 * 2}" in message
    assert_the_last_checkpoint_is_good(run, stage, found["step"])
    assert all(np.isfinite(float(part.split()[0])) for part in capsys.readouterr().out.split("  loss ")[1:])


def test_a_gradient_alone_is_enough_and_a_sound_batch_is_listed(write_recipe: Callable[..., Path]) -> None:
    """With a batch in two parts, of which both are named."""
    settings = QUESTIONS | {"gradient_accumulation_steps": 2}
    recipe = load_recipe(write_recipe(stages={"finetune": settings}))
    with pytest.raises(NonFiniteError, match=r"finetune, step 6: the loss is [\d.]+, the gradient norm (inf|nan)"):
        run_recipe(recipe, [BadGradient(step=6)])
    found = json.loads((Path(recipe.output) / "finetune" / "non_finite.json").read_text())
    assert len(found["batch"]) == 8 and found["not_finite_alone"] == []
    assert_the_last_checkpoint_is_good(Path(recipe.output), "finetune", 6)


def test_the_guard_asks_the_device_once_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guard, asked = NonFiniteGuard(tmp_path / "finetune", lambda number: {"records": [str(number)]}), []
    to_bool = torch.Tensor.__bool__
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: asked.append(1) or to_bool(self))
    for _ in range(4):
        guard.add(torch.tensor([0, 1]), torch.tensor(1.0))
    guard.check(1, torch.tensor(2.0), None)
    assert len(asked) == 1
    guard.check(2, torch.tensor(torch.nan), None)  # nothing was added: a norm that someone else wanted to know
    guard.add(torch.tensor([0, 1]), torch.tensor(1.0))
    guard.check(2, None, None)  # fp16 skips such a step itself
    guard.add(torch.tensor([3]), torch.tensor(1.0))
    guard.add(torch.tensor([4, 5]), torch.tensor(torch.inf))
    with pytest.raises(NonFiniteError, match="its 3 examples: record 3; record 4; record 5. All are"):
        guard.check(3, None, None)
