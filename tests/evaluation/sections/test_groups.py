"""Groups of patients: right answers in each, beside what the question alone is worth there."""

import pandas as pd
import pytest

from ecgllm.corpora import build_questions
from ecgllm.evaluation.baselines.question_only import NAME as QUESTION_ONLY
from ecgllm.evaluation.material import Material
from ecgllm.evaluation.sections import groups, questions

from .conftest import says_yes


def test_each_group_stands_beside_the_question_alone(material, answer):
    asked = build_questions(material.corpus, types=["verify"], paraphrases="test", per_record=4)
    own = Material(material.corpus, asked, material.settings)
    planned = questions.plan(own)
    right = answer(planned, lambda row: row["expected"][0])
    found = groups.figures(pd.concat([right, answer(planned, says_yes, by=QUESTION_ONLY)], ignore_index=True), own)
    (table,) = found.tables
    assert table.columns[-1] == QUESTION_ONLY and len(table.rows) > 10
    yes = planned["expected"].map(lambda one: list(one) == ["yes"])
    ages = dict(zip(material.corpus["id"], material.corpus["age"], strict=True))
    young = planned["record_ids"].map(lambda ids: ages[ids[0]] < 40)
    assert all(share.value == 1.0 for _, _, share, *_ in table.rows)
    number, alone = next((row[3], row[5]) for row in table.rows if row[:2] == ("age", "under 40"))
    assert number == young.sum() and alone.value == pytest.approx(yes[young].mean())
    assert {series.name for chart in found.charts for series in chart.series} == {"model", QUESTION_ONLY}
    assert groups.figures(right, own).tables[0].columns == table.columns[:-1]
