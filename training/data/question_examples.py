"""Examples of question stages: what their Trainer reads.

In: questions and prepared signals. Out: the torch data set of questions with answers for `debias` and `finetune`, and
the collator that makes batches of them, padded to their longest, in which questions about the same ECGs may share a
row. Those of `pretrain` are in `pretraining_examples`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ...conversation_ecgllm import behind_ecg
from ...measured_figures_ecgllm import Figures
from ...processing_ecgllm import ECGProcessor
from .augmentations import Augmenter
from .encoded_signals import EncodedSignals
from .measured_records import MeasuredRecords
from .prepared_signals import PreparedSignals
from .shared_ecgs import attention_of, share_beginning


def answer_text(answers: Sequence[str]) -> str:
    """How a model says a list of answers: sorted, so that equal sets are equal texts."""
    return ", ".join(sorted(answers))


def answer_set(text: str) -> frozenset[str]:
    """The answers in a model's text, for order-free comparison."""
    return frozenset(part.strip().lower() for part in text.split(",") if part.strip())


class QuestionExamples(torch.utils.data.Dataset):
    """Questions with answers, as token ids and labels; those about a refused record are left out (`skipped`).

    signals: prepared ones, or encoded ones where the encoder is frozen. augmenter: varies prepared ones, anew in each
        epoch and once for all questions about the same ECGs, so that these can share a row. measured: what is said to
        have been measured on them.
    """

    def __init__(
        self,
        questions: Dataset,
        signals: PreparedSignals | EncodedSignals,
        processor: ECGProcessor,
        augmenter: Augmenter | None = None,
        measured: MeasuredRecords | None = None,
    ):
        self.signals, self.processor, self.augmenter, self.measured = signals, processor, augmenter, measured
        # Rows stay on disk; there may be more of them than fit into memory.
        usable = [row for row, (ids,) in enumerate(_rows(questions, "ecg_ids")) if all(own in signals for own in ids)]
        self.questions = questions.select(usable)
        self.skipped = len(questions) - len(usable)

        self._remember()
        self._groups = self.groups() if augmenter is not None else None
        self._varied: tuple[Any, list[dict[str, Any]]] = (None, [])  # (epoch, group) that was asked for last

    def _remember(self) -> None:
        self._encode = lru_cache(maxsize=100_000)(partial(_encoded, self.processor))

    def __getstate__(self) -> dict[str, Any]:
        # For spawned workers: each caches what it encoded itself.
        return {name: value for name, value in vars(self).items() if name not in ("_encode", "_varied")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _varied=(None, []))
        self._remember()

    def __len__(self) -> int:
        return len(self.questions)

    def names(self, index: int) -> dict[str, Any]:
        """What an example is called."""
        row = self.questions[index]
        return {"question_id": row["question_id"], "question": row["question"], "records": row["ecg_ids"]}

    def lengths(self) -> torch.Tensor:
        """int [examples], tokens of every example with its ECGs and all that was measured, counted before an augmenter
        cuts them.

        What was measured is another text for every record, beside which no question would be counted only once: it is
        counted by itself, which may be off by the token in which the two meet.
        """
        lengths = torch.empty(len(self), dtype=torch.int32)
        of_records: dict[str, int] = {}
        # Of all texts: a cache of some would have forgotten each before it comes again.
        of_texts: dict[tuple[str, str, tuple[int, ...]], int] = {}
        for row, (question, answers, ids) in enumerate(_rows(self.questions, "question", "answers", "ecg_ids")):
            text = question, answer_text(answers), self._samples(ids)
            if text not in of_texts:
                of_texts[text] = len(_encoded(self.processor, *text)["input_ids"])
            length = of_texts[text]
            for own in ids if self.measured is not None else ():
                if own not in of_records:
                    of_records[own] = self._measured_length(own)
                length += of_records[own]
            lengths[row] = length
        return lengths

    def _measured_length(self, record_id: str) -> int:
        (figures,) = self.measured.whole([record_id])
        text = behind_ecg(figures)
        return len(self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]) if text else 0

    def groups(self) -> np.ndarray:
        """int32 [examples], the same number for questions about the same ECGs in the same order."""
        # By 8 bytes of a hash: the texts of all records would take most of a stage's memory.
        digests = np.empty(len(self), dtype=np.int64)
        for row, (ids,) in enumerate(_rows(self.questions, "ecg_ids")):
            digests[row] = int.from_bytes(blake2b("\n".join(ids).encode(), digest_size=8).digest(), "big", signed=True)
        return np.unique(digests, return_inverse=True)[1].astype(np.int32)

    def _samples(self, ids: Sequence[str]) -> tuple[int, ...]:
        return tuple(self._whole_tokens(self.signals.length(record_id)) for record_id in ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.questions[index]
        question, answers, ids = row["question"], row["answers"], row["ecg_ids"]
        if self.augmenter is None:
            ecgs, lengths = [self.signals[record_id] for record_id in ids], self._samples(ids)
        else:
            ecgs = self._vary(int(self._groups[index]), ids)
            lengths = tuple(self._whole_tokens(ecg["ecg_values"].shape[1]) for ecg in ecgs)
        measured = None if self.measured is None else _hashable(self.measured.of(ids))
        if self.measured is not None and self.measured.alone(ids):
            ecgs = [_blank(ecg) for ecg in ecgs]
        encoded = self._encode(question, answer_text(answers), lengths, measured)
        return {**encoded, "ecgs": ecgs, "records": tuple(ids), "example_id": index}

    def _whole_tokens(self, samples: int) -> int:
        """The largest number of samples that gives as many tokens, so that crops of any length share a cache entry."""
        return self.processor.num_ecg_tokens(samples) * self.processor.samples_per_token

    def _vary(self, group: int, ids: Sequence[str]) -> list[dict[str, Any]]:
        # By epoch, too: persistent workers keep this cache across epochs.
        key = self.augmenter.epoch, group
        if self._varied[0] != key:
            varied = [self.augmenter(self.signals[own], group, position) for position, own in enumerate(ids)]
            self._varied = key, varied
        return self._varied[1]

    def set_epoch(self, epoch: int) -> None:
        for one in (self.augmenter, self.measured):
            if one is not None:
                one.set_epoch(epoch)


def _blank(ecg: dict[str, Any]) -> dict[str, Any]:
    """The same ECG, of the same length, without anything to be seen in it."""
    return ecg | {name: np.zeros_like(ecg[name]) for name in ("ecg_values", "ecg_embeds") if name in ecg}


def _rows(questions: Dataset, *columns: str) -> Iterator[tuple[Any, ...]]:
    """The values of some columns, row by row; read in chunks, since reading single rows would take most of the
    time."""
    for batch in questions.select_columns(columns).iter(batch_size=1000):
        yield from zip(*(batch[name] for name in columns), strict=True)


_Hashable = tuple[tuple[tuple[str, Any], ...] | None, ...] | None


def _hashable(measured: Sequence[Figures | None]) -> _Hashable:
    """What was measured on each ECG, as an argument of what is remembered by its arguments."""
    rows = [None if figures is None else figures.items() for figures in measured]
    return tuple(
        None if own is None else tuple((name, tuple(one) if isinstance(one, list) else one) for name, one in own)
        for own in rows
    )


def _encoded(
    processor: ECGProcessor, question: str, answer: str, lengths: tuple[int, ...], measured: _Hashable = None
) -> dict[str, list[int]]:
    # The collator adds the ECGs; here only their number and lengths matter.
    figures = None if measured is None else [None if one is None else dict(one) for one in measured]
    conversation = processor.build_conversation(question, [{}] * len(lengths), answer=answer, measured=figures)
    return processor.encode_conversation(conversation, lengths)


class QuestionCollator:
    """Batch of questions for `ECGLLMForConditionalGeneration`; `example_ids` are for the trainer.

    together: how many questions about the same ECGs share a row at most (`shared_ecgs`). A batch without two such
    questions is unchanged.
    """

    def __init__(self, processor: ECGProcessor, together: int = 1):
        self.processor, self.together = processor, together

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        example_ids = torch.tensor([example["example_id"] for example in examples])
        rows = self._rows(examples) if self.together > 1 else []
        if len(rows) in (0, len(examples)):
            batch = dict(self.processor.collate(examples, [example["ecgs"] for example in examples]))
            return batch | {"example_ids": example_ids}
        shared = [share_beginning(row) for row in rows]
        batch = dict(self.processor.collate(shared, [row[0]["ecgs"] for row in rows]))
        return batch | attention_of(shared, batch["input_ids"].shape[1]) | {"example_ids": example_ids}

    def _rows(self, examples: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
        rows: list[list[dict[str, Any]]] = []
        open_rows: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for example in examples:
            row = open_rows.get(example["records"])
            if row is None or len(row) == self.together:
                row = open_rows[example["records"]] = []
                rows.append(row)
            row.append(example)
        return rows
