"""Data sets in folders, as the commands open and write them: a corpus, questions, and reports beside them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..errors_ecgllm import ECGError
from ..writing import unfinished

if TYPE_CHECKING:
    from datasets import Dataset

REPORT = "report.txt"  # beside the data set that it is about


def load_corpus(folder: Path) -> Dataset:
    """The records of a folder. Raises: FileNotFoundError or ECGError for one that holds no corpus."""
    from datasets import Dataset

    from ..corpora.records.rows import saved_rows

    if not (folder / "dataset_info.json").is_file():
        why = unfinished(folder) or "no dataset_info.json in it. `ecgllm prepare` writes one"
        raise FileNotFoundError(f"{folder} is no corpus: {why}")
    corpus = saved_rows(folder)
    if not isinstance(corpus, Dataset):
        raise ECGError(f"{folder} holds a {type(corpus).__name__}; expected what `ecgllm prepare` writes")
    return corpus


def load_questions(folder: Path) -> Dataset:
    """The questions of a folder. Raises: FileNotFoundError or ECGError for one that holds none."""
    from datasets import Dataset

    from ..corpora.records.rows import saved_rows

    if not (folder / "dataset_info.json").is_file():
        why = unfinished(folder) or "no dataset_info.json in it. `ecgllm questions` writes it"
        raise FileNotFoundError(f"{folder} holds no questions: {why}")
    questions = saved_rows(folder)
    if not isinstance(questions, Dataset) or "question" not in questions.column_names:
        raise ECGError(f"{folder} holds no questions; expected what `ecgllm questions` writes")
    return questions


def save(
    dataset: Dataset, folder: Path, output: Path, noun: str, report: Any = None, all_statements: bool = False
) -> None:
    """Write a data set to `folder`, which becomes `output`, and its report (with a method `text`) whole beside it, of
    which the screen shows less. all_statements: the screen alone shows statements that are no finding, too."""
    dataset.save_to_disk(str(folder))
    if report is not None:
        (folder / REPORT).write_text(report.text() + "\n", encoding="utf-8")
        more = {"statements": True} if all_statements else {}
        typer.echo(report.text(most=10, all_in=output / REPORT, **more), err=True)
    typer.echo(f"{len(dataset)} {noun} in {output}")
