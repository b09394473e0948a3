"""Noise as recorders leave it: its spectrum, its course within a record, and what their filters take away."""

import numpy as np
import pytest

from ecgllm.signals.simulation.noise import draw_noise
from ecgllm.signals.simulation.wishes import NOISES

NARROW, WIDE = 0.0033, 0.00088  # seconds: low-passes of 40 and of 150 Hz


def noise_of(rate: float = 500.0, smoothing: float = WIDE, wanted: tuple | None = (), n: int = 64) -> np.ndarray:
    """mV in I, II, V1-V6 [n, 8, samples]; `wanted` empty: nothing is spoilt."""
    times = np.arange(round(10 * rate)) / rate
    return draw_noise(np.random.default_rng(3), n, times, 1.0, wanted, np.full((n, 1), smoothing))[0]


def power(noise: np.ndarray, rate: float, low: float, high: float) -> np.ndarray:
    """[n] mV^2 in a band, mean over leads."""
    spectrum = np.square(np.abs(np.fft.rfft(noise, axis=-1))) * 2 / noise.shape[-1] ** 2
    hz = np.fft.rfftfreq(noise.shape[-1], 1 / rate)
    return spectrum[..., (hz >= low) & (hz < high)].sum(axis=-1).mean(axis=1)


def test_power_falls_with_the_frequency_as_between_real_beats():
    """Medians of 322 real records: 20-30 Hz -2 dB, 65-95 Hz -11 dB of 1 uV^2 a Hz."""
    noise = noise_of()
    low, high = (10 * np.log10(power(noise, 500, *band) * 1e6 / (band[1] - band[0])) for band in ((20, 30), (65, 95)))
    assert -5 < np.median(low) < 1 and -14 < np.median(high) < -6
    assert np.median(low - high) > 4 and np.ptp(np.quantile(low, [0.05, 0.95])) > 5


def test_the_size_of_noise_does_not_depend_on_the_rate():
    band = (5, 40)
    medians = [np.median(power(noise_of(rate), rate, *band)) for rate in (100.0, 250.0, 500.0)]
    assert max(medians) < 1.3 * min(medians)


def test_a_recorders_low_pass_takes_fast_noise_and_leaves_slow():
    narrow, wide = noise_of(smoothing=NARROW), noise_of(smoothing=WIDE)
    fast = [np.median(power(noise, 500, 70, 100)) for noise in (narrow, wide)]
    slow = [np.median(power(noise, 500, 3, 10)) for noise in (narrow, wide)]
    assert fast[0] < 0.35 * fast[1] and 0.7 < slow[0] / slow[1] < 1.4


def test_some_recorders_filter_the_drift_away():
    noise = noise_of(100.0, n=128)
    slow_share = np.sqrt(power(noise, 100, 0.05, 0.2) / power(noise, 100, 0.3, 0.8))
    assert 0.12 < np.mean(slow_share < 0.3) < 0.5


def test_noise_swells_and_fades_within_a_record():
    """Loudest against usual 0.2 s, 20 to 100 Hz: real 1.4 to 3.3, steady noise about 1.35."""
    noise = noise_of()
    spectrum = np.fft.rfft(noise, axis=-1)
    hz = np.fft.rfftfreq(noise.shape[-1], 1 / 500)
    fast = np.fft.irfft(spectrum * ((hz >= 20) & (hz < 100)), noise.shape[-1], axis=-1)
    windows = fast.reshape(*fast.shape[:2], -1, 100).std(axis=-1)
    loudest = np.median(windows.max(axis=-1) / np.median(windows, axis=-1), axis=1)
    assert 1.5 < np.median(loudest) < 2.5 and np.quantile(loudest, 0.9) > 1.9


@pytest.mark.parametrize("kind", NOISES)
def test_asked_for_noise_is_there_whatever_the_recorder_filters(kind):
    for smoothing in (NARROW, WIDE):
        _, found = draw_noise(
            np.random.default_rng(4), 16, np.arange(1000) / 100, 1.0, (kind,), np.full((16, 1), smoothing)
        )
        assert all(set(one) == {kind} for one in found)
