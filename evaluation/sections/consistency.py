"""Consistency: do answers about one ECG fit together, and do they fit what is measured?

Findings that exclude each other, findings that others imply, and findings that measurements rule out, asked about the
same records. Decided here: no label is needed for any of it, so that records are drawn as they come, at the natural
frequency of the corpus; beside every rate stands that of answers which know nothing of each other or of the ECG, and
that of the corpus' own labels, which are not free of contradictions either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ...corpora.questions.about_measurements import ADULT_AGE
from ...findings.exclusions import exclusive_pairs
from ...findings.labels import VOCABULARY
from ...intervals import Estimate, share
from ...signals import measure
from ..contradictions import CORE, CRITERIA, implied_pairs
from ..figures import Headline, SectionFigures, Table
from ..figures_in_words import percent
from ..finding_questions import finding_row
from ..material import Material
from ..predictions import planned
from ..protocol import ShownECG
from ..tallies import MODEL, by_whom, left_out, missing_sentence, named, read, says_yes, sentence, wants_yes

NAME, TITLE = "consistency", "Consistency: answers about one ECG, held against each other and against measurements"
LABELS = "labels of the corpus"
_SHOWN = 12  # pairs in a table


def plan(material: Material) -> pd.DataFrame:
    """Every finding that excludes or implies another or can be measured, of records drawn as they come."""
    findings = asked_findings(material)
    ids = list(material.about)
    number = min(len(ids), max(1, material.settings.questions // len(findings)))
    chosen = material.rng(NAME, "records").choice(len(ids), number, replace=False)
    return planned(
        [
            finding_row(material, ids[place], finding, material.labels.of(ids[place], finding), section=NAME)
            | {"group": ids[place]}
            for place in sorted(chosen)
            for finding in findings
        ]
    )


def asked_findings(material: Material) -> list[str]:
    """Those that are asked of every record anyway (`RecordLabels.frequent`) and may contradict another, and those that
    can be held against measurements, which need no label."""
    known = material.labels.frequent(material.all_patients, material.settings.least)
    pairs = [*exclusive_pairs(known, normal=False), *implied_pairs(known)]
    asked = {name for pair in pairs for name in pair} | {each.finding for each in CRITERIA} | {*CORE, "normal ecg"}
    return [name for name in VOCABULARY if name in asked]


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    records = sorted(answered["group"].unique())
    ruled_out = _ruled_out(records, material)
    says = {by: _by_record(read(rows)) for by, rows in by_whom(answered).items()}
    if records:
        first = next(iter(by_whom(answered).values()))
        says[LABELS] = _by_record(first[first["expected"].notna()], wants_yes)
    patients = {record_id: material.patient(record_id) for record_id in records}
    values: dict[str, Any] = {}
    tables, sentences = [], []
    for by, own in says.items():
        found = values[by] = {
            "exclusive": _both(own, patients),
            "implied": _child_alone(own, patients),
            "measured": _measured(own, ruled_out, patients),
        }
        if by != LABELS:
            rows = answered[answered["by"] == by]
            found["rows"] = left_out(rows)
            sentences += [_sentence(by, found), *missing_sentence(by, rows)]
    for by, found in values.items():
        if by != LABELS:
            tables += [_pairs_table(by, found), _measured_table(by, found, values[LABELS])]
    return SectionFigures(NAME, TITLE, sentences, [_overview(values), *tables] if values else [], [], values,
                          _headlines(values.get(MODEL)))  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Counting
# ---------------------------------------------------------------------------------------------------------------------


def _by_record(rows: pd.DataFrame, says: Callable[[pd.DataFrame], pd.Series | np.ndarray] = says_yes) -> pd.DataFrame:
    """float [records, findings]: 1 yes, 0 no, NaN where there is no answer."""
    return rows.assign(says=says(rows).astype(float)).pivot(index="group", columns="finding", values="says")


def _both(says: pd.DataFrame, patients: dict[str, str]) -> dict[str, Any]:
    """Of pairs that exclude each other."""
    pairs = [((one, other), says[one].to_numpy(), says[other].to_numpy()) for one, other in exclusive_pairs(says)]
    return _over_pairs(pairs, [patients[name] for name in says.index], among=False)


def _child_alone(says: pd.DataFrame, patients: dict[str, str]) -> dict[str, Any]:
    """Of a finding and a broader one: of those that are said to have the first, those said not to have the second."""
    pairs = [((one, other), says[one].to_numpy(), 1 - says[other].to_numpy()) for one, other in implied_pairs(says)]
    return _over_pairs(pairs, [patients[name] for name in says.index], among=True)


def _over_pairs(pairs: list, patients: list[str], among: bool) -> dict[str, Any]:
    """Contradictions over records and pairs of findings.

    pairs: (names, and two columns, float [records], that must not both be 1). among: of the records whose first column
    is 1, else of those of which any of the two is.
    Returns: "share" of them with both, that "by_chance" if the two columns knew nothing of each other, the share of
        "records" with any contradiction, and for each pair its numbers.
    """
    both, chance, people, each = [], [], [], {}
    asked, contradicted = np.zeros(len(patients), bool), np.zeros(len(patients), bool)
    for names, first, second in pairs:
        known = ~np.isnan(first) & ~np.isnan(second)
        counted = np.flatnonzero(known & ((first == 1) if among else (first == 1) | (second == 1)))
        together = (first == 1) & (second == 1)
        asked |= known
        contradicted |= together
        if not len(counted):
            continue
        one, two = first[known].mean(), second[known].mean()
        usual = float(two if among else one * two / (one + two - one * two))
        both += together[counted].tolist()
        chance += [usual] * len(counted)
        people += [patients[row] for row in counted]
        number = int(together[counted].sum())
        each[" / ".join(names)] = {"records": len(counted), "contradictions": number, "by_chance": usual}
    rows = np.flatnonzero(asked)
    return {
        "share": share(both, people) if both else None,
        "by_chance": float(np.mean(chance)) if chance else None,
        "records": share(contradicted[rows], [patients[row] for row in rows]) if len(rows) else None,
        "pairs": each,
    }


def _ruled_out(records: list[str], material: Material) -> pd.DataFrame:
    """float [records, findings]: whether what is measured rules the finding out; NaN where it is not measured, and of
    children, whose limits depend on age."""
    found = {}
    for record_id in records:
        age = material.about[record_id].get("age")
        if age is None or np.isnan(age) or age >= ADULT_AGE:
            measured = measure(material.ecgs[ShownECG(record_id)])
            found[record_id] = {each.finding: each.contradicted(measured) for each in CRITERIA}
    names = [each.finding for each in CRITERIA]
    return pd.DataFrame.from_dict(found, orient="index", columns=names).astype(float)


def _measured(says: pd.DataFrame, ruled_out: pd.DataFrame, patients: dict[str, str]) -> dict[str, Any]:
    """finding -> of the records that are said to show it and were measured, those that cannot; "all": of all."""
    found: dict[str, Any] = {}
    wrong, chance, people = [], [], []
    for name in ruled_out.columns.intersection(says.columns):
        known = ruled_out[name].dropna()
        yes = says.index[says[name] == 1].intersection(known.index)
        found[name] = {
            "share": _share_of(known[yes], patients),
            "by_chance": float(known.mean()) if len(known) else None,
            "measured": len(known),
        }
        wrong += known[yes].tolist()
        chance += [known.mean()] * len(yes)
        people += [patients[record_id] for record_id in yes]
    found["all"] = {
        "share": share(wrong, people) if wrong else None,
        "by_chance": float(np.mean(chance)) if chance else None,
    }
    return found


def _share_of(values: pd.Series, patients: dict[str, str]) -> Estimate | None:
    return share(values.to_numpy(), [patients[name] for name in values.index]) if len(values) else None


# ---------------------------------------------------------------------------------------------------------------------
# Saying
# ---------------------------------------------------------------------------------------------------------------------


def _overview(values: dict[str, Any]) -> Table:
    lines = []
    for by, found in values.items():
        exclusive, implied, measured = found["exclusive"], found["implied"], found["measured"]["all"]
        lines += [
            (by, "both of two that exclude each other", exclusive["share"], exclusive["by_chance"]),
            (by, "the finding, but not the broader one", implied["share"], implied["by_chance"]),
            (by, "yes, but the measurement rules it out", measured["share"], measured["by_chance"]),
            (by, "records with two that exclude each other", exclusive["records"], None),
            (by, "records with a finding without the broader one", implied["records"], None),
        ]
    note = (
        "First line: of all records and pairs with a yes to any of the two. Second: of those with a yes to the "
        "narrower finding. Third: of those with a yes and a measurement, of adults. By chance: the same of answers "
        "that are yes as often and know nothing of each other, or of the ECG."
    )
    return Table("Contradictions", ("answers of", "contradiction", "share", "by chance"), lines, note)


def _pairs_table(by: str, found: dict[str, Any]) -> Table:
    lines = [
        (kind, names, own["records"], own["contradictions"], own["contradictions"] / own["records"], own["by_chance"])
        for kind, part in (("exclude each other", "exclusive"), ("the second holds, too", "implied"))
        for names, own in found[part]["pairs"].items()
        if own["contradictions"]
    ]
    lines.sort(key=lambda line: -line[3])
    columns = ("kind", "findings", "records", "contradictions", "share", "by chance")
    note = f"The {_SHOWN} pairs with most of {len(lines)} with any; all of them are in metrics.json."
    note = note if len(lines) > _SHOWN else ""
    return Table(f"Findings that contradict each other, answers of {named(by)}", columns, lines[:_SHOWN], note)


def _measured_table(by: str, found: dict[str, Any], labels: dict[str, Any]) -> Table:
    lines = []
    for each in CRITERIA:
        own = found["measured"].get(each.finding)
        if own is not None and own["share"] is not None:
            stated = labels["measured"].get(each.finding, {"share": None})
            lines.append((each.finding, str(each), own["share"], own["by_chance"], stated["share"], each.source))
    columns = ("said to be there", "ruled out by", "share", "by chance", LABELS, "criterion")
    note = (
        "Share: of the records that are said to show it and in which it was measured. It is measured by this "
        "package in the ECG that was shown, and must miss the limit by more than its own error. Findings that "
        "are said of no measured record are left out."
    )
    return Table(f"Findings against measurements, answers of {named(by)}", columns, lines, note)


def _headlines(found: dict[str, Any] | None) -> list[Headline]:
    named = (
        ("yes to both of two findings that exclude each other, of those with a yes", "exclusive"),
        ("the broader finding denied, of those with a yes to the narrower", "implied"),
    )
    return [
        Headline(name, found[part]["share"], ("by chance", found[part]["by_chance"]))
        for name, part in named
        if found is not None and found[part]["share"] is not None
    ]


def _sentence(by: str, found: dict[str, Any]) -> str:
    parts = []
    for part, words in (
        (found["exclusive"], "says yes to both of two findings that exclude each other in {} of the cases with a yes"),
        (found["implied"], "denies the broader finding in {} of the cases with a yes to the narrower one"),
        (found["measured"]["all"], "says yes in spite of the measurement in {} of the cases"),
    ):
        if part["share"] is not None:
            parts.append(f"{words.format(percent(part['share']))} (by chance {percent(part['by_chance'])})")
    return sentence(f"{named(by)} {'; it '.join(parts) or 'says yes to none of these findings'}.")
