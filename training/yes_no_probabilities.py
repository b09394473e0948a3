"""P(yes) relative to P(no) for many questions at once, and shares of right answers with their intervals.

In: a model, its processor, questions and signals that are prepared or encoded. Out: one probability per question, the
same as the pipeline's with candidates=["yes", "no"]; shares with intervals over patients. Decided here: the bootstrap
resamples patients, not questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ..errors_ecgllm import ECGError
from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from ..prefix_scoring_ecgllm import AnswerScorer
from ..processing_ecgllm import ECGProcessor
from .data.encoded_signals import EncodedSignals
from .data.prepared_signals import PreparedSignals
from .pretraining_metrics import interval, patient_draws

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


def share(right: Sequence[bool] | np.ndarray, patients: Sequence[Sequence[str]], seed: int = 0) -> dict[str, Any]:
    """Share of right answers with its 95 % interval: {"share", "low", "high", "number"}.

    Args: patients: whose ECGs each question is about, one or several. They are drawn with replacement (percentile
        bootstrap); a question about several counts as often as the product of how often each of them was drawn.
    Raises: ValueError for no question at all.
    """
    right = np.asarray(right, dtype=float)
    if not len(right):
        raise ECGError("no question was answered, so that no share of them is right")
    names = sorted({name for own in patients for name in own})
    column = {name: number for number, name in enumerate(names)}
    draws = patient_draws(names, seed)
    weights = np.stack([np.prod(draws[:, [column[name] for name in set(own)]], axis=1) for own in patients], axis=1)
    with np.errstate(invalid="ignore"):
        resampled = (weights * right).sum(axis=1) / weights.sum(axis=1)
    low, high = interval(resampled)
    return {"share": float(right.mean()), "low": low, "high": high, "number": len(right)}


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
