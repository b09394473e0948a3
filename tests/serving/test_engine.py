"""What the engine says of an ECG is what `ecgllm ask` says, whoever asks beside."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from ecgllm.asking import answer_question, load_answerer
from ecgllm.embedding import load_embedder
from ecgllm.errors_ecgllm import ECGError
from ecgllm.serving import Engine
from ecgllm.serving.batching import Busy
from ecgllm.serving.engine import GivenUp, TooLate
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals import ECGReadError, read_ecg

ASKED = (
    ("Does this ECG show atrial fibrillation?", {}),
    ("Does this ECG show sinus bradycardia?", {"prevalence": 0.3}),
    ("What rhythm is this?", {}),
    ("What is the heart rate?", {}),
    ("Should I give thrombolysis?", {}),
    ("Which rhythm?", {"candidates": ["sinus rhythm", "atrial fibrillation"]}),
)


def same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[name]) for name, value in one.items())
    return one == pytest.approx(other, abs=1e-4) if isinstance(one, float) else one == other


def test_answers_are_those_of_ask_one_by_one_and_all_at_once(engine: Engine, csv_files: list[bytes]) -> None:
    answerer = load_answerer(shipped_checkpoint())
    expected = [
        answer_question(answerer, [read_ecg(data)], question, **options)
        for data in csv_files
        for question, options in ASKED
    ]

    def ask(data: bytes, question: str, options: dict[str, Any]) -> dict[str, Any]:
        one = engine.asking()
        return one.answer([one.read({"ecg.csv": data})], question, **options)

    jobs = [(data, question, options) for data in csv_files for question, options in ASKED]
    alone = [ask(*job) for job in jobs]
    assert all(map(same, alone, expected))
    before = engine.batcher.batches, engine.batcher.jobs
    with ThreadPoolExecutor(18) as pool:
        together = list(pool.map(lambda job: ask(*job), jobs * 2))
    assert all(map(same, together, expected * 2))
    batches, done = engine.batcher.batches - before[0], engine.batcher.jobs - before[1]
    assert done > 1.5 * batches  # they were answered together


def test_two_ecgs_and_a_conversation(engine: Engine, csv_files: list[bytes]) -> None:
    one = engine.asking()
    ecgs = [one.read({"ecg.csv": data}) for data in csv_files[:2]]
    answerer, records = load_answerer(shipped_checkpoint()), [ecg.record for ecg in ecgs]
    question = "Which findings are new in the second ECG?"
    assert same(one.answer(ecgs, question), answer_question(answerer, records, question))
    turns = [
        {"role": "user", "content": [{"type": "ecg"}, {"type": "text", "text": "\nWhat rhythm is this?"}]},
        {"role": "assistant", "content": "sinus rhythm"},
        {"role": "user", "content": "Is it fast?"},
    ]
    with_ecg = [{**turns[0], "content": [{"type": "ecg", "ecg": records[0]}, turns[0]["content"][1]]}, *turns[1:]]
    found, expected = one.converse(turns, ecgs[:1]), answerer(with_ecg)
    assert found["generated_text"] == expected["generated_text"]
    assert found["probability"] == pytest.approx(expected["probability"], abs=1e-4)
    assert one.prompt_tokens > 0 and one.completion_tokens > 0


def test_an_ecg_is_read_and_encoded_once_for_each_owner(engine: Engine, csv_files: list[bytes]) -> None:
    one = engine.asking(owner="somebody")
    ecg = one.read({"ecg.csv": csv_files[0]})
    jobs = engine.batcher.jobs
    assert engine.asking(owner="somebody").read({"ecg.csv": csv_files[0]}) is ecg and engine.batcher.jobs == jobs
    assert engine.asking(owner="another").read({"ecg.csv": csv_files[0]}) is not ecg
    embedder = load_embedder(str(shipped_checkpoint()))
    assert one.embed(ecg) == pytest.approx(np.asarray(embedder(ecg.record)).ravel(), abs=1e-5)


def test_pieces_are_what_is_written(engine: Engine, csv_files: list[bytes]) -> None:
    one, pieces = engine.asking(), []
    ecg = one.read({"ecg.csv": csv_files[1]})
    answer = one.answer([ecg], "Which rhythm does the ECG show?", on_text=pieces.append)
    assert "".join(pieces) == answer["generated"]["text"] and len(pieces) > 1


def test_token_scores_add_up_to_the_answer(engine: Engine, csv_files: list[bytes]) -> None:
    one = engine.asking()
    ecg = one.read({"ecg.csv": csv_files[1]})
    found = one.converse(engine.processor.build_conversation("Which rhythm does the ECG show?", [{}]), [ecg])
    scores = one.token_scores(found["generated_text"], top=3)
    assert np.exp(sum(each["logprob"] for each in scores)) == pytest.approx(found["probability"], rel=1e-3)
    for each in scores:
        values = [top["logprob"] for top in each["top"]]
        assert values == sorted(values, reverse=True) and len(values) == 3
        assert each["top"][0]["token"] == each["token"] and values[0] == pytest.approx(each["logprob"])  # greedy


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"a.csv": b"no ECG"}, r"a\.csv: "),
        ({"a.csv": b"1", "b.csv": b"2"}, r"a\.csv, b\.csv of one ECG; expected one file, or a WFDB record"),
        ({"a.hea": b"a 1 500 5000\n../../etc/passwd 16 1000/mV 16 0 0 0 0 I\n", "a.dat": b"x"}, "outside"),
        ({"a.hea": b"a 1 500 5000\na.dat 16 1000/mV 16 0 0 0 0 I\n", "../a.dat": b"x"}, "without a folder"),
        ({"a.hea": b"a 1 500 5000\na.dat 16 1000/mV 16 0 0 0 0 I\n", "a.dat": b"x"}, r"^a\.|a\.dat|a\.hea"),
    ],
)
def test_what_is_no_ecg_is_refused_without_this_machine_s_paths(
    engine: Engine, files: dict[str, bytes], says: str
) -> None:
    with pytest.raises(ECGReadError, match=says) as caught:
        engine.asking().read(files)
    assert "ecgllm-" not in str(caught.value) and "/tmp" not in str(caught.value)


def test_no_heart_and_too_much(csv_files: list[bytes], engine: Engine) -> None:
    rows = csv_files[0].splitlines()
    flat = b"\n".join([*rows[:3], *[b",".join([b"0"] * 12)] * len(rows[3:])])
    with pytest.raises(ECGError):
        engine.asking().read({"flat.csv": flat})
    small = Engine(shipped_checkpoint(), max_bytes=1 << 20)
    with pytest.raises(ECGReadError, match="larger than 1 MiB"):
        small.asking().read({"ecg.csv": b"0" * (1 << 21)})
    small.close()


def test_one_that_fails_does_not_fail_the_others(engine: Engine, csv_files: list[bytes]) -> None:
    one = engine.asking()
    ecg = one.read({"ecg.csv": csv_files[0]})
    long = " ".join(["word"] * 5000)  # more tokens than the model has places for

    def ask(question: str) -> Any:
        try:
            return engine.asking().answer([ecg], question, ["yes", "no"])["answer"]
        except ECGError as error:
            return error

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, ["Is it normal?", long, "Is it fast?"] * 2))
    assert [isinstance(each, ECGError) for each in found] == [False, True, False] * 2


def test_a_request_ends_in_time_and_can_be_given_up(csv_files: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    slow = Engine(shipped_checkpoint(), most=1, waiting=2)
    ecg = slow.asking().read({"ecg.csv": csv_files[0]})
    begin, work = threading.Event(), slow.batcher._work
    monkeypatch.setattr(slow.batcher, "_work", lambda jobs: (begin.wait(10), work(jobs))[1])
    question = "Is it normal?"
    with pytest.raises(TooLate):
        slow.asking(seconds=0.3).answer([ecg], question, ["yes", "no"])
    one, ended = slow.asking(), []

    def ask() -> None:
        try:
            one.answer([ecg], question, ["yes", "no"])
        except GivenUp:
            ended.append(time.monotonic())

    waiting = threading.Thread(target=ask)
    waiting.start()
    time.sleep(0.2)
    started = time.monotonic()
    one.give_up()
    waiting.join(5)
    assert ended and ended[0] - started < 2
    slow.batcher.submit(None).cancel()
    with pytest.raises(Busy):
        slow.asking().answer([ecg], question, ["yes", "no"])
    begin.set()
    slow.close()
