"""Records read in several processes, or threads, are those that one process reads, sample by sample.

A reader that shares anything with its siblings (a buffer, a memory map, an open file's position) gives another
record's ECG now and then, and nobody is told. So every record is read in each of the ways that users read in parallel.
"""

import hashlib
import multiprocessing
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, iter_ecgs, read_ecg

METHODS = [method for method in ("fork", "spawn") if method in multiprocessing.get_all_start_methods()]
# What is spawned shares nothing by itself and imports everything again; where that is torch, it is a slow test.
SLOW_SPAWN = [pytest.param(one, marks=pytest.mark.slow if one == "spawn" else ()) for one in METHODS]
REPEATS = {"fork": 3, "spawn": 1}


def fingerprint(record) -> str:
    return hashlib.sha256(repr((record.leads, record.signal.shape)).encode() + record.signal.tobytes("C")).hexdigest()


def read(path: str) -> str:
    try:
        return fingerprint(read_ecg(path))
    except ECGReadError as error:
        return str(error)


class Records:
    """A map-style data set, as PyTorch's loader takes one."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> str:
        return read(self.paths[index])


def read_row(row: dict) -> dict:
    return {"read": read(row["path"])}


@pytest.fixture(scope="module")
def folders(tmp_path_factory, request):
    """Folders of WFDB records: the real ones, and where there are none, such as this writes."""
    try:
        data = request.getfixturevalue("shared_data")
    except pytest.skip.Exception:
        data = None
    found = [data / name for name in ("ludb", "cinc2021", "ptbxl") if (data / name).is_dir()] if data else []
    if found:
        return found
    folder = tmp_path_factory.mktemp("written")
    rng = np.random.default_rng(5)
    for number in range(200):
        steps = np.cumsum(rng.integers(-20, 21, (4000, 12)), axis=0).astype("<i2")
        suffix, offset = (".dat", 0) if number % 2 else (".mat", 24)
        name, form = f"r{number:03d}", f"16+{offset}" if offset else "16"
        lines = [
            f"{name}{suffix} {form} 1000(0)/mV 16 0 {row[0]} {int(row.sum(dtype='<i2'))} 0 V{lead}"
            for lead, row in enumerate(steps.T)
        ]
        (folder / f"{name}.hea").write_text("\n".join([f"{name} 12 500 4000", *lines, ""]))
        (folder / f"{name}{suffix}").write_bytes(bytes(offset) + steps.tobytes())
    return [folder]


@pytest.fixture(scope="module")
def expected(folders):
    """path -> what one process reads; read twice, so that a reader that keeps something is found here, too."""
    paths = sorted(str(path) for folder in folders for path in folder.rglob("*.hea"))
    found = {path: read(path) for path in paths}
    assert found == {path: read(path) for path in reversed(paths)}
    assert len(set(found.values())) > 0.9 * len(paths)  # or no mix-up would show
    return found


def check(paths: list[str], found: list[str], expected: dict[str, str]) -> None:
    wrong = [path for path, one in zip(paths, found, strict=True) if one != expected[path]]
    print(f"{len(paths)} reads of {len(expected)} records, {len(wrong)} wrong")
    assert not wrong, f"{len(wrong)} of {len(paths)} reads gave something else than one process reads: {wrong[:5]}"


@pytest.mark.parametrize("method", METHODS)
def test_a_pool_of_processes(expected, method):
    paths = list(expected) * REPEATS[method]
    with multiprocessing.get_context(method).Pool(2) as pool:
        check(paths, pool.map(read, paths, chunksize=3), expected)


@pytest.mark.parametrize("method", SLOW_SPAWN)
def test_pytorchs_loader(expected, method):
    from torch.utils.data import DataLoader

    paths = list(expected) * REPEATS[method]
    loader = DataLoader(Records(paths), batch_size=4, num_workers=2, collate_fn=list, multiprocessing_context=method)
    check(paths, [one for batch in loader for one in batch], expected)


@pytest.mark.parametrize("method", SLOW_SPAWN)
def test_map_of_datasets(expected, method):
    import multiprocess  # what `datasets` starts processes by
    from datasets import Dataset

    paths = list(expected) * REPEATS[method]
    before = multiprocess.get_start_method()
    multiprocess.set_start_method(method, force=True)
    try:
        rows = Dataset.from_dict({"path": paths}).map(read_row, num_proc=2, load_from_cache_file=False)
    finally:
        multiprocess.set_start_method(before, force=True)
    check(rows["path"], rows["read"], expected)


@pytest.mark.parametrize("method", METHODS)
def test_iter_ecgs(folders, expected, method):
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        for folder in folders:
            tree = iter_ecgs(folder, workers=4 if method == "fork" else 2, progress=False)
            found = {f"{folder}/{record.id}": fingerprint(record) for record in tree if record.source == "wfdb"}
            wanted = {path: one for path, one in expected.items() if path.startswith(f"{folder}/")}
            assert set(found) == {path for path, one in wanted.items() if len(one) == 64}
            check(list(found), list(found.values()), wanted)
    finally:
        multiprocessing.set_start_method(before, force=True)


def test_threads(expected):
    paths = list(expected) * 2
    with ThreadPoolExecutor(4) as pool:
        check(paths, list(pool.map(read, paths)), expected)
