"""Zero-shot classification on published label sets, by MERL's protocol: AUROC of each label, and their mean.

Asks: of every record that bears a label of the set, each label as a yes-or-no question about its look-alike
(`label_sets`); a dual encoder answers the same rows by contrastive prompts. Says: AUROC of P(yes) of each label and
the mean over the labels that some records bear and some do not, which is MERL's figure, and over those of
`Settings.least` patients on either side. Decided here: of PTB-XL its test fold is asked where it is there as a whole,
all records otherwise, which the report says; of more records than `Settings.questions` allow some are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from ... import intervals
from ..figures import Cell, Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import score
from ..label_sets import LABEL_SETS, LabelSet
from ..labels_of_records import question_about, template_of
from ..material import Material
from ..predictions import YES_NO, planned
from ..tallies import best_baseline, wants_yes

NAME, TITLE = "label_sets", "Zero-shot on published label sets"
MOST_PER_QUESTION = 10
"""Times `Settings.questions` is the most that is asked of one set; beyond it records are drawn."""
_WHOLE_FOLD = 2000  # records of PTB-XL's fold 10, of 2,198


def plan(material: Material) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for labels in LABEL_SETS:
        borne = borne_by(labels, material)
        asked = asked_labels(labels, borne)
        records = _drawn(list(borne), len(asked), labels, material)
        rows += [
            _row(labels, label, record_id, borne[record_id], material) for record_id in records for label in asked
        ]
    return planned(rows)


def borne_by(labels: LabelSet, material: Material) -> dict[str, frozenset[str]]:
    """Record id -> labels, of the records that take part."""
    found = {}
    for record_id, row in material.about.items():
        if row.get("source") in labels.sources:
            own = labels.of(row)
            if own:
                found[record_id] = frozenset(own)
    in_fold = [record_id for record_id in found if material.about[record_id].get("split") == "test"]
    if labels.folds and len(in_fold) >= _WHOLE_FOLD:
        return {record_id: found[record_id] for record_id in in_fold}
    return found


def asked_labels(labels: LabelSet, borne: Mapping[str, frozenset[str]]) -> list[str]:
    """Labels with a look-alike that some of the records bear and some do not."""
    counts = {label: sum(label in own for own in borne.values()) for label in labels.asked}
    return [label for label, count in counts.items() if 0 < count < len(borne)]


def _drawn(records: list[str], labels: int, of: LabelSet, material: Material) -> list[str]:
    most = max(material.settings.questions * MOST_PER_QUESTION // max(labels, 1), 1)
    if len(records) <= most:
        return records
    return sorted(material.rng(NAME, of.name).choice(records, most, replace=False).tolist())


def _row(labels: LabelSet, label: str, record_id: str, borne: frozenset[str], material: Material) -> dict[str, Any]:
    look_alike = labels.asked[label]
    return {
        "section": NAME,
        "group": f"{labels.name}/{label}",
        "question_id": f"{NAME}/{labels.name}/{label}/{record_id}",
        "template": template_of(look_alike),
        "attribute": label,
        "type": "verify",
        "question": question_about(look_alike),
        "record_ids": [record_id],
        "patients": [material.patient(record_id)],
        "expected": ["yes" if label in borne else "no"],
        "candidates": list(YES_NO),
        "finding": look_alike,
    }


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    present = [
        labels for labels in LABEL_SETS if any(row.get("source") in labels.sources for row in material.about.values())
    ]
    if not present:
        sources = ", ".join(sorted({source for labels in LABEL_SETS for source in labels.sources}))
        return SectionFigures(NAME, TITLE, [f"No record is of a corpus with a published label set ({sources})."])
    sets = answered["group"].str.partition("/")[0] if len(answered) else pd.Series(dtype=str)
    sentences, tables, charts, values = [], [], [], {}
    for labels in present:
        found = {by: _of_one(own, material) for by, own in answered[sets == labels.name].groupby("by", sort=False)}
        if "model" not in found or found["model"]["as_published"] is None:
            sentences.append(f"{labels.title}: no label is borne by some records and not by others, and scored.")
            continue
        sentences += _sentences(labels, found["model"], answered[sets == labels.name], material)
        tables.append(_table(labels, found, material))
        values[labels.name] = found
    if values:
        macro = {each.title: values[each.name]["model"]["as_published"] for each in present if each.name in values}
        charts.append(Chart("Mean AUROC of each label set", "dots",
                            [Series("model", list(macro), list(macro.values()))], "", "AUROC", 0.5))  # fmt: skip
    headlines = [
        Headline(
            f"{labels.title}: mean AUROC over {len(values[labels.name]['model']['auroc'])} labels",
            values[labels.name]["model"]["as_published"],
            best_baseline({by: one["as_published"] for by, one in values[labels.name].items()}),
        )
        for labels in present
        if labels.name in values
    ]
    return SectionFigures(NAME, TITLE, list(dict.fromkeys(sentences)), tables, charts, values, headlines)


def _of_one(rows: pd.DataFrame, material: Material) -> dict[str, Any]:
    """AUROC of each label, and their means; labels of one side alone are left out by name."""
    scored = rows[rows["p_yes"].notna()]
    each, counts, frequent = {}, {}, []
    for label, own in scored.groupby("attribute", sort=False):
        positive = wants_yes(own)
        patients = [one[0] for one in own["patients"]]
        if not positive.any() or positive.all():
            continue
        each[label] = intervals.auroc(own["p_yes"].to_numpy(float), positive, patients)
        counts[label] = {"positives": int(positive.sum()), "negatives": int((~positive).sum())}
        if each[label].patients >= material.settings.least:
            frequent.append(label)
    return {
        "as_published": _macro(scored, list(each), material),
        "macro_auroc": _macro(scored, frequent, material),
        "frequent": len(frequent),
        "auroc": each,
        "counts": counts,
        "left_out": sorted(set(rows["attribute"]) - set(each)),
        "not_scored": len(rows) - len(scored),
    }


def _macro(scored: pd.DataFrame, labels: list[str], material: Material) -> intervals.Estimate | None:
    """Mean AUROC over labels, its interval over patients; MERL's mean is scikit-learn's macro average, the same."""
    if not labels:
        return None
    own = scored[scored["attribute"].isin(labels)]
    own = own.assign(
        record=own["record_ids"].map(lambda one: one[0]),
        target=wants_yes(own).astype(int),
    )
    scores = own.pivot(index="record", columns="attribute", values="p_yes")
    targets = own.pivot(index="record", columns="attribute", values="target").fillna(-1).astype(int)
    patient = dict(zip(own["record"], own["patients"].map(lambda one: one[0]), strict=True))
    people = [patient[record] for record in scores.index]
    return intervals.macro_auroc(np.nan_to_num(scores.to_numpy()), targets.to_numpy(), people)[0]


def _sentences(labels: LabelSet, model: dict[str, Any], rows: pd.DataFrame, material: Material) -> list[str]:
    records = rows["record_ids"].map(lambda one: one[0]).nunique()
    macro, number = model["as_published"], len(model["auroc"])
    of = f"{number} of {len(labels.look_alikes)} labels, {records} records"
    said = [f"{labels.title}: mean AUROC over {of}: {score(macro)}."]
    borne = borne_by(labels, material)
    asked = asked_labels(labels, borne)
    if labels.folds and any(material.about[one].get("split") != "test" for one in borne):
        said.append(
            "Fold 10 is not there as a whole, and records of all folds were asked: no figure to put beside published "
            "ones."
        )
    if records < len(borne):
        said.append(f"{records} of {len(borne)} records were drawn; more questions ask all.")
    if labels.not_asked:
        said.append(f"Without a look-alike, and not asked: {', '.join(labels.not_asked)}.")
    if absent := [label for label in labels.asked if label not in asked]:
        said.append(f"Borne by none of these records, or by all: {', '.join(absent)}.")
    if model["not_scored"]:
        said.append(f"{model['not_scored']} questions have no probability of yes and no place in an AUROC.")
    return said


def _table(labels: LabelSet, found: dict[str, dict[str, Any]], material: Material) -> Table:
    model, others = found["model"], [by for by in found if by != "model"]
    head = ("label", "asked as", "AUROC", "with", "without", *others)
    least = material.settings.least
    rows: list[tuple[Cell, ...]] = [
        (
            f"mean of {len(model['auroc'])}",
            "",
            model["as_published"],
            None,
            None,
            *(found[by]["as_published"] for by in others),
        )
    ]
    if model["macro_auroc"] is not None and model["frequent"] < len(model["auroc"]):
        means = (found[by]["macro_auroc"] for by in others)
        rows.append((f"mean of {model['frequent']} of {least} patients", "", model["macro_auroc"], None, None, *means))
    for label, one in model["auroc"].items():
        counts = model["counts"][label]
        rows.append((label, labels.asked[label], one, counts["positives"], counts["negatives"],
                     *(found[by]["auroc"].get(label) for by in others)))  # fmt: skip
    note = "Zero-shot: labels were never learned; P(yes) about the look-alike ranks the records."
    return Table(f"{labels.title}: AUROC of each label", head, rows, note)
