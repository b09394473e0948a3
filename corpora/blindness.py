"""What a question tells of its answer when nobody looks at the ECG: blind accuracy and information, with intervals.

In: keys (what a blind guesser sees: wording, attribute, severity ...), answers, clusters (patients), and weights where
a set has them. Out: scores. Decided here: the guesser says what the questions about all other patients with its key
were answered, and falls back to ever broader keys where no answer leads by more than what was left out with the
patient. Without that margin a perfectly balanced key would always be guessed wrong, and a balanced set look worse than
chance.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

_LEAST_LEAD = 1.0  # an answer has to be ahead by more, as one question more or less is chance
_SLACK = 1e-4  # of sums of weights; those come as float32
_ROUNDING = 1e-9
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
        """Whether the interval contains a value, up to what sums of floating point numbers leave."""
        return self.low - _ROUNDING <= value <= self.high + _ROUNDING

    def to_dict(self) -> dict[str, float]:
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.1%} [{self.low:.1%}, {self.high:.1%}]"


def score(credits: np.ndarray, clusters: Sequence[Hashable], weights: np.ndarray | None = None) -> Score:
    """Weighted mean of credits (0 to 1) with an interval robust to questions of one cluster being alike.

    Source: the sandwich variance of a mean under clustering (Liang and Zeger, Biometrika 1986), with the factor
    C / (C - 1) for C clusters; normal quantiles.
    """
    mass = np.ones(len(credits)) if weights is None else np.asarray(weights, dtype=float)
    # Divided once, at the end, so that whole numbers of right answers give exact shares.
    value, sums = float(mass @ credits / mass.sum()), defaultdict(float)
    for part, cluster in zip((mass * (credits - value) / mass.sum()).tolist(), clusters, strict=True):
        sums[cluster] += part
    count = len(sums)
    if count < 2:
        return Score(value, 0.0, 1.0, len(credits), count)
    half = _Z95 * np.sqrt(sum(part**2 for part in sums.values()) * count / (count - 1))
    return Score(value, max(0.0, value - float(half)), min(1.0, value + float(half)), len(credits), count)


def blind_credits(
    keys: Sequence[Sequence[Hashable]],
    answers: Sequence[Hashable],
    clusters: Sequence[Hashable] | None = None,
    weights: np.ndarray | None = None,
) -> np.ndarray:
    """Credit of the blind guesser for every question, by leaving its patient out: 1 right, 0 wrong, 1/k where k
    answers tie.

    Args: keys: of every question, from broad to exact; each level is looked up together with those before it.
        clusters: patients, left out as a whole; None: every question is a patient of its own.
    """
    own = range(len(answers)) if clusters is None else clusters
    mass = [1.0] * len(answers) if weights is None else np.asarray(weights, dtype=float).tolist()
    seen = _count(keys, answers, mass)
    by_cluster: dict[Hashable, list[int]] = defaultdict(list)
    for row, cluster in enumerate(own):
        by_cluster[cluster].append(row)
    credits = np.zeros(len(answers))
    for rows in by_cluster.values():
        left_out = _count([keys[row] for row in rows], [answers[row] for row in rows], [mass[row] for row in rows])
        known: dict[tuple, list[Hashable]] = {}
        for row in rows:
            key = tuple(keys[row])
            if key not in known:
                known[key] = _guesses(seen, key, left_out)
            credits[row] = (answers[row] in known[key]) / len(known[key])
    return credits


def transfer_credits(
    train: tuple[Sequence[Sequence[Hashable]], Sequence[Hashable], np.ndarray],
    test: tuple[Sequence[Sequence[Hashable]], Sequence[Hashable]],
) -> np.ndarray:
    """Credit on the questions of one split of the guesser that saw another: (keys, answers) of both, and weights."""
    seen = _count(train[0], train[1], np.asarray(train[2], dtype=float).tolist())
    best = {key: _guesses(seen, key, {}) for key in {tuple(key) for key in test[0]}}
    guesses = [best[tuple(key)] for key in test[0]]
    return np.array([(a in g) / len(g) for a, g in zip(test[1], guesses, strict=True)], dtype=float)


def _count(
    keys: Sequence[Sequence[Hashable]], answers: Sequence[Hashable], mass: Sequence[float]
) -> dict[tuple, dict[Hashable, float]]:
    seen: dict[tuple, dict[Hashable, float]] = {}
    for key, answer, one in zip(keys, answers, mass, strict=True):
        for level in range(len(key) + 1):
            counts = seen.setdefault(tuple(key[:level]), {})
            counts[answer] = counts.get(answer, 0.0) + one
    return seen


def _guesses(
    seen: dict[tuple, dict[Hashable, float]], key: tuple, left_out: dict[tuple, dict[Hashable, float]]
) -> list[Hashable]:
    """The answer that leads at the most exact level at which one does; all that tie at the broadest otherwise."""
    counts: dict[Hashable, float] = {}
    for level in range(len(key), -1, -1):
        gone = left_out.get(key[:level], {})
        counts = {answer: count - gone.get(answer, 0.0) for answer, count in seen.get(key[:level], {}).items()}
        lead = max(_LEAST_LEAD, *gone.values(), 0.0) + _SLACK
        ranked = [*sorted(counts.values(), reverse=True), 0.0, 0.0]  # an answer never seen here has 0
        if ranked[0] - ranked[1] > lead:
            return [answer for answer, count in counts.items() if count == ranked[0]]
    return [answer for answer, count in counts.items() if count >= ranked[0] - lead] or [None]


def information(
    keys: Sequence[Hashable], answers: Sequence[Hashable], seed: int = 0, weights: np.ndarray | None = None
) -> float:
    """Mutual information of key and answer in bits, less what chance makes of so few questions; never below 0.

    The plug-in estimate is biased upwards by as much as keys are rare; its mean over permuted answers is that bias
    (30 permutations, seeded). An answer takes its weight along.
    """
    _, key_ids = np.unique([repr(key) for key in keys], return_inverse=True)
    _, answer_ids = np.unique([repr(answer) for answer in answers], return_inverse=True)
    mass = np.ones(len(answers)) if weights is None else np.asarray(weights, dtype=float)
    rng = np.random.default_rng(seed)
    found = _plug_in(key_ids, answer_ids, mass)
    chance = []
    for _ in range(_PERMUTATIONS):
        order = rng.permutation(len(answer_ids))
        chance.append(_plug_in(key_ids, answer_ids[order], mass[order]))
    return max(0.0, found - float(np.mean(chance)))


def entropy(values: Sequence[Hashable]) -> float:
    """Bits of a sample's distribution (plug-in)."""
    shares = np.array(list(Counter(values).values())) / len(values)
    return float(-(shares * np.log2(shares)).sum())


def _plug_in(a: np.ndarray, b: np.ndarray, mass: np.ndarray) -> float:
    _, joint = np.unique(a * (int(b.max()) + 1) + b, return_inverse=True)
    h = []
    for ids in (a, b, joint):
        share = np.bincount(ids, mass) / mass.sum()
        share = share[share > 0]
        h.append(float(-(share * np.log2(share)).sum()))
    return h[0] + h[1] - h[2]
