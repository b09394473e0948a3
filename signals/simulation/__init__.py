"""Simulated 12-lead ECGs whose findings, waves and measurements are known: a seed and wishes in, ECGRecords out.

`simulate` draws a `plan`, has `rhythm`, `qrs` and `repolarization` make hearts of it (`heart`, `wave_model`), adds
`noise`, and says by published `criteria` what the waves show (`labels`, `reports`). `change` gives two visits of one
patient.
"""

from .simulate import (
    CHUNK,
    FollowUp,
    WaveAnnotations,
    simulate_ecg,
    simulate_ecgs,
    simulate_follow_ups,
    simulate_with_waves,
    stream_ecgs,
    stream_follow_ups,
)
from .wishes import FINDINGS

WaveTruth = WaveAnnotations  # its former name

__all__ = [
    "CHUNK",
    "FINDINGS",
    "FollowUp",
    "WaveAnnotations",
    "WaveTruth",
    "simulate_ecg",
    "simulate_ecgs",
    "simulate_follow_ups",
    "simulate_with_waves",
    "stream_ecgs",
    "stream_follow_ups",
]
