"""The dominant beat of an ECG and its waves: leads in mV at 500 Hz and QRS complexes in, lengths in ms out.

All with NumPy and SciPy, by the spatial velocity of all leads. Decided here: which beats are averaged, the shares of
a wave's velocity at which it begins and ends, and whether there is a P wave at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np

RATE = 500  # Hz at which everything is measured: AHA/ACC/HRS 2007 asks for at least this rate

# Shares of the largest velocity in QRS, P and T below which the wave has not begun or has ended. Chosen on all records
# of LUDB; docs/measurements.md says what choosing on one half and measuring on the other gives.
_QRS_SHARE, _P_ON_SHARE, _P_OFF_SHARE, _T_SHARE = 0.045, 0.35, 0.5, 0.17
# A P wave is there if the dominant beat before QRS is this many standard errors high (median over leads); more is
# asked for where beats come irregularly, as fibrillation's waves do not always average out.
P_STANDARD_ERRORS, P_STANDARD_ERRORS_IRREGULAR = 8.0, 14.0
_P_SMALLEST_MV = 0.02
# How far before the middle of QRS a beat reaches: seconds, and share of RR. P is looked for in the usual reach first.
_USUAL_REACH, _LONG_REACH = (0.40, 0.42), (0.50, 0.65)
_CLEAR_S = 0.02  # of rest between the T wave before and a P wave that begins ahead of the usual reach
_AFTER_S, _LONGEST_QT_S = 0.80, 0.75  # behind the middle of QRS, where RR is as long
_VALLEY = 4.0  # times the least velocity between QRS and T below which QRS has ended: ST is steep behind a wide QRS
# A delta wave rises and pauses before the rest of QRS: within this reach of the onset it moves at more than this share
# of the largest velocity, which P, further away and slower, does in no record of the half that chose.
_DELTA_S, _DELTA_SHARE = 0.028, 0.085
# Behind a wide QRS velocity falls to a level that it keeps: the longest of these times from the end of QRS on it stays
# within a share of its median, below a share of its largest, and QRS ends at so many times that median. The level that
# a terminal S or R' keeps, as in right bundle branch block, is shorter.
_LEVEL_S, _LEVEL_SPREAD, _LEVEL_HIGHEST, _ABOVE_LEVEL = (0.012, 0.092), 1.35, 0.18, 2.5
_SAME_BEAT = 0.85  # correlation with the median beat, all leads, above which a beat is averaged


@dataclass(frozen=True)
class Beat:
    """The dominant beat [leads, samples] at 500 Hz in mV, its standard error, where the detected peaks lie, how many
    beats were averaged, the median RR interval in samples, from where a P wave of usual PR is looked for, which of the
    detected beats were averaged, where their peaks lie in the signal once they are aligned, and the sample before
    which QRS cannot begin, as a pacemaker's spike starts it."""

    mean: np.ndarray
    error: np.ndarray
    centre: int
    averaged: int
    rr: float
    near: int
    kept: tuple[int, ...] = ()
    peaks: tuple[int, ...] = ()
    earliest: int = 0

    def of_leads(self, rows: slice) -> Beat:
        """The same beat of some of the leads."""
        return replace(self, mean=self.mean[rows], error=self.error[rows])

    @cached_property
    def velocity(self) -> np.ndarray:
        """Spatial velocity in mV a sample, averaged over 10 ms."""
        return np.convolve(_velocity(self.mean), np.ones(5) / 5, "same")

    @cached_property
    def below_20_hz(self) -> np.ndarray:
        return _smoothed(self.mean, 20)

    @cached_property
    def below_30_hz(self) -> np.ndarray:
        return _smoothed(self.mean, 30)

    @cached_property
    def bounds(self) -> tuple[int, int]:
        """Onset and end of QRS."""
        return qrs_bounds(self)

    @cached_property
    def t_end(self) -> int | None:
        return _t_end(self, self.bounds, _T_SHARE)


def dominant_beat(signal: np.ndarray, peaks: np.ndarray, missing: np.ndarray) -> Beat | None:
    """The average of the beats that look like most, aligned to each other; None if fewer than two do."""
    rr = float(np.median(np.diff(peaks)))
    usual, before = (int(min(seconds * RATE, share * rr)) for seconds, share in (_USUAL_REACH, _LONG_REACH))
    after = int(min(_AFTER_S * RATE, rr - usual))
    half, slack = int(0.12 * RATE), int(0.03 * RATE)
    reach_before, reach_after = max(before, half) + slack, max(after, half) + slack
    inside = (peaks >= reach_before) & (peaks + reach_after <= signal.shape[1])
    whole = [not missing[p - reach_before : p + reach_after].any() for p in peaks[inside]]
    index = np.flatnonzero(inside)[np.array(whole, dtype=bool)]
    peaks = peaks[index]
    if len(peaks) < 2:
        return None
    for _ in range(2):
        template = np.median([signal[:, p - half : p + half] for p in peaks], axis=0)
        shifts = range(-slack // 2, slack // 2 + 1)
        match = [[(template * signal[:, p + d - half : p + d + half]).sum() for d in shifts] for p in peaks]
        peaks = np.clip(peaks + np.argmax(match, axis=1) - slack // 2, reach_before, signal.shape[1] - reach_after)
    beats = np.stack([signal[:, p - before : p + after] for p in peaks])
    near = slice(max(0, before - half), before + half)
    median = np.median(beats, axis=0)[:, near].ravel()
    alike = np.array([np.corrcoef(beat[:, near].ravel(), median)[0, 1] for beat in beats]) > _SAME_BEAT
    beats, index, peaks = beats[alike], index[alike], peaks[alike]
    if len(beats) < 2:
        return None
    error = beats.std(axis=0) / math.sqrt(len(beats))
    if len(beats) >= 5:  # without the fifth that is highest and the fifth that is lowest at each sample
        cut = len(beats) // 5
        mean = np.sort(beats, axis=0)[cut:-cut].mean(axis=0)
    else:
        mean = beats.mean(axis=0)
    return Beat(mean, error, before, len(beats), rr, before - usual, tuple(index.tolist()), tuple(peaks.tolist()))


def wave_lengths(beat: Beat, factor: float = 1.0) -> dict[str, float]:
    """QRS, QT, PR and P in ms, those that can be told, with all thresholds times `factor`."""
    ms = 1000 / RATE
    onset, offset = qrs = qrs_bounds(beat, _QRS_SHARE * factor)
    found = {"qrs": (offset - onset) * ms}
    t_end = _t_end(beat, qrs, _T_SHARE * factor)
    if t_end is not None:
        found["qt"] = (t_end - onset) * ms
    p_wave = p_bounds(beat, onset, factor)
    if p_wave is not None:
        found |= {"pr": (onset - p_wave[0]) * ms, "p": (p_wave[1] - p_wave[0]) * ms}
    return found


def _velocity(leads: np.ndarray) -> np.ndarray:
    """Length of the change of all leads together, in mV a sample: the spatial velocity."""
    return np.sqrt((np.gradient(leads, axis=1) ** 2).sum(axis=0))


def _smoothed(leads: np.ndarray, cutoff: float) -> np.ndarray:
    from scipy.signal import sosfiltfilt

    padded = np.pad(leads, ((0, 0), (60, 60)), mode="edge")
    return sosfiltfilt(low_pass(cutoff), padded, axis=1)[:, 60:-60]


@lru_cache(maxsize=8)
def low_pass(cutoff: float) -> np.ndarray:
    """Sections of a second-order Butterworth low-pass for `RATE`, made once."""
    from scipy.signal import butter

    return butter(2, cutoff, fs=RATE, output="sos")


def qrs_bounds(beat: Beat, share: float = _QRS_SHARE) -> tuple[int, int]:
    """Onset and end of QRS: where velocity stays below a share of its largest for 12 ms.

    Behind a wide QRS, as in bundle branch block and pacing, ST is steep and QRS slow, so that its velocity may not
    fall to that share before T; it ends where it comes near the valley between both, or near a level that it keeps,
    too.
    """
    velocity = beat.velocity
    near = max(0, beat.centre - 40)
    peak = near + int(np.argmax(velocity[near : beat.centre + 40]))
    rest = float(np.percentile(velocity[max(0, beat.centre - 125) :], 20))
    fastest = velocity[peak]
    limit = max(share * fastest, 2 * rest)
    slow = np.convolve(velocity, np.ones(10) / 10, "same")
    behind = slow[peak : peak + int(0.2 * RATE)]
    still = velocity < limit
    ended = velocity < max(limit, _VALLEY * share / _QRS_SHARE * float(behind.min()))
    run = 6
    onset = offset = peak
    first = max(beat.earliest, run)
    onset = _onset_before(onset, still, run, first)
    reach = int(_DELTA_S * RATE)
    while onset > max(reach, first) and (before := velocity[onset - reach : onset]).max() > _DELTA_SHARE * fastest:
        onset = _onset_before(onset - reach + int(np.argmax(before)), still, run, first)
    while offset + run < len(ended) and not ended[offset : offset + run].all():
        offset += 1
    return onset, _before_level(velocity, peak, offset, math.sqrt(share / _QRS_SHARE))


def _onset_before(start: int, still: np.ndarray, run: int, first: int) -> int:
    """The last sample up to `start` with `run` still ones before it, or `first`."""
    while start > first and not still[start - run : start].all():
        start -= 1
    return start


def _before_level(velocity: np.ndarray, peak: int, offset: int, factor: float) -> int:
    """The first sample from `peak` to `offset` from which on velocity is near a low level that it keeps."""
    begin, end = (round(seconds * RATE) for seconds in _LEVEL_S)
    here = velocity[peak : min(offset, len(velocity) - end)]
    if not len(here):
        return offset
    levels = np.lib.stride_tricks.sliding_window_view(velocity[peak + begin :], end - begin)[: len(here)]
    usual, highest = np.median(levels, axis=1), levels.max(axis=1)
    kept = (highest <= _LEVEL_SPREAD * usual) & (highest <= _LEVEL_HIGHEST * velocity[peak])
    reached = np.flatnonzero(kept & (here <= _ABOVE_LEVEL * factor * usual))
    return peak + int(reached[0]) if len(reached) else offset


def _t_end(beat: Beat, qrs: tuple[int, int], share: float) -> int | None:
    """End of T: where velocity, after its last large peak, falls to a share of it."""
    from scipy.signal import find_peaks

    start = qrs[1] + int(0.08 * RATE)
    stop = min(beat.mean.shape[1] - 1, qrs[0] + int(_LONGEST_QT_S * RATE))
    if stop - start < 0.06 * RATE:
        return None
    velocity = _velocity(beat.below_20_hz)
    window = velocity[start:stop]
    steepest = int(np.argmax(window))
    peaks, _ = find_peaks(window, height=0.45 * window[steepest])
    if len(peaks):  # T rises and falls: its fall may be less steep than its rise
        highest = peaks[np.argmax(window[peaks])]
        steepest = int(peaks[peaks <= highest + 0.12 * RATE][-1])
    rest = float(np.percentile(window, 10))
    below = np.flatnonzero(window[steepest:] <= rest + share * (window[steepest] - rest))
    return start + steepest + int(below[0]) if len(below) else None


def p_bounds(beat: Beat, onset: int, factor: float) -> tuple[int, int] | None:
    """Onset and end of P: the wave within 320 ms of QRS, or, where PR is longer than shows there, the one before.

    The longer window begins where the T wave of the beat before ends, one RR earlier. What it holds counts only if it
    begins ahead of the usual window and with rest before it: else it would be the end of T.
    """
    usual = max(beat.near, onset - int(0.32 * RATE))
    found = _p_within(beat, usual, onset - 4, factor)
    if beat.t_end is None:
        return found
    start, clear = max(0, beat.t_end - round(beat.rr)), int(_CLEAR_S * RATE)
    if start + clear >= usual:
        return found
    longer = _p_within(beat, start, onset - 4, factor)
    if longer is not None and start + clear <= longer[0] < usual + clear:
        return longer
    return found


def _p_within(beat: Beat, start: int, stop: int, factor: float) -> tuple[int, int] | None:
    """Onset and end of the largest wave of a window: where velocity, outwards from its slopes, falls to a share."""
    if stop - start < 0.08 * RATE:
        return None
    smooth = beat.below_30_hz[:, start:stop]
    level = smooth - np.linspace(smooth[:, 0], smooth[:, -1], smooth.shape[1], axis=1)
    velocity, reach = _velocity(level), int(0.08 * RATE)
    peak = int(np.argmax((level**2).mean(axis=0)))
    if not 4 <= peak <= len(velocity) - 4:
        return None
    first = max(0, peak - reach)
    rise = first + int(np.argmax(velocity[first:peak]))
    fall = peak + int(np.argmax(velocity[peak : peak + reach]))
    rest = float(np.percentile(velocity, 10))
    begins = np.flatnonzero(velocity[: rise + 1] <= rest + factor * _P_ON_SHARE * (velocity[rise] - rest))
    ends = np.flatnonzero(velocity[fall:] <= rest + factor * _P_OFF_SHARE * (velocity[fall] - rest))
    if not len(begins) or begins[-1] == 0:  # it began before the window, or inside T: where is not known
        return None
    begin = int(begins[-1])
    end = fall + int(ends[0]) if len(ends) else len(velocity) - 1
    return start + begin, start + end


def has_p_wave(beat: Beat, irregular: bool) -> bool:
    """Whether something stands out of the scatter between beats before QRS: a wave at a fixed distance from it."""
    limit = P_STANDARD_ERRORS_IRREGULAR if irregular else P_STANDARD_ERRORS
    return p_wave_evidence(beat) >= limit


def p_wave_evidence(beat: Beat) -> float:
    """How many standard errors of the scatter between beats (median over leads) the wave before QRS is high.

    0 where it is too low to be one, or too few beats or too little before QRS are there to tell.
    """
    onset, _ = beat.bounds
    start = max(beat.near, onset - int(0.30 * RATE))
    if beat.averaged < 3 or onset - beat.near < 0.1 * RATE:
        return 0.0
    wave = p_bounds(beat, onset, 1.0)
    window = slice(start if wave is None else min(start, wave[0]), max(start + 1, onset - 6))
    height = np.ptp(beat.mean[:, window], axis=1)
    errors = height / np.maximum(beat.error[:, window].mean(axis=1), 1e-4)
    return float(np.median(errors)) if np.median(height) >= _P_SMALLEST_MV else 0.0
