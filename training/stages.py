"""The stages: what each builds, what of it learns, and what it saves.

In: a `StageContext` and a stage's recipe. Out: `<stage>/model`, a complete checkpoint, and `<stage>/done.json` with
the metrics, written last. A stage builds its models from the recipe's seed and the checkpoint before it, and nothing
else, so that it can be killed anywhere and started again.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel, Trainer, TrainingArguments, set_seed

from ..configuration_ecgllm import ECGEncoderConfig
from ..modeling_ecgllm import ECGEncoder, ECGLLMForConditionalGeneration, ECGTextDualEncoder
from ..processing_ecgllm import ECGFeatureExtractor, ECGProcessor
from .answers import answer_metrics
from .examples import QuestionCollator, QuestionExamples, ReportCollator, ReportPairs
from .prepared_signals import PreparedSignals
from .recipe import STAGES, LoraRecipe, Recipe, RecipeError, StageRecipe
from .run_folder import RunFolder
from .text_models import build_language_model, build_text_encoder


@dataclass
class StageContext:
    """What all stages of a run share."""

    recipe: Recipe
    run: RunFolder
    corpus: Dataset
    signals: PreparedSignals
    texts: list[str] = field(repr=False)

    @property
    def feature_extractor(self) -> ECGFeatureExtractor:
        return ECGFeatureExtractor(**self.recipe.feature_extractor)

    def split(self, name: str) -> Dataset:
        return self.corpus.filter(lambda value: value == name, input_columns="split", load_from_cache_file=False)

    def trained_on(self) -> str:
        """One line that says what the weights learned from."""
        if self.recipe.trained_on:
            return self.recipe.trained_on
        count = sum(split == "train" for split in self.corpus["split"])
        if self.recipe.corpus == "simulation":
            return f"{count} simulated ECGs, no patient's data"
        return f"{count} ECGs of the corpus {self.recipe.corpus}"


# ---------------------------------------------------------------------------------------------------------------------
# pretrain
# ---------------------------------------------------------------------------------------------------------------------


class ContrastiveTrainer(Trainer):
    """Trainer for a loss that is a mean over pairs of the whole batch, not a sum over tokens."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        # The model takes any keyword, from which Trainer would conclude that it normalises by a count of tokens.
        self.model_accepts_loss_kwargs = False


def run_pretrain(context: StageContext, stage: StageRecipe) -> None:
    """Contrastive pre-training of the encoder on ECG-report pairs; saves a dual encoder."""
    recipe, folder = context.recipe, context.run.stage("pretrain")
    if stage.gradient_accumulation_steps != 1:
        raise RecipeError(
            "stages.pretrain.gradient_accumulation_steps is not 1: parts of a batch would not see each other's "
            "negatives, which changes the loss. Use a smaller batch_size or more processes."
        )
    set_seed(recipe.seed)
    text_encoder, tokenizer = build_text_encoder(recipe.text_encoder, context.texts)
    feature_extractor = context.feature_extractor
    encoder_config = ECGEncoderConfig(**recipe.encoder, preprocessing=feature_extractor.preprocessing)
    set_seed(recipe.seed)
    model = ECGTextDualEncoder.from_encoder_and_text_encoder(
        encoder_config, text_encoder, projection_dim=stage.projection_dim, loss_type=stage.loss
    )
    if recipe.text_encoder.tune == "frozen":
        model.text_encoder.requires_grad_(False)
    train = ReportPairs(context.split("train"), context.signals)
    validation = ReportPairs(context.split("validation"), context.signals)
    _print_skipped("pretrain", train.skipped, "records have no report or no usable signal")
    trainer = ContrastiveTrainer(
        model=model,
        args=_training_arguments(recipe, stage, folder, len(train), dataloader_drop_last=True),
        train_dataset=train,
        eval_dataset=validation or None,
        data_collator=ReportCollator(feature_extractor, tokenizer, _max_text_length(text_encoder)),
    )
    metrics = _train(trainer, context, "pretrain")
    if trainer.is_world_process_zero():
        _save(model, folder / "model", [feature_extractor, tokenizer])
        context.run.mark_done("pretrain", metrics)


def _max_text_length(text_encoder: PreTrainedModel) -> int:
    return min(getattr(text_encoder.config, "max_position_embeddings", None) or 512, 512)


# ---------------------------------------------------------------------------------------------------------------------
# debias, finetune
# ---------------------------------------------------------------------------------------------------------------------


def run_questions(context: StageContext, name: str, stage: StageRecipe, questions: dict[str, Dataset]) -> None:
    """Train on questions with answers; saves an ECG language model (and the adapter alone, where there is one)."""
    recipe, folder = context.recipe, context.run.stage(name)
    set_seed(recipe.seed + STAGES.index(name))
    model, processor = _starting_model(context, name)
    tune = stage.tune or recipe.language_model.tune
    trained = prepare_for_tuning(model, tune, recipe.lora, encoder=stage.tune_encoder, projector=stage.tune_projector)
    train = QuestionExamples(questions["train"], context.signals, processor)
    validation = QuestionExamples(questions["validation"], context.signals, processor)
    _print_skipped(name, train.skipped, "questions are about records without a usable signal")
    trainer = Trainer(
        model=trained,
        args=_training_arguments(recipe, stage, folder, len(train)),
        train_dataset=train,
        eval_dataset=validation or None,
        data_collator=QuestionCollator(processor),
    )
    metrics = _train(trainer, context, name)
    if not trainer.is_world_process_zero():
        return
    if isinstance(trained, PeftModel):
        trained.save_pretrained(folder / "adapter")
        model = trained.merge_and_unload()
    model.requires_grad_(True)
    _save(model, folder / "model", [processor])
    rows = questions["validation"].select(range(min(stage.evaluate, len(questions["validation"]))))
    metrics["answers"] = answer_metrics(model, processor, rows, context.signals)
    context.run.mark_done(name, metrics)


def _starting_model(context: StageContext, name: str) -> tuple[ECGLLMForConditionalGeneration, ECGProcessor]:
    """The model of the question stage before, or a new one around the pre-trained (else an untrained) encoder."""
    recipe, run = context.recipe, context.run
    before = [stage for stage in STAGES[: STAGES.index(name)] if stage in recipe.stages]
    if before and before[-1] != "pretrain":
        folder = run.stage(before[-1]) / "model"
        return ECGLLMForConditionalGeneration.from_pretrained(folder), ECGProcessor.from_pretrained(folder)
    language_model, tokenizer = build_language_model(recipe.language_model, context.texts)
    feature_extractor = context.feature_extractor
    if before:
        encoder = ECGEncoder.from_pretrained(run.stage("pretrain") / "model")
    else:
        encoder = ECGEncoder(ECGEncoderConfig(**recipe.encoder, preprocessing=feature_extractor.preprocessing))
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder,
        language_model,
        recipe.projector.type,
        tokenizer=tokenizer,
        patches_per_token=recipe.projector.patches_per_token,
        projector_hidden_size=recipe.projector.hidden_size,
        trained_on=context.trained_on(),
    )
    return model, ECGProcessor.for_model(model, tokenizer, feature_extractor)


def prepare_for_tuning(
    model: ECGLLMForConditionalGeneration,
    tune: str,
    lora: LoraRecipe,
    encoder: bool = False,
    projector: bool = True,
) -> PreTrainedModel | PeftModel:
    """Set what learns: the language model by `tune` ("frozen", "lora", "full"), encoder and projector by flag.

    With "lora" the result is a PEFT model whose adapter folder holds the adapter and, where it learns, the projector;
    encoder weights are never part of an adapter.
    Raises: RecipeError when nothing would learn, or the encoder is to learn beside LoRA.
    """
    model.requires_grad_(False)
    model.projector.requires_grad_(projector)
    model.ecg_encoder.requires_grad_(encoder)
    if tune == "lora":
        if encoder:
            raise RecipeError("tune_encoder goes with tune: full or frozen; an adapter holds no encoder weights.")
        return get_peft_model(model, lora_config(lora, projector))
    model.language_model.requires_grad_(tune == "full")
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise RecipeError("Nothing learns in this stage: tune is frozen, tune_encoder and tune_projector are false.")
    return model


def lora_config(lora: LoraRecipe, projector: bool = True) -> LoraConfig:
    """LoRA on the language model only: a bare layer name or "all-linear" would also match layers of the encoder."""
    if lora.target_modules == "all-linear":
        targets = {"target_modules": "all-linear", "exclude_modules": r"(.*\.)?(ecg_encoder|projector)\..*"}
    else:
        names = [lora.target_modules] if isinstance(lora.target_modules, str) else lora.target_modules
        targets = {"target_modules": rf"(.*\.)?language_model\..*\.({'|'.join(map(re.escape, names))})"}
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        modules_to_save=["projector"] if projector else None,
        task_type=None,
        **targets,
    )


# ---------------------------------------------------------------------------------------------------------------------
# What stages share
# ---------------------------------------------------------------------------------------------------------------------


def _training_arguments(
    recipe: Recipe, stage: StageRecipe, folder: Path, num_examples: int, **more: Any
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
    settings = {
        "logging_steps": 10,
        "save_steps": 200,
        "save_total_limit": 2,
        "report_to": "none",
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "weight_decay": 1e-4,
    } | stage.training
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=stage.batch_size // parts,
        per_device_eval_batch_size=stage.batch_size // parts,
        gradient_accumulation_steps=stage.gradient_accumulation_steps,
        seed=recipe.seed,
        remove_unused_columns=False,
        label_names=["labels"],
        **more,
        **settings,
    )


def _train(trainer: Trainer, context: StageContext, name: str) -> dict[str, Any]:
    if trainer.is_world_process_zero():
        print(trainable_table(trainer.model))
    checkpoint = context.run.last_checkpoint(name)
    if checkpoint is not None:
        PartialState().print(f"Going on from {checkpoint}")
    result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    metrics = {"train": result.metrics, "world_size": PartialState().num_processes}
    if trainer.eval_dataset is not None:
        metrics["validation"] = trainer.evaluate()
    return metrics | {"log": trainer.state.log_history}


def trainable_table(model: torch.nn.Module) -> str:
    """What learns: parameters and trainable parameters by part of the model."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    rows = [
        (
            part,
            sum(p.numel() for p in module.parameters()),
            sum(p.numel() for p in module.parameters() if p.requires_grad),
        )
        for part, module in base.named_children()
    ]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    lines = [f"{'part':<18}{'parameters':>14}{'trainable':>14}"]
    return "\n".join(lines + [f"{part:<18}{total:>14,}{trainable:>14,}" for part, total, trainable in rows])


def _save(model: PreTrainedModel, folder: Path, others: list[Any]) -> None:
    """Save a checkpoint so that the folder appears only once it is complete."""
    partial = folder.with_name(folder.name + ".partial")
    for old in (partial, folder):
        if old.exists():
            shutil.rmtree(old)
    model.save_pretrained(partial)
    for other in others:
        other.save_pretrained(partial)
    partial.replace(folder)


def _print_skipped(name: str, count: int, what: str) -> None:
    if count:
        PartialState().print(f"{name}: {count} {what}; left out")
