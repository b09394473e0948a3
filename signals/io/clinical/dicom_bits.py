"""Samples of DICOM channels that use fewer bits than are allocated to them, such as 12 of 16.

A signed sample fills the unused bits with its sign; some writers leave them 0, so that -1 of 12 bits reads 4,095.
Decided here: how that is told from samples that use more bits than the file states.
"""

from __future__ import annotations

import numpy as np


def beyond_bits(counts: np.ndarray, bits: int) -> bool:
    """Whether signed samples [samples] leave the range of so many bits."""
    half = 1 << (bits - 1)
    return bool(counts.size) and bool(counts.min() < -half or counts.max() >= half)


def unsigned(counts: np.ndarray, bits: int) -> bool:
    """Whether all samples [samples] could be such without their sign: from 0 to the largest number of so many bits."""
    return not counts.size or bool(counts.min() >= 0 and counts.max() < 1 << bits)


def leaps(counts: np.ndarray, bits: int) -> bool:
    """Whether samples [samples] leap by half of their range or more where, with their signs, they do not.

    That happens where a signal passes through 0 and has lost its sign; no ECG leaps so from sample to sample.
    """
    half = 1 << (bits - 1)
    if counts.size < 2:
        return False
    return bool(np.abs(np.diff(counts)).max() >= half > np.abs(np.diff(with_sign(counts, bits))).max())


def with_sign(counts: np.ndarray, bits: int) -> np.ndarray:
    """Samples [samples] with the highest of so many bits taken for their sign; NaN stays NaN."""
    half = 1 << (bits - 1)
    return (counts + half) % (2 * half) - half
