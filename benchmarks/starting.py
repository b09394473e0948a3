"""How long `ecgllm ask` takes about a file, beside a bare script that imports transformers and loads the weights.

    python benchmarks/starting.py [FILE] [--rounds 7]

Both are processes of their own, in turn, from the page cache. `ask` also reads, checks and measures the file (a
simulated ECG where none is given), answers, and ends. The ratios are of medians and of the shortest.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals.simulation import simulate_ecg

BARE = "import torch, transformers; transformers.AutoModel.from_pretrained({!r}, trust_remote_code=True)"


def simulated(path: Path) -> Path:
    record = simulate_ecg(["sinus rhythm"], seed=0)
    np.savez(path, unit="mV", signal=record.signal, sampling_rate=record.sampling_rate, leads=record.leads)
    return path


def seconds_of(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", type=Path, help="an ECG; without it a simulated one")
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    program = shutil.which("ecgllm", path=str(Path(sys.executable).parent))
    if program is None:
        raise SystemExit("There is no command ecgllm beside this Python; install the package first.")
    with tempfile.TemporaryDirectory() as made:
        file = given.file or simulated(Path(made) / "ecg.npz")
        commands = {
            "bare": [sys.executable, "-c", BARE.format(str(shipped_checkpoint()))],
            "ask": [program, "ask", str(file), "Is there atrial fibrillation?"],
        }
        for command in commands.values():
            seconds_of(command)  # the page cache
        taken: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(given.rounds):
            for name, command in commands.items():
                taken[name].append(seconds_of(command))
    for name, all_of_it in taken.items():
        print(f"{name:<5}" + " ".join(f"{seconds:.2f}" for seconds in sorted(all_of_it)) + " s")
    for called, of in (("medians", statistics.median), ("the shortest", min)):
        print(f"ask / bare, {called}: {of(taken['ask']) / of(taken['bare']):.2f}")


if __name__ == "__main__":
    main()
