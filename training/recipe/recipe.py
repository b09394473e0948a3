"""Recipes: one YAML file per training run, checked before anything is spent.

In: a YAML file and `key=value` overrides (dotted keys, YAML values). Out: a `Recipe`. Every key is known here, so a
typo is an error that names the nearest key (`checks`); what a stage passes to `transformers.TrainingArguments`
stands under `training`.
"""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..start import with_start
from .checks import STAGES, TUNE, RecipeError, check_keys, check_recipe
from .effects import check_effects
from .file import parse_yaml, read_yaml

__all__ = [
    "STAGES",
    "TUNE",
    "LanguageModelRecipe",
    "LoraRecipe",
    "ProjectorRecipe",
    "Recipe",
    "RecipeError",
    "StageRecipe",
    "TextEncoderRecipe",
    "load_recipe",
    "recipe_from_dict",
]


@dataclass
class LanguageModelRecipe:
    """Which language model, and how much of it learns.

    name: Hub name or path. config: instead of a name, the configuration (with `model_type`) of a small model that
    starts untrained, with a tokenizer of `vocab_size` that is trained on the corpus' text, so that nothing is
    downloaded.
    tune: "frozen", "lora" (the paper) or "full". dtype: of a pretrained model, e.g. "bfloat16".
    sizes: configuration of the named model (with `model_type`), by which a dry run counts where the cache lacks it.
    """

    name: str | None = None
    config: dict[str, Any] | None = None
    sizes: dict[str, Any] | None = None
    vocab_size: int = 1024
    tune: str = "lora"
    dtype: str = "auto"


@dataclass
class TextEncoderRecipe:
    """Text side of contrastive pre-training: `name` (Hub or path) or `config`, as for the language model."""

    name: str | None = None
    config: dict[str, Any] | None = None
    sizes: dict[str, Any] | None = None
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
    summary: bool = False


@dataclass
class StageRecipe:
    """One stage.

    batch_size: over all processes and accumulation steps, so that a recipe means the same on any machine.
    gradient_accumulation_steps: parts in which a process works a batch off (1 in pretrain).
    optimizer: "adamw" (or whatever `training.optim` names), or "muon" for the weights of linear layers
    (`trainers/optimizer.py`). tune: overrides
    `language_model.tune`. tune_encoder, tune_projector: whether these learn (in pretrain the encoder always does).
    cache_encoder: a frozen encoder encodes every record once, before the first step, instead of in every step;
    None: where it is frozen.
    group_by_length: a batch of questions holds prompts of about one length, so that little is padded.
    questions_per_row: so many questions about the same ECGs share a row of the batch at most, and their ECGs are read
    once (`shared_ecgs.py`); 1: none do, as where the language model cannot.
    text: what an ECG is held against (pretrain): its "report", statements of "findings", or "both". loss: "infonce" or
    "sigmoid", of reports (pretrain). projection_dim: of the common space (pretrain). cache_chunk: how many examples of
    a process are in memory at once, whatever the batch (pretrain; `trainers/gradient_cache.py`). augment: fields of
    `AugmentRecipe`, how training ECGs are varied: anew in every epoch, or once where they are encoded once. stream:
    train on ever new simulated records (true, with the corpus simulation), or on those of a folder of Parquet files,
    instead of the corpus' training records (pretrain). reader_spread: of the simulated records of a stream; None: that
    of the recipe. questions: arguments of
    `corpora.build_questions` (debias, finetune), or {"path": folder of questions with their own splits}. balance:
    whether they are de-biased (`corpora.debias`); None: in the stage debias. match_on: confounders that de-biasing
    matches, such as severity, age and sex. evaluate: how many questions are answered at the end, about records of
    evaluate_split.
    early_stopping_patience: after so many validations without a gain of more than early_stopping_threshold a stage
    ends, and the best checkpoint goes on. training: fields of `transformers.TrainingArguments`.
    """

    batch_size: int = 32
    gradient_accumulation_steps: int = 1
    optimizer: str = "adamw"
    tune: str | None = None
    tune_encoder: bool = False
    tune_projector: bool = True
    cache_encoder: bool | None = None
    group_by_length: bool = True
    questions_per_row: int = 8
    text: str = "report"
    loss: str = "infonce"
    projection_dim: int = 256
    cache_chunk: int | None = None
    augment: dict[str, Any] = field(default_factory=dict)
    stream: bool | str = False
    reader_spread: float | None = None
    questions: dict[str, Any] = field(default_factory=dict)
    balance: bool | None = None
    match_on: list[str] = field(default_factory=list)
    evaluate: int = 200
    evaluate_split: str = "validation"
    early_stopping_patience: int | None = None
    early_stopping_threshold: float = 0.0
    training: dict[str, Any] = field(default_factory=dict)


@dataclass
class Recipe:
    """A training run; see docs/training.md.

    corpus: name for `corpora.prepare`. data: its folder, or the folder of a prepared corpus. limit: records at most.
    reader_spread: 0 to 1: how far the limits by which simulated ECGs are read differ (`signals.simulate_ecgs`), in the
    corpus and, where a stage does not say otherwise, in its stream.
    split: shares of patients for "validation" and "test", in place of the corpus' own split. start_from: run folder
    whose checkpoint the first stage starts from (`start`). start_weights: false for its sizes and tokenizer alone.
    output: the run folder. encoder: fields of `ECGEncoderConfig`. feature_extractor: of `ECGFeatureExtractor`.
    sweep: dotted keys with lists of values, of which every combination is run (`sweep`).
    trained_on: one line for answers and the model card; written from the corpus where it is None.
    """

    corpus: str
    output: str
    data: str | None = None
    limit: int | None = None
    reader_spread: float = 0.0
    split: dict[str, float] = field(default_factory=dict)
    start_from: str | None = None
    start_weights: bool = True
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
    sweep: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def load_recipe(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Recipe:
    """Read a recipe and apply overrides such as `data=../ludb` or `stages.pretrain.training.max_steps=10`.

    Args: path: a YAML file, or the name of one that ships with the package (`ludb-tiny`).
    Raises: RecipeError for an unknown key, a missing one, or a value that does not fit; FileNotFoundError.
    """
    file = _find(path)
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise RecipeError(f"{file} holds {type(values).__name__}; expected a mapping of recipe keys.")
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"Override {override!r} has no '='; expected key=value, e.g. output=runs/first.")
        set_value(values, key.strip(), parse_yaml(text, f"Override {override!r}") if text else None)
    return recipe_from_dict(values, str(file))


def recipe_from_dict(values: dict[str, Any], where: str) -> Recipe:
    """A checked recipe from plain values; `where` is what errors call them. Raises: RecipeError."""
    if not isinstance(values, dict):
        raise RecipeError(f"{where} holds {type(values).__name__}; expected a mapping of recipe keys.")
    recipe = _build(Recipe, with_start(values, where), where)
    check_recipe(recipe, where)
    check_effects(recipe, where)
    return recipe


def _find(path: str | Path) -> Path:
    file = Path(path)
    if file.is_file():
        return file
    shipped = Path(__file__).resolve().parents[2] / "recipes"
    for candidate in (shipped / file.name, shipped / f"{file.name}.yaml"):
        if candidate.is_file():
            return candidate
    names = ", ".join(sorted(recipe.stem for recipe in shipped.glob("*.yaml")))
    raise FileNotFoundError(f"No recipe at {path}; expected a YAML file, or one that ships with ecgllm: {names}.")


def set_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Set the value at a dotted key of a recipe's plain values. Raises: RecipeError where the way there is blocked."""
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
    check_keys(where, values, fields)
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
