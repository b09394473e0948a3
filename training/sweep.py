"""Sweeps: one recipe run with every combination of some keys' values, and a table of accuracy against cost.

In: a recipe with `sweep`, dotted keys with lists of values. Out: a run folder for each combination under the recipe's
output, `sweep.json` and `sweep.md`. Decided here: what no swept key touches is done once (the corpus and its prepared
signals; pretrain, from whose encoder all then start); a sweep that was killed goes on by the same command.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from accelerate import PartialState
from transformers import TrainerCallback

from ..configuration_ecgllm import ECGEncoderConfig
from ..processing_ecgllm import ECGFeatureExtractor
from ..writing import owned, write_bytes, write_json, write_text, written_whole
from .loading import recipe_from_dict
from .recipe import Recipe
from .recipe.file import set_value
from .run import run_recipe, start_processes
from .run_folder import RunFolder

_NOT_OF_PRETRAIN = ("projector", "language_model", "lora", "stages.debias", "stages.finetune")
_OF_THE_DATA = ("corpus", "data", "limit", "seed", "split", "feature_extractor")
_SECONDS = 10  # of the ECG whose tokens the table counts
_COLUMNS = {
    "projector": "projector parameters",
    "trainable": "trainable",
    "tokens_per_ecg": f"tokens of {_SECONDS} s",
    "seconds_per_step": "s/step",
    "validation_loss": "validation loss",
    "exact_match": "right",
    "commonest_answer": "commonest answer",
    "questions": "questions",
}


def sweep_recipes(recipe: Recipe) -> list[tuple[dict[str, Any], Recipe]]:
    """(swept values, recipe) of every combination. Raises: RecipeError for one that cannot be run."""
    found = []
    for values in itertools.product(*recipe.sweep.values()):
        choices = dict(zip(recipe.sweep, values, strict=True))
        plain = recipe.to_dict() | {"sweep": {}, "output": str(Path(recipe.output) / _name(choices))}
        for key, value in choices.items():
            set_value(plain, key, copy.deepcopy(value))  # which a later key may set a part of
        found.append((choices, recipe_from_dict(plain, f"the sweep's {_name(choices)}")))
    return found


def shares_pretrain(recipe: Recipe) -> bool:
    """Whether one pretrain does for all combinations."""
    more = set(recipe.stages) - {"pretrain"}
    return "pretrain" in recipe.stages and bool(more) and recipe.start_from is None and _untouched(recipe, None)


def run_sweep(recipe: Recipe, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Run every combination, or go on with those that are not finished; returns the folder with the table."""
    state = start_processes(recipe)
    with owned(Path(recipe.output)) if state.is_main_process else nullcontext():
        return _run_sweep(recipe, callbacks)


def _run_sweep(recipe: Recipe, callbacks: Sequence[TrainerCallback]) -> Path:
    folder, runs, first = Path(recipe.output), sweep_recipes(recipe), None
    if shares_pretrain(recipe):
        first = copy.deepcopy(runs[0][1])
        first.output, first.stages = str(folder / "pretrain"), {"pretrain": first.stages["pretrain"]}
        PartialState().print("Sweep: pretrain, once for all")
        run_recipe(first, callbacks)
        runs = [(choices, _after_pretrain(one, first)) for choices, one in runs]
    rows = []
    for number, (choices, one) in enumerate(runs, start=1):
        PartialState().print(f"\nSweep {number}/{len(runs)}: {_name(choices)}")
        if first is not None and PartialState().is_main_process and _untouched(recipe, _OF_THE_DATA):
            _share_data(RunFolder(first.output), one)
        first = first or one
        run_recipe(one, callbacks)
        rows.append(_row(choices, one))
        if PartialState().is_main_process:
            write_json(folder / "sweep.json", rows)
            write_text(folder / "sweep.md", table(rows) + "\n")
    PartialState().print("\n" + table(rows))
    return folder


def _after_pretrain(recipe: Recipe, first: Recipe) -> Recipe:
    plain = recipe.to_dict() | {"start_from": first.output}
    plain["stages"] = {name: stage for name, stage in plain["stages"].items() if name != "pretrain"}
    return recipe_from_dict(plain, f"the sweep's {Path(recipe.output).name}")


def _untouched(recipe: Recipe, keys: tuple[str, ...] | None) -> bool:
    """Whether no swept key is among (or below) these; None: whether none but those after pretrain is swept."""
    if keys is None:
        return all(_is_below(key, _NOT_OF_PRETRAIN) for key in recipe.sweep)
    return not any(_is_below(key, keys) for key in recipe.sweep)


def _is_below(key: str, parents: tuple[str, ...]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _name(choices: dict[str, Any]) -> str:
    """Of a combination's folder."""
    words = (f"{key}={said(value)}" for key, value in choices.items())
    return ",".join(re.sub(r"[^\w.=,-]+", "-", word) for word in words)


def said(value: Any) -> str:
    """A swept value in words."""
    if isinstance(value, dict):
        return ",".join(f"{key}={said(own)}" for key, own in value.items())
    return str(value)


def _share_data(source: RunFolder, recipe: Recipe) -> None:
    """Give a run the corpus and signals of another by hard links, so that they are on the disk once."""
    target = RunFolder(recipe.output)
    if (target.folder / "corpus").is_dir():
        return
    with target.held():
        target.open(recipe)
        for name in ("corpus.txt", "refused.json"):
            if (source.folder / name).is_file():
                write_bytes(target.folder / name, (source.folder / name).read_bytes())
        for name in ("signals", "corpus"):  # the corpus last: its presence says that the run has begun
            if not (target.folder / name).is_dir():
                with written_whole(target.folder / name) as partial:
                    shutil.copytree(source.folder / name, partial, copy_function=_link, dirs_exist_ok=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def tokens_per_ecg(recipe: Recipe) -> int:
    """Tokens that the language model reads of an ECG of ten seconds."""
    samples = math.ceil(_SECONDS * ECGFeatureExtractor(**recipe.feature_extractor).sampling_rate)
    patches = ECGEncoderConfig(**recipe.encoder).num_patches(samples)
    return math.ceil(patches / recipe.projector.patches_per_token)


def _row(choices: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    run = RunFolder(recipe.output)
    metrics = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))[list(recipe.stages)[-1]]
    answers = metrics.get("answers", {}).get("all", {})
    parameters = metrics["parameters"]
    return {
        "choices": choices,
        "folder": run.folder.name,
        "projector": parameters.get("projector", [None])[0],
        "trainable": parameters["all"][1],
        "tokens_per_ecg": tokens_per_ecg(recipe),
        "seconds_per_step": metrics["seconds_per_step"],
        "validation_loss": metrics.get("validation", {}).get("eval_loss"),
        **{key: answers.get(key) for key in ("exact_match", "commonest_answer", "questions")},
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of `sweep.json` as a Markdown table whose columns are aligned."""
    keys = list(rows[0]["choices"])
    lines = [[*keys, *_COLUMNS.values()]]
    for row in rows:
        lines.append([*(said(row["choices"][key]) for key in keys), *(_cell(key, row[key]) for key in _COLUMNS)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = [
        "| " + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([text[0], "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|", *text[1:]])


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if key in ("exact_match", "commonest_answer"):
        return f"{value:.1%}"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
