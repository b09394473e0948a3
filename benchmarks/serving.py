"""A server under load: `python benchmarks/serving.py [--seconds 30] [--clients 64] [--model CHECKPOINT]`.

Starts `ecgllm serve`, and asks it about simulated ECGs: what the second question about an ECG takes beside the first;
then many clients at once, each answer held against the one that was given alone; and the server's memory before and
after.
"""

from __future__ import annotations

import argparse
import base64
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from ecgllm.signals.simulation import simulate_ecgs

QUESTIONS = (
    "Does this ECG show atrial fibrillation?",
    "Is this ECG normal?",
    "Does this ECG show left axis deviation?",
)


def body(file: bytes, question: str) -> dict:
    part = {"type": "file", "file": {"filename": "ecg.csv", "file_data": base64.b64encode(file).decode()}}
    return {"model": "ecgllm", "messages": [{"role": "user", "content": [part, {"type": "text", "text": question}]}]}


def memory_mib(process: int) -> float:
    text = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--records", type=int, default=40)
    parser.add_argument("--model")
    given = parser.parse_args()
    files = []
    for record in simulate_ecgs(given.records, 1):
        rows = [f"# sampling_rate: {record.sampling_rate:g}", "# unit: mV", ",".join(record.leads)]
        files.append("\n".join(rows + [",".join(f"{one:.4f}" for one in row) for row in record.signal.T]).encode())
    with tempfile.TemporaryFile("w+") as log:
        command = [sys.executable, "-m", "ecgllm.cli", "serve", "--port", "0", "--at-once", str(2 * given.clients)]
        command += ["--model", given.model] if given.model else []
        server = subprocess.Popen(command, stderr=log, text=True)
        try:
            measure(given, files, server.pid, address_of(log))
        finally:
            server.terminate()
            server.wait(60)


def address_of(log) -> str:
    until = time.monotonic() + 120
    while time.monotonic() < until:
        log.seek(0)
        if found := re.search(r"http://\S+", log.read()):
            return found[0]
        time.sleep(0.1)
    raise SystemExit("the server did not start")


def measure(given: argparse.Namespace, files: list[bytes], process: int, url: str) -> None:
    def ask(client: httpx.Client, number: int, question: str) -> tuple[float, float]:
        started = time.perf_counter()
        found = client.post(f"{url}/chat/completions", json=body(files[number], question), timeout=120)
        found.raise_for_status()
        return found.json()["ecgllm"]["own"]["probability"], time.perf_counter() - started

    with httpx.Client(transport=httpx.HTTPTransport(retries=20)) as client:
        ask(client, 0, QUESTIONS[0])  # what is loaded at first use
        times: dict[str, list[float]] = {"first": [], "second": []}
        expected = {}
        for number in range(1, len(files)):
            for place, question in enumerate(QUESTIONS):
                expected[number, question], taken = ask(client, number, question)
                times["first" if place == 0 else "second"].append(taken)
    first, second = (1000 * statistics.median(times[name]) for name in ("first", "second"))
    print(f"a question about a new ECG {first:.0f} ms, a further one {second:.0f} ms: {second / first:.2f} of it")
    before, wrong, taken, counted = memory_mib(process), 0, [], threading.Lock()
    until = time.monotonic() + given.seconds

    def client_of(seed: int) -> None:
        nonlocal wrong
        rng = random.Random(seed)
        with httpx.Client() as client:
            while time.monotonic() < until:
                number, question = rng.choice(list(expected))
                found, seconds = ask(client, number, question)
                with counted:
                    taken.append(seconds)
                    wrong += abs(found - expected[number, question]) > 1e-3

    started = time.monotonic()
    with ThreadPoolExecutor(given.clients) as pool:
        list(pool.map(client_of, range(given.clients)))
    seconds = time.monotonic() - started
    load = f"{given.clients} clients, {seconds:.0f} s: {len(taken)} answers, {len(taken) / seconds:.1f} a second"
    memory = f"memory {before:.0f} -> {memory_mib(process):.0f} MiB"
    print(f"{load}, median {1000 * statistics.median(taken):.0f} ms; {wrong} other than alone; {memory}")


if __name__ == "__main__":
    main()
