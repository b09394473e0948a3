"""What all stages share: their context, the arguments of a Trainer, the training itself, and the saved checkpoint.

In: a run, and the recipe of a stage. Out: a trained model and its metrics. `pretrain_stage` and `question_stages` say
what each stage builds and what learns. Decided here: which training arguments every stage has, and that a checkpoint
appears only when it is complete.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedConfig, PreTrainedModel, TrainerCallback, TrainingArguments

from ..atomic_writing import written_whole
from ..configuration_ecgllm import as_encoder_config
from ..processing_ecgllm import ECGFeatureExtractor
from .data.augmentations import Augmenter
from .data.prepared_signals import PreparedSignals
from .recipe import Recipe, RecipeError, StageRecipe
from .run_folder import RunFolder, versions
from .start_from import Start
from .trainers.stopping import stopping_callbacks
from .trainers.trainer import StageTrainer
from .tuning import (
    count_parameters,
    trainable_table,
)


@dataclass
class StageContext:
    """What all stages of a run share.

    texts: on which new tokenizers are trained; asked_texts: further ones for that of the language model, which alone
    reads them. wait: a barrier for all processes. callbacks: of every stage's Trainer. start: the checkpoint that the
    first stage starts from.
    """

    recipe: Recipe
    run: RunFolder
    corpus: Dataset
    signals: PreparedSignals
    texts: list[str] = field(repr=False)
    asked_texts: list[str] = field(repr=False, default_factory=list)
    wait: Callable[[], None] = field(repr=False, default=lambda: None)
    callbacks: tuple[TrainerCallback, ...] = ()
    start: Start | None = None

    @property
    def feature_extractor(self) -> ECGFeatureExtractor:
        return ECGFeatureExtractor(**self.recipe.feature_extractor)

    def augmenter(self, stage: StageRecipe) -> Augmenter | None:
        """What varies a stage's training ECGs; None where nothing does. Raises: RecipeError."""
        if not stage.augment.stated():
            return None
        try:
            return Augmenter(stage.augment, self.feature_extractor, self.recipe.seed)
        except (ValueError, OSError) as error:
            raise RecipeError(f"augment: {error}") from error

    def encoder_config(self) -> PreTrainedConfig:
        return as_encoder_config(self.recipe.encoder_fields | {"preprocessing": self.feature_extractor.preprocessing})

    def split(self, name: str) -> Dataset:
        return select_split(self.corpus, name)

    def trained_on(self) -> str:
        """One line that says what the weights learned from."""
        if self.recipe.trained_on:
            return self.recipe.trained_on
        before = self.start.trained_on if self.start is not None else None
        return f"{before}; then {self._own_records()}" if before else self._own_records()

    def describe(self, model: PreTrainedModel) -> None:
        """Write into a model's configuration what its answers and its card say of it."""
        model.config.trained_on = self.trained_on()
        start = self.start
        goes_on = start is not None and start.weights and not start.encoder_only
        before = getattr(start.config, "card_data", None) if goes_on else None
        made_of = {key: value for key, value in (before or {}).items() if key == "base_model"}
        # Questions, findings and reports are put in English, whatever a language model knows beside it.
        model.config.card_data = {"language": "en"} | made_of | self.recipe.card

    def _own_records(self) -> str:
        count = self.corpus["split"][:].count("train")
        # From the records, not from the recipe: a prepared corpus may come from elsewhere than the recipe says.
        sources = sorted(set(self.corpus["source"]))
        pretrain = self.recipe.stages.get("pretrain")
        if pretrain is not None and isinstance(pretrain.stream, str):
            return f"{count} ECGs of {', '.join(sources)}, and those streamed from {Path(pretrain.stream).name}"
        count += self.fresh_records()
        if sources == ["simulation"]:
            return f"{count} simulated ECGs, no patient's data"
        return f"{count} ECGs of {', '.join(sources)}"

    def fresh_records(self) -> int:
        """How many records a stream of the simulator made for `pretrain`, beside those of the corpus."""
        pretrain = self.recipe.stages.get("pretrain")
        if pretrain is None or pretrain.stream is not True:
            return 0
        return pretrain.training["max_steps"] * pretrain.batch_size


def select_split(corpus: Dataset, name: str) -> Dataset:
    """The records of one split."""
    return corpus.select([row for row, split in enumerate(corpus["split"]) if split == name])


def training_arguments(
    recipe: Recipe, stage: StageRecipe, folder: Path, num_examples: int, label_names: list[str]
) -> TrainingArguments:
    world_size = PartialState().num_processes
    parts = world_size * stage.gradient_accumulation_steps
    if stage.batch_size % parts:
        raise RecipeError(
            f"batch_size {stage.batch_size} cannot be divided over {world_size} processes with "
            f"{stage.gradient_accumulation_steps} accumulation steps; choose a multiple of {parts}."
        )
    if num_examples < stage.batch_size:
        raise RecipeError(
            f"{folder.name} has {num_examples} training examples, fewer than its batch_size {stage.batch_size}; take "
            "more records or a smaller batch."
        )
    settings = (
        stage.stopping_arguments()
        | {
            "logging_steps": 10,
            "save_steps": 200,
            "save_total_limit": 2,
            "report_to": "none",
            # This would wait for the device after each part of a batch, and not stop; `StageTrainer`'s guard checks
            # once a step.
            "logging_nan_inf_filter": False,
            "lr_scheduler_type": "cosine",
            "warmup_steps": 0.1,
            "weight_decay": 1e-4,
            "use_cpu": not torch.accelerator.is_available(),
            # Pinned memory is for copies to a GPU, and warns without one.
            "dataloader_pin_memory": torch.cuda.is_available(),
        }
        | stage.training
    )
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=stage.batch_size // parts,
        per_device_eval_batch_size=stage.batch_size // parts,
        gradient_accumulation_steps=stage.gradient_accumulation_steps,
        seed=recipe.seed,
        remove_unused_columns=False,
        label_names=label_names,
        # Otherwise the last batch of an epoch would depend on the number of processes, which pad it to equal parts.
        dataloader_drop_last=True,
        **settings,
    )
    if world_size == 1 and arguments.n_gpu > 1:
        # Trainer would spread one process over all GPUs (DataParallel) and multiply the batch; torchrun uses them all.
        arguments._n_gpu = 1
    return arguments


def train_stage(trainer: StageTrainer, context: StageContext, name: str) -> dict[str, Any]:
    state, stage = PartialState(), context.recipe.stages[name]
    for callback in (*stopping_callbacks(stage), *context.callbacks):
        trainer.add_callback(callback)
    state.print(trainable_table(trainer.model))
    parameters = count_parameters(trainer.model)  # before FSDP divides them
    checkpoint = context.run.last_checkpoint(name)
    if checkpoint is not None:
        state.print(f"  going on from {checkpoint.name}")
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = {"train": result.metrics, "world_size": state.num_processes, "versions": versions()}
    metrics |= {"steps": trainer.state.global_step, "parameters": parameters}
    per_second = result.metrics.get("train_steps_per_second")
    metrics["seconds_per_step"] = 1 / per_second if per_second else None
    if trainer.args.load_best_model_at_end:
        best = {"step": trainer.state.best_global_step, "value": trainer.state.best_metric}
        metrics["best"] = best | {"metric": trainer.args.metric_for_best_model}
        state.print(
            f"  {metrics['steps']} of {trainer.state.max_steps} steps; kept: the weights of step {best['step']}, with "
            f"{trainer.args.metric_for_best_model} {best['value']:.4f} on validation"
        )
    if trainer.eval_dataset is not None:
        metrics["validation"] = trainer.evaluate()
    return metrics | {"log": trainer.state.log_history}


def whole_model(trainer: StageTrainer, model: PreTrainedModel, build: Callable[[], PreTrainedModel]) -> Any:
    """The trained model. Where FSDP or DeepSpeed left a part of it in each process, the main process gets the
    whole."""
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return trainer.accelerator.unwrap_model(model)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not PartialState().is_main_process:
        return model
    whole = build()
    whole.load_state_dict(state)
    return whole


def save_checkpoint(model: PreTrainedModel, folder: Path, others: list[Any], **options: Any) -> None:
    """Save a checkpoint so that the folder appears only once it is complete. options: of `save_pretrained`."""
    model.is_described = True  # `StageContext.describe`, in this stage or the first
    with written_whole(folder) as partial:
        model.save_pretrained(partial, **options)
        for other in others:
            other.save_pretrained(partial)


def print_skipped(count: int, what: str) -> None:
    if count:
        PartialState().print(f"  {count} {what}; left out")
