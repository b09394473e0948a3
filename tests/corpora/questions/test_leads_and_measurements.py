"""Questions about leads and measurements are true of their records, balanced, and asked only where they are known."""

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import build_questions, debias, records_to_corpus
from ecgllm.corpora.questions.about_measurements import ALL, FEATURES
from ecgllm.signals import ECGRecord

LEADS = ("I", "II", "V1", "V5")
SIGNAL = np.zeros((1, 10), dtype=np.float32)


def record(i: int, rng: np.random.Generator, **fields) -> ECGRecord:
    drift = {"baseline drift": tuple(lead for lead in LEADS if rng.random() < 0.4) or ("I",)} if i % 2 else {}
    stage = ("old myocardial infarction",) if i % 3 == 0 else ("acute myocardial infarction",) if i % 3 == 1 else ()
    known = {
        "findings": ("sinus rhythm", *drift, *stage),
        "finding_leads": drift,
        "measurements": {
            "heart_rate": float(rng.uniform(40, 130)),
            "pr": float(rng.uniform(100, 260)),
            "qrs": float(rng.uniform(80, 150)),
            "qtc": float(rng.uniform(360, 520)),
            "axis": float(rng.uniform(-80, 150)),
        },
        "age": 60.0,
        "sex": "male" if i % 4 < 2 else "female",
    }
    return ECGRecord(SIGNAL, 10.0, ("I",), id=f"r{i}", patient_id=f"p{i // 2}", source="test", **(known | fields))


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    rng = np.random.default_rng(0)
    return records_to_corpus([record(i, rng) for i in range(80)], "test")


@pytest.fixture(scope="module")
def questions(corpus) -> Dataset:
    return build_questions(corpus, per_record=8)


def test_leads(questions, corpus) -> None:
    shown = {row["id"]: {one["finding"]: one["leads"] for one in row["finding_leads"]} for row in corpus}
    asked = [row for row in questions if row["template"] == "verify-lead"]
    elsewhere = 0
    for row in asked:
        lead = next(name for name in LEADS if f"lead {name} " in row["question"].replace("?", " ").replace(",", " "))
        leads = shown[row["ecg_ids"][0]].get("baseline drift", [])
        assert (lead in leads) is (row["answers"] == ["yes"])
        elsewhere += row["answers"] == ["no"] and bool(leads)
    answers = Counter(row["answers"][0] for row in asked)
    assert answers["yes"] == answers["no"] > 20 and elsewhere > 0.4 * answers["no"]
    for row in questions:
        if row["template"] == "query-leads":
            leads = shown[row["ecg_ids"][0]].get("baseline drift", [])
            assert row["answers"] == (sorted(f"lead {lead.lower()}" for lead in leads) or ["none"])


def test_stage_and_noise(questions, corpus) -> None:
    present = {row["id"]: set(row["findings"]) for row in corpus}
    seen = Counter()
    for row in questions:
        findings = present[row["ecg_ids"][0]]
        if row["template"] == "query-stage":
            assert row["answers"] == (
                [name for name in sorted(findings) if name.startswith(("old", "acute"))] or ["none"]
            )
        elif row["template"] == "query-noise":
            assert row["answers"] == (["baseline drift"] if "baseline drift" in findings else ["none"])
        else:
            continue
        seen[row["template"], row["answers"][0]] += 1
    assert len(seen) == 5


def test_measurements(questions, corpus) -> None:
    known = {row["id"]: row for row in corpus.remove_columns("ecg")}
    columns = {feature.name.lower(): column for column, feature in FEATURES.items()}
    seen = Counter()
    for row in questions:
        if row["attribute"] not in columns:
            continue
        column = columns[row["attribute"]]
        values = [known[name]["measurements"][column] for name in row["ecg_ids"]]
        feature, (text, answers) = FEATURES[column], (row["question"], row["answers"])
        side = feature.range_of(values[0], known[row["ecg_ids"][0]]["sex"])
        if row["template"] == "verify-range":
            asked = next(name for name in ("below", "within", "above") if f" {name} " in text)
            assert (side == asked) is (answers == ["yes"]), text
        elif row["template"] == "verify-limit":
            words = text.rstrip("?").replace(" in this ECG", "").split()
            limit, up = float(words[-2]), "above" in words
            assert ((values[0] > limit) is up) is (answers == ["yes"]), text
        elif row["template"] == "choose-range":
            assert answers == ([f"{side} the normal range"] if side in text.replace(":", "").split() else ["none"])
        elif row["template"] == "query-range":
            assert answers == [f"{side} the normal range"]
        elif row["template"] == "compare-measurement":
            up = feature.more in text
            change = values[1] - values[0]
            assert (change >= feature.change if up else change <= -feature.change) is (answers == ["yes"])
        seen[row["template"], column] += 1
    assert len(seen) >= 5 * 5 - 2
    assert {row["type"] for row in questions if row["template"] == "compare-measurement"} == {
        "comparison-verify",
        "comparison-irrelevant-verify",
    }


def test_new_verify_questions_are_balanced_and_can_be_debiased(questions) -> None:
    templates = ("verify-lead", "verify-range", "verify-limit", "compare-measurement")
    rows = questions.filter(lambda row: row["template"] in templates)
    counts = Counter((row["template"], row["answers"][0]) for row in rows)
    assert all(counts[name, "yes"] == counts[name, "no"] > 0 for name in templates)
    assert set(debias(rows)["template"]) == set(templates)


@pytest.mark.parametrize(
    ("column", "value", "sex", "expected"),
    [
        ("heart_rate", 50, None, "below"),
        ("heart_rate", 60.5, None, None),  # as near to the limit as a measurement is sure of
        ("heart_rate", 120, None, "above"),
        ("qrs", 60, None, "within"),
        ("qrs", 150, None, "above"),
        ("qtc", 470, "male", "above"),
        ("qtc", 440, "male", "within"),
        ("qtc", 455, None, None),  # above a man's limit and below a woman's
        ("qtc", 480, None, "above"),
        ("qtc", 370, None, "below"),
        ("axis", -60, None, "below"),
    ],
)
def test_normal_ranges(column, value, sex, expected) -> None:
    assert FEATURES[column].range_of(value, sex) == expected


def test_children_are_not_judged_by_adult_ranges() -> None:
    rng = np.random.default_rng(0)
    corpus = records_to_corpus([record(i, rng, age=8.0) for i in range(10)], "test")
    assert not any("range" in name for name in build_questions(corpus)["template"])


def test_what_is_not_known_is_not_asked_and_that_is_said(corpus) -> None:
    older = corpus.remove_columns(["finding_leads", "measurements"])
    rows = build_questions(older)
    assert not {name for name in rows["template"] if "lead" in name or "range" in name or "measurement" in name}
    assert "the corpus' column measurements is missing" in rows.info.description
    rng = np.random.default_rng(0)
    unmeasured = records_to_corpus([record(i, rng, measurements=None, finding_leads=None) for i in range(10)], "test")
    assert "column finding_leads holds none" in build_questions(unmeasured).info.description


def test_features_can_be_asked_for_alone(corpus) -> None:
    rows = build_questions(corpus, attributes=["pr interval"], types=("verify", "query"))
    assert set(rows["attribute"]) == {"pr interval"} and len(rows) > 80


@pytest.mark.parametrize("attributes", [["heart rate"], None])
def test_comparisons_of_measurements_are_as_many_as_asked_for(corpus, attributes) -> None:
    """Of one measurement, too, where pairs are not shared with others."""
    rows = build_questions(corpus, types=["comparison"], attributes=attributes, per_record=4)
    about = {*(feature.name.lower() for feature in FEATURES.values()), ALL}
    compared = Counter(row["template"] for row in rows if row["attribute"] in about)
    share = 1.0 if attributes else 0.2
    assert sum(compared.values()) > 0.6 * share * 4 * len(corpus)
    assert compared["compare-measurement"] > 0.25 * sum(compared.values())
