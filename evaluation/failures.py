"""Where the model was surest and wrong, as examples for a reader: the ECG drawn, question, answer, label, measured.

In: predictions, material. Out: `Example`s for the report's page alone. Decided here: one of each attribute, the surest
first, of yes-or-no questions about one true ECG.
"""

from __future__ import annotations

import pandas as pd

from ..signals.summary import measured, measured_line
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
    own = own.assign(sure=sure).sort_values("sure", ascending=False, kind="stable").drop_duplicates("attribute")
    return [_example(row, material) for row in own.head(most).itertuples()]


def _example(row: object, material: Material) -> Example:
    record = material.ecgs[ShownECG(row.record_ids[0])]
    sure = "" if row.sure == 0 else f" (probability {row.sure:.2f})"
    return Example(
        title=row.attribute,
        question=row.question,
        answer=f"{', '.join(row.answers)}{sure}",
        label=", ".join(row.expected),
        measured=measured_line(measured(record)),
        record=record,
    )


__all__ = ["MOST", "examples"]
