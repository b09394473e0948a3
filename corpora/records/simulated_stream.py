"""Simulated ECGs for training that are made when they are needed and never come again.

In: a seed and the simulator's wishes. Out: a `datasets.IterableDataset` with the columns of a corpus. Decided here:
that a shard is one chunk of the simulator, so that workers and nodes share the work without overlap and a run that
resumes makes at most one chunk again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from datasets import IterableDataset

from ...errors_ecgllm import ECGError
from ...signals.simulation import CHUNK, simulate_ecgs
from .prepare import CORPUS_FEATURES, record_row

# Far more than a run sees, in a number of shards that every usual number of processes divides: 240 = 16 x 15.
_ENDLESS = 400 * 240 * CHUNK


def simulated_stream(
    seed: int = 0,
    n: int = _ENDLESS,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    noise: float = 1.0,
    findings: Iterable[str] | None = None,
    heart_rate: float | None = None,
    reader_spread: float = 0.0,
) -> IterableDataset:
    """A stream of fresh simulated records, the records of `simulate_ecgs(n, seed, ...)` one by one.

    Args: as of `simulate_ecgs`; n: how many records one pass has, some twelve million by default. A second pass
        repeats them, so give a training run as many as it takes, and draw what it is tested on from another seed.

    Returns: rows with `CORPUS_FEATURES`, all of the split "train", a float32 signal of [12, duration * sampling_rate]
    in mV each. Shards of `CHUNK` records are shared among the workers of a `DataLoader` and, by
    `split_dataset_by_node`, among processes: where their number divides n / CHUNK each makes only its own. The stream
    resumes where `state_dict()` was taken. Same arguments, same bytes.
    Raises: ValueError as `simulate_ecgs`, at once, and for n under 1.
    """
    if n < 1:
        raise ECGError(f"n is {n}; a stream has at least 1 record.")
    wishes = {
        "seed": seed,
        "sampling_rate": sampling_rate,
        "duration": duration,
        "noise": noise,
        "findings": findings if findings is None or isinstance(findings, str) else tuple(findings),
        "heart_rate": heart_rate,
        "reader_spread": reader_spread,
    }
    simulate_ecgs(1, **wishes)  # what cannot be made is refused now, not in a worker
    # A list is what `datasets` shards by; the wishes travel as one value that is none.
    chunks = [(first, min(CHUNK, n - first)) for first in range(0, n, CHUNK)]
    return IterableDataset.from_generator(
        _rows, features=CORPUS_FEATURES, gen_kwargs={"chunks": chunks, "wishes": wishes}
    )


def _rows(chunks: list[tuple[int, int]], wishes: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for first, count in chunks:
        for record in simulate_ecgs(count, first=first, **wishes):
            yield record_row(record, "simulation", "train")
