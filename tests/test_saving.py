"""What a saved folder says that its weights learned from: no more than what was said of these very weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ecgllm import ECGForSequenceClassification, ECGLLMForConditionalGeneration
from ecgllm.saving_ecgllm import UNDESCRIBED


@pytest.fixture
def folder(tmp_path: Path, tiny_llm: Callable) -> Path:
    """A checkpoint that says what it learned from."""
    model, _ = tiny_llm(trained_on="three simulated ECGs")
    model.save_pretrained(tmp_path / "first")
    return tmp_path / "first"


def said(model: Any, folder: Path) -> str:
    """What config.json and card of a model say once it is saved; both say the same."""
    model.save_pretrained(folder)
    stated = json.loads((folder / "config.json").read_text(encoding="utf-8"))["trained_on"]
    assert f"## Training data\n\n{stated}\n" in (folder / "README.md").read_text(encoding="utf-8")
    return stated


def test_weights_that_changed_are_not_said_to_have_learned_from_the_same(folder: Path, tmp_path: Path) -> None:
    model = ECGLLMForConditionalGeneration.from_pretrained(folder)
    assert said(model, tmp_path / "same") == "three simulated ECGs"
    with torch.no_grad():
        next(model.projector.parameters()).add_(0.01)
    assert said(model, tmp_path / "changed") == f"three simulated ECGs; {UNDESCRIBED}"
    again = ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "changed")
    assert said(again, tmp_path / "again") == f"three simulated ECGs; {UNDESCRIBED}"
    model.config.trained_on = "three simulated ECGs, then ten of LUDB"
    assert said(model, tmp_path / "described") == "three simulated ECGs, then ten of LUDB"


def test_another_type_of_numbers_is_no_other_training(folder: Path, tmp_path: Path) -> None:
    model = ECGLLMForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    assert said(model, tmp_path / "half") == "three simulated ECGs"


def test_a_classifier_s_head_learned_from_something_else(folder: Path, tmp_path: Path) -> None:
    model = ECGForSequenceClassification.from_pretrained(folder, num_labels=2)
    assert said(model, tmp_path / "classifier") == f"ECG encoder: three simulated ECGs; {UNDESCRIBED}"
