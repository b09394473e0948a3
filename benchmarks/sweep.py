"""Every combination of some values of a recipe, each a run of its own, and a table of accuracy against cost.

    python benchmarks/sweep.py RECIPE [KEY=VALUE ...] --over KEY=[VALUE, ...] [--over ...] [--once]

Folders and table (`sweep.md`) lie under the recipe's output. The same command again goes on where it was killed. With
--once, `pretrain` runs once, and all start from its encoder: for keys that it has nothing to do with.
"""

import argparse
import itertools
import json
import math
import re
from pathlib import Path

import yaml
from accelerate import PartialState

from ecgllm.configuration_ecgllm import as_encoder_config, count_tokens
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.training import Recipe, load_recipe, run_recipe

SECONDS = 10  # of the ECG whose tokens the table counts
COLUMNS = {  # of the table: how each is written
    "projector": ",",
    "trainable": ",",
    f"tokens of {SECONDS} s": "",
    "s/step": ".3f",
    "validation loss": ".3f",
    "right": ".1%",
    "commonest answer": ".1%",
    "questions": ",",
}


def combinations(over: list[str]) -> list[list[str]]:
    """Overrides of each combination: `["a=[1, 2]", "b=[3]"]` -> `[["a=1", "b=3"], ["a=2", "b=3"]]`."""
    keys = [each.partition("=")[0] for each in over]
    values = [yaml.safe_load(each.partition("=")[2]) for each in over]
    for key, given in zip(keys, values, strict=True):
        if not isinstance(given, list) or not given:
            raise SystemExit(f"--over {key} is {given!r}; expected a list of values, such as {key}=[1, 2]")
    return [
        [f"{key}={json.dumps(value)}" for key, value in zip(keys, chosen, strict=True)]
        for chosen in itertools.product(*values)
    ]


def tokens_per_ecg(recipe: Recipe) -> int:
    """Tokens that the language model reads of an ECG of ten seconds."""
    samples = math.ceil(SECONDS * ECGFeatureExtractor(**recipe.feature_extractor).sampling_rate)
    return count_tokens(
        samples, as_encoder_config(recipe.encoder_fields).patch_size * recipe.projector.patches_per_token
    )


def row(recipe: Recipe) -> str:
    """A finished run as a line of the table."""
    metrics = list(json.loads((Path(recipe.output) / "metrics.json").read_text(encoding="utf-8")).values())[-1]
    answers, parameters = metrics.get("answers", {}).get("all", {}), metrics["parameters"]
    values = [
        parameters.get("projector", [None])[0],
        parameters["all"][1],
        tokens_per_ecg(recipe),
        metrics["seconds_per_step"],
        metrics.get("validation", {}).get("eval_loss"),
        *(answers.get(key) for key in ("exact_match", "commonest_answer", "questions")),
    ]
    pairs = zip(values, COLUMNS.values(), strict=True)
    return " | ".join(
        [Path(recipe.output).name, *("-" if value is None else f"{value:{how}}" for value, how in pairs)]
    )


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--over", action="append", required=True, metavar="KEY=[VALUE, ...]")
    parser.add_argument("--once", action="store_true", help="run pretrain once for all")
    given = parser.parse_intermixed_args(arguments)

    whole = load_recipe(given.recipe, given.overrides)
    output, common, first = Path(whole.output), list(given.overrides), None
    if given.once:
        stages = whole.to_dict()["stages"]
        alone = json.dumps({"pretrain": stages.pop("pretrain")})
        first = load_recipe(given.recipe, [*common, f"stages={alone}", f"output={output / 'pretrain'}"])
        common += [f"stages={json.dumps(stages)}", f"start_from={output / 'pretrain'}"]

    def chosen() -> list[Recipe]:
        folders = [output / re.sub(r"[^\w.=,-]+", "-", re.sub(r'["{}\[\]]', "", ",".join(own))) for own in choices]
        return [
            load_recipe(given.recipe, [*common, *own, f"output={folder}"])
            for own, folder in zip(choices, folders, strict=True)
        ]

    choices = combinations(given.over)
    chosen()  # what cannot be run is refused before anything is
    if first is not None:
        run_recipe(first)
    lines = [" | ".join(["run", *COLUMNS]), "|".join(["---"] * (1 + len(COLUMNS)))]
    for recipe in chosen():  # completed by the encoder that is now there
        run_recipe(recipe)
        lines.append(row(recipe))
        if PartialState().is_main_process:
            (output / "sweep.md").write_text("".join(f"| {line} |\n" for line in lines), encoding="utf-8")
    PartialState().print("\n".join(lines))


if __name__ == "__main__":
    main()
