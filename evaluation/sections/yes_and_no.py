"""Yes and no at two frequencies: as the questions are sampled, and as often as yes is true among these records.

Asks nothing: it reads the answers of `questions`. Says: sensitivity, specificity, what a yes is worth, calibration
(reliability, expected calibration error, Brier score), and how right the surest answers are (risk and coverage), with
what was refused counted as not answered. Decided here: the natural frequency of a question is that of its finding or
group among all records whose source decides it; a question of which that is not known is left out there, and counted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ...calibration import Calibration, Selective, YesNo, calibration, natural_weights, selective, yes_no
from ..figures import Cell, Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent, score
from ..material import Material
from ..predictions import yes_no_rows
from ..tallies import (
    MODEL,
    RULES,
    best_baseline,
    judged,
    left_out,
    missing_sentence,
    patients_of,
    says_yes,
    sentence,
    wants_yes,
)

NAME, TITLE = "yes_and_no", "Yes and no: what an answer is worth"
READ_SECTIONS = ("questions",)
LEAST = 10
"""Patients that a point of the reliability diagram rests on."""
SAMPLED, NATURAL = "as sampled", "as frequent as in the corpus"


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    asked = yes_no_rows(answered)
    if asked.empty:
        return SectionFigures(NAME, TITLE, ["No question is to be answered yes or no."])
    found: dict[str, dict[str, YesNo]] = {}
    for by, own in asked.groupby("by", sort=False):
        answered_ones = judged(own)
        if len(answered_ones):
            found[by] = _at_both(answered_ones, material)
    model = asked[asked["by"] == MODEL]
    counts = left_out(model)
    values: dict[str, Any] = {
        "yes_no": found,
        "not_decided": counts["unread"],
        "refused": counts["refused"],
        "silent": counts["silent"],
    }
    tables, charts = [_table(found, SAMPLED)], []
    if any(NATURAL in both for both in found.values()):
        tables.append(_table(found, NATURAL))
    scored = model[model["p_yes"].notna()]
    if len(scored):
        values["calibration"] = _calibrated(scored, material)
        values["selective"] = _selective(model)
        tables += [_calibration_table(values["calibration"]), _selective_table(values["selective"])]
        charts = [_reliability(values["calibration"])]
    sentences = [*_sentences(found, values.get("calibration", {})), *missing_sentence(MODEL, model)]
    return SectionFigures(NAME, TITLE, sentences, tables, charts, values, _headlines(found))


def _weights(rows: pd.DataFrame, material: Material) -> np.ndarray:
    """By which yes is as frequent as in the corpus; NaN for questions about two ECGs, leads and measurements."""
    about_one = rows["record_ids"].map(len).eq(1) & rows["template"].isin(_WHOLE)
    keys = rows["attribute"].where(about_one, "").tolist()
    return natural_weights(wants_yes(rows), keys, material.labels.prevalence())


_WHOLE = ("verify-finding", "verify-normal", "verify-group", "verify-abnormality")


def _at_both(rows: pd.DataFrame, material: Material) -> dict[str, YesNo]:
    scores = rows["p_yes"].to_numpy(dtype=float)
    given = (says_yes(rows).to_numpy(), wants_yes(rows), patients_of(rows))
    shared = {"scores": None if np.isnan(scores).any() else scores, "question_key": rows["attribute"].tolist()}
    found = {SAMPLED: yes_no(*given, **shared)}
    weights = _weights(rows, material)
    if not np.isnan(weights).all():
        found[NATURAL] = yes_no(*given, weights=weights, **shared)
    return found


def _calibrated(scored: pd.DataFrame, material: Material) -> dict[str, Calibration]:
    given = (scored["p_yes"].to_numpy(dtype=float), wants_yes(scored), patients_of(scored))
    found = {SAMPLED: calibration(*given)}
    weights = _weights(scored, material)
    if not np.isnan(weights).all():
        found[NATURAL] = calibration(*given, weights=weights)
    return found


def _selective(model: pd.DataFrame) -> Selective:
    """The likelier answer, by how likely it is; what was refused or has no probability is not answered."""
    p_yes = model["p_yes"].to_numpy(dtype=float)
    answered = ~np.isnan(p_yes) & model["refused"].isna().to_numpy()
    sure = np.where(answered, np.maximum(p_yes, 1 - p_yes), 0.0)
    return selective(sure, (p_yes > 0.5) == wants_yes(model), patients_of(model), answered)


_SHOWN = {
    SAMPLED: ("accuracy", "sensitivity", "specificity", "ppv", "says_yes", "auroc"),
    NATURAL: ("accuracy", "ppv", "npv", "says_yes"),
}
_HEADS = {
    "accuracy": "right",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "ppv": "a yes is right",
    "npv": "a no is right",
    "says_yes": "says yes",
    "auroc": "AUROC within a question",
}


def _table(found: dict[str, dict[str, YesNo]], frequency: str) -> Table:
    """Who answers, how many questions, and what it is worth at one frequency; the rest is in metrics.json."""
    keys = _SHOWN[frequency]
    each = {by: both[frequency] for by, both in found.items() if frequency in both}
    rows: list[tuple[Cell, ...]] = [
        (by, *(getattr(one, key) for key in keys), one.expected, one.accuracy.number) for by, one in each.items()
    ]
    head = ("who", *(_HEADS[key] for key in keys), "yes is true of", "questions")
    note = "Baselines are over the questions that they answer; more figures are in metrics.json."
    return Table(f"Yes and no, {frequency}", head, rows, note)


def _calibration_table(found: dict[str, Calibration]) -> Table:
    head = (
        "frequency of yes",
        "mean P(yes)",
        "yes is true of",
        "calibration error",
        "calibration error by chance",
        "Brier score",
    )
    rows: list[tuple[Cell, ...]] = [
        (name, one.stated, one.happened, one.expected_calibration_error, one.by_chance, one.brier)
        for name, one in found.items()
    ]
    return Table("Calibration of P(yes)", head, rows)


def _selective_table(found: Selective) -> Table:
    rows: list[tuple[Cell, ...]] = [(one.coverage, one.threshold, one.right) for one in found.points]
    answered = found.answered
    note = (
        f"Neither refused nor without a probability: {percent(answered)} of all questions. Area under the curve of "
        f"wrong answers over coverage {score(found.area)}; the least possible with these answers is "
        f"{score(found.least_area)}."
    )
    return Table("The surest answers", ("of all questions", "at least so sure", "right"), rows, note)


def _reliability(found: dict[str, Calibration]) -> Chart:
    series = []
    for name, each in found.items():
        bins = [one for one in each.bins if one.happened.patients >= LEAST]
        series.append(Series(name, [one.stated for one in bins], [one.happened for one in bins]))
    note = f"Tenths of P(yes) with questions about {LEAST} patients and more; all are in metrics.json."
    return Chart("P(yes) against how often yes is true", "reliability", series, "P(yes)", "yes is true", note=note)


def _headlines(found: dict[str, dict[str, YesNo]]) -> list[Headline]:
    """The model's figures; what a yes is worth beside that of the rules, as who hardly says yes is seldom wrong."""

    def headline(name: str, frequency: str, key: str, metric: str = "") -> Headline:
        each = {by: getattr(both[frequency], key) for by, both in found.items() if frequency in both}
        rules = (RULES, each[RULES]) if RULES in each else None
        return Headline(name, each[MODEL], rules if key == "ppv" else best_baseline(each), metric)

    if MODEL not in found:
        return []
    made = [
        headline("right answers of yes or no, as sampled", SAMPLED, "accuracy"),
        headline("a yes is right, as sampled", SAMPLED, "ppv"),
    ]
    if NATURAL in found[MODEL]:
        made.append(headline("a yes is right, yes as frequent as in the corpus", NATURAL, "ppv", "precision"))
    return made


def _sentences(found: dict[str, dict[str, YesNo]], calibrated: dict[str, Calibration]) -> list[str]:
    own = found.get(MODEL, {})
    if own and np.isnan(own[SAMPLED].says_yes.value):
        return ["No answer of the model says yes or no."]
    worth = [
        f"{frequency}, yes is true of {percent(one.expected)} of the questions, and "
        + (
            "the model never says it"
            if one.ppv.value != one.ppv.value
            else f"a yes of the model is right {percent(one.ppv)} of the time"
        )
        for frequency, one in own.items()
    ]
    said = [sentence(f"{'; '.join(worth)}.")] if worth else []
    said += [f"{sentence(frequency)} the model says yes to {percent(one.says_yes)}." for frequency, one in own.items()]
    said += [
        f"{sentence(frequency)} P(yes) is off by {score(one.expected_calibration_error)} on average (calibration "
        f"error; about {score(one.by_chance)} by chance)."
        for frequency, one in calibrated.items()
    ]
    if NATURAL in own and own[NATURAL].left_out:
        said.append(
            f"{own[NATURAL].left_out:,} questions are left out there, as it is not known how frequent a yes is: those "
            "about two ECGs, leads or measurements, and those that were asked of a yes alone or of a no alone."
        )
    return said
