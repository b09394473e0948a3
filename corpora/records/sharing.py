"""What of a corpus may be passed on: a corpus in, the same without what names or times a patient out.

Decided here: a corpus that is shared goes without reports, statements, ids, times, devices, ages over 89, the paths of
files and columns that nobody here knows, unless each is asked for by name. The vocabulary's findings, measurements,
sex and signals stay: whether these may be passed on, the source's licence says. Ids are running numbers, so that
records of one patient stay together; questions are built after it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pyarrow as pa
from datasets import Dataset
from datasets.fingerprint import Hasher

from ...errors_ecgllm import ECGError
from .arrow_datasets import with_column
from .dataset_folders import plain, with_ecgs
from .ecg_feature import ECG
from .prepare import CORPUS_FEATURES

TELLING = ("id", "patient_id", "report", "statements", "recorded_at", "device", "age")
"""Columns that are emptied, renumbered or, of ages, capped, unless they are asked for."""
OLDEST = 89
"""An age above it tells of one person among few: 45 CFR 164.514(b)(2)(i)(C), and PTB-XL leaves it out."""
_NUMBERED = {"id": "record", "patient_id": "patient"}


def for_sharing(corpus: Dataset, keep: Collection[str] = ()) -> Dataset:
    """The corpus without free text, ids, times, devices, ages over 89, paths of files, and columns of others.

    Args: keep: those of `TELLING`, and columns beside a corpus' own, that are passed on as they are.
    Returns: id and patient_id are running numbers, the other columns of `TELLING` empty, of age those over 89. The
        description, which quotes ids, goes too. Files that are only named are read in.
    Raises: ECGError for a column that is none of them.
    """
    others = [name for name in corpus.column_names if name not in CORPUS_FEATURES]
    unknown = sorted(set(keep) - {*TELLING, *others})
    if isinstance(keep, str) or unknown:
        raise ECGError(f"keep is {keep!r}; expected some of {', '.join((*TELLING, *others))}")
    corpus = corpus.remove_columns([name for name in others if name not in keep])
    for name in TELLING:
        if name not in keep and name in corpus.column_names:
            corpus = with_column(corpus, name, _untold(name, corpus[name][:]))
    corpus = with_ecgs(_without_paths(plain(corpus)))
    info = corpus.info.copy()
    info.description = ""
    fingerprint = Hasher.hash([corpus._fingerprint, "shared"])  # not drawn at random: the same bytes are written
    return Dataset(corpus.data, info=info, split=corpus.split, indices_table=corpus._indices, fingerprint=fingerprint)


def _untold(name: str, values: list[Any]) -> list[Any]:
    if name in _NUMBERED:
        numbers = {own: number for number, own in enumerate(dict.fromkeys(values))}
        return [None if own is None else f"{_NUMBERED[name]}-{numbers[own]:06d}" for own in values]
    if name == "age":
        return [None if age is None or age > OLDEST else age for age in values]
    return [[] if name == "statements" else None] * len(values)


def _without_paths(corpus: Dataset) -> Dataset:
    """A corpus of plain structs whose ECGs say nothing of the files that they come from."""
    stored = set(ECG(decode=False).flatten())
    ecgs = [name for name, feature in corpus.features.items() if isinstance(feature, dict) and set(feature) == stored]
    if all(chunk.field("path").null_count == len(chunk) for name in ecgs for chunk in corpus.data.column(name).chunks):
        return corpus
    features = corpus.features
    changed = corpus.with_format("arrow").map(_paths_taken_out, batched=True, batch_size=100, fn_kwargs={"ecgs": ecgs})
    return changed.with_format(None).cast(features)


def _paths_taken_out(rows: pa.Table, ecgs: list[str]) -> pa.Table:
    for name in ecgs:
        column = rows.column(name).combine_chunks()
        fields = [pa.nulls(len(column), field.type) if field.name == "path" else column.field(field.name)
                  for field in column.type]  # fmt: skip
        without = pa.StructArray.from_arrays(fields, fields=list(column.type), mask=column.is_null())
        rows = rows.set_column(rows.column_names.index(name), name, without)
    return rows
