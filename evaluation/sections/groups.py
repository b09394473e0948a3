"""Who is answered rightly: by severity, age, sex, device, noise, source, and every other recorded confounder.

Asks nothing: it reads the answers of `questions` to yes-or-no questions about one ECG. Says: the share of right
answers in each group with its interval, beside what the question alone is worth there, and the widest difference
between two groups of a confounder, its p-value by Holm's method over all confounders. Decided here: severity counts
what the question does not ask about, as de-biasing does; a group of fewer than `LEAST` patients is shown and compared
with none.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from ... import intervals
from ...corpora.debiasing.confounders import AGE_BANDS, CONFOUNDERS, Records
from ..baselines import question_only
from ..figures import Cell, Chart, Headline, SectionFigures, Series, Table
from ..figures_in_words import p_value, percent
from ..material import Material
from ..predictions import yes_no_rows
from ..tallies import MODEL, by_whom, judged, missing_sentence, right_share

NAME, TITLE = "groups", "Groups of patients"
READ_SECTIONS = ("questions",)
LEAST = 10
_Shares = dict[str, dict[str, intervals.Estimate]]  # confounder -> group -> right answers
_SEVERITY = "Severity: how many abnormal findings there are beside the one that is asked about; 6: six and more."


def figures(answered: pd.DataFrame, material: Material) -> SectionFigures:
    asked = yes_no_rows(answered)
    whose = by_whom(asked[asked["record_ids"].map(len).eq(1)])
    own = whose.pop(MODEL, asked.iloc[:0])
    if judged(own).empty:
        return SectionFigures(NAME, TITLE, ["No yes-or-no question about one ECG was answered."])
    records = Records(material.corpus)
    values = {name: shares for name, shares in _shares(own, records).items() if len(shares) > 1}
    others = {by: _shares(rows, records) for by, rows in whose.items()}
    tables = [_table(values, others)]
    differences = _differences(values)
    charts = [
        Chart(
            f"Right answers by {name}",
            "dots",
            [Series("model", list(shares), list(shares.values())), *_beside(others, name, shares)],
            "",
            "right",
            0.5,
            _SEVERITY if name == "severity" else "",
        )
        for name, shares in values.items()
    ]
    return SectionFigures(NAME, TITLE, [*_sentences(differences, values), *missing_sentence(MODEL, own)],
                          tables, charts, {"groups": values, "others": others, "widest": differences},
                          _headlines(differences))  # fmt: skip


def _shares(rows: pd.DataFrame, records: Records) -> _Shares:
    """Of what was answered."""
    rows = judged(rows)
    found = {}
    for name, look in CONFOUNDERS.items():
        group = [look(records, ids[0], attribute) for ids, attribute in
                 zip(rows["record_ids"], rows["attribute"], strict=True)]  # fmt: skip
        known = pd.Series(group, index=rows.index, dtype=object)
        shares = {str(value): right_share(own) for value, own in rows.groupby(known, sort=False)}
        found[name] = dict(sorted(shares.items(), key=_by_name))
    return found


def _differences(values: _Shares) -> dict[str, dict[str, Any]]:
    """Confounder -> the two groups that differ most, and how much; groups share few patients, and count as apart."""
    found = {}
    for name, shares in values.items():
        enough = {group: one for group, one in shares.items() if one.patients >= LEAST and one.error > 0}
        if len(enough) < 2:
            continue
        low, *_, high = sorted(enough, key=lambda group: enough[group].value)
        one, two = enough[high], enough[low]
        difference = intervals.difference_of_others(one, two)
        pairs = len(enough) * (len(enough) - 1) // 2  # the widest of so many was chosen
        found[name] = {
            "higher": high,
            "lower": low,
            "difference": difference,
            "p": min(difference.p_value * pairs, 1.0),
        }
    adjusted = intervals.holm([one["p"] for one in found.values()]) if found else []
    for one, p in zip(found.values(), adjusted, strict=True):
        one["p_adjusted"] = float(p)
    return found


def _headlines(differences: dict[str, dict[str, Any]]) -> list[Headline]:
    """The least likely by chance of the widest differences."""
    if not differences:
        return []
    name, one = min(differences.items(), key=lambda item: item[1]["p_adjusted"])
    return [Headline(f"right answers by {name}: {one['higher']} over {one['lower']}", one["difference"])]


def _beside(others: dict[str, _Shares], name: str, shares: dict[str, intervals.Estimate]) -> list[Series]:
    """What the question alone is worth in the same groups: nothing more can be learned without the ECG."""
    found = others.get(question_only.NAME, {}).get(name, {})
    known = [group for group in shares if group in found]
    return [Series(question_only.NAME, known, [found[group] for group in known])] if known else []


def _table(values: _Shares, others: dict[str, _Shares]) -> Table:
    alone = others.get(question_only.NAME)
    rows: list[tuple[Cell, ...]] = [
        (name, group, one, one.number, one.patients, *([] if alone is None else [alone[name].get(group)]))
        for name, shares in values.items()
        for group, one in shares.items()
    ]
    head = ("by", "group", "right", "questions", "patients", *([] if alone is None else [question_only.NAME]))
    return Table("Right answers to yes-or-no questions about one ECG", head, rows, _SEVERITY)


def _sentences(differences: dict[str, dict[str, Any]], values: dict[str, Any]) -> list[str]:
    if not values:
        return ["Nothing is recorded of these records by which they could be grouped."]
    said = [
        f"By {name} the widest difference is {percent(one['difference'])} ({one['higher']} over {one['lower']}), "
        f"p {p_value(one['p_adjusted'])}."
        for name, one in sorted(differences.items(), key=lambda item: item[1]["p_adjusted"])
    ]
    return said or [f"No two groups have {LEAST} patients each; nothing can be said of a difference."]


_ORDER = {name: place for place, (_, name) in enumerate(AGE_BANDS)}


def _by_name(item: tuple[str, Any]) -> tuple[int, str]:
    return _ORDER.get(item[0], 0), item[0]
