"""A biased set is seen as biased, a balanced one as balanced, whatever its size; leaks are found."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import QUESTION_FEATURES, audit, debias
from ecgllm.corpora.debiasing.baseline_scores import information, score
from ecgllm.corpora.debiasing.question_only_baseline import baseline_credits


def rows(answers, attribute="x", paraphrase="Is there x?", split="train", start=0):
    return [
        {
            "question_id": f"{attribute}-{split}-{start + i}", "template": "verify-finding", "attribute": attribute,
            "type": "verify", "question": paraphrase, "ecg_ids": [f"r{start + i}"], "answers": [answer],
            "severity": [int(answer == "yes") * 3 + i % 2], "split": split,
        }
        for i, answer in enumerate(answers)
    ]  # fmt: skip


def questions(*parts) -> Dataset:
    return Dataset.from_list([row for part in parts for row in part], features=QUESTION_FEATURES)


def test_an_attribute_that_tells_its_answer_is_seen() -> None:
    told = questions(
        rows(["yes"] * 90 + ["no"] * 10, "x", "Is there x?"),
        rows(["no"] * 90 + ["yes"] * 10, "y", "Is there y?", start=100),
    )
    found = audit(told)
    assert found.overall.baseline.value == pytest.approx(0.9, abs=0.02)
    assert found.overall.majority == 0.5 and found.overall.chance == 0.5
    assert found.information_bits == pytest.approx(1 - 0.469, abs=0.02)  # H(0.1) = 0.469 bits
    assert found.both_answers == 1.0
    assert found.severity_gap.pooled > 2 and found.severity_gap.mean > 2
    assert found.by["severity"][0].yes == 0.0


def test_a_balanced_set_is_at_chance_whatever_its_size() -> None:
    for n in (1, 2, 5, 40):
        parts = [rows(["yes", "no"] * n, f"f{k}", f"Is there f{k}?", start=1000 * k) for k in range(30)]
        found = audit(questions(*parts))
        assert found.overall.baseline.value == pytest.approx(0.5)
        assert found.overall.baseline.holds(0.5)
        assert found.information_bits == 0.0


def test_answers_that_depend_on_nothing_share_no_information() -> None:
    rights, bits = [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        keys, answers = rng.integers(0, 200, 400), rng.integers(0, 2, 400)
        rights.append(baseline_credits([(int(key),) for key in keys], answers.tolist()).mean())
        if seed < 8:
            bits.append(information(keys.tolist(), answers.tolist()))
    assert np.mean(bits) < 0.04  # the plug-in estimate says 0.4 bits
    assert np.mean(rights) == pytest.approx(0.5, abs=0.01)


def test_questions_about_one_patient_widen_the_interval() -> None:
    credits = np.array([1.0] * 50 + [0.0] * 50)
    alone, together = score(credits, range(100)), score(credits, [i // 25 for i in range(100)])
    assert together.high - together.low > 4 * (alone.high - alone.low) > 0
    assert alone.value == together.value == 0.5


def test_a_test_paraphrase_is_guessed_from_its_attribute() -> None:
    found = audit(
        questions(
            rows(["yes"] * 30, "x", "Is there x?"),
            rows(["no"] * 30, "y", "Is there y?", start=100),
            rows(["yes"] * 10, "x", "Does one see x?", "test", start=200),
            rows(["no"] * 10, "y", "Does one see y?", "test", start=300),
        )
    )
    assert found.across_splits["test"].baseline.value == 1.0
    assert not found.paraphrase_leaks and not found.patient_leaks


def test_leaks_are_named() -> None:
    corpus = Dataset.from_list([{"id": f"r{i}", "patient_id": f"p{i % 5}"} for i in range(20)])
    leaking = questions(rows(["yes", "no"] * 3), rows(["yes", "no"], split="test", start=6))
    found = audit(leaking, corpus)
    assert found.paraphrase_leaks == ["Is there x?"]
    assert found.patient_leaks == ["p1", "p2"]
    assert "2 patients of the train split occur in another split: p1, p2" in str(found)


def test_confounders_alone() -> None:
    corpus = Dataset.from_list([{"id": f"r{i}", "age": 30.0 + 40 * (i < 50), "sex": "male"} for i in range(100)])
    found = audit(questions(rows(["yes"] * 50 + ["no"] * 50)), corpus)
    assert found.confounders_alone.baseline.value == 1.0
    assert [group.name for group in found.by["age"]] == ["under 40", "60 to 79"]
    assert "sex" not in found.by  # tells nothing apart


def test_sets_of_answers_and_json() -> None:
    row = rows(["yes"])[0] | {"type": "query"}
    found = audit(questions([row | {"ecg_ids": [f"r{i}"], "answers": ["a", "b"]} for i in range(10)]))
    assert found.overall.baseline.value == 1.0 and found.both_answers is None
    assert json.loads(found.to_json())["overall"]["baseline"]["n"] == 10


def test_what_cannot_be_audited_is_refused() -> None:
    with pytest.raises(ValueError, match="lack the column question"):
        audit(questions(rows(["yes"])).remove_columns("question"))
    with pytest.raises(ValueError, match="no question to audit"):
        audit(questions(rows(["yes"])).select([]))


@pytest.mark.parametrize("paraphrase", [pytest.param("paraphrased", marks=pytest.mark.slow), "template"])
def test_ecg_qa_is_biased_and_its_debiased_set_is_not(paraphrase: str, shared_data: Path) -> None:
    folder = shared_data / "ecg-qa" / "ptbxl"
    if not folder.is_dir():
        pytest.skip(f"no ECG-QA in {shared_data}")
    shard = json.loads((folder / paraphrase / "train" / "120000.json").read_text())
    built = [
        {
            "question_id": str(row["sample_id"]), "template": str(row["template_id"]),
            "attribute": "; ".join(row["attribute"] or []), "type": "verify", "question": row["question"],
            "ecg_ids": [str(number) for number in row["ecg_id"]], "answers": row["answer"], "severity": [],
            "split": "train",
        }
        for row in shard
        if row["question_type"] == "single-verify"
    ]  # fmt: skip
    told = questions(built)
    before, after = audit(told), audit(debias(told))
    print(f"{paraphrase}: question only {before.overall.baseline}, de-biased {after.overall.baseline}")
    assert before.overall.baseline.low > 0.65
    assert after.overall.baseline.holds(0.5) and after.questions > 5000


def test_groups_by_age_stand_in_its_order() -> None:
    told = questions(rows(["yes", "no"] * 5))
    ages = {f"r{i}": [85.0, 30.0, 45.0, None, 70.0][i % 5] for i in range(10)}
    corpus = Dataset.from_dict({"id": list(ages), "age": list(ages.values())})
    names = [group.name for group in audit(told, corpus).by["age"]]
    assert names == ["under 40", "40 to 59", "60 to 79", "80 and over", "unknown"]


def test_what_the_plot_leaves_out_it_says() -> None:
    from ecgllm.corpora.debiasing.audit_plot import shown_groups

    found = audit(questions(rows(["yes", "no"] * 50), rows(["yes", "no"] * 5, split="test", start=100)))
    blocks, notes = shown_groups(found)
    shown = [name for block in blocks for name, _ in block]
    assert {"all", "all, by words", "train -> test", "template: verify-finding", "severity: 3"} <= set(shown)
    assert not [note for note in notes if "not shown" in note]
    one = found.by["template"][0]
    sizes = [(f"t{n:02d}", replace(one.baseline, n=n)) for n in range(1, 19)]
    found.by["template"] = [replace(one, name=name, baseline=score) for name, score in sizes]
    found.by["template"][5] = replace(one, name="t06", baseline=replace(one.baseline, n=6, value=None))
    blocks, notes = shown_groups(replace(found, weighted=True))
    shown = [name for block in blocks for name, _ in block if name.startswith("template")]
    assert shown == [f"template: t{n:02d}" for n in range(4, 19)]
    assert notes[0] == "3 more groups by template, with 6 questions, are not shown; audit.json has them"
    assert "too small to tell" in notes[1] and notes[2] == "questions count by their weight"


def test_cells_are_counted_and_small_ones_say_so() -> None:
    rng = np.random.default_rng(0)
    leaning = rng.choice([0.2, 0.8], 600)
    parts = [
        rows(rng.choice(["yes", "no"], 2, p=[p, 1 - p]).tolist(), f"f{k}", f"Is there f{k}?", start=10 * k)
        for k, p in enumerate(leaning)
    ]
    found = audit(questions(*parts))
    assert (
        found.overall.baseline.value is None and found.overall.baseline.low < 0.8 < found.overall.baseline.high < 0.87
    )
    assert found.overall.baseline.low > 0.6  # known all the same, and by no means 50 %
    assert found.cells == {2: 600} and found.overall.cell == 2
    said = str(found).splitlines()
    assert said[1].split()[3:5] == ["cannot", "tell"]
    assert any(
        line.startswith("600 cells (alike in type, template, attribute and paraphrase) of 2 to 2") for line in said
    )
    assert json.loads(found.to_json())["overall"]["baseline"]["value"] is None


def test_paraphrase_and_severity_together_are_looked_at() -> None:
    # Neither the paraphrase nor the severity tells the answer: as many yes as no in each. Both together do, wholly.
    parts = []
    for k, (paraphrase, severity, answer) in enumerate(
        [("Is x there?", 0, "yes"), ("Is x there?", 3, "no"), ("Any x?", 0, "no"), ("Any x?", 3, "yes")] * 100
    ):
        parts.append([row | {"severity": [severity]} for row in rows([answer], "x", paraphrase, start=k)])
    found = audit(questions(*parts))
    assert found.overall.baseline.value == pytest.approx(0.5, abs=0.01) and found.severity_gap.pooled == 0.0
    assert found.with_confounders["severity"].baseline.value == pytest.approx(1.0, abs=0.02)
    assert "question and severity" in str(found)


def test_opposite_severity_gaps_do_not_cancel() -> None:
    # Of x the sick answer yes, of y they answer no.
    parts = [
        [row | {"severity": [3 * (answer == sick) + k % 2]} for row in rows([answer], name, name, start=k)]
        for k in range(400)
        for name, sick, answer in [("xy"[k % 2], ("yes", "no")[k % 2], ("yes", "no")[k // 2 % 2])]
    ]
    gap = audit(questions(*parts)).severity_gap
    assert abs(gap.pooled) < 0.3 and gap.mean > 1.5 > 0.2 > gap.chance and gap.attributes == 2
    assert abs(gap.largest) > 1.5 and gap.attribute in "xy"


def test_the_plot_is_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from ecgllm.corpora.debiasing.audit_plot import plot_audit

    plot_audit(audit(questions(rows(["yes", "no"] * 5))), tmp_path / "audit.png")
    assert (tmp_path / "audit.png").stat().st_size > 5000
