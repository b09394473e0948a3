"""What must make no difference: in how many parts a batch is worked off, whether questions share a row, and whether
encodings come from the cache.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import TrainerCallback

from ecgllm import ECGEncoder
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data import question_examples

ASKED = {
    "batch_size": 8,
    "evaluate": 0,
    "questions_per_row": 8,
    "tune": "full",
    # Answers of one word and of several, so that a mean of means would be another number.
    "questions": {"per_record": 4, "types": ["verify", "query", "comparison"]},
    "group_by_length": False,
    "training": {"max_steps": 1, "learning_rate": 1e-3, "logging_steps": 1, "max_grad_norm": 1e9},
}


class FirstGradients(TrainerCallback):
    """The gradients of the first step, as the optimizer gets them."""

    def __init__(self) -> None:
        self.found: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        if not self.found:
            parameters = model.named_parameters()
            self.found = {name: p.grad.clone() for name, p in parameters if p.grad is not None}


@pytest.fixture(scope="module")
def gradients(write_recipe: Callable[..., Path]) -> Callable[..., dict[str, torch.Tensor]]:
    def of(**changes: Any) -> dict[str, torch.Tensor]:
        callback = FirstGradients()
        whole = {"lora": changes.pop("lora")} if "lora" in changes else {}
        run_recipe(load_recipe(write_recipe(stages={"finetune": ASKED | changes}, limit=30, **whole)), [callback])
        return callback.found

    return of


@pytest.mark.parametrize("tune", ["full", pytest.param("lora", marks=pytest.mark.slow)])
def test_accumulation_does_not_bias_a_loss_that_counts_tokens(
    tune: str, gradients: Callable[..., dict[str, torch.Tensor]]
) -> None:
    whole, parts = (gradients(tune=tune, gradient_accumulation_steps=steps) for steps in (1, 4))
    assert whole.keys() == parts.keys() and len(whole) > 5
    largest = max(float(value.abs().max()) for value in whole.values())
    differences = {name: float((whole[name] - parts[name]).abs().max()) for name in whole}
    print(f"{tune}: largest gradient {largest:.2g}, largest difference {max(differences.values()):.1e}")
    assert max(differences.values()) < 1e-6 * max(largest, 1.0)


def test_a_mean_of_means_would_be_seen(gradients: Callable[..., dict[str, torch.Tensor]], monkeypatch: Any) -> None:
    """The check above is one: without the count of the whole batch's tokens the gradients differ by far more."""
    # Lists, which differ in length from one example to the next.
    asked = {"questions": {"per_record": 4, "types": ["query"]}}
    whole = gradients(**asked)
    monkeypatch.setattr("ecgllm.training.trainers.trainer.StageTrainer._get_num_items_in_batch", lambda *_: None)
    parts = gradients(**asked, gradient_accumulation_steps=8)
    assert max(float((whole[name] - parts[name]).abs().max()) for name in whole) > 1e-4


VARIED = {"augment": {"crop": 0.3, "amplitude": 0.2, "lead_dropout": 0.2}, "cache_encoder": False}


@pytest.mark.parametrize(
    ("tune", "changes"),
    [("lora", {}), *(pytest.param("full", changes, marks=pytest.mark.slow) for changes in ({}, VARIED))],
)
def test_questions_that_share_a_row_teach_what_they_teach_apart(
    tune: str,
    changes: dict[str, Any],
    gradients: Callable[..., dict[str, torch.Tensor]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = []

    def collator(processor: Any, together: int = 1) -> Any:
        collate = question_examples.QuestionCollator(processor, together if sharing else 1)

        def counted(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
            collated = collate(batch)
            if len(batch) == 16:
                rows.append(len(collated["input_ids"]))
            return collated

        return counted

    monkeypatch.setattr("ecgllm.training.question_stages.QuestionCollator", collator)
    found = []
    for sharing in (True, False):
        rows.clear()
        found.append(gradients(tune=tune, batch_size=16, lora={"r": 4, "dropout": 0.0}, **changes))
        assert rows and (min(rows) < 10) == sharing
    shared, apart = found
    assert shared.keys() == apart.keys() and len(shared) > 5
    largest = max(float(value.abs().max()) for value in apart.values())
    differences = {name: float((shared[name] - apart[name]).abs().max()) for name in apart}
    print(f"{tune}: largest gradient {largest:.2g}, largest difference {max(differences.values()):.1e}")
    assert max(differences.values()) < 1e-6 * max(largest, 1.0)


@pytest.mark.parametrize(
    "tune", ["full", *(pytest.param(tune, marks=pytest.mark.slow) for tune in ("lora", "frozen"))]
)
def test_training_from_the_cache_is_training_without_it_exactly(
    tune: str, write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, where an encoder gives a record the same numbers alone as in a batch.

    Matrix products of other shapes sum in another order, which is all that tells the two apart (a test of encoded
    signals bounds it); here every record goes through the encoder by itself, with the cache as without.
    """
    forward = ECGEncoder.forward

    def one_by_one(self: Any, ecg_values: torch.Tensor, **kwargs: Any) -> Any:
        rows = [
            forward(
                self,
                ecg_values[i : i + 1],
                **{k: v[i : i + 1] if torch.is_tensor(v) else v for k, v in kwargs.items()},
            )
            for i in range(len(ecg_values))
        ]
        rows[0].last_hidden_state = torch.cat([row.last_hidden_state for row in rows])
        rows[0].pooler_output = torch.cat([row.pooler_output for row in rows])
        return rows[0]

    monkeypatch.setattr(ECGEncoder, "forward", one_by_one)
    training = ASKED["training"] | {"max_steps": 12, "max_grad_norm": 1.0}
    ends = []
    for cached in (True, False):
        stage = ASKED | {"tune": tune, "cache_encoder": cached, "training": training}
        run = run_recipe(
            load_recipe(write_recipe(stages={"finetune": stage}, limit=30, lora={"r": 4, "dropout": 0.1}))
        )
        assert (run / "encoded").is_dir() == cached
        ends.append(load_file(run / "model.safetensors"))
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
