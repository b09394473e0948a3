"""A recipe's file: YAML in which nothing is lost or taken for something else in silence.

In: a file, or the text of an override. Out: plain values, or a `RecipeError` that says where it cannot be read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .checks import RecipeError


class _OncePerKey(yaml.SafeLoader):
    """Refuses a mapping that has a key twice, of which YAML takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: dict[tuple[str, str], yaml.Mark] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                continue
            first = seen.setdefault((key.tag, key.value), key.start_mark)
            if first is not key.start_mark:
                raise yaml.constructor.ConstructorError(
                    None,
                    None,
                    f"the key {key.value!r} stands twice, in lines {first.line + 1} and {key.start_mark.line + 1}; "
                    "keep one of them",
                )
        return super().construct_mapping(node, deep)


def read_yaml(file: Path) -> Any:
    """Plain values of a file. Raises: RecipeError; OSError where it cannot be opened."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{file} is not UTF-8 (byte {error.start} is {error.object[error.start]:#04x}); save it as UTF-8."
        ) from error
    return parse_yaml(text, str(file))


def parse_yaml(text: str, where: str) -> Any:
    """Plain values of a text; `where` is what errors call it. Raises: RecipeError."""
    try:
        return yaml.load(text, Loader=_OncePerKey)
    except RecursionError as error:
        raise RecipeError(f"{where} is nested too deeply to be read; a recipe has a handful of levels.") from error
    # ValueError: a date or number that looks like one to YAML, and is none.
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{where} is no YAML: {error}") from error
