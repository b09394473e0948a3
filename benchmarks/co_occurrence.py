"""Which findings occur together in a real corpus, and which never do among simulated ECGs.

    python benchmarks/co_occurrence.py ptbxl_database.csv [--simulated 10240] [--seed 0] [--least 10] [--ratio 0.3]

The table (`.csv` or `.parquet`) has the columns of PTB-XL's `ptbxl_database.csv`; no signal is read, and simulated
ones are labelled without being rendered. The lift of a pair is how many times as often as by chance both hold: printed
are pairs that hold together of at least `--least` real records whose lift is less than `--ratio` of that among
the simulated ones, the most differing first. Pairs of which one implies the other are left out.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from ecgllm.corpora.records.sources.ptbxl import statements_of
from ecgllm.findings.labels import findings_from_statements, implied
from ecgllm.signals.simulation import FINDINGS
from ecgllm.signals.simulation.criteria import draw_limits
from ecgllm.signals.simulation.heart import draw_hearts, labels_of
from ecgllm.signals.simulation.plan import draw_plan

_BATCH, _DURATION_S = 256, 10.0


def real_findings(table: Path) -> list[tuple[str, ...]]:
    """Findings of every row, with all that they imply."""
    rows = pd.read_parquet(table) if table.suffix == ".parquet" else pd.read_csv(table)
    cells = rows.astype(object).where(rows.notna(), "").astype(str)
    return [findings_from_statements(statements_of(row))[0] for row in cells.to_dict("records")]


def simulated_findings(n: int, seed: int) -> list[tuple[str, ...]]:
    found = []
    for first in range(0, n, _BATCH):
        body, visit, reader = (np.random.default_rng([seed, first, part]) for part in range(3))
        hearts = draw_hearts(body, visit, draw_plan(body, _BATCH, None, None), _DURATION_S)
        labels = labels_of(hearts, _DURATION_S, draw_limits(reader, _BATCH, 0.0))
        found += [implied(labels.findings(row)) for row in range(_BATCH)]
    return found[:n]


def table_of(records: Iterable[tuple[str, ...]], names: list[str]) -> np.ndarray:
    """bool [records, names]."""
    return np.array([[name in found for name in names] for found in map(frozenset, records)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--simulated", type=int, default=10_240)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--least", type=int, default=10)
    parser.add_argument("--ratio", type=float, default=0.3)
    given = parser.parse_args()
    names = list(implied(FINDINGS))
    groups = (real_findings(given.table), simulated_findings(given.simulated, given.seed))
    shows = [table_of(group, names) for group in groups]
    shares = [each.mean(axis=0) for each in shows]
    together = [each.T.astype(int) @ each for each in shows]
    found = []
    for i, one in enumerate(names):
        for j, other in enumerate(names[:i]):
            by_chance = [len(each) * share[i] * share[j] for each, share in zip(shows, shares, strict=True)]
            related = one in implied([other]) or other in implied([one])
            if related or together[0][i, j] < given.least or min(by_chance) < 3:
                continue
            lift = [both[i, j] / chance for both, chance in zip(together, by_chance, strict=True)]
            found.append((lift[1] / lift[0], f"{other} + {one}", *(both[i, j] for both in together), *lift))
    print(f"{len(groups[0]):,} real records, {len(groups[1]):,} simulated: {len(found)} pairs, "
          f"{sum(each[3] == 0 for each in found)} of them never simulated\n")  # fmt: skip
    print(f"{'':84s}{'real':>6s}{'simul.':>8s}{'lift':>8s}{'simul.':>8s}")
    for ratio, pair, real, simulated, *lift in sorted(found):
        if ratio < given.ratio:
            print(f"{pair:84s}{real:6d}{simulated:8d}{lift[0]:8.2f}{lift[1]:8.2f}")


if __name__ == "__main__":
    main()
