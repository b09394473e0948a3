"""Data sets in folders: what `datasets` alone can open goes out, and what lies in a folder comes back with its ECGs.

In: a data set, or a folder. Out: a folder of Arrow or of Parquet files, or a data set. Decided here: on disk an ECG is
a plain struct (bytes, gain, leads, sampling_rate, path), which `load_from_disk`, `load_dataset` and streams open where
this package is not installed; what is loaded here has the `ECG` feature, whether or not the folder names it, as those
of earlier versions do. All of this package that opens a corpus or questions does it by `saved_rows`.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from datasets import Dataset, DatasetDict, Features, concatenate_datasets, load_from_disk
from datasets.fingerprint import Hasher
from datasets.table import embed_table_storage

from ...errors_ecgllm import ECGError
from ...signals.io.tables.parquet_rows import is_ecg_type
from .ecg_feature import ECG

FORMATS = ("arrow", "parquet")
_STORED = ECG(decode=False).flatten()
_SPLITS = ("train", "validation", "test")
_LARGEST_FILE = 500_000_000  # bytes in memory of one Parquet file: as the Hub's own
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"  # of an Arrow IPC stream; without it rows may be missing
_AGAIN = "copy the folder again, or write it again by the command that made it"


def plain(dataset: Dataset) -> Dataset:
    """The data set with every ECG as its stored struct, without a copy: what `save_to_disk`, `to_parquet` and
    `push_to_hub` then write opens where this package is not installed. Files that are only named are read in."""
    names = [name for name, feature in dataset.features.items() if isinstance(feature, ECG)]
    if any(_names_files(dataset.data.column(name)) for name in names):
        dataset = dataset.with_format("arrow").map(embed_table_storage, batched=True, batch_size=100)
        dataset = dataset.with_format(None)
    return _with_features(dataset, {name: dict(_STORED) for name in names}, "plain")


def with_ecgs(dataset: Dataset) -> Dataset:
    """The data set with the `ECG` feature for every column of stored structs, without a copy. The inverse of
    `plain`."""
    schema = dataset.data.schema
    names = [
        name
        for name, feature in dataset.features.items()
        if isinstance(feature, dict) and is_ecg_type(schema.field(name).type) and feature.keys() <= _STORED.keys()
    ]
    return _with_features(dataset, {name: ECG() for name in names}, "ECG")


def _names_files(column: pa.ChunkedArray) -> bool:
    return any(
        chunk.field("bytes")
        .is_null()
        .to_numpy(zero_copy_only=False)[chunk.is_valid().to_numpy(zero_copy_only=False)]
        .any()
        for chunk in column.chunks
    )


def _with_features(dataset: Dataset, changed: dict, what: str) -> Dataset:
    if not changed:
        return dataset
    features = Features({**dataset.features, **changed})
    info = dataset.info.copy()
    info.features = features
    table = dataset.data.cast(features.arrow_schema)  # of the same types, and so only in what it says of itself
    # Another fingerprint, since a row comes out otherwise; not drawn at random, so that the same bytes are written.
    fingerprint = Hasher.hash([dataset._fingerprint, what])
    return Dataset(table, info=info, split=dataset.split, indices_table=dataset._indices, fingerprint=fingerprint)


def save_corpus(corpus: Dataset, folder: str | os.PathLike[str], format: str = "arrow") -> None:
    """`save_rows` of a corpus. Raises: ECGError also for a data set without ECGs."""
    _check_ecgs(corpus, "the data set")
    save_rows(corpus, folder, format)


def load_corpus(folder: str | os.PathLike[str]) -> Dataset:
    """The corpus of a folder, in whichever form it was saved, its ECGs with the `ECG` feature.

    Raises: FileNotFoundError if there is no data set, ECGError for one that is damaged or holds no ECGs.
    """
    corpus = saved_rows(folder)
    _check_ecgs(corpus, str(folder))
    return corpus


def _check_ecgs(dataset: Dataset | DatasetDict, what: str) -> None:
    features = dataset.features if isinstance(dataset, Dataset) else {}
    if not any(isinstance(feature, ECG) for feature in features.values()):
        raise ECGError(
            f"{what} holds no ECGs but the columns {', '.join(dataset.column_names)}; expected a corpus, as "
            "`ecgllm prepare` writes it"
        )


def save_rows(dataset: Dataset, folder: str | os.PathLike[str], format: str = "arrow") -> None:
    """Write a corpus or questions to `folder`, for `datasets` with or without this package.

    Args: format: "arrow", which is mapped into memory (`load_from_disk`), or "parquet", which is smaller, and which
        the Hub and other programs read (`load_dataset(folder)`): a file or more for each value of the column `split`.
    Raises: ECGError for another format, or rows of a split of another name.
    """
    if format not in FORMATS:
        raise ECGError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    dataset = plain(dataset)
    if format == "arrow":
        dataset.save_to_disk(str(folder))
        return
    data = Path(folder) / "data"
    data.mkdir(parents=True, exist_ok=True)
    for split, rows in _by_split(dataset).items():
        part = dataset.select(rows)
        size = part.data.nbytes * len(part) // max(1, len(part.data))
        files = max(1, -(-size // _LARGEST_FILE))
        for number in range(files):
            shard = part.shard(files, number, contiguous=True)
            shard.to_parquet(str(data / f"{split}-{number:05d}-of-{files:05d}.parquet"))


def _by_split(dataset: Dataset) -> dict[str, list[int]]:
    if "split" not in dataset.column_names:
        return {"train": list(range(len(dataset)))}
    rows: dict[str, list[int]] = {name: [] for name in _SPLITS}
    for row, split in enumerate(dataset["split"]):
        if split not in rows:
            raise ECGError(f"row {row} is of the split {split!r}; expected one of {', '.join(_SPLITS)}")
        rows[split].append(row)
    return {split: own for split, own in rows.items() if own}


def is_saved(folder: str | os.PathLike[str] | None) -> bool:
    """Whether a folder holds a data set that `save_rows`, or `datasets` itself, wrote."""
    return folder is not None and (_info(folder).is_file() or bool(_parquet_files(folder)))


def saved_columns(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """The columns of a saved data set, from its beginning alone. Raises: ECGError if that is damaged."""
    files = [] if _info(folder).is_file() else _parquet_files(folder)
    try:
        if files:
            return tuple(pq.read_schema(files[0]).names)
        info = json.loads(_info(folder).read_text(encoding="utf-8"))
        return tuple(info.get("features") or ()) if isinstance(info, dict) else ()
    except (OSError, ValueError, RecursionError, pa.ArrowException) as error:
        raise ECGError(f"{files[0] if files else _info(folder)} cannot be read ({error}); {_AGAIN}") from error


def _info(folder: str | os.PathLike[str]) -> Path:
    return Path(folder) / "dataset_info.json"


def _parquet_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of `save_rows(format="parquet")`, in the order of their splits."""
    return [file for split in _SPLITS for file in sorted(Path(folder).glob(f"data/{split}-*-of-*.parquet"))]


def saved_rows(folder: str | os.PathLike[str]) -> Dataset | DatasetDict:
    """What `save_rows` or `save_to_disk` wrote, its ECGs with the `ECG` feature.

    Of Parquet files an Arrow copy is made, which lives until the process ends.
    Raises: FileNotFoundError if it is no such folder, ECGError that names the file if one is missing, cut off or
    damaged.
    """
    folder = Path(folder)
    try:
        if not _info(folder).is_file() and (files := _parquet_files(folder)):
            return with_ecgs(_from_parquet(files))
        _check_arrow_files(folder)
        found = load_from_disk(str(folder))
    except (FileNotFoundError, ECGError):
        raise
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ECGError(f"{folder} is damaged and cannot be read ({what}); {_AGAIN}") from error
    if isinstance(found, DatasetDict):
        return DatasetDict({name: with_ecgs(part) for name, part in found.items()})
    return with_ecgs(found)


def _from_parquet(files: Iterable[Path]) -> Dataset:
    parts = []
    for file in files:
        # A folder of its own: in the cache of `datasets` a copy of patients' records would outlive them.
        cache = tempfile.mkdtemp(prefix="ecgllm-parquet-")
        atexit.register(shutil.rmtree, cache, ignore_errors=True)
        try:
            parts.append(Dataset.from_parquet(str(file), cache_dir=cache))
        except Exception as error:  # `datasets` wraps what it meets in classes of its own
            cause = error.__cause__ or error
            raise ECGError(f"{file} cannot be read ({type(cause).__name__}: {cause}); {_AGAIN}") from error
    return concatenate_datasets(parts)


def _check_arrow_files(folder: Path) -> None:
    for path in _arrow_files(folder):
        if not path.is_file():
            raise ECGError(f"{path} is missing, a part of the data by {folder / 'state.json'}; {_AGAIN}")
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - len(_END_OF_STREAM)))
            if file.read() != _END_OF_STREAM:
                raise ECGError(
                    f"{path} is cut off: it holds {path.stat().st_size:,} bytes and does not end as an Arrow file "
                    f"does; {_AGAIN}"
                )


def _arrow_files(folder: Path) -> list[Path]:
    """The data files that the folder's own list names; none where there is no such list, or it cannot be read."""
    try:
        named = json.loads((folder / "state.json").read_text(encoding="utf-8"))["_data_files"]
        return [folder / entry["filename"] for entry in named]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # then `load_from_disk` says what is wrong
        return []
