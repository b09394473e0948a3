"""Once calibrated: what a yes or no about a finding is worth where it is as frequent as among these records.

Asks nothing: it reads the model's answers of `findings`. Says: calibration error and Brier score of P(yes) as it is
and as `ecgllm calibrate` would make it, and how right answers are that are then called sure or likely, and how many.
Decided here: two numbers a finding (`platt`), fitted to these records without those of the patient that they are
applied to (five folds), and once more without those of the whole source; then the probabilities of one record's
findings are made coherent, as `ask_findings` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from ...calibration import Calibration, calibration
from ...platt import cross_fitted
from ..baselines.folds import held_out
from ..calibrating import worth
from ..contradictions import without_contradictions
from ..figures import Cell, Headline, SectionFigures, Table
from ..figures_in_words import percent, score
from ..material import Material
from ..tallies import MODEL, patients_of, wants_yes

NAME, TITLE = "calibrated", "Once calibrated: what an answer is worth"
READ_SECTIONS = ("findings",)
RAW, BY_PATIENT, BY_SOURCE = "as it is", "fitted to other patients' records", "fitted to other sources' records"
COHERENT = "fitted to other patients' records, then coherent"


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    rows = answered[(answered["by"] == MODEL) & answered["p_yes"].notna() & answered["refused"].isna()]
    if rows.empty:
        return SectionFigures(NAME, TITLE)
    p_yes, true, names = rows["p_yes"].to_numpy(float), wants_yes(rows), rows["attribute"].to_numpy(str)
    patients = patients_of(rows)
    sources = np.array([material.about[ids[0]]["source"] for ids in rows["record_ids"]])
    made = {RAW: p_yes, BY_PATIENT: cross_fitted(p_yes, true, names, held_out(patients))}
    if len(set(sources)) > 1:
        made[BY_SOURCE] = cross_fitted(p_yes, true, names, _without_source(sources))
    made[COHERENT] = _coherent(rows, made[BY_PATIENT])
    each = {how: _figures_of(probabilities, true, patients) for how, probabilities in made.items()}
    each = {how: own for how, own in each.items() if own is not None}
    if BY_PATIENT not in each:
        return SectionFigures(NAME, TITLE, ["Too few patients show a finding to fit what a yes is worth."])
    return SectionFigures(
        NAME, TITLE, _sentences(each), [_table(each), _said_table(each)], [], each, _headlines(each[BY_PATIENT])
    )


def _coherent(rows: pd.DataFrame, probabilities: np.ndarray) -> np.ndarray:
    """Those of each record without contradictions; where there is none, none."""
    found, attributes = probabilities.copy(), rows["attribute"].to_numpy(str)
    for own in rows.reset_index(drop=True).groupby(rows["record_ids"].map(tuple).to_numpy()).indices.values():
        there = own[~np.isnan(probabilities[own])]
        names = attributes[there]
        if len(set(names)) == len(names):  # asked once each, not in several sentences
            found[there] = list(without_contradictions(dict(zip(names, probabilities[there], strict=True))).values())
    return found


def _without_source(sources: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for source in np.unique(sources):
        yield np.flatnonzero(sources == source), np.flatnonzero(sources != source)


def _figures_of(probabilities: np.ndarray, true: np.ndarray, patients: list[tuple[str, ...]]) -> dict[str, Any] | None:
    """Of the questions that have a probability; None where there is none."""
    rows = np.flatnonzero(~np.isnan(probabilities))
    if not len(rows):
        return None
    whose, weights = [patients[row] for row in rows], np.ones(len(rows))
    found = calibration(probabilities[rows], true[rows], whose)
    return {
        "calibration": found,
        "said": worth(probabilities[rows], true[rows], whose, weights),
        "questions": len(rows),
    }


def _sentences(each: dict[str, dict[str, Any]]) -> list[str]:
    raw, own = (each[how]["calibration"] for how in (RAW, BY_PATIENT))
    said = each[BY_PATIENT]["said"]
    parts = [
        f"a {name} is right {percent(said[name]['right'])} of the time, and so are answered "
        f"{percent(said[name]['covers'])} of what is to be answered {name.split()[1]}"
        for name in ("sure yes", "sure no")
        if said[name]["right"] is not None
    ]
    first = (
        f"Fitted to other patients' records, two numbers a finding bring the calibration error from "
        f"{score(raw.expected_calibration_error)} to {score(own.expected_calibration_error)} and the Brier score from "
        f"{score(raw.brier)} to {score(own.brier)}"
    )
    return [f"{'; '.join([first, *parts])}."]


def _table(each: dict[str, dict[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for how, own in each.items():
        found: Calibration = own["calibration"]
        rows.append((how, found.stated, found.happened, found.expected_calibration_error, found.by_chance, found.brier,
                     own["questions"]))  # fmt: skip
    head = (
        "P(yes)",
        "mean of it",
        "yes is true of",
        "calibration error",
        "calibration error by chance",
        "Brier score",
        "questions",
    )
    note = "At the findings' own frequencies among these records."
    if BY_SOURCE in each:
        note += " What no other source states has no place in the last line."
    return Table("P(yes) as it is, and calibrated", head, rows, note)


def _said_table(each: dict[str, dict[str, Any]]) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, how, one["right"], one["covers"])
        for name in each[BY_PATIENT]["said"]
        for how, own in each.items()
        if (one := own["said"][name])["covers"] is not None
    ]
    note = (
        "Sure: from .9, or up to .05; likely: from .6, or up to .2. Covers: of all that are to be answered so, and of "
        "all where nobody can tell."
    )
    return Table("Answers by how sure they are then", ("answer", "P(yes)", "right", "covers"), rows, note)


def _headlines(own: dict[str, Any]) -> list[Headline]:
    said = own["said"]
    return [
        Headline(f"a {name} is right, calibrated by other patients", said[name]["right"])
        for name in ("sure yes", "sure no")
        if said[name]["right"] is not None
    ]
