"""PTB-XL 1.0.x in its own layout: `ptbxl_database.csv` with `records500/` or `records100/`.

In: the folder. Out: one `Entry` per row with report (as it is, mostly German), SCP statements with their likelihoods,
heart axis, noise, and the recommended split (folds 1-8 train, 9 validation, 10 test). Licence: CC BY 4.0. Source:
Wagner et al., Scientific Data 7, 154 (2020).
"""

from __future__ import annotations

import ast
import csv
from datetime import datetime
from pathlib import Path

from .entry import Entry, missing_layout
from .findings import VOCABULARY

_NOISE_COLUMNS = {
    "baseline_drift": "baseline_drift",
    "static_noise": "static_noise",
    "burst_noise": "burst_noise",
    "electrodes_problems": "electrode_problems",
}
_SUBCLASSES = frozenset(["MI", "STTC", "CD", "HYP", "AMI", "IMI", "LMI", "PMI", "AVB", "ISCA", "ISCI", "LAFB/LPFB"])


def entries(src: Path) -> list[Entry]:
    """Rows of `ptbxl_database.csv` in its order. Raises: FileNotFoundError if the table is missing."""
    table = src / "ptbxl_database.csv"
    if not table.is_file():
        raise missing_layout(src, "ptbxl_database.csv, records500/ (or records100/)", "PTB-XL")
    with open(table, newline="", encoding="utf-8") as file:
        return [_entry(src, row) for row in csv.DictReader(file)]


def _entry(src: Path, row: dict[str, str]) -> Entry:
    number = int(float(row["ecg_id"]))
    patient = row.get("patient_id", "").strip()
    age = float(row["age"]) if row.get("age", "").strip() else None
    fold = int(float(row["strat_fold"]))
    recorded = row.get("recording_date", "").strip()
    return Entry(
        id=f"ptbxl-{number}",
        path=_signal_path(src, row),
        patient_id=f"ptbxl-{int(float(patient))}" if patient else f"ptbxl-record-{number}",
        split="test" if fold == 10 else "validation" if fold == 9 else "train",
        changes={
            "report": row.get("report", "").strip() or None,
            "statements": tuple(statements_of(row)),
            # PTB-XL writes 300 for every age above 89: how old is not known
            "age": age if age is not None and age <= 120 else None,
            "sex": {"0": "male", "1": "female"}.get(row.get("sex", "").strip().removesuffix(".0")),
            "recorded_at": datetime.fromisoformat(recorded) if recorded else None,
        },
    )


def _signal_path(src: Path, row: dict[str, str]) -> Path:
    paths = [src / f"{row[column]}.hea" for column in ("filename_hr", "filename_lr") if row.get(column, "").strip()]
    return next((path for path in paths if path.is_file()), paths[0] if paths else src / "no file name in the table")


def statements_of(row: dict[str, str]) -> list[str]:
    """Source statements of one row: `SCP:<code>:<likelihood>`, `PTBXL:axis:<code>`, `PTBXL:noise:<kind>`.

    A row without `scp_codes` but with `labels` (codes of the published benchmark split, joined by ';', superclasses
    and subclasses among them) gives `SCP:<code>` and `PTBXL:class:<class>`; axis and noise are then unknown.
    """
    codes = row.get("scp_codes", "").strip()
    if not codes:
        return [_label_statement(label) for label in row.get("labels", "").split(";") if label.strip()]
    found = [f"SCP:{code}:{float(likelihood):g}" for code, likelihood in ast.literal_eval(codes).items()]
    axis = row.get("heart_axis", "").strip()
    if axis:
        found.append(f"PTBXL:axis:{axis}")
    noise = [f"PTBXL:noise:{kind}" for column, kind in _NOISE_COLUMNS.items() if row.get(column, "").strip(" ,")]
    return found + (noise or ["PTBXL:noise:none"])


def _label_statement(label: str) -> str:
    label = label.strip()
    if label in _SUBCLASSES:
        return f"PTBXL:class:{label}"
    # the benchmark split writes ISC, NST, NT, STD, STE and TAB without SCP's final underscore
    return f"SCP:{label}_" if f"{label}_" in _SCP_CODES else f"SCP:{label}"


_SCP_CODES = frozenset(code for finding in VOCABULARY.values() for code in finding.scp)
