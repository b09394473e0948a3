"""An evaluation in a model card: its section in the text, its figures in the metadata, which the Hub shows, and the
whole report beside it.

In: a checkpoint's folder, sections and `About`. Out: the folder's README.md and evaluation.md. Decided here: an
evaluation that the card has already is replaced, in text, metadata and file; all else in the card stays.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from ...atomic_writing import write_text
from ...errors_ecgllm import ECGError
from ...saving_ecgllm import EVALUATION_FILE
from ..figures import SectionFigures
from ..figures_in_words import shown_estimate
from .about import About
from .headlines import known_headlines
from .markdown import BEGIN, END, card_section, markdown
from .writing_figures import is_score

TASK_NAME = "Questions about ECGs, by ecgllm evaluate"
"""Of all results of this command: by it they are found again."""
_BEFORE = re.compile(r"^## On real records that it never saw\n.*?(?=^## |\Z)", re.M | re.S)  # of cards without marks
_MARKED = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}\n?", re.S)
_LIMITS = re.compile(r"^## Limits$", re.M)


def model_index(sections: list[SectionFigures], about: About) -> list[EvalResult]:
    """The headlines that have a metric of the Hub's, for a card's metadata.

    What cannot be computed is left out. `dataset_revision` is the hash of the records.
    """
    names = [one.name for one in about.data]
    return [
        EvalResult(
            task_type="question-answering",
            task_name=TASK_NAME,
            dataset_type="+".join(names) or "unknown",
            dataset_name=f"{', '.join(names) or 'unknown'}: {sum(one.records for one in about.data)} records",
            dataset_revision="-".join(one.hash[:12] for one in about.data) or None,
            metric_type=one.metric,
            metric_name=f"{one.name} (95 % interval {shown_estimate(one.value, is_score(one.name)).interval})",
            metric_value=round(float(one.value.value), 4),
        )
        for one in known_headlines(sections)
        if one.metric
    ]


def write_card(checkpoint: str | os.PathLike[str], sections: list[SectionFigures], about: About) -> Path:
    """Put an evaluation into the README.md of a checkpoint's folder, and the whole report into its evaluation.md.

    The section takes the place of the one that is there, else it stands before "## Limits", else at the end. Of the
    metadata's results those of earlier evaluations go, others stay.

    Returns: the path of the card. Raises: FileNotFoundError where there is no card; ECGError for metadata that cannot
    be read.
    """
    path = Path(checkpoint) / "README.md"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the folder of a checkpoint that has a card")
    try:
        card = ModelCard.load(path)
    except ValueError as error:
        raise ECGError(
            f"{path}: its metadata cannot be read ({error}); mend the lines between --- and ---."
        ) from error
    card.text = _with_section(card.text, card_section(sections, about, EVALUATION_FILE))
    kept = [result for result in card.data.eval_results or [] if result.task_name != TASK_NAME]
    card.data.eval_results = [*kept, *model_index(sections, about)] or None
    card.data.model_name = card.data.model_name or _title(card.text) or Path(checkpoint).resolve().name
    if card.data.eval_results is None:
        card.data.model_name = None
    write_text(path.with_name(EVALUATION_FILE), markdown(sections, about))
    write_text(path, str(card))
    return path


def _with_section(text: str, section: str) -> str:
    for place in (_MARKED, _BEFORE):
        if found := place.search(text):
            rest = place.sub("", text[found.end() :])
            return _joined(text[: found.start()], section, rest)
    limits = _LIMITS.search(text)
    at = limits.start() if limits else len(text)
    return _joined(text[:at], section, text[at:])


def _joined(*parts: str) -> str:
    before, section, after = parts
    return "\n\n".join(part for part in (before.rstrip("\n"), section.strip("\n"), after.strip("\n")) if part) + "\n"


def _title(text: str) -> str | None:
    found = re.search(r"^# (.+)$", text, re.M)
    return found[1].strip() if found else None
