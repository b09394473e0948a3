"""Groups of leads over which a file spreads one recording: DICOM's multiplex groups, aECG's sequence sets.

Decided here: which groups are joined, how they lie in time, and why another is left out.
"""

from __future__ import annotations

from typing import Any

from ...record import known_lead_name


def join_groups(groups: list[dict]) -> tuple[list[Any], list[str]]:
    """The leads of several groups as one recording, and what is to be said of it.

    Each group: "index" (from 1), "leads", "num_samples", "sampling_frequency" (Hz), "offset_ms" (its start, or None).

    The longest group is the recording. Another joins it if it has the same rate, leads that are not yet there, and
    the same start and length, or a start of its own that the file states; its leads then bear "start_sample" (from
    1). All others are left out, and named. An unlabelled median beat repeats the leads and so is left out, too.
    """
    groups = sorted(groups, key=seconds, reverse=True)  # stable: of equal ones the first in the file
    first, rate = groups[0], groups[0]["sampling_frequency"]
    joined, notes = [first], []
    for group in groups[1:]:
        there = {known_lead_name(lead.label) for other in joined for lead in other["leads"]}
        leads = [lead.label for lead in group["leads"]]
        offsets = first["offset_ms"], group["offset_ms"]
        together = group["num_samples"] == first["num_samples"] and offsets[0] == offsets[1]
        placed = None not in offsets and offsets[0] != offsets[1]
        reason = None
        if group["sampling_frequency"] != rate:
            reason = f"its rate is {group['sampling_frequency']:g} Hz, not {rate:g} Hz"
        elif there & {known_lead_name(label) for label in leads}:
            reason = "it repeats leads"
        elif not (together or placed):
            reason = "its length differs and no start in time is stated"
        if reason is None:
            joined.append(group)
        else:
            described = f"{', '.join(leads)}, {seconds(group):.2f} s"
            notes.append(f"group {group['index']} of the file ({described}) was left out: {reason}")
    if len(joined) > 1:
        numbers = ", ".join(str(group["index"]) for group in sorted(joined, key=lambda group: group["index"]))
        stated = "" if first["offset_ms"] is not None else "; no start is stated, they were taken as simultaneous"
        notes.append(f"the leads of groups {numbers} of the file were joined{stated}")
        earliest = min(group["offset_ms"] or 0.0 for group in joined)
        for group in joined:
            start = round(((group["offset_ms"] or 0.0) - earliest) / 1000 * rate) + 1
            for lead in group["leads"]:
                lead.annotations["start_sample"] = str(start)
    in_order = sorted(joined, key=lambda group: group["index"])
    return [lead for group in in_order for lead in group["leads"]], notes


def seconds(group: dict) -> float:
    """How long a group lasts."""
    return group["num_samples"] / group["sampling_frequency"]
