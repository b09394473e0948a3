"""Whether a signal shows a heartbeat, and where the beats are: leads x samples in mV in, times and a verdict out.

Noise has peaks, too. QRS complexes differ from them in two ways: they stand out from the signal between them in all
leads at the same moment, and they look alike. A signal that shows both has a heartbeat; any other is refused, with the
reason. QRS is distinguished from P, T and noise by its energy over all leads, compared with the record's own QRS
level. It is not compared with the half second around it: a P wave 225 ms or more before QRS, or one that no QRS
follows, stands alone there and would win. Decided here: the bands, how near two beats can be, how large and how
distinct a complex must be, and how alike. It needs NumPy alone and takes any sampling rate: this file travels with a
checkpoint, and reading and measuring files uses it, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

# Hz. Candidates are sought where P and T are small. Of those that are left, wide ectopic beats are better
# distinguished from P where their slow part counts, too. From 6 Hz tall T waves are candidates, from 8 Hz fewer
# ectopic beats are.
_SEEK_BAND, _JUDGE_BAND = (7.0, 30.0), (5.0, 30.0)
# Beats are compared in it: QRS and T, but neither baseline wander nor powerline interference, nor most muscle noise.
_SHAPE_BAND = (1.5, 25.0)
_GRID_HZ = 200.0  # nothing above 30 Hz is looked at; the time of a beat is known to 5 ms
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

FLAT_BELOW_MV = 0.02
"""ANSI/AAMI EC11: 20 microvolts peak to valley is the smallest deflection that a device has to show."""

# What distinguishes a heart from noise, chosen on half of the records and noises; docs/measurements.md has the rest.
_STANDS_OUT = 2.2  # times the energy between beats; noise of any colour reaches 1.2 to 2
_STANDS_OUT_ALONE = 5.0  # where too few beats are there to be compared: fewer than two, or six in a short strip
_FEW_BEATS, _SHORT_S = 6, 5.0
_SURE_S = 2.0  # in one second of 1,262 cut from real records 19 % were without a whole beat, in 2 s 0.2 %
_EDGE_S = 0.15  # nearer to an end what stands out may be the end of something else
_NOTHING_MV = 1e-6  # what rounding leaves of a constant
_VISIBLE_MV = 0.02  # median height of QRS from 5 to 30 Hz in its largest lead, below which it is as good as flat
# Correlation that the more alike 30 % of pairs of beats reach. Chance gives more with fewer leads, as 1 / sqrt(leads).
_ALIKE, _ALIKE_BY_CHANCE = 0.35, 0.3
# A single lead that does not show the beats of the others: 16 of 10,402 in the same records, most of them noise.
_ALIKE_IN_LEAD, _VISIBLE_IN_LEAD_MV = 0.5, 0.03
_BEFORE_S, _AFTER_S, _AFTER_SHARE, _SLACK_S = 0.08, 0.30, 0.55, 0.03
_MOST_COMPARED = 60

NO_HEART = (
    "no heart beats were found in it: {found}. It is noise, a disconnected or wrong recording, or an ECG without QRS "
    "complexes; asystole and ventricular fibrillation look so too, so look at the patient first"
)


@dataclass(frozen=True)
class Heart:
    """What `find_heart` finds.

    found: whether the signal shows the beats of a heart. beats: seconds of the middle of each QRS complex (or of what
    comes nearest to one, where no heart is found). stands_out: energy at the beats divided by that between them.
    alike: the correlation of beats with each other over all leads, None with fewer than two. alike_in_lead: the same
    by lead [leads], NaN where it is not known. height_mv: QRS from peak to valley by lead [leads], from 5 to 30 Hz,
    which leaves half of a wide complex. missing: why no heartbeat is found, None where one is.
    """

    found: bool
    beats: np.ndarray
    stands_out: float = 0.0
    alike: float | None = None
    alike_in_lead: np.ndarray = field(default_factory=lambda: np.zeros(0))
    height_mv: np.ndarray = field(default_factory=lambda: np.zeros(0))
    missing: str | None = None

    def seen_in_leads(self) -> np.ndarray:
        """Which leads show the beats that all leads together show, bool [leads]; True for a lead about which nothing
        is known."""
        known = np.isfinite(self.alike_in_lead)
        return ~known | ((self.alike_in_lead >= _ALIKE_IN_LEAD) & (self.height_mv >= _VISIBLE_IN_LEAD_MV))


def find_heart(signal: np.ndarray, sampling_rate: float) -> Heart:
    """Say whether a signal shows the beats of a heart.

    It does if its QRS complexes hold several times the energy of what lies between them and resemble each other. With
    a single beat, or few in less than five seconds, it is enough that they stand out. Neither rate nor regularity
    counts: ventricular tachycardia, atrial fibrillation, pacing and 20 beats a minute are heartbeats. Ventricular
    fibrillation and asystole are not distinguished from noise.

    Args: signal: [leads, samples] in mV, all finite. sampling_rate: Hz.
    """
    signal = np.asarray(signal, dtype=np.float64)
    leads = len(signal)
    alike_in_lead, height = np.full(leads, np.nan), np.zeros(leads)
    there = np.ptp(signal, axis=1) >= FLAT_BELOW_MV if signal.shape[1] else np.zeros(leads, dtype=bool)
    if not there.any():
        text = f"every lead is flat (below {FLAT_BELOW_MV * 1000:g} microvolts from peak to peak)"
        return Heart(False, np.zeros(0), alike_in_lead=alike_in_lead, height_mv=height, missing=text)
    bands = _banded(signal[there], sampling_rate, (_SEEK_BAND, _JUDGE_BAND, _SHAPE_BAND))
    peaks, energy = _complexes(*bands[:2])
    beats, seconds = peaks / bands.grid, len(energy) / bands.grid
    peaks = peaks[(beats >= _EDGE_S) & (beats <= seconds - _EDGE_S)]
    height[there] = _height(bands[1], peaks)
    if height.max() < _VISIBLE_MV:
        text = "nothing stands out as a QRS complex does"
        if seconds < _SURE_S:
            text += f" ({seconds:.1f} s need not hold a beat; give {_SURE_S:g} s or more)"
        return Heart(False, beats, alike_in_lead=alike_in_lead, height_mv=height, missing=text)
    stands_out = _stands_out(energy, peaks)
    alike, alike_in_lead[there] = _alike(bands[2], peaks)
    known = (beats, stands_out, alike, alike_in_lead, height)
    few = alike is None or (seconds < _SHORT_S and len(peaks) < _FEW_BEATS)
    if few and stands_out >= _STANDS_OUT_ALONE:
        return Heart(True, *known)
    if stands_out < _STANDS_OUT:
        text = f"what comes nearest to QRS complexes has only {stands_out:.1f} times the energy of what lies between"
        return Heart(False, *known, missing=text)
    if alike is None or alike < _ALIKE + _ALIKE_BY_CHANCE / math.sqrt(there.sum()):
        seen = "there are too few to compare" if alike is None else f"they do not look alike (correlation {alike:.2f})"
        return Heart(False, *known, missing=f"{len(peaks)} peaks might be beats, but {seen}")
    return Heart(True, *known)


def find_qrs(signal: np.ndarray, sampling_rate: float) -> np.ndarray:
    """Seconds of the middle of each QRS complex, in order, possibly none. Whether they are a heartbeat is not checked.

    One whose middle lies within 60 ms of an end is cut and left out.
    Args: signal: [leads, samples] in mV, all finite. sampling_rate: Hz.
    """
    bands = _banded(np.asarray(signal, dtype=np.float64), sampling_rate, (_SEEK_BAND, _JUDGE_BAND))
    return _complexes(*bands[:2])[0] / bands.grid


class _Bands(list):
    """Band-passed leads, each [leads, samples] at `grid` Hz."""

    grid: float


def _banded(signal: np.ndarray, rate: float, limits: tuple[tuple[float, float], ...]) -> _Bands:
    """The leads in several bands, at 200 Hz whatever their rate, by one transform.

    The gain is that of a second-order Butterworth filter run forward and backward. The signal is continued beyond its
    ends by point reflection at the last sample, so that no step arises.
    """
    samples = signal.shape[1]
    signal = signal - np.median(signal, axis=1, keepdims=True)
    pad = min(samples - 1, round(rate))
    before = 2 * signal[:, :1] - signal[:, pad:0:-1]
    behind = 2 * signal[:, -1:] - signal[:, -2 : -pad - 2 : -1]
    padded = np.concatenate([before, signal, behind], axis=1)
    size = 1 << (padded.shape[1] - 1).bit_length()
    ramp = np.linspace(0, 1, size - padded.shape[1])
    padded = np.concatenate([padded, padded[:, -1:] * (1 - ramp) + padded[:, :1] * ramp], axis=1)
    spectrum, frequency = np.fft.rfft(padded, axis=1), np.fft.rfftfreq(size, 1 / rate)
    coarse = round(size * _GRID_HZ / rate)
    bands = _Bands()
    bands.grid = coarse * rate / size
    first, count = round(pad * coarse / size), int(samples * coarse / size)
    kept = min(coarse // 2, size // 2) + 1
    for low, high in limits:
        gain = 1 / (1 + (low / np.maximum(frequency[:kept], 1e-9)) ** 4) / (1 + (frequency[:kept] / high) ** 4)
        values = np.fft.irfft(spectrum[:, :kept] * gain, coarse, axis=1) * (coarse / size)
        bands.append(values[:, first : first + count])
    return bands


def _complexes(seek: np.ndarray, judge: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """QRS complexes (samples of the grid), and the energy by which they are judged."""
    energy = _energy(seek)
    level = float(_level(energy))
    peaks = _apart(energy, round(_REFRACTORY_S * _GRID_HZ))
    judged, half = _energy(judge), round(_QRS_S / 2 * _GRID_HZ)
    if level < _NOTHING_MV or not len(peaks):
        return peaks[:0], judged
    peaks = peaks[_prominence(energy, peaks) >= _DISTINCT * energy[peaks]]
    height = energy[peaks] / level
    peaks = peaks[~_beside_larger(peaks, height) & (height > _SMALLEST)]
    height = _highest(judged, half)[peaks] / _level(judged)
    peaks = peaks[height > _limit(height)]
    return peaks[(peaks >= half) & (peaks < len(energy) - half)], judged


def _energy(band: np.ndarray) -> np.ndarray:
    """Mean absolute activity in a band, summed over leads [samples]."""
    width = round(_QRS_S * _GRID_HZ) | 1
    padded = np.pad(np.abs(band), ((0, 0), (width // 2 + 1, width // 2)), mode="edge")
    total = np.cumsum(padded, axis=1)
    energy = (total[:, width:] - total[:, :-width]) / width
    return np.minimum(energy, _LEAD_LIMIT * _level(energy)[:, None]).sum(axis=0)


def _level(energy: np.ndarray) -> np.ndarray:
    """The height of a typical QRS: the median, over windows, of the largest value along the last axis."""
    windows = max(1, round(energy.shape[-1] / (_WINDOW_S * _GRID_HZ)))
    return np.median([part.max(axis=-1) for part in np.array_split(energy, windows, axis=-1)], axis=0)


def _apart(energy: np.ndarray, reach: int) -> np.ndarray:
    """Local maxima, the highest first, without those nearer than `reach` samples to one that is kept."""
    tops = np.flatnonzero((energy[1:-1] > energy[:-2]) & (energy[1:-1] >= energy[2:])) + 1
    taken = np.zeros(len(energy) + 2 * reach, dtype=bool)
    kept = []
    for top in tops[np.argsort(-energy[tops], kind="stable")].tolist():
        if not taken[top + reach]:
            taken[top + 1 : top + 2 * reach] = True
            kept.append(top)
    return np.array(sorted(kept), dtype=int)


def _prominence(energy: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """How far each peak stands above the higher of the two valleys between it and its next higher neighbours. The
    signal is taken as zero beyond its ends, or a complex near an end would not be distinct."""
    found = np.zeros(len(peaks))
    for at, peak in enumerate(peaks.tolist()):
        height = energy[peak]
        higher = np.flatnonzero(energy[:peak] > height)
        left = energy[higher[-1] : peak].min() if len(higher) else 0.0
        higher = np.flatnonzero(energy[peak + 1 :] > height)
        right = energy[peak + 1 : peak + 1 + higher[0] + 1].min() if len(higher) else 0.0
        found[at] = height - max(left, right)
    return found


def _highest(energy: np.ndarray, reach: int) -> np.ndarray:
    """Largest value within so many samples on either side."""
    padded = np.pad(energy, reach, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=1)


def _beside_larger(peaks: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Which candidates have, within the reach of a T wave, a neighbour of more than twice their height."""
    near = np.diff(peaks) < _T_WAVE_S * _GRID_HZ  # no further neighbour can be so near
    small = np.zeros(len(peaks), dtype=bool)
    small[1:] |= near & (height[1:] < _T_WAVE_SHARE * height[:-1])
    small[:-1] |= near & (height[:-1] < _T_WAVE_SHARE * height[1:])
    return small


def _limit(height: np.ndarray) -> float:
    """The height above which candidates are QRS: the middle of the widest gap, in logarithms, between unsure ones.

    P, T and noise are one group; beats, including wide or ectopic ones, are another. Where the two lie differs from
    record to record, so that no fixed share fits all.
    """
    low, high = _UNSURE
    unsure = height[(height > low) & (height < high)]
    steps = np.sort(np.log(np.concatenate([[low], unsure, [high]])))
    widest = int(np.argmax(np.diff(steps)))
    return float(np.exp((steps[widest] + steps[widest + 1]) / 2))


def _height(band: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Median over beats of QRS from peak to valley, in mV [leads]; nothing without a beat."""
    half = round(_QRS_S / 2 * _GRID_HZ)
    if not len(peaks):
        return np.zeros(len(band))
    return np.median([np.ptp(band[:, peak - half : peak + half + 1], axis=1) for peak in peaks.tolist()], axis=0)


def _stands_out(energy: np.ndarray, peaks: np.ndarray) -> float:
    """Median energy at the beats, divided by the median energy more than 100 ms from any beat."""
    between, reach = np.ones(len(energy), dtype=bool), round(0.1 * _GRID_HZ)
    for peak in peaks.tolist():
        between[max(0, peak - reach) : peak + reach + 1] = False
    rest = float(np.median(energy[between])) if between.any() else float(energy.min())
    return float(np.median(_highest(energy, round(_QRS_S / 2 * _GRID_HZ))[peaks])) / max(rest, 1e-9)


def _alike(shape: np.ndarray, peaks: np.ndarray) -> tuple[float | None, np.ndarray]:
    """How the beats resemble each other: over all leads, and lead by lead (NaN with fewer than two).

    The 70th percentile of the correlations of pairs of beats, each lead with the same weight, so that a rhythm of two
    kinds of beats, such as bigeminy, does not count as unlike. Beats are aligned to their median first.
    """
    half, slack = round(_BEFORE_S * _GRID_HZ), round(_SLACK_S * _GRID_HZ)
    rr = float(np.median(np.diff(peaks))) if len(peaks) > 1 else 0.0
    after = max(half, round(min(_AFTER_S * _GRID_HZ, _AFTER_SHARE * rr)))
    inside = (peaks >= half + slack) & (peaks + after + slack < shape.shape[1])
    peaks = peaks[inside]
    if len(peaks) > _MOST_COMPARED:  # evenly over the recording
        peaks = peaks[np.linspace(0, len(peaks) - 1, _MOST_COMPARED).astype(int)]
    by_lead = np.full(len(shape), np.nan)
    if len(peaks) < 2:
        return None, by_lead
    windows = np.stack([shape[:, peak - half - slack : peak + after + slack + 1] for peak in peaks])
    length, shifts = half + after + 1, np.zeros(len(peaks), dtype=int)
    near = slice(0, 2 * half + 1)  # QRS decides where a beat is
    for _ in range(2):
        cut = np.stack([each[:, slack + s : slack + s + length] for each, s in zip(windows, shifts, strict=True)])
        middle = np.median(cut, axis=0)[:, near]
        scores = [
            np.einsum("blt,lt->b", windows[:, :, slack + s : slack + s + length][:, :, near], middle)
            for s in range(-slack, slack + 1)
        ]
        shifts = np.argmax(scores, axis=0) - slack
    cut = np.stack([each[:, slack + s : slack + s + length] for each, s in zip(windows, shifts, strict=True)])
    cut = cut - cut.mean(axis=-1, keepdims=True)
    cut /= np.sqrt((cut**2).sum(axis=-1, keepdims=True)) + 1e-9
    first, second = np.triu_indices(len(cut), 1)
    correlations = np.einsum("ilt,jlt->lij", cut, cut)[:, first, second]
    by_lead = np.percentile(correlations, 70, axis=1)
    return float(np.percentile(correlations.mean(axis=0), 70)), by_lead


__all__ = ["FLAT_BELOW_MV", "NO_HEART", "Heart", "find_heart", "find_qrs"]
