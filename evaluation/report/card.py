"""A report in a model card: its section in the text, and its headline figures in the metadata, which the Hub shows.

In: a checkpoint's folder, `report.md`, and results. Out: the folder's README.md. Decided here: an evaluation that the
card has already is replaced, in text and metadata; all else in the card stays.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCard

from ...atomic_writing import write_text
from ...errors_ecgllm import ECGError
from ...intervals import Estimate
from ..figures import SectionFigures
from .about import About
from .markdown import BEGIN, END
from .writing_figures import is_score, shown_estimate

TASK_NAME = "Questions about ECGs, by ecgllm evaluate"
"""Of all results of this command: by it they are found again."""
_BEFORE = re.compile(r"^## On real records that it never saw\n.*?(?=^## |\Z)", re.M | re.S)  # of cards without marks
_MARKED = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}\n?", re.S)
_LIMITS = re.compile(r"^## Limits$", re.M)
_TYPES = (
    ("auroc", "roc_auc"),
    ("average precision", "average_precision"),
    ("exact", "exact_match"),
    ("brier", "brier_score"),
)


def model_index(sections: list[SectionFigures], about: About) -> list[EvalResult]:
    """The figures that sections call their headline (`values["headline"]`: name -> Estimate), for a card's metadata.

    What cannot be computed is left out. `dataset_revision` is the hash of the records.
    """
    names = [one.name for one in about.data]
    found = []
    for section in sections:
        for name, estimate in section.values.get("headline", {}).items():
            if not isinstance(estimate, Estimate):
                raise TypeError(f"headline {name!r} of {section.name} is a {type(estimate).__name__}, no Estimate")
            if math.isnan(estimate.value):
                continue
            interval = shown_estimate(estimate, is_score(name)).interval
            found.append(
                EvalResult(
                    task_type="question-answering",
                    task_name=TASK_NAME,
                    dataset_type="+".join(names) or "unknown",
                    dataset_name=f"{', '.join(names) or 'unknown'}: {sum(one.records for one in about.data)} records",
                    dataset_revision="-".join(one.hash[:12] for one in about.data) or None,
                    metric_type=next((kind for word, kind in _TYPES if word in name.lower()), "accuracy"),
                    metric_name=f"{name} ({estimate.level:.0%} interval {interval})",
                    metric_value=round(float(estimate.value), 4),
                )
            )
    return found


def write_card_section(
    checkpoint: str | os.PathLike[str], report: str | os.PathLike[str], results: list[EvalResult]
) -> Path:
    """Put `report.md` (report: its path) and results into the README.md of a checkpoint's folder.

    The section takes the place of the one that is there, else it stands before "## Limits", else at the end. Of the
    metadata's results those of earlier evaluations go, others stay.

    Returns: the path of the card. Raises: FileNotFoundError where there is no card; ECGError for a report without its
    marks, and for metadata that cannot be read.
    """
    path = Path(checkpoint) / "README.md"
    section = Path(report).read_text(encoding="utf-8")
    if not _MARKED.fullmatch(section):
        raise ECGError(f"{report} is not what an evaluation wrote: it does not stand between {BEGIN} and {END}.")
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; name the folder of a checkpoint that has a card")
    try:
        card = ModelCard.load(path)
    except ValueError as error:
        raise ECGError(
            f"{path}: its metadata cannot be read ({error}); mend the lines between --- and ---."
        ) from error
    card.text = _with_section(card.text, section)
    kept = [result for result in card.data.eval_results or [] if result.task_name != TASK_NAME]
    card.data.eval_results = [*kept, *results] or None
    card.data.model_name = card.data.model_name or _title(card.text) or Path(checkpoint).resolve().name
    if card.data.eval_results is None:
        card.data.model_name = None
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
