"""What the section on two ECGs says of models that know which is which, that do not, and that stumble over prompts."""

import numpy as np
import pandas as pd
import pytest

from ecgllm.corpora.questions.about_measurements import FEATURES
from ecgllm.evaluation.material import Material
from ecgllm.evaluation.models import asked_parts
from ecgllm.evaluation.predictions import PREDICTIONS
from ecgllm.evaluation.protocol import Asked, ShownECG
from ecgllm.evaluation.sections import two_ecgs

from .conftest import says_yes


@pytest.fixture(scope="module")
def planned(material):
    return two_ecgs.plan(material)


def outside_by_words(question: str) -> tuple[bool, bool]:
    """Whether a yes says that the first ECG's value, and the second's, lie outside the normal range."""
    if "newly" in question or "turn from" in question:
        outside = "outside" in question or "to abnormal" in question
        return not outside, outside
    outside = "abnormal" in question or "outside" in question
    return outside, outside


@pytest.fixture
def reads_both(material, shows):
    """Answers by the words of the question and the two ECGs that are shown; nothing that the section works out."""
    measured = {row["id"]: row["measurements"] for row in material.about.values()}

    def outside(record_id, feature, column):
        return feature.range_of(measured[record_id][column], material.about[record_id]["sex"]) != "within"

    def how(row):
        words = row["question"].lower().replace("?", "").replace(",", "").split()
        first, second = row["shown_ids"]
        if row["template"] == "compare-measurement":
            [(column, feature)] = [each for each in FEATURES.items() if each[1].name in row["question"]]
            change = measured[second][column] - measured[first][column]
            change *= 1 if feature.more in row["question"] else -1
            return "yes" if change >= feature.change else "no"
        if row["template"].startswith("compare-range"):
            [(column, feature)] = [each for each in FEATURES.items() if each[1].name in row["question"]]
            both = tuple(outside(record_id, feature, column) for record_id in (first, second))
            return "yes" if both == outside_by_words(row["question"]) else "no"
        one, two = (shows(record_id, row["attribute"]) for record_id in (first, second))
        if "new" in words or "newly" in words:
            there = two and not one
        elif "gone" in words or "vanished" in words:
            there = one and not two
        elif "persisted" in words or "alike" in words:
            there = one and two
        elif "absent" in words or "free" in words:
            there = not one and not two
        else:
            there = one if "first" in words else two
        return "yes" if there else "no"

    return how


def test_a_question_is_asked_in_all_orders_and_prompts(planned, material):
    assert 0.5 * material.settings.questions < len(planned) <= material.settings.questions
    unchanged = {"compare-both", "compare-neither", "compare-range-still-abnormal", "compare-range-still-normal"}
    assert set(planned["template"]) == {*two_ecgs.CHANGES, *two_ecgs.ONE, *unchanged}
    assert set(planned["type"]) == set(two_ecgs.TYPES)
    plain = ShownECG("a"), ShownECG("b")
    own = asked_parts.parts(Asked("Which?", plain))
    for prompt in two_ecgs.PROMPTS.values():
        assert asked_parts.parts(Asked("Which?", plain, prompt=prompt)) != own  # the same words are not asked twice
        assert prompt.count("{ecg}") == 2 and prompt.count("{question}") == 1
    for _, group in planned.groupby("group"):
        true = group[group["condition"] == "true"]
        assert set(true["wording"]) == {two_ecgs.OWN, *two_ecgs.PROMPTS}
        assert true.loc[true["wording"] == two_ecgs.OWN, "prompt"].isna().all()
        [given] = {tuple(ids) for ids in true["shown_ids"]}
        for swapped in group.loc[group["condition"] == "swapped", "shown_ids"]:
            assert tuple(swapped) == given[::-1]
        for first, second in group.loc[group["condition"] == "same", "shown_ids"]:
            assert first == second and first in given
    own = planned[(planned["condition"] == "true") & (planned["wording"] == two_ecgs.OWN)]
    yes = own["expected"].map(lambda expected: expected == ["yes"])
    assert yes.groupby(own["template"]).mean().between(0.4, 0.6).all()


def test_one_ecg_twice_shows_no_change(planned, shows):
    same = planned[planned["condition"] == "same"]
    changes = same["template"].isin(two_ecgs.CHANGES)
    assert changes.any() and (same.loc[changes, "expected"].map(tuple) == ("no",)).all()
    about_findings = same[~changes & ~same["template"].str.startswith("compare-range")]
    for row in about_findings.to_dict("records"):
        there = shows(row["shown_ids"][0], row["attribute"]) is (row["template"] != "compare-neither")
        assert row["expected"] == ["yes" if there else "no"]


def test_a_model_that_reads_both_is_right_in_every_order(planned, material, answer, reads_both):
    found = two_ecgs.figures(answer(planned, reads_both), material).values["model"]
    for parts in found["orders"].values():
        for own in parts.values():
            assert own["right"].value == 1
    assert found["turned_with_order"].value == found["right_in_both_orders"].value == 1
    assert found["turned_with_order"].number > 40
    # What the records state decides every question about findings in either order.
    about_findings = planned["template"] != "compare-measurement"
    orders = planned[about_findings].groupby("group")["condition"].agg(set)
    assert all(asked == {"true", "swapped", "same"} for asked in orders)
    assert found["in_one_order_only"] < 5
    assert found["change_seen_in_the_same_ecg"].value == 0
    assert all(own["right"].value == 1 for own in found["prompts"].values())


def test_one_that_does_not_know_the_order_turns_nothing(planned, material, answer, reads_both):
    """It answers as if the ECG with the smaller name came first."""

    def how(row):
        return reads_both(row | {"shown_ids": sorted(row["shown_ids"])})

    found = two_ecgs.figures(answer(planned, how), material).values["model"]
    assert found["turned_with_order"].value == found["right_in_both_orders"].value == 0
    assert found["change_seen_in_the_same_ecg"].value == 0


def test_one_that_says_yes_sees_changes_everywhere(planned, material, answer):
    found = two_ecgs.figures(answer(planned, says_yes), material).values["model"]
    assert found["change_seen_in_the_same_ecg"].value == 1
    assert found["orders"]["true"]["change"]["right"].value == pytest.approx(0.5, abs=0.1)


def test_prompts_are_held_against_the_models_own(planned, material, answer, reads_both):
    def how(row):
        said = reads_both(row)
        return {"yes": "no", "no": "yes"}[said] if row["wording"] == "plain" else said

    figures = two_ecgs.figures(answer(planned, how), material)
    found = figures.values["model"]["prompts"]
    assert found["plain"]["difference"].value == -1 and found["plain"]["p_value_holm"] < 1e-6
    assert found["numbered"]["difference"].value == 0 and found["numbered"]["p_value_holm"] == 1
    assert "right in 0.0 % to 100.0 %" in figures.sentences[0]


def test_labels_of_others_are_not_turned_round(material):
    """The first question's answer is not what the records state: it is asked in the order given alone."""
    questions = material.questions
    types, templates = questions["type"], questions["template"]
    number = next(i for i in range(len(questions)) if types[i] in two_ecgs.TYPES and templates[i] == "compare-new")
    row = questions[number] | {"answers": ["no" if questions[number]["answers"] == ["yes"] else "yes"]}
    asked = two_ecgs.plan(Material(material.corpus, questions.select([number]).map(lambda _: row), material.settings))
    assert set(asked["condition"]) == {"true"} and len(asked) == 1 + len(two_ecgs.PROMPTS)


def test_figures_are_the_same_from_parquet(planned, material, answer, reads_both, tmp_path):
    table = answer(planned, lambda row: None if row["group"] < "2" else reads_both(row))
    table.to_parquet(tmp_path / "predictions.parquet", schema=PREDICTIONS)
    again = pd.read_parquet(tmp_path / "predictions.parquet")
    assert isinstance(again["patients"][0], np.ndarray)
    figures = two_ecgs.figures(table, material)
    assert two_ecgs.figures(again, material).values == figures.values
    assert "refused" in figures.sentences[1]


def test_without_comparisons_nothing_is_asked(material, answer):
    nothing = Material(material.corpus, material.questions.select([]), material.settings)
    planned = two_ecgs.plan(nothing)
    assert not len(planned)
    figures = two_ecgs.figures(answer(planned, says_yes).reindex(columns=PREDICTIONS.names), nothing)
    assert figures.sentences == ["There is no yes-or-no question about two ECGs."] and not figures.charts
