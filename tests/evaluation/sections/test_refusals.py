"""Refusals are counted in one way by all sections: what was said counts, what was not said does not, both beside."""

from dataclasses import asdict, is_dataclass

import numpy as np
import pandas as pd
import pytest

from ecgllm.evaluation import tallies
from ecgllm.evaluation.figures import SectionFigures
from ecgllm.evaluation.sections import (
    consistency,
    findings,
    groups,
    language,
    questions,
    reliance,
    signal_faults,
    two_ecgs,
    unanswerable,
    yes_and_no,
)

ABOUT_REFUSING = {"refused", "refused_share", "right_of_all", "answered", "selective", "silent"}
READS_QUESTIONS = (yes_and_no, groups)


@pytest.fixture(scope="module")
def verifying(material):
    """The material with questions of yes or no about one ECG, for the sections that need such."""
    from ecgllm.corpora import build_questions
    from ecgllm.evaluation.material import Material

    built = build_questions(material.corpus, types=["verify"], paraphrases="test", per_record=4)
    return Material(material.corpus, built, material.settings)


@pytest.fixture(scope="module")
def figures_of(material, verifying, answer):
    """figures_of(section, change): the figures of answers by the words alone, after `change(table)`."""
    planned = {}

    def figures(section, change=lambda table: table) -> SectionFigures:
        own = material if section in (language, consistency, two_ecgs, signal_faults, unanswerable) else verifying
        asks = questions if section in READS_QUESTIONS else section
        if asks not in planned:
            planned[asks] = answer(asks.plan(own), lambda row: "yes" if sum(map(ord, str(row))) % 3 else "no")
        return section.figures(change(planned[asks].copy()), own)

    return figures


def half(table: pd.DataFrame) -> np.ndarray:
    return (np.arange(len(table)) // 4) % 2 == 0


def refused(table: pd.DataFrame) -> pd.DataFrame:
    """Half of it refused, with what the model says all the same."""
    return table.assign(refused=np.where(half(table), "no heart beats in it", None))


def silent(table: pd.DataFrame) -> pd.DataFrame:
    table = refused(table)
    for column in ("answer", "answers", "right"):
        table[column] = table[column].astype(object).where(~half(table), None)
    return table.assign(p_yes=table["p_yes"].where(~half(table)))


def unread(table: pd.DataFrame) -> pd.DataFrame:
    for column in ("answers", "right"):
        table[column] = table[column].astype(object).where(~half(table), None)
    return table.assign(answer=table["answer"].where(~half(table), "perhaps"), p_yes=np.nan)


def figures_but_refusals(values, path=()) -> dict[tuple, object]:
    """Path -> figure, but for those that are about refusing."""
    values = asdict(values) if is_dataclass(values) else values
    if isinstance(values, dict):
        return {
            key: one
            for name, value in values.items()
            if name not in ABOUT_REFUSING
            for key, one in figures_but_refusals(value, (*path, name)).items()
        }
    if isinstance(values, (list, tuple)):
        return figures_but_refusals(dict(enumerate(values)), path)
    return {path: None if isinstance(values, float) and np.isnan(values) else values}


@pytest.mark.parametrize(
    "section",
    [
        reliance, questions, yes_and_no, groups, findings,
        language, consistency, unanswerable, two_ecgs, signal_faults,
    ],
    ids=lambda section: section.NAME,
)  # fmt: skip
def test_what_is_said_counts_also_where_the_tool_refuses(section, figures_of):
    """Fails if any section leaves out an answer because the question was refused."""
    plain, other = figures_of(section), figures_of(section, refused)
    own = figures_but_refusals(plain.values)
    assert len(own) > 20 and figures_but_refusals(other.values) == own
    assert any("refused" in sentence for sentence in other.sentences) or section is unanswerable


def test_what_is_not_said_is_left_out_but_for_exact_match(figures_of):
    for change, counted in ((silent, 0.5), (unread, 1.0)):
        found = figures_of(questions, change)
        exact = found.values["exact_match"]
        assert exact.number == found.values["questions"]  # wrong, both
        assert exact.value <= 0.55
        own = figures_of(yes_and_no, change).values["yes_no"]["model"][yes_and_no.SAMPLED]
        assert own.accuracy.number == pytest.approx(exact.number * counted, abs=4)
        assert own.says_yes.number == pytest.approx(exact.number / 2, abs=4)
        assert own.accuracy.value == pytest.approx(exact.value / counted, abs=0.03)
        point = figures_of(findings, change).values["model"]["pooled"]
        asked = figures_of(findings).values["model"]["pooled"]["frequency"].number
        assert point["sensitivity"].number + point["specificity"].number == pytest.approx(asked * counted, abs=4)
        assert point["right_of_yes"].number + point["right_of_no"].number == pytest.approx(asked / 2, abs=4)
        by_sex = figures_of(groups, change).values["groups"]["sex"].values()
        assert sum(one.number for one in by_sex) == pytest.approx(exact.number * counted, abs=4)
        level = figures_of(signal_faults, change).values["model"]["true"]
        assert level["right"].number == pytest.approx(level["asked"] * counted, abs=4)


def test_a_model_that_is_silent_at_random_is_judged_by_the_rest(figures_of):
    values = figures_of(reliance, silent).values
    plain = figures_of(reliance).values
    for name, one in values["conditions"].items():
        if name != "random":  # a question has several
            assert one["accuracy"].number + one["silent"] == one["questions"], name
        assert one["refused"] == one["silent"]
    gain = values["verdict"].figures.gains["random"]
    assert 0 < gain.number < plain["verdict"].figures.gains["random"].number
    assert values["conditions"]["random"]["silent"] == values["conditions"]["random"]["questions"] / 2
    assert values["pairs"]["true"].number < plain["pairs"]["true"].number


def test_one_that_never_answers_has_no_verdict(figures_of):
    def nothing(table):
        table = refused(table).assign(refused="broken", p_yes=np.nan)
        return table.assign(**dict.fromkeys(("answer", "answers", "right")))

    found = figures_of(reliance, nothing)
    assert "nothing can be said" in found.sentences[0] and not found.values
    for section in (questions, yes_and_no, findings, groups):
        figures_of(section, nothing)  # no figure, and no error


def test_tallies_by_hand():
    """Right; wrong and refused; silent and refused; unread; without a right answer; a baseline, which has no text."""
    rows = pd.DataFrame(
        {
            "answer": ["yes", "yes", None, "perhaps", "no", None],
            "answers": [["yes"], ["yes"], None, None, ["no"], ["no"]],
            "expected": [["yes"], ["no"], ["yes"], ["yes"], None, ["no"]],
            "right": [True, False, None, None, None, True],
            "refused": [None, "flat", "flat", None, None, None],
            "p_yes": [0.9, 0.8, np.nan, np.nan, 0.2, 0.1],
            "patients": [[name] for name in "abcdef"],
        }
    )
    assert tallies.left_out(rows) == {"asked": 6, "refused": 2, "unread": 1, "silent": 1}
    assert list(tallies.judged(rows).index) == [0, 1, 3, 5] and list(tallies.read(rows).index) == [0, 1, 4, 5]
    assert tallies.right_share(rows).value == 0.5
    assert tallies.refused_share(rows).value == pytest.approx(1 / 3)
    assert tallies.yes_auroc(rows).number == 3
    assert tallies.wants_yes(rows).tolist() == [True, False, True, True, False, False]
    [said] = tallies.missing_sentence("model", rows)
    assert "refused 2" in said and "1 have no answer" in said and "1 answers could not be read" in said
    assert tallies.missing_sentence("model", rows.iloc[:1]) == []
