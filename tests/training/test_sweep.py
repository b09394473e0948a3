"""Sweeps: every combination is run, what none touches is done once, a killed one goes on, and a table comes out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from ecgllm.train import main
from ecgllm.training import dry_run, load_recipe, run_recipe, run_sweep
from ecgllm.training.recipe import RecipeError
from ecgllm.training.sweep import sweep_recipes, table

SWEEP = {"projector": [{"type": "linear"}, {"type": "mlp", "hidden_size": 24}], "projector.patches_per_token": [1, 5]}
STAGES = {
    "pretrain": {"batch_size": 8, "training": {"max_steps": 4}},
    "finetune": {
        "batch_size": 8,
        "tune": "full",
        "evaluate": 8,
        "questions": {"per_record": 1, "types": ["verify"]},
        "training": {"max_steps": 4, "save_steps": 2},
    },
}


class Steps(TrainerCallback):
    """Counts the steps of every folder, and ends the process' work at one of them."""

    def __init__(self, kill_at: int | None = None):
        self.taken: dict[str, int] = {}
        self.kill_at = kill_at

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        folder = Path(args.output_dir)
        name = f"{folder.parent.name}/{folder.name}"
        self.taken[name] = self.taken.get(name, 0) + 1
        if sum(self.taken.values()) == self.kill_at:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def swept(write_recipe: Callable[..., Path]) -> tuple[Path, Path]:
    """(recipe, folder) of a sweep that was killed in its third run and taken up again."""
    file = write_recipe(sweep=SWEEP, stages=STAGES)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(load_recipe(file), [Steps(kill_at=15)])  # 4 of pretrain, 4, 4, 3
    again = Steps()
    folder = run_sweep(load_recipe(file), [again])
    assert list(again.taken.values()) == [2, 4]  # the rest of the third from its checkpoint, and the fourth
    return file, folder


def test_the_table_sets_accuracy_against_cost(swept: tuple[Path, Path]) -> None:
    rows = json.loads((swept[1] / "sweep.json").read_text())
    assert [row["tokens_per_ecg"] for row in rows] == [25, 5, 25, 5]
    # encoder size 32 (or five of it), language model 48, hidden 24
    linear, wide = 32 * 48 + 48, 5 * 32 * 48 + 48
    narrow, broad = 32 * 24 + 24 + 24 * 48 + 48, 5 * 32 * 24 + 24 + 24 * 48 + 48
    assert [row["projector"] for row in rows] == [linear, wide, narrow, broad]
    for row in rows:
        metrics = json.loads((swept[1] / row["folder"] / "metrics.json").read_text())["finetune"]
        assert row["exact_match"] == metrics["answers"]["all"]["exact_match"] and row["seconds_per_step"] > 0
        assert row["validation_loss"] == metrics["validation"]["eval_loss"]
    text = (swept[1] / "sweep.md").read_text()
    assert "hidden_size=24,type=mlp" in text and len(text.splitlines()) == 6
    assert len(set(map(len, text.splitlines()))) == 1  # aligned


def test_what_no_key_touches_is_done_once(swept: tuple[Path, Path]) -> None:
    runs = sorted(folder for folder in swept[1].iterdir() if (folder / "finetune").is_dir())
    assert len(runs) == 4 and not any((run / "pretrain").exists() for run in runs)
    assert (swept[1] / "pretrain" / "model.safetensors").is_file()
    # one file under several names
    for name in ("signals/signals.arrow", "corpus/dataset_info.json"):
        assert {(run / name).stat().st_ino for run in runs} == {(swept[1] / "pretrain" / name).stat().st_ino}


def test_a_sweep_that_touches_the_data_shares_nothing(write_recipe: Callable[..., Path]) -> None:
    stages = {"pretrain": STAGES["pretrain"]}
    folder = run_sweep(load_recipe(write_recipe(sweep={"limit": [30, 40]}, stages=stages)))
    rows = json.loads((folder / "sweep.json").read_text())
    assert [row["choices"] for row in rows] == [{"limit": 30}, {"limit": 40}]
    sizes = [(folder / row["folder"] / "signals" / "signals.arrow").stat().st_size for row in rows]
    assert sizes[0] < sizes[1] and rows[0]["exact_match"] is None
    assert "| -" not in table(rows).splitlines()[0] and " - |" in table(rows)


def test_a_dry_run_lists_what_each_costs(
    swept: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    dry_run(load_recipe(swept[0], [f"output={tmp_path / 'none'}"]))
    said = capsys.readouterr().out
    assert "Sweep of 4 runs; pretrain is done once for all" in said
    assert "projector=type=linear, projector.patches_per_token=5: projector 7,728" in said
    assert "[2/2] finetune" in said and not (tmp_path / "none").exists()


def test_one_command_runs_either(write_recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    monkeypatch.setattr("ecgllm.train.run_sweep", lambda recipe: called.append("sweep"))
    monkeypatch.setattr("ecgllm.train.run_recipe", lambda recipe: called.append("run"))
    main([str(write_recipe(sweep=SWEEP))])
    main([str(write_recipe())])
    assert called == ["sweep", "run"]
    with pytest.raises(RecipeError, match="The recipe has a sweep"):
        run_recipe(load_recipe(write_recipe(sweep=SWEEP)))


@pytest.mark.parametrize(
    ("sweep", "message"),
    [
        ({"projector.type": "mlp"}, "sweep.projector.type is 'mlp'; expected a list"),
        ({"projector.type": []}, "expected at least 1"),
        ({"output": ["a", "b"]}, "output cannot be swept"),
        ({"projector.typ": ["mlp"]}, "projector has the unknown key 'typ'; did you mean 'type'"),
        (
            {"projector.type": ["linear", "conv"]},
            "projector.type=conv: projector.type is 'conv'; expected 'linear' or 'mlp'",
        ),
    ],
)
def test_a_combination_that_cannot_be_run_is_refused_at_once(
    sweep: dict[str, Any], message: str, write_recipe: Callable[..., Path]
) -> None:
    with pytest.raises(RecipeError, match=message):
        sweep_recipes(load_recipe(write_recipe(sweep=sweep)))
