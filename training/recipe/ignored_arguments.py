"""Which fields of `TrainingArguments` another one leaves without effect, so that a stage's `training` is not ignored.

In: what a stage sets under `training`. Out: (key, why) of what would be read and ignored. Decided here: a table of
dependences, read from transformers 5's Trainer; each line says in which case its keys do something. What a machine
decides (a single process ignores all that starts with ddp_) is not refused: a recipe is for any machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Training = Mapping[str, Any]

_WITHOUT_EFFECT = {
    "do_train": "a stage always trains",
    "do_eval": "set eval_strategy instead",
    "do_predict": "set evaluate in the stage instead",
    "resume_from_checkpoint": "a run goes on from its newest checkpoint by itself",
    "length_column_name": "lengths are the stage's own; set group_by_length in the stage instead",
    "data_seed": "the order follows from the recipe's seed; set that instead",
    "include_for_metrics": "a stage has its own metrics",
    "batch_eval_metrics": "a stage has its own metrics",
}
"""Fields that no stage has a use for."""


def _is_no(value: Any) -> bool:
    return value in ("no", False)  # YAML reads an unquoted no as false


def _by_steps(kind: str) -> Callable[[Training], bool]:
    return lambda training: training.get(f"{kind}_strategy", "steps") == "steps"


def _at_all(kind: str) -> Callable[[Training], bool]:
    return lambda training: not _is_no(training.get(f"{kind}_strategy", "steps"))


def _given(*keys: str) -> Callable[[Training], bool]:
    return lambda training: any(training.get(key) for key in keys)


def _tracked(*names: str) -> Callable[[Training], bool]:
    """Whether one of these trackers, or of all where none is named, is reported to."""

    def met(training: Training) -> bool:
        named = training.get("report_to", "none")
        named = [named] if isinstance(named, str) else named or []
        return any(one == "all" or one in names or (not names and one != "none") for one in named)

    return met


def _scheduled(*but: str) -> Callable[[Training], bool]:
    return lambda training: training.get("lr_scheduler_type") not in but


def _optimized(*parts: str) -> Callable[[Training], bool]:
    """Whether the optimizer's name has one of these parts."""
    return lambda training: any(part in str(training.get("optim", "adamw_torch")) for part in parts)


_WITH_EPSILON = ("adamw", "ademamix", "schedule_free_radam", "galore", "apollo")
# (keys, whether they do something given all of `training`, the way out, which follows "without")
_NEEDS: tuple[tuple[str, Callable[[Training], bool], str], ...] = (
    ("save_steps", _by_steps("save"), "save_strategy: steps"),
    (
        "save_total_limit save_only_model save_on_each_node",
        _at_all("save"),
        "a save_strategy; nothing is saved on the way",
    ),
    ("logging_steps", _by_steps("logging"), "logging_strategy: steps"),
    ("logging_first_step logging_nan_inf_filter", _at_all("logging"), "a logging_strategy"),
    (
        "hub_model_id hub_strategy hub_token hub_private_repo hub_always_push hub_revision",
        _given("push_to_hub"),
        "push_to_hub: true",
    ),
    (
        "gradient_checkpointing_kwargs activation_checkpointing_kwargs",
        _given("gradient_checkpointing", "activation_checkpointing"),
        "gradient_checkpointing: true",
    ),
    ("fsdp_config", _given("fsdp"), "fsdp"),
    ("liger_kernel_config", _given("use_liger_kernel"), "use_liger_kernel: true"),
    (
        "dataloader_prefetch_factor dataloader_persistent_workers dataloader_multiprocessing_context",
        _given("dataloader_num_workers"),
        "dataloader_num_workers: 1 or more",
    ),
    ("run_name", _tracked(), "report_to, the trackers that show it"),
    (
        "project trackio_space_id trackio_bucket_id trackio_static_space_id",
        _tracked("trackio"),
        "report_to: trackio",
    ),
    (
        "warmup_steps",
        _scheduled("constant", "reduce_lr_on_plateau", "greedy"),
        "a schedule that warms up; set lr_scheduler_type: constant_with_warmup",
    ),
    ("lr_scheduler_kwargs", _scheduled("constant"), "another schedule"),
    ("adam_beta1 adam_beta2", _optimized(*_WITH_EPSILON, "lion"), "an optimizer of Adam's kind; leave optim out"),
    ("adam_epsilon", _optimized(*_WITH_EPSILON), "an optimizer of Adam's kind; leave optim out"),
    ("optim_target_modules", _optimized("galore", "apollo"), "an optim of galore's or apollo's kind"),
)


def ignored_arguments(training: Training, validated: bool) -> list[tuple[str, str]]:
    """(training.KEY, why) of what would be ignored.

    Args: validated: whether the stage validates by itself, as early stopping and keeping the best checkpoint do.
    """
    found = [(f"training.{key}", f"({why})") for key, why in _WITHOUT_EFFECT.items() if key in training]
    for keys, met, way_out in _NEEDS:
        # Null and false ask for nothing, and so does a strategy's own word for nothing.
        asked = [key for key in keys.split() if training.get(key) not in (None, False)]
        found += [(f"training.{key}", f"without {way_out}") for key in asked if not met(training)]
    strategy = training.get("eval_strategy", "no")
    if "eval_steps" in training and not validated and (_is_no(strategy) or strategy == "epoch"):
        found.append(("training.eval_steps", "without eval_strategy: steps; set that, too"))
    if training.get("eval_delay") and not validated and _is_no(strategy):
        found.append(("training.eval_delay", "without an eval_strategy"))
    if "num_train_epochs" in training and training.get("max_steps", -1) > 0:
        steps = training["max_steps"]
        why = f"beside max_steps {steps}, which decides; leave it out, or set max_steps: null"
        found.append(("training.num_train_epochs", why))
    chosen = validated or training.get("save_strategy") == "best"
    chosen = chosen or training.get("lr_scheduler_type") == "reduce_lr_on_plateau"
    for key in ("metric_for_best_model", "greater_is_better"):
        if training.get(key) is not None and not chosen:
            found.append((f"training.{key}", "without load_best_model_at_end: true; set that, too"))
    return found
