"""PhysioNet/CinC Challenge 2021: folders of `.hea` and `.mat`, SNOMED CT codes in `#Dx:` lines.

In: the folder, searched through. Out: one `Entry` per record. No patient ids are given, so that every record counts
as a patient of its own, which the notes say; the recording date in the headers is that of the conversion and is left
out. Chapman-Shaoxing, Ningbo (PhysioNet "ecg-arrhythmia") and CPSC 2018 come in the same form, alone or as parts of
the challenge. Licence: CC BY 4.0.
"""

from __future__ import annotations

from pathlib import Path

from .entry import Entry, Found, missing_layout


def entries(src: Path, corpus: str = "cinc2021") -> Found:
    """All records below the folder, by path. corpus: begins the ids. Raises: FileNotFoundError if there are none."""
    headers = sorted(path for path in src.rglob("*.hea"))
    if not headers:
        raise missing_layout(src, "<record>.hea and .mat, in it or in folders below it", corpus)
    found = []
    for path in headers:
        record_id = f"{corpus}-" + path.relative_to(src).with_suffix("").as_posix().replace("/", "-")
        found.append(Entry(id=record_id, path=path, patient_id=record_id, changes={"recorded_at": None}))
    return Found(found, len(found), ["no patient ids are given: every record counts as a patient of its own"])
