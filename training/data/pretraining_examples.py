"""Examples of `pretrain`: ECGs with their reports, with targets for statements, or with both.

In: a corpus, prepared signals, statements. Out: a torch data set and the collator that makes batches of it. Reports
may be in any language that the tokenizer writes; a batch is padded to its longest ECG and report.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ...corpora.records.silence import sources_of
from ...dual_encoder_processing_ecgllm import ECGTextDualEncoderProcessor
from ..pretraining_metrics import normalised
from .augmentations import Augmenter
from .prepared_signals import PreparedSignals
from .statement_targets import StatementTargets


class PretrainingExamples(torch.utils.data.Dataset):
    """ECGs of a corpus with the texts that they are compared with; see `text` of `PretrainStage`.

    Records without a usable signal, and those without a report (or, for "findings", without findings) are left out:
    `skipped` counts them. With "both", a record without findings has its report and no target. augmenter: varies the
    ECGs; where it adds noise, the statement that there is no noise becomes unknown.
    """

    def __init__(
        self,
        corpus: Dataset,
        signals: PreparedSignals,
        text: str = "report",
        statements: StatementTargets | None = None,
        augmenter: Augmenter | None = None,
    ):
        self.signals, self.text, self.statements, self.augmenter = signals, text, statements, augmenter
        needed = corpus["findings" if text == "findings" else "report"]
        kept = [
            row
            for row, (record_id, what) in enumerate(zip(corpus["id"], needed, strict=True))
            if what and record_id in signals
        ]
        self.skipped = len(corpus) - len(kept)
        corpus = corpus.select(kept)
        columns = corpus.select_columns(["id", "report", "findings", "patient_id"])
        self.ids, self.reports = columns["id"][:], columns["report"][:]
        self.findings, self.patients = columns["findings"][:], columns["patient_id"][:]
        self.sources = sources_of(corpus)

    def __len__(self) -> int:
        return len(self.ids)

    def names(self, index: int) -> dict[str, Any]:
        """What an example is called."""
        return {"records": [self.ids[index]]}

    def __getitem__(self, index: int) -> dict[str, Any]:
        ecg = self.signals[self.ids[index]]
        if self.augmenter is not None:
            ecg = self.augmenter(ecg, index)
        said = self.reports[index], self.findings[index], self.sources[index]
        return example(index, ecg, *said, self.text, self.statements)

    def set_epoch(self, epoch: int) -> None:
        if self.augmenter is not None:
            self.augmenter.set_epoch(epoch)


def example(
    number: int,
    ecg: dict[str, Any],
    report: str | None,
    findings: Sequence[str] | None,
    source: str | None,
    text: str,
    statements: StatementTargets | None,
) -> dict[str, Any]:
    """An ECG with its `report`, its `targets`, or both."""
    found: dict[str, Any] = {"ecg": ecg, "example_id": number}
    if text != "findings":
        found["report"] = report
    if text != "report":
        targets = statements.targets(findings or (), source)
        found["targets"] = statements.open_about_noise(targets) if ecg.get("noise_added") else targets
    return found


class PretrainingCollator:
    """Batch of examples for `ECGTextDualEncoder`, by its processor; `example_ids` are for evaluation."""

    def __init__(self, processor: ECGTextDualEncoderProcessor):
        self.processor = processor

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self.processor(ecgs=[example["ecg"] for example in examples]))
        batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
        if "report" in examples[0]:
            reports = [example["report"] for example in examples]
            batch |= self.texts(reports)
            batch["report_ids"] = torch.tensor([zlib.crc32(normalised(report).encode()) for report in reports])
        if "targets" in examples[0]:
            batch["statement_targets"] = torch.from_numpy(np.stack([example["targets"] for example in examples]))
        return batch

    def texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of texts, padded to their longest and cut off where they are too long."""
        return dict(self.processor(text=texts, truncation=True))
