"""Questions about the records of a corpus, with answers that its statements decide.

In: a corpus. Out: one row per question with the columns of `QUESTION_FEATURES`. Decided here: which attributes are
asked (those that the corpus states at all), that a record is only asked what its statements decide
(`findings.truth`), how many yes and no answers are drawn, which two records are compared, and that yes and no share
the same wordings.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np
from datasets import Dataset, Features, List, Value

from . import findings as vocabulary
from .phrasings import PHRASINGS

QUESTION_FEATURES = Features(
    {
        "question_id": Value("string"),
        "template": Value("string"),
        "attribute": Value("string"),
        "type": Value("string"),
        "question": Value("string"),
        "ecg_ids": List(Value("string")),
        "answers": List(Value("string")),
        "severity": List(Value("int32")),
        "split": Value("string"),
    }
)
TYPES = ("verify", "choose", "query", "comparison")

# What a query asks for by category; rhythm and axis have wordings of their own.
_QUERY_NOUNS = {
    "conduction": "conduction disturbances",
    "ectopy": "ectopic beats",
    "hypertrophy": "signs of hypertrophy or enlargement",
    "ischemia_infarction": "signs of infarction or ischemia",
    "st_t": "ST segment or T wave abnormalities",
}


@dataclass(frozen=True)
class _Record:
    id: str
    patient_id: str
    findings: frozenset[str]
    severity: int
    split: str
    order: tuple[str, str]


def build_questions(
    corpus: Dataset,
    types: Sequence[str] = TYPES,
    phrasings: str = "train",
    seed: int = 0,
    per_record: float = 4.0,
    no_per_yes: float = 1.0,
    min_positives: int = 1,
    attributes: Iterable[str] | None = None,
) -> Dataset:
    """Ask questions about a corpus.

    Args:
        corpus: records as `prepare` makes them. Filter it to one split to get that split's questions; two records
            that are compared are always of one split.
        types: any of "verify", "choose", "query", "comparison".
        phrasings: "train" or "test", two disjoint sets of wordings.
        seed: same corpus, arguments and seed: same questions in the same order.
        per_record: questions of each type per record, on average and at most.
        no_per_yes: how many "no" are drawn for one "yes" of a verify question, where there are enough records.
        min_positives: ask only for findings that at least so many records show.
        attributes: ask only for these findings and groups. None: all that occur.
    Returns: rows with `QUESTION_FEATURES`. type is "verify", "choose", "query", "comparison-verify" and
        "comparison-query" (two records of one patient, the earlier one first) or "comparison-irrelevant-verify" and
        "comparison-irrelevant-query" (of two patients). answers: sorted, lower case; ["yes"], ["no"], ["none"] or
        findings.
    Raises: ValueError for an unknown type, set of wordings or attribute.
    """
    unknown = [name for name in types if name not in TYPES]
    if unknown:
        raise ValueError(f"unknown question types {unknown}; expected some of {', '.join(TYPES)}")
    if phrasings not in ("train", "test"):
        raise ValueError(f"phrasings={phrasings!r}; expected 'train' or 'test'")
    if per_record <= 0 or no_per_yes < 0:
        raise ValueError(
            f"per_record={per_record}, no_per_yes={no_per_yes}; expected a positive number and one from 0"
        )
    builder = _Builder(_records(corpus), phrasings, seed, no_per_yes, min_positives, attributes)
    ask = {"verify": builder.verify, "choose": builder.choose, "query": builder.query, "comparison": builder.compare}
    for name in TYPES:
        if name in types:
            ask[name](max(1, round(per_record * len(builder.records))))
    # By column, so that no question at all is a data set too.
    columns = {name: [row[name] for row in builder.rows] for name in QUESTION_FEATURES}
    return Dataset.from_dict(columns, features=QUESTION_FEATURES)


def _records(corpus: Dataset) -> list[_Record]:
    columns = ["id", "patient_id", "findings", "severity", "split", "recorded_at"]
    missing = [name for name in columns if name not in corpus.column_names]
    if missing:
        raise ValueError(f"the corpus lacks the column {', '.join(missing)}; make it by prepare or records_to_corpus")
    return [
        _Record(
            row["id"],
            row["patient_id"],
            frozenset(row["findings"]),
            row["severity"],
            row["split"],
            (row["recorded_at"] or "", row["id"]),
        )
        for row in corpus.select_columns(columns).with_format(None)
    ]


class _Builder:
    """Collects rows. Every draw prefers the records used least so far, then the order of a seeded shuffle."""

    def __init__(
        self,
        records: list[_Record],
        phrasings: str,
        seed: int,
        no_per_yes: float,
        min_positives: int,
        attributes: Iterable[str] | None,
    ) -> None:
        self.records, self.phrasings, self.seed, self.no_per_yes = records, phrasings, seed, no_per_yes
        self.rows: list[dict] = []
        self._ids: set[str] = set()
        counts = Counter(name for record in records for name in record.findings)
        self.stated = frozenset(counts)
        self.groups = ["any abnormality", *vocabulary.GROUPS]
        vocabulary.check_findings(self.stated)
        wanted = None if attributes is None else set(attributes)
        if wanted is not None:
            vocabulary.check_findings(wanted - set(self.groups))
            self.groups = [name for name in self.groups if name in wanted]
        self.findings = sorted(
            name
            for name, n in counts.items()
            # "Does this ECG show no noise?" reads both ways; the group "noise" asks it the right way round
            if n >= min_positives and (wanted is None or name in wanted) and name != "no noise"
        )
        self.truth: Callable[[frozenset[str], str], bool | None] = lru_cache(maxsize=None)(
            lambda present, name: vocabulary.truth(present, name, self.stated)
        )
        self.group_truth: Callable[[frozenset[str], str], bool | None] = lru_cache(maxsize=None)(
            lambda present, name: vocabulary.group_truth(present, name, self.stated)
        )

    def verify(self, budget: int) -> None:
        cells = {}
        for name in [*self.findings, *self.groups]:
            is_group = name in self.groups
            decide = self.group_truth if is_group else self.truth
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
            for record in self.records:
                answered[decide(record.findings, name)].append((record,))
            cells[template, "verify", name] = answered
        self._balanced(cells, budget)

    def choose(self, budget: int) -> None:
        rng, used = self._rng("choose"), Counter()
        names = [
            name for name in self.findings if vocabulary.VOCABULARY[name].category != "noise" and name != "normal ecg"
        ]
        by_category = defaultdict(list)
        for name in names:
            by_category[vocabulary.VOCABULARY[name].category].append(name)
        asked, wording = 0, self._wordings("choose-finding", "choose")
        for turn, position in enumerate(self._cycle(rng, budget * 4)):
            record = self.records[position]
            true = [name for name in names if self.truth(record.findings, name)]
            # Of five questions three have one right answer, one has two and one has none.
            right = (1, 2, 1, 0, 1)[turn % 5]
            if asked >= budget or used[record.id] > 4 * budget / len(self.records):
                break
            if right and not true:
                continue
            first = str(rng.choice(true if right else names))
            same = by_category[vocabulary.VOCABULARY[first].category]
            if right == 2:
                same = [name for name in true if not _related(first, name)] or true
            near = right == 2 or (len(same) > 1 and rng.random() < 0.7)
            second = str(rng.choice(same if near else names))
            answers = [self.truth(record.findings, first), self.truth(record.findings, second)]
            if None in answers or sum(answers) != right or _related(first, second):
                continue
            a, b = (first, second) if rng.random() < 0.5 else (second, first)
            added = self._add(
                "choose-finding",
                " or ".join(sorted((first, second))),
                "choose",
                wording[asked % len(wording)].format(a=a, b=b),
                (record,),
                [name for name in (first, second) if self.truth(record.findings, name)],
            )
            asked, used[record.id] = asked + added, used[record.id] + added

    def query(self, budget: int) -> None:
        categories = ["rhythm", "axis", *_QUERY_NOUNS, "abnormalities"]
        share = -(-budget // len(categories))
        for category in categories:
            answered: dict[bool, list] = {True: [], False: []}
            for record in self.records:
                answer = self._query_answer(record.findings, category)
                if answer is not None:
                    answered[bool(answer)].append((record,))
            if not answered[True]:
                continue
            template = f"query-{category}" if category not in _QUERY_NOUNS else "query-group"
            rng, used = self._rng(template, category), Counter()
            # "none" is an answer in at most half of the questions
            some = _draw(answered[True], share, rng, used)
            none = _draw(answered[False], min(share - min(share // 2, len(some)), len(some)), rng, used)
            some = some[: share - len(none)]
            wording = self._wordings(template, category)
            for turn, records in enumerate(_interleave(some, none)):
                question = wording[turn % len(wording)].format(findings=_QUERY_NOUNS.get(category, ""))
                answer = self._query_answer(records[0].findings, category)
                self._add(template, category, "query", question, records, answer or ())

    def compare(self, budget: int) -> None:
        own = self._own_pairs()
        for kind, pairs in (("comparison", own), ("comparison-irrelevant", None)):
            share = budget - sum(row["type"].startswith("comparison-") for row in self.rows)
            if share <= 0 or pairs == []:
                continue
            each = -(-share // max(1, len(self.findings)))
            cells = {
                (template, f"{kind}-verify", name): self._compared(template, name, pairs, each)
                for name in self.findings
                if name != "normal ecg"
                for template in ("compare-new", "compare-resolved")
            }
            self._balanced(cells, -(-share // 2))
            candidates = pairs or self._other_pairs(self.records, self.records, share, "query")
            for template, order in (("compare-new-query", 1), ("compare-resolved-query", -1)):
                rng = self._rng(template, kind)
                answers = {pair: self._difference(*pair[::order]) for pair in candidates}
                some = _draw([pair for pair in candidates if answers[pair]], -(-share // 4), rng, Counter())
                none = _draw([pair for pair in candidates if answers[pair] == ()], len(some) // 3, rng, Counter())
                wording = self._wordings(template, kind)
                for turn, pair in enumerate(_interleave(some, none)[: -(-share // 4)]):
                    question = wording[turn % len(wording)]
                    self._add(template, "abnormalities", f"{kind}-query", question, pair, answers[pair] or ())

    def _compared(self, template: str, name: str, pairs: list | None, each: int) -> dict[bool | None, list]:
        """Pairs that answer a comparison yes and no. Half of the no-pairs show the finding in at least one ECG where
        there are
        such: from neither ECG alone can the answer then be told."""
        order = 1 if template == "compare-new" else -1
        if pairs is not None:
            strata = defaultdict(list)
            for pair in pairs:
                strata[tuple(self.truth(record.findings, name) for record in pair[::order])].append(pair)
        else:
            shown, absent = (
                [record for record in self.records if self.truth(record.findings, name) is answer]
                for answer in (True, False)
            )
            # As many as could be asked, with some to choose from
            n = 2 * each + 8
            strata = {
                (a is shown, b is shown): self._other_pairs(*(a, b)[::order], n, f"{template}{name}")
                for a in (shown, absent)
                for b in (shown, absent)
            }
        hard = [strata.get(key, []) for key in ((True, True), (True, False))]
        easy = strata.get((False, False), [])
        return {True: strata.get((False, True), []), False: _interleave(_interleave(*hard), easy)}

    def _own_pairs(self) -> list[tuple[_Record, _Record]]:
        """Neighbouring records of one patient and split, in order of time."""
        patients = defaultdict(list)
        for record in self.records:
            patients[record.patient_id, record.split].append(record)
        in_order = (sorted(records, key=lambda record: record.order) for records in patients.values())
        return [pair for records in in_order for pair in zip(records, records[1:], strict=False)]

    def _other_pairs(
        self, firsts: list[_Record], seconds: list[_Record], n: int, key: str
    ) -> list[tuple[_Record, _Record]]:
        """Up to n pairs of two patients of one split, the first from `firsts`, the second from `seconds`."""
        rng, by_split = self._rng("pairs", key), defaultdict(list)
        for record in seconds:
            by_split[record.split].append(record)
        pairs: dict[tuple[_Record, _Record], None] = {}
        for position in range(2 * n if firsts else 0):
            if position % len(firsts) == 0:
                shuffled = rng.permutation(len(firsts))
            first = firsts[shuffled[position % len(firsts)]]
            matching = by_split[first.split]
            second = matching[int(rng.integers(len(matching)))] if matching else first
            if second.patient_id != first.patient_id:
                pairs[first, second] = None
            if len(pairs) == n:
                break
        return list(pairs)

    def _query_answer(self, present: frozenset[str], category: str) -> tuple[str, ...] | None:
        if category == "abnormalities":
            if self.group_truth(present, "any abnormality") is None:
                return None
            return tuple(name for name in vocabulary.most_specific(present) if vocabulary.VOCABULARY[name].abnormal)
        names = [name for name in present if vocabulary.VOCABULARY[name].category == category]
        if category in ("rhythm", "axis"):
            return vocabulary.most_specific(names) or None
        group = next(group for group, member in vocabulary.GROUPS.items() if member == category)
        if self.group_truth(present, group) is None:
            return None
        return vocabulary.most_specific(name for name in names if vocabulary.VOCABULARY[name].abnormal)

    def _difference(self, before: _Record, after: _Record) -> tuple[str, ...] | None:
        """Abnormal findings of `after` that `before` does not show; None if the statements leave one of them open."""
        if not before.findings or not after.findings:
            return None
        abnormal = [name for name in after.findings if vocabulary.VOCABULARY[name].abnormal]
        earlier = {name: self.truth(before.findings, name) for name in abnormal}
        if None in earlier.values():
            return None
        return vocabulary.most_specific(name for name, shown in earlier.items() if not shown)

    def _balanced(self, cells: dict[tuple[str, str, str], dict[bool | None, list]], budget: int) -> None:
        """Ask each (template, type, attribute) with yes and no, attributes alike; the rare ones give up what they
        lack."""
        possible = {
            key: min(len(answered[True]), int(len(answered[False]) / self.no_per_yes) if self.no_per_yes else budget)
            for key, answered in cells.items()
            if answered[True] and (answered[False] or not self.no_per_yes)
        }
        remaining, drawn, used = budget / (1 + self.no_per_yes), {}, Counter()
        for left, (key, most) in zip(
            range(len(possible), 0, -1), sorted(possible.items(), key=lambda item: (item[1], item[0])), strict=True
        ):
            drawn[key] = max(1, min(most, int(remaining / left)))
            remaining -= drawn[key]
        for key in cells:  # the caller's order
            if key not in drawn:
                continue
            template, kind, name = key
            rng = self._rng(*key)
            yes = _draw(cells[key][True], drawn[key], rng, used)
            wanted = round(drawn[key] * self.no_per_yes)
            no = cells[key][False]
            # comparisons come with the telling pairs first and in their order
            no = no[:wanted] if "comparison" in kind else _draw(no, wanted, rng, used)
            wording = self._wordings(*key)
            for answer, chosen in (("yes", yes), ("no", no)):
                for turn, records in enumerate(chosen):
                    # the i-th yes and the i-th no are worded alike: the wording tells nothing of the answer
                    question = wording[turn % len(wording)].format(group=name, **_in_a_sentence(name))
                    self._add(template, name, kind, question, records, [answer])

    def _add(
        self,
        template: str,
        attribute: str,
        kind: str,
        question: str,
        records: Sequence[_Record],
        answers: Iterable[str],
    ) -> bool:
        ids = [record.id for record in records]
        digest = hashlib.sha256("\0".join([template, attribute, kind, question, *ids]).encode()).hexdigest()[:16]
        if digest in self._ids:
            return False
        self._ids.add(digest)
        self.rows.append(
            {
                "question_id": digest,
                "template": template,
                "attribute": attribute,
                "type": kind,
                "question": question,
                "ecg_ids": ids,
                "answers": sorted(answer.lower() for answer in answers) or ["none"],
                "severity": [record.severity for record in records],
                "split": records[0].split,
            }
        )
        return True

    def _rng(self, *key: str) -> np.random.Generator:
        digest = hashlib.sha256("\0".join(key).encode()).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:8], "big")])

    def _wordings(self, template: str, *key: str) -> list[str]:
        wordings = PHRASINGS[template][self.phrasings]
        return [wordings[i] for i in self._rng("wording", template, *key).permutation(len(wordings))]

    def _cycle(self, rng: np.random.Generator, n: int) -> Iterable[int]:
        while n > 0 and self.records:
            for position in rng.permutation(len(self.records)):
                yield int(position)
            n -= len(self.records)


def _draw(candidates: list, n: int, rng: np.random.Generator, used: Counter) -> list:
    """Up to n candidates (tuples of records), those whose records were used least first, in a seeded order."""
    shuffled = [candidates[i] for i in rng.permutation(len(candidates))]
    shuffled.sort(key=lambda records: sum(used[record.id] for record in records))  # stable
    chosen = shuffled[:n]
    used.update(record.id for records in chosen for record in records)
    return chosen


def _interleave(some: list, others: list) -> list:
    return [item for pair in zip_longest(some, others) for item in pair if item is not None]


def _related(first: str, second: str) -> bool:
    return first == second or second in vocabulary.implied([first]) or first in vocabulary.implied([second])


def _in_a_sentence(name: str) -> dict[str, str]:
    """The finding and the verbs in its number."""
    article = "a " if name in ("normal axis", "vertical axis", "horizontal axis", "bigeminal pattern") else ""
    if name.endswith(("complexes", "beats", "couplets", "problems")):
        return {"finding": name, "Is": "Are", "is_": "are", "Has": "Have", "has": "have"}
    return {"finding": article + name, "Is": "Is", "is_": "is", "Has": "Has", "has": "has"}
