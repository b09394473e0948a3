"""The shipped recipe on LUDB's real records: shortened here, whole where slow tests run."""

import json
import time
from pathlib import Path

import pytest

from .conftest import ROOT, STAGES, run_train
from .test_run import check_without_the_package


@pytest.mark.slow  # what a run does is tested by others, and its recipe by `test_shipped_recipes`
def test_ludb_tiny_shortened(shared_data: Path, tmp_path: Path) -> None:
    short = [f"stages.{stage}.training.max_steps=3" for stage in STAGES]
    short += [f"stages.{stage}.evaluate=4" for stage in STAGES if stage != "pretrain"]
    data, run = [f"data={shared_data / 'ludb'}", "limit=60"], tmp_path / "run"
    run_train(ROOT / "recipes" / "ludb-tiny.yaml", *data, f"output={run}", *short, folder=tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    assert [(name, values["steps"]) for name, values in metrics.items()] == [(stage, 3) for stage in STAGES]
    assert all(values["validation"]["eval_loss"] > 0 for values in metrics.values())


@pytest.mark.slow
def test_ludb_tiny_learns_what_it_is_shown_in_minutes(shared_data: Path, tmp_path: Path) -> None:
    started, run = time.monotonic(), tmp_path / "run"
    data = f"data={shared_data / 'ludb'}"
    run_train(ROOT / "recipes" / "ludb-tiny.yaml", data, f"output={run}", folder=tmp_path)
    # five minutes on two cores; tests have one, and not to themselves
    assert time.monotonic() - started < 900
    metrics = json.loads((run / "metrics.json").read_text())
    for stage, values in metrics.items():
        losses = [entry["loss"] for entry in values["log"] if "loss" in entry]
        assert losses[-1] < 0.5 * losses[0], stage
    check_without_the_package(run, tmp_path)
