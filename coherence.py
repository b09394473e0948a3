"""Probabilities of several findings of one ECG that do not contradict each other.

In: a probability for each finding, and which findings imply or exclude which. Out: the nearest probabilities with
which nothing implied is less likely than what implies it, and no two that exclude each other are likelier than 1
together. Decided here: "nearest" is by the sum of squares. Whatever is true of the ECG keeps these limits, and they
bound a convex set, so that the Brier score of what comes out is never worse, on any ECG (de Finetti 1974; Predd et al.
2009, IEEE Transactions on Information Theory 55, 4786). That does not hold of a record that breaks a limit itself, as
one that changes its rhythm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import nnls

from .errors_ecgllm import ECGError


def coherent(
    probabilities: Mapping[str, float], implied: Sequence[tuple[str, str]], exclusive: Sequence[tuple[str, str]]
) -> dict[str, float]:
    """The nearest coherent probabilities, in the same order.

    Args: probabilities: finding -> 0 to 1. implied: (finding, what it implies). exclusive: pairs of which an ECG shows
        one at most. Pairs of which one has no probability are left out.
    Raises: ECGError for what is no probability.
    Source: least distance programming (Lawson and Hanson, Solving Least Squares Problems, 1974, chapter 23).
    """
    names = {name: column for column, name in enumerate(probabilities)}
    given = np.array(list(probabilities.values()), dtype=float)
    if wrong := [f"{name} {value}" for name, value in probabilities.items() if not 0 <= value <= 1]:
        raise ECGError(f"Found {', '.join(wrong)}; expected probabilities from 0 to 1.")
    limits = []  # rows: sum of coefficient * probability <= most
    for pairs, second, most in ((implied, -1.0, 0.0), (exclusive, 1.0, 1.0)):
        for one, other in pairs:
            if one in names and other in names:
                row = np.zeros(len(names) + 1)
                row[names[one]], row[names[other]], row[-1] = 1.0, second, most
                limits.append(row)
    if not limits:
        return dict(probabilities)
    matrix, most = np.array(limits)[:, :-1], np.array(limits)[:, -1]
    over = matrix @ given - most
    if over.max() <= 0:
        return dict(probabilities)
    # Shortest x with matrix @ x <= -over: the residual of non-negative least squares holds it.
    system = np.vstack((-matrix.T, over))
    target = np.zeros(len(system))
    target[-1] = 1.0
    weights, _ = nnls(system, target, maxiter=50 * len(limits))
    residual = system @ weights - target
    found = np.clip(given - residual[:-1] / residual[-1], 0.0, 1.0)
    return dict(zip(names, found.tolist(), strict=True))


__all__ = ["coherent"]
