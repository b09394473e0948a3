"""Where the model was surest and wrong, as examples for a reader: the ECG drawn, question, answer, label, measured.

In: predictions, material. Out: `Example`s for the report's page alone. Decided here: yes-or-no questions about
one true ECG, each ECG and each attribute once, the surest first, what was missed and what is not there in turn.
"""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from ..signals.summary import measured, measured_line
from .figures_in_words import percent
from .material import Material
from .predictions import yes_no_rows
from .protocol import ShownECG
from .report import Example

MOST = 6


def examples(predictions: pd.DataFrame, material: Material, most: int = MOST) -> list[Example]:
    own = predictions[(predictions["by"] == "model") & predictions["section"].isin(("questions", "findings"))]
    own = yes_no_rows(own[own["right"].eq(False) & own["record_ids"].map(len).eq(1)])
    if own.empty:
        return []
    sure = own["p_yes"].map(lambda p: max(p, 1 - p)).fillna(0.0)
    own = own.assign(sure=sure, record_id=own["record_ids"].str[0], said=own["answers"].str[0])
    own = own.sort_values("sure", ascending=False, kind="stable")
    chosen: list[Example] = []
    while len(own) and len(chosen) < most:
        preferred = own[own["said"] == ("no", "yes")[len(chosen) % 2]]
        row = next((preferred if len(preferred) else own).itertuples())
        chosen.append(_example(row, material))
        own = own[(own["attribute"] != row.attribute) & (own["record_id"] != row.record_id)]
    return chosen


def _example(row: object, material: Material) -> Example:
    record = replace(material.ecgs[ShownECG(row.record_id)], source=material.about[row.record_id]["source"])
    sure = "" if row.sure == 0 else f" (probability {percent(row.sure)})"
    wrong = "said, and not in the label" if row.said == "yes" else "in the label, and not said"
    return Example(
        title=f"{row.attribute}: {wrong}",
        question=row.question,
        answer=f"{', '.join(row.answers)}{sure}",
        label=", ".join(row.expected),
        measured=measured_line(measured(record)),
        record=record,
    )


__all__ = ["MOST", "examples"]
