"""REPORT/ of an evaluation: what its sections found, as a page to read, as part of a model card, and as numbers.

In: `SectionFigures`, and an `About` that says what was evaluated and how. Out: `index.html` (one file, nothing from
the network), `report.md` (the same in Markdown) and `metrics.json`; a card's section, with the whole report beside it.
Decided here: how figures are written and drawn (`writing_figures`, `charts`), and what of a record may be shown: in
`index.html` ECGs without id, patient and date, elsewhere none. Drawing needs matplotlib (extra `evaluate`).
"""

from .about import PAGE, SCHEMA, About, Data, Example
from .card import model_index, write_card
from .writing import check_drawing, write_report

__all__ = [
    "PAGE",
    "SCHEMA",
    "About",
    "Data",
    "Example",
    "check_drawing",
    "model_index",
    "write_card",
    "write_report",
]
