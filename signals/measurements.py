"""measure: heart rate, intervals, QTc and axis of an ECG, each with a confidence.

In: an `ECGRecord`. Out: `Measurements`; None where something cannot be measured, such as PR in atrial fibrillation.
Beats are detected on all leads together (`beats`); how far neurokit2 (extra `measure`) agrees is the confidence of the
rate. The intervals are taken from the averaged beat of all leads by its spatial velocity (`averaged_beat`): on LUDB
this came closer to the cardiologists than neurokit2's delineators as they are (docs/measurements.md has both). Decided
here: what counts as measurable.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..heart_ecgllm import find_qrs
from ..signal_ecgllm import LEADS, complete_limb_leads, remove_baseline
from .averaged_beat import RATE, Beat, average_beat, has_p_wave, qrs_bounds, wave_lengths
from .record import ECGRecord, known_lead_name

INSTALL = "measuring ECGs needs neurokit2: pip install 'ecgllm[measure]'"

_SHORTEST_S, LONGEST_S = 2.0, 600.0
_SMALLEST_MV = 0.02  # a lead that spans less is flat

_IRREGULAR = 0.1  # mean change between RR intervals, as a share of their mean, above which beats are irregular
_FEW_LEADS = 0.6  # times the confidence with fewer than four leads: on lead II or V1 of LUDB errors are twice as large


@dataclass(frozen=True)
class Measurement:
    """A value, None where it cannot be measured, and a confidence from 0 to 1, which ranks and is no probability."""

    value: float | None
    confidence: float

    def __post_init__(self) -> None:
        if self.value is None or not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
            object.__setattr__(self, "confidence", 0.0)


_NOTHING = Measurement(None, 0.0)


@dataclass(frozen=True)
class Measurements:
    """What `measure` finds: rates in beats per minute, intervals in ms, the axis in degrees (-180 to 180).

    heart_rate: of all beats. rr, rr_sd: mean and standard deviation between beats. p, pr, qrs, qt: of the averaged
    dominant beat, over all leads. qtc_bazett: qt / sqrt(rr in s) (Bazett 1920). qtc_fridericia: qt / cbrt(rr in s)
    (Fridericia 1920). axis: of QRS in the frontal plane, from its net amplitudes in I and aVF. beats: when each QRS
    complex was found (s); averaged: how many of them make the averaged beat. leads: those measured. notes: what was
    left out, and why a value is missing.
    """

    heart_rate: Measurement = _NOTHING
    rr: Measurement = _NOTHING
    rr_sd: Measurement = _NOTHING
    p: Measurement = _NOTHING
    pr: Measurement = _NOTHING
    qrs: Measurement = _NOTHING
    qt: Measurement = _NOTHING
    qtc_bazett: Measurement = _NOTHING
    qtc_fridericia: Measurement = _NOTHING
    axis: Measurement = _NOTHING
    beats: tuple[float, ...] = ()
    averaged: int = 0
    leads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def values(self) -> dict[str, float]:
        """What could be measured, name -> value: fits `ECGRecord.measurements` and `plot_ecg(measurements=...)`."""
        found = {name: measurement.value for name, measurement in self._measured().items()}
        return {name: round(value, 1) for name, value in found.items() if value is not None}

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping: name -> {"value", "confidence"}, and beats, averaged, leads, notes."""
        values = self.values()
        measured = {
            name: {"value": values.get(name), "confidence": round(each.confidence, 2)}
            for name, each in self._measured().items()
        }
        counts = {"beats": len(self.beats), "averaged": self.averaged}
        return measured | counts | {"leads": list(self.leads), "notes": list(self.notes)}

    def _measured(self) -> dict[str, Measurement]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Measurement)}


def measure(record: ECGRecord) -> Measurements:
    """Measure an ECG.

    Args: record: of any rate, length and leads; a single lead gives all but the axis. Leads that are flat or mostly
    missing are left out; of a record longer than 10 minutes the first 10 are measured. Notes say so.
    Returns: `Measurements`. Nothing of the record is changed.
    Raises: ImportError if neurokit2 is not installed.
    """
    detectors = _detectors()
    notes: list[str] = []
    leads = _usable(record, notes)
    if not leads:
        return Measurements(notes=(*notes, "no lead can be measured"))
    names = tuple(leads)
    signal, missing = _prepared(np.stack(list(leads.values())), record.sampling_rate)
    if signal.shape[1] < _SHORTEST_S * RATE:
        text = f"{record.duration:.2f} s are too short to measure; at least {_SHORTEST_S:g} s are needed"
        return Measurements(leads=names, notes=(*notes, text))
    peaks, agreement = _detect(signal, detectors)
    times = tuple((peaks / RATE).tolist())
    rr = _intervals_between(peaks, missing)
    if not len(rr):
        return Measurements(beats=times, leads=names, notes=(*notes, "fewer than two beats were found"))
    mean_rr = float(rr.mean())
    found = {
        "heart_rate": Measurement(60_000 / mean_rr, agreement),
        "rr": Measurement(mean_rr, agreement),
        "rr_sd": Measurement(float(rr.std(ddof=1)) if len(rr) > 1 else None, agreement),
    }
    beat = average_beat(signal, peaks, missing)
    if beat is None:
        notes.append("no two beats are alike and whole; intervals were not measured")
        return Measurements(**found, beats=times, leads=names, notes=tuple(notes))
    found |= _intervals(beat, rr, agreement * min(1.0, beat.averaged / len(peaks) + 0.2), notes)
    found["axis"] = _axis(beat, names, agreement)
    return Measurements(**found, beats=times, averaged=beat.averaged, leads=names, notes=tuple(notes))


def _detectors() -> Any:
    try:
        import neurokit2
    except ImportError as error:
        raise ImportError(f"{INSTALL} ({error})") from error
    return neurokit2.ecg_findpeaks


def _usable(record: ECGRecord, notes: list[str]) -> dict[str, np.ndarray]:
    """The leads worth measuring: the standard ones where there are any, neither flat nor mostly missing."""
    longest = round(LONGEST_S * record.sampling_rate)
    if record.n_samples > longest:
        notes.append(f"the first {LONGEST_S:g} s of {record.duration:.0f} s were measured")
    rows = {known_lead_name(name): row[:longest] for name, row in zip(record.leads, record.signal, strict=True)}
    standard = {name: rows[name] for name in LEADS if name in rows}
    usable = {}
    for name, row in (standard or rows).items():
        there = row[np.isfinite(row)]
        if there.size < 0.8 * row.size:
            notes.append(f"lead {name} was left out: {1 - there.size / row.size:.0%} of its samples are missing")
        elif np.ptp(there) < _SMALLEST_MV:
            notes.append(f"lead {name} was left out: it is flat")
        else:
            usable[name] = row
    return usable


def _prepared(signal: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """The leads at 500 Hz from 0.5 to 60 Hz [leads, samples], and which of these samples are missing in any lead."""
    from scipy.signal import butter, resample_poly, sosfiltfilt

    absent = ~np.isfinite(signal)
    if absent.any():
        index = np.arange(signal.shape[1])
        signal = np.stack([np.interp(index, index[~gap], row[~gap]) for row, gap in zip(signal, absent, strict=True)])
    signal = signal.astype(np.float64)
    if rate != RATE:
        ratio = Fraction(RATE / rate).limit_denominator(1000)
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="median")
    missing = absent.any(axis=0)
    at = np.minimum((np.arange(signal.shape[1]) * (rate / RATE)).astype(int), len(missing) - 1)
    if signal.shape[1] < 3:
        return signal, missing[at]
    signal = remove_baseline(signal, RATE).astype(np.float64)
    padding = min(signal.shape[1] - 1, RATE // 2)
    return sosfiltfilt(butter(2, 60, fs=RATE, output="sos"), signal, axis=1, padlen=padding), missing[at]


def _detect(signal: np.ndarray, findpeaks: Any) -> tuple[np.ndarray, float]:
    """QRS complexes (samples) and how far neurokit2's default detector agrees on them (F1 within 100 ms)."""
    from scipy.signal import butter, sosfiltfilt

    first = np.round(find_qrs(signal, RATE) * RATE).astype(int)
    activity = np.abs(sosfiltfilt(butter(2, [5, 30], "bandpass", fs=RATE, output="sos"), signal, axis=1))
    typical = np.median(np.percentile(activity, 99, axis=1))
    activity = np.minimum(activity, 8 * typical).sum(axis=0)  # no lead drowns the others
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the library's, where it finds no beat: that is told below
        peaks = np.asarray(findpeaks(activity, RATE, method="neurokit")["ECG_R_Peaks"], dtype=float)
    second = np.unique(peaks[np.isfinite(peaks)].astype(int))
    if not len(first) or not len(second):
        return first, 0.0
    distance = np.abs(first[:, None] - second[None, :])
    near = 0.1 * RATE
    matched = (distance.min(axis=1) <= near).sum() + (distance.min(axis=0) <= near).sum()
    return first, float(matched / (len(first) + len(second)))


def _intervals_between(peaks: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """RR intervals in ms, without those that span missing samples."""
    gaps = np.concatenate([[0], np.cumsum(missing)])
    whole = gaps[peaks[1:]] == gaps[peaks[:-1]] if len(peaks) > 1 else np.zeros(0, dtype=bool)
    return np.diff(peaks)[whole] * (1000 / RATE)


def _intervals(beat: Beat, rr: np.ndarray, trust: float, notes: list[str]) -> dict[str, Measurement]:
    """P, PR, QRS, QT and QTc of the averaged beat.

    A confidence falls with the largest difference between a value and what other thresholds, or halves of the leads,
    give: by a factor e for each 40 ms.
    """
    lengths = wave_lengths(beat)
    irregular = bool(len(rr) > 1 and np.abs(np.diff(rr)).mean() / rr.mean() > _IRREGULAR)
    if not has_p_wave(beat, irregular):
        lengths.pop("pr", None)
        lengths.pop("p", None)
        notes.append("no P wave is tied to the QRS complexes; P and PR were not measured")
    elif "pr" not in lengths:
        notes.append("P begins within the T wave before it, or none is there; P and PR were not measured")
    if "qt" not in lengths:
        notes.append("the end of the T wave could not be told")
    if len(beat.mean) < 4:
        trust *= _FEW_LEADS
    others = [wave_lengths(beat, factor) for factor in (0.6, 1.6)]
    if len(beat.mean) >= 4:
        halves = (slice(0, None, 2), slice(1, None, 2))
        others += [wave_lengths(replace(beat, mean=beat.mean[half], error=beat.error[half])) for half in halves]
    found = {}
    for name, value in lengths.items():
        spread = max((abs(other[name] - value) for other in others if name in other), default=math.inf)
        found[name] = Measurement(value, trust * math.exp(-spread / 40))
    if "qt" in found:
        qt, seconds = found["qt"], float(rr.mean()) / 1000
        found["qtc_bazett"] = Measurement(lengths["qt"] / math.sqrt(seconds), qt.confidence)
        found["qtc_fridericia"] = Measurement(lengths["qt"] / seconds ** (1 / 3), qt.confidence)
    return found


def _axis(beat: Beat, names: tuple[str, ...], trust: float) -> Measurement:
    """atan2(2 aVF, sqrt(3) I) of the net amplitudes of QRS: Goldberger's aVF is sqrt(3)/2 of a lead of full length.

    Less certain where upward and downward deflections cancel.
    """
    complete = complete_limb_leads({name: beat.mean[row] for row, name in enumerate(names) if name in LEADS[:6]})
    if not {"I", "aVF"} <= set(complete):
        return _NOTHING
    onset, offset = qrs_bounds(beat)
    qrs = np.stack([complete["I"], complete["aVF"] * 2 / math.sqrt(3)])[:, onset:offset]
    qrs = qrs - qrs[:, :1]
    right, down = qrs.max(axis=1) + qrs.min(axis=1)
    largest = float(np.hypot(*qrs).max())
    if largest <= 0:
        return _NOTHING
    return Measurement(math.degrees(math.atan2(down, right)), trust * min(1.0, 2 * math.hypot(right, down) / largest))
