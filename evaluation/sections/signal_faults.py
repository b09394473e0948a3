"""Signals: how much of a fault of recording does the model bear, and where does its tool begin to refuse?

A balanced sample of questions about findings, each with the true ECG and with the same ECG under every fault of
`faults.FAULTS`, several to an ECG, since it is the ECG that takes time. Decided here: three figures for every level:
accuracy of what the model says, refused or not; the share that its tool refuses; and both, as somebody meets them who
uses the tool: right and not refused, of all. A fault that hides a finding may make another answer right (a premature
beat that is cut off); what the whole ECG shows stays the right answer all the same, and the true ECG's accuracy is the
measure.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ...intervals import Estimate
from ..faults import FAULTS, NOISES
from ..figures import Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import percent
from ..finding_questions import balanced_sample, finding_row
from ..material import Material
from ..predictions import planned
from ..tallies import (
    MODEL,
    by_whom,
    is_right,
    left_out,
    missing_sentence,
    named,
    refused_share,
    right_difference,
    right_share,
    sentence,
    share_of,
    yes_auroc,
)

NAME, TITLE = "signal_faults", "Signals: faults of recording"
TRUE = "true"
PER_ECG = 8
"""Questions to each ECG. With our checkpoints an ECG takes as long as fifteen more questions to it; and with one
question to each of 58 ECGs intervals at a level were 12 points wide to either side, with eight they are 7."""


def plan(material: Material) -> pd.DataFrame:
    """Questions about findings, as many yes as no, each with the true ECG and with every fault: about as many ECGs as
    `Settings.questions`, and `PER_ECG` times as many questions."""
    ids = list(material.about)
    number = min(len(ids), max(2, material.settings.questions // (len(FAULTS) + 1)))
    drawn = set(material.rng(NAME, "records").choice(ids, number, replace=False).tolist())
    rows = []
    for record_id, finding, answer in balanced_sample(material, PER_ECG * number, among=drawn):
        row = finding_row(material, record_id, finding, answer, section=NAME)
        rows.append(row)
        rows += [row | {"condition": fault.family, "change": name} for name, fault in FAULTS.items()]
    return planned(rows)


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    values: dict[str, Any] = {}
    tables, sentences, others = [], [], []
    for by, rows in by_whom(answered).items():
        found = values[by] = _figures_of(rows)
        tables.append(_table(by, found))
        sentences += _sentences(by, rows, found)
        others.append((by, found))
    charts = [chart for by, found in others[:1] for chart in _charts(by, found)]
    return SectionFigures(NAME, TITLE, sentences, tables, charts, values, _headlines(values.get(MODEL)))


def _worst(found: dict[str, Any]) -> str | None:
    """The fault that costs most right answers, of those under which the model still answers half of the questions;
    None where none costs any."""
    costs = {
        name: own["difference"].value
        for name, own in found.items()
        if own["difference"] is not None and 2 * own["silent"] <= own["asked"] and own["difference"].value < 0
    }
    return min(costs, key=costs.get, default=None)


def _headlines(found: dict[str, Any] | None) -> list[Headline]:
    worst = None if found is None else _worst(found)
    if worst is None:
        return []
    return [
        Headline(
            f"right answers under the worst fault, {worst}",
            found[worst]["right"],
            ("as recorded", found[TRUE]["right"]),
        )
    ]


def _figures_of(rows: pd.DataFrame) -> dict[str, Any]:
    """ "true" or name of the fault -> figures."""
    true = rows[rows["condition"] == TRUE]
    found = {TRUE: _figures_at(true) | {"difference": None}}
    for name in FAULTS:
        own = rows[rows["change"] == name]
        if len(own):
            found[name] = _figures_at(own) | {"difference": right_difference(own, true)}
    return found


def _figures_at(rows: pd.DataFrame) -> dict[str, Any]:
    return left_out(rows) | {
        "refused_share": refused_share(rows),
        "right": right_share(rows),
        "right_of_all": share_of(rows, is_right(rows) * rows["refused"].isna()),
        "auroc": yes_auroc(rows),
    }


def begins_to_refuse(found: dict[str, Any], family: str) -> dict[str, str | None]:
    """ "any", "half" -> the mildest level of a family at which more are refused than of the true ECGs, and at least
    half of those that are not refused there; None where there is none. found: figures of one model."""
    usual = found[TRUE]["refused"] / max(found[TRUE]["asked"], 1)
    first: dict[str, str | None] = {"any": None, "half": None}
    for name, fault in FAULTS.items():
        if fault.family == family and name in found:
            share = found[name]["refused"] / max(found[name]["asked"], 1)
            first["any"] = first["any"] or (fault.level if share > usual else None)
            half = share > usual and share - usual >= 0.5 * (1 - usual)
            first["half"] = first["half"] or (fault.level if half else None)
    return first


def _table(by: str, found: dict[str, Any]) -> Table:
    lines = []
    for name, own in found.items():
        fault = FAULTS.get(name)
        family, level = (fault.family, fault.level) if fault else ("no fault", "as recorded")
        lines.append(
            (family, level, own["asked"], own["refused_share"], own["right"], own["difference"], own["right_of_all"],
             own["auroc"])
        )  # fmt: skip
    columns = ("fault", "level", "asked", "refused", "right", "less no fault", "right, not refused", "AUROC")
    note = (
        "Right: of what the model says, also where its tool refuses. Less no fault: less that of the same "
        "questions with the ECG as recorded. Right, not refused: of all that were asked, what the tool lets through "
        "and is right. AUROC of P(yes), all findings together. Noise in mV, root mean square over all leads."
    )
    return Table(f"Faults of recording, answers of {named(by)}", columns, lines, note)


def _charts(by: str, found: dict[str, Any]) -> list[Chart]:
    charts = []
    for key, title, chance in (
        ("right", "Right answers under noise", 0.5),
        ("refused_share", "Refused under noise", None),
    ):
        series = [_noise_series(found, family, key) for family in NOISES]
        series = [each for each in series if each.x]
        if series:
            charts.append(Chart(f"{title}, {named(by)}", "lines", series, "noise, mV (root mean square)",
                                key.removesuffix("_share"), chance))  # fmt: skip
    others = {
        f"{FAULTS[name].family}: {FAULTS[name].level}": own["right"]
        for name, own in found.items()
        if name != TRUE and FAULTS[name].family not in NOISES and own["right"] is not None
    }
    if others:
        series = [Series(by, list(others), list(others.values()))]
        title = f"Right answers under other faults, {named(by)}"
        charts.append(Chart(title, "dots", series, y_label="right", chance=0.5))
    return charts


def _noise_series(found: dict[str, Any], family: str, key: str) -> Series:
    """From the true ECG, at 0 mV, up."""
    points: list[tuple[float, Estimate]] = []
    for name, own in found.items():
        severity = 0.0 if name == TRUE else FAULTS[name].severity if FAULTS[name].family == family else None
        if severity is not None and own[key] is not None:
            points.append((severity, own[key]))
    return Series(family, [x for x, _ in points], [y for _, y in points])


def _sentences(by: str, rows: pd.DataFrame, found: dict[str, Any]) -> list[str]:
    sentences, worst, right = [], _worst(found), found[TRUE]["right"]
    if right is not None:
        costs = "no fault under which it answers half of the questions costs it right answers"
        if worst is not None:
            costs = f"'{worst}' costs most, {percent(found[worst]['difference'])}"
        sentences.append(f"{named(by)} is right in {percent(right)} with the ECG as recorded; {costs}.")
    starts = []
    for family in dict.fromkeys(fault.family for fault in FAULTS.values() if fault.severity is not None):
        first = begins_to_refuse(found, family)
        if first["any"] is not None:
            half = "never half of them" if first["half"] is None else f"half of them and more from {first['half']} on"
            starts.append(f"{family} from {first['any']} on ({half})")
    begins = f"begins to refuse under {'; '.join(starts)}" if starts else "refuses under no fault by its level"
    if found[TRUE]["refused"] < found[TRUE]["asked"]:
        sentences.append(f"{named(by)} {begins}.")
    return [*map(sentence, sentences), *missing_sentence(by, rows)]
