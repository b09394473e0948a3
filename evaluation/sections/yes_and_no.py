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
from ..figures import Cell, Chart, SectionFigures, Series, Table
from ..material import Material
from ..predictions import yes_no_rows
from ..tallies import MODEL, judged, left_out, missing_sentence, patients_of, says_yes, wants_yes

NAME, TITLE = "yes_and_no", "Yes and no: what an answer is worth"
READ_SECTIONS = ("questions",)
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
    tables, charts = [_table(found)], []
    scored = model[model["p_yes"].notna()]
    if len(scored):
        values["calibration"] = _calibrated(scored, material)
        values["selective"] = _selective(model)
        tables += [_calibration_table(values["calibration"]), _selective_table(values["selective"])]
        charts = [_reliability(values["calibration"])]
    sentences = [*_sentences(found), *missing_sentence(MODEL, model)]
    return SectionFigures(NAME, TITLE, sentences, tables, charts, values)


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


def _table(found: dict[str, dict[str, YesNo]]) -> Table:
    head = ("who", "frequency of yes", "yes is true of", "right", "balanced", "sensitivity", "specificity",
            "a yes is right", "a no is right", "says yes", "AUROC within a question")  # fmt: skip
    keys = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "says_yes", "auroc")
    rows: list[tuple[Cell, ...]] = [
        (by, frequency, f"{one.expected:.0%}", *(getattr(one, key) for key in keys))
        for by, both in found.items()
        for frequency, one in both.items()
    ]
    return Table("Yes and no at both frequencies", head, rows,
                 "Baselines are over the questions that they answer.")  # fmt: skip


def _calibration_table(found: dict[str, Calibration]) -> Table:
    head = ("frequency of yes", "mean P(yes)", "yes is true of", "calibration error", "of it by chance", "Brier score")
    rows: list[tuple[Cell, ...]] = [
        (name, one.stated, one.happened, one.expected_calibration_error, one.by_chance, one.brier)
        for name, one in found.items()
    ]
    return Table("Calibration of P(yes)", head, rows)


def _selective_table(found: Selective) -> Table:
    rows: list[tuple[Cell, ...]] = [(f"{one.coverage:.0%}", one.threshold, one.right) for one in found.points]
    answered = found.answered
    note = (
        f"Neither refused nor without a probability: {answered.value:.1%} "
        f"[{answered.low:.1%}, {answered.high:.1%}] of all questions. Area under the curve of wrong answers over "
        f"coverage {found.area:.3f}; least possible with these answers {found.least_area:.3f}."
    )
    return Table("The surest answers", ("of all questions", "at least so sure", "right"), rows, note)


def _reliability(found: dict[str, Calibration]) -> Chart:
    series = [Series(name, [one.stated for one in each.bins], [one.happened for one in each.bins])
              for name, each in found.items()]  # fmt: skip
    return Chart("P(yes) against how often yes is true", "reliability", series, "P(yes)", "yes is true")


def _sentences(found: dict[str, dict[str, YesNo]]) -> list[str]:
    said = []
    own = found.get(MODEL, {})
    for frequency, one in own.items():
        said.append(
            f"{frequency[0].upper()}{frequency[1:]}, yes is true of {one.expected:.0%} of the questions; the model "
            f"says it of {one.says_yes.value:.0%}, and its yes is right {one.ppv.value:.0%} of the time "
            f"[{one.ppv.low:.0%}, {one.ppv.high:.0%}]."
        )
    if NATURAL in own and own[NATURAL].left_out:
        said.append(
            f"The natural frequency of {own[NATURAL].left_out} questions is not known; they are left out there."
        )
    return said
