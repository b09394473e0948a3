"""Questions about the records of a corpus, with answers that its statements and measurements decide.

In: a corpus. Out: one row per question with the columns of `QUESTION_FEATURES`. Decided here: which kinds of questions
there are and how many of each; what they ask is decided in `question_findings`, `question_comparisons`,
`question_leads` and `question_measurements`, how rows are drawn and worded in `question_rows`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from datasets import Dataset

from . import findings as vocabulary
from .question_comparisons import compare
from .question_findings import Stated, choose, query, verify
from .question_leads import located, query_leads, verify_leads
from .question_measurements import (
    FEATURES,
    choose_measurements,
    compare_measurements,
    measured,
    query_measurements,
    verify_measurements,
)
from .question_rows import QUESTION_FEATURES, Rows, facts_of

__all__ = ["QUESTION_FEATURES", "TYPES", "build_questions"]

TYPES = ("verify", "choose", "query", "comparison")
# Shares of a type's questions, where the corpus names leads and holds measurements; findings have the rest.
_LEADS, _MEASUREMENTS = 0.15, 0.2


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
            that are compared are always of one split. Leads and measurements are asked about where the columns
            finding_leads and measurements hold some; what could not be asked stands in `info.description`.
        types: any of "verify", "choose", "query", "comparison".
        phrasings: "train" or "test", two disjoint sets of wordings.
        seed: same corpus, arguments and seed: same questions in the same order.
        per_record: questions of each type per record, on average and at most.
        no_per_yes: how many "no" are drawn for one "yes" of a verify question, where there are enough records.
        min_positives: ask only for findings that at least so many records show.
        attributes: ask only for these findings, groups and features (`question_measurements.FEATURES`, such as "pr
            interval"). None: all that occur.
    Returns: rows with `QUESTION_FEATURES`. type is "verify", "choose", "query", "comparison-verify" and
        "comparison-query" (two records of one patient, the earlier one first) or "comparison-irrelevant-verify" and
        "comparison-irrelevant-query" (of two patients). answers: sorted, lower case; ["yes"], ["no"], ["none"],
        findings, leads ("lead v1") or ranges ("above the normal range").
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
    attributes = None if attributes is None else {name.lower() for name in attributes}
    features = {feature.name.lower() for feature in FEATURES.values()}
    vocabulary.check_findings((attributes or set()) - features - {"any abnormality", *vocabulary.GROUPS})
    stated = Stated(facts_of(corpus), min_positives, attributes)
    rows = Rows(phrasings, seed, no_per_yes)
    budget = max(1, round(per_record * len(stated.records)))
    has_leads, has_measurements = bool(located(stated)), bool(measured(stated))
    # Nothing but leads or measurements was wanted, or the corpus states no finding: they get it all.
    only = not stated.findings and not stated.groups
    for name in TYPES:
        if name not in types:
            continue
        on_leads = round(budget * _LEADS) if has_leads and name in ("verify", "query") else 0
        on_measurements = budget - on_leads if only else round(budget * _MEASUREMENTS) if has_measurements else 0
        if not only:
            _ASK[name](stated, rows, budget - on_leads - on_measurements)
        if on_leads:
            (verify_leads if name == "verify" else query_leads)(stated, rows, on_leads)
        if has_measurements and on_measurements:
            _MEASURE[name](stated, rows, on_measurements)
    dataset = rows.dataset()
    dataset.info.description = _left_out(has_leads, has_measurements, corpus)
    return dataset


_ASK = {"verify": verify, "choose": choose, "query": query, "comparison": compare}
_MEASURE = {
    "verify": verify_measurements,
    "choose": choose_measurements,
    "query": query_measurements,
    "comparison": compare_measurements,
}


def _left_out(has_leads: bool, has_measurements: bool, corpus: Dataset) -> str:
    """What the corpus gave no ground to ask."""
    lines = []
    for asked, column, what in (
        (has_leads, "finding_leads", "leads"),
        (has_measurements, "measurements", "measurements"),
    ):
        if not asked:
            why = "holds none to ask for" if column in corpus.column_names else "is missing"
            lines.append(f"no questions about {what}: the corpus' column {column} {why}")
    return "\n".join(lines)
