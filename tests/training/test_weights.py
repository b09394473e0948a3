"""Damaged weights are refused by the name of their file, before a library fails on them."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ecgllm.training.recipe import RecipeError
from ecgllm.training.start import read_start
from ecgllm.training.weights import check_weights


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    save_file({"b": np.arange(12, dtype=np.float32), "a": np.ones((3, 4), np.float16)}, file, {"format": "pt"})
    return file


def test_whole_weights_pass(weights: Path) -> None:
    check_weights(weights.parent)
    save_file({}, weights)  # none, as of a checkpoint that keeps them elsewhere
    check_weights(weights.parent)


@pytest.mark.parametrize("left", [0, 5, 40, -1])
def test_a_file_that_is_cut_off_is_named(weights: Path, left: int) -> None:
    weights.write_bytes(weights.read_bytes()[:left])
    with pytest.raises(ValueError, match=f"^{weights} is damaged: it holds .* Copy the checkpoint again"):
        check_weights(weights.parent)


def test_a_file_that_is_too_long_or_no_safetensors_is_named(weights: Path) -> None:
    size = weights.stat().st_size
    weights.write_bytes(weights.read_bytes() + b"more")
    with pytest.raises(ValueError, match=f"holds {size + 4:,} bytes and a header that promises {size:,}"):
        check_weights(weights.parent)
    weights.write_bytes(b"<!DOCTYPE html>")
    with pytest.raises(ValueError, match="15 bytes and no header of safetensors"):
        check_weights(weights.parent)


def test_a_run_does_not_start_from_damaged_weights(weights: Path) -> None:
    (weights.parent / "config.json").write_text(json.dumps({"model_type": "ecgllm"}), encoding="utf-8")
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(RecipeError, match=f"start_from is {weights.parent}: {weights} is damaged"):
        read_start(str(weights.parent))
