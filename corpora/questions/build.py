"""Questions about the records of a corpus, with answers that its statements and measurements decide.

In: a corpus. Out: one row per question with the columns of `QUESTION_FEATURES`. Decided here: which kinds of questions
there are and how many of each; what they ask is decided in `about_findings`, `comparisons`,
`about_leads` and `about_measurements`, which records are drawn for them in `sampling`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...findings import labels as vocabulary
from ...progress_bar import progress
from ..records.duplicates import check_joined
from .about_findings import KINDS, Stated, choose, query, verify
from .about_leads import choose_leads, located, noises_located, query_leads, verify_leads
from .about_measurements import (
    FEATURES,
    choose_measurements,
    compare_measurements,
    measured,
    query_measurements,
    verify_measurements,
)
from .comparisons import compare
from .sampling import QUESTION_FEATURES, Facts, Rows, facts_of
from .varied_words import in_other_words, without_an_answer, word_shares

__all__ = ["ABOUT", "QUESTION_FEATURES", "TYPES", "build_questions", "questions_per_type"]

_SETS = ("train", "test")
TYPES = ("verify", "choose", "query", "comparison")
ABOUT = ("findings", "leads", "measurements")
# Shares of a type's questions, where the corpus names leads and holds measurements; findings have the rest.
_LEADS, _MEASUREMENTS = 0.15, 0.2


def build_questions(
    corpus: Dataset,
    types: Sequence[str] | None = None,
    paraphrases: str = "train",
    seed: int = 0,
    per_record: float | Mapping[str, float] = 4.0,
    no_per_yes: float = 1.0,
    min_positives: int = 1,
    attributes: Iterable[str] | None = None,
    phrasings: str | None = None,
    about: Iterable[str] = ABOUT,
    words: str | Mapping[str, float] | None = None,
) -> Dataset:
    """Ask questions about a corpus.

    Args:
        corpus: records as `prepare` makes them, of one source or joined from several (column source): what a source
            states anywhere in it decides what its own records' silence means, and no other's. Filter it to one split
            to get that split's questions; two records that are compared are always of one split. Leads and
            measurements are asked about where the columns finding_leads and measurements hold some; what could not be
            asked stands in `info.description`.
        types: any of "verify", "choose", "query", "comparison". None: those that per_record names, else all.
        paraphrases: "train" or "test", two disjoint sets of paraphrases; or "split": those for training where a
            record's split is "train", those for testing in all other splits, each of which is asked about by itself.
        seed: same corpus, arguments and seed: same questions in the same order.
        per_record: questions of each type per record, on average and at most; or a number for each type, such as
            {"verify": 2, "comparison": 8}. Of few records there are more: each finding that some show and some do not
            is asked about at least once with yes and once with no.
        no_per_yes: how many "no" are drawn for one "yes" of a verify question, where there are enough records.
        min_positives: ask only for findings that at least so many records show.
        attributes: ask only for these findings, groups, kinds (`about_findings.KINDS`) and features
            (`about_measurements.FEATURES`, such as "pr interval"). None: all that occur.
        phrasings: the former name of paraphrases.
        about: any of "findings", "leads" (where a finding is seen) and "measurements". Default: all that the corpus
            states; what is left out leaves its share to the others.
        words: shares of the questions in training paraphrases that are put in other words, and of questions without
            an answer among them (`varied_words.SHARES`), or "varied", the shares that stand there. None: all in their
            paraphrases, and each with an answer: the questions on which published figures rest. Questions in test
            paraphrases are never changed.
    Returns: rows with `QUESTION_FEATURES`. type is "verify", "choose", "query", "comparison-verify" and
        "comparison-query" (two records of one patient, the earlier one first) or "comparison-irrelevant-verify" and
        "comparison-irrelevant-query" (of two patients). answers: sorted, lower case; ["yes"], ["no"], ["none"],
        findings, groups, leads ("lead v1"), ranges ("above the normal range") or measurements ("pr interval"). With
        words, the type "unanswerable", too, whose answer is a refusal.
    Raises: ValueError for an unknown type, set of paraphrases, attribute or thing to ask about, for numbers of other
        types than those asked, and as `word_shares`.
    """
    shares = word_shares(words)
    per_type = questions_per_type(types, per_record)
    paraphrases = phrasings or paraphrases
    if paraphrases not in (*_SETS, "split"):
        raise ECGError(f"paraphrases={paraphrases!r}; expected 'train', 'test' or 'split'")
    if no_per_yes < 0:
        raise ECGError(f"no_per_yes={no_per_yes}; expected a number from 0")
    about = list(about)
    if not about or set(about) - set(ABOUT):
        raise ECGError(f"about={about}; expected some of {', '.join(ABOUT)}")
    attributes = None if attributes is None else {name.lower() for name in attributes}
    features = {feature.name.lower() for feature in FEATURES.values()}
    vocabulary.check_findings((attributes or set()) - features - {"any abnormality", *vocabulary.GROUPS, *KINDS})
    check_joined(corpus)
    records = facts_of(corpus)
    rows = Rows("train" if paraphrases == "split" else paraphrases, seed, no_per_yes)
    unasked: set[str] = set()
    parts = _parts(records) if paraphrases == "split" else [records]
    with progress("Asking", len(records) * len(per_type)) as bar:
        for part in parts:
            if paraphrases == "split" and part:
                rows.paraphrases = "train" if part[0].split == "train" else "test"
            unasked.update(_ask(Stated(part, min_positives, attributes), rows, per_type, about, bar.update))
    if any(shares.values()):
        _vary(rows, records, shares, paraphrases)
    dataset = rows.dataset()
    dataset.info.description = "\n".join(_why(corpus, what) for what in sorted(unasked))
    return dataset


def questions_per_type(types: Sequence[str] | None, per_record: float | Mapping[str, float]) -> dict[str, float]:
    """Questions per record of each type, in the order in which types are asked.

    Args: as of `build_questions`. Raises: ValueError for unknown types, numbers of other types than those asked, and
    what is no positive number.
    """
    given = per_record if isinstance(per_record, Mapping) else None
    if given == {}:
        raise ECGError("per_record is an empty mapping; give a number for some of the types, or one number for all")
    types = (TYPES if given is None else tuple(given)) if types is None else types
    unknown = [name for name in dict.fromkeys((*types, *(given or ()))) if name not in TYPES]
    if unknown:
        raise ECGError(f"unknown question types {unknown}; expected some of {', '.join(TYPES)}")
    if given is not None and set(given) != set(types):
        raise ECGError(
            f"per_record has numbers for {', '.join(given)}, types are {', '.join(types)}; give one for each type, "
            "or leave types out"
        )
    numbers = {name: per_record if given is None else given[name] for name in TYPES if name in types}
    wrong = [number for number in numbers.values() if not isinstance(number, Real) or not 0 < number < math.inf]
    if wrong:
        raise ECGError(f"per_record={per_record}: found {wrong[0]!r}; expected positive numbers")
    return numbers


def _vary(rows: Rows, records: list[Facts], shares: Mapping[str, float], paraphrases: str) -> None:
    """Put what is asked in training paraphrases in other words, and add what has no answer."""
    asked = {"train": lambda split: True, "test": lambda split: False, "split": "train".__eq__}[paraphrases]
    places = [place for place, row in enumerate(rows.rows) if asked(row["split"])]
    varied = in_other_words([rows.rows[place] for place in places], shares, rows.seed)
    for place, row in zip(places, varied, strict=True):
        rows.rows[place] = row
    share = shares["unanswerable"]
    known = {row["attribute"] for row in varied} & vocabulary.VOCABULARY.keys()
    own = [record for record in records if asked(record.split)]
    rows.rows += without_an_answer(own, round(len(places) * share / (1 - share)), known, rows.seed)


def _why(corpus: Dataset, what: str) -> str:
    column = "finding_leads" if what == "leads" else what
    found = "holds none to ask for" if column in corpus.column_names else "is missing"
    return f"no questions about {what}: the corpus' column {column} {found}"


def _parts(records: list[Facts]) -> list[list[Facts]]:
    """The records of each split, those for training first."""
    names = sorted({record.split for record in records}, key=lambda name: (name != "train", name))
    return [[record for record in records if record.split == name] for name in names]


def _ask(
    stated: Stated, rows: Rows, per_type: Mapping[str, float], about: Sequence[str], done: Callable[[int], Any]
) -> list[str]:
    """Add the questions about some records; returns of leads and measurements what they gave no ground to ask."""
    ground = {
        "findings": bool(stated.findings or stated.groups or stated.kinds),
        "leads": bool(located(stated)),
        "measurements": bool(measured(stated)),
    }
    asked = {what for what, has in ground.items() if has and what in about}
    choosable = len(noises_located(stated)) > 1
    for name, per_record in per_type.items():
        budget = max(1, round(per_record * len(stated.records)))
        on_leads = on_measurements = 0
        if "leads" in asked and (name in ("verify", "query") or (name == "choose" and choosable)):
            on_leads = round(budget * _LEADS) if len(asked) > 1 else budget
        if "measurements" in asked:
            # All of it where nothing else is asked: nothing but measurements was wanted, or stated.
            on_measurements = round(budget * _MEASUREMENTS) if "findings" in asked else budget - on_leads
        if "findings" in asked:
            _ASK[name](stated, rows, budget - on_leads - on_measurements)
        if on_leads:
            _LOCATE[name](stated, rows, on_leads)
        if on_measurements:
            _MEASURE[name](stated, rows, on_measurements)
        done(len(stated.records))
    return [what for what in ("leads", "measurements") if what in about and not ground[what]]


_ASK = {"verify": verify, "choose": choose, "query": query, "comparison": compare}
_LOCATE = {"verify": verify_leads, "choose": choose_leads, "query": query_leads}
_MEASURE = {
    "verify": verify_measurements,
    "choose": choose_measurements,
    "query": query_measurements,
    "comparison": compare_measurements,
}
