"""Headers that are damaged in real recorders' files: what ours reads then, another reader reads alike.

The comparison, and what may differ, are in `second_readers.py`.
"""

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="limits time by a Unix timer")

WFDB = ("310derive_3", "311derive_4", "100_3chan", "binformats", "flacformats")
RECORDS = {
    "wfdb": {f"{name}.hea": [f"wfdb-samples/{name}.*"] for name in WFDB}
    | {
        "test01_00s_skew.hea": ["wfdb-samples/test01_00s_skew.hea", "wfdb-samples/test01_00s.dat"],
        "v102s.hea": ["wfdb-samples/multi-segment/fixed1/*"],
    },
    "pydicom": {"dicom-anonymous.dcm": ["dicom-anonymous.dcm"], "ecgtoolkit-example.dcm": ["ecgtoolkit-example.dcm"]},
    "pyedflib": {},
    "sierraecg": {name: [name] for name in ("philips-xli-103-129DYPRG.xml", "philips-xli-104-demo.xml")},
    "biosig": {name: [name] for name in ("contec-demo-scp13.scp", "ecgtoolkit-example.scp")},
    "biosig-hl7": {name: [name] for name in ("aecg-cvrg-example2.xml", "ecgtoolkit-example-aecg.xml")},
}


@pytest.fixture
def compared(shared_vendor, written, tmp_path):
    """Compares `count` mutants of the reader's files, prints and returns the figures."""

    def compare(reader, count):
        if reader.startswith("biosig") and not shutil.which("save2gdf"):
            pytest.skip("biosig's save2gdf is not installed (Debian: biosig-tools)")
        if not reader.startswith("biosig") and importlib.util.find_spec(reader) is None:
            pytest.skip(f"{reader} is not installed")
        folder = tmp_path / reader
        for name, patterns in RECORDS[reader].items():
            (folder / name).mkdir(parents=True)
            for file in (file for pattern in patterns for file in shared_vendor.glob(pattern)):
                shutil.copyfile(file, folder / name / file.name)
        if reader == "pyedflib":  # the real one is of a kind that pyedflib refuses
            for plus in (False, True):
                name = f"{plus}.edf"
                (folder / name).mkdir(parents=True)
                content = written.edf(tmp_path, written.microvolts(1000), plus=plus, scale=2.5)
                (folder / name / name).write_bytes(content)
        command = [sys.executable, str(Path(__file__).with_name("second_readers.py")), reader, str(folder), str(count)]
        done = subprocess.run([*command, "test"], capture_output=True, text=True, timeout=3000, env=os.environ)
        assert done.returncode == 0, done.stderr[-3000:]
        figures = json.loads(done.stdout.splitlines()[-1])
        print(figures)
        return figures

    return compare


@pytest.mark.parametrize(("reader", "count"), [("wfdb", 60), ("pydicom", 10), ("pyedflib", 60), ("biosig", 20)])
def test_a_damaged_header_gives_what_another_reader_gives(compared, reader, count):
    figures = compared(reader, count)
    assert figures["differences"] == [] and figures["failures"] == [] and figures["read by both"] > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("reader", "count"),
    [("wfdb", 2000), ("pydicom", 500), ("pyedflib", 2000), ("sierraecg", 300), ("biosig", 600), ("biosig-hl7", 500)],
)
def test_many_damaged_headers_give_what_another_reader_gives(compared, reader, count):
    figures = compared(reader, count)
    assert figures["differences"] == [] and figures["failures"] == [] and figures["read by both"] > count / 20


@pytest.mark.parametrize(
    ("place", "old", "new", "says"),
    [
        (184, b"3328", b"3584", "states a header of 3,584 bytes; its 12 signals take 3,328"),
        (256 + 128 * 12, b"32767", b"32768", "digital limits beyond -32768 and 32767"),
        (256 + 128 * 12, b"32767", b"327\0\0", "bytes of 0 within the numbers"),
        (256 + 12 * 16, b"", b"\0", "bytes of 0|bytes behind its|invalid"),  # all that follows is shifted by one
        (256 + 16, b"II  ", b"I   ", "names a lead more than once"),
    ],
)
def test_edf_headers_that_contradict_the_file(written, tmp_path, place, old, new, says):
    content = written.edf(tmp_path, written.microvolts(1000), plus=False)
    assert content[place : place + len(old)] == old
    with pytest.raises(ECGReadError, match=says):
        read_ecg(content[:place] + new + content[place + len(old) :])


def test_edf_with_a_part_of_a_record_behind_the_last(written, tmp_path):
    content = written.edf(tmp_path, written.microvolts(1000), plus=False)
    with pytest.raises(ECGReadError, match="holds 7 bytes behind its 2 data records of 12,000 bytes"):
        read_ecg(content + bytes(7))
    assert read_ecg(content + bytes(12_000)).n_samples == 1000  # whole records more: as many as it states are read


def test_dicom_channel_with_two_names(written):
    content = written.dicom(written.microvolts())
    place = content.index(b"\x3a\x00\x03\x02SH\x02\x00V3")  # ChannelLabel
    with pytest.raises(ECGReadError, match="channel 9 is labelled V4 and coded as V3"):
        read_ecg(content[: place + 8] + b"V4" + content[place + 10 :])


def test_philips_packed_leads_that_are_damaged(written):
    counts = written.microvolts() // 5
    rows = [written.xli(row) for row in counts]
    shorter = [*rows[:11], written.xli(counts[11][:-1])]  # as a flipped bit makes it
    with pytest.raises(ECGReadError, match="unpack to 599 to 600 samples; expected one"):
        read_ecg(written.sierra(counts, compressed=b"".join(shorter)))
    limb = counts.copy()
    limb[:2] = [[20_000], [-20_000]]  # each within 16 bits; III is not
    with pytest.raises(ECGReadError, match="range of 16 bits"):
        read_ecg(written.sierra(limb, packed=True))
    counts[6] = range(0, 60_000, 100)  # small differences, of which one too many was damaged, add up to this
    with pytest.raises(ECGReadError, match="samples beyond 16 bits"):
        read_ecg(written.sierra(counts, packed=True))
