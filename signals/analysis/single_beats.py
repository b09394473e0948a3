"""How each beat differs from the dominant one: beats in, how early, how alike and how wide each is out.

Decided here: prematurity is told against the median RR interval, shape over the 120 ms around QRS at
the best of a few shifts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .dominant_beat import RATE, Beat, qrs_bounds

_HALF_S, _SHIFT_S, _STEP = 0.06, 0.02, 2
_BEFORE_S, _AFTER_S = 0.14, 0.3  # of a beat alone, in which its QRS is measured


@dataclass(frozen=True)
class SingleBeats:
    """Arrays [beats]. early: median RR interval over the one before the beat, NaN for the first. pause: the interval
    behind it over the median, NaN for the last. alike: correlation of QRS with the dominant one. qrs_ms: how long its
    QRS is. The last two are NaN where the record begins or ends within the beat."""

    early: np.ndarray
    pause: np.ndarray
    alike: np.ndarray
    qrs_ms: np.ndarray


def single_beats(signal: np.ndarray, peaks: np.ndarray, beat: Beat) -> SingleBeats:
    """Args: signal: [leads, samples] at `RATE`; peaks: of QRS, in samples; beat: the dominant one of these leads."""
    rr = np.diff(peaks).astype(float)
    usual = float(np.median(rr))
    early, pause = np.r_[np.nan, usual / rr], np.r_[rr / usual, np.nan]
    half, shift = round(_HALF_S * RATE), round(_SHIFT_S * RATE)
    template = beat.mean[:, max(0, beat.centre - half) : beat.centre + half]
    alike, width = np.full(len(peaks), np.nan), np.full(len(peaks), np.nan)
    for number, peak in enumerate(peaks.tolist()):
        begin, end = peak - half - shift, peak + half + shift
        if begin < 0 or end > signal.shape[1]:
            continue
        windows = np.lib.stride_tricks.sliding_window_view(signal[:, begin:end], template.shape[1], axis=1)
        alike[number] = _correlation(windows[:, ::_STEP].transpose(1, 0, 2), template).max()
        width[number] = _qrs_ms(signal, peak, usual)
    return SingleBeats(early, pause, alike, width)


def _correlation(pieces: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Of every piece [pieces, leads, samples] with the template [leads, samples], over all leads: [pieces]."""
    flat, known = pieces.reshape(len(pieces), -1), template.ravel()
    flat, known = flat - flat.mean(axis=1, keepdims=True), known - known.mean()
    size = np.sqrt((flat**2).sum(axis=1) * (known**2).sum())
    return (flat @ known) / np.maximum(size, 1e-12)


def _qrs_ms(signal: np.ndarray, peak: int, rr: float) -> float:
    before, after = round(_BEFORE_S * RATE), round(_AFTER_S * RATE)
    if peak < before or peak + after > signal.shape[1]:
        return np.nan
    piece = signal[:, peak - before : peak + after]
    onset, offset = qrs_bounds(Beat(piece, np.zeros_like(piece), before, 1, rr, 0))
    return (offset - onset) * 1000 / RATE
