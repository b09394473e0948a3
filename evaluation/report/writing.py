"""The files of a report, written."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from ...atomic_writing import write_text
from ..figures import SectionFigures
from .about import MARKDOWN, METRICS, PAGE, About, Example
from .markdown import markdown
from .metrics import metrics
from .page import page


def check_drawing() -> None:
    """Raises: MissingExtraError where charts cannot be drawn; for asking before hours are spent."""
    import_module(".charts", __package__)


def write_report(
    folder: str | os.PathLike[str],
    sections: Sequence[SectionFigures],
    about: About,
    examples: Sequence[Example] = (),
    explained: Sequence[Example] = (),
) -> None:
    """Write `metrics.json`, `report.md` and `index.html` into a folder; files of these names are replaced.

    The same arguments give the same bytes. Examples, and answers with what they rest on, are drawn in
    `index.html` alone.
    Raises: MissingExtraError without matplotlib; ECGError for a chart or table that cannot be shown, TypeError for
    values that JSON cannot hold: before any file is written.
    """
    sections = list(sections)
    texts = {
        METRICS: json.dumps(metrics(sections, about), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
        + "\n",
        MARKDOWN: markdown(sections, about),
        PAGE: page(sections, about, list(examples), list(explained)),
    }
    for name, text in texts.items():
        write_text(Path(folder) / name, text)
