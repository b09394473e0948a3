"""WFDB records of format 16: counts become millivolt as their header says, or the header is refused."""

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg
from ecgllm.signals.io.wfdb import reader as wfdb_reader


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
def test_millivolts_are_counts_less_baseline_by_gain(tmp_path, options):
    path = write(tmp_path, **options)
    suffix, offset = options.get("suffix", ".dat"), options.get("offset", 0)
    counts = np.fromfile(path.with_suffix(suffix), "<i2", offset=offset).reshape(-1, options.get("leads", 12)).T
    gain, _, rest = options.get("gain", "1000(0)/mV").partition("(")
    baseline = int(rest.partition(")")[0] or 0)
    millivolts = (counts - float(baseline)) / (float(gain) or 200.0) * (1e-3 if rest.endswith("uV") else 1.0)
    record = read_ecg(path)
    np.testing.assert_array_equal(record.signal, np.where(counts == -32768, np.nan, millivolts).astype(np.float32))
    assert (record.sampling_rate, record.leads[0], record.id) == (500.0, "V0", "r")


def test_no_memory_is_shared_between_reads(tmp_path):
    path = write(tmp_path)
    assert not np.shares_memory(read_ecg(path).signal, read_ecg(path).signal)


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
