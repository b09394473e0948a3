"""Files of a run that are damaged are named in a sentence, never in a traceback."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.training import load_recipe
from ecgllm.training.run_folder import RunFolder


@pytest.mark.parametrize("damage", [b"\xff\xfe", b"{", b""], ids=["not UTF-8", "no JSON", "empty"])
def test_a_run_whose_files_are_damaged_says_which(write_recipe: Callable[..., Path], damage: bytes) -> None:
    recipe = load_recipe(write_recipe())
    run = RunFolder(recipe.output)
    run.open(recipe)
    (run.folder / "corpus").mkdir()
    assert run.open(recipe) == []
    versions = (run.folder / "versions.json").read_bytes()
    (run.folder / "versions.json").write_bytes(damage)
    with pytest.raises(ECGError, match=r"versions\.json is no JSON"):
        run.open(recipe)
    (run.folder / "versions.json").write_bytes(versions)
    (run.folder / "start.json").write_bytes(damage)
    with pytest.raises(ECGError, match=r"start\.json is no JSON"):
        run.start()
    (run.folder / "recipe.yaml").write_bytes(damage)
    with pytest.raises(ECGError, match=r"recipe\.yaml"):
        run.open(recipe)
    checkpoint = run.stage("debias") / "checkpoint-4"
    checkpoint.mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_bytes(damage)
    assert run.last_checkpoint("debias") is None  # killed while it was written
