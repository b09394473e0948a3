"""Reading on from what a language model has read: its cache, taken apart by rows, and whether that is exact.

In: a model, token ids of equal length, and the cache of what came before them. Out: logits and the next cache. Decided
here: a cache is read on from only if it holds keys and values and nothing else, which can be given to other rows; and
only if a trial shows that the model then says what it says of the whole. No family of models is known by name.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer
from transformers.modeling_outputs import ModelOutput

from .language_model_ecgllm import CACHE_NAMES
from .scoring_ecgllm import takes_positions

# How far log-probabilities may be off in the trial, as a share of their spread over the vocabulary. Rounding was up to
# 3e-6 of it in float32 and 1e-2 in bfloat16, over twenty families, up to thirty layers; what is wrong is off by more.
_ROUNDING, _ROUNDING_OF_HALVES = 3e-5, 5e-2
_LEAST_ROUNDING = 5e-6
_ROTATIONS_BY_LENGTH = ("dynamic", "longrope")


def read(
    model: PreTrainedModel, inputs: Mapping[str, Any], before: Cache | None = None, every_token: bool = False
) -> tuple[torch.Tensor, Cache | None]:
    """(logits [rows, 1 or tokens, vocabulary], the cache of all that was read).

    Args: inputs: of the model, without padding; of a continuation input_ids alone. before: the cache of what comes
        before them, which is changed. every_token: logits of all tokens, not of the last alone.
    """
    inputs = dict(inputs)
    ids = inputs["input_ids"]
    if before is not None:
        done = before.get_seq_length()
        inputs["attention_mask"] = ids.new_ones((len(ids), done + ids.shape[1]))
        inputs["position_ids"] = torch.arange(done, done + ids.shape[1], device=ids.device).expand(len(ids), -1)
        inputs["past_key_values"] = before
    if not every_token and takes_positions(model):
        inputs["logits_to_keep"] = 1
    output = model(**inputs, use_cache=True)
    return output.logits if every_token else output.logits[:, -1:], cache_of(output)


def cache_of(output: ModelOutput) -> Cache | None:
    """The cache, whatever this release of transformers calls it."""
    return next((output[name] for name in CACHE_NAMES if output.get(name) is not None), None)


def of_rows(cache: Cache, rows: Sequence[int]) -> Cache:
    """The cache of these rows, in this order, of which one may occur many times; the given one stays as it is."""
    taken = copy.copy(cache)
    taken.layers = [copy.copy(layer) for layer in cache.layers]
    taken.batch_select_indices(torch.tensor(rows))
    return taken


def can_be_shared(cache: Cache | None) -> bool:
    """Whether a cache holds the keys and values of tokens, which rows of a batch can be given by index, and no more:
    no recurrent state, for which transformers knows no such thing."""
    layers = (DynamicLayer, DynamicSlidingWindowLayer)
    return (
        type(cache) is DynamicCache and len(cache.layers) > 0 and all(type(layer) in layers for layer in cache.layers)
    )


def continues_exactly(model: PreTrainedModel, inputs: Mapping[str, Any], ends: Sequence[int]) -> bool:
    """Whether a prompt that is read piece by piece gives the log-probabilities that the whole gives, up to rounding.

    Args: inputs: of a single prompt, with its ECGs, which lie in its first piece. ends: where pieces end, but for the
        last.
    """
    if _rotates_by_length(model.config.to_dict()):
        return False
    ids = inputs["input_ids"]
    whole, _ = read(model, inputs, every_token=True)
    expected = whole[0].float().log_softmax(dim=-1)
    halves = whole.dtype.itemsize < 4 or (whole.is_cuda and torch.backends.cuda.matmul.allow_tf32)
    allowed = (_ROUNDING_OF_HALVES if halves else _ROUNDING) * (expected.amax(-1) - expected.amin(-1))
    allowed = allowed.clamp(min=_LEAST_ROUNDING)
    bounds = [0, *ends, ids.shape[1]]
    cache = None
    for start, end in zip(bounds, bounds[1:], strict=False):
        piece = {"input_ids": ids[:, start:end].expand(1 if cache is None else 2, -1)}
        if cache is None:
            piece = dict(inputs) | piece | {"attention_mask": inputs["attention_mask"][:, :end]}
        logits, cache = read(model, piece, None if cache is None else of_rows(cache, [0, 0]))
        off = (logits[:, -1].float().log_softmax(dim=-1) - expected[end - 1]).abs().max()
        if not can_be_shared(cache) or not off <= allowed[end - 1]:
            return False
    return True


def _rotates_by_length(config: Any) -> bool:
    """Whether rotary positions of the first tokens depend on how many follow, so that none can be kept: a trial shows
    it only where it crosses the length at which they change."""
    if not isinstance(config, Mapping):
        return False
    return config.get("rope_type") in _ROTATIONS_BY_LENGTH or any(map(_rotates_by_length, config.values()))


__all__ = ["can_be_shared", "continues_exactly", "of_rows", "read"]
