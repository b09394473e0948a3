"""Train a model from a recipe: `python train.py RECIPE.yaml [key=value ...]`, the same as `ecgllm train`.

Several processes: `torchrun --nproc_per_node 2 train.py RECIPE.yaml ...`. With `--dry-run` it prints data, sizes,
memory and time instead of training; `--processes N` beside it plans for N processes. Recipes and their keys:
docs/training.md.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from accelerate import PartialState

# Absolute, because this file is also run as a script, where it belongs to no package.
from ecgllm.training import dry_run, load_recipe, run_recipe


def main(argv: Sequence[str] | None = None) -> Path | None:
    """Run a recipe with overrides (key=value); returns the run folder, or None of a dry run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe that ships with ecgllm")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="recipe values")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    parser.add_argument("--processes", type=int, metavar="N", help="plan for N processes (with --dry-run)")
    arguments = parser.parse_intermixed_args(argv)
    recipe = load_recipe(arguments.recipe, arguments.overrides)
    if arguments.processes is not None and not arguments.dry_run:
        parser.error("--processes is for --dry-run; a training's processes are the launcher's (torchrun)")
    if arguments.dry_run:
        dry_run(recipe, arguments.processes)
        return None
    folder = run_recipe(recipe)
    PartialState().print(f"Done: {folder}")  # once, whatever the number of processes
    return folder


if __name__ == "__main__":
    main()
