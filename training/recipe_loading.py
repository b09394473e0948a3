"""From a recipe's file to the recipe that is run.

In: a YAML file and overrides. Out: a `Recipe` with what it takes from the checkpoint that it starts from. Decided
here: the checkpoint comes between reading and checking, since the parts of a recipe fit together with its sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .recipe import Recipe, parse_recipe
from .recipe.yaml_file import read_values
from .start_from import with_start


def load_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply overrides such as `data=../ludb` or `stages.pretrain.training.max_steps=10`.

    Args: path: a YAML file, or the name of one that ships with the package (`ludb-tiny`).
    Raises: RecipeError for an unknown key, a missing one, or a value that does not fit; FileNotFoundError.
    """
    values, file = read_values(path, overrides)
    return recipe_from_dict(values, str(file))


def recipe_from_dict(values: Any, where: str) -> Recipe:
    """A checked recipe from plain values; `where` is what errors call them. Raises: RecipeError."""
    return parse_recipe(with_start(values, where), where)
