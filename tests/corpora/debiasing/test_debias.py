"""De-biasing with confounders: yes and no are alike in what they are matched on; nothing is used out of proportion."""

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import QUESTION_FEATURES, audit, debias_with_report, resampled
from ecgllm.corpora.debiasing.confounders import other_severity

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
                "attribute": "complete right bundle branch block", "question": f"Paraphrase {i % 2}?",
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
    assert counts["Paraphrase 0?", "yes"] == counts["Paraphrase 0?", "no"] > 20
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


def test_weights_balance_without_dropping() -> None:
    questions, corpus = biased()
    kept, report = debias_with_report(questions, corpus=corpus, match_on=["severity", "sex"], method="weight")
    matched = debias_with_report(questions, corpus=corpus, match_on=["severity", "sex"])[0]
    assert len(kept) > 0.95 * len(questions) > 1.2 * len(matched)
    weights = np.array(kept["weight"])
    assert weights.mean() == pytest.approx(1.0, abs=0.01) and 0.3 * len(kept) < report.effective < len(kept)
    for paraphrase in ("Paraphrase 0?", "Paraphrase 1?"):
        own = np.array([question == paraphrase for question in kept["question"]])
        yes = np.array([answer == "yes" for (answer,) in kept["answers"]])
        assert weights[own & yes].sum() == pytest.approx(weights[own & ~yes].sum(), rel=1e-3)
    assert abs(report.balance["severity"][1]) < 0.02 < 0.5 < report.balance["severity"][0]
    assert "weights are worth" in str(report)
    found = audit(kept, corpus)
    assert found.weighted and found.overall.baseline.holds(0.5) and abs(found.other_severity_gap.pooled) < 0.02


def test_each_split_is_balanced_by_itself() -> None:
    questions, _ = biased()
    # of the training part most answers are yes, of the test part most are no
    rng = np.random.default_rng(1)
    split = [
        "train" if rng.random() < (0.9 if answer == "yes" else 0.5) else "test" for (answer,) in questions["answers"]
    ]
    parts = questions.remove_columns("split").add_column("split", split).cast(QUESTION_FEATURES)
    whole, report = debias_with_report(parts, by_split=False)
    assert report.uneven_splits["train"] > 0.05 and "use by_split" in str(report)
    kept, report = debias_with_report(parts)
    assert not report.uneven_splits and len(kept) < len(whole)
    counts = Counter((row["split"], row["question"], row["answers"][0]) for row in kept)
    assert all(counts[one, text, "yes"] == counts[one, text, "no"] for one, text, _ in counts)


def test_any_column_and_any_bands_can_be_matched_on() -> None:
    questions, corpus = biased()
    _, report = debias_with_report(questions, corpus=corpus, match_on={"age": [40, 50, 60, 70]})
    assert abs(report.balance["age"][1]) < 0.25 < report.balance["age"][0]
    ward = corpus.add_column("ward", [f"w{int(age > 60)}" for age in corpus["age"]])
    _, report = debias_with_report(questions, corpus=ward, match_on=["ward"])
    assert report.balance["ward"][1] == pytest.approx(0.0, abs=1e-9)
    _, report = debias_with_report(questions, corpus=corpus, match_on={"old": lambda row: row["age"] > 60})
    assert report.balance["old"][1] == pytest.approx(0.0, abs=1e-9)


def test_what_method_weight_cannot_do_is_refused() -> None:
    questions, corpus = biased(60)
    weighted, _ = debias_with_report(questions, corpus=corpus, method="weight")
    with pytest.raises(ValueError, match="max_per_record bounds a selection"):
        debias_with_report(questions, method="weight", max_per_record=2)
    with pytest.raises(ValueError, match="the questions have weights"):
        debias_with_report(weighted, method="weight")
    with pytest.raises(ValueError, match="expected one of match, weight"):
        debias_with_report(questions, method="drop")
    with pytest.raises(ValueError, match="expected ascending numbers"):
        debias_with_report(questions, corpus=corpus, match_on={"age": [60, 40]})


def test_weights_become_repetitions() -> None:
    questions, _ = biased(100)
    weights = [0.0, 2.0, 0.5, 1.5] * 25
    rows = resampled(questions.add_column("weight", np.array(weights, dtype=np.float32)), seed=3)
    counts = Counter(rows["question_id"])
    assert len(rows) == 100 and "weight" not in rows.column_names
    for name, weight in zip(questions["question_id"], weights, strict=True):
        assert counts[name] in (int(weight), int(np.ceil(weight)))
    with pytest.raises(ValueError, match="lack the column weight"):
        resampled(questions)


def test_a_corpus_of_other_records_is_refused_and_missing_ones_are_counted() -> None:
    questions, corpus = biased(60)
    others = corpus.map(lambda row: {"id": f"other-{row['id']}"})
    for ask in (
        lambda of: debias_with_report(questions, corpus=of, match_on=["sex"]),
        lambda of: audit(questions, of),
    ):
        with pytest.raises(ValueError, match="none of the 60 records that the questions are about"):
            ask(others)
        with pytest.raises(ValueError, match="has no column id but .*expected records"):
            ask(questions.remove_columns("ecg_ids"))
    part = corpus.select(range(45))
    assert "15 records asked about are not in the corpus" in str(debias_with_report(questions, corpus=part)[1])
    assert "15 records asked about are not in the corpus" in str(audit(questions, part))
    assert "patients are not known without their corpus" in str(audit(questions))


def crossed() -> tuple[Dataset, Dataset]:
    """Paraphrases and wards are balanced each; together they tell every answer, but for a tenth."""
    rng, rows, records = np.random.default_rng(0), [], []
    for i in range(800):
        paraphrase, ward = i % 2, i // 2 % 2
        answer = (paraphrase ^ ward) if rng.random() < 0.9 else int(rng.random() < 0.5)
        records.append({"id": f"r{i}", "patient_id": f"p{i}", "findings": ["normal ecg"], "ward": ward})
        rows.append(
            {
                "question_id": f"q{i}", "template": "verify-finding", "type": "verify", "split": "train",
                "attribute": "x", "question": f"Paraphrase {paraphrase}?", "ecg_ids": [f"r{i}"], "severity": [],
                "answers": [("no", "yes")[answer]],
            }
        )  # fmt: skip
    return Dataset.from_list(rows, features=QUESTION_FEATURES), Dataset.from_list(records)


def test_paraphrase_and_stratum_together_are_told_and_can_be_balanced() -> None:
    questions, corpus = crossed()
    kept, report = debias_with_report(questions, corpus=corpus, match_on=["ward"])
    assert report.crossed.value > 0.9 and len(kept) > 700
    assert "right by paraphrase and ward together, without the ECG: 9" in str(report)
    for method in ("match", "weight"):
        kept, report = debias_with_report(questions, corpus=corpus, match_on=["ward"], crossed=True, method=method)
        assert report.crossed.value == pytest.approx(0.5, abs=0.02) or report.crossed.value is None
        assert report.crossed.low < 0.51


def test_the_report_looks_at_attributes_one_by_one() -> None:
    questions, corpus = biased()
    _, report = debias_with_report(questions, corpus=corpus, match_on=["severity"])
    before, after = report.by_attribute["severity"]
    assert before.mean > 0.5 and after.mean < 1e-9 and before.attribute == "complete right bundle branch block"
    assert "    by attribute " in str(report)


def test_severity_with_edges_is_that_of_other_findings() -> None:
    questions, corpus = biased()
    whole = corpus.add_column("severity", [len(names) for names in corpus["findings"]])
    plain = debias_with_report(questions, corpus=corpus, match_on={"severity": [2]})[0]
    assert debias_with_report(questions, corpus=whole, match_on={"severity": [2]})[0][:] == plain[:]
