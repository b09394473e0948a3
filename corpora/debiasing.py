"""The de-biased set: for every question, equally many records that answer yes and no.

In: questions, and the corpus where confounders are to be matched. Out: verify questions (of one record or two) in
which, for each template, type and attribute and within it for each wording, "yes" and "no" are equally frequent, so
that neither the question nor its wording tells the answer; matched or weighted, also within each stratum of the
confounders (backdoor adjustment). What cannot be balanced is dropped and listed. Source of the idea: arXiv 2411.14795,
de-biased pre-training.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import Dataset
from transformers.utils import logging

from ..errors_ecgllm import ECGError
from .confounders import CONFOUNDERS, MatchOn, Records, confounders_of
from .matching import Cell, balancing_weights, most_balanced
from .report_lines import listed

logger = logging.get_logger(__name__)

METHODS = ("match", "weight")
_COLUMNS = ["template", "type", "attribute", "question", "ecg_ids", "answers"]
_LISTED = 50  # kinds of dropped questions in a printed report


@dataclass
class DebiasReport:
    """What de-biasing kept and dropped.

    dropped: (template, type, attribute) -> {"yes": n, "no": n}, only where any were; lost: those of which nothing is
    left. matched_on: the confounders. balance: confounder -> (before, after), how far the records of yes and no are
    apart: standardised mean difference of numbers, else the largest difference of a value's share. most_used: the
    record that most kept questions are about, mean_used: the mean over the records used. effective, heaviest: of
    weights, how many questions of equal weight would estimate as well (Kish 1965), and the largest; None if matched.
    uneven_splits: split -> share of its kept questions that it would lose if it were balanced by itself. unknown:
    records asked about that the corpus lacks, so that nothing is known to match them on. kept_besides: questions not
    answered by yes or no that whoever asked for the report kept all the same.
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
    method: str = "match"
    uneven_splits: dict[str, float] = field(default_factory=dict)
    unknown: int = 0
    kept_besides: int = 0
    effective: float | None = None
    heaviest: float | None = None

    def __str__(self) -> str:
        return self.text(_LISTED)

    def text(self, most: int | None = None, all_in: str | os.PathLike[str] | None = None) -> str:
        """The report, what was kept last; of what was dropped the `most` largest, all in the file `all_in`."""
        largest = sorted(self.dropped.items(), key=lambda item: (-sum(item[1].values()), item[0]))
        dropped = []
        for key, counts in largest:
            gone = " (nothing is left of it)" if key in self.lost else ""
            dropped.append(f"dropped of {' / '.join(key)}: {counts['yes']} yes, {counts['no']} no{gone}")
        lines = listed(dropped, most, all_in)
        if self.mean_used:
            lines.append(
                f"a record is asked about {self.mean_used:.1f} times on average, at most {self.most_used} times"
            )
        if self.effective is not None:
            lines.append(f"weights are worth {self.effective:.0f} questions; the heaviest is {self.heaviest:.1f}")
        done = ", matched" if self.method == "match" else ", weighted"
        for name, (before, after) in self.balance.items():
            matched = done if name in self.matched_on else ""
            lines.append(f"{name}{matched}: yes and no differ by {before:+.2f} before, {after:+.2f} after")
        if self.unknown:
            lines.append(
                f"{self.unknown} records asked about are not in the corpus: nothing is known to match them on"
            )
        for split, share in sorted(self.uneven_splits.items()):
            lines.append(f"split {split} is not balanced by itself: {share:.0%} of it are too many; use by_split")
        unbalanced = self.questions - self.not_verify - self.kept
        lines.append(
            f"kept {self.kept} of {self.questions} questions; {self.not_verify} are not answered by yes or no"
            f"{f' (kept besides: {self.kept_besides})' if self.kept_besides else ''}, "
            f"{unbalanced} could not be balanced"
        )
        return "\n".join(lines)


def debias(
    questions: Dataset,
    seed: int = 0,
    corpus: Dataset | None = None,
    match_on: MatchOn = (),
    max_per_record: int | None = None,
    method: str = "match",
    by_split: bool = True,
) -> Dataset:
    """The de-biased set of `questions`; see `debias_with_report`. What was dropped is logged."""
    kept, report = debias_with_report(questions, seed, corpus, match_on, max_per_record, method, by_split)
    if report.dropped:
        logger.warning(str(report))
    return kept


def debias_with_report(
    questions: Dataset,
    seed: int = 0,
    corpus: Dataset | None = None,
    match_on: MatchOn = (),
    max_per_record: int | None = None,
    method: str = "match",
    by_split: bool = True,
) -> tuple[Dataset, DebiasReport]:
    """Balance verify questions and say what that cost.

    Args:
        questions: with the columns template, type, attribute, question, ecg_ids, answers.
        seed: of the choice among equals.
        corpus: the records, for `match_on` and the report's balance.
        match_on: confounders within whose strata yes and no shall be equally frequent too: some of "severity" (that
            of the findings not asked about, see `confounders.other_severity`), "age" (bands), "sex", "device",
            "noise", other columns of the corpus, or a mapping of names to band edges or functions (see
            `confounders.confounders_of`). Records where one is unknown match those where it is unknown; of two ECGs
            the pair of values counts.
        max_per_record: at most so many kept questions about one record.
        method: "match" keeps the largest selection in which yes and no are equally frequent in every wording, and for
            each attribute in every stratum (`matching.most_balanced`). "weight" drops only what has one answer in its
            wording or stratum, and adds the column weight (`matching.balancing_weights`, mean 1 by attribute).
        by_split: balance each split by itself. A set that is balanced as a whole need not be so in its training part;
            the report says where it is not.
    Returns: (rows of `questions` in their order, report). For each (template, type, attribute, question text) as many
        "yes" as "no". Among those of the frequent answer, the ones whose records are used least so far are kept.
    Raises: ValueError if a column is missing, a confounder is unknown or without a corpus, or nothing can be balanced.
    """
    missing = [name for name in _COLUMNS if name not in questions.column_names]
    if missing:
        raise ECGError(f"the questions lack the column {', '.join(missing)}; make them by build_questions")
    if method not in METHODS:
        raise ECGError(f"method={method!r}; expected one of {', '.join(METHODS)}")
    strata, unknown = _strata(corpus, match_on), Records(corpus).lacking(questions)[0]
    if max_per_record is not None and max_per_record < 1:
        raise ECGError(f"max_per_record is {max_per_record}; expected at least 1, or None")
    if method == "weight" and (max_per_record is not None or "weight" in questions.column_names):
        what = "max_per_record bounds a selection" if max_per_record is not None else "the questions have weights"
        raise ECGError(f"method='weight': {what}; use method='match', or leave it out")
    report = DebiasReport(questions=len(questions), matched_on=tuple(match_on), method=method, unknown=unknown)
    splits = ["split"] if "split" in questions.column_names else []
    rows = list(questions.select_columns([*_COLUMNS, *splits]).with_format(None))
    groups: dict[tuple, dict[Cell, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, row in enumerate(rows):
        if row["type"].endswith("verify") and row["answers"] in (["yes"], ["no"]):
            group = (row["template"], row["type"], row["attribute"] or "", (by_split and row.get("split")) or "")
            groups[group][row["question"], strata(row), row["answers"][0]].append(position)
        else:
            report.not_verify += 1
    weights: dict[int, float] = {}
    picker = _Picker(rows, np.random.default_rng(seed), max_per_record)
    dropped: dict[tuple, Counter] = defaultdict(Counter)
    for key, cells in sorted(groups.items()):
        if method == "weight":
            given = balancing_weights({cell: len(members) for cell, members in cells.items()})
            kept = {position: weight for cell, weight in given.items() for position in cells[cell]}
        else:
            kept = dict.fromkeys(picker.pick(cells), 1.0)
        weights |= kept
        for (_, _, answer), members in cells.items():
            lost = sum(position not in kept for position in members)
            if lost:
                dropped[key[:3]][answer] += lost
        if kept:
            dropped[key[:3]]["kept"] += len(kept)
    if not weights:
        within = f" within the strata of {', '.join(match_on)}" if match_on else ""
        raise ECGError(
            f"no question of {len(rows)} has both a record that answers yes and one that answers no{within}; ask "
            "about more records, or for findings that some show and some do not"
        )
    report.kept = len(weights)
    report.dropped = {
        key: {"yes": counts["yes"], "no": counts["no"]}
        for key, counts in dropped.items()
        if counts["yes"] or counts["no"]
    }
    report.lost = sorted(key for key in report.dropped if not dropped[key]["kept"])
    used = Counter(name for position in weights for name in rows[position]["ecg_ids"])
    report.most_used, report.mean_used = max(used.values()), float(np.mean(list(used.values())))
    if corpus is not None:
        everything = dict.fromkeys(
            (i for cells in groups.values() for members in cells.values() for i in members), 1.0
        )
        before, after = (_differences(rows, chosen, corpus, match_on) for chosen in (everything, weights))
        report.balance = {name: (before[name], after[name]) for name in before if name in after}
    report.uneven_splits = _uneven(rows, weights)
    chosen = sorted(weights)
    if method == "weight":
        column = np.array([weights.get(position, 0.0) for position in range(len(rows))])
        report.effective, report.heaviest = float(column.sum() ** 2 / (column**2).sum()), float(column.max())
        questions = questions.add_column("weight", column.astype(np.float32))
    return questions.select(chosen), report


def resampled(questions: Dataset, seed: int = 0) -> Dataset:
    """Questions with weights as a plain set of about as many rows, each as often as its weight says on average.

    Args: questions: rows with the column weight, as method="weight" gives them; it is left out of the result.
    Raises: ValueError without that column.
    Source: systematic resampling (Kitagawa 1996): a row of weight w comes floor(w) or floor(w) + 1 times.
    """
    if "weight" not in questions.column_names:
        raise ECGError("the questions lack the column weight; make it by debias(method='weight')")
    steps = np.cumsum(np.asarray(questions["weight"], dtype=float))
    if not len(steps):
        return questions.remove_columns("weight")
    points = np.arange(round(steps[-1])) + np.random.default_rng(seed).random()
    rows = np.searchsorted(steps, points[points < steps[-1]], side="right")
    return questions.select(rows).remove_columns("weight")


def _strata(corpus: Dataset | None, match_on: MatchOn) -> Callable[[dict[str, Any]], tuple[Hashable, ...]]:
    """What a question's records are matched by: a tuple for each of its records."""
    if match_on and not isinstance(match_on, str) and corpus is None:
        raise ECGError(f"matching on {', '.join(match_on)} needs the records: pass corpus=")
    looks = confounders_of(Records(corpus), match_on)[0].values()
    return lambda row: tuple(look(record_id, row["attribute"] or "") for record_id in row["ecg_ids"] for look in looks)


def _uneven(rows: list[dict], weights: dict[int, float]) -> dict[str, float]:
    total: Counter = Counter()
    balance: Counter = Counter()
    for position, weight in weights.items():
        row = rows[position]
        total[row.get("split")] += weight
        key = (row.get("split"), row["template"], row["type"], row["attribute"], row["question"])
        balance[key] += weight if row["answers"] == ["yes"] else -weight
    excess: Counter = Counter()
    for key, difference in balance.items():
        excess[key[0]] += abs(difference)
    return {split: excess[split] / total[split] for split in total if excess[split] / total[split] > 1e-4}


class _Picker:
    """Picks questions, about the records used least so far, none about a record that is used up."""

    def __init__(self, rows: list[dict], rng: np.random.Generator, most: int | None):
        self.rows, self.rng, self.most = rows, rng, most
        self.used: Counter = Counter()

    def pick(self, cells: dict[Cell, list[int]]) -> list[int]:
        """The largest balanced selection of one attribute's questions."""
        if len({stratum for _, stratum, _ in cells}) == 1:  # then wordings do not depend on each other
            wordings = sorted({cell[0] for cell in cells})
            parts = [{cell: members for cell, members in cells.items() if cell[0] == name} for name in wordings]
        else:
            parts = [cells]
        return [position for part in parts for position in self._pick(part)]

    def _pick(self, cells: dict[Cell, list[int]]) -> list[int]:
        free = self._free(cells)
        counts = most_balanced({cell: len(members) for cell, members in free.items()})
        chosen: list[int] = []
        for cell in sorted(counts, key=lambda cell: (cell[0], repr(cell[1]), cell[2])):
            chosen += self._least_used_first(free[cell], self.used)[: counts[cell]]
            self.used.update(name for i in chosen[-counts[cell] :] for name in self.rows[i]["ecg_ids"])
        return chosen

    def _free(self, cells: dict[Cell, list[int]]) -> dict[Cell, list[int]]:
        """The questions that may all be kept without a record being used more often than allowed."""
        if self.most is None:
            return cells
        # Of the scarcer side first: it decides how many there can be.
        used, free = self.used.copy(), {}
        for cell in sorted(cells, key=lambda cell: (len(cells[cell]), cell[0], repr(cell[1]), cell[2])):
            free[cell] = []
            for position in self._least_used_first(cells[cell], used):
                names = self.rows[position]["ecg_ids"]
                if all(used[name] < self.most for name in names):
                    used.update(names)
                    free[cell].append(position)
        return free

    def _least_used_first(self, members: list[int], used: Counter) -> list[int]:
        shuffled = [members[i] for i in self.rng.permutation(len(members))]
        return sorted(shuffled, key=lambda i: sum(used[name] for name in self.rows[i]["ecg_ids"]))  # stable


def _differences(
    rows: list[dict[str, Any]], weights: dict[int, float], corpus: Dataset, match_on: MatchOn
) -> dict[str, float]:
    """How far the (last) records of yes and no are apart, by confounder.

    Source of the standardised mean difference: Austin, Statistics in Medicine 2009.
    """
    how = dict(match_on) if isinstance(match_on, Mapping) else dict.fromkeys(match_on)
    _, looks = confounders_of(Records(corpus), {**dict.fromkeys(CONFOUNDERS), **how})
    found: dict[str, float] = {}
    for name, look in looks.items():
        sides: dict[str, list[tuple[Any, float]]] = {"yes": [], "no": []}
        for position, weight in weights.items():
            row = rows[position]
            value = look(row["ecg_ids"][-1], row["attribute"] or "")
            if value is not None:
                sides[row["answers"][0]].append((value, weight))
        if min(map(len, sides.values())) < 2:
            continue
        values = {side: [value for value, _ in members] for side, members in sides.items()}
        shares = {side: np.array([weight for _, weight in members]) for side, members in sides.items()}
        shares = {side: share / share.sum() for side, share in shares.items()}
        if all(isinstance(value, (int, float)) for side in values.values() for value in side):
            means, variances = [], []
            for side in ("yes", "no"):
                numbers = np.array(values[side], dtype=float)
                means.append(float(shares[side] @ numbers))
                variances.append(float(shares[side] @ (numbers - means[-1]) ** 2))
            spread = np.sqrt(np.mean(variances))
            found[name] = float((means[0] - means[1]) / spread) if spread else 0.0
        else:
            parts: dict[Any, float] = defaultdict(float)
            for side, sign in (("yes", 1), ("no", -1)):
                for value, share in zip(values[side], shares[side], strict=True):
                    parts[value] += sign * float(share)
            found[name] = max(parts.values(), key=abs)
    return found
