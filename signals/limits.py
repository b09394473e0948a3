"""What is refused, or doubted, because of its size: bytes that would not fit, rates of no device, millivolts that no
heart makes.

In: a number of a header, or the extremes of a signal. Out: an error, or a sentence for the record's notes.
"""

from __future__ import annotations

from .record import ECGReadError

DEFAULT_MAX_BYTES = 1 << 30
MAX_LEADS = 1024  # of one recording: body surface maps have some 250

# Bounds that only a wrong gain or unit passes: electrodes on skin give 0.1 to 10 mV of ECG, offsets up to 300 mV.
HIGHEST_PLAUSIBLE_MV = 500.0
LOWEST_PLAUSIBLE_MV = 0.01
# Hz. Below 10 a QRS of 0.1 s is one sample; devices of high-frequency QRS and pacing spikes stay below 100 kHz.
LOWEST_RATE, HIGHEST_RATE = 10.0, 100_000.0
# Steps per unit. Wide, as converters write what they like: a real EEG has 2.4e-11.
SMALLEST_GAIN, LARGEST_GAIN = 1e-15, 1e15


def check_rate(where: str, rate: float) -> float:
    """The rate in Hz. Raises: ECGReadError for one that no device of ECGs has, infinity and NaN among them."""
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise ECGReadError(
            f"{where}: the sampling rate is {rate:g} Hz; ECGs have {LOWEST_RATE:g} to {HIGHEST_RATE:,.0f} Hz. The "
            "file is damaged or holds something else; correct the rate where it is stated if you know it."
        )
    return rate


def check_size(path: str, leads: int, samples: int, max_bytes: int) -> None:
    """Refuse what would not fit: float32 [leads, samples] above `max_bytes`, said before it is allocated; also more
    than `MAX_LEADS`, which no device has.

    Raises: ECGReadError with the numbers and the way out.
    """
    check_leads(path, leads)
    if leads * samples * 4 > max_bytes:
        raise ECGReadError(
            f"{path}: promises {leads} leads x {samples:,} samples = {leads * samples * 4:,} bytes in memory; the "
            f"limit is {max_bytes:,}. If the file is right, read it in Python with max_bytes=..., or cut the "
            "recording first."
        )


def check_leads(path: str, leads: int) -> None:
    """Raises: ECGReadError for more than `MAX_LEADS` leads."""
    if leads > MAX_LEADS:
        raise ECGReadError(
            f"{path}: holds {leads:,} leads; at most {MAX_LEADS:,} are read. The file is damaged, or holds something "
            "else."
        )


def implausible_amplitude(low: float, high: float) -> str | None:
    """A sentence about a signal from `low` to `high` (mV) that no heart makes, None for any other."""
    if max(high, -low) > HIGHEST_PLAUSIBLE_MV:
        return f"amplitudes reach {max(high, -low):.4g} mV, which no ECG does; check gain and unit"
    if high - low < LOWEST_PLAUSIBLE_MV:
        return f"all samples lie within {high - low:.2g} mV, less than any ECG spans; check gain and unit"
    return None
