"""Questions about two records: what is new in the second, what has gone, what both, neither, or one of them shows.

In: records. Out: rows of the types comparison (one patient, the earlier record first) and comparison-irrelevant (two
patients), verify and query. Decided here: which two records are asked about, that what changed is not always told by
one of them alone nor by whether they differ, and that what one shows cannot be told without knowing which one is
asked about.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping

import numpy as np

from ...findings import labels as vocabulary
from .about_findings import Stated
from .sampling import QUESTIONS_PER_PAIR, Cell, Facts, Rows, in_a_sentence, other_pairs, own_pairs

_ONE = ("compare-first", "compare-second")
NEW, RESOLVED, BOTH, NEITHER = (False, True), (True, False), (True, True), (False, False)
_CHANGES = {"compare-new": NEW, "compare-resolved": RESOLVED}
_UNCHANGED = {"compare-both": BOTH, "compare-neither": NEITHER}
CHANGED_OR_NOT = _CHANGES | _UNCHANGED
"""Template -> what the first and the second ECG show where the answer is yes."""
_LISTS = ("compare-new-query", "compare-resolved-query", "compare-both-query")
# Of the questions about findings: about what changed, what did not, one of the two, and each of the lists.
_CHANGED, _SAME, _OF_ONE, _LIST = 1 / 4, 1 / 8, 3 / 8, 1 / 12
NONE = 1 / 4  # of the questions for a list


def compare(stated: Stated, rows: Rows, budget: int) -> None:
    own, start = own_pairs(stated.records), len(rows)
    # By record, because every finding is looked up in every pair.
    labels = {name: {record: stated.label(record, name) for record in stated.records} for name in stated.findings}
    for kind in ("comparison", "comparison-irrelevant"):
        share = budget - (len(rows) - start)
        if share <= 0 or (kind == "comparison" and not own):
            continue
        pairs = own if kind == "comparison" else pairs_of_others(stated.records, labels, rows, share)
        about = {name: label for name, label in labels.items() if name != "normal ecg"}
        for templates, part in ((_CHANGES, _CHANGED), (_UNCHANGED, _SAME)):
            cells = [
                compared(label, rows, template, shows, f"{kind}-verify", name, pairs, in_a_sentence(name))
                for name, label in about.items()
                for template, shows in templates.items()
            ]
            rows.balanced(cells, math.ceil(share * part))
        cells = [
            _of_one(label, rows, template, f"{kind}-verify", name, pairs)
            for name, label in about.items()
            for template in _ONE
        ]
        rows.balanced(cells, math.ceil(share * _OF_ONE))
        for template in _LISTS:
            answers = [(pair, _listed(stated, template, *pair)) for pair in pairs]
            known = [(pair, answer) for pair, answer in answers if answer is not None]
            rows.listed(template, "abnormalities", f"{kind}-query", known, math.ceil(share * _LIST), NONE)


def compared(
    label: Mapping[Facts, bool | None],
    rows: Rows,
    template: str,
    shows: tuple[bool, bool],
    kind: str,
    name: str,
    pairs: list,
    fields: Mapping[str, str],
) -> Cell:
    """The pairs that answer yes, which are those of which the first and the second record are as `shows` says, and no.

    A third of the no-pairs each are of the other three kinds, where there are such: what the first shows, what the
    second shows, and that they differ, each alone, tells five of six answers.
    """
    rng = rows.rng("pairs", f"{template}{name}")
    strata = _strata(label, pairs, rng)
    others = [strata.get(key, []) for key in (BOTH, NEITHER, NEW, RESOLVED) if key != shows]
    others = [others[i] for i in rng.permutation(len(others))]  # a question asked once or twice has not all three
    no = [pair for three in itertools.zip_longest(*others) for pair in three if pair is not None]
    return Cell(template, kind, name, strata.get(shows, []), no, fields, in_order=True)


def _of_one(label: Mapping[Facts, bool | None], rows: Rows, template: str, kind: str, name: str, pairs: list) -> Cell:
    """The pairs that answer a question about one of the two yes and no.

    Half of the yes-pairs and half of the no-pairs show the finding in exactly one; the first and the second are asked
    about in the same pairs, so that which one is asked about decides.
    """
    order = -1 if template == "compare-first" else 1
    strata = _strata(label, pairs, rows.rng("pairs", name))
    both, gone, come, neither = (strata.get(key[::order], []) for key in (BOTH, RESOLVED, NEW, NEITHER))
    most = len(come) + len(gone)  # more that show it in both or neither would make it matter less which one is asked
    sides = [(come, both[:most]), (gone, neither[:most])]
    if rows.rng("turn", kind, name).integers(2):  # a finding asked about once or twice would always begin alike
        sides = [side[::-1] for side in sides]
    yes, no = (_in_turn(*side) for side in sides)
    return Cell(template, kind, name, yes, no, in_a_sentence(name), in_order=True, yes_in_order=True)


def _strata(
    label: Mapping[Facts, bool | None], pairs: list, rng: np.random.Generator
) -> Mapping[tuple[bool | None, bool | None], list[tuple[Facts, Facts]]]:
    """Pairs by whether their first and their second record show a finding, in a seeded order."""
    strata = defaultdict(list)
    for position in rng.permutation(len(pairs)):
        first, second = pair = pairs[position]
        strata[label[first], label[second]].append(pair)
    return strata


def pairs_of_others(
    records: list[Facts], labels: Mapping[str, Mapping[Facts, bool | None]], rows: Rows, share: int
) -> list[tuple[Facts, Facts]]:
    """Pairs of two patients' records for `share` questions: any, and where these hold too few with a finding in both,
    in one or in neither, more such. All findings are asked about in all of them, not each in pairs of its own."""
    pairs = other_pairs(records, records, -(-share // QUESTIONS_PER_PAIR), rows.rng("pairs", "any"))
    # Each kind of pair answers a quarter of a finding's questions, and of frequent findings more are asked.
    least = 2 + math.ceil(share * (_CHANGED + _SAME) / (4 * max(1, len(labels))))
    for name in sorted(labels, key=lambda name: (list(labels[name].values()).count(True), name)):
        label = labels[name]
        shown = {which: [record for record in records if label[record] is which] for which in (True, False)}
        there = Counter((label[one], label[other]) for one, other in pairs)
        for first, second in itertools.product(shown, repeat=2):
            lacking = least - there[first, second]
            if lacking > 0:
                rng = rows.rng("pairs", name, str(first), str(second))
                pairs += other_pairs(shown[first], shown[second], lacking, rng)
    return list(dict.fromkeys(pairs))


def _in_turn(some: list, others: list) -> list:
    """One of each as long as both last, in the order some, others, others, some: as paraphrases come in turn, too,
    each paraphrase then meets either kind."""
    both = zip(some, others, strict=False)
    turns = [item for turn, pair in enumerate(both) for item in (pair if turn % 2 == 0 else pair[::-1])]
    used = len(turns) // 2
    return [*turns, *some[used:], *others[used:]]


def _listed(stated: Stated, template: str, first: Facts, second: Facts) -> tuple[str, ...] | None:
    """Abnormal findings that only the second record shows, only the first, or both; None where one of them is open."""
    if not first.findings or not second.findings:
        return None
    if template == "compare-resolved-query":
        first, second = second, first
    found = {name: stated.label(first, name) for name in _abnormal(second)}
    both = template == "compare-both-query"
    if None in found.values() or (both and None in (stated.label(second, name) for name in _abnormal(first))):
        return None
    return vocabulary.most_specific(name for name, shown in found.items() if shown is both)


def _abnormal(record: Facts) -> list[str]:
    return [name for name in record.findings if vocabulary.VOCABULARY[name].abnormal]
