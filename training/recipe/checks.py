"""What a recipe may say: keys, choices and contradictions, each refused by name before anything is spent.

In: a `Recipe` whose values have the declared types. Out: nothing, or a `RecipeError`. Decided here: a typo is an error
that names the nearest key, and what follows from other keys cannot be set against them.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import CONFIG_MAPPING, TrainingArguments
from transformers.integrations import get_available_reporting_integrations, get_reporting_integration_callbacks

from ...configuration_ecgllm import ECGEncoderConfig, ECGLLMConfig
from ...corpora import QUESTION_FEATURES, build_questions
from ...corpora.questions.build import questions_per_type
from ...corpora.records.prepare import CORPORA
from ...corpora.records.text_files import read_json
from ...errors_ecgllm import ECGError
from ...processing_ecgllm import ECGFeatureExtractor
from ..data.augmentations import AugmentRecipe
from ..trainers.stopping import stopping_arguments

if TYPE_CHECKING:
    from .recipe import LanguageModelRecipe, Recipe, StageRecipe, TextEncoderRecipe

STAGES = ("pretrain", "debias", "finetune")
TUNE = ("frozen", "lora", "full")


class RecipeError(ECGError):
    """A recipe that cannot be run; the message names the key."""


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
    "train_sampling_strategy": "group_by_length",
}

# What optimizers and torch would refuse when a stage begins: (least, below) of `training`'s numbers.
_LIMITS = {
    "learning_rate": (0, math.inf),
    "weight_decay": (0, math.inf),
    "label_smoothing_factor": (0, 1),
    "adam_beta1": (0, 1),
    "adam_beta2": (0, 1),
    "adam_epsilon": (0, math.inf),
    "max_grad_norm": (0, math.inf),
    "warmup_steps": (0, math.inf),
}

# Fields of `TrainingArguments` -> whether null is what they say by default.
_TAKES_NULL = {item.name: item.default is None for item in dataclasses.fields(TrainingArguments)}

_SIZE = re.compile(r"(_size|_dim|_layers?|_heads|_max_position_embeddings|^max_position_embeddings)$")  # of a model

# Columns of a prepared corpus that every run reads.
_RECORDS = ("id", "patient_id", "ecg", "report", "findings", "split", "source")


def check_recipe(recipe: Recipe, where: str) -> None:
    """Check what types alone do not say, and put the stages in their order. Raises: RecipeError that names the key."""
    if not recipe.stages:
        raise RecipeError(f"{where} names no stages; expected some of {', '.join(STAGES)} under stages.")
    for name in recipe.stages:
        if name not in STAGES:
            raise RecipeError(f"{where} has the unknown stage {name!r}; expected {', '.join(STAGES)}.")
    # Stages build on each other, so the order in the file cannot differ from theirs.
    recipe.stages = {name: recipe.stages[name] for name in STAGES if name in recipe.stages}
    _check_data(where, recipe)
    language, text = recipe.language_model, recipe.text_encoder
    if set(recipe.stages) & {"debias", "finetune"} and not (
        # The checkpoint may bring one.
        recipe.start_from is not None and language.name is None and language.config is None
    ):
        _check_text_model(where, "language_model", language)
    _check_split(where, recipe.split)
    for key, values in recipe.sweep.items():
        if not isinstance(values, list) or not values:
            raise RecipeError(f"{where}: sweep.{key} is {values!r}; expected a list of values.")
        if key.split(".")[0] in ("output", "sweep", "stages") and key.count(".") < 2:
            raise RecipeError(f"{where}: {key} cannot be swept; expected a key such as projector.type.")
    if "pretrain" in recipe.stages:
        _check_text_model(where, "text_encoder", text)
    _check_choice(where, "language_model.tune", language.tune, TUNE)
    _check_choice(where, "text_encoder.tune", text.tune, ("frozen", "full"))
    sizes = {
        "lora.r": recipe.lora.r,
        "lora.alpha": recipe.lora.alpha,
        "projector.hidden_size": recipe.projector.hidden_size,
    }
    sizes |= {"language_model.vocab_size": language.vocab_size, "text_encoder.vocab_size": text.vocab_size}
    _check_sizes(where, sizes)
    if not 0 <= recipe.lora.dropout <= 1:
        raise RecipeError(f"{where}: lora.dropout is {recipe.lora.dropout}; expected 0 to 1.")
    _check_choice(where, "projector.type", recipe.projector.type, ("linear", "mlp"))
    # These classes take any keyword, so that a typo would go unnoticed.
    check_keys(f"{where}: encoder", recipe.encoder, fields_of(ECGEncoderConfig) - {"preprocessing"})
    check_keys(f"{where}: feature_extractor", recipe.feature_extractor, fields_of(ECGFeatureExtractor))
    joined = recipe.projector.patches_per_token
    for key, build, values in (
        ("encoder", ECGEncoderConfig, recipe.encoder),
        ("projector", ECGLLMConfig, {"encoder_config": recipe.encoder, "patches_per_token": joined}),
        ("feature_extractor", ECGFeatureExtractor, recipe.feature_extractor),
    ):
        try:
            build(**values)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{where}: {key}: {error}") from error
    for name, stage in recipe.stages.items():
        # Null takes back what a file says, where it is not itself a value (save_total_limit: keep all).
        taken_back = [key for key, value in stage.training.items() if value is None and not _TAKES_NULL.get(key, True)]
        stage.training = {key: value for key, value in stage.training.items() if key not in taken_back}
        _check_stage(f"{where}: stages.{name}", name, stage)
        if stage.stream:
            _check_stream(f"{where}: stages.{name}", name, stage, recipe.corpus)
        if name == "pretrain" and stage.reader_spread is not None:
            _check_spread(f"{where}: stages.{name}", stage.reader_spread)
            if stage.stream is not True:
                raise RecipeError(
                    f"{where}: stages.{name}: reader_spread is for a stream of simulated records, and stream is "
                    f"{stage.stream!r}; set stream: true, or leave it out (null); for the corpus the recipe has one."
                )
        if stage.augment:
            scaling = recipe.feature_extractor.get("scaling", "millivolt")
            _check_augment(f"{where}: stages.{name}", name, stage, scaling)


def _check_spread(where: str, spread: float) -> None:
    if not 0 <= spread <= 1:
        raise RecipeError(f"{where}: reader_spread is {spread}; expected 0 to 1.")


def is_prepared(folder: str | Path | None) -> bool:
    """Whether a folder holds a data set that `datasets` saved, as `ecgllm prepare` does."""
    return folder is not None and (Path(folder) / "dataset_info.json").is_file()


def _check_data(where: str, recipe: Recipe) -> None:
    if recipe.limit is not None and recipe.limit < 1:
        raise RecipeError(f"{where}: limit is {recipe.limit}; expected 1 or more records, or null for all.")
    _check_spread(where, recipe.reader_spread)
    streamed = any(stage.stream is True and stage.reader_spread is None for stage in recipe.stages.values())
    if recipe.reader_spread and (recipe.corpus != "simulation" or is_prepared(recipe.data) and not streamed):
        raise RecipeError(
            f"{where}: reader_spread is {recipe.reader_spread}, and the findings of the corpus {recipe.corpus!r} are "
            "known already; leave it out, or take corpus: simulation without data."
        )
    if is_prepared(recipe.data):
        _check_records(where, recipe.data)
    # A sweep over them is checked run by run.
    elif {"corpus", "data"} & set(recipe.sweep):
        return
    # A run that has begun keeps its corpus, whatever became of the folder that it came from.
    elif recipe.corpus not in CORPORA and not is_prepared(Path(recipe.output) / "corpus"):
        close = difflib.get_close_matches(recipe.corpus, CORPORA, n=1)
        found = "is not given" if recipe.data is None else f"is {recipe.data}, which holds none"
        raise RecipeError(
            f"{where}: corpus is {recipe.corpus!r}, which is no known corpus"
            + (f"; did you mean {close[0]!r}? " if close else ". ")
            + f"Known are {', '.join(CORPORA)}. Any other name is for a corpus that `ecgllm prepare` wrote, in data, "
            f"which {found}."
        )


def _check_records(where: str, folder: str) -> None:
    """A set of questions, or anything else that `datasets` saved, looks like a prepared corpus from outside."""
    try:
        info = read_json(Path(folder) / "dataset_info.json")
    except ECGError as error:
        raise RecipeError(f"{where}: data is {folder}, which is damaged: {error}") from error
    columns = (info.get("features") if isinstance(info, dict) else None) or {}
    missing = [name for name in _RECORDS if name not in columns]
    if not missing:
        return
    expected = "expected a corpus of records, as `ecgllm prepare` writes it, or the folder of the corpus as published"
    if set(QUESTION_FEATURES) <= set(columns):
        raise RecipeError(
            f"{where}: data is {folder}, which holds questions; {expected}. Questions are given by "
            f"stages.NAME.questions={{path: {folder}}}, and data is the corpus that they are about."
        )
    raise RecipeError(
        f"{where}: data is {folder}, a data set with the columns {', '.join(columns) or 'none'}, which lacks "
        f"{', '.join(missing)}; {expected}."
    )


def _check_split(where: str, split: dict[str, Any]) -> None:
    check_keys(f"{where}: split", split, {"validation", "test"})
    shares = [split.get(name, 0.1) for name in ("validation", "test")]
    if not all(isinstance(share, (int, float)) and share >= 0 for share in shares) or sum(shares) >= 1:
        raise RecipeError(f"{where}: split is {split}; expected shares of patients from 0 whose sum is below 1.")


def _check_stage(where: str, name: str, stage: StageRecipe) -> None:
    if stage.tune is not None:
        _check_choice(where, "tune", stage.tune, TUNE)
    _check_choice(where, "optimizer", stage.optimizer, ("adamw", "muon"))
    for key in ("optim", "optim_args", "fsdp", "deepspeed"):
        if stage.optimizer == "muon" and stage.training.get(key):
            why = "it needs whole matrices" if key in ("fsdp", "deepspeed") else "that is for other optimizers"
            raise RecipeError(
                f"{where}: optimizer is muon and training.{key} {stage.training[key]}, but {why}; leave one "
                "of them out."
            )
    _check_choice(where, "loss", stage.loss, ("infonce", "sigmoid"))
    _check_choice(where, "evaluate_split", stage.evaluate_split, ("validation", "test"))
    _check_choice(where, "text", stage.text, ("report", "findings", "both"))
    for key, least in (("batch_size", 1), ("gradient_accumulation_steps", 1), ("projection_dim", 1), ("evaluate", 0)):
        if getattr(stage, key) < least:
            raise RecipeError(f"{where}: {key} is {getattr(stage, key)}; expected {least} or more.")
    if name != "pretrain" and stage.match_on and not (name == "debias" if stage.balance is None else stage.balance):
        raise RecipeError(
            f"{where}: match_on is {stage.match_on}, but its questions are not de-biased; set balance: true."
        )
    if stage.cache_chunk is not None:
        if name != "pretrain" or stage.cache_chunk < 1:
            raise RecipeError(
                f"{where}: cache_chunk is {stage.cache_chunk}; expected 1 or more, and in pretrain alone."
            )
        if stage.training.get("fp16"):
            raise RecipeError(f"{where}: cache_chunk does not go with fp16, whose losses are scaled; set bf16: true.")
    if name == "pretrain" and stage.training.get("label_smoothing_factor"):
        raise RecipeError(
            f"{where}: training.label_smoothing_factor is for answers' tokens, and pretrain has none; leave it out."
        )
    if name == "pretrain" and stage.gradient_accumulation_steps != 1:
        raise RecipeError(
            f"{where}: gradient_accumulation_steps is not 1: parts of a batch would not see each other's negatives, "
            "which changes the loss. Set cache_chunk to bound the memory, or use more processes."
        )
    _check_questions(where, stage.questions)
    known = {item.name for item in dataclasses.fields(TrainingArguments) if item.init}
    for key in stage.training:
        if key in _OWN_TRAINING_ARGUMENTS:
            instead = _OWN_TRAINING_ARGUMENTS[key]
            raise RecipeError(
                f"{where}: training sets {key}, which follows from the recipe; "
                + (f"set {instead} instead." if instead else "leave it out.")
            )
    check_keys(f"{where}: training (fields of TrainingArguments)", stage.training, known)
    steps, epochs = stage.training.get("max_steps", -1), stage.training.get("num_train_epochs", 1)
    if isinstance(steps, bool) or not isinstance(steps, int) or not (steps == -1 or steps >= 1):
        raise RecipeError(f"{where}: training.max_steps is {steps!r}; expected 1 or more, or null.")
    if isinstance(epochs, bool) or not isinstance(epochs, (int, float)) or not 0 < epochs < math.inf:
        raise RecipeError(f"{where}: training.num_train_epochs is {epochs!r}; expected more than 0, or null.")
    for key, (least, below) in _LIMITS.items():
        value = stage.training.get(key)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and least <= value < below):
            wanted = f"{least} or more" if below == math.inf else f"from {least} to below {below}"
            raise RecipeError(f"{where}: training.{key} is {value!r}; expected {wanted}.")
    _check_stopping(where, name, stage)
    _check_trackers(where, stage.training.get("report_to", "none"))


def _check_questions(where: str, questions: dict[str, Any]) -> None:
    if "path" not in questions:
        check_keys(f"{where}: questions", questions, fields_of(build_questions) - {"corpus", "phrasings", "seed"})
        try:
            questions_per_type(questions.get("types"), questions.get("per_record", 1))
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{where}: questions: {error}") from error
    elif len(questions) > 1:
        others, key = [name for name in questions if name != "path"], where.rpartition(": ")[2]
        raise RecipeError(
            f"{where}: questions has path, which stands alone because its questions are taken as they are, and beside "
            f"it {', '.join(others)}. Replace all of questions, which leaves the other keys out: "
            f"'{key}.questions={{path: {questions['path']}}}'."
        )


def _check_stopping(where: str, name: str, stage: StageRecipe) -> None:
    settings = stopping_arguments(stage)
    if not settings:
        return
    if stage.early_stopping_patience is not None and stage.early_stopping_patience < 1:
        raise RecipeError(f"{where}: early_stopping_patience is {stage.early_stopping_patience}; expected 1 or more.")
    settings |= stage.training
    if settings["load_best_model_at_end"] is False:
        raise RecipeError(
            f"{where}: early_stopping_patience keeps the best checkpoint, and load_best_model_at_end is false; leave "
            "one of them out."
        )
    save = settings.get("save_strategy", "steps")
    # Not only "no": YAML reads an unquoted no as false.
    if settings["eval_strategy"] not in ("steps", "epoch") or settings["eval_strategy"] != save:
        raise RecipeError(
            f"{where}: the best checkpoint is found among those that are validated, and eval_strategy is "
            f"{settings['eval_strategy']!r} while save_strategy is {save!r}; set both to steps, or both to epoch."
        )
    if save == "steps" and settings.get("save_steps", 200) % settings["eval_steps"]:
        raise RecipeError(
            f"{where}: save_steps {settings.get('save_steps', 200)} is not a multiple of eval_steps "
            f"{settings['eval_steps']}, so that the best checkpoint might not be saved."
        )
    metric = settings.get("metric_for_best_model", "loss").removeprefix("eval_")
    if name != "pretrain" and metric != "loss":
        raise RecipeError(f"{where}: metric_for_best_model is {metric!r}; a stage of questions is validated by loss.")


def _check_trackers(where: str, named: str | list[str] | None) -> None:
    """Trainer would find out when the stage begins, after hours of those before it."""
    for name in [named] if isinstance(named, str) else named or ():
        if name in ("none", "all"):
            continue
        try:
            get_reporting_integration_callbacks([name])
        except ValueError as error:
            known = str(error).partition("only ")[2].removesuffix(" are supported.").split(", ")
            raise RecipeError(f"{where}: training.report_to is {name!r}{_nearest(name, known)}") from error
        if name not in get_available_reporting_integrations():
            raise RecipeError(f"{where}: training.report_to is {name!r}, which is not installed; pip install {name}.")


def _check_stream(where: str, name: str, stage: StageRecipe, corpus: str) -> None:
    if name != "pretrain":
        raise RecipeError(f"{where}: stream is for pretrain; questions are built from a corpus.")
    if stage.stream is True and corpus != "simulation":
        raise RecipeError(
            f"{where}: stream is true, which means ever new simulated records, and the corpus is {corpus}; give a "
            "folder of Parquet files instead, or take the corpus simulation."
        )
    if stage.training.get("max_steps", -1) < 1:
        raise RecipeError(f"{where}: stream has no end; set training.max_steps.")


def _check_augment(where: str, name: str, stage: StageRecipe, scaling: str) -> None:
    check_keys(f"{where}: augment", stage.augment, fields_of(AugmentRecipe))
    try:
        AugmentRecipe(**stage.augment).check(scaling)
    except (ValueError, TypeError) as error:
        raise RecipeError(f"{where}: augment: {error}") from error


def _check_text_model(where: str, key: str, recipe: LanguageModelRecipe | TextEncoderRecipe) -> None:
    if (recipe.name is None) == (recipe.config is None):
        raise RecipeError(f"{where}: {key} needs either a name or a config, not both and not neither.")
    if recipe.sizes is not None:
        if recipe.name is None:
            raise RecipeError(f"{where}: {key}.sizes is for a model by name; config says the sizes already.")
        _check_model_config(where, f"{key}.sizes", recipe.sizes)
    if recipe.config is None:
        return
    _check_model_config(where, f"{key}.config", recipe.config)
    own = sorted({"vocab_size", "pad_token_id", "bos_token_id", "eos_token_id"} & set(recipe.config))
    if own:
        raise RecipeError(
            f"{where}: {key}.config sets {', '.join(own)}, which the tokenizer made for the run decides; leave it out"
            + (f" and set {key}.vocab_size instead." if "vocab_size" in own else ".")
        )


def _check_model_config(where: str, key: str, config: dict[str, Any]) -> None:
    model_type = config.get("model_type")
    if model_type not in CONFIG_MAPPING:
        raise RecipeError(
            f"{where}: {key} has model_type {model_type!r}, which transformers does not know"
            f"{_nearest(model_type, CONFIG_MAPPING.keys())}"
        )
    defaults = CONFIG_MAPPING[model_type]()
    known = {name for name in dir(defaults) if not name.startswith("_")} | {"model_type"}
    check_keys(f"{where}: {key}", config, known)
    _check_sizes(where, {f"{key}.{name}": value for name, value in config.items() if _SIZE.search(name)})


def _check_sizes(where: str, sizes: dict[str, Any]) -> None:
    for key, value in sizes.items():
        if isinstance(value, (int, float)) and not isinstance(value, bool) and value < 1:
            raise RecipeError(f"{where}: {key} is {value}; expected 1 or more.")


def fields_of(source: Any) -> set[str]:
    """Names of the fields of a configuration class, or of the arguments of a function or class."""
    if dataclasses.is_dataclass(source):
        # What its base classes declare (labels, ids of special tokens) says nothing about this one.
        return {item.name for item in dataclasses.fields(source) if item.name in source.__annotations__}
    parameters = inspect.signature(source).parameters.values()
    return {item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)}


def check_keys(where: str, values: Iterable[str], known: Iterable[str]) -> None:
    """Raises: RecipeError for a key that is not known, with the nearest one that is."""
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
