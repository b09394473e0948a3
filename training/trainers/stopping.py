"""When a stage ends and which of its checkpoints it keeps, also after it was killed.

In: a stage's recipe and a Trainer's events. Out: the callbacks. Decided here: a run that was killed after its last
step, or moved, ends as if nothing had happened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback

from ..recipe import StageRecipe


def stopping_callbacks(stage: StageRecipe) -> list[TrainerCallback]:
    """Early stopping where the recipe asks for it, and the right end of resumed runs."""
    if stage.early_stopping_patience is None:
        return [TakenUp()]
    return [EarlyStopping(stage.early_stopping_patience, stage.early_stopping_threshold), TakenUp()]


class EarlyStopping(EarlyStoppingCallback):
    """transformers' early stopping, which also holds for a run that had stopped before it was killed."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True


class TakenUp(TrainerCallback):
    """Takes no further step if the last one was taken before the kill, and finds the best checkpoint after a move.

    `StageTrainer.get_batch_samples` returns no batch once training is to stop; Trainer would take one more step.
    """

    def __init__(self) -> None:
        self._was_over = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.max_steps and state.global_step >= state.max_steps:
            control.should_training_stop = True
        self._was_over = control.should_training_stop
        if state.best_global_step:
            best = Path(args.output_dir) / f"checkpoint-{state.best_global_step}"
            if best.is_dir():
                state.best_model_checkpoint = str(best)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._was_over:
            control.should_log = control.should_evaluate = control.should_save = False
