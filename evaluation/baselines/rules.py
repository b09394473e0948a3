"""Published criteria on measurements, as answers: an opponent that nobody trained.

In: rows about records. Out: yes or no by the margin of the finding's criterion (`criteria`), p_yes its logistic;
ranges of measurements by their normal ranges; which of two findings or groups, or of a group or a kind, by those that
are met; of two records, by what holds of each. Decided here: of several rhythms or axes the clearest one is answered.
Not answered is what has no criterion, what cannot be measured, and what one lead shows.
"""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from scipy.special import expit

from ...corpora.questions.about_findings import KINDS
from ...corpora.questions.about_measurements import FEATURES, OUTSIDE, Feature
from ...findings.labels import GROUPS, VOCABULARY, most_specific
from ..material import Material
from .criteria import ANY_ABNORMALITY, margins_of
from .margins import BPM, DEGREES, PR_MS, QRS_MS, QT_MS, all_of, any_of
from .seen import Seen, seen_of

NOTE = "Published criteria on measured intervals and amplitudes; nothing was fitted (docs/baselines.md)."

_UNITS = {"heart_rate": BPM, "pr": PR_MS, "qrs": QRS_MS, "qtc": QT_MS, "axis": DEGREES}
_COLUMN = {feature.name.lower(): column for column, feature in FEATURES.items()}
_LIMIT = re.compile(r"(above|below) (-?\d+(?:\.\d+)?)")
_SIDE = re.compile(r"\b(below|within|above)\b")
_MORE = {feature.more: 1.0 for feature in FEATURES.values()} | {feature.less: -1.0 for feature in FEATURES.values()}
_ALONE = frozenset(["rhythm", "axis"])  # of which a record has one

Given = tuple[list[str] | None, float]
_NOTHING: Given = (None, np.nan)


def answers(rows: pd.DataFrame, material: Material) -> pd.DataFrame:
    """The answers of the rules; see the module."""
    asked = {record_id for ids in rows["record_ids"] for record_id in ids}
    known = _Known(seen_of(material, asked))
    given = [known.answer(row) for row in rows.itertuples(index=False)]
    texts = pd.Series([answer for answer, _ in given], index=rows.index, dtype=object)
    return pd.DataFrame({"answers": texts, "p_yes": [p_yes for _, p_yes in given]}, rows.index)


class _Known:
    """What is seen of every record, and the margins of all criteria, computed once each."""

    def __init__(self, seen: dict[str, Seen | None]):
        self.seen = seen
        self._margins: dict[str, dict[str, float]] = {}

    def margin(self, record_id: str, name: str) -> float:
        """Of a finding or group; NaN where there is no criterion, or nothing to measure."""
        return self.margins(record_id).get(name, np.nan)

    def margins(self, record_id: str) -> dict[str, float]:
        if record_id not in self._margins:
            seen = self.seen[record_id]
            self._margins[record_id] = {} if seen is None else margins_of(seen)
        return self._margins[record_id]

    def answer(self, row: tuple) -> Given:
        ids, template = list(row.record_ids), row.template or ""
        if not ids or any(self.seen[record_id] is None for record_id in ids):
            return _NOTHING
        if template in _TEMPLATES:
            return _TEMPLATES[template](self, row, ids)
        if row.finding and len(ids) == 1:
            return _yes_no(self.margin(ids[0], row.finding))
        return _NOTHING

    def finding(self, row: tuple, ids: list[str]) -> Given:
        return _yes_no(self.margin(ids[-1], row.finding or row.attribute))

    def first(self, row: tuple, ids: list[str]) -> Given:
        return _yes_no(self.margin(ids[0], row.attribute))

    def new(self, row: tuple, ids: list[str]) -> Given:
        return _yes_no(all_of(-self.margin(ids[0], row.attribute), self.margin(ids[1], row.attribute)))

    def resolved(self, row: tuple, ids: list[str]) -> Given:
        return self.new(row, ids[::-1])

    def both(self, row: tuple, ids: list[str]) -> Given:
        return _yes_no(all_of(*(self.margin(record_id, row.attribute) for record_id in ids)))

    def neither(self, row: tuple, ids: list[str]) -> Given:
        return _yes_no(all_of(*(-self.margin(record_id, row.attribute) for record_id in ids)))

    def kind(self, row: tuple, ids: list[str]) -> Given:
        return _yes_no(any_of(*(self.margin(ids[0], name) for name in KINDS[row.attribute])))

    def choose(self, row: tuple, ids: list[str]) -> Given:
        words = row.attribute.split(" or ")  # of which a group may hold one itself
        for middle in range(1, len(words)):
            names = " or ".join(words[:middle]), " or ".join(words[middle:])
            margins = [self.margin(ids[0], name) for name in names]
            if not np.isnan(margins).any():
                return _listed(name for name, margin in zip(names, margins, strict=True) if margin > 0)
        return _NOTHING

    def query(self, row: tuple, ids: list[str]) -> Given:
        category = _CATEGORY.get(row.attribute)
        if category is None and row.attribute not in KINDS:
            return _NOTHING
        members = {
            name: margin
            for name, margin in self.margins(ids[0]).items()
            if name in VOCABULARY
            and (
                VOCABULARY[name].category == category
                or category == ANY_ABNORMALITY
                or name in KINDS.get(row.attribute, ())
            )
            and (VOCABULARY[name].abnormal or category in _ALONE)
            and not np.isnan(margin)
        }
        if not members:
            return _NOTHING
        met = most_specific(name for name, margin in members.items() if margin > 0)
        if category in _ALONE:
            return _listed([max(met or members, key=lambda name: members[name])])
        return _listed(met)

    def changed(self, row: tuple, ids: list[str]) -> Given:
        before, after = (ids[1], ids[0]) if row.template == "compare-resolved-query" else ids
        shown = [
            name
            for name, margin in self.margins(after).items()
            if name in VOCABULARY and VOCABULARY[name].abnormal and margin > 0
        ]
        return _listed(name for name in most_specific(shown) if not self.margin(before, name) > 0)

    def limit(self, row: tuple, ids: list[str]) -> Given:
        column, found = _COLUMN.get(row.attribute), _LIMIT.search(row.question)
        if column is None or found is None:
            return _NOTHING
        margin = (self.value(ids[0], column) - float(found[2])) / _UNITS[column]
        return _yes_no(margin if found[1] == "above" else -margin)

    def in_range(self, row: tuple, ids: list[str]) -> Given:
        sides = _SIDE.findall(row.question)
        ranges = self.ranges(row.attribute, ids[0])
        return _yes_no(ranges[sides[-1]]) if ranges and sides else _NOTHING

    def choose_range(self, row: tuple, ids: list[str]) -> Given:
        ranges, sides = self.ranges(row.attribute, ids[0]), set(_SIDE.findall(row.question))
        if not ranges:
            return _NOTHING
        best = max(ranges, key=lambda side: ranges[side])
        return _listed([f"{best} the normal range"] if best in sides else [])

    def query_range(self, row: tuple, ids: list[str]) -> Given:
        ranges = self.ranges(row.attribute, ids[0])
        return _listed([f"{max(ranges, key=lambda side: ranges[side])} the normal range"]) if ranges else _NOTHING

    def in_which_range(self, row: tuple, ids: list[str]) -> Given:
        sides, found = _SIDE.findall(row.question), self.sides(ids[0])
        if not sides or len(found) < len(FEATURES):
            return _NOTHING
        return _listed(name for name, side in found.items() if side == sides[-1])

    def range_compared(self, row: tuple, ids: list[str]) -> Given:
        within = [self.ranges(row.attribute, record_id).get("within", np.nan) for record_id in ids]
        shows = OUTSIDE[row.template]
        return _yes_no(
            all_of(*(-margin if outside else margin for margin, outside in zip(within, shows, strict=True)))
        )

    def ranges_compared(self, row: tuple, ids: list[str]) -> Given:
        found = [self.sides(record_id) for record_id in ids]
        if any(len(own) < len(FEATURES) for own in found):
            return _NOTHING
        shows = OUTSIDE[row.template.removesuffix("-query")]
        return _listed(name for name in found[0] if tuple(own[name] != "within" for own in found) == shows)

    def sides(self, record_id: str) -> dict[str, str]:
        """Feature -> the range that it lies in, of those that can be measured."""
        ranges = {name: self.ranges(name, record_id) for name in _COLUMN}
        return {name: max(own, key=lambda side: own[side]) for name, own in ranges.items() if own}

    def compared(self, row: tuple, ids: list[str]) -> Given:
        column = _COLUMN.get(row.attribute)
        words = [word for word in _MORE if word in row.question]
        if column is None or not words:
            return _NOTHING
        change = self.value(ids[1], column) - self.value(ids[0], column)
        word = max(words, key=len)
        return _yes_no((_MORE[word] * change - FEATURES[column].change / 2) / _UNITS[column])

    def ranges(self, attribute: str, record_id: str) -> dict[str, float]:
        """Below, within, above the normal range -> margin; none of what cannot be measured."""
        column = _COLUMN.get(attribute)
        value = np.nan if column is None else self.value(record_id, column)
        if np.isnan(value):
            return {}
        low, high = _normal(FEATURES[column], self.seen[record_id])
        over, under = (value - high) / _UNITS[column], -np.inf if low is None else (low - value) / _UNITS[column]
        return {"below": under, "within": -max(over, under), "above": over}

    def value(self, record_id: str, column: str) -> float:
        seen = self.seen[record_id]
        return {
            "heart_rate": seen.rate, "pr": seen.pr, "qrs": seen.qrs, "qtc": seen.qtc_bazett, "axis": seen.axis
        }[column]  # fmt: skip


def _normal(feature: Feature, seen: Seen) -> tuple[float | None, float]:
    """Of an unknown sex the higher limit, as for measurements (`seen`: a man's unless she is known to be a woman)."""
    low, high = feature.limits("female" if seen.female else "male")
    return low, float(high if high is not None else max(feature.high.values()))


def _yes_no(margin: float) -> Given:
    if np.isnan(margin):
        return _NOTHING
    return (["yes"] if margin > 0 else ["no"]), float(expit(margin))


def _listed(names: list[str] | tuple[str, ...]) -> Given:
    return sorted(names) or ["none"], np.nan


_TEMPLATES = {
    **dict.fromkeys(("verify-finding", "verify-normal", "verify-abnormality", "verify-group"), _Known.finding),
    "verify-kind": _Known.kind,
    **dict.fromkeys(("choose-finding", "choose-group", "choose-noise", "choose-stage"), _Known.choose),
    **dict.fromkeys(("query-rhythm", "query-axis", "query-group", "query-kind", "query-abnormalities"), _Known.query),
    "query-in-range": _Known.in_which_range,
    "verify-limit": _Known.limit,
    "verify-range": _Known.in_range,
    "choose-range": _Known.choose_range,
    "query-range": _Known.query_range,
    "compare-first": _Known.first,
    "compare-second": _Known.finding,
    "compare-new": _Known.new,
    "compare-resolved": _Known.resolved,
    "compare-both": _Known.both,
    "compare-neither": _Known.neither,
    "compare-measurement": _Known.compared,
    **dict.fromkeys(OUTSIDE, _Known.range_compared),
    **dict.fromkeys((f"{template}-query" for template in OUTSIDE), _Known.ranges_compared),
    **dict.fromkeys(("compare-new-query", "compare-resolved-query"), _Known.changed),
}
_CATEGORY = {category: category for category in GROUPS.values()} | {"abnormalities": ANY_ABNORMALITY}
