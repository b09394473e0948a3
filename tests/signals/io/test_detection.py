"""A file's format is found from its content, whatever the file is called, and what is no ECG is named."""

import gzip
import io
import os
import zipfile

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, iter_ecgs, read_ecg
from ecgllm.signals.io.detection import FORMATS, detect_format


def test_every_format_is_known_from_its_content_under_any_name(one_of_each, tmp_path):
    for format, (content, signal, leads, rate) in one_of_each.items():
        path = tmp_path / f"{format}.bin"
        path.write_bytes(content)
        for source in (path, content, io.BytesIO(content)):
            ecg = read_ecg(source)
            assert (ecg.source, ecg.leads, ecg.sampling_rate) == (format, tuple(leads), rate)
            assert ecg.signal.shape == signal.shape
        assert read_ecg(path).id == format and read_ecg(content).id is None
    assert set(one_of_each) | {"wfdb", "npy", "parquet"} == set(FORMATS)


def test_wfdb_header_under_another_name(tmp_path):
    (tmp_path / "r.txt").write_text("r 1 250 4\nr.bin 16 200 16 0 1 10 0 II\n")
    (tmp_path / "r.bin").write_bytes(np.arange(1, 5, dtype="<i2").tobytes())
    np.testing.assert_allclose(read_ecg(tmp_path / "r.txt").signal, [[0.005, 0.01, 0.015, 0.02]])
    with pytest.raises(ECGReadError, match="its path, not its bytes"):
        read_ecg((tmp_path / "r.txt").read_bytes())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"hello there\nhow are you", "text"),
        (b"1 2 3\n4 5 6\n", "text"),
        (b"patient,age\n1,2\n", "text"),
        (b"<html><body>I, II</body></html>", "XML with the root <html>"),
        (b'{"recordedAt": 1}', "JSON"),
        (b"%PDF-1.4\n\0", "a PDF"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "an HDF5 file"),
        (gzip.compress(b"0" * 500, mtime=0), "a gzip archive"),
        (bytes(range(256)) * 4, "a binary file"),
        (b"\xffBIOSEMI" + bytes(400), "a BDF file"),
        (bytes(5000), "a binary file"),
    ],
)
def test_what_is_no_ecg_is_named_with_what_is_read(tmp_path, content, says):
    assert detect_format(content) in (None, "bdf")
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(ECGReadError, match=f"x: is {says}.*reads WFDB"):
        read_ecg(tmp_path / "x")


def test_zip_without_arrays_is_refused_unopened():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ecg.xml", b"0" * 10_000_000)
    with pytest.raises(ECGReadError, match="a ZIP archive.*unpack it first"):
        read_ecg(stream.getvalue())


def test_xml_root_behind_comments_and_in_utf16(written):
    content = written.sierra(written.microvolts(), encoding="utf-16")
    assert detect_format(content) == "sierra"
    content = b"<?xml version='1.0'?><!-- <restecg> --><!DOCTYPE RestingECG SYSTEM 'a.dtd'>\n<RestingECG></RestingECG>"
    assert detect_format(content) == "muse"


def test_format_argument(one_of_each):
    content = one_of_each["csv"][0]
    assert read_ecg(content, "tsv").source == "csv"
    with pytest.raises(ValueError, match="format is 'xyz'; expected one of wfdb"):
        read_ecg(content, "xyz")
    with pytest.raises(ECGReadError, match="no readable edf file"):
        read_ecg(content, "edf")


def test_file_objects_and_other_sources(one_of_each, tmp_path):
    content = one_of_each["csv"][0]
    with pytest.raises(TypeError, match="open it in binary mode"):
        read_ecg(io.StringIO("a"))
    with pytest.raises(TypeError, match="expected a path, bytes"):
        read_ecg(12)
    with pytest.raises(ECGReadError, match="is a folder.*iter_ecgs"):
        read_ecg(tmp_path)
    (tmp_path / "a").write_bytes(content)
    for source in (tmp_path / "a", content, io.BytesIO(content)):
        with pytest.raises(ECGReadError, match="limit"):
            read_ecg(source, max_bytes=1000)
    with pytest.raises(ECGReadError, match="500 Hz, sampling_rate=250 was passed"):
        read_ecg(one_of_each["dicom"][0], sampling_rate=250)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ECGReadError, match="a device or pipe"):
        read_ecg(tmp_path / "pipe")
    tree = iter_ecgs(tmp_path, workers=1, progress=False)
    assert list(tree) == [] and tree.skipped == [("pipe", "a device, pipe or broken link")]


def test_values_that_errors_could_quote_are_not_shown():
    with pytest.raises(ECGReadError) as caught:
        read_ecg(b"# sampling_rate: 500\n# unit: mV\nI,II\n1,2\nFeatherstonehaugh,3\n")
    assert "Featherstonehaugh" not in str(caught.value)
