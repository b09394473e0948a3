"""`metrics.json`: all figures as numbers, for programs.

In: sections and `About`. Out: values that JSON can hold: an `Estimate` as a mapping of its fields, NaN as null, keys
as text. docs/evaluate.md has the schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from ..figures import SectionFigures
from .about import SCHEMA, About


def metrics(sections: list[SectionFigures], about: About) -> dict[str, Any]:
    """What `metrics.json` holds. Raises: TypeError that names a value for which JSON has no form."""
    names = [section.name for section in sections]
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise TypeError(f"two sections are called {twice[0]!r}; expected a name of its own for each")
    said = {field.name: getattr(about, field.name) for field in fields(about) if field.name != "picture"}
    return plain(
        {
            "schema": SCHEMA,
            "about": said,
            "sections": {
                section.name: {
                    "title": section.title,
                    "sentences": section.sentences,
                    "headlines": section.headlines,
                    "values": section.values,
                }
                for section in sections
            },
        },
        "",
    )


def plain(value: Any, where: str) -> Any:
    """A value as JSON has it; where: how it is found, for the message."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {_key(key, where): plain(each, f"{where}[{key!r}]") for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    if isinstance(value, (list, tuple)):
        return [plain(each, f"{where}[{number}]") for number, each in enumerate(value)]
    raise TypeError(f"values{where} is a {type(value).__name__}; expected what JSON can hold, or an Estimate")


def _key(key: Any, where: str) -> str:
    if isinstance(key, (str, int, float)):
        return str(key)
    raise TypeError(f"values{where} has the key {key!r}; expected a text or a number")
