"""What the section on faults says of a model that bears noise, one that does not, and a tool that refuses."""

import pytest

from ecgllm.evaluation.faults import FAULTS, NOISES
from ecgllm.evaluation.protocol import ShownECG
from ecgllm.evaluation.sections import signal_faults

from .conftest import blind, says_yes


@pytest.fixture(scope="module")
def planned(material):
    return signal_faults.plan(material)


def noise_in(row):
    fault = FAULTS.get(row["change"])
    return fault.severity if fault and fault.family in NOISES else 0.0


def test_every_question_is_asked_with_the_true_ecg_and_every_fault(planned, material):
    ecgs = len({(row["shown_ids"][0], row["change"]) for row in planned.to_dict("records")})
    assert 0.9 * material.settings.questions < ecgs <= material.settings.questions
    assert 0.7 * signal_faults.PER_ECG < len(planned) / ecgs <= signal_faults.PER_ECG
    for _, group in planned.groupby("group"):
        assert group["change"].tolist() == ["", *FAULTS]
        assert group["question"].nunique() == group["expected"].map(tuple).nunique() == 1
    assert planned["expected"].map(tuple).value_counts().nunique() == 1
    row = planned[planned["change"] == "muscle noise: 0.5 mV"].iloc[0]
    shown = material.ecgs[ShownECG(row["shown_ids"][0], row["change"])]
    assert shown.signal.shape[0] == 12


def test_accuracy_falls_where_the_model_no_longer_sees(planned, material, answer, sees):
    """Above 0.2 mV of any noise it says no."""
    figures = signal_faults.figures(answer(planned, lambda row: "no" if noise_in(row) > 0.2 else sees(row)), material)
    found = figures.values["model"]
    assert found["true"]["right"].value == found["muscle noise: 0.2 mV"]["right"].value == 1
    assert found["muscle noise: 0.5 mV"]["right"].value == 0.5
    assert found["muscle noise: 0.5 mV"]["difference"].value == -0.5
    assert found["true"]["auroc"].value == 1 and found["muscle noise: 1 mV"]["auroc"].value == 0.5
    lines = {series.name: series for series in figures.charts[0].series}
    assert lines["muscle noise"].x == [0, 0.05, 0.1, 0.2, 0.5, 1]
    assert [one.value for one in lines["muscle noise"].values] == [1, 1, 1, 1, 0.5, 0.5]
    assert figures.sentences[-1] == "The model refuses under no fault by its level."


def test_refusals_are_told_from_wrong_answers_and_by_level(planned, material, answer, sees):
    """Refused: all of a mistaken unit, half at .5 mV of noise and all at 1 mV, one in five with 5 % missing."""
    number = {group: place for place, group in enumerate(planned["group"].unique())}

    def how(row):
        share = {"scaled: times 1000": 1.0, "stretch missing: 5 %": 0.2}.get(row["change"], 0.0)
        share = {0.5: 0.5, 1.0: 1.0}.get(noise_in(row), share)
        return None if number[row["group"]] < len(number) * share else sees(row)

    figures = signal_faults.figures(answer(planned, how), material)
    found = figures.values["model"]
    worst = found["scaled: times 1000"]
    assert worst["right"] is None and worst["right_of_all"].value == 0 and worst["refused_share"].value == 1
    half = found["baseline wander: 0.5 mV"]
    assert half["right"].value == 1 and half["right_of_all"].value + half["refused_share"].value == 1
    assert half["refused_share"].value == pytest.approx(0.5, abs=0.02)
    assert signal_faults.begins_to_refuse(found, "stretch missing") == {"any": "5 %", "half": None}
    assert signal_faults.begins_to_refuse(found, "muscle noise")["any"] == "0.5 mV"
    assert "baseline wander from 0.5 mV on" in figures.sentences[1]
    assert f"refused {sum(own['refused'] for own in found.values())}" in figures.sentences[-1]


@pytest.mark.parametrize("how", [blind, says_yes])
def test_what_does_not_look_is_right_by_half_under_every_fault(planned, material, answer, how):
    found = signal_faults.figures(answer(planned, how), material).values["model"]
    assert {own["right"].value for own in found.values()} == {0.5}
    assert all(own["difference"].value == 0 for name, own in found.items() if name != "true")


def test_all_refused_gives_no_figure_and_says_so(planned, material, answer):
    figures = signal_faults.figures(answer(planned, lambda row: None), material)
    assert figures.values["model"]["true"]["right"] is None and figures.values["model"]["true"]["auroc"] is None
    assert f"refused {len(planned)}" in figures.sentences[-1]
