"""What the dominant beats of the leads say about where the electrodes were: beats [..., 8 leads, samples] in, one row
of figures out.

Each figure is free of size, so that it says the same of high and of low voltage. Decided here: the grid of an averaged
beat, its windows for P, QRS and T, and what is looked at: how upright each wave is in each lead, how R and S share a
complex, how one chest lead passes into the next, and how well each lead follows from the others as leads that are in
their places do. `lead_exchanges` weighs the figures.
"""

from __future__ import annotations

import numpy as np

from ...signal_ecgllm import LIMB_WEIGHTS
from ..electrodes import EIGHT_LEADS

BEAT_LEADS = EIGHT_LEADS
"""The leads of a beat here: the others of twelve follow from them."""

GRID_S = np.arange(-70, 120) / 250
"""Seconds of an dominant beat's samples, from the middle of QRS."""

_QRS, _T = (GRID_S >= -0.06) & (GRID_S <= 0.084), (GRID_S >= 0.12) & (GRID_S < 0.40)
_BEFORE = (GRID_S >= -0.23) & (GRID_S < -0.06)  # where P is
_REST = (GRID_S >= -0.072) & (GRID_S < -0.05)  # PR: the zero line
_P = slice(8, 38)  # of `_BEFORE`: a usual PR
# I, II, V1-V6, III, aVR, aVL, aVF from the eight.
_TWELVE = np.vstack([np.eye(8), [[*LIMB_WEIGHTS[lead], *[0] * 6] for lead in ("III", "aVR", "aVL", "aVF")]])
_PAIRS = np.triu_indices(12, 1)


def average(signal: np.ndarray, rate: float, beats: np.ndarray) -> np.ndarray | None:
    """The median of beats on `GRID_S`, in mV [leads, samples]; None with fewer than two whole ones.

    Args: signal: [leads, samples] in mV, all finite, its baseline wander removed. rate: Hz. beats: seconds of QRS
    complexes.
    """
    whole = []
    for beat in beats.tolist():
        at = (beat + GRID_S) * rate
        if at[0] >= 0 and at[-1] <= signal.shape[1] - 2:
            first = at.astype(int)
            share = at - first
            whole.append(signal[:, first] * (1 - share) + signal[:, first + 1] * share)
    return np.median(whole, axis=0) if len(whole) >= 2 else None


def second_moments(beats: np.ndarray) -> list[np.ndarray]:
    """[..., 8, 8] of P, QRS and T: how the leads go together, their size taken out."""
    return [_moments(beats[..., window]) for window in (_BEFORE, _QRS, _T)]


def _moments(wave: np.ndarray) -> np.ndarray:
    wave = wave - wave.mean(axis=-1, keepdims=True)
    moments = wave @ np.swapaxes(wave, -1, -2)
    return moments / (np.trace(moments, axis1=-2, axis2=-1)[..., None, None] + 1e-9)


def describe(beats: np.ndarray, precisions: np.ndarray) -> np.ndarray:
    """Figures that tell leads in their places from others.

    Args: beats: [..., 8, samples] in mV, leads as `BEAT_LEADS`, samples as `GRID_S`. precisions: [3, 8, 8], inverses
    of the mean second moments of P, QRS and T of leads in their places.
    Returns: [..., figures].
    """
    beats = beats - np.median(beats[..., _REST], axis=-1, keepdims=True)
    twelve = _TWELVE @ beats
    qrs, t, before = twelve[..., _QRS], twelve[..., _T], twelve[..., _BEFORE]
    before = before - before[..., :4].mean(axis=-1, keepdims=True) / 2
    size = np.ptp(qrs[..., :8, :], axis=-1).mean(axis=-1)[..., None] + 1e-6
    figures = [*_of_qrs(qrs, size), *_of_t(t, size), *_of_p(before, size)]
    for wave in (qrs, t, before):
        figures += _progression(wave[..., 2:8, :], size)
    for wave, precision in zip((before, qrs, t), precisions, strict=True):
        figures += _unforeseen(_moments(wave[..., :8, :]), precision)
    return np.concatenate(figures, axis=-1)


def _of_qrs(qrs: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """Balance of R and S, both, and their span in twelve leads, and how pairs of leads correlate."""
    highest, lowest = np.maximum(qrs.max(axis=-1), 0), np.minimum(qrs.min(axis=-1), 0)
    span = highest - lowest + 0.02 * size
    centred = qrs - qrs.mean(axis=-1, keepdims=True)
    length = np.sqrt((centred**2).sum(axis=-1, keepdims=True) + 1e-4 * qrs.shape[-1] * size[..., None] ** 2)
    alike = (centred / length) @ np.swapaxes(centred / length, -1, -2)
    return [
        (highest + lowest) / span, highest / size, lowest / size, _log(span / size),
        alike[..., _PAIRS[0], _PAIRS[1]],
    ]  # fmt: skip


def _of_t(t: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """T's area in twelve leads: among the leads, beside QRS, and how much of the wave has one sign."""
    area = t.mean(axis=-1)
    usual = np.abs(area[..., :8]).mean(axis=-1)[..., None] + 0.02 * size
    return [area / usual, np.tanh(8 * area / size), area / (np.abs(t).mean(axis=-1) + 0.01 * size)]


def _of_p(before: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """P's area in twelve leads: among the leads, and how much of the wave has one sign; and its span."""
    p = before[..., _P]
    area, span = p.mean(axis=-1), np.ptp(p, axis=-1) + 0.01 * size
    usual = np.abs(area[..., :8]).mean(axis=-1)[..., None] + 0.01 * size
    return [
        area / usual, area / (np.abs(p).mean(axis=-1) + 0.005 * size),
        _log(span / span[..., :8].mean(axis=-1)[..., None]),
    ]  # fmt: skip


def _progression(chest: np.ndarray, size: np.ndarray) -> list[np.ndarray]:
    """Energy of the steps from each chest lead to the next, and from the middle of its neighbours to each."""
    chest = chest - chest.mean(axis=-1, keepdims=True)
    energy = (chest**2).mean(axis=(-1, -2))[..., None] + 1e-4 * size**2
    steps = np.diff(chest, axis=-2)
    bends = chest[..., 1:-1, :] - (chest[..., :-2, :] + chest[..., 2:, :]) / 2
    return [_log((each**2).mean(axis=-1) / energy + 0.01) for each in (steps, bends)]


def _unforeseen(moments: np.ndarray, precision: np.ndarray) -> list[np.ndarray]:
    """How unusual the second moments are in all, and what of each lead does not follow linearly from the others.

    Row i of a precision matrix by its diagonal holds the weights of the least-squares residual of lead i.
    """
    whole = np.einsum("ij,...ji->...", precision, moments)[..., None]
    residual = precision / np.diag(precision)[:, None]
    left = np.einsum("ki,...ij,kj->...k", residual, moments, residual)
    return [_log(whole), _log(left + 1e-4)]


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, 1e-6))
