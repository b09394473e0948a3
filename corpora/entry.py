"""What a corpus loader hands to `prepare`: where a record lies and what the corpus knows about it beyond the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Entry:
    """One record to read. `changes` replace fields of the `ECGRecord` that the file gives; `split` is the corpus'
    own."""

    id: str
    path: Path
    patient_id: str
    changes: dict[str, Any] = field(default_factory=dict)
    split: str | None = None


def missing_layout(src: Path, expected: str, corpus: str) -> FileNotFoundError:
    """The error for a folder that does not hold the corpus it should."""
    found = sorted(path.name for path in src.iterdir())[:8] if src.is_dir() else "no folder"
    return FileNotFoundError(
        f"{src}: found {found}; expected {expected} of {corpus}. Give the folder into which the corpus was unpacked."
    )
