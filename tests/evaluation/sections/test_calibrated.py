"""Once calibrated: the figures of a model that is too sure, by patient and by source."""

import numpy as np
import pandas as pd
import pytest

from ecgllm.evaluation.sections import calibrated, findings


@pytest.fixture(scope="module")
def answered(material, answer):
    planned = findings.plan(material)

    def too_sure(row):
        draw = np.random.default_rng(list(f"{row['question_id']}".encode()))
        says = (list(row["expected"]) == ["yes"]) == (draw.random() < 0.85)
        return ("yes", 0.97) if says else ("no", 0.03)

    return answer(planned, too_sure)


def test_what_is_too_sure_is_brought_down(answered, material):
    found = calibrated.figures(answered, material)
    raw, own = (found.values[how] for how in (calibrated.RAW, calibrated.BY_PATIENT))
    assert raw["questions"] == own["questions"] == len(answered)
    assert raw["calibration"].expected_calibration_error > 2 * own["calibration"].expected_calibration_error
    assert own["calibration"].brier.value < raw["calibration"].brier.value
    assert own["said"]["sure no"]["right"].low > 0.9 and 0.3 < own["said"]["sure no"]["covers"].value <= 1
    # Right in 85 of 100 of what is rare, a yes is seldom sure.
    assert raw["said"]["sure yes"]["right"].value < 0.75
    assert own["said"]["sure yes"]["right"] is None or own["said"]["sure yes"]["right"].number < raw["questions"] / 20
    assert found.headlines[-1].value is own["said"]["sure no"]["right"]
    assert (calibrated.BY_SOURCE in found.values) is (len(set(material.corpus["source"])) > 1)
    assert "calibration error from" in found.sentences[0]


def test_refused_and_unscored_answers_have_no_place(answered, material):
    half = np.arange(len(answered)) % 2 == 0
    some = answered.assign(p_yes=np.where(half, answered["p_yes"], np.nan))
    assert calibrated.figures(some, material).values[calibrated.RAW]["questions"] == half.sum()
    refused = answered.assign(refused=np.where(half, None, "no heart"))
    assert calibrated.figures(refused, material).values[calibrated.RAW]["questions"] == half.sum()
    nothing = calibrated.figures(answered.assign(p_yes=np.nan), material)
    assert not nothing.sentences and not nothing.tables


def test_each_source_is_left_out(answered, material):
    sources = {record: ("one", "two")[place % 2] for place, record in enumerate(material.about)}

    class TwoSources:
        about = {record: {**row, "source": sources[record]} for record, row in material.about.items()}

    found = calibrated.figures(pd.DataFrame(answered), TwoSources).values
    assert found[calibrated.BY_SOURCE]["questions"] <= found[calibrated.RAW]["questions"]
    assert found[calibrated.BY_SOURCE]["calibration"].expected_calibration_error < 0.1
