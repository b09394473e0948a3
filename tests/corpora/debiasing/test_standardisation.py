"""Standardisation: every question is asked of alike records, by the adjustment formula; what cannot be is named."""

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import QUESTION_FEATURES, debias_with_report, resampled
from ecgllm.corpora.debiasing.standardisation import standardising_weights

# The sick are asked in suspecting words; of them more answer yes, whatever the words.
ASKED = {
    ("suspecting", "sick"): 300,
    ("suspecting", "healthy"): 100,
    ("neutral", "sick"): 100,
    ("neutral", "healthy"): 500,
}
YES = {"sick": 0.8, "healthy": 0.2}


def questions(asked=ASKED) -> tuple[Dataset, Dataset]:
    rows, records = [], []
    for (paraphrase, who), count in asked.items():
        for i in range(count):
            name = f"{paraphrase}-{who}-{i}"
            records.append({"id": name, "patient_id": name, "ward": who, "age": 50.0, "findings": ["normal ecg"]})
            rows.append(
                {
                    "question_id": name, "template": "verify-finding", "attribute": "x", "type": "verify",
                    "question": f"A {paraphrase} question?", "ecg_ids": [name], "severity": [0], "split": "train",
                    "answers": ["yes" if i < YES[who] * count else "no"],
                }
            )  # fmt: skip
    return Dataset.from_list(rows, features=QUESTION_FEATURES), Dataset.from_list(records)


def share_of_yes(rows: Dataset, paraphrase: str) -> float:
    weights = np.array(rows["weight"]) if "weight" in rows.column_names else np.ones(len(rows))
    own = np.array([paraphrase in question for question in rows["question"]])
    yes = np.array([answer == ["yes"] for answer in rows["answers"]])
    return float(weights[own & yes].sum() / weights[own].sum())


def test_it_is_the_adjustment_formula() -> None:
    asked, corpus = questions()
    assert share_of_yes(asked, "suspecting") - share_of_yes(asked, "neutral") > 0.3  # confounded
    kept, report = debias_with_report(asked, corpus=corpus, match_on=["ward"], method="standardise")
    sick = (300 + 100) / 1000
    for paraphrase in ("suspecting", "neutral"):  # sum of P(yes | paraphrase, s) P(s)
        assert share_of_yes(kept, paraphrase) == pytest.approx(sick * 0.8 + (1 - sick) * 0.2, abs=1e-6)
        assert share_of_yes(resampled(kept), paraphrase) == pytest.approx(0.44, abs=0.02)
    assert len(kept) == 1000 and np.mean(kept["weight"]) == pytest.approx(1.0)
    assert report.distance[0] > 0.2 and report.distance[1] < 1e-9 and "total variation" in str(report)


def test_balancing_by_outcome_is_another_thing() -> None:
    asked, corpus = questions()
    kept, report = debias_with_report(asked, corpus=corpus, match_on=["ward"])
    assert share_of_yes(kept, "suspecting") == share_of_yes(kept, "neutral") == 0.5
    assert report.distance is None


def test_what_was_never_asked_is_left_out_and_named() -> None:
    asked, corpus = questions(ASKED | {("rare", "sick"): 20})
    kept, report = debias_with_report(asked, corpus=corpus, match_on=["ward"], method="standardise")
    assert not any("rare" in question for question in kept["question"]) and len(kept) == 1000
    assert "'A rare question?' left out, never asked where ward = healthy" in str(report)
    asked, corpus = questions({cell: count for cell, count in ASKED.items() if cell != ("suspecting", "healthy")})
    kept, report = debias_with_report(asked, corpus=corpus, match_on=["ward"], method="standardise")
    assert "no positivity of split train" in str(report) and report.kept < report.questions == 900


def test_no_cell_is_filled() -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        counts = {(q, s): int(n) for q in range(6) for s in range(4) if (n := rng.poisson(1.5))}
        found = standardising_weights(counts)
        assert set(found.weights) <= set(counts)
        asked, strata = ({cell[part] for cell in found.weights} for part in (0, 1))
        assert set(found.weights) == {(q, s) for q in asked for s in strata}
        assert set(found.questions) | asked == {cell[0] for cell in counts}
        mass = {q: [found.weights[q, s] * counts[q, s] for s in sorted(strata)] for q in asked}
        shares = [np.array(one) / sum(one) for one in mass.values()]
        assert all(np.allclose(one, shares[0]) for one in shares)
        assert all(sum(mass[q]) == pytest.approx(sum(counts[q, s] for s in strata)) for q in asked)


def test_refusals() -> None:
    asked, corpus = questions()
    with pytest.raises(ValueError, match="method='standardise' adjusts for confounders: name them"):
        debias_with_report(asked, corpus=corpus, method="standardise")
    with pytest.raises(ValueError, match="max_per_record bounds a selection"):
        debias_with_report(asked, corpus=corpus, match_on=["ward"], method="standardise", max_per_record=2)
