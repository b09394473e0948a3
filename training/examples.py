"""Examples: what a stage's Trainer reads.

In: a corpus or questions, and prepared signals. Out: torch data sets and the collators that make batches of them:
ECG-report pairs for `pretrain`, questions with answers for `debias` and `finetune`. Padding is to the longest of a
batch.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from datasets import Dataset

from ..processing_ecgllm import ECGFeatureExtractor, ECGProcessor
from .encoded_signals import EncodedSignals
from .prepared_signals import PreparedSignals


def answer_text(answers: Sequence[str]) -> str:
    """How a model says a list of answers: sorted, so that one set has one wording."""
    return ", ".join(sorted(answers))


def answer_set(text: str) -> frozenset[str]:
    """The answers in a model's text, for order-free comparison."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


class ReportPairs(torch.utils.data.Dataset):
    """ECG-report pairs of a corpus; records without a report or signal are left out (`skipped` counts them)."""

    def __init__(self, corpus: Dataset, signals: PreparedSignals):
        self.signals = signals
        rows = zip(corpus["id"], corpus["report"], strict=True)
        self.pairs = [(record_id, report) for record_id, report in rows if report and record_id in signals]
        self.skipped = len(corpus) - len(self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record_id, report = self.pairs[index]
        return {"ecg": self.signals[record_id], "report": report}


class ReportCollator:
    """Batch of ECG-report pairs for `ECGTextDualEncoder`."""

    def __init__(self, feature_extractor: ECGFeatureExtractor, tokenizer: Any, max_length: int):
        self.feature_extractor = feature_extractor
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        reports = [example["report"] for example in examples]
        text = self.tokenizer(reports, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        ecgs = self.feature_extractor([example["ecg"] for example in examples], return_tensors="pt")
        return {
            "input_ids": text["input_ids"],
            "attention_mask": text["attention_mask"],
            **ecgs,
            "report_ids": torch.tensor([zlib.crc32(report.strip().lower().encode("utf-8")) for report in reports]),
            "preprocessing_id": torch.full((len(examples),), self.feature_extractor.preprocessing_id),
        }


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
