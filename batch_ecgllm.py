"""Several texts with several ECGs each to one batch: tokens, labels, padding, nesting.

In: texts with placeholders, and the ECGs of all texts in one list. Out: a row of token ids and labels for each text;
rows of one length [batch, tokens], and ECGs [batch, ecgs, ...] with a mask. Decided here: nothing is truncated;
padding is zero, and -100 in labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .errors_ecgllm import ECGError, shorten
from .feature_extraction_ecgllm import check_choice, is_list
from .signal_ecgllm import ECGInputError


def as_batch(text: Any, ecgs: Any) -> tuple[list[str], list[list[Any]]]:
    """Normalise one text or a batch to lists, with a list of ECGs per text."""
    if isinstance(text, str):
        row = [] if ecgs is None else list(ecgs) if is_list(ecgs) else [ecgs]
        if len(row) == 1 and is_list(row[0]):
            row = list(row[0])
        return [text], [row]
    texts = list(text)
    if not texts or any(not isinstance(one, str) for one in texts):
        raise ECGError(f"text is {shorten(repr(text))}; expected a string, or one or more strings.")
    if ecgs is None:
        return texts, [[] for _ in texts]
    if not is_list(ecgs) or len(ecgs) != len(texts):
        found = f"{len(ecgs)} entries" if is_list(ecgs) else "one ECG"
        raise ECGError(
            f"{len(texts)} texts were given with {found} in ecgs; expected one entry per text: an ECG, a list "
            "of ECGs, or None."
        )
    return texts, [[] if item is None else list(item) if is_list(item) else [item] for item in ecgs]


def tokenize(
    tokenizer: Any,
    texts: list[str],
    add_special_tokens: bool,
    label_spans: Sequence[Sequence[tuple[int, int]]] | None = None,
) -> list[dict[str, list[int]]]:
    """{"input_ids"} of each text; with label_spans also "labels", which are -100 outside the spans.

    Raises: ECGError for label_spans with a slow tokenizer.
    """
    with_labels = label_spans is not None
    if with_labels and not tokenizer.is_fast:
        raise ECGError(
            f"{type(tokenizer).__name__} is a slow tokenizer, which cannot tell where a token stands in the text; "
            "labels need a fast one (AutoTokenizer gives it where there is one)."
        )
    encoded = tokenizer(
        texts,
        add_special_tokens=add_special_tokens,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        return_token_type_ids=False,
        return_offsets_mapping=with_labels,
    )
    rows = [{"input_ids": ids} for ids in encoded["input_ids"]]
    if with_labels:
        for row, offsets, spans in zip(rows, encoded["offset_mapping"], label_spans, strict=True):
            learned = zip(row["input_ids"], _learned_tokens(offsets, spans), strict=True)
            row["labels"] = [token_id if learn else -100 for token_id, learn in learned]
    return rows


def _learned_tokens(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Which tokens lie in one of the spans.

    A token of whitespace may have no width, as byte-level tokenizers trim it; it counts when it lies inside.
    """
    return [
        any((begin < end and start < stop) if end > start else begin < start < stop for begin, stop in spans)
        for start, end in offsets
    ]


def repeat_placeholders(row: Mapping[str, list[int]], placeholder: int, counts: list[int]) -> dict[str, list[int]]:
    """A row of `tokenize` with each placeholder repeated as often as the next count says. Placeholders are never
    learned."""
    ids, left = row["input_ids"], iter(counts)
    repeats = [next(left) if token_id == placeholder else 1 for token_id in ids]
    repeated = {
        name: [value for value, count in zip(values, repeats, strict=True) for _ in range(count)]
        for name, values in row.items()
    }
    if "labels" in row:
        repeated["labels"] = [-100 if label == placeholder else label for label in repeated["labels"]]
    return repeated


def where_learned(labels: Any) -> Any:
    """1 where there is a label, of a tensor, an array or lists."""
    if isinstance(labels, list):
        return [[int(label != -100) for label in row] for row in labels]
    learned = labels != -100
    return learned.long() if isinstance(learned, torch.Tensor) else learned.astype(np.int64)


def pad_tokens(
    sequences: dict[str, list[list[int]]],
    pad_token_id: int,
    padding: bool | str,
    side: str,
    max_length: int | None,
) -> dict[str, list[list[int]]]:
    """Rows of input_ids (and labels) of one length, with their attention_mask.

    Args: padding: True or "longest", "max_length" (with max_length), or False. side: "left" or "right".
    Raises: ECGError for a row longer than max_length: nothing is truncated.
    """
    ids = sequences["input_ids"]
    if max_length is not None:
        for row, tokens in enumerate(ids):
            if len(tokens) > max_length:
                raise ECGError(
                    f"Text {row} with its ECGs has {len(tokens)} tokens; max_length is {max_length}. Truncation "
                    "would cut the ECG or the question: shorten the text, use a shorter segment, or raise "
                    "max_length."
                )
    check_choice("padding", padding, (True, False, "longest", "max_length"))
    if side not in ("left", "right"):
        raise ECGError(f"padding_side is {side!r}; expected 'left' or 'right'.")
    if padding == "max_length":
        if max_length is None:
            raise ECGError("padding='max_length' needs max_length.")
        width = max_length
    else:
        width = max(len(row) for row in ids) if padding else None
    fill = {"input_ids": pad_token_id, "labels": -100, "attention_mask": 0}
    padded = sequences | {"attention_mask": [[1] * len(row) for row in ids]}
    if width is None:
        return padded
    return {
        name: [
            [fill[name]] * (width - len(row)) + row if side == "left" else row + [fill[name]] * (width - len(row))
            for row in rows
        ]
        for name, rows in padded.items()
    }


def nest_ecgs(features: Mapping[str, np.ndarray], ecgs_per_text: list[int]) -> dict[str, np.ndarray]:
    """[ecgs, ...] of all texts -> [batch, ecgs, ...] with ecg_mask; places without an ECG are zero."""
    mask = np.arange(max(ecgs_per_text))[None] < np.asarray(ecgs_per_text)[:, None]
    nested: dict[str, np.ndarray] = {"ecg_mask": mask}
    for name in ("ecg_values", "ecg_embeds", "lead_mask", "ecg_lengths"):
        if name not in features:
            continue
        values = np.asarray(features[name])
        nested[name] = np.zeros((*mask.shape, *values.shape[1:]), dtype=values.dtype)
        nested[name][mask] = values
    return nested


def stack_encoded(ecgs: Sequence[Mapping[str, Any]], preprocessing_id: int) -> dict[str, np.ndarray]:
    """Zero-padded ecg_embeds [ecgs, patches, encoder size] and their lengths; encoders give zero past the end.

    Args: ecgs: mappings with `ecg_embeds`, `ecg_length` and `preprocessing_id`. preprocessing_id: the expected one.
    Raises: ECGInputError for another.
    """
    for index, ecg in enumerate(ecgs):
        if "ecg_embeds" not in ecg or ecg.get("preprocessing_id") != preprocessing_id:
            raise ECGInputError(
                f"ecgs[{index}] was not encoded before as the first was, with preprocessing_id "
                f"{preprocessing_id}; found the keys {sorted(ecg)} and "
                f"{ecg.get('preprocessing_id')}. Encode all ECGs of a batch with one encoder and processor"
            )
    embeds = [np.asarray(ecg["ecg_embeds"], dtype=np.float32) for ecg in ecgs]
    stacked = np.zeros((len(embeds), max(len(rows) for rows in embeds), embeds[0].shape[1]), dtype=np.float32)
    for target, rows in zip(stacked, embeds, strict=True):
        target[: len(rows)] = rows
    return {"ecg_embeds": stacked, "ecg_lengths": np.array([ecg["ecg_length"] for ecg in ecgs], dtype=np.int64)}
