"""How fast ECGs are simulated: records per second and core, of a mix, as `simulate_ecgs` makes them.

    python benchmarks/simulation.py [--records 1280] [--rounds 5]

One process with one thread. The figure is the best of the rounds, each of which makes other records. The mark is
at least 300 records of 10 s a second at 100 Hz. A follow-up pair counts as one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import time
from collections.abc import Callable, Iterator

import numpy as np

from ecgllm.signals.simulation import stream_ecgs, stream_follow_ups


def per_second(make: Callable[[int], Iterator[object]], rounds: int) -> tuple[float, float]:
    """(best, median) records per second; make: seed -> iterator."""
    speeds = []
    for seed in range(rounds):
        start = time.perf_counter()
        made = sum(1 for _ in make(seed))
        speeds.append(made / (time.perf_counter() - start))
    return max(speeds), float(np.median(speeds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=1280)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    n = options.records
    cases = {
        "mix, 100 Hz, 10 s": lambda seed: stream_ecgs(n, seed),
        "mix, 100 Hz, 10 s, no noise": lambda seed: stream_ecgs(n, seed, noise=0.0),
        "mix, 500 Hz, 10 s": lambda seed: stream_ecgs(n // 4, seed, sampling_rate=500.0),
        "atrial fibrillation, 100 Hz": lambda seed: stream_ecgs(n, seed, findings=("atrial fibrillation",)),
        "follow-up pairs, 100 Hz": lambda seed: stream_follow_ups(n // 2, seed),
    }
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}, one thread\n")
    print(f"{'':32s}{'best /s':>10s}{'median /s':>12s}")
    for name, make in cases.items():
        best, median = per_second(make, options.rounds)
        print(f"{name:32s}{best:10.0f}{median:12.0f}")


if __name__ == "__main__":
    main()
