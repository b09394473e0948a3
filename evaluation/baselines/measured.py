"""What rules look at as numbers for a regression: `Seen` in, one row of figures out.

Decided here: angles as sine and cosine; a figure that cannot be measured is the mean of those that can, with a column
that says so.
"""

from __future__ import annotations

import numpy as np

from .seen import Seen

_WAVES = ("q", "q_ms", "r", "s", "r_prime", "late", "t_high", "t_low", "p_high", "p_low", "p_force")
_SINGLE = ("rate", "pr", "p", "qrs", "qtc_bazett", "qtc_fridericia", "p_evidence", "flutter", "spikes", "age")


def measured(seen: list[Seen | None]) -> np.ndarray:
    """float [records, figures] without NaN; all columns of a record in which nothing was seen are NaN."""
    rows = [None if one is None else _figures(one) for one in seen]
    size = max((len(row) for row in rows if row is not None), default=0)
    values = np.stack([np.full(size, np.nan) if row is None else row for row in rows]) if rows else np.zeros((0, 0))
    unseen = np.array([row is None for row in rows], dtype=bool)
    lacking = np.isnan(values[~unseen])
    partly = lacking.any(axis=0) & ~lacking.all(axis=0)
    with np.errstate(all="ignore"):
        means = np.where(
            lacking.all(axis=0), 0.0, np.nansum(values[~unseen], axis=0) / np.maximum((~lacking).sum(axis=0), 1)
        )
    filled = np.where(np.isnan(values), means, values)
    found = np.concatenate([filled, np.isnan(values)[:, partly]], axis=1)
    found[unseen] = np.nan
    return found


def _figures(seen: Seen) -> np.ndarray:
    steps, angle = np.diff(seen.rr), np.radians(seen.axis)
    beats = seen.beats
    with np.errstate(all="ignore"):
        rhythm = [
            np.std(seen.rr) / np.mean(seen.rr),
            np.sqrt(np.mean(steps**2)) / np.mean(seen.rr) if len(steps) else np.nan,
            _extreme(beats.early, np.max),
            _extreme(beats.alike, np.min),
            _extreme(beats.qrs_ms, np.max),
        ]
    waves = [getattr(seen.waves, name) for name in _WAVES]
    st = seen.waves.st[[1, 3]].ravel()
    single = [getattr(seen, name) for name in _SINGLE]
    return np.concatenate([single, rhythm, [np.sin(angle), np.cos(angle), seen.paced, seen.female], *waves, st])


def _extreme(values: np.ndarray, of: object) -> float:
    known = values[np.isfinite(values)]
    return float(of(known)) if len(known) else np.nan
