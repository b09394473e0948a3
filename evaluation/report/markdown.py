"""The report in Markdown: `report.md`, which holds all of it, and the section of a model card, which sums it up.

In: sections and `About`. Out: the texts; the section stands between two comments by which `card` finds it again.
Decided here: that neither holds a picture, a folder of this machine, or anything of a single record; charts show what
tables say. A card's section has the verdict with its table, the data, the headlines, and of each part one sentence.
"""

from __future__ import annotations

import html
import re
from typing import Any

from ..figures import SectionFigures, Table
from .about import About
from .headlines import headline_table
from .page import SHOWN_AT_ONCE, data_table
from .writing_figures import notes_of, shown_rows, trimmed

BEGIN, END = "<!-- ecgllm evaluate: begin -->", "<!-- ecgllm evaluate: end -->"
VERDICT = "reliance"
"""The section whose first table stands below the verdict."""


def markdown(sections: list[SectionFigures], about: About) -> str:
    """The text of `report.md`."""
    blocks = _opening(about, "#")
    blocks += _table(headline_table(sections), "##")
    if about.terms:
        blocks.append("\n".join(f"- {plain(term)}: {plain(meaning)}" for term, meaning in about.terms.items()))
    for section in sections:
        blocks += [f"## {plain(section.title)}", " ".join(paragraph(sentence) for sentence in section.sentences)]
        for table in section.tables:
            blocks += _table(table, "###", folded=True)
    if about.command.strip():
        blocks.append(f"Made again by{_shortened(about.command)}\n\n```sh\n{without_folders(about.command)}\n```")
    return _joined(blocks)


def card_section(sections: list[SectionFigures], about: About, report: str) -> str:
    """A model card's section. report: where the whole report lies, as seen from the card."""
    blocks = [BEGIN, *_opening(about, "##"), f"The whole report, with every table: [{report}]({report})."]
    blocks += [
        block
        for section in sections
        if section.name == VERDICT and section.tables
        for block in _table(section.tables[0], "###")
    ]
    blocks += _table(headline_table(sections), "###")
    said = [
        f"- **{plain(section.title)}** {plain(section.sentences[0])}"
        for section in sections
        if section.sentences and section.values and section.name != VERDICT  # without values nothing was asked
    ]
    blocks += ["### In a sentence each", "\n".join(said)] if said else []
    if about.command.strip():
        blocks.append(f"Made again by{_shortened(about.command)} `{without_folders(about.command)}`")
    return _joined([*blocks, END])


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
    before = r"(?:(?<=[\s='\"])|(?<=folds:)|(?<=pipeline:)|^)"
    return re.sub(before + r"(?:/|~|\.\./)(?:[^\s'\"]*/)?(?=[^\s'\"/])", "", " ".join(command.split()))


def _shortened(command: str) -> str:
    """That a command line stands here without folders, where it does."""
    return "" if without_folders(command) == " ".join(command.split()) else " (folders left out)"


def _opening(about: About, level: str) -> list[str]:
    """Title, verdict, warnings, and what was evaluated on what, by which rules."""
    trained = plain(about.trained_on or "it does not say").rstrip(".")
    return [
        f"{level} {plain(about.title)}",
        " ".join(f"**{plain(sentence)}**" for sentence in about.verdict),
        *(f"> **Note:** {plain(warning)}" for warning in about.warnings),
        f"Model: {plain(about.model)}. Trained on: {trained}. {plain(about.date)}, seed {about.seed}.",
        *_table(data_table(about), None),
        "\n".join(f"- {plain(line)}" for line in about.protocol),
    ]


def _joined(blocks: list[str]) -> str:
    return "\n\n".join(block for block in blocks if block) + "\n"


def _table(table: Table, level: str | None, folded: bool = False) -> list[str]:
    """level: of the heading, "##" and so on; None: no heading. folded: whether it is to be opened if it is long."""
    table = trimmed(table)
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
    if level is None:
        return blocks
    if folded and len(rows) > SHOWN_AT_ONCE:
        title = html.escape(f"{table.title} ({len(rows)} rows)", quote=False)
        return [f"<details>\n<summary>{title}</summary>", *blocks, "</details>"]
    return [f"{level} {plain(table.title)}", *blocks]


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
