"""`report.md`: the report as a section of a model card, in Markdown: headings, sentences and tables.

In: sections and `About`. Out: the text, between two comments by which `card` finds it again. Decided here: that it
holds no picture, no folder of this machine, and nothing of any single record; charts show what tables say.
"""

from __future__ import annotations

import html
import re
from typing import Any

from ..figures import SectionFigures, Table
from .about import About
from .page import SHOWN_AT_ONCE, data_table
from .writing_figures import notes_of, shown_rows

BEGIN, END = "<!-- ecgllm evaluate: begin -->", "<!-- ecgllm evaluate: end -->"


def markdown(sections: list[SectionFigures], about: About) -> str:
    """The text of `report.md`."""
    trained = plain(about.trained_on or "it does not say").rstrip(".")
    blocks = [
        BEGIN,
        f"## {plain(about.title)}",
        " ".join(f"**{plain(sentence)}**" for sentence in about.verdict),
        *(f"> **Note:** {plain(warning)}" for warning in about.warnings),
        f"Model: {plain(about.model)}. Trained on: {trained}. {plain(about.date)}, seed {about.seed}.",
        *_table(data_table(about), titled=False),
        "\n".join(f"- {plain(line)}" for line in about.protocol),
    ]
    for section in sections:
        blocks += [f"### {plain(section.title)}", " ".join(paragraph(sentence) for sentence in section.sentences)]
        for table in section.tables:
            blocks += _table(table)
    if about.command.strip():
        blocks.append(f"Made again by\n\n```sh\n{without_folders(about.command)}\n```")
    blocks.append(END)
    return "\n\n".join(block for block in blocks if block) + "\n"


def plain(text: Any) -> str:
    """A text on one line in which nothing is taken for Markdown or HTML."""
    line = " ".join(str(text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*|~$]|(?<!\w)_|_(?!\w))", r"\\\1", line)


def paragraph(text: Any) -> str:
    """The same at the start of a block, where "#", "-" and "1." mean something too."""
    return re.sub(r"^(\d*)([#+-]|[.)](?= ))", r"\1\\\2", plain(text))


def without_folders(command: str) -> str:
    """A command line on one line, paths that only this machine has by their last part."""
    return re.sub(r"(?:(?<=[\s='\"])|^)(?:/|~|\.\./)(?:[^\s'\"]*/)?(?=[^\s'\"/])", "", " ".join(command.split()))


def _table(table: Table, titled: bool = True) -> list[str]:
    rows = shown_rows(table)
    if not rows:
        return []
    numeric = [any(row[column].number for row in rows) for column in range(len(table.columns))]
    lines = [
        _row([plain(head) for head in table.columns]),
        _row(["---:" if right else "---" for right in numeric]),
        *(_row([plain(cell.text) for cell in row]) for row in rows),
    ]
    note = notes_of(table, rows)
    blocks = ["\n".join(lines), paragraph(note)]
    if len(rows) > SHOWN_AT_ONCE:
        title = html.escape(f"{table.title} ({len(rows)} rows)", quote=False)
        return [f"<details>\n<summary>{title}</summary>", *blocks, "</details>"]
    return [f"#### {plain(table.title)}", *blocks] if titled else blocks


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
