"""Data sets in folders, as the commands open and write them: a corpus, questions, and reports beside them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..atomic_writing import unfinished
from ..errors_ecgllm import ECGError

if TYPE_CHECKING:
    from datasets import Dataset

REPORT = "report.txt"  # beside the data set that it is about


def load_corpus(folder: Path) -> Dataset:
    """The records of a folder. Raises: FileNotFoundError or ECGError for one that holds no corpus."""
    return _load(folder, "id", f"{folder} is no corpus", "prepare")


def load_corpora(given: Sequence[str], limit: int | None = None) -> Dataset:
    """One corpus of several: each a folder, or SOURCE=FOLDER of a public corpus as it was unpacked.

    Args: limit: take so many records of each.
    Raises: ECGError for two of one name, and as `load_corpus`.
    """
    from ..corpora.records.joining import joined

    loaded = {_name_of(each): _corpus_at(each) for each in given}
    if len(loaded) < len(given):
        raise ECGError(f"two of {', '.join(given)} have one name; expected folders of different names")
    return joined(loaded, limit)


def _name_of(given: str) -> str:
    source, found, _ = given.partition("=")
    return source if found else Path(given).resolve().name


def _corpus_at(given: str) -> Dataset:
    """A folder that holds a corpus, or SOURCE=FOLDER."""
    from ..corpora.records.prepare import CORPORA, prepare_with_report

    source, found, folder = given.partition("=")
    if not found:
        path = Path(given)
        if path.is_dir() and not (path / "dataset_info.json").exists() and not list(path.glob("*.parquet")):
            raise ECGError(
                f"{given} is no corpus of `ecgllm prepare`; of a public corpus as it was unpacked say whose it is, "
                f"SOURCE={given}, with one of {', '.join(name for name in CORPORA if name != 'simulation')}."
            )
        return load_corpus(path)
    if source not in CORPORA:
        raise ECGError(f"{source!r} is no corpus; known are {', '.join(CORPORA)}")
    if source == "simulation" and not folder.isdecimal():
        raise ECGError(f"{given} names no number of simulated ECGs; expected one, such as simulation=100")
    options: dict[str, Any] = {"limit": int(folder)} if source == "simulation" else {"src": folder}
    corpus, report = prepare_with_report(source, **options)
    typer.echo(str(report).splitlines()[-1], err=True)
    return corpus


def load_questions(folder: Path) -> Dataset:
    """The questions of a folder. Raises: FileNotFoundError or ECGError for one that holds none."""
    return _load(folder, "question", f"{folder} holds no questions", "questions")


def _load(folder: Path, column: str, refused: str, command: str) -> Dataset:
    from datasets import Dataset

    from ..corpora.records.dataset_folders import is_saved, saved_rows

    if not is_saved(folder):
        raise FileNotFoundError(
            f"{refused}: {unfinished(folder) or f'no data set in it. `ecgllm {command}` writes one'}"
        )
    found = saved_rows(folder)
    if not isinstance(found, Dataset) or column not in found.column_names:
        raise ECGError(f"{refused}; expected what `ecgllm {command}` writes")
    return found


def save(
    dataset: Dataset,
    folder: Path,
    output: Path,
    noun: str,
    report: Any = None,
    all_statements: bool = False,
    parquet: bool = False,
) -> None:
    """Write a data set to `folder`, which becomes `output`, and its report (with a method `text`) whole beside it, of
    which the screen shows less. all_statements: the screen alone shows statements that are no finding, too."""
    from ..corpora.records.dataset_folders import save_rows

    save_rows(dataset, folder, "parquet" if parquet else "arrow")
    if report is not None:
        (folder / REPORT).write_text(report.text() + "\n", encoding="utf-8")
        more = {"statements": True} if all_statements else {}
        typer.echo(report.text(most=10, all_in=output / REPORT, **more), err=True)
    typer.echo(f"{len(dataset)} {noun} in {output}")
