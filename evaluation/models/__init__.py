"""Whose models: a file for each kind of model that answers behind `protocol`.

In: what a person names. Out: an object with `name` and `answer(asked, ecgs) -> answers`. Decided here: which kind a
name means (`model_of`); nothing is loaded, started or sent before that is known. A new kind is a file here and a case
of `model_of`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

import yaml

from ...errors_ecgllm import ECGError
from ..left_out import KIND as FOLDS
from ..protocol import Model

KINDS = (
    "FOLDER, or org/name on the Hub with trust_remote_code (a checkpoint of ecgllm)",
    "folds:FOLDER (the runs of a cross-validation, each record asked of the one that left it out)",
    "pipeline:FOLDER or pipeline:org/name (a model of transformers that reads pictures or text)",
    "file.py:function or module:function (a function answer(records, questions))",
    "program:COMMAND (a program that reads and writes JSON lines)",
    "https://host/v1#model (an OpenAI-compatible endpoint)",
)
_FUNCTION = re.compile(r"(?P<place>[^:]+\.py|[A-Za-z_][\w.]*):[A-Za-z_]\w*")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def model_of(spec: str | Path, **options: Any) -> Model:
    """The model that a name means.

    Args:
        spec: see `KINDS`. options: of `load_checkpoint`, `load_pipeline` and `PipelineModel`, `load_function`,
            `ProgramModel` or `EndpointModel`; None stands for what each of them does by itself.
    Raises: ECGError for a name of no kind, an option that its kind does not have, and as the kind itself.
    """
    spec = str(spec)
    options = {name: value for name, value in options.items() if value is not None}
    kind, _, rest = spec.partition(":")
    if kind == "program" and rest:
        from .program import ProgramModel

        return _made(ProgramModel, (rest,), options)
    if kind == FOLDS and rest:
        from .checkpoint import load_checkpoint
        from .folds import load_folds

        return _made(load_folds, (rest,), options, load_checkpoint)
    if kind in ("http", "https"):
        from .endpoint import EndpointModel

        address, _, name = spec.partition("#")
        if not name:
            raise ECGError(f"{spec} names no model; expected {spec}#NAME, as the endpoint calls it")
        return _made(EndpointModel, (address, name), options)
    if kind == "pipeline" and rest:
        from .pipeline import PipelineModel, load_pipeline

        return _made(load_pipeline, (rest,), options, PipelineModel)
    if Path(spec).is_dir() or (_HUB_ID.fullmatch(spec) and not Path(spec).exists()):
        from .checkpoint import load_checkpoint

        return _made(load_checkpoint, (spec,), options)
    if _FUNCTION.fullmatch(spec):
        from .function import load_function

        return _made(load_function, (spec,), options)
    raise ECGError(f"{spec!r} is no model, and no folder; expected {'; '.join(KINDS)}.")


def stated_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options as a command states them, "name=value"; a value is read as YAML: 8, true, {seed: 1}, picture.

    Raises: ECGError for one that is no such text, is given twice, or whose value is no YAML.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise ECGError(
                f"found {text!r}{' after another of it' if name in found else ''}; expected name=value, once"
            )
        try:
            found[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ECGError(f"the value of {text!r} cannot be read: {error}") from error
    return found


def _made(maker: Callable[..., Model], arguments: tuple[str, ...], options: dict[str, Any], *more: Any) -> Model:
    """What maker makes, once it is known to have the options, and of which type."""
    taken = {
        name: parameter.annotation
        for each in (maker, *more)
        for name, parameter in list(inspect.signature(each, eval_str=True).parameters.items())[len(arguments) :]
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    }
    # What is not asked for need not be known.
    options = {name: value for name, value in options.items() if name in taken or value is not False}
    if unknown := sorted(set(options) - set(taken)):
        raise ECGError(f"{', '.join(unknown)}: no option of this kind of model; it has {', '.join(taken)}")
    for name, value in options.items():
        kind = _plain(taken[name])
        if kind is not None and not _is_of(value, kind):
            raise ECGError(f"{name} is {value!r}; expected {_PLAIN[kind]}")
    return maker(*arguments, **options)


_PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def _plain(annotation: Any) -> type | None:
    """The plain type of an argument that takes one, or one or None."""
    return next((each for each in (get_args(annotation) or (annotation,)) if each in _PLAIN), None)


def _is_of(value: Any, kind: type) -> bool:
    if isinstance(value, bool):  # which is an int in Python
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


__all__ = ["KINDS", "model_of", "stated_options"]
