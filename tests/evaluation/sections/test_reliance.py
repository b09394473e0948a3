"""Too few questions are not too few records."""

import re

from ecgllm.corpora import build_questions
from ecgllm.evaluation.material import Material, Settings
from ecgllm.evaluation.sections import reliance


def test_where_more_can_be_asked_the_verdict_says_how(material, answer):
    asked = build_questions(
        material.corpus, types=["verify"], about=["findings"], attributes=["sinus rhythm"], paraphrases="test"
    )
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
