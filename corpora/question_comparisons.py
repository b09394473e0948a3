"""Questions about two records: what is new in the second, what has gone.

In: records. Out: rows of the types comparison (one patient, the earlier record first) and comparison-irrelevant (two
patients), verify and query. Decided here: which two records are compared, and that the answer can be told from neither
of them alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from . import findings as vocabulary
from .question_findings import Stated
from .question_rows import Cell, Facts, Rows, draw, in_a_sentence, interleave, other_pairs, own_pairs


def compare(stated: Stated, rows: Rows, budget: int) -> None:
    own, start = own_pairs(stated.records), len(rows)
    for kind, pairs in (("comparison", own), ("comparison-irrelevant", None)):
        share = budget - (len(rows) - start)
        if share <= 0 or pairs == []:
            continue
        each = -(-share // max(1, len(stated.findings)))
        cells = [
            _compared(stated, rows, template, f"{kind}-verify", name, pairs, each)
            for name in stated.findings
            if name != "normal ecg"
            for template in ("compare-new", "compare-resolved")
        ]
        rows.balanced(cells, -(-share // 2))
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
    """Pairs that answer a comparison yes and no. Half of the no-pairs show the finding in at least one ECG where there
    are such: from neither ECG alone can the answer then be told."""
    order = 1 if template == "compare-new" else -1
    if pairs is not None:
        strata = defaultdict(list)
        for pair in pairs:
            strata[tuple(stated.truth(record, name) for record in pair[::order])].append(pair)
    else:
        shown, absent = (
            [record for record in stated.records if stated.truth(record, name) is answer] for answer in (True, False)
        )
        # As many as could be asked, with some to choose from
        n = 2 * each + 8
        strata = {
            (a is shown, b is shown): other_pairs(*(a, b)[::order], n, rows.rng("pairs", f"{template}{name}"))
            for a in (shown, absent)
            for b in (shown, absent)
        }
    hard = [strata.get(key, []) for key in ((True, True), (True, False))]
    no = interleave(interleave(*hard), strata.get((False, False), []))
    return Cell(template, kind, name, strata.get((False, True), []), no, in_a_sentence(name), in_order=True)


def _difference(stated: Stated, before: Facts, after: Facts) -> tuple[str, ...] | None:
    """Abnormal findings of `after` that `before` does not show; None if the statements leave one of them open."""
    if not before.findings or not after.findings:
        return None
    abnormal = [name for name in after.findings if vocabulary.VOCABULARY[name].abnormal]
    earlier = {name: stated.truth(before, name) for name in abnormal}
    if None in earlier.values():
        return None
    return vocabulary.most_specific(name for name, shown in earlier.items() if not shown)
