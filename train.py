"""Train a model from a recipe: `python train.py RECIPE.yaml [key=value ...]`, the same as `ecgllm train`.

Several processes: `torchrun --nproc_per_node 2 train.py RECIPE.yaml ...`. Recipes and their keys: docs/training.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

# Absolute, because this file is also run as a script, where it belongs to no package.
from ecgllm.training import load_recipe, run_recipe


def main(argv: Sequence[str] | None = None) -> Path:
    """Run the recipe `argv[0]` with the overrides `argv[1:]` (key=value); returns the run folder."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        raise SystemExit(__doc__)
    folder = run_recipe(load_recipe(arguments[0], arguments[1:]))
    print(f"Done: {folder}")
    return folder


if __name__ == "__main__":
    main()
