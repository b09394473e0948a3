"""Rows, made one by one, to a `datasets.Dataset` on disk: a corpus or a question set need not fit in memory.

In: an iterator of rows and their features. Out: a data set that memory-maps a temporary Arrow file; the file lives
until the process ends, `save_to_disk` makes it last.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterable
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
    return (
        Dataset.from_file(path) if written else Dataset.from_dict({name: [] for name in features}, features=features)
    )
