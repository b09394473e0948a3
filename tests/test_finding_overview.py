"""All findings of an ECG at once are what the pipeline says of each."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ecgllm.answer_calibration_ecgllm import AnswerCalibration, FindingCalibration
from ecgllm.asking import load_answerer
from ecgllm.evaluation.labels_of_records import question_about
from ecgllm.finding_overview import ask_findings
from ecgllm.findings.labels import implied
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signal_ecgllm import ECGInputError
from ecgllm.signals import measure
from ecgllm.signals.simulation import FINDINGS, simulate_ecg

NAMES = ["atrial fibrillation", "sinus bradycardia", "sinus rhythm"]


@pytest.fixture(scope="module")
def answerer() -> Any:
    return load_answerer(shipped_checkpoint())


@pytest.fixture
def calibrated(answerer: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def calibrate(**findings: tuple[float, float, float]) -> None:
        own = {name.replace("_", " "): value for name, value in findings.items()}
        fitted = {
            name: FindingCalibration(slope, intercept, frequency, (name,))
            for name, (slope, intercept, frequency) in own.items()
        }
        monkeypatch.setattr(answerer.processor, "calibration", AnswerCalibration(fitted, "some records"))

    return calibrate


def test_each_is_asked_as_the_pipeline_is_and_the_likeliest_come_first(
    answerer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answerer.processor, "calibration", None)
    record = simulate_ecg(["sinus rhythm", "sinus bradycardia"], seed=5)
    found = ask_findings(answerer, record, NAMES)
    assert {one.finding for one in found} == set(NAMES) and all(one.calibrated is None for one in found)
    assert [one.probability for one in found] == sorted((one.p_yes for one in found), reverse=True)
    told = {"measured": measure(record).figures()} if answerer.processor.reads_measured else {}
    for one in found:
        expected = answerer(question_about(one.finding), ecgs=record, candidates=["yes", "no"], **told)
        assert one.p_yes == pytest.approx(expected["candidates"]["yes"], abs=1e-4)
    assert {one.finding for one in ask_findings(answerer, record)} == set(implied(FINDINGS))


def test_what_a_yes_is_worth_orders_them_where_it_is_known(answerer: Any, calibrated: Callable[..., None]) -> None:
    record = simulate_ecg(["sinus rhythm", "sinus bradycardia"], seed=5)
    calibrated(atrial_fibrillation=(0.0, 2.0, 0.5), sinus_bradycardia=(0.0, -2.0, 0.5))
    found = ask_findings(answerer, record)
    assert [one.finding for one in found] == ["atrial fibrillation", "sinus bradycardia"]
    assert found[0].probability == pytest.approx(0.881, abs=1e-3) == found[0].calibrated.probability
    assert found[0].calibrated.answer == "yes" and found[0].p_yes < 0.5  # its own answer is another
    calibrated(normal_ecg=(1.0, 0.0, 0.5))  # whose question names no finding
    assert ask_findings(answerer, record)[0].calibrated.finding == "normal ecg"
    uncalibrated = ask_findings(answerer, record, ["normal ecg", "sinus rhythm"])
    assert {one.finding: one.calibrated is None for one in uncalibrated} == {"normal ecg": False, "sinus rhythm": True}
    calibrated(atrial_fibrillation=(0.0, 2.0, 0.5))
    rarer = ask_findings(answerer, record, prevalence=0.01)
    assert rarer[0].probability < 0.1


def test_findings_do_not_contradict_each_other(answerer: Any, calibrated: Callable[..., None]) -> None:
    record = simulate_ecg(["sinus rhythm", "sinus bradycardia"], seed=5)
    calibrated(
        left_atrial_enlargement=(0.0, 2.0, 0.5), left_atrial_abnormality=(0.0, -2.0, 0.5), normal_ecg=(0.0, 1.0, 0.5)
    )
    found = {one.finding: one for one in ask_findings(answerer, record)}
    names = ("left atrial enlargement", "left atrial abnormality", "normal ecg")
    enlarged, abnormal, normal = (found[name].probability for name in names)
    assert enlarged <= abnormal + 1e-9 and abnormal + normal <= 1 + 1e-9 and enlarged < 0.88
    assert found["left atrial enlargement"].calibrated.said == "cannot tell"


def test_no_heart_no_findings(answerer: Any) -> None:
    record = simulate_ecg(seed=5)
    with pytest.raises(ECGInputError):
        ask_findings(answerer, replace(record, signal=0 * record.signal))
