"""Several corpora as one, and a list of records taken out of one.

In: corpora by name. Out: one corpus. Decided here: where there are several, records and patients are named after their
corpus, so that none is taken for another's; a list of ids is met whole or refused, since a figure about "these
records" is of all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from datasets import Dataset, concatenate_datasets

from ...errors_ecgllm import ECGError

_SHOWN = 5


def joined(corpora: Mapping[str, Dataset], limit: int | None = None) -> Dataset:
    """One corpus; of several, with "NAME/" before the id and the patient of every record.

    Args: limit: take so many records of each, spread over all of it.
    """
    parts = []
    for name, corpus in corpora.items():
        if limit is not None and limit < len(corpus):
            corpus = corpus.select(np.linspace(0, len(corpus) - 1, limit).astype(int))
        for column in ("id", "patient_id") if len(corpora) > 1 else ():
            values = [None if value is None else f"{name}/{value}" for value in corpus[column]]
            corpus = corpus.remove_columns(column).add_column(column, values)
        parts.append(corpus)
    return concatenate_datasets(parts) if len(parts) > 1 else parts[0]


def only_records(corpus: Dataset, ids: Sequence[str]) -> Dataset:
    """The records of these ids, in the corpus' order. Raises: ECGError for one that it lacks or that stands twice."""
    wanted = set(ids)
    if len(wanted) < len(ids):
        raise ECGError(f"the list names {len(ids)} records, and {len(ids) - len(wanted)} of them twice")
    there = corpus["id"][:]
    if lacking := sorted(wanted.difference(there)):
        raise ECGError(
            f"{len(lacking)} of the {len(ids)} records of the list are not in the corpus, such as "
            f"{', '.join(lacking[:_SHOWN])}; give all the corpora that the list names, under the same names"
        )
    return corpus.select([row for row, record_id in enumerate(there) if record_id in wanted])


def read_ids(path: Path) -> list[str]:
    """One record's id in a line; empty lines and those that begin with "#" are left out. Raises: ECGError."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ECGError(f"{path} cannot be read as a list of records: {error}") from error
    ids = [line for line in lines if line and not line.startswith("#")]
    if not ids:
        raise ECGError(f"{path} names no record; expected one id in a line")
    return ids
