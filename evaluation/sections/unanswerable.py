"""Questions without an answer: how often does the model answer all the same, and how sure is it?

Other organs, what no ECG records, treatment, the person, the future, nonsense words and ECGs that were not shown, each
asked about some records; beside them as many yes-or-no questions that have an answer. Decided here: a refusal is what
should happen; answered all the same is what was not refused, by any text that does not say that there is no answer
(`unanswerable_questions.NOT_KNOWING`). A model that compares "yes" with "no" can only refuse, and what tells of it is
how sure it is: whether it is surer where there is an answer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ...corpora.questions.sampling import question_id
from ...intervals import Estimate, auroc
from .. import kept_back_words
from ..figures import Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent, score
from ..finding_questions import balanced_sample, finding_row
from ..material import KEPT_BACK, Material
from ..predictions import YES_NO, planned
from ..tallies import MODEL, by_whom, left_out, named, patients_of, read, refused_share, says_yes, sentence, share_of
from ..unanswerable_questions import UNANSWERABLE, says_it_does_not_know

NAME, TITLE = "unanswerable", "Questions that have no answer here"
ANSWERABLE = "answerable"
SURE = 0.9
"""From this probability of yes, or of no, an answer counts as sure."""
_SHARE = 4  # of the questions of a section, one in so many: answers in words take long


def plan(material: Material) -> pd.DataFrame:
    """Every question of `UNANSWERABLE` about some records, and as many that can be answered by yes or no."""
    kept_back = material.settings.words == KEPT_BACK
    questions = kept_back_words.UNANSWERABLE if kept_back else UNANSWERABLE
    ids = list(material.about)
    number = min(len(ids), max(1, material.settings.questions // (_SHARE * len(questions))))
    rows = []
    for one in questions:
        chosen = material.rng(NAME, one.question).choice(len(ids), number, replace=False)
        rows += [_row(material, ids[place], *one) for place in sorted(chosen)]
    turns: Counter = Counter()
    for record_id, finding, answer in balanced_sample(material, number * sum(one.yes_no for one in questions)):
        more = {}
        if kept_back and finding != "normal ecg":
            more["question"] = kept_back_words.answerable(finding, turns[finding, answer])
            turns[finding, answer] += 1
        rows.append(finding_row(material, record_id, finding, answer, section=NAME, wording=ANSWERABLE, **more))
    return planned(rows)


def _row(material: Material, record_id: str, kind: str, yes_no: bool, question: str) -> dict:
    return {
        "section": NAME,
        "group": question,
        "wording": kind,
        "question_id": question_id(NAME, kind, NAME, question, [record_id]),
        "template": NAME,
        "attribute": kind,
        "type": NAME,
        "question": question,
        "record_ids": [record_id],
        "patients": [material.patient(record_id)],
        "candidates": list(YES_NO) if yes_no else None,
    }


def answers_all_the_same(rows: pd.DataFrame) -> np.ndarray:
    """bool [rows]: whether a question was answered: not refused, with a text, and none that says it cannot be."""
    return rows["refused"].isna().to_numpy() & _says_something(rows)


def _says_something(rows: pd.DataFrame) -> np.ndarray:
    """bool [rows]: whether there is a text, and none that says that the question cannot be answered."""
    return np.array(
        [isinstance(text, str) and bool(text.strip()) and not says_it_does_not_know(text) for text in rows["answer"]],
        dtype=bool,
    )


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    values: dict[str, Any] = {}
    tables, sentences, series = [], [], []
    for by, rows in by_whom(answered).items():
        found = values[by] = _figures_of(rows)
        tables += [_table(by, found)]
        sentences += _sentences(by, found)
        kinds = {kind: own["answered"] for kind, own in found["kinds"].items() if own["answered"] is not None}
        series.append(Series(by, list(kinds), list(kinds.values())))
    if series:
        tables.append(_examples(answered))
    chart = Chart("Answered all the same", "dots", series, y_label="share answered")
    return SectionFigures(NAME, TITLE, sentences, tables, [chart] if series else [], values,
                          _headlines(values.get(MODEL)))  # fmt: skip


def _figures_of(rows: pd.DataFrame) -> dict[str, Any]:
    """All figures of one model."""
    known = rows["wording"] == ANSWERABLE
    without, with_answer = rows[~known], rows[known]
    by_kind = {kind: without[without["wording"] == kind] for kind in dict.fromkeys(without["wording"])}
    return {
        "all": _figures_at(without),
        "kinds": {kind: _figures_at(own) for kind, own in by_kind.items()},
        "answerable": _figures_at(with_answer),
        "surer_where_there_is_an_answer": _surer(with_answer, without[_scored(without)]),
    }


def _figures_at(rows: pd.DataFrame) -> dict[str, Any]:
    closed = read(rows[rows["candidates"].notna()])
    in_words = rows[_says_something(rows) & rows["candidates"].isna().to_numpy()]
    scored = rows[_scored(rows)]
    return left_out(rows) | {
        "no_probability": int(rows["candidates"].notna().sum()) - len(scored),
        "refused_share": refused_share(rows),
        "answered": share_of(rows, answers_all_the_same(rows)),
        "none": share_of(in_words, in_words["answer"].map(_is_none)),
        "yes": share_of(closed, says_yes(closed)),
        "sure": share_of(scored, _sureness(scored) >= SURE),
        "mean_sureness": float(_sureness(scored).mean()) if len(scored) else None,
    }


def _is_none(text: str) -> bool:
    """Whether an answer in words is no more than a "none" or "no"."""
    return text.strip(" .!\n").lower() in ("none", "no")


def _scored(rows: pd.DataFrame) -> np.ndarray:
    return (rows["p_yes"].notna() & rows["candidates"].notna()).to_numpy()


def _sureness(rows: pd.DataFrame) -> np.ndarray:
    p_yes = rows["p_yes"].to_numpy(float)
    return np.maximum(p_yes, 1 - p_yes)


def _surer(with_answer: pd.DataFrame, without: pd.DataFrame) -> Estimate | None:
    """AUROC of how sure an answer is, telling questions that have an answer from those that have none."""
    with_answer = with_answer[_scored(with_answer)]
    if not len(with_answer) or not len(without):
        return None
    both = pd.concat([with_answer, without])
    has_answer = np.arange(len(both)) < len(with_answer)
    return auroc(_sureness(both), has_answer, patients_of(both))


def _table(by: str, found: dict[str, Any]) -> Table:
    lines = [
        (
            name,
            own["asked"],
            own["refused_share"],
            own["answered"],
            own["none"],
            own["yes"],
            own["sure"],
            own["mean_sureness"],
        )
        for name, own in [
            *found["kinds"].items(),
            ("all of these", found["all"]),
            ("questions with an answer", found["answerable"]),
        ]
    ]
    columns = (
        "about",
        "asked",
        "refused",
        "answered",
        "in words: none",
        "of yes or no: yes",
        "sure",
        "mean sureness",
    )
    note = (
        "Answered: not refused, and by no words that say it cannot be answered. The rest is of what the model says, "
        f"refused or not. Sure: P(yes) or P(no) of {percent(SURE)} and more, where it gives a probability. None "
        "and no are answers: that there is nothing, not that nobody can know. The last line is to compare with."
    )
    return Table(f"Questions without an answer, answers of {named(by)}", columns, lines, note)


def _examples(answered: pd.DataFrame) -> Table:
    """The first answer of each kind in words, and the commonest one, of the first who answered."""
    _, rows = next(iter(by_whom(answered).items()))
    rows = rows[rows["candidates"].isna() & rows["answer"].notna()]
    lines = []
    for _, own in rows.groupby("question", sort=False):
        counts = own["answer"].value_counts()
        lines.append(
            (
                own["wording"].iloc[0],
                own["question"].iloc[0],
                " ".join(counts.index[0].split()),
                int(counts.iloc[0]),
                len(own),
            )
        )
    columns = ("about", "question", "commonest answer", "given", "of")
    return Table("Answered in words", columns, lines)


def _headlines(found: dict[str, Any] | None) -> list[Headline]:
    if found is None or found["all"]["answered"] is None:
        return []
    return [Headline("questions that have no answer, answered all the same", found["all"]["answered"])]


def _sentences(by: str, found: dict[str, Any]) -> list[str]:
    every, surer = found["all"], found["surer_where_there_is_an_answer"]
    if every["answered"] is None:
        return [sentence(f"{named(by)} was asked no question without an answer.")]
    first = f"{named(by)} answers {percent(every['answered'])} of {every['asked']:,} questions that have no answer"
    if every["yes"] is not None:
        first += f", and says yes to {percent(every['yes'])} of those of yes or no"
    sentences = [sentence(f"{first}; it refused {every['refused']}.")]
    if surer is not None:
        sentences.append(
            f"How sure it is tells them from questions that have an answer with an AUROC of {score(surer)} (.5 is "
            "not at all)."
        )
    return sentences
