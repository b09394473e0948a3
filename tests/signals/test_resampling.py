"""What a record's resampling keeps, removes and does not move. The filter is that of scipy.signal.resample_poly: it
passes up to 0.8 of the new Nyquist frequency and is 60 dB down from 1.4 of it on; in between it falls."""

import numpy as np
import pytest

from ecgllm.signals import ECGRecord

STEPS = [(1000, 500), (500, 250), (250, 100), (1000, 100), (257, 100)]


def sine(rate, frequency, seconds=20):
    time = np.arange(seconds * rate) / rate
    return ECGRecord(signal=np.sin(2 * np.pi * frequency * time + 0.3)[None], sampling_rate=rate, leads=("II",))


def inner(record, seconds=1):
    edge = round(seconds * record.sampling_rate)
    return record.signal[0, edge:-edge]


@pytest.mark.parametrize(("source", "target"), STEPS)
def test_20_hz_are_kept_within_half_a_percent(source, target):
    expected = sine(target, 20)
    assert np.abs(inner(sine(source, 20).resampled(target)) - inner(expected)).max() < 0.005


def test_20_hz_are_kept_down_the_whole_chain():
    record = sine(1000, 20).resampled(500).resampled(250).resampled(100)
    assert np.abs(inner(record) - inner(sine(100, 20))).max() < 0.005


@pytest.mark.parametrize(("source", "target"), STEPS)
@pytest.mark.parametrize("part", [0.0, 0.3, 0.6, 0.95])
def test_aliases_are_60_db_down(source, target, part):
    lowest, highest = 1.4 * target / 2, source / 2
    folded = inner(sine(source, lowest + part * (highest - lowest)).resampled(target))
    decibel = 20 * np.log10(np.sqrt(2 * np.mean(folded**2)))
    assert decibel < -60, f"{decibel:.1f} dB"


@pytest.mark.parametrize("rates", [(1000, 500, 250, 100), (257, 100), (360, 500, 100)])
def test_a_qrs_at_9_500_s_stays_within_a_sample(rates):
    time = np.arange(10 * rates[0]) / rates[0]
    record = ECGRecord(signal=np.exp(-(((time - 9.5) / 0.012) ** 2) / 2)[None], sampling_rate=rates[0], leads=("II",))
    for rate in rates[1:]:
        record = record.resampled(rate)
    assert abs(record.signal[0].argmax() / rates[-1] - 9.5) <= 1 / rates[-1]
