"""Which corpus a recipe names, and whether the folder of its data can be one; looked up before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ...corpora import QUESTION_FEATURES
from ...corpora.records.prepare import CORPORA
from ...corpora.records.text_files import read_json
from ...errors_ecgllm import ECGError
from .errors import nearest

# Columns of a prepared corpus that every run reads.
_RECORDS = ("id", "patient_id", "ecg", "report", "findings", "split", "source")


def is_prepared(folder: str | Path | None) -> bool:
    """Whether a folder holds a data set that `datasets` saved, as `ecgllm prepare` does."""
    return folder is not None and (Path(folder) / "dataset_info.json").is_file()


def problems_of_corpus(corpus: str, data: str | None, output: str) -> Iterator[str]:
    """Whether the corpus is known, and whether data are what they look like."""
    if is_prepared(data):
        yield from _problems_of_records(data)
    # A run that has begun keeps its corpus, whatever became of the folder that it came from.
    elif corpus not in CORPORA and not is_prepared(Path(output) / "corpus"):
        found = "is not given" if data is None else f"is {data}, which holds none"
        yield (
            f"corpus is {corpus!r}, which is no known corpus{nearest(corpus, CORPORA)} Any other name is for a corpus "
            f"that `ecgllm prepare` wrote, in data, which {found}."
        )


def _problems_of_records(folder: str) -> Iterator[str]:
    """A set of questions, or anything else that `datasets` saved, looks like a prepared corpus from outside."""
    try:
        info = read_json(Path(folder) / "dataset_info.json")
    except ECGError as error:
        yield f"data is {folder}, which is damaged: {error}"
        return
    columns = (info.get("features") if isinstance(info, dict) else None) or {}
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
