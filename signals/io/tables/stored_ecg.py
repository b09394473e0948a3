"""One ECG as the columns of a corpus hold it: int16 samples, little endian, lead-major, with a gain for each lead.

In: the stored bytes and gains. Out: float32 millivolts. Decided here: which bytes cannot be right, and that steps of
1 microvolt, the resolution of the public corpora, come out exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....errors_ecgllm import ECGError

MISSING = -32768  # the int16 value that stands for NaN; the largest stored magnitude is therefore 32767
DEFAULT_GAIN = np.float32(0.001)  # mV per step


def check_stored(samples: bytes, gain: Sequence[float | None], leads: Sequence[str]) -> None:
    """Raises: ECGError where samples, gains (mV per step) and leads do not belong together."""
    if not leads or len(gain) != len(leads) or not samples or len(samples) % (2 * len(leads)):
        raise ECGError(
            f"holds {len(samples):,} bytes, {len(gain)} gains and {len(leads)} leads; expected one gain per lead and "
            "2 bytes x leads x samples"
        )
    if not all(value is not None and np.isfinite(value) and value > 0 for value in gain):
        raise ECGError(f"has the gains {list(gain)}; expected millivolt per step above 0")


def stored_steps(samples: bytes, leads: int) -> np.ndarray:
    """int16 [leads, samples]."""
    return np.frombuffer(samples, dtype="<i2").reshape(leads, -1)


def millivolts(steps: np.ndarray, gain: Sequence[float]) -> np.ndarray:
    """float32 [leads, samples] in mV of steps [leads, samples] and a gain for each lead; NaN where one is missing."""
    own = np.asarray(gain, dtype=np.float32)
    if (own == DEFAULT_GAIN).all():
        signal = steps.astype(np.float32)
        signal /= np.float32(1000.0)  # a division rounds once: 123 steps give float32(0.123) exactly; * 0.001 does not
    else:
        divisor = np.where(own == DEFAULT_GAIN, 1000.0, 1.0 / own.astype(np.float64))
        signal = (steps / divisor[:, None]).astype(np.float32)
    if steps.size and steps.min() == MISSING:
        signal[steps == MISSING] = np.nan
    return signal
