"""CODE-15 in its official layout: padding cut, unit decided or refused, parts that are not there counted."""

import builtins
import multiprocessing

import numpy as np
import pandas as pd
import pytest

from ecgllm.corpora import prepare_with_report
from ecgllm.corpora.records.sources import code15
from ecgllm.corpora.records.sources.code15 import unit_of_amplitude, without_padding
from ecgllm.errors_ecgllm import ECGError


def tracing(samples: int, seed: int, height: float = 2.4) -> np.ndarray:
    """[samples, 12] in mV with `height` mV peak to peak."""
    signal = np.random.default_rng(seed).uniform(-height / 2, height / 2, size=(samples, 12)).astype(np.float32)
    signal[0], signal[-1] = -height / 2, height / 2
    return signal


@pytest.fixture
def parts():
    return {
        "exams_part0.hdf5": [
            (11, 1, tracing(4000, 1), ["RBBB", "AF"]),
            (12, 1, tracing(2800, 2), ["normal_ecg"]),
        ],
        "exams_part1.hdf5": [(13, 2, tracing(4096, 3), []), (14, 3, np.zeros((100, 12)), ["SB"])],
    }


def test_columns_and_padding(write_code15, parts, tmp_path):
    corpus, report = prepare_with_report("code15", write_code15(tmp_path / "code15", parts))
    assert corpus["id"][:] == ["code15-11", "code15-12", "code15-13"]
    assert [row["ecg"]["signal"].shape for row in corpus] == [(12, 4000), (12, 2800), (12, 4096)]
    first, second, third = corpus
    np.testing.assert_allclose(first["ecg"]["signal"], parts["exams_part0.hdf5"][0][2].T, atol=6e-4)
    assert first["ecg"]["sampling_rate"] == 400 and first["ecg"]["leads"][3:6] == ["aVR", "aVL", "aVF"]
    assert first["findings"] == ["atrial fibrillation", "bundle branch block", "right bundle branch block"]
    assert first["patient_id"] == second["patient_id"] == "code15-1" and first["split"] == second["split"]
    assert (first["sex"], second["sex"], first["age"]) == ("male", "female", 53.0)
    assert second["findings"] == ["normal ecg"] and third["findings"] == []
    assert report.unreadable == [("code15-14", report.unreadable[0][1])]
    assert "exam 14 is nothing but zeros" in report.unreadable[0][1]


@pytest.mark.parametrize("factor", [1.0, 1000.0, 0.001, 10.0])
def test_the_unit_is_found(write_code15, parts, tmp_path, factor):
    folder = write_code15(tmp_path / "code15", parts, factor)
    corpus, _ = prepare_with_report("code15", folder)
    assert np.ptp(corpus[0]["ecg"]["signal"]) == pytest.approx(2.4, abs=2e-3)


def test_a_unit_that_is_not_sure_is_refused(write_code15, parts, tmp_path):
    folder = write_code15(tmp_path / "code15", parts, factor=50.0)
    with pytest.raises(ValueError, match=r"median peak to peak is 120; .*Say which it is by unit="):
        prepare_with_report("code15", folder)
    corpus, _ = prepare_with_report("code15", folder, unit="uV")
    assert np.ptp(corpus[0]["ecg"]["signal"]) == pytest.approx(0.12, abs=2e-3)
    with pytest.raises(ValueError, match="unit='volt'; expected one of V, mV"):
        prepare_with_report("code15", folder, unit="volt")


def test_parts_that_are_not_there_are_counted(write_code15, parts, tmp_path):
    folder = write_code15(tmp_path / "code15", parts)
    (folder / "exams_part1.hdf5").unlink()
    corpus, report = prepare_with_report("code15", folder)
    assert len(corpus) == 2 and report.notes == ["2 exams lie in exams_part1.hdf5, which is not here"]
    lines = (folder / "exams.csv").read_text().splitlines()
    (folder / "exams.csv").write_text("\n".join([*lines[:2], *lines[3:]]))
    corpus, report = prepare_with_report("code15", folder)
    assert len(corpus) == 1 and "1 tracings have no row in exams.csv; left out" in report.notes
    (folder / "exams_part0.hdf5").write_bytes(b"no HDF5")
    with pytest.raises(ValueError, match="cannot be opened as HDF5"):
        prepare_with_report("code15", folder)
    (folder / "exams_part0.hdf5").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds exams.csv; expected exams.csv and exams_part.*unpack"):
        prepare_with_report("code15", folder)


def test_without_h5py(write_code15, parts, tmp_path, monkeypatch):
    folder = write_code15(tmp_path / "code15", parts)
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "h5py":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"needs h5py: pip install 'ecgllm\[formats\]'"):
        prepare_with_report("code15", folder)


def test_padding_is_only_at_the_ends():
    signal = np.ones((10, 2))
    signal[[0, 1, 5, 9]] = 0
    assert without_padding(signal).shape == (7, 2)
    assert without_padding(np.zeros((4, 2))).shape == (0, 2)


def test_real_tracings_are_in_millivolt(shared_data, write_code15, tmp_path):
    """Real records, stored elsewhere in microvolt, written in the official layout as they were published."""
    table = pd.read_parquet(shared_data / "code15" / "code15_308.parquet")
    exams, heights = [], []
    for position, row in enumerate(table.head(100).itertuples()):
        signal = np.frombuffer(row.sig_uV, "<i2").reshape(12, -1).T / 1000
        heights.append(float(np.median(np.ptp(signal, axis=0))))
        exams.append((int(row.id.split("/")[1]), position, signal, []))
    print(f"median peak to peak of {len(heights)} exams: {np.median(heights):.2f} mV")
    assert unit_of_amplitude(float(np.median(heights))) == "mV"
    corpus, report = prepare_with_report("code15", write_code15(tmp_path / "code15", {"exams_part0.hdf5": exams}))
    assert report.records == 100 and not report.unreadable
    np.testing.assert_allclose(corpus[0]["ecg"]["signal"], without_padding(exams[0][2]).T, atol=6e-4)


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="processes are not forked here")
def test_forked_processes_open_parts_themselves(write_code15, parts, tmp_path):
    """An open file's place is shared across fork: two that read from one would read each other's exams."""
    part = write_code15(tmp_path / "code15", parts) / "exams_part0.hdf5"
    here = code15._open(part)
    assert code15._open(part) is here
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_is_open_there, (part, id(here)))


def _is_open_there(part, parents):
    return id(code15._open(part)) != parents and code15._open(part)["tracings"].shape[2] == 12


def test_a_damaged_part_is_refused_whatever_is_damaged(write_code15, tmp_path):
    """h5py raises KeyError, RuntimeError and OSError; none of them reaches the caller but as one of ours."""
    folder = write_code15(tmp_path / "code15", {"exams_part0.hdf5": [(11, 1, tracing(400, 1), [])]})
    part = folder / "exams_part0.hdf5"
    whole, rng, outcomes = part.read_bytes(), np.random.default_rng(5), []
    for _ in range(60):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 3000), size=3):
            damaged[place : place + 4] = rng.bytes(4)
        part.write_bytes(damaged)
        try:
            for entry in code15.entries(folder, unit="mV").entries:
                entry.load()
            outcomes.append("read")
        except ECGError as error:
            outcomes.append("refused")
            assert "exams_part0.hdf5" in str(error)
    print({kind: outcomes.count(kind) for kind in set(outcomes)})
    assert "refused" in outcomes


@pytest.mark.parametrize(
    ("exams", "shape", "says"),
    [
        ((1 << 40,), (1 << 40, 400, 12), "the limit is"),
        ((1,), (1, 1 << 31, 12), "the limit is"),
        ((2,), (1, 400, 12), "expected numbers, exam_id"),
        ((1, 1), (1, 400, 12), "expected numbers, exam_id"),
    ],
)
def test_a_part_that_claims_what_it_does_not_hold(write_code15, tmp_path, exams, shape, says):
    import h5py

    folder = write_code15(tmp_path / "code15", {"exams_part0.hdf5": [(11, 1, tracing(400, 1), [])]})
    with h5py.File(folder / "exams_part0.hdf5", "w") as file:
        file.create_dataset("exam_id", exams, "i8", chunks=tuple(min(n, 10) for n in exams))  # nothing is stored
        file.create_dataset("tracings", shape, "f4", chunks=(1, 400, 12))
    with pytest.raises(ECGError, match=says):
        code15.entries(folder, unit="mV")
