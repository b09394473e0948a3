"""Which part of a corpus a patient belongs to.

In: a patient id and a seed. Out: "train", "validation" or "test", the same on every machine. A patient, not a record,
is assigned, so that no patient is on both sides; `check_patient_split` proves it of a finished corpus.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict

from datasets import Dataset

from ...errors_ecgllm import ECGError

SPLITS = ("train", "validation", "test")


def split_of(patient_id: str, seed: int = 0, validation: float = 0.1, test: float = 0.1) -> str:
    """Split of a patient: shares of `validation` and `test` in expectation, the rest is "train".

    Raises: ValueError if the shares are negative or leave nothing to train on.
    """
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ECGError(f"validation={validation} and test={test}; expected shares from 0 whose sum is below 1")
    digest = hashlib.sha256(f"{seed}:{patient_id}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < test:
        return "test"
    return "validation" if position < test + validation else "train"


def check_patient_split(dataset: Dataset) -> None:
    """Prove that no patient is in two splits. Raises: ValueError that names patients and splits of a leak."""
    missing = {"patient_id", "split"} - set(dataset.column_names)
    if missing:
        raise ECGError(f"the data set lacks the column {', '.join(sorted(missing))}; it holds {dataset.column_names}")
    splits = defaultdict(set)
    for row in dataset.select_columns(["patient_id", "split"]):
        splits[row["patient_id"]].add(row["split"])
    leaks = {patient: sorted(names) for patient, names in splits.items() if len(names) > 1}
    if leaks:
        shown = "; ".join(f"{patient} in {' and '.join(names)}" for patient, names in sorted(leaks.items())[:5])
        raise ECGError(
            f"{len(leaks)} of {len(splits)} patients are in more than one split: {shown}; assign splits by patient "
            "(ecgllm.corpora.split_of)"
        )
