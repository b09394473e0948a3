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
from .augmentations import Augmenter
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

    signals: prepared ones, or encoded ones where the encoder is frozen. augmenter: varies prepared ones.
    """

    def __init__(
        self,
        questions: Dataset,
        signals: PreparedSignals | EncodedSignals,
        processor: ECGProcessor,
        augmenter: Augmenter | None = None,
    ):
        self.signals, self.augmenter = signals, augmenter
        # Rows stay on the disk, where there may be more of them than memory has room for.
        usable = [row for row, ids in enumerate(questions["ecg_ids"]) if all(own in signals for own in ids)]
        self.questions = questions.select(usable)
        self.skipped = len(questions) - len(usable)

        @lru_cache(maxsize=100_000)
        def encode(question: str, answer: str, lengths: tuple[int, ...]) -> dict[str, list[int]]:
            # The ECGs themselves join in the collator: here only their number and lengths matter.
            conversation = processor.build_conversation(question, [{}] * len(lengths), answer=answer)
            return processor.encode_conversation(conversation, lengths)

        self._encode = encode

    def __len__(self) -> int:
        return len(self.questions)

    def names(self, index: int) -> dict[str, Any]:
        """What an example is called."""
        row = self.questions[index]
        return {"question_id": row["question_id"], "question": row["question"], "records": row["ecg_ids"]}

    def lengths(self) -> torch.Tensor:
        """int [examples], tokens of every example, ECGs included and whole, even where an augmenter will cut them."""
        columns = (self.questions[name] for name in ("question", "answers", "ecg_ids"))
        lengths = torch.empty(len(self), dtype=torch.int32)
        for row, (question, answers, ids) in enumerate(zip(*columns, strict=True)):
            lengths[row] = len(self._encode(question, answer_text(answers), self._samples(ids))["input_ids"])
        return lengths

    def _samples(self, ids: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.signals.length(record_id) for record_id in ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.questions[index]
        question, answers, ids = row["question"], row["answers"], row["ecg_ids"]
        ecgs, lengths = [self.signals[record_id] for record_id in ids], self._samples(ids)
        if self.augmenter is not None:
            ecgs = [self.augmenter(ecg, index, position) for position, ecg in enumerate(ecgs)]
            lengths = tuple(ecg["ecg_values"].shape[1] for ecg in ecgs)
        return {**self._encode(question, answer_text(answers), lengths), "ecgs": ecgs, "example_id": index}

    def set_epoch(self, epoch: int) -> None:
        if self.augmenter is not None:
            self.augmenter.set_epoch(epoch)


class QuestionCollator:
    """Batch of questions for `ECGLLMForConditionalGeneration`; `example_ids` are for the trainer."""

    def __init__(self, processor: ECGProcessor):
        self.processor = processor

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self.processor.collate(examples, [example["ecgs"] for example in examples]))
        return batch | {"example_ids": torch.tensor([example["example_id"] for example in examples])}
