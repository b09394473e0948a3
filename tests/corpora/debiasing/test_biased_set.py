"""The confounded set is as biased as it says: not at all at strength 0, by its formula above."""

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, cross_val_score

from ecgllm.corpora import QUESTION_FEATURES, confound
from ecgllm.corpora.debiasing.confounders import other_severity
from ecgllm.corpora.questions.paraphrases import PARAPHRASES, SUSPECTING
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.findings.labels import implied

NAMES = (
    "atrial fibrillation",
    "left axis deviation",
    "left ventricular hypertrophy",
    "t wave inversion",
    "st depression",
    "low qrs voltage",
    "prolonged qt interval",
    "premature ventricular complexes",
)
STRENGTHS = (0.0, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    """Findings that have nothing to do with each other, the last ones rarer."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(800):
        findings = [name for k, name in enumerate(NAMES) if rng.random() < 0.45 - 0.04 * k] or ["normal ecg"]
        rows.append(
            {"id": f"r{i}", "patient_id": f"p{i}", "findings": implied(findings), "severity": len(findings)}
            | {"split": "train"}
            | {"recorded_at": None}
            | {"age": float(20 + i % 70) if i % 9 else None, "sex": ("female", "male")[i % 2]}
        )
        if i % 3 == 0:
            rows[-1]["findings"] = sorted({*rows[-1]["findings"], "baseline drift"})
    return Dataset.from_list(rows)


@pytest.fixture(scope="module")
def biased(corpus) -> dict[float, Dataset]:
    return {strength: confound(corpus, strength, per_record=4) for strength in STRENGTHS}


def yes(rows: Dataset) -> np.ndarray:
    return np.array([answer == "yes" for (answer,) in rows["answers"]])


def test_answers_are_true_and_rows_are_questions(corpus, biased) -> None:
    present = dict(zip(corpus["id"], corpus["findings"], strict=True))
    for rows in biased.values():
        assert rows.features == QUESTION_FEATURES and len(rows) == 3200
        assert len(set(rows["question_id"])) == len(rows)
        for row in rows:
            assert (row["attribute"] in present[row["ecg_ids"][0]]) is (row["answers"] == ["yes"])


def test_the_question_tells_more_the_stronger_it_is(biased) -> None:
    right = []
    for strength, rows in biased.items():
        words = CountVectorizer(ngram_range=(1, 2), binary=True).fit_transform(rows["question"][:])
        groups = [name for (name,) in rows["ecg_ids"]]
        scores = cross_val_score(LogisticRegression(C=0.3), words, yes(rows), groups=groups, cv=GroupKFold(5))
        right.append(scores.mean())
        assert right[-1] == pytest.approx((1 + 0.9 * strength**2) / 2, abs=0.04)
    assert np.all(np.diff(right) > 0.03)


def test_severity_tells_more_the_stronger_it_is(corpus, biased) -> None:
    present = dict(zip(corpus["id"], corpus["findings"], strict=True))
    gaps = []
    for rows in biased.values():
        severity = [
            other_severity(present[name], asked)
            for (name,), asked in zip(rows["ecg_ids"], rows["attribute"], strict=True)
        ]
        gaps.append(np.corrcoef(severity, yes(rows))[0, 1])
    assert abs(gaps[0]) < 0.05 and np.all(np.diff(gaps) > 0.1) and gaps[-1] > 0.5


def test_at_full_strength_the_sick_are_asked_other_questions(biased) -> None:
    rows = biased[1.0]
    asked = {answer: Counter() for answer in (True, False)}
    for name, answer in zip(rows["attribute"], yes(rows), strict=True):
        asked[bool(answer)][name] += 1
    both = set(asked[True]) & set(asked[False])
    assert yes(rows).mean() == pytest.approx(0.5, abs=0.05)
    # every finding is asked of one kind of patient; 0.95 of its answers are alike
    assert all(max(asked[answer][name] for answer in (True, False)) > 0.85 * 3200 / 16 for name in both)
    assert np.mean([max(asked[a][n] for a in asked) / sum(asked[a][n] for a in asked) for n in both]) > 0.9


def _levels(corpus: Dataset, rows: Dataset, confounder: str) -> np.ndarray:
    known = {row["id"]: row for row in corpus}
    level = {
        "severity": lambda row, name: other_severity(row["findings"], name),
        "age": lambda row, name: row["age"],
        "sex": lambda row, name: row["sex"] == "male",
        "noise": lambda row, name: "baseline drift" in row["findings"],
    }[confounder]
    return np.array(
        [float(level(known[one], name)) for (one,), name in zip(rows["ecg_ids"], rows["attribute"], strict=True)]
    )


@pytest.mark.parametrize("confounder", ["severity", "age", "sex", "noise"])
def test_a_confounder_goes_one_way_or_the_other_or_tells_nothing(corpus, confounder) -> None:
    asked = {"confounder": confounder, "question_strength": 0, "per_record": 1}
    told = [
        np.corrcoef(_levels(corpus, rows, confounder), yes(rows))[0, 1]
        for rows in (confound(corpus, certainty=certainty, **asked) for certainty in (0.9, 0, -0.9))
    ]
    assert told[0] > 0.5 and abs(told[1]) < 0.06 and told[2] < -0.5


def test_the_answer_alone_depends_on_the_confounder(corpus) -> None:
    """No word and no finding tells it; nor does severity, where it is not the confounder."""
    rows = confound(corpus, per_record=4, confounder="sex", question_strength=0)
    texts = {text.format(**in_a_sentence(name)) for text in SUSPECTING for name in NAMES if "{" in text}
    told = [np.array(rows["attribute"]) == name for name in NAMES] + [np.isin(rows["question"], list(texts))]
    for one in told:
        assert one.sum() > 100
        assert abs(yes(rows)[one].mean() - 0.5) < 3.5 * 0.5 / np.sqrt(one.sum())
    assert abs(np.corrcoef(_levels(corpus, rows, "severity"), yes(rows))[0, 1]) < 0.06
    few = confound(corpus, attributes=["St Depression", *NAMES[:3]], per_record=0.5)
    assert set(few["attribute"]) <= {"st depression", *NAMES[:3]}


def test_same_seed_same_questions_and_test_paraphrases(corpus) -> None:
    first, again, other = (confound(corpus, 0.5, seed, per_record=0.2)[:] for seed in (1, 1, 2))
    assert first == again and first != other
    rows = confound(corpus, 0.5, per_record=0.2, paraphrases="test")
    texts = PARAPHRASES["verify-finding"]["test"]
    for row in rows:
        assert row["question"] in {text.format(**in_a_sentence(row["attribute"])) for text in texts}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"strength": 1.5}, "strength=1.5; expected a number from 0 to 1"),
        ({"certainty": -2}, "certainty=-2; expected a number from -1 to 1"),
        ({"question_strength": -1}, "question_strength=-1; expected a number from 0 to 1"),
        ({"confounder": "ward"}, "confounder='ward'; expected one of severity, age, sex, noise"),
        ({"attributes": ["the weather"]}, "the weather"),
        ({"paraphrases": "dev"}, "expected 'train' or 'test'"),
        ({"per_record": 0}, "per_record=0; expected a positive number"),
    ],
)
def test_refusals(corpus, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        confound(corpus, **arguments)


def test_a_corpus_without_overlap_is_refused(corpus) -> None:
    healthy = corpus.filter(lambda row: row["findings"] == ["normal ecg"])
    with pytest.raises(ValueError, match="expected at least two"):
        confound(healthy)
