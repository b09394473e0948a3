"""read_ecg on WFDB: golden records written by the wfdb package or by hand, and every real file where there are any."""

from datetime import datetime

import numpy as np
import pytest
import wfdb

from ecgllm.signals import ECGReadError, read_ecg
from ecgllm.signals.simulation import simulate_ecg

LEADS = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]


def counts(samples: int = 600) -> np.ndarray:
    """int16 [samples, 12], steps of a microvolt; Einthoven's law holds exactly."""
    signal = simulate_ecg(seed=7).signal[:, :samples].T
    steps = np.round(signal * 1000).astype(np.int64)
    steps[:, 2] = steps[:, 1] - steps[:, 0]
    return steps.astype("<i2")


def write(
    folder, steps, name="a", *, leads=LEADS, gains="1000/mV", record=None, file=None, offset=0, checksums=None, **more
):
    """A record by hand, as corpora hold them. more: comments=(...), rest=" 12:00:00 01/02/2020", samples, data."""
    file = file or f"{name}.dat"
    gains = [gains] * len(leads) if isinstance(gains, str) else gains
    sums = checksums or [int(np.int16(column.sum(dtype=np.int16))) for column in steps.T]
    form = f"16+{offset}" if offset else "16"
    lines = [f"{record or name} {len(leads)} 500 {more.get('samples', len(steps))}{more.get('rest', '')}"]
    lines += [
        f"{file} {form} {gain} 16 0 {first} {total} 0 {lead}"
        for lead, gain, first, total in zip(leads, gains, steps[0], sums, strict=True)
    ]
    (folder / f"{name}.hea").write_text("\n".join([*lines, *more.get("comments", ())]) + "\n")
    if more.get("data", True):
        (folder / file).write_bytes(b"\0" * offset + steps.astype("<i2").tobytes())
    return folder / f"{name}.hea"


@pytest.mark.parametrize("given", ["a.hea", "a.dat", "a"])
def test_reads_by_header_signal_or_record_path(tmp_path, given):
    steps = counts()
    write(tmp_path, steps)
    ecg = read_ecg(tmp_path / given)
    np.testing.assert_array_equal(ecg.signal, (steps.T / 1000).astype(np.float32))
    assert (ecg.id, ecg.sampling_rate, ecg.leads, ecg.source) == ("a", 500, tuple(LEADS), "wfdb")
    assert ecg.notes == ()


@pytest.mark.parametrize("form", ["16", "212", "80", "24", "32", "516"])
def test_equals_the_wfdb_package(tmp_path, form):
    scale = 100 if form in ("212", "80") else 1000
    signal = simulate_ecg(seed=3).signal.T.astype(float)
    signal = np.clip(signal, -1.2, 1.2)
    try:
        wfdb.wrsamp("g", 100, ["mV"] * 12, LEADS, signal, fmt=[form] * 12, adc_gain=[float(scale)] * 12,
                    baseline=[3] * 12, write_dir=str(tmp_path))  # fmt: skip
    except (ImportError, OSError) as error:  # FLAC needs libsndfile
        pytest.skip(f"wfdb cannot write format {form} here: {error}")
    expected = wfdb.rdrecord(str(tmp_path / "g")).p_signal.T
    np.testing.assert_array_equal(read_ecg(tmp_path / "g").signal, expected.astype(np.float32))


def packed(values, form):
    """Formats that wfdb reads but does not write, after https://physionet.org/physiotools/wag/signal-5.htm."""
    values = values.ravel().astype(np.int64)
    if form == "61":
        return values.astype(">i2").tobytes()
    one, two, three = (values[start::3] & 1023 for start in range(3))
    if form == "310":
        return np.stack([one << 1 | (three & 31) << 11, two << 1 | (three >> 5) << 11], axis=1).astype("<u2").tobytes()
    return (one | two << 10 | three << 20).astype("<u4").tobytes()


@pytest.mark.parametrize("form", ["61", "310", "311"])
def test_formats_that_wfdb_only_reads(tmp_path, form):
    steps = counts() // 10
    header = write(tmp_path, steps, gains="100/mV")
    header.write_text(header.read_text().replace("a.dat 16 ", f"a.dat {form} "))
    (tmp_path / "a.dat").write_bytes(packed(steps, form))
    np.testing.assert_array_equal(read_ecg(header).signal, (steps.T / 100).astype(np.float32))


def test_several_signal_files(tmp_path):
    steps = counts()
    header = write(tmp_path, steps)
    lines = header.read_text().splitlines()
    header.write_text("\n".join([lines[0], *lines[1:9], *(line.replace("a.dat", "b.dat") for line in lines[9:])]))
    (tmp_path / "a.dat").write_bytes(steps[:, :8].tobytes())
    (tmp_path / "b.dat").write_bytes(steps[:, 8:].tobytes())
    np.testing.assert_array_equal(read_ecg(header).signal, (steps.T / 1000).astype(np.float32))


def test_mat_file_with_offset_and_another_record_name(tmp_path):
    steps = counts()
    write(tmp_path, steps, "E1", record="E01137.mat", file="E1.mat", offset=24, comments=["#Age: 64", "#Dx: 1,2"])
    ecg = read_ecg(tmp_path / "E1.mat")
    assert ecg.id == "E1" and ecg.age == 64 and ecg.statements == ("SNOMED:1", "SNOMED:2")
    np.testing.assert_array_equal(ecg.signal, (steps.T / 1000).astype(np.float32))


def test_header_that_names_another_records_file_is_refused(tmp_path):
    write(tmp_path, counts(), "E1", file="E2.dat")
    assert read_ecg(tmp_path / "E1.hea").id == "E1"
    (tmp_path / "E1.dat").write_bytes(counts().tobytes())
    with pytest.raises(ECGReadError, match="another patient"):
        read_ecg(tmp_path / "E1.hea")
    with pytest.raises(ECGReadError, match="describes E2.dat instead"):
        read_ecg(tmp_path / "E1.dat")


def test_ludb_gains_are_overruled_by_einthoven(tmp_path):
    steps = counts()
    gains = [f"{np.ptp(column.astype(int))}(3)/mV" for column in steps.T]
    comments = ["#<age>: 51", "#<sex>: F", "#<diagnoses>:", "#Rhythm: Sinus rhythm.", "#Electric axis: normal. "]
    header = write(tmp_path, steps, gains=gains, leads=[lead.lower() for lead in LEADS], comments=comments)
    ecg = read_ecg(header)
    np.testing.assert_array_equal(ecg.signal, (steps.T / 1000).astype(np.float32))
    assert ecg.leads == tuple(LEADS) and (ecg.age, ecg.sex) == (51, "female")
    assert ecg.statements == ("LUDB:Rhythm: Sinus rhythm", "LUDB:Electric axis: normal")
    assert any("1 step = 1 microvolt" in note for note in ecg.notes)


def test_gains_that_contradict_einthoven_otherwise_are_refused(tmp_path):
    header = write(tmp_path, counts(), gains=["1000/mV", "250/mV", *["1000/mV"] * 10])
    with pytest.raises(ECGReadError, match="contradict II = I"):
        read_ecg(header)


def test_gains_that_differ_rightly_are_kept(tmp_path):
    steps = counts()
    stored = steps.copy()
    stored[:, 1] //= 4
    ecg = read_ecg(write(tmp_path, stored, gains=["1000/mV", "250/mV", *["1000/mV"] * 10]))
    np.testing.assert_allclose(ecg.signal, steps.T / 1000, atol=0.004)


def test_comment_glued_to_a_signal_line(tmp_path):
    header = write(tmp_path, counts(), leads=[*LEADS[:11], "V6#<age>: 53"], comments=["#<diagnoses>:", "#Rhythm: X."])
    ecg = read_ecg(header)
    assert ecg.leads[-1] == "V6" and ecg.age == 53 and ecg.statements == ("LUDB:Rhythm: X",)


@pytest.mark.parametrize(
    ("gain", "factor", "note"),
    [
        ("1000/mv", 1, ""),
        ("1/uV", 1, ""),
        ("1(0)/µV", 1, ""),
        ("1000000/V", 1, ""),
        ("0", 5, "default"),
        ("0/mV", 5, "default"),
    ],
)
def test_units_and_gains_become_millivolt(tmp_path, gain, factor, note):
    steps = counts()
    ecg = read_ecg(write(tmp_path, steps, gains=gain))
    np.testing.assert_allclose(ecg.signal, steps.T / 1000 * factor, rtol=1e-6)
    assert all(note in line for line in ecg.notes) and bool(ecg.notes) == bool(note)


def test_signal_that_is_no_voltage_is_left_out_and_noted(tmp_path):
    ecg = read_ecg(write(tmp_path, counts(), leads=[*LEADS[:11], "RESP"], gains=["1000/mV"] * 11 + ["10/mmHg"]))
    assert ecg.leads == tuple(LEADS[:11]) and "RESP (mmHg)" in ecg.notes[0]


def test_ptbxl_lead_names_and_missing_samples(tmp_path):
    steps = counts()
    steps[10:13, 4] = -32768
    ecg = read_ecg(write(tmp_path, steps, leads=[lead.upper() for lead in LEADS]))
    assert ecg.leads == tuple(LEADS)
    assert np.isnan(ecg.signal[4, 10:13]).all() and np.isnan(ecg.signal).sum() == 3
    assert "3 samples" in ecg.notes[0] and "AVL" in ecg.notes[0]


def test_truncated_file_is_refused_or_read_to_its_end(tmp_path):
    steps = counts()
    header = write(tmp_path, steps)
    (tmp_path / "a.dat").write_bytes(steps.tobytes()[: 250 * 24 + 7])
    with pytest.raises(ECGReadError, match=r"holds 6,007 bytes.*= 14,400.*250 samples \(0.50 s\).*allow_truncated"):
        read_ecg(header)
    ecg = read_ecg(header, allow_truncated=True)
    np.testing.assert_array_equal(ecg.signal, (steps[:250].T / 1000).astype(np.float32))
    assert "truncated: 250 of 600" in ecg.notes[0]


def test_absurd_length_is_refused_before_memory_is_spent(tmp_path):
    header = write(tmp_path, counts(), samples=10**15)
    with pytest.raises(ECGReadError, match="truncated at 600 samples"):
        read_ecg(header)
    assert read_ecg(header, allow_truncated=True).n_samples == 600


def test_damaged_samples_fail_the_checksum(tmp_path):
    steps = counts()
    header = write(tmp_path, steps)
    steps[5, 7] += 1
    (tmp_path / "a.dat").write_bytes(steps.tobytes())
    with pytest.raises(ECGReadError, match=r"checksum in V2 \(1 of 12"):
        read_ecg(header)
    assert read_ecg(header, verify_checksum=False).n_samples == 600


@pytest.mark.parametrize("file", ["../a.dat", "/etc/passwd", "sub/a.dat", "..\\a.dat", ".."])
def test_file_names_that_leave_the_folder_are_refused(tmp_path, file):
    header = write(tmp_path, counts(), file=file, data=False)
    with pytest.raises(ECGReadError, match="outside the header's folder"):
        read_ecg(header)


def test_missing_and_unsupported_files_say_what_is_read(tmp_path):
    (tmp_path / "x.xml").write_text("<a/>")
    (tmp_path / "lone.dat").write_bytes(b"\0" * 24)
    for name, says in (
        ("no.hea", "no such file"),
        ("no", "no such file"),
        ("x.xml", "reads WFDB"),
        ("lone.dat", "header"),
    ):
        with pytest.raises(ECGReadError, match=says):
            read_ecg(tmp_path / name)
    with pytest.raises(ECGReadError, match="names the signal file a.dat, which is not there"):
        read_ecg(write(tmp_path, counts(), data=False))


def segments(folder, steps, *, record="m/4 12 500 1000", lines=("m_0 0", "m_1 400", "~ 100", "m_2 500")):
    """A record of two segments with a gap between them, the second without V6; m_0 is its layout."""
    write(folder, steps[:400], "m_1")
    write(folder, steps[:500, :11], "m_2", leads=LEADS[:11])
    layout = [f"~ 16 1000/mV 16 0 0 0 0 {lead}" for lead in LEADS]
    (folder / "m_0.hea").write_text("\n".join(["m_0 12 500 0", *layout]) + "\n")
    (folder / "m.hea").write_text("\n".join([record, *lines]) + "\n")
    return folder / "m.hea"


def test_segments_are_put_together_as_wfdb_does(tmp_path):
    steps = counts()
    ecg = read_ecg(segments(tmp_path, steps))
    expected = wfdb.rdrecord(str(tmp_path / "m")).p_signal.T
    assert ecg.leads == tuple(LEADS) and ecg.signal.shape == (12, 1000) and ecg.id == "m"
    np.testing.assert_array_equal(ecg.signal, expected.astype(np.float32))
    np.testing.assert_array_equal(ecg.signal[:, :400], (steps[:400].T / 1000).astype(np.float32))
    assert np.isnan(ecg.signal[:, 400:500]).all() and np.isnan(ecg.signal[11, 500:]).all()
    assert "2 segments" in ecg.notes[0] and "1700 samples are NaN" in ecg.notes[1]


def test_segments_without_an_ecg_are_gaps(tmp_path):
    """As in MIMIC-III: a layout, and segments of which some hold pressures only."""
    steps = counts(300)[:, 1:2]
    for name, unit in (("s1", "mV"), ("s2", "mmHg"), ("s3", "mmHg"), ("s4", "mV")):
        write(tmp_path, steps, name, leads=["II"], gains=f"1000/{unit}")
    (tmp_path / "layout.hea").write_text("layout 2 500 0\n~ 0 1000/mV 8 0 0 0 0 II\n~ 0 1/mmHg 8 0 0 0 0 ABP\n")
    (tmp_path / "m.hea").write_text("m/6 2 500 1250\nlayout 0\ns1 300\ns2 300\n~ 50\ns3 300\ns4 300\n")
    ecg = read_ecg(tmp_path / "m.hea")
    assert ecg.leads == ("II",) and np.isnan(ecg.signal).sum() == 650
    np.testing.assert_array_equal(ecg.signal[0, 950:], (steps[:, 0] / 1000).astype(np.float32))
    assert any("2 segments, from s2 on: no ECG" in note for note in ecg.notes)
    with pytest.raises(ECGReadError, match="layout of a record of several segments"):
        read_ecg(tmp_path / "layout.hea")


def test_skewed_leads_are_put_right_as_wfdb_does(tmp_path):
    header = write(tmp_path, counts())
    header.write_text(header.read_text().replace("a.dat 16 ", "a.dat 16:3 ", 1))
    ecg = read_ecg(header)
    expected = wfdb.rdrecord(str(tmp_path / "a")).p_signal.T
    np.testing.assert_array_equal(ecg.signal, expected.astype(np.float32))
    assert any("skew" in note for note in ecg.notes)


def test_checksums_that_nobody_computed(tmp_path):
    """All headers of the CinC Challenge 2017 say 0."""
    steps = counts()[:, 1:2]
    ecg = read_ecg(write(tmp_path, steps, file="a.mat", offset=24, leads=["ECG"], checksums=[0]))
    np.testing.assert_array_equal(ecg.signal, (steps.T / 1000).astype(np.float32))
    assert "checksums are all 0" in ecg.notes[0]


@pytest.mark.parametrize(
    ("kind", "form", "says"),
    [("int16", "5", "MATLAB 5"), ("float64", "4", "type 0"), ("transposed", "4", "matrix 600 x 12")],
)
def test_mat_files_that_wfdb_would_misread_are_refused(tmp_path, kind, form, says):
    savemat = pytest.importorskip("scipy.io").savemat
    steps = counts()
    header = write(tmp_path, steps, file="a.mat", offset=24)
    savemat(tmp_path / "a.mat", {"val": steps if kind == "transposed" else steps.T.astype(kind)}, format=form)
    with pytest.raises(ECGReadError, match=says):
        read_ecg(header, verify_checksum=False)


@pytest.mark.parametrize(
    ("record", "lines", "says"),
    [
        ("m/2 12 500 800", ["m 400", "m_1 400"], "itself a record of several segments"),
        ("m/2 12 500 400", ["../x 200", "m_1 200"], "outside the header's folder"),
        ("m/2 12 500 800", ["m_9 400", "m_1 400"], "no m_9.hea"),
        ("m/2 12 500 900", ["m_1 400", "m_1 400"], "hold 800 samples, its record line promises 900"),
        ("m/2 12 500 801", ["m_1 401", "m_1 400"], "holds 400 samples, the record promises 401"),
        ("m/2 12 250 800", ["m_1 400", "m_1 400"], "500 Hz, the record 250 Hz"),
        ("m/2 12 500 100000000400", ["~ 100000000000", "m_1 400"], "limit is"),
        ("m/999999999 12 500 800", ["m_1 400"], "999999999 segments"),
        ("m/1 12 500 800", ["~ 800"], "none of which holds samples"),
    ],
)
def test_segments_that_lead_astray_are_refused(tmp_path, record, lines, says):
    header = segments(tmp_path, counts(), record=record, lines=lines)
    with pytest.raises(ECGReadError, match=says):
        read_ecg(header)


@pytest.mark.parametrize("text", ["", "a", "a x 500 10", "a 1 0 10\na.dat 16", "a 2 500 10\na.dat 16", "a/3 2 500 10",
                                  "a 1 500 10\na.dat 16x2 200", "a 1 500 10\na.dat what"])  # fmt: skip
def test_damaged_headers_are_refused(tmp_path, text):
    (tmp_path / "a.hea").write_text(text)
    (tmp_path / "a.dat").write_bytes(b"\0" * 20)
    with pytest.raises(ECGReadError, match="a.hea"):
        read_ecg(tmp_path / "a.hea")


@pytest.mark.parametrize(
    ("comments", "age", "sex"),
    [
        (["# Age: 77", "# Sex: Female"], 77, "female"),
        (["#Age: NaN", "#Sex: Unknown"], None, None),
        (["#<age>: 51", "#<sex>: M"], 51, "male"),
        (["#age: 300", "#sex: x"], None, None),
        (["# Name: Jane Doe"], None, None),
        (["# diagnoses:", "# Patient name: Jane Doe", "# Age: Jane"], None, None),
    ],
)
def test_age_and_sex_but_never_a_name(tmp_path, comments, age, sex):
    ecg = read_ecg(write(tmp_path, counts(), comments=comments))
    assert (ecg.age, ecg.sex) == (age, sex)
    assert "Jane" not in repr(ecg)


def test_recorded_at_only_from_wfdbs_own_form(tmp_path):
    assert read_ecg(write(tmp_path, counts(), rest=" 12:30:01 02/01/2020")).recorded_at == datetime(
        2020, 1, 2, 12, 30, 1
    )
    ecg = read_ecg(write(tmp_path, counts(), rest=" 05-May-2020 09:49:17"))
    assert ecg.recorded_at is None and "conversion" in ecg.notes[0]


def test_every_real_record_equals_the_wfdb_package(shared_data, tmp_path):
    headers = sorted(shared_data.rglob("*.hea"))
    compared = 0
    for header in headers:
        ecg = read_ecg(header)
        assert len(ecg.leads) == 12 and ecg.n_samples >= 2500
        rate_line, rest = header.read_text().split("\n", 1)
        if rate_line.split()[0].endswith(".mat"):  # wfdb refuses such a name: give it a copy with a proper one
            (tmp_path / header.name).write_text(rate_line.replace(".mat", "", 1) + "\n" + rest)
            (tmp_path / f"{header.stem}.mat").write_bytes(header.with_suffix(".mat").read_bytes())
            header = tmp_path / header.name
        ludb = "<diagnoses>" in rest
        golden = wfdb.rdrecord(str(header.with_suffix("")), physical=not ludb)
        expected = golden.d_signal / 1000 if ludb else golden.p_signal
        np.testing.assert_array_equal(ecg.signal, expected.T.astype(np.float32), err_msg=header.name)
        compared += 1
    assert compared == len(headers) > 0
    print(f"{compared} real records equal wfdb's")
