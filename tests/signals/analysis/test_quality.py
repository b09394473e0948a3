"""What spoils a recording is found, named with its lead and figure, and graded; a good one is called good."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgllm.signals import ECGRecord, assess_quality, iter_ecgs
from ecgllm.signals.analysis.quality import GRADES
from ecgllm.signals.simulation import simulate_ecg


@pytest.fixture(scope="module")
def clean() -> ECGRecord:
    return simulate_ecg(seed=5, sampling_rate=500, noise=0.0)


def spoiled(record: ECGRecord, lead: str, change) -> ECGRecord:
    """The record with one lead's samples changed by `change(samples, times)`."""
    signal = record.signal.copy()
    row = record.leads.index(lead)
    signal[row] = change(signal[row], np.arange(record.n_samples) / record.sampling_rate)
    return replace(record, signal=signal)


def with_gap(samples: np.ndarray, start: int, stop: int) -> np.ndarray:
    samples = samples.copy()
    samples[start:stop] = np.nan
    return samples


@pytest.mark.parametrize("rate", [100, 257, 500, 1000])
def test_a_clean_record_is_good_at_any_rate(rate: int) -> None:
    quality = assess_quality(simulate_ecg(seed=5, sampling_rate=rate, noise=0.0))
    assert (quality.verdict, quality.reasons) == ("good", ())


@pytest.mark.parametrize(
    ("change", "grade", "words"),
    [
        (lambda x, t: np.zeros_like(x), "unusable", "flat"),
        (lambda x, t: np.full_like(x, np.nan), "unusable", "no sample"),
        (lambda x, t: with_gap(x, 100, 200), "acceptable", "2.0% of the samples missing"),
        (lambda x, t: with_gap(x, 100, 1600), "poor", "30.0% of the samples missing"),
        (lambda x, t: x + 0.05 * np.sin(2 * np.pi * 50 * t), "acceptable", "50 Hz powerline interference of 0.05"),
        (lambda x, t: x + 0.2 * np.sin(2 * np.pi * 60 * t), "poor", "60 Hz powerline interference of 0.2"),
        (lambda x, t: x + 0.9 * np.sin(2 * np.pi * 0.2 * t), "acceptable", "baseline wanders over 1."),
        (lambda x, t: x + 3.0 * np.sin(2 * np.pi * 0.2 * t), "poor", "baseline wanders over "),
        (lambda x, t: x + np.random.default_rng(0).normal(scale=0.05, size=x.size), "acceptable", "high-frequency"),
        (lambda x, t: x + np.random.default_rng(0).normal(scale=0.2, size=x.size), "poor", "high-frequency"),
        (lambda x, t: np.clip(x + np.sin(2 * np.pi * t), -0.5, 0.5), "poor", "cut off at its highest or lowest"),
        (lambda x, t: np.where((t > 3) & (t < 4.5), x[1500], x), "acceptable", "one value for 1.5"),
        (lambda x, t: x * 1000, "unusable", "wrong unit"),
    ],
)
def test_what_spoils_a_lead_is_named_with_its_figure(clean: ECGRecord, change, grade: str, words: str) -> None:
    quality = assess_quality(spoiled(clean, "V2", change))
    lead = next(each for each in quality.leads if each.name == "V2")
    assert lead.grade == grade
    assert any(words in reason for reason in lead.reasons), lead.reasons
    assert quality.verdict == ("poor" if grade == "unusable" else grade)
    assert quality.reasons[0].startswith("lead V2: ")
    assert all(each.grade == "good" for each in quality.leads if each.name != "V2")


def test_powerline_interference_is_measured_in_millivolt(clean: ECGRecord) -> None:
    quality = assess_quality(spoiled(clean, "I", lambda x, t: x + 0.08 * np.sin(2 * np.pi * 50 * t)))
    lead = quality.leads[0]
    assert lead.powerline_50_mv == pytest.approx(0.08, rel=0.05)
    assert lead.powerline_50_ratio > 100
    assert lead.powerline_60_mv < 0.005


def test_most_leads_unusable_is_an_unusable_record(clean: ECGRecord) -> None:
    signal = clean.signal.copy()
    signal[:7] = 0
    quality = assess_quality(replace(clean, signal=signal))
    assert quality.verdict == "unusable"
    assert len(quality.reasons) == 7


def test_a_short_record_is_unusable_and_says_what_was_not_measured(clean: ECGRecord) -> None:
    quality = assess_quality(clean.segment(1.0, 0.5))
    assert quality.verdict == "unusable"
    assert quality.reasons[0].startswith("0.50 s are too short")
    assert quality.leads[0].baseline_wander_mv is None
    assert assess_quality(ECGRecord(np.float32([[0.0, 1.0]]), 500.0, ("I",))).verdict == "unusable"
    assert assess_quality(clean.segment(1.0, 1.0)).verdict != "unusable"


def test_at_100_hz_neither_60_hz_interference_nor_noise_is_claimed() -> None:
    lead = assess_quality(simulate_ecg(seed=5, sampling_rate=100)).leads[0]
    assert (lead.powerline_50_mv, lead.powerline_60_mv, lead.noise_mv) == (None, None, None)


def test_odd_records_get_a_verdict_and_valid_json() -> None:
    rng = np.random.default_rng(0)
    for case in range(60):
        leads, samples = int(rng.integers(1, 4)), int(10 ** rng.uniform(0, 3.3))
        signal = rng.normal(size=(leads, samples)) * 10 ** rng.uniform(-3, 3)
        if case % 3 == 0:
            signal[rng.random(signal.shape) < rng.random()] = np.nan
        rate = float(rng.choice([50, 100, 128, 257, 360, 1000]))
        quality = assess_quality(ECGRecord(signal.astype(np.float32), rate, ("I", "II", "V1")[:leads]))
        assert quality.verdict in GRADES
        json.dumps(quality.to_dict(), allow_nan=False)


def test_verdicts_on_real_records(shared_data: Path) -> None:
    records = list(iter_ecgs(shared_data, workers=1, progress=False))[::5]
    if len(records) < 50:
        pytest.skip(f"only {len(records)} records in {shared_data}")
    found = [assess_quality(record) for record in records]
    verdicts = [quality.verdict for quality in found]
    print("\n", len(records), "real records:", {grade: verdicts.count(grade) for grade in GRADES})
    leads = [lead for quality in found for lead in quality.leads]
    for name in (
        "powerline_50_mv",
        "powerline_60_mv",
        "noise_mv",
        "baseline_wander_mv",
        "longest_still_s",
        "saturated_s",
    ):
        values = [value for lead in leads if (value := getattr(lead, name)) is not None]
        print(f"{name}: percentiles 50, 95, 99, 100:", np.percentile(values, [50, 95, 99, 100]).round(3))
    assert verdicts.count("good") >= 0.6 * len(records)
    assert verdicts.count("poor") + verdicts.count("unusable") <= 0.1 * len(records)


@pytest.mark.parametrize(
    "signal",
    [
        lambda rng, time: rng.normal(size=(12, len(time))).cumsum(axis=1) * 0.02,
        lambda rng, time: rng.normal(size=(12, 1)) * rng.normal(size=len(time)).cumsum() * 0.02,
        lambda rng, time: np.sin(2 * np.pi * time) * rng.uniform(0.5, 1, (12, 1)),
    ],
    ids=["Brownian noise", "of one source", "a slow sine"],
)
def test_no_recording_without_beats_is_good(clean: ECGRecord, signal) -> None:
    samples = signal(np.random.default_rng(0), np.arange(5000) / 500).astype(np.float32)
    quality = assess_quality(replace(clean, signal=samples))
    assert quality.verdict == "unusable" and not quality.heart.found
    assert "asystole" in quality.reasons[0] and "ventricular fibrillation" in quality.reasons[0]
    json.dumps(quality.to_dict(), allow_nan=False)


def test_a_lead_that_shows_no_beats_or_is_another_lead_is_poor(clean: ECGRecord) -> None:
    quality = assess_quality(spoiled(clean, "V3", lambda x, t: np.sin(2 * np.pi * 0.7 * t)))
    assert quality.verdict == "poor" and quality.leads[8].beats is False
    assert "lead V3: does not show the beats" in quality.reasons[0]
    copied = assess_quality(spoiled(clean, "V3", lambda x, t: 1.3 * clean.signal[9]))
    assert copied.verdict == "poor" and "lead V4: the same as lead V3" in copied.reasons[0]


@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_real_leads_show_their_beats_and_are_no_copies(half: int, shared_data: Path) -> None:
    records = list(iter_ecgs(shared_data / "ludb"))[half::2] if (shared_data / "ludb").is_dir() else []
    if len(records) < 20:
        pytest.skip(f"only {len(records)} records of LUDB in {shared_data}")
    leads = [lead for record in records for lead in assess_quality(record).leads]
    blind, copies = sum(lead.beats is False for lead in leads), sum(lead.copy_of is not None for lead in leads)
    print(f"\nof {len(leads)} leads {blind} do not show the beats of the others, {copies} are copies")
    assert blind == copies == 0
