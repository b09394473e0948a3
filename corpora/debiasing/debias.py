"""The de-biased set: for every question, equally many records that answer yes and no.

In: questions, and the corpus where confounders are to be matched. Out: verify questions (of one record or two) in
which, for each template, type and attribute and within it for each wording, "yes" and "no" are equally frequent, so
that neither the question nor its wording tells the answer; matched or weighted, also within each stratum of the
confounders. What cannot be balanced is dropped and listed. Source of the idea: arXiv 2411.14795, de-biased
pre-training.

Decided here: this is sampling by outcome, as in a matched case-control study. It blocks the path from severity to the
answer, and changes how frequent answers are. It is not the adjustment formula, which leaves the answers as frequent as
they are in each stratum and blocks the path from severity to the question: that is method="standardise"
(`standardisation`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np
from datasets import Dataset
from transformers.utils import logging

from ...errors_ecgllm import ECGError
from ..records.duplicates import check_joined
from .blind_guesser import blind_accuracy
from .blindness import Score
from .confounders import CONFOUNDERS, MatchOn, Records, confounders_of
from .differences import Differences, differences_of
from .matching import Cell, balancing_weights, most_balanced
from .report import DebiasReport
from .standardisation import standardising_weights

logger = logging.get_logger(__name__)

METHODS = ("match", "weight", "standardise")
_COLUMNS = ["template", "type", "attribute", "question", "ecg_ids", "answers"]
_STRATA_SHOWN = 5


def debias(
    questions: Dataset,
    seed: int = 0,
    corpus: Dataset | None = None,
    match_on: MatchOn = (),
    max_per_record: int | None = None,
    method: str = "match",
    by_split: bool = True,
    crossed: bool = False,
) -> Dataset:
    """The de-biased set of `questions`; see `debias_with_report`. What was dropped is logged."""
    kept, report = debias_with_report(questions, seed, corpus, match_on, max_per_record, method, by_split, crossed)
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
    crossed: bool = False,
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
            "standardise" does not balance: it weights questions of every type so that the strata of `match_on` are as
            frequent in each wording as in all (`standardisation`), the answers staying as they are in each stratum;
            wordings and strata without positivity are left out and named.
        by_split: balance each split by itself. A set that is balanced as a whole need not be so in its training part;
            the report says where it is not.
        crossed: with "match" and "weight", balance every wording within every stratum, at the cost of questions: else
            a wording and a stratum are balanced each, and both together may tell the answer (the report says how far).
    Returns: (rows of `questions` in their order, report). For each (template, type, attribute, question text) as many
        "yes" as "no". Among those of the frequent answer, the ones whose records are used least so far are kept.
    Raises: ValueError if a column is missing, a confounder is unknown or without a corpus, nothing can be balanced,
        or method="standardise" has no confounder to adjust for.
    """
    missing = [name for name in _COLUMNS if name not in questions.column_names]
    if missing:
        raise ECGError(f"the questions lack the column {', '.join(missing)}; make them by build_questions")
    if method not in METHODS:
        raise ECGError(f"method={method!r}; expected one of {', '.join(METHODS)}")
    if corpus is not None:
        check_joined(corpus)
    strata, unknown = _strata(corpus, match_on), Records(corpus).lacking(questions)[0]
    if max_per_record is not None and max_per_record < 1:
        raise ECGError(f"max_per_record is {max_per_record}; expected at least 1, or None")
    if method == "standardise" and not match_on:
        raise ECGError("method='standardise' adjusts for confounders: name them, such as match_on=['severity']")
    if method != "match" and (max_per_record is not None or "weight" in questions.column_names):
        what = "max_per_record bounds a selection" if max_per_record is not None else "the questions have weights"
        raise ECGError(f"method={method!r}: {what}; use method='match', or leave it out")
    report = DebiasReport(questions=len(questions), matched_on=tuple(match_on), method=method, unknown=unknown)
    splits = ["split"] if "split" in questions.column_names else []
    rows = list(questions.select_columns([*_COLUMNS, *splits]).with_format(None))
    groups: dict[tuple, dict[Cell, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, row in enumerate(rows):
        if method == "standardise":
            group = ("", "", "", (by_split and row.get("split")) or "")
            asked = (row["template"], row["type"], row["attribute"] or "", row["question"])
            groups[group][asked, strata(row), ""].append(position)
        elif row["type"].endswith("verify") and row["answers"] in (["yes"], ["no"]):
            group = (row["template"], row["type"], row["attribute"] or "", (by_split and row.get("split")) or "")
            stratum = strata(row)
            asked, stratum = ((row["question"], stratum), ()) if crossed else (row["question"], stratum)
            groups[group][asked, stratum, row["answers"][0]].append(position)
        else:
            report.not_verify += 1
    weights: dict[int, float] = {}
    picker = _Picker(rows, np.random.default_rng(seed), max_per_record)
    dropped: dict[tuple, Counter] = defaultdict(Counter)
    for key, cells in sorted(groups.items()):
        if method == "standardise":
            weights |= _standardised(cells, key[3], match_on, report)
            continue
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
    if not weights and method == "standardise":
        raise ECGError(
            f"no question of {len(rows)} was asked in every stratum of {', '.join(match_on)}, and no stratum of every "
            "question; adjust for fewer confounders or broader bands, or sample by outcome: method='match'"
        )
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
            (
                i
                for cells in groups.values()
                for members in cells.values()
                for i in members
                if rows[i]["type"].endswith("verify") and rows[i]["answers"] in (["yes"], ["no"])
            ),
            1.0,
        )
        before, after = (
            _differences(rows, chosen, corpus, match_on)
            for chosen in (everything, {i: weight for i, weight in weights.items() if i in everything})
        )
        report.by_attribute = {name: (before[name], after[name]) for name in before if name in after}
        report.balance = {name: (one.pooled, two.pooled) for name, (one, two) in report.by_attribute.items()}
    if match_on and method != "standardise":
        report.crossed = _crossed(rows, weights, strata)
    if method != "standardise":
        report.uneven_splits = _uneven(rows, weights)
    chosen = sorted(weights)
    if method != "match":
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


def _standardised(
    cells: Mapping[Cell, list[int]], split: str, match_on: MatchOn, report: DebiasReport
) -> dict[int, float]:
    """Weights of one split's questions; what has no positivity is put into the report."""
    found = standardising_weights({cell[:2]: len(members) for cell, members in cells.items()})
    where, names = f" of split {split}" if split else "", " x ".join(match_on)
    for stratum, share in sorted(found.strata.items(), key=lambda item: (-item[1], repr(item[0]))):
        value = ", ".join(map(str, stratum))
        report.positivity.append(f"no positivity{where}: {names} = {value} left out, {share:.1%} of the questions")
    for asked, strata in sorted(found.questions.items()):
        never = "; ".join(", ".join(map(str, one)) for one in strata[:_STRATA_SHOWN])
        more = f" and {len(strata) - _STRATA_SHOWN} more" if len(strata) > _STRATA_SHOWN else ""
        report.positivity.append(
            f"no positivity{where}: {asked[3]!r} left out, never asked where {names} = {never}{more}"
        )
    if found.weights and (report.distance is None or found.distance[0] > report.distance[0]):
        report.distance = found.distance  # of the split that was furthest
    return {
        position: found.weights[cell[:2]]
        for cell, members in cells.items()
        if cell[:2] in found.weights
        for position in members
    }


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
            wordings = sorted({cell[0] for cell in cells}, key=repr)
            parts = [{cell: members for cell, members in cells.items() if cell[0] == name} for name in wordings]
        else:
            parts = [cells]
        return [position for part in parts for position in self._pick(part)]

    def _pick(self, cells: dict[Cell, list[int]]) -> list[int]:
        free = self._free(cells)
        counts = most_balanced({cell: len(members) for cell, members in free.items()})
        chosen: list[int] = []
        for cell in sorted(counts, key=lambda cell: (repr(cell[0]), repr(cell[1]), cell[2])):
            chosen += self._least_used_first(free[cell], self.used)[: counts[cell]]
            self.used.update(name for i in chosen[-counts[cell] :] for name in self.rows[i]["ecg_ids"])
        return chosen

    def _free(self, cells: dict[Cell, list[int]]) -> dict[Cell, list[int]]:
        """The questions that may all be kept without a record being used more often than allowed."""
        if self.most is None:
            return cells
        # Of the scarcer side first: it decides how many there can be.
        used, free = self.used.copy(), {}
        for cell in sorted(cells, key=lambda cell: (len(cells[cell]), repr(cell[0]), repr(cell[1]), cell[2])):
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
) -> dict[str, Differences]:
    """How far the (last) records of yes and no are apart, by confounder."""
    how = dict(match_on) if isinstance(match_on, Mapping) else dict.fromkeys(match_on)
    _, looks = confounders_of(Records(corpus), {**dict.fromkeys(CONFOUNDERS), **how})
    asked = [rows[position] for position in weights]
    attributes = [row["attribute"] or "" for row in asked]
    yes, mass = [row["answers"] == ["yes"] for row in asked], np.array(list(weights.values()))
    found = {}
    for name, look in looks.items():
        values = [look(row["ecg_ids"][-1], attribute) for row, attribute in zip(asked, attributes, strict=True)]
        differences = differences_of(values, yes, attributes, mass)
        if differences is not None:
            found[name] = differences
    return found


def _crossed(
    rows: list[dict[str, Any]], weights: dict[int, float], strata: Callable[[dict[str, Any]], tuple[Hashable, ...]]
) -> Score:
    """Blind accuracy where wording and stratum are known together: each can be balanced, and both tell the answer."""
    asked = [rows[position] for position in weights]
    keys = [(row["template"], row["attribute"], row["question"], strata(row)) for row in asked]
    answers, mass = [row["answers"][0] for row in asked], np.array(list(weights.values()))
    records = [row["ecg_ids"][0] for row in asked]
    return blind_accuracy(keys, answers, records, mass)
