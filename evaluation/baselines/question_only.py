"""The question alone: what the same words about other records were answered.

In: rows. Out: of yes or no, the probability of yes by the audit's question-only baselines, which know template,
attribute and words; of other answers, the commonest one to the same words from other patients. Decided here: of the
audit's two (a table of keys, a classifier of words) each section and type takes the one that earns more on it, which
favours the baseline; a row about two patients counts as the first one's in these, as in the audit.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ...corpora.debiasing.question_only_baseline import baseline_credits
from ...corpora.debiasing.word_baseline import held_out_credits
from ..material import Material
from ..predictions import YES_NO
from .commonest import commonest_answers

NAME = "question only"
NOTE = "Template, attribute and words of the question, without the ECG, learned from other patients' records."

_LEVELS = (
    ["section", "type", "template", "attribute", "question"],
    ["section", "type", "template", "attribute"],
    ["section", "type", "template"],
    ["section", "type"],
)


def answers(rows: pd.DataFrame, material: Material) -> pd.DataFrame:
    """The answers of the question-only baseline; see the module."""
    yes_no = np.array([given is not None and tuple(given) in {("yes",), ("no",)} for given in rows["expected"]])
    p_yes = pd.Series(np.nan, rows.index)
    for _, part in rows[yes_no].groupby(["section", "type"], sort=False):
        p_yes[part.index] = _probability_of_yes(part)
    listed = commonest_answers(rows[~yes_no], _LEVELS)
    given = [listed[index] if np.isnan(p) else [YES_NO[0] if p > 0.5 else YES_NO[1]] for index, p in p_yes.items()]
    return pd.DataFrame({"answers": pd.Series(given, rows.index, dtype=object), "p_yes": p_yes}, rows.index)


def _probability_of_yes(rows: pd.DataFrame) -> np.ndarray:
    """From the credit, the probability with which the true answer is given: of two answers the other has the rest."""
    expected = [given[0] for given in rows["expected"]]
    clusters = [names[0] for names in rows["patients"]]
    keys = list(rows[["template", "attribute", "question"]].itertuples(index=False, name=None))
    of_keys = baseline_credits(keys, expected, clusters)
    of_words = held_out_credits(rows["question"].tolist(), expected, clusters)
    best = of_keys if of_keys.sum() >= of_words.sum() else of_words
    return np.where(np.array(expected) == "yes", best, 1 - best)
