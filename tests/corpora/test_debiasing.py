"""De-biasing with confounders: yes and no are alike in what they are matched on; nothing is used out of proportion."""

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import QUESTION_FEATURES, debias_with_report
from ecgllm.corpora.confounders import other_severity

SICK = ("atrial fibrillation", "left ventricular hypertrophy", "left axis deviation")


def biased(n: int = 400, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Records of which the sick ones show right bundle branch block more often, are older and mostly male."""
    rng = np.random.default_rng(seed)
    records, asked = [], []
    for i in range(n):
        sick = rng.random() < 0.5
        block = rng.random() < (0.7 if sick else 0.2)
        findings = [*(SICK if sick else ()), *(["complete right bundle branch block"] if block else [])]
        records.append(
            {
                "id": f"r{i}", "patient_id": f"p{i}", "findings": findings or ["normal ecg"], "device": None,
                "age": float(rng.normal(70 if sick else 50, 8)),
                "sex": "male" if rng.random() < 0.3 + 0.4 * sick else "female",
            }
        )  # fmt: skip
        asked.append(
            {
                "question_id": f"q{i}", "template": "verify-finding", "type": "verify", "split": "train",
                "attribute": "complete right bundle branch block", "question": f"Wording {i % 2}?",
                "ecg_ids": [f"r{i}"], "answers": ["yes" if block else "no"], "severity": [len(findings)],
            }
        )  # fmt: skip
    return Dataset.from_list(asked, features=QUESTION_FEATURES), Dataset.from_list(records)


def test_matching_makes_yes_and_no_alike() -> None:
    questions, corpus = biased()
    _, plain = debias_with_report(questions, corpus=corpus)
    kept, matched = debias_with_report(questions, corpus=corpus, match_on=["severity", "sex"])
    assert plain.balance["severity"][1] > 0.5  # balance alone leaves the confounder
    assert abs(matched.balance["severity"][1]) < 1e-9 and abs(matched.balance["sex"][1]) < 1e-9
    assert matched.balance["severity"][0] > 0.5
    assert abs(matched.balance["age"][1]) < 0.6 * matched.balance["age"][0]  # it comes with severity
    counts = Counter((row["question"], row["answers"][0]) for row in kept)
    assert counts["Wording 0?", "yes"] == counts["Wording 0?", "no"] > 20
    assert "severity, matched: yes and no differ by" in str(matched)


def test_the_severity_is_that_of_other_findings() -> None:
    rbbb = "complete right bundle branch block"
    assert other_severity([*SICK, rbbb], rbbb) == other_severity(SICK, rbbb) == 3
    # a finding's broader one, and its more specific ones, are not other findings
    assert other_severity([rbbb, "right bundle branch block"], "right bundle branch block") == 0
    assert other_severity([rbbb, "right bundle branch block"], rbbb) == 0
    assert other_severity([*SICK, rbbb], "conduction disturbance") == 3
    assert other_severity([*SICK, rbbb], "any abnormality") == 0


def test_no_record_is_used_more_often_than_allowed() -> None:
    questions, corpus = biased(60)
    twice = Dataset.from_list([*questions, *(row | {"question": "Another?"} for row in questions)], QUESTION_FEATURES)
    kept, report = debias_with_report(twice, max_per_record=1)
    used = Counter(name for ids in kept["ecg_ids"] for name in ids)
    assert max(used.values()) == report.most_used == 1
    answers = Counter((row["question"], row["answers"][0]) for row in kept)
    assert all(answers[question, "yes"] == answers[question, "no"] for question, _ in answers)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"match_on": ["weight"]}, "cannot match on weight; known are severity, age, sex, device, noise"),
        ({"match_on": ["age"], "corpus": None}, "matching on age needs the records: pass corpus="),
        ({"max_per_record": 0}, "max_per_record is 0; expected at least 1"),
    ],
)
def test_what_is_refused(options: dict, message: str) -> None:
    questions, corpus = biased(20)
    with pytest.raises(ValueError, match=message):
        debias_with_report(questions, **({"corpus": corpus} | options))


def test_one_string_is_refused() -> None:
    questions, corpus = biased(20)
    with pytest.raises(TypeError, match="expected a sequence such as"):
        debias_with_report(questions, corpus=corpus, match_on="age")
