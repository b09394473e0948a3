"""Rows, made one by one, to a `datasets.Dataset` on disk: a corpus or a question set need not fit in memory.

In: an iterator of rows and their features. Out: a data set that memory-maps a temporary Arrow file; the file lives
until the process ends, and `dataset_folders` makes it last.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from typing import Any

from datasets import Dataset, Features
from datasets.arrow_writer import ArrowWriter


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
