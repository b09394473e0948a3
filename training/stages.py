"""The stages: what each builds, what of it learns, and what it saves.

In: a `StageContext` and a stage's recipe. Out: `<stage>/model`, a complete checkpoint, and `<stage>/metrics.json`,
written last. A stage builds its models from the recipe's seed and the checkpoint before it, and nothing else, so that
it can be killed anywhere and started again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedConfig, PreTrainedModel, TrainerCallback, TrainingArguments, set_seed

from ..configuration_ecgllm import as_encoder_config
from ..encoder_adapter_ecgllm import build_encoder
from ..modeling_ecgllm import ECGLLMForConditionalGeneration, ECGTextDualEncoder
from ..processing_ecgllm import ECGFeatureExtractor, ECGProcessor
from ..writing import written_whole
from .answers import answer_metrics
from .data.augmentations import Augmenter
from .data.encoded_signals import EncodedSignals, encode_signals, fingerprint
from .data.examples import QuestionCollator, QuestionExamples
from .data.prepared_signals import PreparedSignals
from .data.shared_ecgs import sharing_is_exact, why_not_shared
from .recipe import STAGES, QuestionStage, Recipe, RecipeError, StageRecipe
from .run_folder import RunFolder, versions
from .start_from import Start
from .text_models import build_language_model
from .trainers.progress import data_bars
from .trainers.stopping import stopping_callbacks
from .trainers.trainer import EXAMPLE_IDS, StageTrainer
from .tuning import (
    AdapterCheck,
    count_parameters,
    parameter_types,
    prepare_for_tuning,
    restore_types,
    trainable_table,
)


@dataclass
class StageContext:
    """What all stages of a run share.

    wait: until all processes have come here. callbacks: of every stage's Trainer. start: the checkpoint that the first
    stage starts from.
    """

    recipe: Recipe
    run: RunFolder
    corpus: Dataset
    signals: PreparedSignals
    texts: list[str] = field(repr=False)
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
        return as_encoder_config(self.recipe.encoder | {"preprocessing": self.feature_extractor.preprocessing})

    def split(self, name: str) -> Dataset:
        return select_split(self.corpus, name)

    def trained_on(self) -> str:
        """One line that says what the weights learned from."""
        if self.recipe.trained_on:
            return self.recipe.trained_on
        before = self.start.trained_on if self.start is not None else None
        return f"{before}; then {self._own_records()}" if before else self._own_records()

    def _own_records(self) -> str:
        count = self.corpus["split"][:].count("train")
        # By the records' own word: a prepared corpus may be another than the recipe names.
        sources = sorted(set(self.corpus["source"]))
        pretrain = self.recipe.stages.get("pretrain")
        if pretrain is not None and isinstance(pretrain.stream, str):
            return f"{count} ECGs of {', '.join(sources)}, and those streamed from {Path(pretrain.stream).name}"
        count += self.fresh_records()
        if sources == ["simulation"]:
            return f"{count} simulated ECGs, no patient's data"
        return f"{count} ECGs of {', '.join(sources)}"

    def fresh_records(self) -> int:
        """How many records beside the corpus' a stream of the simulator made for `pretrain`."""
        pretrain = self.recipe.stages.get("pretrain")
        if pretrain is None or pretrain.stream is not True:
            return 0
        return pretrain.training["max_steps"] * pretrain.batch_size


def select_split(corpus: Dataset, name: str) -> Dataset:
    """The records of one split."""
    return corpus.select([row for row, split in enumerate(corpus["split"]) if split == name])


# ---------------------------------------------------------------------------------------------------------------------
# debias, finetune
# ---------------------------------------------------------------------------------------------------------------------


def run_questions(context: StageContext, name: str, stage: QuestionStage, questions: dict[str, Dataset]) -> None:
    """Train on questions with answers; saves an ECG language model (and the adapter alone, where there is one)."""
    recipe, folder = context.recipe, context.run.stage(name)
    tune = stage.tune or recipe.language_model.tune

    def build() -> tuple[PreTrainedModel | PeftModel, ECGProcessor, dict[str, torch.dtype]]:
        set_seed(recipe.seed + STAGES.index(name))
        model, processor = _starting_model(context, name)
        types = parameter_types(model)
        if tune == "lora":
            _keep_base(model, processor, folder, save=PartialState().is_main_process)
        learning = {"encoder": stage.tune_encoder, "projector": stage.tune_projector}
        return prepare_for_tuning(model, tune, recipe.lora, **learning), processor, types

    model, processor, types = build()
    signals: dict[str, PreparedSignals | EncodedSignals] = dict.fromkeys(("train", "validation"), context.signals)
    augmenter = context.augmenter(stage)
    if stage.cache_encoder is not False and not stage.tune_encoder:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        signals = _encoded(context, base.ecg_encoder, processor.feature_extractor, questions, augmenter)
        augmenter = None  # its work is done
    train = QuestionExamples(questions["train"], signals["train"], processor, augmenter)
    validation = QuestionExamples(questions["validation"], signals["validation"], processor)
    print_skipped(train.skipped, "questions are about records without a usable signal")
    collator = QuestionCollator(processor)
    trainer = StageTrainer(
        model=model,
        args=training_arguments(recipe, stage, folder, len(train), label_names=["labels"]),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        data_collator=collator,
        train_collator=QuestionCollator(processor, stage.questions_per_row),
        group_by_length=stage.group_by_length,
        together=stage.questions_per_row,
        optimizer=stage.optimizer,
    )
    # Now that the model is where it will be trained.
    if stage.questions_per_row > 1 and not _can_share(model, train, processor):
        trainer.keep_apart()
    if isinstance(model, PeftModel):
        trainer.add_callback(AdapterCheck(model))
    metrics = train_stage(trainer, context, name)
    model = whole_model(trainer, model, lambda: build()[0])
    if not PartialState().is_main_process:
        return
    if isinstance(model, PeftModel):
        with written_whole(folder / "adapter") as partial:
            model.save_pretrained(partial)
        model = model.merge_and_unload()
    restore_types(model, types)
    save_checkpoint(model, folder / "model", [processor])
    metrics["answers"] = {}
    if len(questions.get(stage.evaluate_split, ())) and stage.evaluate:
        # Shuffled, because questions come type by type.
        asked = questions[stage.evaluate_split].shuffle(seed=recipe.seed)
        asked = asked.select(range(min(stage.evaluate, len(asked))))
        metrics["answers"] = answer_metrics(model, processor, asked, context.signals)
    metrics["answers_about"] = stage.evaluate_split
    _print_answers(metrics["answers"], stage.evaluate_split)
    context.run.mark_done(name, metrics)


def _can_share(model: Any, examples: QuestionExamples, processor: ECGProcessor) -> bool:
    """Whether questions about the same ECGs can share a row: whether there are such, and the model can do it.

    Found out by the main process, so that all have the same order of examples.
    """
    found = [_shares(model, examples, processor) if PartialState().is_main_process else None]
    return broadcast_object_list(found)[0]


def _shares(model: Any, examples: QuestionExamples, processor: ECGProcessor) -> bool:
    groups = examples.groups()
    pair = np.flatnonzero(groups == np.bincount(groups).argmax())[:2].tolist()
    if len(pair) < 2:
        return False
    reason = why_not_shared(model, int(examples.lengths().max()))
    if reason is None:
        chosen = [examples[number] for number in pair]
        apart, together = (QuestionCollator(processor, count)(chosen) for count in (1, 2))
        del apart[EXAMPLE_IDS], together[EXAMPLE_IDS]
        if sharing_is_exact(model, apart, together):
            return True
        reason = "it answers otherwise then"
    print(f"  several questions in a row are too much for this language model ({reason}): one question a row")
    return False


def _encoded(
    context: StageContext,
    encoder: PreTrainedModel,
    feature_extractor: ECGFeatureExtractor,
    questions: dict[str, Dataset],
    augmenter: Augmenter | None,
) -> dict[str, PreparedSignals | EncodedSignals]:
    """Split -> the records that its questions are about, encoded by the main process unless an earlier stage did it.

    Those of train are varied first, where there is an augmenter."""
    splits = {"train": augmenter, "validation": None}
    folders = {
        split: context.run.folder / "encoded" / fingerprint(encoder, feature_extractor, vary)
        for split, vary in splits.items()
    }
    if PartialState().is_main_process:
        for folder in dict.fromkeys(folders.values()):
            own = [split for split in splits if folders[split] == folder]
            asked = {name for split in own for ids in questions[split]["ecg_ids"] for name in ids}
            wanted = {record_id for record_id in asked if record_id in context.signals}
            there = EncodedSignals(folder).keys() if folder.is_dir() else set()
            if wanted <= there:
                continue
            before = encoder.device
            encoder.to(PartialState().device)
            with data_bars():
                encode_signals(
                    encoder, feature_extractor, context.signals, wanted | there, folder, augmenter=splits[own[0]]
                )
            encoder.to(before)  # where the rest of the model still is
    context.wait()
    # Nothing is encoded for a split without questions.
    return {split: EncodedSignals(own) if own.is_dir() else context.signals for split, own in folders.items()}


def _starting_model(context: StageContext, name: str) -> tuple[ECGLLMForConditionalGeneration, ECGProcessor]:
    """The model of the question stage before; else that of the checkpoint to start from, or a new one, around the
    pre-trained encoder (else the checkpoint's, else an untrained one)."""
    recipe, run = context.recipe, context.run
    before = [stage for stage in STAGES[: STAGES.index(name)] if stage in recipe.stages]
    if before and before[-1] != "pretrain":
        folder = run.stage(before[-1]) / "model"
        processor = ECGProcessor.from_pretrained(folder)
        return ECGLLMForConditionalGeneration.from_pretrained(folder), processor
    feature_extractor, start = context.feature_extractor, context.start
    encoder = None
    if before:
        encoder = ECGTextDualEncoder.from_pretrained(run.stage("pretrain") / "model").ecg_encoder
    if start is not None and start.has_language_model:
        model, processor = start.model()
        if encoder is not None:
            model.ecg_encoder = encoder.to(model.dtype)
        if encoder is not None or not start.weights:
            model.name_or_path = ""  # it is no longer that checkpoint, on which an adapter could stand
        model.config.trained_on = context.trained_on()
        return model, processor
    if recipe.language_model.name is None and recipe.language_model.config is None:
        raise RecipeError(
            f"start_from is {recipe.start_from}, an encoder without a language model; add a language_model."
        )
    language_model, tokenizer = build_language_model(recipe.language_model, context.texts)
    if encoder is None:
        encoder = build_encoder(context.encoder_config()) if start is None else start.encoder()
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder,
        language_model,
        tokenizer=tokenizer,
        trained_on=context.trained_on(),
        **recipe.projector.fields(),
    )
    return model, ECGProcessor.for_model(model, tokenizer, feature_extractor)


def _keep_base(model: ECGLLMForConditionalGeneration, processor: ECGProcessor, folder: Path, save: bool) -> None:
    """Make sure that the checkpoint on which a stage's adapter stands is on disk, and that the adapter names it.

    A stage that starts from the one before it stands on that stage's checkpoint; the first question stage stands on a
    model that was just put together, which is saved to `<stage>/base`.
    """
    base = Path(model.name_or_path) if model.name_or_path else None
    if base is None or not (base / "processor_config.json").is_file():
        base = folder / "base"
        if save and not base.is_dir():
            save_checkpoint(model, base, [processor])
    # Absolute, because an adapter's base is looked up from wherever it is loaded.
    model.name_or_path = str(base.resolve())


# ---------------------------------------------------------------------------------------------------------------------
# What stages share
# ---------------------------------------------------------------------------------------------------------------------


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
            # This asks the device after each part of a batch, and goes on; `StageTrainer`'s guard does so once a step.
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
        # Else the last batch of an epoch would differ with the number of processes, which fill it up to be equal.
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
    """The trained model, where FSDP or DeepSpeed left each process a part of it put together in the main process."""
    if not (trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled):
        return trainer.accelerator.unwrap_model(model)
    state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
    if not PartialState().is_main_process:
        return model
    whole = build()
    whole.load_state_dict(state)
    return whole


def save_checkpoint(model: PreTrainedModel, folder: Path, others: list[Any]) -> None:
    """Save a checkpoint so that the folder appears only once it is complete."""
    with written_whole(folder) as partial:
        model.save_pretrained(partial)
        for other in others:
            other.save_pretrained(partial)


def print_skipped(count: int, what: str) -> None:
    if count:
        PartialState().print(f"  {count} {what}; left out")


def _print_answers(answers: dict[str, Any], split: str) -> None:
    for kind, shares in answers.items():
        print(
            f"  answers  {kind:<30}{shares['exact_match']:>5.0%} right of {shares['questions']:>4} {split} "
            f"questions (always the commonest answer: {shares['commonest_answer']:.0%})"
        )
