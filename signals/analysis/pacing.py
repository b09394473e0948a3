"""A pacemaker's spikes: leads in mV in, when they come before QRS and the leads without them out.

A spike lasts 0.5 to 2 ms and is steeper than any wave of the heart. Left in, it is taken for the beginning of QRS, and
its steepness for that of QRS, so that QRS seems to end late. Decided here: what counts as a spike (both flanks of a
few milliseconds, out of rest, at the same place in beat after beat), and what takes its place.
"""

from __future__ import annotations

import numpy as np

_LOWEST_RATE_HZ = 240.0  # below, a spike is as wide as a narrow R wave
_FLANK_S = 0.006  # a spike is gone after this time on both sides; the device's low-pass makes it as wide
_SHARP = 1.5  # times what the flanks at 6 ms are high may those at 12 ms be: an R wave grows to three times
_OUT_OF_REST = 0.5  # of a spike's height may the signal move in the 24 ms before: notches within QRS follow its slope
_OUT_OF_NOISE, _SMALLEST_MV = 4.0, 0.08
_BEFORE_S, _AFTER_S = 0.16, 0.03  # around the middle of QRS: of a ventricle; an atrium's spike comes before
_SHARE, _SCATTER_S = 0.4, 0.01  # beats that have one, and how far its place may scatter
_BLANK_BEFORE_S, _BLANK_AFTER_S = 0.006, 0.014  # a spike and its recoil


def find_spikes(signal: np.ndarray, rate: float) -> np.ndarray:
    """Samples at which something as short as a spike rises out of rest; maybe none.

    Args: signal: [leads, samples] in mV, all finite, not filtered. rate: Hz; below 240 none can be told.
    """
    flank = max(1, round(_FLANK_S * rate))
    if rate < _LOWEST_RATE_HZ or signal.shape[1] < 8 * flank:
        return np.zeros(0, dtype=int)
    height, wider = (np.sqrt((_both_flanks(signal, reach) ** 2).sum(axis=0)) for reach in (flank, 2 * flank))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(height, flank), 2 * flank + 1).max(axis=1)
    found = []
    for at in np.flatnonzero((height >= around) & (height > _SMALLEST_MV)).tolist():
        before = signal[:, max(0, at - 5 * flank) : at - flank]
        near = height[max(0, at - 25 * flank) : at + 25 * flank]
        if (
            before.shape[1] >= 3
            and wider[max(0, at - 1) : at + 2].max() < _SHARP * height[at]
            and np.sqrt((np.ptp(before, axis=1) ** 2).sum()) < _OUT_OF_REST * height[at]
            and height[at] > _OUT_OF_NOISE * np.median(near)
        ):
            found.append(at)
    return np.array(found, dtype=int)


def _both_flanks(signal: np.ndarray, reach: int) -> np.ndarray:
    """How far each sample stands out of both of those so many samples away, on the same side [leads, samples]."""
    out = np.zeros_like(signal)
    middle = signal[:, reach:-reach]
    left, right = middle - signal[:, : -2 * reach], middle - signal[:, 2 * reach :]
    out[:, reach:-reach] = np.where(left * right > 0, np.minimum(np.abs(left), np.abs(right)), 0)
    return out


def paces_ventricles(spikes: np.ndarray, beats: np.ndarray) -> bool:
    """Whether QRS follows spikes: at the same distance in at least 40 % of three beats or more.

    Args: spikes, beats: seconds.
    """
    before = _first_before(spikes, beats)
    if len(before) < max(3, _SHARE * len(beats)):
        return False
    return bool(np.median(np.abs(before - np.median(before))) <= _SCATTER_S)


def spike_before(spikes: np.ndarray, beats: np.ndarray) -> float | None:
    """Median time from the first spike around a beat to the middle of its QRS, None without any. Args: seconds."""
    before = _first_before(spikes, beats)
    return float(np.median(before)) if len(before) else None


def _first_before(spikes: np.ndarray, beats: np.ndarray) -> np.ndarray:
    around = [spikes[(spikes > beat - _BEFORE_S) & (spikes < beat + _AFTER_S)] for beat in beats]
    return np.array([beat - within[0] for beat, within in zip(beats, around, strict=True) if len(within)])


def with_hidden_spikes(signal: np.ndarray, rate: float, spikes: np.ndarray, beats: np.ndarray) -> np.ndarray:
    """Spikes, and where in the other beats of a paced ventricle one must be: most of a spike may lie between samples.

    Args: as above; spikes in samples, beats in seconds. Returns: samples, in order.
    """
    flank = max(1, round(_FLANK_S * rate))
    height = np.sqrt((_both_flanks(signal, flank) ** 2).sum(axis=0))
    middles = np.round(beats * rate).astype(int)
    first, last = round(_BEFORE_S * rate), round(_AFTER_S * rate)
    own = [spikes[(spikes > middle - first) & (spikes < middle + last)] for middle in middles]
    usual = round(float(np.median([middle - each[0] for middle, each in zip(middles, own, strict=True) if len(each)])))
    hidden = []
    for middle, each in zip(middles.tolist(), own, strict=True):
        near = slice(max(0, middle - usual - 2 * flank), max(0, middle - usual + 2 * flank))
        if not len(each) and height[near].size:
            hidden.append(near.start + int(np.argmax(height[near])))
    return np.sort(np.concatenate([spikes, np.array(hidden, dtype=int)]))


def without_spikes(signal: np.ndarray, rate: float, spikes: np.ndarray) -> np.ndarray:
    """The leads with a straight line in place of each spike. Args: spikes: samples."""
    signal = signal.copy()
    for spike in spikes.tolist():
        first = max(0, spike - round(_BLANK_BEFORE_S * rate))
        last = min(signal.shape[1] - 1, spike + round(_BLANK_AFTER_S * rate))
        signal[:, first : last + 1] = np.linspace(signal[:, first], signal[:, last], last - first + 1, axis=1)
    return signal
