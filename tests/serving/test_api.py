"""A server as its clients meet it: OpenAI's own client, broken requests, many at once, and its end."""

import base64
import contextlib
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from ecgllm.asking import answer_question, load_answerer
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals import read_ecg
from ecgllm.signals.simulation import simulate_ecg

from .conftest import Running, as_csv, asking, file_part

FIBRILLATION = "Does this ECG show atrial fibrillation?"


@pytest.fixture
def client(server: Running) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_openai_s_client_asks_and_gets_what_ask_says(client: openai.OpenAI, csv_files: list[bytes]) -> None:
    answerer = load_answerer(shipped_checkpoint())
    (model,) = client.models.list().data
    assert model.id == shipped_checkpoint().name == client.models.retrieve(model.id).id
    for data in csv_files:
        for question in (FIBRILLATION, "Which rhythm does the ECG show?", "What is the heart rate?"):
            found = client.chat.completions.create(model=model.id, messages=asking(file_part(data), question))
            expected = answer_question(answerer, [read_ecg(data)], question)
            (choice,) = found.choices
            assert choice.message.content == (expected["answer"] or "cannot tell")
            beside = found.model_extra["ecgllm"]
            assert beside["probability"] == pytest.approx(expected["probability"], abs=1e-4)
            if expected["calibrated"] is not None:  # how right such answers were, too
                own, found_worth = expected["calibrated"]["measured"], beside["calibrated"]["measured"]
                assert found_worth == own and (own is None or "fitted_on" in own)
            assert "Not a medical device" in beside["notice"] and choice.finish_reason == "stop"
            assert beside["ecgs"][0]["measurements"]["heart_rate"]["value"] > 20
            assert (found.usage.prompt_tokens > 0) is (expected["measured"] is None)


def test_candidates_logprobs_and_a_refusal(client: openai.OpenAI, csv_files: list[bytes]) -> None:
    named = ["sinus rhythm", "atrial fibrillation"]
    ask = {"model": "ecgllm", "messages": asking("Which rhythm?", file_part(csv_files[1]))}
    found = client.chat.completions.create(
        **ask, logprobs=True, top_logprobs=2, extra_body={"candidates": named, "prevalence": 0.2}
    )
    scores = found.model_extra["ecgllm"]["candidates"]
    assert scores.keys() == set(named) and found.choices[0].message.content == max(scores, key=scores.get)
    tokens = found.choices[0].logprobs.content
    assert "".join(one.token for one in tokens).strip() == found.choices[0].message.content
    assert all(len(one.top_logprobs) == 2 and one.logprob <= 0 for one in tokens)
    refused = client.chat.completions.create(
        model="ecgllm", messages=asking(file_part(csv_files[0]), "Should I give thrombolysis?"), logprobs=True
    )
    assert "what to do" in refused.choices[0].message.content and refused.choices[0].logprobs is None
    asked = client.chat.completions.create(
        model="ecgllm",
        messages=asking(file_part(csv_files[0]), "Should I give thrombolysis?"),
        extra_body={"check_questions": False},
    )
    assert asked.model_extra["ecgllm"]["refused"] is None or asked.model_extra["ecgllm"]["own"] is not None


@pytest.mark.parametrize("question", [FIBRILLATION, "Which rhythm does the ECG show?", "What is the heart rate?"])
def test_a_streamed_answer_is_the_one_that_is_not(
    client: openai.OpenAI, csv_files: list[bytes], question: str
) -> None:
    ask = {"model": "ecgllm", "messages": asking(file_part(csv_files[2]), question)}
    whole = client.chat.completions.create(**ask)
    chunks = list(client.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}))
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage and chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-2].model_extra["ecgllm"] == whole.model_extra["ecgllm"]
    if question.startswith("Which"):
        assert sum(bool(piece) for piece in pieces) > 1


def test_a_wfdb_record_two_ecgs_and_several_turns(
    client: openai.OpenAI, csv_files: list[bytes], shared_data: Path
) -> None:
    header = sorted((shared_data / "ludb" / "data").glob("*.hea"))[0]
    files = [path for path in header.parent.glob(f"{header.stem}.*") if path.suffix in (".hea", ".dat")]
    parts = [file_part(path.read_bytes(), path.name) for path in files]
    found = client.chat.completions.create(model="ecgllm", messages=asking(*parts, "What is the heart rate?"))
    assert len(found.model_extra["ecgllm"]["ecgs"]) == 1 and "bpm" in found.choices[0].message.content
    question = "Which findings are new in the second ECG?"
    messages = asking(*parts, file_part(csv_files[0]), question)
    both = client.chat.completions.create(model="ecgllm", messages=messages)
    assert len(both.model_extra["ecgllm"]["ecgs"]) == 2 and both.model_extra["ecgllm"]["doubts_about_two"] == []
    messages = asking(file_part(csv_files[0], "a.csv"), file_part(csv_files[0], "b.csv"), question)
    again = client.chat.completions.create(model="ecgllm", messages=messages)
    assert "one recording" in again.model_extra["ecgllm"]["doubts_about_two"][0]
    turns = [
        *asking(file_part(csv_files[1]), "Which rhythm?"),
        {"role": "assistant", "content": "atrial fibrillation"},
    ]
    turns.append({"role": "user", "content": "Is it fast?"})
    answer = client.chat.completions.create(model="ecgllm", messages=turns, extra_body={"candidates": ["yes", "no"]})
    assert answer.choices[0].message.content in ("yes", "no")


def test_what_is_measured_is_measured_in_a_conversation_too(client: openai.OpenAI, csv_files: list[bytes]) -> None:
    system = {"role": "system", "content": "You are a helpful assistant."}

    def ask(*turns: dict[str, Any], **options: Any) -> dict[str, Any]:
        return client.chat.completions.create(model="ecgllm", messages=turns, **options).model_extra["ecgllm"]

    one = asking(file_part(csv_files[1]), "Which rhythm?")
    answered = [*one, {"role": "assistant", "content": "atrial fibrillation"}]
    rate = ask(system, *asking(file_part(csv_files[1]), "What is the heart rate?"))
    assert rate["measured"].startswith("heart rate ") and rate["own"] is None
    assert ask(*answered, {"role": "user", "content": "Is the heart rate above 20?"})["answer"] == "yes"
    assert ask(*answered, {"role": "user", "content": "Should I give amiodarone?"})["refused"] is not None
    asked = {"role": "user", "content": "Should I give amiodarone?"}
    assert ask(*answered, asked, extra_body={"check_questions": False})["own"] is not None
    said = ask(*answered, {"role": "user", "content": "Is it fast?"})  # of what was said before
    assert said["own"] is not None and said["contradicted"] == [] and said["negated"] is False


def test_what_cannot_be_read_is_an_error_of_the_request_when_streamed_too(client: openai.OpenAI) -> None:
    messages = asking(file_part(b"%PDF-1.4 no ECG", "letter.pdf"), FIBRILLATION)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match="letter.pdf"):
            client.chat.completions.create(model="ecgllm", messages=messages, stream=stream)


def test_embeddings(client: openai.OpenAI, csv_files: list[bytes]) -> None:
    given = [base64.b64encode(data).decode() for data in csv_files]
    found = client.embeddings.create(model="ecgllm", input=given)  # which asks for base64 by itself
    plain = client.embeddings.create(model="ecgllm", input=f"data:text/csv;base64,{given[1]}", encoding_format="float")
    vectors = np.array([one.embedding for one in found.data])
    assert vectors.shape[0] == 3 and plain.data[0].embedding == pytest.approx(vectors[1], abs=1e-6)
    assert np.linalg.norm(vectors[0] - vectors[1]) > 1e-3


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"{", 400, "no JSON"),
        (b"[" * 100_000, 400, ""),
        ({}, 400, "messages|model"),
        ({"model": "gpt-4", "messages": asking("Is it?")}, 404, "no model 'gpt-4' here; .* or 'ecgllm'"),
        ({"messages": []}, 400, "messages"),
        ({"messages": asking("Is it?"), "temperature": 0.7}, 400, "temperature is 0.7.*leave it out"),
        ({"messages": asking("Is it?"), "tools": []}, 400, "tools: Extra inputs are not permitted"),
        ({"messages": asking("Is it?"), "n": 2}, 400, "n: Input should be less than or equal to 1"),
        ({"messages": asking("Is it?"), "candidates": ["yes", "yes"]}, 400, "different answers"),
        ({"messages": asking({"type": "image_url", "image_url": {"url": "x"}}, "?")}, 400, "image_url"),
        ({"messages": asking({"type": "file", "file": {"file_id": "x"}}, "?")}, 400, "file_data"),
        ({"messages": asking({"type": "file", "file": {"file_data": "%%"}}, "Is it?")}, 400, "no base64"),
        ({"messages": asking(file_part(b""), "Is it?")}, 400, "the file 'ecg.csv' is empty"),
        ({"messages": asking("Is it \ud800?")}, 400, "half of a surrogate pair"),
        ({"messages": [{"role": "user", "content": "Is it \ud800?"}]}, 400, "half of a surrogate pair"),
        ({"messages": asking("Is it?"), "candidates": ["\ud800", "b"]}, 400, "half of a surrogate pair"),
        ({"messages": asking(*(file_part(b"x", "é" * 200 + end) for end in (".hea", ".dat")), "?")}, 400, "255 bytes"),
        (b'{"model": "ecgllm", "messages": [], "max_tokens": ' + b"9" * 5000 + b"}", 400, "parsing the body"),
        ({"messages": asking(file_part(b"no ECG at all"), "Is it?")}, 400, r"ecg\.csv"),
        ({"messages": asking(file_part(b"I,II,V1\n" + b"1,2,3\n" * 5000), "?")}, 400, '"reading": {"unit": ...}'),
        ({"messages": asking(file_part(b"x"))}, 400, "has no words"),
        ({"messages": asking("Is there atrial fibrillation?")}, 400, "no ECG in this chat"),
        ({"messages": asking(file_part(b"\x01\x02", "17.mat"), "Is it?")}, 400, "send its .hea in the same turn"),
        ({"messages": asking(file_part(b"17 1 500 9", "17.hea"), "?")}, 400, "send the files that it names"),
        ({"messages": [{"role": "assistant", "content": "yes"}]}, 400, "last message is not the user's"),
        ({"messages": [*asking("a"), {"role": "assistant", "content": [file_part(b"x")]}]}, 400, "brings an ECG"),
        ({"messages": asking("Is it normal?"), "max_tokens": 0}, 400, "max_tokens"),
        ({"messages": asking(*[file_part(b"x")] * 17, "Is it?")}, 400, "17 ECGs; expected 16 at most"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_says_why(server: Running, body: Any, status: int, says: str) -> None:
    if isinstance(body, dict) and body:
        body = {"model": "ecgllm", **body}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    found = httpx.post(
        f"{server.url}/v1/chat/completions", content=content, headers={"content-type": "application/json"}
    )
    assert found.status_code == status, found.text
    error = found.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert re.search(says, f"{error['param']} {error['message']}"), error
    assert "Traceback" not in found.text and "/work" not in found.text and "/tmp" not in found.text


def test_other_routes_and_figures(server: Running) -> None:
    assert httpx.get(f"{server.url}/health").json()["status"] == "ok"
    missing = httpx.get(f"{server.url}/v1/nothing")
    assert missing.status_code == 404 and missing.json()["error"]["code"] == "not_found"
    assert httpx.get(f"{server.url}/v1/chat/completions").status_code == 405
    own = httpx.get(f"{server.url}/health", headers={"x-request-id": "mine-1"})
    other = httpx.get(f"{server.url}/health", headers={"x-request-id": "no id\t" + "x" * 100})
    assert own.headers["x-request-id"] == "mine-1" and len(other.headers["x-request-id"]) == 32
    figures = httpx.get(f"{server.url}/metrics").text
    assert 'ecgllm_requests_total{route="/health",status="200"}' in figures and "ecgllm_kept_bytes" in figures


def test_keys_limits_and_a_log_without_words(
    serve: Callable[..., Running], csv_files: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    keys = "a" * 20, "b" * 20
    with caplog.at_level(logging.INFO, logger="ecgllm.serving"):
        running = serve(keys=keys, max_body=1 << 20, per_minute=3)
        url = f"{running.url}/v1/models"
        assert httpx.get(url).status_code == httpx.get(url, headers={"authorization": "Bearer c"}).status_code == 401
        assert httpx.get(f"{running.url}/metrics").status_code == 401
        assert httpx.get(f"{running.url}/health").status_code == 200
        mine, theirs = ({"authorization": f"Bearer {key}"} for key in keys)
        large = httpx.post(f"{running.url}/v1/embeddings", content=b"x" * (2 << 20), headers=mine)
        assert large.status_code == 413 and "larger than 1 MiB" in large.json()["error"]["message"]

        def pieces() -> Iterator[bytes]:  # without a length
            for _ in range(40):
                yield b"x" * (64 << 10)

        with contextlib.suppress(httpx.WriteError):  # it may be ended while it comes
            assert httpx.post(f"{running.url}/v1/embeddings", content=pieces(), headers=mine).status_code == 413
        messages = asking(file_part(csv_files[0], "Mrs Smith.csv"), "Is Mrs Smith's ECG normal?")
        body = {"model": "ecgllm", "messages": messages}
        assert httpx.post(f"{running.url}/v1/chat/completions", json=body, headers=mine).status_code == 200
        late = httpx.get(url, headers=mine)
        assert late.status_code == 429 and "3 times a minute" in late.text and int(late.headers["retry-after"]) > 0
        assert httpx.get(url, headers=theirs).status_code == 200
        time.sleep(0.1)
    lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "ecgllm.serving"]
    assert {line["status"] for line in lines} >= {200, 401, 413, 429}
    (answered,) = [line for line in lines if line["route"] == "/v1/chat/completions"]
    assert answered["ecgs"] == 1 and answered["ms"] > 0 and len(answered["key"]) == 12
    written = json.dumps(lines)
    assert "Smith" not in written and not any(key in written for key in keys)


def test_many_at_once_and_each_gets_the_answer_about_its_own_ecg(serve: Callable[..., Running]) -> None:
    records = [simulate_ecg(seed=seed) for seed in range(12)]
    files = [as_csv(record) for record in records]
    answerer = load_answerer(shipped_checkpoint())
    asked = (FIBRILLATION, "Is the ECG normal?", "Does this ECG show left axis deviation?")
    expected = {
        (number, question): answer_question(answerer, [read_ecg(data)], question)["own"]["probability"]
        for number, data in enumerate(files)
        for question in asked
    }
    running = serve()
    jobs = [(number, question) for number in range(len(files)) for question in asked] * 3

    def ask(job: tuple[int, str]) -> float:
        number, question = job
        body = {"model": "ecgllm", "messages": asking(file_part(files[number]), question)}
        found = httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=60)
        assert found.status_code == 200, found.text
        return found.json()["ecgllm"]["own"]["probability"]

    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(ask, jobs))
    assert found == pytest.approx([expected[job] for job in jobs], abs=1e-4)


def test_a_full_server_says_so_and_an_end_finishes_what_was_begun(
    serve: Callable[..., Running], csv_files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecgllm.serving.engine import Engine

    work = Engine._work
    monkeypatch.setattr(Engine, "_work", lambda self, jobs: (time.sleep(0.4), work(self, jobs))[1])
    running = serve(engine={"most": 1, "waiting": 2})
    body = {"model": "ecgllm", "messages": asking(file_part(csv_files[0]), FIBRILLATION)}

    def ask(_: int = 0) -> int:
        return httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=60).status_code

    assert ask() == 200
    with ThreadPoolExecutor(10) as pool:
        statuses = list(pool.map(ask, range(10)))
        assert set(statuses) == {200, 429} and statuses.count(200) >= 2
        last = pool.submit(ask)
        time.sleep(0.2)
        running.stop()
        assert last.result(20) == 200
    with pytest.raises(httpx.ConnectError):
        ask()


def test_a_client_that_goes_leaves_nothing_behind(serve: Callable[..., Running], csv_files: list[bytes]) -> None:
    running = serve()
    body = {"model": "ecgllm", "messages": asking(file_part(csv_files[0]), FIBRILLATION)}
    for timeout in (0.001, 0.01, 0.05):
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=timeout)
    assert httpx.post(f"{running.url}/v1/chat/completions", json=body, timeout=30).status_code == 200
    assert threading.active_count() < 60


def test_the_guide_s_example_runs(
    server: Running, csv_files: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"^```python\n(.*?)^```", guide, re.M | re.S)
    assert "http://127.0.0.1:8000" in program and '"ecg.xml"' in program
    monkeypatch.chdir(tmp_path)
    Path("ecg.xml").write_bytes(csv_files[1])  # whatever it is called
    names: dict[str, Any] = {}
    exec(compile(program.replace("http://127.0.0.1:8000", server.url), "serve.md", "exec"), names)
    assert names["answer"].model_extra["ecgllm"]["notice"]
