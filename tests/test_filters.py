"""Filters of other groups' signal paths, beside SciPy's; and the settings of the feature extractor that use them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import signal as scipy_signal

from ecgllm import ECGFeatureExtractor, ECGFounderEncoder, MERLEncoder, read_ecg
from ecgllm.filters_ecgllm import apply_filters
from ecgllm.processor_parts_ecgllm import feature_extractor_for
from ecgllm.signal_ecgllm import LEADS, ECGInputError

NOTCH = {"kind": "notch", "frequency": 50, "quality": 30}
BAND = {"kind": "butterworth", "low": 0.67, "high": 40, "order": 4}
FIR = {"kind": "fir", "low": 0.05, "high": 47, "seconds": 0.3}
MEDIAN = {"kind": "median_baseline", "seconds": 0.4}


@pytest.fixture
def signal() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(2, 3, 3000))
    return (0.02 * noise.cumsum(axis=-1) + 0.1 * noise + 0.7).astype(np.float32)


def with_scipy(each: dict[str, Any], signal: np.ndarray, rate: float) -> np.ndarray:
    if each is NOTCH:
        return scipy_signal.filtfilt(*scipy_signal.iirnotch(50, 30, rate), signal)
    if each is FIR:
        return scipy_signal.filtfilt(scipy_signal.firwin(151, [0.05, 47], pass_zero=False, fs=rate), [1.0], signal)
    if each is MEDIAN:
        return signal - scipy_signal.medfilt(signal, (1, 1, 201))
    sections = scipy_signal.butter(4, [0.67, 40], "bandpass", fs=rate, output="sos")
    return scipy_signal.sosfiltfilt(sections, signal, padlen=27)  # as filtfilt mirrors a filter of order 8


@pytest.mark.parametrize("each", [NOTCH, BAND, FIR, MEDIAN], ids=lambda each: each["kind"])
def test_each_filter_is_scipys(each: dict[str, Any], signal: np.ndarray) -> None:
    found = apply_filters(signal, 500, [each])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, with_scipy(each, signal.astype(np.float64), 500), atol=2e-6)
    assert np.abs(found - signal).max() > 0.01


def test_filters_run_in_their_order(signal: np.ndarray) -> None:
    one, two = (apply_filters(signal, 500, order) for order in ([BAND, MEDIAN], [MEDIAN, BAND]))
    np.testing.assert_allclose(apply_filters(apply_filters(signal, 500, [BAND]), 500, [MEDIAN]), one, atol=1e-6)
    assert np.abs(one - two).max() > 0.01


@pytest.mark.parametrize(
    ("filters", "because"),
    [
        (NOTCH, "expected a list of mappings"),
        ([{"kind": "wavelet"}], "one of notch, butterworth, fir, median_baseline"),
        ([{"kind": "notch", "frequency": 50}], "needs exactly frequency, quality beside kind"),
        ([NOTCH | {"frequency": 250}], "reaches 250 Hz, and at 500 Hz there are frequencies below 250 Hz only"),
        ([BAND | {"low": 41}], "goes from 41 Hz to 40 Hz"),
        ([BAND | {"order": 2.5}], "a whole number from 1 to 8"),
        ([FIR | {"seconds": 0}], "seconds of the filter fir is 0; expected a positive"),
    ],
)
def test_filters_that_cannot_be_are_refused(filters: Any, because: str) -> None:
    with pytest.raises(ECGInputError, match=because):
        ECGFeatureExtractor(sampling_rate=500, filters=filters)


def test_a_signal_shorter_than_a_filters_ends_is_refused() -> None:
    extractor = ECGFeatureExtractor(sampling_rate=500, filters=[FIR], min_duration=0.5)
    with pytest.raises(ECGInputError, match=r"ecgs\[0\]: the signal has 300 samples; expected more than the 453"):
        extractor(np.zeros((1, 300)), sampling_rate=500, leads=["I"])


def test_leads_have_one_scale_together(make_ecg: Any) -> None:
    ecg = make_ecg(3.0, leads=6) | {"leads": ["I", "V1", "V2", "V3", "V4", "V5"]}
    ecg["signal"] = ecg["signal"] * np.arange(1, 7, dtype=np.float32)[:, None] + 1
    for scaling, scaled in (
        ("record_zscore", lambda x: (x - x.mean()) / x.std()),
        ("record_minmax", lambda x: (x - x.min()) / (x.max() - x.min())),
    ):
        prepared = ECGFeatureExtractor(baseline="none", scaling=scaling).prepare(ecg)[0]
        values, mask = prepared["ecg_values"], prepared["lead_mask"]
        np.testing.assert_allclose(values[mask], scaled(ecg["signal"]), atol=1e-5)
        assert mask.sum() == 6 and not values[~mask].any()


def test_filters_may_work_at_a_higher_rate_than_the_model(make_ecg: Any) -> None:
    """At 500 Hz, scaled there, then to 100 Hz: what a model of 100 Hz sees keeps its offset."""
    settings = {"baseline": "none", "scaling": "minmax", "filters": [FIR]}
    slow, fast = ECGFeatureExtractor(filter_rate=500, **settings), ECGFeatureExtractor(sampling_rate=500, **settings)
    ecg = make_ecg(3.0)
    found, at_500 = (extractor.prepare(ecg)[0]["ecg_values"] for extractor in (slow, fast))
    assert found.shape == (12, 300)
    np.testing.assert_allclose(found[:, 20:-20], at_500[:, 100:-100:5], atol=0.05)


def test_filters_are_part_of_what_a_checkpoint_keeps(tmp_path: Path) -> None:
    extractor = ECGFounderEncoder.feature_extractor()
    extractor.save_pretrained(tmp_path)
    assert ECGFeatureExtractor.from_pretrained(tmp_path).preprocessing == extractor.preprocessing
    config = type("Config", (), {"preprocessing": extractor.preprocessing})
    assert feature_extractor_for(config).preprocessing_id == extractor.preprocessing_id
    without = ECGFounderEncoder.feature_extractor(filters=None)
    assert without.preprocessing_id != extractor.preprocessing_id and "filters" not in without.preprocessing


def test_real_records_are_prepared_as_the_authors_do(shared_data: Path) -> None:
    """Their steps by SciPy: of ECGFounder notch, band-pass, running median and one z-score, of MERL one scale to
    [0, 1] with aVF before aVL. Beside the authors' code the largest difference on 80 records was 1.2e-5 and 1.5e-7."""
    files = sorted((shared_data / "ptbxl").rglob("*_hr.hea"))[:1] + sorted((shared_data / "ludb").rglob("*.hea"))[:2]
    assert files
    for file in files:
        record = read_ecg(file)
        rows = record.signal[[record.leads.index(lead) for lead in LEADS]].astype(np.float64)
        filtered = scipy_signal.filtfilt(*scipy_signal.iirnotch(50, 30, 500), rows)
        filtered = scipy_signal.filtfilt(*scipy_signal.butter(4, [0.67, 40], "bandpass", fs=500), filtered)
        filtered -= scipy_signal.medfilt(filtered, (1, 201))
        found = ECGFounderEncoder.feature_extractor().prepare(record)[0]["ecg_values"]
        np.testing.assert_allclose(found, (filtered - filtered.mean()) / filtered.std(), atol=5e-5)
        found = MERLEncoder.feature_extractor().prepare(record)[0]["ecg_values"]
        expected = (rows - rows.min()) / (rows.max() - rows.min())
        np.testing.assert_allclose(found, expected[[0, 1, 2, 3, 5, 4, *range(6, 12)]], atol=1e-6)
