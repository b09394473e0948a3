"""The endpoint against a server of this machine: what is sent and how, without identity; retries; keys; refusals."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from math import log
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgllm import ECGError
from ecgllm.evaluation.models import endpoint
from ecgllm.evaluation.models.endpoint import KEY, EndpointModel
from ecgllm.evaluation.models.rewritten_ecgs import as_picture, as_words
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG
from ecgllm.signals import read_ecg

from .chat_server import Served, completion
from .conftest import IDENTITY

YES_NO = ("yes", "no")
A, B = ShownECG("a"), ShownECG("b")
SECRET = "sk-top-secret-1"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT_S", 0.001)
    monkeypatch.delenv(KEY, raising=False)
    with Served() as server:
        yield server


def content(served: Served, number: int = -1) -> Any:
    (message,) = served.got[number][2]["messages"]
    assert message["role"] == "user"
    return message["content"]


def decoded(url: str) -> bytes:
    return base64.b64decode(url.partition(";base64,")[2])


def test_an_ecg_as_a_file(served: Served, shown: Any, tmp_path: Path) -> None:
    model = EndpointModel(served.address, "some/model", more={"seed": 1, "max_tokens": None})
    answers = model.answer([Asked("Is it new?", (A, B), YES_NO, "First {ecg} then {ecg}. {question}")], shown)
    assert answers == [Answer("yes")] and model.name.endswith("#some/model")
    path, headers, body = served.got[0]
    assert path == "/v1/chat/completions" and "Authorization" not in headers
    assert {key: value for key, value in body.items() if key != "messages"} == {
        "model": "some/model", "temperature": 0, "seed": 1,
    }  # fmt: skip
    first, one, then, two, question, choice = content(served)
    assert [part["text"] for part in (first, then, question, choice)] == [
        "First ", " then ", ". Is it new?", "\nAnswer yes or no.",
    ]  # fmt: skip
    for part, name in ((one, A), (two, B)):
        assert part["type"] == "file" and part["file"]["file_data"].startswith("data:text/csv;base64,")
        (tmp_path / part["file"]["filename"]).write_bytes(decoded(part["file"]["file_data"]))
        read = read_ecg(tmp_path / "ecg.csv")
        np.testing.assert_allclose(read.signal, shown[name].signal, atol=6e-5)
        assert (read.sampling_rate, read.leads) == (shown[name].sampling_rate, shown[name].leads)


def test_an_ecg_as_a_picture_or_in_words(served: Served, shown: Any) -> None:
    EndpointModel(served.address, "m", "picture", say_choice=False).answer([Asked("Is it?", (A,), YES_NO)], shown)
    _, picture, question = content(served)
    assert picture["image_url"]["url"].startswith("data:image/png;base64,") and question["text"] == "\nIs it?"
    assert decoded(picture["image_url"]["url"]) == as_picture(shown[A])
    EndpointModel(served.address, "m", "words").answer([Asked("What is it?", (A,))], shown)
    assert content(served) == f"Here is an electrocardiogram: {as_words(shown[A])}\nWhat is it?"


@pytest.mark.parametrize("form", ["file", "picture", "words"])
def test_nothing_of_identity_is_in_a_request(form: str, served: Served, shown: Any, monkeypatch: Any) -> None:
    """The request is that for the bare signal, byte for byte, and holds no word of the identity, decoded or not."""
    model = EndpointModel(served.address, "m", form)
    asked = [Asked("Is there atrial fibrillation?", (A,), YES_NO, finding="atrial fibrillation")]
    model.answer(asked, shown)
    bare = replace(shown[A], **dict.fromkeys(IDENTITY) | {"statements": (), "notes": ()})
    model.answer(asked, {A: bare})
    assert served.got[0][2] == served.got[1][2]
    sent = json.dumps(served.got[0][1:])
    files = [part for part in content(served) if isinstance(part, dict) and part["type"] != "text"]
    for part in files:
        sent += decoded(part.get("image_url", {}).get("url") or part["file"]["file_data"]).decode("latin-1")
    words = ("REC-48151", "PAT-62342", "2019-07-23", "Mustermann", "QUOKKA", "WOMBAT", "NUMBAT", "female", "bundle")
    for word in words:  # long enough not to be in a picture by chance
        assert word not in sent, word


def test_a_busy_server_is_asked_again(served: Served, shown: Any) -> None:
    failing = iter([(429, {"Retry-After": "0"}, b""), (503, {}, b"starting"), (500, {}, b"")])
    served.says = lambda body: next(failing, (200, {}, completion(" no\n")))
    assert EndpointModel(served.address, "m").answer([Asked("Is it?", (A,), YES_NO)], shown) == [Answer("no")]
    assert len(served.got) == 4
    served.says = lambda body: (503, {}, b"overloaded")
    with pytest.raises(ECGError, match="does not answer, 3 times; the last time: HTTP 503: overloaded"):
        EndpointModel(served.address, "m", attempts=3).answer([Asked("Is it?", (A,), YES_NO)], shown)
    assert len(served.got) == 7


def test_each_wait_is_longer_and_the_servers_own_is_kept() -> None:
    waits = [endpoint._wait_s(attempt, None) for attempt in range(1, 12)]
    assert waits[0] < 1 and all(late > early for early, late in zip(waits, waits[2:7], strict=False))
    assert max(waits) < 40 and endpoint._wait_s(1, "7") == 7 and endpoint._wait_s(1, "Wed, 21 Oct 2026") < 1


def test_no_server(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT_S", 0.001)
    with pytest.raises(ECGError, match="does not answer, 2 times; the last time: .*refused"):
        EndpointModel("http://127.0.0.1:9/v1", "m", attempts=2).answer([Asked("Is it?", (), YES_NO)], shown)


def test_requests_run_at_the_same_time_and_answers_keep_their_order(served: Served, shown: Any) -> None:
    def says(body: Any) -> Any:
        time.sleep(0.05)
        return 200, {}, completion(body["messages"][0]["content"].split()[1])

    served.says = says
    asked = [Asked(f"Number {number} is it?", ()) for number in range(12)]
    answers = EndpointModel(served.address, "m", at_once=4).answer(asked, shown)
    assert [answer.text for answer in answers] == [str(number) for number in range(12)]
    assert 2 <= served.most_at_once <= 4


def test_the_key_is_sent_and_never_shown(
    served: Served, shown: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv(KEY, SECRET)
    model = EndpointModel(served.address, "m")
    model.answer([Asked("Is it?", ())], shown)
    assert served.got[0][1]["Authorization"] == f"Bearer {SECRET}"
    for status, way_out in ((401, "does not take the key"), (404, "refuses the request")):
        served.says = lambda body, status=status: (status, {}, f"Incorrect API key {SECRET}".encode())
        with pytest.raises(ECGError, match=way_out) as caught:
            model.answer([Asked("Is it?", ())], shown)
        assert SECRET not in str(caught.value) and "Incorrect API key ***" in str(caught.value)
        assert SECRET not in repr(caught.getrepr(style="long"))
    assert SECRET not in repr(model) and SECRET not in "".join(capsys.readouterr())
    monkeypatch.delenv(KEY)
    with pytest.raises(ECGError, match=f"Set \\${KEY}"):
        served.says = lambda body: (401, {}, b"")
        EndpointModel(served.address, "m").answer([Asked("Is it?", ())], shown)


def test_the_key_goes_nowhere_else(served: Served, shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, SECRET)
    with pytest.raises(ECGError, match="is not encrypted"):
        EndpointModel("http://example.org/v1", "m")
    for count, status in enumerate((302, 307), start=1):  # the first is what urllib follows by itself
        served.says = lambda body, status=status: (status, {"Location": served.address + "/elsewhere"}, b"")
        with pytest.raises(ECGError, match=f"HTTP {status}: .*not followed"):
            EndpointModel(served.address, "m", attempts=1).answer([Asked("Is it?", ())], shown)
        assert len(served.got) == count
    for address in ("ftp://host/v1", "host/v1", "https://user:word@host/v1"):
        with pytest.raises(ECGError, match="address"):
            EndpointModel(address, "m")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"<html>It works</html>", "answers with '<html>It works</html>'; expected JSON"),
        ({"error": "no such model"}, "no such model.*expected choices"),
        ({"choices": []}, "expected choices"),
    ],
)
def test_what_is_no_chat_completion_is_refused(body: Any, message: str, served: Served, shown: Any) -> None:
    served.says = lambda asked: (200, {}, body)
    with pytest.raises(ECGError, match=message):
        EndpointModel(served.address, "m").answer([Asked("Is it?", ())], shown)


def test_one_question_that_is_refused_stops_no_other(served: Served, shown: Any) -> None:
    served.says = lambda body: (
        (400, {}, b"too long") if "long" in body["messages"][0]["content"] else (200, {}, completion("yes"))
    )
    model = EndpointModel(served.address, "m", at_once=1)
    short, long = model.answer([Asked("Is it?", ()), Asked("A long one?", ())], shown)
    assert short == Answer("yes") and long == Answer(None, refused="HTTP 400: too long")
    with pytest.raises(ECGError, match="refuses the request, HTTP 400: too long"):  # where none was ever answered
        EndpointModel(served.address, "m").answer([Asked("A long one?", ())], shown)


def test_what_a_message_may_be(served: Served, shown: Any) -> None:
    said = iter(
        [
            completion([{"type": "text", "text": "no"}, {"type": "text", "text": "ne"}]),
            {"choices": [{"message": {"content": None, "refusal": "I am no doctor"}}]},
            {"choices": [{"message": {"content": " "}, "finish_reason": "length"}]},
        ]
    )
    served.says = lambda body: (200, {}, next(said))
    answers = EndpointModel(served.address, "m", at_once=1).answer([Asked("Is it?", ())] * 3, shown)
    assert answers[0] == Answer("none") and answers[1] == Answer(None, refused="I am no doctor")
    assert "finish_reason 'length'" in answers[2].refused


def test_probabilities_where_the_server_gives_them(served: Served, shown: Any) -> None:
    likely = {" Yes": 0.5, "yes": 0.1, "No": 0.2, "Maybe": 0.2}
    tokens = [{"token": token, "logprob": log(share)} for token, share in likely.items()]
    served.says = lambda body: (200, {}, completion("Yes", logprobs={"content": [{"top_logprobs": tokens}]}))
    (answer,) = EndpointModel(served.address, "m", logprobs=True).answer([Asked("Is it?", (), YES_NO)], shown)
    assert served.got[0][2]["logprobs"] is True and dict(answer.scores) == pytest.approx({"yes": 0.75, "no": 0.25})
