"""GE MUSE XML as its versions and the programs around them write it: read alike, or refused by name."""

import base64
import re
import zlib

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")

COUNTS = r"<Lead(?:Byte|Sample)CountTotal>\d+</Lead(?:Byte|Sample)CountTotal>|<LeadDataCRC32>\d+</LeadDataCRC32>"


@pytest.fixture
def counts(written):
    return written.microvolts(leads=written.EIGHT)


@pytest.fixture
def text(written, counts):
    return written.muse(counts).decode("latin-1")


def parts(text):
    """What stands before the rhythm waveform, it, and what stands behind it."""
    start, end = text.index("<Waveform><WaveformType>Rhythm"), text.index("</RestingECG>")
    return text[:start], text[start:end], text[end:]


def prefixed(text):
    text = re.sub(r"<(/?)([A-Za-z])", r"<\1m:\2", text[text.index("<RestingECG>") :])
    return text.replace("<m:RestingECG>", '<m:RestingECG xmlns:m="urn:x">')


ALIKE = {
    "a namespace": lambda text: text.replace("<RestingECG>", '<RestingECG xmlns="urn:x" a="b">'),
    "a prefix": prefixed,
    "no counts": lambda text: re.sub(COUNTS, "", text),
    "no kind of waveform": lambda text: text.replace("<WaveformType>Rhythm</WaveformType>", ""),
    "the rhythm first": lambda text: (
        parts(text)[0].replace("<Waveform>", parts(text)[1] + "<Waveform>") + parts(text)[2]
    ),
    "lines of Base64": lambda text: re.sub(
        r"(?<=<WaveFormData>)[^<]+", lambda data: "\r\n" + re.sub("(.{76})", "\\1\r\n", data[0]) + "\r\n", text
    ),
    "a public document type": lambda text: text.replace(
        'SYSTEM "restecg.dtd"', 'PUBLIC "-//GE//DTD" "http://192.0.2.1/restecg.dtd"'
    ),
    "a document type of its own": lambda text: text.replace('SYSTEM "restecg.dtd"', "[<!ELEMENT RestingECG ANY>]"),
}


@pytest.mark.parametrize("change", ALIKE)
def test_what_changes_no_sample(text, counts, change):
    changed = ALIKE[change](text)
    assert changed != text
    np.testing.assert_allclose(read_ecg(changed.encode("latin-1")).signal, counts * 0.00488, atol=1e-5)


@pytest.mark.parametrize(
    ("declared", "written_in"),
    [("ISO-8859-1", "latin-1"), ("windows-1252", "cp1252"), ("UTF-8", "utf-8-sig"), ("UTF-16", "utf-16"),
     ("US-ASCII", "latin-1"), ("UTF-8", "latin-1"), ("UTF-16", "utf-8"), ("utf-16", "latin-1"),
     ("UTF-16", "utf-8-sig")],
)  # fmt: skip
def test_encodings_as_declared_or_not(text, counts, declared, written_in):
    content = text.replace("ISO-8859-1", declared).replace("Normal sinus", "\xdcber").encode(written_in)
    ecg = read_ecg(content)
    np.testing.assert_allclose(ecg.signal, counts * 0.00488, atol=1e-5)
    assert ecg.statements == ("MUSE:\xdcber rhythm",)


def test_twelve_leads_stay_twelve(written):
    counts = written.microvolts()
    ecg = read_ecg(written.muse(counts, leads=written.LEADS))
    assert ecg.leads == written.LEADS
    np.testing.assert_allclose(ecg.signal, counts * 0.00488, atol=1e-5)


def recoded(text, code):
    return re.sub(r"(?<=<WaveFormData>)[^<]+", lambda data: code(base64.b64decode(data[0])), text)


@pytest.mark.parametrize("counted", [True, False])
@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda data: data.hex(), "hexadecimal"),
        (lambda data: base64.b64encode(zlib.compress(data)).decode(), "packed"),
        (lambda data: " ".join(map(str, np.frombuffer(data, "<i2"))), "Invalid Base64"),
    ],
)
def test_samples_in_another_code_are_refused(text, counted, code, message):
    changed = recoded(text if counted else re.sub(COUNTS, "", text), code)
    with pytest.raises(ECGReadError, match=message):
        read_ecg(changed.encode("latin-1"))


def test_further_waveforms_are_named(written, text, counts):
    other = written.muse(written.microvolts()[2:6], leads=written.LEADS[2:6], medians=False).decode("latin-1")
    before, rhythm, behind = parts(text)
    ecg = read_ecg((before + rhythm + parts(other)[1] + behind).encode("latin-1"))
    np.testing.assert_allclose(ecg.signal, counts * 0.00488, atol=1e-5)
    assert "waveform 3 of the file (rhythm: III, aVR, aVL, aVF) was left out" in ecg.notes
    with pytest.raises(ECGReadError, match="no rhythm waveform; expected one beside: median"):
        read_ecg((before + behind).encode("latin-1"))


def test_a_lead_that_is_missing_or_off_is_said(text):
    lead = re.search(r"<LeadData>(?:(?!</LeadData>).)*<LeadID>V3<.*?</LeadData>", parts(text)[1])[0]
    before, rhythm, behind = parts(text)
    ecg = read_ecg((before + rhythm.replace(lead, "") + behind).encode("latin-1"))
    assert "V3" not in ecg.leads and "the file promises 8 leads and holds 7" in ecg.notes
    off = lead.replace("<LeadID>", "<LeadOff>TRUE</LeadOff><LeadID>")
    assert "the cart marks as off: V3" in read_ecg(text.replace(lead, off).encode("latin-1")).notes


@pytest.mark.parametrize("count", ["LeadByteCountTotal", "LeadSampleCountTotal"])
def test_counts_that_contradict_the_samples_are_refused(text, count):
    changed = re.sub(rf"<{count}>\d+", f"<{count}>400", text)
    with pytest.raises(ECGReadError, match=f"{count} 400 but"):
        read_ecg(changed.encode("latin-1"))


def test_a_document_type_is_never_fetched(text, monkeypatch):
    import socket

    def refuse(*_, **__):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    public = text.replace('SYSTEM "restecg.dtd"', 'SYSTEM "http://192.0.2.1/restecg.dtd"')
    assert len(read_ecg(public.encode("latin-1")).leads) == 8
    entity = text.replace('SYSTEM "restecg.dtd"', '[<!ENTITY % x SYSTEM "http://192.0.2.1/x">%x;]')
    with pytest.raises(ECGReadError, match="declares XML entities"):
        read_ecg(entity.encode("latin-1"))
