"""The stage `pretrain`: ECG encoder and text encoder learn one space.

In: a `StageContext` and the stage's recipe. Out: `pretrain/model`, a dual encoder, and `pretrain/metrics.json`.
"""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from transformers import PreTrainedModel, set_seed

from ..configuration_ecgllm import ECGEncoderConfig
from ..modeling_ecgllm import ECGTextDualEncoder
from .examples import ReportCollator, ReportPairs
from .recipe import StageRecipe
from .stages import StageContext, print_skipped, save_checkpoint, train_stage, training_arguments, whole_model
from .text_models import build_text_encoder
from .trainer import StageTrainer


def run_pretrain(context: StageContext, stage: StageRecipe) -> None:
    """Contrastive pre-training of the encoder on ECG-report pairs; saves a dual encoder."""
    recipe, folder = context.recipe, context.run.stage("pretrain")
    feature_extractor = context.feature_extractor

    def build() -> tuple[ECGTextDualEncoder, Any]:
        set_seed(recipe.seed)
        text_encoder, tokenizer = build_text_encoder(recipe.text_encoder, context.texts)
        encoder_config = ECGEncoderConfig(**recipe.encoder, preprocessing=feature_extractor.preprocessing)
        set_seed(recipe.seed)
        model = ECGTextDualEncoder.from_encoder_and_text_encoder(
            encoder_config, text_encoder, projection_dim=stage.projection_dim, loss_type=stage.loss
        )
        if recipe.text_encoder.tune == "frozen":
            model.text_encoder.requires_grad_(False)
        return model, tokenizer

    model, tokenizer = build()
    train = ReportPairs(context.split("train"), context.signals)
    validation = ReportPairs(context.split("validation"), context.signals)
    print_skipped(train.skipped, "records have no report or no usable signal")
    trainer = StageTrainer(
        model=model,
        # No column is called labels: the model computes its loss from the pairs themselves.
        args=training_arguments(recipe, stage, folder, len(train), label_names=[]),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        data_collator=ReportCollator(feature_extractor, tokenizer, _max_text_length(model.text_encoder)),
        # The loss is a mean over pairs, not a sum over tokens that Trainer would have to divide.
        loss_counts_tokens=False,
    )
    metrics = train_stage(trainer, context, "pretrain")
    model = whole_model(trainer, model, lambda: build()[0])
    if PartialState().is_main_process:
        save_checkpoint(model, folder / "model", [feature_extractor, tokenizer])
        context.run.mark_done("pretrain", metrics)


def _max_text_length(text_encoder: PreTrainedModel) -> int:
    return min(getattr(text_encoder.config, "max_position_embeddings", None) or 512, 512)
