"""How far records that answer yes and records that answer no are apart, attribute by attribute.

In: a confounder's value of every yes/no question's record, the answers, the attributes asked about. Out:
`Differences`. Decided here: attributes are looked at one by one, as opposite differences cancel in a pool: a set in
which the sick answer yes of one finding and no of another is confounded, and has no difference as a whole.
Source of the standardised difference: Austin, Statistics in Medicine 2009.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_FEWEST = 10  # yes, and no, of an attribute of which a difference is worth naming


@dataclass(frozen=True)
class Differences:
    """Standardised differences, yes less no, in standard deviations.

    pooled: of all attributes together. mean: of the attributes' sizes, without sign. chance: what that would be
    without any difference. largest: with its sign, and the attribute it is of. attributes: how many were looked at;
    those with fewer than ten of yes or of no are not.
    """

    pooled: float
    mean: float | None
    chance: float | None
    largest: float | None
    attribute: str | None
    attributes: int

    def __str__(self) -> str:
        if self.mean is None:
            return "cannot tell (no attribute with ten of each answer)"
        return f"{self.mean:.2f} (by chance {self.chance:.2f}), largest {self.largest:+.2f} of {self.attribute}"


def differences_of(
    values: Sequence[Any], yes: Sequence[bool], attributes: Sequence[str], weights: np.ndarray
) -> Differences | None:
    """Differences of one confounder. None is unknown and left out. Returns: None where a side has fewer than two."""
    known = [row for row, value in enumerate(values) if value is not None]
    answers, mass = np.array([yes[row] for row in known], dtype=bool), np.asarray(weights, dtype=float)[known]
    if min(answers.sum(), (~answers).sum()) < 2:
        return None
    numbers = _columns([values[row] for row in known])
    own: dict[str, list[int]] = defaultdict(list)
    for place, row in enumerate(known):
        own[attributes[row]].append(place)
    found, chance, share = {}, [], []
    for name, rows in own.items():
        sides = [mass[rows][answers[rows]], mass[rows][~answers[rows]]]
        if min(map(len, sides)) < _FEWEST:
            continue
        found[name] = _standardised(numbers[rows], answers[rows], mass[rows])
        effective = [side.sum() ** 2 / (side**2).sum() for side in sides]
        chance.append(np.sqrt(2 / np.pi * sum(1 / one for one in effective)))  # the mean size of a normal deviate
        share.append(float(mass[rows].sum()))
    pooled = _standardised(numbers, answers, mass)
    if not found:
        return Differences(pooled, None, None, None, None, 0)
    largest = max(found, key=lambda name: abs(found[name]))
    return Differences(
        pooled=pooled,
        mean=float(np.average(np.abs(list(found.values())), weights=share)),
        chance=float(np.average(chance, weights=share)),
        largest=found[largest],
        attribute=largest,
        attributes=len(found),
    )


def _columns(values: list[Any]) -> np.ndarray:
    """Numbers as one column; other values as a column for each, 1 where it holds."""
    if all(isinstance(value, (int, float)) for value in values):
        return np.array(values, dtype=float)[:, None]
    kinds = list(dict.fromkeys(values))
    if len(kinds) == 2:
        kinds = kinds[:1]
    return np.array([[value == kind for kind in kinds] for value in values], dtype=float)


def _standardised(numbers: np.ndarray, yes: np.ndarray, mass: np.ndarray) -> float:
    """Of the columns' standardised differences the one that is furthest from 0."""
    means, variances = [], []
    for side in (yes, ~yes):
        share = mass[side] / mass[side].sum()
        means.append(share @ numbers[side])
        variances.append(share @ (numbers[side] - means[-1]) ** 2)
    spread, apart = np.sqrt(np.mean(variances, axis=0)), means[0] - means[1]
    # Without any spread within the sides the spread of both together is taken, which is half of what is between them.
    spread = np.where(spread > 1e-9, spread, np.maximum(np.abs(apart) / 2, 1e-9))
    known = apart / spread
    return float(known[np.abs(known).argmax()])
