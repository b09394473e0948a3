"""Weights as other groups publish them: a file of `torch.save` in, a state dict that fits one of our models out.

Decided here: nothing that a file names runs; every tensor of it is taken or left out for a stated reason, by its name
and shape, and any other is refused, as is a file that lacks one of the model's.
"""

import pickle
import types
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .errors_ecgllm import CheckpointError

_MOST_NAMES = 6


class _LeftOut:
    """Stands for whatever is no tensor: a scheduler, a number of NumPy's. It takes all that a pickle does to an
    object, and does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Any:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self

    def _ignore(self, *_: Any) -> None:
        pass

    __setstate__ = __setitem__ = append = extend = update = add = _ignore


class _TensorsOnly(pickle.Unpickler):
    """Makes tensors and dictionaries, and of everything else that a pickle names a `_LeftOut`: none of it is found,
    let alone called."""

    _MADE = {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    }

    def find_class(self, module: str, name: str) -> Any:
        return self._MADE.get((module, name), _LeftOut)


_PICKLE = types.SimpleNamespace(
    __name__="tensors_only", Unpickler=_TensorsOnly, load=lambda file, **options: _TensorsOnly(file, **options).load()
)
"""In place of `pickle`, for `torch.load`."""


def read_published(path: str | Path, inside: str | None = None) -> dict[str, torch.Tensor]:
    """The state dict in a file of `torch.save`, on the CPU.

    Args: inside: the key under which the file may hold the state dict among other things.
    Raises: CheckpointError for a damaged file, and for one without a state dict.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"{path} is no file; expected the weights as their authors publish them.")
    try:
        # `weights_only=True` would refuse the whole file for what authors leave beside the weights: a scheduler, a
        # NumPy number.
        found = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_PICKLE)
    except Exception as error:  # a damaged file fails in as many ways as pickle has
        raise CheckpointError(
            f"{path} cannot be read as weights ({type(error).__name__}: {error}). Download it again."
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
