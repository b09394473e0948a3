"""Questions about the same ECGs in one row: the ECGs go through the language model once, not once per question.

In: conversations of a batch with the same beginning (`ECGProcessor.encode_conversation`). Out: rows in which that
beginning occurs once, followed by the parts that differ; `position_ids` and an attention mask by which every question
sees the beginning and itself, and no other question. Losses and gradients are those of one row per question: no
question sees the answer to another, as it would in a conversation of several turns. Decided here: answers are at the
start of a row, so that all rows need logits at the same positions; attention must depend on the mask alone, not on the
order of tokens. `sharing_is_exact` tests whether that is true of a language model.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from accelerate.utils.memory import should_reduce_batch_size

_PADDING = -1
_BEGINNING = 0


def share_beginning(encoded: Sequence[Mapping[str, list[int]]]) -> dict[str, list[int]]:
    """One row of several conversations.

    Args: encoded: their {"input_ids", "labels"}.
    Returns: {"input_ids", "labels", "position_ids", "segments"}: 0 is the shared beginning, 1 and up are the
    conversations. First come the answers of all, each with the token before it; then the shared beginning; then the
    rest.
    """
    shared = _shared_length(encoded)
    first, last = [], []
    for number, one in enumerate(encoded, start=1):
        # What follows the last token that is learned foretells nothing, as ChatML's newline.
        length = max((place for place, label in enumerate(one["labels"]) if label != -100), default=-1) + 1
        length = length or len(one["input_ids"])
        # From the token that predicts the first one with a label.
        start = next((place for place, label in enumerate(one["labels"]) if label != -100), length) - 1
        start = max(start, shared)
        first += [(number, one, place) for place in range(start, length)]
        last += [(number, one, place) for place in range(shared, start)]
    middle = [(_BEGINNING, encoded[0], place) for place in range(shared)]
    row: dict[str, list[int]] = {"input_ids": [], "labels": [], "position_ids": [], "segments": []}
    for number, one, place in [*first, *middle, *last]:
        row["input_ids"].append(one["input_ids"][place])
        row["labels"].append(one["labels"][place])
        row["position_ids"].append(place)
        row["segments"].append(number)
    return row


def _shared_length(encoded: Sequence[Mapping[str, list[int]]]) -> int:
    """How many tokens at the start are the same in all and without labels, at most one less than the shortest has."""
    columns = zip(*(one["input_ids"] for one in encoded), strict=False)
    alike = sum(1 for _ in itertools.takewhile(lambda tokens: len(set(tokens)) == 1, columns))
    for one in encoded:
        learned = next((place for place, label in enumerate(one["labels"]) if label != -100), len(one["labels"]))
        # The token before the first learned one belongs to the answer, which begins with a token without a label.
        alike = min(alike, max(learned - 1, 0))
    return alike


def attention_of(rows: Sequence[Mapping[str, list[int]]], length: int) -> dict[str, torch.Tensor]:
    """Position ids and attention mask of rows padded on the right to `length` tokens.

    Returns: position_ids int [rows, tokens]; attention_mask bool [rows, 1, tokens, tokens], true where a token (third
        dimension) sees another (fourth).
    """
    segments = np.full((len(rows), length), _PADDING)
    positions = np.zeros((len(rows), length), dtype=np.int64)
    for number, row in enumerate(rows):
        segments[number, : len(row["segments"])] = row["segments"]
        positions[number, : len(row["position_ids"])] = row["position_ids"]
    own = segments[:, :, None] == segments[:, None, :]
    sees = (own | (segments == _BEGINNING)[:, None, :]) & (positions[:, :, None] >= positions[:, None, :])
    # Padding sees padding: a token that sees nothing would be divided by zero.
    sees &= (segments != _PADDING)[:, :, None] == (segments != _PADDING)[:, None, :]
    return {"position_ids": torch.from_numpy(positions), "attention_mask": torch.from_numpy(sees)[:, None]}


def why_not_shared(model: Any, longest: int) -> str | None:
    """Why a language model cannot be tested, by its configuration; None where it can.

    Args: longest: tokens of the longest conversation.
    """
    config = model.config.get_text_config()
    implementation = getattr(config, "_attn_implementation", None)
    if implementation != "sdpa":
        return f"its attention is {implementation!r}, expected 'sdpa'"
    others = sorted(set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"})
    if others:
        return f"it has layers of the type {', '.join(others)}"
    for name in ("sliding_window", "attention_chunk_size"):
        window = getattr(config, name, None)
        if window is not None and longest > window:
            # Our mask would not respect it.
            return f"its {name} is {window} tokens and the longest conversation has {longest}"
    return None


@torch.no_grad()
def sharing_is_exact(model: Any, apart: Mapping[str, Any], together: Mapping[str, Any]) -> bool:
    """Whether a language model predicts the same answers with and without sharing.

    Args: apart, together: batches with `labels`, whose conversations stand in the same order. False for models that
    depend on more than the mask: state space models, positions taken from the order of tokens (ALiBi), attention that
    takes no boolean mask ("eager"). Raises: errors of the model with unshared rows, and errors that do not concern the
    mask, such as lack of memory.
    """
    training = model.training
    model.eval()
    try:
        expected = _foretelling_logits(model, apart)
        try:
            found = _foretelling_logits(model, together)
        except (TypeError, ValueError, RuntimeError, IndexError, AttributeError) as error:
            if _is_of_the_machine(error):
                raise
            return False
    finally:
        model.train(training)
    if expected.shape != found.shape:
        return False
    # Rounding leaves some 1e-6 of the logits' spread in float32 and a few hundredths in bfloat16.
    allowed = (1e-4 if expected.dtype == torch.float32 else 0.1) * expected.std()
    return bool((expected - found).abs().max() <= allowed)


def _is_of_the_machine(error: Exception) -> bool:
    """Whether an error is about memory or the device, and so says nothing about the model."""
    return isinstance(error, torch.OutOfMemoryError | torch.AcceleratorError) or should_reduce_batch_size(error)


def _foretelling_logits(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """[learned tokens, vocabulary]"""
    batch = {name: value.to(model.device) for name, value in batch.items()}
    learned = batch["labels"][:, 1:] != -100
    return model(**{name: value for name, value in batch.items() if name != "labels"}).logits[:, :-1][learned]
