"""ECG-QA with its records: the questions, and the corpus of just those ECGs that they ask about.

In: ECG-QA and the folder of PTB-XL or MIMIC-IV-ECG. Out: questions, corpus, and both reports. Decided here: the corpus
takes ECG-QA's split (PTB-XL's folds would put records of its test questions among the training ones), a patient in two
splits is an error, and a record that is not on disk or cannot be read is listed, never a reason to stop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace

from datasets import Dataset

from ...errors_ecgllm import ECGError
from ..records.entry import Entry, Found
from ..records.prepare import CorpusReport, corpus_of, find_entries
from .ecg_qa import EcgQaReport, load_ecg_qa, record_splits


@dataclass(frozen=True)
class EcgQa:
    """Questions about records; `records` is None where no folder of records was given."""

    questions: Dataset
    report: EcgQaReport
    records: Dataset | None = None
    records_report: CorpusReport | None = None

    def __str__(self) -> str:
        return self.text(10)

    def text(
        self, most: int | None = None, all_in: str | os.PathLike[str] | None = None, statements: bool = False
    ) -> str:
        """Both reports, that of the questions last; see `EcgQaReport.text`."""
        reports = [report for report in (self.records_report, self.report) if report is not None]
        return "\n".join(report.text(most, all_in, statements) for report in reports)


def prepare_ecg_qa(
    src: str | os.PathLike[str],
    records: str | os.PathLike[str] | None = None,
    wording: str | None = None,
    split: str | None = None,
    keep_missing: bool = False,
    limit: int | None = None,
    min_likelihood: float = 0.0,
    drop_copies: bool = False,
    **options: object,
) -> EcgQa:
    """Load ECG-QA, and its records where they are at hand.

    Args:
        src, wording, split, limit: see `ecg_qa.load_ecg_qa`. records: folder of PTB-XL or MIMIC-IV-ECG.
        keep_missing: keep questions about records that the folder does not give.
        min_likelihood, drop_copies, options: of reading the records, see `prepare_with_report`.
    Returns: the questions with the severity of their records, the corpus in the order of its own table, both reports.
    Raises: as `load_ecg_qa` and `prepare_with_report`; ValueError if a patient is in two of ECG-QA's splits, or not
        one record that the questions name can be read.
    """
    if records is None:
        if options:
            raise ECGError(f"{', '.join(sorted(options))}: only with a folder of records")
        return EcgQa(*load_ecg_qa(src, wording, split, limit=limit))
    splits = record_splits(src, wording, split, limit)
    name = next(iter(splits)).rpartition("-")[0]
    found = find_entries(name, records, **options)
    asked = Found((), None, found.notes)
    asked.entries = list(_asked(found, splits))
    asked.total = len(asked.entries)
    if not asked.entries:
        raise ECGError(
            f"not one of the {len(splits)} records that the questions name is in {records}; is it {name}'s folder?"
        )
    corpus, corpus_report = corpus_of(name, asked, min_likelihood=min_likelihood, drop_copies=drop_copies)
    severity = dict(zip(corpus["id"], corpus["severity"], strict=True))
    reasons = dict(corpus_report.unreadable)
    missing = {
        record: reasons.get(record, f"not in the table of {records}") for record in splits if record not in severity
    }
    missing |= {copy: f"the same recording as {kept}" for copy, kept in corpus_report.left_out.items()}
    corpus_report.unreadable = []  # they are listed once, among the questions' missing records
    corpus.info.description = str(corpus_report)
    questions, report = load_ecg_qa(src, wording, split, severity, missing, keep_missing, limit)
    if not len(questions):
        raise ECGError(f"no question is left: each names a record that {records} does not give\n{report.text(3)}")
    return EcgQa(questions, report, corpus, corpus_report)


def _asked(found: Found, splits: dict[str, str]) -> Iterator[Entry]:
    for entry in found.entries:
        if entry.id in splits:
            yield replace(entry, split=splits[entry.id])
