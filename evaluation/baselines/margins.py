"""How far a value lies beyond a limit, and how such margins join: the arithmetic of rules.

A margin is 0 at the limit, positive where the criterion holds, in units of what a measurement may be off; NaN where
there is nothing to measure. Its logistic is the rule's probability, 1/2 at the published limit. Decided here: all of
several criteria hold as far as the weakest, any of them as far as the strongest; and the units, which follow the
accuracy that IEC 60601-2-25:2011 asks of measuring electrocardiographs (P 15, PR 10, QRS 10, QT 30 ms; amplitudes 5 %
or 0.04 mV) and ANSI/AAMI EC13 of rates (10 % or 5 bpm). Units order no records within a single criterion.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NEVER = -6.0
"""Of a criterion about a wave that is not there."""

BPM, P_MS, PR_MS, QRS_MS, QT_MS, DEGREES, MV, Q_MS = 5.0, 15.0, 10.0, 10.0, 30.0, 10.0, 0.04, 10.0


def above(value: float | np.ndarray, limit: float | np.ndarray, unit: float) -> float | np.ndarray:
    """Margin of a value over a limit."""
    return (value - limit) / unit


def below(value: float | np.ndarray, limit: float | np.ndarray, unit: float) -> float | np.ndarray:
    """Margin of a value under a limit."""
    return (limit - value) / unit


def times(value: float, limit: float, tenth: float = 0.1) -> float:
    """Margin of a value by its ratio to a limit, a unit for each tenth; -6 for a value of 0."""
    return float(np.log(value / limit) / np.log1p(tenth)) if value > 0 else NEVER


def all_of(*margins: float) -> float:
    """The least; NaN if one is not known and none of the others fails more clearly."""
    return float(np.min(margins)) if not np.isnan(margins).any() else np.nan


def any_of(*margins: float) -> float:
    """The largest of those that are known; NaN without any."""
    known = [margin for margin in margins if not np.isnan(margin)]
    return float(max(known)) if known else np.nan


def there(margin: float) -> float:
    """A margin of a wave that may be absent: then the criterion fails."""
    return NEVER if np.isnan(margin) else float(margin)


def in_leads(margins: Sequence[float] | np.ndarray, number: int = 2) -> float:
    """Margin of a criterion that so many leads have to fulfil: that of the lead which comes so far; NaN with fewer
    known leads."""
    known = np.sort(np.asarray(margins, dtype=float)[~np.isnan(margins)])
    return float(known[-number]) if len(known) >= number else np.nan


def in_neighbours(margins: Sequence[float] | np.ndarray) -> float:
    """Margin of a criterion that two contiguous leads have to fulfil. margins: in anatomical order."""
    pairs = [all_of(*pair) for pair in zip(margins, margins[1:], strict=False)]
    return any_of(*pairs)
