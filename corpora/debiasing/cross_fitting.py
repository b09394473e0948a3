"""Cross-fitting by record: a baseline learns from some records and is tested on others, near balance too.

In: names of records, credits of predictions. Out: folds, and how far a prediction is to be trusted. Decided here:
folds depend on the record's name alone, so that a question more or less moves no other one; trust grows gradually with
what predictions earn beyond chance, so that no question decides alone.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from hashlib import blake2b

import numpy as np

#: Standard errors of a gain that is not trusted, and of one that is trusted wholly. High, as many gains are looked at.
TRUST = (2.0, 3.0)


def folds_of(clusters: Sequence[Hashable], folds: int, repeat: int = 0) -> np.ndarray:
    """A fold for every question, the same for all of a cluster, by a hash of the cluster's name: int [questions]."""
    place = {
        name: int.from_bytes(blake2b(f"{repeat} {name}".encode(), digest_size=8).digest(), "big") % folds
        for name in dict.fromkeys(clusters)
    }
    return np.array([place[name] for name in clusters], dtype=int)


def trust(gains: np.ndarray, group: np.ndarray, cluster: np.ndarray, mass: np.ndarray, groups: int) -> np.ndarray:
    """For each group of questions, 0 to 1: whether what they gain is more than chance. Clusters are numbers."""
    found = np.zeros(groups)
    for one in np.unique(group):
        rows = np.flatnonzero(group == one)
        share = mass[rows] / max(mass[rows].sum(), 1e-12)
        gain = float(share @ gains[rows])
        error = error_of_sum(share * (gains[rows] - gain), cluster[rows])
        # Few records that gain alike are no certainty, though nothing varies.
        error = max(error, 1 / len(np.unique(cluster[rows])))
        found[one] = ramp(np.array([gain]), np.array([error**2]), *TRUST)[0]
    return found


def ramp(lead: np.ndarray, variance: np.ndarray, chance: float, clear: float) -> np.ndarray:
    """0 where a lead is at most `chance` standard deviations, 1 from `clear` on, and in proportion between."""
    z = np.divide(lead, np.sqrt(variance), out=np.zeros_like(lead), where=variance > 0)
    return np.clip((z - chance) / (clear - chance), 0.0, 1.0)


def error_of_sum(parts: np.ndarray, cluster: np.ndarray) -> float:
    """Standard error of a sum of parts of mean 0, those of a cluster being alike (Liang and Zeger 1986); 0 for one
    cluster."""
    _, number = np.unique(cluster, return_inverse=True)
    sums = np.bincount(number, parts)
    return float(np.sqrt((sums**2).sum() * len(sums) / (len(sums) - 1))) if len(sums) > 1 else 0.0


def numbers(values: Sequence[Hashable]) -> np.ndarray:
    """A number for every value, by first appearance."""
    place: dict[Hashable, int] = {}
    return np.array([place.setdefault(value, len(place)) for value in values], dtype=int)
