"""What a question tells of its answer when nobody looks at the ECG: blind accuracy and information, with intervals.

In: keys (what a blind guesser sees: wording, attribute, severity ...), answers, and clusters (patients). Out: scores.
Decided here: the guesser says what all other questions with its key were answered, and falls back to ever broader keys
where no answer leads by more than one. That margin is what leaving the question itself out takes away: without it a
perfectly balanced key would always be guessed wrong, and a balanced set look worse than chance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

_LEAD = 1  # an answer has to be ahead by more
_PERMUTATIONS = 30
_Z95 = 1.959964


@dataclass(frozen=True)
class Score:
    """A share with its 95 % interval over `n` questions of `clusters` patients."""

    value: float
    low: float
    high: float
    n: int
    clusters: int

    def holds(self, value: float) -> bool:
        """Whether the interval contains a value."""
        return self.low <= value <= self.high

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def score(credits: np.ndarray, clusters: Sequence[Hashable]) -> Score:
    """Mean of credits (0 to 1) with an interval robust to questions of one cluster being alike.

    Source: the sandwich variance of a mean under clustering (Liang and Zeger, Biometrika 1986), with the factor
    C / (C - 1) for C clusters; normal quantiles.
    """
    value, sums = float(credits.mean()), defaultdict(float)
    for credit, cluster in zip(credits.tolist(), clusters, strict=True):
        sums[cluster] += credit - value
    count = len(sums)
    if count < 2:
        return Score(value, 0.0, 1.0, len(credits), count)
    half = _Z95 * np.sqrt(sum(part**2 for part in sums.values()) * count / (count - 1)) / len(credits)
    return Score(value, max(0.0, value - float(half)), min(1.0, value + float(half)), len(credits), count)


def blind_credits(keys: Sequence[Sequence[Hashable]], answers: Sequence[Hashable]) -> np.ndarray:
    """Credit of the blind guesser for every question, by leaving it out: 1 right, 0 wrong, 1/k where k answers tie.

    Args: keys: of every question, from broad to exact; each level is looked up together with those before it.
    """
    seen = _count(keys, answers)
    known: dict[tuple, float] = {}
    credits = np.zeros(len(answers))
    for row, (key, answer) in enumerate(zip(keys, answers, strict=True)):
        case = (tuple(key), answer)
        if case not in known:
            guesses = _guesses(seen, case[0], left_out=answer)
            known[case] = (answer in guesses) / len(guesses)
        credits[row] = known[case]
    return credits


def transfer_credits(
    train: tuple[Sequence[Sequence[Hashable]], Sequence[Hashable]],
    test: tuple[Sequence[Sequence[Hashable]], Sequence[Hashable]],
) -> np.ndarray:
    """Credit on the questions of one split of the guesser that saw another: (keys, answers) of both."""
    seen = _count(*train)
    best = {key: _guesses(seen, key) for key in {tuple(key) for key in test[0]}}
    guesses = [best[tuple(key)] for key in test[0]]
    return np.array([(a in g) / len(g) for a, g in zip(test[1], guesses, strict=True)], dtype=float)


def _count(keys: Sequence[Sequence[Hashable]], answers: Sequence[Hashable]) -> dict[tuple, Counter]:
    seen: dict[tuple, Counter] = defaultdict(Counter)
    for key, answer in zip(keys, answers, strict=True):
        for level in range(len(key) + 1):
            seen[tuple(key[:level])][answer] += 1
    return seen


def _guesses(seen: dict[tuple, Counter], key: tuple, left_out: Hashable = None) -> list[Hashable]:
    """The answer that leads at the most exact level at which one does; all that tie at the broadest otherwise."""
    for level in range(len(key), -1, -1):
        counts = dict(seen.get(key[:level], ()))
        if left_out in counts:
            counts[left_out] -= 1
        ranked = [*sorted(counts.values(), reverse=True), 0, 0]  # an answer never seen here has 0
        if ranked[0] - ranked[1] > _LEAD:
            return [answer for answer, count in counts.items() if count == ranked[0]]
    return [answer for answer, count in counts.items() if count >= ranked[0] - _LEAD] or [None]


def information(keys: Sequence[Hashable], answers: Sequence[Hashable], seed: int = 0) -> float:
    """Mutual information of key and answer in bits, less what chance makes of so few questions; never below 0.

    The plug-in estimate is biased upwards by as much as keys are rare; its mean over permuted answers is that bias
    (30 permutations, seeded).
    """
    _, key_ids = np.unique([repr(key) for key in keys], return_inverse=True)
    _, answer_ids = np.unique([repr(answer) for answer in answers], return_inverse=True)
    rng = np.random.default_rng(seed)
    found = _plug_in(key_ids, answer_ids)
    chance = [_plug_in(key_ids, rng.permutation(answer_ids)) for _ in range(_PERMUTATIONS)]
    return max(0.0, found - float(np.mean(chance)))


def entropy(values: Sequence[Hashable]) -> float:
    """Bits of a sample's distribution (plug-in)."""
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def _plug_in(a: np.ndarray, b: np.ndarray) -> float:
    joint = np.unique(a * (int(b.max()) + 1) + b, return_counts=True)[1]
    counts = (np.bincount(a), np.bincount(b))
    h = [float(-(c[c > 0] / len(a) * np.log2(c[c > 0] / len(a))).sum()) for c in (*counts, joint)]
    return h[0] + h[1] - h[2]
