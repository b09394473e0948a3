"""PhysioNet/CinC Challenge 2021: folders of `.hea` and `.mat`, SNOMED CT codes in `#Dx:` lines.

In: the folder, searched through. Out: one `Entry` per record. The challenge gives no patient ids, so that every
record counts as a patient of its own; the recording date in the headers is that of the conversion and is left out.
Licence: CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

from .entry import Entry, missing_layout


def entries(src: Path) -> list[Entry]:
    """All records below the folder, by path. Raises: FileNotFoundError if there are none."""
    headers = sorted(path for path in src.rglob("*.hea"))
    if not headers:
        raise missing_layout(src, "<database>/.../<record>.hea and .mat", "CinC 2021")
    found = []
    for path in headers:
        record_id = "cinc2021-" + path.relative_to(src).with_suffix("").as_posix().replace("/", "-")
        found.append(Entry(id=record_id, path=path, patient_id=record_id, changes={"recorded_at": None}))
    return found
