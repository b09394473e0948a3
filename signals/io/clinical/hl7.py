"""HL7 aECG: the parser of `ecgdatakit` with its faults put right.

Decided here: which scales and origins are readable, and that leads in several sequence sets are one recording.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from datetime import timezone
from typing import Any

from ecgdatakit.exceptions import CorruptedFileError
from ecgdatakit.models import _normalize_unit
from ecgdatakit.parsing.parsers.hl7_aecg import (
    _INCREMENT_TO_S,
    HL7aECGParser,
    _attr,
    _child,
    _children,
    _float,
    _parse_ts,
)

from .lead_groups import join_groups, seconds


class HL7Parser(HL7aECGParser):
    """Refuses a lead without a readable scale or origin. The library reads a scale of "5,0" as none and then counts
    each digit as one microvolt, and an origin in a unit that it does not know as one in the scale's.

    Joins the sequence sets over which devices spread the leads of a series, such as three leads at a time; the
    library reads the first set alone. Notes on that are left in raw_metadata["ecgllm_notes"]."""

    def parse(self, file_path: Any) -> Any:
        self._notes: list[str] = []
        record = super().parse(file_path)
        record.raw_metadata["ecgllm_notes"] = self._notes
        return record

    @staticmethod
    def _make_lead(label: str, samples: Any, value: Any, rate: int) -> Any:
        for part in ("scale", "origin"):
            element = _child(value, part)
            number, unit = _attr(element, "value"), _attr(element, "unit")
            if (part == "scale" or number) and _float(number) is None:
                found = "no number" if number else "nothing"  # not what stands there, which may be anything
                raise CorruptedFileError(f"lead {label} has {found} as its {part}; expected a number")
            if part == "origin" and unit and _normalize_unit(unit) is None and _float(number):
                raise CorruptedFileError(f"lead {label} has an {part} in a unit that is no voltage; expected uV or mV")
        return HL7aECGParser._make_lead(label, samples, value, rate)

    def _read_sequence_set(self, series: Any, kind: str, file_path: Any) -> tuple[list[Any], dict]:
        sets = _children(series, "component/sequenceSet")
        if kind != "rhythm" or len(sets) < 2:
            return super()._read_sequence_set(series, kind, file_path)
        groups, unread = [], []
        for index, each in enumerate(sets, 1):
            alone = ET.Element("series")
            ET.SubElement(alone, "component").append(each)
            try:
                leads, time = super()._read_sequence_set(alone, kind, file_path)
            except CorruptedFileError:
                if index == 1:
                    raise
                unread.append(f"sequence set {index} of the rhythm was left out, as it cannot be read")
                continue
            if leads:
                groups.append(
                    {
                        "index": index,
                        "leads": leads,
                        "num_samples": max(len(lead.samples) for lead in leads),
                        "sampling_frequency": time["sampling_rate_exact"],
                        "offset_ms": _start_ms(time),
                        "time": time,
                    }
                )
        if not groups:
            return [], {}
        leads, notes = join_groups(groups)
        self._notes = notes + unread
        return leads, max(groups, key=seconds)["time"]


def _start_ms(time: dict) -> float | None:
    """When a sequence set starts, in ms from any origin that all share; None where that is not said."""
    moment = _parse_ts(time["head"], need_time=True)
    if moment is not None:
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp() * 1000
    relative = _float(time["head"])
    factor = _INCREMENT_TO_S.get(time["head_unit"] or time["increment_unit"])
    return None if relative is None or factor is None else relative * factor * 1000
