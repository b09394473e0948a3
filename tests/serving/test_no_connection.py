"""`ask`, `serve` and `app` open no connection to any other machine, and look no name up."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from .conftest import asking, file_part

# Python tells an audit hook of every socket before it is used, whichever library asks; what is refused is written
# down, since a library may swallow the refusal.
GUARDED = """
import sys
here = ("127.0.0.1", "::1", "localhost", "0.0.0.0", None, "")
def guard(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        outside = isinstance(address, tuple) and address[0] not in here
    elif event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"):
        address, outside = arguments[0], arguments[0] not in here
    else:
        return
    if outside:
        with open("connections.txt", "a") as file:
            file.write(f"{event} {address}\\n")
        raise PermissionError(f"no connection to {address}")
sys.addaudithook(guard)
if sys.argv[1] == "connect":
    import socket
    socket.create_connection(("example.org", 80))
from ecgllm.cli import main
main(sys.argv[1:])
"""


def environment() -> dict[str, str]:
    """Without what tells libraries that they are offline, or not to send figures home."""
    ours = {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"}
    kept = {name: value for name, value in os.environ.items() if name not in ours and "ANALYTICS" not in name}
    return kept | {"OMP_NUM_THREADS": "1"}


@pytest.fixture
def ecg(tmp_path: Path, csv_files: list[bytes]) -> Path:
    path = tmp_path / "ecg.csv"
    path.write_bytes(csv_files[1])
    return path


def tried(folder: Path) -> str:
    file = folder / "connections.txt"
    return file.read_text() if file.is_file() else ""


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[str]:
    """A guarded command that serves; its address."""
    log = folder / "log"
    with log.open("w") as file:
        command = [sys.executable, "-c", GUARDED, *arguments]
        process = subprocess.Popen(command, stdout=file, stderr=file, cwd=folder, env=environment())
    try:
        until = time.monotonic() + 120
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        yield found[0]
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    finally:
        process.kill()


def test_the_guard_guards(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", GUARDED, "connect"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode and "no connection to example.org" in done.stderr
    assert tried(tmp_path) == "socket.getaddrinfo example.org\n"


def test_ask(tmp_path: Path, ecg: Path) -> None:
    command = [sys.executable, "-c", GUARDED, "ask", str(ecg), "Is there atrial fibrillation?"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment())
    assert done.returncode == 0 and "trained on" in done.stdout, done.stderr
    assert tried(tmp_path) == ""


def test_serve(tmp_path: Path, csv_files: list[bytes]) -> None:
    with started(tmp_path, "serve", "--port", "0") as address:
        body = {"model": "ecgllm", "messages": asking(file_part(csv_files[0]), "Is the ECG normal?")}
        _until_it_answers(f"{address}/health")
        assert httpx.post(f"{address}/v1/chat/completions", json=body, timeout=60).status_code == 200
    assert tried(tmp_path) == ""


def test_app(tmp_path: Path) -> None:
    with started(tmp_path, "app", "--no-browser") as address:
        _until_it_answers(address)
        time.sleep(2)  # for what a thread may send once the page is there
    assert tried(tmp_path) == ""


def _until_it_answers(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(address).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError(f"{address} does not answer")
