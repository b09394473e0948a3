"""How a report lists what may be thousands of lines: as many as a reader looks at, and where the rest is."""

from __future__ import annotations

import os
from collections import Counter


def listed(lines: list[str], most: int | None, all_in: str | os.PathLike[str] | None = None) -> list[str]:
    """The first `most` lines (None: all) and how many more there are; all_in: the file that holds all of them."""
    if most is None or len(lines) <= most:
        return lines
    where = "like these" if all_in is None else f"(all are in {os.fspath(all_in)})"
    return [*lines[:most], f"... and {len(lines) - most:,} more {where}"]


def counted(what: str, texts: Counter[str], unit: str, shown: bool) -> list[str]:
    """What a source says in words of its own: a line each where `shown`, else one that counts them.

    texts: text -> in how many `unit`.
    """
    if shown:
        return [f"{what}: {text} ({count} {unit})" for text, count in texts.most_common()]
    if not texts:
        return []
    number = f"{len(texts):,} different texts, {texts.total():,} in all"
    return [f"{what}: {number}; not shown, as they may name somebody (all: --statements, or text(statements=True))"]
