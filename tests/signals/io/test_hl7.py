"""HL7 aECG as its writers vary it: read alike, or refused by name."""

import re

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")

XMLNS = ' xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
ALIKE = {
    "SLIST_INT with a scale": lambda text: text.replace("SLIST_PQ", "SLIST_INT"),
    "no type of a list": lambda text: text.replace(' xsi:type="SLIST_PQ"', ""),
    "no origin": lambda text: re.sub(r"<origin[^>]*/>", "", text),
    "relative time": lambda text: (
        text.replace("GLIST_TS", "GLIST_PQ")
        .replace("TIME_ABSOLUTE", "TIME_RELATIVE")
        .replace('<head value="20060402101530"/>', '<head value="0" unit="s"/>')
    ),
    "no namespace": lambda text: text.replace(XMLNS, "").replace("xsi:type", "type"),
    "a prefix that is not declared": lambda text: text.replace(XMLNS, ""),
    "another namespace": lambda text: text.replace("urn:hl7-org:v3", "urn:other"),
    "prefixes everywhere": lambda text: re.sub(r"<(/?)([A-Za-z])", r"<\1v3:\2", text.partition("?>")[2]).replace(
        'xmlns="urn', 'xmlns:v3="urn'
    ),
    "codes of a maker": lambda text: text.replace("MDC_ECG_LEAD_", "MINDRAY_ECG_LEAD_"),
    "codes in small letters": lambda text: text.replace("MDC_ECG_LEAD_", "mdc_ecg_lead_"),
    "digits in lines": lambda text: re.sub(
        r"(?<=<digits>)[^<]*", lambda digits: "\n  " + digits[0].replace(" ", "\n\t") + "\n", text
    ),
    "declares UTF-16": lambda text: text.replace("UTF-8", "utf-16"),
}


def sets(written, parts):
    """A series of several sequence sets. parts: (counts, leads, head of the time) of each."""
    found = []
    for counts, leads, head in parts:
        text = (
            written.hl7(counts, leads, scale=1)
            .decode()
            .replace('<head value="20060402101530"', f'<head value="{head}"')
        )
        before, start, rest = text.partition("<component><sequenceSet>")
        inside, end, behind = rest.partition("</sequenceSet></component>")
        found.append(start + inside + end)
    return (before + "".join(found) + behind).encode()


@pytest.mark.parametrize("change", ALIKE)
def test_what_changes_no_sample(written, change):
    counts = written.microvolts()
    text = written.hl7(counts, scale=1).decode()
    changed = ALIKE[change](text)
    assert changed != text
    ecg = read_ecg(changed.encode())
    assert (ecg.leads, ecg.sampling_rate) == (written.LEADS, 500)
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)


@pytest.mark.parametrize(("unit", "scale"), [("mV", 1e-3), ("uV", 1), ("\xb5V", 1), ("nV", 1e3), ("V", 1e-6)])
def test_units(written, unit, scale):
    counts = written.microvolts()
    np.testing.assert_allclose(read_ecg(written.hl7(counts, scale=scale, unit=unit)).signal, counts / 1000, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: re.sub(r"<(?:origin|scale)[^>]*/>", "", text), "nothing as its scale"),
        (lambda text: text.replace(' unit="uV"', ""), "no voltage unit"),
        (lambda text: text.replace('value="0.002" unit="s"', 'value="500" unit="Hz"'), "time increment unit"),
        (lambda text: text.replace("RHYTHM", "REPRESENTATIVE_BEAT"), "No rhythm series"),
        (lambda text: text.replace("<digits>", "<digits>7 ", 1), "differ in rate or length"),
    ],
)
def test_what_is_refused(written, change, message):
    with pytest.raises(ECGReadError, match=message):
        read_ecg(change(written.hl7(written.microvolts()).decode()).encode())


def test_leads_in_several_sequence_sets_are_one_recording(written):
    """Three at a time, one after the other; all at once; and a set that goes on, which is named."""
    counts, leads = written.microvolts(), written.LEADS
    heads = [f"20060402101530.{3 * n:03d}" for n in range(0, 400, 100)]
    rows = [slice(3 * n, 3 * n + 3) for n in range(4)]
    columns = [slice(150 * n, 150 * n + 150) for n in range(4)]
    for heads_of in (heads, [f'{float(head[-3:]) / 1000}" unit="s' for head in heads]):
        turns = zip(rows, columns, heads_of, strict=True)
        ecg = read_ecg(sets(written, [(counts[row, column], leads[row], head) for row, column, head in turns]))
        assert ecg.leads == leads and ecg.n_samples == 600
        for row, column in zip(rows, columns, strict=True):
            np.testing.assert_allclose(ecg.signal[row, column], counts[row, column] / 1000, atol=1e-6)
        assert np.isnan(ecg.signal).mean() == 0.75
    at_once = read_ecg(sets(written, [(counts[row], leads[row], heads[0]) for row in rows]))
    np.testing.assert_allclose(at_once.signal, counts / 1000, atol=1e-6)
    ecg = read_ecg(sets(written, [(counts, leads, heads[0]), (counts, leads, heads[3])]))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert any("group 2 of the file" in note and "repeats leads" in note for note in ecg.notes)
    broken = sets(written, [(counts, leads, heads[0]), (counts, leads, heads[3])])
    place = broken.rindex(b"<digits>")
    ecg = read_ecg(broken[:place] + b"<digits>x " + broken[place + 8 :])
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert "sequence set 2 of the rhythm was left out, as it cannot be read" in ecg.notes
