"""Accuracy of generated answers: exact match on questions with known answers.

In: a model, its processor, questions, prepared signals. Out: shares of right answers, over all and by question type.
Greedy decoding; an answer is right when the set of its comma-separated parts is the set of the expected ones.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from datasets import Dataset

from ..modeling_ecgllm import ECGLLMForConditionalGeneration
from ..prefix_scoring_ecgllm import AnswerScorer
from ..processing_ecgllm import ECGProcessor
from .data.prepared_signals import PreparedSignals
from .data.question_examples import answer_set
from .yes_no_probabilities import in_portions


def generate_answers(
    model: ECGLLMForConditionalGeneration,
    processor: ECGProcessor,
    questions: Dataset,
    signals: PreparedSignals,
    batch_size: int = 32,
    max_new_tokens: int = 48,
) -> list[str]:
    """Greedy answers to questions, in their order."""
    scorer = AnswerScorer(model, processor, batch_size)
    asked, answers = questions["question"], [""] * len(questions)
    for rows, ecgs in in_portions(questions["ecg_ids"], signals):
        texts, _ = scorer.write([asked[row] for row in rows], ecgs, max_new_tokens=max_new_tokens)
        for row, text in zip(rows, texts, strict=True):
            answers[row] = text
    return answers


def answer_metrics(
    model: ECGLLMForConditionalGeneration, processor: ECGProcessor, questions: Dataset, signals: PreparedSignals
) -> dict[str, Any]:
    """Exact match over all questions and by type, beside the accuracy of always giving the commonest answer.

    Questions about a record without a usable signal are not asked.
    """
    usable = [row for row, ids in enumerate(questions["ecg_ids"]) if all(record_id in signals for record_id in ids)]
    questions = questions.select(usable)
    answers = generate_answers(model, processor, questions, signals)
    right: dict[str, list[bool]] = defaultdict(list)
    expected_by_type: dict[str, list[frozenset[str]]] = defaultdict(list)
    for answer, expected, kind in zip(answers, questions["answers"], questions["type"], strict=True):
        wanted = frozenset(expected)
        for key in ("all", kind):
            right[key].append(answer_set(answer) == wanted)
            expected_by_type[key].append(wanted)
    return {
        key: {
            "exact_match": sum(values) / len(values),
            "commonest_answer": max(map(expected_by_type[key].count, set(expected_by_type[key]))) / len(values),
            "questions": len(values),
        }
        for key, values in sorted(right.items())  # "all" comes first
    }
