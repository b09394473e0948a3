"""measure: heart rate, intervals, QTc and axis of an ECG, each with a confidence.

In: an `ECGRecord`. Out: `Measurements`; None where something cannot be measured, such as PR in atrial fibrillation,
and nothing at all where no heart beats. Beats are detected on all leads together (`heart_ecgllm`), a pacemaker's
spikes are taken out (`pacing`), and the intervals are taken from the dominant beat of all leads by its spatial
velocity (`dominant_beat`). Decided here: what counts as measurable, and how sure a measurement is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ...heart_ecgllm import NO_HEART, Heart, find_heart, find_qrs
from ...measured_figures_ecgllm import NUMBERS
from ...signal_ecgllm import LEADS, complete_limb_leads, remove_baseline
from ..record import ECGRecord, known_lead_name
from .calibration import without_calibration
from .dominant_beat import RATE, Beat, dominant_beat, has_p_wave, low_pass, wave_lengths
from .measurement_limits import beyond, limits_of
from .pacing import find_spikes, paces_ventricles, spike_before, with_hidden_spikes, without_spikes

_SHORTEST_S, LONGEST_S = 2.0, 600.0
_SMALLEST_MV = 0.02  # a lead that spans less is flat
LEAST_CONFIDENCE = 0.2
"""Below it nothing is given: one interval in 200 of LUDB, and a third of simulated QRS without a clear end (bundle
branch block, pacing), where halves of the leads end 60 ms apart or more."""

_IRREGULAR = 0.1  # mean change between RR intervals, as a share of their mean, above which beats are irregular
_PACED = 0.7  # times the confidence, as spikes blur what begins with them
# Once more for QRS: of 30 simulated paced records those that this withholds are off by 36 ms (root mean square), those
# that it leaves by 14.
_PACED_QRS = 0.47
_FEW_LEADS = 0.6  # times the confidence with fewer than four leads: on lead II or V1 of LUDB errors are twice as large
_SAME_BEAT_S = 0.1  # within which beats that halves of the leads show alone are those that all show together


@dataclass(frozen=True)
class Measurement:
    """A value, None where it cannot be measured, and a confidence from 0 to 1, which ranks and is no probability.

    usual: lowest and highest value of healthy adults, None where there is no limit (`measurement_limits` has sources).
    """

    value: float | None
    confidence: float
    usual: tuple[float | None, float | None] = (None, None)

    def __post_init__(self) -> None:
        if self.value is None or not math.isfinite(self.value):
            object.__setattr__(self, "value", None)
            object.__setattr__(self, "confidence", 0.0)

    @property
    def unusual(self) -> str | None:
        """ "below" or "above" the usual limits, None within them or without a value.

        Judged in whole bpm, ms or degrees, in which limits are stated and values shown: 59.9 bpm reads 60, not "60,
        below the usual 60".
        """
        return None if self.value is None else beyond(round(self.value), self.usual)


_NOTHING = Measurement(None, 0.0)


@dataclass(frozen=True)
class Measurements:
    """What `measure` finds: rates in beats per minute, intervals in ms, the axis in degrees (-180 to 180).

    heart_rate: of all beats. rr, rr_sd: mean and standard deviation between beats. p, pr, qrs, qt: of the averaged
    dominant beat, over all leads. qtc_bazett: qt / sqrt(rr in s) (Bazett 1920). qtc_fridericia: qt / cbrt(rr in s)
    (Fridericia 1920); rr there is that before the dominant beats, so that no premature beat and no pause behind one
    counts. axis: of QRS in the frontal plane, from its net amplitudes in I and aVF. beats: when each QRS
    complex was found (s); averaged: how many of them make the dominant beat. paced: whether QRS follows a pacemaker's
    spikes. leads: those measured. notes: what was left out, and why a value is missing.
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
    paced: bool = False
    leads: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def values(self) -> dict[str, float]:
        """What could be measured, name -> value: fits `ECGRecord.measurements` and `plot_ecg(measurements=...)`.

        A record's measurements have no confidence, so that only what is surer than `LEAST_CONFIDENCE` is given at all,
        here as in the fields; `to_dict` has confidence and usual limits beside every value.
        """
        found = {name: measurement.value for name, measurement in self._measured().items()}
        return {name: round(value, 1) for name, value in found.items() if value is not None}

    def figures(self) -> dict[str, tuple[float, float] | bool]:
        """What stands beside the ECG in a prompt (`measured_figures_ecgllm`): (value, confidence) of heart_rate, pr,
        qrs, qtc (Bazett's) and axis where they could be measured, and whether beats come regularly and are paced."""
        each = {
            "heart_rate": self.heart_rate,
            "pr": self.pr,
            "qrs": self.qrs,
            "qtc": self.qtc_bazett,
            "axis": self.axis,
        }
        found: dict[str, tuple[float, float] | bool] = {}
        for name, one in each.items():
            low, high = NUMBERS[name][2]
            if one.value is not None and low <= one.value <= high:
                found[name] = float(round(one.value)), round(one.confidence, 2)
        if (between := np.diff(self.beats)).size > 1:
            found["regular"] = not _varies(between)
        return found | ({"paced": True} if self.paced else {})

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping: name -> {"value", "confidence", "usual" (low, high), "unusual" ("below", "above")},
        and beats, averaged, paced, leads, notes."""
        values = self.values()
        measured = {
            name: {
                "value": values.get(name),
                "confidence": round(each.confidence, 2),
                "usual": list(each.usual),
                "unusual": each.unusual,
            }
            for name, each in self._measured().items()
        }
        counts = {"beats": len(self.beats), "averaged": self.averaged, "paced": self.paced}
        return measured | counts | {"leads": list(self.leads), "notes": list(self.notes)}

    def _measured(self) -> dict[str, Measurement]:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if isinstance(value, Measurement)}


def measure(record: ECGRecord) -> Measurements:
    """Measure an ECG.

    What is not sure (`LEAST_CONFIDENCE`) or impossible is not given, and a note says so; what is outside the usual
    limits is given, and called unusual.

    Args: record: of any rate, length and leads; a single lead gives all but the axis. Leads that are flat or mostly
    missing are left out, and so is a calibration pulse at an end; of a record longer than 10 minutes the first 10
    are measured. Notes say so.
    Returns: `Measurements`; no value where no heart beats. Nothing of the record is changed.
    """
    return measure_beats(record)[0]


@dataclass(frozen=True)
class MeasuredBeats:
    """What was measured: leads [leads, samples] in mV at 500 Hz from 0.5 to 60 Hz without a pacemaker's spikes, their
    names, the samples where QRS complexes lie, how many spikes were found, and the dominant beat, None where no two
    are alike."""

    signal: np.ndarray
    leads: tuple[str, ...]
    peaks: np.ndarray
    spikes: int
    beat: Beat | None


def measure_beats(record: ECGRecord) -> tuple[Measurements, MeasuredBeats | None]:
    """`measure`, and the beats by which it was done; None where there are fewer than two."""
    record, start, calibration = without_calibration(record)
    notes = [f"{stretch}, the same in all leads like a calibration pulse, was left out" for stretch in calibration]
    leads = _usable(record, notes)
    if not leads:
        return Measurements(notes=(*notes, "no lead can be measured")), None
    names = tuple(leads)
    rate = record.sampling_rate
    if len(next(iter(leads.values()))) < _SHORTEST_S * rate:
        text = f"{record.duration:.2f} s are too short to measure; at least {_SHORTEST_S:g} s are needed"
        return Measurements(leads=names, notes=(*notes, text)), None
    signal, absent = _filled(np.stack(list(leads.values())))
    heart = find_heart(signal, rate)
    if not heart.found:
        return Measurements(leads=names, notes=(*notes, NO_HEART.format(found=heart.missing))), None
    spikes = find_spikes(signal, rate)
    paced = paces_ventricles(spikes / rate, heart.beats)
    if paced:
        spikes = with_hidden_spikes(signal, rate, spikes, heart.beats)
    if 2 * len(spikes) >= len(heart.beats):  # a few at random are noise, of which a line takes nothing
        signal = without_spikes(signal, rate, spikes)
    signal, missing = _prepared(signal, absent, rate)
    peaks = np.minimum(np.round(heart.beats * RATE).astype(int), signal.shape[1] - 1)
    times = tuple((heart.beats + start).tolist())
    rr = _intervals_between(peaks, missing)
    if not np.isfinite(rr).any():
        few = (*notes, "fewer than two beats were found")
        return Measurements(beats=times, leads=names, paced=paced, notes=few), None
    agreement = _agreement(signal, heart)
    known = rr[np.isfinite(rr)]
    mean_rr = float(known.mean())
    found = {
        "heart_rate": Measurement(60_000 / mean_rr, agreement),
        "rr": Measurement(mean_rr, agreement),
        "rr_sd": Measurement(float(known.std(ddof=1)) if len(known) > 1 else None, agreement),
    }
    beat = dominant_beat(signal, peaks, missing)
    if beat is None:
        notes.append("no two beats are alike and whole; intervals were not measured")
    else:
        if paced:
            beat = replace(beat, earliest=_spike_in(beat, spikes / record.sampling_rate))
        found |= _intervals(beat, rr, agreement * min(1.0, beat.averaged / len(peaks) + 0.2), paced, notes)
        found["axis"] = _axis(beat, names, agreement)
    found = _given(found, record.sex, notes)
    averaged = 0 if beat is None else beat.averaged
    counts = {"beats": times, "averaged": averaged, "paced": paced, "leads": names, "notes": tuple(notes)}
    return Measurements(**found, **counts), MeasuredBeats(signal, names, peaks, len(spikes), beat)


def _given(found: dict[str, Measurement], sex: str | None, notes: list[str]) -> dict[str, Measurement]:
    """Measurements with their usual limits, without those that are unsure or impossible, which notes name."""
    given = {}
    for name, each in found.items():
        if each.value is None:
            continue
        limits = limits_of(name, sex)
        called = name.replace("_", " ")
        if (side := beyond(each.value, limits.possible)) is not None:
            limit = limits.possible[side == "above"]
            notes.append(f"{called} came out {side} {limit:g}, the limit of what can be, and is not given")
        elif each.confidence < LEAST_CONFIDENCE:
            notes.append(f"{called} is not given, as its confidence is only {each.confidence:.2f}")
        else:
            given[name] = replace(each, usual=limits.usual)
    if "qt" not in given:  # what follows from it falls with it
        given = {name: each for name, each in given.items() if not name.startswith("qtc")}
    return given


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


def _filled(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The leads with a line over their missing samples, and which samples are missing in any of them."""
    absent = ~np.isfinite(signal)
    if absent.any():
        index = np.arange(signal.shape[1])
        signal = np.stack([np.interp(index, index[~gap], row[~gap]) for row, gap in zip(signal, absent, strict=True)])
    return signal.astype(np.float64), absent.any(axis=0)


def _prepared(signal: np.ndarray, absent: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """The leads at 500 Hz from 0.5 to 60 Hz [leads, samples], and which of these samples are missing in any lead."""
    from scipy.signal import resample_poly, sosfiltfilt

    if rate != RATE:
        ratio = Fraction(RATE / rate).limit_denominator(1000)
        signal = resample_poly(signal, ratio.numerator, ratio.denominator, axis=1, padtype="median")
    at = np.minimum((np.arange(signal.shape[1]) * (rate / RATE)).astype(int), len(absent) - 1)
    signal = remove_baseline(signal, RATE).astype(np.float64)
    padding = min(signal.shape[1] - 1, RATE // 2)
    return sosfiltfilt(low_pass(60.0), signal, axis=1, padlen=padding), absent[at]


def _agreement(signal: np.ndarray, heart: Heart) -> float:
    """How far halves of the leads, each looked at alone, show the same beats (F1); of few leads: how alike."""
    if len(signal) < 4:
        return _FEW_LEADS if heart.alike is None else min(1.0, max(0.0, heart.alike))
    shares = []
    for half in (signal[::2], signal[1::2]):
        alone = find_qrs(half, RATE)
        if not len(alone):
            return 0.0
        distance = np.abs(heart.beats[:, None] - alone[None, :])
        matched = (distance.min(axis=1) <= _SAME_BEAT_S).sum() + (distance.min(axis=0) <= _SAME_BEAT_S).sum()
        shares.append(float(matched / (len(alone) + len(heart.beats))))
    return float(np.mean(shares))


def _intervals_between(peaks: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """RR intervals in ms, NaN for those that span missing samples."""
    gaps = np.concatenate([[0], np.cumsum(missing)])
    if len(peaks) < 2:
        return np.zeros(0)
    return np.where(gaps[peaks[1:]] == gaps[peaks[:-1]], np.diff(peaks) * (1000 / RATE), np.nan)


def _varies(between: np.ndarray) -> bool:
    """Whether two or more intervals between beats change from one to the next more than those of regular beats."""
    return bool(np.abs(np.diff(between)).mean() / between.mean() > _IRREGULAR)


def _before_averaged(beat: Beat, rr: np.ndarray) -> np.ndarray:
    """RR intervals in ms from one dominant beat to the next, or, where no two follow each other, all before them."""
    kept = np.array(beat.kept)
    kept = kept[kept > 0]
    paired = kept[np.isin(kept - 1, beat.kept)]
    for choice in (rr[paired - 1], rr[kept - 1], rr):
        if np.isfinite(choice).any():
            return choice[np.isfinite(choice)]
    return rr


def _spike_in(beat: Beat, spikes: np.ndarray) -> int:
    """The sample of an dominant beat at which its ventricular spike lies, 0 if that cannot be told. spikes: s."""
    before = spike_before(spikes, np.array(beat.peaks) / RATE)
    return 0 if before is None else max(0, beat.centre - round(before * RATE))


def _intervals(beat: Beat, rr: np.ndarray, trust: float, paced: bool, notes: list[str]) -> dict[str, Measurement]:
    """P, PR, QRS, QT and QTc of the dominant beat.

    A confidence falls with the largest difference between a value and what other thresholds, or halves of the leads,
    give: by a factor e for each 40 ms.
    """
    known = rr[np.isfinite(rr)]
    lengths = wave_lengths(beat)
    irregular = len(known) > 1 and _varies(known)
    if paced:
        lengths.pop("pr", None)
        lengths.pop("p", None)
        notes.append("QRS follows a pacemaker's spikes; P and PR were not measured")
        trust *= _PACED
    elif not has_p_wave(beat, irregular):
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
        others += [wave_lengths(beat.of_leads(half)) for half in halves]
    found = {}
    for name, value in lengths.items():
        spread = max((abs(other[name] - value) for other in others if name in other), default=math.inf)
        sure = trust * _PACED_QRS if paced and name == "qrs" else trust
        found[name] = Measurement(value, sure * math.exp(-spread / 40))
    if "qt" in found:
        before = _before_averaged(beat, rr)
        qt, seconds = found["qt"], float(before.mean()) / 1000
        # Of an irregular rhythm the mean of few intervals is a guess.
        steady = 1.0 if len(before) < 2 else 1 / (1 + float(before.std() / before.mean()) / math.sqrt(len(before)))
        found["qtc_bazett"] = Measurement(lengths["qt"] / math.sqrt(seconds), qt.confidence * steady)
        found["qtc_fridericia"] = Measurement(lengths["qt"] / seconds ** (1 / 3), qt.confidence * steady)
    return found


def _axis(beat: Beat, names: tuple[str, ...], trust: float) -> Measurement:
    """atan2(2 aVF, sqrt(3) I) of the net amplitudes of QRS: Goldberger's aVF is sqrt(3)/2 of a lead of full length.

    Less certain where upward and downward deflections cancel.
    """
    complete = complete_limb_leads({name: beat.mean[row] for row, name in enumerate(names) if name in LEADS[:6]})
    if not {"I", "aVF"} <= set(complete):
        return _NOTHING
    onset, offset = beat.bounds
    qrs = np.stack([complete["I"], complete["aVF"] * 2 / math.sqrt(3)])[:, onset:offset]
    qrs = qrs - qrs[:, :1]
    right, down = qrs.max(axis=1) + qrs.min(axis=1)
    largest = float(np.hypot(*qrs).max())
    if largest <= 0:
        return _NOTHING
    return Measurement(math.degrees(math.atan2(down, right)), trust * min(1.0, 2 * math.hypot(right, down) / largest))
