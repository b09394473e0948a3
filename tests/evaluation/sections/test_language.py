"""What the section on language says of models that see, are blind, say yes to everything, or know few words."""

import pandas as pd
import pytest

from ecgllm.evaluation import rewording
from ecgllm.evaluation.sections import language
from ecgllm.findings.labels import VOCABULARY

from .conftest import blind, says_yes


@pytest.fixture(scope="module")
def planned(material):
    return language.plan(material)


def test_every_question_is_asked_in_all_wordings_with_as_many_yes_as_no(planned, material):
    true = planned[planned["condition"] == "true"]
    plain = true[true["wording"] == "test"]
    answers = plain.groupby("finding")["expected"].agg(lambda own: sorted(one[0] for one in own))
    assert all(own.count("yes") == own.count("no") for own in answers)
    assert plain["group"].is_unique and len(plain) > 60
    assert 0.6 * material.settings.questions < len(planned) < 1.5 * material.settings.questions
    always = set(language.WORDINGS) - {"abbreviation", "synonym", "misspelling"}
    for _, group in true.groupby("group"):
        assert always <= set(group["wording"])
        [expected] = {one[0] for one in group.loc[group["wording"] != "negation", "expected"]}
        [negated] = {one[0] for one in group.loc[group["wording"] == "negation", "expected"]}
        assert {expected, negated} == {"yes", "no"}
        assert group["question"].is_unique
    worded = true.groupby(["attribute", "wording"])["question"].agg(set)
    for finding in set(plain["finding"]) & {"atrial fibrillation"}:
        assert worded[finding, "abbreviation"] <= {"Is there AF?", "AF?"}
    assert set(plain["finding"]).isdisjoint({"normal ecg"})


def test_the_other_ecg_has_the_other_answer_and_another_patient(planned, material, shows):
    other = planned[planned["condition"] == language.OTHER_ECG]
    assert len(other) == planned["group"].nunique()
    for row in other.to_dict("records"):
        [own], [shown] = row["record_ids"], row["shown_ids"]
        assert {shows(own, row["finding"]), shows(shown, row["finding"])} == {True, False}
        assert (
            row["patients"] == sorted({material.patient(own), material.patient(shown)}) and len(row["patients"]) == 2
        )


def test_a_model_that_sees_is_consistent_and_follows(planned, material, answer, sees):
    found = language.figures(answer(planned, sees), material).values["model"]
    for wording in set(planned["wording"]):
        assert found["wordings"][wording]["right"].value == 1
    assert found["wordings"]["negation"]["otherwise"].value == 0
    assert found["consistent_in_all_wordings"].value == found["follows_the_ecg"].value == 1
    assert found["quadrants"]["ideal"].value == 1


def test_a_blind_one_is_consistent_and_does_not_follow(planned, material, answer):
    figures = language.figures(answer(planned, blind), material)
    found = figures.values["model"]
    assert found["wordings"]["test"]["right"].value == found["wordings"]["negation"]["right"].value == 0.5
    assert found["consistent"].value == 1 and found["follows_the_ecg"].value == 0
    assert found["quadrants"]["dangerous"].value == 1
    assert found["follows_the_ecg"].high < 0.15
    assert found["quadrants"]["model"] == "dangerous" and "which is dangerous" in figures.sentences[1]


def test_one_that_says_yes_does_not_turn_with_a_negation(planned, material, answer):
    found = language.figures(answer(planned, says_yes), material).values["model"]
    negated = found["wordings"]["negation"]
    assert negated["otherwise"].value == 1 and negated["otherwise_by_chance"] == 1
    assert found["consistent"].value == 1 and found["consistent_in_all_wordings"].value == 0


def test_suggestion_sways(planned, material, answer, sees):
    def swayed(row):
        return row["wording"][9:-1] if row["wording"].startswith("leading") else sees(row)

    found = language.figures(answer(planned, swayed), material).values["model"]
    assert found["swayed"].value == 1
    assert found["wordings"]["leading (yes)"]["right"].value == 0.5
    assert found["wordings"]["leading (yes)"]["difference"].value == -0.5


def test_flips_are_counted_against_the_first_wording(planned, material, answer, sees):
    """Every fourth question, misspelled, is answered the other way."""
    groups = sorted(planned["group"].unique())
    turned = set(groups[::4])

    def how(row):
        said = sees(row)
        return (
            {"yes": "no", "no": "yes"}[said]
            if row["wording"] == "misspelling (swapped)" and row["group"] in turned
            else said
        )

    found = language.figures(answer(planned, how), material).values["model"]
    flipped = found["wordings"]["misspelling (swapped)"]
    assert flipped["otherwise"].value == pytest.approx(len(turned) / len(groups))
    assert flipped["right"].value == pytest.approx(1 - len(turned) / len(groups))
    assert found["consistent"].value == 1  # of paraphrases alone
    assert found["consistent_in_all_wordings"].value == pytest.approx(1 - len(turned) / len(groups))


def test_what_is_refused_is_counted_and_said_and_others_stand_beside(planned, material, answer, sees):
    some = set(planned["group"].unique()[::3])

    def how(row):
        return None if row["group"] in some else sees(row)

    both = pd.concat([answer(planned, blind, by="commonest answer"), answer(planned, how)])
    figures = language.figures(both, material)
    assert list(figures.values) == ["model", "commonest answer"]
    of_test = figures.values["model"]["wordings"]["test"]
    assert of_test["refused"] == len(some) and of_test["right"].number == of_test["asked"] - len(some)
    assert any(
        f"refused {planned['group'].isin(some)[planned['condition'] == 'true'].sum()}" in each
        for each in figures.sentences
    )
    nothing = language.figures(answer(planned, lambda row: None), material)
    assert nothing.values["model"]["consistent"] is None
    assert nothing.sentences[0] == "The model gives no two readable answers to compare."


def test_a_question_half_answered_is_not_consistent(planned, answer, sees):
    table = answer(planned, lambda row: None if row["wording"] == "train" else sees(row))
    assert not language.consistent(table).any()
    assert language.consistent(table, ["test"]).all()


@pytest.mark.parametrize("way", ["swapped", "dropped"])
def test_a_misspelling_is_one_slip(way):
    for name in VOCABULARY:
        slip = rewording.misspelled(name, way)
        assert slip != name and sorted(slip) == sorted(name) if way == "swapped" else len(slip) == len(name) - 1


def test_abbreviations_are_of_whole_words_and_of_one_meaning():
    assert rewording.abbreviation("supraventricular tachycardia") == "SVT"
    assert rewording.abbreviation("anteroseptal myocardial infarction") == "anteroseptal MI"
    assert rewording.abbreviation("sinus tachycardia") is None
    short = [rewording.abbreviation(name) for name in VOCABULARY]
    short = [name for name in short if name]
    assert len(short) == len(set(short)) > 40
    assert rewording.negated("normal axis", 0) == "Is a normal axis absent from this ECG?"
    assert rewording.abbreviated("premature ventricular complexes") == "Are there PVCs?"
