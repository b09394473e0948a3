"""Gradient caching: the gradients of one pass over the batch in the memory of one chunk, by one process or two."""

import json
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from ecgllm import ECGEncoderConfig
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.contrastive import ContrastiveModel
from ecgllm.training.recipe import RecipeError, TextEncoderRecipe
from ecgllm.training.text_models import build_text_encoder
from ecgllm.training.trainers.gradient_cache import cached_step

from ...launching import launch_all
from ..conftest import ROOT, run_train_in_two

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}


def dual_encoder(loss: str, dropout: float = 0.0, statements: bool = True) -> ContrastiveModel:
    torch.manual_seed(0)
    config = {"model_type": "bert", **SIZES, "hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    text_encoder, _ = build_text_encoder(TextEncoderRecipe(config=config, vocab_size=300), ["a text"])
    encoder = ECGEncoderConfig(**SIZES, hidden_dropout=dropout, attention_dropout=dropout)
    dual = ContrastiveModel.from_encoder_and_text_encoder(encoder, text_encoder, projection_dim=16, loss_type=loss)
    if statements:
        dual.learn_statements(range(7))
    # In float64, where what is left of a difference is no rounding.
    return dual.double().train()


def batch(pairs: int = 10, statements: int = 7) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(150, 301, (pairs,), generator=draw)
    tokens = torch.randint(1, 12, (pairs, 1), generator=draw)
    return {
        "ecg_values": torch.randn(pairs, 12, 300, generator=draw).double(),
        "lead_mask": torch.rand(pairs, 12, generator=draw) > 0.1,
        "ecg_lengths": lengths,
        "input_ids": torch.randint(5, 200, (pairs, 12), generator=draw),
        "attention_mask": (torch.arange(12) < tokens).long(),
        "report_ids": torch.randint(0, 8, (pairs,), generator=draw),
        "statement_input_ids": torch.randint(5, 200, (statements, 4), generator=draw),
        "statement_attention_mask": torch.ones(statements, 4, dtype=torch.long),
        "statement_targets": torch.randint(-1, 2, (pairs, statements), generator=draw),
        "statement_weights": torch.rand(2, statements, generator=draw).double() + 0.5,
    }


def gradients(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def plain_step(model: ContrastiveModel, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
    model.zero_grad()
    loss = model(**inputs).loss
    loss.backward()
    return loss.detach()


def assert_equal_gradients(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys() and max(each.abs().max() for each in expected.values()) > 0.01
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-7, rtol=0, msg=lambda text, n=name: f"{n}: {text}")


@pytest.mark.parametrize("loss", ["infonce", "sigmoid"])
@pytest.mark.parametrize("text", ["report", "findings", "both"])
@pytest.mark.parametrize("chunk", [1, 4, 10, 64])
def test_loss_and_gradients_are_those_of_one_pass(loss: str, text: str, chunk: int) -> None:
    model = dual_encoder(loss, statements=text != "report")
    inputs = batch()
    left_out = {"report": "statement_", "findings": ("input_ids", "attention_mask", "report_ids"), "both": "no such"}
    inputs = {name: value for name, value in inputs.items() if not name.startswith(left_out[text])}
    if text == "findings":
        model.logit_scale.requires_grad_(False)
        if model.logit_bias is not None:
            model.logit_bias.requires_grad_(False)
    expected_loss = plain_step(model, inputs)
    expected = gradients(model)
    model.zero_grad()
    found = cached_step(model, inputs, chunk)
    assert abs(found - expected_loss) < 1e-7
    assert_equal_gradients(gradients(model), expected)


def test_dropout_is_the_same_when_a_chunk_is_run_again() -> None:
    """Against one pass with a graph that embeds chunk by chunk, and so draws the same random numbers."""
    model, inputs, chunk = dual_encoder("infonce", dropout=0.3), batch(), 4
    torch.manual_seed(5)
    parts = [slice(start, start + chunk) for start in range(0, 10, chunk)]
    ecg = torch.cat(
        [model.get_ecg_embeds(*(inputs[n][p] for n in ("ecg_values", "lead_mask", "ecg_lengths"))) for p in parts]
    )
    text = torch.cat([model.get_text_embeds(inputs["input_ids"][p], inputs["attention_mask"][p]) for p in parts])
    said = torch.cat(
        [
            model.get_text_embeds(inputs["statement_input_ids"][p], inputs["statement_attention_mask"][p])
            for p in (slice(0, 4), slice(4, 7))
        ]
    )
    expected_loss = model.loss_of_embeds(
        ecg, text, inputs["report_ids"], said, inputs["statement_targets"], inputs["statement_weights"]
    )
    expected_loss.backward()
    expected, after = gradients(model), torch.rand(1)
    model.zero_grad()
    torch.manual_seed(5)
    found = cached_step(model, inputs, chunk)
    assert abs(found - expected_loss) < 1e-7
    assert_equal_gradients(gradients(model), expected)
    assert torch.equal(torch.rand(1), after)  # and the next step draws what it would have drawn
    model.zero_grad()
    torch.manual_seed(6)
    assert abs(cached_step(model, inputs, chunk) - expected_loss) > 1e-4  # dropout did something


def test_mixed_precision_reaches_every_weight() -> None:
    """Autocast keeps weights that were cast without a graph, and would leave them without a gradient."""
    model = dual_encoder("infonce").float()
    inputs = {name: value.float() if value.is_floating_point() else value for name, value in batch().items()}

    def bfloat16() -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16)

    with bfloat16():
        plain_step(model, inputs)
    expected = gradients(model)
    model.zero_grad()
    cached_step(model, inputs, 4, bfloat16)
    found = gradients(model)
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        if gradient.norm() > 1e-3:
            assert torch.nn.functional.cosine_similarity(found[name].flatten(), gradient.flatten(), dim=0) > 0.95, name


def test_a_frozen_text_encoder_stays_frozen() -> None:
    model, inputs = dual_encoder("infonce"), batch()
    model.text_encoder.requires_grad_(False)
    plain_step(model, inputs)
    expected = gradients(model)
    model.zero_grad()
    cached_step(model, inputs, 4)
    assert_equal_gradients(gradients(model), expected)
    assert not any(name.startswith("text_encoder.") for name in expected)


def peak_bytes_for_backward(step: Callable[[], torch.Tensor]) -> int:
    """The most bytes that autograd keeps at any moment of a step."""
    kept = {"now": 0, "peak": 0}

    def release(size: int) -> None:
        kept["now"] -= size

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        held = tensor.detach().clone()
        size = held.numel() * held.element_size()
        kept["now"] += size
        kept["peak"] = max(kept["peak"], kept["now"])
        weakref.finalize(held, release, size)
        return held

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        step()
    return kept["peak"]


def test_memory_is_that_of_a_chunk() -> None:
    model = dual_encoder("infonce")
    small, large = batch(16), batch(64)
    plain_16, plain_64 = (
        peak_bytes_for_backward(lambda inputs=inputs: plain_step(model, inputs)) for inputs in (small, large)
    )
    cached_16, cached_64 = (
        peak_bytes_for_backward(lambda inputs=inputs: cached_step(model, inputs, 8)) for inputs in (small, large)
    )
    assert plain_64 > 3 * plain_16
    assert cached_64 < 1.1 * cached_16 < plain_64 / 4


DISTRIBUTED = """
import os, sys
sys.path.insert(0, root)
import torch, torch.distributed as dist
from tests.training.trainers.test_gradient_cache import (
    assert_equal_gradients, batch, dual_encoder, gradients, plain_step,
)
from ecgllm.training.trainers.gradient_cache import cached_step
rank = int(os.environ["RANK"])
cases = [(loss, batch()) for loss in ("infonce", "sigmoid")]
wholes = []
for loss, inputs in cases:
    model = dual_encoder(loss)
    wholes.append((plain_step(model, inputs), gradients(model)))
dist.init_process_group("gloo")
def share(inputs):
    whole = ("statement_input_ids", "statement_attention_mask", "statement_weights")
    return {name: value if name in whole else value[5 * rank : 5 * rank + 5] for name, value in inputs.items()}
for (loss, inputs), (expected_loss, expected) in zip(cases, wholes):
    for way in ("plain", "cached"):
        model = dual_encoder(loss)
        if way == "plain":
            # BERT's pooler is not used; Trainer sets this too.
            wrapped = torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
            found = wrapped(**share(inputs)).loss
            found.backward()
            found = found.detach()
        else:
            found = cached_step(model, share(inputs), 2)
        dist.all_reduce(found)
        assert abs(found / 2 - expected_loss) < 1e-7, (way, loss, found / 2, expected_loss)
        assert_equal_gradients(gradients(model), expected)
dist.destroy_process_group()
"""


def test_two_processes_have_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    """Of both losses, with reports and statements, by DDP's one pass and by chunks."""
    for process in launch_all(DISTRIBUTED, tmp_path, 2, root=str(ROOT)):
        process.wait()


# ---------------------------------------------------------------------------------------------------------------------
# In a run
# ---------------------------------------------------------------------------------------------------------------------

STAGE = {
    "batch_size": 8,
    "text": "both",
    "loss": "sigmoid",
    "training": {"max_steps": 8, "learning_rate": 2e-3, "logging_steps": 1, "save_steps": 4, "save_total_limit": 9},
}


def losses(run: Path) -> list[float]:
    log = json.loads((run / "metrics.json").read_text())["pretrain"]["log"]
    return [entry["loss"] for entry in log if "loss" in entry]


@pytest.fixture(scope="module")
def plain_run(write_recipe: Callable[..., Path]) -> Path:
    return run_recipe(load_recipe(write_recipe(stages={"pretrain": STAGE})))


def test_a_run_in_chunks_has_the_losses_of_one_without(plain_run: Path, write_recipe: Callable[..., Path]) -> None:
    run = run_recipe(load_recipe(write_recipe(stages={"pretrain": STAGE | {"cache_chunk": 3}})))
    np.testing.assert_allclose(losses(run), losses(plain_run), rtol=1e-5)


@pytest.mark.slow
def test_two_processes_in_chunks_have_the_losses_of_one(plain_run: Path, write_recipe: Callable[..., Path]) -> None:
    recipe = write_recipe(stages={"pretrain": STAGE | {"cache_chunk": 3}})
    run_train_in_two(recipe)
    np.testing.assert_allclose(losses(recipe.parent / "run"), losses(plain_run), rtol=1e-5)


@pytest.mark.slow
def test_a_run_in_chunks_taken_up_again_ends_in_the_same_bits(write_recipe: Callable[..., Path]) -> None:
    recipe = write_recipe(stages={"pretrain": STAGE | {"cache_chunk": 3}})
    overrides = ["encoder.hidden_dropout=0.2"]
    run = run_recipe(load_recipe(recipe, overrides))
    weights = (run / "pretrain" / "model" / "model.safetensors").read_bytes()
    for left in ("metrics.json", "model", "checkpoint-8"):
        path = run / "pretrain" / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    run_recipe(load_recipe(recipe, overrides))
    assert (run / "pretrain" / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stages.pretrain.cache_chunk=0", "cache_chunk is 0; expected 1 or more"),
        ("stages.debias.cache_chunk=4", "which says nothing to debias: it is for pretrain"),
        ("stages.pretrain={cache_chunk: 4, training: {fp16: true}}", "cache_chunk does not go with fp16"),
        ("stages.pretrain.gradient_accumulation_steps=2", "Set cache_chunk to bound the memory"),
    ],
)
def test_recipes_that_cannot_be_are_refused(write_recipe: Callable[..., Path], override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        load_recipe(write_recipe(), [override])
