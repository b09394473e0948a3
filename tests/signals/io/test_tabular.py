"""CSV, TSV, NumPy and Parquet: read where rate, unit and leads are said by file or caller, refused where not."""

import io
import zipfile

import numpy as np
import pytest

from ecgllm.corpora import ECG
from ecgllm.signals import ECGReadError, read_ecg
from ecgllm.signals.io.tables.parquet_rows import read_parquet
from ecgllm.signals.simulation import simulate_ecg

HEADER = "# sampling_rate: 500\n# unit: uV\n"


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_table_that_says_all_itself(written, delimiter):
    counts = written.microvolts()
    ecg = read_ecg(written.csv(counts, delimiter=delimiter))
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    assert (ecg.sampling_rate, ecg.leads, ecg.source, ecg.notes) == (500, written.LEADS, "csv", ())


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("I,II\n100,200\n300,400\n", {"sampling_rate": 250, "unit": "uV"}),
        ("I (uV),II (uV)\n100,200\n300,400\n", {"sampling_rate": 250}),
        ("time (s),I [uV],II [uV]\n0,100,200\n0.004,300,400\n", {}),
        ("time_ms\tLead I [mV]\tDII [mV]\n0\t.1\t.2\n4\t.3\t.4\n", {}),
        ("# fs = 250\n% units: mV\n\nI;II\n0,1;0,2\n0,3;0,4\n", {}),
        ("100,200\n300,400\n", {"sampling_rate": 250, "unit": "uV", "leads": ["I", "II"], "format": "csv"}),
        ("\ufeffI,II\r\n100,200\r\n300,400\r\n", {"sampling_rate": 250, "unit": "µV"}),
        ("sample,i,ii\n0,100,200\n1,300,400\n", {"sampling_rate": 250, "unit": "uV"}),
    ],
)
def test_ways_to_say_rate_unit_and_leads(text, options):
    ecg = read_ecg(text.encode(), **options)
    np.testing.assert_allclose(ecg.signal, [[0.1, 0.3], [0.2, 0.4]], rtol=1e-6)
    assert ecg.leads == ("I", "II") and ecg.sampling_rate == 250


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("I,II\n1,2\n", {"unit": "mV"}, "does not say its sampling rate"),
        ("I,II\n1,2\n", {"sampling_rate": 250}, "in which unit it is.*never guessed"),
        (f"{HEADER}I,II\n1,2\n", {"sampling_rate": 250}, "500 Hz, sampling_rate=250 was passed"),
        (f"{HEADER}I,II\n1,2\n", {"unit": "mV"}, "file says uV, unit='mV' was passed"),
        (f"{HEADER}I (mV),II (mV)\n1,2\n", {}, "comment says uV, the columns say mV"),
        (f"{HEADER}I (mV),II (uV)\n1,2\n", {}, "units differ"),
        (f"{HEADER}I,II\n1,hello\n", {}, "no table of 2 columns of numbers"),
        (f"{HEADER}I,II\n1,2,3\n4,5,6\n", {}, "no table of 2 columns.*Expected one field per name"),
        (f"{HEADER}I,II\n0,1,0,2\n0,3,0,4\n", {}, "within its numbers, as decimal commas, and between its columns"),
        (f'{HEADER}I,II\n"0,1","0,2"\n', {}, "as decimal commas.*Write decimal points, or put semicolons"),
        (f"{HEADER}I,II,V1\n0,1,0,2,3\n0,1,0,2,0,3\n", {}, "as decimal commas"),
        (f"{HEADER}I;II\n0,1;0.2\n", {}, "decimal commas and decimal points; expected the same"),
        (f"{HEADER}I,I\n1,2\n", {}, "more than once"),
        (f"{HEADER}I,II\n", {"format": "csv"}, "no table"),
        (f"{HEADER}I,II\n,\n", {"format": "csv"}, "no number"),
        ("# sampling_rate: fast\n# unit: mV\nI\n1\n", {}, "no number of Hz"),
        ("# unit: furlong\nI\n1\n", {"sampling_rate": 1}, "states a unit that is no voltage; expected mV"),
        ("time (s),I (mV)\n0,1\n0.004,2\n0.1,3\n", {}, "has gaps"),
        ("time (s),I (mV)\n0,1\n0,2\n", {}, "does not rise"),
        ("# sampling_rate: 100\ntime (s),I (mV)\n0,1\n0.004,2\n", {}, "comment says 100 Hz, the column"),
        ("a,b\n1,2\n", {"format": "csv"}, "names no lead"),
        (f"{HEADER}I\n1e300\n", {}, "infinite"),
    ],
)
def test_tables_that_do_not_say_enough_or_contradict_themselves(text, options, says):
    with pytest.raises(ECGReadError, match=says):
        read_ecg(text.encode(), **options)


def test_empty_fields_are_missing_samples():
    ecg = read_ecg(f"{HEADER}I,II\n1000,\n2000,5000\n".encode())
    np.testing.assert_array_equal(ecg.signal, [[1, 2], [np.nan, 5]])
    assert ecg.notes == ("1 missing samples are NaN, in II",)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "<f4", "<f8", "<f2", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy(written, dtype, order):
    array = np.arange(1, 31).reshape(2, 15).astype(dtype, order=order)
    ecg = read_ecg(written.npy(array), sampling_rate=100, unit="uV", leads=["V1", "i"])
    np.testing.assert_allclose(ecg.signal, np.arange(1, 31).reshape(2, 15) / 1000, rtol=1e-6)
    assert ecg.leads == ("V1", "I") and ecg.source == "npy"
    turned = read_ecg(written.npy(array.T), sampling_rate=100, unit="uV", leads=["V1", "I"])
    np.testing.assert_array_equal(turned.signal, ecg.signal)
    assert "transposed" in turned.notes[0]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "does not name its leads"),
        ({"leads": ["I", "II"]}, "which unit"),
        ({"leads": ["I", "II"], "unit": "mV"}, "sampling rate"),
        ({"leads": ["I", "II", "III"], "unit": "mV", "sampling_rate": 1}, r"shape \(2, 15\), 3 leads"),
        ({"leads": ["I", "I"], "unit": "mV", "sampling_rate": 100}, "more than once"),
        ({"leads": ["I", "II"], "unit": "mV", "sampling_rate": -1}, "is -1 Hz"),
    ],
)
def test_npy_that_lacks_what_only_the_caller_knows(written, options, says):
    with pytest.raises(ECGReadError, match=says):
        read_ecg(written.npy(np.ones((2, 15))), **options)


def test_arrays_that_lie_or_could_run_code_are_refused(written):
    told = {"sampling_rate": 100, "unit": "mV", "leads": ["I"]}
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (1, 10**10)})
    with pytest.raises(ECGReadError, match="promises.*80,000,000,000 and holds 80"):
        read_ecg(stream.getvalue() + bytes(80), **told)
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ECGReadError, match="Python objects"):
        read_ecg(stream.getvalue(), **told)
    with pytest.raises(ECGReadError, match="expected numbers"):
        read_ecg(written.npy(np.array(["a"])), **told)


def test_npz(written):
    counts = written.microvolts()
    np.testing.assert_allclose(read_ecg(written.npz(counts)).signal, counts / 1000, atol=1e-6)
    stream = io.BytesIO()
    np.savez(stream, a=counts)
    with pytest.raises(ECGReadError, match="none called 'signal'"):
        read_ecg(stream.getvalue())


def test_zip_bomb_is_refused_before_it_is_unpacked(written):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("signal.npy", "w") as entry:
        for _ in range(64):
            entry.write(bytes(1 << 20))
    assert len(stream.getvalue()) < 100_000
    with pytest.raises(ECGReadError, match="unpacks to 67,108,864 bytes"):
        read_ecg(stream.getvalue(), max_bytes=1 << 20)


def test_parquet_rows_of_our_feature(written, tmp_path):
    records = [simulate_ecg(seed=seed) for seed in range(3)]
    content = written.parquet(records, id=["a", "b", "c"], report=["x", None, "z"])
    read = list(read_parquet(content, name="p", record_id=None, max_bytes=1 << 30))
    assert [(ecg.id, ecg.report) for ecg in read] == [("a", "x"), ("b", None), ("c", "z")]
    for ecg, record in zip(read, records, strict=True):
        feature = ECG()
        expected = feature.decode_example(feature.encode_example(record))
        np.testing.assert_array_equal(ecg.signal, expected["signal"])
        assert (ecg.sampling_rate, list(ecg.leads)) == (expected["sampling_rate"], expected["leads"])
    with pytest.raises(ECGReadError, match="several ECGs"):
        read_ecg(content)
    one = read_ecg(written.parquet(records[:1]))
    np.testing.assert_array_equal(one.signal, read[0].signal)


def test_parquet_without_ecgs_or_with_broken_rows(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = tmp_path / "a"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(ECGReadError, match="no columns of the ECG feature among x"):
        read_ecg(path)
    row = {"bytes": b"\0\0\0", "gain": [0.001], "leads": ["I"], "sampling_rate": 100.0, "path": None}
    for change, says in (
        ({}, "3 bytes, 1 gains and 1 leads"),
        ({"bytes": None, "path": "/x"}, "only a path"),
        ({"bytes": b"\0\0", "gain": [0.0]}, "above 0"),
        ({"bytes": b"\0\0", "sampling_rate": 0.0}, "the sampling rate is 0 Hz"),
        ({"bytes": b"\0\0", "sampling_rate": 1e308}, "the sampling rate is 1e.308 Hz"),
        ({"bytes": b"\0\0", "sampling_rate": None}, "the sampling rate is nan Hz"),
    ):
        pq.write_table(pa.table({"ecg": pa.array([row | change], type=ECG().pa_type)}), path)
        with pytest.raises(ECGReadError, match=says):
            read_ecg(path)
    with pytest.raises(ECGReadError, match="limit"):
        list(read_parquet(path, name="p", record_id=None, max_bytes=10))


ROWS = [(0.5, -0.25), (0.125, 0.75), (-1.5, 0.0)]


def table(delimiter=",", decimal=".", names=("I", "II"), above=(), below=(), fmt="{}"):
    lines = [*above, delimiter.join(names), *below]
    lines += [delimiter.join(fmt.format(str(value).replace(".", decimal)) for value in row) for row in ROWS]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "content",
    [
        table(";", ",").encode(),
        table("\t", ",").encode(),
        ("sep=;\n" + table(";", ",")).encode(),
        table().encode("utf-8-sig"),
        table().encode("utf-16"),
        table().replace("\n", "\r\n").encode(),
        table().replace("\n", "\r").encode(),
        table(below=["mV,mV"]).encode(),
        table(below=["(mV),(mV)"]).encode(),
        table(names=('"I"', '"II"'), fmt='"{}"').encode(),
        table(names=("I", "II", "")).replace("\n", ",\n").replace(",,\n", ",\n").encode(),
        ("# Größe: 1\n" + table()).encode("latin-1"),
    ],
)
def test_tables_as_spreadsheets_write_them(content):
    ecg = read_ecg(content, sampling_rate=500, unit="mV")
    assert ecg.leads == ("I", "II") and ecg.notes == ()
    np.testing.assert_allclose(ecg.signal.T, ROWS, atol=1e-7)


def test_a_line_of_units_is_believed():
    ecg = read_ecg(b"time,I,II\ns,uV,uV\n0.000,1,2\n0.002,3,4\n")
    assert ecg.sampling_rate == 500
    np.testing.assert_allclose(ecg.signal, [[0.001, 0.003], [0.002, 0.004]], atol=1e-9)
    latin = "I [µV],II [µV]\n1,2\n3,4\n".encode("latin-1")
    np.testing.assert_allclose(read_ecg(latin, sampling_rate=500).signal, ecg.signal)
    with pytest.raises(ECGReadError, match="units differ"):
        read_ecg(b"I,II\nmV,uV\n1,2\n3,4\n", sampling_rate=500)
    with pytest.raises(ECGReadError, match="the file says uV"):
        read_ecg(b"I,II\nuV,uV\n1,2\n3,4\n", sampling_rate=500, unit="mV")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("I,II\n1,2\n3,4\n5", "the last line has 1; the file is cut"),
        ("I,II,V1\n1,2,3\n4\n7,8,9\n", "some have fewer"),
        ("I\n1\n\n3\n", "empty lines between its numbers"),
        ("# fs: 500\n# sampling_rate: 250\nI,II\n1,2\n", "state several rates"),
    ],
)
def test_broken_tables_are_refused_not_filled(content, message):
    with pytest.raises(ECGReadError, match=message):
        read_ecg(content.encode(), sampling_rate=None if "fs" in content else 500, unit="mV", format="csv")


def test_a_table_cut_within_its_last_number_is_refused():
    whole = "I,II\n" + "\n".join(f"{number / 1000:.3f},{-number / 1000:.3f}" for number in range(100, 140))
    assert read_ecg(whole.encode(), sampling_rate=500, unit="mV").n_samples == 40  # a line break at the end or not
    for cut in (1, 2, 3):
        with pytest.raises(ECGReadError, match="the file is cut"):
            read_ecg(whole[:-cut].encode(), sampling_rate=500, unit="mV")


def test_table_as_physionets_converter_writes_it():
    lines = [f"{number / 360:.3f},{number % 7 / 10:.3f},-0.065" for number in range(720)]
    text = "\n".join(["'Elapsed time','MLII','V5'", "'seconds','mV','mV'", *lines, ""])
    ecg = read_ecg(text.encode())
    assert (ecg.sampling_rate, ecg.leads, ecg.signal.shape) == (360, ("MLII", "V5"), (2, 720))
    assert ecg.signal[0, 6] == np.float32(0.6)


def test_text_that_may_be_a_table_is_refused_with_the_way_out():
    with pytest.raises(ECGReadError, match=r"pass format='csv' \(--format csv\), and leads="):
        read_ecg(b"0.1,0.2\n0.2,0.3\n")


def test_a_time_column_without_a_unit_must_fit_the_rate():
    for step in (0.002, 2, 2000, 1):
        content = "time,I\n" + "\n".join(f"{number * step},1.5" for number in range(9))
        assert read_ecg(content.encode(), sampling_rate=500, unit="mV").sampling_rate == 500
    with pytest.raises(ECGReadError, match="250 Hz in no unit of time"):
        read_ecg(b"time,I\n0.000,1\n0.002,2\n0.004,1\n", sampling_rate=250, unit="mV")


def test_columns_that_are_no_standard_lead_are_named():
    notes = read_ecg(b"I,II,HR\n1,2,70\n3,4,71\n", sampling_rate=500, unit="mV").notes
    assert "columns whose names are no standard lead were read all the same: HR" in notes
