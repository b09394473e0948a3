"""Your own folder of ECG files, with a CSV table that says what is known of each.

In: a folder in which `read_ecg` reads the files, and a table with a row per file. Out: one `Entry` per row. Decided
here: which columns mean what (`COLUMNS`; every other column must be named as a finding of the vocabulary and hold 0
or 1, or is reported as unused), that a table with patients names one in every row, and that an error names line and
column and never what the cell holds: columns get shifted, and a name may stand where an age was expected.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from difflib import get_close_matches
from functools import cache, partial
from importlib import import_module
from pathlib import Path, PureWindowsPath
from typing import Any

from ....errors_ecgllm import ECGError
from ....findings.asked_names import asked_names
from ....findings.labels import VOCABULARY
from ....findings.vocabulary import FORMER_NAMES
from ..entry import Entry, Found, missing_layout
from ..splits import SPLITS
from ..text_files import table_rows
from .folder_doubts import doubts

# What a column may be called (in any case, blanks as underscores) -> what it is.
COLUMNS = {
    **dict.fromkeys(("file", "filename", "file_name", "path"), "file"),
    **dict.fromkeys(("id", "record", "record_id", "ecg_id"), "id"),
    **dict.fromkeys(("patient", "patient_id", "subject_id"), "patient_id"),
    **{name: name for name in ("report", "findings", "age", "sex", "split", "recorded_at", "device")},
}
_SEXES = {"female": "female", "f": "female", "w": "female", "male": "male", "m": "male"}
_SPLITS = {**{name: name for name in SPLITS}, "valid": "validation", "val": "validation", "dev": "validation"}


def entries(
    src: Path,
    table: str | Path | None = None,
    sampling_rate: float | None = None,
    unit: str | None = None,
    leads: Sequence[str] | None = None,
    format: str | None = None,
    allow_truncated: bool = False,
    verify_checksum: bool = True,
) -> Found:
    """Rows of the table in its order.

    Args: table: a CSV file (comma, semicolon or tab; UTF-8). Columns: file (below `src`, with or without its suffix)
        or id, and any of patient_id, report, findings (names separated by ';'), age, sex, split, recorded_at (ISO
        8601), device, or one column of 0 and 1 for each finding. sampling_rate, unit, leads, format: of the files that
        do not say it themselves; a file that can be read without is read without, since a folder may hold files of
        several devices. allow_truncated, verify_checksum: of all, as `read_ecg` takes them.
    Raises: FileNotFoundError for a missing folder or table, ValueError for a table that cannot be understood.
    """
    if not src.is_dir():
        raise missing_layout(src, "a folder of ECG files", "your own folder")
    if table is None:
        raise ECGError("your own folder needs a table: prepare('folder', src, table='labels.csv'), or --table")
    path = Path(table)
    if not path.is_file() and (src / path).is_file():
        path = src / path
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: there is no such table; expected a CSV file with a row per ECG file of {src}"
        )
    names, rows = _read(path)
    known = {name: COLUMNS[_plain(name)] for name in names if _plain(name) in COLUMNS}
    meanings = list(known.values())
    repeated = sorted({meaning for meaning in meanings if meanings.count(meaning) > 1})
    if repeated:
        raise ECGError(f"{path}: more than one column means {', '.join(repeated)}: {', '.join(names)}")
    if "file" not in meanings and "id" not in meanings:
        raise ECGError(f"{path}: has no column 'file' or 'id' that says which file a row is of; it has {names}")
    labels = {name: found for name in names if name not in known and (found := _finding(name))}
    notes = _notes(path, names, known, labels, rows)
    _check_findings(path, rows, next((name for name, meaning in known.items() if meaning == "findings"), None))
    always = {"allow_truncated": allow_truncated, "verify_checksum": verify_checksum}
    unsaid = {"sampling_rate": sampling_rate, "unit": unit, "leads": leads, "format": format}
    unsaid = {name: value for name, value in unsaid.items() if value is not None}
    found = [_entry(src, path, line, row, known, labels) for line, row in rows]
    found = [replace(entry, load=partial(_read_file, entry.path, always, unsaid)) for entry in found]
    if "split" in meanings and 0 < sum(entry.split is not None for entry in found) < len(found):
        raise ECGError(f"{path}: some rows have a split and some have none; give all or leave out the column")
    notes += doubts(path.name, [(line, entry) for (line, _), entry in zip(rows, found, strict=True)])
    if without := _without_row(src, path, found):
        notes.append(f"files below {src.name} that no row of {path.name} is about, left out: {without}")
    return Found(found, len(found), notes)


def _read_file(path: Path, always: Mapping[str, Any], unsaid: Mapping[str, Any]) -> Any:
    """The ECG of a file. unsaid: what it is read with where it cannot be read without.

    Raises: ECGReadError as `read_ecg`.
    """
    if "\\" in path.name and not path.exists():  # of a drive or a server; others were rewritten
        raise ECGError(
            "its path has backslashes, from a drive or a server on, and leads to no file here; expected a path below "
            "the folder, such as deep/1.dcm. Leave out what stands before"
        )
    # Here, so that a folder is found without what reads signals.
    read_ecg = import_module("....signals", __package__).read_ecg
    try:
        return read_ecg(path, **always)
    except ECGError as error:
        if not unsaid:
            raise
        first = error
    try:
        return read_ecg(path, **always, **unsaid)
    except ECGError as error:
        if str(error) == str(first):
            raise
        raise ECGError(f"{first} With {', '.join(unsaid)} as given: {error}") from error


def _without_row(src: Path, table: Path, found: list[Entry]) -> int:
    """How many files belong to no row: neither its file, nor one of the same name up to the suffix (a .dat)."""
    used = {entry.path.with_suffix("").resolve() for entry in found} | {table.with_suffix("").resolve()}
    files = (path for path in src.rglob("*") if path.is_file() and not path.name.startswith("."))
    return sum(path.with_suffix("").resolve() not in used for path in files)


def _read(path: Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Column names, and (line number, row) of every row that is not empty."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        delimiter = max(",;\t", key=file.readline().count)
    rows = []
    for line, row in table_rows(path, (), "your own folder", delimiter):
        if any(cell.strip() for cell in row.values()):
            rows.append((line, {name: cell.strip() for name, cell in row.items()}))
    if not rows:
        raise ECGError(f"{path}: has no row below its header")
    return list(rows[0][1]), rows


def _entry(
    src: Path, table: Path, line: int, row: dict[str, str], known: dict[str, str], labels: dict[str, str]
) -> Entry:
    cell = {meaning: row[name] for name, meaning in known.items()}
    where = f"{table}, line {line}"
    file = cell.get("file") or cell.get("id")
    if not file:
        raise ECGError(f"{where}: names no file")
    file = _with_slashes(src, file)
    record_id = cell.get("id") or Path(file).with_suffix("").as_posix()
    if "patient_id" in cell and not cell["patient_id"]:
        raise ECGError(
            f"{where}: has no patient_id, other rows have; two records of one patient could fall into different "
            "splits. Fill it in, or leave out the column, and every record counts as a patient of its own"
        )
    changes: dict[str, Any] = {
        "report": cell.get("report") or None,
        "age": _age(cell.get("age", ""), where),
        "sex": _chosen(cell.get("sex", ""), _SEXES, "sex", where),
        "device": cell.get("device") or None,
        "recorded_at": _time(cell.get("recorded_at", ""), where),
    }
    changes = {name: value for name, value in changes.items() if value is not None}  # else what the file says stays
    if labels or "findings" in cell:
        named = _named(cell.get("findings", ""))
        stated = {_finding(name) for name in named}
        stated |= {finding for name, finding in labels.items() if _is_stated(row[name], f"{where}, {name}")}
        changes["findings"] = tuple(sorted(filter(None, stated)))
    return Entry(
        id=record_id,
        path=_file(src, file),
        patient_id=cell.get("patient_id") or record_id,
        split=_chosen(cell.get("split", ""), _SPLITS, "split", where),
        changes=changes,
    )


def _named(cell: str) -> list[str]:
    return [name.strip() for name in cell.split(";") if name.strip()]


def _check_findings(table: Path, rows: list[tuple[int, dict[str, str]]], column: str | None) -> None:
    """Raises: ECGError that counts findings that are none of the vocabulary, with names of it that some may mean."""
    unknown = [
        (line, number, name)
        for line, row in rows
        for number, name in enumerate(_named(row[column]) if column is not None else (), 1)
        if _finding(name) is None
    ]
    if not unknown:
        return
    places = [f"line {line}, number {number}{_perhaps(name)}" for line, number, name in unknown[:_SHOWN]]
    different = len({name.lower() for _, _, name in unknown})
    more = f"; and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
    raise ECGError(
        f"{table}: {len(unknown)} of its findings, {different} different ones, are none of the vocabulary: "
        f"{'; '.join(places)}{more}. Put its names in their place, or leave them out; all names: {_LISTING}"
    )


_SHOWN = 20
_LISTING = "python -c \"from ecgllm.corpora import VOCABULARY; print(*VOCABULARY, sep='\\n')\""


def _perhaps(name: str) -> str:
    """The name of the vocabulary that is meant or nearly written, never what the cell holds."""
    plain = " ".join(name.lower().replace("_", " ").replace("-", " ").split())
    near = get_close_matches(plain, list(_called()), 5, 0.85)
    meant = _called().get(plain) or next((one for one in near if _is_slip(plain, one)), None)
    return "" if meant is None else f" (perhaps {_called().get(meant, meant)})"


def _is_slip(name: str, meant: str) -> bool:
    """Whether names differ by slips within long words alone: a word more ("no"), a numeral or another beginning
    ("nstemi") means something else."""
    pairs = list(zip(own := name.split(), other := meant.split(), strict=False))
    return len(own) == len(other) and all(
        one == two or (min(len(one), len(two)) >= _LONG and one[0] == two[0] and get_close_matches(one, [two], 1, 0.8))
        for one, two in pairs
    )


_LONG = 5  # letters of a word in which a slip is forgiven


@cache
def _called() -> dict[str, str]:
    """Names by which people ask, in lower case without hyphens -> the finding."""
    return {text.lower().replace("-", " "): finding for finding in VOCABULARY for text in asked_names(finding)}


def _with_slashes(src: Path, name: str) -> str:
    """A path as this system writes it: one that Windows wrote leads below `src`, too, unless it names a drive."""
    if "\\" not in name or _file(src, name).is_file() or PureWindowsPath(name).anchor:
        return name
    return PureWindowsPath(name).as_posix()


def _file(src: Path, name: str) -> Path:
    """The file of a row; a name without suffix stands for the one file that has it, a WFDB header first."""
    path = src / name
    if path.is_file():
        return path
    header = path.with_name(f"{path.name}.hea")
    if header.is_file():
        return header
    beside = sorted(path.parent.glob(f"{path.name}.*")) if path.parent.is_dir() else []
    return beside[0] if len(beside) == 1 else path


def _notes(
    path: Path, names: list[str], known: dict[str, str], labels: dict[str, str], rows: list[tuple[int, dict]]
) -> list[str]:
    notes = []
    unused = [name for name in names if name not in known and name not in labels]
    if unused:
        notes.append(f"columns of {path.name} that are not used: {', '.join(unused)}")
    if "patient_id" not in known.values():
        notes.append(
            f"{path.name} has no column patient_id: each of its {len(rows)} records counts as a patient of its own; "
            "if a patient has several, the splits leak"
        )
    if not labels and not {"report", "findings"} & set(known.values()):
        notes.append(f"{path.name} has neither reports nor findings; what the files themselves state is taken")
    return notes


def _plain(name: str) -> str:
    return "_".join(name.strip().lower().split())


def _finding(name: str) -> str | None:
    plain = " ".join(name.strip().lower().replace("_", " ").split())
    plain = FORMER_NAMES.get(plain, plain)
    return plain if plain in VOCABULARY else None


def _is_stated(cell: str, where: str) -> bool:
    value = {"1": True, "1.0": True, "true": True, "yes": True, "0": False, "0.0": False, "false": False, "no": False}
    if cell == "":
        return False
    if cell.lower() not in value:
        raise ECGError(f"{where}: holds something else than 0 or 1; expected one of them")
    return value[cell.lower()]


def _chosen(cell: str, choices: dict[str, str], what: str, where: str) -> str | None:
    if cell and cell.lower() not in choices:
        raise ECGError(f"{where}: {what} is none of {', '.join(choices)}; expected one of them")
    return choices[cell.lower()] if cell else None


def _age(cell: str, where: str) -> float | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        found = "has a decimal comma" if _DECIMAL_COMMA.fullmatch(cell) else "is no number"
        expected = "years, with a decimal point if any" if _DECIMAL_COMMA.fullmatch(cell) else "years"
        raise ECGError(f"{where}: age {found}; expected {expected}") from None


def _time(cell: str, where: str) -> datetime | None:
    try:
        return datetime.fromisoformat(cell) if cell else None
    except ValueError:
        # Which kind it is, not what it says. It is not read: 1/2/2024 is January or February.
        kinds = (kind for pattern, kind in _OTHER_DATES if pattern.match(cell))
        raise ECGError(
            f"{where}: recorded_at is {next(kinds, 'no time')}; expected one such as 2024-05-31T08:15:00, the year "
            "first (ISO 8601). A spreadsheet writes it in the format yyyy-mm-dd"
        ) from None


_DECIMAL_COMMA = re.compile(r"\d+,\d+")
_OTHER_DATES = (
    (re.compile(r"\d{1,2}\.\d{1,2}\.\d{2,4}\b"), "a date with the day first, between dots"),
    (re.compile(r"\d{1,4}/\d{1,2}/\d{1,4}\b"), "a date between slashes"),
    (re.compile(r"\d{1,2}-\d{1,2}-\d{4}\b"), "a date with the year last"),
    (re.compile(r"\d+([.,]\d+)?$"), "a mere number, as spreadsheets count days"),
)
