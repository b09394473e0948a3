"""Questions that somebody else wrote, as a question set.

In: a file of JSON lines or Parquet, or its rows. Out: `QUESTION_FEATURES`. Decided here: a row needs `ecg_ids`,
`question` and `answers`; of what else a question set has, what it lacks is filled in. Answers are sets, compared
without case, and so written in lower case, sorted, each once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset

from ...answer_matching import answer_set
from ...errors_ecgllm import ECGError, shorten
from .sampling import QUESTION_FEATURES, question_id

NEEDED = ("ecg_ids", "question", "answers")
TEMPLATE = "own"


def read_questions(file: str | os.PathLike[str]) -> Dataset:
    """The questions of a file: JSON lines, or Parquet where its name says so.

    Raises: ECGError for a file that cannot be read, and as `question_set`.
    """
    path = Path(file)
    if path.suffix == ".parquet":
        try:
            return question_set(pq.read_table(path).to_pylist(), str(path))
        except pa.ArrowException as error:
            raise ECGError(f"{path} cannot be read as Parquet: {error}") from error
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except ValueError as error:
                raise ECGError(
                    f"{path}, line {number}: found {shorten(line)!r} ({error}); expected JSON lines, or a name that "
                    "ends in .parquet"
                ) from error
    return question_set(rows, str(path))


def question_set(rows: Iterable[Mapping[str, Any]], where: str) -> Dataset:
    """Rows as a question set.

    Args: rows: with ecg_ids (a text, or a list of one or two), question, and answers (a text or a list; none: []), and
        any other of `QUESTION_FEATURES`. A type that is missing is "verify" of yes and no, "query" of all else, after
        "comparison-" where there are two ECGs; a missing template is "own", and a missing attribute the question's
        words. where: how errors call the rows.
    Raises: ECGError for a row that is no question, and where there is none.
    """
    found = [_whole(row, f"{where}, question {number}") for number, row in enumerate(rows, start=1)]
    if not found:
        raise ECGError(f"{where} holds no question")
    return Dataset.from_dict({name: [row[name] for row in found] for name in QUESTION_FEATURES}, QUESTION_FEATURES)


def _whole(row: Any, where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping) or any(name not in row for name in NEEDED):
        raise ECGError(f"{where}: found {shorten(repr(row))}; expected {', '.join(NEEDED)}")
    words = row["question"]
    if not isinstance(words, str) or not words.strip():
        raise ECGError(f"{where}: question is {shorten(repr(words))}; expected its words")
    ecgs, answers = (_texts(row[name], f"{where}: {name}") for name in ("ecg_ids", "answers"))
    if len(ecgs) not in (1, 2):
        raise ECGError(f"{where}: it is about {len(ecgs)} ECGs; expected one or two")
    answers = sorted(answer_set(answers)) or ["none"]
    kind = ("comparison-" if len(ecgs) == 2 else "") + ("verify" if answers in (["yes"], ["no"]) else "query")
    filled = {"template": TEMPLATE, "attribute": words.lower(), "type": kind, "severity": [], "split": ""}
    filled |= {name: row[name] for name in QUESTION_FEATURES if row.get(name) is not None}
    filled |= {"ecg_ids": ecgs, "answers": answers}
    known_by = [str(filled[name]) for name in ("template", "attribute", "type", "question")]
    return {"question_id": question_id(*known_by, ecgs)} | filled


def _texts(value: Any, where: str) -> list[str]:
    listed = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(one, str | int) and not isinstance(one, bool) for one in listed):
        raise ECGError(f"{where} is {shorten(repr(value))}; expected texts")
    return [str(one) for one in listed]
