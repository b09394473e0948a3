"""The questions of a stage: built as the recipe says, or taken from a folder, and de-biased.

In: a recipe, a stage, the records of a split. Out: questions. Decided here: training asks in the training paraphrases
and validation in the test paraphrases; the stage debias asks yes/no questions where the recipe says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from datasets import Dataset, concatenate_datasets

from ...corpora import QUESTION_FEATURES, DebiasReport, build_questions, debias_with_report, resampled
from ...corpora.records.dataset_folders import saved_rows
from ...corpora.records.silence import sources_of
from ..recipe import Recipe, RecipeError

_PARAPHRASES = {"train": "train", "validation": "test", "test": "test"}


def stage_questions(recipe: Recipe, stage: str, records: Dataset, split: str) -> Dataset:
    """Questions about the usable records of a split, not yet balanced. Raises: RecipeError for a wrong folder."""
    settings = dict(recipe.stages[stage].questions)
    if "path" in settings:
        questions = _given_questions(Path(settings["path"]), split, set(records["id"]))
        return resampled(questions, recipe.seed) if "weight" in questions.column_names else questions
    if stage == "debias" and settings.get("types") is None and not isinstance(settings.get("per_record"), Mapping):
        settings["types"] = ["verify"]
    return build_questions(records, paraphrases=_PARAPHRASES[split], seed=recipe.seed, **settings)


def balanced_questions(
    recipe: Recipe, stage: str, questions: Dataset, records: Dataset
) -> tuple[Dataset, DebiasReport]:
    """The de-biased set of a stage's questions. Raises: ValueError when no yes/no question is left.

    In `debias` there are no other questions. Another stage keeps those that are not answered by yes or no: a model
    must be asked to choose and name findings to learn it.
    """
    match_on = recipe.stages[stage].match_on
    known = records if match_on or len(set(sources_of(records))) > 1 else None
    balanced, report = debias_with_report(questions, recipe.seed, known, match_on)
    if stage == "debias" or not report.not_verify:
        return balanced, report
    others = [row for row, answers in enumerate(questions["answers"]) if answers not in (["yes"], ["no"])]
    report.kept_besides = len(others)
    return concatenate_datasets([balanced, questions.select(others)]).shuffle(recipe.seed), report


def open_questions(folder: str | Path) -> Dataset:
    """All questions that `ecgllm questions` or `ecgllm prepare ecg-qa` wrote. Raises: RecipeError for others."""
    try:
        questions = saved_rows(folder)
    except FileNotFoundError as error:
        raise RecipeError(
            f"questions.path is {folder}, which holds no data set; expected what `ecgllm questions` wrote."
        ) from error
    except ValueError as error:
        raise RecipeError(f"questions.path is {folder}: {error}.") from error
    missing = [name for name in QUESTION_FEATURES if name not in getattr(questions, "column_names", ())]
    if missing:
        raise RecipeError(f"The questions of {folder} lack {', '.join(missing)}; write them by `ecgllm questions`.")
    return questions


def _given_questions(folder: Path, split: str, usable: set[str]) -> Dataset:
    """The questions of a split of a folder, about usable records only."""
    questions = open_questions(folder)
    rows = zip(questions["split"], questions["ecg_ids"], strict=True)
    kept = [row for row, (own, ids) in enumerate(rows) if own == split and usable.issuperset(ids)]
    left_out = questions["split"][:].count(split) - len(kept)
    if left_out:
        print(f"{left_out} {split} questions of {folder} are about records that the corpus lacks; left out")
    return questions.select(kept)
