"""What is written appears whole, whoever is killed and whoever else writes: with real processes and real kills."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecgllm import atomic_writing
from ecgllm.atomic_writing import InUseError, new_folder, owned, unfinished, write_bytes, write_text, written_whole
from ecgllm.errors_ecgllm import ECGError

# Writes a folder of ten files that all say the same word; the file `began` says that it is at work.
WRITER = """
import sys, time
from pathlib import Path
from ecgllm.atomic_writing import new_folder
target, word, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
with new_folder(target, replace=True) as folder:
    print("began", flush=True)
    for number in range(10):
        (folder / f"{number}.txt").write_text(word)
        time.sleep(pause)
"""
# Replaces a folder over and over, by the function that stages use.
REPLACER = """
import sys
from pathlib import Path
from ecgllm.atomic_writing import written_whole
print("began", flush=True)
for number in range(1_000_000):
    with written_whole(Path(sys.argv[1])) as folder:
        for name in range(3):
            (folder / f"{name}.txt").write_text(str(number))
"""
FORKER = """
import os, sys, time
from pathlib import Path
from ecgllm.atomic_writing import owned
with owned(Path(sys.argv[1])):
    if os.fork() == 0:  # which has let go of the lock when it says so
        print("began", flush=True)
        time.sleep(60)
        os._exit(0)
    time.sleep(60)
"""


def start(program: str, *arguments: object) -> subprocess.Popen:
    """A process that has said that it began."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout.readline() == "began\n"
    return process


def words(folder: Path) -> set[str]:
    return {file.read_text() for file in folder.iterdir()}


def test_the_second_of_two_is_refused_by_the_name_of_the_first(tmp_path: Path) -> None:
    first = start(WRITER, tmp_path / "out", "first", 0.1)
    named = rf"out is being written by process {first.pid} on \S+ since .*let that one"
    with pytest.raises(InUseError, match=named), new_folder(tmp_path / "out"):
        pass
    assert f"being written by process {first.pid}" in unfinished(tmp_path / "out")
    assert first.wait() == 0
    assert words(tmp_path / "out") == {"first"} and len(list((tmp_path / "out").iterdir())) == 10
    with pytest.raises(ECGError, match="already holds something"), new_folder(tmp_path / "out"):
        pass
    assert os.listdir(tmp_path) == ["out"] and unfinished(tmp_path / "out") is None


def test_what_a_kill_leaves_is_called_unfinished_and_started_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    killed = start(WRITER, tmp_path / "out", "killed", 0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (tmp_path / "out").exists()
    assert f"was left unfinished by process {killed.pid}" in unfinished(tmp_path / "out")
    with new_folder(tmp_path / "out") as folder:
        assert list(folder.iterdir()) == []
        (folder / "file").write_text("again")
    assert f"left unfinished by process {killed.pid}" in caplog.text and "taken over" in caplog.text
    assert words(tmp_path / "out") == {"again"} and os.listdir(tmp_path) == ["out"]


def test_a_fork_of_a_killed_owner_does_not_hold_on(tmp_path: Path) -> None:
    owner = start(FORKER, tmp_path)
    try:
        with pytest.raises(InUseError), owned(tmp_path):
            pass
        os.kill(owner.pid, signal.SIGKILL)  # its fork goes on
        owner.wait()
        with owned(tmp_path):
            pass
    finally:
        os.killpg(owner.pid, signal.SIGKILL)


def test_a_number_that_another_process_has_by_now_and_a_damaged_record_hold_nothing(tmp_path: Path) -> None:
    for record in (json.dumps({"pid": os.getpid(), "host": "a-container"}), "{", "[]"):
        (tmp_path / atomic_writing.OWNER).write_text(record)
        with owned(tmp_path):
            pass
        assert not (tmp_path / atomic_writing.OWNER).exists()


def test_after_any_kill_a_folder_is_the_old_or_the_new_whole_one(tmp_path: Path) -> None:
    target, draw, seen = tmp_path / "out", random.Random(0), set()
    for _ in range(12):
        process = start(REPLACER, target)
        time.sleep(draw.uniform(0.0, 0.05))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if target.exists():
            seen.add("there")
            assert len(words(target)) == 1 and len(list(target.iterdir())) == 3
        else:  # between two renames: the old one is whole, and comes back
            seen.add("aside")
            assert not list(tmp_path.glob("out.old")) or len(words(tmp_path / "out.old")) == 1
    with written_whole(target) as folder:
        (folder / "file").write_text("last")
    assert words(target) == {"last"} and os.listdir(tmp_path) == ["out"] and "there" in seen


def test_a_kill_between_the_two_renames_brings_the_old_folder_back(tmp_path: Path) -> None:
    for name, word in (("out.old", "old"), ("out.partial", "half")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(word)
    with pytest.raises(KeyError), written_whole(tmp_path / "out"):
        raise KeyError
    assert words(tmp_path / "out") == {"old"}
    (tmp_path / "out.old").mkdir()  # as if killed while it removed the old one
    with written_whole(tmp_path / "out") as folder:
        (folder / "file").write_text("new")
    assert words(tmp_path / "out") == {"new"} and os.listdir(tmp_path) == ["out"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    for writer in (lambda folder: new_folder(folder, replace=True), written_whole):
        with writer(tmp_path / "out") as folder:
            (folder / "file").write_text("old")
        with pytest.raises(KeyError), writer(tmp_path / "out") as folder:
            (folder / "file").write_text("new")
            raise KeyError
        assert words(tmp_path / "out") == {"old"}


def test_places_that_a_folder_cannot_be_renamed_onto_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ECGError, match="the working directory.*name a new folder in it"), new_folder("."):
        pass
    with pytest.raises(ECGError, match="a mount point"), new_folder("/proc", replace=True):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(ECGError, match="file is a file"), new_folder("file"):
        pass
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with new_folder("link") as folder:
        write_text(folder / "a" / "b.txt", "é")
    assert (tmp_path / "empty" / "a" / "b.txt").read_bytes() == "é".encode()


def test_a_file_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_bytes(tmp_path / "file", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_bytes(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"old" and os.listdir(tmp_path) == ["file"]
