"""Too few questions are not too few records; who was drawn at random decides little."""

import re
from dataclasses import replace

import numpy as np
import pytest

from ecgllm.corpora import build_questions
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.sections import reliance


def asked_of(material):
    return build_questions(
        material.corpus, types=["verify"], about=["findings"], attributes=["sinus rhythm"], paraphrases="test"
    )


def test_where_more_can_be_asked_the_verdict_says_how(material, answer):
    asked = asked_of(material)
    few = Material(material.corpus, asked, Settings(questions=40))
    planned = reliance.plan(few)
    planned = planned[planned["group"].str.startswith("pair")]
    says = {True: "yes", False: "no"}
    found = reliance.figures(answer(planned, lambda row: says[row["group"].endswith("1")]), few).values["verdict"]
    assert found.outcome == "too few records" and "about" not in found.sentences[0]
    number = int(re.search(r"--questions (\d+) puts all", found.sentences[0])[1])
    all_of_them = Material(material.corpus, asked, Settings(questions=number))
    everything = reliance.plan(all_of_them)
    assert everything["group"].nunique() > planned["group"].nunique()
    pairs = everything[everything["group"].str.startswith("pair")]
    more = Material(material.corpus, asked, Settings(questions=10 * number))
    assert len(pairs) == reliance.plan(more)["group"].str.startswith("pair").sum()
    said = reliance.figures(answer(pairs, lambda row: "yes"), all_of_them).values["verdict"].sentences[0]
    assert "--questions" not in said


def test_random_patients_are_several_and_their_mean_counts(material, answer):
    material = Material(material.corpus, asked_of(material))
    planned = reliance.plan(material)
    drawn = planned[planned["condition"] == "random"]
    shown = drawn.assign(shown=drawn["shown_ids"].str[0]).groupby(["group", "question_id"])["shown"]
    assert (shown.nunique() == reliance.DRAWN).all() and (shown.size() == reliance.DRAWN).all()
    for row in drawn.itertuples():
        whose = material.patient(row.record_ids[0])
        assert material.patient(row.shown_ids[0]) != whose and list(row.patients) == [whose]
    # Who goes by the ECG alone, whatever is asked, is right of half of all questions: the more are drawn, the nearer.
    pairs = planned[planned["group"].str.startswith("pair")]
    coin = {record: ("yes", "no")[place % 2] for place, record in enumerate(sorted(material.about))}
    told = answer(pairs, lambda row: coin[row["shown_ids"][0]] if len(row["shown_ids"]) else "no")
    values = reliance.figures(told.assign(p_yes=[float(one == ["yes"]) for one in told["answers"]]), material).values
    one = values["conditions"]["random"]
    each = told[told["condition"] == "random"]
    assert one["accuracy"].value == pytest.approx(each["right"].astype(float).mean())
    assert one["accuracy"].number * reliance.DRAWN == one["questions"] == len(each)
    true = told[told["condition"] == "true"].set_index(["group", "question_id"])["answers"].str[0]
    stated = true.loc[list(zip(each["group"], each["question_id"], strict=True))].to_numpy()
    assert one["p_yes_moves"].value == pytest.approx(np.mean(stated != each["answers"].str[0].to_numpy()))


def test_without_another_patient_nothing_is_drawn(material):
    rng, whose = np.random.default_rng(0), next(iter(material.about))
    everybody = reliance.others_than(material, whose, 10**6, rng)
    assert len(everybody) == len(set(material.all_patients)) - 1


def test_a_model_that_is_told_what_is_measured_is_asked_by_what_it_answers(material, answer):
    material = Material(material.corpus, asked_of(material))
    assert set(reliance.plan(material)["condition"]) == {*reliance.CONDITIONS}
    assert reliance.plan(material)["told"].isna().all()
    planned = reliance.plan(replace(material, told=True))
    pairs = planned[planned["group"].str.startswith("pair")]
    others = pairs[pairs["condition"] == reliance.FIGURES]
    assert len(others) == (pairs["condition"] == reliance.SIGNAL).sum() == (pairs["condition"] == "true").sum()
    assert all(one.told == one.record_ids[0] != one.shown_ids[0] for one in others.itertuples())
    untold = pairs[pairs["condition"] == reliance.SIGNAL]
    assert (untold["told"] == "").all() and (untold["shown_ids"] == untold["record_ids"]).all()
    # Who goes by the figures alone is right with them, and says no where there are none.
    has = dict(zip(material.about, material.labels.column("sinus rhythm"), strict=True))

    def by_figures(row):
        known = row["told"] if isinstance(row["told"], str) else next(iter(row["shown_ids"]), "")
        return "yes" if known and has[known] == 1 and not row["change"] else "no"

    found = reliance.figures(answer(pairs, by_figures), material)
    values = found.values["conditions"]
    assert values[reliance.FIGURES]["accuracy"].value == 1 and values[reliance.SIGNAL]["accuracy"].value == 0.5
    assert any("figures of the true ECG" in one and "100.0 %" in one and "50.0 %" in one for one in found.sentences)
    plain = pairs[~pairs["condition"].isin(reliance.TOLD)]
    assert reliance.figures(answer(plain, by_figures), material).values["verdict"] == found.values["verdict"]
