"""A model whose answers may have changed is another model."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ecgllm.evaluation.models import model_of
from ecgllm.evaluation.models.pipeline import PipelineModel


def test_functions_and_programs_by_their_files(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    found = []
    for answer in ("yes", "no", "yes"):
        file.write_text(f"def answer(records, questions):\n    return ['{answer}'] * len(questions)\n")
        found.append([model_of(f"{file}:answer").identity, model_of(f"program:{sys.executable} {file}").identity])
    assert found[0] == found[2] and all(one != other for one, other in zip(found[0], found[1], strict=True))
    assert model_of(f"program:{sys.executable} {file}", ecgs_as="csv").identity != found[2][1]


def test_endpoints_by_their_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "https://host/v1#m"
    own = model_of(name).identity
    for other in ({"ecgs_as": "picture"}, {"max_tokens": 5}, {"say_choice": False}, {"more": {"seed": 1}}):
        assert model_of(name, **other).identity != own
    monkeypatch.setenv("ECGLLM_API_KEY", "another")
    assert model_of(name, at_once=9, attempts=2).identity == own != model_of("https://host/v1#n").identity


def test_pipelines_by_weights_and_settings() -> None:
    def piped(weight: float, **options: Any) -> str:
        model = SimpleNamespace(
            state_dict=lambda: {"w": torch.tensor([weight])}, config=SimpleNamespace(_name_or_path="m")
        )
        return PipelineModel(SimpleNamespace(task="text-generation", model=model, tokenizer=None), **options).identity

    assert piped(1.0) == piped(1.0, batch_size=8) != piped(2.0)
    assert len({piped(1.0), piped(1.0, measured=False), piped(1.0, max_new_tokens=3), piped(1.0, layout="6x2")}) == 4
