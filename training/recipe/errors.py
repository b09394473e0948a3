"""What a recipe is refused for, in words.

In: pydantic's errors and the values that they are about. Out: one `RecipeError` with a line for each key: the file,
the key's path, what was found, what was expected. Decided here: a typo is told the nearest key, and a key that stands
in the wrong part is told which parts have it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any, get_type_hints

from pydantic import BaseModel, ValidationError
from typing_extensions import is_typeddict

from ...errors_ecgllm import ECGError


class RecipeError(ECGError):
    """A recipe that cannot be run; the message names the key."""


_EXPECTED = {  # type of a pydantic error -> what is written in place of its "Input should be ..."
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "too_short": "at least {min_length}",
    "greater_than_equal": "{ge:g} or more",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "{le:g} or less",
    "less_than": "less than {lt:g}",
}


def recipe_error(error: ValidationError, kind: type, values: Any, where: str) -> RecipeError:
    """What pydantic found in the values of a model (`kind`); `where` is what the message calls them."""
    lines: dict[str, list[str]] = {}
    for details in error.errors(include_url=False):
        path = _path(details["loc"], values)
        if details["type"] == "missing":
            key = ".".join([*path, str(details["loc"][-1])])
            lines[f"{where} lacks {key}; add it to the recipe or pass {key}=VALUE"] = []
        elif details["type"] == "extra_forbidden":
            lines[_unknown(path, details["input"], kind, where)] = []
        elif details["type"] == "value_error":
            lines[": ".join([where, *([".".join(path)] if path else []), str(details["ctx"]["error"])])] = []
        else:
            found = f"{where}: {'.'.join(path)} is {details['input']!r}"
            # Of the types that a key may have, each says what it expects.
            expected = _EXPECTED.get(details["type"], "").format(**details.get("ctx", {}))
            lines.setdefault(found, []).append(expected or details["msg"].removeprefix("Input should be "))
    texts = (f"{found}; expected {' or '.join(expected)}" if expected else found for found, expected in lines.items())
    return RecipeError("\n".join(text if text.endswith((".", "?")) else f"{text}." for text in texts))


def nearest(key: Any, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known."""
    close = difflib.get_close_matches(str(key), [str(name) for name in known], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(sorted(known)[:40])}."


def _path(location: Sequence[str | int], values: Any) -> list[str]:
    """The keys of a location; pydantic adds to them the type that it tried, where a key may have several."""
    path = []
    for key in location:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            continue
        path.append(str(key))
    return path


def _unknown(path: Sequence[str], found: Any, kind: type, where: str) -> str:
    *parents, key = path
    siblings: dict[str, Any] = {}
    for name in parents:
        siblings = _fields(kind)
        kind = siblings[name]
    others = ", ".join(name for name, other in siblings.items() if key in _fields(other))
    if others:
        part = parents[-1]
        return (
            f"{where}: {'.'.join(parents)}: {key} is {found!r}, which says nothing to {part}: it is for {others}. "
            "Leave it out, or set it there."
        )
    owner = f"{where}: {'.'.join(parents)}" if parents else where
    return f"{owner} has the unknown key {key!r}{nearest(key, _fields(kind))}"


def _fields(kind: Any) -> dict[str, Any]:
    if is_typeddict(kind):
        return get_type_hints(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    return {}
