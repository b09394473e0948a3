"""The table between asking and counting: one row a question as it was put to one model.

`evaluate` writes it as `predictions.parquet`; every figure of a report can be computed from it alone. Sections plan
rows with the columns of `PLANNED`; `answered` adds those of `ANSWERED`.

| column | |
|---|---|
| by | whose answer: "model", a baseline's name, or "against" |
| section, condition | which part of the evaluation asks; what was done to the ECGs ("true", "random", "noise", ...) |
| group | rows that are held against each other share it: a question under all conditions, all wordings of a question |
| wording | in which words: "test", "train", "abbreviation", "negation", ... |
| question_id, template, attribute, type, question | as of `build_questions` |
| record_ids | the records that the expected answers are about |
| shown_ids, change | the records that were shown instead or also, in this order, and what was done to them |
| told | whose figures a model was told that reads them: a record, "" for none, null for what was shown |
| patients | whose ECGs are asked about, or shown and not drawn at random: what intervals are clustered by |
| expected | right answers, sorted, lower case; null where there is no right one |
| candidates, prompt | as of `Asked` |
| finding | canonical finding that a yes-or-no question is about, or null |
| answer | the text as it was given; null where none was |
| answers | the answer as a set, sorted ("yes"; findings; "none"), as `reading_answers` reads it; null if it cannot |
| p_yes | P(yes) relative to P(no); null where the model gave none |
| probability | of the answer |
| refused | why it was not answered, or would not have been asked; else null |
| right | whether answers and expected are the same set; null where one of them is null |
"""

from __future__ import annotations

import pandas as pd
import pyarrow as pa

_TEXTS = pa.list_(pa.string())
PLANNED = pa.schema(
    [
        ("section", pa.string()),
        ("condition", pa.string()),
        ("group", pa.string()),
        ("wording", pa.string()),
        ("question_id", pa.string()),
        ("template", pa.string()),
        ("attribute", pa.string()),
        ("type", pa.string()),
        ("question", pa.string()),
        ("record_ids", _TEXTS),
        ("shown_ids", _TEXTS),
        ("change", pa.string()),
        ("told", pa.string()),
        ("patients", _TEXTS),
        ("expected", _TEXTS),
        ("candidates", _TEXTS),
        ("prompt", pa.string()),
        ("finding", pa.string()),
    ]
)
ANSWERED = pa.schema(
    [
        ("by", pa.string()),
        ("answer", pa.string()),
        ("answers", _TEXTS),
        ("p_yes", pa.float64()),
        ("probability", pa.float64()),
        ("refused", pa.string()),
        ("right", pa.bool_()),
    ]
)
PREDICTIONS = pa.schema([*PLANNED, *ANSWERED])

YES_NO = ("yes", "no")


def planned(rows: list[dict]) -> pd.DataFrame:
    """Rows as a table with all columns of `PLANNED`; what a row does not say is null, or "true", "" and "test" for
    condition, change and wording. shown_ids default to record_ids."""
    filled = []
    for row in rows:
        if unknown := set(row) - set(PLANNED.names):
            raise TypeError(f"columns {sorted(unknown)} are none of {PLANNED.names}")
        base = dict.fromkeys(PLANNED.names) | {"condition": "true", "change": "", "wording": "test"}
        filled.append(base | {"shown_ids": row.get("record_ids")} | row)
    return pd.DataFrame(filled, columns=PLANNED.names)


def yes_no_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose right answer is yes or no."""
    return table[table["expected"].map(lambda one: one is not None and list(one) in (["yes"], ["no"]))]
