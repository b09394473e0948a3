"""What the section on questions without an answer says of models that answer, that refuse, and that say so."""

import pytest

from ecgllm.evaluation.sections import unanswerable
from ecgllm.evaluation.unanswerable_questions import UNANSWERABLE, says_it_does_not_know

from .conftest import says_yes


@pytest.fixture(scope="module")
def planned(material):
    return unanswerable.plan(material)


def no_answer(planned):
    return planned["wording"] != unanswerable.ANSWERABLE


def test_questions_are_of_all_kinds_and_have_no_right_answer(planned, material):
    asked = planned[no_answer(planned)]
    assert len(UNANSWERABLE) >= 40 and len({one.question for one in UNANSWERABLE}) == len(UNANSWERABLE)
    assert set(asked["question"]) == {one.question for one in UNANSWERABLE}
    assert set(asked["wording"]) == {
        "another organ", "not recorded", "treatment", "the person", "the future", "nonsense", "another ECG",
    }  # fmt: skip
    assert asked["expected"].isna().all() and asked["finding"].isna().all()
    assert len(planned) < material.settings.questions
    yes_no = asked["candidates"].notna()
    assert 0.4 < yes_no.mean() < 0.7
    others = planned[~no_answer(planned)]
    assert others["expected"].map(tuple).value_counts().nunique() == 1
    assert len(others) == pytest.approx(yes_no.sum(), rel=0.2)


def test_a_yes_sayer_answers_everything(planned, material, answer):
    figures = unanswerable.figures(answer(planned, says_yes), material)
    found = figures.values["model"]
    assert found["all"]["answered"].value == found["all"]["yes"].value == 1
    assert found["surer_where_there_is_an_answer"].value == 0.5
    assert found["all"]["sure"].value == 1  # .9 of everything
    assert "answers 100.0 % [" in figures.sentences[0] and "says yes to 100.0 % [" in figures.sentences[0]


def test_one_that_refuses_them_answers_none(planned, material, answer, sees):
    def how(row):
        return None if row["wording"] != unanswerable.ANSWERABLE else sees(row)

    figures = unanswerable.figures(answer(planned, how), material)
    found = figures.values["model"]
    assert found["all"]["answered"].value == 0 and found["all"]["refused"] == no_answer(planned).sum()
    assert found["all"]["yes"] is None and found["surer_where_there_is_an_answer"] is None
    assert found["answerable"]["answered"].value == 1 and found["answerable"]["yes"].value == 0.5
    assert f"refused {no_answer(planned).sum()}" in figures.sentences[0]


def test_words_of_not_knowing_are_no_answer(planned, material, answer):
    """Of treatment it says that it cannot tell, in words; all else it answers by no."""

    def how(row):
        return ("I cannot tell that from an ECG.", None) if row["wording"] == "treatment" else ("no", 0.4)

    table = answer(planned, how)
    table["answers"] = [None if "cannot" in text else [text] for text in table["answer"]]
    found = unanswerable.figures(table, material).values["model"]
    assert found["kinds"]["treatment"]["answered"].value == 0
    assert found["kinds"]["treatment"]["no_probability"] > 0
    assert found["kinds"]["nonsense"]["answered"].value == 1 and found["kinds"]["nonsense"]["yes"].value == 0
    assert found["all"]["sure"].value == 0 and found["all"]["mean_sureness"] == pytest.approx(0.6)


def test_one_that_is_sure_only_where_there_is_an_answer(planned, material, answer, sees):
    def how(row):
        return sees(row) if row["wording"] == unanswerable.ANSWERABLE else ("no", 0.45)

    found = unanswerable.figures(answer(planned, how), material).values["model"]
    assert found["surer_where_there_is_an_answer"].value == 1
    assert found["answerable"]["sure"].value == 1 and found["all"]["sure"].value == 0


def test_answers_in_words_are_shown(planned, material, answer):
    figures = unanswerable.figures(
        answer(planned, lambda row: "sinus rhythm" if row["candidates"] is None else "no"), material
    )
    examples = figures.tables[-1]
    assert len(examples.rows) == sum(not one.yes_no for one in UNANSWERABLE)
    assert {row[2] for row in examples.rows} == {"sinus rhythm"}
    assert figures.values["model"]["all"]["none"].value == 0
    nothing = unanswerable.figures(
        answer(planned, lambda row: "None." if row["candidates"] is None else "no"), material
    )
    assert nothing.values["model"]["all"]["none"].value == nothing.values["model"]["all"]["answered"].value == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I can't tell.", True),
        ("The ECG does not show a brain tumor.", False),
        ("unknown", True),
        ("There is only one ECG.", True),
        ("Not enough information is given.", True),
        ("There is no third ECG here.", True),
        ("no", False),
        ("none", False),
        ("No evidence of a brain tumor.", False),
        ("sinus rhythm, known from before", False),
        ("200 mg", False),
        ("The patient should stay three days.", False),
    ],
)
def test_which_words_say_that_there_is_no_answer(text, expected):
    assert says_it_does_not_know(text) is expected
