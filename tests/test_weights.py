"""Weights are known by what they hold, not by the files that hold it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ecgllm.weights_ecgllm import folder_sha256, tensors_sha256

TENSORS = {"b.weight": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(1.5, dtype=torch.bfloat16)}


def test_files_and_their_layout_do_not_matter(tmp_path: Path) -> None:
    expected = tensors_sha256(sorted(TENSORS.items()))
    for number, parts in enumerate([[list(TENSORS)], [["b.weight"], ["a"]], [["a"], ["b.weight"]]]):
        folder = tmp_path / str(number)
        folder.mkdir()
        for place, names in enumerate(parts):
            file = folder / f"model-{place}.safetensors"
            save_file({name: TENSORS[name] for name in names}, file, metadata={"format": "pt", "of": str(number)})
        assert folder_sha256(folder) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"b.weight": torch.arange(6.0).reshape(3, 2)},
        {"b.weight": torch.arange(6.0).reshape(2, 3) + 1e-6},
        {"a": torch.tensor(1.5)},
        {"c": torch.tensor(1.5)},
    ],
    ids=["shape", "value", "type", "name"],
)
def test_anything_else_does(change: dict[str, torch.Tensor]) -> None:
    assert tensors_sha256(sorted((TENSORS | change).items())) != tensors_sha256(sorted(TENSORS.items()))
