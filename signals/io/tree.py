"""iter_ecgs: a folder of mixed files in, its ECGs out one by one, and a table of what could not be read and why.

Decided here: what counts as an unreadable ECG and what as a file of another kind, and that neither stops a run: files
are read in worker processes (`reading_workers`), and one that kills its worker, or hangs, is reported like any other.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors_ecgllm import ECGError
from ..record import ECGReadError, ECGRecord
from .detection import DICOM_WAVEFORM, HEAD_BYTES, describe, detect_format
from .reading import read_all_ecgs
from .reading_workers import in_processes
from .wfdb.header import MAX_HEADER_BYTES

_MAX_WORKERS = 8
_TIMEOUT_S = 60.0


@dataclass
class ECGTree:
    """The ECGs of a folder; iterate over it to read them.

    `unreadable` (path, reason) and `skipped` (path, what it is) grow while it is iterated; `read` counts records.
    Paths are relative to `folder`, with forward slashes. `str(tree)` is the table.
    """

    folder: Path
    workers: int
    progress: bool
    timeout_s: float | None
    options: dict[str, Any]
    read: int = 0
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def __iter__(self) -> Iterator[ECGRecord]:
        from tqdm.auto import tqdm

        self.read, self.unreadable, self.skipped = 0, [], []
        paths, self.skipped = files_of(self.folder)
        outcomes = self._one_process(paths) if self.workers == 1 else self._many_processes(paths)
        with tqdm(
            outcomes, total=len(paths), desc=f"Reading {self.folder.name}", unit="file", disable=not self.progress
        ) as bar:
            for path, kind, found in bar:
                if kind == "read":
                    for record in found:
                        self.read += 1
                        yield record
                elif kind == "skipped":
                    self.skipped.append((path, found))
                else:
                    self.unreadable.append((path, found))

    def __str__(self) -> str:
        kinds = Counter(what for _, what in self.skipped)
        lines = [f"{self.folder}: {self.read} ECGs read, {len(self.unreadable)} files unreadable"]
        lines += [f"no ECG: {what} ({count} files)" for what, count in kinds.most_common()]
        lines += [f"unreadable: {path}: {reason}" for path, reason in self.unreadable]
        return "\n".join(lines)

    def _one_process(self, paths: list[str]) -> Iterator[tuple[str, str, Any]]:
        for path in paths:
            yield path, *read_file(str(self.folder / path), path, self.options)

    def _many_processes(self, paths: list[str]) -> Iterator[tuple[str, str, Any]]:
        items = [(str(self.folder / path), path, self.options) for path in paths]
        outcomes = in_processes(read_file, items, self.workers, self.timeout_s)
        with closing(outcomes):  # ends the processes, also where the loop over the ECGs is left early
            for path, (outcome, failure) in zip(paths, outcomes, strict=True):
                yield path, *(outcome if failure is None else ("unreadable", failure))


def iter_ecgs(
    folder: str | os.PathLike[str],
    *,
    workers: int | None = None,
    progress: bool = True,
    timeout_s: float | None = _TIMEOUT_S,
    **options: Any,
) -> ECGTree:
    """Read all ECGs under a folder, of any mix of formats.

    Args:
        folder: searched with its subfolders; links to folders are not followed.
        workers: processes; None takes one per CPU, at least 2 and at most 8. 1 reads in this process, where nothing
            can end a file that hangs. (As with all process pools, a script that calls this needs
            `if __name__ == "__main__":` where processes are spawned.)
        progress: show a bar.
        timeout_s: seconds a file may take; one that takes longer is unreadable. None for no limit.
        options: as for `read_ecg`; sampling_rate, unit and leads serve the tables and arrays that lack them, and a
            file that says another rate is unreadable.

    Returns: an iterable of records, whose `unreadable` and `skipped` tell afterwards what was not read and why. The
        id of a record is its path within the folder; rows of a Parquet file keep their own.
    Raises: ECGReadError if there is no such folder.

    >>> tree = iter_ecgs("exports", workers=4)  # doctest: +SKIP
    >>> records = list(tree)  # doctest: +SKIP
    >>> print(tree)  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ECGReadError(f"{folder}: is no folder; expected one. Read a single file with read_ecg.")
    if workers is not None and workers < 1:
        raise ECGError(f"workers is {workers}; expected at least 1, or None.")
    if timeout_s is not None and not timeout_s > 0:
        raise ECGError(f"timeout_s is {timeout_s}; expected seconds above 0, or None for no limit.")
    return ECGTree(folder, workers or default_workers(), progress, timeout_s, options)


def default_workers() -> int:
    """Processes that read where nobody says how many: one per CPU, at least 2 and at most 8."""
    return min(_MAX_WORKERS, max(2, _cpus()))


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def files_of(folder: str | os.PathLike[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """(every file that may be an ECG by itself, sorted; (path, what it is) of parts of WFDB records and the like).

    Paths are relative to the folder, with forward slashes.
    """
    paths: list[str] = []
    skipped: list[tuple[str, str]] = []
    for inside, subfolders, names in os.walk(folder):
        subfolders.sort()
        base = os.path.relpath(inside, folder).replace(os.sep, "/")
        records = {name[:-4] for name in names if name.endswith(".hea")}
        parts = _segments(inside, records)
        for name in sorted(names):
            path = name if base == "." else f"{base}/{name}"
            stem, suffix = os.path.splitext(name)
            if suffix == ".hea" and stem in parts:
                skipped.append((path, "a segment of a WFDB record"))
            elif stem in records and suffix.lower() in (".dat", ".mat", ".d"):
                skipped.append((path, "the signal file of a WFDB record"))
            elif not os.path.isfile(os.path.join(inside, name)):
                skipped.append((path, "a device, pipe or broken link"))
            else:
                paths.append(path)
    return paths, skipped


def _segments(folder: str, records: set[str]) -> set[str]:
    """Names of the records in a folder that are segments of another one."""
    found: set[str] = set()
    for name in records:
        path = os.path.join(folder, f"{name}.hea")
        try:
            with open(path, "rb") as file:
                first = file.readline(4096)
                if b"/" not in first.split(b" ", 1)[0]:
                    continue
                rest = file.read(MAX_HEADER_BYTES)
        except OSError:
            continue  # the worker says what is wrong with it
        found |= {line.split()[0].decode("utf-8", "replace") for line in rest.splitlines() if line.split()}
    return found - {"~"}


def read_file(path: str, relative: str, options: dict[str, Any]) -> tuple[str, Any]:
    """("read", records), ("skipped", what it is) or ("unreadable", reason)."""
    try:
        other = None if "format" in options else _other_kind(path, options)
        if other is not None:
            return "skipped", other
        records = list(read_all_ecgs(path, **options))
    except MemoryError:
        return "unreadable", "needs more memory than there is; pass a smaller max_bytes to refuse such files early"
    except (ValueError, OSError) as error:  # ECGReadError is a ValueError
        return "unreadable", " ".join(str(error).split()).replace(path, relative)
    stem = os.path.splitext(os.path.basename(path))[0]
    for number, record in enumerate(records):
        if record.id == stem:
            records[number] = replace(record, id=relative)
        elif record.id == f"{stem}#{number}":  # a row of a table that gives no ids
            records[number] = replace(record, id=f"{relative}#{number}")
    return "read", records


def _other_kind(path: str, options: dict[str, Any]) -> str | None:
    """What a file is that is no ECG; None where it may be one."""
    with open(path, "rb") as file:
        head = file.read(HEAD_BYTES)
    if path.endswith(".hea"):
        return None
    kind = detect_format(head)
    if kind is None:
        return describe(head)
    if kind in ("npy", "npz") and options.get("sampling_rate") is None:
        return (
            "a NumPy array, which tells no sampling rate (pass sampling_rate, unit and leads to read it)"
            if kind == "npy"
            else None
        )
    if kind == "dicom" and b"1.2.840.10008.5.1.4.1.1." in head[:2048] and DICOM_WAVEFORM not in head[:2048]:
        return "a DICOM file without waveforms"
    if kind == "parquet" and not _has_ecgs(path):
        return "a Parquet file without ECGs"
    return None


def _has_ecgs(path: str) -> bool:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from .tables.parquet_rows import is_ecg_type

    try:
        return any(is_ecg_type(field.type) for field in pq.read_schema(path))
    except (pa.ArrowException, OSError, ValueError):
        return True  # damaged: reading it says how
