"""What an evaluation is made of: records, questions about them, and settings. Every section takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from datasets import Dataset

from ..errors_ecgllm import ECGError
from ..findings import VOCABULARY
from ..signals import ECGRecord
from .labels_of_records import RecordLabels
from .shown_ecgs import ShownECGs

Encoders = Mapping[str, Callable[[Sequence[ECGRecord]], np.ndarray]]
"""Name -> records to float [records, size], NaN where a record is refused."""


WORDS = USUAL, KEPT_BACK = ("usual", "kept-back")


@dataclass(frozen=True)
class Settings:
    """questions: about so many for each section that samples. seed: of all drawing. least: how many records of each
    label a finding needs for its AUROC to stand in a mean. margin: the difference in accuracy that would be no use, of
    the verdict. words: "kept-back": those of `kept_back_words`, for final figures. Intervals are of 95 %
    (`intervals.LEVEL`)."""

    questions: int = 2000
    seed: int = 0
    least: int = 5
    margin: float = 0.05
    words: str = USUAL

    def __post_init__(self) -> None:
        for name in ("questions", "least"):
            if getattr(self, name) < 1:
                raise ECGError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if not 0 < self.margin < 1:
            raise ECGError(f"margin is {self.margin}; expected a gain in accuracy between 0 and 1.")
        if self.words not in WORDS:
            raise ECGError(f"words is {self.words!r}; expected one of {', '.join(WORDS)}.")

    def stated(self) -> dict[str, Any]:
        """Setting -> value; the words only where they are not the usual ones, of which reports without it are."""
        return {name: value for name, value in asdict(self).items() if (name, value) != ("words", USUAL)}


@dataclass(frozen=True)
class Material:
    """corpus: records, as `prepare` makes them, of one source or several. questions: with `QUESTION_FEATURES`, about
    these records; a yes or no about one record has "yes" or "no" as its only answer. encoders: of the model that is
    evaluated, for baselines on what they give. told: whether that model is told what is measured."""

    corpus: Dataset
    questions: Dataset
    settings: Settings = field(default_factory=Settings)
    encoders: Encoders = field(default_factory=dict, hash=False, compare=False, repr=False)
    told: bool = field(default=False, hash=False, compare=False, repr=False)

    @cached_property
    def ecgs(self) -> ShownECGs:
        return ShownECGs(self.corpus, self.settings.seed)

    @cached_property
    def about(self) -> dict[str, dict[str, Any]]:
        """Record id -> all columns of the corpus but the signal."""
        rows = self.corpus.remove_columns("ecg").to_list()
        return {row["id"]: row for row in rows}

    @cached_property
    def labels(self) -> RecordLabels:
        return RecordLabels(self.corpus)

    @cached_property
    def all_patients(self) -> list[str]:
        """Of every record, in the order of the corpus."""
        return [self.patient(record_id) for record_id in self.about]

    @staticmethod
    def finding_of(question: Mapping[str, Any]) -> str | None:
        """The finding that a yes-or-no question about one record is about, as a whole; None of any other question."""
        about_one = len(question["ecg_ids"]) == 1 and question["template"] in ("verify-finding", "verify-normal")
        return question["attribute"] if about_one and question["attribute"] in VOCABULARY else None

    def patient(self, record_id: str) -> str:
        """Whose record it is; a record of nobody known counts as its own patient's."""
        row = self.about[record_id]
        return f"{row['source']}/{row['patient_id'] or record_id}"

    def patients(self, record_ids: Sequence[str]) -> list[str]:
        return sorted({self.patient(record_id) for record_id in record_ids})

    def rng(self, *key: str) -> np.random.Generator:
        """A generator of its own for each use, by seed and key."""
        return np.random.default_rng([self.settings.seed, *np.frombuffer("/".join(key).encode(), dtype=np.uint8)])
