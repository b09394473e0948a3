"""ClassificationTrainer: the Trainer of `classify`.

In: what `StageTrainer` takes, with `ClassificationExamples`. Out: at every evaluation the loss and what
`compute_metrics` gives. Decided here: labels are of examples, not of tokens, and are validated as Trainer has it.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import Trainer

from .trainer import EXAMPLE_IDS, StageTrainer


class ClassificationTrainer(StageTrainer):
    """Trainer of an `ECGForSequenceClassification`."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, loss_counts_tokens=False, **kwargs)

    def prediction_step(
        self, model: Any, inputs: dict[str, Any], prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor | None]:
        inputs = {name: value for name, value in inputs.items() if name != EXAMPLE_IDS}
        return Trainer.prediction_step(self, model, inputs, prediction_loss_only, ignore_keys)
