"""What is done to an ECG before it is shown: controls that take the ECG away, and faults of recording.

In: a record and a random generator. Out: a record of the same length, rate and leads, unless the change is of these.
A change is a function and a line in `CHANGES`; faults of recording are those of `faults`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..signals import ECGRecord
from .faults import FAULTS, Change


def phase_shuffled(record: ECGRecord, rng: np.random.Generator) -> ECGRecord:
    """The power spectrum of each lead, and how leads go together, with all phases shifted at random.

    The same shift for all leads at a frequency, so that limb leads still add up (Prichard and Theiler 1994).
    """
    known = np.nan_to_num(record.signal.astype(np.float64))
    spectrum = np.fft.rfft(known, axis=1)
    shift = np.exp(2j * np.pi * rng.random(spectrum.shape[1]))
    shift[0] = 1.0
    if known.shape[1] % 2 == 0:
        shift[-1] = 1.0
    return _with(record, np.fft.irfft(spectrum * shift, n=known.shape[1], axis=1))


def noise(record: ECGRecord, rng: np.random.Generator) -> ECGRecord:
    """Gaussian noise with each lead's mean and standard deviation."""
    mean = np.nanmean(record.signal, axis=1, keepdims=True)
    deviation = np.nanstd(record.signal, axis=1, keepdims=True)
    return _with(record, mean + deviation * rng.standard_normal(record.signal.shape))


def flat(record: ECGRecord, rng: np.random.Generator) -> ECGRecord:
    """Zero millivolt in all leads."""
    return _with(record, np.zeros_like(record.signal))


def _with(record: ECGRecord, signal: np.ndarray) -> ECGRecord:
    return replace(record, signal=np.where(np.isnan(record.signal), np.nan, signal).astype(np.float32))


CHANGES: dict[str, Change] = {"phase-shuffled": phase_shuffled, "noise": noise, "flat": flat}
CHANGES.update((name, fault.change) for name, fault in FAULTS.items())
"""Name -> what it does."""
