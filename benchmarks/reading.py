"""How fast files are read: records per second by `read_ecg`, by wfdb.rdrecord and by ecgdatakit, in one run.

    python benchmarks/reading.py [FOLDER ...]

Each FOLDER is searched for WFDB headers (.hea); without one, 100 simulated 12-lead records of 10 s at 500 Hz are
written first, as format 16 and as .mat. Every reader reads the same files, in turn, from the page cache; the figure is
the best of the rounds, in seconds of this process's CPU time, since on a busy machine a long round is interrupted more
often than a short one.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import wfdb

from ecgllm.signals import read_ecg
from ecgllm.signals.simulation import simulate_ecgs

MOST = 100  # files of a folder
ROUNDS = 7


def write_records(folder: Path, n: int = MOST) -> list[Path]:
    """Format 16 (.dat) and .mat level 4 records, as PTB-XL and the CinC Challenge hold them."""
    folders = [folder / "dat", folder / "mat"]
    for target, suffix, offset in zip(folders, (".dat", ".mat"), (0, 24), strict=True):
        target.mkdir()
        for number, record in enumerate(simulate_ecgs(n, seed=0, sampling_rate=500)):
            steps = np.round(record.signal * 1000).astype("<i2")
            name = f"r{number:03d}"
            form = f"16+{offset}" if offset else "16"
            lines = [
                f"{name}{suffix} {form} 1000(0)/mV 16 0 {row[0]} {int(row.sum(dtype='<i2'))} 0 {lead}"
                for lead, row in zip(record.leads, steps, strict=True)
            ]
            header = [f"{name} {len(lines)} 500 {steps.shape[1]}", *lines, "# Age: 61", "# Sex: Female"]
            (target / f"{name}.hea").write_text("\n".join(header) + "\n")
            (target / f"{name}{suffix}").write_bytes(bytes(offset) + steps.T.tobytes())
    return folders


def by_wfdb(path: Path) -> None:
    wfdb.rdrecord(str(path.with_suffix("")))


def by_ecgdatakit(path: Path) -> None:
    from ecgdatakit import FileParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        FileParser.parse(path)


def rates(paths: list[Path], readers: dict[str, Callable[[Path], object]]) -> dict[str, float | None]:
    """Records per second of each reader, or None for one that cannot read the files."""
    best: dict[str, float | None] = {}
    for name, read in readers.items():
        try:
            for path in paths:
                read(path)  # also warms the page cache
            best[name] = np.inf
        except Exception as error:
            print(f"  {name} cannot read {path.name}: {type(error).__name__}: {error}", file=sys.stderr)
            best[name] = None
    for _ in range(ROUNDS):
        for name, read in readers.items():
            if best[name] is None:
                continue
            start = time.process_time()
            for path in paths:
                read(path)
            best[name] = min(best[name], time.process_time() - start)
    return {name: None if seconds is None else len(paths) / seconds for name, seconds in best.items()}


def table_row(title: str, paths: list[Path], found: dict[str, float | None]) -> str:
    own = found["read_ecg"]
    cells = [f"{title:<24}{len(paths):>6}{own:>12,.0f}"]
    for name in ("wfdb", "ecgdatakit"):
        other = found.get(name)
        cells.append(f"{'-':>12}{'':>8}" if other is None else f"{other:>12,.0f}{own / other:>7.1f}x")
    return "".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of WFDB records")
    folders = parser.parse_args().folders
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    for package in ("numpy", "pandas", "wfdb", "ecgdatakit"):
        try:
            print(f"  {package} {version(package)}")
        except PackageNotFoundError:
            print(f"  {package} is not installed")
    print(f"{'records/s':<24}{'files':>6}{'read_ecg':>12}{'wfdb':>12}{'ratio':>8}{'ecgdatakit':>12}{'ratio':>8}")
    with tempfile.TemporaryDirectory() as made:
        for folder in folders or write_records(Path(made)):
            paths = sorted(folder.rglob("*.hea"))[:MOST]
            if not paths:
                print(f"{folder}: no .hea files", file=sys.stderr)
                continue
            readers = {"read_ecg": read_ecg, "wfdb": by_wfdb, "ecgdatakit": by_ecgdatakit}
            print(table_row("/".join(folder.parts[-2:])[-23:], paths, rates(paths, readers)))


if __name__ == "__main__":
    main()
