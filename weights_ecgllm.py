"""Weights known by what they hold: one hash over names, types, shapes and values of tensors.

In: tensors, or files of safetensors. Out: hex digits of a SHA-256. Decided here: nothing of a file goes into it, since
the order of tensors, their shards and what is written beside them change with the versions that save.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open


def stored_tensors(files: Iterable[str | Path]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) in the order of names, however many safetensors files they are in; one in memory at a time."""
    with ExitStack() as stack:
        opened = [stack.enter_context(safe_open(file, "pt")) for file in files]
        where = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        for name in sorted(where):
            yield name, where[name].get_tensor(name)


def tensors_sha256(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """Hash of (name, tensor) in the order in which they come; by name it is that of the same tensors in a folder."""
    digest = hashlib.sha256()
    for name, tensor in tensors:
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def folder_sha256(folder: str | Path) -> str:
    """Hash of all tensors in the safetensors files of a folder."""
    return tensors_sha256(stored_tensors(sorted(Path(folder).glob("*.safetensors"))))


__all__ = ["folder_sha256", "stored_tensors", "tensors_sha256"]
