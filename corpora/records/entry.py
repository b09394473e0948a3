"""What a corpus loader hands to `prepare`: which records there are, where they lie, and what the corpus knows of them.

Out: `Found`, the entries of a folder (a list, or an iterator where a corpus is large) with notes on what the folder
holds beside them. Decided here: how a folder that is not the corpus is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One record to read.

    source: where the labels come from, where a corpus joins several databases; else the corpus' name. of_patient: the
    labels are diagnoses of the patient, not of this ECG, so that no finding is made of them. read_as: statements that
    mean something else in this source -> statements that say what.
    path: its file. load: reads it where `read_ecg(path)` does not, such as one row of an HDF5 file.
    changes: fields of the `ECGRecord` to replace. split: the corpus' own. unclear: words of the source
    that were not understood. whole_report: the statements are sentences of one report, so that the record gets no
    findings at all unless every sentence is understood: what is not understood might contradict.
    """

    id: str
    path: Path
    patient_id: str
    changes: dict[str, Any] = field(default_factory=dict, repr=False)  # free text and times, which logs must not hold
    split: str | None = None
    load: Callable[[], Any] | None = None
    unclear: tuple[str, ...] = field(default=(), repr=False)
    whole_report: bool = False
    source: str | None = None
    of_patient: bool = False
    read_as: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Found:
    """The records of a folder. `total` is None where they have not been counted; `notes` may grow while `entries` is
    iterated."""

    entries: Iterable[Entry]
    total: int | None = None
    notes: list[str] = field(default_factory=list)


def missing_layout(src: Path, expected: str, corpus: str, marker: str | None = None) -> FileNotFoundError:
    """The error for a folder that does not hold the corpus it should.

    marker: a file that the corpus always has; where one lies a folder deeper, that folder is named.
    """
    if not src.is_dir():
        what = "is a file" if src.exists() else "is no folder"
        return FileNotFoundError(f"{src} {what}; expected a folder with {expected} of {corpus}.")
    names = sorted(path.name for path in src.iterdir())
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    found = f"{', '.join(names[:8])}{more}" if names else "nothing"
    way_out = "Give the folder into which the corpus was unpacked."
    deeper = sorted(src.glob(f"*/{marker}")) if marker else []
    if deeper:
        way_out = f"It seems to be {src / deeper[0].relative_to(src).parts[0]}."
    return FileNotFoundError(f"{src} holds {found}; expected {expected} of {corpus}. {way_out}")
