"""Rates, leads and samples of every format have the same limits, and a claim beyond them takes no memory."""

import io
import re
import tracemalloc

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

MOST_BYTES = 64 << 20  # what reading the small files of this test may take; they claim terabytes
HUGE = 1 << 31
RATES = (b"0", b"-500", b"1e308", b"nan", b"inf", b"1e-300", b"100001", b"9.99", b"9" * 400)


def refused(content, match=None, **options):
    tracemalloc.start()
    try:
        with pytest.raises(ECGReadError, match=match):
            read_ecg(content, **options)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_BYTES, f"{peak:,} bytes"


def wfdb(folder, record=b"r 2 500 100", signal=b"r.dat 16 1000/mV 16 0 0 0 0"):
    (folder / "r.hea").write_bytes(b"%s\n%s I\n%s II\n" % (record, signal, signal))
    (folder / "r.dat").write_bytes(bytes(400))
    return folder / "r.hea"


def replaced(content, pattern, value):
    found = re.sub(pattern, lambda match: match[1] + value, content)
    assert found != content
    return found


@pytest.mark.parametrize("rate", RATES)
def test_rates_that_no_recorder_has(one_of_each, tmp_path, rate):
    refused(wfdb(tmp_path, b"r 2 %s 100" % rate))
    for format, pattern in (
        ("csv", rb"(sampling_rate: )500"),
        ("kardia", rb'("frequency": )300'),
        ("muse", rb"(<SampleBase>)500"),
        ("sierra", rb"((?:samplespersecond=\"|<samplingrate>))500"),
    ):
        refused(replaced(one_of_each[format][0], pattern, rate))
    increment = b"0" if rate == b"inf" else str(1 / float(rate or 1)).encode() if float(rate) else b"inf"
    refused(replaced(one_of_each["hl7"][0], rb'(<increment value=")0.002', increment))
    dicom = one_of_each["dicom"][0]
    place = dicom.index(b"\x3a\x00\x1a\x00DS")  # SamplingFrequency
    assert dicom[place + 6 : place + 12] == b"\x04\x00500 "
    refused(dicom[: place + 6] + b"\x04\x00" + rate[:4].ljust(4) + dicom[place + 12 :] if len(rate) < 5 else b"")
    stream = io.BytesIO()
    np.savez(stream, signal=np.ones((1, 100)), sampling_rate=float(rate), leads=np.array(["I"]), unit="mV")
    refused(stream.getvalue())


def test_more_leads_than_a_recorder_has(one_of_each, written, tmp_path):
    says = "leads; at most 1,024|channels.*at most 1,024|expected 1 to 1,024 signals"
    names = [f"L{n}" for n in range(1025)]
    refused(wfdb(tmp_path, b"r 1025 500 100"), says)
    refused(f"# sampling_rate: 500\n# unit: mV\n{','.join(['I'] * 1025)}\n{','.join(['1'] * 1025)}\n".encode(), says)
    stream = io.BytesIO()
    np.savez(stream, signal=np.ones((1025, 9)), sampling_rate=500, leads=np.array(names), unit="mV")
    refused(stream.getvalue(), says)
    one = written.hl7(np.ones((1, 9), dtype=int), leads=("I",))
    sequence = re.search(rb"<component><sequence><code code=\"MDC_ECG_LEAD_I\".*?</sequence></component>", one)[0]
    refused(one.replace(sequence, b"".join(sequence.replace(b"LEAD_I", b"LEAD_%d" % n) for n in range(1025))), says)
    refused(written.mfer(np.ones((1, 100), dtype=int), leads=("I",)).replace(b"\x05\x02\1\0", b"\x05\x02\1\x40"), says)

    import pyarrow as pa
    import pyarrow.parquet as pq

    from ecgllm.corpora import ECG

    row = {"bytes": bytes(2050), "gain": [0.001] * 1025, "leads": names, "sampling_rate": 100.0, "path": None}
    pq.write_table(pa.table({"ecg": pa.array([row], type=ECG().pa_type)}), tmp_path / "p")
    refused(tmp_path / "p", says)


def test_samples_that_a_file_claims_and_does_not_hold(one_of_each, tmp_path):
    huge = str(HUGE).encode()
    refused(wfdb(tmp_path, b"r 2 500 " + huge), "promises|truncated")
    refused(wfdb(tmp_path, b"r 2 500 " + huge, b"r.dat 516 1000/mV 16 0 0 0 0"), "cannot hold")
    refused(wfdb(tmp_path, b"r 2 500 100", b"r.dat 16+%s 1000/mV 16 0 0 0 0" % huge), "promises|truncated")
    refused(wfdb(tmp_path, b"r 2 500 100", b"r.dat 212:%s 1000/mV 16 0 0 0 0" % huge), "skewed|truncated|promises")
    (tmp_path / "s.hea").write_bytes(b"s/2 2 500 %d\nr %d\n~ %d\n" % (2 * HUGE, HUGE, HUGE))
    refused(tmp_path / "s.hea", "the limit is")
    edf = one_of_each["edf"][0]
    refused(edf[:236] + b"99999999" + edf[244:])
    refused(edf[:252] + b"9999" + edf[256:])
    for format, old in (("dicom", b"\x3a\x00\x10\x00UL\x04\x00"), ("ishne", b"ISHNE1.0"), ("mfer", b"\x04\x04")):
        content = one_of_each[format][0]
        place = content.index(old) + (14 if format == "ishne" else len(old))
        damaged = content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :]
        if format == "ishne":  # recorders write the length in several ways
            notes = read_ecg(damaged, verify_checksum=False).notes
            assert any("the header promises 2,147,483,647 samples" in note for note in notes)
        else:
            refused(damaged)
    muse = replaced(one_of_each["muse"][0], rb"(<LeadSampleCountTotal>)600", huge)
    refused(muse)
    sierra = replaced(one_of_each["sierra"][0], rb'(durationperchannel=")1200', huge + b"000")
    refused(sierra)
    sierra = replaced(one_of_each["sierra"][0], rb'(numberofleads=")12', huge)
    refused(sierra)
    npy = io.BytesIO()
    np.save(npy, np.ones((2, 10)))
    refused(npy.getvalue().replace(b"(2, 10), }        ", b"(2, %d), }" % HUGE), "promises|shape|NumPy")
    scp = one_of_each["scp"][0]
    place = scp.index(b"\x01\x00\x00\x00\x58\x02\x00\x00")  # the first lead's samples 1 to 600
    refused(scp[: place + 4] + b"\xff\xff\xff\x7f" + scp[place + 8 :], verify_checksum=False)
