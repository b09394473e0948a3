"""Questions about two records: what is new in the second, what has gone, what one of them shows.

In: records. Out: rows of the types comparison (one patient, the earlier record first) and comparison-irrelevant (two
patients), verify and query. Decided here: which two records are asked about, that what changed is not always told by
one of them alone, and that what one shows cannot be told without knowing which one is asked about.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping

from . import findings as vocabulary
from .question_findings import Stated
from .question_rows import Cell, Facts, Rows, draw, in_a_sentence, interleave, other_pairs, own_pairs

_CHANGES = ("compare-new", "compare-resolved")
_ONE = ("compare-first", "compare-second")


def compare(stated: Stated, rows: Rows, budget: int) -> None:
    own, start = own_pairs(stated.records), len(rows)
    for kind, pairs in (("comparison", own), ("comparison-irrelevant", None)):
        share = budget - (len(rows) - start)
        if share <= 0 or pairs == []:
            continue
        each = -(-share // max(1, len(stated.findings)))
        for templates in (_CHANGES, _ONE):
            cells = [
                _compared(stated, rows, template, f"{kind}-verify", name, pairs, each)
                for name in stated.findings
                if name != "normal ecg"
                for template in templates
            ]
            rows.balanced(cells, -(-share // 4))
        candidates = pairs or other_pairs(stated.records, stated.records, share, rows.rng("pairs", "query"))
        for template, order in (("compare-new-query", 1), ("compare-resolved-query", -1)):
            rng = rows.rng(template, kind)
            answers = {pair: _difference(stated, *pair[::order]) for pair in candidates}
            some = draw([pair for pair in candidates if answers[pair]], -(-share // 4), rng, Counter())
            none = draw([pair for pair in candidates if answers[pair] == ()], len(some) // 3, rng, Counter())
            wording = rows.wordings(template, kind)
            for turn, pair in enumerate(interleave(some, none)[: -(-share // 4)]):
                question = wording[turn % len(wording)]
                rows.add(template, "abnormalities", f"{kind}-query", question, pair, answers[pair] or ())


def _compared(stated: Stated, rows: Rows, template: str, kind: str, name: str, pairs: list | None, each: int) -> Cell:
    """Pairs that answer a question yes and no. `pairs`: those to choose from, None: of any two patients.

    Of a change, half of the no-pairs show the finding in at least one ECG where there are such: from neither ECG alone
    can the answer then be told. Of one ECG, half of the yes-pairs and half of the no-pairs show the finding in exactly
    one; the first and the second are asked about in the same pairs, so that which one is asked about decides.
    """
    order = -1 if template in ("compare-resolved", "compare-first") else 1
    # By what the other ECG shows and what the one asked about shows; where either is open, the pair is not asked.
    strata = _strata(stated, rows, name if template in _ONE else f"{template}{name}", name, pairs, each)
    both, gone, come, neither = (
        strata.get(key[::order], []) for key in ((True, True), (True, False), (False, True), (False, False))
    )
    fields = in_a_sentence(name)
    if template in _CHANGES:
        no = interleave(interleave(both, gone), neither)
        return Cell(template, kind, name, come, no, fields, in_order=True)
    most = len(come) + len(gone)  # more that show it in both or neither would make it matter less which one is asked
    sides = [(come, both[:most]), (gone, neither[:most])]
    if rows.rng("turn", kind, name).integers(2):  # a finding asked about once or twice would always begin alike
        sides = [side[::-1] for side in sides]
    yes, no = (_in_turn(*side) for side in sides)
    return Cell(template, kind, name, yes, no, fields, in_order=True, yes_in_order=True)


def _strata(
    stated: Stated, rows: Rows, seed: str, name: str, pairs: list | None, each: int
) -> Mapping[tuple[bool | None, bool | None], list[tuple[Facts, Facts]]]:
    """Pairs by whether their first and their second record show a finding, in a seeded order."""
    if pairs is not None:
        strata = defaultdict(list)
        for position in rows.rng("pairs", seed).permutation(len(pairs)):
            pair = pairs[position]
            strata[tuple(stated.truth(record, name) for record in pair)].append(pair)
        return strata
    records = {
        shown: [record for record in stated.records if stated.truth(record, name) is shown] for shown in (True, False)
    }
    n = 2 * each + 8  # as many as could be asked, with some to choose from
    return {
        (first, second): other_pairs(records[first], records[second], n, rows.rng("pairs", seed))
        for first in records
        for second in records
    }


def _in_turn(some: list, others: list) -> list:
    """One of each as long as both last, in the order some, others, others, some: as wordings come in turn, too, each
    wording then meets either kind."""
    both = zip(some, others, strict=False)
    turns = [item for turn, pair in enumerate(both) for item in (pair if turn % 2 == 0 else pair[::-1])]
    used = len(turns) // 2
    return [*turns, *some[used:], *others[used:]]


def _difference(stated: Stated, before: Facts, after: Facts) -> tuple[str, ...] | None:
    """Abnormal findings of `after` that `before` does not show; None if the statements leave one of them open."""
    if not before.findings or not after.findings:
        return None
    abnormal = [name for name in after.findings if vocabulary.VOCABULARY[name].abnormal]
    earlier = {name: stated.truth(before, name) for name in abnormal}
    if None in earlier.values():
        return None
    return vocabulary.most_specific(name for name, shown in earlier.items() if not shown)
