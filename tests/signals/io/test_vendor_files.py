"""Real recorders' files, read as independent readers do, or refused by name."""

import struct

import numpy as np
import pytest

from ecgllm.signal_ecgllm import LEADS
from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")

# Of what sierraecg 0.4.0 reads in steps of 5 microvolt: the sum of each lead, and of each lead weighted by sample
# number modulo 1009, which no shifted or exchanged sample leaves alone.
# The first is one recording in two files.
_129DYPRG = [
    (20815, 6890110),
    (21762, 5634007),
    (21953, 6354382),
    (20324, 8714580),
    (18160, 6746142),
    (20223, 5170745),
    (20708, 6927907),
    (22348, 7762622),
    (22033, 7731523),
    (21864, 7716151),
    (21472, 7716315),
    (21359, 7834027),
]
PHILIPS = {
    "philips-repbeats.xml": _129DYPRG,
    "philips-xli-103-129DYPRG.xml": _129DYPRG,
    "philips-xli-104-demo.xml": [
        (11652, 2295791),
        (-116199, -60461924),
        (-107851, -55667715),
        (93587, 43897611),
        (78482, 35453795),
        (-114801, -59434046),
        (22116, 10839067),
        (20080, 10468247),
        (67419, 33964211),
        (-54376, -29829447),
        (39974, 15749175),
        (36949, 12685083),
    ],
}


@pytest.mark.parametrize("name", PHILIPS)
def test_philips_files_are_read_as_sierraecg_reads_them(shared_vendor, name):
    ecg = read_ecg(shared_vendor / name)
    assert (ecg.leads, ecg.sampling_rate, ecg.n_samples) == (LEADS, 500, 5500)
    counts = np.round(ecg.signal.astype(float) / 0.005).astype(int)
    np.testing.assert_allclose(ecg.signal, counts * 0.005, atol=1e-6)
    weights = np.arange(5500) % 1009
    assert [(int(row.sum()), int((row * weights).sum())) for row in counts] == PHILIPS[name]
    assert any("4 stored channels beyond the 12 named leads were left out" in note for note in ecg.notes)


def test_one_recording_is_the_same_from_scp_dicom_and_aecg(shared_vendor):
    scp, dicom, aecg = (
        read_ecg(shared_vendor / f"ecgtoolkit-example{end}").select_leads(LEADS)
        for end in (".scp", ".dcm", "-aecg.xml")
    )
    assert scp.sampling_rate == dicom.sampling_rate == aecg.sampling_rate == 500 and scp.n_samples == 5000
    np.testing.assert_allclose(dicom.signal, scp.signal, atol=1e-6)
    np.testing.assert_allclose(aecg.signal, scp.signal, atol=1e-6)
    assert any("padding value is 0, which 1269 samples hold as a voltage" in note for note in dicom.notes)


def test_scp_of_contec_counts_its_samples_from_zero(shared_vendor):
    ecg = read_ecg(shared_vendor / "contec-demo-scp13.scp")
    assert (ecg.leads, ecg.sampling_rate) == (("I", "II", "V1", "V2", "V3", "V4", "V5", "V6"), 1000)
    content = (shared_vendor / "contec-demo-scp13.scp").read_bytes()
    (index,) = struct.unpack_from("<I", content, 22 + 6 * 10 + 6)  # section 6 in the list of sections
    start = index - 1 + 16 + 6 + 2 * 8
    counts = np.frombuffer(content, "<i2", 80_000, start).reshape(8, 10_000)
    np.testing.assert_allclose(ecg.signal, counts * 183e-6, atol=1e-6)
    assert any("samples 0 to 10,000 and hold 10,000" in note for note in ecg.notes)


def test_dicom_of_another_recorder_is_read_as_pydicom_reads_it(shared_vendor):
    pydicom = pytest.importorskip("pydicom")
    path = shared_vendor / "dicom-anonymous.dcm"
    ecg = read_ecg(path)
    values = pydicom.dcmread(path).waveform_array(0).T  # in the file's unit, microvolt
    assert ecg.signal.shape == values.shape
    np.testing.assert_allclose(ecg.signal, values / 1000, atol=1e-5)


@pytest.mark.parametrize("name", ["muse-example1.xml", "aecg-cvrg-example2.xml"])
def test_xml_holds_what_its_text_says(shared_vendor, name):
    """The samples, taken from the text by other means."""
    import base64
    import re

    text = (shared_vendor / name).read_text("latin-1")
    ecg = read_ecg(shared_vendor / name)
    if name.startswith("muse"):
        rhythm = text[text.rindex("<Waveform>") :]
        rows = [np.frombuffer(base64.b64decode(data), "<i2") for data in re.findall(r"<WaveFormData>([^<]*)<", rhythm)]
        scales = [float(value) / 1000 for value in re.findall(r"<LeadAmplitudeUnitsPerBit>([^<]*)<", rhythm)]
    else:
        found = re.findall(r'<scale value="([^"]*)" unit="uV"\s*/>\s*<digits>([^<]*)<', text)
        rows = [np.array(digits.split(), dtype=float) for _, digits in found][: len(ecg.leads)]
        scales = [float(scale) / 1000 for scale, _ in found]
    assert len(rows) >= len(ecg.leads)
    for lead, row, scale in zip(ecg.signal, rows, scales, strict=False):
        np.testing.assert_allclose(lead, row * scale, atol=1e-5)


@pytest.mark.parametrize("huffman", [False, True])
def test_scp_leads_longer_than_their_length_field(written, huffman):
    counts = np.tile(written.microvolts(6000, ("I", "II")), 8)
    ecg = read_ecg(written.scp(counts, ("I", "II"), huffman=huffman))
    np.testing.assert_allclose(ecg.signal, counts / 1000, rtol=1e-6, atol=1e-6)


def test_what_is_no_ecg_of_a_polygraph_is_no_lead(written, tmp_path):
    counts = written.microvolts(500, ("I",))
    names = ("POL Fp1", "POL DC01", "EEG C3-Ref", "E", "Cz")
    others = [(name, "uV", 500, counts[0].astype(float)) for name in names]
    for label in ("EKG", "POL ECG", "V2"):
        ecg = read_ecg(written.edf(tmp_path, counts, (label,), others=others))
        assert len(ecg.leads) == 1 and any("no ECG: POL Fp1, POL DC01" in note for note in ecg.notes), ecg.leads
    with pytest.raises(ECGReadError, match="none of its 6 signals is named as an ECG lead"):
        read_ecg(written.edf(tmp_path, counts, ("O2",), others=others))
    assert read_ecg(written.edf(tmp_path, counts, ("ch 1",))).leads == ("ch 1",)


@pytest.mark.parametrize(
    ("file", "start", "named"),
    [
        ("a.bdf", b"\xffBIOSEMI", "BDF.*EDF"),
        ("a.gdf", b"GDF 2.10", "GDF.*EDF"),
        ("a.atc", b"ALIVE\0\0\0", "Kardia .atc.*JSON"),
        ("a.ECG", b"\x01\x02\0\0", "Contec and HealForce.*SCP-ECG"),
        ("a.bin", b"0000011\0\0\0002020-11-12 18:09:05\0\0\0", "Contec ECG90A's own .ECG file.*SCP-ECG"),
        ("a.wav", b"RIFF\0\1\0\0WAVEfmt ", "a WAVE sound file"),
        ("a.acq", b"\0\0\x54\0\0\0", "BIOPAC AcqKnowledge.*EDF"),
        ("a.arc", b"\x01\x02\0\0", "EDAN.*EDF"),
    ],
)
def test_formats_that_are_not_read_are_named_with_the_way_out(tmp_path, file, start, named):
    (tmp_path / file).write_bytes(start + bytes(range(256)) * 8)
    with pytest.raises(ECGReadError, match=named):
        read_ecg(tmp_path / file)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("<?xml version='1.0'?><CardiologyXML><StripData/></CardiologyXML>", "GE CardioSoft XML.*DICOM"),
        ("<ECG ACQUISITION_TIME='20200101101500'><SUBJECT/><CHANNEL/></ECG>", "Mortara.*HL7 aECG"),
        (
            'Name,{n}\nDevice,"Watch7,12"\nSample Rate,512 hertz\n\nLead,Lead I\nUnit,\xb5V\n\n1,5\n',
            "Apple Watch.*unit='uV'",
        ),
        (
            'Name,{n}\nGer\xe4t,"Watch4,2"\nAbtastrate,"511,422\xa0Hertz"\nEinheit,\xb5V\n\n-2,4\n',
            "Apple Watch.*sampling rate",
        ),
    ],
)
def test_text_of_other_makers_is_named_and_not_quoted(written, text, named):
    with pytest.raises(ECGReadError, match=named) as caught:
        read_ecg(text.format(n=written.NAME).encode())
    assert written.NAME not in str(caught.value)


def test_padding_comes_in_runs_at_an_end_or_is_unlike_its_neighbours(written):
    counts = written.microvolts()
    whole = read_ecg(written.dicom(counts, padding=0)).signal
    np.testing.assert_allclose(whole, counts / 1000, atol=1e-6)
    counts[0, -100:] = 0
    counts[1] += 3000
    counts[1, 300:310] = 0
    ecg = read_ecg(written.dicom(counts, padding=0))
    missing = np.isnan(ecg.signal)
    assert missing[0, -100:].all() and missing[0].sum() == 100 and missing[1].sum() == 10 and missing.sum() == 110
