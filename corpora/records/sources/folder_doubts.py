"""What a table of your own folder says that cannot all be right.

In: the rows of a table as entries, with their lines. Out: sentences for the report. Decided here: nothing is repaired,
since nobody here knows which of two cells is wrong; and a sentence holds lines and names of the vocabulary, never what
a cell or a patient is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from ....findings.exclusions import contradictions
from ..entry import Entry

_LINES = 5  # named of each kind
_PAIRS = 10
# Whole years of age are off by up to one at either recording.
_YEARS_APART = 2
# Where nobody knows how many years lie between two recordings: more than most archives go back.
_YEARS_APART_UNDATED = 20
_YEAR = 365.25  # days


def doubts(table: str, rows: Sequence[tuple[int, Entry]]) -> list[str]:
    """What to look at in a table.

    Args: table: its name. rows: (line, what is known of its file).
    Returns: a sentence for each kind of doubt; none where there is none.
    """
    return [*_contradicting(table, rows), *_different_people(table, rows)]


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


def _different_people(table: str, rows: Sequence[tuple[int, Entry]]) -> list[str]:
    """Of rows of one patient: two sexes, and ages that the time between the recordings does not explain."""
    of_patient: dict[str, list[tuple[int, Entry]]] = {}
    for line, entry in rows:
        of_patient.setdefault(entry.patient_id, []).append((line, entry))
    several = [own for own in of_patient.values() if len(own) > 1]
    found = []
    for what, differing in (("two sexes", _two_sexes), ("ages that do not fit each other", _ages_apart)):
        where = [lines for own in several if (lines := differing(own))]
        if where:
            shown = [_lines(lines) for lines in where[:_LINES]]
            if len(where) > _LINES:
                shown.append(f"and of {len(where) - _LINES} more")
            count = f"{len(where)} patient_id{'s' if len(where) > 1 else ''}"
            found.append(f"{what} of {count} in {table}, taken as they are: {'; '.join(shown)}")
    return found


def _two_sexes(own: Sequence[tuple[int, Entry]]) -> list[int]:
    """The first line of either sex, where there are both."""
    first: dict[str, int] = {}
    for line, entry in own:
        if "sex" in entry.changes:
            first.setdefault(entry.changes["sex"], line)
    return list(first.values()) if len(first) > 1 else []


def _ages_apart(own: Sequence[tuple[int, Entry]]) -> list[int]:
    """Two lines of which one age cannot be right, those that lie farthest apart."""
    aged = [(entry.changes["age"], line, entry.changes.get("recorded_at")) for line, entry in own
            if "age" in entry.changes]  # fmt: skip
    born = sorted((_years(when) - age, line) for age, line, when in aged if when is not None)
    if born and born[-1][0] - born[0][0] > _YEARS_APART:
        return sorted((born[0][1], born[-1][1]))
    by_age = sorted((age, line) for age, line, _ in aged)
    for age, line, when in aged:
        for other, its_line in (by_age[0], by_age[-1]):
            if when is None and abs(age - other) > _YEARS_APART_UNDATED:
                return sorted((line, its_line))
    return []


def _years(when: datetime) -> float:
    return when.date().toordinal() / _YEAR


def _lines(lines: Sequence[int]) -> str:
    shown = ", ".join(map(str, lines[:_LINES]))
    more = f" and {len(lines) - _LINES} more" if len(lines) > _LINES else ""
    return f"line{'s' if len(lines) > 1 else ''} {shown}{more}"
