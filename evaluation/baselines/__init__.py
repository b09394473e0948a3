"""Answers to beat: without the ECG, by published criteria, and by a fit to the labels of the very records.

In: planned rows of the sections "questions" and "findings" under condition "true", and the material. Out: an answer to
each, with the same index. A baseline is a file and a line in `BASELINES`; `answered_by` asks one. Decided here: what a
baseline cannot answer is null, never guessed, and counted by whoever reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd

from ..material import Material
from . import commonest, question_only, rules


@dataclass(frozen=True)
class Baseline:
    """name: as in the column `by` of predictions. note: what it knows, for the head of a table. answers: rows of
    `PLANNED`, material -> columns answers (list or None) and p_yes (float, NaN), index as of the rows. ranks: whether
    p_yes tells records apart; what sees no ECG gives all records of a question the same, an AUROC of .5 by
    construction. fitted: to the labels of these very records, in folds by patient."""

    name: str
    note: str
    answers: Callable[[pd.DataFrame, Material], pd.DataFrame]
    ranks: bool = True
    fitted: bool = False


BASELINES: list[Baseline] = [
    Baseline("commonest", commonest.NOTE, commonest.answers, ranks=False),
    Baseline("question only", question_only.NOTE, question_only.answers, ranks=False),
    Baseline("rules", rules.NOTE, rules.answers),
]

__all__ = ["BASELINES", "Baseline"]
