"""A recipe's file: YAML in which nothing is lost or taken for something else in silence.

In: a file and overrides such as `limit=100`. Out: plain values, or a `RecipeError` that says where they cannot be
read. Decided here: 1e-3 is a number, as in YAML 1.2; YAML 1.1 reads a string, since it wants 1.0e-3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from .errors import RecipeError

_EXPERIMENTS = "experiments"  # the folder of recipes that docs/experiments.md speaks of
_EXPONENT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)[eE][-+]?[0-9]+$")


class _Loader(yaml.SafeLoader):
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


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader would take for a number."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+.0123456789"))


def read_values(path: str | Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], Path]:
    """(plain values, their file) of a recipe with overrides such as `stages.pretrain.training.max_steps=10`.

    Args: path: a YAML file, or the name of one that ships with the package (`ludb-tiny`, `experiments/confounded`).
    Raises: RecipeError; FileNotFoundError.
    """
    file = _find(path)
    values = read_yaml(file)
    if not isinstance(values, dict):
        raise RecipeError(f"{file} holds {type(values).__name__}; expected a mapping of recipe keys.")
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise RecipeError(f"Override {override!r} has no '='; expected key=value, e.g. output=runs/first.")
        set_value(values, key.strip(), _parse(text, f"Override {override!r}") if text else None)
    return values, file


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


def read_yaml(file: Path) -> Any:
    """Plain values of a file. Raises: RecipeError; OSError where it cannot be opened."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"{file} is not UTF-8 (byte {error.start} is {error.object[error.start]:#04x}); save it as UTF-8."
        ) from error
    return _parse(text, str(file))


def to_yaml(values: dict[str, Any]) -> str:
    """Plain values as text, of which `read_yaml` makes the same values."""
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _find(path: str | Path) -> Path:
    file = Path(path)
    if file.is_file():
        return file
    shipped = Path(__file__).resolve().parents[2] / "recipes"
    named = Path(file.parent.name, file.name) if file.parent.name == _EXPERIMENTS else Path(file.name)
    for candidate in (shipped / named, shipped / f"{named}.yaml"):
        if candidate.is_file():
            return candidate
    own = sorted((*shipped.glob("*.yaml"), *shipped.glob(f"{_EXPERIMENTS}/*.yaml")))
    names = ", ".join(recipe.relative_to(shipped).with_suffix("").as_posix() for recipe in own)
    raise FileNotFoundError(f"No recipe at {path}; expected a YAML file, or one that ships with ecgllm: {names}.")


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError as error:
        raise RecipeError(f"{where} is nested too deeply to be read; a recipe has a handful of levels.") from error
    # ValueError: a date or number that looks like one to YAML, and is none.
    except (yaml.YAMLError, ValueError) as error:
        raise RecipeError(f"{where} is no YAML: {error}") from error
