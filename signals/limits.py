"""What is refused, or doubted, because of its size: bytes that would not fit, millivolts that no heart makes.

In: a number of samples, or the extremes of a signal. Out: an error, or a sentence for the record's notes.
"""

from __future__ import annotations

from .record import ECGReadError

DEFAULT_MAX_BYTES = 1 << 30

# Bounds that only a wrong gain or unit passes: electrodes on skin give 0.1 to 10 mV of ECG, offsets up to 300 mV.
HIGHEST_PLAUSIBLE_MV = 500.0
LOWEST_PLAUSIBLE_MV = 0.01


def check_size(path: str, leads: int, samples: int, max_bytes: int) -> None:
    """Refuse what would not fit: float32 [leads, samples] above `max_bytes`, said before it is allocated.

    Raises: ECGReadError with both numbers and the way out.
    """
    if leads * samples * 4 > max_bytes:
        raise ECGReadError(
            f"{path}: promises {leads} leads x {samples:,} samples = {leads * samples * 4:,} bytes in memory; the "
            f"limit is {max_bytes:,}. If the file is right, pass max_bytes=..., or cut the recording first."
        )


def implausible_amplitude(low: float, high: float) -> str | None:
    """A sentence about a signal from `low` to `high` (mV) that no heart makes, None for any other."""
    if max(high, -low) > HIGHEST_PLAUSIBLE_MV:
        return f"amplitudes reach {max(high, -low):.4g} mV, which no ECG does; check gain and unit"
    if high - low < LOWEST_PLAUSIBLE_MV:
        return f"all samples lie within {high - low:.2g} mV, less than any ECG spans; check gain and unit"
    return None
