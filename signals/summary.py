"""What an ECG file holds, for a person or a program: an `ECGRecord` in, a JSON-ready summary or its text out.

Decided here: that nothing in a summary may identify the patient, and what besides the quality of the signal is worth
a doubt (few leads, a short recording).
"""

from __future__ import annotations

import math
import re
from typing import Any

from .leads import check_leads
from .quality import assess_quality
from .record import ECGRecord

TWELVE_LEADS = 12
# Shorter ECGs are read, but a model's feature extractor refuses them by default.
SHORT_BELOW_S = 1.0


def summarize(record: ECGRecord, measuring: bool = False) -> dict[str, Any]:
    """Describe a record without what may identify the patient: ids, dates, age, sex and the free text of reports.

    Args: record: any `ECGRecord`. measuring: measure it too, some 30 ms.
    Returns: JSON-ready mapping: format, sampling_rate (Hz), duration (s), samples, leads (name, minimum, maximum and
    range in mV, None where no sample is finite), findings, measurements (the file's own), measured (by
    `ecgllm.signals.measure`; None unless `measuring`), statements, notes, quality (sentences), verdict,
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
    return {
        "format": record.source,
        "sampling_rate": float(record.sampling_rate),
        "duration": round(float(record.duration), 3),
        "samples": int(record.n_samples),
        "leads": leads,
        "findings": None if record.findings is None else list(record.findings),
        "measurements": {name: _rounded(value) for name, value in (record.measurements or {}).items()},
        "measured": measured(record) if measuring else None,
        "statements": list(record.statements),
        "notes": [_QUOTED.sub("(not shown)", note) for note in record.notes],
        "quality": quality,
        "verdict": found.verdict,
        "quality_by_lead": found.to_dict()["leads"],
        "lead_check": checked.to_dict(),
    }


def measured(record: ECGRecord) -> dict[str, Any]:
    """What `ecgllm.signals.measure` finds, JSON-ready."""
    from .measurements import measure

    return measure(record).to_dict()


# Readers quote what a header says where they did not understand it: it may be a name, or a date of birth.
_QUOTED = re.compile(r"""(?<!\w)(?:'.*'|".*")(?!\w)""", re.DOTALL)


def _rounded(value: float | None) -> float | None:
    return round(float(value), 4) if value is not None and math.isfinite(value) else None


def as_text(summary: dict[str, Any]) -> str:
    """What `summarize` gives, as lines for a person to read."""
    lines = [
        f"format      {summary['format'] or 'unknown'}",
        f"duration    {summary['duration']:g} s ({summary['samples']} samples at {summary['sampling_rate']:g} Hz)",
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
        ("measurements", measurements),
        ("measured", rates),
        *((key, summary[key]) for key in _TEXT_LISTS),
    ):
        if items:
            lines += [f"{title}:", *(f"  {item}" for item in items)]
    lines.append(f"verdict on the recording: {summary['verdict']}")
    return "\n".join(lines)


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


_TEXT_LISTS = ("findings", "statements", "notes", "quality")
