"""Recipes: one YAML file per training run, checked before anything is spent.

In: a YAML file and `key=value` overrides (dotted keys, YAML values). Out: a `Recipe`. Every key is known here, so a
typo is an error that names the nearest key; what a stage passes to `transformers.TrainingArguments` stands under
`training`.
"""

from __future__ import annotations

import dataclasses
import difflib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import TrainingArguments

STAGES = ("pretrain", "debias", "finetune")
TUNE = ("frozen", "lora", "full")


@dataclass
class LanguageModelRecipe:
    """Which language model, and how much of it learns.

    name: Hub name or path. config: instead of a name, the configuration (with `model_type`) of a small model that
    starts untrained, with a tokenizer of `vocab_size` that is trained on the corpus' text, so that nothing is
    downloaded.
    tune: "frozen", "lora" (the paper) or "full". dtype: of a pretrained model, e.g. "bfloat16".
    """

    name: str | None = None
    config: dict[str, Any] | None = None
    vocab_size: int = 1024
    tune: str = "lora"
    dtype: str = "auto"


@dataclass
class TextEncoderRecipe:
    """Text side of contrastive pre-training: `name` (Hub or path) or `config`, as for the language model."""

    name: str | None = None
    config: dict[str, Any] | None = None
    vocab_size: int = 1024
    tune: str = "full"


@dataclass
class LoraRecipe:
    """LoRA on the language model. target_modules: "all-linear" or layer names. Sizes: the authors' anyECG-chat."""

    r: int = 8
    alpha: int = 16
    dropout: float = 0.1
    target_modules: str | list[str] = "all-linear"


@dataclass
class ProjectorRecipe:
    """Projector; see `ECGLLMConfig`."""

    type: str = "linear"
    hidden_size: int | None = None
    patches_per_token: int = 1


@dataclass
class StageRecipe:
    """One stage.

    batch_size: over all processes and accumulation steps, so that a recipe means the same on any machine.
    gradient_accumulation_steps: parts in which a process works a batch off. tune: overrides `language_model.tune`.
    tune_encoder, tune_projector: whether these learn (in pretrain the encoder always does). loss: "infonce" or
    "sigmoid" (pretrain). projection_dim: of the common space (pretrain). questions: arguments of
    `corpora.build_questions` (debias, finetune). evaluate: how many validation questions are answered at the end.
    training: fields of `transformers.TrainingArguments`.
    """

    batch_size: int = 32
    gradient_accumulation_steps: int = 1
    tune: str | None = None
    tune_encoder: bool = False
    tune_projector: bool = True
    loss: str = "infonce"
    projection_dim: int = 256
    questions: dict[str, Any] = field(default_factory=dict)
    evaluate: int = 200
    training: dict[str, Any] = field(default_factory=dict)


@dataclass
class Recipe:
    """A training run; see docs/training.md.

    corpus: name for `corpora.prepare`. data: its folder, or the folder of a prepared corpus. limit: records at most.
    output: the run folder. encoder: fields of `ECGEncoderConfig`. feature_extractor: of `ECGFeatureExtractor`.
    trained_on: one line for answers and the model card; written from the corpus where it is None.
    """

    corpus: str
    output: str
    data: str | None = None
    limit: int | None = None
    description: str = ""
    trained_on: str | None = None
    seed: int = 0
    feature_extractor: dict[str, Any] = field(default_factory=dict)
    encoder: dict[str, Any] = field(default_factory=dict)
    projector: ProjectorRecipe = field(default_factory=ProjectorRecipe)
    language_model: LanguageModelRecipe = field(default_factory=LanguageModelRecipe)
    text_encoder: TextEncoderRecipe = field(default_factory=TextEncoderRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    stages: dict[str, StageRecipe] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


class RecipeError(ValueError):
    """A recipe that cannot be run; the message names the key."""


def load_recipe(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply overrides such as `data=../ludb` or `stages.pretrain.training.max_steps=10`.

    Args: path: a YAML file, or the name of one that ships with the package (`ludb-tiny`).
    Raises: RecipeError for an unknown key, a missing one, or a value that does not fit; FileNotFoundError.
    """
    file = _find(path)
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise RecipeError(f"{file} holds {type(values).__name__}; expected a mapping of recipe keys.")
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"Override {override!r} has no '='; expected key=value, e.g. output=runs/first.")
        _set(values, key.strip(), yaml.safe_load(text) if text else None)
    recipe = _build(Recipe, values, str(file))
    _check(recipe, str(file))
    return recipe


def _find(path: str | Path) -> Path:
    file = Path(path)
    if file.is_file():
        return file
    shipped = Path(__file__).resolve().parent.parent / "recipes"
    for candidate in (shipped / file.name, shipped / f"{file.name}.yaml"):
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(recipe.stem for recipe in shipped.glob("*.yaml")))
    raise FileNotFoundError(f"No recipe at {path}; expected a YAML file, or one that ships with ecgllm: {names}.")


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise RecipeError(f"Override {key!r}: {parent} is not a mapping, so that nothing can be set in it.")
    values[last] = value


_NESTED = {
    "projector": ProjectorRecipe,
    "language_model": LanguageModelRecipe,
    "text_encoder": TextEncoderRecipe,
    "lora": LoraRecipe,
}


def _build(kind: type, values: Any, where: str) -> Any:
    if not isinstance(values, dict):
        raise RecipeError(f"{where} is {values!r}; expected a mapping.")
    fields = {item.name: item for item in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise RecipeError(f"{where} has the unknown key {key!r}{_nearest(key, fields)}.")
    missing = [
        name
        for name, item in fields.items()
        if name not in values and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where} lacks {', '.join(missing)}; add it to the recipe or pass {missing[0]}=VALUE.")
    built = {}
    for key, value in values.items():
        if kind is Recipe and key in _NESTED:
            built[key] = _build(_NESTED[key], value or {}, f"{where}: {key}")
        elif kind is Recipe and key == "stages":
            built[key] = {name: _build(StageRecipe, stage or {}, f"{where}: {name}") for name, stage in value.items()}
        else:
            built[key] = _numbers(value)
    return kind(**built)


def _numbers(value: Any) -> Any:
    # YAML 1.1 reads 1e-3 as a string, since it wants 1.0e-3; nobody who writes 1e-3 means a string.
    if isinstance(value, dict):
        return {key: _numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str) and "e" in value.lower():
        try:
            return float(value)
        except ValueError:
            return value
    return value


# Set by the stages themselves, from the recipe's own keys.
_OWN_TRAINING_ARGUMENTS = {
    "output_dir": "output",
    "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "seed": "seed",
    "remove_unused_columns": "nothing",
    "label_names": "nothing",
}


def _check(recipe: Recipe, where: str) -> None:
    if not recipe.stages:
        raise RecipeError(f"{where} names no stages; expected some of {', '.join(STAGES)} under stages.")
    for name in recipe.stages:
        if name not in STAGES:
            raise RecipeError(f"{where} has the unknown stage {name!r}; expected {', '.join(STAGES)}.")
    # Stages build on each other, so the order in the file cannot differ from theirs.
    recipe.stages = {name: recipe.stages[name] for name in STAGES if name in recipe.stages}
    language = recipe.language_model
    if set(recipe.stages) & {"debias", "finetune"} and (language.name is None) == (language.config is None):
        raise RecipeError(f"{where}: language_model needs either a name or a config, not both and not neither.")
    text = recipe.text_encoder
    if "pretrain" in recipe.stages and (text.name is None) == (text.config is None):
        raise RecipeError(f"{where}: text_encoder needs either a name or a config, not both and not neither.")
    _check_choice(where, "language_model.tune", language.tune, TUNE)
    _check_choice(where, "text_encoder.tune", text.tune, ("frozen", "full"))
    known = {item.name for item in dataclasses.fields(TrainingArguments) if item.init}
    for name, stage in recipe.stages.items():
        if stage.tune is not None:
            _check_choice(where, f"stages.{name}.tune", stage.tune, TUNE)
        _check_choice(where, f"stages.{name}.loss", stage.loss, ("infonce", "sigmoid"))
        for key in stage.training:
            if key in _OWN_TRAINING_ARGUMENTS:
                raise RecipeError(
                    f"{where}: stages.{name}.training sets {key}, which follows from the recipe; set "
                    f"{_OWN_TRAINING_ARGUMENTS[key]} instead."
                )
            if key not in known:
                raise RecipeError(
                    f"{where}: stages.{name}.training has {key!r}, which TrainingArguments does not know"
                    f"{_nearest(key, known)}."
                )


def _check_choice(where: str, key: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RecipeError(f"{where}: {key} is {value!r}; expected {', '.join(choices)}.")


def _nearest(key: str, known: Any) -> str:
    close = difflib.get_close_matches(key, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known)[:40])}"
