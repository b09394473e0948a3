"""How high the waves of an ECG are: the dominant beat in, amplitudes of P, Q, R, S, ST and T in twelve leads out.

Decided here: what a deflection of QRS is (a stretch on one side of the zero line that exceeds 0.02 mV, ANSI/AAMI
EC11's smallest), and that the zero line is the end of PR just before QRS.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...heart_ecgllm import FLAT_BELOW_MV
from ...signal_ecgllm import LEADS, complete_limb_leads
from .dominant_beat import RATE, Beat, p_bounds

_ZERO_S = 0.016  # before QRS, over which the zero line is taken
ST_S = (0.0, 0.02, 0.04, 0.06, 0.08)
"""Seconds behind J at which the level of ST is taken."""
_T_FROM_S, _QT_S = 0.09, 0.5  # behind J, from where T is looked for; where it ends if that cannot be told


@dataclass(frozen=True)
class WaveAmplitudes:
    """Arrays [12] in the order of `LEADS`, NaN where a lead is missing, and of P where there is none to be told.

    q, r, s, first_r, r_prime: mV, as heights and depths, 0 without such a wave. q: before the first R; all of it where
    QRS has no R (QS). q_ms: how long it is. r, s: the highest and the lowest of QRS. r_prime: the highest that follows
    a negative deflection behind the first R. r_peak_ms: from the begin of QRS to its highest, 0 without R. late: mean
    of the last 40 ms of QRS, signed, mV. st: mV [5, 12], at `ST_S`. t_high, t_low: the highest and the lowest of T,
    signed. p_high, p_low: of P, signed. p_force: area below zero of the second half of P, mV s.
    """

    q: np.ndarray
    q_ms: np.ndarray
    r: np.ndarray
    s: np.ndarray
    first_r: np.ndarray
    r_prime: np.ndarray
    r_peak_ms: np.ndarray
    late: np.ndarray
    st: np.ndarray
    t_high: np.ndarray
    t_low: np.ndarray
    p_high: np.ndarray
    p_low: np.ndarray
    p_force: np.ndarray

    def of(self, wave: str, *leads: str) -> np.ndarray:
        """A wave in some leads, [..., leads]."""
        return getattr(self, wave)[..., [LEADS.index(lead) for lead in leads]]


def wave_amplitudes(beat: Beat, names: tuple[str, ...]) -> WaveAmplitudes:
    """Args: names: of the beat's leads; limb leads that follow from them are derived, other leads than `LEADS` left
    out."""
    onset, offset = beat.bounds
    zero = beat.mean[:, max(0, onset - round(_ZERO_S * RATE)) : max(1, onset)].mean(axis=1, keepdims=True)
    named = zip(names, beat.mean - zero, strict=True)
    known = complete_limb_leads({name: row for name, row in named if name in LEADS})
    absent = np.full(beat.mean.shape[1], np.nan)
    leads = np.stack([known.get(name, absent) for name in LEADS])
    last = leads.shape[1] - 1
    qrs = leads[:, onset : offset + 1]
    end = min(beat.t_end or onset + round(_QT_S * RATE), last)
    t = leads[:, min(offset + round(_T_FROM_S * RATE), end) : end + 1]
    q, q_ms, first_r, r_prime = np.array([_deflections(lead) for lead in qrs]).T
    return WaveAmplitudes(
        q,
        q_ms,
        qrs.max(axis=1).clip(0),
        (-qrs.min(axis=1)).clip(0),
        first_r,
        r_prime,
        np.where(qrs.max(axis=1) < FLAT_BELOW_MV, 0.0, qrs.argmax(axis=1) * (1000 / RATE)),
        qrs[:, -round(0.04 * RATE) :].mean(axis=1),
        np.stack([leads[:, min(offset + round(after * RATE), last)] for after in ST_S]),
        t.max(axis=1),
        t.min(axis=1),
        *_of_p(beat, leads, onset),
    )


def _deflections(lead: np.ndarray) -> tuple[float, float, float, float]:
    """Depth of Q in mV, its length in ms, heights of R and R' in mV; of one lead's QRS."""
    if np.isnan(lead).any():
        return np.nan, np.nan, np.nan, np.nan
    edges = np.flatnonzero(np.diff(np.sign(lead), prepend=np.nan, append=np.nan) != 0)
    waves = [lead[begin:end] for begin, end in zip(edges, edges[1:], strict=False)]
    tall = [wave for wave in waves if np.abs(wave).max() >= FLAT_BELOW_MV]
    q = q_ms = first_r = r_prime = 0.0
    if tall and tall[0].min() < 0:
        q, q_ms = float(-tall[0].min()), len(tall[0]) * 1000 / RATE
    seen_s = False
    for wave in tall:
        highest = float(wave.max())
        if highest <= 0:
            seen_s = seen_s or first_r > 0
        elif seen_s:
            r_prime = max(r_prime, highest)
        else:
            first_r = max(first_r, highest)
    return q, q_ms, first_r, r_prime


def _of_p(beat: Beat, leads: np.ndarray, onset: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Highest and lowest of P, and the area below zero of its second half, against the line from its begin to its
    end."""
    bounds = p_bounds(beat, onset, 1.0)
    if bounds is None:
        nothing = np.full(len(leads), np.nan)
        return nothing, nothing, nothing
    p = leads[:, bounds[0] : bounds[1] + 1]
    p = p - np.linspace(p[:, 0], p[:, -1], p.shape[1], axis=1)
    force = -p[:, p.shape[1] // 2 :].clip(max=0).sum(axis=1) / RATE
    return p.max(axis=1), p.min(axis=1), force
