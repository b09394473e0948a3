"""What a table of your own folder says that cannot all be right.

In: the rows of a table as entries, with their lines. Out: sentences for the report. Decided here: nothing is repaired,
since nobody here knows which of two cells is wrong; and a sentence holds lines and names of the vocabulary, never what
a cell or a patient is called.
"""

from __future__ import annotations

from collections.abc import Sequence

from ....findings.exclusions import contradictions
from ..entry import Entry

_LINES = 5  # named of each kind
_PAIRS = 10


def doubts(table: str, rows: Sequence[tuple[int, Entry]]) -> list[str]:
    """What to look at in a table.

    Args: table: its name. rows: (line, what is known of its file).
    Returns: a sentence for each kind of doubt; none where there is none.
    """
    return _contradicting(table, rows)


def _contradicting(table: str, rows: Sequence[tuple[int, Entry]]) -> list[str]:
    lines: dict[tuple[str, str], list[int]] = {}
    for line, entry in rows:
        for pair in contradictions(entry.changes.get("findings", ())):
            lines.setdefault(pair, []).append(line)
    if not lines:
        return []
    commonest = sorted(lines.items(), key=lambda one: -len(one[1]))
    pairs = [f"{one} with {other} ({_lines(where)})" for (one, other), where in commonest[:_PAIRS]]
    if len(commonest) > _PAIRS:
        pairs.append(f"and {len(commonest) - _PAIRS} more pairs")
    count = len({line for where in lines.values() for line in where})
    return [
        f"findings of {table} that exclude each other, in {count} of {len(rows)} rows, taken as they are: "
        f"{'; '.join(pairs)}"
    ]


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_LINES]))
    more = f" and {len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"
