"""CODE-15 % in its own layout: `exams.csv` and `exams_part<i>.hdf5` (some parts are enough).

In: the folder. Out: one `Entry` per exam whose part is there, with labels, age, sex and patient. Decided here: which
rows of the padding are cut off, and the unit, which the files do not state (`unit_of_amplitude`). Needs h5py (extra
`formats`). Licence: CC BY 4.0. Source: Ribeiro et al., Zenodo 2021, doi:10.5281/zenodo.4916206.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from ....errors_ecgllm import ECGError, MissingExtraError
from ....signal_ecgllm import LEADS  # in the order of the tracings: DI, DII, DIII, AVR, ...
from ....signals.limits import DEFAULT_MAX_BYTES, check_size
from ....signals.record import ECGReadError, ECGRecord
from ..entry import Entry, Found, missing_layout
from ..text_files import table_rows

CORPUS = "CODE-15 %"
SAMPLING_RATE = 400.0
LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "ST", "AF", "normal_ecg")
_COLUMNS = ("exam_id", "patient_id", "trace_file")
# Median over exams of the median lead's peak to peak, in the file's unit, between which that unit is sure. In mV it is
# 2.4 in 308 exams of CODE-15 and 1.3 in 51 ECGs of PTB-XL.
_UNITS = {"V": (4e-4, 6e-3, 1000.0), "mV": (0.4, 6.0, 1.0), "0.1 mV": (10.0, 60.0, 0.1), "uV": (400.0, 6000.0, 0.001)}
_PROBED = 64  # exams that decide on the unit


def entries(src: Path, unit: str | None = None) -> Found:
    """Exams of `exams.csv` in its order, as far as their part is in the folder; the rest is counted in the notes.

    Args: unit: "V", "mV", "0.1 mV" or "uV" of the tracings; None decides it from the amplitudes.
    Raises: FileNotFoundError without table or parts, MissingExtraError without h5py, ValueError for amplitudes that
        leave the unit open, or a damaged part.
    """
    table, parts = src / "exams.csv", sorted(src.glob("*.hdf5"))
    if not table.is_file() or not parts:
        raise missing_layout(src, "exams.csv and exams_part<i>.hdf5 (unpack exams_part<i>.zip)", CORPUS, table.name)
    if unit is not None and unit not in _UNITS:
        raise ECGError(f"{CORPUS}: unit={unit!r}; expected one of {', '.join(_UNITS)}, or None to find it")
    _opened.cache_clear()  # a part may have been downloaded again since
    rows_of = {path.name: _rows_by_exam(path) for path in parts}
    scale = _UNITS[unit or _find_unit(rows_of, src)][2]
    found, elsewhere, listed = [], Counter(), 0
    for exam in _exams(table):
        part, number = exam["trace_file"].strip(), int(exam["exam_id"])
        if part in rows_of:
            row = rows_of[part].get(number)
            listed += row is not None
            found.append(_entry(exam, number, src / part, row, scale))
        else:
            elsewhere[part] += 1
    notes = [f"{count} exams lie in {part}, which is not here" for part, count in sorted(elsewhere.items())]
    unlisted = sum(map(len, rows_of.values())) - listed
    if unlisted > 0:
        notes.append(f"{unlisted} tracings have no row in exams.csv; left out")
    if not found:
        raise FileNotFoundError(f"{CORPUS}: no exam of {table} lies in {', '.join(rows_of)}: {'; '.join(notes[:4])}")
    return Found(found, len(found), notes)


def _entry(exam: dict[str, str], number: int, path: Path, row: int | None, scale: float) -> Entry:
    labels = [label for label in LABELS if _is_true(exam.get(label))]
    age = (exam.get("age") or "").strip()
    male = (exam.get("is_male") or "").strip()
    return Entry(
        id=f"code15-{number}",
        path=path,
        patient_id=f"code15-{exam['patient_id'].strip()}",
        changes={
            "statements": tuple(f"CODE15:{label}" for label in labels),
            "age": float(age) if age else None,
            "sex": None if not male else "male" if _is_true(male) else "female",
        },
        load=partial(read_tracing, path, number, row, scale),
    )


def read_tracing(path: Path, exam: int, row: int | None, scale: float) -> ECGRecord:
    """One row of a part's `tracings` [n, 4096, 12], its zero padding cut off, times `scale` in mV at 400 Hz."""
    if row is None:
        raise ECGReadError(f"{path}: has no exam {exam}, which exams.csv says it has; download the part again")
    signal = _tracing(path, row)
    if not signal.size:
        raise ECGReadError(f"{path}: the tracing of exam {exam} is nothing but zeros")
    signal = np.ascontiguousarray(signal.T, dtype=np.float32) * np.float32(scale)
    return ECGRecord(signal=signal, sampling_rate=SAMPLING_RATE, leads=LEADS, id=str(exam), source="code15")


def without_padding(signal: np.ndarray) -> np.ndarray:
    """[samples, leads] without the samples at both ends that are exactly 0 in every lead."""
    used = np.flatnonzero(np.any(signal != 0, axis=1))
    return signal[used[0] : used[-1] + 1] if used.size else signal[:0]


def unit_of_amplitude(amplitude: float) -> str:
    """The unit in which `amplitude` is that of an ECG.

    Args: amplitude: median over exams of the median lead's peak to peak.
    Raises: ValueError for an amplitude of no unit, or between two.
    """
    for unit, (low, high, _) in _UNITS.items():
        if low <= amplitude < high:
            return unit
    ranges = ", ".join(f"{low:g} to {high:g} is {unit}" for unit, (low, high, _) in _UNITS.items())
    raise ECGError(
        f"{CORPUS}: the tracings' median peak to peak is {amplitude:.4g}; {ranges}. Say which it is by "
        "unit=... (--unit)"
    )


def _find_unit(rows_of: dict[str, dict[int, int]], src: Path) -> str:
    there = [(part, row) for part, rows in rows_of.items() for row in rows.values()]
    amplitudes = []
    for part, row in there[:: max(1, len(there) // _PROBED)]:
        signal = _tracing(src / part, row)
        if signal.size:
            amplitudes.append(float(np.nanmedian(np.ptp(signal, axis=0))))
    if not amplitudes:
        raise ECGError(f"{CORPUS}: every tracing in {', '.join(rows_of)} is nothing but zeros")
    return unit_of_amplitude(float(np.median(amplitudes)))


def _exams(table: Path) -> Iterator[dict[str, str]]:
    for line, exam in table_rows(table, (*_COLUMNS, *LABELS[:6]), CORPUS):
        number = exam["exam_id"].strip()
        if not (number.isascii() and number.isdigit() and len(number) < 19):
            raise ECGError(f"{CORPUS}: {table}, line {line}: the exam_id is no whole number")
        yield exam


def _rows_by_exam(path: Path) -> dict[int, int]:
    """Exam -> row. A part ends in a row of exam 0, which is none."""
    with _damage_named(path):
        file = _open(path)
        found = {name: (file[name].dtype, file[name].shape) for name in file}
        (kind, exams), (numbers, shape) = (found.get(name, (None, ())) for name in ("exam_id", "tracings"))
        if None in (kind, numbers) or kind.kind not in "iu" or numbers.kind not in "fiu" or len(exams) != 1:
            shape = ()
        if len(shape) != 3 or shape[2] != len(LEADS) or exams != shape[:1]:
            raise ECGError(
                f"{CORPUS}: {path} holds {found or 'nothing'}; expected numbers, exam_id [n] and tracings "
                "[n, samples, 12]"
            )
        # What is not stored takes no bytes of a file: its size says nothing of these.
        check_size(str(path), len(LEADS), shape[1], DEFAULT_MAX_BYTES)
        check_size(str(path), 2, shape[0], DEFAULT_MAX_BYTES)
        return {int(exam): row for row, exam in enumerate(file["exam_id"][:]) if exam != 0}


def _tracing(path: Path, row: int) -> np.ndarray:
    """Row `row` of a part without its padding. Raises: ECGReadError where the file is damaged there."""
    with _damage_named(path):
        return without_padding(_open(path)["tracings"][row])


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """h5py's many errors about a damaged file as one of ours."""
    try:
        yield
    except ECGError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ECGReadError(f"{path}: is damaged HDF5 ({error}); download the part again") from error


def _open(path: Path) -> Any:
    """The open part: rows are read one by one, and opening takes longer than reading."""
    return _opened(path, os.getpid())


@lru_cache(maxsize=32)
def _opened(path: Path, process: int) -> Any:
    """Opened by each process for itself: forked ones would move each other's place in the file."""
    try:
        import h5py
    except ImportError as error:
        raise MissingExtraError(f"{CORPUS} is HDF5 and needs h5py: pip install 'ecgllm[formats]'") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise ECGError(f"{CORPUS}: {path} cannot be opened as HDF5 ({error}); download it again") from error


def _is_true(text: str | None) -> bool:
    return (text or "").strip().lower() in ("true", "1", "1.0")
