"""What the canvas draws (`canvas.js`): JSON of records, of their dominant beats, and of what is marked on them.

In: `ServedECG`s. Out: a mapping of plain values; samples are whole microvolts, 16 bits each, in base64. Nothing of a
patient is in it: no id, no statements, no time.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import numpy as np

from ...signal_ecgllm import LEADS, resample
from ...signals import ECGRecord
from ...signals.analysis.measurements import measure_beats
from ..engine import ServedECG

MOST_HZ, MOST_S = 500.0, 60.0
_MISSING = -32768
_BEAT_S = (0.3, 0.5)  # before and behind the middle of QRS


def drawn(
    ecgs: Iterable[tuple[str, ServedECG]], marks: Iterable[tuple[str | None, float, float, float]] = ()
) -> dict[str, Any]:
    """Args: ecgs: title and ECG, one or two. marks: (lead or None for all, start_s, end_s, weight) on the first."""
    given = list(ecgs)
    found: dict[str, Any] = {
        "ecgs": [_ecg(title, one.record) for title, one in given],
        "marks": [{"lead": lead, "start": start, "end": end, "weight": weight} for lead, start, end, weight in marks],
    }
    if len(given) == 2:
        found["beats"] = [_beat(one.record) for _, one in given]
    return found


def _ecg(title: str, record: ECGRecord) -> dict[str, Any]:
    rate = min(MOST_HZ, record.sampling_rate)
    signal = record.signal[:, : round(MOST_S * record.sampling_rate)]
    if rate < record.sampling_rate:
        holes = ~np.isfinite(signal)
        signal = resample(np.where(holes, 0.0, signal).astype(np.float32), record.sampling_rate, rate)
        if holes.any():
            places = np.minimum(
                (np.arange(signal.shape[1]) * record.sampling_rate / rate).astype(int), holes.shape[1] - 1
            )
            signal = np.where(holes[:, places], np.nan, signal)
    order = [lead for lead in LEADS if lead in record.leads] + [lead for lead in record.leads if lead not in LEADS]
    rows = {lead: _packed(signal[record.leads.index(lead)]) for lead in order}
    return {"title": title, "rate": rate, "samples": int(signal.shape[1]), "leads": order, "rows": rows,
            "cut": record.duration > MOST_S}  # fmt: skip


def _packed(row: np.ndarray) -> str:
    counts = np.where(np.isfinite(row), np.clip(np.nan_to_num(row) * 1000, -32767, 32767), _MISSING)
    return base64.b64encode(np.round(counts).astype("<i2").tobytes()).decode()


def _beat(record: ECGRecord) -> dict[str, Any] | None:
    """The dominant beat of each lead; None where no two beats are alike."""
    _, beats = measure_beats(record)
    if beats is None or beats.beat is None:
        return None
    beat, rate = beats.beat, 500
    first = max(0, beat.centre - round(_BEAT_S[0] * rate))
    last = min(beat.mean.shape[1], beat.centre + round(_BEAT_S[1] * rate))
    rows = dict(zip(beats.leads, map(_packed, beat.mean[:, first:last]), strict=True))
    return {"rate": rate, "centre": int(beat.centre - first), "samples": last - first, "rows": rows}


__all__ = ["drawn"]
