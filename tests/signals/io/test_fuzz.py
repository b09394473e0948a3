"""Damaged files of every format are read or refused, within 2 s and 1 GB: files made for it, and real recorders'.

The process that reads them, and what damage is, are in `damage.py`.
"""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="limits time by a Unix timer")

# format -> the records that are damaged, each with the files that belong to it.
VENDOR = {
    "philips": {name: [name] for name in ("philips-xli-103-129DYPRG.xml", "philips-xli-104-demo.xml")},
    "scp": {name: [name] for name in ("contec-demo-scp13.scp", "ecgtoolkit-example.scp")},
    "dicom": {name: [name] for name in ("dicom-anonymous.dcm", "ecgtoolkit-example.dcm")},
    "aecg": {name: [name] for name in ("aecg-cvrg-example2.xml", "ecgtoolkit-example-aecg.xml")},
    "muse": {"muse-example1.xml": ["muse-example1.xml"]},
    "edf": {"test_generator_2.edf": ["wfdb-samples/test_generator_2.edf"]},
    "wfdb": {
        "binformats.hea": ["wfdb-samples/binformats.*"],
        "flacformats.hea": ["wfdb-samples/flacformats.*"],
        "310derive_3.hea": ["wfdb-samples/310derive_3.*"],
        "311derive_4.hea": ["wfdb-samples/311derive_4.*"],
        "100_3chan.hea": ["wfdb-samples/100_3chan.*"],
        "s0010_re.hea": ["wfdb-samples/s0010_re.*"],
        "test01_00s_skew.hea": ["wfdb-samples/test01_00s_skew.hea", "wfdb-samples/test01_00s.dat"],
        "v102s.hea": ["wfdb-samples/multi-segment/fixed1/*"],
        "s25047-2704-05-04-10-44.hea": ["wfdb-samples/multi-segment/s25047/*"],
    },
}


def place(folder, format, name, files):
    """Put a record where `damage.py` looks for it; `files`: paths, or name -> content."""
    (folder / format / name).mkdir(parents=True)
    for file in files:
        if isinstance(files, dict):
            (folder / format / name / file).write_bytes(files[file])
        else:
            shutil.copyfile(file, folder / format / name / file.name)


@pytest.fixture
def made(one_of_each, written, tmp_path):
    """A folder per format with one whole file, or record, in it; (folder, formats)."""
    from ecgllm.signals.simulation import simulate_ecg

    contents = {format: content for format, (content, *_) in one_of_each.items()}
    contents["parquet"] = written.parquet([simulate_ecg(seed=1)])
    contents["sierra-xli"] = written.sierra(written.microvolts() // 5, packed=True)
    contents["scp-huffman"] = written.scp(written.microvolts(leads=written.EIGHT), huffman=True, differences=2)
    contents["scp-beats"] = written.scp(written.microvolts(leads=written.EIGHT), huffman=True, beats=(100, 250, 471))
    counts = written.microvolts()
    groups = [
        (counts[3 * n : 3 * n + 3, 150 * n : 150 * n + 150], written.LEADS[3 * n : 3 * n + 3], "", 500, 300 * n)
        for n in range(4)
    ]
    contents["dicom-groups"] = written.dicom(None, groups=groups)
    edf = contents["edf"]
    contents["edf-gaps"] = (edf[:192] + b"EDF+D" + edf[197:]).replace(b"+1\x14\x14", b"+3\x14\x14")
    names, units = ";".join(("time", *written.LEADS)), ";".join(("s", *["mV"] * 12))
    rows = (f"{n * 0.002:.3f};" + ";".join(f"{value / 1000:.3f}" for value in row) for n, row in enumerate(counts.T))
    contents["csv-units"] = "\n".join([names, units, *(row.replace(".", ",") for row in rows)]).encode()
    for format, content in contents.items():
        place(tmp_path, format, "whole.bin", {"whole.bin": content})
    counts = written.microvolts().T.astype("<i2")
    names = [
        f"whole.dat 16 1000/mV 16 0 0 {int(c.sum(dtype='<i2'))} 0 {lead}"
        for c, lead in zip(counts.T, written.LEADS, strict=True)
    ]
    header = ("\n".join(["whole 12 500 600", *names, "#Age: 61", "#Dx: 1"]) + "\n").encode()
    place(tmp_path, "wfdb", "whole.hea", {"whole.hea": header, "whole.dat": counts.tobytes()})
    head = np.array([30, 12, 600, 0, 4], dtype="<i4").tobytes() + b"val\0"
    files = {"whole.hea": header.replace(b"whole.dat 16", b"whole.mat 16+24"), "whole.mat": head + counts.tobytes()}
    place(tmp_path, "wfdb-mat", "whole.hea", files)
    return tmp_path, [*contents, "wfdb", "wfdb-mat"]


@pytest.fixture
def real(shared_vendor, tmp_path):
    """The same of real recorders' files."""
    for format, records in VENDOR.items():
        for name, patterns in records.items():
            place(tmp_path, format, name, sorted(file for pattern in patterns for file in shared_vendor.glob(pattern)))
    return tmp_path, list(VENDOR)


def fuzz(folder, count, formats):
    command = [sys.executable, str(Path(__file__).with_name("damage.py")), str(folder), str(count), *formats]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    figures = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [figure["format"] for figure in figures] == list(formats)
    for figure in figures:
        print(figure)
    return figures


def check_each(folder, count, formats):
    """A process a format, all of which are read before any failure is shown."""
    figures = [figure for format in formats for figure in fuzz(folder, count, [format])]
    assert not any(figure["failures"] for figure in figures), figures


def test_damaged_files_are_read_or_refused(made):
    folder, formats = made
    for figure in fuzz(folder, 50, formats):
        assert figure["failures"] == [] and figure["refused"] > 0, figure


def test_damaged_files_of_recorders_are_read_or_refused(real):
    folder, formats = real
    for figure in fuzz(folder, 10, formats):
        assert figure["failures"] == [], figure


@pytest.mark.slow
def test_two_thousand_damaged_files_of_each_format(made):
    check_each(made[0], 2000, made[1])


@pytest.mark.slow
def test_two_thousand_damaged_files_of_recorders(real):
    check_each(real[0], 2000, real[1])
