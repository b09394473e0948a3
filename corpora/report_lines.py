"""How a report lists what may be thousands of lines: as many as a reader looks at, and where the rest is."""

from __future__ import annotations

import os


def listed(lines: list[str], most: int | None, all_in: str | os.PathLike[str] | None = None) -> list[str]:
    """The first `most` lines (None: all) and how many more there are; all_in: the file that holds all of them."""
    if most is None or len(lines) <= most:
        return lines
    where = "like these" if all_in is None else f"(all are in {os.fspath(all_in)})"
    return [*lines[:most], f"... and {len(lines) - most:,} more {where}"]
