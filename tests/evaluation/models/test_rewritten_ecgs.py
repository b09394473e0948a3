"""ECGs written anew: the signal as it was, and nothing of whose it is."""

from __future__ import annotations

import base64
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

from ecgllm.evaluation.models.rewritten_ecgs import anonymous, as_csv, as_picture, as_samples, as_words
from ecgllm.signals import ECGRecord, measure, read_ecg

from .conftest import IDENTITY


def test_the_record_in_these_tests_has_every_field_that_could_name_somebody(identified: ECGRecord) -> None:
    left = {field.name for field in fields(ECGRecord)} - set(IDENTITY) - {"signal", "sampling_rate", "leads"}
    assert left <= {"finding_leads"}, f"{left}: what of them is in a record that is shown?"
    bare = anonymous(identified)
    assert all(getattr(bare, name) != getattr(identified, name) for name in IDENTITY)


@pytest.mark.parametrize("form", [as_csv, as_samples, as_picture, as_words])
def test_nothing_but_the_signal_is_in_what_is_written(form, identified: ECGRecord) -> None:
    assert form(identified) == form(ECGRecord(identified.signal, identified.sampling_rate, identified.leads))
    assert form(replace(identified, signal=identified.signal * 0.5)) != form(identified)


def test_the_table_is_read_back(identified: ECGRecord, tmp_path: Path) -> None:
    signal = identified.signal.copy()
    signal[2, 10:20] = np.nan
    (tmp_path / "x.csv").write_bytes(as_csv(replace(identified, signal=signal)))
    read = read_ecg(tmp_path / "x.csv")
    assert (read.sampling_rate, read.leads) == (identified.sampling_rate, identified.leads)
    np.testing.assert_allclose(read.signal, signal, atol=6e-5)


def test_samples_are_exact(identified: ECGRecord) -> None:
    given = as_samples(identified)
    signal = np.frombuffer(base64.b64decode(given["signal"]), "<f4").reshape(len(given["leads"]), given["samples"])
    np.testing.assert_array_equal(signal, identified.signal)


def test_a_picture_says_nothing_that_was_measured(identified: ECGRecord) -> None:
    picture = as_picture(identified)
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and picture != as_picture(identified, measuring=True)
    assert b"tEXt" not in picture.replace(b"tEXtSoftware", b"")


def test_words_hold_measurements_beats_and_a_strip(identified: ECGRecord) -> None:
    rate = measure(anonymous(identified)).values()["heart_rate"]
    words = as_words(identified)
    assert f"heart rate {rate:.0f} bpm" in words and len(words) < 9000
    rows = {line.partition(":")[0]: line.partition(": ")[2].split() for line in words.splitlines()}
    assert len(rows["V1"]) == 35 and len(rows["II"]) == 200  # 700 ms, and 4 s
    assert max(range(35), key=lambda step: abs(int(rows["V1"][step]))) in range(9, 18)  # QRS is in the middle
    assert "heart rate" not in as_words(identified, measured=False)


def test_words_of_what_is_no_ecg_say_so(identified: ECGRecord) -> None:
    signal = np.zeros_like(identified.signal)
    signal[0] = np.nan
    words = as_words(replace(identified, signal=signal))
    assert "No heart beats" in words and "Measured by a program: nothing." in words and "\nI: ? ? ?" in words
