"""Held against another model, question by question.

Asks nothing: it reads the answers of both to `questions` and `findings`. Says: the difference in right answers by type
of question and in AUROC by finding, paired over the same patients, with p-values adjusted over the family (Holm).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ... import intervals
from ..figures import Cell, Chart, Headline, SectionFigures, Series, Table
from ..material import Material
from ..tallies import AGAINST, is_right, patients_of, wants_yes

NAME, TITLE = "against", "Held against another model"
READ_SECTIONS = ("questions", "findings")


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    both = _paired(answered)
    if both.empty:
        return SectionFigures(NAME, TITLE)
    right = {kind: _accuracy(own) for kind, own in both[both["section"] == "questions"].groupby("type", sort=True)}
    auroc = {}
    scored = both[(both["section"] == "findings") & both["p_yes"].notna() & both["p_yes_other"].notna()]
    for name, own in scored.groupby("attribute", sort=True):
        yes = wants_yes(own)
        patients = [one[0] for one in own["patients"]]
        people = np.asarray(patients)
        if min(len(set(people[yes])), len(set(people[~yes]))) >= material.settings.least:
            auroc[name] = intervals.auroc_difference(own["p_yes"], own["p_yes_other"], yes, patients)
    values: dict[str, Any] = {"right": right, "auroc": auroc}
    family = [*right.values(), *auroc.values()]
    adjusted = intervals.holm([one.p_value if one.p_value == one.p_value else 1.0 for one in family])
    rows: list[tuple[Cell, ...]] = [
        (what, name, one, float(p))
        for (what, name, one), p in zip(
            [*(("right answers", name, one) for name, one in right.items()),
             *(("AUROC", name, one) for name, one in auroc.items())], adjusted, strict=True)
    ]  # fmt: skip
    values["adjusted_p"] = [float(p) for p in adjusted]
    table = Table("The model less the other", ("of", "question", "difference", "p, adjusted (Holm)"), rows)
    charts = []
    if auroc:
        series = Series("model less other", list(auroc), list(auroc.values()))
        charts.append(Chart("Difference in AUROC", "dots", [series], "", "AUROC, the model less the other", 0.0))
    better = sum(p < 0.05 and one.value > 0 for one, p in zip(family, adjusted, strict=True))
    worse = sum(p < 0.05 and one.value < 0 for one, p in zip(family, adjusted, strict=True))
    said = [
        f"Of {len(family)} comparisons the model is better in {better} and worse in {worse} at 5 % over all of them."
    ]
    asked = both[both["section"] == "questions"]
    headlines = [Headline("exact match less that of the other model", _accuracy(asked))] if len(asked) else []
    return SectionFigures(NAME, TITLE, said, [table], charts, values, headlines)


def _paired(answered: pd.DataFrame) -> pd.DataFrame:
    """The model's rows, with `right_other` and `p_yes_other` of the other's answer to the same question."""
    keys = ["section", "question_id", "condition", "wording"]
    own, other = answered[answered["by"] == "model"], answered[answered["by"] == AGAINST]
    other = other[[*keys, "right", "p_yes"]].rename(columns={"right": "right_other", "p_yes": "p_yes_other"})
    return own.merge(other, on=keys, validate="one_to_one")


def _accuracy(rows: pd.DataFrame) -> intervals.Estimate:
    """Of exact match: what has no answer is wrong."""
    other = is_right(rows.assign(right=rows["right_other"]))
    return intervals.share_difference(is_right(rows), other, patients_of(rows))
