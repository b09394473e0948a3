"""Faults of recording: leads lost or confused, less or other samples, filters, wrong units, noise, missing stretches.

In: a record and a random generator. Out: the record as it would be with that fault. `FAULTS` has all by name, a
family that has a severity from mild to severe. Decided here: what counts as a level of a fault. Noise is made as
potentials of the nine electrodes, so that Einthoven's and Goldberger's laws stay true, and its level is the root mean
square over all leads; faults that `signals.simulation` draws are of all sizes and of mixed kinds, and do not serve to
go up a level.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ..filters_ecgllm import apply_filters
from ..signal_ecgllm import LEADS, complete_limb_leads, resample
from ..signals import ECGRecord
from ..signals.electrodes import ELECTRODES, eight_leads, twelve_leads
from ..signals.record import known_lead_name

Change = Callable[[ECGRecord, np.random.Generator], ECGRecord]


@dataclass(frozen=True)
class Fault:
    """family: what kind of fault. level: as it is shown. severity: the number of the level, in a family that goes from
    mild to severe; None where levels are just different. change: what is done to a record."""

    family: str
    level: str
    severity: float | None
    change: Change


# ---------------------------------------------------------------------------------------------------------------------
# Leads
# ---------------------------------------------------------------------------------------------------------------------


def only_leads(record: ECGRecord, rng: np.random.Generator, leads: Sequence[str]) -> ECGRecord:
    """The record with those of its leads that are named; one that has none of them is left without a sample."""
    kept = [lead for lead in record.leads if known_lead_name(lead) in leads]
    return record.select_leads(kept) if kept else replace(record, signal=np.full_like(record.signal, np.nan))


def rotated_leads(record: ECGRecord, rng: np.random.Generator) -> ECGRecord:
    """Every signal under the name of the next lead."""
    return replace(record, leads=(*record.leads[1:], record.leads[0]))


def arms_exchanged(record: ECGRecord, rng: np.random.Generator) -> ECGRecord:
    """The electrodes of left and right arm in each other's places: I is turned, II and III, aVR and aVL change places.

    Chest leads and aVF stay as they are, since Wilson's terminal and the legs' potential do (Einthoven 1913, I = LA -
    RA, II = LL - RA, III = LL - LA). A lead that does not follow from those of the record is missing.
    """
    rows = {known_lead_name(lead): row for lead, row in zip(record.leads, record.signal, strict=True)}
    limbs = complete_limb_leads({lead: row for lead, row in rows.items() if lead in LEADS[:6]})
    takes = {"II": "III", "III": "II", "aVR": "aVL", "aVL": "aVR"}
    missing = np.full(record.n_samples, np.nan, dtype=np.float32)
    signal = []
    for lead, row in rows.items():
        if lead == "I":
            signal.append(-row)
        elif lead in takes:
            signal.append(limbs.get(takes[lead], missing))
        else:
            signal.append(row)
    return replace(record, signal=np.stack(signal).astype(np.float32))


# ---------------------------------------------------------------------------------------------------------------------
# Samples
# ---------------------------------------------------------------------------------------------------------------------


def shortened(record: ECGRecord, rng: np.random.Generator, seconds: float) -> ECGRecord:
    """The first seconds; a record that is no longer stays as it is."""
    return record.segment(0, seconds) if record.duration > seconds else record


def at_rate(record: ECGRecord, rng: np.random.Generator, rate: float) -> ECGRecord:
    """Resampled by a band-limited filter. What is missing is bridged, and missing again after."""
    if rate == record.sampling_rate:
        return record
    known, missing = _bridged(record.signal)
    level = np.median(known, axis=1, keepdims=True)  # an offset would ring at the ends
    signal = resample(known - level, record.sampling_rate, rate) + level
    if missing.any():
        at = np.minimum(np.arange(signal.shape[1]) * record.sampling_rate / rate, record.n_samples - 1)
        signal = np.where(missing[:, at.round().astype(int)], np.nan, signal)
    return replace(record, signal=signal.astype(np.float32), sampling_rate=rate)


def filtered(record: ECGRecord, rng: np.random.Generator, low: float, high: float) -> ECGRecord:
    """A Butterworth band-pass of second order, forward and backward, in Hz."""
    known, missing = _bridged(record.signal)
    high = min(high, 0.45 * record.sampling_rate)
    band = {"kind": "butterworth", "low": low, "high": high, "order": 2}
    return replace(record, signal=np.where(missing, np.nan, apply_filters(known, record.sampling_rate, [band])))


def scaled(record: ECGRecord, rng: np.random.Generator, factor: float) -> ECGRecord:
    """All amplitudes by a factor: a wrong gain, or microvolts taken for millivolts."""
    return replace(record, signal=record.signal * np.float32(factor))


def stretch_missing(record: ECGRecord, rng: np.random.Generator, share: float) -> ECGRecord:
    """A share of the recording missing in all leads, in one stretch."""
    length = round(share * record.n_samples)
    start = int(rng.integers(record.n_samples - length + 1))
    signal = record.signal.copy()
    signal[:, start : start + length] = np.nan
    return replace(record, signal=signal)


def _bridged(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(The signal with straight lines where samples are missing, where they are); zeros in a lead that has none."""
    missing = np.isnan(signal)
    known = signal.copy()
    for row, gaps in zip(known, missing, strict=True):
        if gaps.all():
            row[:] = 0
        elif gaps.any():
            row[gaps] = np.interp(np.flatnonzero(gaps), np.flatnonzero(~gaps), row[~gaps])
    return known, missing


# ---------------------------------------------------------------------------------------------------------------------
# Noise
# ---------------------------------------------------------------------------------------------------------------------

_NOISY_RATE = 500.0  # Hz; what mains and muscle add is above what slower recordings hold


def baseline_wander(record: ECGRecord, rng: np.random.Generator, level: float) -> ECGRecord:
    """Noise from 0.05 to 0.5 Hz: breath and movement. level: mV, root mean square."""
    return _with_noise(record, _band(rng, record, 0.05, 0.5), level)


def muscle_noise(record: ECGRecord, rng: np.random.Generator, level: float) -> ECGRecord:
    """Noise from 20 to 150 Hz throughout. level: mV, root mean square. A record below 250 Hz comes at 500 Hz."""
    record = _fast(record, rng)
    return _with_noise(record, _band(rng, record, 20.0, 150.0), level)


def mains_interference(record: ECGRecord, rng: np.random.Generator, level: float) -> ECGRecord:
    """A sine of 50 Hz, in each electrode of another size. level: mV, root mean square. A record below 250 Hz comes at
    500 Hz."""
    record = _fast(record, rng)
    times = np.arange(record.n_samples) / record.sampling_rate
    wave = np.sin(2 * np.pi * (50.0 * times + rng.random()))
    return _with_noise(record, rng.lognormal(0, 0.5, (len(ELECTRODES), 1)) * wave, level)


def _fast(record: ECGRecord, rng: np.random.Generator) -> ECGRecord:
    return at_rate(record, rng, _NOISY_RATE) if record.sampling_rate < 250 else record


def _band(rng: np.random.Generator, record: ECGRecord, low: float, high: float) -> np.ndarray:
    """float [9, samples]: Gaussian noise of even power between two frequencies, of the lowest there is at least."""
    spectrum = np.fft.rfft(rng.standard_normal((len(ELECTRODES), record.n_samples)), axis=1)
    frequencies = np.fft.rfftfreq(record.n_samples, 1 / record.sampling_rate)
    kept = (frequencies >= low) & (frequencies <= high)
    kept[1] |= not kept.any()
    return np.fft.irfft(spectrum * kept, n=record.n_samples, axis=1)


def _with_noise(record: ECGRecord, potentials: np.ndarray, level: float) -> ECGRecord:
    """Noise of electrodes, as it arrives in the leads; a lead that is none of the twelve has an electrode's own."""
    leads = dict(zip(LEADS, twelve_leads(eight_leads(potentials[None]))[0], strict=True))
    size = level / np.sqrt(np.mean([np.square(row).mean() for row in leads.values()]))
    others = (row for row in potentials[3:])
    noise = [
        leads[known_lead_name(lead)] if known_lead_name(lead) in leads else next(others, potentials[0])
        for lead in record.leads
    ]
    return replace(record, signal=(record.signal + size * np.stack(noise)).astype(np.float32))


# ---------------------------------------------------------------------------------------------------------------------
# All of them
# ---------------------------------------------------------------------------------------------------------------------

NOISE_LEVELS = (0.05, 0.1, 0.2, 0.5, 1.0)
"""mV, root mean square. A QRS complex spans 0.5 to 2 mV."""
NOISES = {"baseline wander": baseline_wander, "muscle noise": muscle_noise, "mains interference": mains_interference}


def _all() -> list[Fault]:
    faults = [
        Fault("leads lost", "limb leads only", None, partial(only_leads, leads=LEADS[:6])),
        Fault("leads lost", "chest leads only", None, partial(only_leads, leads=LEADS[6:])),
        Fault("leads lost", "lead II only", None, partial(only_leads, leads=["II"])),
        Fault("leads confused", "arms exchanged", None, arms_exchanged),
        Fault("leads confused", "all names rotated by one", None, rotated_leads),
        *(Fault("shorter", f"{each:g} s", each, partial(shortened, seconds=each)) for each in (5.0, 2.5)),
        *(Fault("other rate", f"{each:g} Hz", None, partial(at_rate, rate=each)) for each in (1000.0, 250.0, 100.0)),
        *(
            Fault("filtered", f"{low:g} to {high:g} Hz", None, partial(filtered, low=low, high=high))
            for low, high in ((0.5, 40.0), (1.0, 25.0))
        ),
        *(Fault("scaled", f"times {each:g}", None, partial(scaled, factor=each)) for each in (0.5, 2.0, 1000.0)),
        *(
            Fault("stretch missing", f"{100 * each:.0f} %", each, partial(stretch_missing, share=each))
            for each in (0.05, 0.2, 0.6)
        ),
    ]
    for family, make in NOISES.items():
        faults += [Fault(family, f"{each:g} mV", each, partial(make, level=each)) for each in NOISE_LEVELS]
    return faults


FAULTS: dict[str, Fault] = {f"{fault.family}: {fault.level}": fault for fault in _all()}
"""Name of the change -> fault."""
