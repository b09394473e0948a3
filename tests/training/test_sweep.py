"""The sweep script: every combination is run, pretrain once where it is asked, and a table comes out."""

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from ecgllm.training.recipe import RecipeError

from .conftest import ROOT

STAGES = {
    "pretrain": {"batch_size": 8, "training": {"max_steps": 2}},
    "finetune": {
        "batch_size": 8,
        "tune": "full",
        "evaluate": 8,
        "questions": {"per_record": 1, "types": ["verify"]},
        "training": {"max_steps": 2},
    },
}
main = runpy.run_path(str(ROOT / "benchmarks" / "sweep.py"))["main"]


@pytest.mark.slow
def test_the_table_sets_accuracy_against_cost(write_recipe: Callable[..., Path]) -> None:
    file = write_recipe(stages=STAGES)
    over = ["--over", "projector=[{type: linear}, {type: mlp, hidden_size: 24}]"]
    main([str(file), "--once", *over, "--over", "projector.patches_per_token=[5]"])
    folder = file.parent / "run"
    _, _, *rows = (folder / "sweep.md").read_text().splitlines()
    runs = [folder / line.split("|")[1].strip() for line in rows]
    assert [run.name for run in runs] == [
        "projector=type-linear,projector.patches_per_token=5",
        "projector=type-mlp,-hidden_size-24,projector.patches_per_token=5",
    ]
    for line, run in zip(rows, runs, strict=True):
        metrics = json.loads((run / "metrics.json").read_text())["finetune"]
        assert not (run / "pretrain").exists() and f" {metrics['answers']['all']['exact_match']:.1%} " in line
    # encoder size 32, five of it to a token; language model 48; hidden 24
    assert [line.split("|")[2].strip() for line in rows] == ["7,728", "5,064"]
    assert [line.split("|")[4].strip() for line in rows] == ["5", "5"]


def test_a_combination_that_cannot_be_run_is_refused_at_once(write_recipe: Callable[..., Path]) -> None:
    file = write_recipe(stages=STAGES)
    with pytest.raises(RecipeError, match="projector.type is 'conv'; expected 'linear' or 'mlp'"):
        main([str(file), "--over", "projector.type=[linear, conv]"])
    with pytest.raises(SystemExit, match=r"--over projector.type is 'mlp'; expected a list"):
        main([str(file), "--over", "projector.type=mlp"])
    assert not (file.parent / "run").exists()
