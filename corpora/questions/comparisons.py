"""Questions about two records: what is new in the second, what has gone, what one of them shows.

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
from .sampling import QUESTIONS_PER_PAIR, Cell, Facts, Rows, draw, in_a_sentence, interleave, other_pairs, own_pairs

_CHANGES = ("compare-new", "compare-resolved")
_ONE = ("compare-first", "compare-second")
# Of the questions about findings: about what changed, about one of the two, and each of the two lists.
_VERIFY, _LIST = 3 / 8, 1 / 8


def compare(stated: Stated, rows: Rows, budget: int) -> None:
    own, start = own_pairs(stated.records), len(rows)
    # By record, because every finding is looked up in every pair.
    labels = {name: {record: stated.label(record, name) for record in stated.records} for name in stated.findings}
    for kind in ("comparison", "comparison-irrelevant"):
        share = budget - (len(rows) - start)
        if share <= 0 or (kind == "comparison" and not own):
            continue
        pairs = own if kind == "comparison" else _pairs_of_others(stated.records, labels, rows, share)
        for templates in (_CHANGES, _ONE):
            cells = [
                _compared(label, rows, template, f"{kind}-verify", name, pairs)
                for name, label in labels.items()
                if name != "normal ecg"
                for template in templates
            ]
            rows.balanced(cells, math.ceil(share * _VERIFY))
        most = math.ceil(share * _LIST)
        for template, order in (("compare-new-query", 1), ("compare-resolved-query", -1)):
            rng = rows.rng(template, kind)
            answers = {pair: _difference(stated, *pair[::order]) for pair in pairs}
            some = draw([pair for pair in pairs if answers[pair]], most, rng, Counter())
            none = draw([pair for pair in pairs if answers[pair] == ()], len(some) // 3, rng, Counter())
            paraphrase = rows.shuffled(template, kind)
            for turn, pair in enumerate(interleave(some, none)[:most]):
                question = paraphrase[turn % len(paraphrase)]
                rows.add(template, "abnormalities", f"{kind}-query", question, pair, answers[pair] or ())


def _compared(
    label: Mapping[Facts, bool | None], rows: Rows, template: str, kind: str, name: str, pairs: list
) -> Cell:
    """Those of some pairs that answer a question yes and no.

    Of a change, a third each of the no-pairs show the finding in both ECGs, in neither, and in the wrong one, where
    there are such: what the first shows, what the second shows, and that they differ, each alone, tells five of six
    answers. Of one ECG, half of the yes-pairs and half of the no-pairs
    show the finding in exactly one; the first and the second are asked about in the same pairs, so that which one is
    asked about decides.
    """
    order = -1 if template in ("compare-resolved", "compare-first") else 1
    # By what the other ECG shows and what the one asked about shows; where either is open, the pair is not asked.
    strata = _strata(label, pairs, rows.rng("pairs", name if template in _ONE else f"{template}{name}"))
    both, gone, come, neither = (
        strata.get(key[::order], []) for key in ((True, True), (True, False), (False, True), (False, False))
    )
    fields = in_a_sentence(name)
    if template in _CHANGES:
        no = [pair for three in itertools.zip_longest(both, neither, gone) for pair in three if pair is not None]
        return Cell(template, kind, name, come, no, fields, in_order=True)
    most = len(come) + len(gone)  # more that show it in both or neither would make it matter less which one is asked
    sides = [(come, both[:most]), (gone, neither[:most])]
    if rows.rng("turn", kind, name).integers(2):  # a finding asked about once or twice would always begin alike
        sides = [side[::-1] for side in sides]
    yes, no = (_in_turn(*side) for side in sides)
    return Cell(template, kind, name, yes, no, fields, in_order=True, yes_in_order=True)


def _strata(
    label: Mapping[Facts, bool | None], pairs: list, rng: np.random.Generator
) -> Mapping[tuple[bool | None, bool | None], list[tuple[Facts, Facts]]]:
    """Pairs by whether their first and their second record show a finding, in a seeded order."""
    strata = defaultdict(list)
    for position in rng.permutation(len(pairs)):
        first, second = pair = pairs[position]
        strata[label[first], label[second]].append(pair)
    return strata


def _pairs_of_others(
    records: list[Facts], labels: Mapping[str, Mapping[Facts, bool | None]], rows: Rows, share: int
) -> list[tuple[Facts, Facts]]:
    """Pairs of two patients' records for `share` questions: any, and where these hold too few with a finding in both,
    in one or in neither, more such. All findings are asked about in all of them, not each in pairs of its own."""
    pairs = other_pairs(records, records, -(-share // QUESTIONS_PER_PAIR), rows.rng("pairs", "any"))
    # Each kind of pair answers a quarter of a finding's questions, and of frequent findings more are asked.
    least = 2 + math.ceil(share * _VERIFY / (4 * max(1, len(labels))))
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


def _difference(stated: Stated, before: Facts, after: Facts) -> tuple[str, ...] | None:
    """Abnormal findings of `after` that `before` does not show; None if the statements leave one of them open."""
    if not before.findings or not after.findings:
        return None
    abnormal = [name for name in after.findings if vocabulary.VOCABULARY[name].abnormal]
    earlier = {name: stated.label(before, name) for name in abnormal}
    if None in earlier.values():
        return None
    return vocabulary.most_specific(name for name, shown in earlier.items() if not shown)
