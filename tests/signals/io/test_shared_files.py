"""Every file of the shared folders is named here with what it holds, or with its refusal.

`vendor_files.json` has a line a file: leads, rate (Hz), samples and a few voltages (mV) as another reader gives them
("by": wfdb, pydicom, sierraecg, biosig's save2gdf, or the numbers as the file's text or bytes spell them), the record
that a signal file belongs to ("as"), or the refusal ("refused"). A file that no line names fails the sweep.
"""

import json
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")

NAMED = json.loads(Path(__file__).with_name("vendor_files.json").read_text())
TOLERANCE_MV = {"biosig": 1e-4}  # writes EDF, whose steps are its own
UNKNOWN = "in which no ECG is known"


def files_under(folder):
    return {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_vendor_file_gives_what_is_named_or_is_refused(shared_vendor):
    """187 files, 4 s of processor time."""
    found = files_under(shared_vendor)
    assert not set(found) - set(NAMED), "files that vendor_files.json does not name"
    last = None  # the record whose signal files come next
    for name in sorted(found, key=lambda name: (Path(name).with_suffix("").as_posix(), not name.endswith(".hea"))):
        path, named = found[name], NAMED[name]
        if "refused" in named:
            with pytest.raises(ECGReadError, match=re.escape(named["refused"])):
                read_ecg(path)
            continue
        ecg = read_ecg(path)
        if "as" in named:
            assert path.with_name(named["as"]) == last[0]
            assert (ecg.leads, ecg.sampling_rate) == (last[1].leads, last[1].sampling_rate), name
            np.testing.assert_array_equal(ecg.signal, last[1].signal, err_msg=name)
            continue
        last = (path, ecg)
        assert list(ecg.leads) == named["leads"], name
        assert (ecg.sampling_rate, ecg.n_samples) == (named["rate"], named["samples"]), name
        for lead, values in named["mv"].items():
            row = ecg.signal[ecg.leads.index(lead)].astype(float)
            for sample, value in values.items():
                if value is None:
                    assert np.isnan(row[int(sample)]), (name, lead)
                else:
                    tolerance = TOLERANCE_MV.get(named["by"], 1e-5)
                    assert row[int(sample)] == pytest.approx(value, rel=1e-6, abs=tolerance), (name, lead)


# Files of the shared data by what they are: a pattern over the whole path, and what reading gives.
RECORD, SIGNALS, ANNOTATIONS = r".*\.hea", r".*\.(?:dat|mat)", r"ludb/data/\d+\.(?:i{1,3}|av[rlf]|v[1-6])"
OTHERS = {
    ANNOTATIONS: r"its header \d+\.hea describes \d+\.dat instead",
    r"code15/code15_308\.parquet": "has no columns of the ECG feature",
    r"ptbxl/[a-z_]+\d+\.parquet": "has no columns of the ECG feature",
    r"(?:ecg-qa|ludb|ptbxl)/(?:\w+/)*\w+\.(?:csv|tsv)": UNKNOWN,
    r"ecg-qa/ptbxl/\w+/\w+/\d+\.json": UNKNOWN,
    r"README\.md|(?:ludb|ecg-qa)/(?:LICENSE(?:\.txt)?|README|RECORDS|ANNOTATORS)": UNKNOWN,
}


def check_data(folder, every):
    """Read every `every`-th file of each kind; return how many of each were read or refused."""
    wfdb = pytest.importorskip("wfdb")
    counts = {}
    for name, path in files_under(folder).items():
        (kind,) = [pattern for pattern in (RECORD, SIGNALS, *OTHERS) if re.fullmatch(pattern, name)] or [None]
        assert kind is not None, f"{name}: a file of a kind that this test does not name"
        counts[kind] = counts.get(kind, 0) + 1
        if counts[kind] % every != 1 % every:
            continue
        if kind in OTHERS:
            with pytest.raises(ECGReadError, match=OTHERS[kind]):
                read_ecg(path)
            continue
        ecg = read_ecg(path)
        if kind == SIGNALS:
            np.testing.assert_array_equal(ecg.signal, read_ecg(path.with_suffix(".hea")).signal, err_msg=name)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            digital = wfdb.rdrecord(str(renamed(path)), physical=False)
        assert ecg.sampling_rate == digital.fs and ecg.n_samples == len(digital.d_signal), name
        ludb = name.startswith("ludb/")  # whose gains are wrong; a step is a microvolt
        for row, signal_name in enumerate(digital.sig_name):
            gain, zero = (1000.0, 0) if ludb else (digital.adc_gain[row], digital.baseline[row])
            wanted = (digital.d_signal[:, row] - zero) / gain
            lead = [known.lower() for known in ecg.leads].index(signal_name.lower())
            np.testing.assert_allclose(ecg.signal[lead], wanted, rtol=1e-6, atol=1e-6, err_msg=f"{name} {signal_name}")
    return counts


def renamed(path):
    """The record's path as the library takes it; it refuses Georgia's headers, whose first word is a file's name."""
    if not re.match(rb"\S+\.mat ", path.read_bytes()):
        return path.with_suffix("")
    folder = Path(renamed.folder)
    (folder / path.name).write_bytes(re.sub(rb"^(\S+)\.mat ", rb"\1 ", path.read_bytes()))
    signals = path.with_suffix(".mat")
    (folder / signals.name).write_bytes(signals.read_bytes())
    return (folder / path.name).with_suffix("")


@pytest.fixture
def _folder(tmp_path):
    renamed.folder = tmp_path


def test_a_sample_of_the_shared_data_is_read_as_by_wfdb(shared_data, _folder):
    """Every tenth file of each kind, 2 s."""
    assert len(check_data(shared_data, every=10)) >= 3


@pytest.mark.slow
def test_every_file_of_the_shared_data_is_read_as_by_wfdb(shared_data, _folder):
    """2,485 files, 7 s of processor time."""
    counts = check_data(shared_data, every=1)
    print(", ".join(f"{count} {kind}" for kind, count in counts.items()))
