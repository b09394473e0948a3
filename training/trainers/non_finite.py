"""The guard against losses and gradients that are not finite: a run ends before one of them reaches a weight.

In: what a Trainer computes in a step. Out: nothing, or a `NonFiniteError` that names stage, step and examples, and
`<stage>/non_finite.json` that lists them. Decided here: the values are read once, before each optimizer step, in place
of Trainer's own check after every part of a batch (`logging_nan_inf_filter`). A single process then tries each example
alone, which distinguishes a bad record from a diverged model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ...errors_ecgllm import ECGError
from ..run_folder import RunFolder, write_json

_NAMED = 5  # examples in the message; the file has all


class NonFiniteError(ECGError):
    """A loss or a gradient norm is not finite; the message names the batch."""


class NonFiniteGuard:
    """Keeps the parts of a batch between two steps of the optimizer, and checks them before the second.

    names: what an example is called, by its number in the data set; see `QuestionExamples.names`.
    """

    def __init__(self, folder: Path, names: Callable[[int], dict[str, Any]]):
        self.folder, self.names = folder, names
        self._examples: list[torch.Tensor] = []
        self._loss: torch.Tensor | None = None

    def add(self, example_ids: torch.Tensor | None, loss: torch.Tensor) -> None:
        """Add a part of the batch and its loss, without waiting for the device."""
        if example_ids is not None:
            self._examples.append(example_ids)
        # A sum is not finite as soon as one of its terms is not.
        self._loss = loss.detach() if self._loss is None else self._loss + loss.detach()

    def check(
        self, step: int, gradient_norm: torch.Tensor | float | None, loss_alone: Callable[[int], float] | None
    ) -> None:
        """Check the parts that were added since the last call.

        gradient_norm: None where it may be infinite, as with the scaled losses of fp16. loss_alone: the loss of one
        example by its number, where it can be computed.
        Raises: NonFiniteError.
        """
        examples, loss = self._examples, self._loss
        self._examples, self._loss = [], None
        if loss is None:
            return
        norm = loss.new_zeros(()) if gradient_norm is None else torch.as_tensor(gradient_norm, device=loss.device)
        if hasattr(norm, "full_tensor"):  # FSDP's
            norm = norm.full_tensor()
        if bool(torch.isfinite(loss + norm.to(loss.dtype))):
            return
        numbers = [number for part in examples for number in part.tolist()]
        self._refuse(step, float(loss), None if gradient_norm is None else float(norm), numbers, loss_alone)

    def _refuse(
        self,
        step: int,
        loss: float,
        norm: float | None,
        numbers: list[int],
        loss_alone: Callable[[int], float] | None,
    ) -> None:
        stage = self.folder.name
        batch = [self.names(number) for number in numbers]
        alone = []
        if loss_alone is not None:
            losses = map(loss_alone, numbers)
            alone = [name for name, own in zip(batch, losses, strict=True) if not math.isfinite(own)]
        file = self.folder / "non_finite.json"
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            file = file.with_name(f"non_finite-{torch.distributed.get_rank()}.json")
        write_json(
            file,
            # JSON has no NaN.
            {"step": step, "loss": str(loss), "gradient_norm": str(norm), "batch": batch, "not_finite_alone": alone},
        )
        if alone:
            said = f"{len(alone)} of its {len(batch)} examples have a loss that is not finite on their own: "
        else:
            said = f"its {len(batch)} examples: "
        named = alone or batch
        said += "; ".join(map(_sentence, named[:_NAMED])) + ("; ..." if len(named) > _NAMED else "")
        checkpoint = RunFolder(self.folder.parent).last_checkpoint(stage)
        kept = (
            f"the last checkpoint is {checkpoint.name}" if checkpoint else "there is no checkpoint of this stage yet"
        )
        raise NonFiniteError(
            f"{stage}, step {step}: the loss is {loss:g}"
            + ("" if norm is None else f", the gradient norm {norm:g}")
            + f". The batch, {said}. All are listed in {file}. Nothing of this step is saved; {kept}. Look at these "
            "records; where nothing is wrong with them, the model diverged: take a lower learning_rate, a lower "
            "max_grad_norm or bf16 in place of fp16, and another output."
        )


def _sentence(name: dict[str, Any]) -> str:
    records = ", ".join(name["records"])
    question = name.get("question_id")
    return f"question {question} about {records}" if question else f"record {records}"
