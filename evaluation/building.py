"""From a corpus to what an evaluation asks about it.

In: a corpus, and perhaps questions. Out: `Material`. Decided here: without a question set, half of the
questions are of yes or no, each asked of as many ECGs that answer yes as no, in test paraphrases that no recipe trains
on; the others ask which of two, for a list, and about two ECGs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import replace

import numpy as np
from datasets import Dataset, concatenate_datasets

from ..corpora import build_questions, debias
from ..errors_ecgllm import ECGError
from .material import Material, Settings

_SHARES = {"verify": 0.5, "comparison": 0.25, "choose": 0.1, "query": 0.15}


def build_material(
    corpus: Dataset,
    questions: Dataset | None = None,
    settings: Settings | None = None,
    groups: Sequence[Hashable] | None = None,
) -> Material:
    """Records and questions about them.

    Args: questions: with `QUESTION_FEATURES`; None: they are built. groups: of each record; questions are built about
        two records of one group alone, such as those that one model of a cross-validation may be asked about.
    Raises: ECGError for questions about records that the corpus lacks, and for a record or a question that is there
        twice.
    """
    settings = settings or Settings()
    if not len(corpus):
        raise ECGError("the corpus holds no record; expected one or more.")
    ids = corpus["id"][:]
    if len(set(ids)) < len(ids):
        twice = next(record_id for record_id in ids if ids.count(record_id) > 1)
        raise ECGError(f"the record {twice} stands in the corpus more than once; expected each id once.")
    if questions is None:
        return Material(corpus, _built(corpus, settings, groups), settings)
    known = set(ids)
    lacking = dict.fromkeys(record_id for own in questions["ecg_ids"] for record_id in own if record_id not in known)
    if lacking:
        whole = sum(known.issuperset(own) for own in questions["ecg_ids"])
        raise ECGError(
            f"{len(lacking):,} of the records that the questions are about are not in the corpus, such as "
            f"{next(iter(lacking))}: it answers {whole:,} of {len(questions):,} questions; give the corpus that they "
            "were built from, or leave the others out (of ECG-QA `ecgllm prepare ecg-qa --records` does)."
        )
    if not len(questions):
        raise ECGError("no question is about these records; expected one or more.")
    often, times = Counter(questions["question_id"]).most_common(1)[0]
    if times > 1:
        raise ECGError(f"the question {often} stands in the set {times} times; expected each question_id once.")
    return Material(corpus, questions, settings)


def _built(corpus: Dataset, settings: Settings, groups: Sequence[Hashable] | None) -> Dataset:
    whole = built_questions(corpus, settings)
    if groups is None:
        return whole
    parts = [whole.select(np.flatnonzero([len(own) == 1 for own in whole["ecg_ids"]]))]
    for group in dict.fromkeys(groups):
        rows = np.flatnonzero([own == group for own in groups])
        share = max(1, round(settings.questions * len(rows) / len(corpus)))
        try:
            found = built_questions(corpus.select(rows), replace(settings, questions=share))
        except ECGError:  # so few records that nothing about them can be asked with either answer
            continue
        parts.append(found.select(np.flatnonzero([len(own) == 2 for own in found["ecg_ids"]])))
    return concatenate_datasets([part for part in parts if len(part)] or parts[:1])


def built_questions(corpus: Dataset, settings: Settings) -> Dataset:
    """Questions in test paraphrases, about as many as the settings say; those of yes and no balanced."""
    per_record = {kind: share * settings.questions / len(corpus) for kind, share in _SHARES.items()}
    built = build_questions(
        corpus, types=tuple(_SHARES), paraphrases="test", seed=settings.seed, per_record=per_record
    )
    yes_no = [answers in (["yes"], ["no"]) for answers in built["answers"]]
    parts = [built.select(np.flatnonzero(~np.array(yes_no)))]
    if any(yes_no):
        parts.append(debias(built.select(np.flatnonzero(yes_no)), settings.seed, by_split=False))
    return concatenate_datasets([part for part in parts if len(part)] or parts[:1])
