"""assess_quality: how well an ECG was recorded, lead by lead, and one verdict with its reasons.

In: an `ECGRecord` of any rate, length and leads. Out: figures per lead, sentences that name leads and figures, and a
grade: "good", "acceptable" (something to know), "poor" (something that spoils a reading), "unusable". Decided here:
the limits. It judges the recording, never the heart; but a recording in which no heart beats is not good.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ...heart_ecgllm import FLAT_BELOW_MV, NO_HEART, Heart, find_heart
from ...signal_ecgllm import remove_baseline
from ..record import ECGRecord
from .calibration import without_calibration

GRADES = ("good", "acceptable", "poor", "unusable")

# QRS complexes above 10 mV do not occur on the body surface; a wrong unit or gain does.
IMPLAUSIBLE_ABOVE_MV = 10.0

# The limits of acceptable and poor. On ECG paper 0.1 mV is 1 mm: powerline interference and muscle noise of a quarter
# of that are seen, and of the whole hide a P wave. On 3,876 leads of 323 real records (docs/measurements.md) the first
# column is passed by 0.4 % (powerline interference), 1 % (noise), 3 % (baseline wander), the second by one lead, none
# and 4.
_POWERLINE_MV = (0.025, 0.1)
_NOISE_MV = (0.014, 0.05)
_WANDER_MV = (1.0, 3.0)
_MISSING_SHARE = (0.0, 0.1)
_STILL_S = (1.0, 2.0)  # constant for so long; between beats of filtered ECGs up to 0.47 s (99.5 % of leads)
_RAIL_S = (0.04, 0.2)  # constant at the lead's own extreme; filtered or rounded peaks stay under 20 ms (99 % of leads)

# Of a lead's own deviation: what may be left of it when a multiple of another lead is taken off, if the two are one.
# Of 631 real records the smallest is 0.6 % (V3 and V4, maybe one pool of gel), the next 1.1 %.
_COPY_SHARE = 0.003

_SHORTEST_S = 1.0
_NOISE_BAND_HZ = (40.0, 150.0)


@dataclass(frozen=True)
class LeadQuality:
    """One lead. Figures are None where rate, length or missing samples do not let them be measured.

    range_mv: highest minus lowest. flat: range below 0.02 mV. missing: share of samples that are NaN. longest_still_s:
    longest stretch of one value. saturated_s: longest stretch at the lead's own extreme. powerline_50_mv,
    powerline_60_mv: amplitude of powerline interference beyond the spectrum around it; powerline_50_ratio,
    powerline_60_ratio: power at 49 to 51 (59 to 61) Hz relative to its surroundings. baseline_wander_mv: range of what
    is below 0.5 Hz. noise_mv: root mean square from 40 to 150 Hz without the mains, in the quiet quarter of the lead
    (between QRS complexes). plausible: amplitude fits millivolt. beats: whether the lead shows the beats that all
    leads show together, None where no beats were found. copy_of: an earlier lead of which this one is a multiple.
    """

    name: str
    grade: str
    range_mv: float | None
    flat: bool
    missing: float
    longest_still_s: float
    saturated_s: float
    powerline_50_mv: float | None
    powerline_60_mv: float | None
    powerline_50_ratio: float | None
    powerline_60_ratio: float | None
    baseline_wander_mv: float | None
    noise_mv: float | None
    plausible: bool
    beats: bool | None
    copy_of: str | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Quality:
    """The verdict on the record (one of `GRADES`), the reasons as sentences, worst first, and every lead's figures.

    heart: whether beats were found, where, and why not (`find_heart`). calibration: stretches that were not judged, as
    they hold a calibration pulse, such as "the last 0.47 s"; a reason says so, too.
    """

    verdict: str
    reasons: tuple[str, ...]
    leads: tuple[LeadQuality, ...]
    heart: Heart
    calibration: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        leads = [asdict(lead) | {"reasons": list(lead.reasons)} for lead in self.leads]
        found = {"verdict": self.verdict, "reasons": list(self.reasons), "heart": self.heart.found, "leads": leads}
        return found | {"calibration": list(self.calibration)}


def assess_quality(record: ECGRecord) -> Quality:
    """Judge the recording.

    A lead's grade is that of its worst finding. The record is unusable if more than half of its leads are, poor if any
    lead is poor or unusable, acceptable if any is no better than that. It is unusable, too, if no beats are found in
    it; asystole and ventricular fibrillation show none either, which the first reason says. A lead that does not show
    the beats of the others, or is another lead once more, is poor. Below 1 s it is unusable whatever its leads:
    one beat at 60 bpm lasts as long, and neither a rhythm nor interference, baseline wander or noise can be told.

    A calibration pulse at an end, the same in all leads, is left out before (`calibration`).

    Args: record: any. Returns: a `Quality`; the record is not changed.
    """
    record, start, calibration = without_calibration(record)
    signal = record.signal.astype(np.float64)
    present = np.isfinite(signal)
    filled = np.stack([_filled(row, there) for row, there in zip(signal, present, strict=True)])
    usable = present.mean(axis=1) >= 0.5
    heart = Heart(False, np.zeros(0), missing="no lead has samples")
    if usable.any():
        heart = find_heart(filled[usable], record.sampling_rate)
    seen = np.zeros(len(signal), dtype=bool)
    if heart.found:
        seen[usable] = heart.seen_in_leads()
    long_enough = record.duration >= _SHORTEST_S
    spectral = _spectral_figures(filled, record.sampling_rate) if long_enough else {}
    excursion = spectral.get("excursion", np.abs(filled - np.median(filled, axis=1, keepdims=True)).max(axis=1))
    copies = _copies(filled, record.leads)
    leads = []
    for row, name in enumerate(record.leads):
        figures = dict.fromkeys(_SPECTRAL) | _shape_figures(signal[row], record.sampling_rate)
        figures["plausible"] = bool(excursion[row] <= IMPLAUSIBLE_ABOVE_MV)
        if usable[row]:
            figures |= {key: float(spectral[key][row]) for key in _SPECTRAL if spectral.get(key) is not None}
        figures["beats"] = bool(seen[row]) if heart.found and usable[row] else None
        figures["copy_of"] = copies.get(row)
        grade, reasons = _judge(figures)
        leads.append(LeadQuality(name=name, grade=GRADES[grade], reasons=reasons, **figures))
    verdict = _verdict(leads) if long_enough and heart.found else "unusable"
    reasons = _sentences(leads, record.duration, heart)
    if calibration:
        reasons += (
            f"not judged, as it is the same in all leads like a calibration pulse: {' and '.join(calibration)}",
        )
        heart = replace(heart, beats=heart.beats + start)
    return Quality(verdict, reasons, tuple(leads), heart, calibration)


_SPECTRAL = (
    "baseline_wander_mv", "noise_mv", "powerline_50_mv", "powerline_50_ratio", "powerline_60_mv", "powerline_60_ratio"
)  # fmt: skip


def _spectral_figures(filled: np.ndarray, rate: float) -> dict[str, np.ndarray | None]:
    """Figure -> its value [leads], None where the rate does not let it be measured; and how far a lead goes from its
    baseline (`excursion`, mV)."""
    high = remove_baseline(filled, rate).astype(np.float64)
    found = {"excursion": np.abs(high).max(axis=1), "baseline_wander_mv": np.ptp(filled - high, axis=1)}
    found["noise_mv"] = _noise(high, rate)
    for mains in (50, 60):
        amplitude, ratio = _powerline(filled, rate, mains) or (None, None)
        found |= {f"powerline_{mains}_mv": amplitude, f"powerline_{mains}_ratio": ratio}
    return found


def _shape_figures(samples: np.ndarray, rate: float) -> dict[str, Any]:
    there = np.isfinite(samples)
    spread = float(np.ptp(samples[there])) if there.any() else None
    still, saturated = _still(samples, rate)
    return {
        "range_mv": spread,
        "flat": spread is not None and spread < FLAT_BELOW_MV,
        "missing": float(1 - there.mean()),
        "longest_still_s": still,
        "saturated_s": saturated,
    }


def _judge(figures: dict[str, Any]) -> tuple[int, tuple[str, ...]]:
    """The grade of a lead (index in `GRADES`) and why."""
    if figures["range_mv"] is None:
        return 3, ("no sample",)
    if figures["flat"]:
        gaps = (f"{figures['missing']:.1%} of the samples missing",) if figures["missing"] else ()
        return 3, (f"flat (range {figures['range_mv']:.4f} mV)", *gaps)
    found: list[tuple[int, str]] = []
    if not figures["plausible"]:
        text = f"more than {IMPLAUSIBLE_ABOVE_MV:g} mV from its baseline; an artefact or a wrong unit"
        found.append((3 if figures["range_mv"] > 10 * IMPLAUSIBLE_ABOVE_MV else 2, text))

    if figures["copy_of"] is not None:
        found.append((2, f"the same as lead {figures['copy_of']}, but for its size"))
    if figures["beats"] is False:
        found.append((2, "does not show the beats that the other leads show"))

    def limit(value: float | None, limits: tuple[float, float], say: Callable[[float], str]) -> None:
        if value is not None and value > limits[0]:
            found.append((2 if value > limits[1] else 1, say(value)))

    limit(figures["missing"], _MISSING_SHARE, lambda share: f"{share:.1%} of the samples missing")
    if figures["saturated_s"] > _RAIL_S[0]:
        limit(
            figures["saturated_s"], _RAIL_S, lambda s: f"cut off at its highest or lowest value for {s * 1000:.0f} ms"
        )
    else:
        limit(figures["longest_still_s"], _STILL_S, lambda s: f"one value for {s:.2f} s")
    for mains in (50, 60):
        name = f"{mains} Hz powerline interference"
        limit(figures[f"powerline_{mains}_mv"], _POWERLINE_MV, lambda mv, name=name: f"{name} of {mv:.3f} mV")
    limit(figures["baseline_wander_mv"], _WANDER_MV, lambda mv: f"baseline wanders over {mv:.1f} mV")
    limit(figures["noise_mv"], _NOISE_MV, lambda mv: f"high-frequency noise of {mv:.3f} mV")
    return max((grade for grade, _ in found), default=0), tuple(text for _, text in found)


def _verdict(leads: list[LeadQuality]) -> str:
    grades = np.array([GRADES.index(lead.grade) for lead in leads])
    if (grades == 3).sum() * 2 > len(grades):
        return "unusable"
    return GRADES[min(2, int(grades.max()))]


def _sentences(leads: list[LeadQuality], duration: float, heart: Heart) -> tuple[str, ...]:
    ordered = sorted(leads, key=lambda lead: -GRADES.index(lead.grade))  # stable: the record's order within a grade
    lines = []
    if duration < _SHORTEST_S:
        lines.append(
            f"{duration:.2f} s are too short to read a beat or a rhythm in, and to measure powerline interference, "
            f"baseline wander and noise; at least {_SHORTEST_S:g} s are needed"
        )
    elif not heart.found:
        lines.append(NO_HEART.format(found=heart.missing))
    lines += [f"lead {lead.name}: {'; '.join(lead.reasons)}" for lead in ordered if lead.reasons]
    return tuple(lines)


def _copies(signal: np.ndarray, names: tuple[str, ...]) -> dict[int, str]:
    """Rows that are a multiple of an earlier row, but for rounding, -> that row's name; constant rows are none.

    One electrode's lead stored twice, or electrodes joined by gel. Limb leads are multiples of each other, too, where
    one of them is flat: an electrode lies beside another, or is exchanged with the one on the right leg.
    """
    centred = signal - signal.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1))
    rows = np.flatnonzero(size > FLAT_BELOW_MV / 2 * np.sqrt(signal.shape[1]) / 2)
    unit = centred[rows] / size[rows, None]
    left = np.sqrt(np.clip(1 - (unit @ unit.T) ** 2, 0, None))  # of a row, once its part along the other is taken off
    copies = {}
    for at, row in enumerate(rows.tolist()):
        same = np.flatnonzero(left[at, :at] < _COPY_SHARE)
        if len(same):
            copies[row] = names[rows[same[0]]]
    return copies


def _filled(samples: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Missing samples replaced by a line from neighbour to neighbour, so that filters can run."""
    if there.all():
        return samples
    if not there.any():
        return np.zeros_like(samples)
    index = np.arange(len(samples))
    return np.interp(index, index[there], samples[there])


def _still(samples: np.ndarray, rate: float) -> tuple[float, float]:
    """Seconds of the longest stretch of one value, and of the longest at the highest or lowest value; at least one
    sample's time each."""
    change = np.flatnonzero(~(samples[1:] == samples[:-1])) + 1  # NaN equals nothing, itself included
    edges = np.concatenate([[0], change, [len(samples)]])
    runs, values = np.diff(edges), samples[edges[:-1]]
    there = np.isfinite(values)
    if not there.any():
        return 0.0, 0.0
    runs, values = runs[there], values[there]
    at_rail = (values == values.max()) | (values == values.min())
    return float(runs.max() / rate), float(runs[at_rail].max() / rate)


def _powerline(signal: np.ndarray, rate: float, mains: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Amplitude in mV of a sine at the mains' frequency, and its power relative to the spectrum around it.

    Welch's spectrum in pieces of 2 s; the power within 1 Hz of the mains, less what the median density from 2 to 8 Hz
    away lets expect there. None below a rate of 2.2 times that frequency.
    """
    from scipy.signal import welch

    if rate < 2.2 * mains:
        return None
    length = min(signal.shape[1], round(2 * rate))
    frequency, density = welch(signal, fs=rate, nperseg=length, detrend="linear", axis=1)
    distance = np.abs(frequency - mains)
    peak, around = distance <= 1, (distance > 2) & (distance <= 8)
    step = frequency[1] - frequency[0]
    power = density[:, peak].sum(axis=1) * step
    expected = np.median(density[:, around], axis=1) * peak.sum() * step
    return np.sqrt(2 * np.clip(power - expected, 0, None)), power / np.maximum(expected, 1e-12)


def _noise(high: np.ndarray, rate: float) -> np.ndarray | None:
    """Root mean square from 40 to 150 Hz without the mains, None below a rate of 120 Hz.

    The lower quartile of its course in windows of 20 ms: QRS complexes reach these frequencies, but fill less than
    three quarters of any ECG.
    """
    from scipy.ndimage import uniform_filter1d
    from scipy.signal import butter, iirnotch, sosfiltfilt, tf2sos

    low, top = _NOISE_BAND_HZ[0], min(_NOISE_BAND_HZ[1], 0.45 * rate)
    if rate < 120:
        return None
    sections = [butter(4, [low, top], "bandpass", fs=rate, output="sos")]
    sections += [tf2sos(*iirnotch(mains, 15, fs=rate)) for mains in (50, 60) if mains < top]
    padding = min(high.shape[1] - 1, round(0.5 * rate))
    course = sosfiltfilt(np.concatenate(sections), high, axis=1, padlen=padding)
    power = uniform_filter1d(course**2, max(1, round(0.02 * rate)), axis=1)
    return np.sqrt(np.clip(np.percentile(power, 25, axis=1), 0, None))
