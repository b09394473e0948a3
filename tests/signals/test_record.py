"""ECGRecord: what it accepts, refuses, and how it is cut."""

from datetime import datetime

import numpy as np
import pytest

from ecgllm.signals import ECGRecord


def record(**changes) -> ECGRecord:
    signal = np.arange(2000, dtype=np.float32).reshape(2, 1000)
    fields = {"signal": signal, "sampling_rate": 100, "leads": ("I", "avl")}
    return ECGRecord(**(fields | changes))


def test_holds_float32_and_tells_its_length():
    ecg = record(signal=np.zeros((2, 250)), leads=["I", "II"])
    assert ecg.signal.dtype == np.float32 and ecg.leads == ("I", "II")
    assert ecg.n_samples == 250 and ecg.duration == 2.5


def test_is_frozen():
    with pytest.raises(AttributeError):
        record().sampling_rate = 500


@pytest.mark.parametrize(
    ("changes", "error", "says"),
    [
        ({"signal": np.zeros((2, 10), dtype=np.int16)}, TypeError, "millivolt"),
        ({"signal": [[0.0], [1.0]]}, TypeError, "list"),
        ({"signal": np.zeros(10)}, ValueError, r"\[leads, samples\]"),
        ({"signal": np.zeros((2, 0))}, ValueError, "at least 1"),
        ({"signal": np.zeros((1000, 2))}, ValueError, "transpose"),
        ({"signal": np.full((2, 5), np.inf)}, ValueError, "infinite"),
        ({"sampling_rate": 0}, ValueError, "sampling_rate"),
        ({"sampling_rate": float("nan")}, ValueError, "sampling_rate"),
        ({"leads": ("I", "I")}, ValueError, "more than once"),
        ({"leads": "I"}, TypeError, "sequence"),
        ({"findings": "sinus rhythm"}, TypeError, "sequence"),
        ({"sex": "F"}, ValueError, "female"),
        ({"age": 300}, ValueError, "130"),
    ],
)
def test_refuses_what_does_not_fit(changes, error, says):
    with pytest.raises(error, match=says):
        record(**changes)


def test_select_leads_orders_by_name_in_any_spelling():
    ecg = record().select_leads(["aVL", "i"])
    assert ecg.leads == ("aVL", "I")
    assert ecg.signal[1, 0] == 0 and ecg.signal[0, 0] == 1000
    with pytest.raises(ValueError, match="V1.*the record has I, avl"):
        record().select_leads(["V1"])


def test_segment_cuts_and_moves_the_clock():
    ecg = record(recorded_at=datetime(2020, 1, 1)).segment(2, 3)
    assert ecg.duration == 3 and ecg.signal[0, 0] == 200 and ecg.recorded_at == datetime(2020, 1, 1, 0, 0, 2)
    for start, duration in ((-1, 2), (8, 3), (0, 0)):
        with pytest.raises(ValueError, match="the record lasts 10"):
            record().segment(start, duration)


def test_resampled_keeps_duration_and_a_slow_wave():
    times = np.arange(5000) / 500
    ecg = record(signal=np.sin(2 * np.pi * 3 * times)[None], sampling_rate=500, leads=("II",)).resampled(100)
    assert ecg.sampling_rate == 100 and ecg.signal.shape == (1, 1000)
    np.testing.assert_allclose(ecg.signal[0, 100:900], np.sin(2 * np.pi * 3 * times[::5])[100:900], atol=0.01)
