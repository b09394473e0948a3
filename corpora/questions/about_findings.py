"""Questions about the findings of one record: is it there, which of two, which of a group.

In: records. Out: rows of the types verify, choose and query. Decided here: which attributes are asked (those that the
corpus states at all), that a record is only asked what its statements decide, and its silence by what its source ever
states (`findings.labels.label`), and how often "none" is an answer.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

from ...findings import labels as vocabulary
from .choices import choose_of_two
from .sampling import Cell, Facts, Rows, in_a_sentence

# What a query asks for by category; rhythm and axis have paraphrases of their own.
_QUERY_NOUNS = {
    "conduction": "conduction disturbances",
    "ectopy": "ectopic beats",
    "hypertrophy": "signs of hypertrophy or enlargement",
    "ischemia_infarction": "signs of infarction or ischemia",
    "st_t": "ST segment or T wave abnormalities",
}
_INFARCTION = "myocardial infarction"
STAGES = frozenset(
    finding.name
    for finding in vocabulary.VOCABULARY.values()
    if finding.facet == "stage" and _INFARCTION in finding.broader
)


DIAGNOSTIC, WAVEFORM = "diagnostic finding", "waveform abnormality"
_KIND_CATEGORIES = {DIAGNOSTIC: ("conduction", "hypertrophy", "ischemia_infarction"), WAVEFORM: ("st_t", "voltage")}
_Q_AND_R_WAVES = ("abnormal q wave", "abnormal r wave", "poor r wave progression")
#: Kind -> its findings. After SCP-ECG's diagnostic and form statements, which questions name by what they are about.
KINDS = {
    kind: frozenset(
        finding.name
        for finding in vocabulary.VOCABULARY.values()
        if finding.abnormal
        and (finding.category in categories or (kind == WAVEFORM and finding.name in _Q_AND_R_WAVES))
    )
    for kind, categories in _KIND_CATEGORIES.items()
}
_DIAGNOSES = "conduction disturbance, hypertrophy or enlargement, infarction or ischemia"
_WAVES = "Q or R waves, QRS voltage, ST segment, T or U waves or QT interval"
_KIND_WORDS = {
    DIAGNOSTIC: {"kind": f"finding of {_DIAGNOSES}", "kinds": f"findings of {_DIAGNOSES}"},
    WAVEFORM: {"kind": f"abnormality of {_WAVES}", "kinds": f"abnormalities of {_WAVES}"},
}
# They change the waveform, whether or not the source says how.
_RESHAPING = frozenset(("conduction", "hypertrophy", "ischemia_infarction", "ectopy", "pacing"))
_CHOOSE, _NONE = 1 / 12, 1 / 2  # of the questions of which of two, on each of the smaller templates; "none" of a list


class Stated:
    """What records state, and what may be asked of them. findings, groups: the attributes to ask for."""

    def __init__(self, records: list[Facts], min_positives: int, attributes: Iterable[str] | None) -> None:
        self.records = records
        counts = Counter(name for record in records for name in record.findings)
        self.groups = ["any abnormality", *vocabulary.GROUPS]
        vocabulary.check_findings(counts)
        self.wanted = None if attributes is None else set(attributes)
        if self.wanted is not None:
            self.groups = [name for name in self.groups if name in self.wanted]
        self.kinds = [name for name in KINDS if self.asks(name)]
        self.findings = sorted(
            name
            for name, n in counts.items()
            # "Does this ECG show no noise?" reads both ways; the group "noise" asks it the right way round
            if n >= min_positives
            and self.asks(name)
            and name != "no noise"
            # a diagnosis of the patient is not to be seen in an ECG
            and vocabulary.VOCABULARY[name].category != "clinical"
        )
        # Records share findings, and those of a source what it states.
        self._label = lru_cache(maxsize=None)(vocabulary.label)
        self._group_label = lru_cache(maxsize=None)(vocabulary.group_label)
        self._kind_label = lru_cache(maxsize=None)(_kind_label)

    def label(self, record: Facts, name: str) -> bool | None:
        """Whether a record shows a finding; None where its source leaves that open."""
        return self._label(record.findings, name, record.stated)

    def group_label(self, record: Facts, name: str) -> bool | None:
        """Whether a record shows any finding of a group; None where its source leaves that open."""
        return self._group_label(record.findings, name, record.stated)

    def kind_label(self, record: Facts, name: str) -> bool | None:
        """Whether a record shows any finding of a kind (`KINDS`); None where its source leaves that open."""
        return self._kind_label(record.findings, name, record.stated)

    def asks(self, attribute: str) -> bool:
        """Whether the caller wants questions about it."""
        return self.wanted is None or attribute in self.wanted


def verify(stated: Stated, rows: Rows, budget: int) -> None:
    cells = []
    for name in [*stated.findings, *stated.groups, *stated.kinds]:
        is_group = name in stated.groups
        decide = stated.group_label if is_group else stated.kind_label if name in KINDS else stated.label
        template = (
            "verify-abnormality"
            if name == "any abnormality"
            else "verify-group"
            if is_group
            else "verify-kind"
            if name in KINDS
            else "verify-normal"
            if name == "normal ecg"
            else "verify-finding"
        )
        answered = defaultdict(list)
        for record in stated.records:
            answered[decide(record, name)].append((record,))
        fields = {"group": name, **in_a_sentence(name), **_KIND_WORDS.get(name, {})}
        cells.append(Cell(template, "verify", name, answered[True], answered[False], fields))
    rows.balanced(cells, budget)


def choose(stated: Stated, rows: Rows, budget: int) -> None:
    """Which of two stages, of two noises, of two groups, of two findings."""
    start, category = len(rows), {name: vocabulary.VOCABULARY[name].category for name in stated.findings}
    names = [name for name in stated.findings if category[name] != "noise" and name != "normal ecg"]
    groups = [name for name in stated.groups if name not in ("any abnormality", "noise")]
    for template, options, decide in (
        ("choose-stage", [name for name in names if name in STAGES], stated.label),
        ("choose-noise", [name for name in stated.findings if category[name] == "noise"], stated.label),
        ("choose-group", groups, stated.group_label),
        ("choose-finding", names, stated.label),
    ):
        of_findings = template == "choose-finding"
        share = budget - (len(rows) - start) if of_findings or not names else math.ceil(budget * _CHOOSE)
        subjects = [(record, {name: decide(record, name) for name in options}, {}) for record in stated.records]
        choose_of_two(rows, template, subjects, share, category.__getitem__ if of_findings else lambda name: "")


def query(stated: Stated, rows: Rows, budget: int) -> None:
    """Which rhythm, axis, stage of infarction, noise, findings of a group or a kind, abnormal findings."""
    answered = {}
    for category in ("rhythm", "axis", *_QUERY_NOUNS, "abnormalities", "stage", "noise", *stated.kinds):
        answers = [((record,), _query_answer(stated, record, category)) for record in stated.records]
        known = [(records, answer) for records, answer in answers if answer is not None]
        if any(answer for _, answer in known):
            answered[category] = known
    for category, known in answered.items():
        template = (
            "query-group" if category in _QUERY_NOUNS else "query-kind" if category in KINDS else f"query-{category}"
        )
        attribute = "infarction stage" if category == "stage" else category
        fields = {"findings": _QUERY_NOUNS.get(category, ""), **_KIND_WORDS.get(category, {})}
        rows.listed(template, attribute, "query", known, -(-budget // len(answered)), _NONE, fields)


def of_kind(record: Facts, kind: str) -> tuple[str, ...]:
    """The findings of a kind (`KINDS`) that a record shows, the most specific ones."""
    return tuple(name for name in vocabulary.most_specific(record.findings & KINDS[kind]) if name in KINDS[kind])


def _kind_label(findings: frozenset[str], kind: str, stated: frozenset[str]) -> bool | None:
    if findings & KINDS[kind]:
        return True
    categories = {vocabulary.VOCABULARY[name].category for name in KINDS[kind]}
    if any(vocabulary.category_label(findings, category, stated) is not False for category in categories):
        return None
    return None if kind == WAVEFORM and any(_reshapes(name) for name in findings) else False


def _reshapes(name: str) -> bool:
    ventricular = re.search(r"\b(?:idio)?ventricular", name) is not None
    return ventricular or vocabulary.VOCABULARY[name].category in _RESHAPING


def _query_answer(stated: Stated, record: Facts, category: str) -> tuple[str, ...] | None:
    present = record.findings
    if category == "abnormalities":
        if stated.group_label(record, "any abnormality") is None:
            return None
        return tuple(name for name in vocabulary.most_specific(present) if vocabulary.VOCABULARY[name].abnormal)
    if category == "stage":
        # An infarction whose stage is not said has one all the same.
        stages = vocabulary.most_specific(present & STAGES) if present & STAGES else ()
        return tuple(name for name in stages if name in STAGES) or (
            () if stated.label(record, _INFARCTION) is False else None
        )
    if category in KINDS:
        return None if stated.kind_label(record, category) is None else of_kind(record, category)
    names = [name for name in present if vocabulary.VOCABULARY[name].category == category]
    if category in ("rhythm", "axis"):
        return vocabulary.most_specific(names) or None
    if category == "noise":
        if stated.group_label(record, "noise") is None:
            return None
        return tuple(sorted(name for name in names if name != "no noise"))
    group = next(group for group, member in vocabulary.GROUPS.items() if member == category)
    if stated.group_label(record, group) is None:
        return None
    return vocabulary.most_specific(name for name in names if vocabulary.VOCABULARY[name].abnormal)
