"""Too few questions are not too few records; who was drawn at random decides little."""

import re

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
