"""The question set itself, with the true ECGs: accuracy by type, template and attribute.

Asks: the questions of the material, those of yes or no as a choice of these two. Says: exact match (the answer as a
set is the right set, as ECG-QA defines it) by type and its mean over types; for yes and no balanced accuracy,
sensitivity, specificity, what a yes is worth at the sampled balance and at the natural frequency of the corpus.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from ... import intervals
from ..figures import Cell, Headline, SectionFigures, Table
from ..figures_in_words import percent
from ..material import Material
from ..predictions import YES_NO, planned
from ..tallies import (
    AGAINST,
    FITTED,
    MODEL,
    best_baseline,
    by_whom,
    is_right,
    left_out,
    missing_sentence,
    patients_of,
    said,
    share_of,
)

NAME, TITLE = "questions", "Questions with the true ECG"
SHOWN, MOST, _FEW = 20, 15, 5
"""How often an attribute is asked about to stand in a table; most lines of confusions, and if each happens once."""


_TYPES = (
    "Verify: answered by yes or no; choose: by one of two, both or none; query: in words; comparison: about two ECGs, "
    "irrelevant: of different patients."
)


def plan(material: Material) -> pd.DataFrame:
    rows = material.questions.to_list()
    most = material.settings.questions
    if len(rows) > most:
        chosen = sorted(material.rng(NAME).choice(len(rows), most, replace=False))
        rows = [rows[number] for number in chosen]
    return planned(
        [
            {
                "section": NAME,
                "group": row["question_id"],
                "question_id": row["question_id"],
                "template": row["template"],
                "attribute": row["attribute"],
                "type": row["type"],
                "question": row["question"],
                "record_ids": row["ecg_ids"],
                "patients": material.patients(row["ecg_ids"]),
                "expected": row["answers"],
                "candidates": list(YES_NO) if row["answers"] in (["yes"], ["no"]) else None,
                "finding": material.finding_of(row),
            }
            for row in rows
        ]
    )


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    model = answered[answered["by"] == "model"]
    compared = _compared(answered)
    tables = [_beside(compared)] if compared else []
    tables.append(_by(answered, "type", "Exact match by type of question", _TYPES))
    values: dict[str, Any] = {"by_type": _shares(model, "type"), "beside": compared}
    means = [one.value for one in values["by_type"].values()]
    values["exact_match"] = share_right(model)
    values["macro_over_types"] = float(np.mean(means)) if means else None
    for column in ("template", "attribute"):
        values[f"by_{column}"] = _shares(model, column)
    tables.append(_by(answered, "template", "Exact match by template"))
    often = model.groupby("attribute")["attribute"].transform("size") >= SHOWN
    known = set(model["attribute"][often])
    if known:
        note = f"Those asked about {SHOWN} times or more; all are in metrics.json."
        tables.append(_by(answered[answered["attribute"].isin(known)], "attribute", "Exact match by attribute", note))
    if len(mistaken := _mistaken(model)):
        tables.append(_mistaken_table(mistaken))
        values["mistaken"] = [{"label": label, "answer": answer, "times": times} for label, answer, times in mistaken]
    counts = left_out(model)
    values |= {"questions": counts["asked"], "unreadable": counts["unread"], "refused": counts["refused"]}
    values["silent"] = counts["silent"]
    headline = _headline(answered, values["exact_match"])
    beside = "" if headline.beside is None else f" ({headline.beside[0]}: {percent(headline.beside[1])})"
    sentences = [
        f"{headline.name[0].upper()}{headline.name[1:]}: {percent(headline.value)}{beside}; the mean over the "
        f"{len(means)} types of all {len(model):,} questions is {percent(values['macro_over_types'])}."
    ]
    sentences += missing_sentence(MODEL, model)
    if counts["silent"]:
        sentences.append("In the tables of exact match a question without an answer counts as wrong.")
    return SectionFigures(NAME, TITLE, sentences, tables, [], values, [headline])


def _headline(answered: pd.DataFrame, exact_match: intervals.Estimate) -> Headline:
    """Exact match beside that of the best baseline that answers the same; over what the model answers where that is
    not all, and then no figure for the Hub, which does not say of what it is."""
    model = answered[answered["by"] == MODEL]
    own = _answered(model)
    asked = answered[answered["question_id"].isin(own["question_id"])]
    shares = {by: share_right(rows) for by, rows in by_whom(asked).items() if len(_answered(rows)) == len(own)}
    if len(own) == len(model):
        return Headline("exact match of all questions", exact_match, best_baseline(shares), "exact_match")
    value = shares.get(MODEL, exact_match)
    name = f"exact match of the {len(own):,} of {len(model):,} questions that it answers"
    return Headline(name, value, best_baseline(shares))


def share_right(rows: pd.DataFrame) -> intervals.Estimate | None:
    """Exact match: what has no answer that can be read is wrong, as ECG-QA knows no refusals. None of no rows."""
    return share_of(rows, is_right(rows))


def _shares(rows: pd.DataFrame, column: str) -> dict[str, intervals.Estimate]:
    return {str(name): share_right(own) for name, own in rows.groupby(column, sort=True)}


def _compared(answered: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Baseline -> both shares of right answers over the questions that it answers, and their difference (paired)."""
    model, found = answered[answered["by"] == MODEL], {}
    for by, rows in by_whom(answered).items():
        its = _answered(rows).set_index("question_id")
        own = model[model["question_id"].isin(its.index)]
        if by in (MODEL, AGAINST) or own.empty:
            continue
        its = its.loc[own["question_id"]]
        less = intervals.share_difference(is_right(own), is_right(its), patients_of(own))
        found[by] = {"model": share_right(own), "its": share_right(its), "difference": less}
    adjusted = intervals.holm([one["difference"].p_value for one in found.values()])
    return {by: one | {"p_adjusted": float(p)} for (by, one), p in zip(found.items(), adjusted, strict=True)}


def _beside(compared: dict[str, dict[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (by, one["model"].number, one["model"], one["its"], one["difference"], one["p_adjusted"])
        for by, one in compared.items()
    ]
    columns = ("held against", "questions", "right: this model", "right: it", "this model less it", "p (Holm)")
    note = (
        "Over the questions that it answers, of all types; an answer of the model that cannot be read is wrong. What "
        "is called fitted learned from these records' own labels, in folds by patient."
    )
    return Table("This model and each baseline, over the same questions", columns, rows, note)


def _by(answered: pd.DataFrame, column: str, title: str, note: str = "") -> Table:
    """The model's share of right answers beside those of the baselines that are not fitted to records, for what they
    answer, and how many that is."""
    others = [by for by in by_whom(answered) if by not in (MODEL, AGAINST) and not by.startswith(FITTED)]
    parts = {name: _answered(answered[answered["by"] == name]) for name in others}
    few = [name for name in others if len(parts[name]) < (answered["by"] == MODEL).sum()]
    rows: list[tuple[Cell, ...]] = []
    for name, model in answered[answered["by"] == MODEL].groupby(column, sort=True):
        own = {other: rows_of[rows_of[column] == name] for other, rows_of in parts.items()}
        cells = [cell for other in others for cell in (share_right(own[other]), len(own[other]))[: 1 + (other in few)]]
        rows.append((str(name), share_right(model), len(model), *cells))
    heads = [head for other in others for head in (other, f"questions of {other}")[: 1 + (other in few)]]
    return Table(title, (column, "right", "questions", *heads), rows, note)


def _mistaken(model: pd.DataFrame) -> list[tuple[str, str, int]]:
    """(Right answer, what was answered, how often) of wrong answers other than yes and no, the commonest first."""
    wrong = model[model["right"].eq(False) & model["candidates"].isna()]
    pairs = Counter((", ".join(row.expected), ", ".join(row.answers)) for row in wrong.itertuples())
    return [(*pair, times) for pair, times in sorted(pairs.items(), key=lambda item: (-item[1], item[0]))]


def _mistaken_table(mistaken: list[tuple[str, str, int]]) -> Table:
    often = [one for one in mistaken if one[2] > 1][:MOST] or mistaken[:_FEW]
    note = (
        f"The commonest {len(often)} of {len(mistaken)}; all are in metrics.json."
        if len(mistaken) > len(often)
        else ""
    )
    return Table("Wrong answers in words", ("right answer", "what it answers", "times"), often, note)


def _answered(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[said(rows)]
