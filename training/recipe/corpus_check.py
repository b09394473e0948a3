"""Which corpus a recipe names, and whether the folder of its data can be one; looked up before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...corpora import QUESTION_FEATURES
from ...corpora.records.dataset_folders import is_saved, saved_columns
from ...corpora.records.prepare import CORPORA
from ...errors_ecgllm import ECGError
from .errors import nearest

# Columns of a prepared corpus that every run reads.
_RECORDS = ("id", "patient_id", "ecg", "report", "findings", "split", "source")


def problems_of_corpus(corpus: str, data: str | None, output: str) -> Iterator[str]:
    """Whether the corpus is known, and whether data are what they look like."""
    if is_saved(data):
        yield from _problems_of_records(data)
    # A run that has begun keeps its corpus, whatever became of the folder that it came from.
    elif corpus not in CORPORA and not is_saved(Path(output) / "corpus"):
        found = "is not given" if data is None else f"is {data}, which holds none"
        yield (
            f"corpus is {corpus!r}, which is no known corpus{nearest(corpus, CORPORA)} Any other name is for a corpus "
            f"that `ecgllm prepare` wrote, in data, which {found}."
        )


def _problems_of_records(folder: str) -> Iterator[str]:
    """A set of questions, or anything else that `datasets` saved, looks like a prepared corpus from outside."""
    try:
        columns = saved_columns(folder)
    except ECGError as error:
        yield f"data is {folder}, which is damaged: {error}"
        return
    missing = ", ".join(name for name in _RECORDS if name not in columns)
    expected = "expected a corpus of records, as `ecgllm prepare` writes it, or the folder of the corpus as published"
    if missing and set(QUESTION_FEATURES) <= set(columns):
        yield (
            f"data is {folder}, which holds questions; {expected}. Questions are given by "
            f"stages.NAME.questions={{path: {folder}}}, and data is the corpus that they are about."
        )
    elif missing:
        named = ", ".join(columns) or "none"
        yield f"data is {folder}, a data set with the columns {named}, which lacks {missing}; {expected}."
