"""Weights as other groups publish them: a file of `torch.save` in, a state dict that fits one of our models out.

Decided here: no code in such a file runs; every tensor of it is taken or left out for a stated reason, by its name and
shape, and anything else is refused, as is a tensor that the model lacks.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .errors_ecgllm import CheckpointError

_MOST_NAMES = 6
# Beside tensors, training loops write NumPy numbers into their checkpoints (a score, a scheduler's best). These are
# what PyTorch needs to read those and no more; older NumPy calls the first one by another name.
_NUMBERS = [
    (np._core.multiarray.scalar if hasattr(np, "_core") else np.core.multiarray.scalar, name)
    for name in ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]
_NUMBERS += [np.dtype, *{type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")}]


def read_published(path: str | Path, inside: str | None = None) -> dict[str, torch.Tensor]:
    """The state dict in a file of `torch.save`, on the CPU.

    Args: inside: the key under which the file may hold the state dict among other things.
    Raises: CheckpointError for a file that cannot be read without running code, and for one without a state dict.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path} is no file; expected the weights as their authors publish them.")
    try:
        with torch.serialization.safe_globals(_NUMBERS):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in as many ways as pickle has
        raise CheckpointError(
            f"{path} cannot be read as weights alone ({type(error).__name__}: {str(error).splitlines()[0]}). Download "
            "it again; a file that holds more than tensors and numbers is not opened, because it could run code."
        ) from error
    if isinstance(found, Mapping) and inside is not None and isinstance(found.get(inside), Mapping):
        found = found[inside]
    if not isinstance(found, Mapping) or not found or not all(torch.is_tensor(value) for value in found.values()):
        keys = sorted(map(str, found))[:_MOST_NAMES] if isinstance(found, Mapping) else type(found).__name__
        raise CheckpointError(
            f"{path} holds {keys}; expected a state dict, tensors by name"
            + ("." if inside is None else f", or one under the key {inside!r}.")
        )
    return dict(found)


def load_published(
    model: nn.Module,
    tensors: Mapping[str, torch.Tensor],
    left_out: Mapping[str, tuple[int | None, ...]],
    where: str | Path,
) -> None:
    """Put published tensors into a model whose own tensors have the same names.

    Args: left_out: names -> shapes of tensors that the file may have and the model does not; None is any size.
        where: what errors call the file.
    Raises: CheckpointError that names tensors that the file lacks, has in another shape, or has and nobody knows, and
        those that hold a value that is no finite number.
    """
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    given = {name: tuple(value.shape) for name, value in tensors.items()}
    other_shape = [
        f"{name} {list(given[name])} instead of {list(shape)}"
        for name, shape in (left_out | own).items()
        if name in given and not _fits(given[name], shape)
    ]
    problems = {
        "missing": [name for name in own if name not in given],
        "of another shape": other_shape,
        "unknown": [name for name in given if name not in own and name not in left_out],
        "not finite": [name for name in own if name in given and not bool(tensors[name].isfinite().all())],
    }
    said = [f"{len(names)} {what} ({_listed(names)})" for what, names in problems.items() if names]
    if said:
        raise CheckpointError(
            f"{where} does not hold the weights of a {type(model).__name__} of this size, of whose tensors are "
            f"{'; '.join(said)}. Expected the file as its authors published it."
        )
    model.load_state_dict({name: tensors[name] for name in own})


def size_of(tensors: Mapping[str, torch.Tensor], name: str, dimension: int, where: Any) -> int:
    """A size that a tensor tells. Raises: CheckpointError where the tensor is not there or has fewer dimensions."""
    shape = tuple(tensors[name].shape) if name in tensors else ()
    if dimension >= len(shape):
        found = _listed(sorted(tensors))
        raise CheckpointError(f"{where} lacks the tensor {name}, or it has another shape; it holds {found}.")
    return shape[dimension]


def _fits(found: tuple[int, ...], expected: tuple[int | None, ...]) -> bool:
    return len(found) == len(expected) and all(b in (a, None) for a, b in zip(found, expected, strict=True))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


__all__ = ["load_published", "read_published", "size_of"]
