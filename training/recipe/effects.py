"""Where each key of a recipe has an effect; what would be read and ignored is refused by name, with the way out.

In: a `Recipe` whose values are possible. Out: nothing, or a `RecipeError`; and what to say of parts that no stage of
this run uses. Decided here: a key at its default says nothing, so that a resolved recipe, which has them all, is the
recipe that it came from. Every field of a stage has its line in `STAGE_KEYS` (a test).
"""

from __future__ import annotations

import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

from ...configuration_ecgllm import ECGEncoderConfig
from ...processing_ecgllm import ECGFeatureExtractor
from .argument_effects import ignored_arguments
from .checks import STAGES, RecipeError

if TYPE_CHECKING:
    from .recipe import Recipe, StageRecipe

_QUESTIONS = ("debias", "finetune")
STAGE_KEYS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "batch_size",
            "optimizer",
            "augment",
            "early_stopping_patience",
            "early_stopping_threshold",
            "training",
        ),
        STAGES,
    ),
    **dict.fromkeys(
        ("text", "loss", "projection_dim", "cache_chunk", "stream", "reader_spread"),
        ("pretrain",),
    ),
    **dict.fromkeys(
        (
            "gradient_accumulation_steps",
            "tune",
            "tune_encoder",
            "tune_projector",
            "cache_encoder",
            "group_by_length",
            "questions_per_row",
            "questions",
            "balance",
            "match_on",
            "evaluate",
            "evaluate_split",
        ),
        _QUESTIONS,
    ),
}
"""Field of `StageRecipe` -> stages that it says something to."""


def check_effects(recipe: Recipe, where: str) -> None:
    """Raises: RecipeError that names the first key that is set and would have no effect."""
    for name, stage in recipe.stages.items():
        _check_stage_keys(f"{where}: stages.{name}", name, stage)
        for key, why in _without_effect(name, stage):
            raise RecipeError(f"{where}: stages.{name}: {key} has no effect {why}.")
    for key, why in _of_the_parts(recipe):
        raise RecipeError(f"{where}: {key} has no effect {why}.")


def unused_parts(recipe: Recipe) -> list[str]:
    """Parts that the recipe describes and none of its stages uses; a run says so."""
    parts = {"text_encoder": "pretrain" in recipe.stages}
    asked = set(recipe.stages) & set(_QUESTIONS)
    parts |= {"language_model": bool(asked), "projector": bool(asked)}
    parts["lora"] = any((recipe.stages[name].tune or recipe.language_model.tune) == "lora" for name in asked)
    unused = [name for name, used in parts.items() if not used and _stated(getattr(recipe, name))]
    if "tune" in _stated(recipe.language_model) and asked and all(recipe.stages[name].tune for name in asked):
        unused.append("language_model.tune")
    return unused


def _check_stage_keys(where: str, name: str, stage: StageRecipe) -> None:
    for key in _stated(stage):
        if name not in STAGE_KEYS[key]:
            others = ", ".join(STAGE_KEYS[key])
            raise RecipeError(
                f"{where}: {key} is {getattr(stage, key)!r}, which says nothing to {name}: it is for {others}. Leave "
                "it out, or set it there."
            )


def _without_effect(name: str, stage: StageRecipe) -> list[tuple[str, str]]:
    """(key, why) of what the other keys of a stage leave without effect."""
    found = []
    if stage.text == "findings" and stage.loss != "infonce":
        found.append(("loss", "with text: findings, which has a loss of its own; set text: report or both"))
    if stage.early_stopping_threshold and stage.early_stopping_patience is None:
        found.append(("early_stopping_threshold", "without early_stopping_patience; set that, too"))
    if name in _QUESTIONS and stage.cache_encoder and stage.tune_encoder:
        found.append(("cache_encoder: true", "with tune_encoder: true, since only a frozen encoder can be cached"))
    if stage.evaluate_split != "validation" and not stage.evaluate:
        found.append(("evaluate_split", "with evaluate: 0; ask questions, or leave it out"))
    augment = stage.augment
    for key in ("noise_source", "noise_level"):
        if key in augment and not augment.get("noise"):
            found.append((f"augment.{key}", "without augment.noise, the probability of noise; set that, too"))
    validated = stage.early_stopping_patience is not None or bool(stage.training.get("load_best_model_at_end"))
    return found + ignored_arguments(stage.training, validated)


def _of_the_parts(recipe: Recipe) -> list[tuple[str, str]]:
    """(key, why) of what the other keys of a recipe leave without effect."""
    found = []
    if recipe.start_from is None and not recipe.start_weights and "start_from" not in recipe.sweep:
        found.append(("start_weights", "without start_from; name a checkpoint"))
    for key in ("language_model", "text_encoder"):
        part = getattr(recipe, key)
        if part.config is None and part.vocab_size != _default(part, "vocab_size"):
            found.append((f"{key}.vocab_size", "without config: a model by name has its own tokenizer; leave it out"))
    if recipe.language_model.name is None and recipe.language_model.dtype != "auto":
        found.append(("language_model.dtype", "without name: an untrained model is float32; leave it out"))
    if recipe.start_from is None:  # else the keys are the checkpoint's, used or not
        found += _of_the_signal_path(recipe)
    projector = recipe.projector
    if projector.hidden_size is not None and projector.type != "mlp" and recipe.start_from is None:
        found.append(("projector.hidden_size", f"with type: {projector.type}; set type: mlp, or leave it out"))
    return found


def _of_the_signal_path(recipe: Recipe) -> list[tuple[str, str]]:
    """(key, why) of fields of the feature extractor and the encoder; at their defaults they say nothing."""
    found, extractor, encoder = [], recipe.feature_extractor, recipe.encoder
    for key, part, kind, used, way_out in (
        ("baseline_cutoff", extractor, ECGFeatureExtractor, extractor.get("baseline") != "none", "baseline: highpass"),
        (
            "millivolt_factor",
            extractor,
            ECGFeatureExtractor,
            extractor.get("scaling", "millivolt") == "millivolt",
            "scaling: millivolt",
        ),
        ("beat_window", encoder, ECGEncoderConfig, encoder.get("beat_sampling_rate"), "beat_sampling_rate"),
        ("beat_hidden_size", encoder, ECGEncoderConfig, encoder.get("beat_sampling_rate"), "beat_sampling_rate"),
    ):
        if key in part and not used and part[key] != _argument_default(kind, key):
            where = "feature_extractor" if kind is ECGFeatureExtractor else "encoder"
            found.append((f"{where}.{key}", f"without {way_out}; set that, too, or leave it out"))
    return found


def _argument_default(kind: type, key: str) -> Any:
    default = inspect.signature(kind).parameters[key].default
    return list(default) if isinstance(default, tuple) else default


def _stated(part: Any) -> list[str]:
    """Fields of a part of a recipe that are not at their defaults."""
    names = [item.name for item in dataclasses.fields(part)]
    return [name for name in names if getattr(part, name) != _default(part, name)]


def _default(part: Any, name: str) -> Any:
    (item,) = (item for item in dataclasses.fields(part) if item.name == name)
    return item.default if item.default is not dataclasses.MISSING else item.default_factory()
