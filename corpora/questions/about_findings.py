"""Questions about the findings of one record: is it there, which of two, which of a group.

In: records. Out: rows of the types verify, choose and query. Decided here: which attributes are asked (those that the
corpus states at all), that a record is only asked what its statements decide, and its silence by what its source ever
states (`findings.labels.label`), and how often "none" is an answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import lru_cache

from ...findings import labels as vocabulary
from .sampling import Cell, Facts, Rows, cycle, draw, in_a_sentence, interleave

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

    def label(self, record: Facts, name: str) -> bool | None:
        """Whether a record shows a finding; None where its source leaves that open."""
        return self._label(record.findings, name, record.stated)

    def group_label(self, record: Facts, name: str) -> bool | None:
        """Whether a record shows any finding of a group; None where its source leaves that open."""
        return self._group_label(record.findings, name, record.stated)

    def asks(self, attribute: str) -> bool:
        """Whether the caller wants questions about it."""
        return self.wanted is None or attribute in self.wanted


def verify(stated: Stated, rows: Rows, budget: int) -> None:
    cells = []
    for name in [*stated.findings, *stated.groups]:
        is_group = name in stated.groups
        decide = stated.group_label if is_group else stated.label
        template = (
            "verify-abnormality"
            if name == "any abnormality"
            else "verify-group"
            if is_group
            else "verify-normal"
            if name == "normal ecg"
            else "verify-finding"
        )
        answered = defaultdict(list)
        for record in stated.records:
            answered[decide(record, name)].append((record,))
        fields = {"group": name, **in_a_sentence(name)}
        cells.append(Cell(template, "verify", name, answered[True], answered[False], fields))
    rows.balanced(cells, budget)


def choose(stated: Stated, rows: Rows, budget: int) -> None:
    rng, used, records, label = rows.rng("choose"), Counter(), stated.records, stated.label
    names = [
        name for name in stated.findings if vocabulary.VOCABULARY[name].category != "noise" and name != "normal ecg"
    ]
    by_category = defaultdict(list)
    for name in names:
        by_category[vocabulary.VOCABULARY[name].category].append(name)
    asked, paraphrase = 0, rows.shuffled("choose-finding", "choose")
    for turn, position in enumerate(cycle(rng, len(records), budget * 4)):
        record = records[position]
        true = [name for name in names if label(record, name)]
        # Of five questions three have one right answer, one has two and one has none.
        right = (1, 2, 1, 0, 1)[turn % 5]
        if asked >= budget or used[record.id] > 4 * budget / len(records):
            break
        if not names or (right and not true):
            continue
        first = str(rng.choice(true if right else names))
        same = by_category[vocabulary.VOCABULARY[first].category]
        if right == 2:
            same = [name for name in true if not _related(first, name)] or true
        near = right == 2 or (len(same) > 1 and rng.random() < 0.7)
        second = str(rng.choice(same if near else names))
        answers = [label(record, first), label(record, second)]
        if None in answers or sum(answers) != right or _related(first, second):
            continue
        a, b = (first, second) if rng.random() < 0.5 else (second, first)
        added = rows.add(
            "choose-finding",
            " or ".join(sorted((first, second))),
            "choose",
            paraphrase[asked % len(paraphrase)].format(a=a, b=b),
            (record,),
            [name for name in (first, second) if label(record, name)],
        )
        asked, used[record.id] = asked + added, used[record.id] + added


def query(stated: Stated, rows: Rows, budget: int) -> None:
    """Which rhythm, axis, stage of infarction, noise, findings of a group, abnormal findings."""
    categories = ["rhythm", "axis", *_QUERY_NOUNS, "abnormalities"]
    # Asked where the corpus states it, so that others get the same questions as ever.
    categories += [
        name for name, members in (("stage", STAGES), ("noise", _of("noise"))) if members & set(stated.findings)
    ]
    share = -(-budget // len(categories))
    for category in categories:
        answered: dict[bool, list] = {True: [], False: []}
        for record in stated.records:
            answer = _query_answer(stated, record, category)
            if answer is not None:
                answered[bool(answer)].append((record,))
        if not answered[True]:
            continue
        template = f"query-{category}" if category not in _QUERY_NOUNS else "query-group"
        rng, used = rows.rng(template, category), Counter()
        # "none" is an answer in at most half of the questions
        some = draw(answered[True], share, rng, used)
        none = draw(answered[False], min(share - min(share // 2, len(some)), len(some)), rng, used)
        some = some[: share - len(none)]
        paraphrase = rows.shuffled(template, category)
        attribute = "infarction stage" if category == "stage" else category
        for turn, records in enumerate(interleave(some, none)):
            question = paraphrase[turn % len(paraphrase)].format(findings=_QUERY_NOUNS.get(category, ""))
            answer = _query_answer(stated, records[0], category)
            rows.add(template, attribute, "query", question, records, answer or ())


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


def _of(category: str) -> set[str]:
    return {finding.name for finding in vocabulary.VOCABULARY.values() if finding.category == category}


def _related(first: str, second: str) -> bool:
    return first == second or second in vocabulary.implied([first]) or first in vocabulary.implied([second])
