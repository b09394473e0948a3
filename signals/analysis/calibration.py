"""Calibration pulses: stretches at an end of a recording that all leads share, and that no heart makes.

In: leads. Out: where the recording itself begins and ends. Decided here: what such a stretch is. Carts draw a pulse of
1 mV at an end of the paper, and some store it: for a judge of signals it is a lead cut off at 1 mV, and for one of
rhythms a beat.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..record import ECGRecord

_SHARED_MV = (
    0.03  # leads differ by less; in an ECG a QRS shared so closely does not occur, as aVR runs against I and II
)
_PULSE_MV = 0.3  # from lowest to highest: half a pulse of 1 mV that is stored at half its size, and no baseline
_SHORTEST_S, _LONGEST_S, _LARGEST_SHARE = 0.1, 5.0, 0.5
_FEWEST_LEADS = 3


def recording_within(signal: np.ndarray, rate: float) -> tuple[int, int]:
    """(first sample, end) of what is no calibration pulse in `signal`, [leads, samples] in mV at `rate` Hz.

    A stretch at an end is one if at least three leads are the same in it and it rises by `_PULSE_MV` or more. Leads
    that are the same throughout are copies, not a pulse. NaN is the same as nothing.
    """
    samples = signal.shape[1]
    if len(signal) < _FEWEST_LEADS or samples < 2:
        return 0, samples
    shared = np.ptp(signal, axis=0) <= _SHARED_MV  # False where a lead is NaN
    if shared.all():
        return 0, samples
    return _length(shared, signal[0], rate), samples - _length(shared[::-1], signal[0, ::-1], rate)


def _length(shared: np.ndarray, lead: np.ndarray, rate: float) -> int:
    """Samples of the pulse at the beginning, 0 where there is none."""
    length = int(np.argmin(shared))
    longest = min(_LONGEST_S * rate, _LARGEST_SHARE * len(shared))
    is_pulse = _SHORTEST_S * rate <= length <= longest and np.ptp(lead[:length]) >= _PULSE_MV
    return length if is_pulse else 0


def without_calibration(record: ECGRecord) -> tuple[ECGRecord, float, tuple[str, ...]]:
    """(the record without its calibration pulses, seconds left out at its beginning, which stretches they were)."""
    first, end = recording_within(record.signal, record.sampling_rate)
    if (first, end) == (0, record.n_samples):
        return record, 0.0, ()
    start, left = first / record.sampling_rate, (record.n_samples - end) / record.sampling_rate
    stretches = [f"the {which} {length:.2f} s" for which, length in (("first", start), ("last", left)) if length]
    return replace(record, signal=record.signal[:, first:end]), start, tuple(stretches)
