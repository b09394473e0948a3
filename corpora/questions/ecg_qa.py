"""ECG-QA as it is distributed: JSON shards in two wordings and three splits, for PTB-XL or MIMIC-IV-ECG.

In: its folder, a part of it or one shard. Out: questions with the columns of `QUESTION_FEATURES` and what is needed
to evaluate as published (`ECG_QA_FEATURES`), and a report. Decided here: what a shard must hold (`check_question`),
that ids agree with the corpora's (`ptbxl-<ecg_id>`, `mimic-iv-ecg-<study_id>`), and that the split is ECG-QA's own,
which is by patient but not by PTB-XL's folds. Licence: CC BY 4.0. Source: Oh et al., NeurIPS 2023, arXiv 2306.15681.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from datasets import Dataset, Features, Value

from ...answer_matching import answer_set
from ...errors_ecgllm import ECGError
from ..records.arrow_datasets import dataset_from_rows
from ..records.entry import missing_layout
from ..records.report_lines import counted, listed
from ..records.text_files import python_literal, read_json, table_rows
from .build import QUESTION_FEATURES

# Beside our own columns: the ids under which a question is published, so that results can be compared by sample and by
# template; question_group joins the paraphrases of one question; attribute_type splits the published tables.
ECG_QA_FEATURES = Features(
    {
        **QUESTION_FEATURES,
        "attribute_type": Value("string"),
        "template_id": Value("int32"),
        "question_group": Value("int32"),
        "sample_id": Value("int32"),
        "wording": Value("string"),
        "source": Value("string"),
    }
)
TYPES = {
    "single-verify": "verify",
    "single-choose": "choose",
    "single-query": "query",
    "comparison_consecutive-verify": "comparison-verify",
    "comparison_consecutive-query": "comparison-query",
    "comparison_irrelevant-verify": "comparison-irrelevant-verify",
    "comparison_irrelevant-query": "comparison-irrelevant-query",
}
WORDINGS = ("paraphrased", "template")
_SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
_VERSIONS = ("ptbxl", "mimic-iv-ecg")
_MIMIC_STUDIES = range(40_000_000, 50_000_000)  # study ids; those of PTB-XL's ECGs end at 21,837
_PTBXL_ECGS = range(1, 100_000)
_LISTED = 10


@dataclass
class EcgQaReport:
    """What was loaded. missing: records that questions name and the folder of records does not give -> why. unlisted:
    answers outside the published list. not_in_split: questions about an ECG that the split's TSV does not name."""

    shards: list[str] = field(default_factory=list)
    source: str = ""
    wording: str = ""
    questions: int = 0
    types: Counter[str] = field(default_factory=Counter)
    splits: Counter[str] = field(default_factory=Counter)
    records: int = 0
    missing: dict[str, str] = field(default_factory=dict)
    about_missing: int = 0
    kept_about_missing: bool = False
    unlisted: Counter[str] = field(default_factory=Counter, repr=False)
    not_in_split: int = 0

    def __str__(self) -> str:
        return self.text(_LISTED)

    def text(
        self, most: int | None = None, all_in: str | os.PathLike[str] | None = None, statements: bool = False
    ) -> str:
        """The report, the number of questions last; arguments as of `CorpusReport.text`."""
        lines = listed([f"missing: {record}: {reason}" for record, reason in self.missing.items()], most, all_in)
        lines += counted("answer outside the published list", self.unlisted, "times", statements)
        if self.missing:
            done = "kept" if self.kept_about_missing else "left out"
            lines.append(f"{len(self.missing)} records are missing; {self.about_missing} questions about them {done}")
        if self.not_in_split:
            lines.append(f"{self.not_in_split} questions are about ECGs that their split's TSV does not name")
        lines += [f"split {split}: {count} questions" for split, count in sorted(self.splits.items())]
        lines += [f"type {kind}: {count} questions" for kind, count in sorted(self.types.items())]
        asked = f"{self.questions} questions about {self.records} records, from {len(self.shards)} shards"
        lines.append(f"ECG-QA ({self.source}, {self.wording}): {asked}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Shard:
    """One file of questions. wording: of the folder it lies in, "unknown" for a file elsewhere."""

    path: Path
    split: str
    wording: str


def find_shards(src: str | os.PathLike[str], wording: str | None = None, split: str | None = None) -> list[Shard]:
    """The shards of a folder (the whole distribution, one version, one wording, one split) or of one file, sorted.

    Args:
        wording: "paraphrased" or "template"; None takes the paraphrased where both are there. Both wordings ask the
            same, so that they are never mixed.
        split: of shards in no folder called train, valid or test ("train", "validation" or "test").
    Raises: FileNotFoundError if there is no shard, ValueError for an unknown wording or split, for shards whose split
        is not known, or for a folder with both versions.
    """
    src = Path(src)
    if wording not in (None, *WORDINGS):
        raise ECGError(f"ECG-QA: wording={wording!r}; expected one of {', '.join(WORDINGS)}")
    if split is not None and split not in _SPLITS:
        raise ECGError(f"ECG-QA: split={split!r}; expected train, validation or test")
    expected = "<version>/{paraphrased,template}/{train,valid,test}/*.json, a part of that, or one such file"
    paths = [src] if src.is_file() else sorted(src.rglob("*.json")) if src.is_dir() else []
    if not paths:
        raise missing_layout(src, expected, "ECG-QA")
    shards = []
    for path in paths:
        places = [path.stem, *reversed(path.absolute().parts[:-1])]  # train.json, or the nearest folder
        own = next((_SPLITS[place] for place in places if place in _SPLITS), split and _SPLITS[split])
        words = next((place for place in places if place in WORDINGS), "unknown")
        if own is None and path == src:
            raise ECGError(
                f"ECG-QA: {path} lies in no folder called train, valid or test; say which split it is by split=... "
                "(--split)"
            )
        if own is not None:
            shards.append(Shard(path, own, words))
    present = {shard.wording for shard in shards}
    if wording is None:
        wording = next((name for name in (*WORDINGS, "unknown") if name in present), None)
    chosen = [shard for shard in shards if shard.wording in (wording, "unknown")]
    if not chosen:
        if shards:
            raise FileNotFoundError(f"ECG-QA: {src} has the wording {', '.join(sorted(present))}, and not {wording}")
        raise missing_layout(src, expected, "ECG-QA")
    versions = {next((place for place in reversed(shard.path.parts) if place in _VERSIONS), None) for shard in chosen}
    if versions >= set(_VERSIONS):
        raise ECGError(f"ECG-QA: {src} holds both versions; give {src / 'ptbxl'} or {src / 'mimic-iv-ecg'}")
    return chosen


def load_ecg_qa(
    src: str | os.PathLike[str],
    wording: str | None = None,
    split: str | None = None,
    severity: Mapping[str, int] | None = None,
    missing: Mapping[str, str] | None = None,
    keep_missing: bool = False,
    limit: int | None = None,
) -> tuple[Dataset, EcgQaReport]:
    """Questions of ECG-QA in our schema.

    Args:
        src, wording, split: see `find_shards`.
        severity: record id -> severity, of a corpus; a record that it lacks has the severity null, never 0, which
            would call it healthy.
        missing: record id -> why it cannot be had. Questions about such a record are left out, or kept with
            `keep_missing`; they are counted in the report either way.
        limit: read only the first so many questions.
    Returns: (rows with `ECG_QA_FEATURES`, report). question_id is `ecg-qa-<source>-<wording>-<split>-<sample_id>`;
        template `ecg-qa-<template_id>`; type after `TYPES`; attribute the attributes joined by " or " (null where the
        question names none, as in every comparison); answers in lower case and sorted, ["none"] for an empty list.
    Raises: as `find_shards`, and ValueError for a shard that is not as published: the message names file, question and
        key.
    """
    report = EcgQaReport(missing=dict(missing or {}), kept_about_missing=keep_missing)
    rows = _rows(find_shards(src, wording, split), report, severity or {}, keep_missing, limit)
    dataset = dataset_from_rows(rows, ECG_QA_FEATURES)
    dataset.info.description = str(report)
    return dataset, report


def record_splits(
    src: str | os.PathLike[str], wording: str | None = None, split: str | None = None, limit: int | None = None
) -> dict[str, str]:
    """Record id -> split, of every record that the (first `limit`) questions of `src` name.

    Raises: as `load_ecg_qa`, and ValueError if questions of two splits name the same record.
    """
    splits: dict[str, str] = {}
    for shard, question in islice(_questions(find_shards(src, wording, split)), limit):
        for number in question["ecg_id"]:
            record = _record_id(number)
            if splits.setdefault(record, shard.split) != shard.split:
                raise ECGError(
                    f"ECG-QA: {record} is in the {splits[record]} split, and in {shard.path} of the {shard.split} "
                    "split; a record must be in one"
                )
    return splits


def answer_options(src: str | os.PathLike[str]) -> dict[int, tuple[str, ...]]:
    """Template -> the published answers it can have, in lower case: `answers_for_each_template.csv` beside the shards.

    `src` is what `find_shards` takes. Returns {} where the table is not there.
    """
    path = _beside(find_shards(src)[0].path, "answers_for_each_template.csv")
    if path is None:
        return {}
    found = {}
    for line, row in table_rows(path, ("template_id", "classes"), "ECG-QA"):
        try:
            found[int(row["template_id"])] = tuple(sorted(answer_set(python_literal(row["classes"], list))))
        except (ValueError, AttributeError) as error:  # no number; an answer that is no text
            raise ECGError(f"ECG-QA: {path}, line {line}: {error}; download it again") from error
    return found


def _rows(
    shards: list[Shard], report: EcgQaReport, severity: Mapping[str, int], keep_missing: bool, limit: int | None
) -> Iterator[dict[str, Any]]:
    listed = {path: _answers(path) for shard in shards if (path := _beside(shard.path, "answers.csv"))}
    known_answers = set().union(*listed.values())
    ecgs_of = {shard.split: _split_ecgs(shard) for shard in shards}
    seen: dict[tuple[str, int], Path] = {}
    records = set()
    for shard, question in islice(_questions(shards), limit):
        ids = [_record_id(number) for number in question["ecg_id"]]
        source = ids[0].rpartition("-")[0]
        if source != (report.source or source):
            raise ECGError(f"ECG-QA: {shard.path} asks about {source}, shards before it about {report.source}")
        report.source = source
        report.wording = report.wording or shard.wording
        if str(shard.path) not in report.shards:
            report.shards.append(str(shard.path))
        key = (shard.split, question["sample_id"])
        if key in seen:
            raise ECGError(
                f"ECG-QA: sample_id {key[1]} of the {key[0]} split is in {seen[key]} and in {shard.path}; expected "
                "each once. Is a shard there twice?"
            )
        seen[key] = shard.path
        lost = [name for name in ids if name in report.missing]
        report.about_missing += bool(lost)
        if lost and not keep_missing:
            continue
        answers = answer_set(question["answer"])
        if known_answers:
            report.unlisted.update(answers - known_answers)
        ecgs = ecgs_of[shard.split]
        report.not_in_split += bool(ecgs) and not ecgs.issuperset(question["ecg_id"])
        kind = TYPES[question["question_type"]]
        report.questions += 1
        report.types[kind] += 1
        report.splits[shard.split] += 1
        records.update(ids)
        report.records = len(records)
        yield {
            "question_id": f"ecg-qa-{source}-{shard.wording}-{shard.split}-{question['sample_id']}",
            "template": f"ecg-qa-{question['template_id']}",
            "attribute": " or ".join(question["attribute"]) if question.get("attribute") else None,
            "type": kind,
            "question": question["question"].strip(),
            "ecg_ids": ids,
            "answers": sorted(answers),
            "severity": [severity.get(name) for name in ids],
            "split": shard.split,
            "attribute_type": question["attribute_type"],
            "template_id": question["template_id"],
            "question_group": question["question_id"],
            "sample_id": question["sample_id"],
            "wording": shard.wording,
            "source": source,
        }


def _questions(shards: list[Shard]) -> Iterator[tuple[Shard, dict[str, Any]]]:
    for shard in shards:
        questions = read_json(shard.path)
        if not isinstance(questions, list):
            raise ECGError(f"ECG-QA: {shard.path} holds a {type(questions).__name__}; expected a list of questions")
        for position, question in enumerate(questions):
            check_question(question, f"ECG-QA: {shard.path}, question {position}")
            yield shard, question


def check_question(question: Any, where: str) -> None:
    """Refuse a question that is not as published. Raises: ValueError that begins with `where` and names the key."""
    if not isinstance(question, dict):
        raise ECGError(f"{where}: is a {type(question).__name__}; expected an object")
    for key, (fits, expected) in _SCHEMA.items():
        if key not in question and key != "attribute":
            raise ECGError(f"{where}: lacks {key!r}; it has {', '.join(sorted(question))}")
        if not fits(question.get(key)):
            raise ECGError(f"{where}: {key} is {question.get(key)!r}; expected {expected}")
    wanted = 1 if question["question_type"].startswith("single") else 2
    if len(question["ecg_id"]) != wanted:
        raise ECGError(
            f"{where}: a question of type {question['question_type']} names {len(question['ecg_id'])} ECGs; expected "
            f"{wanted}"
        )
    for number in question["ecg_id"]:
        if number not in _PTBXL_ECGS and number not in _MIMIC_STUDIES:
            raise ECGError(f"{where}: ecg_id {number} is of neither PTB-XL (up to 21,837) nor MIMIC-IV-ECG (8 digits)")


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31  # as the columns hold


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_list_of(fits: Any, value: Any) -> bool:
    return isinstance(value, list) and all(fits(item) for item in value)


_SCHEMA: dict[str, tuple[Any, str]] = {
    "template_id": (_is_number, "a number"),
    "question_id": (_is_number, "a number"),
    "sample_id": (_is_number, "a number"),
    "question_type": (lambda value: value in TYPES, f"one of {', '.join(TYPES)}"),
    "attribute_type": (_is_text, "a text"),
    "question": (_is_text, "a text"),
    "answer": (lambda value: _is_list_of(_is_text, value), "a list of texts"),
    "ecg_id": (lambda value: _is_list_of(_is_number, value), "a list of numbers"),
    "attribute": (lambda value: value is None or _is_list_of(_is_text, value), "a list of texts, or null"),
}


def _record_id(number: int) -> str:
    return f"ptbxl-{number}" if number in _PTBXL_ECGS else f"mimic-iv-ecg-{number}"


def _beside(shard: Path, name: str) -> Path | None:
    """A table of the version a shard belongs to: it lies one to three folders above."""
    return next((folder / name for folder in list(shard.absolute().parents)[:4] if (folder / name).is_file()), None)


def _answers(path: Path) -> set[str]:
    return set(answer_set(row["class"] for _, row in table_rows(path, ("class",), "ECG-QA")))


def _split_ecgs(shard: Shard) -> frozenset[int]:
    path = _beside(shard.path, f"{'valid' if shard.split == 'validation' else shard.split}_ecgs.tsv")
    if path is None:
        return frozenset()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        return frozenset(int(line.split()[-1]) for line in lines if line.strip())
    except ValueError as error:
        raise ECGError(f"ECG-QA: {path} is no list of ECGs, a number at the end of each line: {error}") from error
