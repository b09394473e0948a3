"""Exact match, and each baseline held against the model over the questions that it answers."""

import numpy as np
import pandas as pd
import pytest

from ecgllm.evaluation.predictions import PREDICTIONS
from ecgllm.evaluation.sections import questions


def concatenated(tables):
    rows = [row for table in tables for row in table.to_dict("records")]
    return pd.DataFrame(rows, columns=PREDICTIONS.names)


def test_a_baseline_is_compared_over_what_it_answers(material, answer):
    planned = questions.plan(material)
    planned = planned[planned["candidates"].notna()].reset_index(drop=True)
    model = answer(planned, lambda row: "yes")
    some = planned[np.arange(len(planned)) % 3 > 0]
    rules = answer(some, lambda row: row["expected"][0], by="rules")
    silent = answer(planned[~planned.index.isin(some.index)], lambda row: None, by="rules")
    fitted = answer(planned.head(len(planned) // 2), lambda row: "no", by="fitted: measurements")
    found = questions.figures(concatenated([model, rules, silent, fitted]), material)
    one = found.values["beside"]["rules"]
    assert one["its"].value == 1 and one["its"].number == one["model"].number == one["difference"].number == len(some)
    own = model[model["question_id"].isin(some["question_id"])]["right"].astype(float).mean()
    assert one["model"].value == pytest.approx(own) and one["difference"].value == pytest.approx(own - 1)
    assert one["difference"].high < 0 and one["p_adjusted"] < 1e-4
    beside, by_type = found.tables[:2]
    assert [row[:2] for row in beside.rows] == [("rules", len(some)), ("fitted: measurements", len(planned) // 2)]
    assert by_type.columns == ("type", "right", "questions", "rules", "questions of rules")  # fitted ones stand above
    assert sum(row[4] for row in by_type.rows) == len(some) and sum(row[2] for row in by_type.rows) == len(planned)
