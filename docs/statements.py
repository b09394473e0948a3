"""Every statement of every source and what is made of it, as Markdown: what a cardiologist has to review.

    python docs/statements.py docs/statements.md

In: the vocabulary and the tables of names. Out: the page; a test holds the one in docs/ against it. Decided here: how
the tables are laid out, and which findings a source can state at all.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from statement_names import AHA_STATEMENTS, SCP_NAMES, SNOMED_NAMES

from ecgllm.findings.labels import findings_by_statement, implied
from ecgllm.findings.vocabulary import CATEGORIES, VOCABULARY

_SOURCES = {
    "SNOMED": "CinC 2021 and its databases (SNOMED CT)",
    "SCP": "PTB-XL (SCP-ECG)",
    "PTBXL": "PTB-XL (its other columns, and classes of its benchmark)",
    "LUDB": "LUDB",
    "MIMIC": "MIMIC-IV-ECG (sentences of the machine's report)",
    "CODE15": "CODE-15 %",
}
_SHORT = {
    "CinC": ("SNOMED",),
    "PTB-XL": ("SCP", "PTBXL"),
    "LUDB": ("LUDB",),
    "MIMIC": ("MIMIC",),
    "CODE-15": ("CODE15",),
}
_NAMES = {"SNOMED": SNOMED_NAMES, "SCP": SCP_NAMES}
_INTRODUCTION = """# Statements and findings

What each statement of a source is taken to mean. `python docs/statements.py docs/statements.md` writes
this page from `findings/vocabulary.py` and `findings/machine_statements.py`, and a test holds it against them;
corrections go there.

- *Follows*: broader findings that hold whenever the finding does. *Open*: findings about which it leaves doubt, so
  that they are neither affirmed nor denied. Findings in *italics* do not count as abnormal.
- *AHA*: the number of the statement in AHA/ACC/HRS 2007, part II (Mason, Hancock, Gettes: Circulation 115, 1325), a
  modifier behind a plus sign.
- A source denies only what it states. The last table says what it can state at all; what counts is what it does state
  of some record of the corpus at hand.
- CinC 2021 joins databases, each of which counts as a source of its own: CPSC 2018 has nine labels, and no axis. What
  its part PTB says are diagnoses of the patient, of which no finding is made. In its part PTB-XL the axis is PTB-XL's,
  whose codes were merged: 39732003 is LAD or ALAD (leftward axis), 251200008 is AXL, AXR or SAG (no finding).
- Statements that are not here are kept, give no finding, and are counted by `ecgllm prepare`.
"""


def statements_by_source() -> dict[str, dict[str, tuple[str, ...]]]:
    """Kind of statement -> statement -> the findings that it gives, without those that follow."""
    found: dict[str, dict[str, tuple[str, ...]]] = {kind: {} for kind in _SOURCES}
    for statement, names in findings_by_statement().items():
        kind, _, content = statement.partition(":")
        found[kind][content] = names
    return found


def statement_page() -> str:
    """The whole page."""
    order = {category: position for position, category in enumerate(CATEGORIES)}
    parts, tables = [_INTRODUCTION], statements_by_source()
    for kind, title in _SOURCES.items():
        names = _NAMES.get(kind)
        parts.append(f"## {title}\n")
        parts.append(_header("statement", *(["its own words"] if names else []), "findings", "follows", "open", "AHA"))
        rows = sorted(tables[kind].items(), key=lambda row: (order[VOCABULARY[row[1][0]].category], row[1], row[0]))
        for content, findings in rows:
            follows = [name for name in implied(findings) if name not in findings]
            blurred = sorted({other for name in findings for other in VOCABULARY[name].blurs})
            aha = "; ".join(AHA_STATEMENTS[name] for name in findings if name in AHA_STATEMENTS)
            words = [names[content]] if names else []
            parts.append(_row(content, *words, _listed(findings), _listed(follows), _listed(blurred), aha))
        parts.append("")
    parts += ["## What a source can state at all\n", _header("finding", *_SHORT)]
    stated = {
        source: {name for kind in kinds for names in tables[kind].values() for name in implied(names)}
        for source, kinds in _SHORT.items()
    }
    for name in sorted(VOCABULARY, key=lambda name: (order[VOCABULARY[name].category], name)):
        parts.append(_row(_listed([name]), *("x" if name in stated[source] else "" for source in _SHORT)))
    return "\n".join(parts) + "\n"


def _header(*columns: str) -> str:
    return f"{_row(*columns)}\n{_row(*['---'] * len(columns))}"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(name if VOCABULARY[name].abnormal else f"*{name}*" for name in names)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(statement_page(), encoding="utf-8")
