"""The figures that sum up the parts of an evaluation, as the one table that report and card open with.

In: sections. Out: a `Table`. Decided here: a figure without an interval is left out; beside each stands what it is
held against, and whose figure that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..figures import Headline, SectionFigures, Table

_NOTE = (
    "Held against: the best of the commonest answer, the question alone and rules, over the questions that it "
    "answers, or what the line names. Brackets hold 95 % intervals over patients. Of an AUROC the patients are those "
    "of the rarer label, and records are counted."
)


def known_headlines(sections: Sequence[SectionFigures]) -> list[Headline]:
    """All that have an interval, in the order of the report."""
    return [one for section in sections for one in section.headlines if not math.isnan(one.value.low)]


def headline_table(sections: Sequence[SectionFigures]) -> Table:
    """A row a headline."""
    rows = [
        (one.name, one.value, *(one.beside or ("", None)), one.value.patients, one.value.number)
        for one in known_headlines(sections)
    ]
    columns = ("figure", "this model", "held against", "its figure", "patients", "questions")
    return Table("In figures", columns, rows, _NOTE if rows else "")
