"""Parts of a recipe that are passed on as they are: arguments of a class or function, known by its own names.

In: what a recipe says under `encoder`, `feature_extractor`, a stage's `questions` and `training`. Out: the same plain
mapping, with nothing added, and what is wrong with it. Decided here: which of these arguments are the recipe's to say,
and the limits of those that would else be refused when a stage begins, after hours of those before it.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from transformers import TrainingArguments
from transformers.integrations import get_available_reporting_integrations, get_reporting_integration_callbacks
from typing_extensions import TypedDict

from ...configuration_ecgllm import ECGBeatEncoderConfig, ECGEncoderAdapterConfig, ECGEncoderConfig
from ...corpora import build_questions
from ...corpora.questions.build import questions_per_type
from ...corpora.questions.varied_words import word_shares
from ...feature_extraction_ecgllm import ECGFeatureExtractor
from .errors import nearest
from .parts import EMPTY, STRICT, NotNegative


def _arguments(source: Any, but: Iterable[str] = (), **types: Any) -> Any:
    """A mapping with the arguments of a class or function as its keys, of the types that are given."""
    if dataclasses.is_dataclass(source):
        # What the base classes of a configuration declare (labels, ids of special tokens) says nothing about it.
        names = [item.name for item in dataclasses.fields(source) if item.init and item.name in source.__annotations__]
    else:
        parameters = inspect.signature(source).parameters.values()
        names = [item.name for item in parameters if item.kind in (item.POSITIONAL_OR_KEYWORD, item.KEYWORD_ONLY)]
    keys = dict.fromkeys((name for name in names if name not in but), Any)
    kind = TypedDict(source.__name__, keys | types, total=False)
    kind.__pydantic_config__ = STRICT
    return kind


def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> Iterator[str]:
    """What a call says of its arguments when it refuses them."""
    try:
        call(*arguments, **named)
    except (ValueError, TypeError) as error:
        yield str(error)


_BEATS = dict.fromkeys(ECGBeatEncoderConfig.__annotations__, Any)
_ADAPTER = _arguments(
    ECGEncoderAdapterConfig, but=["backbone_config", "num_leads", "preprocessing", "initializer_range"]
)
ADAPTER_FIELDS = tuple(_ADAPTER.__annotations__)
_CHECKPOINT = {"from": str, "trust_remote_code": bool, "adapter": _ADAPTER}
"""Keys of `encoder` that are no field of its configuration: a checkpoint, whether its own code may run, and how a
model that knows nothing of ECGs is wrapped (`ECGEncoderAdapterConfig`)."""
Encoder = Annotated[_arguments(ECGEncoderConfig, but=["preprocessing"], **_BEATS, **_CHECKPOINT), EMPTY]
FeatureExtractor = Annotated[_arguments(ECGFeatureExtractor), EMPTY]
Questions = Annotated[_arguments(build_questions, but=["corpus", "paraphrases", "phrasings", "seed"], path=str), EMPTY]


def encoder_fields(encoder: dict[str, Any]) -> dict[str, Any]:
    """Of what a recipe says of its encoder, what a configuration takes."""
    return {key: value for key, value in encoder.items() if key not in _CHECKPOINT}


def problems_of_questions(questions: dict[str, Any]) -> Iterator[str]:
    """What `build_questions` would refuse, and what stands beside the path of given questions."""
    if "path" not in questions:
        for problem in refused(questions_per_type, questions.get("types"), questions.get("per_record", 1)):
            yield f"questions: {problem}"
        for problem in refused(word_shares, questions.get("words")):
            yield f"questions: {problem}"
    elif others := [name for name in questions if name != "path"]:
        yield (
            "questions has path, which stands alone because its questions are taken as they are, and beside it "
            f"{', '.join(others)}. Replace all of questions, which leaves the other keys out: "
            f"'stages.NAME.questions={{path: {questions['path']}}}'."
        )


# Set by the stages themselves: the recipe's key to use instead, or None where there is nothing to choose.
OWN_TRAINING_ARGUMENTS = {
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
# Where null is a value of its own (save_total_limit: keep all).
_TAKES_NULL = {item.name for item in dataclasses.fields(TrainingArguments) if item.default is None}
_BelowOne = Annotated[float, Field(ge=0, lt=1)]
_KNOWN = _arguments(
    TrainingArguments,
    max_steps=int,
    num_train_epochs=Annotated[float, Field(gt=0)],
    learning_rate=NotNegative,
    weight_decay=NotNegative,
    label_smoothing_factor=_BelowOne,
    adam_beta1=_BelowOne,
    adam_beta2=_BelowOne,
    adam_epsilon=NotNegative,
    max_grad_norm=NotNegative,
    warmup_steps=NotNegative,
)


def _without_nulls(training: Any) -> Any:
    """Null takes back what a file says."""
    if not isinstance(training, dict):
        return training
    known = _KNOWN.__annotations__.keys() - _TAKES_NULL
    return {key: value for key, value in training.items() if value is not None or key not in known}


Training = Annotated[_KNOWN, EMPTY, BeforeValidator(_without_nulls)]
"""Fields of `transformers.TrainingArguments`."""


def problems_of_training(training: dict[str, Any]) -> Iterator[str]:
    """What follows from the recipe, and what Trainer would refuse when the stage begins."""
    for key in training.keys() & OWN_TRAINING_ARGUMENTS:
        instead = OWN_TRAINING_ARGUMENTS[key]
        way_out = f"set {instead} instead" if instead else "leave it out"
        yield f"training sets {key}, which follows from the recipe; {way_out}."
    steps = training.get("max_steps", -1)
    if steps != -1 and steps < 1:
        yield f"training.max_steps is {steps}; expected 1 or more, or null."
    named = training.get("report_to", "none")
    for name in [named] if isinstance(named, str) else named or ():
        if name in ("none", "all"):
            continue
        for problem in refused(get_reporting_integration_callbacks, [name]):
            known = problem.partition("only ")[2].removesuffix(" are supported.").split(", ")
            yield f"training.report_to is {name!r}{nearest(name, known)}"
        if name not in get_available_reporting_integrations():
            yield f"training.report_to is {name!r}, which is not installed; pip install {name}."
