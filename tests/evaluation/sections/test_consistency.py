"""What the section on consistency says of models that see, say yes to everything, or answer by chance."""

import zlib
from math import nan

import pandas as pd
import pytest

from ecgllm.evaluation.contradictions import CRITERIA, implied_pairs
from ecgllm.evaluation.labels_of_records import question_about
from ecgllm.evaluation.sections import consistency
from ecgllm.findings.exclusions import exclusive_pairs
from ecgllm.findings.labels import VOCABULARY
from ecgllm.signals.analysis.measurements import Measurement, Measurements

from .conftest import says_yes


@pytest.fixture(scope="module")
def planned(material):
    return consistency.plan(material)


@pytest.fixture(autouse=True, scope="module")
def measured_once():
    """The same few records are measured again and again."""
    known, measure = {}, consistency.measure
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(consistency, "measure", lambda one: known.get(one.id) or known.setdefault(one.id, measure(one)))
        yield


@pytest.fixture
def by_labels(shows):
    return lambda row: "yes" if shows(row["record_ids"][0], row["finding"]) else "no"


def test_all_findings_that_can_contradict_are_asked_of_some_records(planned, material):
    assert 0.5 * material.settings.questions < len(planned) <= material.settings.questions
    findings = set(consistency.asked_findings(material))
    assert {"sinus rhythm", "atrial fibrillation", "normal ecg", *(each.finding for each in CRITERIA)} <= findings
    assert (planned.groupby("group")["finding"].agg(set) == findings).all()
    assert (planned["question"] == planned["finding"].map(question_about)).all()
    open_ones = planned["expected"].isna()
    assert open_ones.any() and (~open_ones).mean() > 0.5
    for row in planned[~open_ones].to_dict("records"):
        assert row["expected"] == ["yes" if material.labels.of(row["group"], row["finding"]) else "no"]


def test_pairs_follow_from_definitions_and_the_vocabulary():
    pairs = set(exclusive_pairs(VOCABULARY))
    for pair in (
        ("sinus rhythm", "atrial fibrillation"),
        ("complete right bundle branch block", "incomplete right bundle branch block"),
        ("first degree av block", "third degree av block"),
        ("sinus bradycardia", "sinus tachycardia"),
        ("bradycardia", "supraventricular tachycardia"),
        ("normal ecg", "myocardial infarction"),
    ):
        assert pair in pairs
    for one, other in pairs:
        assert one != other and (other, one) not in pairs
        assert (one, other) not in implied_pairs(VOCABULARY) and (other, one) not in implied_pairs(VOCABULARY)
    assert ("anterior myocardial infarction", "inferior myocardial infarction") not in pairs
    assert ("complete left bundle branch block", "left bundle branch block") in implied_pairs(VOCABULARY)
    assert exclusive_pairs(["sinus rhythm", "left ventricular hypertrophy"]) == []


def test_a_model_that_says_what_the_labels_say_is_as_consistent_as_they_are(planned, material, answer, by_labels):
    figures = consistency.figures(answer(planned, by_labels), material)
    found, labels = figures.values["model"], figures.values[consistency.LABELS]
    assert found["exclusive"]["share"].value == 0 and found["implied"]["share"].value == 0
    assert found["exclusive"]["by_chance"] > 0.02 and found["implied"]["by_chance"] > 0.3
    assert found["measured"]["all"]["share"].value == labels["measured"]["all"]["share"].value < 0.1
    assert found["measured"]["all"]["by_chance"] > 0.5
    assert figures.tables[0].rows[0][0] == "model" and figures.tables[0].rows[-1][0] == consistency.LABELS


def test_one_that_says_yes_contradicts_itself_everywhere(planned, material, answer):
    found = consistency.figures(answer(planned, says_yes), material).values["model"]
    assert found["exclusive"]["share"].value == found["exclusive"]["records"].value == 1
    assert found["implied"]["share"].value == 0
    measured = found["measured"]["all"]
    assert measured["share"].value == pytest.approx(measured["by_chance"])


def test_answers_by_chance_contradict_each_other_as_chance_has_it(planned, material, answer):
    def how(row):
        return "yes" if zlib.crc32((row["group"] + row["finding"]).encode()) % 3 == 0 else "no"

    found = consistency.figures(answer(planned, how), material).values["model"]
    for part in ("exclusive", "implied"):
        own = found[part]
        assert own["share"].low < own["by_chance"] < own["share"].high
    assert found["exclusive"]["by_chance"] == pytest.approx(1 / 5, abs=0.05)  # (1/3 1/3) / (1/3 + 1/3 - 1/9)
    assert found["implied"]["by_chance"] == pytest.approx(2 / 3, abs=0.1)


def test_counts_are_those_of_hand(material, answer):
    """Three records: both of a pair, one of it, none; a child without its parent in two of two."""
    ids = list(material.about)[:3]
    yes = {
        (ids[0], "sinus rhythm"), (ids[0], "atrial fibrillation"), (ids[1], "sinus rhythm"),
        (ids[0], "sinus tachycardia"), (ids[1], "sinus tachycardia"),
    }  # fmt: skip
    rows = consistency.plan(material)
    findings = ["sinus rhythm", "atrial fibrillation", "sinus tachycardia", "tachycardia"]
    kept = rows[rows["finding"].isin(findings)].groupby("finding").head(3).reset_index(drop=True)
    kept["group"] = kept.groupby("finding").cumcount().map(dict(enumerate(ids)))
    table = answer(kept, lambda row: "yes" if (row["group"], row["finding"]) in yes else "no")
    found = consistency.figures(table, material).values["model"]
    pair = found["exclusive"]["pairs"]["sinus rhythm / atrial fibrillation"]
    assert (pair["records"], pair["contradictions"]) == (2, 1)
    assert pair["by_chance"] == pytest.approx((2 / 3 * 1 / 3) / (2 / 3 + 1 / 3 - 2 / 9))
    assert found["exclusive"]["records"].value == pytest.approx(1 / 3)
    child = found["implied"]["pairs"]["sinus tachycardia / tachycardia"]
    assert (child["records"], child["contradictions"], child["by_chance"]) == (2, 2, 1.0)


@pytest.mark.parametrize(
    ("finding", "measured", "expected"),
    [
        ("first degree av block", {"pr": 160}, True),
        ("first degree av block", {"pr": 195}, False),
        ("first degree av block", {}, None),
        ("ventricular tachycardia", {"qrs": 90}, True),
        ("ventricular tachycardia", {"qrs": 110}, False),
        ("prolonged qt interval", {"qtc_bazett": 410, "qtc_fridericia": 400}, True),
        ("prolonged qt interval", {"qtc_bazett": 460, "qtc_fridericia": 410}, False),
        ("prolonged qt interval", {"qtc_bazett": 410}, None),
        ("sinus bradycardia", {"heart_rate": 61}, False),
        ("sinus bradycardia", {"heart_rate": 62}, True),
        ("tachycardia", {"heart_rate": 98}, True),
        ("normal axis", {"axis": -127}, True),
        ("normal axis", {"axis": -44}, False),
        ("normal axis", {"axis": 105}, True),
        ("right axis deviation", {"axis": 10}, True),
        ("right axis deviation", {"axis": -170}, False),
        ("left axis deviation", {"axis": -20}, False),
        ("left axis deviation", {"axis": 40}, True),
    ],
)
def test_a_measurement_counts_only_beyond_its_error(finding, measured, expected):
    [criterion] = [each for each in CRITERIA if each.finding == finding]
    found = Measurements(**{name: Measurement(value, 1) for name, value in measured.items()})
    assert criterion.contradicted(found) is expected


def test_children_are_not_held_against_limits_of_adults(planned, material, answer, monkeypatch):
    table = answer(planned, says_yes)
    monkeypatch.setitem(material.__dict__, "about", {key: row | {"age": 9.0} for key, row in material.about.items()})
    assert consistency.figures(table, material).values["model"]["measured"]["all"]["share"] is None
    monkeypatch.setitem(material.__dict__, "about", {key: row | {"age": nan} for key, row in material.about.items()})
    assert consistency.figures(table, material).values["model"]["measured"]["all"]["share"].number > 50


def test_refusals_are_counted_and_nothing_is_read_into_them(planned, material, answer, by_labels):
    refused = set(planned["group"].unique()[::2])
    both = pd.concat(
        [
            answer(planned, lambda row: None if row["group"] in refused else by_labels(row)),
            answer(planned, says_yes, by="yes-sayer"),
        ]
    )
    figures = consistency.figures(both, material)
    assert list(figures.values) == ["model", "yes-sayer", consistency.LABELS]
    model = figures.values["model"]
    assert model["rows"]["refused"] == planned["group"].isin(refused).sum()
    assert any(f"refused {model['rows']['refused']}" in each for each in figures.sentences)
    assert model["exclusive"]["records"].number == planned["group"].nunique() - len(refused)
    nothing = consistency.figures(answer(planned, lambda row: None), material)
    assert nothing.sentences[0] == "The model says yes to none of these findings."
