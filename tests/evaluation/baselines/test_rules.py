"""Rules from published criteria: right about simulated ECGs whose findings are known, null where they cannot tell."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import logit

from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.corpora.questions.about_findings import KINDS
from ecgllm.corpora.questions.about_measurements import FEATURES
from ecgllm.evaluation.baselines import BASELINES, rules
from ecgllm.evaluation.baselines.criteria import CRITERIA
from ecgllm.evaluation.baselines.margins import NEVER, all_of, any_of, in_leads, in_neighbours, there, times
from ecgllm.evaluation.baselines.seen import Seen, seen_in, seen_of
from ecgllm.evaluation.material import Material
from ecgllm.evaluation.predictions import planned
from ecgllm.findings import VOCABULARY
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecg, simulate_ecgs

ROOT = Path(__file__).resolve().parents[3]


def verify(name: str, record_id: str = "a", **columns: object) -> dict:
    return {
        "section": "findings", "template": "verify-finding", "type": "verify", "attribute": name, "finding": name,
        "question": f"Does this ECG show {name}?", "record_ids": [record_id], "patients": [record_id],
        "expected": ["yes"],
    } | columns  # fmt: skip


def material_of(*records: ECGRecord) -> Material:
    named = [replace(record, id=f"{number}") for number, record in enumerate(records)]
    corpus = records_to_corpus(named, source="simulation")
    return Material(corpus, build_questions(corpus.select([]), per_record=1))


def shown(*findings: str, seed: int = 0, **settings: object) -> ECGRecord:
    return simulate_ecg(findings, seed=seed, sampling_rate=500, noise=0.5, **settings)


def three(finding: str) -> list[ECGRecord]:
    return simulate_ecgs(3, 1, sampling_rate=500, noise=0.5, findings=[finding])


@pytest.fixture(scope="module")
def of_normal() -> Seen:
    return seen_in(shown("normal ecg", seed=1))


def noise_alone() -> ECGRecord:
    return ECGRecord(
        np.random.default_rng(0).normal(0, 0.1, (12, 5000)).astype(np.float32), 500, shown("normal ecg").leads
    )


_FAST = ("first degree av block", "atrial fibrillation", "premature ventricular complexes", "low qrs voltage")
_SLOW = (
    "sinus bradycardia",
    "sinus tachycardia",
    "complete left bundle branch block",
    "complete right bundle branch block",
    "left anterior fascicular block",
    "left axis deviation",
    "ventricular pacing",
    "t wave inversion",
    "prolonged qt interval",
)


@pytest.mark.parametrize("finding", [*_FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in _SLOW)])
def test_a_criterion_holds_of_its_finding_and_not_of_a_normal_ecg(finding: str, of_normal: Seen) -> None:
    margin = CRITERIA[finding].margin
    assert margin(of_normal) < 0
    # Two of three: no criterion is always met.
    with_it = [margin(seen_in(record, record.age, record.sex)) for record in three(finding)]
    assert sorted(with_it)[1] > 0, with_it


def test_answers_are_yes_above_the_limit_and_null_without_a_heart_or_a_criterion() -> None:
    material = material_of(shown("first degree av block"), noise_alone())
    one, two = material.corpus["id"]
    rows = planned(
        [
            verify("first degree av block", one),
            verify("sinus tachycardia", one),
            verify("first degree av block", two),
            verify("digitalis effect", one),
            verify("conduction disturbance", one, template="verify-group", finding=None),
            verify("normal ecg", one, template="verify-normal"),
        ]
    )
    rows.index = rows.index + 7
    found = rules.answers(rows, material)
    assert list(found.index) == list(rows.index)
    assert found["answers"].tolist() == [["yes"], ["no"], None, None, ["yes"], ["no"]]
    assert found["p_yes"].isna().tolist() == [False, False, True, True, False, False]
    pr = seen_of(material, [one])[one].pr
    assert logit(found["p_yes"][7]) == pytest.approx((pr - 200) / 10)


def test_other_questions_follow_from_the_same_margins() -> None:
    material = material_of(shown("sinus tachycardia"), shown("sinus bradycardia", seed=4))
    fast, slow = material.corpus["id"]
    base = {"section": "questions", "expected": ["none"], "patients": ["p"], "finding": None}

    def row(template: str, attribute: str, question: str, *ids: str) -> dict:
        return base | {
            "template": template, "attribute": attribute, "question": question, "record_ids": list(ids),
            "type": "query",
        }  # fmt: skip

    rows = planned(
        [
            row("choose-finding", "sinus bradycardia or sinus tachycardia", "Which?", fast),
            row("choose-finding", "sinus bradycardia or digitalis effect", "Which?", fast),
            row("query-rhythm", "rhythm", "Which rhythm does this ECG show?", slow),
            row("query-range", "heart rate", "What range does the heart rate of this ECG fall in?", fast),
            row("choose-range", "heart rate", "Is the heart rate below or within the normal range?", fast),
            row("verify-range", "heart rate", "Is the heart rate below the normal range?", slow),
            row("verify-limit", "heart rate", "Is the heart rate above 100 bpm?", slow),
            row("compare-new", "sinus tachycardia", "Is it new?", slow, fast),
            row("compare-resolved", "sinus tachycardia", "Is it gone?", slow, fast),
            row("compare-measurement", "heart rate", "Is the heart rate faster in the second ECG?", slow, fast),
            row("compare-measurement", "heart rate", "Is the heart rate slower in the second ECG?", slow, fast),
            row("choose-group", "hypertrophy or enlargement or arrhythmia", "Which?", fast),
            row("compare-both", "sinus tachycardia", "Do both?", slow, fast),
            row("compare-neither", "sinus bradycardia", "Does neither?", fast, fast),
            row("compare-range-still-abnormal", "heart rate", "Is it abnormal in both?", slow, fast),
            row("compare-range-normal", "heart rate", "Is it newly normal?", slow, fast),
            row("query-leads", "t wave inversion", "Which leads show T wave inversion?", fast),
        ]
    )
    assert rules.answers(rows, material)["answers"].tolist() == [
        ["sinus tachycardia"], None, ["sinus bradycardia"], ["above the normal range"], ["none"], ["yes"], ["no"],
        ["yes"], ["no"], ["yes"], ["no"], ["arrhythmia"], ["no"], ["yes"], ["yes"], ["no"],
        None,
    ]  # fmt: skip


def test_lists_are_what_single_questions_give() -> None:
    """Whatever the criteria and the measurements say of these waves, beside what was asked for."""
    material = material_of(shown("first degree av block"), shown("sinus tachycardia"))
    slow, fast = material.corpus["id"]
    base = {"section": "questions", "expected": ["none"], "patients": ["p"], "finding": None, "type": "query"}

    def answers(*asked: tuple[str, str, str, list[str]]) -> list[list[str]]:
        names = ("template", "attribute", "question", "record_ids")
        rows = [base | dict(zip(names, one, strict=True)) for one in asked]
        return rules.answers(planned(rows), material)["answers"].tolist()

    kinds = [("query-kind", kind, "Which?", [slow]) for kind in KINDS]
    everything, *of_kinds = answers(("query-abnormalities", "abnormalities", "Which?", [slow]), *kinds)
    assert of_kinds == [[name for name in everything if name in KINDS[kind]] or ["none"] for kind in KINDS]
    assert "first degree av block" in of_kinds[0]
    features = [feature.name.lower() for feature in FEATURES.values()]
    first, second = (
        [
            side == ["within the normal range"]
            for side in answers(*(("query-range", name, "", [one]) for name in features))
        ]
        for one in (slow, fast)
    )
    normal, abnormal, both = answers(
        ("query-in-range", "measurements", "Which lie within the normal range?", [slow]),
        ("compare-range-abnormal-query", "measurements", "Which are newly abnormal?", [slow, fast]),
        ("compare-range-still-abnormal-query", "measurements", "Which are abnormal in both?", [fast, fast]),
    )
    listed = {name: (one, two) for name, one, two in zip(features, first, second, strict=True)}
    assert normal == sorted(name for name, (one, _) in listed.items() if one)
    assert abnormal == sorted(name for name, (one, two) in listed.items() if one and not two)
    assert both == sorted(name for name, (_, two) in listed.items() if not two)
    assert "heart rate" in abnormal and "heart rate" in both


def test_margins_join_as_far_as_is_known() -> None:
    assert all_of(1.0, -2.0) == -2.0 and any_of(np.nan, 1.0, -2.0) == 1.0
    assert np.isnan(all_of(1.0, np.nan)) and np.isnan(any_of(np.nan))
    assert there(np.nan) == NEVER == times(0.0, 1.0)
    assert times(1.21, 1.0) == pytest.approx(2.0)
    assert in_leads([3.0, np.nan, 1.0, -1.0], 2) == 1.0
    assert in_neighbours([3.0, -1.0, 2.0]) == -1.0 and in_neighbours([3.0, 2.0, -1.0]) == 2.0


def test_the_guide_has_every_criterion_with_its_source() -> None:
    guide = (ROOT / "docs" / "baselines.md").read_text(encoding="utf-8")
    told = {}
    for line in guide.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 3:
            told |= dict.fromkeys(cells[0].split(", "), tuple(cells[1:]))
    assert set(CRITERIA) <= set(VOCABULARY)
    for finding, criterion in CRITERIA.items():
        assert told.get(finding) == (criterion.words, criterion.source), finding


def test_every_baseline_keeps_the_index_and_gives_a_probability_or_nothing() -> None:
    material = material_of(*(shown(name, seed=5) for name in ("normal ecg", "atrial fibrillation")))
    rows = planned([verify("atrial fibrillation", one, patients=[one]) for one in material.corpus["id"]])
    rows["expected"] = [["no"], ["yes"]]
    for baseline in BASELINES:
        found = baseline.answers(rows, material)
        assert list(found.columns) == ["answers", "p_yes"] and list(found.index) == list(rows.index)
        assert found["p_yes"].dropna().between(0, 1).all()
        assert isinstance(found, pd.DataFrame) and baseline.note
