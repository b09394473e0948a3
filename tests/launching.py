"""Processes that tests start without paying for the imports again.

`launch(program, ...)` runs Python text in a process that is forked from one clean server, which has imported what
training needs and nothing else: such a process starts in milliseconds, where `python -c` takes seconds to import. What
a user types (`python train.py`, `torchrun`, `ecgllm ask`) is tested by real commands elsewhere.

`run_without_package(program, ...)` does the same from a server that has imported transformers and datasets, and in
which `ecgllm` cannot be imported.
"""

import json
import multiprocessing
import os
import signal
import socket
import subprocess
import sys
from functools import cache
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


# What huggingface_hub and datasets read when they are imported, a child sets before its program runs.
_PLAIN_SERVER = """
import json, os, sys, traceback
sys.modules["ecgllm"] = None
import datasets, peft, torch
from huggingface_hub import constants
from transformers import (AutoConfig, AutoFeatureExtractor, AutoModel, AutoModelForCausalLM, AutoModelForMultimodalLM,
                          AutoProcessor, AutoTokenizer, pipeline)
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if child == 0:
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1), os.dup2(log, 2), os.chdir(job["folder"]), os.environ.update(job["environment"])
        if job["hub_cache"]:
            constants.HF_HUB_CACHE = job["hub_cache"]
            datasets.config.HF_DATASETS_CACHE = job["hub_cache"] + "-datasets"
            constants.HF_HUB_OFFLINE = datasets.config.HF_HUB_OFFLINE = job["offline"]
        sys.argv, code = ["-c", *job["arguments"]], 0
        try:
            exec(job["program"], {"__name__": "__main__"})
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@cache
def _plain_server() -> subprocess.Popen[str]:
    outside = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, "-c", _PLAIN_SERVER]
    return subprocess.Popen(command, env=outside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run_without_package(
    program: str,
    folder: Path,
    *arguments: Any,
    hub_cache: Path | None = None,
    offline: bool = False,
    token: str | None = None,
) -> Any:
    """What a program prints last, as JSON; it runs in `folder`, with `arguments` as its argv.

    Args: hub_cache: where it keeps what it downloads from the Hub; None: it may ask no Hub. offline: as by
        HF_HUB_OFFLINE=1. token: HF_TOKEN.
    Raises: AssertionError with what it printed where it fails.
    """
    log = Path(folder) / "without-package.txt"
    job = {
        "program": program, "folder": str(folder), "arguments": [str(argument) for argument in arguments],
        "log": str(log), "hub_cache": None if hub_cache is None else str(hub_cache), "offline": offline,
        "environment": {"HF_TOKEN": token} if token else {},
    }  # fmt: skip
    server = _plain_server()
    server.stdin.write(json.dumps(job) + "\n")
    server.stdin.flush()
    answer = server.stdout.readline().strip()
    printed = log.read_text(encoding="utf-8") if log.exists() else "the server did not start"
    assert answer == "0", printed
    return json.loads([line for line in printed.splitlines() if line][-1])
