"""How many, or with what weight, questions are kept so that answers are independent of paraphrases and of strata.

In: counts of yes and no by paraphrase and stratum, of one question. Out: counts to keep (`most_balanced`), or a weight
for each cell (`balancing_weights`). Decided here: a paraphrase and a stratum must each have as much yes as no, a
paraphrase within a stratum need not: paraphrases are drawn without looking at the record, and asking for both at once
would leave next to nothing of small strata.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array

Cell = tuple[Hashable, Hashable, str]  # paraphrase, stratum, "yes" or "no"

_ROUNDS = 500  # of raking; it stops earlier where margins agree
_AGREE = 1e-6
_LEAST_WEIGHT = (
    0.01  # below, a question counts for nothing: margins that cannot be met at once shrink it round by round
)


def most_balanced(counts: Mapping[Cell, int]) -> dict[Cell, int]:
    """The largest selection in which every paraphrase, and every stratum, has as many yes as no.

    Returns: cell -> how many to keep, for the cells of which any are. Where there is one stratum that is the lesser
    side of each paraphrase.
    Source: with yes as an arc from paraphrase to stratum and no as one back, a balanced selection is a circulation;
    the largest one is a linear programme whose corners are whole numbers (Ahuja, Magnanti, Orlin, Network Flows,
    1993).
    """
    cells = [cell for cell, count in counts.items() if count > 0]
    if not cells:
        return {}
    if len({stratum for _, stratum, _ in cells}) == 1:
        sides: dict[Cell, int] = {
            cell: counts.get((*cell[:2], "no" if cell[2] == "yes" else "yes"), 0) for cell in cells
        }
        return {cell: min(counts[cell], other) for cell, other in sides.items() if other}
    paraphrases = {name: place for place, name in enumerate(dict.fromkeys(cell[0] for cell in cells))}
    strata = {name: place for place, name in enumerate(dict.fromkeys(cell[1] for cell in cells), len(paraphrases))}
    signs = np.array([1.0 if answer == "yes" else -1.0 for _, _, answer in cells])
    places = [paraphrases[cell[0]] for cell in cells] + [strata[cell[1]] for cell in cells]
    columns = [*range(len(cells))] * 2
    margins = coo_array((np.tile(signs, 2), (places, columns)), shape=(len(paraphrases) + len(strata), len(cells)))
    found = linprog(
        -np.ones(len(cells)),
        A_eq=margins,
        b_eq=np.zeros(margins.shape[0]),
        bounds=[(0, counts[cell]) for cell in cells],
        method="highs-ds",  # the simplex ends in a corner, and corners are whole
    )
    if not found.success:
        raise RuntimeError(f"matching {len(cells)} cells failed: {found.message}")
    kept = np.rint(found.x).astype(int)
    return {cell: int(count) for cell, count in zip(cells, kept, strict=True) if count}


def balancing_weights(counts: Mapping[Cell, int]) -> dict[Cell, float]:
    """Weights that make answers independent of paraphrases and strata, of mean 1, for the cells that can have one.

    Starts from stabilised inverse propensity weights, P(answer) / P(answer | stratum), with P(answer) = 1/2, and rakes
    them until yes and no weigh the same in every paraphrase and every stratum. A paraphrase or stratum with one
    answer only cannot be weighted (no positivity); its cells are left out, as are those whose weight would come to
    nothing. Where both margins cannot be met at once the paraphrases' are met.
    Source: Robins, Hernan and Brumback 2000 (weights); Deming and Stephan 1940 (raking).
    """
    left = {cell: count for cell, count in counts.items() if count > 0}
    while left:
        both = [_answers(left, part) for part in (0, 1)]
        kept = {cell: n for cell, n in left.items() if all(len(both[part][cell[part]]) == 2 for part in (0, 1))}
        weights = _raked(kept) if len(kept) == len(left) else {}
        if weights and min(weights.values()) >= _LEAST_WEIGHT:
            return weights
        left = {cell: n for cell, n in kept.items() if weights.get(cell, 1.0) >= _LEAST_WEIGHT}
    return {}


def _raked(counts: Mapping[Cell, int]) -> dict[Cell, float]:
    cells = list(counts)
    n = np.array([counts[cell] for cell in cells], dtype=float)
    margins = [
        _groups([(cell[part], cell[2]) for cell in cells], [cell[part] for cell in cells], n) for part in (1, 0)
    ]
    mass = n.copy()
    for _ in range(_ROUNDS):
        worst = 0.0
        for group, target in margins:  # strata first: one round of them is the inverse propensity weight
            factor = target / np.bincount(group, mass)
            worst = max(worst, float(np.abs(factor - 1).max()))
            mass *= factor[group]
        if worst < _AGREE:
            break
    return {cell: float(one / count) for cell, one, count in zip(cells, mass, n, strict=True)}


def _answers(cells: Mapping[Cell, int], part: int) -> dict[Hashable, set[str]]:
    found: dict[Hashable, set[str]] = {}
    for cell in cells:
        found.setdefault(cell[part], set()).add(cell[2])
    return found


def _groups(keys: list[tuple], wholes: list[Hashable], n: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of each cell's (margin, answer), and half of the margin's questions as its target."""
    number = {key: place for place, key in enumerate(dict.fromkeys(keys))}
    total: dict[Hashable, float] = {}
    for whole, count in zip(wholes, n, strict=True):
        total[whole] = total.get(whole, 0.0) + float(count)
    target = np.zeros(len(number))
    for key, whole in zip(keys, wholes, strict=True):
        target[number[key]] = total[whole] / 2
    return np.array([number[key] for key in keys]), target
