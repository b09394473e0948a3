"""Calibration pulses at an end of a recording: no saturation, no beat, and nothing hidden behind them."""

from dataclasses import replace

import numpy as np
import pytest

from ecgllm.signals import assess_quality, check_leads, measure, read_ecg
from ecgllm.signals.analysis.calibration import recording_within
from ecgllm.signals.simulation import simulate_ecg

RATE = 500


def pulse(leads, noise=0.0, height=1.0):
    """0.47 s as Philips' carts store it: 0.17 s of nothing, 0.2 s of 1 mV, 0.1 s of nothing, in all leads."""
    shape = np.repeat([0.0, height, 0.0], [85, 100, 51]).astype(np.float32)
    return shape + np.random.default_rng(1).normal(0, noise, (leads, len(shape))).astype(np.float32)


def with_pulse(record, where, **options):
    added = pulse(len(record.leads), **options)
    parts = {"first": [added, record.signal], "last": [record.signal, added], "both": [added, record.signal, added]}
    return replace(record, signal=np.hstack(parts[where]))


@pytest.fixture(params=[3, 11])
def record(request):
    return simulate_ecg(seed=request.param, sampling_rate=RATE, duration=10)


@pytest.mark.parametrize(("where", "noise"), [("first", 0.0), ("last", 0.003), ("both", 0.0)])
def test_a_pulse_changes_neither_quality_nor_measurements(record, where, noise):
    added = with_pulse(record, where, noise=noise)
    first, end = recording_within(added.signal, RATE)
    # Where the recording itself touches 0 in all leads, a sample more may go.
    assert abs(first - (0 if where == "last" else 236)) <= 5
    assert abs(added.n_samples - end - (0 if where == "first" else 236)) <= 5
    plain, found = assess_quality(record), assess_quality(added)
    assert found.verdict == plain.verdict and found.reasons[:-1] == plain.reasons
    assert "like a calibration pulse" in found.reasons[-1] and len(found.calibration) == (2 if where == "both" else 1)
    shift = first / RATE
    assert found.heart.beats == pytest.approx(plain.heart.beats + shift, abs=0.02)
    before, after = measure(record), measure(added)
    assert after.beats == pytest.approx(np.array(before.beats) + shift, abs=0.02)
    assert after.values() == pytest.approx(before.values(), abs=4)
    assert check_leads(added).exchange == check_leads(record).exchange
    assert [law.holds for law in check_leads(added).laws] == [law.holds for law in check_leads(record).laws]


def test_saturation_is_still_found(record):
    """In one lead, in the whole of its course, and in a lead that is cut off beside a pulse."""
    signal = record.signal.copy()
    signal[6] = np.clip(signal[6], -0.1, np.median(signal[6]) + 0.02)
    cut_off = replace(record, signal=signal)
    for added in (cut_off, with_pulse(cut_off, "last")):
        (reason,) = [reason for reason in assess_quality(added).reasons if reason.startswith("lead V1")]
        assert "cut off at its highest or lowest value" in reason


def test_what_is_no_pulse_is_kept(record):
    """Leads that are one lead over again, flat ends, a pulse in some of the leads, two leads alone, a long stretch."""
    samples = record.n_samples
    copies = np.repeat(record.signal[1:2], 12, axis=0)
    flat = np.hstack([record.signal, np.zeros((12, 300), np.float32)])
    some = record.signal.copy()
    some[:11, -236:] = pulse(11)
    long = np.hstack([record.signal, np.tile(pulse(12), 12)])
    for signal in (record.signal, copies, flat, some, record.signal[:2], long):
        assert recording_within(signal, RATE) == (0, signal.shape[1])
    assert samples == 5000


def test_real_recordings_are_kept_whole(shared_data):
    """323 records: no ECG ends in a stretch that all of its leads share; 3 s."""
    paths = sorted(shared_data.rglob("*.hea"))
    assert len(paths) > 300
    for path in paths:
        record = read_ecg(path)
        assert recording_within(record.signal, record.sampling_rate) == (0, record.n_samples), path.name


@pytest.mark.parametrize("name", ["philips-repbeats", "philips-xli-103-129DYPRG", "philips-xli-104-demo"])
def test_philips_files_are_judged_without_their_pulse(shared_vendor, name):
    pytest.importorskip("ecgdatakit")
    record = read_ecg(shared_vendor / f"{name}.xml")
    (note,) = [note for note in record.notes if "calibration pulse" in note]
    _, end = recording_within(record.signal, 500)
    assert 0.39 < (record.n_samples - end) / 500 < 0.5 and f"record.segment(0.00, {end / 500:.2f})" in note
    quality = assess_quality(record)
    assert not [reason for reason in quality.reasons if "cut off" in reason]
    whole = assess_quality(replace(record, signal=record.signal[:, :end]))
    assert (quality.verdict, quality.reasons[:-1]) == (whole.verdict, whole.reasons)
    found = measure(record)
    assert found.beats == measure(replace(record, signal=record.signal[:, :end])).beats
    assert max(found.beats) < end / 500 and any("was left out" in note for note in found.notes)
