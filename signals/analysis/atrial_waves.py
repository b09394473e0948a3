"""Waves of the atria between QRS complexes: leads and beats in, how far one frequency of flutter dominates out.

Decided here: QRS is cut out and bridged by a line, and of the power from 2 to 10 Hz the share near the highest peak
from 4 to 5.7 Hz is taken: 240 to 340 waves a minute are flutter's (Saoudi et al. 2001, Eur Heart J 22:1162).
"""

from __future__ import annotations

import numpy as np

from .dominant_beat import RATE

_LEADS = ("II", "III", "aVF", "V1")  # that show flutter's waves best
_BEFORE_S, _AFTER_S = 0.07, 0.09  # around the middle of QRS
_BAND, _FLUTTER, _NEAR = (2.0, 10.0), (4.0, 5.7), 0.25  # Hz
_LENGTH = 8192


def flutter_share(signal: np.ndarray, leads: tuple[str, ...], peaks: np.ndarray) -> float:
    """Share of the power near one frequency of flutter, the largest of `_LEADS`; 0 without any of these.

    Args: signal: [leads, samples] in mV at `RATE`. peaks: of QRS, in samples.
    """
    samples = signal.shape[1]
    index, kept = np.arange(samples), np.ones(samples, dtype=bool)
    for peak in peaks.tolist():
        kept[max(0, peak - round(_BEFORE_S * RATE)) : peak + round(_AFTER_S * RATE)] = False
    if kept.sum() < RATE:
        return 0.0
    length = max(_LENGTH, samples)
    frequency = np.fft.rfftfreq(length, 1 / RATE)
    possible = (frequency >= _FLUTTER[0]) & (frequency <= _FLUTTER[1])
    shares = [0.0]
    for name, lead in zip(leads, signal, strict=True):
        if name in _LEADS:
            rest = np.interp(index, index[kept], lead[kept])
            power = np.abs(np.fft.rfft((rest - rest.mean()) * np.hanning(samples), length)) ** 2
            highest = frequency[possible][np.argmax(power[possible])]
            near = np.abs(frequency - highest) < _NEAR
            whole = power[(frequency >= _BAND[0]) & (frequency <= _BAND[1])].sum()
            shares.append(float(power[near].sum() / whole) if whole > 0 else 0.0)
    return max(shares)
