"""The models of a recipe without their weights: sizes and what learns, before anything is loaded or downloaded.

In: a recipe and a stage. Out: the stage's model on torch's "meta" device, with `requires_grad` as training would set
it. Decided here: a model by name is planned from the configuration in the local cache, else from the recipe's
`sizes`, else its size is unknown; nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, PreTrainedModel

from ...classification_ecgllm import ECGForSequenceClassification
from ...configuration_ecgllm import ECGClassifierConfig, ECGLLMConfig, as_encoder_config
from ...errors_ecgllm import ECGError
from ...modeling_ecgllm import ECGLLMForConditionalGeneration, ECGTextDualEncoder
from ..fetch import way_to
from ..recipe import LanguageModelRecipe, Recipe, TextEncoderRecipe
from ..start_from import find_start, start_of
from ..tuning import freeze_unreached, prepare_for_tuning


class UnknownSizeError(ECGError):
    """A model whose configuration is neither in the cache nor in the recipe."""


@dataclass
class TextConfig:
    """A text model's configuration, and where it was found."""

    config: Any
    source: str


def text_config(recipe: LanguageModelRecipe | TextEncoderRecipe, key: str) -> TextConfig:
    """Configuration of a recipe's text model. Raises: UnknownSizeError."""
    if recipe.name is None:
        fields = {name: value for name, value in recipe.config.items() if name != "model_type"}
        config = AutoConfig.for_model(recipe.config["model_type"], **fields, vocab_size=recipe.vocab_size)
        return TextConfig(config, "untrained")
    try:
        # A folder is read; of the Hub only what an earlier download left.
        return TextConfig(AutoConfig.from_pretrained(recipe.name, local_files_only=True), recipe.name)
    except (OSError, ValueError):
        if recipe.sizes is None:
            raise UnknownSizeError(
                f"{recipe.name} is not in the local cache, and the recipe states no {key}.sizes; its size is unknown."
            ) from None
    fields = {name: value for name, value in recipe.sizes.items() if name != "model_type"}
    config = AutoConfig.for_model(recipe.sizes["model_type"], **fields)
    way = way_to(recipe.name)
    missing = "not in the local cache" if way is None else f"not there ({way})"
    return TextConfig(config, f"{recipe.name}, {missing}: by the recipe's {key}.sizes")


def planned_model(recipe: Recipe, stage: str, labels: int | None = None) -> tuple[PreTrainedModel, str]:
    """(the model of a stage on the meta device, where the text model's configuration comes from).

    Args: labels: of a classifier; None where they were not counted.
    Raises: UnknownSizeError; RecipeError for what `prepare_for_tuning` refuses.
    """
    choices = recipe.stages[stage]
    for key, name in (("start_from", recipe.start_from), ("encoder.from", recipe.encoder.get("from"))):
        if name is not None and find_start(name) is None:
            raise UnknownSizeError(f"{key} is {name}, which is not there.")
    start = start_of(recipe)
    encoder = as_encoder_config(recipe.encoder_fields) if start is None else start.encoder_config
    if stage == "classify":
        with torch.device("meta"):
            model = ECGForSequenceClassification(ECGClassifierConfig(encoder_config=encoder, num_labels=labels or 2))
        if not choices.tune_encoder:
            model.freeze_base_model()
        return model, "none"
    if stage == "pretrain":
        found = text_config(recipe.text_encoder, "text_encoder")
        with torch.device("meta"):
            text_encoder = AutoModel.from_config(found.config)
            model = ECGTextDualEncoder.from_encoder_and_text_encoder(
                encoder, text_encoder, projection_dim=choices.projection_dim, loss_type=choices.loss
            )
            model.text_encoder.requires_grad_(recipe.text_encoder.tune != "frozen")
            if recipe.text_encoder.tune != "frozen":  # as in a run
                features = model.get_text_features(torch.zeros(1, 1, dtype=torch.long))
                freeze_unreached(model.text_encoder, features.pooler_output)
        return model, found.source
    brought = start is not None and start.has_language_model
    if brought:
        found = TextConfig(start.config.text_config, f"that of {start.folder}")
    else:
        found = text_config(recipe.language_model, "language_model")
    config = ECGLLMConfig(encoder_config=encoder, text_config=found.config, **recipe.projector.fields())
    dtype = torch.float32 if brought else planned_dtype(recipe, found.config)
    with torch.device("meta"):
        model = ECGLLMForConditionalGeneration(config).to(dtype)
        model = prepare_for_tuning(
            model,
            choices.tune or recipe.language_model.tune,
            recipe.lora,
            encoder=choices.tune_encoder,
            projector=choices.tune_projector,
        )
    return model, found.source


def planned_dtype(recipe: Recipe, config: Any) -> torch.dtype:
    """Of the weights: as `from_pretrained(dtype=...)` would choose; float32 for untrained models."""
    wanted = recipe.language_model.dtype
    if recipe.language_model.name is None:
        return torch.float32
    if wanted != "auto":
        return getattr(torch, wanted)
    return getattr(config, "dtype", None) or torch.float32


def is_pretrained(recipe: Recipe, stage: str) -> bool:
    """Whether a stage loads weights by name, which a dry run never does."""
    if stage == "classify":
        return False
    name = recipe.text_encoder.name if stage == "pretrain" else recipe.language_model.name
    return name is not None and not Path(name).is_dir()
