"""The signal path against independent code, laws and real records: what a model sees, and what is refused."""

import json
import re
import warnings
from math import gcd
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from ecgllm.configuration_ecgllm import preprocessing_fingerprint
from ecgllm.feature_extraction_ecgllm import ECGFeatureExtractor
from ecgllm.signal_ecgllm import (
    LEADS,
    ECGInputError,
    complete_limb_leads,
    remove_baseline,
    resample,
    standard_lead_name,
)

LIMB = LEADS[:6]


def beats(rate: float = 500.0, duration: float = 10.0, bpm: float = 60.0, first: float = 0.5) -> np.ndarray:
    """A lead in mV with a QRS-like peak (1 mV, 12 ms) at first + k * 60 / bpm, and a T wave behind it."""
    time = np.arange(round(rate * duration)) / rate
    signal = np.zeros_like(time)
    for peak in np.arange(first, duration, 60 / bpm):
        signal += np.exp(-(((time - peak) / 0.012) ** 2)) + 0.3 * np.exp(-(((time - peak - 0.3) / 0.05) ** 2))
    return signal


def ecg(rate: float = 500.0, duration: float = 10.0, seed: int = 0, leads=LEADS) -> dict:
    """Twelve leads that obey Einthoven and Goldberger, or those of them in `leads`."""
    rng = np.random.default_rng(seed)
    lead = beats(rate, duration)
    noisy = {
        name: lead * rng.uniform(0.4, 1.5) + 0.01 * rng.standard_normal(lead.shape) for name in LEADS if "V" in name
    }
    noisy = {name: noisy.get(name, lead * rng.uniform(0.4, 1.5)) for name in ("I", "II", *LEADS[6:])}
    complete = complete_limb_leads(noisy)
    signal = np.stack([complete[name] for name in leads]).astype(np.float32)
    return {"signal": signal, "sampling_rate": rate, "leads": tuple(leads)}


def refused(message: str):
    return pytest.raises(ECGInputError, match=message)


# Lead names


@pytest.mark.parametrize(
    ("name", "standard"),
    [
        ("I", "I"), ("i", "I"), ("II", "II"), ("AVR", "aVR"), ("avl", "aVL"), ("aVR ", "aVR"), ("v1", "V1"),
        ("MDC_ECG_LEAD_AVR", "aVR"), ("MDC_ECG_LEAD_V3", "V3"), ("DI", "I"), ("DII", "II"), ("DIII", "III"),
        ("Lead I", "I"), ("lead_V1", "V1"), ("ECG I", "I"), ("ECG Lead aVF", "aVF"),
    ],
)  # fmt: skip
def test_lead_aliases(name, standard):
    assert standard_lead_name(name) == standard


@pytest.mark.parametrize("name", ["-aVR", "ECG -aVR", "aVR-", "V7", "V4R", "X", "MLII", "", "IV", 1, None])
def test_other_lead_names_are_refused_with_the_accepted_ones(name):
    with pytest.raises(ValueError, match=r"I, II, III, aVR, aVL, aVF, V1, V2, V3, V4, V5, V6 .*DI, DII, DIII"):
        standard_lead_name(name)


# Resampling


@pytest.mark.parametrize(
    ("source", "target"),
    [(1000, 500), (500, 250), (250, 100), (500, 100), (257, 100), (360, 100), (100, 250), (128, 100), (976.5625, 100)],
)
@pytest.mark.parametrize("samples", [257, 5000])
def test_resample_equals_scipy(source, target, samples):
    signal = np.random.default_rng(0).standard_normal((3, samples)).astype(np.float32)
    up, down = int(target * 10_000), int(source * 10_000)
    up, down = up // gcd(up, down), down // gcd(up, down)
    expected = resample_poly(signal.astype(np.float64), up, down, axis=-1)
    result = resample(signal, source, target)
    assert result.dtype == np.float32 and result.shape == expected.shape
    np.testing.assert_allclose(result, expected, atol=2e-6 * np.abs(expected).max())


@settings(max_examples=30)
@given(up=st.integers(1, 400), down=st.integers(1, 400), samples=st.integers(1, 700), seed=st.integers(0, 9))
def test_resample_equals_scipy_for_any_ratio(up, down, samples, seed):
    signal = np.random.default_rng(seed).standard_normal((2, samples)).astype(np.float32)
    expected = resample_poly(signal.astype(np.float64), up, down, axis=-1)
    np.testing.assert_allclose(resample(signal, down, up), expected, atol=5e-6 * max(1, np.abs(expected).max()))


def test_resample_of_ratios_with_large_factors():
    signal = np.random.default_rng(0).standard_normal((2, 2000)).astype(np.float32)
    expected = resample_poly(signal.astype(np.float64), 10_000, 9_999, axis=-1)
    np.testing.assert_allclose(resample(signal, 999.9, 1000), expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(40,), (3, 40), (2, 3, 40)])
def test_resample_keeps_leading_dimensions(shape):
    assert resample(np.zeros(shape), 100, 250).shape == (*shape[:-1], 100)


def test_resample_to_the_same_rate_copies():
    signal = np.ones((1, 5), dtype=np.float32)
    result = resample(signal, 100, 100.0)
    result += 1
    assert (signal == 1).all()


@pytest.mark.parametrize("source", [250, 257, 360, 500, 1000])
def test_a_20_hz_tone_keeps_its_shape(source):
    time, target = np.arange(10 * source) / source, np.arange(1000) / 100
    result = resample(np.sin(2 * np.pi * 20 * time), source, 100)
    assert np.abs(result - np.sin(2 * np.pi * 20 * target))[50:-50].max() < 0.005


@pytest.mark.parametrize(("frequency", "decibel"), [(60, -54), (70, -65), (90, -65), (150, -65), (240, -65)])
def test_what_the_new_rate_cannot_hold_does_not_fold_back(frequency, decibel):
    tone = np.sin(2 * np.pi * frequency * np.arange(5000) / 500 + 0.3)
    folded = resample(tone, 500, 100)[50:-50]
    assert 20 * np.log10(np.sqrt(2 * (folded**2).mean())) < decibel


@pytest.mark.parametrize("source", [250, 257, 400, 500, 1000])
def test_a_qrs_stays_where_it_is(source):
    lead = beats(source, 10.0, first=9.5)
    values = ECGFeatureExtractor()(lead[None], source, ["II"], "np")["ecg_values"][0, 1]
    assert values.argmax() == 950


@pytest.mark.parametrize("rate", [0, -500, float("nan"), float("inf"), None, "fast"])
def test_resample_refuses_rates_that_are_none(rate):
    with refused("sampling rate is .*expected a positive number in Hz.*Pass sampling_rate"):
        resample(np.zeros((1, 10)), rate, 100)


def test_resample_refuses_ratios_out_of_reach():
    with refused("cannot resample from 5000000.0 Hz to 100 Hz.*check the rate"):
        resample(np.zeros((1, 10)), 5e6, 100)


# Drift


def test_drift_is_removed_and_beats_are_not():
    time = np.arange(1000) / 100
    lead = beats(100)
    drift = 0.5 * np.sin(2 * np.pi * 0.2 * time)
    left = remove_baseline((lead + drift)[None], 100) - remove_baseline(lead[None], 100)
    # The filter's own gain at 0.2 Hz is 0.025.
    assert np.abs(left[0, 150:-150]).max() < 0.03 * 0.5
    assert np.abs(left).max() < 0.2 * 0.5


@pytest.mark.parametrize("cutoff", [0.05, 0.5])
def test_offset_and_slope_are_removed_to_the_ends(cutoff):
    line = 3 + 0.2 * np.arange(1000) / 100
    assert np.abs(remove_baseline(line[None], 100, cutoff)).max() < 1e-6


@pytest.mark.parametrize("frequency", [0.2, 0.5, 1.0, 5.0])
def test_high_pass_gain_is_that_of_a_butterworth_run_both_ways_without_delay(frequency):
    tone = np.sin(2 * np.pi * frequency * np.arange(6000) / 100)
    gain = frequency**4 / (frequency**4 + 0.5**4)
    np.testing.assert_allclose(remove_baseline(tone[None], 100)[0, 1000:-1000], gain * tone[1000:-1000], atol=5e-3)


def test_removal_is_the_least_squares_solution():
    signal = np.random.default_rng(0).standard_normal((2, 301)).cumsum(axis=-1)
    difference = np.diff(np.eye(301), 2, axis=0)
    penalty = (2 - 2 * np.cos(2 * np.pi * 0.5 / 100)) ** -2
    expected = signal - np.linalg.solve(np.eye(301) + penalty * difference.T @ difference, signal.T).T
    np.testing.assert_allclose(remove_baseline(signal, 100), expected, atol=1e-5)


def test_st_level_is_kept():
    """A plateau of 1 mV over 100 ms at 1 Hz stays within 2 % of its height above the level before it."""
    time = np.arange(1000) / 100
    train = ((time % 1.0 >= 0.5) & (time % 1.0 < 0.6)).astype(np.float64)
    result = remove_baseline(train[None], 100)[0].reshape(10, 100)[2:-2]
    height = result[:, 51:59].mean(axis=1) - result[:, 40:48].mean(axis=1)
    assert np.abs(height - 1).max() < 0.02


def test_an_offset_does_not_ring_at_the_ends():
    lead = beats() * 0.5
    extractor = ECGFeatureExtractor(baseline="none")
    plain, offset = (extractor(signal[None], 500, ["II"], "np")["ecg_values"][0, 1] for signal in (lead, lead + 5))
    np.testing.assert_allclose(offset - 5, plain, atol=1e-5)


# The feature extractor


def test_shapes_types_and_padding():
    batch = ECGFeatureExtractor()([ecg(500, 10), ecg(257, 7.3), ecg(100, 4)])
    assert set(batch) == {"ecg_values", "lead_mask", "ecg_lengths"}
    assert batch["ecg_values"].shape == (3, 12, 1000) and batch["ecg_values"].dtype == torch.float32
    assert batch["lead_mask"].dtype == torch.bool and batch["lead_mask"].all()
    assert batch["ecg_lengths"].tolist() == [1000, 730, 400] and batch["ecg_lengths"].dtype == torch.int64
    assert (batch["ecg_values"][1, :, 730:] == 0).all() and (batch["ecg_values"][1, :, 729] != 0).any()


def test_an_ecg_does_not_depend_on_its_batch():
    short, long = ecg(500, 4), ecg(500, 30, seed=1)
    extractor = ECGFeatureExtractor()
    alone, together = extractor(short, return_tensors="np"), extractor([long, short], return_tensors="np")
    np.testing.assert_array_equal(together["ecg_values"][1, :, :400], alone["ecg_values"][0])


def test_what_is_prepared_is_what_a_call_pads_and_is_taken_again():
    extractor = ECGFeatureExtractor()
    ecgs = [ecg(500, 2), ecg(257, 3)]
    prepared, padded = extractor.prepare(ecgs), extractor(ecgs, return_tensors="np")
    assert [one["ecg_values"].shape[1] for one in prepared] == padded["ecg_lengths"].tolist()
    for one, values, mask in zip(prepared, padded["ecg_values"], padded["lead_mask"], strict=True):
        np.testing.assert_array_equal(one["ecg_values"], values[:, : one["ecg_values"].shape[1]])
        np.testing.assert_array_equal(one["lead_mask"], mask)
        assert one["preprocessing_id"] == extractor.preprocessing_id
    for again, one in zip(extractor.prepare(prepared), prepared, strict=True):
        assert again["ecg_values"] is one["ecg_values"]
    assert extractor.prepare([]) == []


@settings(max_examples=15)
@given(order=st.permutations(range(12)))
def test_order_of_the_rows_does_not_matter(order):
    given_ecg = ecg()
    shuffled = given_ecg | {"signal": given_ecg["signal"][order], "leads": [LEADS[row] for row in order]}
    extractor = ECGFeatureExtractor()
    assert torch.equal(extractor(shuffled)["ecg_values"], extractor(given_ecg)["ecg_values"])


def test_forms_of_an_ecg_are_equal():
    record = ecg()
    extractor = ECGFeatureExtractor()
    expected = extractor(record)["ecg_values"]
    forms = [SimpleNamespace(**record), record | {"signal": torch.from_numpy(record["signal"])}]
    forms.append(record | {"leads": ["MDC_ECG_LEAD_" + name.upper() for name in LEADS]})
    for form in forms:
        assert torch.equal(extractor(form)["ecg_values"], expected)
    assert torch.equal(extractor(record["signal"], 500, LEADS)["ecg_values"], expected)
    assert torch.equal(extractor([record["signal"]], 500, LEADS)["ecg_values"], expected)
    np.testing.assert_array_equal(extractor(record, return_tensors="np")["ecg_values"], expected.numpy())


def test_the_input_is_left_as_it_was():
    record = ecg()
    before = record["signal"].copy()
    record["signal"][0, 10] = np.nan
    ECGFeatureExtractor()(record, nan_policy="interpolate")
    assert np.isnan(record["signal"][0, 10])
    record["signal"][0, 10] = before[0, 10]
    np.testing.assert_array_equal(record["signal"], before)


@pytest.mark.parametrize("pair", [(a, b) for i, a in enumerate(LIMB) for b in LIMB[i + 1 :]])
def test_any_two_limb_leads_give_the_others(pair):
    extractor = ECGFeatureExtractor()
    full, derived = extractor(ecg(), return_tensors="np"), extractor(ecg(leads=pair), return_tensors="np")
    assert derived["lead_mask"][0].tolist() == [True] * 6 + [False] * 6
    np.testing.assert_allclose(derived["ecg_values"][0, :6], full["ecg_values"][0, :6], atol=1e-5)
    assert (derived["ecg_values"][0, 6:] == 0).all()


def test_derived_leads_obey_einthoven_and_goldberger():
    i, ii, iii, avr, avl, avf = ECGFeatureExtractor()(ecg(leads=("I", "II")), return_tensors="np")["ecg_values"][0, :6]
    for derived, law in [(iii, ii - i), (avr, -(i + ii) / 2), (avl, i - ii / 2), (avf, ii - i / 2)]:
        np.testing.assert_allclose(derived, law, atol=1e-7)


def test_given_leads_are_never_recomputed():
    record = ecg()
    record["signal"][2] *= -1  # III, in contradiction to II - I
    given_iii = ECGFeatureExtractor()(record)["ecg_values"][0, 2]
    alone = ECGFeatureExtractor()({"signal": record["signal"][2:3], "sampling_rate": 500, "leads": ["III"]})
    assert torch.equal(given_iii, alone["ecg_values"][0, 2])


def test_one_limb_lead_derives_nothing():
    mask = ECGFeatureExtractor()(ecg(leads=("II", "V2")))["lead_mask"][0]
    assert [lead for lead, present in zip(LEADS, mask, strict=True) if present] == ["II", "V2"]


def test_a_model_of_fewer_leads_gets_them_in_its_order():
    batch = ECGFeatureExtractor(leads=["V1", "II"])(ecg(), return_tensors="np")
    full = ECGFeatureExtractor()(ecg(), return_tensors="np")
    np.testing.assert_array_equal(batch["ecg_values"][0], full["ecg_values"][0, [6, 1]])
    with refused(r"of the model's leads \['V1'\] the ECG has none"):
        ECGFeatureExtractor(leads=["V1"])(ecg(leads=("I", "II")))


def test_scalings():
    def values(**settings):
        return ECGFeatureExtractor(**settings)(ecg(), return_tensors="np")["ecg_values"][0]

    np.testing.assert_allclose(values(millivolt_factor=2.5), 2.5 * values(), rtol=1e-6)
    zscore, minmax = values(scaling="zscore"), values(scaling="minmax")
    np.testing.assert_allclose(zscore.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(zscore.std(axis=-1), 1, atol=1e-4)
    np.testing.assert_allclose(minmax.min(axis=-1), -1, atol=1e-5)
    np.testing.assert_allclose(minmax.max(axis=-1), 1, atol=1e-5)


@pytest.mark.parametrize("scaling", ["millivolt", "zscore", "minmax"])
@pytest.mark.parametrize("baseline", ["highpass", "none"])
@pytest.mark.parametrize("level", [0.0, 1.3])
def test_flat_input_passes(scaling, baseline, level):
    record = ecg()
    one_flat = record["signal"].copy()
    one_flat[3] = level
    extractor = ECGFeatureExtractor(scaling=scaling, baseline=baseline)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = extractor([record | {"signal": np.full((12, 5000), level)}, record | {"signal": one_flat}])
    assert torch.isfinite(batch["ecg_values"]).all() and batch["lead_mask"].all()
    assert batch["ecg_values"][0].std(dim=-1).max() < 1e-6


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampling_rate": None}, "sampling rate is None; expected a positive number in Hz. Pass sampling_rate="),
        ({"sampling_rate": 0}, "sampling rate is 0; expected a positive number"),
        ({"sampling_rate": float("nan")}, "sampling rate is nan; expected a positive number"),
        ({"leads": None}, r"shape \(12, 5000\) comes without lead names; expected one for each row. Pass leads="),
        ({"leads": LEADS[:8]}, "has 12 rows for 8 lead names; .* Name every row once"),
        ({"signal": np.zeros((5000, 12))}, "5000 rows for 12 lead names; .*looks transposed: pass signal.T"),
        ({"leads": ("X", *LEADS[1:])}, r"unknown lead names \['X'\]; expected I, II, .*drop_unknown_leads=True"),
        (
            {"leads": ("DII", *LEADS[1:])},
            "lead II is given twice, as 'DII' in row 0 and 'II' in row 1; expected every",
        ),
        ({"signal": np.zeros(5000)}, r"shape \(5000,\); expected \[leads, samples\].*signal\[None\]"),
        ({"signal": np.zeros((2, 12, 5000))}, r"shape \(2, 12, 5000\); .*Give several ECGs as a list"),
        ({"signal": np.zeros((12, 0))}, r"shape \(12, 0\); expected \[leads, samples\], neither empty"),
        ({"signal": "12x5000"}, "signal is str; expected a real-valued array"),
        ({"signal": np.zeros((12, 5000), dtype=complex)}, "signal is an array of complex128; expected a real-valued"),
        ({"signal": np.zeros((12, 250))}, r"lasts 0.5 s \(250 samples at 500 Hz\); expected at least 1 s. .*min_dur"),
        ({"signal": np.zeros((12, 60_500))}, r"lasts 121 s .*; expected at most 120 s. Cut a segment .*max_duration"),
        ({"signal": ecg()["signal"] * 1000}, r"leads span \d+ mV .*expected an ECG in mV.*microvolts.*divide the sig"),
        ({"signal": ecg()["signal"] / 1000}, r"largest lead spans 0.00\d+ mV .*volts: multiply the signal by 1000"),
    ],
)
def test_refusals(change, message):
    with refused(r"^ecgs\[0\]: .*" + message):
        ECGFeatureExtractor()(ecg() | change)


def test_refusal_names_the_ecg_of_a_batch():
    with refused(r"^ecgs\[1\]: the ECG lasts"):
        ECGFeatureExtractor()([ecg(), ecg(duration=0.5)])


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ([], "list of ECGs is empty"),
        ([None], "signal is NoneType"),
        (3.0, "signal is float"),
        ({"signal": np.zeros((12, 5000))}, "sampling rate|lead names"),
    ],
)
def test_what_is_no_ecg_is_refused(argument, message):
    with refused(message):
        ECGFeatureExtractor()(argument)


def test_call_and_ecg_may_not_contradict_each_other():
    extractor = ECGFeatureExtractor()
    assert torch.equal(extractor(ecg(), 500, LEADS)["ecg_values"], extractor(ecg())["ecg_values"])
    with refused("the ECG says sampling_rate 500.0, the call 250"):
        extractor(ecg(), 250)
    with refused("the ECG says leads"):
        extractor(ecg(), leads=LEADS[::-1])


def test_unknown_leads_are_left_out_on_request():
    record = ecg()
    more = {"signal": np.concatenate([record["signal"], record["signal"][:1]]), "leads": (*LEADS, "V4R")}
    extractor = ECGFeatureExtractor()
    kept = extractor(record | more, drop_unknown_leads=True)
    assert torch.equal(kept["ecg_values"], extractor(record)["ecg_values"])
    with refused(r"no usable lead: the names are \['X', 'Y'\]"):
        extractor(record["signal"][:2], 500, ["X", "Y"], drop_unknown_leads=True)


def test_samples_that_are_not_finite():
    record = ecg()
    broken = record["signal"].copy()
    broken[7, 1000:1010], broken[1, 5] = np.nan, np.inf
    broken = record | {"signal": broken}
    extractor = ECGFeatureExtractor()
    with refused("not finite .* in lead II 1 of 5000, V2 10 of 5000; .*nan_policy='interpolate'.*'drop_lead'"):
        extractor(broken)

    filled = extractor(broken, nan_policy="interpolate")
    assert filled["lead_mask"].all()
    torch.testing.assert_close(filled["ecg_values"], extractor(record)["ecg_values"], atol=0.05, rtol=0)

    dropped = ECGFeatureExtractor(nan_policy="drop_lead")(broken)
    # II follows from I and III, V2 from nothing.
    assert [LEADS[row] for row in (~dropped["lead_mask"][0]).nonzero()] == ["V2"]
    torch.testing.assert_close(dropped["ecg_values"][0, 1], extractor(record)["ecg_values"][0, 1], atol=1e-5, rtol=0)


def test_interpolation_holds_the_ends_and_is_linear_within():
    lead = beats()
    lead[:50], lead[2000:2040] = np.nan, np.nan
    expected = lead.copy()
    expected[:50] = lead[50]
    expected[2000:2040] = np.linspace(lead[1999], lead[2040], 42)[1:-1]
    extractor = ECGFeatureExtractor()
    result = extractor(lead[None], 500, ["II"], nan_policy="interpolate")["ecg_values"]
    torch.testing.assert_close(result, extractor(expected[None], 500, ["II"])["ecg_values"])


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("interpolate", "fewer than half of the samples are finite in lead I .*drop_lead"),
        ("drop_lead", "no usable lead"),
    ],
)
def test_leads_beyond_repair(policy, message):
    signal = np.full((1, 5000), np.nan)
    signal[0, :2000] = 1
    with refused(message):
        ECGFeatureExtractor()(signal, 500, ["I"], nan_policy=policy)


def test_a_pacing_spike_is_no_wrong_unit():
    record = ecg()
    record["signal"][:, 700] = 800.0
    ECGFeatureExtractor(baseline="none")(record)


# Settings


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"scaling": "std"}, "scaling is 'std'; expected one of 'millivolt', 'zscore', 'minmax'"),
        ({"baseline": "median"}, "baseline is 'median'; expected one of"),
        ({"nan_policy": "zero"}, "nan_policy is 'zero'; expected one of"),
        ({"sampling_rate": 0}, "sampling_rate is 0; expected a positive finite number"),
        ({"sampling_rate": "100"}, "sampling_rate is '100'"),
        ({"millivolt_factor": float("nan")}, "millivolt_factor is nan"),
        ({"min_duration": 0.01}, "fewer than 3 samples"),
        ({"max_duration": 0.5}, "max_duration 0.5 s is below min_duration"),
        ({"baseline_cutoff": 60.0}, "baseline_cutoff is 60.0 Hz; expected less than half"),
        ({"leads": []}, "expected one or more different names"),
        ({"leads": ["I", "I"]}, "expected one or more different names"),
        ({"leads": ["AVR"]}, "expected one or more different names"),
    ],
)
def test_settings_are_checked(setting, message):
    with refused(re.escape(message) if "'" in message else message):
        ECGFeatureExtractor(**setting)
    with refused(".*"):
        ECGFeatureExtractor.from_dict(ECGFeatureExtractor().to_dict() | setting)


def test_an_unknown_setting_is_refused():
    with pytest.raises(TypeError, match="unknown settings \\['scalling'\\]"):
        ECGFeatureExtractor(scalling="zscore")


@pytest.mark.parametrize("argument", [{"nan_policy": "zero"}, {"return_tensors": "tf"}])
def test_arguments_of_the_call_are_checked(argument):
    with refused("is '(zero|tf)'; expected one of"):
        ECGFeatureExtractor()(ecg(), **argument)


def test_save_and_load_round_trip(tmp_path):
    saved = ECGFeatureExtractor(
        sampling_rate=250, leads=["II", "V1"], min_duration=2, max_duration=30, baseline="none", baseline_cutoff=0.3,
        scaling="minmax", millivolt_factor=3, nan_policy="drop_lead",
    )  # fmt: skip
    saved.save_pretrained(tmp_path)
    assert (tmp_path / "preprocessor_config.json").exists()
    loaded = ECGFeatureExtractor.from_pretrained(tmp_path)
    assert loaded.to_dict() == saved.to_dict()
    assert loaded.preprocessing_id == saved.preprocessing_id
    assert ECGFeatureExtractor.from_pretrained(tmp_path, sampling_rate=500).sampling_rate == 500


def test_a_saved_extractor_loads_with_its_code(tmp_path):
    # What register_for_auto_class sets, on a subclass of its own, so that no other test sees it.
    class Travelling(ECGFeatureExtractor):
        pass

    Travelling.__module__, Travelling.__name__ = ECGFeatureExtractor.__module__, "ECGFeatureExtractor"
    Travelling.register_for_auto_class()
    Travelling(scaling="zscore").save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "preprocessor_config.json").read_text())["auto_map"]["AutoFeatureExtractor"]
    loaded = get_class_from_dynamic_module(saved, str(tmp_path)).from_pretrained(tmp_path)
    assert type(loaded).__module__.startswith("transformers_modules")
    expected = ECGFeatureExtractor(scaling="zscore")
    assert loaded.preprocessing_id == expected.preprocessing_id
    assert torch.equal(loaded(ecg())["ecg_values"], expected(ecg())["ecg_values"])


def test_preprocessing_id_tells_signal_paths_apart():
    default = ECGFeatureExtractor()
    assert default.preprocessing["scaling"] == "millivolt" and 0 <= default.preprocessing_id < 2**32
    same = [{"sampling_rate": 100.0}, {"max_duration": 60}, {"nan_policy": "drop_lead"}]
    other = [{"sampling_rate": 250}, {"scaling": "zscore"}, {"baseline": "none"}, {"baseline_cutoff": 0.67}]
    assert {ECGFeatureExtractor(**setting).preprocessing_id for setting in same} == {default.preprocessing_id}
    assert (
        len({ECGFeatureExtractor(**setting).preprocessing_id for setting in other} | {default.preprocessing_id}) == 5
    )
    unused = [ECGFeatureExtractor(baseline="none", baseline_cutoff=cutoff).preprocessing_id for cutoff in (0.3, 0.5)]
    assert unused[0] == unused[1]
    # A model compares this number with the one that it derives from its own configuration.
    assert preprocessing_fingerprint(json.loads(json.dumps(default.preprocessing))) == default.preprocessing_id


# Real records


def wfdb_16_bit(header) -> dict:
    """A multiplexed 16-bit WFDB record in mV; LUDB's gains are wrong, one unit is a microvolt there."""
    lines = [line for line in header.read_text(encoding="latin-1").splitlines() if line and not line.startswith("#")]
    count, rate, samples = int(lines[0].split()[1]), float(lines[0].split()[2]), int(lines[0].split()[3])
    fields = [line.split() for line in lines[1 : 1 + count]]
    suffix = fields[0][0].rsplit(".", 1)[1]
    offset = int(fields[0][1].partition("+")[2] or 0)
    raw = np.fromfile(header.with_suffix("." + suffix), "<i2", offset=offset)[: count * samples].reshape(-1, count).T
    in_ludb = "ludb" in header.parts
    gains = [1000.0 if in_ludb else float(re.match(r"[\d.]+", field[2])[0]) for field in fields]
    zeros = [0.0 if in_ludb else float(field[4]) for field in fields]
    signal = (raw - np.array(zeros)[:, None]) / np.array(gains)[:, None]
    return {"signal": signal.astype(np.float32), "sampling_rate": rate, "leads": [field[-1] for field in fields]}


def test_real_records_pass_in_millivolts_and_in_no_other_unit(shared_data):
    headers = sorted(
        path for folder in ("ludb", "cinc2021", "ptbxl") for path in (shared_data / folder).rglob("*.hea")
    )
    assert headers
    extractor = ECGFeatureExtractor()
    for header in headers:
        record = wfdb_16_bit(header)
        batch = extractor(record, return_tensors="np")
        assert np.isfinite(batch["ecg_values"]).all() and batch["lead_mask"].all(), header
        with refused("microvolts"):
            extractor(record | {"signal": record["signal"] * 1000})


def test_limb_leads_of_real_records_follow_from_two(shared_data):
    header = sorted((shared_data / "ptbxl").rglob("*.hea"))[0]
    record = wfdb_16_bit(header)
    two = record | {"signal": record["signal"][:2], "leads": record["leads"][:2]}
    extractor = ECGFeatureExtractor()
    full, derived = extractor(record)["ecg_values"], extractor(two)["ecg_values"]
    # The file's resolution is 1 microvolt a lead.
    torch.testing.assert_close(derived[:, :6], full[:, :6], atol=0.005, rtol=0)


def test_nested_lists_as_json_gives_them_are_a_signal() -> None:
    signal = np.sin(np.arange(400)).reshape(2, 200).astype(np.float32)
    ecg = {"sampling_rate": 100, "leads": ["I", "II"]}
    extractor = ECGFeatureExtractor()
    listed = extractor({**ecg, "signal": signal.tolist()}, return_tensors="np")["ecg_values"]
    np.testing.assert_array_equal(listed, extractor({**ecg, "signal": signal}, return_tensors="np")["ecg_values"])
    with pytest.raises(ECGInputError, match="rows of one length"):
        extractor({**ecg, "signal": [[1.0, 2.0], [3.0]]})


def test_another_unit_than_millivolt_is_refused() -> None:
    ecg = {"signal": np.sin(np.arange(400)).reshape(2, 200), "sampling_rate": 100, "leads": ["I", "II"]}
    assert ECGFeatureExtractor()({**ecg, "unit": "mV"})
    with pytest.raises(ECGInputError, match="unit is 'uV'; expected mV"):
        ECGFeatureExtractor()({**ecg, "unit": "uV"})
