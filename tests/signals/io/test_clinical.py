"""Clinical formats: written by pydicom, pyedflib, biosig or by hand, read back within a step; damage is refused."""

import multiprocessing
import os
import shutil
import struct
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg
from ecgllm.signals.io.clinical import reader as clinical

pytest.importorskip("ecgdatakit")


def test_reads_back_what_was_written_within_a_step(one_of_each):
    for format, (content, signal, leads, rate) in one_of_each.items():
        ecg = read_ecg(content)
        assert (ecg.leads, ecg.sampling_rate) == (tuple(leads), rate), format
        np.testing.assert_allclose(ecg.signal, signal, atol=1e-6, err_msg=format)


def test_nothing_that_names_the_patient_is_kept(one_of_each, written):
    secrets = [written.NAME, written.GIVEN, written.NUMBER, written.BORN, "1945"]
    for format, (content, *_) in one_of_each.items():
        ecg = read_ecg(content)
        assert ecg.patient_id is None
        kept = repr([getattr(ecg, name) for name in ecg.__dataclass_fields__ if name != "signal"]).lower()
        assert not [secret for secret in secrets if secret.lower() in kept], format


def test_keep_identity_gives_the_number_and_never_the_name(one_of_each, written):
    for format in ("dicom", "edf", "muse", "sierra", "hl7", "scp", "ishne", "mfer", "kardia"):
        ecg = read_ecg(one_of_each[format][0], keep_identity=True)
        assert ecg.patient_id == written.NUMBER, format
    assert any(
        "Confirmed by" in sentence for sentence in read_ecg(one_of_each["muse"][0], keep_identity=True).statements
    )


def test_errors_do_not_quote_the_patient(written):
    content = written.muse(written.microvolts(leads=written.EIGHT)).replace(
        b"<SampleBase>500", b"<SampleBase>Marmaduke"
    )
    with pytest.raises(ECGReadError) as caught:
        read_ecg(content)
    assert "Marmaduke" not in str(caught.value)


def test_demographics_statements_and_measurements(one_of_each):
    ecg = read_ecg(one_of_each["muse"][0])
    assert (ecg.age, ecg.sex, ecg.recorded_at.isoformat()) == (61, "female", "2006-04-02T10:15:30")
    assert ecg.statements == ("MUSE:Normal sinus rhythm",) and ecg.report == "Normal sinus rhythm"
    assert ecg.measurements == {"heart_rate": 71, "pr": 160, "axis": -12}
    assert any("1 statements that may name a person" in note for note in ecg.notes)
    assert any("8 median beats of 0.20 s were left out" in note for note in ecg.notes)


@pytest.mark.parametrize("plus", [True, False])
@pytest.mark.parametrize(("unit", "scale"), [("uV", 1.0), ("mV", 0.001), ("uV", 2.5)])
def test_edf(written, tmp_path, plus, unit, scale):
    counts = np.hstack([written.microvolts(500)] * 2)
    content = written.edf(tmp_path, counts, plus=plus, unit=unit, scale=scale)
    step = scale / (1 if unit == "mV" else 1000)
    ecg = read_ecg(content)
    np.testing.assert_allclose(ecg.signal, counts * step, atol=step)
    assert ecg.source == "edf" and ecg.sampling_rate == 500


def test_edf_takes_the_ecg_out_of_a_polygraph(written, tmp_path):
    counts = written.microvolts(500, leads=("I", "II"))
    others = [
        ("EEG C3-A2", "uV", 100, np.zeros(100)),
        ("Resp", "uV", 25, np.zeros(25)),
        ("SpO2", "%", 500, np.zeros(500)),
    ]
    ecg = read_ecg(written.edf(tmp_path, counts, ("ECG I", "ECG II"), others=others))
    assert ecg.leads == ("I", "II") and ecg.sampling_rate == 500
    assert any("EEG C3-A2, Resp" in note for note in ecg.notes)


def test_edf_lead_names_of_polygraphs(written, tmp_path):
    counts = written.microvolts(500)
    for prefix in ("ECG ", "EKG-", "ECG-", "EKG_", "ECG Lead "):
        assert (
            read_ecg(written.edf(tmp_path, counts, [prefix + lead for lead in written.LEADS])).leads == written.LEADS
        )
    numbered = ("ECG 1", "ECG2", "EKG")  # channels, not leads I and II
    assert read_ecg(written.edf(tmp_path, counts[:3], numbered)).leads == numbered


def test_edf_gaps_are_missing_samples(written, tmp_path):
    counts = np.hstack([written.microvolts(500)] * 2)
    content = written.edf(tmp_path, counts)
    assert content.count(b"+1\x14\x14") == 1 and content[192:197] == b"EDF+C"
    gapped = (content[:192] + b"EDF+D" + content[197:]).replace(b"+1\x14\x14", b"+3\x14\x14")
    ecg = read_ecg(gapped)
    assert ecg.n_samples == 2000 and np.isnan(ecg.signal[:, 500:1500]).all()
    whole = np.hstack([ecg.signal[:, :500], ecg.signal[:, 1500:]])
    np.testing.assert_allclose(whole, counts / 1000, atol=1e-6)
    assert any("has gaps" in note for note in ecg.notes)
    backwards = (content[:192] + b"EDF+D" + content[197:]).replace(b"+1\x14\x14", b"+0\x14\x14")
    with pytest.raises(ECGReadError, match="overlap"):
        read_ecg(backwards)
    place = content.index(b"+1\x14\x14")
    far = content[:192] + b"EDF+D" + content[197:place] + b"+999999999\x14\x14" + content[place + 12 :]
    with pytest.raises(ECGReadError, match="promises 12 leads"):
        read_ecg(far)


def test_edf_inverted_ranges_invert_and_are_noted(written, tmp_path):
    counts = written.microvolts(500, leads=("II",))
    content = bytearray(written.edf(tmp_path, counts, ("II",)))
    place = 256 + 2 * (16 + 80 + 8)  # physical minimum and maximum of two signals, the second of annotations
    low, high = content[place : place + 8], content[place + 16 : place + 24]
    content[place : place + 8], content[place + 16 : place + 24] = high, low
    ecg = read_ecg(bytes(content))
    np.testing.assert_allclose(ecg.signal, -(counts + 1) / 1000, atol=1e-6)
    assert any("gain is negative" in note and "II" in note for note in ecg.notes)


def test_mixed_rates_are_refused(written, tmp_path):
    counts = written.microvolts(500, leads=("I",))
    content = written.edf(tmp_path, counts, ("I",), others=[("II", "uV", 250, np.zeros(250))])
    with pytest.raises(ECGReadError, match=r"differ in rate or length \(I 500 Hz.*II 250 Hz"):
        read_ecg(content)


def test_rates_that_are_no_whole_number_are_kept(written):
    counts = written.microvolts()
    assert read_ecg(written.hl7(counts, increment=0.0039)).sampling_rate == pytest.approx(1 / 0.0039)
    assert read_ecg(written.hl7(counts, increment=2, increment_unit="ms")).sampling_rate == 500
    assert read_ecg(written.kardia(counts[:6], rate=299.5)).sampling_rate == 299.5
    eight = written.microvolts(leads=written.EIGHT)
    assert read_ecg(written.scp(eight, interval=1667)).sampling_rate == 600
    assert read_ecg(written.muse(eight, rate=5, exponent=2)).sampling_rate == 500
    with pytest.raises(ECGReadError, match="257.5 Hz"):
        read_ecg(written.muse(eight, rate=257.5))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_philips(written, packed, encoding):
    counts = written.microvolts() // 5
    rows = counts.astype(int)
    if packed:  # the limb leads are rebuilt from I and II to within a step
        rows[2] = rows[1] - rows[0]
        rows[3], rows[4], rows[5] = -(rows[0] + rows[1]) // 2, (rows[0] - rows[2]) // 2, (rows[1] + rows[2]) // 2
    ecg = read_ecg(written.sierra(rows, packed=packed, encoding=encoding))
    np.testing.assert_allclose(ecg.signal, rows * 0.005, atol=0.0051)
    assert ecg.leads == written.LEADS


def test_philips_samples_beyond_the_stated_duration(written):
    """A few that fill up are noted; as many as there are leads may be one of each, and shift all but the first."""
    counts = written.microvolts()
    assert any("11 samples beyond" in note for note in read_ecg(written.sierra(counts, spare=11)).notes)
    for content in (
        written.sierra(counts, spare=120),
        written.sierra(counts).replace(b'durationperchannel="1200"', b'durationperchannel="600"'),
    ):
        with pytest.raises(ECGReadError, match="which lead cannot be told"):
            read_ecg(content)
    ecg = read_ecg(written.sierra(counts, spare=4 * 600))  # channels without electrodes, as packed files have
    assert any("4 stored channels beyond" in note for note in ecg.notes)
    np.testing.assert_allclose(ecg.signal, counts * 0.005, atol=1e-5)


@pytest.mark.parametrize(
    ("stated", "instead", "says"),
    [
        (b'samplespersecond="500"', b'samplespersecond="499.6"', "499.6, which is no whole number"),
        (b"<samplingrate>500", b"<samplingrate>499.6", "499.6, which is no whole number"),
        (b"<signaloffset>0", b"<signaloffset>2.5", "2.5, which is no whole number"),
        (b"<signaloffset>0", b"<signaloffset>0,1", "signaloffset is no number"),
        (b' resolution="5.0"', b' resolution="5,0"', "resolution is no number"),
        (b"<signalsigned>", b"<bitspersample>8</bitspersample><signalsigned>", "8 bits; 16 are read"),
    ],
)
def test_philips_numbers_that_the_library_rounds_or_ignores(written, stated, instead, says):
    content = written.sierra(written.microvolts() // 5)
    assert stated in content
    with pytest.raises(ECGReadError, match=says):
        read_ecg(content.replace(stated, instead))


@pytest.mark.parametrize("options", [{"scale": 2.5}, {"scale": 0.0025, "unit": "mV"}, {"scale": 2.5, "origin": 50}])
def test_hl7_scale_and_origin(written, options):
    counts = written.microvolts()
    ecg = read_ecg(written.hl7(counts, **options))
    np.testing.assert_allclose(ecg.signal, counts * 0.0025 + (0.05 if "origin" in options else 0), atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ((b'<scale value="2.5"', b'<scale value="2,5"'), "no number as its scale"),
        ((b'<scale value="2.5" unit="uV"/>', b""), "nothing as its scale"),
        ((b'<origin value="50" unit="uV"', b'<origin value="50" unit="furlong"'), "origin in a unit"),
        ((b'<origin value="50"', b'<origin value="5O"'), "no number as its origin"),
    ],
)
def test_hl7_without_a_readable_scale_or_origin_is_refused(written, changed, message):
    content = written.hl7(written.microvolts(), scale=2.5, origin=50)
    assert changed[0] in content
    with pytest.raises(ECGReadError, match=message):
        read_ecg(content.replace(*changed))


def test_hl7_takes_the_rhythm_among_several_series(written):
    counts = written.microvolts()
    content = written.hl7(counts)
    start, end = content.index(b"<component><series>"), content.index(b"</AnnotatedECG>")
    beat = content[start:end].replace(b"RHYTHM", b"REPRESENTATIVE_BEAT").replace(b"0.002", b"0.001")
    ecg = read_ecg(content[:start] + beat + content[start:])
    assert ecg.sampling_rate == 500
    np.testing.assert_allclose(ecg.signal, counts * 0.005, atol=1e-6)
    twice = read_ecg(content[:end] + content[start:end] + content[end:])
    assert any("2 rhythm series found; only the first is read" in note for note in twice.notes)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ((b'samplespersecond="500"', b'samplespersecond="250"'), "samplespersecond 250.*samplingrate 500"),
        ((b"<resolution>5.0", b"<resolution>2.5"), "resolution 5 for the waveforms and resolution 2.5"),
        ((b'leadlabels="I II III', b'leadlabels="I II'), "names 11 leads and promises 12"),
        ((b'numberofleads="12"', b'numberofleads="13"'), "names 12 leads and promises 13"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_philips_headers_that_contradict_each_other_are_refused(written, changed, message, packed):
    content = written.sierra(written.microvolts() // 5, packed=packed)
    assert changed[0] in content
    with pytest.raises(ECGReadError, match=message):
        read_ecg(content.replace(*changed))


@pytest.mark.parametrize("packed", [False, True])
def test_philips_leads_without_a_name_are_refused(written, packed):
    content = written.sierra(written.microvolts() // 5, packed=packed)
    content = content.replace(b'numberofleads="12"', b'numberofleads="11"').replace(b"I II III aVR", b"I II aVR")
    with pytest.raises(ECGReadError, match="has no name|cannot be undone|which lead cannot be told"):
        read_ecg(content)


def test_muse_oddities_are_read_or_noted(written):
    counts = written.microvolts(leads=written.EIGHT)
    content = written.muse(counts)
    utf16 = content.decode("latin-1").replace("ISO-8859-1", "UTF-16").encode("utf-16")
    for same in (utf16, written.muse(counts, units_per_bit="4,88"), written.muse(counts, units_per_bit="0.00488",
                                                                                  unit="MILLIVOLTS")):  # fmt: skip
        np.testing.assert_allclose(read_ecg(same).signal, counts * 0.00488, atol=1e-5)
    for broken in (written.muse(counts, unit=""), written.muse(counts, units_per_bit="")):
        with pytest.raises(ECGReadError, match="no voltage unit or no gain"):
            read_ecg(broken)
    notes = read_ecg(content.replace(b"<FirstSampleBaseline>0", b"<FirstSampleBaseline>100")).notes
    assert any("FirstSampleBaseline is non-zero for ['I (" in note and "raw_metadata" not in note for note in notes)
    notes = read_ecg(content.replace(b"<LeadTimeOffset>0", b"<LeadTimeOffset>250", 12)).notes
    assert any("different time offsets" in note for note in notes)
    counts[2, 5:50] = -32768
    notes = read_ecg(written.muse(counts)).notes
    assert any("-32768" in note and "V1 (45)" in note for note in notes)


@pytest.mark.parametrize(
    "options",
    [{}, {"huffman": True}, {"avm": 2500}, {"interval": 1000}, {"differences": 1}, {"differences": 2},
     {"huffman": True, "differences": 1}, {"huffman": True, "differences": 2}],
)  # fmt: skip
def test_scp(written, options):
    counts = written.microvolts(leads=written.EIGHT)
    ecg = read_ecg(written.scp(counts, **options))
    np.testing.assert_allclose(ecg.signal, counts * options.get("avm", 1000) / 1e6, atol=1e-6)
    assert ecg.sampling_rate == 1e6 / options.get("interval", 2000)


@pytest.mark.parametrize("beat_avm", [1000, 5000])
@pytest.mark.parametrize("options", [{}, {"huffman": True, "differences": 2}])
def test_scp_reference_beat_is_added_again(written, options, beat_avm):
    """High compression as carts use it: a reference beat is subtracted at each QRS complex."""
    counts = written.microvolts(600, written.EIGHT)
    ecg = read_ecg(written.scp(counts, beats=(100, 250, 471), beat_avm=beat_avm, **options))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert any("median beats of 0.20 s were left out" in note for note in ecg.notes)


def test_scp_leads_that_start_later_are_placed_in_time(written):
    counts = written.microvolts(leads=("I", "II"))
    ecg = read_ecg(written.scp(counts, ("I", "II"), starts=[1, 101]))
    assert ecg.n_samples == 700 and np.isnan(ecg.signal[1, :100]).all() and np.isnan(ecg.signal[0, 600:]).all()
    np.testing.assert_allclose(ecg.signal[1, 100:], counts[1] / 1000, atol=1e-6)


@pytest.mark.parametrize("options", [{"big_endian": True}, {"preamble": False}, {"blocks": 4}, {"step_nv": 2500}])
def test_mfer(written, options):
    counts = written.microvolts()
    counts[0, 3] = -32768
    ecg = read_ecg(written.mfer(counts, null=-32768, **options))
    expected = counts * options.get("step_nv", 1000) / 1e6
    assert np.isnan(ecg.signal[0, 3]) and np.isnan(ecg.signal).sum() == 1
    expected[0, 3] = np.nan
    np.testing.assert_allclose(ecg.signal, expected, atol=1e-6)


def test_leads_are_not_dealt_each_others_samples(written):
    content = bytearray(written.ishne(written.microvolts(leads=("V1", "V5", "aVF"))))
    struct.pack_into("<h", content, 10 + 146, 2)  # two leads for the samples of three
    with pytest.raises(ECGReadError, match="names 2 leads and holds 3 x 600 samples"):
        read_ecg(bytes(content), verify_checksum=False)
    content = written.mfer(written.microvolts())
    fewer = content.replace(struct.pack("<BBh", 0x05, 2, 12), struct.pack("<BBh", 0x05, 2, 11))
    half = content.replace(struct.pack("<BBi", 0x04, 4, 600), struct.pack("<BBi", 0x04, 4, 300))
    for changed in (fewer, half):
        assert changed != content
        with pytest.raises(ECGReadError, match="a frame holds 14,400 bytes"):
            read_ecg(changed)


def test_kardia_duration_is_compared(written):
    content = written.kardia(written.microvolts(leads=written.LEADS[:6]) * 2)
    assert not any("duration" in note for note in read_ecg(content).notes)
    notes = read_ecg(content.replace(b'"duration": 2000.0', b'"duration": 30000.0')).notes
    assert "the file states a duration of 30 s and holds 2.00 s; it may be cut" in notes


def test_no_cut_is_silent(one_of_each):
    """A file cut anywhere is refused, or gives the same samples, or says what is missing."""
    for format, (content, *_) in one_of_each.items():
        if format == "csv":
            continue  # between two lines, and within integers, a table can end anywhere
        whole = read_ecg(content)
        for cut in sorted(
            {len(content) * part // 40 for part in range(1, 40)} | {len(content) - n for n in (1, 2, 9)}
        ):
            try:
                ecg = read_ecg(content[:cut])
            except ECGReadError:
                continue
            same = ecg.signal.shape == whole.signal.shape and np.array_equal(ecg.signal, whole.signal)
            assert same or set(ecg.notes) - set(whole.notes), (format, cut)


def test_ishne_fault_samples_are_missing_and_the_length_is_compared(written):
    counts = written.microvolts(leads=("V1", "V5", "aVF"))
    counts[1, 7] = -32768
    ecg = read_ecg(written.ishne(counts, promised=9000))
    assert np.isnan(ecg.signal[1, 7]) and np.isnan(ecg.signal).sum() == 1
    assert any("promises 9,000 samples, the file holds 600" in note for note in ecg.notes)
    with pytest.raises(ECGReadError, match="no voltage unit"):
        read_ecg(written.ishne(counts, zero=True))


@pytest.mark.parametrize(
    ("writer", "options"), [("muse", {"crc": False}), ("ishne", {"crc": False}), ("scp", {"bad_crc": True})]
)
def test_checksums(written, writer, options):
    leads = {"ishne": ("V1", "V5", "aVF")}.get(writer, written.EIGHT)
    content = getattr(written, writer)(written.microvolts(leads=leads), **options)
    with pytest.raises(ECGReadError, match="verify_checksum=False"):
        read_ecg(content)
    ecg = read_ecg(content, verify_checksum=False)
    assert any("mismatch" in note for note in ecg.notes)


def test_truncated_files_are_refused_or_read_to_their_end(written, tmp_path):
    content = written.edf(tmp_path, np.hstack([written.microvolts(500)] * 4))
    with pytest.raises(ECGReadError, match="truncated.*allow_truncated=True"):
        read_ecg(content[:-5000])
    ecg = read_ecg(content[:-5000], allow_truncated=True)
    assert ecg.n_samples == 1500 and any("truncated" in note for note in ecg.notes)


def test_duplicate_leads_are_refused(written):
    leads = [*written.LEADS[:11], "V5"]
    for content in (written.dicom(written.microvolts(), leads), written.hl7(written.microvolts(), leads)):
        with pytest.raises(ECGReadError, match="more than once"):
            read_ecg(content)


def test_absurd_gains_are_flagged(written):
    assert any("no ECG does" in note for note in read_ecg(written.hl7(written.microvolts(), scale=1e5)).notes)
    assert any("less than any ECG" in note for note in read_ecg(written.hl7(written.microvolts(), scale=1e-4)).notes)
    with pytest.raises(ECGReadError, match="infinite"):
        read_ecg(written.hl7(written.microvolts(), scale=1e300))


def test_calibration_pulse_at_the_end_is_noted(written):
    counts = written.microvolts()
    counts[:, -120:] = 0
    counts[:, -100:-20] = 1000
    assert any("calibration pulse" in note for note in read_ecg(written.mfer(counts)).notes)
    assert not any("calibration" in note for note in read_ecg(written.mfer(written.microvolts())).notes)


BOMB = b"<!DOCTYPE x [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;&a;&a;'>]>"


@pytest.mark.parametrize("writer", ["muse", "sierra", "hl7"])
def test_xml_bombs_and_external_entities_are_refused(written, writer):
    leads = written.EIGHT if writer == "muse" else written.LEADS
    options = {"dtd": False} if writer == "muse" else {}
    content = getattr(written, writer)(written.microvolts(leads=leads), **options)
    for doctype in (BOMB, b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>"):
        declaration, _, rest = content.partition(b"?>")
        with pytest.raises(ECGReadError, match="declares XML entities"):
            read_ecg(declaration + b"?>" + doctype + rest)


def test_packed_lead_that_explodes_is_refused(written):
    # LZW codes each of which stands for a string one longer than the last: 10 bits for up to 767 bytes.
    codes = [0, *range(256, 1022)] + [1021] * 20_000
    bits = "".join(f"{code:010b}" for code in codes)
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    bomb = struct.pack("<iHh", len(packed), 0, 0) + packed
    with pytest.raises(ECGReadError, match="grows beyond"):
        read_ecg(written.sierra(written.microvolts(), compressed=bomb))


def test_scp_length_that_the_file_cannot_hold_is_refused(written):
    content = bytearray(written.scp(written.microvolts(leads=("I",)), ("I",)))
    place = content.index(struct.pack("<IIB", 1, 600, 1))
    struct.pack_into("<I", content, place + 4, 4_000_000_000)
    with pytest.raises(ECGReadError, match="promises 4,000,000,000 samples"):
        read_ecg(bytes(content), verify_checksum=False)


def test_clear_error_without_ecgdatakit(one_of_each, tmp_path):
    (tmp_path / "a.dcm").write_bytes(one_of_each["dicom"][0])
    program = textwrap.dedent(f"""
        import sys
        sys.modules["ecgdatakit"] = None
        from ecgllm.signals import ECGReadError, read_ecg
        try:
            read_ecg({str(tmp_path / "a.dcm")!r})
        except ECGReadError as error:
            print(error)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "pip install 'ecgllm[formats]'" in done.stdout


def test_biosig_agrees_on_what_was_written(one_of_each, tmp_path):
    """An independent program (Debian's biosig-tools) reads the hand-written files as this package does."""
    program = shutil.which("save2gdf")
    if program is None:
        pytest.skip("save2gdf is not installed (apt-get install biosig-tools)")
    agreed = []
    for format, suffix in (("scp", ".scp"), ("hl7", ".xml"), ("mfer", ".mwf"), ("edf", ".edf")):
        content, signal, leads, rate = one_of_each[format]
        source, target = tmp_path / f"a{suffix}", tmp_path / f"{format}-converted.edf"
        source.write_bytes(content)
        subprocess.run([program, "-f=EDF", str(source), str(target)], capture_output=True, timeout=60)
        if not target.is_file() or not target.stat().st_size:
            continue
        other = read_ecg(target, allow_truncated=True)
        names = tuple({"VF": "aVF"}.get(lead, lead) for lead in other.leads)  # biosig's name in ISHNE files
        assert names == tuple(leads) and other.sampling_rate == rate, format
        shared = min(other.n_samples, signal.shape[1])
        np.testing.assert_allclose(other.signal[:, :shared], signal[:, :shared], atol=0.006, err_msg=format)
        agreed.append(format)
    print(f"biosig agrees on {', '.join(agreed)}")
    assert agreed


@pytest.mark.parametrize("huffman", [False, True])
@pytest.mark.parametrize("differences", [0, 1, 2])
def test_biosig_agrees_on_packed_scp(written, tmp_path, huffman, differences):
    """Its own SCP writer crashes (2.5.0), so that it can only say whether ours follows the standard."""
    program = shutil.which("save2gdf")
    if program is None:
        pytest.skip("save2gdf is not installed (apt-get install biosig-tools)")
    counts = written.microvolts(leads=written.EIGHT)
    source, target = tmp_path / "a.scp", tmp_path / "a.edf"
    source.write_bytes(written.scp(counts, huffman=huffman, differences=differences))
    subprocess.run([program, "-f=EDF", str(source), str(target)], capture_output=True, timeout=60, check=True)
    other = read_ecg(target, allow_truncated=True)
    shared = min(other.n_samples, counts.shape[1])
    assert other.sampling_rate == 500 and shared >= 500
    np.testing.assert_allclose(other.signal[:, :shared], counts[:, :shared] / 1000, atol=0.006)


def test_hl7_written_by_biosig(written, tmp_path):
    program = shutil.which("save2gdf")
    if program is None:
        pytest.skip("save2gdf is not installed (apt-get install biosig-tools)")
    counts = np.hstack([written.microvolts(500, leads=written.EIGHT)] * 2)
    source, target = tmp_path / "a.edf", tmp_path / "a.xml"
    source.write_bytes(written.edf(tmp_path, counts, written.EIGHT))
    subprocess.run([program, "-f=HL7aECG", str(source), str(target)], capture_output=True, timeout=60, check=True)
    ecg = read_ecg(target)
    assert (ecg.source, ecg.leads, ecg.sampling_rate) == ("hl7", written.EIGHT, 500)
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-3)


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="processes are not forked here")
def test_a_process_forked_during_a_read_can_read(one_of_each):
    content = one_of_each["muse"][0]
    with clinical._WARNINGS, multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(read_ecg, (content,)).get(timeout=60).source == "muse"
