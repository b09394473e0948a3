"""The ECG feature: what goes in comes out, through every format that `datasets` writes; bad input is refused."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset, Features, List, Value, load_from_disk
from datasets.table import embed_table_storage
from hypothesis import given
from hypothesis import strategies as st

from ecgllm.corpora import ECG
from ecgllm.corpora.records.ecg_feature import encode_signal

LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
FEATURES = Features({"id": Value("string"), "ecg": ECG()})


def example(seed: int = 0, leads: list[str] = LEADS, samples: int = 500, rate: float = 500.0) -> dict:
    steps = np.random.default_rng(seed).integers(-3000, 3000, (len(leads), samples))
    return {"signal": (steps / 1000).astype(np.float32), "sampling_rate": rate, "leads": leads}


def dataset(n: int = 4) -> Dataset:
    columns = {"id": [f"r{i}" for i in range(n)], "ecg": [example(i) for i in range(n)]}
    return Dataset.from_dict(columns, features=FEATURES)


def assert_same(decoded: dict, original: dict) -> None:
    np.testing.assert_array_equal(np.asarray(decoded["signal"]), original["signal"])
    assert float(decoded["sampling_rate"]) == original["sampling_rate"]
    assert list(decoded["leads"]) == original["leads"]


def test_microvolt_data_come_back_exactly():
    decoded = dataset()[1]["ecg"]
    assert decoded["signal"].dtype == np.float32
    assert_same(decoded, example(1))


@given(
    peak=st.floats(0.001, 5000.0),
    missing=st.integers(0, 30),
    seed=st.integers(0, 1000),
)
def test_error_is_within_half_a_step_and_nan_stays_nan(peak, missing, seed):
    rng = np.random.default_rng(seed)
    signal = rng.uniform(-peak, peak, (2, 40)).astype(np.float32)
    signal[0, rng.permutation(40)[:missing]] = np.nan
    stored = encode_signal(signal, 250, ["I", "V9"])
    back = ECG().decode_example(stored)["signal"]
    np.testing.assert_array_equal(np.isnan(back), np.isnan(signal))
    step = np.array(stored["gain"])[:, None]
    assert (step == np.float32(0.001)).all() or peak > 32.767
    allowed = 0.5 * step + 1e-6 * peak
    assert (np.abs(back - signal) <= allowed)[~np.isnan(signal)].all()


def test_only_the_lead_that_needs_it_gets_a_larger_step():
    signal = np.array([[0.001, 0.002], [100.0, -50.0]], dtype=np.float32)
    stored = encode_signal(signal, 100, ["I", "II"])
    assert stored["gain"][0] == np.float32(0.001) and stored["gain"][1] > 0.001
    back = ECG().decode_example(stored)["signal"]
    np.testing.assert_array_equal(back[0], signal[0])
    np.testing.assert_allclose(back[1], signal[1], atol=stored["gain"][1])


def test_accepts_records_and_the_stored_struct_and_standardises_lead_names():
    original = example(leads=["AVR", "i", "X"])
    stored = ECG().encode_example(SimpleNamespace(**original))
    assert stored["leads"] == ["aVR", "I", "X"]
    assert ECG().encode_example(stored) == stored


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"signal": np.zeros((2, 3)), "leads": ["I", "II"]}, "lacks sampling_rate"),
        (
            {"signal": np.zeros((3, 2)), "leads": ["I", "II"], "sampling_rate": 100},
            r"shape \(3, 2\) with 2 lead names",
        ),
        ({"signal": np.zeros((2, 3)), "leads": ["I", "i"], "sampling_rate": 100}, "twice"),
        ({"signal": np.zeros((1, 3)), "leads": ["I"], "sampling_rate": 0}, "is 0 Hz; ECGs have 10 to 100,000 Hz"),
        ({"signal": np.zeros((1, 3)), "leads": ["I"], "sampling_rate": 1e308}, "is 1e[+]308 Hz; ECGs have 10"),
        ({"signal": np.full((1, 3), np.inf), "leads": ["I"], "sampling_rate": 100}, "infinite"),
        ({"signal": np.array([["a"]]), "leads": ["I"], "sampling_rate": 100}, "dtype"),
        ({"bytes": b"123", "gain": [0.001], "leads": ["I"], "sampling_rate": 100}, "3 bytes"),
        ({"array": [1, 2]}, "array"),
    ],
)
def test_refuses_what_cannot_be_right(value, message):
    with pytest.raises(ValueError, match=message):
        ECG().encode_example(value)


def test_refuses_other_objects():
    with pytest.raises(TypeError, match="cannot store int"):
        ECG().encode_example(3)


def test_cast_column_resamples_and_selects_without_touching_the_storage():
    cast = dataset().cast_column("ecg", ECG(sampling_rate=100, leads=["V5", "ii"]))
    decoded = cast[0]["ecg"]
    assert (
        decoded["signal"].shape == (2, 100) and decoded["sampling_rate"] == 100.0 and decoded["leads"] == ["V5", "II"]
    )
    assert_same(cast.cast_column("ecg", ECG())[0]["ecg"], example(0))
    assert cast.cast_column("ecg", ECG(decode=False))[0]["ecg"]["sampling_rate"] == 500.0


def test_resampling_keeps_a_slow_wave():
    time = np.arange(5000) / 500
    wave = {"signal": np.sin(2 * np.pi * 5 * time)[None], "sampling_rate": 500, "leads": ["I"]}
    decoded = ECG(sampling_rate=100).decode_example(encode_signal(**wave))["signal"]
    np.testing.assert_allclose(decoded[0, 50:-50], np.sin(2 * np.pi * 5 * np.arange(1000) / 100)[50:-50], atol=0.01)


def test_a_missing_lead_is_never_derived():
    stored = encode_signal(**example(leads=["I", "II"]))
    with pytest.raises(ValueError, match="lead III was asked for, the record holds I, II"):
        ECG(leads=["III"]).decode_example(stored)


def test_survives_save_to_disk(tmp_path):
    dataset().save_to_disk(tmp_path / "corpus")
    loaded = load_from_disk(tmp_path / "corpus")
    assert isinstance(loaded.features["ecg"], ECG)
    assert_same(loaded[3]["ecg"], example(3))


@pytest.mark.slow
def test_parquet_gives_the_feature_back_in_a_new_process(tmp_path):
    path = tmp_path / "corpus.parquet"
    dataset().to_parquet(path)
    code = (
        "import sys, ecgllm.corpora; from datasets import Dataset; d = Dataset.from_parquet(sys.argv[1], "
        "cache_dir=sys.argv[2]); print(type(d.features['ecg']).__name__, d[2]['ecg']['signal'].sum())"
    )
    command = [sys.executable, "-W", "error::UserWarning:ecgllm", "-c", code, str(path), str(tmp_path / "cache")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()
    assert printed == ["ECG", str(example(2)["signal"].sum())]


def test_streaming_slices_and_columns():
    streamed = list(dataset().to_iterable_dataset().cast_column("ecg", ECG(sampling_rate=250)))
    assert streamed[2]["ecg"]["signal"].shape == (12, 250)
    assert_same(dataset()[:3]["ecg"][2], example(2))
    assert_same(dataset()["ecg"][1], example(1))


@pytest.mark.parametrize("form", ["numpy", "torch"])
def test_formats(form):
    formatted = dataset().with_format(form)
    assert_same(formatted[1]["ecg"], example(1))
    assert_same(formatted[:2]["ecg"][1], example(1))


def test_map_passes_decoded_ecgs_on():
    mapped = dataset().map(lambda row: {"ecg": {**row["ecg"], "signal": row["ecg"]["signal"] * 2}})
    assert isinstance(mapped.features["ecg"], ECG)
    np.testing.assert_array_equal(mapped[1]["ecg"]["signal"], example(1)["signal"] * 2)


def test_missing_values_and_lists_of_ecgs():
    column = Dataset.from_dict({"ecg": [example(0), None]}, features=Features({"ecg": ECG()}))
    assert column[1]["ecg"] is None
    pairs = Dataset.from_dict({"ecgs": [[example(0), example(1)]]}, features=Features({"ecgs": List(ECG())}))
    assert_same(pairs[0]["ecgs"][1], example(1))


def test_flatten_only_when_not_decoding():
    with pytest.raises(ValueError, match="decode=False"):
        ECG().flatten()
    flat = dataset().cast_column("ecg", ECG(decode=False)).flatten()
    assert flat.column_names == ["id", "ecg.bytes", "ecg.gain", "ecg.leads", "ecg.sampling_rate", "ecg.path"]


def test_cast_from_plain_columns():
    original = example(5)
    plain = Dataset.from_list([{"ecg": {**original, "signal": original["signal"].tolist()}}])
    assert_same(plain.cast_column("ecg", ECG())[0]["ecg"], original)


def test_paths_are_read_late_and_embedded_without_their_names(shared_data):
    path = str(shared_data / "ludb" / "data" / "1.hea")
    paths = Dataset.from_dict({"ecg": [path]}).cast_column("ecg", ECG())
    assert paths[0]["ecg"]["signal"].shape == (12, 5000)
    embedded = paths.with_format("arrow").map(embed_table_storage, batched=True).with_format(None)
    stored = embedded.cast_column("ecg", ECG(decode=False))[0]["ecg"]
    assert stored["path"] is None and stored["sampling_rate"] == 500.0
    np.testing.assert_array_equal(embedded[0]["ecg"]["signal"], paths[0]["ecg"]["signal"])
