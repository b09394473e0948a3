"""The de-biased set: for every question, equally many records that answer yes and no.

In: questions, and the corpus where confounders are to be matched. Out: verify questions (of one record or two) in
which, for each template, type and attribute and within it for each wording, "yes" and "no" are equally frequent, so
that neither the question nor its wording tells the answer; matched, also within each stratum of the confounders
(backdoor adjustment by exact matching). What cannot be balanced is dropped and listed. Source of the idea:
arXiv 2411.14795, de-biased pre-training.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset
from transformers.utils import logging

from .confounders import CONFOUNDERS, Records, other_severity

logger = logging.get_logger(__name__)

_COLUMNS = ["template", "type", "attribute", "question", "ecg_ids", "answers"]


@dataclass
class DebiasReport:
    """What de-biasing kept and dropped.

    dropped: (template, type, attribute) -> {"yes": n, "no": n}, only where any were; lost: those of which nothing is
    left. matched_on: the confounders. balance: confounder -> (before, after), how far the records of yes and no are
    apart: standardised mean difference of numbers, else the largest difference of a value's share. most_used: the
    record that most kept questions are about, mean_used: the mean over the records used.
    """

    questions: int = 0
    kept: int = 0
    not_verify: int = 0
    dropped: dict[tuple[str, str, str], dict[str, int]] = field(default_factory=dict)
    lost: list[tuple[str, str, str]] = field(default_factory=list)
    matched_on: tuple[str, ...] = ()
    balance: dict[str, tuple[float, float]] = field(default_factory=dict)
    most_used: int = 0
    mean_used: float = 0.0

    def __str__(self) -> str:
        lines = [f"kept {self.kept} of {self.questions} questions; {self.not_verify} are not answered by yes or no"]
        if self.mean_used:
            lines.append(
                f"a record is asked about {self.mean_used:.1f} times on average, at most {self.most_used} times"
            )
        for name, (before, after) in self.balance.items():
            matched = ", matched" if name in self.matched_on else ""
            lines.append(f"{name}{matched}: yes and no differ by {before:+.2f} before, {after:+.2f} after")
        for key, counts in sorted(self.dropped.items()):
            gone = " (nothing is left of it)" if key in self.lost else ""
            lines.append(f"dropped of {' / '.join(key)}: {counts['yes']} yes, {counts['no']} no{gone}")
        return "\n".join(lines)


def debias(
    questions: Dataset,
    seed: int = 0,
    corpus: Dataset | None = None,
    match_on: Sequence[str] = (),
    max_per_record: int | None = None,
) -> Dataset:
    """The de-biased set of `questions`; see `debias_with_report`. What was dropped is logged."""
    kept, report = debias_with_report(questions, seed, corpus, match_on, max_per_record)
    if report.dropped:
        logger.warning(str(report))
    return kept


def debias_with_report(
    questions: Dataset,
    seed: int = 0,
    corpus: Dataset | None = None,
    match_on: Sequence[str] = (),
    max_per_record: int | None = None,
) -> tuple[Dataset, DebiasReport]:
    """Balance verify questions and say what that cost.

    Args:
        questions: with the columns template, type, attribute, question, ecg_ids, answers.
        seed: of the choice among equals.
        corpus: the records, for `match_on` and the report's balance.
        match_on: confounders within whose strata yes and no shall be equally frequent too: some of "severity" (that
            of the findings not asked about, see `confounders.other_severity`), "age" (bands), "sex", "device",
            "noise". Records where one is unknown match those where it is unknown.
        max_per_record: at most so many kept questions about one record.
    Returns: (rows of `questions` in their order, report). For each (template, type, attribute, question text) as many
        "yes" as "no". Among those of the frequent answer, the ones whose records are used least so far are kept.
    Raises: ValueError if a column is missing, a confounder is unknown or without a corpus, or nothing can be balanced.
    """
    missing = [name for name in _COLUMNS if name not in questions.column_names]
    if missing:
        raise ValueError(f"the questions lack the column {', '.join(missing)}; make them by build_questions")
    strata = _strata(corpus, match_on)
    if max_per_record is not None and max_per_record < 1:
        raise ValueError(f"max_per_record is {max_per_record}; expected at least 1, or None")
    report = DebiasReport(questions=len(questions), matched_on=tuple(match_on))
    rows = list(questions.select_columns(_COLUMNS).with_format(None))
    cells: dict[tuple, dict[str, list[int]]] = defaultdict(lambda: {"yes": [], "no": []})
    for position, row in enumerate(rows):
        if row["type"].endswith("verify") and row["answers"] in (["yes"], ["no"]):
            key = (row["template"], row["type"], row["attribute"] or "", row["question"], strata(row))
            cells[key][row["answers"][0]].append(position)
        else:
            report.not_verify += 1
    rng, used, kept = np.random.default_rng(seed), Counter(), []
    dropped: dict[tuple, Counter] = defaultdict(Counter)
    kept_of: Counter = Counter()
    for key, sides in sorted(cells.items(), key=lambda item: (item[0][:4], repr(item[0][4]))):
        orders = {answer: _least_used_first(side, rows, used, rng) for answer, side in sides.items()}
        chosen = _pairs(orders["yes"], orders["no"], rows, used, max_per_record)
        kept += chosen
        n = len(chosen) // 2
        for answer, side in sides.items():
            if len(side) > n:
                dropped[key[:3]][answer] += len(side) - n
        kept_of[key[:3]] += 2 * n
    if not kept:
        within = f" within the strata of {', '.join(match_on)}" if match_on else ""
        raise ValueError(
            f"no question of {len(rows)} has both a record that answers yes and one that answers no{within}; ask "
            "about more records, or for findings that some show and some do not"
        )
    report.kept = len(kept)
    report.dropped = {key: {"yes": counts["yes"], "no": counts["no"]} for key, counts in dropped.items()}
    report.lost = sorted(key for key in report.dropped if not kept_of[key])
    report.most_used, report.mean_used = max(used.values()), float(np.mean(list(used.values())))
    if corpus is not None:
        everything = [position for sides in cells.values() for side in sides.values() for position in side]
        before, after = (_differences([rows[i] for i in chosen], corpus) for chosen in (everything, kept))
        report.balance = {name: (before[name], after[name]) for name in before if name in after}
    return questions.select(sorted(kept)), report


def _strata(corpus: Dataset | None, match_on: Sequence[str]) -> Callable[[dict[str, Any]], tuple[Hashable, ...]]:
    """What a question's records are matched by: a tuple for each of its records."""
    if isinstance(match_on, str):
        raise TypeError(f"match_on is the string {match_on!r}; expected a sequence such as ({match_on!r},)")
    unknown = [name for name in match_on if name not in CONFOUNDERS]
    if unknown:
        raise ValueError(f"cannot match on {', '.join(unknown)}; known are {', '.join(CONFOUNDERS)}")
    if match_on and corpus is None:
        raise ValueError(f"matching on {', '.join(match_on)} needs the records: pass corpus=")
    records = Records(corpus)
    looks = [CONFOUNDERS[name] for name in match_on]
    return lambda row: tuple(
        look(records, record_id, row["attribute"] or "") for record_id in row["ecg_ids"] for look in looks
    )


def _least_used_first(side: list[int], rows: list[dict], used: Counter, rng: np.random.Generator) -> list[int]:
    shuffled = [side[i] for i in rng.permutation(len(side))]
    return sorted(shuffled, key=lambda position: sum(used[name] for name in rows[position]["ecg_ids"]))  # stable


def _pairs(yes: list[int], no: list[int], rows: list[dict], used: Counter, most: int | None) -> list[int]:
    """As many of one side as of the other, none about a record that is used up."""

    def next_free(side: list[int]) -> int | None:
        while side:
            position = side.pop(0)
            if most is None or all(used[name] < most for name in rows[position]["ecg_ids"]):
                return position
        return None

    chosen: list[int] = []
    wanted = min(len(yes), len(no))
    yes, no = list(yes), list(no)
    while len(chosen) < 2 * wanted:
        first = next_free(yes)
        second = next_free(no) if first is not None else None
        if second is None:
            break
        for position in (first, second):
            used.update(rows[position]["ecg_ids"])
            chosen.append(position)
    return chosen


def _differences(rows: list[dict[str, Any]], corpus: Dataset) -> dict[str, float]:
    """How far the (last) records of yes and no are apart, by confounder."""
    records = Records(corpus)
    sides: dict[str, list[dict]] = {"yes": [], "no": []}
    for row in rows:
        sides[row["answers"][0]].append(row)
    found: dict[str, float] = {}
    for name, look in CONFOUNDERS.items():
        values = {side: [_value(name, look, records, row) for row in members] for side, members in sides.items()}
        yes, no = ([value for value in values[side] if value is not None] for side in ("yes", "no"))
        if len(yes) < 2 or len(no) < 2:
            continue
        if name in ("severity", "age"):
            spread = np.sqrt((np.var(yes) + np.var(no)) / 2)
            found[name] = float((np.mean(yes) - np.mean(no)) / spread) if spread else 0.0
        else:
            shares = [(yes.count(value) / len(yes), no.count(value) / len(no)) for value in set(yes) | set(no)]
            found[name] = max((a - b for a, b in shares), key=abs)
    return found


def _value(name: str, look: Callable, records: Records, row: dict[str, Any]) -> Any:
    """The confounder as a number where it is one: bands are for matching."""
    record_id, attribute = row["ecg_ids"][-1], row["attribute"] or ""
    if name == "age":
        return records.get("age", record_id)
    if name == "severity":
        findings = records.get("findings", record_id)
        return None if findings is None else other_severity(findings, attribute)
    return look(records, record_id, attribute)
