"""Examples of a classifier: what a plain `transformers.Trainer` reads.

In: records with labels (`corpora.ptbxl_labels`, `corpora.finding_labels`, or a column of your own) and a feature
extractor. Out: a torch data set of prepared ECGs with their labels, and the collator that pads a batch of them to the
arguments of `ECGForSequenceClassification.forward`. Every record is prepared once (`prepared_signals`); one that the
feature extractor refuses is left out (`refused`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...processing_ecgllm import ECGFeatureExtractor
from .prepared_signals import PreparedSignals, load_signals, prepare_signals


class ClassificationExamples(torch.utils.data.Dataset):
    """Prepared ECGs with labels.

    Args: labelled: records with the columns id and labels, and patient_id and split. signals: of these records,
        prepared.
    Attributes: labels: float32 [examples, labels], or whole numbers [examples] where the column holds them.
        patients, splits: of each example; where the records have no such column, each is a patient, and of no split.
        refused: record id -> why it is left out. augmenter: varies the ECGs anew in each epoch; None: nothing does.
    """

    def __init__(self, labelled: Dataset, signals: PreparedSignals):
        lacking = {"id", "labels"} - set(labelled.column_names)
        if lacking:
            raise ECGError(
                f"the data set lacks the column {', '.join(sorted(lacking))}; ptbxl_labels and finding_labels "
                "(ecgllm.corpora) give a corpus its labels"
            )
        plain = labelled.with_format(None)
        ids = plain["id"][:]
        usable = [row for row, record_id in enumerate(ids) if record_id in signals]
        self._signals, self.augmenter = signals, None
        self.ids = [ids[row] for row in usable]
        patients = plain["patient_id"][:] if "patient_id" in plain.column_names else ids
        splits = plain["split"][:] if "split" in plain.column_names else [None] * len(ids)
        self.patients, self.splits = [patients[row] for row in usable], [splits[row] for row in usable]
        labels = np.asarray(plain["labels"][:])
        self.labels = labels[usable].astype(np.float32 if labels.dtype.kind == "f" else np.int64)
        self.refused = {ids[row]: signals.refused[ids[row]] for row in sorted(set(range(len(ids))) - set(usable))}

    @classmethod
    def prepare(
        cls, labelled: Dataset, feature_extractor: ECGFeatureExtractor, folder: str | Path | None = None
    ) -> ClassificationExamples:
        """Prepare the ECGs of the column `ecg`. folder: where they are kept on disk, new; None: in a temporary one."""
        if folder is None:
            with tempfile.TemporaryDirectory(prefix="ecgllm-signals-") as temporary:
                prepare_signals(labelled, feature_extractor, Path(temporary) / "signals")
                return cls(labelled, load_signals(Path(temporary) / "signals"))
        prepare_signals(labelled, feature_extractor, Path(folder))
        return cls(labelled, load_signals(Path(folder)))

    def select(self, rows: Sequence[int] | np.ndarray) -> ClassificationExamples:
        """Some of the examples, in this order; the signals are shared."""
        chosen = object.__new__(type(self))
        chosen._signals, chosen.augmenter, chosen.refused = self._signals, None, {}
        for name in ("ids", "patients", "splits"):
            setattr(chosen, name, [getattr(self, name)[row] for row in rows])
        chosen.labels = self.labels[np.asarray(rows, dtype=int)]
        return chosen

    def of_split(self, name: str) -> ClassificationExamples:
        """Those of "train", "validation" or "test"."""
        return self.select([row for row, split in enumerate(self.splits) if split == name])

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        ecg = self._signals[self.ids[index]]
        if self.augmenter is not None:
            ecg = self.augmenter(ecg, index)
        return {**ecg, "labels": self.labels[index], "example_id": index}

    def names(self, index: int) -> dict[str, Any]:
        """What an example is called."""
        return {"records": [self.ids[index]]}

    def set_epoch(self, epoch: int) -> None:
        if self.augmenter is not None:
            self.augmenter.set_epoch(epoch)


class ClassificationCollator:
    """Batch of examples: ecg_values, lead_mask, ecg_lengths, preprocessing_id and, where they have them, labels.

    numbered: also `example_ids`, for a trainer that names examples and gives the model none.
    """

    def __init__(self, feature_extractor: ECGFeatureExtractor, numbered: bool = False):
        self.feature_extractor, self.numbered = feature_extractor, numbered

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        batch = dict(self.feature_extractor(examples))
        batch["preprocessing_id"] = torch.tensor([example["preprocessing_id"] for example in examples])
        if "labels" in examples[0]:
            batch["labels"] = torch.from_numpy(np.stack([example["labels"] for example in examples]))
        if self.numbered:
            batch["example_ids"] = torch.tensor([example["example_id"] for example in examples])
        return batch
