"""ECGs that tests of models show, one of them with all that could say whose it is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from ecgllm.evaluation.protocol import ShownECG
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

IDENTITY = {
    "id": "REC-48151",
    "patient_id": "PAT-62342",
    "recorded_at": datetime(2019, 7, 23, 11, 41, 37),
    "report": "Report for Erika Mustermann",
    "statements": ("SCP:NORM:100",),
    "notes": ("note QUOKKA",),
    "device": "device NUMBAT",
    "source": "source WOMBAT",
    "age": 87.25,
    "sex": "female",
    "findings": ("left bundle branch block",),
    "measurements": {"heart_rate": 271.0},
}


@pytest.fixture(scope="session")
def identified() -> ECGRecord:
    """A simulated ECG of 4 s and 12 leads with an identity."""
    return replace(simulate_ecgs(1, seed=3)[0].segment(0, 4), **IDENTITY)


@pytest.fixture(scope="session")
def shown(identified: ECGRecord) -> dict[ShownECG, ECGRecord]:
    """Two ECGs, "a" (with identity) and "b"."""
    return {ShownECG("a"): identified, ShownECG("b"): simulate_ecgs(2, seed=5)[1].segment(0, 3)}
