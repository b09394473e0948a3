"""Muon with AdamW for the rest is one optimizer: as each half alone, in schedules, checkpoints and taken-up runs."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, TrainingArguments

from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError
from ecgllm.training.trainers.optimizer import muon

LEARNING_RATE, WEIGHT_DECAY = 1e-2, 0.1


class Mixed(nn.Module):
    """A matrix with a bias, a norm, an embedding and an output tied to it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 6)
        self.hidden = nn.Linear(6, 6)
        self.norm = nn.LayerNorm(6)
        self.output = nn.Linear(6, 7, bias=False)
        self.output.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.output(self.norm(self.hidden(self.embedding(tokens)))).square().mean()


@pytest.fixture
def model() -> Mixed:
    torch.manual_seed(0)
    return Mixed()


@pytest.fixture
def arguments(tmp_path: Path) -> TrainingArguments:
    return TrainingArguments(str(tmp_path), learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY, use_cpu=True)


def step(model: nn.Module, *optimizers: torch.optim.Optimizer) -> None:
    model(torch.arange(7)).backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    model.zero_grad()


def made(model: nn.Module, arguments: TrainingArguments) -> torch.optim.Optimizer:
    return muon(model, arguments, lambda _: {"embedding.weight", "hidden.weight"})


def test_a_copy_goes_on_as_the_original(model, arguments) -> None:
    optimizer = made(model, arguments)
    step(model, optimizer)
    other_model, other = copy.deepcopy((model, optimizer))
    for group in other.param_groups:
        group["lr"] *= 0.5  # as a scheduler does: both halves of the copy must see it, and those of the original not
    for group in optimizer.param_groups:
        group["lr"] *= 0.5
    for _ in range(2):
        step(model, optimizer)
        step(other_model, other)
    before = Mixed.state_dict(model)
    for name, value in other_model.state_dict().items():
        assert torch.equal(value, before[name]), name
    step(other_model, other)
    assert not torch.equal(other_model.hidden.weight, model.hidden.weight)


def test_each_half_does_what_it_does_alone(model, arguments) -> None:
    alone = copy.deepcopy(model)
    halves = (
        torch.optim.Muon([alone.hidden.weight], LEARNING_RATE, WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW([alone.embedding.weight], LEARNING_RATE, weight_decay=WEIGHT_DECAY),
        torch.optim.AdamW([alone.hidden.bias, *alone.norm.parameters()], LEARNING_RATE, weight_decay=0.0),
    )
    optimizer = made(model, arguments)
    for _ in range(4):
        step(model, optimizer)
        step(alone, *halves)
    for name, parameter in alone.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=0, atol=0)


def test_a_schedule_reaches_both_halves(model, arguments) -> None:
    optimizer = made(model, arguments)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.0 if step else 1.0)
    step(model, optimizer)
    schedule.step()
    before = copy.deepcopy(model.state_dict())
    step(model, optimizer)
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_a_loaded_one_goes_on_as_the_one_that_was_saved(model, arguments) -> None:
    optimizer = made(model, arguments)
    for _ in range(3):
        step(model, optimizer)
    again = copy.deepcopy(model)
    loaded = made(again, arguments)
    loaded.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    assert len(optimizer.state) == len(list(model.parameters()))
    for _ in range(3):
        step(model, optimizer)
        step(again, loaded)
    schedule = torch.optim.lr_scheduler.LambdaLR(loaded, lambda step: 0.0)
    for name, parameter in again.named_parameters():
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=0, atol=0)
    step(again, loaded)
    schedule.step()
    for name, parameter in again.named_parameters():  # the groups that a schedule changes are those that are used
        torch.testing.assert_close(model.get_parameter(name), parameter, rtol=0, atol=0)


def test_matrices_alone_can_learn(model, arguments) -> None:
    for parameter in model.parameters():
        parameter.requires_grad = parameter is model.hidden.weight
    before = model.hidden.weight.detach().clone()
    step(model, made(model, arguments))
    assert not torch.equal(model.hidden.weight, before)


def test_no_matrix_is_refused(model, arguments) -> None:
    model.hidden.weight.requires_grad = False
    with pytest.raises(ValueError, match="of which none learns; take adamw"):
        made(model, arguments)


@pytest.mark.parametrize("tied", [True, False])
def test_what_stands_for_tokens_is_no_matrix(tied: bool, arguments) -> None:
    sizes = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=11, tie_word_embeddings=tied, **sizes))
    optimizer = muon(model, arguments, lambda _: ())
    matrices = {id(parameter) for parameter in optimizer.param_groups[0]["params"]}
    named = {name for name, parameter in model.named_parameters() if id(parameter) in matrices}
    assert len(named) == 7 and all(name.startswith("model.layers.0") for name in named)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))


@pytest.mark.slow
def test_a_run_taken_up_again_ends_in_the_same_weights(write_recipe: Callable[..., Path]) -> None:
    training = {"max_steps": 6, "learning_rate": 2e-3, "save_steps": 2, "save_total_limit": 9}
    stage = {"optimizer": "muon", "batch_size": 8, "training": training}
    asked = stage | {"tune": "full", "evaluate": 0, "questions": {"per_record": 2, "types": ["verify"]}}
    path = write_recipe(stages={"pretrain": stage, "debias": asked})
    run = run_recipe(load_recipe(path))
    weights = (run / "model.safetensors").read_bytes()
    for name in ("pretrain", "debias"):
        for left in ("metrics.json", "model", "checkpoint-4", "checkpoint-6"):
            place = run / name / left
            shutil.rmtree(place) if place.is_dir() else place.unlink()
    run_recipe(load_recipe(path))
    assert (run / "model.safetensors").read_bytes() == weights


def test_what_does_not_go_with_it_is_refused(write_recipe: Callable[..., Path]) -> None:
    overrides = ["stages.debias.optimizer=muon", "stages.debias.training.optim=adafactor"]
    with pytest.raises(RecipeError, match="muon and training.optim adafactor, but that is for other optimizers"):
        load_recipe(write_recipe(), overrides)
    with pytest.raises(RecipeError, match="muon and training.fsdp full_shard, but it needs whole matrices"):
        load_recipe(write_recipe(), ["stages.debias.optimizer=muon", "stages.debias.training.fsdp=full_shard"])
    with pytest.raises(RecipeError, match="optimizer is 'moun'"):
        load_recipe(write_recipe(), ["stages.debias.optimizer=moun"])
