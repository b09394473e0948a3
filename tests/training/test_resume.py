"""A run that is killed (SIGKILL) in every stage and taken up again ends in the same bits as one that is not.

One run is killed before its first checkpoint, in the middle of pretrain, after which its newest checkpoint is made
incomplete, then in the middle of debias and of finetune (LoRA). Each time the same command goes on.
"""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ecgllm.atomic_writing import InUseError
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.recipe import RecipeError
from ecgllm.training.run_folder import RunFolder

from .conftest import STAGES, run_train, start_train


def kill_when(reached: Callable[[], bool], recipe: Path) -> None:
    """Start training and kill it, with everything it started, as soon as `reached` says so."""
    process = start_train(recipe)
    deadline = time.monotonic() + 120
    while not reached():
        assert process.running(), f"ended before it could be killed:\n{process.output()}"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.kill()


def complete_checkpoints(stage: Path) -> list[int]:
    return sorted(int(file.parent.name.split("-")[1]) for file in stage.glob("checkpoint-*/trainer_state.json"))


def test_killed_in_every_stage_ends_in_the_same_weights(write_recipe: Callable[..., Path], finished_run: Path) -> None:
    recipe = write_recipe()
    run = recipe.parent / "run"
    # before there is any checkpoint, and with what such a kill may leave of the questions
    kill_when((run / "questions" / "finetune-validation").is_dir, recipe)
    assert not complete_checkpoints(run / "pretrain")
    (run / "questions" / "finetune-train").rename(run / "questions" / "finetune-train.partial")
    for stage in STAGES:
        kill_when(lambda stage=stage: len(complete_checkpoints(run / stage)) > 1, recipe)
        steps = complete_checkpoints(run / stage)
        assert not (run / stage / "metrics.json").exists() and steps[-1] < 24, "killed too late to test anything"
        if stage == "pretrain":
            # as if killed while it wrote the newest
            (run / stage / f"checkpoint-{steps[-1]}" / "trainer_state.json").unlink()
            assert RunFolder(run).last_checkpoint(stage).name == f"checkpoint-{steps[-2]}"
    assert "going on from checkpoint-" in run_train(recipe)
    compared = sorted(file.relative_to(finished_run) for file in finished_run.rglob("*.safetensors"))
    assert {str(file) for file in compared} >= {
        "model.safetensors",
        *(f"{stage}/model/model.safetensors" for stage in STAGES),
        "finetune/adapter/adapter_model.safetensors",
    }
    differing = [str(file) for file in compared if (run / file).read_bytes() != (finished_run / file).read_bytes()]
    assert not differing
    for stage in STAGES:
        log, expected = (
            [entry for entry in json.loads((folder / stage / "metrics.json").read_text())["log"] if "loss" in entry]
            for folder in (run, finished_run)
        )
        assert [entry["loss"] for entry in log] == [entry["loss"] for entry in expected]
    assert not list(run.rglob("*.partial"))


def test_a_finished_run_is_left_as_it_is(finished_run: Path) -> None:
    recipe = load_recipe(finished_run / "recipe.yaml")
    before = {file: file.stat().st_mtime_ns for file in finished_run.rglob("*") if "model" in file.parts}
    assert run_recipe(recipe) == Path(recipe.output)
    assert before == {file: file.stat().st_mtime_ns for file in finished_run.rglob("*") if "model" in file.parts}


def test_another_recipe_in_the_same_folder_is_refused(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    file, output = write_recipe(), f"output={tmp_path / 'run'}"
    RunFolder(tmp_path / "run").open(load_recipe(file, [output]))
    # Nothing was made yet, so that another recipe may take its place; from the corpus on, none may.
    assert RunFolder(tmp_path / "run").open(load_recipe(file, [output, "seed=7"])) == []
    RunFolder(tmp_path / "run").open(load_recipe(file, [output]))
    (tmp_path / "run" / "corpus").mkdir()
    with pytest.raises(RecipeError, match=r"run of another recipe \(different: seed, stages.debias.batch_size\)"):
        RunFolder(tmp_path / "run").open(load_recipe(file, [output, "seed=4", "stages.debias.batch_size=16"]))


def test_a_second_run_into_a_folder_is_refused_and_leaves_the_first_alone(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(), [f"output={tmp_path / 'run'}"])
    with RunFolder(tmp_path / "run").held():
        (tmp_path / "run" / "corpus.partial").mkdir()  # which the first is writing
        with pytest.raises(InUseError, match=rf"run is being written by process {os.getpid()} on "):
            run_recipe(recipe)
        assert (tmp_path / "run" / "corpus.partial").is_dir()
    with RunFolder(tmp_path / "run").held():
        assert [file.name for file in (tmp_path / "run").iterdir() if not file.name.startswith(".")] == []


def test_a_moved_run_and_a_key_that_is_new_are_no_other_recipe(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    file = write_recipe()
    RunFolder(tmp_path / "run").open(load_recipe(file, [f"output={tmp_path / 'run'}"]))
    (tmp_path / "run" / "corpus").mkdir()
    (tmp_path / "run").rename(tmp_path / "moved")
    resolved = tmp_path / "moved" / "recipe.yaml"
    values = yaml.safe_load(resolved.read_text())
    del values["lora"]["target_modules"]  # as if written by a version that did not have this key
    resolved.write_text(yaml.safe_dump(values))
    assert RunFolder(tmp_path / "moved").open(load_recipe(file, [f"output={tmp_path / 'moved'}"])) == []


def test_changed_versions_are_said(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    recipe, run = load_recipe(write_recipe()), RunFolder(tmp_path / "run")
    run.open(recipe)
    (run.folder / "corpus").mkdir()
    file = run.folder / "versions.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"torch": "1.0"}))
    (note,) = run.open(recipe)
    assert "torch 1.0 -> " in note


def test_a_folder_of_something_else_is_refused_and_a_kill_at_the_very_start_is_not(
    write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe())
    (tmp_path / "recipe.yaml.partial").write_text("half")
    RunFolder(tmp_path).open(recipe)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    with pytest.raises(RecipeError, match="is not empty and holds no run; choose another output"):
        RunFolder(tmp_path / "other").open(recipe)
    assert [file.name for file in (tmp_path / "other").iterdir()] == ["thesis.tex"]
