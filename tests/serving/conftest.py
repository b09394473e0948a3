"""A server of the checkpoint that ships, in a thread, and ECG files to ask it about."""

import base64
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from ecgllm.serving import Engine
from ecgllm.serving.api import create_app
from ecgllm.serving.gate import Limits
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecg


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    made = Engine(shipped_checkpoint())
    yield made
    made.close()


def as_csv(record: ECGRecord) -> bytes:
    rows = [f"# sampling_rate: {record.sampling_rate:g}", "# unit: mV", ",".join(record.leads)]
    rows += [",".join(f"{value:.4f}" for value in samples) for samples in record.signal.T]
    return "\n".join(rows).encode()


@pytest.fixture(scope="session")
def csv_files() -> list[bytes]:
    """Of a sinus bradycardia, an atrial fibrillation and a tachycardia."""
    findings = (["sinus rhythm", "sinus bradycardia"], ["atrial fibrillation"], ["sinus rhythm", "sinus tachycardia"])
    return [as_csv(simulate_ecg(each, seed=seed)) for seed, each in enumerate(findings, 5)]


def file_part(data: bytes, name: str = "ecg.csv") -> dict[str, Any]:
    encoded = base64.b64encode(data).decode()
    return {"type": "file", "file": {"filename": name, "file_data": f"data:application/octet-stream;base64,{encoded}"}}


def asking(*parts: Any) -> list[dict[str, Any]]:
    """One turn of the user: strings are words."""
    return [
        {
            "role": "user",
            "content": [{"type": "text", "text": part} if isinstance(part, str) else part for part in parts],
        }
    ]


class Running:
    """A server in a thread, until `stop`."""

    def __init__(self, app: Any):
        self._server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, log_level="error", lifespan="on"))
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started and time.monotonic() < until:
            time.sleep(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)
        assert not self._thread.is_alive()


@pytest.fixture
def serve() -> Iterator[Callable[..., Running]]:
    """Start a server of an engine of its own, with the limits that are given."""
    running: list[Running] = []

    def start(model: str | Path | None = None, engine: dict[str, Any] | None = None, **limits: Any) -> Running:
        made = Engine(shipped_checkpoint() if model is None else model, **(engine or {}))
        running.append(Running(create_app(made, Limits(**limits))))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    running = Running(create_app(Engine(shipped_checkpoint())))
    yield running
    running.stop()
