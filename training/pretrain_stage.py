"""The stage `pretrain`: ECG encoder and text encoder learn one space.

In: a `StageContext` and the stage's recipe. Out: `pretrain/model`, a dual encoder with its processor, and
`pretrain/metrics.json`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelerate import PartialState
from transformers import set_seed

from ..corpora.records.silence import sources_of, stated_by_source
from ..dual_encoder_processing_ecgllm import ECGTextDualEncoderProcessor
from .contrastive import ContrastiveModel
from .data.parquet_windows import ParquetWindows
from .data.pretraining_examples import PretrainingCollator, PretrainingExamples
from .data.statement_targets import StatementTargets
from .data.streams import SimulatedWindows, StreamedExamples, Windows
from .recipe import PretrainStage, RecipeError
from .stage_training import StageContext, print_skipped, save_checkpoint, train_stage, training_arguments, whole_model
from .text_models import build_text_encoder
from .trainers.pretraining_trainer import PretrainingTrainer
from .tuning import freeze_unreached, learn_in_float32, switch_dropout_off


def run_pretrain(context: StageContext, stage: PretrainStage) -> None:
    """Contrastive pre-training of the encoder on reports, statements of findings, or both; saves a dual encoder."""
    recipe, folder, feature_extractor = context.recipe, context.run.stage("pretrain"), context.feature_extractor
    windows = _windows(context, stage) if stage.stream else None
    statements = _statements(context, stage, windows.stated if windows else {})
    model, tokenizer = _model(context, stage, statements)
    processor = ECGTextDualEncoderProcessor.for_model(model, tokenizer, feature_extractor)
    train = _examples(context, stage, statements, windows)
    validation = PretrainingExamples(context.split("validation"), context.signals, stage.text, statements)
    trainer = PretrainingTrainer(
        model=model,
        # No column is called labels: the model computes its loss from the pairs themselves.
        args=training_arguments(recipe, stage, folder, len(train), label_names=[]),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        data_collator=PretrainingCollator(processor),
        statements=statements,
        cache_chunk=stage.cache_chunk,
        optimizer=stage.optimizer,
    )
    metrics = train_stage(trainer, context, "pretrain")
    metrics["zero_shot"] = trainer.zero_shot
    model = whole_model(trainer, model, lambda: _model(context, stage, statements)[0])
    if PartialState().is_main_process:
        dual_encoder = model.dual_encoder()
        context.describe(dual_encoder)
        save_checkpoint(dual_encoder, folder / "model", [processor])
        context.run.mark_done("pretrain", metrics)


def _model(
    context: StageContext, stage: PretrainStage, statements: StatementTargets | None
) -> tuple[ContrastiveModel, Any]:
    """(the model before training, the tokenizer of its text encoder)."""
    recipe = context.recipe
    set_seed(recipe.seed)
    text_encoder, tokenizer = build_text_encoder(recipe.text_encoder, context.texts)
    set_seed(recipe.seed)
    model = ContrastiveModel.from_encoder_and_text_encoder(
        context.encoder_config() if context.start is None else context.start.encoder(),
        text_encoder,
        projection_dim=stage.projection_dim,
        loss_type=stage.loss,
    )
    if stage.text != "report":
        model.learn_statements(statements.names)
    if recipe.text_encoder.tune == "frozen":
        model.text_encoder.requires_grad_(False)
        switch_dropout_off(model.text_encoder)
    learn_in_float32(model)  # before what nothing reaches is frozen, as it still computes with the rest
    if recipe.text_encoder.tune != "frozen":
        few = tokenizer("ECG", return_tensors="pt")
        features = model.eval().get_text_features(few["input_ids"], few["attention_mask"])
        freeze_unreached(model.text_encoder, features.pooler_output)
    if stage.text == "findings":
        # A trainable parameter that no loss uses would stop distributed training.
        for parameter in (model.logit_scale, model.logit_bias):
            if parameter is not None:
                parameter.requires_grad_(False)
    return model, tokenizer


def _examples(
    context: StageContext, stage: PretrainStage, statements: StatementTargets | None, windows: Windows | None
) -> PretrainingExamples | StreamedExamples:
    """The training examples: of the training records, or of a stream."""
    text, augmenter = stage.text, context.augmenter(stage)
    if windows is not None:
        length = stage.batch_size * stage.training["max_steps"]
        return StreamedExamples(windows, context.feature_extractor, length, text, statements, augmenter)
    train = PretrainingExamples(context.split("train"), context.signals, text, statements, augmenter)
    print_skipped(
        train.skipped, f"records have no {'findings' if text == 'findings' else 'report'} or no usable signal"
    )
    return train


def _windows(context: StageContext, stage: PretrainStage) -> Windows:
    """The records of a stream. Raises: RecipeError for a folder without usable records."""
    recipe, state = context.recipe, PartialState()
    if stage.stream is True:
        spread = recipe.reader_spread if stage.reader_spread is None else stage.reader_spread
        return SimulatedWindows(recipe.seed, context.corpus["id"], spread)
    held = context.corpus.select_columns(["patient_id", "split"])
    excluded = {row["patient_id"] for row in held if row["split"] != "train"}
    needed = "findings" if stage.text == "findings" else "report"
    try:
        windows = ParquetWindows(stage.stream, needed, excluded, recipe.seed)
        # Too few row groups are better reported here than in a worker.
        next(windows.lane(0, state.num_processes * max(stage.training.get("dataloader_num_workers", 0), 1)))
    except (ValueError, OSError) as error:
        raise RecipeError(f"stages.pretrain.stream: {error}") from error
    state.print(f"  {windows.usable:,} records to stream from {stage.stream}")
    print_skipped(windows.left_out, f"records have no {needed}, another split or a patient who validates")
    return windows


def _statements(
    context: StageContext, stage: PretrainStage, streamed: Mapping[str | None, frozenset[str]]
) -> StatementTargets | None:
    """Statements about the corpus, for training or for evaluation; None where no training record has findings.

    streamed: what the sources of a stream state.
    Raises: RecipeError when training needs statements and there are none.
    """
    train = context.split("train")
    labelled = [(own, source) for own, source in zip(train["findings"], sources_of(train), strict=True) if own]
    stated = dict(stated_by_source(context.corpus["findings"], sources_of(context.corpus)))
    for source, names in streamed.items():
        stated[source] = stated.get(source, frozenset()) | names
    statements = None
    if labelled:
        findings, sources = zip(*labelled, strict=True)
        statements = StatementTargets(findings, stated, context.recipe.seed, sources)
    if stage.text != "report" and not statements:
        raise RecipeError(
            f"pretrain's text is {stage.text!r}, and no finding of the corpus {context.recipe.corpus} tells one of "
            "its training records from another; take a corpus with findings, or text: report."
        )
    return statements
