"""What a user sees of a run: one progress bar at a time and lines of figures, without the libraries' own bars.

In: a Trainer's events. Out: lines on stdout (through the bar where there is one); the bar goes to stderr and only
where a person watches. The figures themselves are kept in the stage's `metrics.json`.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import datasets
from tqdm.auto import tqdm
from transformers import PrinterCallback, ProgressCallback, Trainer, TrainerCallback
from transformers.utils import logging

# In the order in which a line shows them.
_SHOWN = {
    "loss": ".4f",
    "eval_loss": ".4f",
    "eval_zero_shot_auroc": ".3f",
    "eval_ecg_to_report_recall_at_10": ".1%",
    "grad_norm": ".3g",
    "learning_rate": ".2e",
    "epoch": ".2f",
}


class StageProgress(TrainerCallback):
    """One bar over a stage's steps; logged figures as lines above it."""

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self._began: tuple[float, int] | None = None  # when, and after how many steps

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._began = time.monotonic(), state.global_step
        if state.is_world_process_zero:
            # None: no bar where stderr is no terminal, so that a log file holds lines only
            disable = True if args.disable_tqdm else None
            self.bar = tqdm(
                total=state.max_steps, initial=state.global_step, disable=disable, unit="step", leave=False
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.update(state.global_step - self.bar.n)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if not state.is_world_process_zero or not {"loss", "eval_loss"} & set(logs or {}):
            return
        name = "validation" if "eval_loss" in logs else "train"
        figures = [
            f"{key.removeprefix('eval_')} {float(logs[key]):{form}}" for key, form in _SHOWN.items() if key in logs
        ]
        if left := self._left(state):
            figures.append(f"left {left}")
        tqdm.write(f"  step {state.global_step:>5}/{state.max_steps}  {name:<10}  {'  '.join(figures)}")

    def _left(self, state: Any) -> str | None:
        """How long the stage still takes, by the mean step until now, checkpoints and validation included."""
        if self._began is None or state.global_step <= self._began[1]:
            return None
        each = (time.monotonic() - self._began[0]) / (state.global_step - self._began[1])
        return tqdm.format_interval(each * (state.max_steps - state.global_step))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def use_stage_progress(trainer: Trainer) -> None:
    """Show this trainer's progress by `StageProgress` in place of the library's bars and printed dictionaries."""
    for callback in (ProgressCallback, PrinterCallback):
        trainer.remove_callback(callback)
    trainer.add_callback(StageProgress())


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences bars and remarks of libraries that a user cannot act on; restored afterwards."""
    transformers_bars, datasets_bars = logging.is_progress_bar_enabled(), datasets.are_progress_bars_disabled()
    logging.disable_progress_bar()
    datasets.disable_progress_bars()
    # It warns at every save on file systems with coarse times that it sorts checkpoints by number, which is right.
    checkpoints = logging.get_logger("transformers.trainer_utils")
    level = checkpoints.level
    checkpoints.setLevel(logging.ERROR)
    trainer = logging.get_logger("transformers.trainer")
    trainer.addFilter(_says_more_than_tied)
    try:
        with warnings.catch_warnings():
            # peft asks transformers by a name that transformers renames.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        checkpoints.setLevel(level)
        trainer.removeFilter(_says_more_than_tied)
        if transformers_bars:
            logging.enable_progress_bar()
        if not datasets_bars:
            datasets.enable_progress_bars()


def _says_more_than_tied(record: Any) -> bool:
    """False for the remark that tied weights, which are one tensor, are saved once."""
    return not record.getMessage().startswith("There were missing keys in the checkpoint model loaded")


@contextmanager
def data_bars() -> Iterator[None]:
    """Shows the bars of `datasets` on a terminal, for work that takes minutes (reading, preparing signals)."""
    disabled = datasets.are_progress_bars_disabled()
    if sys.stderr.isatty():
        datasets.enable_progress_bars()
    try:
        yield
    finally:
        if disabled:
            datasets.disable_progress_bars()
