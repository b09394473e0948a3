"""`ecgllm serve`: what it refuses before it loads anything, and that its end under load finishes what it began."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import uvicorn

from ecgllm.cli import main

from .conftest import asking, file_part


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--host", "0.0.0.0"], "others can reach, without a key"),
        (["--host", "example.org"], "others can reach"),
        (["--key-file", "empty"], "holds no key"),
        (["--key-file", "short"], "1 of 2 keys will not do; expected 16 or more"),
        (["--key-file", "missing"], "missing"),
        (["--model", "nowhere"], "nowhere is no folder with a checkpoint"),
    ],
)
def test_refused(
    arguments: list[str],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").write_text("\n")
    Path("short").write_text("a" * 20 + "\nshort\n")
    with pytest.raises(SystemExit) as ended:
        main(["serve", *arguments])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert says in error and "short\n" not in error


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(SystemExit):
        main(["serve"])
    assert 'pip install "ecgllm[serve]"' in capsys.readouterr().err


def test_an_answer_waits_for_no_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    accepted = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        sockets[0].listen()
        with socket.create_connection(sockets[0].getsockname()), sockets[0].accept()[0] as connection, sockets[0]:
            accepted.append(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--port", "0"])
    assert not ended.value.code and accepted and accepted[0]


def test_its_end_under_load(tmp_path: Path, csv_files: list[bytes]) -> None:
    key = "k" * 24
    environment = os.environ | {"ECGLLM_API_KEYS": key, "OMP_NUM_THREADS": "1"}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "ecgllm.cli", "serve", "--port", "0", "--host", "0.0.0.0"],
            stderr=log,
            env=environment,
        )
    try:
        until = time.monotonic() + 90
        while not (found := re.search(r"http://0\.0\.0\.0:(\d+)/v1", (tmp_path / "log").read_text())):
            assert process.poll() is None and time.monotonic() < until, (tmp_path / "log").read_text()
            time.sleep(0.1)
        url = f"http://127.0.0.1:{found[1]}/v1/chat/completions"
        headers = {"authorization": f"Bearer {key}"}
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                if httpx.get(url.replace("v1/chat/completions", "health")).status_code == 200:
                    break
            except httpx.ConnectError:
                time.sleep(0.05)

        def ask(number: int) -> int | str:
            body = {"model": "ecgllm", "messages": asking(file_part(csv_files[number % 3]), "Is the ECG normal?")}
            try:
                return httpx.post(url, json=body, headers=headers, timeout=60).status_code
            except (httpx.ConnectError, httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError):
                return "not taken"  # or closed before its request was read, which the log tells apart

        with ThreadPoolExecutor(12) as pool:
            asked = [pool.submit(ask, number) for number in range(36)]
            while sum(one.done() for one in asked) < 6:
                time.sleep(0.01)
            process.send_signal(signal.SIGTERM)
            found = [one.result() for one in asked]
        assert process.wait(60) in (0, -signal.SIGTERM)
        assert found.count(200) >= 12 and set(found) <= {200, "not taken"}, found
    finally:
        process.kill()
    lines = (tmp_path / "log").read_text().splitlines()
    assert key not in "".join(lines) and "Traceback" not in "".join(lines)
    answered = [json.loads(line) for line in lines if line.startswith("{")]
    begun = [line["status"] for line in answered if line["route"].endswith("/chat/completions")]
    assert set(begun) == {200} and len(begun) == found.count(200), (begun, found)  # all that it began was received
