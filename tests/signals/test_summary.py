"""summarize: what is doubtful about a record is said, what may name the patient is not."""

import json

import numpy as np
import pytest

from ecgllm.signals import ECGRecord
from ecgllm.signals.summary import as_text, note_kind, summarize


def test_summary_says_what_is_doubtful_about_a_signal() -> None:
    signal = np.zeros((3, 50), dtype=np.float32)
    signal[0, :10] = np.nan
    signal[1] = np.nan
    signal[2, 20] = 15.0
    quality = summarize(ECGRecord(signal=signal, sampling_rate=100.0, leads=("I", "II", "V1")))["quality"]
    assert "lead I: flat (range 0.0000 mV); 20.0% of the samples missing" in quality
    assert "lead II: no sample" in quality
    assert any(doubt.startswith("lead V1: more than 10 mV") for doubt in quality)
    assert any(doubt.startswith("0.50 s long") for doubt in quality)


def test_a_summary_does_not_repeat_what_a_header_says_of_the_patient() -> None:
    record = ECGRecord(
        signal=np.zeros((1, 200), dtype=np.float32),
        sampling_rate=100.0,
        leads=("I",),
        id="Roe-1",
        patient_id="Roe",
        report="Jane Roe, born 1961",
        age=61.0,
        sex="female",
        notes=(
            "the header's age 'Jane Roe 1961' is not a number of years; WFDB's default",
            f"the header's sex {chr(34)}Roe's{chr(34)} is neither",
        ),
    )
    text = json.dumps(summarize(record))
    assert "the header's age (not shown) is not a number of years; WFDB's default" in text
    assert "the header's sex (not shown) is neither" in text
    assert not any(word in text for word in ("Roe", "1961", "61", "female"))


def test_a_summary_is_valid_json_whatever_the_samples() -> None:
    signal = np.full((1, 200), np.nan, dtype=np.float32)
    record = ECGRecord(signal=signal, sampling_rate=100.0, leads=("I",), measurements={"qtc": float("nan")})
    summary = json.loads(json.dumps(summarize(record), allow_nan=False))
    assert summary["leads"] == [{"name": "I", "minimum": None, "maximum": None, "range": None}]
    assert summary["measurements"] == {"qtc": None}
    assert "I      no finite sample" in as_text(summary)


@pytest.mark.parametrize(
    ("note", "kind"),
    [
        ("1,269 samples marked as missing are NaN, in II, PLETH", "... samples marked as missing are NaN"),
        ("left out, as their unit is no voltage: ABP (mmHg)", "left out, as their unit is no voltage"),
        ("segment 32_0001: 80 samples are NaN, in V", "... samples are NaN"),
        ("2 segments, from Mayer on: left out, as they are no ECG: Anna", "left out, as they are no ECG"),
        ("amplitudes reach 1.074e+07 mV, which no ECG does", "amplitudes reach ... mV, which no ECG does"),
        ("filters that the file states: low-pass 150 Hz", "filters that the file states"),
        ("the name 'Mayer, Anna' was read; 12 are left", "the name was read; ... are left"),
    ],
)
def test_the_kind_of_a_note_says_nothing_of_its_file(note, kind):
    assert note_kind(note) == kind
