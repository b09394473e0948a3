"""Recipes: one YAML file per training run, checked before anything is spent.

In: a YAML file and `key=value` overrides (dotted keys, YAML values). Out: a `Recipe`. Every key is known here, so a
typo is an error that names the nearest key; what a stage passes to `transformers.TrainingArguments` stands under
`training`.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import CONFIG_MAPPING, TrainingArguments

from ..configuration_ecgllm import ECGEncoderConfig
from ..corpora import build_questions
from ..processing_ecgllm import ECGFeatureExtractor

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
    gradient_accumulation_steps: parts in which a process works a batch off (1 in pretrain). tune: overrides
    `language_model.tune`. tune_encoder, tune_projector: whether these learn (in pretrain the encoder always does).
    cache_encoder: a frozen encoder encodes every record once, before the first step, instead of in every step.
    group_by_length: a batch of questions holds prompts of about one length, so that little is padded.
    loss: "infonce" or "sigmoid" (pretrain). projection_dim: of the common space (pretrain). questions: arguments of
    `corpora.build_questions` (debias, finetune), or {"path": folder of questions with their own splits}. balance:
    whether they are de-biased (`corpora.debias`); None: in the stage debias. match_on: confounders that de-biasing
    matches, such as severity, age and sex. evaluate: how many validation questions are answered at the end. training:
    fields of `transformers.TrainingArguments`.
    """

    batch_size: int = 32
    gradient_accumulation_steps: int = 1
    tune: str | None = None
    tune_encoder: bool = False
    tune_projector: bool = True
    cache_encoder: bool = True
    group_by_length: bool = True
    loss: str = "infonce"
    projection_dim: int = 256
    questions: dict[str, Any] = field(default_factory=dict)
    balance: bool | None = None
    match_on: list[str] = field(default_factory=list)
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
    values = _parse(file.read_text(encoding="utf-8"), str(file))
    if not isinstance(values, dict):
        raise RecipeError(f"{file} holds {type(values).__name__}; expected a mapping of recipe keys.")
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"Override {override!r} has no '='; expected key=value, e.g. output=runs/first.")
        _set(values, key.strip(), _parse(text, f"Override {override!r}") if text else None)
    return recipe_from_dict(values, str(file))


def recipe_from_dict(values: dict[str, Any], where: str) -> Recipe:
    """A checked recipe from plain values; `where` is what errors call them. Raises: RecipeError."""
    recipe = _build(Recipe, values, where)
    _check(recipe, where)
    return recipe


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"{where} is no YAML: {error}") from error


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
        # "stage:" with nothing behind it is how YAML writes a mapping that is left at its defaults.
        if values.get(parent) is None:
            values[parent] = {}
        values = values[parent]
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
    _check_keys(where, values, fields)
    missing = [
        name
        for name, item in fields.items()
        if name not in values and item.default is dataclasses.MISSING and item.default_factory is dataclasses.MISSING
    ]
    if missing:
        raise RecipeError(f"{where} lacks {', '.join(missing)}; add it to the recipe or pass {missing[0]}=VALUE.")
    types, built = typing.get_type_hints(kind), {}
    for key, value in values.items():
        if kind is Recipe and key in _NESTED:
            built[key] = _build(_NESTED[key], value or {}, f"{where}: {key}")
        elif kind is Recipe and key == "stages":
            if not isinstance(value, dict):
                raise RecipeError(
                    f"{where}: stages is {value!r}; expected some of {', '.join(STAGES)}, each a mapping."
                )
            built[key] = {
                name: _build(StageRecipe, stage or {}, f"{where}: stages.{name}") for name, stage in value.items()
            }
        else:
            built[key] = _value(value, types[key], f"{where}: {key}")
    return kind(**built)


def _value(value: Any, wanted: Any, where: str) -> Any:
    """A value of the type that a field declares; whole numbers do for real ones."""
    options = typing.get_args(wanted) if typing.get_origin(wanted) not in (dict, list) else (wanted,)
    kinds = tuple(typing.get_origin(option) or option for option in options or (wanted,))
    if value is None and type(None) not in kinds and dict in kinds:
        return {}
    if str not in kinds or not isinstance(value, str):
        value = _numbers(value)
    if float in kinds and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    # A bool is an int to Python and to nobody else.
    if isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool)):
        return value
    names = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
    raise RecipeError(f"{where} is {value!r}; expected {names}.")


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


# Set by the stages themselves: the recipe's key to use instead, or None where there is nothing to choose.
_OWN_TRAINING_ARGUMENTS = {
    "output_dir": "output",
    "per_device_train_batch_size": "batch_size",
    "per_device_eval_batch_size": "batch_size",
    "gradient_accumulation_steps": "gradient_accumulation_steps",
    "seed": "seed",
    "remove_unused_columns": None,
    "label_names": None,
    "dataloader_drop_last": None,
}


def _check(recipe: Recipe, where: str) -> None:
    if not recipe.stages:
        raise RecipeError(f"{where} names no stages; expected some of {', '.join(STAGES)} under stages.")
    for name in recipe.stages:
        if name not in STAGES:
            raise RecipeError(f"{where} has the unknown stage {name!r}; expected {', '.join(STAGES)}.")
    # Stages build on each other, so the order in the file cannot differ from theirs.
    recipe.stages = {name: recipe.stages[name] for name in STAGES if name in recipe.stages}
    language, text = recipe.language_model, recipe.text_encoder
    if set(recipe.stages) & {"debias", "finetune"}:
        _check_text_model(where, "language_model", language.name, language.config)
    if "pretrain" in recipe.stages:
        _check_text_model(where, "text_encoder", text.name, text.config)
    _check_choice(where, "language_model.tune", language.tune, TUNE)
    _check_choice(where, "text_encoder.tune", text.tune, ("frozen", "full"))
    _check_choice(where, "projector.type", recipe.projector.type, ("linear", "mlp"))
    # These classes take any keyword, so that a typo would go unnoticed.
    _check_keys(f"{where}: encoder", recipe.encoder, _fields(ECGEncoderConfig) - {"preprocessing"})
    _check_keys(f"{where}: feature_extractor", recipe.feature_extractor, _fields(ECGFeatureExtractor))
    for key, build, values in (
        ("encoder", ECGEncoderConfig, recipe.encoder),
        ("feature_extractor", ECGFeatureExtractor, recipe.feature_extractor),
    ):
        try:
            build(**values)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{where}: {key}: {error}") from error
    for name, stage in recipe.stages.items():
        _check_stage(f"{where}: stages.{name}", name, stage)


def _check_stage(where: str, name: str, stage: StageRecipe) -> None:
    if stage.tune is not None:
        _check_choice(where, "tune", stage.tune, TUNE)
    _check_choice(where, "loss", stage.loss, ("infonce", "sigmoid"))
    for key, least in (("batch_size", 1), ("gradient_accumulation_steps", 1), ("projection_dim", 1), ("evaluate", 0)):
        if getattr(stage, key) < least:
            raise RecipeError(f"{where}: {key} is {getattr(stage, key)}; expected {least} or more.")
    if stage.match_on and not (name == "debias" if stage.balance is None else stage.balance):
        raise RecipeError(
            f"{where}: match_on is {stage.match_on}, but its questions are not de-biased; set balance: true."
        )
    if name == "pretrain" and stage.gradient_accumulation_steps != 1:
        raise RecipeError(
            f"{where}: gradient_accumulation_steps is not 1: parts of a batch would not see each other's negatives, "
            "which changes the loss. Use a smaller batch_size or more processes."
        )
    known = _fields(build_questions) - {"corpus", "phrasings", "seed"}
    _check_keys(f"{where}: questions", stage.questions, {"path"} if "path" in stage.questions else known)
    known = {item.name for item in dataclasses.fields(TrainingArguments) if item.init}
    for key in stage.training:
        if key in _OWN_TRAINING_ARGUMENTS:
            instead = _OWN_TRAINING_ARGUMENTS[key]
            raise RecipeError(
                f"{where}: training sets {key}, which follows from the recipe; "
                + (f"set {instead} instead." if instead else "leave it out.")
            )
    _check_keys(f"{where}: training (fields of TrainingArguments)", stage.training, known)


def _check_text_model(where: str, key: str, name: str | None, config: dict[str, Any] | None) -> None:
    if (name is None) == (config is None):
        raise RecipeError(f"{where}: {key} needs either a name or a config, not both and not neither.")
    if config is None:
        return
    model_type = config.get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise RecipeError(
            f"{where}: {key}.config has model_type {model_type!r}, which transformers does not know"
            f"{_nearest(model_type, CONFIG_MAPPING.keys())}"
        )
    own = sorted({"vocab_size", "pad_token_id", "bos_token_id", "eos_token_id"} & set(config))
    if own:
        raise RecipeError(
            f"{where}: {key}.config sets {', '.join(own)}, which the tokenizer made for the run decides; leave it out"
            + (f" and set {key}.vocab_size instead." if "vocab_size" in own else ".")
        )
    defaults = CONFIG_MAPPING[model_type]()
    known = {name for name in dir(defaults) if not name.startswith("_")} | {"model_type"}
    _check_keys(f"{where}: {key}.config", config, known)


def _fields(source: Any) -> set[str]:
    """Names of the fields of a configuration class, or of the arguments of a function or class."""
    if dataclasses.is_dataclass(source):
        # What its base classes declare (labels, ids of special tokens) says nothing about this one.
        return {item.name for item in dataclasses.fields(source) if item.name in source.__annotations__}
    parameters = inspect.signature(source).parameters.values()
    return {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}


def _check_keys(where: str, values: Iterable[str], known: Iterable[str]) -> None:
    known = set(known)
    for key in values:
        if key not in known:
            raise RecipeError(f"{where} has the unknown key {key!r}{_nearest(key, known)}")


def _check_choice(where: str, key: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise RecipeError(f"{where}: {key} is {value!r}; expected {', '.join(choices)}.")


def _nearest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key), [str(name) for name in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known)[:40])}."
