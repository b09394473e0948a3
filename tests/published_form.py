"""Files in the form in which other groups publish their weights, small, and what their own code makes of them."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch

# Made by the authors' own classes (Net1D of ECGFounder with use_bn=False and use_do=False, ViT of MERL's vit1d) at
# tiny sizes, holding `tensor` of each name: the names and shapes of their state dicts, the tokens before their mean
# over time, and that mean, for the input tensor("ecg", [2, 12, samples]) * 10.
THEIRS = json.loads((Path(__file__).parent / "published_encoders.json").read_text())


def tensor(name: str, shape: list[int]) -> torch.Tensor:
    """Values that its name decides."""
    count, fan_in = int(np.prod(shape)), max(1, int(np.prod(shape[1:])))
    values = np.sin(np.arange(count) * 0.7 + zlib.crc32(name.encode()) % 1000) * 1.5 / fan_in**0.5
    return torch.from_numpy(values.reshape(shape).astype(np.float32))


def state_dict(name: str) -> dict[str, torch.Tensor]:
    shapes = THEIRS[name]["tensors"]
    return {key: tensor(key, shape) if shape else torch.tensor(0) for key, shape in shapes.items()}


def published(name: str, folder: Path, **changes: torch.Tensor | None) -> Path:
    """A file as the authors' training loops write it; changes: tensors that replace others, None for none."""
    tensors = {key: value for key, value in (state_dict(name) | changes).items() if value is not None}
    path = folder / f"{name}.pth"
    if name == "ecgfounder":
        score = np.float64(0.9)
        torch.save({"state_dict": tensors, "step": 1, "val_auroc": score, "scheduler": {"best": score}}, path)
    else:
        torch.save(tensors, path)
    return path
