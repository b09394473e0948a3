"""Where the QRS complexes are: leads in mV at 500 Hz in, samples out.

QRS is told from P, T and noise by its energy over all leads against the record's own QRS level, not against the half
second around it: a P wave 225 ms or more before QRS, or one that no QRS follows, stands alone there and would win.
Decided here: the bands, how near two beats can be, and how large and how distinct a complex must be.
"""

from __future__ import annotations

import numpy as np

from .averaged_beat import RATE

# Hz. Candidates are sought where P and T are small; of those that are left, wide ectopic beats are better told from P
# where their slow part counts, too. From 6 Hz on tall T waves are candidates, from 8 Hz on fewer ectopic beats are.
_SEEK_BAND, _JUDGE_BAND = (7.0, 30.0), (5.0, 30.0)
_QRS_S = 0.12  # energy is averaged over the length of a wide complex
_WINDOW_S = 2.0  # each holds a beat at 30 beats per minute or more; their median is not moved by an artefact
_LEAD_LIMIT = 2.0  # times a lead's own QRS level above which it counts no more: no artefact of one lead makes a beat
_REFRACTORY_S = 0.22  # 270 beats per minute; of two closer candidates, as a pacing spike and its QRS, the larger stays
# Pan and Tompkins 1985: what follows a complex within 360 ms with less than half of its slope is its T wave; the same
# holds backwards, for P. 420 ms, as T comes later in slow hearts; from 460 ms on more ectopic beats are lost.
_T_WAVE_S, _T_WAVE_SHARE = 0.42, 0.5
_DISTINCT = 0.4  # share of its height by which a complex stands above its surroundings: noise does not fall so low
_SMALLEST = 0.15  # share of the QRS level below which no candidate is looked at
_UNSURE = (0.25, 0.6)  # shares of the QRS level: below none is a QRS, above each is one, between the record decides


def qrs_complexes(signal: np.ndarray) -> np.ndarray:
    """The middle of each QRS complex, in samples; one whose middle lies within 60 ms of an end is cut and left out.

    Args: signal: [leads, samples] in mV at 500 Hz, without baseline. Returns: int [beats], in order, maybe empty.
    """
    from scipy.ndimage import maximum_filter1d
    from scipy.signal import find_peaks, peak_prominences

    energy = _energy(signal, _SEEK_BAND)
    level = float(_level(energy))
    peaks, _ = find_peaks(energy, distance=round(_REFRACTORY_S * RATE))
    if level <= 0 or not len(peaks):
        return peaks[:0]
    # Zeros at both ends, or a complex near an end would not be distinct.
    prominence = peak_prominences(np.pad(energy, 1), peaks + 1)[0]
    peaks = peaks[prominence >= _DISTINCT * energy[peaks]]
    height = energy[peaks] / level
    peaks = peaks[~_beside_larger(peaks, height) & (height > _SMALLEST)]
    energy, half = _energy(signal, _JUDGE_BAND), round(_QRS_S / 2 * RATE)
    height = maximum_filter1d(energy, 2 * half + 1)[peaks] / _level(energy)
    peaks = peaks[height > _limit(height)]
    return peaks[(peaks >= half) & (peaks < signal.shape[1] - half)]


def _energy(signal: np.ndarray, band: tuple[float, float]) -> np.ndarray:
    """Mean absolute activity in the band, summed over leads [samples]."""
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, sosfiltfilt

    activity = np.abs(sosfiltfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), signal, axis=1))
    energy = uniform_filter1d(activity, round(_QRS_S * RATE), axis=1)
    return np.minimum(energy, _LEAD_LIMIT * _level(energy)[:, None]).sum(axis=0)


def _level(energy: np.ndarray) -> np.ndarray:
    """The height of a usual QRS: the median over windows of the largest value, along the last axis."""
    windows = max(1, round(energy.shape[-1] / (_WINDOW_S * RATE)))
    return np.median([part.max(axis=-1) for part in np.array_split(energy, windows, axis=-1)], axis=0)


def _beside_larger(peaks: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Which candidates have a neighbour, within the reach of T, of more than twice their height."""
    small = np.zeros(len(peaks), dtype=bool)
    for step in range(1, int(_T_WAVE_S / _REFRACTORY_S) + 1):  # no further neighbour can be so near
        near = peaks[step:] - peaks[:-step] < _T_WAVE_S * RATE
        small[step:] |= near & (height[step:] < _T_WAVE_SHARE * height[:-step])
        small[:-step] |= near & (height[:-step] < _T_WAVE_SHARE * height[step:])
    return small


def _limit(height: np.ndarray) -> float:
    """The height above which candidates are QRS: the middle of the widest gap, in logarithms, between unsure ones.

    P, T and noise make one group and beats, also wide or ectopic ones, another; where both lie differs from record to
    record, so that no fixed share serves all.
    """
    low, high = _UNSURE
    unsure = height[(height > low) & (height < high)]
    steps = np.sort(np.log(np.concatenate([[low], unsure, [high]])))
    widest = int(np.argmax(np.diff(steps)))
    return float(np.exp((steps[widest] + steps[widest + 1]) / 2))
