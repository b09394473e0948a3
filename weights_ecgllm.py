"""Weights known by what they hold: one hash over names, types, shapes and values of tensors.

In: tensors, or files of weights. Out: hex digits of a SHA-256. Decided here: nothing of a file goes into it, since
the order of tensors, their shards and what is written beside them change with the versions that save.
"""

import hashlib
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import torch
from safetensors import safe_open


def stored_tensors(files: Iterable[str | Path]) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) in the order of names, however many files they are in: safetensors, of which one tensor is in
    memory at a time, or what `torch.save` wrote (`pytorch_model.bin`), opened as weights alone, without code."""
    with ExitStack() as stack:
        found: dict[str, Callable[[str], torch.Tensor]] = {}
        for file in files:
            if Path(file).suffix == ".safetensors":
                opened = stack.enter_context(safe_open(file, "pt"))
                found |= dict.fromkeys(opened.keys(), opened.get_tensor)
            else:  # those of before 2020 are no zip files, which alone can stay on the disk
                held = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
                found |= dict.fromkeys(held, held.__getitem__)
        for name in sorted(found):
            yield name, found[name](name)


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
