"""Examples of question stages: what their Trainer reads.

In: questions and prepared signals. Out: the torch data set of questions with answers for `debias` and `finetune`, and
the collator that makes batches of them, padded to their longest. Those of `pretrain` are in `pretraining_examples.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from datasets import Dataset

from ..processing_ecgllm import ECGProcessor
from .encoded_signals import EncodedSignals
from .prepared_signals import PreparedSignals


def answer_text(answers: Sequence[str]) -> str:
    """How a model says a list of answers: sorted, so that one set has one wording."""
    return ", ".join(sorted(answers))


def answer_set(text: str) -> frozenset[str]:
    """The answers in a model's text, for order-free comparison."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


class QuestionExamples(torch.utils.data.Dataset):
    """Questions with answers, as token ids and labels; those over a refused record are left out (`skipped`).

    signals: prepared ones, or encoded ones where the encoder is frozen.
    """

    def __init__(self, questions: Dataset, signals: PreparedSignals | EncodedSignals, processor: ECGProcessor):
        self.signals = signals
        columns = (questions[name] for name in ("question", "answers", "ecg_ids"))
        rows = list(zip(*columns, strict=True))
        self.rows = [row for row in rows if all(record_id in signals for record_id in row[2])]
        self.skipped = len(rows) - len(self.rows)

        @lru_cache(maxsize=100_000)
        def encode(question: str, answer: str, lengths: tuple[int, ...]) -> dict[str, list[int]]:
            # The ECGs themselves join in the collator: here only their number and lengths matter.
            conversation = processor.build_conversation(question, [{}] * len(lengths), answer=answer)
            return processor.encode_conversation(conversation, lengths)

        self._encode = encode

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> list[int]:
        """Tokens of every example, ECGs included."""
        return [
            len(self._encode(question, answer_text(answers), self._samples(ids))["input_ids"])
            for question, answers, ids in self.rows
        ]

    def _samples(self, ids: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.signals.length(record_id) for record_id in ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        question, answers, ids = self.rows[index]
        encoded = self._encode(question, answer_text(answers), self._samples(ids))
        return {**encoded, "ecgs": [self.signals[record_id] for record_id in ids]}


class QuestionCollator:
    """Batch of questions for `ECGLLMForConditionalGeneration`."""

    def __init__(self, processor: ECGProcessor):
        self.processor = processor

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return dict(self.processor.collate(examples, [example["ecgs"] for example in examples]))
