"""Which findings one ECG does not show both.

Nothing flows in but names of findings; pairs flow out. Decided here: what excludes what, which follows from
definitions and, for kinds of one block, from the vocabulary.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from itertools import combinations, product

from .labels import VOCABULARY, implied

_SINUS = ("sinus rhythm", "sinus bradycardia", "sinus tachycardia", "sinus arrhythmia")
_NOT_SINUS = (
    "atrial fibrillation", "atrial flutter", "junctional rhythm", "supraventricular tachycardia",
    "ventricular tachycardia", "ventricular fibrillation", "ventricular flutter", "idioventricular rhythm",
)  # fmt: skip
_AXES = ("normal axis", "left axis deviation", "right axis deviation", "right superior axis")
_LONG_AND_SHORT = (
    ("prolonged pr interval", "short pr interval"),
    ("first degree av block", "short pr interval"),
    ("prolonged qt interval", "short qt interval"),
    ("high qrs voltage", "low qrs voltage"),
)
# Of these one record has one kind. Not of others: an ECG may show infarctions of several walls and ages.
_ONE_KIND = ("av block", "second degree av block", "right bundle branch block", "left bundle branch block")
# Of healthy people, too; who calls such an ECG normal does not contradict himself.
_VARIANTS = (
    "sinus arrhythmia", "sinus bradycardia", "bradycardia", "incomplete right bundle branch block",
    "early repolarization",
)  # fmt: skip


def exclusive_pairs(findings: Collection[str], normal: bool = True) -> list[tuple[str, str]]:
    """Pairs of these findings that one ECG of some seconds does not show both.

    Sinus rhythms and others; slow and fast; kinds of one block; axes; long and short; where `normal`, a normal ECG and
    each abnormal finding that is no variant. A record may change its rhythm: what the labels themselves say is shown
    beside every figure.
    """
    names = frozenset(findings)
    return [pair for pair in _pairs(normal) if names.issuperset(pair)]


@cache
def _pairs(normal: bool) -> tuple[tuple[str, str], ...]:
    slow, fast = ([name for name in VOCABULARY if rate in implied([name])] for rate in ("bradycardia", "tachycardia"))
    pairs = [*product(_SINUS, _NOT_SINUS), *product(slow, fast), *combinations(_AXES, 2), *_LONG_AND_SHORT]
    for parent in _ONE_KIND:
        pairs += combinations([name for name, own in VOCABULARY.items() if parent in own.broader], 2)
    if normal:
        pairs += [("normal ecg", name) for name, own in VOCABULARY.items() if own.abnormal and name not in _VARIANTS]
    return tuple(dict.fromkeys(pairs))


def contradictions(findings: Collection[str]) -> list[tuple[str, str]]:
    """Pairs by which a list of findings contradicts itself, in the most specific words: of sinus tachycardia beside
    bradycardia, not of tachycardia too, which follows from it.

    Raises: ECGError for a finding outside the vocabulary.
    """
    pairs = exclusive_pairs(implied(findings))

    def follows(pair: tuple[str, str], other: tuple[str, str]) -> bool:
        # A pair is kept in one order, in which what its findings imply need not stand.
        return pair != other and any(
            pair[0] in implied([one]) and pair[1] in implied([two]) for one, two in (other, other[::-1])
        )

    return [pair for pair in pairs if not any(follows(pair, other) for other in pairs)]
