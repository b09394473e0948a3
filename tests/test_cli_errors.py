"""A full disk and too little memory are one sentence with the way out, whichever library meets them."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from ecgllm import ECGError
from ecgllm.cli.errors import is_the_users, message_of

# No file may grow beyond 20 kB: writing ends as it does on a full disk.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""
COMMAND = LIMITED + "from ecgllm.cli import main\nmain(sys.argv[1:])"
LIBRARIES = (
    LIMITED
    + """
import torch
from safetensors.torch import save_file
from ecgllm.cli.errors import is_the_users, message_of

large = torch.zeros(100_000)
for save in (lambda: torch.save(large, "a.pt"), lambda: save_file({"a": large}, "a.safetensors")):
    try:
        save()
    except Exception as error:
        print(is_the_users(error), message_of(error))
    else:
        print("saved")
"""
)


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files there")
def test_a_command_whose_file_does_not_fit(tmp_path: Path) -> None:
    given = ["simulate", "-n", "20", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", COMMAND, *given], capture_output=True, text=True, cwd=tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("ecgllm: the disk is full") and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of files there")
def test_what_libraries_say_of_a_full_disk_is_known(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LIBRARIES], capture_output=True, text=True, cwd=tmp_path, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 2 and all(line.startswith("True the disk is full") for line in lines), done.stdout


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: 12"),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_too_little_memory(error: Exception) -> None:
    assert is_the_users(error) and message_of(error).startswith("there is not enough memory (")
    around = RuntimeError("a worker ended")
    around.__cause__ = error
    assert is_the_users(around) and "batch_size" in message_of(around)


def test_shared_memory_is_no_disk_and_what_was_said_is_kept() -> None:
    error = RuntimeError("unable to write to file </torch_42_1>: No space left on device (28)")
    assert is_the_users(error)
    assert "shared memory" in message_of(error) and "dataloader_num_workers=0" in message_of(error)
    full = OSError(errno.ENOSPC, "No space left on device", "/data/out.bin")
    assert message_of(full).startswith("the disk is full") and "/data/out.bin" in message_of(full)
    ours = ECGError("the file says: No space left on device")
    ours.__cause__ = MemoryError()
    assert message_of(ours) == "the file says: No space left on device"


def test_any_other_error_is_a_defect() -> None:
    assert not is_the_users(RuntimeError("shapes cannot be multiplied"))
    assert message_of(FileNotFoundError(2, "No such file", "a.hea")) == "[Errno 2] No such file: 'a.hea'"
    try:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("operands") from None  # which says that memory is not the reason
    except ValueError as error:
        assert not is_the_users(error)
