"""iter_ecgs: a folder of mixed files gives its ECGs, and a table of what was not read and why."""

import multiprocessing
import os
import time

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, iter_ecgs, read_ecg
from ecgllm.signals.io import tree as tree_module
from ecgllm.signals.simulation import simulate_ecg


@pytest.fixture
def mixed(one_of_each, written, tmp_path):
    """One file of each format, two WFDB records, a multi-segment record, broken files and files of other kinds."""
    folder = tmp_path / "mixed"
    for format, (content, *_) in one_of_each.items():
        (folder / format).mkdir(parents=True)
        (folder / format / "x.bin").write_bytes(content)
    steps = np.arange(200, dtype="<i2")
    for name in ("a", "b_1", "b_2"):
        (folder / f"{name}.dat").write_bytes(steps.tobytes())
        (folder / f"{name}.hea").write_text(f"{name} 1 100 200\n{name}.dat 16 1000/mV 16 0 0 19900 0 II\n")
    (folder / "b.hea").write_text("b/2 1 100 400\nb_1 200\nb_2 200\n")
    (folder / "rows.parquet").write_bytes(written.parquet([simulate_ecg(seed=1), simulate_ecg(seed=2)]))
    (folder / "array.npy").write_bytes(written.npy(steps))
    (folder / "broken.dcm").write_bytes(one_of_each["dicom"][0][:9000])
    (folder / "no_rate.csv").write_text("I,II\n1,2\n")
    (folder / "cut.hea").write_text("cut 1 100 200\n")
    for name, content in (
        ("notes.txt", b"hello"),
        ("ages.csv", b"id,age\n1,2\n"),
        ("a.pdf", b"%PDF-1.4"),
        ("empty", b""),
    ):
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_mixed_folder(mixed, one_of_each, workers):
    tree = iter_ecgs(mixed, workers=workers, progress=False)
    records = {record.id: record for record in tree}
    expected = {f"{format}/x.bin" for format in one_of_each} | {"a.hea", "b.hea", "rows.parquet#0", "rows.parquet#1"}
    assert set(records) == expected and tree.read == len(expected)
    for format in one_of_each:
        np.testing.assert_array_equal(records[f"{format}/x.bin"].signal, read_ecg(mixed / format / "x.bin").signal)
    assert records["b.hea"].n_samples == 400
    assert sorted(path for path, _ in tree.unreadable) == ["broken.dcm", "cut.hea", "no_rate.csv"]
    kinds = dict(tree.skipped)
    assert set(kinds) == {"a.dat", "b_1.dat", "b_1.hea", "b_2.dat", "b_2.hea", "array.npy", "notes.txt", "ages.csv",
                          "a.pdf", "empty"}  # fmt: skip
    assert kinds["b_1.hea"] == "a segment of a WFDB record" and kinds["a.pdf"] == "a PDF"
    table = str(tree)
    assert "15 ECGs read, 3 files unreadable" in table and "unreadable: no_rate.csv: " in table
    assert str(mixed) + "/" not in table.split("\n", 1)[1]
    assert [record.id for record in tree] == list(records)  # it can be read again, in the same order


def test_options_reach_the_readers(mixed):
    tree = iter_ecgs(mixed, workers=1, progress=False, sampling_rate=500, unit="mV", leads=["I"])
    ids = {record.id for record in tree}
    assert "array.npy" in ids
    assert "no_rate.csv" in dict(tree.unreadable)  # leads= contradicts its header
    assert "a.hea" in dict(tree.unreadable) and "a.hea" not in ids
    with pytest.raises(TypeError, match="no option colour"):
        list(iter_ecgs(mixed, workers=1, progress=False, colour=1))
    with pytest.raises(ECGReadError, match="is no folder"):
        iter_ecgs(mixed / "a.hea")
    with pytest.raises(ValueError, match="workers is 0"):
        iter_ecgs(mixed, workers=0)


@pytest.mark.parametrize("name", ["a.hea", "dicom/x.bin", "rows.parquet", "npz/x.bin"])
def test_a_rate_that_contradicts_the_files_is_refused_by_every_reader(mixed, name):
    path, wrong = str(mixed / name), 125
    _, (record, *_) = tree_module.read_file(path, name, {})
    assert tree_module.read_file(path, name, {"sampling_rate": record.sampling_rate})[0] == "read"
    kind, reason = tree_module.read_file(path, name, {"sampling_rate": wrong})
    assert kind == "unreadable" and f"{record.sampling_rate:g} Hz, sampling_rate=125 was passed" in reason


def _read_or_not(path, relative, options):
    if relative == "killer":
        os._exit(1)
    if relative.startswith("sleeper"):
        time.sleep(600)
    if relative == "wrong":
        raise TypeError("no option")
    return "skipped", "fine"


@pytest.fixture
def forty_files(tmp_path, monkeypatch):
    for name in [f"{letter}{number:02d}" for number in range(20) for letter in "fz"]:
        (tmp_path / name).write_bytes(b"x")
    monkeypatch.setattr(tree_module, "read_file", _read_or_not)
    return tmp_path


def _no_process_is_left():
    return not [process for process in multiprocessing.active_children() if process.name.startswith("Process-")]


def test_a_file_that_kills_its_worker_is_reported_and_the_rest_is_read(forty_files):
    (forty_files / "killer").write_bytes(b"x")
    tree = iter_ecgs(forty_files, workers=2, progress=False)
    assert list(tree) == []
    assert [path for path, _ in tree.unreadable] == ["killer"] and "died" in tree.unreadable[0][1]
    assert len(tree.skipped) == 40
    assert _no_process_is_left()


def test_files_that_hang_are_given_up_and_the_rest_is_read(forty_files):
    for number in range(3):
        (forty_files / f"sleeper{number}").write_bytes(b"x")
    before = time.monotonic()
    tree = iter_ecgs(forty_files, workers=2, progress=False, timeout_s=0.5)
    assert list(tree) == [] and len(tree.skipped) == 40
    assert [path for path, _ in tree.unreadable] == ["sleeper0", "sleeper1", "sleeper2"]
    assert all("not read within 0.5 s" in reason and "timeout_s" in reason for _, reason in tree.unreadable)
    assert time.monotonic() - before < 10
    assert _no_process_is_left()
    with pytest.raises(ValueError, match="timeout_s is 0"):
        iter_ecgs(forty_files, timeout_s=0)


def test_a_slow_consumer_does_not_make_files_late(mixed):
    tree = iter_ecgs(mixed, workers=2, progress=False, timeout_s=3.0)
    records = iter(tree)
    next(records)
    time.sleep(3.2)
    list(records)
    assert not [reason for _, reason in tree.unreadable if "not read within" in reason]


def test_a_fault_in_the_program_is_raised_and_leaves_no_process(forty_files):
    (forty_files / "wrong").write_bytes(b"x")
    with pytest.raises(TypeError, match="no option"):
        list(iter_ecgs(forty_files, workers=2, progress=False))
    assert _no_process_is_left()


def test_a_loop_that_is_left_early_leaves_no_process(mixed):
    records = iter(iter_ecgs(mixed, workers=3, progress=False))
    next(records)
    records.close()
    assert _no_process_is_left()


def test_real_records(shared_data):
    tree = iter_ecgs(shared_data / "ludb", workers=2, progress=True)
    records = list(tree)
    assert len(records) == 150 and tree.unreadable == []
    assert all(len(record.leads) == 12 for record in records)
