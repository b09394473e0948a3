"""Examples of `pretrain`: ECGs with their reports, with targets for statements, or with both.

In: a corpus, prepared signals, statements. Out: a torch data set and the collator that makes batches of it. Reports
may be in any language that the tokenizer writes; a batch is padded to its longest ECG and report.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ..processing_ecgllm import ECGFeatureExtractor
from .prepared_signals import PreparedSignals
from .pretraining_metrics import normalised
from .statement_targets import StatementTargets


class PretrainingExamples(torch.utils.data.Dataset):
    """ECGs of a corpus with what they are held against; see `text` of `StageRecipe`.

    Records without a usable signal, and those without a report (or, for "findings", without findings) are left out:
    `skipped` counts them. With "both", a record without findings has its report and no target.
    """

    def __init__(
        self,
        corpus: Dataset,
        signals: PreparedSignals,
        text: str = "report",
        statements: StatementTargets | None = None,
    ):
        self.signals, self.text, self.statements = signals, text, statements
        needed = corpus["findings" if text == "findings" else "report"]
        kept = [
            row
            for row, (record_id, what) in enumerate(zip(corpus["id"], needed, strict=True))
            if what and record_id in signals
        ]
        self.skipped = len(corpus) - len(kept)
        columns = corpus.select_columns(["id", "report", "findings", "patient_id"]).select(kept)
        self.ids, self.reports = columns["id"][:], columns["report"][:]
        self.findings, self.patients = columns["findings"][:], columns["patient_id"][:]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"ecg": self.signals[self.ids[index]], "example_id": index} | example_texts(
            self.reports[index], self.findings[index], self.text, self.statements
        )


def example_texts(
    report: str | None, findings: list[str] | None, text: str, statements: StatementTargets | None
) -> dict[str, Any]:
    """What an ECG is held against: `report`, `targets`, or both."""
    found: dict[str, Any] = {}
    if text != "findings":
        found["report"] = report
    if text != "report":
        found["targets"] = statements.targets(findings or ())
    return found


class PretrainingCollator:
    """Batch of examples for `ECGTextDualEncoder`; `example_ids` are for whoever measures."""

    def __init__(self, feature_extractor: ECGFeatureExtractor, tokenizer: Any, max_length: int):
        self.feature_extractor = feature_extractor
        self.tokenizer = tokenizer
        self.max_length = max_length

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self.feature_extractor([example["ecg"] for example in examples], return_tensors="pt"))
        batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
        batch["preprocessing_id"] = torch.full((len(examples),), self.feature_extractor.preprocessing_id)
        if "report" in examples[0]:
            reports = [example["report"] for example in examples]
            batch |= self.texts(reports)
            batch["report_ids"] = torch.tensor([zlib.crc32(normalised(report).encode()) for report in reports])
        if "targets" in examples[0]:
            batch["statement_targets"] = torch.from_numpy(np.stack([example["targets"] for example in examples]))
        return batch

    def texts(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` of texts, padded to their longest."""
        encoded = self.tokenizer(texts, padding=True, truncation=True, max_length=self.max_length, return_tensors="pt")
        return {name: encoded[name] for name in ("input_ids", "attention_mask")}
