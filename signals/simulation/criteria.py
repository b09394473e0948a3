"""Diagnostic criteria of simulated ECGs: the limits from which a wave is called a finding.

Out: `Limits` of a batch of records, the published ones or varied ones. Decided here: how far criteria vary. Labels of
real corpora follow different criteria: in LUDB most axes up to 20 degrees and some of 30 are called deviated to the
left, by the recommendations from -30 degrees on. A model that learns a single limit exactly ranks values near it
poorly under all other criteria.
"""

from __future__ import annotations

import numpy as np

from ...errors_ecgllm import ECGError

Limits = dict[str, np.ndarray]

# name -> (lowest, published, highest). Published: the sources of `labels`. The others are the limits of
# guidelines, textbooks and programs, where there are any: an axis is left from 30 (where a horizontal one begins), 0
# (many textbooks) or -45 degrees, right from 80 to 105; a heart is fast from 90 (Spodick, South Med J 1996;89:666) or
# 100 beats a minute; PR is long over 0.19 to 0.21 s, P over 0.11 s; Sokolow and Lyon's sum is read against 3.0 to
# 4.0 mV, QTc against 440 to 470 ms.
# P is called tall in LUDB from about 0.17 mV on, r' seen from 0.04 mV on. Elsewhere they are what measuring by eye on
# paper leaves open.
_LIMITS: dict[str, tuple[float, float, float]] = {
    "left axis": (-45.0, -30.0, 30.0),  # degrees
    "right axis": (80.0, 90.0, 105.0),
    "anterior fascicle axis": (-52.0, -45.0, -33.0),
    "slow": (56.0, 60.0, 61.0),  # bpm
    "fast": (90.0, 100.0, 104.0),
    "pr": (186.0, 200.0, 212.0),  # ms
    "qrs": (114.0, 120.0, 126.0),
    "delayed qrs": (104.0, 110.0, 120.0),
    "r prime": (0.02, 0.05, 0.12),  # mV; half a millimetre of paper is what an eye sees
    "sokolow": (3.0, 3.5, 4.0),
    "cornell": (0.8, 1.0, 1.2),  # times the published ones of either sex
    "right r": (0.5, 0.6, 0.75),  # mV
    "low voltage": (0.45, 0.5, 0.6),
    "poor r": (0.2, 0.3, 0.35),
    "p length": (0.106, 0.120, 0.128),  # s
    "p force": (0.002, 0.004, 0.006),  # mV s
    "p height": (0.14, 0.25, 0.28),  # mV
    "st elevation": (0.7, 1.0, 1.3),  # times the published ones of leads, ages and sexes
    "st depression": (0.6, 1.0, 2.0),
    "j point": (0.07, 0.10, 0.13),  # mV
    "t inversion": (0.06, 0.10, 0.15),
    "t low": (0.08, 0.10, 0.14),
    "q length": (0.020, 0.030, 0.038),  # s
    "qtc": (-10.0, 0.0, 20.0),  # ms, added to the published ones of the sexes
    "sinus arrhythmia": (0.10, 0.12, 0.16),  # s
}


def draw_limits(rng: np.random.Generator, n: int, spread: float) -> Limits:
    """Limits [records] of `n` records, each with its own criteria.

    spread: 0 for the published limits; at 1 each lies anywhere between the lowest and the highest in use.
    Raises: ValueError for a spread that is not from 0 to 1.
    """
    if not 0 <= spread <= 1:
        raise ECGError(f"reader_spread is {spread}; expected 0, for the published limits, to 1.")
    if spread == 0:
        return {name: np.full(n, published) for name, (_, published, _) in _LIMITS.items()}
    return {
        name: published + spread * (rng.uniform(low, high, n) - published)
        for name, (low, published, high) in _LIMITS.items()
    }
