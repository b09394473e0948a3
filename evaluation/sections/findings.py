"""Every frequent finding, asked of every record that decides it: AUROC a finding, at the natural frequency.

Asks: "Does this tracing exhibit atrial fibrillation?" and the like, in the first test paraphrase. Says: AUROC and
average precision of P(yes) for each finding with its number of positives, and their mean; over 1/2 as a yes:
sensitivity, specificity, and what a yes and a no are worth among records as they come. Decided here: a finding stands
in the mean where `Settings.least` patients show it and as many do not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ... import intervals
from ..figures import Cell, Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent, score
from ..finding_questions import finding_row
from ..material import Material
from ..predictions import planned
from ..tallies import MODEL, RULES, best_baseline, judged, left_out, missing_sentence, says_yes, share_of, wants_yes

NAME, TITLE = "findings", "Findings, asked of every record"
MOST_PER_QUESTION = 10
"""Times `Settings.questions` is the most that is asked here; beyond it records are drawn."""


def plan(material: Material) -> pd.DataFrame:
    names = material.labels.frequent(material.all_patients, material.settings.least)
    records = list(material.about)
    most = max(material.settings.questions * MOST_PER_QUESTION // max(len(names), 1), 1)
    if len(records) > most:
        records = sorted(material.rng(NAME).choice(records, most, replace=False).tolist())
    known = [(record_id, name, material.labels.of(record_id, name)) for record_id in records for name in names]
    return planned([finding_row(material, *one, section=NAME) for one in known if one[2] is not None])


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    if answered.empty:
        least = material.settings.least
        return SectionFigures(NAME, TITLE, [f"No finding is shown by {least} patients and not by as many."])
    found = {by: _of_one(own, material) for by, own in answered.groupby("by", sort=False)}
    model = found["model"]
    tables = [_table(found)] if model["auroc"] else []
    values: dict[str, Any] = dict(found)
    sentences = _sentences(found, answered, material)
    charts = []
    if model["auroc"]:
        names = sorted(model["auroc"], key=lambda name: -model["auroc"][name].value)
        series = [Series("model", list(names), [model["auroc"][name] for name in names])]
        if RULES in found:
            own = [name for name in names if name in found[RULES]["auroc"]]
            series.append(Series(RULES, list(own), [found[RULES]["auroc"][name] for name in own]))
        charts.append(Chart("AUROC of each finding", "dots", series, "", "AUROC", 0.5))
    return SectionFigures(NAME, TITLE, sentences, [*tables, _at_one_half(model)], charts, values, _headlines(found))


def _of_one(rows: pd.DataFrame, material: Material) -> dict[str, Any]:
    """Figures of one who answered; findings of which it leaves too few records answered are left out."""
    scored = rows[rows["p_yes"].notna()]
    auroc, precision, counts, kept = {}, {}, {}, []
    for name, own in scored.groupby("attribute", sort=True):
        yes, patients = wants_yes(own), [one[0] for one in own["patients"]]
        people = np.asarray(patients)
        if min(len(set(people[yes])), len(set(people[~yes]))) < material.settings.least:
            continue
        kept.append(name)
        counts[name] = {"positives": int(yes.sum()), "negatives": int((~yes).sum())}
        auroc[name] = intervals.auroc(own["p_yes"], yes, patients)
        precision[name] = intervals.average_precision(own["p_yes"], yes, patients)
    answered = judged(rows)
    return {
        "macro_auroc": _macro(scored[scored["attribute"].isin(kept)]) if kept else None,
        "findings": len(kept),
        "auroc": auroc,
        "average_precision": precision,
        "counts": counts,
        "twins": _twins(scored[scored["attribute"].isin(kept)]),
        "at_one_half": {name: _operating_point(own) for name, own in answered.groupby("attribute", sort=True)},
        "pooled": _operating_point(answered),
        "not_scored": len(rows) - len(scored),
        "rows": left_out(rows),
    }


def _macro(scored: pd.DataFrame) -> intervals.Estimate:
    """Mean AUROC over findings, its interval over patients who share them."""
    records = scored["record_ids"].map(lambda one: one[0])
    scores = scored.assign(record=records).pivot(index="record", columns="attribute", values="p_yes")
    targets = scored.assign(record=records, positive=wants_yes(scored).astype(float))
    targets = targets.pivot(index="record", columns="attribute", values="positive").fillna(-1).astype(int)
    patient = dict(zip(records, scored["patients"].map(lambda one: one[0]), strict=True))
    people = [patient[record] for record in scores.index]
    return intervals.macro_auroc(scores.to_numpy(), targets.to_numpy(), people)[0]


def _twins(scored: pd.DataFrame) -> list[list[str]]:
    """Findings that hold of the very same records here, and count twice in the mean."""
    alike: dict[tuple, list[str]] = {}
    for name, own in scored.groupby("attribute", sort=True):
        records = own["record_ids"].map(lambda one: one[0])
        alike.setdefault(tuple(sorted(zip(records, wants_yes(own).tolist(), strict=True))), []).append(name)
    return [names for names in alike.values() if len(names) > 1]


def _twins_sentence(twins: list[list[str]]) -> str:
    said = "; ".join(" and ".join(names) for names in twins)
    return f"Held by the very same records, and counted each: {said}." if said else ""


def _operating_point(rows: pd.DataFrame) -> dict[str, intervals.Estimate | None]:
    """Answers of yes and no as they were given: sensitivity, specificity, and the share of right yeses and noes."""
    says, wanted = says_yes(rows).to_numpy(), wants_yes(rows)
    yes, no = says == 1, says == 0

    def share(which: np.ndarray, right: np.ndarray) -> intervals.Estimate | None:
        return share_of(rows[which], right[which])

    return {
        "sensitivity": share(wanted, yes),
        "specificity": share(~wanted, no),
        "right_of_yes": share(yes, wanted),
        "right_of_no": share(no, ~wanted),
        "yes": share(yes | no, yes),
        "frequency": share(np.ones(len(rows), dtype=bool), wanted),
    }


def _headlines(found: dict[str, dict[str, Any]]) -> list[Headline]:
    model, made = found["model"], []
    if model["macro_auroc"] is not None:
        baseline = best_baseline({by: one["macro_auroc"] for by, one in found.items()})
        if baseline is not None:  # it may score others, or fewer
            baseline = (f"{baseline[0]}, {found[baseline[0]]['findings']} findings", baseline[1])
        made.append(
            Headline(f"mean AUROC over {model['findings']} findings", model["macro_auroc"], baseline, "roc_auc")
        )
    if (right := model["pooled"]["right_of_yes"]) is not None:
        rules = found[RULES]["pooled"]["right_of_yes"] if RULES in found else None
        beside = None if rules is None else (RULES, rules)
        made.append(Headline("a yes is right, findings of records as they come", right, beside, "precision"))
    return made


def _sentences(found: dict[str, dict[str, Any]], answered: pd.DataFrame, material: Material) -> list[str]:
    records = answered["record_ids"].map(lambda one: one[0]).nunique()
    model = found["model"]
    least, macro = material.settings.least, model["macro_auroc"]
    said = []
    if macro is not None:
        baseline = best_baseline({by: one["macro_auroc"] for by, one in found.items()})
        beside = (
            "" if baseline is None else f"; {baseline[0]}: {score(baseline[1])} over {found[baseline[0]]['findings']}"
        )
        said.append(
            f"Mean AUROC over {model['findings']} findings with at least {least} patients of either label, "
            f"{records} records: {score(macro)}{beside}."
        )
    else:
        said.append("The model gives no probabilities of yes, or too few: there is no AUROC.")
    pooled = model["pooled"]
    if pooled["right_of_yes"] is not None:
        frequency = pooled["frequency"].value
        said.append(
            f"Among records as they come, where {percent(frequency)} of these questions are to be answered yes, a yes "
            f"is right {percent(pooled['right_of_yes'])} of the time"
            + (f" and a no {percent(pooled['right_of_no'])}." if pooled["right_of_no"] is not None else ".")
        )
    if macro is not None and model["not_scored"]:
        said.append(f"{model['not_scored']} questions have no probability of yes and no place in an AUROC.")
    return [*said, *missing_sentence(MODEL, answered[answered["by"] == MODEL])]


def _table(found: dict[str, dict[str, Any]]) -> Table:
    others = [by for by in found if by != "model" and found[by]["auroc"]]
    model = found["model"]
    head = ("finding", "AUROC", "average precision", "with", "without", *others)
    means = [found[by]["macro_auroc"] for by in others]
    rows: list[tuple[Cell, ...]] = [(f"mean of {model['findings']}", model["macro_auroc"], None, None, None, *means)]
    for name in model["auroc"]:
        counts = model["counts"][name]
        cells = [found[by]["auroc"].get(name) for by in others]
        rows.append((name, model["auroc"][name], model["average_precision"][name], counts["positives"],
                     counts["negatives"], *cells))  # fmt: skip
    several = [f"{by}: {found[by]['findings']}" for by in others]
    note = f"Others' means are over the findings that they score ({', '.join(several)})." if several else ""
    if any(by.startswith("fitted") for by in others):
        note += " What is called fitted was fitted on these records' own labels, in folds by patient."
    note = " ".join(part for part in (note, _twins_sentence(model["twins"])) if part)
    return Table("AUROC of P(yes), a finding", head, rows, note)


def _at_one_half(model: dict[str, Any]) -> Table:
    head = ("finding", "sensitivity", "specificity", "a yes is right", "a no is right", "frequency of yes")
    keys = ("sensitivity", "specificity", "right_of_yes", "right_of_no", "frequency")
    points = {"all questions": model["pooled"], **model["at_one_half"]}
    rows: list[tuple[Cell, ...]] = [(name, *(one[key] for key in keys)) for name, one in points.items()]
    return Table("Answers of yes and no, records as they come", head, rows)
