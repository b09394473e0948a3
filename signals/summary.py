"""What an ECG file holds, for a person or a program: an `ECGRecord` in, a JSON-ready summary or its text out.

Decided here: that nothing in a summary may identify the patient, so that free text is counted and not shown unless the
caller says what may be shown of it, and what besides the quality of the signal is worth a doubt (few leads, a short
recording).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

from .analysis.lead_check import check_leads
from .analysis.quality import assess_quality
from .quotes import without_quotes
from .record import ECGRecord

TWELVE_LEADS = 12
# Shorter ECGs are read, but a model's feature extractor refuses them by default.
SHORT_BELOW_S = 1.0


def show_nothing(text: str) -> None:
    """What may be shown of a statement where nobody has said what it means."""


def summarize(
    record: ECGRecord, measuring: bool = False, show: Callable[[str], str | None] = show_nothing
) -> dict[str, Any]:
    """Describe a record without what may identify the patient: ids, dates, age, sex and free text.

    Args:
        record: any `ECGRecord`. measuring: measure it too, some 30 ms.
        show: what may be shown of a statement, a finding or a report, None for nothing; such as
            `ecgllm.findings.finding_stated`, which shows what is a finding, in the vocabulary's own words.
    Returns: JSON-ready mapping: format, sampling_rate (Hz), duration (s), samples, leads (name, minimum, maximum and
    range in mV, None where no sample is finite), recorded_in (year), findings, measurements (the file's own), measured
    (by `ecgllm.signals.measure`; None unless `measuring`), statements (and a report that says more, as `show` gives
    them), not_shown (how many findings and statements are left out), notes, quality (sentences), verdict,
    quality_by_lead and lead_check.
    """
    leads = []
    for name, samples in zip(record.leads, record.signal, strict=True):
        finite = samples[samples == samples]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (None, None)
        spread = high - low if finite.size else None
        leads.append({"name": name, "minimum": _rounded(low), "maximum": _rounded(high), "range": _rounded(spread)})
    found, checked = assess_quality(record), check_leads(record)
    quality = [*checked.reasons, *found.reasons]
    if len(record.leads) != TWELVE_LEADS:
        quality.append(f"{len(record.leads)} leads instead of the standard {TWELVE_LEADS}")
    if record.duration < SHORT_BELOW_S:
        quality.append(f"{record.duration:.2f} s long; models expect at least {SHORT_BELOW_S:g} s")
    findings, hidden_findings = _shown(record.findings or (), show)
    statements, hidden_statements = _shown(_said(record), show)
    return {
        "format": record.source,
        "sampling_rate": float(record.sampling_rate),
        "duration": round(float(record.duration), 3),
        "samples": int(record.n_samples),
        "leads": leads,
        "recorded_in": None if record.recorded_at is None else record.recorded_at.year,
        "findings": None if record.findings is None else findings,
        "measurements": {name: _rounded(value) for name, value in (record.measurements or {}).items()},
        "measured": measured(record) if measuring else None,
        "statements": statements,
        "not_shown": {"findings": hidden_findings, "statements": hidden_statements},
        "notes": shown_notes(record),
        "quality": quality,
        "verdict": found.verdict,
        "quality_by_lead": found.to_dict()["leads"],
        "lead_check": checked.to_dict(),
    }


def measured(record: ECGRecord) -> dict[str, Any]:
    """What `ecgllm.signals.measure` finds, JSON-ready."""
    from .analysis.measurements import measure

    return measure(record).to_dict()


def _shown(texts: Iterable[str], show: Callable[[str], str | None]) -> tuple[list[str], int]:
    """What may be shown of texts, each once, and how many are left out."""
    shown = [show(text) for text in texts]
    return list(dict.fromkeys(text for text in shown if text is not None)), shown.count(None)


def _said(record: ECGRecord) -> list[str]:
    """Its statements, and its report unless that only joins them."""
    sentences = [statement.partition(":")[2] for statement in record.statements]
    repeats = not record.report or record.report.splitlines() == sentences
    return [*record.statements, *([] if repeats else [record.report])]


def shown_notes(record: ECGRecord) -> list[str]:
    """What readers noticed, without what they quote from the file."""
    return [without_quotes(note) for note in record.notes]


_SEGMENT = re.compile(r"^(?:segment \S+|[\d,]+ segments, from \S+ on): ")
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d.,]*(?:e[-+]?\d+)?(?<![.,])", re.IGNORECASE)


def note_kind(note: str) -> str:
    """What a note of a reader is about: its first sentence without quotes, numbers, names of channels and segments.

    So notes on many files are counted, and nothing of one file stays: "23 samples marked as missing are NaN, in II" is
    "... samples marked as missing are NaN".
    """
    text = _SEGMENT.sub("", without_quotes(note))
    text = re.sub(r"\s*\([^()]*\)", "", text).partition(": ")[0].partition(". ")[0].partition(", in ")[0]
    return _NUMBER.sub("...", text)[:200]


def _rounded(value: float | None) -> float | None:
    return round(float(value), 4) if value is not None and math.isfinite(value) else None


def as_text(summary: dict[str, Any]) -> str:
    """What `summarize` gives, as lines for a person to read."""
    lines = [
        f"format      {summary['format'] or 'unknown'}",
        f"duration    {summary['duration']:g} s ({summary['samples']} samples at {summary['sampling_rate']:g} Hz)",
        *_recorded_line(summary),
        f"leads       {len(summary['leads'])}, in mV:",
    ]
    for lead in summary["leads"]:
        if lead["range"] is None:
            lines.append(f"  {lead['name']:<6} no finite sample")
        else:
            lines.append(f"  {lead['name']:<6} {lead['minimum']:8.3f} to {lead['maximum']:7.3f}")
    lines.append(f"lead system {summary['lead_check']['lead_system']}{_lead_details(summary['lead_check'])}")
    lines.append(f"not checked {summary['lead_check']['not_looked_for']}")
    measurements = [f"{name} {value:g}" for name, value in summary["measurements"].items() if value is not None]
    rates = [] if summary["measured"] is None else _measured_lines(summary["measured"])
    for title, items in (
        ("stated in the file, not measured", measurements),
        ("measured here", rates),
        ("findings", summary["findings"]),
        ("statements", summary["statements"]),
        ("notes", summary["notes"]),
        ("quality", summary["quality"]),
    ):
        if items:
            lines += [f"{title}:", *(f"  {line}" for item in items for line in item.splitlines())]
    if any(summary["not_shown"].values()):
        counts = {what: count for what, count in summary["not_shown"].items() if count}
        hidden = (f"{count} {what if count > 1 else what[:-1]}" for what, count in counts.items())
        lines.append(f"not shown, as free text may name somebody: {', '.join(hidden)} (all: --statements)")
    lines.append(f"verdict on the recording: {summary['verdict']}")
    return "\n".join(lines)


def _recorded_line(summary: dict[str, Any]) -> list[str]:
    if summary["recorded_in"] is None:
        return []
    place = summary.get("recorded_order")  # among several files
    return [f"recorded    in {summary['recorded_in']}{'' if place is None else f' (number {place} in time)'}"]


_UNITS = {"heart_rate": "bpm", "axis": "degrees"}  # all else is in ms
# What a line about an ECG says, in this order, and what it calls it.
_IN_A_LINE = {"heart_rate": "heart rate", "pr": "PR", "qrs": "QRS", "qtc_bazett": "QTc (Bazett)", "axis": "axis"}


def measured_line(found: dict[str, Any]) -> str:
    """What `measured` gives, on one line: rate, PR, QRS, QTc and axis with their confidence, or why there are none."""
    values = _values(found)
    parts = [
        f"{called} {values[name]['value']:.0f} {_UNITS.get(name, 'ms')} ({', '.join(_remarks(values[name]))})"
        for name, called in _IN_A_LINE.items()
        if name in values
    ]
    return ", ".join(parts) or "; ".join(["nothing", *found["notes"]])


def _measured_lines(found: dict[str, Any]) -> list[str]:
    lines = [
        f"{name.replace('_', ' '):<15} {each['value']:7.0f} {_UNITS.get(name, 'ms'):<8} {', '.join(_remarks(each))}"
        for name, each in _values(found).items()
    ]
    return [*lines, *found["notes"]]


def _remarks(each: dict[str, Any]) -> list[str]:
    """How sure a value is, and on which side of the usual limits it lies, if outside."""
    remarks = [f"confidence {each['confidence']:.2f}"]
    if each["unusual"] is not None:
        remarks.append(f"{each['unusual']} the usual {each['usual'][each['unusual'] == 'above']:g}")
    return remarks


def _values(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: each for name, each in found.items() if isinstance(each, dict) and each["value"] is not None}


def _lead_details(check: dict[str, Any]) -> str:
    parts = [f"{word} {', '.join(check[word])}" for word in ("derivable", "missing", "other") if check[word]]
    if check["einthoven_holds"] is not None:
        parts.append(f"Einthoven's law {'holds' if check['einthoven_holds'] else 'does not hold'}")
    return "".join(f"; {part}" for part in parts)
