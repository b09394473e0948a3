"""Findings as labels: a corpus of any source, or joined from several, for a classifier.

In: a corpus with findings. Out: the same records with a column `labels`, and the names of the labels. Decided here:
what a source never states of any record is not known of its records (NaN), which teaches nothing and counts nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset, List, Value

from ...errors_ecgllm import ECGError
from ...findings.statement_texts import holds, statement_names
from .silence import sources_of, stated_by_source


def finding_labels(
    corpus: Dataset, names: Sequence[str] | None = None, least: int = 10
) -> tuple[Dataset, tuple[str, ...]]:
    """The corpus with a column `labels` (float32 [labels]): 1 where the finding holds, 0 where it does not, NaN where
    the record's source leaves it open.

    Args: names: findings of the vocabulary and groups of them ("conduction disturbance", "any abnormality"); None: all
        that hold of `least` records at least, and not of as many.
    Returns: (corpus, names). Raises: ECGError for a name that means nothing, and where no finding is frequent enough.
    """
    findings, sources = corpus.select_columns(["findings"]).with_format(None)["findings"][:], sources_of(corpus)
    stated = stated_by_source(findings, sources)
    known = statement_names(stated.values())
    asked = known if names is None else tuple(names)
    if unknown := [name for name in asked if name not in known]:
        raise ECGError(f"no record's source states {', '.join(unknown)}; this corpus knows {', '.join(known)}")
    labels = np.full((len(corpus), len(asked)), np.nan, dtype=np.float32)
    for row, (own, source) in enumerate(zip(findings, sources, strict=True)):
        for column, name in enumerate(asked):
            answer = holds(frozenset(own or ()), name, stated[source])
            if answer is not None:
                labels[row, column] = answer
    if names is None:
        frequent = ((labels == 1).sum(axis=0) >= least) & ((labels == 0).sum(axis=0) >= least)
        if not frequent.any():
            raise ECGError(f"no finding holds of {least} of the {len(corpus)} records and not of as many; lower least")
        asked, labels = tuple(np.asarray(asked)[frequent].tolist()), labels[:, frequent]
    return corpus.add_column("labels", labels.tolist(), feature=List(Value("float32"))), asked
