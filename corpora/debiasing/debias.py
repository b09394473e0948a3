"""The de-biased set: for every question, equally many records that answer yes and no.

In: questions, and the corpus where confounders are to be matched. Out: verify questions (of one record or two) in
which, for each template, type and attribute and within it for each paraphrase, "yes" and "no" are equally frequent, so
that neither the question nor its paraphrase tells the answer; matched or weighted, also within each stratum of the
confounders. What cannot be balanced is dropped and listed. Source of the idea: arXiv 2411.14795, de-biased
pre-training.

Decided here: this is sampling by outcome, as in a matched case-control study. It blocks the path from severity to the
answer, and changes how frequent answers are. It is not the adjustment formula, which leaves the answers as frequent as
they are in each stratum and blocks the path from severity to the question: that is method="standardise"
(`standardisation`).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import numpy as np
from datasets import Dataset
from transformers.utils import logging

from ...errors_ecgllm import ECGError
from ...progress_bar import progress
from ..questions.sampling import UNANSWERABLE
from ..records.duplicates import check_joined
from .asked_questions import COLUMNS, asked, check_columns, is_answered_yes_or_no
from .confounders import MatchOn, Records, confounders_of
from .debias_report import DebiasReport, Strata
from .matching import Cell, balancing_weights, most_balanced
from .standardisation import standardising_weights

logger = logging.get_logger(__name__)

METHODS = ("match", "weight", "standardise")


def debias(questions: Dataset, *arguments: Any, **options: Any) -> Dataset:
    """The de-biased set of `questions`; arguments as of `debias_with_report`. What was dropped is logged."""
    kept, report = debias_with_report(questions, *arguments, **options)
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
        method: "match" keeps the largest selection in which yes and no are equally frequent in every paraphrase, and
            for each attribute in every stratum (`matching.most_balanced`). "weight" drops only what has one answer in
            its paraphrase or stratum, and adds the column weight (`matching.balancing_weights`, mean 1 by attribute).
            "standardise" does not balance: it weights questions of every type so that the strata of `match_on` are as
            frequent in each paraphrase as in all (`standardisation`), the answers staying as they are in each stratum;
            paraphrases and strata without positivity are left out and named.
        by_split: balance each split by itself. A set that is balanced as a whole need not be so in its training part;
            the report says where it is not.
        crossed: with "match" and "weight", balance every paraphrase within every stratum, at the cost of questions:
            else a paraphrase and a stratum are balanced each, and both together may tell the answer (the report says
            how far).
    Returns: (rows of `questions` in their order, report). For each (template, type, attribute, question text) as many
        "yes" as "no". Among those of the frequent answer, the ones whose records are used least so far are kept.
    Raises: ValueError if a column is missing, a confounder is unknown or without a corpus, or nothing can be balanced.
    """
    _check(questions, corpus, match_on, max_per_record, method)
    records = Records(corpus)
    strata, unknown = _strata(records, match_on), records.lacking(questions)[0]
    wanted = [name for name in questions.column_names if name in (*COLUMNS, "split")]
    columns = [questions[name][:] for name in wanted]
    rows = [dict(zip(wanted, values, strict=True)) for values in zip(*columns, strict=True)]
    report = DebiasReport(questions=len(rows), matched_on=tuple(match_on), method=method, unknown=unknown)
    if method == "standardise":
        weights = _standardised(rows, strata, by_split, match_on, report)
    else:
        picker = _Picker(rows, np.random.default_rng(seed), max_per_record)
        keep = picker.pick if method == "match" else _weighted
        groups, weights = sorted(_cells_by_question(rows, strata, by_split, crossed).items()), {}
        with progress("Balancing", len(groups)) as bar:
            for _, cells in groups:
                weights |= keep(cells)
                bar.update()
    if not weights:
        raise ECGError(_why_nothing_is_left(len(rows), match_on, method))
    report.describe(rows, weights)
    if method != "standardise":
        report.describe_balance(rows, weights, strata if match_on else None)
    if corpus is not None:
        report.describe_confounders(rows, weights, records, match_on)
    if method != "match":
        questions = questions.add_column("weight", report.describe_weights(weights))
    return questions.select(sorted(weights)), report


def _check(
    questions: Dataset, corpus: Dataset | None, match_on: MatchOn, max_per_record: int | None, method: str
) -> None:
    check_columns(questions)
    if method not in METHODS:
        raise ECGError(f"method={method!r}; expected one of {', '.join(METHODS)}")
    if corpus is not None:
        check_joined(corpus)
    elif match_on and not isinstance(match_on, str):
        raise ECGError(f"matching on {', '.join(match_on)} needs the records: pass corpus=")
    if max_per_record is not None and max_per_record < 1:
        raise ECGError(f"max_per_record is {max_per_record}; expected at least 1, or None")
    if method == "standardise" and not match_on:
        raise ECGError("method='standardise' adjusts for confounders: name them, such as match_on=['severity']")
    if method != "match" and (max_per_record is not None or "weight" in questions.column_names):
        what = "max_per_record bounds a selection" if max_per_record is not None else "the questions have weights"
        raise ECGError(f"method={method!r}: {what}; use method='match', or leave it out")


def _why_nothing_is_left(asked: int, match_on: MatchOn, method: str) -> str:
    named = ", ".join(match_on)
    if method == "standardise":
        return (
            f"no question of {asked} was asked in every stratum of {named}, and no stratum of every question; adjust "
            "for fewer confounders or broader bands, or sample by outcome: method='match'"
        )
    within = f" within the strata of {named}" if match_on else ""
    return (
        f"no question of {asked} has both a record that answers yes and one that answers no{within}; ask about more "
        "records, or for findings that some show and some do not"
    )


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


def _strata(records: Records, match_on: MatchOn) -> Strata:
    """What a question's records are matched by: a tuple for each of its records."""
    looks = confounders_of(records, match_on)[0].values()
    return lambda row: tuple(look(record_id, row["attribute"] or "") for record_id in row["ecg_ids"] for look in looks)


def _cells_by_question(
    rows: list[dict[str, Any]], strata: Strata, by_split: bool, crossed: bool
) -> dict[tuple, dict[Cell, list[int]]]:
    """(template, type, attribute, split) -> cell -> the positions of its verify questions."""
    groups: dict[tuple, dict[Cell, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, row in enumerate(rows):
        if is_answered_yes_or_no(row):
            paraphrase, stratum = row["question"], strata(row)
            alike, stratum = ((paraphrase, stratum), ()) if crossed else (paraphrase, stratum)
            key = (*asked(row), (by_split and row.get("split")) or "")
            groups[key][alike, stratum, row["answers"][0]].append(position)
    return groups


def _weighted(cells: dict[Cell, list[int]]) -> dict[int, float]:
    given = balancing_weights({cell: len(members) for cell, members in cells.items()})
    return {position: weight for cell, weight in given.items() for position in cells[cell]}


def _standardised(
    rows: list[dict[str, Any]], strata: Strata, by_split: bool, match_on: MatchOn, report: DebiasReport
) -> dict[int, float]:
    """Weights of questions of every type, split by split; what has no positivity is put into the report."""
    splits: dict[str, dict[tuple, list[int]]] = defaultdict(lambda: defaultdict(list))
    for position, row in enumerate(rows):
        if row["type"] == UNANSWERABLE:
            continue
        split = (by_split and row.get("split")) or ""
        splits[split][(*asked(row), row["question"]), strata(row)].append(position)
    weights: dict[int, float] = {}
    for split, cells in sorted(splits.items()):
        found = standardising_weights({cell: len(members) for cell, members in cells.items()})
        report.add_positivity(found, f" of split {split}" if split else "", " x ".join(match_on))
        weights |= {position: weight for cell, weight in found.weights.items() for position in cells[cell]}
    # A refusal is the answer of any ECG: such a question counts as it did.
    unanswerable = {position: 1.0 for position, row in enumerate(rows) if row["type"] == UNANSWERABLE}
    return weights and weights | unanswerable


class _Picker:
    """Picks questions, about the records used least so far, none about a record that is used up."""

    def __init__(self, rows: list[dict], rng: np.random.Generator, most: int | None):
        self.rows, self.rng, self.most = rows, rng, most
        self.used: Counter = Counter()

    def pick(self, cells: dict[Cell, list[int]]) -> dict[int, float]:
        """The largest balanced selection of one attribute's questions, each of weight 1."""
        if len({stratum for _, stratum, _ in cells}) == 1:  # then paraphrases do not depend on each other
            paraphrases = sorted({cell[0] for cell in cells}, key=repr)
            parts = [{cell: members for cell, members in cells.items() if cell[0] == name} for name in paraphrases]
        else:
            parts = [cells]
        return dict.fromkeys((position for part in parts for position in self._pick(part)), 1.0)

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
