"""wfdb-python's own sample records: read as the library reads them, or refused for a reason that is named here."""

import warnings

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg
from ecgllm.signals.record import known_lead_name

IN_MV = {"mV": 1.0, "uV": 1e-3, "V": 1e3}
# Leads of several samples a frame are averaged by the library, which changes an ECG: refused here.
FRAMES = "samples per frame"
NO_FILE = "which is not there"
LAYOUT = "is the layout of a record"
NUMERICS = "the sampling rate is 0.0166667 Hz"  # heart rate and the like, a value a minute
REFUSED = {
    "03700181": FRAMES,
    "drive02": FRAMES,
    "drive02-no-len": FRAMES,
    "mixedsignals": FRAMES,
    "test01_00s_frame": FRAMES,
    "test01_00s_skewframe": FRAMES,
    "test_generator_2": FRAMES,
    "wave_4": FRAMES,
    "multi-segment/041s/041s": FRAMES,
    "multi-segment/041s/041s01": FRAMES,
    "multi-segment/041s/041s02": FRAMES,
    "1003": NO_FILE,
    "12726": NO_FILE,
    "n16": NO_FILE,
    "n8_evoked_raw_95_F1_R9": NO_FILE,
    "multi-segment/s00001/3975656_0009": NO_FILE,
    "multi-segment/s00001/3975656_0010": NO_FILE,
    "multi-segment/s00001/3975656_0011": NO_FILE,
    "multi-segment/s00001/s00001-2896-10-10-00-31": NO_FILE,
    "multi-segment/p000878/3269321_layout": LAYOUT,
    "multi-segment/s00001/3248903_layout": LAYOUT,
    "multi-segment/s00001/3975656_layout": LAYOUT,
    "multi-segment/s25047/3234460_layout": LAYOUT,
    "multi-segment/p000878/3269321_0001": "no signal is a voltage",  # a pulse wave
    "multi-segment/p000878/p000878-2137-10-26-16-57": "there is no 3269321_0003.hea",
    "multi-segment/s00001/s00001-2896-10-09-01-56": "none of which holds samples",  # the library gives empty leads
    "multi-segment/s00001/s00001-2896-10-09-01-56n": NUMERICS,
    "multi-segment/s00001/s00001-2896-10-10-00-31n": NUMERICS,
    "multi-segment/s25047/s25047-2704-05-04-10-44n": NUMERICS,
}
LONG = {
    "flac_3_constant",
    "multi-segment/s00001/3975656_0006",
    "multi-segment/s00001/3975656_0005",
}  # slow in the library


def check(path):
    import wfdb

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = wfdb.rdrecord(str(path.with_suffix("")), m2s=True)
    own = read_ecg(path)
    rows = {known_lead_name(name): row for row, name in enumerate(theirs.sig_name) if theirs.units[row] in IN_MV}
    assert set(own.leads) == set(rows) and own.sampling_rate == theirs.fs
    for lead, samples in zip(own.leads, own.signal, strict=True):
        wanted = theirs.p_signal[:, rows[lead]] * IN_MV[theirs.units[rows[lead]]]
        np.testing.assert_array_equal(samples, wanted.astype(np.float32), err_msg=f"{path}: {lead}")


def test_every_header_is_read_as_by_wfdb_or_refused(shared_vendor):
    folder = shared_vendor / "wfdb-samples"
    names = {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.hea"))}
    assert set(names) >= set(REFUSED)
    for name, path in names.items():
        if name in REFUSED:
            with pytest.raises(ECGReadError, match=REFUSED[name]):
                read_ecg(path)
        elif name not in LONG:
            check(path)
    print(f"{len(names) - len(REFUSED)} of {len(names)} are read, {len(REFUSED)} refused")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(LONG))
def test_long_records(shared_vendor, name):
    check(shared_vendor / "wfdb-samples" / f"{name}.hea")


@pytest.mark.parametrize(
    "line",
    [
        "r.dat 16 1000/mV 16 0 0 0 x II",  # no block size
        "r.dat 16 1000/mV 16 0 x 0 0 II",
        "r.dat 16 1000/mV bits 0 0 0 0 II",
        "r.dat 16 1000/mV 16 0 0 0 II",  # a field is lost: the library calls it II, by its place it has no name
        "r.dat 16 1000/mV 0 0 II",
        "r.dat 16 1000/\x04V 16 0 0 0 0 II",  # a bit of "m" was flipped
        "r.dat 16 1000/mV 16 0 0 0 0 \x12I",
    ],
)
@pytest.mark.parametrize("first", ["r 1 500 10", "r 1 500"])
def test_a_signal_line_that_lost_a_field_is_refused(tmp_path, line, first):
    (tmp_path / "r.dat").write_bytes(bytes(20))
    (tmp_path / "r.hea").write_text(f"{first}\nr.dat 16 1000/mV 16 0 0 0 0 II\n")
    assert read_ecg(tmp_path / "r.hea").leads == ("II",)
    (tmp_path / "r.hea").write_text(f"{first}\n{line}\n")
    with pytest.raises(ECGReadError, match="cannot read the line of signal 1"):
        read_ecg(tmp_path / "r.hea")
