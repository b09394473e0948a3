"""Questions of which of two: one is right, both are, or none.

In: subjects (a record, or a lead of a record) with what is known of each name. Out: rows of the type choose. Decided
here: the wrong one of the two is of the right one's category where the record is known to lack such a one, and of
these one that has been right of other records, so that neither the kind of thing that is named nor how common it is
tells the answer; and how often both and none are the answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from ...findings import labels as vocabulary
from .sampling import Facts, Rows, cycle

# Of five questions three have one right answer, one has two and one has none.
_RIGHT = (1, 2, 1, 0, 1)
_PER_SUBJECT = 4  # times what is asked of one on average


def choose_of_two(
    rows: Rows,
    template: str,
    subjects: Sequence[tuple[Facts, Mapping[str, bool | None], Mapping[str, str]]],
    budget: int,
    category: Callable[[str], str] = lambda name: "",
) -> None:
    """Add up to `budget` questions about which of two names holds.

    Args: subjects: records, name -> whether it holds (None: open, and not asked), and what else fills the paraphrase.
    """
    showing = [subject for subject in subjects if any(subject[1].values())]
    if not showing:
        return
    rng, used, owed, asked, none = rows.rng(template, "choose"), Counter(), Counter(), 0, 0
    paraphrase = rows.shuffled(template, "choose")
    of_all, of_showing = (iter(cycle(rng, len(some), budget * 4)) for some in (subjects, showing))
    for turn in range(budget * 4):
        right = _RIGHT[turn % len(_RIGHT)]
        if asked >= budget:
            break
        if right == 0 and 3 * none > asked:  # "none" stays the rarer where few have one that holds
            continue
        record, labels, fields = subject = showing[next(of_showing)] if right else subjects[next(of_all)]
        if used[id(subject)] > _PER_SUBJECT * budget / len(subjects):
            continue
        holds = {answer: [name for name, own in labels.items() if own is answer] for answer in (True, False)}
        first = _drawn(rng, holds[bool(right)])
        others = [name for name in holds[right == 2] if first and not _related(first, name)]
        if right < 2:
            others = [name for name in others if category(name) == category(first)] or others
        # What has been right more often than wrong comes first: else the commoner of two were nearly always right.
        most = max((owed[name] for name in others), default=0)
        second = _drawn(rng, [name for name in others if owed[name] == most] if right == 1 else others)
        if first is None or second is None:
            continue
        a, b = (first, second) if rng.random() < 0.5 else (second, first)
        added = rows.add(
            template,
            " or ".join(sorted((first, second))),
            "choose",
            paraphrase[asked % len(paraphrase)].format(a=a, b=b, **fields),
            (record,),
            [first, second][:right],
        )
        if added and right == 1:
            owed[first] += 1
            owed[second] -= 1
        asked, used[id(subject)], none = asked + added, used[id(subject)] + added, none + (added and right == 0)


def _drawn(rng, names: Sequence[str]) -> str | None:
    return names[int(rng.integers(len(names)))] if names else None


@lru_cache(maxsize=1 << 14)
def _related(first: str, second: str) -> bool:
    """Whether one is the other, or says it: both then hold, or neither can be told from the other."""
    if first == second or not {first, second} <= vocabulary.VOCABULARY.keys():
        return first == second
    return second in vocabulary.implied([first]) or first in vocabulary.implied([second])
