"""Files that somebody sent, and which of them are one ECG.

In: names and bytes. Out: for each ECG its files, by name. Decided here: files that share their name up to the suffix,
one of them a WFDB header, are one ECG, and any other is one by itself; of a name only what is behind its last slash
counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from ..errors_ecgllm import ECGError, shorten

ECGFiles = Mapping[str, bytes]


def ecgs_of(files: Iterable[tuple[str, bytes]]) -> list[ECGFiles]:
    """The files of each ECG, in the order of their first. Raises: ECGError for two files of one name in a record."""
    given = [(name.replace("\\", "/").rpartition("/")[2] or "ecg", data) for name, data in files]
    headers = {PurePosixPath(name).stem for name, _ in given if PurePosixPath(name).suffix == ".hea"}
    found: list[dict[str, bytes]] = []
    of_record: dict[str, dict[str, bytes]] = {}
    for name, data in given:
        stem = PurePosixPath(name).stem
        if stem not in headers:
            found.append({name: data})
        elif name in of_record.get(stem, ()):
            raise ECGError(f"There are two files named {shorten(repr(name))}; give two ECGs two names.")
        elif stem in of_record:
            of_record[stem][name] = data
        else:
            of_record[stem] = {name: data}
            found.append(of_record[stem])
    return found


__all__ = ["ECGFiles", "ecgs_of"]
