"""One evaluation: sections plan, a model is asked, sections say what its answers mean.

In: a model, a corpus and perhaps questions about it. Out: an `Evaluation`: the table of predictions and the figures of
each section, from which `report` writes files. Decided here: which sections there are and in which order a reader
meets them; figures come from the table of predictions alone, so that `figures_of` gives them again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pandas as pd

from ..errors_ecgllm import ECGError
from ..progress_bar import progress
from .asking import ask
from .baselines import baselines_for
from .figures import SectionFigures
from .material import KEPT_BACK, Material
from .predictions import PREDICTIONS
from .protocol import Model
from .sections import (
    against,
    calibrated,
    consistency,
    findings,
    groups,
    label_sets,
    language,
    questions,
    reliance,
    signal_faults,
    two_ecgs,
    unanswerable,
    yes_and_no,
)
from .tallies import MODEL, left_out, said

SECTIONS: tuple[ModuleType, ...] = (
    reliance,
    questions,
    yes_and_no,
    findings,
    calibrated,
    label_sets,
    language,
    consistency,
    unanswerable,
    two_ecgs,
    signal_faults,
    groups,
    against,
)
"""In the order of the report. Each has NAME, TITLE and figures, a plan if it asks something, and READ_SECTIONS if it
reads the answers of other sections."""
_WITH_BASELINES = ("questions", "findings")
IN_KEPT_BACK_WORDS = (language.NAME, unanswerable.NAME)
"""Sections that can ask in the words of `kept_back_words`."""


@dataclass(frozen=True)
class Evaluation:
    """predictions: with the columns of `PREDICTIONS`. sections: their figures, in order."""

    predictions: pd.DataFrame
    sections: list[SectionFigures]

    def with_rows(self, rows: pd.DataFrame, material: Material, sections: Sequence[str] | None) -> Evaluation:
        """With other rows of predictions, such as those of another model, and the figures anew."""
        table = pd.concat([self.predictions, rows[PREDICTIONS.names]], ignore_index=True)
        return Evaluation(table, figures_of(table, material, chosen_sections(sections)))

    def section(self, name: str) -> SectionFigures:
        return next(one for one in self.sections if one.name == name)


def evaluate(
    model: Model | Callable[[], Model],
    material: Material,
    folder: Path,
    sections: Sequence[str] | None = None,
    identity: str = "",
    processes: int = 1,
    baselines: bool = True,
) -> Evaluation:
    """Evaluate a model.

    Args: model: or what loads it (`models.model_of`). folder: where answers are kept while they are gathered; a run
        that was killed goes on from there. sections: names of `SECTIONS`; None: all. identity: what tells this model
        from others, such as a hash of its weights. baselines: whether to hold baselines beside it.
    """
    rows, chosen = planned_rows(material, sections), chosen_sections(sections)
    answered = ask(model, rows, material.ecgs, folder, f"{identity} {material_hash(material)}", processes)
    if baselines:
        answered = pd.concat([answered, *beside(answered, material)], ignore_index=True)
    return Evaluation(answered, figures_of(answered, material, chosen))


def planned_rows(material: Material, sections: Sequence[str] | None = None) -> pd.DataFrame:
    """What sections ask, with the columns of `PLANNED`. Raises: ECGError where that is nothing."""
    chosen = chosen_sections(sections)
    other = [section.NAME for section in chosen if section.NAME not in IN_KEPT_BACK_WORDS]
    if material.settings.words == KEPT_BACK and other:
        raise ECGError(
            f"{', '.join(other)} cannot be asked in words kept back; ask for the sections "
            f"{' and '.join(IN_KEPT_BACK_WORDS)} alone."
        )
    planned = [section.plan(material) for section in chosen if hasattr(section, "plan")]
    planned = [one for one in planned if len(one)]
    if not planned:
        raise ECGError("there is nothing to ask: no question has an answer that these records decide.")
    return pd.concat(planned, ignore_index=True)


def figures_of(
    predictions: pd.DataFrame, material: Material, sections: Sequence[ModuleType] = SECTIONS
) -> list[SectionFigures]:
    """What the sections say of predictions; a chart that has nothing to show, of a model that gave no such answers, is
    left out."""
    found = []
    with progress("Figures", len(sections)) as bar:
        for section in sections:
            read = getattr(section, "READ_SECTIONS", (section.NAME,))
            rows = predictions[predictions["section"].isin(read)]
            own = _unanswered(section, rows) or section.figures(rows, material)
            found.append(replace(own, charts=[chart for chart in own.charts if not chart.empty]))
            bar.update()
    return [one for one in found if one.sentences or one.tables]


def _unanswered(section: ModuleType, rows: pd.DataFrame) -> SectionFigures | None:
    """What is said of a section to which the model gave no answer at all, as a dual encoder asked about two ECGs."""
    model = rows[rows["by"] == MODEL]
    if model.empty or said(model).any() or section is against:
        return None
    reasons = model["refused"].value_counts()
    why = f": {reasons.index[0]}" if len(reasons) else ""
    sentence = f"The model answers none of the {len(model):,} questions of this part{why}."
    return SectionFigures(section.NAME, section.TITLE, [sentence], values=left_out(model))


def chosen_sections(names: Sequence[str] | None) -> list[ModuleType]:
    """Raises: ECGError for a name that no section has, and for a section that reads answers which nobody asks for."""
    known = {section.NAME: section for section in SECTIONS}
    if names is not None and not names:
        raise ECGError(f"no section is named; there are {', '.join(known)}.")
    if unknown := sorted(set(names or ()) - set(known)):
        raise ECGError(f"no section is called {', '.join(unknown)}; there are {', '.join(known)}.")
    chosen = {name: section for name, section in known.items() if names is None or name in names}
    for name, section in chosen.items():
        read = getattr(section, "READ_SECTIONS", ())
        if read and not set(read) & set(chosen):
            raise ECGError(f"the section {name} reads the answers of {' and '.join(read)}; name one of these, too.")
    return list(chosen.values())


def beside(answered: pd.DataFrame, material: Material) -> list[pd.DataFrame]:
    """The rows of `_WITH_BASELINES` as each baseline answers them; those of label sets, too, where it learned nothing
    of their records."""
    true = answered[answered["condition"] == "true"]
    tables = []
    baselines = list(baselines_for(material))
    with progress("Baselines", len(baselines)) as bar:
        for baseline in baselines:
            bar.update()
            zero_shot = (label_sets.NAME,) if baseline.ranks and not baseline.fitted else ()
            own = true[true["section"].isin((*_WITH_BASELINES, *zero_shot))]
            if own.empty:
                continue
            found = baseline.answers(own, material)
            table = own.assign(by=baseline.name, answer=None, probability=float("nan"), refused=None)
            # What sees no ECG gives all records of a question the same: an AUROC of .5 by construction, and not shown.
            table["answers"], table["p_yes"] = found["answers"], found["p_yes"] if baseline.ranks else float("nan")
            table["right"] = [
                None if got is None or wanted is None else list(got) == list(wanted)
                for got, wanted in zip(found["answers"], own["expected"], strict=True)
            ]
            tables.append(table[PREDICTIONS.names])
    return tables


def material_hash(material: Material) -> str:
    """16 hex digits that change with records, questions and settings."""
    digest = hashlib.sha256(json.dumps(material.settings.stated(), sort_keys=True).encode())
    for dataset in (material.corpus, material.questions):
        digest.update(str(dataset._fingerprint).encode())
    return digest.hexdigest()[:16]
