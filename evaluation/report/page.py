"""`index.html`: one file that holds all its pictures and styles, for a large window, a phone and paper.

In: sections, `About`, examples. Out: the text of the page, by the template `index.html.jinja`, which escapes whatever
it is given. Decided here: what comes in which order, and when a table is long.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ..figures import Chart, SectionFigures, Table
from ..figures_in_words import Shown
from .about import METRICS, About, Example
from .headlines import headline_table
from .writing_figures import notes_of, shown_rows, trimmed

SHOWN_AT_ONCE = 8
"""Rows of a long table that stand there before it is opened."""
_LONG = 12  # rows from which a table is long: to hide three is no help
_WIDEST, _NARROW = 34, 16  # characters of a line of words in a table, with room and on a phone
_PADDING = 2.2  # characters beside the text of a cell
_BOLD = 1.2
_WIDTHS = dict.fromkeys(" .,;:'!|[]()ijlftr-", 0.6) | dict.fromkeys("%mwMW…", 1.6)


@dataclass(frozen=True)
class _ShownTable:
    """A table, ready for the template. widths: of the columns, in characters; narrow: the same on a phone, where an
    interval stands below its value; numeric: which are flush right."""

    title: str
    columns: tuple[str, ...]
    first: list[list[Shown]]
    rest: list[list[Shown]]
    widths: list[float]
    narrow: list[float]
    numeric: list[bool]
    note: str


def page(sections: list[SectionFigures], about: About, examples: list[Example], explained: list[Example]) -> str:
    """The text of `index.html`. Raises: MissingExtraError without matplotlib; ECGError for a chart that is none."""
    from .drawn_ecgs import picture

    environment = Environment(
        loader=PackageLoader(__package__, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["unbroken"] = _unbroken
    parts = [_part(number, section, about.picture) for number, section in enumerate(sections, 1)]
    return environment.get_template("index.html.jinja").render(
        about=about,
        picture=None if about.picture is None else _figure(about.picture, "verdict"),
        headlines=_table(headline_table(sections), whole=True),
        data=_table(data_table(about)),
        settings=_table(Table("Settings", ("setting", "value"), _pairs(about.settings))),
        versions=_table(Table("Versions", ("package", "version"), _pairs(about.versions))),
        parts=parts,
        examples=[(example, picture(example)) for example in examples],
        explained=[(example, picture(example)) for example in explained],
    )


def _unbroken(text: str) -> str:
    """A sentence in which no line ends before a percent sign."""
    return re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)


def data_table(about: About) -> Table:
    """What it was evaluated on."""
    rows = [(one.name, one.records, one.patients, _shortened(one.hash)) for one in about.data]
    note = f"Hashes are shortened; all digits are in {METRICS}." if any("…" in row[3] for row in rows) else ""
    return Table("Data", ("source", "records", "patients", "hash"), rows, note)


def _shortened(digits: str) -> str:
    return digits if len(digits) <= 16 else f"{digits[:12]}…"


def _pairs(values: dict[str, Any]) -> list[tuple[str, str]]:
    return [
        (name, "none" if value is None else ", ".join(value) if isinstance(value, list) else str(value))
        for name, value in values.items()
    ]


def _part(number: int, section: SectionFigures, above: Chart | None) -> dict[str, Any]:
    """above: the chart below the verdict, which is not shown again."""
    key = f"{re.sub('[^a-z0-9]+', '-', section.name.lower()).strip('-')}-{number}"
    return {
        "key": key,
        "section": section,
        "charts": [
            _figure(chart, f"{key}-{place}") for place, chart in enumerate(section.charts, 1) if chart != above
        ],
        "tables": [_table(table) for table in section.tables],
    }


def _figure(chart: Chart, prefix: str) -> tuple[Chart, list[Markup]]:
    from .charts import svgs

    return chart, [Markup(each) for each in svgs(chart, prefix)]  # words in it are escaped there


def _table(table: Table, whole: bool = False) -> _ShownTable:
    """whole: however long it is."""
    table = trimmed(table)
    rows = shown_rows(table)
    long = len(rows) >= _LONG and not whole
    columns = [(head, [row[place] for row in rows]) for place, head in enumerate(table.columns)]
    return _ShownTable(
        table.title,
        table.columns,
        rows[:SHOWN_AT_ONCE] if long else rows,
        rows[SHOWN_AT_ONCE:] if long else [],
        [_width(head, cells, _WIDEST, below=False) for head, cells in columns],
        [_width(head, cells, _NARROW, below=True) for head, cells in columns],
        [any(cell.number for cell in cells) for _, cells in columns],
        notes_of(table, rows),
    )


def _width(head: str, cells: list[Shown], widest: int, below: bool) -> float:
    """Of a column, in characters: texts are broken at `widest`, numbers never, but before their interval if it stands
    below. Fixed, so that both halves of a long table have the same."""
    needed = [_BOLD * _length(word) for word in head.split()] + [_BOLD * _length(head) / 2]  # a head takes two lines
    for cell in cells:
        if not cell.number:
            needed += [min(_length(cell.text), widest), *(_length(word) for word in re.split(r"[\s/-]", cell.text))]
        else:
            needed.append(max(_length(cell.value), _length(cell.interval)) if below else _length(cell.text))
    return round(min(max(needed), 2 * widest) + _PADDING, 1)


def _length(text: str) -> float:
    """In widths of a "0", as common fonts without serifs have it."""
    return sum(_WIDTHS.get(letter, 1.0) for letter in text)
