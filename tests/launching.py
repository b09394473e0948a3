"""Processes that tests start without paying for the imports again.

`launch(program, ...)` runs Python text in a process that is forked from one clean server, which has imported what
training needs and nothing else: such a process starts in milliseconds, where `python -c` takes seconds to import. What
a user types (`python train.py`, `torchrun`, `ecgllm ask`) is tested by real commands elsewhere.
"""

import multiprocessing
import os
import signal
import socket
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["ecgllm.train", "ecgllm.training", "ecgllm.signals.simulation"])

# The program's output goes to a file, and its temporary files beside it, for a forked process runs no `atexit`. Its
# session is its own, so that it can be killed with what it started.
_CHILD = """
import os, tempfile
os.setsid()
os.environ.update(environment)
tempfile.tempdir = os.path.dirname(log)
output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(output, 1)
os.dup2(output, 2)
exec(program, {"__name__": "__launched__", **values})
"""


class Launched:
    """A program that runs; `wait` for its end, or `kill` it (SIGKILL) with all that it started."""

    def __init__(self, process: BaseProcess, log: Path) -> None:
        self._process = process
        self.log = log

    @property
    def pid(self) -> int:
        """Its process and process group."""
        return self._process.pid

    def running(self) -> bool:
        return self._process.is_alive()

    def output(self) -> str:
        """What it and all that it started have printed so far."""
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def wait(self, seconds: float = 240) -> str:
        """Its output; an AssertionError with it where it failed or did not end in time."""
        self._process.join(seconds)
        if self._process.is_alive():
            self.kill()
            raise AssertionError(f"still running after {seconds} s:\n{self.output()}")
        assert self._process.exitcode == 0, self.output()
        return self.output()

    def kill(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL


def launch(program: str, log: Path, environment: dict[str, str] | None = None, **values: Any) -> Launched:
    """Start a program, which finds `values` as its variables; it prints into the file `log`."""
    names = {"program": program, "log": str(log), "environment": environment or {}, "values": values}
    process = _CONTEXT.Process(target=exec, args=(_CHILD, names))
    process.start()
    return Launched(process, log)


def launch_all(program: str, folder: Path, count: int, **values: Any) -> list[Launched]:
    """Start `count` processes with the environment by which torch.distributed makes one group of them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "GLOO_SOCKET_IFNAME": "lo",
    }
    return [
        launch(program, folder / f"rank-{rank}.txt", group | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, **values)
        for rank in range(count)
    ]
