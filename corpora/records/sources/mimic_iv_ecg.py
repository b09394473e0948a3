"""MIMIC-IV-ECG 1.0 in its own layout: `record_list.csv`, `machine_measurements.csv`, signals under `files/`.

In: the folder. Out: one `Entry` per record with the machine's report (its sentences as they are, joined by ". "), the
intervals that its wave onsets give, and the cart as the device. Leads lie in the files as I, II, III, aVR, aVF, aVL,
V1-V6: their names decide, never their position. Missing samples stay NaN. Age and sex are not part of this corpus
(they are in MIMIC-IV itself). Licence: ODbL 1.0. Source: Gow et al., PhysioNet 2023, doi:10.13026/4nqg-sb35.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from ....errors_ecgllm import ECGError
from ..entry import Entry, Found, missing_layout
from ..text_files import check_columns, table_rows

CORPUS = "MIMIC-IV-ECG 1.0"
_RECORD_COLUMNS = ("subject_id", "study_id", "ecg_time", "path")
_MEASURED = ("rr_interval", "p_onset", "qrs_onset", "qrs_end", "t_end", "qrs_axis")
_MACHINE_COLUMNS = ("study_id", "report_0", *_MEASURED)
_LONGEST_MS = 10_000  # a strip lasts 10 s; the machine writes 29999 and 32767 where it measured nothing


def entries(src: Path) -> Found:
    """Rows of `record_list.csv` in its order, read as they are needed.

    `machine_measurements.csv` may be missing: the records then have no report and no measurements, as a note says.
    Raises: FileNotFoundError without `record_list.csv`, ValueError if a table lacks a column.
    """
    table = src / "record_list.csv"
    if not table.is_file():
        raise missing_layout(src, "record_list.csv, machine_measurements.csv and files/", CORPUS, table.name)
    check_columns(table, _RECORD_COLUMNS, CORPUS)
    machine = src / "machine_measurements.csv"
    found = Found(())
    if machine.is_file():
        check_columns(machine, _MACHINE_COLUMNS, CORPUS)
    else:
        found.notes.append(f"{machine.name} is not there: no reports, findings and measurements")
    found.entries = _entries(src, table, machine if machine.is_file() else None)
    return found


def _entries(src: Path, table: Path, machine: Path | None) -> Iterator[Entry]:
    measured = _MeasurementsInTurn(machine)
    for _, row in table_rows(table, _RECORD_COLUMNS, CORPUS):
        study, subject = row["study_id"].strip(), row["subject_id"].strip()
        machine_row = measured.of(study)
        sentences = sentences_of(machine_row)
        yield Entry(
            id=f"mimic-iv-ecg-{study}",
            path=src / f"{row['path'].strip().removesuffix('.hea')}.hea",
            patient_id=f"mimic-iv-ecg-{subject}",
            changes={
                "report": report_of(sentences),
                "statements": tuple(f"MIMIC:{sentence}" for sentence in sentences),
                "measurements": measurements_of(machine_row) or None,
                "recorded_at": _time(row["ecg_time"].strip(), study),
                "device": f"cart {machine_row['cart_id'].strip()}" if machine_row.get("cart_id", "").strip() else None,
            },
            whole_report=True,
        )


def _time(text: str, study: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:  # which quotes the cell
        raise ECGError(f"{CORPUS}: ecg_time of study {study} is no time such as 2180-07-23 08:44:00") from None


def sentences_of(row: dict[str, str]) -> list[str]:
    """The machine's sentences, report_0 to report_17, without empty ones."""
    return [text for i in range(18) if (text := " ".join((row.get(f"report_{i}") or "").split()))]


def report_of(sentences: list[str]) -> str | None:
    """The sentences as one text: "Sinus rhythm. Left axis deviation." None without any."""
    return " ".join(text if text.endswith((".", "!", "?", "*")) else f"{text}." for text in sentences) or None


def measurements_of(row: dict[str, str]) -> dict[str, float]:
    """Heart rate (bpm), PR, QRS, QT, QTc (ms) and QRS axis (degrees) from the machine's wave onsets.

    rr_interval and onsets are in ms. pr = qrs_onset - p_onset, qrs = qrs_end - qrs_onset, qt = t_end - qrs_onset, qtc
    by Bazett 1920: qt / sqrt(rr in s). What the machine did not measure (29999 and the like, 0, an end before its
    onset, an axis beyond 360 degrees) is left out.
    """
    raw = {name: _number(row.get(name)) for name in _MEASURED}
    at = {name: value if 0 <= value < _LONGEST_MS else math.nan for name, value in raw.items()}
    found = {
        "heart_rate": 60_000 / at["rr_interval"] if at["rr_interval"] else math.nan,
        "pr": at["qrs_onset"] - at["p_onset"],
        "qrs": at["qrs_end"] - at["qrs_onset"],
        "qt": at["t_end"] - at["qrs_onset"],
    }
    found["qtc"] = found["qt"] / math.sqrt(at["rr_interval"] / 1000) if at["rr_interval"] else math.nan
    found = {name: value for name, value in found.items() if value > 0}  # a comparison with NaN is false
    if abs(raw["qrs_axis"]) <= 360:
        found["axis"] = (raw["qrs_axis"] + 180) % 360 - 180
    return found


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan


class _MeasurementsInTurn:
    """Rows of machine_measurements.csv by study. Both tables come in the same order, so that it is read once and at
    most what lies out of order is held; with another order the result is the same and takes memory."""

    def __init__(self, path: Path | None) -> None:
        self.rows = table_rows(path, _MACHINE_COLUMNS, CORPUS) if path else iter(())
        self.waiting: dict[str, dict[str, str]] = {}

    def of(self, study: str) -> dict[str, str]:
        if study in self.waiting:
            return self.waiting.pop(study)
        for _, row in self.rows:
            if row["study_id"].strip() == study:
                return row
            self.waiting[row["study_id"].strip()] = row
        return {}
