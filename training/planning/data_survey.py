"""The data on which a recipe would train, found without reading all of them: for `ecgllm train --dry-run`.

In: a recipe. Out: a `DataSurvey`: records by split, a sample of records that questions are built from, questions by
stage, split and type. Decided here: what tables state is counted; what needs signals is scaled up from a sample of
records, which the output says; missing data give a remark, not an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from datasets import Dataset

from ...corpora import prepare_with_report, split_of
from ...corpora.records.dataset_folders import is_saved, saved_rows
from ...corpora.records.entry import Entry, Found
from ...corpora.records.prepare import corpus_of, find_entries
from ...errors_ecgllm import ECGError
from ..classify_stage import labels_of
from ..data.corpus import resplit, split_by
from ..data.questions import balanced_questions, open_questions, stage_questions
from ..recipe import Recipe
from ..stage_training import select_split

SPLITS = ("train", "validation", "test")
SAMPLE = 240


@dataclass
class DataSurvey:
    """records: by split; None where the data are not there, which `missing` then explains.

    sample: some of the records, for questions and batches. whole: whether it is all records. exact: whether the splits
    were counted. questions: stage -> split -> type -> number. sampled: training examples of a stage among the
    sample's. labels: of the stage classify. notes: what could not be counted, and why.
    """

    records: Counter[str] | None = None
    missing: str = ""
    sample: Dataset | None = None
    whole: bool = False
    exact: bool = True
    questions: dict[str, dict[str, Counter[str]]] = field(default_factory=dict)
    sampled: dict[str, int] = field(default_factory=dict)
    labels: int | None = None
    notes: list[str] = field(default_factory=list)

    def lines(self, corpus: str) -> list[str]:
        """As it is printed."""
        if self.records is None:
            return [f"  {corpus}: not there: {self.missing}", "  what depends on the number of records is left open"]
        about, total = "" if self.whole else "about ", sum(self.records.values())
        shares = "" if self.exact else "about "
        splits = shares + ", ".join(f"{self.records[name]:,} {name}" for name in SPLITS)
        lines = [f"  {corpus}: {total:,} ECGs ({splits})"]
        if not self.whole and self.sample is not None:
            lines.append(f"  questions are scaled up from those of {len(self.sample)} of these records")
        for stage, splits in self.questions.items():
            for split, types in splits.items():
                kinds = ", ".join(f"{name} {count:,}" for name, count in sorted(types.items()))
                lines.append(f"  {stage}, {split}: {about}{types.total():,} questions ({kinds or 'none'})")
        return [*lines, *(f"  {note}" for note in self.notes)]

    def examples(self, stage: str) -> int | None:
        """Training examples of a stage; None where they could not be counted."""
        if self.records is None:
            return None
        if stage not in ("pretrain", "classify"):
            found = self.questions.get(stage, {}).get("train")
            return None if found is None else found.total()
        own = self.sample["split"][:].count("train")
        return round(self.records["train"] * self.sampled[stage] / own) if own else 0


def survey_data(recipe: Recipe) -> DataSurvey:
    """Count what there is; reads the signals of at most `SAMPLE` records."""
    survey = DataSurvey()
    try:
        _find_records(recipe, survey)
    except (OSError, ValueError) as error:
        survey.records, survey.missing = None, str(error)
        return survey
    for name in recipe.stages:
        if name == "pretrain":
            rows = zip(survey.sample["split"], survey.sample["report"], strict=True)
            survey.sampled[name] = sum(1 for split, report in rows if split == "train" and report)
        elif name == "classify":
            _count_labelled(recipe, survey)
        else:
            _count_questions(recipe, name, survey)
    return survey


def _find_records(recipe: Recipe, survey: DataSurvey) -> None:
    prepared = [Path(recipe.output) / "corpus", *([Path(recipe.data)] if recipe.data else [])]
    for folder in prepared:
        if is_saved(folder):
            corpus = saved_rows(folder)
            if recipe.limit is not None:
                corpus = corpus.select(range(min(recipe.limit, len(corpus))))
            corpus = resplit(corpus, recipe)
            survey.records, survey.sample, survey.whole = Counter(corpus["split"][:]), corpus, True
            return
    if recipe.corpus == "simulation":
        wanted = 1000 if recipe.limit is None else recipe.limit
        survey.sample, _ = prepare_with_report(
            "simulation", seed=recipe.seed, limit=min(wanted, SAMPLE), reader_spread=recipe.reader_spread
        )
        survey.sample = resplit(survey.sample, recipe)
        survey.whole = survey.exact = wanted <= SAMPLE
        found = Counter(survey.sample["split"][:])
        survey.records = Counter({split: round(n * wanted / found.total()) for split, n in found.items()})
        return
    if recipe.data is None:
        raise ECGError("the recipe names no folder; pass data=FOLDER")
    survey.records, kept = _count_entries(recipe)
    survey.whole = survey.records.total() <= SAMPLE
    survey.sample, report = corpus_of(recipe.corpus, Found(kept, len(kept)), seed=recipe.seed)
    survey.sample = resplit(survey.sample, recipe)
    if report.unreadable:
        survey.notes.append(f"{len(report.unreadable)} of the {len(kept)} records that were read are unreadable")


def _count_entries(recipe: Recipe) -> tuple[Counter[str], list[Entry]]:
    """Records by split, from the corpus' tables, and some of them evenly over the whole."""

    def entries() -> Iterator[Entry]:
        yield from islice(find_entries(recipe.corpus, recipe.data).entries, recipe.limit)

    records = Counter(_split(recipe, entry) for entry in entries())
    total = records.total()
    rows = set(range(total)) if total <= SAMPLE else {round(i * total / SAMPLE) for i in range(SAMPLE)}
    return records, [entry for row, entry in enumerate(entries()) if row in rows]


def _split(recipe: Recipe, entry: Entry) -> str:
    if recipe.split:
        return split_by(recipe, entry.patient_id)
    return entry.split or split_of(entry.patient_id, recipe.seed)


def _count_labelled(recipe: Recipe, survey: DataSurvey) -> None:
    try:
        labelled, names = labels_of(survey.sample, recipe.stages["classify"].labels)
    except ValueError as error:
        survey.notes.append(f"classify: labels not counted: {error}")
        survey.sampled["classify"] = 0
        return
    survey.sampled["classify"], survey.labels = labelled["split"][:].count("train"), len(names)
    about = "" if survey.whole else f" of {len(survey.sample)} records that were read"
    survey.notes.append(f"classify: {len(names)} labels; {len(labelled)} records have some{about}")


def _count_questions(recipe: Recipe, stage: str, survey: DataSurvey) -> None:
    found: dict[str, Counter[str]] = {}
    path = recipe.stages[stage].questions.get("path")
    for split in ("train", "validation"):
        try:
            if path is not None:
                # All records: the sample is not excluded.
                given = open_questions(path)
                rows = zip(given["split"], given["type"], strict=True)
                found[split] = Counter(kind for own, kind in rows if own == split)
                continue
            records = select_split(survey.sample, split)
            questions = stage_questions(recipe, stage, records, split)
            if recipe.stages[stage].is_balanced and len(questions):
                questions, _ = balanced_questions(recipe, stage, questions, records)
        except (OSError, ValueError) as error:
            survey.notes.append(f"{stage}, {split}: questions not counted: {error}")
            continue
        if split == "train":
            survey.sampled[stage] = len(questions)
        scale = survey.records[split] / len(records) if len(records) and not survey.whole else 1.0
        found[split] = Counter({kind: round(n * scale) for kind, n in Counter(questions["type"][:]).items()})
    survey.questions[stage] = found
