"""An ECG written anew for whoever is asked about it: from its signal alone, without a word of whose it is.

In: an `ECGRecord`. Out: a record, bytes or words that hold signal, rate, lead names and unit, and nothing else that
the record knows: no id, patient, time, device, report, finding or stated measurement. Decided here: the forms. Each is
made of `anonymous(record)`, so that there is one place in which identity could pass, and it is a line long.
"""

from __future__ import annotations

import base64
import io
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ...signals import ECGRecord, measure

_DPI = 110  # of pictures: 1.1 mm a pixel row of 3x4 paper is 1,240 wide, about what models of pictures take in
_STRIP_S, _NO_BEAT_S, _STEP_S = 5.0, 2.0, 0.02  # of samples as words
_BEFORE_S, _AFTER_S = 0.24, 0.46  # around QRS
_MEASURED = {
    "heart_rate": ("heart rate", "bpm"),
    "rr": ("mean RR", "ms"),
    "rr_sd": ("standard deviation of RR", "ms"),
    "p": ("P", "ms"),
    "pr": ("PR", "ms"),
    "qrs": ("QRS", "ms"),
    "qt": ("QT", "ms"),
    "qtc_bazett": ("QTc (Bazett)", "ms"),
    "axis": ("axis", "degrees"),
}


IN_WORDS = (
    "It reads no signal: it is told in words what ecgllm found in the ECG (when QRS comes, median beats, measurements "
    "unless they were left out), so that its answers are partly ours."
)
"""What a report says of a model that reads `as_words`."""


def anonymous(record: ECGRecord) -> ECGRecord:
    """Signal, rate and lead names of a record, and no more."""
    return ECGRecord(signal=record.signal, sampling_rate=record.sampling_rate, leads=record.leads)


def as_csv(record: ECGRecord) -> bytes:
    """A table with a column a lead, in mV to 0.1 microvolts, with rate and unit as comments; `read_ecg` reads it."""
    record, text = anonymous(record), io.StringIO()
    text.write(f"# sampling_rate: {record.sampling_rate:.10g}\n# unit: mV\n{','.join(record.leads)}\n")
    np.savetxt(text, record.signal.T, fmt="%.4f", delimiter=",")
    return text.getvalue().encode()


def as_samples(record: ECGRecord) -> dict[str, Any]:
    """JSON-ready: sampling_rate (Hz), leads, samples (of each lead) and signal, base64 of little-endian float32
    [leads, samples] in mV; a missing sample is NaN."""
    record = anonymous(record)
    return {
        "sampling_rate": float(record.sampling_rate),
        "leads": list(record.leads),
        "samples": record.n_samples,
        "signal": base64.b64encode(np.ascontiguousarray(record.signal, dtype="<f4").tobytes()).decode(),
    }


def as_picture(record: ECGRecord, **options: Any) -> bytes:
    """A PNG of the ECG on paper, as `signals.plot_ecg` draws it (options: its), true to scale; 3x4 by default.

    Rate and intervals are not written on it unless asked for (measuring=True): they would be ours, not the model's.
    """
    from ...signals import plot_ecg, save_ecg

    figure = plot_ecg(anonymous(record), **{"measuring": False} | options)
    with tempfile.TemporaryDirectory() as folder:
        return save_ecg(figure, Path(folder) / "ecg.png", dpi=_DPI).read_bytes()


def as_words(record: ECGRecord, measured: bool = True) -> str:
    """An ECG as text, for models that read nothing else: some 2,000 tokens of 12 leads.

    Rate, intervals and axis as `signals.measure` finds them, when QRS comes, the median beat of every lead and some
    seconds of lead II (or the first), every 20 ms; where no heart beats, some seconds of all leads. A model that is
    given this does not read the ECG alone: measurements and beats were found for it. measured: False leaves the
    measurements out.
    """
    record = anonymous(record)
    found = measure(record)
    values = found.values() if measured else {}
    lines = [f"An ECG of {len(record.leads)} leads ({', '.join(record.leads)}), {record.duration:g} s long."]
    parts = [f"{called} {values[name]:.0f} {unit}" for name, (called, unit) in _MEASURED.items() if name in values]
    if measured:
        lines.append(f"Measured by a program: {', '.join(parts) or 'nothing'}{'; paced' if found.paced else ''}.")
    if found.beats:
        lines.append(f"QRS complexes at (ms): {', '.join(f'{1000 * beat:.0f}' for beat in found.beats)}.")
        lines.append(
            f"Median beat from {1000 * _BEFORE_S:.0f} ms before to {1000 * _AFTER_S:.0f} ms after QRS, a value every "
            f"{1000 * _STEP_S:.0f} ms, in 0.01 mV:"
        )
        lines += [
            f"{lead}: {_numbers(beat)}" for lead, beat in zip(record.leads, _beats(record, found.beats), strict=True)
        ]
        strip = ["II" if "II" in record.leads else record.leads[0]]
    else:
        lines.append("No heart beats were found in it.")
        strip = list(record.leads)
    seconds = min(_STRIP_S if found.beats else _NO_BEAT_S, record.duration)
    lines.append(f"The first {seconds:g} s, a value every {1000 * _STEP_S:.0f} ms, in 0.01 mV:")
    times = np.arange(0, seconds, _STEP_S)
    lines += [f"{lead}: {_numbers(_at(record, record.leads.index(lead), times))}" for lead in strip]
    return "\n".join(lines)


def _beats(record: ECGRecord, beats: tuple[float, ...]) -> np.ndarray:
    """The median beat of each lead about its own median, [leads, steps]."""
    offsets = np.arange(-_BEFORE_S, _AFTER_S, _STEP_S)
    whole = [beat for beat in beats if beat >= _BEFORE_S and beat + _AFTER_S <= record.duration] or list(beats)
    times = np.clip(np.array(whole)[:, None] + offsets, 0, record.duration)
    drawn = np.stack([_at(record, row, times.ravel()).reshape(times.shape) for row in range(len(record.leads))])
    return np.median(drawn - np.median(drawn, axis=2, keepdims=True), axis=1)


def _at(record: ECGRecord, row: int, times: np.ndarray) -> np.ndarray:
    """A lead at some moments, the mean of a step around each; NaN where it is missing."""
    half = max(1, round(_STEP_S / 2 * record.sampling_rate))
    smooth = np.convolve(np.pad(record.signal[row], half, mode="edge"), np.ones(2 * half) / (2 * half), mode="valid")
    return smooth[np.clip(np.round(times * record.sampling_rate).astype(int), 0, record.n_samples - 1)]


def _numbers(values: np.ndarray) -> str:
    return " ".join("?" if np.isnan(value) else str(round(100 * float(value))) for value in values)
