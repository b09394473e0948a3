"""Weights known by what they hold: one hash over names, types, shapes and values of tensors.

In: tensors, or a folder of safetensors. Out: hex digits of a SHA-256. Decided here: nothing of a file goes into it,
since the order of tensors, their shards and what is written beside them change with the versions that save.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open


def tensors_sha256(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Hash of (name, tensor) in the order in which they come; by name it is that of the same tensors in a folder."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def folder_sha256(folder: Path) -> str:
    """Hash of all tensors in the safetensors files of a folder, however many files they are in."""
    with ExitStack() as stack:
        files = [stack.enter_context(safe_open(file, "pt")) for file in sorted(folder.glob("*.safetensors"))]
        where = {name: file for file in files for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        return tensors_sha256((name, where[name].get_tensor(name)) for name in sorted(where))
