"""PTB-XL 1.0.x in its own layout: `ptbxl_database.csv` with `records500/` or `records100/`.

In: the folder. Out: one `Entry` per row with report (as it is, mostly German), SCP statements with their likelihoods,
heart axis, stage of infarction, extra beats, pacemaker, noise with its leads, device, and the recommended split
(folds 1-8 train, 9 validation, 10 test). What no finding is made of (site, nurse, height, weight, who validated)
stays as a statement. Licence: CC BY 4.0. Source: Wagner et al., Scientific Data 7, 154 (2020).
"""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from ....errors_ecgllm import ECGError
from ....findings.labels import VOCABULARY
from ....findings.ptbxl_text import METADATA_COLUMNS, beats_in, leads_in
from ....signals.quotes import without_quotes
from ..entry import Entry, Found, missing_layout
from ..text_files import python_literal, table_rows

_NOISE_COLUMNS = {
    "baseline_drift": "baseline_drift",
    "static_noise": "static_noise",
    "burst_noise": "burst_noise",
    "electrodes_problems": "electrode_problems",
}
_SUBCLASSES = frozenset(["MI", "STTC", "CD", "HYP", "AMI", "IMI", "LMI", "PMI", "AVB", "ISCA", "ISCI", "LAFB/LPFB"])
_FILE_COLUMNS = {500: ("filename_hr",), 100: ("filename_lr",), None: ("filename_hr", "filename_lr")}
_COLUMNS = ("ecg_id", "patient_id", "strat_fold")
# 453 and 6 of 2,118 reports of LAD; "borderline left axis deviation" has a code of its own, AXL.
_LEFT_AXIS_DEVIATION = re.compile(r"(?<!borderline )left axis deviation|(?:ue|ü)berdrehter linkstyp")


def entries(src: Path, sampling_rate: float | None = None) -> Found:
    """Rows of `ptbxl_database.csv` in its order.

    Args: sampling_rate: 500 (records500/) or 100 (records100/) Hz; None takes 500 where the file is there, else 100.
    Raises: FileNotFoundError if the table or every file of that rate is missing, ValueError for another rate or a
        table without its columns.
    """
    table = src / "ptbxl_database.csv"
    if not table.is_file():
        raise missing_layout(src, "ptbxl_database.csv and records500/ or records100/", "PTB-XL", table.name)
    if sampling_rate not in _FILE_COLUMNS:
        raise ECGError(f"PTB-XL: sampling_rate={sampling_rate:g}; it comes at 500 and at 100 Hz")
    found = []
    for line, row in table_rows(table, _COLUMNS, "PTB-XL"):
        try:
            found.append(_entry(src, row, sampling_rate))
        except (ValueError, TypeError, OverflowError) as error:  # whole numbers of "inf" and "1e400" overflow
            raise ECGError(
                f"PTB-XL: {table}, line {line}: {without_quotes(str(error))}; expected a row as published. Was the "
                "table saved by a spreadsheet? Download it again"
            ) from None  # the cause quotes the cell
    if found and not any(entry.path.is_file() for entry in found):
        raise _no_signals(src, found, sampling_rate)
    return Found(found, len(found))


def _no_signals(src: Path, found: list[Entry], sampling_rate: float | None) -> FileNotFoundError:
    there = [rate for rate in (500, 100) if (src / f"records{rate}").is_dir()]
    folders = " and ".join(f"records{rate}/" for rate in there) or "no records500/ and records100/"
    wanted = f"records{sampling_rate or 500:g}/"
    other = [rate for rate in there if sampling_rate is not None and rate != sampling_rate]
    way_out = f", or take sampling_rate={other[0]} (--sampling-rate {other[0]})" if other else ""
    return FileNotFoundError(
        f"PTB-XL: {src} has {folders}, and none of the {len(found)} files wanted, such as {found[0].path}; expected "
        f"{wanted} as published. Download {wanted}{way_out}"
    )


def _entry(src: Path, row: dict[str, str], sampling_rate: float | None) -> Entry:
    number = int(float(row["ecg_id"]))
    patient = row["patient_id"].strip()
    age = float(row["age"]) if _text(row, "age") else None
    fold = int(float(row["strat_fold"]))
    recorded = _text(row, "recording_date")
    leads, unclear = noise_leads(row)
    return Entry(
        id=f"ptbxl-{number}",
        path=_signal_path(src, row, sampling_rate),
        patient_id=f"ptbxl-{int(float(patient))}" if patient else f"ptbxl-record-{number}",
        split="test" if fold == 10 else "validation" if fold == 9 else "train",
        changes={
            "report": _text(row, "report") or None,
            "statements": tuple(statements_of(row)),
            "finding_leads": leads or None,
            "device": " ".join(_text(row, "device").split()) or None,
            # PTB-XL writes 300 for every age above 89: how old is not known
            "age": age if age is not None and age <= 120 else None,
            "sex": {"0": "male", "1": "female"}.get(_text(row, "sex").removesuffix(".0")),
            "recorded_at": datetime.fromisoformat(recorded) if recorded else None,
        },
        unclear=(*unclear, *_unclear_text(row)),
    )


def _text(row: dict[str, Any], column: str) -> str:
    """A cell without surrounding blanks; "" where the table has no such column or no value (pandas writes "nan")."""
    text = (row.get(column) or "").strip()
    return "" if text.lower() == "nan" else text


def _signal_path(src: Path, row: dict[str, str], sampling_rate: float | None) -> Path:
    columns = _FILE_COLUMNS[sampling_rate]
    paths = [src / f"{row[column]}.hea" for column in columns if _text(row, column)]
    return next((path for path in paths if path.is_file()), paths[0] if paths else src / "no file name in the table")


def statements_of(row: dict[str, str]) -> list[str]:
    """Source statements of one row: `SCP:<code>:<likelihood>` and `PTBXL:<what>:<value>`.

    What: axis (LAD is followed by :left-axis-deviation where the report says that, in English or German, and not only
    "Linkstyp"), stadium (I to III or unknown; once for each of two infarctions), extra_beats (the cell as it is),
    pacemaker, noise (none where all four columns are empty), and `METADATA_COLUMNS`. A row without `scp_codes` but
    with `labels` (codes of the published benchmark split, joined by ';', superclasses and subclasses among them) gives
    `SCP:<code>` and `PTBXL:class:<class>`; the rest is then unknown.
    """
    codes = _text(row, "scp_codes")
    if not codes:
        return [_label_statement(label) for label in _text(row, "labels").split(";") if label.strip()]
    found = [f"SCP:{code}:{float(likelihood):g}" for code, likelihood in python_literal(codes, dict).items()]
    axis = _text(row, "heart_axis")
    if axis:
        said = axis == "LAD" and _LEFT_AXIS_DEVIATION.search(_text(row, "report").lower())
        found.append(f"PTBXL:axis:{axis}{':left-axis-deviation' if said else ''}")
    for column in ("infarction_stadium1", "infarction_stadium2"):
        stage = _text(row, column)
        if stage:
            found.append(f"PTBXL:stadium:{stage.removeprefix('Stadium ')}")
    if _text(row, "extra_beats"):
        found.append(f"PTBXL:extra_beats:{_text(row, 'extra_beats')}")
    if _has_pacemaker(row):
        found.append("PTBXL:pacemaker:ja")
    noise = [f"PTBXL:noise:{kind}" for column, kind in _NOISE_COLUMNS.items() if _text(row, column).strip(" ,")]
    found += noise or ["PTBXL:noise:none"]
    return found + [f"PTBXL:{column}:{_text(row, column)}" for column in METADATA_COLUMNS if _text(row, column)]


def noise_leads(row: dict[str, str]) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """Noise -> leads, as far as the four columns name them clearly, and the parts that they do not."""
    leads, unclear = {}, []
    for column, kind in _NOISE_COLUMNS.items():
        named, not_clear = leads_in(_text(row, column))
        if named and not not_clear:
            leads[kind.replace("_", " ")] = named
        unclear += [f"{column} {part!r}" for part in not_clear]
    return leads, unclear


def _has_pacemaker(row: dict[str, str]) -> bool:
    return _text(row, "pacemaker").lower().startswith("ja")  # "ja, pacemaker" and "ja, nan"; "PACE????" is a doubt


def _unclear_text(row: dict[str, str]) -> list[str]:
    unclear = [f"extra_beats {part!r}" for part in beats_in(_text(row, "extra_beats"))[1]]
    if _text(row, "pacemaker") and not _has_pacemaker(row):
        unclear.append(f"pacemaker {_text(row, 'pacemaker')!r}")
    return unclear


def _label_statement(label: str) -> str:
    label = label.strip()
    if label in _SUBCLASSES:
        return f"PTBXL:class:{label}"
    # the benchmark split writes ISC, NST, NT, STD, STE and TAB without SCP's final underscore
    return f"SCP:{label}_" if f"{label}_" in _SCP_CODES else f"SCP:{label}"


_SCP_CODES = frozenset(code for finding in VOCABULARY.values() for code in finding.scp)
