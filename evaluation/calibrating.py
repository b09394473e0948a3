"""What a checkpoint's yes about each finding is worth, fitted on records with labels: `ecgllm calibrate`.

In: a model that gives P(yes), and the material of an evaluation. Out: an `AnswerCalibration`, which lies beside the
checkpoint as numbers, and what it is worth on other patients' records. Decided here: every frequent finding is asked
of every record that decides it, in `WORDINGS` training paraphrases, since a person's words are none of those that were
fitted; all ways to ask about one record count as one; the figures are of five folds by patient.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..answer_calibration_ecgllm import SAID, AnswerCalibration, FindingCalibration, said
from ..calibration import Calibration, calibration
from ..errors_ecgllm import ECGError
from ..findings import VOCABULARY
from ..findings.asked_names import asked_names
from ..intervals import Estimate, share
from ..platt import cross_fitted, fit
from .asking import ask
from .baselines.folds import held_out
from .figures_in_words import percent, score
from .finding_questions import finding_row
from .labels_of_records import question_about
from .material import Material
from .predictions import planned
from .protocol import Model
from .tallies import patients_of, wants_yes

WORDINGS = 3
# Patients of either label below which a finding's two numbers are uncertain: ten a number (Peduzzi et al. 1996).
FEW = 20


def calibration_rows(material: Material) -> pd.DataFrame:
    """What is asked. Raises: ECGError where no finding is frequent enough."""
    names = material.labels.frequent(material.all_patients, material.settings.least)
    rows = [
        finding_row(
            material,
            record_id,
            name,
            label,
            section="calibration",
            wording=str(way),
            question=question_about(name, way, "train"),
        )
        for record_id in material.about
        for name in names
        if (label := material.labels.of(record_id, name)) is not None
        for way in range(WORDINGS)
    ]
    if not rows:
        fewer = range(material.settings.least - 1, 0, -1)
        works = (least for least in fewer if material.labels.frequent(material.all_patients, least))
        least = next(works, None)
        way = "" if least is None else f", or --least {least}, of which little can be learned"
        raise ECGError(
            f"no finding is shown by {material.settings.least} patients of these records and not by as many; "
            f"give more records{way}."
        )
    return planned(rows)


def calibrated(
    model: Model | Callable[[], Model],
    material: Material,
    folder: Path,
    identity: str,
    fitted_on: str,
    weights: str | None = None,
) -> tuple[AnswerCalibration, dict[str, Any]]:
    """Ask a model, and fit.

    Args: folder: where answers are kept while they are gathered. identity: what tells this model from others.
        fitted_on: which records these are, in words. weights: see `AnswerCalibration`.
    Returns: the calibration, and figures: "raw" and "calibrated" (`Calibration`), "said" (see `worth`).
    Raises: ECGError as `calibration_rows`, and for a model that gives no P(yes).
    """
    answered = ask(model, calibration_rows(material), material.ecgs, folder, identity)
    known = answered[answered["p_yes"].notna() & answered["refused"].isna()]
    if known.empty:
        raise ECGError("the model gives no probability of yes to any question; there is nothing to calibrate.")
    p_yes, true = known["p_yes"].to_numpy(float), wants_yes(known)
    names, patients = known["attribute"].to_numpy(str), patients_of(known)
    counted = 1 / known.groupby("group")["group"].transform("size").to_numpy(float)
    fitted = fit(p_yes, true, names, counted)
    apart = cross_fitted(p_yes, true, names, held_out(patients), counted)
    rows = np.flatnonzero(~np.isnan(apart))
    whose = [patients[row] for row in rows]
    figures = {
        "raw": calibration(p_yes[rows], true[rows], whose, counted[rows]),
        "calibrated": calibration(apart[rows], true[rows], whose, counted[rows]),
        "said": worth(apart[rows], true[rows], whose, counted[rows]),
    }
    numbers = {
        name: FindingCalibration(
            round(one.slope, 4),
            round(one.intercept, 4),
            round(one.frequency, 5),
            asked_names(name),
            *(
                len(
                    {
                        whose
                        for whose, yes, own in zip(patients, true, names, strict=True)
                        if own == name and yes == wanted
                    }
                )
                for wanted in (True, False)
            ),
        )
        for name, one in fitted.items()
    }
    others = tuple(each for name in VOCABULARY if name not in numbers for each in asked_names(name))
    return AnswerCalibration(numbers, fitted_on, others, _stored(figures), weights), figures


def worth(
    probabilities: np.ndarray, happened: np.ndarray, patients: list[tuple[str, ...]], weights: np.ndarray
) -> dict[str, dict[str, Any]]:
    """ "sure yes", "likely no" and so on -> "right": how many of these answers are, "covers": how many of all that
    answer so rightly could be (None of "cannot tell", which is of all)."""
    each = [said(float(one)) for one in probabilities]
    found: dict[str, dict[str, Any]] = {}

    def of(values: np.ndarray, among: np.ndarray) -> Estimate | None:
        rows = np.flatnonzero(among)
        return share(values[rows], [patients[row] for row in rows], weights=weights[rows]) if len(rows) else None

    for how in SAID[:2]:
        for answer, wanted in (("yes", True), ("no", False)):
            says = np.array([one == (how, answer) for one in each])
            found[f"{how} {answer}"] = {"right": of(happened == wanted, says), "covers": of(says, happened == wanted)}
    nobody = np.array([one[0] == SAID[2] for one in each])
    found[SAID[2]] = {"right": None, "covers": of(nobody, np.ones(len(each), bool))}
    return found


def sentences(figures: dict[str, Any]) -> list[str]:
    """What was found, for a person."""
    raw, own = figures["raw"], figures["calibrated"]
    lines = [
        f"calibration error {score(raw.expected_calibration_error)} -> {score(own.expected_calibration_error)}, Brier "
        f"score {score(raw.brier)} -> {score(own.brier)}, on records of other patients than it was fitted on"
    ]
    for name, one in figures["said"].items():
        if one["right"] is not None:
            answer = name.rpartition(" ")[2]
            covers = f"{percent(one['covers'])} of all that are to be answered {answer}"
            lines.append(f"{name}: right {percent(one['right'])}; these are {covers}")
        elif name == SAID[2]:
            lines.append(f"{name}: {percent(one['covers'])} of all")
    return lines


def few_patients(own: AnswerCalibration, figures: dict[str, Any]) -> str | None:
    """A sentence where findings, or what "sure" is worth, rest on few patients (`FEW`); None where nothing does.

    Args: own, figures: as `calibrated` gives them.
    """
    least = {name: min(one.positives, one.negatives) for name, one in own.findings.items()}
    few = sorted((name for name, count in least.items() if count < FEW), key=least.__getitem__)
    said = {name: one["right"] for name, one in figures["said"].items() if name.startswith(f"{SAID[0]} ")}
    sure = {name: 0 if right is None else right.patients for name, right in said.items()}
    parts = []
    if few:
        fewest = ", ".join(f"{name} {least[name]}" for name in few[:3])
        parts.append(
            f"{len(few)} of {len(least)} findings have fewer than {FEW} patients who show them, or who do not (the "
            f"fewest: {fewest}), and lean on what is true of all findings together"
        )
    if any(count < FEW for count in sure.values()):
        parts.append("; ".join(f"what '{name}' is worth rests on {count} patients" for name, count in sure.items()))
    return f"few patients: {'; '.join(parts)}; give more records" if parts else None


def _stored(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures as plain numbers."""

    def plain(value: Any) -> Any:
        if isinstance(value, Estimate):
            return {key: round(getattr(value, key), 4) for key in ("value", "low", "high")} | {
                "patients": value.patients
            }
        if isinstance(value, Calibration):
            return {"calibration_error": round(value.expected_calibration_error, 4), "brier": plain(value.brier)}
        return {key: plain(own) for key, own in value.items()} if isinstance(value, dict) else value

    return plain(figures)
