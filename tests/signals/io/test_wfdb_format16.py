"""The fast way through common WFDB records gives what the general one gives, or leaves the record to it."""

import mmap
import random
from dataclasses import fields, replace

import numpy as np
import pytest

from ecgllm.signals import ECGReadError
from ecgllm.signals.io.wfdb import format16
from ecgllm.signals.io.wfdb import reader as wfdb_reader
from ecgllm.signals.io.wfdb.header import read_header
from ecgllm.signals.io.wfdb.reader import read_wfdb


def read_both(path, monkeypatch, **options):
    """(what the fast way gives, what the general one gives or says)."""
    try:
        header = read_header(str(path), path.read_bytes())
    except ECGReadError:
        fast = None
    else:
        fast = format16.read_format16(
            header, None, options.get("verify_checksum", True), options.get("max_bytes", 1 << 30)
        )
    with monkeypatch.context() as patched:
        patched.setattr(wfdb_reader, "read_format16", lambda *arguments: None)
        try:
            return fast, read_wfdb(path, **options)
        except ECGReadError as error:
            return fast, error


def assert_same(fast, general):
    assert not isinstance(general, ECGReadError), f"the general way refuses what the fast one reads: {general}"
    np.testing.assert_array_equal(fast.signal, general.signal)
    assert fast.signal.dtype == np.float32
    for field in fields(fast):
        if field.name != "signal":
            assert getattr(fast, field.name) == getattr(general, field.name), field.name
    replace(fast)  # satisfies every check that it was spared


def write(folder, leads=12, samples=1003, suffix=".dat", offset=0, gain="1000(0)/mV", comments="", top=3000, seed=0):
    rng = np.random.default_rng(seed)
    steps = rng.integers(-top, top + 1, (samples, leads)).astype("<i2")
    form = f"16+{offset}" if offset else "16"
    lines = [
        f"r{suffix} {form} {gain} 16 0 {lead[0]} {int(lead.sum(dtype=np.int16))} 0 V{number}"
        for number, lead in enumerate(steps.T)
    ]
    (folder / f"r{suffix}").write_bytes(bytes(offset) + steps.tobytes())
    path = folder / "r.hea"
    path.write_text("\n".join([f"r {leads} 500 {samples}", *lines, ""]) + comments)
    return path


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"suffix": ".mat", "offset": 24, "comments": "#Age: 61\n# Sex: Female\n#Dx: 426783006,1\n#Hx: Unknown\n"},
        {"samples": 1},
        {"samples": 99, "leads": 1},
        {"samples": 100, "leads": 3},
        {"samples": 700, "leads": 2, "gain": "-200(5)/uV"},
        {"gain": "0"},
        {"gain": "3.7(12)/mV"},
        {"gain": "1e-3(12)/mV"},
        {"top": 4},  # a span that is remarked on
        {"top": (1 << 15) - 1, "samples": 5000},  # every count, among them the one that marks a missing sample
    ],
)
def test_equals_the_general_way_and_counts_less_baseline_by_gain(tmp_path, monkeypatch, options):
    path = write(tmp_path, **options)
    fast, general = read_both(path, monkeypatch)
    assert fast is not None
    assert_same(fast, general)
    suffix, offset = options.get("suffix", ".dat"), options.get("offset", 0)
    counts = np.fromfile(path.with_suffix(suffix), "<i2", offset=offset).reshape(-1, options.get("leads", 12)).T
    gain, _, rest = options.get("gain", "1000(0)/mV").partition("(")
    baseline = int(rest.partition(")")[0] or 0)
    millivolts = (counts - float(baseline)) / (float(gain) or 200.0) * (1e-3 if rest.endswith("uV") else 1.0)
    np.testing.assert_array_equal(fast.signal, np.where(counts == -32768, np.nan, millivolts).astype(np.float32))


def test_missing_samples(tmp_path, monkeypatch):
    path = write(tmp_path)
    steps = np.fromfile(tmp_path / "r.dat", "<i2")
    steps[[5, 5000]] = -32768
    steps.tofile(tmp_path / "r.dat")
    fast, general = read_both(path, monkeypatch, verify_checksum=False)
    assert np.isnan(fast.signal).sum() == 2
    assert_same(fast, general)


def test_whatever_happens_to_a_header(tmp_path, monkeypatch):
    """Mutated headers: the fast way reads nothing that the general one reads otherwise, or refuses."""
    rng = random.Random(3)
    path = write(tmp_path, leads=3, comments="# Age: 61\n#Dx: 1,2\n")
    good = path.read_text()
    pieces = ["#", "\n", " ", "\t", "r.dat", "r", "16", "0", "-", "/mV", "(7)", "I", "x2", ":1", "+2", "\r\n", "nan"]
    read = 0
    for _ in range(2000):
        text = good
        for _ in range(rng.randint(1, 2)):
            start = rng.randrange(len(text))
            text = text[:start] + rng.choice([*pieces, ""]) + text[start + rng.randint(0, 3) :]
        path.write_bytes(text.encode())
        fast, general = read_both(path, monkeypatch, verify_checksum=rng.random() < 0.5)
        if fast is not None:
            read += 1
            assert_same(fast, general)
    assert read > 200


@pytest.mark.parametrize("change", [-1, 1, 2])
def test_other_lengths_are_left_to_the_general_way(tmp_path, monkeypatch, change):
    path = write(tmp_path)
    content = (tmp_path / "r.dat").read_bytes()
    (tmp_path / "r.dat").write_bytes(content[:change] if change < 0 else content + bytes(change))
    fast, _ = read_both(path, monkeypatch)
    assert fast is None


def test_counts_share_no_memory(tmp_path):
    """Neither with the next read, nor, kept in the module, with another process that was forked."""
    path = write(tmp_path)
    first, second = (format16._counts(str(path.with_suffix(".dat")), 0, 12 * 1003) for _ in range(2))
    assert not np.shares_memory(first, second)
    kept = [name for name, value in vars(format16).items() if isinstance(value, (np.ndarray, memoryview, mmap.mmap))]
    assert kept == []


def test_real_records(shared_data, monkeypatch):
    read = 0
    headers = sorted(shared_data.rglob("*.hea"))
    for path in headers:
        fast, general = read_both(path, monkeypatch)
        if fast is not None:
            read += 1
            assert_same(fast, general)
    print(f"{read} of {len(headers)} real records were read the fast way")
    assert read > 0.9 * len(headers)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [(" 500 ", " 1e308 ", "1e\\+308 Hz"), (" 500 ", " 0.5 ", "0.5 Hz"), (" 500 ", " nan ", "nan Hz"),
     ("1000(0)", "1e300(0)", "gain 1e\\+300"), ("1000(0)", "1e-30(0)", "gain 1e-30"),
     ("r 12 ", "r 99999 ", "99999 signals")],
)  # fmt: skip
def test_numbers_that_no_recorder_writes(tmp_path, old, new, named):
    path = write(tmp_path)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ECGReadError, match=named):
        wfdb_reader.read_wfdb(path)


def test_a_header_without_a_length_in_a_packed_format(tmp_path):
    """The library's reading of packed formats took the missing length for a number."""
    import wfdb

    signal = np.random.default_rng(0).integers(-900, 900, (600, 2)) / 200.0
    wfdb.wrsamp("packed", 250, ["mV"] * 2, ["I", "II"], p_signal=signal, fmt=["212"] * 2, adc_gain=[200.0] * 2,
                baseline=[0] * 2, write_dir=str(tmp_path))  # fmt: skip
    path = tmp_path / "packed.hea"
    whole = wfdb_reader.read_wfdb(path)
    first, rest = path.read_text().split("\n", 1)
    path.write_text(" ".join(first.split()[:3]) + "\n" + rest)
    np.testing.assert_array_equal(wfdb_reader.read_wfdb(path).signal, whole.signal)
