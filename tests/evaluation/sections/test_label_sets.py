"""The section of published label sets: who takes part, what is asked, and the means of its AUROCs."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from sklearn.metrics import roc_auc_score

from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.sections import label_sets
from ecgllm.signals.simulation import simulate_ecgs

STATEMENTS = (["SCP:NORM:100", "SCP:SR:0"], ["SCP:IMI:35", "SCP:SR:0"], ["SCP:CLBBB:100", "SCP:LVH:50", "SCP:AFIB:0"],
              ["SCP:NORM:80", "SCP:SBRAD:0"])  # fmt: skip


@cache
def corpus() -> Dataset:
    records = simulate_ecgs(24, 5, duration=5)
    own = [replace(one, patient_id=f"p{number}") for number, one in enumerate(records)]
    return records_to_corpus(own, source="simulation")


@cache
def no_questions() -> Dataset:
    return build_questions(corpus().select([]), per_record=1)


def material_of(source: str, statements: tuple[list[str], ...], split: str = "train", **settings: int) -> Material:
    own = corpus()
    for name, values in (
        ("source", [source] * 24),
        ("statements", [statements[number % len(statements)] for number in range(24)]),
        ("split", [split] * 24),
    ):
        feature = own.features[name]
        own = own.remove_columns(name).add_column(name, values, feature=feature)
    return Material(own, no_questions(), Settings(least=5, **settings))


@pytest.fixture(scope="module")
def ptbxl() -> Material:
    return material_of("ptbxl", STATEMENTS)


def answered(material: Material, by: str = "model", noise: float = 0.0) -> pd.DataFrame:
    rows = label_sets.plan(material)
    rng = np.random.default_rng(0)
    truth = rows["expected"].map(lambda one: float(one == ["yes"]))
    p_yes = 1 / (1 + np.exp(-(4 * truth - 2 + noise * rng.normal(size=len(rows)))))
    return rows.assign(by=by, p_yes=p_yes, answers=rows["expected"], refused=None)


def test_a_record_is_asked_about_every_label_of_a_set_that_it_takes_part_in(ptbxl: Material) -> None:
    rows = label_sets.plan(ptbxl)
    of_super = rows[rows["group"].str.startswith("ptbxl-super/")]
    assert set(of_super["attribute"]) == {"NORM", "MI", "CD", "HYP"}  # nobody has STTC: no AUROC
    assert len(of_super) == 24 * 4 and of_super["question_id"].is_unique
    conduction = of_super[of_super["attribute"] == "CD"]
    assert conduction["finding"].unique().tolist() == ["conduction disturbance"]
    assert sum(expected == ["yes"] for expected in conduction["expected"]) == 6
    assert "ptbxl-form" not in set(rows["group"].str.partition("/")[0])  # no record bears a form
    rhythm = rows[rows["group"].str.startswith("ptbxl-rhythm/")]
    assert set(rhythm["attribute"]) == {"SR", "AFIB", "SBRAD"}


def test_means_are_those_of_scikit_learn(ptbxl: Material) -> None:
    rows = answered(ptbxl, noise=3.0)
    found = label_sets.figures(rows, ptbxl)
    model = found.values["ptbxl-super"]["model"]
    own = rows[rows["group"].str.startswith("ptbxl-super/")]
    by_hand = {
        label: roc_auc_score([one == ["yes"] for one in part["expected"]], part["p_yes"])
        for label, part in own.groupby("attribute")
    }
    assert {label: one.value for label, one in model["auroc"].items()} == pytest.approx(by_hand)
    assert model["as_published"].value == pytest.approx(np.mean(list(by_hand.values())))
    assert model["as_published"].low < model["as_published"].value < model["as_published"].high
    text = " ".join(found.sentences)
    assert "4 of 5 labels, 24 records" in text and "Fold 10 is not there as a whole" in text and "STTC" in text


def test_others_stand_beside_and_unscored_questions_are_counted(ptbxl: Material) -> None:
    both = pd.concat([answered(ptbxl), answered(ptbxl, "rules", 3.0)], ignore_index=True)
    both.loc[both["by"].eq("model") & both["attribute"].eq("MI"), "p_yes"] = np.nan
    found = label_sets.figures(both, ptbxl)
    table = next(one for one in found.tables if one.title.startswith("PTB-XL, super: AUROC"))
    assert table.columns[-1] == "rules" and "MI" not in [row[0] for row in table.rows]
    assert "24 questions have no probability" in " ".join(found.sentences)


def test_other_sets_by_their_codes_and_nothing_where_no_source_has_a_set() -> None:
    codes = (["SNOMED:426783006"], ["SNOMED:164889003"], ["SNOMED:164930006", "SNOMED:427084000"])
    chapman = material_of("ningbo", codes)
    rows = label_sets.plan(chapman)
    assert set(rows["group"]) == {"csn/SR", "csn/AFIB", "csn/STE", "csn/ST"}
    cpsc = label_sets.plan(material_of("cpsc2018", codes))
    assert set(cpsc["attribute"]) == {"NORM", "AFIB"} and len(cpsc) == 32  # a third bears no label of the set
    simulated = material_of("simulation", codes)
    rows = label_sets.plan(simulated)
    assert rows.empty
    (sentence,) = label_sets.figures(rows.assign(by=[], p_yes=[], answers=[], refused=[]), simulated).sentences
    assert "No record is of a corpus with a published label set" in sentence


def test_the_whole_test_fold_is_asked_alone_and_of_many_records_some_are_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(label_sets, "_WHOLE_FOLD", 20)
    fold = material_of("ptbxl", STATEMENTS, split="test")
    text = " ".join(label_sets.figures(answered(fold), fold).sentences)
    assert "Fold 10" not in text
    few = material_of("ptbxl", STATEMENTS, questions=4)
    drawn = answered(few)
    assert drawn[drawn["attribute"] == "CD"]["record_ids"].map(lambda one: one[0]).nunique() == 10
    assert "10 of 24 records were drawn" in " ".join(label_sets.figures(drawn, few).sentences)
