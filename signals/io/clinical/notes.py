"""What a clinical file says besides its samples: statements, measurements, and notes on what was left out.

Decided here: which sentences may name a person and are dropped, which of a cart's numbers are measurements, and what
a reader of the record must be told about the file.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from ...analysis.calibration import recording_within

_STANDARD_MEASUREMENTS = {
    "heart_rate": "heart_rate",
    "rr_interval": "rr",
    "pr_interval": "pr",
    "qrs_duration": "qrs",
    "qt_interval": "qt",
    "qtc_bazett": "qtc_bazett",
    "qtc_fridericia": "qtc_fridericia",
    "p_axis": "p_axis",
    "qrs_axis": "axis",
    "t_axis": "t_axis",
}
# Who signed stands among the statements of carts' reports.
_SIGNATURE = re.compile(
    r"\b(?:confirm(?:ed|ing)|referr(?:ed|ing)|sign(?:ed|ature)|review(?:ed|er)|over-?read|interpreted|edited|ordered)\b"
    r".{0,20}?\b(?:by|md)\b|electronically|\bdr\.?\s|\bm\.?d\.?\s*$|\b(?:patient|name|dob|born|birth|mrn|technician)\b",
    re.IGNORECASE,
)


def note_what_is_left_out(parsed: Any, format: str, leads: list[Any], notes: list[str]) -> None:
    """Whatever else the file holds, so that nothing is lost in silence."""
    if parsed.median_beats:
        beat = parsed.median_beats[0]
        length = f" of {len(beat.samples) / beat.sampling_rate:.2f} s" if beat.sampling_rate else ""
        notes.append(f"{len(parsed.median_beats)} median beats{length} were left out; the rhythm was read")
    if parsed.leads_enhanced:
        notes.append("the device's filtered version of the signal was left out; the unfiltered one was read")
    filters = parsed.recording.acquisition.filters
    band = [
        f"{what} {value:g} Hz"
        for what, value in (("high-pass", filters.highpass), ("low-pass", filters.lowpass), ("notch", filters.notch))
        if value
    ]
    if band:
        notes.append(f"filters that the file states: {', '.join(band)}")
    events = parsed.raw_metadata.get("edf_annotations") or parsed.raw_metadata.get("events")
    if events:
        notes.append(f"{len(events)} annotations in time were left out")
    skewed = [lead.label for lead in leads if lead.annotations.get("sample_skew_ms")]
    if skewed:
        notes.append(f"stated skew between channels was not corrected, in {', '.join(skewed)}")
    if format == "kardia" and parsed.recording.duration:
        stated, held = parsed.recording.duration.total_seconds(), len(leads[0].samples) / leads[0].sampling_rate
        if abs(stated - held) > 0.05 * stated + 0.1:
            notes.append(f"the file states a duration of {stated:g} s and holds {held:.2f} s; it may be cut")
    if format == "ishne":
        promised, found = parsed.raw_metadata["ecg_size"], parsed.raw_metadata["samples_per_lead"]
        if promised != found:
            # Devices write the length in several ways, so that it proves no truncation.
            notes.append(f"the header promises {promised:,} samples, the file holds {found:,} per lead; it may be cut")
    notes += parsed.raw_metadata.get("ecgllm_notes", ())
    offsets = {lead.annotations.get("LeadTimeOffset", "0") for lead in leads}
    if len(offsets) > 1:
        notes.append("the file states different time offsets of its leads (LeadTimeOffset), which were not applied")


def note_calibration(signal: np.ndarray, rate: float, notes: list[str]) -> None:
    """Some carts store the calibration pulse at an end of a recording."""
    first, end = recording_within(signal, rate)
    stretches = (("first", first), ("last", signal.shape[1] - end))
    for which, length in stretches:
        if length:
            notes.append(
                f"the {which} {length / rate:.2f} s are the same in all leads, as a calibration pulse is; quality and "
                "measurements leave them out. Cut them with "
                f"record.segment({first / rate:.2f}, {(end - first) / rate:.2f})"
            )


def statements(parsed: Any, format: str, keep_identity: bool, notes: list[str]) -> tuple[tuple[str, ...], str | None]:
    """(statements, report): the interpretation's sentences without those that name somebody."""
    interpretation = parsed.interpretation
    sentences = [" ".join(" ".join(part for part in pair if part).split()) for pair in interpretation.statements]
    sentences = [sentence for sentence in sentences if sentence]
    if not keep_identity:
        names = _identifying_words(parsed)
        kept = [s for s in sentences if not _SIGNATURE.search(s) and not (names & set(_words(s)))]
        if len(kept) < len(sentences):
            notes.append(f"{len(sentences) - len(kept)} statements that may name a person were left out")
        sentences = kept
    if not sentences:
        return (), None
    if interpretation.source == "machine":
        notes.append("statements are the device's own interpretation, not a physician's")
    return tuple(f"{format.upper()}:{sentence}" for sentence in sentences), "\n".join(sentences)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^\w]+", text.lower()) if len(word) > 2]


def _identifying_words(parsed: Any) -> set[str]:
    patient, recording = parsed.patient, parsed.recording
    fields = (
        patient.first_name,
        patient.last_name,
        patient.patient_id,
        recording.technician,
        recording.referring_physician,
        parsed.interpretation.interpreter,
    )
    return {word for field in fields for word in _words(field or "")}


def measurements(parsed: Any) -> dict[str, float]:
    """Intervals in ms, axes in degrees, rate in bpm; carts write 0 or 29999 for what they did not measure."""
    found = {}
    for field, measurement in _STANDARD_MEASUREMENTS.items():
        value = getattr(parsed.measurements, field)
        if value is None or (abs(value) > 360 if field.endswith("axis") else not 0 < value < 10_000):
            continue
        found[measurement] = float(value)
    return found
