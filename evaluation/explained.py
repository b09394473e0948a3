"""On which leads and stretches answers of yes rest, of ECGs drawn at random: pictures and figures for a report.

In: a checkpoint's model, its answers to the section `findings`, material. Out: `SectionFigures`, and an `Example` with
its explanation for each. Decided here: ECGs are drawn at random, not chosen for good pictures, and findings in turn,
so that a common one does not stand there alone; whether the label is yes, too, stands beside; the model is asked as in
the section, its words and what is measured included.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from .. import intervals
from ..errors_ecgllm import ECGError, MissingExtraError
from ..explanations import Explanation, explain
from .figures import SectionFigures, Table
from .figures_in_words import percent
from .material import Material
from .models.checkpoint import CheckpointModel
from .predictions import YES_NO
from .protocol import Model, ShownECG
from .report import Example
from .tallies import MODEL

NAME, TITLE, FROM = "explained", "On what answers of yes rest", "findings"
_NAMED = 4  # stretches in words
_COLUMNS = (
    "finding",
    "in the label",
    "log-odds",
    "fall without the marked tenth",
    "without a random tenth",
    "without the tenth at the ends",
    "borne out by deletion",
)


def check_explained(model: Model, sections: Sequence[str] | None) -> None:
    """Raises: ECGError for a model whose answers cannot be explained, and where the section is not asked that is
    explained; MissingExtraError without captum."""
    if not isinstance(model, CheckpointModel):
        raise ECGError(
            f"--explain takes an ECG language model of ecgllm apart, and {model.name} is none; leave it out."
        )
    if sections is not None and FROM not in sections:
        raise ECGError(f"--explain is about answers of the section {FROM}; add it to --sections, or leave it out.")
    try:
        import captum  # noqa: F401  # before hours are spent
    except ImportError as error:
        raise MissingExtraError("--explain needs captum; install it with pip install 'ecgllm[explain]'.") from error


def explained_answers(
    model: CheckpointModel, predictions: pd.DataFrame, material: Material, number: int
) -> tuple[SectionFigures, list[Example]]:
    """Explain up to `number` answers of yes: the figures of deletion, and the ECGs with what is marked."""
    answerer = SimpleNamespace(model=model.model, processor=model.processor)
    rows = _drawn(predictions, material, number)
    shown = tqdm(rows, desc="Explaining", unit="answer", disable=None)
    found = [_explained(answerer, row, material) for row in shown]
    return _figures(rows, found), [_example(row, one, material) for row, one in zip(rows, found, strict=True)]


def _drawn(predictions: pd.DataFrame, material: Material, number: int) -> list[Any]:
    """Rows of the model's yes, findings in turn, each ECG once."""
    own = predictions[(predictions["by"] == MODEL) & (predictions["section"] == FROM)]
    own = own[own["answers"].map(lambda said: said is not None and list(said) == ["yes"]) & own["refused"].isna()]
    order = material.rng(NAME).permutation(len(own))
    own = own.iloc[order].assign(record_id=own["record_ids"].str[0])
    own = own.assign(turn=own.groupby("attribute", sort=False).cumcount())
    own = own.sort_values("turn", kind="stable").drop_duplicates("record_id")
    return list(own.head(number).itertuples())


def _explained(answerer: Any, row: Any, material: Material) -> Explanation:
    record = material.ecgs[ShownECG(row.record_id)]
    return explain(answerer, record, row.question, "yes", YES_NO, seed=material.settings.seed)


def _figures(rows: Sequence[Any], found: Sequence[Explanation]) -> SectionFigures:
    if not found:
        return SectionFigures(
            NAME, TITLE, ["The model says yes to no finding of any ECG; there is nothing to explain."]
        )
    borne_out = [one.meaningless is None for one in found]
    share = intervals.share(borne_out, [tuple(row.patients) for row in rows])
    marked, random, ends = (
        np.array([getter(one) for one in found])
        for getter in (
            lambda one: one.marked_fall,
            lambda one: one.random_falls.mean(),
            lambda one: one.ends_fall,
        )
    )
    cells = [
        (
            row.attribute,
            "yes" if list(row.expected) == ["yes"] else "no",
            round(one.log_odds, 2),
            round(one.marked_fall, 2),
            round(float(one.random_falls.mean()), 2),
            round(one.ends_fall, 2),
            "yes" if right else "no",
        )
        for row, one, right in zip(rows, found, borne_out, strict=True)
    ]
    sentences = [
        f"Of {len(found)} answers of yes about ECGs drawn at random, deletion bears out what is marked in "
        f"{percent(share)}: the log-odds fall by {np.median(marked):.2f} without the marked tenth (median), by "
        f"{np.median(random):.2f} without a random tenth, and by {np.median(ends):.2f} without the tenth at the ends.",
        "What is marked is what the model looks at, which need not be what a cardiologist looks at.",
    ]
    values = {
        "answers": len(found),
        "borne_out": share,
        "fall": {"marked": marked.tolist(), "random": random.tolist(), "ends": ends.tolist()},
    }
    note = "A stretch of a lead is 0.2 s; it is replaced by the straight line between its ends."
    return SectionFigures(NAME, TITLE, sentences, [Table("Deletion", _COLUMNS, cells, note)], [], values)


def _example(row: Any, found: Explanation, material: Material) -> Example:
    record = replace(material.ecgs[ShownECG(row.record_id)], source=material.about[row.record_id]["source"])
    shown = sorted(found.shown(), key=lambda one: -one[-1])[:_NAMED]
    marked = "; ".join(f"{lead or 'all leads'} {start:.1f} to {end:.1f} s" for lead, start, end, _ in shown)
    return Example(
        title=row.attribute,
        question=row.question,
        answer=f"yes (probability {percent(row.p_yes)})",
        label=", ".join(row.expected),
        measured="",
        record=record,
        explanation=found,
        rests_on=found.meaningless or marked,
    )


__all__ = ["check_explained", "explained_answers"]
