"""PhysioNet/CinC Challenge 2021: folders of `.hea` and `.mat`, SNOMED CT codes in `#Dx:` lines.

In: the folder, searched through. Out: one `Entry` per record. The challenge joins databases that label differently:
CPSC 2018 knows nine labels and no axis, so that each is a source of its own, by the records' names; and what PTB says
is the patient's diagnosis ("ventricular fibrillation" stands at 25 of its records, some of them in sinus rhythm), so
that no finding is made of it. No patient ids are given, so that every record counts
as a patient of its own, which the notes say; the recording date in the headers is that of the conversion and is left
out. Chapman-Shaoxing, Ningbo (PhysioNet "ecg-arrhythmia") and CPSC 2018 come in the same form, alone or as parts of
the challenge. Licence: CC BY 4.0.
"""

from __future__ import annotations

import re
from pathlib import Path

from ....errors_ecgllm import ECGError
from ..entry import Entry, Found, missing_layout
from ..header_labels import CINC_LABEL, check_labels

# How the parts that have names of their own number their records; the challenge's other parts use other letters.
_DATABASES = {
    "A": "cpsc2018",
    "Q": "cpsc2018-extra",
    "I": "st-petersburg-incart",
    "S": "ptb",
    "HR": "cinc2021-ptb-xl",  # with other labels than PTB-XL's own
    "E": "georgia",
}
# There the axis is PTB-XL's own, LAD and ALAD merged, as are AXL, AXR and SAG.
_PTBXL_AXIS = {"SNOMED:39732003": "PTBXL:axis:LAD", "SNOMED:251200008": "PTBXL:axis:unclear"}
_LAST_OF_CHAPMAN = 10646  # JS records from here on are Ningbo's, which has labels that Chapman-Shaoxing never gives
_RECORDS = {
    **dict.fromkeys(("chapman-shaoxing", "ningbo", "chapman-ningbo"), "JS"),
    "cpsc2018": "A",
}


def entries(src: Path, corpus: str = "cinc2021") -> Found:
    """All records below the folder, by path.

    Args: corpus: "cinc2021" or a part of it; begins the ids. Raises: FileNotFoundError if there are none, ValueError
    for headers of another corpus or another part.
    """
    headers = sorted(path for path in src.rglob("*.hea"))
    if not headers:
        raise missing_layout(src, "<record>.hea and .mat, in it or in folders below it", corpus)
    check_labels(src, headers, CINC_LABEL, corpus)
    if corpus in _RECORDS:
        _check_names(src, headers, corpus)
    found = []
    for path in headers:
        record_id = f"{corpus}-" + path.relative_to(src).with_suffix("").as_posix().replace("/", "-")
        database = database_of(path.stem, corpus)
        found.append(
            Entry(
                id=record_id,
                path=path,
                patient_id=record_id,
                changes={"recorded_at": None},
                source=database,
                of_patient=database == "ptb",
                read_as=_PTBXL_AXIS if database == "cinc2021-ptb-xl" else {},
            )
        )
    notes = ["no patient ids are given: every record counts as a patient of its own"]
    if of_patient := sum(entry.of_patient for entry in found):
        notes.append(f"{of_patient} records of PTB have diagnoses of the patient, of which no finding is made")
    return Found(found, len(found), notes)


def database_of(record: str, corpus: str = "cinc2021") -> str:
    """The database that a record of the challenge comes from, by its name; `corpus` where the name is of none."""
    match = re.fullmatch(r"([A-Z]+)(\d+)", record)
    if match and match[1] == "JS":
        return "chapman-shaoxing" if int(match[2]) <= _LAST_OF_CHAPMAN else "ningbo"
    return _DATABASES.get(match[1], corpus) if match else corpus


def _check_names(src: Path, headers: list[Path], corpus: str) -> None:
    others = [path for path in headers if not re.fullmatch(rf"{_RECORDS[corpus]}\d+", path.stem)]
    if others:
        raise ECGError(
            f"{src} is not {corpus} alone: {len(others)} of its {len(headers)} records are named otherwise, such as "
            f"{others[0]}; expected {_RECORDS[corpus]} and a number. Give the folder of {corpus} alone, or take "
            "`ecgllm prepare cinc2021`, which reads all parts of the challenge"
        )
