"""What of a corpus may be passed on: a corpus in, the same without what names or times a patient out.

Decided here: a corpus that is shared goes without reports, statements, ids and times unless each is asked for by name.
The vocabulary's findings, measurements, age, sex and signals stay: whether these may be passed on, the source's
licence says. Ids are running numbers, so that records of one patient stay together; questions are built after it.
"""

from __future__ import annotations

from collections.abc import Collection

from datasets import Dataset
from datasets.fingerprint import Hasher

from ...errors_ecgllm import ECGError
from .arrow_datasets import with_column

TELLING = ("id", "patient_id", "report", "statements", "recorded_at")
"""Columns that are emptied, or renumbered, unless they are asked for."""
_NUMBERED = {"id": "record", "patient_id": "patient"}


def for_sharing(corpus: Dataset, keep: Collection[str] = ()) -> Dataset:
    """The corpus without free text, ids and times; its description, which quotes ids, goes too.

    Args: keep: those of `TELLING` that are passed on as they are.
    Returns: a corpus of the same columns: id and patient_id are running numbers, the other columns of `TELLING` empty.
    Raises: ECGError for a column that is not of `TELLING`.
    """
    unknown = sorted(set(keep) - set(TELLING))
    if isinstance(keep, str) or unknown:
        raise ECGError(f"keep is {keep!r}; expected some of {', '.join(TELLING)}")
    for name in TELLING:
        if name in keep or name not in corpus.column_names:
            continue
        if name in _NUMBERED:
            numbers: dict[str | None, int] = {}
            values = [f"{_NUMBERED[name]}-{numbers.setdefault(own, len(numbers)):06d}" for own in corpus[name]]
        else:
            values = [[] if name == "statements" else None] * len(corpus)
        corpus = with_column(corpus, name, values)
    info = corpus.info.copy()
    info.description = ""
    fingerprint = Hasher.hash([corpus._fingerprint, "shared"])  # not drawn at random: the same bytes are written
    return Dataset(corpus.data, info=info, split=corpus.split, indices_table=corpus._indices, fingerprint=fingerprint)
