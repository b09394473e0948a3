"""Criteria of conduction, axis, hypertrophy, infarction, ST, T and QT, as margins of what is seen; `criteria` has
their sources."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np

from .margins import (
    DEGREES,
    MV,
    NEVER,
    P_MS,
    Q_MS,
    QRS_MS,
    QT_MS,
    above,
    all_of,
    any_of,
    below,
    in_leads,
    in_neighbours,
    there,
    times,
)
from .seen import Seen

#: Leads that look at a wall, neighbours side by side: AHA/ACCF/HRS 2009 part VI.
WALLS: dict[str, tuple[str, ...]] = {
    "anterior": ("V1", "V2", "V3", "V4"),
    "anteroseptal": ("V1", "V2", "V3"),
    "anterolateral": ("V3", "V4", "V5", "V6", "I", "aVL"),
    "septal": ("V1", "V2"),
    "lateral": ("V5", "V6", "I", "aVL"),
    "apical": ("V3", "V4", "V5"),
    "inferior": ("III", "aVF", "II"),
    "inferolateral": ("III", "aVF", "II", "V5", "V6"),
}
_CONTIGUOUS = (("V1", "V2", "V3", "V4", "V5", "V6"), ("aVL", "I", "II", "aVF", "III"))
Margin = Callable[[Seen], float]

# --- conduction -----------------------------------------------------------------------------------------------------


def right_block_shape(seen: Seen) -> float:
    """R' in V1 or V2, or an R of V1 that peaks after 50 ms and exceeds S; QRS that ends downwards for 40 ms in I or
    V6."""
    waves = seen.waves
    (r,), (s,), (peak,) = (waves.of(wave, "V1") for wave in ("r", "s", "r_peak_ms"))
    late_r = all_of(above(peak, 50, QRS_MS), above(r, s, MV))
    prime = any_of(*above(waves.of("r_prime", "V1", "V2"), 0.05, MV), late_r)
    return all_of(prime, any_of(*below(waves.of("late", "I", "V6"), 0, MV)))


def left_block_shape(seen: Seen) -> float:
    """V1 mostly negative; R of V5 and V6 that peaks after 60 ms; no Q in I, V5 and V6."""
    waves = seen.waves
    (r,), (s,) = waves.of("r", "V1"), waves.of("s", "V1")
    peaks, q = waves.of("r_peak_ms", "V5", "V6"), waves.of("q", "I", "V5", "V6")
    return all_of(above(s, r, MV), *above(peaks, 60, QRS_MS), *below(q, 0.05, MV))


def complete_right(seen: Seen) -> float:
    return all_of(above(seen.qrs, 120, QRS_MS), right_block_shape(seen))


def incomplete_right(seen: Seen) -> float:
    """The shape of right block, QRS below 120 ms."""
    return all_of(below(seen.qrs, 120, QRS_MS), right_block_shape(seen))


def complete_left(seen: Seen) -> float:
    return all_of(above(seen.qrs, 120, QRS_MS), left_block_shape(seen), -_paced(seen))


def incomplete_left(seen: Seen) -> float:
    return all_of(above(seen.qrs, 110, QRS_MS), below(seen.qrs, 120, QRS_MS), left_block_shape(seen))


def right_block(seen: Seen) -> float:
    return any_of(complete_right(seen), incomplete_right(seen))


def left_block(seen: Seen) -> float:
    return any_of(complete_left(seen), incomplete_left(seen))


def bundle_branch_block(seen: Seen) -> float:
    return any_of(right_block(seen), left_block(seen))


def nonspecific_delay(seen: Seen) -> float:
    """QRS over 110 ms, and neither bundle branch block."""
    shape = any_of(right_block_shape(seen), left_block_shape(seen))
    return all_of(above(seen.qrs, 110, QRS_MS), -shape, -_paced(seen))


def left_anterior(seen: Seen) -> float:
    """Axis from -45 to -90 degrees, qR in aVL, rS in II, III and aVF."""
    waves, axis = seen.waves, seen.axis
    rs = in_leads(above(waves.of("s", "II", "III", "aVF"), waves.of("r", "II", "III", "aVF"), MV), 3)
    return all_of(below(axis, -45, DEGREES), above(axis, -90, DEGREES), rs, -complete_left(seen))


def left_posterior(seen: Seen) -> float:
    """Axis from 90 to 180 degrees, rS in I and aVL, qR in III and aVF."""
    waves = seen.waves
    rs = in_leads(above(waves.of("s", "I", "aVL"), waves.of("r", "I", "aVL"), MV))
    qr = in_leads(above(waves.of("r", "III", "aVF"), waves.of("s", "III", "aVF"), MV))
    return all_of(above(seen.axis, 90, DEGREES), rs, qr, -complete_left(seen))


def fascicular_block(seen: Seen) -> float:
    return any_of(left_anterior(seen), left_posterior(seen))


def preexcitation(seen: Seen) -> float:
    """PR below 120 ms and QRS over 110 ms."""
    return all_of(there(below(seen.pr, 120, 10.0)), above(seen.qrs, 110, QRS_MS))


def _paced(seen: Seen) -> float:
    return -NEVER if seen.paced else NEVER


def _narrow(seen: Seen) -> float:
    """Nothing is said of ST and T behind a wide QRS."""
    return all_of(below(seen.qrs, 120, QRS_MS), -_paced(seen))


# --- axis -----------------------------------------------------------------------------------------------------------


def axis_between(low: float, high: float) -> Margin:
    def margin(seen: Seen) -> float:
        middle, half = (low + high) / 2, (high - low) / 2
        away = abs((seen.axis - middle + 180) % 360 - 180)
        return below(away, half, DEGREES)

    return margin


# --- hypertrophy and voltage ----------------------------------------------------------------------------------------


def left_voltage(seen: Seen) -> float:
    """Sokolow-Lyon, Cornell, Cornell product, R in aVL, or Peguero-Lo Presti; each by its ratio to its limit."""
    waves = seen.waves
    r = dict(zip(("aVL", "V5", "V6"), waves.of("r", "aVL", "V5", "V6"), strict=True))
    s = dict(zip(("V1", "V3", "V4"), waves.of("s", "V1", "V3", "V4"), strict=True))
    deepest = np.nanmax(waves.s) if np.isfinite(waves.s).any() else np.nan
    cornell = r["aVL"] + s["V3"]
    product = (cornell + (0.8 if seen.female else 0.0)) * seen.qrs * 10  # mm ms
    return any_of(
        _ratio(s["V1"] + max(r["V5"], r["V6"]), 3.5),
        _ratio(cornell, 2.0 if seen.female else 2.8),
        _ratio(product, 2440.0),
        _ratio(r["aVL"], 1.1),
        _ratio(deepest + s["V4"], 2.3 if seen.female else 2.8),
    )


def _ratio(value: float, limit: float) -> float:
    return np.nan if np.isnan(value) else times(float(value), limit)


def right_hypertrophy(seen: Seen) -> float:
    """Butler and Leggett: highest R of V1, V2 and deepest S of I, V6, less S of V1: 0.7 mV."""
    waves = seen.waves
    value = waves.of("r", "V1", "V2").max() + waves.of("s", "I", "V6").max() - waves.of("s", "V1")[0]
    return all_of(above(value, 0.7, 0.1), -complete_left(seen), -complete_right(seen))


def left_strain(seen: Seen) -> float:
    """Voltage, and ST depression or T inversion in V5 or V6."""
    return all_of(left_voltage(seen), any_of(*_t_inverted(seen, ("V5", "V6")), *_depressed(seen, ("V5", "V6"))))


def left_atrium(seen: Seen) -> float:
    """P over 120 ms, or its terminal force in V1 over 0.004 mV s."""
    force = seen.waves.of("p_force", "V1")[0]
    return any_of(there(above(seen.p, 120, P_MS)), _p_tied(seen, above(force, 0.004, 0.0015)))


def right_atrium(seen: Seen) -> float:
    """P over 0.25 mV in II, or over 0.15 mV in V1."""
    (two,), (one,) = seen.waves.of("p_high", "II"), seen.waves.of("p_high", "V1")
    return _p_tied(seen, any_of(above(two, 0.25, MV), above(one, 0.15, MV)))


def _p_tied(seen: Seen, margin: float) -> float:
    return NEVER if np.isnan(seen.p) else there(margin)


def low_voltage(seen: Seen) -> float:
    """QRS below 0.5 mV in all limb leads, or below 1 mV in all chest leads."""
    span = seen.waves.r + seen.waves.s
    return any_of(all_of(*(-times(x, 0.5) for x in span[:6])), all_of(*(-times(x, 1.0) for x in span[6:])))


def poor_r(seen: Seen) -> float:
    """R of V3 up to 0.3 mV, and not smaller than that of V2."""
    two, three = seen.waves.of("r", "V2", "V3")
    return all_of(below(three, 0.3, MV), above(three, two, MV) + 1)


# --- infarction -----------------------------------------------------------------------------------------------------


def _q(seen: Seen, leads: tuple[str, ...]) -> list[float]:
    """Q of 30 ms and 0.1 mV, in V1 to V3 of 20 ms or QS; by lead."""
    found = []
    for lead in leads:
        (depth,), (length,) = seen.waves.of("q", lead), seen.waves.of("q_ms", lead)
        chest = lead in ("V1", "V2", "V3")
        found.append(all_of(above(length, 20 if chest else 30, Q_MS), above(depth, 0.1, MV)))
    return found


@cache
def q_waves(wall: str | None = None) -> Margin:
    """Two contiguous leads with Q, of a wall or anywhere but in V1 alone and aVR; not behind a left block."""

    def margin(seen: Seen) -> float:
        parts = _CONTIGUOUS if wall is None else (WALLS[wall],)
        return all_of(any_of(*(in_neighbours(_q(seen, leads)) for leads in parts)), -complete_left(seen))

    return margin


@cache
def st_elevation(wall: str | None = None) -> Margin:
    """J elevated in two contiguous leads: 0.1 mV; in V2 and V3 0.2 mV of men from 40, 0.25 below, 0.15 of women.

    Taken 20 ms behind J, which is known to some 10 ms only.
    """

    def margin(seen: Seen) -> float:
        chest = 0.15 if seen.female else 0.25 if seen.age < 40 else 0.2
        parts = _CONTIGUOUS if wall is None else (WALLS[wall],)
        found = []
        for leads in parts:
            limits = np.array([chest if lead in ("V2", "V3") else 0.1 for lead in leads])
            found.append(in_neighbours(above(seen.waves.of("st", *leads)[1], limits, MV)))
        return all_of(any_of(*found), _narrow(seen))

    return margin


def _depressed(seen: Seen, leads: tuple[str, ...]) -> np.ndarray:
    """Horizontal or falling ST, 0.05 mV deep 60 ms behind J; by lead."""
    st = seen.waves.of("st", *leads)
    return np.minimum(below(st[3], -0.05, MV), below(st[3], st[0], MV) + 1)


@cache
def st_depression(wall: str | None = None) -> Margin:
    def margin(seen: Seen) -> float:
        parts = _CONTIGUOUS if wall is None else (WALLS[wall],)
        return all_of(any_of(*(in_neighbours(_depressed(seen, leads)) for leads in parts)), _narrow(seen))

    return margin


def _t_inverted(seen: Seen, leads: tuple[str, ...]) -> np.ndarray:
    """T deeper than 0.1 mV and deeper than it is high, where R exceeds S; by lead."""
    waves = seen.waves
    high, low = waves.of("t_high", *leads), waves.of("t_low", *leads)
    upright = above(waves.of("r", *leads), waves.of("s", *leads), MV)
    return np.minimum(np.minimum(below(low, -0.1, MV), above(-low, high, MV)), upright)


@cache
def t_inversion(wall: str | None = None) -> Margin:
    def margin(seen: Seen) -> float:
        parts = _CONTIGUOUS if wall is None else (WALLS[wall],)
        return all_of(any_of(*(in_neighbours(_t_inverted(seen, leads)) for leads in parts)), _narrow(seen))

    return margin


def low_t(seen: Seen) -> float:
    """T below a tenth of R in two of I, II, aVL and V4 to V6, where R exceeds 0.3 mV."""
    leads = ("V4", "V5", "V6", "I", "II", "aVL")
    waves = seen.waves
    high, r = waves.of("t_high", *leads), waves.of("r", *leads)
    margins = np.minimum(below(high, 0.1 * r, MV), above(r, 0.3, MV))
    return all_of(in_leads(margins), _narrow(seen))


@cache
def ischemia(wall: str | None = None) -> Margin:
    """ST depression or T inversion."""
    parts = (st_depression(wall), t_inversion(wall))
    return lambda seen: any_of(*(part(seen) for part in parts))


@cache
def infarction(wall: str | None = None) -> Margin:
    """Q waves or ST elevation."""
    parts = (q_waves(wall), st_elevation(wall))
    return lambda seen: any_of(*(part(seen) for part in parts))


def posterior_infarction(seen: Seen) -> float:
    """R of V1 or V2 as high as S, of 40 ms or more where T is upright."""
    waves = seen.waves
    taller = above(waves.of("r", "V1", "V2"), waves.of("s", "V1", "V2"), MV)
    t = above(waves.of("t_high", "V1", "V2"), -waves.of("t_low", "V1", "V2"), MV)
    return all_of(any_of(*np.minimum(taller, t)), -complete_right(seen))


def st_t_change(seen: Seen) -> float:
    return any_of(ischemia()(seen), low_t(seen), st_elevation()(seen))


@cache
def repolarization(wall: str | None = None) -> Margin:
    """ST depression, T inversion or, anywhere, low T."""
    return (lambda seen: any_of(ischemia()(seen), low_t(seen))) if wall is None else ischemia(wall)


def early_repolarization(seen: Seen) -> float:
    """J elevated by 0.1 mV in two contiguous inferior or lateral leads, QRS below 120 ms."""
    parts = (("III", "aVF", "II"), ("V4", "V5", "V6", "I", "aVL"))
    return all_of(
        any_of(*(in_neighbours(above(seen.waves.of("st", *leads)[0], 0.1, MV)) for leads in parts)), _narrow(seen)
    )


# --- QT -------------------------------------------------------------------------------------------------------------


def long_qt(seen: Seen) -> float:
    """QTc by Bazett and by Fridericia from 450 ms (men) or 460 ms on, less what QRS exceeds 110 ms by."""
    wide = max(seen.qrs - 110, 0)
    limit = (460 if seen.female else 450) + wide
    return all_of(above(seen.qtc_bazett, limit, QT_MS), above(seen.qtc_fridericia, limit, QT_MS))


def short_qt(seen: Seen) -> float:
    """QTc by both up to 390 ms."""
    return all_of(below(seen.qtc_bazett, 390, QT_MS), below(seen.qtc_fridericia, 390, QT_MS))
