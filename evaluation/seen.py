"""Which of the records that are asked about a model has seen before.

In: a corpus and what is noted beside a checkpoint. Out: the corpus without what it was trained on, and sentences for
the report. Decided here: "never saw" is said only where all that was seen is noted; where nothing is, that is said.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from datasets import Dataset

from ..corpora.records.recognition import CHOSEN, TRAINED, SeenRecords, find_seen_records
from ..errors_ecgllm import ECGError
from .left_out import LEARNED, STRANGE, UNTOLD, LeftOut, cross_validation


@dataclass(frozen=True)
class Seen:
    """noted: whether anybody noted what the model saw. records: asked about, before any was left out. trained, chosen:
    how many of them it was trained on, and settings were chosen on. untold: of which it cannot be told. left_out:
    whether those trained on are left out. missing: what else it saw and is not noted."""

    noted: bool
    records: int
    trained: int = 0
    chosen: int = 0
    untold: int = 0
    left_out: bool = False
    missing: tuple[str, ...] = ()
    declared: bool = False
    """Whether the caller says that settings were chosen on these records."""
    folds: int = 0
    """Of a cross-validation: how many models; a record is asked of one that did not learn from it."""
    strange: int = 0
    """Of a cross-validation: records that no run learned from, and that are left out."""

    @property
    def never(self) -> bool:
        """Whether it is known that the model saw none of what is asked."""
        remain = self.trained if not self.left_out else 0
        return self.noted and not (remain or self.chosen or self.untold or self.missing or self.declared)

    def sentences(self) -> tuple[list[str], list[str]]:
        """(Of the protocol, warnings.)"""
        protocol, warnings = [], []
        if self.declared:
            warnings.append("Chosen on these: settings of the model were chosen on these records.")
        if not self.noted:
            warnings.append(
                "Not known: there is no list of the records that this model was trained on, beside what it says "
                "itself; it may have seen these."
            )
            return protocol, warnings
        if self.trained:
            done = "are left out" if self.left_out else "are asked about all the same"
            (protocol if self.left_out else warnings).append(
                f"{self.trained} of {self.records} records, known by their signals, were trained on; they {done}."
            )
        if self.chosen:
            warnings.append(f"Chosen on these: settings were chosen on {self.chosen} of {self.records} records.")
        if self.untold:
            done = "; they are left out" if self.folds else ""
            warnings.append(
                f"Of {self.untold} records it cannot be told whether they were trained on (leads I, II, V2){done}."
            )
        if self.folds:
            protocol.append(
                f"Cross-validation: {self.folds} models were trained, and each record is asked of one that did not "
                "learn from it, known by its signal; a question about two ECGs of which no model left out both is not "
                "asked."
            )
        if self.strange:
            warnings.append(
                f"{self.strange} of {self.records} records are no part of the cross-validation, since no model "
                "learned from them; they are left out."
            )
        if self.missing:
            warnings.append(f"Not all that the model saw is noted; missing: {'; '.join(self.missing)}.")
        if self.never and not self.folds:
            protocol.append("The model never saw these records: none is among the signals that it was trained on.")
        return protocol, warnings


def without_seen(
    corpus: Dataset, model: str, file: Path | None = None, keep: bool = False, declared: bool = False
) -> tuple[Dataset, Seen]:
    """The records that a model was not trained on, and what is known of that.

    Args: model: the folder of a checkpoint, beside which `trained_records.parquet` is looked for, or any other name.
        file: that file, where it lies elsewhere. keep: leave none out. declared: see `Seen`.
    Raises: ECGError where nothing would be left.
    """
    if (left_out := cross_validation(model)) is not None:
        if file is not None or keep:
            raise ECGError(
                "of a cross-validation each run says what it was trained on; leave --trained-records and "
                "--keep-trained out."
            )
        return _left_out_by_some(corpus, left_out, declared)
    if file is not None and not file.is_file():
        raise ECGError(f"{file} is no file; expected the trained_records.parquet that a run of `ecgllm train` leaves.")
    found = file or find_seen_records(model)
    if found is None:
        return corpus, Seen(False, len(corpus), declared=declared)
    seen = SeenRecords.load(found)
    told = seen.of(corpus)
    trained = told.count(TRAINED)
    if trained and not keep:
        rows = [row for row, one in enumerate(told) if one != TRAINED]
        if not rows:
            raise ECGError(
                f"the model was trained on all {trained} records; take others, or --keep-trained to ask about these."
            )
        corpus = corpus.select(rows)
    return corpus, Seen(
        True, len(told), trained, told.count(CHOSEN), told.count(None), not keep, seen.missing, declared
    )


def _left_out_by_some(corpus: Dataset, left_out: LeftOut, declared: bool) -> tuple[Dataset, Seen]:
    askings = left_out.of(corpus)
    rows = [row for row, one in enumerate(askings) if one.runs]
    why = Counter(one.why for one in askings if not one.runs)
    if not rows:
        raise ECGError(
            f"of {len(corpus)} records none is part of the cross-validation in {left_out.folder}: {why[LEARNED]} were "
            f"learned from, or chosen on, by all runs, {why[STRANGE]} by none, and of {why[UNTOLD]} it cannot be told "
            "(leads I, II, V2); take the records that the runs were divided from."
        )
    seen = Seen(
        True,
        len(corpus),
        why[LEARNED],
        untold=why[UNTOLD],
        left_out=True,
        missing=left_out.missing,
        declared=declared,
        folds=len(left_out.runs),
        strange=why[STRANGE],
    )
    return corpus.select(rows), seen


def groups_of(corpus: Dataset, model: str) -> list[str | None] | None:
    """Of a cross-validation the run that is asked about each record: two ECGs of one group can be asked about; None of
    any other model, which can be asked about all."""
    left_out = cross_validation(model)
    return None if left_out is None else [next(iter(one.runs), None) for one in left_out.of(corpus)]
