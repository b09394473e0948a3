"""DICOM waveforms, written by pydicom: bits, units, groups that are joined, left out or refused."""

from pathlib import Path

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")


@pytest.mark.parametrize(
    ("options", "factor"),
    [
        ({}, 1e-3),
        ({"unit": "mV", "sensitivity": 0.001}, 1e-3),
        ({"unit": "uV", "sensitivity": 2.5, "correction": 2.0}, 5e-3),
        ({"bits": 32, "unit": "nV", "sensitivity": 1000}, 1e-3),
        ({"bits": 8, "sensitivity": 20}, 2e-2),
        ({"scheme": "SCPECG"}, 1e-3),
        ({"big_endian": True}, 1e-3),
    ],
)
def test_dicom_bits_and_sensitivities(written, options, factor):
    counts = written.microvolts()
    if options.get("bits") == 8:
        counts = (counts // 20).clip(-128, 127)
    ecg = read_ecg(written.dicom(counts, **options))
    np.testing.assert_allclose(ecg.signal, counts * factor, atol=factor)
    np.testing.assert_allclose(ecg.signal, counts * factor, atol=1e-5)


def test_dicom_channel_order_baseline_padding_and_exact_rate(written):
    counts = written.microvolts()[::-1].copy()
    counts[3, 5:9] = -32768
    ecg = read_ecg(written.dicom(counts, written.LEADS[::-1], rate=257.5, baseline=100, padding=-32768))
    assert ecg.leads == written.LEADS[::-1] and ecg.sampling_rate == 257.5
    assert np.isnan(ecg.signal[3, 5:9]).all() and np.isnan(ecg.signal).sum() == 4
    np.testing.assert_allclose(ecg.signal[0], (counts[0] + 100) / 1000, atol=1e-6)
    assert any("4 samples marked as missing are NaN" in note for note in ecg.notes)


def test_dicom_leads_named_by_their_channel_label_alone(written):
    def unknown_sources(dataset):
        for channel in dataset.WaveformSequence[0].ChannelDefinitionSequence:
            channel.ChannelSourceSequence[0].CodeValue = "0"
            channel.ChannelSourceSequence[0].CodingSchemeDesignator = "99CART"
            channel.ChannelSourceSequence[0].CodeMeaning = "electrode"

    assert read_ecg(written.dicom(written.microvolts(), extra=unknown_sources)).leads == written.LEADS


@pytest.mark.parametrize("labels", [True, False])
def test_dicom_rhythm_is_read_not_the_median_beat(written, labels):
    counts = written.microvolts()
    ecg = read_ecg(written.dicom(counts, medians=True, median_first=True, labels=labels))
    assert ecg.n_samples == counts.shape[1]
    assert any("median beats" in note or "left out: it repeats leads" in note for note in ecg.notes)


def test_dicom_leads_spread_over_groups_are_joined(written):
    counts, leads = written.microvolts(), written.LEADS
    parts = [(counts[row : row + 3], leads[row : row + 3], "RHYTHM", 500) for row in (0, 3, 6, 9)]
    ecg = read_ecg(written.dicom(None, groups=[(*part, 0) for part in parts]))
    assert ecg.leads == leads and ecg.sampling_rate == 500
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert "the leads of groups 1, 2, 3, 4 of the file were joined" in ecg.notes
    # Without stated starts they are joined, too, and it is said; a median beat among them is not the ECG.
    median = (counts[:, :120], leads, "MEDIAN BEAT", 500, None)
    ecg = read_ecg(written.dicom(None, groups=[median, *((*part, None) for part in parts)]))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert any("groups 2, 3, 4, 5" in note and "taken as simultaneous" in note for note in ecg.notes)
    assert any("12 median beats of 0.24 s were left out" in note for note in ecg.notes)


def test_dicom_groups_that_start_later_are_placed_in_time(written):
    counts, leads = written.microvolts(), written.LEADS
    columns = [
        (counts[3 * n : 3 * n + 3, 150 * n : 150 * n + 150], leads[3 * n : 3 * n + 3], "", 500, 300 * n)
        for n in range(4)
    ]
    ecg = read_ecg(written.dicom(None, groups=columns))
    assert ecg.leads == leads and ecg.n_samples == 600
    for n in range(4):
        rows, there = slice(3 * n, 3 * n + 3), slice(150 * n, 150 * n + 150)
        np.testing.assert_allclose(ecg.signal[rows, there], counts[rows, there] / 1000, atol=1e-6)
    assert np.isnan(ecg.signal).mean() == 0.75
    assert any("start at different times" in note for note in ecg.notes)


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ((slice(0, 6), 600, 250, 0), "its rate is 250 Hz, not 500 Hz"),
        ((slice(2, 8), 600, 500, 0), "it repeats leads"),
        ((slice(0, 6), 300, 500, None), "its length differs and no start in time is stated"),
    ],
)
def test_dicom_groups_that_do_not_fit_are_left_out_and_named(written, other, reason):
    counts, leads = written.microvolts(), written.LEADS
    rows, samples, rate, offset = other
    groups = [
        (counts[rows, :samples], leads[rows], "", rate, offset),
        (np.hstack([counts[6:], counts[6:]]), leads[6:], "", 500, offset),
    ]
    if rate == 250:
        groups[0] = (groups[0][0][:, :200], *groups[0][1:])
    ecg = read_ecg(written.dicom(None, groups=groups))
    assert ecg.leads == leads[6:] and ecg.sampling_rate == 500 and ecg.n_samples == 1200
    (note,) = [note for note in ecg.notes if "left out" in note and "statement" not in note]
    assert note.startswith(f"group 1 of the file ({leads[rows][0]}, ") and note.endswith(f"left out: {reason}")


def change_groups(**values):
    def change(dataset):
        for group in dataset.WaveformSequence:
            for name, value in values.items():
                setattr(group, name, value)

    return change


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"NumberOfWaveformSamples": 300}, "12 channels x 300 samples = 7,200 bytes and holds 14,400"),
        ({"NumberOfWaveformChannels": 11}, "has 11 channels and defines 12"),
        ({"NumberOfWaveformSamples": 700}, "expected 16800"),
    ],
)
def test_dicom_groups_that_contradict_themselves_are_refused(written, values, message):
    with pytest.raises(ECGReadError, match=message):
        read_ecg(written.dicom(written.microvolts(), extra=change_groups(**values)))


@pytest.mark.parametrize("big_endian", [False, True])
def test_dicom_that_ends_before_its_last_group_is_refused(written, big_endian):
    counts, leads = written.microvolts(), written.LEADS
    groups = [(counts[row : row + 3], leads[row : row + 3], "", 500, 0) for row in (0, 3, 6, 9)]
    content = written.dicom(None, groups=groups, big_endian=big_endian)
    assert len(read_ecg(content).leads) == 12
    for cut in range(2000, len(content) - 2000, 500):
        with pytest.raises(ECGReadError):
            read_ecg(content[:cut])


def test_dicom_of_a_cart_agrees_with_pydicom():
    """A real recording (Mortara) that pydicom brings along for its own tests."""
    pydicom = pytest.importorskip("pydicom")
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "waveform_ecg.dcm"
    if not path.is_file():
        pytest.skip(f"no {path.name} in this pydicom")
    ecg, dataset = read_ecg(path), pydicom.dcmread(path)
    np.testing.assert_allclose(ecg.signal.T, dataset.waveform_array(0) / 1000, atol=1e-6)
    assert ecg.leads == ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    assert ecg.sampling_rate == 1000 and any("12 median beats of 1.20 s" in note for note in ecg.notes)


def test_dicom_without_unit_is_refused(written):
    with pytest.raises(ECGReadError, match="no voltage unit.*never guessed"):
        read_ecg(written.dicom(written.microvolts(), sensitivity=None))
    with pytest.raises(ECGReadError, match="no voltage unit"):
        read_ecg(written.dicom(written.microvolts(), unit="mmHg"))
    with pytest.raises(ECGReadError, match="gain 0"):
        read_ecg(written.dicom(written.microvolts(), sensitivity=0))


@pytest.mark.parametrize("lost", [True, False])
def test_twelve_of_sixteen_bits(written, lost):
    """With the sign in the unused bits, and without it."""
    counts = written.microvolts()

    def twelve(dataset):
        group = dataset.WaveformSequence[0]
        if lost:
            group.WaveformData = (np.frombuffer(group.WaveformData, "<u2") & 0x0FFF).tobytes()
        for channel in group.ChannelDefinitionSequence:
            channel.WaveformBitsStored = 12

    ecg = read_ecg(written.dicom(counts, extra=twelve))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert any("12 bits are stored without their sign" in note for note in ecg.notes) == lost
    more = read_ecg(written.dicom(counts * 9 if not lost else abs(counts) + 2048, extra=lambda data: bits(data, 12)))
    np.testing.assert_allclose(more.signal, (counts * 9 if not lost else abs(counts) + 2048) / 1000, rtol=1e-6)
    assert any("go beyond the 12 bits that the file states" in note for note in more.notes)


def bits(dataset, stored):
    for channel in dataset.WaveformSequence[0].ChannelDefinitionSequence:
        channel.WaveformBitsStored = stored


def test_unsigned_samples_and_their_baseline(written):
    counts = written.microvolts()
    ecg = read_ecg(written.dicom(counts + 32768, signed=False, baseline=-32768))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)

    def eight(dataset):
        group = dataset.WaveformSequence[0]
        group.WaveformBitsAllocated, group.WaveformSampleInterpretation = 8, "UB"
        group.WaveformData = (counts // 20 + 128).T.astype("u1").tobytes()
        for channel in group.ChannelDefinitionSequence:
            channel.ChannelSensitivity, channel.ChannelBaseline, channel.WaveformBitsStored = "20", "-2560", 8

    np.testing.assert_allclose(read_ecg(written.dicom(counts, extra=eight)).signal, counts // 20 / 50, atol=1e-6)


@pytest.mark.parametrize("meaning", ["Lead {}", "{}", "Lead-{}", "ECG Lead {}", "Ableitung {}", "D\xe9rivation {}"])
@pytest.mark.parametrize("code", [("99CART", "E{}"), ("MDC", "MDC_ECG_LEAD_{}")])
def test_leads_by_free_text_or_name_of_the_code(written, meaning, code):
    def rename(dataset):
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for channel, lead in zip(dataset.WaveformSequence[0].ChannelDefinitionSequence, written.LEADS, strict=True):
            source = channel.ChannelSourceSequence[0]
            source.CodingSchemeDesignator, source.CodeValue = code[0], code[1].format(lead.upper())
            source.CodeMeaning = meaning.format(lead)
            del channel.ChannelLabel

    assert read_ecg(written.dicom(written.microvolts(), extra=rename)).leads == written.LEADS


def test_median_beats_of_another_rate(written):
    counts = written.microvolts()
    groups = [(counts[:, :240], written.LEADS, label, 1000, None) for label in ("MEDIAN BEAT", "")]
    for median in groups:
        ecg = read_ecg(written.dicom(None, groups=[median, (counts, written.LEADS, "RHYTHM", 500, None)]))
        assert ecg.sampling_rate == 500
        np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRLittleEndian", "ExplicitVRBigEndian"])
@pytest.mark.parametrize("preamble", [True, False])
def test_transfer_syntaxes_with_and_without_the_preamble(written, syntax, preamble):
    import io

    import pydicom

    counts = written.microvolts()
    big = syntax.endswith("BigEndian")
    dataset = pydicom.dcmread(io.BytesIO(written.dicom(counts, big_endian=big)))
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    stream = io.BytesIO()
    dataset.save_as(stream, implicit_vr=syntax.startswith("Implicit"), little_endian=not big, enforce_file_format=True)
    content = stream.getvalue() if preamble else stream.getvalue()[132:]
    np.testing.assert_allclose(read_ecg(content).signal, counts / 1000, atol=1e-6)


def test_a_bare_data_set_is_read(written):
    """As a network sends it: no preamble, no meta elements, implicit little endian."""
    import io

    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(written.dicom(written.microvolts())))
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, pydicom.Dataset(dataset), implicit_vr=True, little_endian=True)
    assert stream.getvalue()[128:132] != b"DICM"
    np.testing.assert_allclose(read_ecg(stream.getvalue()).signal, written.microvolts() / 1000, atol=1e-6)


def test_values_against_the_rules_reach_no_warning_note_or_log(written, caplog, recwarn):
    import pydicom

    def break_rules(dataset):
        dataset.StudyInstanceUID = "1.2..1945"

    content = written.dicom(written.microvolts(), extra=break_rules)
    content = content.replace(b"19450203", b"1945\0xyz").replace(b"061Y", b"61 y")
    mode = pydicom.config.settings.reading_validation_mode
    recwarn.clear()
    caplog.clear()  # of what the writer says
    ecg = read_ecg(content)
    assert not recwarn.list and not caplog.records
    assert not [note for note in ecg.notes if "VR" in note or "1945" in note]
    assert pydicom.config.settings.reading_validation_mode == mode


def test_dicom_of_something_else_is_named(written):
    def document(dataset):
        dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
        del dataset.WaveformSequence

    with pytest.raises(ECGReadError, match="holds no waveforms but Encapsulated PDF Storage"):
        read_ecg(written.dicom(written.microvolts(), extra=document))


def test_deflated_dicom_is_inflated_within_bounds(written, monkeypatch):
    from ecgllm.signals.io.clinical import parsers as clinical_parsers

    counts = written.microvolts()
    content = written.dicom(counts, deflated=True)
    np.testing.assert_allclose(read_ecg(content).signal, counts / 1000, atol=1e-6)
    with pytest.raises(ECGReadError, match="was cut"):
        read_ecg(content[:-500])
    with pytest.raises(ECGReadError, match="cannot be unpacked"):
        read_ecg(content[: 144 + int.from_bytes(content[140:144], "little")] + b"\xff" * 3000)
    monkeypatch.setattr(clinical_parsers, "_MAX_INFLATED_BYTES", 10_000)
    with pytest.raises(ECGReadError, match="grows beyond 10,000 bytes"):
        read_ecg(content)
