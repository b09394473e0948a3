"""EDF and EDF+: which of a file's signals are its ECG, in which unit and at which rate."""

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")


@pytest.fixture
def edf(written, tmp_path):
    """(labels, others by label, options) -> an EDF+ file's bytes; all signals are the same leads over again."""
    counts = written.microvolts(500)

    def write(labels, others=(), **options):
        rows = [(label, "uV", 500, counts[5].astype(float)) for label in others]
        return written.edf(tmp_path, counts[: len(labels)], labels, others=rows, **options)

    return write


def field(content, before, value, signals=2):
    """The first signal's entry behind so many characters a signal of the header replaced."""
    place = 256 + signals * before
    return content[:place] + value.ljust(8).encode() + content[place + 8 :]


AXES = ("X", "Y", "Z")


@pytest.mark.parametrize(
    ("labels", "others", "ecg"),
    [
        (("ECG",), AXES, ("ECG",)),  # of an accelerometer
        (("ECG",), (*AXES, "EEG C3"), ("ECG",)),
        (("II",), ("X",), ("II",)),
        (AXES, (), AXES),  # Frank's leads
        (AXES, ("EEG C3",), None),
        (("Vx", "Vy", "Vz"), ("ECG",), ("Vx", "Vy", "Vz", "ECG")),
        (("Frank X", "Frank Y", "Frank Z"), ("Resp",), ("Frank X", "Frank Y", "Frank Z")),
        (("EEG EKG1-REF",), ("EEG C3-REF",), ("EEG EKG1-REF",)),
        (("T2-ECG",), ("Thorax", "EMG"), ("T2-ECG",)),
        (("POL ECG",), ("POL E", "POL DC01", "$ECGX"), ("POL ECG",)),
    ],
)
def test_what_is_an_ecg_by_its_name(edf, labels, others, ecg):
    if ecg is None:
        with pytest.raises(ECGReadError, match="is named as an ECG lead"):
            read_ecg(edf(labels, others))
    else:
        assert read_ecg(edf(labels, others)).leads == ecg


def test_axes_beside_twelve_leads_are_franks(edf, written):
    assert read_ecg(edf(written.LEADS, AXES)).leads == (*written.LEADS, *AXES)


def test_a_lead_that_stands_twice_is_refused(edf):
    with pytest.raises(ECGReadError, match="names a lead more than once"):
        read_ecg(edf(("II", "V1"), ("II",)))


@pytest.mark.parametrize("unit", [b"uV", b"\xb5V", b"\xc2\xb5V", b"UV", b"uVolt", b"MicroVol"])
def test_units_as_they_are_spelled(edf, written, unit):
    content = edf(("II",))
    place = 256 + 2 * (16 + 80)
    content = content[:place] + unit.ljust(8) + content[place + 8 :]
    np.testing.assert_allclose(read_ecg(content).signal, written.microvolts(500)[:1] / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("before", "value", "message"),
    [
        (16 + 80 + 8, "32767", "no gain: 32767 to 32767 uV for -32768 to 32767 steps"),
        (16 + 80 + 8 + 16, "32767", "no gain: -32768 to 32767 uV for 32767 to 32767 steps"),
        (16 + 80, "mmHg", r"II \(mmHg\)"),
        (16 + 80, "", r"II \(no unit\)"),
        (16 + 80 + 8, "-32,7", "invalid physical minimum"),
    ],
)
def test_ranges_and_units_that_give_no_voltage_are_named(edf, before, value, message):
    with pytest.raises(ECGReadError, match=message):
        read_ecg(field(edf(("II",)), before, value))


def test_a_signal_without_gain_is_left_out_beside_others(edf):
    ecg = read_ecg(field(edf(("I", "II")), 16 + 80 + 8, "32767", signals=3))
    assert ecg.leads == ("II",) and any("no gain: 32767 to 32767 uV" in note for note in ecg.notes)
