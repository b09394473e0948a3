"""The corpus of a run: published, prepared or simulated, in the splits that the recipe asks for.

In: a recipe. Out: the corpus, and a report on what was left out. Decided here: a recipe may split the patients anew
(`split`, `hold_out`); a patient is always in one split.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from datasets import Dataset

from ...corpora import prepare_with_report, split_of
from ...corpora.debiasing.cross_fitting import folds_of
from ...corpora.records.arrow_datasets import with_column
from ...corpora.records.dataset_folders import is_saved, saved_rows
from ...corpora.records.duplicates import check_duplicates, duplicate_rows, with_one_split_each
from ...corpora.records.prepared_findings import check_prepared_findings
from ...corpora.records.silence import sources_of
from ..recipe import Recipe, RecipeError


def load_corpus(recipe: Recipe) -> tuple[Dataset, str]:
    """(corpus, report). Raises: RecipeError where the data are missing, and the errors of corpora."""
    if is_saved(recipe.data):
        corpus = saved_rows(recipe.data)
        check_prepared_findings(corpus)
        joined = len(set(sources_of(corpus))) > 1
        if recipe.limit is not None:
            corpus = corpus.select(range(min(recipe.limit, len(corpus))))
        # Not its description: those of earlier versions quote statements.
        report = f"{recipe.corpus}: {len(corpus)} records of {recipe.data}; what was left out its own report says"
        corpus = resplit(corpus, recipe)
        if joined:  # one recording may stand in two sources, under two names
            alike = check_duplicates(corpus)
            report += f"\n{len(alike)} recordings stand in it more than once, each within one split" if alike else ""
        return corpus, report
    if recipe.data is None and recipe.corpus != "simulation":
        raise RecipeError(f"The recipe's data is missing: pass data=FOLDER, where the corpus {recipe.corpus} lies.")
    options = {"reader_spread": recipe.reader_spread} if recipe.corpus == "simulation" else {}
    corpus, report = prepare_with_report(recipe.corpus, recipe.data, seed=recipe.seed, limit=recipe.limit, **options)
    return resplit(corpus, recipe), str(report)


def resplit(corpus: Dataset, recipe: Recipe) -> Dataset:
    """The corpus in the recipe's own split, where it has one.

    Raises: RecipeError for a source to hold out that the corpus lacks, where a patient stands in it and in others, and
        where nothing is held out, or all.
    """
    if recipe.hold_out is not None:
        splits = _held_out(corpus, recipe)
    elif recipe.split:
        splits = [split_by(recipe, patient) for patient in corpus["patient_id"]]
    else:
        return corpus
    # One recording under two names, of two patients or sources, is learned from or held out as one.
    return with_one_split_each(with_column(corpus, "split", splits), duplicate_rows(corpus))


def _held_out(corpus: Dataset, recipe: Recipe) -> list[str]:
    """The split of each record: what is held out is the test split, a share of the other patients validation."""
    held, patients = recipe.hold_out, corpus["patient_id"][:]
    out = folds_of(patients, held.of) == held.fold if held.sources is None else _of_sources(corpus, held.sources)
    if out.all() or not out.any():
        raise RecipeError(f"hold_out {held.stated()} is {out.sum()} of {len(out)} records; expected some of them.")
    share = recipe.split.get("validation", 0.0)
    return [
        "test" if own else split_of(patient, recipe.seed, share, 0.0)
        for own, patient in zip(out, patients, strict=True)
    ]


def _of_sources(corpus: Dataset, wanted: Sequence[str]) -> np.ndarray:
    sources, patients = np.array(sources_of(corpus), dtype=object), np.array(corpus["patient_id"][:], dtype=object)
    there = sorted({str(one) for one in sources})
    if unknown := sorted(set(wanted).difference(there)):
        raise RecipeError(f"hold_out.sources names {', '.join(unknown)}; the corpus holds {', '.join(there)}.")
    out = np.isin(sources, list(wanted))
    if both := set(patients[out]) & set(patients[~out]):
        raise RecipeError(
            f"{len(both)} patients stand in {', '.join(wanted)} and in other sources, such as {min(both)}; hold both "
            "sources out, or neither."
        )
    return out


def split_by(recipe: Recipe, patient_id: str) -> str:
    """The split of a patient by the recipe's shares."""
    return split_of(patient_id, recipe.seed, recipe.split.get("validation", 0.1), recipe.split.get("test", 0.1))
