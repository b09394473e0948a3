"""Question-only accuracy and information as figures with intervals: what a question tells when nobody looks at the
ECG.

In: credits of a baseline (`question_only_baseline`, `word_baseline`), clusters (patients), weights, and bounds
(`cell_evidence`). Out: scores. Decided here: when cells are too small to tell, and then no figure is given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from .cell_evidence import Bounds
from .cross_fitting import error_of_sum, numbers

_TOLD = 0.05  # a figure that may be wrong by more says nothing
_ROUNDING = 1e-9
_PERMUTATIONS = 30
_Z95 = 1.959964


@dataclass(frozen=True)
class Score:
    """A share with its 95 % interval over `n` questions of `clusters` patients. value: None if it cannot be told."""

    value: float | None
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
        said = "cannot tell" if self.value is None else f"{self.value:.1%}"
        return f"{said} [{self.low:.1%}, {self.high:.1%}]"


def score(credits: np.ndarray, clusters: Sequence[Hashable], weights: np.ndarray | None = None) -> Score:
    """Weighted mean of credits (0 to 1) with an interval robust to questions of one cluster being alike.

    Source: the sandwich variance of a mean under clustering (Liang and Zeger, Biometrika 1986), with the factor
    C / (C - 1) for C clusters; normal quantiles.
    """
    mass = np.ones(len(credits)) if weights is None else np.asarray(weights, dtype=float)
    # Divided once, at the end, so that whole numbers of right answers give exact shares.
    value, cluster = float(mass @ credits / mass.sum()), numbers(clusters)
    count = int(cluster.max()) + 1
    if count < 2:
        return Score(value, 0.0, 1.0, len(credits), count)
    half = _Z95 * error_of_sum(mass * (credits - value) / mass.sum(), cluster)
    return Score(value, max(0.0, value - half), min(1.0, value + half), len(credits), count)


def baseline_score(credits: np.ndarray, clusters: Sequence[Hashable], weights: np.ndarray, bounds: Bounds) -> Score:
    """Question-only accuracy: what the baseline earned, and from what the cells can tell at least to what they may
    hide.

    Without a value (None) where they may hide more than five points: its cells are too small to tell.
    """
    found = score(credits, clusters, weights)
    by_cell = score(credits, bounds.lumps.tolist(), weights)
    if by_cell.clusters > 1 and by_cell.low < found.low:
        found = replace(by_cell, clusters=found.clusters)
    low = max(found.low, score(bounds.least, clusters, weights).low if found.clusters > 1 else 0.0)
    most = float(weights @ bounds.most / weights.sum())
    if most - found.value > _TOLD:
        return replace(found, value=None, low=low, high=max(found.high, most))
    return replace(found, low=min(low, found.value), high=max(found.high, most))


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
