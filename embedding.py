"""ECG files of any format to their embeddings, and these to a Parquet file: `ecgllm embed`.

In: files and folders, and a checkpoint that holds an ECG encoder. Out: a vector for every ECG, and the reason for
every file that was refused. Decided here: files are read and prepared in processes (`signals.io.reading_workers`)
while a thread of this one encodes, ECGs of about one duration together; a refused file has no row; and the Parquet
file says which weights and which signal path made it, and nothing of patients but the paths that it was given.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .asking import check_checkpoint
from .atomic_writing import write_bytes
from .errors_ecgllm import CheckpointError, ECGError
from .signals.io.reading_workers import in_processes
from .signals.io.tree import default_workers, files_of, read_file

if TYPE_CHECKING:
    from .embedding_pipeline_ecgllm import ECGFeatureExtractionPipeline

TASK = "ecg-feature-extraction"
METADATA_KEY = b"ecgllm"
"""Of the Parquet file's metadata: JSON that says what made it."""

# ECGs of a batch are padded to the longest of them, which is shorter than this much times the shortest.
_ALIKE = 1.25
_HELD = 8  # batches of prepared ECGs that wait for others of their duration
_WAITING = 4  # batches that wait to be encoded
_ENCODERS = (
    "ecgllm_encoder",
    "ecgllm_beat_encoder",
    "ecgllm_ecgfounder",
    "ecgllm_merl",
    "ecgllm_encoder_adapter",
)
_DUAL_ENCODER = "ecgllm_dual_encoder"
HOLD_AN_ENCODER = ("ecgllm", "ecgllm_classifier", _DUAL_ENCODER, *_ENCODERS)


@dataclass
class Embeddings:
    """Embeddings of ECG files.

    paths: of the ECGs, in the order of the files; of a file with several ECGs with #0, #1, ... vectors: float32
    [ecgs, size]. refused: (path, reason) of files that are no readable ECG, or that the model does not take. skipped:
    (path, what it is) of a folder's files of other kinds. made_by: what made the vectors, JSON-ready.
    """

    paths: list[str] = field(default_factory=list)
    vectors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    refused: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    made_by: dict[str, Any] = field(default_factory=dict)

    def write_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write columns path and embedding (list<float32>), a row an ECG, and `made_by` as the file's metadata."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        count, size = self.vectors.shape
        offsets = pa.array(np.arange(count + 1, dtype=np.int32) * np.int32(size))
        vectors = pa.ListArray.from_arrays(offsets, pa.array(self.vectors.ravel(), pa.float32()))
        table = pa.table({"path": pa.array(self.paths, pa.string()), "embedding": vectors})
        data = io.BytesIO()
        pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps(self.made_by)}), data)
        write_bytes(Path(path), data.getvalue())


def load_embedder(model: str | Path, trust_remote_code: bool = False) -> ECGFeatureExtractionPipeline:
    """The pipeline that embeds ECGs by a checkpoint: of an encoder, or of any model of ours that holds one.

    Args: model: a folder, or a Hub id where its code is trusted. Of an ECG language model or a classifier its encoder
        is taken; a dual encoder gives vectors in the space of its texts.
    Raises: CheckpointError as `check_checkpoint`, and where it cannot be loaded.
    """
    check_checkpoint(model, trust_remote_code, kinds=None if trust_remote_code else HOLD_AN_ENCODER)
    try:
        from transformers import AutoModel

        from .embedding_pipeline_ecgllm import ECGFeatureExtractionPipeline
        from .encoder_adapter_ecgllm import as_encoder
        from .feature_extraction_ecgllm import ECGFeatureExtractor
        from .loading_ecgllm import read_json
        from .modeling_ecgllm import ECGTextDualEncoder

        if trust_remote_code:
            loaded = AutoModel.from_pretrained(model, trust_remote_code=True)
        elif read_json(Path(model) / "config.json")["model_type"] == _DUAL_ENCODER:
            loaded = ECGTextDualEncoder.from_pretrained(model)
        else:
            loaded = as_encoder(model)
        stated = not Path(model).is_dir() or (Path(model) / "preprocessor_config.json").is_file()
        extractor = ECGFeatureExtractor.from_pretrained(model) if stated else None
        return ECGFeatureExtractionPipeline(model=loaded, feature_extractor=extractor, task=TASK)
    except (ECGError, MemoryError):
        raise
    except Exception as error:  # a damaged or incomplete folder fails in as many ways as there are files in it
        raise CheckpointError(f"{model} cannot be loaded: {type(error).__name__}: {error}") from error


def embed_files(
    paths: Sequence[str | os.PathLike[str]],
    embedder: ECGFeatureExtractionPipeline,
    *,
    batch_size: int = 32,
    workers: int | None = None,
    timeout_s: float | None = 60.0,
    progress: bool = False,
    reading: Mapping[str, Any] | None = None,
    **ecg_settings: Any,
) -> Embeddings:
    """Embed the ECGs of files and of all that is in folders.

    Args:
        paths: files of any format that `read_ecg` reads, and folders, searched as by `iter_ecgs`.
        batch_size: ECGs per call of the model. workers: processes that read and prepare; None as `iter_ecgs`, 1 for
            this process. timeout_s: seconds a file may take. progress: show a bar.
        reading: options of `read_ecg`. ecg_settings: nan_policy, drop_unknown_leads, require_heart (True by default);
            see `ECGFeatureExtractor.prepare`.
    Raises: ECGError for a batch_size or workers below 1.
    """
    import torch

    for name, value in (("batch_size", batch_size), ("workers", workers)):
        if value is not None and value < 1:
            raise ECGError(f"{name} is {value}; expected at least 1.")
    found = Embeddings(made_by=made_by(embedder))
    items = []
    for path in map(os.fspath, paths):
        if os.path.isdir(path) and not os.path.isfile(f"{path}.hea"):
            inside, skipped = files_of(path)
            items += [(os.path.join(path, name), False) for name in inside]
            found.skipped += [(os.path.join(path, name), what) for name, what in skipped]
        else:
            items.append((path, True))
    options = {"reading": dict(reading or {}), "extractor": embedder.feature_extractor, "settings": ecg_settings}
    workers = min(workers or default_workers(), max(len(items), 1))
    if workers == 1:
        outcomes = ((_prepared(*item, **options), None) for item in items)
    else:
        outcomes = in_processes(partial(_prepared_in_worker, **options), items, workers, timeout_s)
    with closing(outcomes):
        prepared = _sorted_out(items, outcomes, found, progress)
        threads = max(1, torch.get_num_threads() - (workers if workers > 1 else 0))
        found.vectors = _encoded(embedder, prepared, batch_size, threads, found.paths)
    return found


def made_by(embedder: ECGFeatureExtractionPipeline) -> dict[str, Any]:
    """What made embeddings, JSON-ready: the checkpoint by name and by a hash of its tensors, and the signal path."""
    from . import __version__
    from .weights_ecgllm import tensors_sha256

    model = embedder.model
    name = model.name_or_path
    return {
        "checkpoint": Path(name).name if Path(name).is_dir() else name,  # and not where it lies on this machine
        "model": type(model).__name__,
        "weights_sha256": tensors_sha256(sorted(model.state_dict().items())),
        "preprocessing": embedder.feature_extractor.preprocessing,
        "ecgllm": __version__,
    }


def _prepared(
    path: str, named: bool, reading: dict[str, Any], extractor: Any, settings: dict[str, Any]
) -> tuple[str, Any]:
    """("read", [(path, prepared ECG or None, reason or None)]), ("skipped", what it is) or ("unreadable", reason).

    Args: named: by a person, who says that it is an ECG; what a folder holds may be of another kind.
    """
    from .pipeline_base_ecgllm import prepare_one

    given = {name: value for name, value in reading.items() if named or value is not None}
    kind, found = read_file(path, path, {"format": None} | given if named else given)
    if kind != "read":
        return kind, found
    results = []
    for number, record in enumerate(found):
        name = path if len(found) == 1 else f"{path}#{number}"
        try:
            results.append((name, prepare_one(extractor, record, **settings), None))
        except ECGError as error:
            results.append((name, None, " ".join(str(error.__cause__ or error).split())))  # it names no list
    return kind, results


def _prepared_in_worker(path: str, named: bool, **options: Any) -> tuple[str, Any]:
    import torch

    torch.set_num_threads(1)  # a forked process cannot use its parent's threads
    return _prepared(path, named, **options)


def _sorted_out(
    items: Sequence[tuple[str, bool]], outcomes: Iterator[Any], found: Embeddings, progress: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    """(path, prepared ECG), one after the other; what is refused goes to where it is counted."""
    from tqdm.auto import tqdm

    for (path, _), (outcome, failure) in zip(
        items, tqdm(outcomes, total=len(items), desc="Embedding", unit="file", disable=not progress), strict=True
    ):
        kind, result = outcome if failure is None else ("unreadable", failure)
        if kind == "skipped":
            found.skipped.append((path, result))
        elif kind == "unreadable":
            found.refused.append((path, result))
        else:
            found.refused += [(name, reason) for name, _, reason in result if reason is not None]
            yield from ((name, ecg) for name, ecg, reason in result if reason is None)


def _encoded(
    embedder: ECGFeatureExtractionPipeline,
    prepared: Iterator[tuple[str, dict[str, Any]]],
    batch_size: int,
    threads: int,
    paths: list[str],
) -> np.ndarray:
    """Vectors float32 [ecgs, size] in the order of the ECGs, whose paths go to `paths`.

    A thread of its own encodes while this one goes on with what is read. Args: threads: of torch's, that encode.
    """
    import torch

    found: dict[int, np.ndarray] = {}
    held: defaultdict[int, list[tuple[int, dict[str, Any]]]] = defaultdict(list)  # of about one duration
    waiting: deque[Future] = deque()

    def encode(rows: tuple[int, ...], ecgs: tuple[dict[str, Any], ...]) -> None:
        vectors = embedder.forward({"ecgs": list(ecgs)})["embeddings"].float().numpy()
        found.update(zip(rows, vectors, strict=True))

    with ThreadPoolExecutor(1, initializer=torch.set_num_threads, initargs=(threads,)) as encoder:

        def hand_over(duration: int) -> None:
            waiting.append(encoder.submit(encode, *zip(*held.pop(duration), strict=True)))
            while len(waiting) > _WAITING:
                waiting.popleft().result()

        for row, (path, ecg) in enumerate(prepared):
            paths.append(path)
            duration = int(math.log(ecg["ecg_values"].shape[1], _ALIKE))
            held[duration].append((row, ecg))
            if len(held[duration]) == batch_size:
                hand_over(duration)
            elif sum(map(len, held.values())) >= _HELD * batch_size:
                hand_over(max(held, key=lambda each: len(held[each])))
        for duration in list(held):
            hand_over(duration)
        for each in waiting:
            each.result()
    return np.stack([found[row] for row in range(len(paths))]) if paths else np.zeros((0, 0), dtype=np.float32)


__all__ = ["METADATA_KEY", "Embeddings", "embed_files", "load_embedder", "made_by"]
