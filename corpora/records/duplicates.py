"""Records that are one recording: found by what their signals look like, whatever they are called.

In: a corpus, of one source or joined from several. Out: groups of ids, and a refusal where a group is in two splits.
Decided here: a record's fingerprint is the course of leads I, II and V2 over its first ten seconds, in 128 parts, each
lead without its mean, all three of unit length together. Records whose fingerprints correlate above 0.99 are one. So
another sampling rate, another order of leads, another unit or gain and rounding change nothing. Not found are: a part
of a longer recording that does not begin where it does, and one whose baseline was filtered away.

Candidates come from the signs of random projections (Charikar, STOC 2002): pairs that agree on all 20 signs of one of
sixteen tables are compared, all others are not. Of copies that correlate
at 0.996 some 2 in 10,000 are missed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np
from datasets import Dataset
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ...errors_ecgllm import ECGError
from .arrow_datasets import with_column
from .silence import sources_of

_LEADS = ("I", "II", "V2")
_PARTS, _SECONDS = 128, 10.0
_ALIKE = 0.99
_TABLES, _BITS = 16, 20


def fingerprint(signal: np.ndarray, sampling_rate: float, leads: Sequence[str]) -> np.ndarray | None:
    """float32 [3 * 128] of unit length; None where a record lacks one of the leads, is flat, or mostly missing.

    Args: signal: [leads, samples] in any unit, NaN where missing (taken as the lead's mean). sampling_rate: Hz. leads:
        standard names.
    """
    if any(lead not in leads for lead in _LEADS) or signal.shape[1] < sampling_rate:
        return None
    rows = np.asarray(signal, dtype=np.float64)[
        [list(leads).index(lead) for lead in _LEADS], : round(_SECONDS * sampling_rate)
    ]
    known = np.isfinite(rows)
    if known.mean() < 0.5:
        return None
    means = np.where(known, rows, 0).sum(axis=1, keepdims=True) / np.maximum(known.sum(axis=1, keepdims=True), 1)
    rows = np.where(known, rows - means, 0.0)
    # The integral over equal times, each sample in the middle of its own: so the rate does not matter.
    total = np.concatenate([np.zeros((len(rows), 1)), np.cumsum(rows, axis=1)], axis=1)
    at = np.linspace(0, _SECONDS * sampling_rate, _PARTS + 1) + 0.5
    whole = np.stack([np.interp(at, np.arange(total.shape[1]), one) for one in total])
    parts = np.diff(whole, axis=1).ravel()
    length = np.linalg.norm(parts)
    return None if length < 1e-9 else (parts / length).astype(np.float32)


def same_recording(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether two fingerprints are of one recording."""
    return float(one @ two) > _ALIKE


def find_duplicates(corpus: Dataset) -> list[tuple[str, ...]]:
    """Groups of ids that are one recording, each sorted. An id that stands there twice is in its group twice.

    Reads every signal once: 0.8 ms of CPU time a record of 12 leads and ten seconds at 500 Hz, 0.4 of them to decode
    it (LUDB, one core), and 1.5 kB of memory; comparing them is 7 s for 100,000 records.
    Raises: ECGError if the corpus lacks ids or signals.
    """
    ids = corpus["id"][:] if "id" in corpus.column_names else []
    return [tuple(sorted(ids[row] for row in rows)) for rows in duplicate_rows(corpus)]


def duplicate_rows(corpus: Dataset) -> list[list[int]]:
    """`find_duplicates` as row numbers, in the corpus' order. Raises: ECGError if it lacks ids or signals."""
    missing = [name for name in ("id", "ecg") if name not in corpus.column_names]
    if missing:
        raise ECGError(f"the corpus lacks the column {', '.join(missing)}; it holds {corpus.column_names}")
    known, found = [], []
    for number, ecg in enumerate(corpus.select_columns(["ecg"])):
        own = fingerprint(ecg["ecg"]["signal"], ecg["ecg"]["sampling_rate"], ecg["ecg"]["leads"])
        if own is not None:
            known.append(number)
            found.append(own)
    return [sorted(known[row] for row in rows) for rows in _alike(np.stack(found))] if found else []


def check_duplicates(corpus: Dataset) -> list[tuple[str, ...]]:
    """Prove that no recording is in two splits; returns the groups that are within one (`find_duplicates`).

    Raises: ECGError that names records and splits.
    """
    groups = duplicate_rows(corpus)
    return check_groups(corpus, groups, "Keep one of each, or give both the same split and patient_id")


def check_groups(corpus: Dataset, groups: Sequence[Sequence[int]], way_out: str) -> list[tuple[str, ...]]:
    """`check_duplicates` of rows that are known to be one recording. way_out: the error's last sentence."""
    ids, splits = corpus["id"][:], corpus["split"][:]
    crossing = [group for group in groups if len({splits[row] for row in group}) > 1]
    if crossing:
        shown = "; ".join(" and ".join(f"{ids[row]} ({splits[row]})" for row in group) for group in crossing[:5])
        raise ECGError(
            f"{len(crossing)} recordings are in more than one split, most under different ids: {shown}. {way_out}"
        )
    return [tuple(sorted(ids[row] for row in group)) for group in groups]


def check_joined(corpus: Dataset) -> None:
    """`check_duplicates` where a corpus was joined from several sources, each of which saw to its own copies.

    The result is kept for the same data set, as questions, de-biasing and the audit all ask.
    Raises: ECGError as `check_duplicates`.
    """
    if "ecg" not in corpus.column_names or len(set(sources_of(corpus))) < 2 or len(set(corpus["split"][:])) < 2:
        return
    if corpus._fingerprint not in _checked:
        check_duplicates(corpus)
        _checked.add(corpus._fingerprint)


_checked: set[str] = set()


def with_one_split_each(corpus: Dataset, groups: Sequence[Sequence[int]]) -> Dataset:
    """The corpus with copies in the split of the first of them, and all other records of their patients, too."""
    patients, splits = corpus["patient_id"][:], corpus["split"][:]
    number = {patient: place for place, patient in enumerate(dict.fromkeys(patients))}
    pairs = {(number[patients[group[0]]], number[patients[row]]) for group in groups for row in group}
    together = _components(pairs, len(number))
    own = [together[number[patient]] for patient in patients]
    split_of = dict(zip(reversed(own), reversed(splits), strict=True))  # of the first record
    changed = [split_of[one] for one in own]
    return corpus if changed == splits else with_column(corpus, "split", changed)


def without_copies(corpus: Dataset, groups: Sequence[Sequence[int]]) -> tuple[Dataset, dict[str, str]]:
    """Of each recording one record, that of the test split before validation before train, the first of equals.

    Returns: (the corpus, id that was left out -> id that was kept).
    """
    ids, splits = corpus["id"][:], corpus["split"][:]
    order = {"test": 0, "validation": 1}
    kept = [min(group, key=lambda row: (order.get(splits[row], 2), row)) for group in groups]
    left_out = {row: best for group, best in zip(groups, kept, strict=True) for row in group if row != best}
    rows = [row for row in range(len(corpus)) if row not in left_out]
    return (corpus.select(rows) if left_out else corpus), {ids[row]: ids[best] for row, best in left_out.items()}


def _alike(prints: np.ndarray) -> list[list[int]]:
    rng = np.random.default_rng(0)
    pairs: set[tuple[int, int]] = set()
    for _ in range(_TABLES):
        signs = prints @ rng.standard_normal((prints.shape[1], _BITS)).astype(np.float32) > 0
        buckets: dict[int, list[int]] = defaultdict(list)
        for row, key in enumerate(signs @ (1 << np.arange(_BITS))):
            buckets[int(key)].append(row)
        for rows in buckets.values():
            for pair in combinations(rows, 2):
                if pair not in pairs and same_recording(prints[pair[0]], prints[pair[1]]):
                    pairs.add(pair)
    groups: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(_components(pairs, len(prints))):
        groups[group].append(row)
    return [rows for rows in groups.values() if len(rows) > 1]


def _components(pairs: Iterable[tuple[int, int]], n: int) -> list[int]:
    """For each of `n` things the number of its group, where things that make a pair, or a chain of pairs, are one."""
    ends = np.array(list(pairs), dtype=np.int32).reshape(-1, 2)
    return connected_components(coo_array((np.ones(len(ends)), ends.T), shape=(n, n)), directed=False)[1].tolist()
