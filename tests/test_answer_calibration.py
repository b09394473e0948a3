"""What a yes is worth: which questions are calibrated, at which frequency, and what a broken file is told."""

import json
from pathlib import Path

import pytest
from scipy.special import expit, logit

from ecgllm.answer_calibration_ecgllm import (
    FILE,
    AnswerCalibration,
    FindingCalibration,
    read_calibration,
    said,
    write_calibration,
)
from ecgllm.errors_ecgllm import CheckpointError, ECGError

OWN = AnswerCalibration(
    {
        "atrial fibrillation": FindingCalibration(0.5, -2.0, 0.1, ("atrial fibrillation", "AF", "a-fib"), 10, 90),
        "bundle branch block": FindingCalibration(1.0, 0.0, 0.2, ("bundle branch block", "BBB")),
        "right bundle branch block": FindingCalibration(1.0, 0.0, 0.1, ("right bundle branch block", "RBBB")),
        "normal ecg": FindingCalibration(1.0, 0.0, 0.5, ("normal ecg", "no abnormality")),
    },
    "100 records",
    ("left bundle branch block", "atrial flutter"),
)


@pytest.mark.parametrize(
    ("question", "finding"),
    [
        ("Is there atrial fibrillation?", "atrial fibrillation"),
        ("AF?", "atrial fibrillation"),
        ("a fib on this tracing?", "atrial fibrillation"),
        ("Does it show Bundle  Branch-Block?", "bundle branch block"),
        ("Is right bundle branch block present?", "right bundle branch block"),
        ("Is there left bundle branch block?", None),  # known, and not calibrated
        ("Is there alternating bundle branch block?", None),
        ("Is there paroxysmal AF?", None),
        ("Is it AF or a bundle branch block?", None),
        ("AF or atrial flutter?", None),
        ("Is this ECG free of atrial fibrillation?", None),
        ("Isn't there atrial fibrillation?", None),
        ("Atrial fibrillation, right?", None),
        ("A colleague thinks that it is AF. Is it?", None),
        ("Is RBBB seen in lead V1?", None),
        ("Is there new AF?", None),
        ("Is there no abnormality?", "normal ecg"),
        ("Are there grafts of AFRICA?", None),
        ("Is there AF in I?", None),
        ("Will there be atrial fibrillation?", None),
        ("Had the patient atrial fibrillation?", None),
        ("The cardiologist reported AF. Do you see it?", None),
        ("Can an ECG show atrial fibrillation?", None),
        ("AF (-)?", None),
        ("Please check this ECG: is there AF?", "atrial fibrillation"),
        ("What is the rhythm?", None),
        ("", None),
    ],
)
def test_plain_questions_about_one_finding(question: str, finding: str | None) -> None:
    assert OWN.finding_of(question) == finding
    found = OWN.of(question, 0.9)
    assert (found is None) if finding is None else (found.finding == finding)
    assert OWN.of(question, 0.9, ecgs=2) is None


def test_probabilities_at_the_fitted_and_at_another_frequency() -> None:
    one = OWN.findings["atrial fibrillation"]
    assert one.probability(0.8) == pytest.approx(expit(0.5 * logit(0.8) - 2))
    rare = one.probability(0.8, 0.01)
    # Bayes: the odds change as those of the frequency do.
    assert rare / (1 - rare) == pytest.approx(one.probability(0.8) / (1 - one.probability(0.8)) / 11)
    assert one.probability(0.8, 0.1) == pytest.approx(one.probability(0.8))
    assert (one.probability(0.8, 0.0), one.probability(0.8, 1.0)) == (0, 1)
    assert 0 < one.probability(0.0) < one.probability(1.0) < 1
    for given in ((1.2,), (0.5, -1), (float("nan"),)):
        with pytest.raises(ECGError, match="expected a probability"):
            one.probability(*given)
    found = OWN.of("AF?", 0.8, frequency=0.9)
    assert (found.said, found.answer, found.frequency) == ("sure", "yes", 0.9)


def test_how_sure() -> None:
    told = [said(value) for value in (0.0, 0.05, 0.06, 0.2, 0.21, 0.59, 0.6, 0.89, 0.9, 1.0)]
    no, yes = "no", "yes"
    assert told == [("sure", no), ("sure", no), ("likely", no), ("likely", no), ("cannot tell", None),
                    ("cannot tell", None), ("likely", yes), ("likely", yes), ("sure", yes), ("sure", yes)]  # fmt: skip


def test_a_file_says_the_same(tmp_path: Path) -> None:
    assert read_calibration(tmp_path) is None
    write_calibration(OWN, tmp_path)
    assert read_calibration(tmp_path) == OWN


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.pop("findings"),
        lambda values: values.update(fitted_on=3),
        lambda values: values["findings"]["normal ecg"].update(slope="1"),
        lambda values: values["findings"]["normal ecg"].update(slope=-1.0),
        lambda values: values["findings"]["normal ecg"].update(frequency=0.0),
        lambda values: values["findings"]["normal ecg"].pop("names"),
        lambda values: values["findings"]["normal ecg"].update(more=1),
        lambda values: values.update(other_names=[" "]),
        lambda values: values.update(findings=[1]),
        lambda values: values["findings"]["normal ecg"].update(names="AF"),
        lambda values: values.update(measured="abc"),
        lambda values: values.update(weights=3),
    ],
)
def test_a_broken_file_is_named(tmp_path: Path, change) -> None:
    values = json.loads(json.dumps(OWN.to_dict()))
    change(values)
    (tmp_path / FILE).write_text(json.dumps(values))
    with pytest.raises(CheckpointError, match="is no calibration"):
        read_calibration(tmp_path)
    (tmp_path / FILE).write_text("{")
    with pytest.raises(CheckpointError, match="is no JSON"):
        read_calibration(tmp_path)
