"""read_ecg: one path in, one ECGRecord out.

Decided here: which reader a path belongs to. Formats are told by suffix; a path without one is a WFDB record's name.
"""

from __future__ import annotations

import os
from pathlib import Path

from .record import ECGReadError, ECGRecord
from .wfdb_reader import read_wfdb

_WFDB_SUFFIXES = (".hea", ".dat", ".mat")


def read_ecg(
    path: str | os.PathLike[str], *, allow_truncated: bool = False, verify_checksum: bool = True
) -> ECGRecord:
    """Read one ECG file.

    Args:
        path: a WFDB record: its .hea, .dat or .mat file, or their common path without suffix. Other formats are not
        read yet.
        allow_truncated: read what is there of a file that ends early, instead of refusing it. The record's notes say
        so.
        verify_checksum: compare each lead with the checksum in the header, where there is one.

    Returns: the record in millivolt, leads under their standard names, in the order of the file; see `read_wfdb`.
    Raises: ECGReadError if the file is missing, of an unsupported kind, damaged or contradicts itself.
    """
    path = Path(path)
    if path.suffix.lower() in _WFDB_SUFFIXES:
        header = path if path.suffix == ".hea" else path.with_suffix(".hea")
        if not header.is_file() and not path.is_file():
            raise ECGReadError(f"{path}: there is no such file.")
        if not header.is_file():
            raise ECGReadError(
                f"{path}: a WFDB signal file is read through its header, and there is no {header.name} beside it. "
                "Put the header there; it holds the leads, the gains and the sampling rate."
            )
        return read_wfdb(header, signal_file=path, allow_truncated=allow_truncated, verify_checksum=verify_checksum)
    header = path.with_name(f"{path.name}.hea")  # not with_suffix: a record may be called "a.b"
    if header.is_file():
        return read_wfdb(header, allow_truncated=allow_truncated, verify_checksum=verify_checksum)
    if not path.exists():
        raise ECGReadError(f"{path}: there is no such file, and no {header.name} either.")
    found = "a folder" if path.is_dir() else f"a file with the suffix {path.suffix!r}"
    raise ECGReadError(
        f"{path}: is {found}; this version reads WFDB records: .hea with .dat or .mat (or their path without suffix). "
        "Other formats come with a later version; until then convert the file, for instance with wfdb.wrsamp."
    )
