"""P(yes) relative to P(no) for many questions at once.

In: a model, its processor, questions and signals that are prepared or encoded. Out: one probability per question, the
same as the pipeline's with candidates=["yes", "no"].
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from ..prefix_scoring_ecgllm import AnswerScorer
from ..processing_ecgllm import ECGProcessor
from .data.encoded_signals import EncodedSignals
from .data.prepared_signals import PreparedSignals

ANSWERS = ("yes", "no")


def yes_probabilities(
    model: ECGLLMForConditionalGeneration,
    processor: ECGProcessor,
    questions: Sequence[str],
    ecg_ids: Sequence[Sequence[str]],
    signals: PreparedSignals | EncodedSignals,
    batch_size: int = 64,
) -> np.ndarray:
    """P(yes) relative to P(no), float64 [questions], each the probability of the whole answer.

    Args: questions, ecg_ids: what is asked, and the records that it is asked about. signals: holds all of them;
        encoded ones (`encode_signals`) are not encoded again. batch_size: rows per call of the model.
    """
    # A column of a data set selects itself anew for every row that is asked for.
    questions, ecg_ids = list(questions), list(ecg_ids)
    scorer = AnswerScorer(model, processor, batch_size)
    found = np.empty(len(questions))
    for rows, ecgs in in_portions(ecg_ids, signals):
        scores = scorer.score([questions[row] for row in rows], ecgs, [ANSWERS] * len(rows))
        found[rows] = torch.stack(scores).double().softmax(dim=1)[:, 0].numpy()
    return found


def in_portions(
    ecg_ids: Sequence[Sequence[str]], signals: PreparedSignals | EncodedSignals, size: int = 4096
) -> Iterator[tuple[list[int], list[list[Mapping[str, Any]]]]]:
    """Questions in portions whose signals fit into memory, those about the same ECGs together: (which, their ECGs), an
    ECG of a portion read once."""
    order = sorted(range(len(ecg_ids)), key=lambda row: list(ecg_ids[row]))
    for start in range(0, len(order), size):
        rows = order[start : start + size]
        read = {record_id: signals[record_id] for record_id in {name for row in rows for name in ecg_ids[row]}}
        yield rows, [[read[record_id] for record_id in ecg_ids[row]] for row in rows]


def opposite_pairs(questions: Mapping[str, Sequence[Any]]) -> list[tuple[int, int]]:
    """Positions (yes, no) of two questions with the same words, one answered yes and one no; each is in one pair at
    most.

    Args: questions: columns "question" and "answers", as of `build_questions`.
    """
    by_words: dict[str, tuple[list[int], list[int]]] = {}
    for position, (words, answers) in enumerate(zip(questions["question"], questions["answers"], strict=True)):
        if answers in (["yes"], ["no"]):
            by_words.setdefault(words, ([], []))[answers == ["no"]].append(position)
    return [pair for yes, no in by_words.values() for pair in zip(yes, no, strict=False)]
