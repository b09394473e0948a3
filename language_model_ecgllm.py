"""Calling any causal language model: by the argument names of its forward, and with placeholders in its prompt.

In: inputs under the names that transformers uses today. Out: the outputs of a language model that may use other names,
or an `ECGError` where it lacks such an argument. No family of models is known by name: signatures decide.
"""

import inspect
from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.generation import LogitsProcessorList
from transformers.modeling_outputs import ModelOutput
from transformers.modeling_utils import PreTrainedModel

from .errors_ecgllm import ECGError

# What a causal language model calls its cache: `cache` since transformers 5.24; before, `past_key_values` or, in
# state-space models, `cache_params`. The language model gets the name that it knows; callers may use any of the three.
CACHE_NAMES = ("cache", "past_key_values", "cache_params")
# Named arguments of language models that differ between families: given only to a forward that names them.
_FAMILY_ARGUMENTS = ("position_ids", *CACHE_NAMES, "logits_to_keep", "cache_position")


def embedding_size(language_model: PreTrainedModel) -> int:
    """Size of its input embeddings; not the hidden size: some models (OPT-350m) have smaller embeddings."""
    return language_model.get_input_embeddings().weight.shape[1]


def named_cache(language_model: PreTrainedModel, **caches: Cache | None) -> dict[str, Cache]:
    """The cache under the name that the language model takes; nothing where there is none.

    Raises: ECGError for more than one.
    """
    given = {name: cache for name, cache in caches.items() if cache is not None}
    if len(given) > 1:
        raise ECGError(f"One cache is given as {' and '.join(given)}; pass it once.")
    parameters = inspect.signature(language_model.forward).parameters
    return {next((name for name in CACHE_NAMES if name in parameters), own): cache for own, cache in given.items()}


def run_language_model(language_model: PreTrainedModel, **inputs: Any) -> ModelOutput:
    """The language model's outputs for those inputs that are given and that it takes.

    Raises: ECGError for logits_to_keep that it does not take, and for more tokens than it has positions for.
    """
    inputs = _inputs_that_it_takes(language_model, **inputs)
    given = inputs["inputs_embeds"] if "inputs_embeds" in inputs else inputs["input_ids"]
    limit = getattr(language_model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and given.shape[1] > limit and _has_table_of_positions(language_model, limit):
        raise ECGError(
            f"The prompt has {given.shape[1]} tokens, ECG tokens included; this language model has positions for "
            f"{limit}. Use a shorter segment of the ECG, fewer ECGs, or a model with more patches_per_token."
        )
    return language_model(**inputs, return_dict=True)


_MOST_OFFSET = 8
"""Rows that tables of positions have beside the positions: OPT has 2, those with a padding row 1 more."""


def _has_table_of_positions(language_model: PreTrainedModel, positions: int) -> bool:
    """Whether positions are a learned table, which ends; computed positions have no end."""
    words = language_model.get_input_embeddings()
    return any(
        isinstance(part, nn.Embedding) and part is not words and 0 <= part.num_embeddings - positions <= _MOST_OFFSET
        for part in language_model.modules()
    )


def _inputs_that_it_takes(language_model: PreTrainedModel, **inputs: Any) -> dict[str, Any]:
    parameters = inspect.signature(language_model.forward).parameters
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    if "logits_to_keep" not in parameters and not _keeps_all(inputs.get("logits_to_keep", 0)):
        raise ECGError(
            f"{type(language_model).__name__} does not take logits_to_keep; leave it at 0 with this language model."
        )
    return {
        name: value
        for name, value in inputs.items()
        if value is not None and (name in parameters or (takes_any and name not in _FAMILY_ARGUMENTS))
    }


def _keeps_all(logits_to_keep: int | torch.Tensor) -> bool:
    return isinstance(logits_to_keep, int) and logits_to_keep == 0


class BesidePlaceholders(LogitsProcessorList):
    """Logits processors that look up the prompt's tokens in the logits (repetition penalty), where the placeholder has
    no logit. In its place they see another token of the same prompt, so that no new token is added.
    """

    def __init__(self, processors: LogitsProcessorList, placeholder: int):
        super().__init__(processors)
        self.placeholder = placeholder

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if input_ids.shape[1] == 0:  # generated from inputs_embeds
            return super().__call__(input_ids, scores, **kwargs)
        words = input_ids != self.placeholder
        first = input_ids.gather(1, words.int().argmax(dim=1, keepdim=True))
        return super().__call__(torch.where(words, input_ids, first), scores, **kwargs)


__all__ = ["BesidePlaceholders", "embedding_size", "named_cache", "run_language_model"]
