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
from . import commonest, question_only, regression, rules
from .embeddings import RANDOM, TRAINED, encoders_of


@dataclass(frozen=True)
class Baseline:
    """name: as in the column `by` of predictions. note: what it knows, for the head of a table. answers: rows of
    `PLANNED`, material -> columns answers (list or None) and p_yes (float, NaN), index as of the rows. ranks: whether
    p_yes tells records apart; what sees no ECG gives all records of a question the same, an AUROC of .5 by
    construction. fitted: to the labels of these very records, in folds by patient. needs: names of
    `Material.encoders` without which it answers nothing."""

    name: str
    note: str
    answers: Callable[[pd.DataFrame, Material], pd.DataFrame]
    ranks: bool = True
    fitted: bool = False
    needs: tuple[str, ...] = ()

    def can_answer(self, material: Material) -> bool:
        """Whether the material has what it needs."""
        return set(self.needs) <= set(material.encoders)


_FITTED = "Logistic regression, fitted on these records, folds by patient (5): on {}."

BASELINES: list[Baseline] = [
    Baseline("commonest", commonest.NOTE, commonest.answers, ranks=False),
    Baseline(question_only.NAME, question_only.NOTE, question_only.answers, ranks=False),
    Baseline("rules", rules.NOTE, rules.answers),
    Baseline(
        "fitted: measurements",
        _FITTED.format("measured intervals and amplitudes"),
        regression.ON_MEASUREMENTS,
        fitted=True,
    ),
    Baseline(
        "fitted: embeddings",
        _FITTED.format("the encoder's pooled output"),
        regression.ON_ENCODER,
        fitted=True,
        needs=(TRAINED,),
    ),
    Baseline(
        "fitted: random encoder",
        _FITTED.format("the pooled output of an encoder of the same configuration with random weights"),
        regression.ON_RANDOM_ENCODER,
        fitted=True,
        needs=(RANDOM,),
    ),
    Baseline(
        "fitted: embeddings and measurements",
        _FITTED.format("the encoder's pooled output, measured intervals and amplitudes"),
        regression.ON_BOTH,
        fitted=True,
        needs=(TRAINED,),
    ),
]


def baselines_for(material: Material) -> list[Baseline]:
    """Those that can answer: without an encoder of the model, none that needs one."""
    return [baseline for baseline in BASELINES if baseline.can_answer(material)]


__all__ = ["BASELINES", "Baseline", "baselines_for", "encoders_of"]
