"""Faults do to a record what they are called, and nothing else."""

import numpy as np
import pytest

from ecgllm.evaluation.changes import CHANGES
from ecgllm.evaluation.faults import FAULTS, NOISE_LEVELS, NOISES
from ecgllm.signal_ecgllm import LEADS
from ecgllm.signals import ECGRecord, measure
from ecgllm.signals.electrodes import eight_leads, twelve_leads
from ecgllm.signals.simulation import simulate_ecg


@pytest.fixture(scope="module")
def record():
    return simulate_ecg(seed=5, sampling_rate=500, noise=0.2)


def made(record, name, seed=0):
    return CHANGES[name](record, np.random.default_rng(seed))


def test_all_faults_are_changes_and_make_valid_records(record):
    assert FAULTS.keys() <= CHANGES.keys() and {"noise", "flat", "phase-shuffled"} <= CHANGES.keys()
    before = record.signal.copy()
    for name in FAULTS:
        changed = made(record, name)
        assert changed.signal.dtype == np.float32 and changed.id == record.id
        assert len(changed.leads) == len(changed.signal)
        again = made(record, name)
        assert np.array_equal(changed.signal, again.signal, equal_nan=True), name
    assert np.array_equal(record.signal, before)


def test_leads_are_lost_or_confused_by_name(record):
    assert made(record, "leads lost: limb leads only").leads == LEADS[:6]
    assert made(record, "leads lost: chest leads only").leads == LEADS[6:]
    only = made(record, "leads lost: lead II only")
    assert only.leads == ("II",) and np.array_equal(only.signal[0], record.signal[1])
    rotated = made(record, "leads confused: all names rotated by one")
    assert rotated.leads == (*LEADS[1:], "I") and np.array_equal(rotated.signal, record.signal)
    chest = record.select_leads(["V1", "V2"])
    assert np.isnan(made(chest, "leads lost: lead II only").signal).all()


def test_exchanged_arms_are_those_of_the_electrodes():
    """The leads of exchanged potentials are the exchanged leads."""
    potentials = np.random.default_rng(1).standard_normal((1, 9, 50))
    exchanged = potentials[:, [1, 0, *range(2, 9)]]
    right, wrong = (twelve_leads(eight_leads(each))[0].astype(np.float32) for each in (potentials, exchanged))
    record = ECGRecord(right, 500, LEADS)
    assert made(record, "leads confused: arms exchanged").signal == pytest.approx(wrong, abs=1e-6)
    few = made(record.select_leads(["V1", "II", "I"]), "leads confused: arms exchanged")
    assert few.signal == pytest.approx(wrong[[6, 1, 0]], abs=1e-6)
    one = made(record.select_leads(["II", "V1"]), "leads confused: arms exchanged")
    assert np.isnan(one.signal[0]).all() and np.array_equal(one.signal[1], right[6])


def test_samples_become_fewer_but_stay_true_to_time(record):
    assert made(record, "shorter: 2.5 s").duration == 2.5
    assert made(record.segment(0, 2), "shorter: 2.5 s").duration == 2
    rate = measure(record).heart_rate.value
    for hz in (100, 250, 1000):
        changed = made(record, f"other rate: {hz} Hz")
        assert changed.sampling_rate == hz and changed.duration == pytest.approx(record.duration, abs=0.01)
        assert measure(changed).heart_rate.value == pytest.approx(rate, abs=1)
    with_gap = record.signal.copy()
    with_gap[0, 1000:1500] = np.nan
    changed = made(ECGRecord(with_gap, 500, LEADS), "other rate: 100 Hz")
    assert np.flatnonzero(np.isnan(changed.signal[0])).tolist() == list(range(200, 300))
    assert not np.isnan(changed.signal[1:]).any()


def test_filters_keep_the_band_and_take_the_rest():
    times = np.arange(5000) / 500
    waves = np.stack([np.sin(2 * np.pi * hz * times) for hz in (0.1, 10, 33, 80)]).astype(np.float32)
    size = {}
    for band in ("0.5 to 40", "1 to 25"):
        changed = made(ECGRecord(waves, 500, LEADS[:4]), f"filtered: {band} Hz").signal
        size[band] = changed[:, 1000:-1000].std(axis=1) * np.sqrt(2)
    assert size["0.5 to 40"][:2] == pytest.approx([0, 1], abs=0.05) and size["0.5 to 40"][2] > 0.6
    assert size["1 to 25"][1] > 0.9 and size["1 to 25"][2] < 0.3 and size["1 to 25"][3] < 0.05


def test_units_and_missing_stretches(record):
    assert made(record, "scaled: times 1000").signal == pytest.approx(1000 * record.signal)
    for share in (0.05, 0.2, 0.6):
        gaps = np.isnan(made(record, f"stretch missing: {100 * share:.0f} %").signal)
        assert gaps.mean() == pytest.approx(share, abs=1e-3) and (gaps == gaps[0]).all()
        assert np.count_nonzero(np.diff(gaps[0].astype(int))) <= 2


@pytest.mark.parametrize("family", list(NOISES))
def test_noise_has_the_stated_size_and_band_and_fits_together(record, family):
    low, high = {"baseline wander": (0, 0.6), "muscle noise": (19, 151), "mains interference": (49, 51)}[family]
    for level in NOISE_LEVELS:
        added = made(record, f"{family}: {level:g} mV").signal.astype(float) - record.signal
        assert np.sqrt(np.square(added).mean()) == pytest.approx(level, rel=1e-3)
        assert added[2] == pytest.approx(added[1] - added[0], abs=1e-5)
        power = np.square(np.abs(np.fft.rfft(added, axis=1))).sum(axis=0)
        frequencies = np.fft.rfftfreq(added.shape[1], 1 / 500)
        assert power[(frequencies >= low) & (frequencies <= high)].sum() > 0.999 * power.sum()


def test_noise_of_a_slow_record_is_that_of_a_faster_device():
    slow = simulate_ecg(seed=5, sampling_rate=100, noise=0)
    assert made(slow, "mains interference: 0.2 mV").sampling_rate == 500
    assert made(slow, "baseline wander: 0.2 mV").sampling_rate == 100
    other = ECGRecord(slow.signal[:2], 100, ("X", "II"))
    assert np.isfinite(made(other, "muscle noise: 0.1 mV").signal).all()
