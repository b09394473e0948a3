"""Questions about what can be measured: heart rate, PR, QRS, corrected QT, axis; in one record and between two.

In: records with `measurements` (bpm, ms, degrees). Out: rows of the types verify, choose, query and comparison.
Decided here: the normal ranges, that a value nearer to a limit than a measurement is sure of (`margin`) is not asked
about, and that children are left out, whose ranges depend on age. Of QT only the corrected one is asked about: the
range of the other depends on the rate. A list of the measurements in a range is asked of a record whose every
measurement has a known range.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ...signals.analysis.measurement_limits import CLEAR_CHANGES
from .about_findings import Stated
from .comparisons import BOTH, NEITHER, NEW, RESOLVED, compared, pairs_of_others
from .sampling import Cell, Facts, Rows, interleave, other_pairs, own_pairs

ADULT_AGE = 18.0  # years; a record of unknown age counts as an adult's
RANGES = ("below", "within", "above")
ALL = "measurements"
"""The attribute of questions for a list of measurements: all of `FEATURES`."""
_LISTS, _NONE = 1 / 4, 1 / 3  # of the questions, those for a list; of these, the most that "none" answers
_NORMAL, _OUTSIDE_SIDES = ("within",), ("below", "above")
# Whether the first and the second record are outside the normal range, where the answer is yes.
OUTSIDE = {
    "compare-range-abnormal": NEW,
    "compare-range-normal": RESOLVED,
    "compare-range-still-abnormal": BOTH,
    "compare-range-still-normal": NEITHER,
}
# Sides of the range that a listed measurement is on in the first and in the second record.
_OUTSIDE_LISTS = {
    "compare-range-abnormal-query": (_NORMAL, _OUTSIDE_SIDES),
    "compare-range-normal-query": (_OUTSIDE_SIDES, _NORMAL),
    "compare-range-still-abnormal-query": (_OUTSIDE_SIDES, _OUTSIDE_SIDES),
}


@dataclass(frozen=True)
class Feature:
    """A measured feature. low, high: normal range, by sex where it depends on it (None: no limit). margin: how near to
    a limit a value is left open; change: what two records must differ by. more, less: words for it. findings: what the
    vocabulary calls a value outside, which is therefore part of the same statement (`confounders.other_severity`)."""

    name: str
    unit: str
    low: float | None
    high: float | dict[str, float]
    margin: float
    change: float
    more: str
    less: str
    findings: tuple[str, ...] = field(default=())

    def limits(self, sex: str | None) -> tuple[float | None, float | None]:
        """The normal range; the upper limit is None where it depends on a sex that is unknown."""
        return self.low, self.high.get(sex or "") if isinstance(self.high, dict) else self.high

    def range_of(self, value: float, sex: str | None) -> str | None:
        """One of `RANGES`; None near a limit, or where the limit is not known."""
        low, high = self.limits(sex)
        if low is not None and abs(value - low) < self.margin:
            return None
        if low is not None and value < low:
            return "below"
        if high is None:  # beyond the limits of both sexes, or below them, it is known all the same
            highs = sorted(self.high.values())
            return (
                "within" if value <= highs[0] - self.margin else "above" if value >= highs[-1] + self.margin else None
            )
        if abs(value - high) < self.margin:
            return None
        return "above" if value > high else "within"


#: column -> feature. Sources of the ranges: heart rate 60-100 bpm, the conventional limits of sinus bradycardia and
#: tachycardia; PR 120-200 ms and QRS up to 110 ms, AHA/ACCF/HRS 2009 part III (Surawicz et al.), as the axis from -30
#: to 90 degrees; QTc 390-450 ms (men), 390-460 ms (women), AHA/ACCF/HRS 2009 part IV (Rautaharju et al.).
FEATURES = {
    "heart_rate": Feature(
        "heart rate", "bpm", 60, 100, 2, CLEAR_CHANGES["heart_rate"], "faster", "slower",
        ("bradycardia", "sinus bradycardia", "sinus tachycardia"),
    ),
    "pr": Feature(
        "PR interval", "ms", 120, 200, 8, CLEAR_CHANGES["pr"], "longer", "shorter",
        ("first degree av block", "prolonged pr interval", "short pr interval"),
    ),
    "qrs": Feature(
        "QRS duration", "ms", None, 110, 6, CLEAR_CHANGES["qrs"], "longer", "shorter",
        (
            "bundle branch block",
            "nonspecific intraventricular conduction disturbance",
            "diffuse intraventricular block",
        ),
    ),
    "qtc": Feature(
        "corrected QT interval", "ms", 390, {"male": 450, "female": 460}, 10, CLEAR_CHANGES["qtc_bazett"],
        "longer", "shorter",
        ("prolonged qt interval", "short qt interval"),
    ),
    "axis": Feature(
        "QRS axis", "degrees", -30, 90, 5, CLEAR_CHANGES["axis"], "further to the right", "further to the left",
        ("left axis deviation", "right axis deviation"),
    ),
}  # fmt: skip


def measured(stated: Stated) -> dict[str, list[Facts]]:
    """Feature -> records to ask: those that have it measured, of adults."""
    found: dict[str, list[Facts]] = {}
    for column, feature in FEATURES.items():
        if stated.asks(feature.name.lower()):
            records = [
                record
                for record in stated.records
                if column in record.measurements and (record.age is None or record.age >= ADULT_AGE)
            ]
            if records:
                found[column] = records
    return found


def verify_measurements(stated: Stated, rows: Rows, budget: int) -> None:
    """Below, within or above the normal range; above or below its limits by number."""
    cells = []
    for column, records in measured(stated).items():
        feature = FEATURES[column]
        attribute = feature.name.lower()
        ranges = [(record, _range(feature, column, record)) for record in records]
        for side in RANGES:
            yes = [(record,) for record, found in ranges if found == side]
            no = [(record,) for record, found in ranges if found not in (side, None)]
            fields = {"feature": feature.name, "side": side}
            cells.append(Cell("verify-range", "verify", attribute, yes, no, fields, key=side))
        for side, limit in _limits(feature):
            values = [(record, record.measurements[column] - limit) for record in records]
            clear = [(record, value) for record, value in values if abs(value) >= feature.margin]
            above = [(record,) for record, value in clear if value > 0]
            below = [(record,) for record, value in clear if value < 0]
            yes, no = (above, below) if side == "above" else (below, above)
            fields = {"feature": feature.name, "side": side, "limit": f"{limit:g} {feature.unit}"}
            cells.append(Cell("verify-limit", "verify", attribute, yes, no, fields, key=f"{side} {limit:g}"))
    rows.balanced(cells, budget)


def choose_measurements(stated: Stated, rows: Rows, budget: int) -> None:
    """Which of two ranges: one of them, or none."""
    for column, records, share in _shares(measured(stated), budget):
        feature = FEATURES[column]
        options = RANGES[1:] if feature.low is None else RANGES
        paraphrase = rows.shuffled("choose-range", column)
        # Each range in turn, so that the commonest one is not the answer of most questions.
        asked = _in_turn(rows, f"choose {column}", feature, column, records)[:share]
        for turn, (record, found) in enumerate(asked):
            pairs = [(a, b) for a in options for b in options if a != b]
            a, b = pairs[int(rows.rng("choose-range", column, record.id).integers(len(pairs)))]
            question = paraphrase[turn % len(paraphrase)].format(feature=feature.name, a=a, b=b)
            answers = [_answer(found)] if found in (a, b) else []
            rows.add("choose-range", feature.name.lower(), "choose", question, (record,), answers)


def query_measurements(stated: Stated, rows: Rows, budget: int) -> None:
    """Which range a value falls in; which values fall in a range."""
    found = measured(stated)
    whole = _all_ranges(found)
    of_lists = round(budget * _LISTS) if whole else 0
    for column, records, share in _shares(found, budget - of_lists):
        feature = FEATURES[column]
        paraphrase = rows.shuffled("query-range", column)
        for turn, (record, side) in enumerate(_in_turn(rows, f"query {column}", feature, column, records)[:share]):
            question = paraphrase[turn % len(paraphrase)].format(feature=feature.name)
            rows.add("query-range", feature.name.lower(), "query", question, (record,), [_answer(side)])
    for side in RANGES if of_lists else ():
        answered = [((record,), _names(ranges, {side})) for record, ranges in whole.items()]
        share = -(-of_lists // len(RANGES))
        rows.listed("query-in-range", ALL, "query", answered, share, _NONE, {"side": side}, side)


def compare_measurements(stated: Stated, rows: Rows, budget: int) -> None:
    """Faster or slower, longer or shorter in the second record: by at least `Feature.change`, else no. In the normal
    range or outside it in one of two records, in both, in neither; which measurements are."""
    found = measured(stated)
    everyone = list(dict.fromkeys(record for records in found.values() for record in records))
    # All measurements are asked about in the same pairs. Whether a value is outside its range, None where it is open:
    abnormal = {column: dict.fromkeys(everyone) for column in found}
    for column, records in found.items():
        sides = ((record, _range(FEATURES[column], column, record)) for record in records)
        abnormal[column] |= {record: side != "within" for record, side in sides if side is not None}
    whole = _all_ranges(found)
    own = own_pairs(everyone)
    kinds = ("comparison", "comparison-irrelevant") if own else ("comparison-irrelevant",)
    share = -(-budget // len(kinds))
    of_lists = math.ceil(share * _LISTS) if whole else 0
    of_each = -(-(share - of_lists) // 2)
    for kind in kinds:
        pairs = own if kind == "comparison" else pairs_of_others(everyone, abnormal, rows, 2 * share)
        changes, ranges = [], []
        for column, records in found.items():
            feature = FEATURES[column]
            both = (
                own_pairs(records)
                if kind == "comparison"
                else _of_pool(pairs, column, records, 8 + math.ceil(of_each / len(found)), rows)
            )
            changes += _changes(feature, column, both, f"{kind}-verify")
            ranges += [
                compared(
                    abnormal[column], rows, template, shows, f"{kind}-verify", feature.name.lower(), pairs,
                    {"feature": feature.name},
                )
                for template, shows in OUTSIDE.items()
            ]  # fmt: skip
        rows.balanced(changes, of_each)
        rows.balanced(ranges, of_each)
        known = [(first, second) for first, second in pairs if first in whole and second in whole]
        for template, (before, after) in _OUTSIDE_LISTS.items() if of_lists else ():
            answered = [
                (
                    (first, second),
                    tuple(name for name in _names(whole[first], before) if name in _names(whole[second], after)),
                )
                for first, second in known
            ]
            rows.listed(template, ALL, f"{kind}-query", answered, -(-of_lists // len(_OUTSIDE_LISTS)), _NONE)


def _all_ranges(found: dict[str, list[Facts]]) -> dict[Facts, dict[str, str]]:
    """Record -> column -> range, of the records of which the range of every feature is known: of others, a list of
    the measurements outside their range would be open. Empty where not every feature is measured, or asked about."""
    ranges: dict[Facts, dict[str, str]] = {}
    for column, records in found.items():
        for record in records:
            side = _range(FEATURES[column], column, record)
            if side is not None:
                ranges.setdefault(record, {})[column] = side
    return {record: own for record, own in ranges.items() if len(own) == len(FEATURES)}


def _names(ranges: Mapping[str, str], sides: Collection[str]) -> tuple[str, ...]:
    """The features in one of the ranges, as answers name them."""
    return tuple(FEATURES[column].name.lower() for column, side in ranges.items() if side in sides)


def _of_pool(
    pool: list[tuple[Facts, Facts]], column: str, records: list[Facts], least: int, rows: Rows
) -> list[tuple[Facts, Facts]]:
    """The pairs both of whose records hold a measurement; others besides, where these are fewer than `least`."""
    pairs = [pair for pair in pool if all(column in record.measurements for record in pair)]
    lacking = max(0, least - len(pairs))
    return list(
        dict.fromkeys(pairs + other_pairs(records, records, lacking, rows.rng("pairs", "measurements", column)))
    )


def _changes(feature: Feature, column: str, pairs: Sequence[tuple[Facts, Facts]], kind: str) -> list[Cell]:
    changes = [(pair, pair[1].measurements[column] - pair[0].measurements[column]) for pair in pairs]
    up = [pair for pair, change in changes if change >= feature.change]
    down = [pair for pair, change in changes if change <= -feature.change]
    same = [pair for pair, change in changes if abs(change) < feature.change / 2]
    return [
        Cell(
            "compare-measurement",
            kind,
            feature.name.lower(),
            yes,
            interleave(opposite, same),
            {"feature": feature.name, "change": word},
            key=word,
            in_order=True,
        )
        for word, yes, opposite in ((feature.more, up, down), (feature.less, down, up))
    ]


def _range(feature: Feature, column: str, record: Facts) -> str | None:
    return feature.range_of(record.measurements[column], record.sex)


def _answer(found: str) -> str:
    return f"{found} the normal range"


def _limits(feature: Feature) -> list[tuple[str, float]]:
    highs = sorted(feature.high.values()) if isinstance(feature.high, dict) else [feature.high]
    return [*([("below", feature.low)] if feature.low is not None else []), *(("above", high) for high in highs)]


def _shares(found: dict[str, list[Facts]], budget: int) -> list[tuple[str, list[Facts], int]]:
    return [(column, records, -(-budget // len(found))) for column, records in found.items()]


def _in_turn(rows: Rows, key: str, feature: Feature, column: str, records: list[Facts]) -> list[tuple[Facts, str]]:
    """Records with their range, shuffled, the ranges alternating as long as they last."""
    order = rows.rng("in turn", key).permutation(len(records))
    by_range: dict[str, list[tuple[Facts, str]]] = {side: [] for side in RANGES}
    for position in order:
        found = _range(feature, column, records[position])
        if found is not None:
            by_range[found].append((records[position], found))
    fewest = sorted(by_range.values(), key=len)
    return interleave(interleave(fewest[0], fewest[1]), fewest[2])
