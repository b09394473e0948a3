"""Sampling of questions: the facts of each record, and which records and paraphrases make the rows.

In: a corpus' columns, and candidates that answer yes and no. Out: `Facts` of the records, rows of `QUESTION_FEATURES`.
Decided here: every draw prefers the records used least so far; yes and no have the same paraphrases; and equal
arguments give equal rows, because each draw has its own random generator, seeded by its name.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import numpy as np
from datasets import Dataset, Features, List, Value

from ...errors_ecgllm import ECGError
from ..records.prepared_findings import check_prepared_findings
from ..records.silence import sources_of, stated_by_source
from .paraphrases import PARAPHRASES

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
UNANSWERABLE = "unanswerable"
"""Type of questions that no ECG answers (`refusals`): their answer is a refusal, the same for every ECG, so that there
is nothing to balance in them, nor to give away."""
# Of two patients' ECGs: a model that has read two of them can answer more than one question about them.
QUESTIONS_PER_PAIR = 8


@dataclass(frozen=True, eq=False)
class Facts:
    """What a corpus states of one record. leads: finding -> leads that show it, where the source names them.
    measurements: name -> value (bpm, ms, degrees); age in years, sex "female" or "male", None where unknown. stated:
    all that the record's source states of any record, by which its silence is judged."""

    id: str
    patient_id: str
    findings: frozenset[str]
    severity: int
    split: str
    order: tuple[str, str] = field(repr=False)
    leads: Mapping[str, frozenset[str]]
    measurements: Mapping[str, float]
    age: float | None
    sex: str | None
    stated: frozenset[str]


@dataclass
class Cell:
    """One question with the records (tuples of one or two) that answer it yes and no.

    fields: what fills the paraphrase. key: tells this cell from others of its template. in_order: whether `no` comes
    with the telling ones first and is to be taken in that order; yes_in_order: the same of `yes`.
    """

    template: str
    kind: str
    attribute: str
    yes: list[tuple[Facts, ...]]
    no: list[tuple[Facts, ...]]
    fields: Mapping[str, str]
    key: str = ""
    in_order: bool = False
    yes_in_order: bool = False

    @property
    def name(self) -> tuple[str, ...]:
        """What seeds its draws; `key` only where one attribute has several cells."""
        return (self.template, self.kind, self.attribute, *([self.key] if self.key else []))


def facts_of(corpus: Dataset) -> list[Facts]:
    """The records of a corpus. Columns that older corpora lack (leads, measurements, age, sex) are then unknown.

    What a source states anywhere in this corpus decides what its silence means in every record of that source, in each
    of its splits; what another source states decides nothing.

    Raises: ValueError if a needed column is missing, or if findings are those of an earlier vocabulary.
    """
    needed = ["id", "patient_id", "findings", "severity", "split", "recorded_at"]
    missing = [name for name in needed if name not in corpus.column_names]
    if missing:
        raise ECGError(f"the corpus lacks the column {', '.join(missing)}; make it by prepare or records_to_corpus")
    optional = [name for name in ("finding_leads", "measurements", "age", "sex") if name in corpus.column_names]
    check_prepared_findings(corpus)
    sources = sources_of(corpus)
    stated = stated_by_source(corpus.select_columns(["findings"]).with_format(None)["findings"], sources)
    rows = corpus.select_columns([*needed, *optional]).with_format(None)
    return [
        Facts(
            row["id"],
            row["patient_id"],
            frozenset(row["findings"]),
            row["severity"],
            row["split"],
            (row["recorded_at"] or "", row["id"]),
            {one["finding"]: frozenset(one["leads"]) for one in row.get("finding_leads") or [] if one["leads"]},
            {name: value for name, value in (row.get("measurements") or {}).items() if value is not None},
            row.get("age"),
            row.get("sex"),
            stated[source],
        )
        for row, source in zip(rows, sources, strict=True)
    ]


@dataclass
class Rows:
    """Collects rows. paraphrases: "train" or "test". no_per_yes: how many "no" are drawn for one "yes"."""

    paraphrases: str
    seed: int
    no_per_yes: float = 1.0
    rows: list[dict] = field(default_factory=list)
    _ids: set[str] = field(default_factory=set)

    def __len__(self) -> int:
        return len(self.rows)

    def add(
        self,
        template: str,
        attribute: str,
        kind: str,
        question: str,
        records: Sequence[Facts],
        answers: Iterable[str],
    ) -> bool:
        """Add a row; False if the same question of the same records is there already."""
        ids = [record.id for record in records]
        digest = question_id(template, attribute, kind, question, ids)
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

    def balanced(self, cells: Sequence[Cell], budget: int) -> None:
        """Ask each cell with yes and no, cells alike; the rare ones give up what they lack."""
        possible = {
            cell.name: min(len(cell.yes), int(len(cell.no) / self.no_per_yes) if self.no_per_yes else budget)
            for cell in cells
            if cell.yes and (cell.no or not self.no_per_yes)
        }
        remaining, drawn, used = budget / (1 + self.no_per_yes), {}, Counter()
        for left, (key, most) in zip(
            range(len(possible), 0, -1), sorted(possible.items(), key=lambda item: (item[1], item[0])), strict=True
        ):
            drawn[key] = max(1, min(most, int(remaining / left)))
            remaining -= drawn[key]
        for cell in cells:  # the caller's order
            if cell.name not in drawn:
                continue
            rng = self.rng(*cell.name)
            asked = drawn[cell.name]
            yes = cell.yes[:asked] if cell.yes_in_order else draw(cell.yes, asked, rng, used)
            wanted = round(asked * self.no_per_yes)
            no = cell.no[:wanted] if cell.in_order else draw(cell.no, wanted, rng, used)
            paraphrase = self.shuffled(*cell.name)
            for answer, chosen in (("yes", yes), ("no", no)):
                for turn, records in enumerate(chosen):
                    # the i-th yes and the i-th no are worded alike: the paraphrase tells nothing of the answer
                    question = paraphrase[turn % len(paraphrase)].format(**cell.fields)
                    self.add(cell.template, cell.attribute, cell.kind, question, records, [answer])

    def listed(
        self,
        template: str,
        attribute: str,
        kind: str,
        answered: Sequence[tuple[tuple[Facts, ...], tuple[str, ...]]],
        budget: int,
        none: float,
        fields: Mapping[str, str] | None = None,
        key: str = "",
    ) -> None:
        """Ask for a list: records with their answers, of which at most the share `none` answers "none".

        fields, key: as of `Cell`.
        """
        name = (template, kind, attribute, *([key] if key else []))
        rng, used = self.rng(*name), Counter()
        answers = dict(answered)
        some = draw([records for records, own in answered if own], budget, rng, used)
        most = min(int(budget * none), int(len(some) * none / (1 - none)))
        empty = draw([records for records, own in answered if not own], most, rng, used)
        paraphrase = self.shuffled(*name)
        for turn, records in enumerate(interleave(some[: budget - len(empty)], empty)):
            question = paraphrase[turn % len(paraphrase)].format(**(fields or {}))
            self.add(template, attribute, kind, question, records, answers[records])

    def rng(self, *key: str) -> np.random.Generator:
        digest = hashlib.sha256("\0".join(key).encode()).digest()
        return np.random.default_rng([self.seed, int.from_bytes(digest[:8], "big")])

    def shuffled(self, template: str, *key: str) -> list[str]:
        """The template's paraphrases in an order that the key seeds."""
        paraphrases = PARAPHRASES[template][self.paraphrases]
        return [paraphrases[i] for i in self.rng("wording", template, *key).permutation(len(paraphrases))]

    def dataset(self) -> Dataset:
        # By column, so that no question at all is a data set too.
        columns = {name: [row[name] for row in self.rows] for name in QUESTION_FEATURES}
        return Dataset.from_dict(columns, features=QUESTION_FEATURES)


def question_id(template: str, attribute: str, kind: str, question: str, record_ids: Sequence[str]) -> str:
    """What a question of certain records is known by: the same in every set of questions."""
    return hashlib.sha256("\0".join([template, attribute, kind, question, *record_ids]).encode()).hexdigest()[:16]


def cycle(rng: np.random.Generator, size: int, n: int) -> Iterator[int]:
    """At least n positions of `size`, shuffled anew each time round."""
    while n > 0 and size:
        yield from map(int, rng.permutation(size))
        n -= size


def draw(candidates: list, n: int, rng: np.random.Generator, used: Counter) -> list:
    """Up to n candidates (tuples of records), those whose records were used least first, in a seeded order."""
    shuffled = [candidates[i] for i in rng.permutation(len(candidates))]
    shuffled.sort(key=lambda records: sum(used[record.id] for record in records))  # stable
    chosen = shuffled[:n]
    used.update(record.id for records in chosen for record in records)
    return chosen


def interleave(some: list, others: list) -> list:
    """One of each in turn, then what is left of the longer."""
    return [item for pair in zip_longest(some, others) for item in pair if item is not None]


def own_pairs(records: Iterable[Facts]) -> list[tuple[Facts, Facts]]:
    """Neighbouring records of one patient and split, in order of time."""
    patients = defaultdict(list)
    for record in records:
        patients[record.patient_id, record.split].append(record)
    in_order = (sorted(own, key=lambda record: record.order) for own in patients.values())
    return [pair for own in in_order for pair in zip(own, own[1:], strict=False)]


def other_pairs(
    firsts: list[Facts], seconds: list[Facts], n: int, rng: np.random.Generator
) -> list[tuple[Facts, Facts]]:
    """Up to n pairs of two patients of one split, the first from `firsts`, the second from `seconds`."""
    by_split = defaultdict(list)
    for record in seconds:
        by_split[record.split].append(record)
    pairs: dict[tuple[Facts, Facts], None] = {}
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


def in_a_sentence(name: str) -> dict[str, str]:
    """The finding and the verbs in its number."""
    article = (
        "a "
        if name in ("normal axis", "vertical axis", "horizontal axis", "leftward axis", "bigeminal pattern")
        else ""
    )
    if name.endswith(("complexes", "beats", "couplets", "problems")):
        return {"finding": name, "Is": "Are", "is_": "are", "Has": "Have", "has": "have"}
    return {"finding": article + name, "Is": "Is", "is_": "is", "Has": "Has", "has": "has"}
