"""Rows, made one by one, to a `datasets.Dataset` on disk: a corpus or a question set need not fit in memory.

In: an iterator of rows and their features. Out: a data set that memory-maps a temporary Arrow file; the file lives
until the process ends, `save_to_disk` makes it last, and `saved_rows` reads that again.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from datasets import Dataset, DatasetDict, Features, load_from_disk
from datasets.arrow_writer import ArrowWriter

from ...errors_ecgllm import ECGError

_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of an Arrow IPC stream; without it rows may be missing


def dataset_from_rows(rows: Iterable[dict[str, Any]], features: Features, batch_size: int = 1000) -> Dataset:
    """Write rows as they come. batch_size: rows a record batch; a random access reads the whole batch's index.

    Returns: the data set; with no rows an empty one of the same columns.
    """
    folder = tempfile.mkdtemp(prefix="ecgllm-rows-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = os.path.join(folder, "rows.arrow")
    written = 0
    with ArrowWriter(features=features, path=path, writer_batch_size=batch_size) as writer:
        for row in rows:
            writer.write(features.encode_example(row))
            written += 1
        if written:
            writer.finalize()
    if not written:
        return Dataset.from_dict({name: [] for name in features}, features=features)
    dataset = Dataset.from_file(path)
    # By its content, not drawn at random: the same rows saved twice are the same bytes, state.json included.
    return Dataset(dataset.data, info=dataset.info, split=dataset.split, fingerprint=_digest(path))


def _digest(path: str) -> str:
    """16 hex digits of a file's content, as long as a fingerprint of `datasets`."""
    digest = hashlib.blake2b(digest_size=8)
    with open(path, "rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def with_column(dataset: Dataset, name: str, values: Sequence[Any]) -> Dataset:
    """The data set with other values in one of its columns; order of columns, types and description stay."""
    features, description = dataset.features, dataset.info.description
    changed = dataset.remove_columns(name).add_column(name, list(values), feature=features[name])
    changed = changed.select_columns(list(features))
    changed.info.description = description
    return changed


def saved_rows(folder: str | os.PathLike[str]) -> Dataset | DatasetDict:
    """What `save_to_disk` wrote. Raises: FileNotFoundError if it is no such folder, ValueError that names the file if
    one is missing, cut off or damaged."""
    folder = Path(folder)
    again = "copy the folder again, or write it again by the command that made it"
    for path in _arrow_files(folder):
        if not path.is_file():
            raise ECGError(f"{path} is missing, a part of the data by {folder / 'state.json'}; {again}")
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - len(_END_OF_STREAM)))
            if file.read() != _END_OF_STREAM:
                raise ECGError(
                    f"{path} is cut off: it holds {path.stat().st_size:,} bytes and does not end as an Arrow file "
                    f"does; {again}"
                )
    try:
        return load_from_disk(str(folder))
    except FileNotFoundError:
        raise
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ECGError(f"{folder} is damaged and cannot be read ({what}); {again}") from error


def _arrow_files(folder: Path) -> list[Path]:
    """The data files that the folder's own list names; none where there is no such list, or it cannot be read."""
    try:
        named = json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]
        return [folder / entry["filename"] for entry in named]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # then `load_from_disk` says what is wrong
        return []
