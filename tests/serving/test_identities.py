"""Whose ECG it is stands in no answer, error, log line, drawing or kept record, whatever a file says."""

import json
import logging
import time
from dataclasses import fields
from typing import Any

import httpx
import numpy as np
import pytest

from ecgllm.serving import Engine
from ecgllm.serving.app import drawn, shown
from ecgllm.signals import read_ecg
from ecgllm.signals.simulation import simulate_ecg

from ..signals.conftest import Written
from .conftest import Running, asking, file_part

SECRETS = (Written.NAME, Written.GIVEN, Written.NUMBER, Written.BORN, "1945-02-03")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Format -> a file that names its patient."""
    counts = np.round(simulate_ecg(seed=5, sampling_rate=500).signal * 1000).astype(np.int64)
    eight = counts[[Written.LEADS.index(lead) for lead in Written.EIGHT]]
    six = np.round(simulate_ecg(seed=5, sampling_rate=300).signal[:6] * 2000).astype(np.int64)
    made = {
        "dicom": Written.dicom(counts),
        "edf": Written.edf(tmp_path_factory.mktemp("edf"), counts),
        "hl7": Written.hl7(counts // 5),
        "muse": Written.muse(np.round(eight / 4.88).astype(np.int64)),
        "scp": Written.scp(eight),
        "mfer": Written.mfer(counts),
        "kardia": Written.kardia(six),
    }
    assert all(any(secret.encode() in data for secret in SECRETS) for data in made.values())
    return made


def test_in_no_answer_error_or_log_line(
    server: Running, files: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    said = []
    with caplog.at_level(logging.DEBUG, logger="ecgllm"):
        for data in files.values():
            for sent, status in ((data, 200), (data[: len(data) // 2], 400)):
                body = {"model": "ecgllm", "messages": asking(file_part(sent, "a.bin"), "What is the heart rate?")}
                found = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
                assert found.status_code in (status, 200), found.text  # half of some files is a shorter ECG
                said.append(found.text)
        time.sleep(0.3)  # a line is written once the answer is sent
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("ecgllm")]
    assert len(lines) >= 2 * len(files) and all(json.loads(line)["route"] for line in lines if line.startswith("{"))
    for text in (*said, *lines):
        assert not any(secret in text for secret in SECRETS), text


def test_in_nothing_that_is_kept_or_shown(engine: Engine, files: dict[str, bytes]) -> None:
    for data in files.values():
        ecg = engine.asking().read({"a.bin": data})
        kept = {field.name: getattr(ecg.record, field.name) for field in fields(ecg.record) if field.name != "signal"}
        pages = [json.dumps(drawn.drawn([("ECG", ecg)])), shown.figures(ecg), shown.differences(ecg, ecg)]
        for text in (*pages, repr(kept), repr(ecg.notes), repr(ecg.doubts), str(ecg.patient)):
            assert not any(secret in text for secret in SECRETS), text


def test_two_of_one_patient_are_told_from_two_of_two(engine: Engine, files: dict[str, bytes]) -> None:
    def read(number: str, kind: str) -> Any:
        data = files[kind].replace(Written.NUMBER.encode(), number.encode())
        return engine.asking().read({"a.bin": data})

    same, other = [read(number, "dicom") for number in (Written.NUMBER, "MRN0815472")]
    assert read_ecg(files["dicom"], keep_identity=True).patient_id == Written.NUMBER
    assert same.patient and other.patient and same.patient != other.patient
    assert read(Written.NUMBER, "hl7").patient == same.patient
    assert "different patients" in shown.differences(same, other)
    assert "different patients" not in shown.differences(same, read(Written.NUMBER, "hl7"))


def test_questions_are_not_in_the_log(
    server: Running, csv_files: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="ecgllm"):
        body = {"model": "ecgllm", "messages": asking(file_part(csv_files[0]), "Is Mr Featherstone's ECG normal?")}
        assert httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
        time.sleep(0.3)  # the line is written once the answer is sent
    lines = [record.getMessage() for record in caplog.records if record.name.startswith("ecgllm")]
    assert lines and not any("Featherstone" in line for line in lines)
