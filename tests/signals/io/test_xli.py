"""XLI: what a packer writes is unpacked, and as the library's own decoder unpacks it; damage is refused."""

import struct

import numpy as np
import pytest

pytest.importorskip("ecgdatakit")

from ecgdatakit.exceptions import CorruptedFileError  # noqa: E402
from ecgdatakit.parsing.codecs.xli import xli_decode  # noqa: E402

from ecgllm.signals.io.clinical.xli import unpack_xli  # noqa: E402


def lzw(data):
    """Codes of ten bits with a dictionary that grows to 1,022, most significant bit first, and the end's code."""
    known = {bytes([value]): value for value in range(256)}
    codes, string = [], b""
    for value in data:
        longer = string + bytes([value])
        if longer in known:
            string = longer
            continue
        codes.append(known[string])
        if len(known) <= 1022:
            known[longer] = len(known)
        string = bytes([value])
    bits = "".join(f"{code:010b}" for code in (*codes, known[string], 1023))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def packed(row):
    """One chunk of a lead of int16 samples, after the description in `ecgllm.signals.io.clinical.xli`."""
    row = np.asarray(row, dtype=np.int64)
    deltas = 2 * row[1:-1] - row[:-2] - row[2:]  # of the third sample on
    words = np.concatenate([row[:2], deltas[1:] + 64, [64]]).astype(np.int16).view(np.uint16)
    codes = lzw(bytes((words >> 8).astype(np.uint8)) + bytes((words & 255).astype(np.uint8)))
    return struct.pack("<iHh", len(codes), 0, deltas[0]) + codes


def test_leads_are_unpacked_as_they_were(written):
    rows = [*written.microvolts(3000)[:4] // 5, np.zeros(3000, int), np.arange(3000) % 7 * 900]
    data = b"".join(map(packed, rows))
    found = unpack_xli(data)
    np.testing.assert_array_equal(found, rows)
    np.testing.assert_array_equal(xli_decode(data), rows)


def test_damaged_bytes_are_refused_or_read_as_by_the_library(written):
    """300 files with one to three bits changed, 1 s."""
    whole, random = packed(written.microvolts(600)[0] // 5), np.random.default_rng(3)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in random.integers(8, len(data), random.integers(1, 4)):
            data[place] ^= 1 << random.integers(8)
        try:
            found = unpack_xli(bytes(data))
        except CorruptedFileError:
            refused += 1
            continue
        np.testing.assert_array_equal(found[0], xli_decode(bytes(data))[0].astype(np.int64))
    assert 0 < refused < 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-5], "is cut or damaged"),
        (lambda data: data + b"\1\2\3", "lead 2 is cut or damaged"),
        (lambda data: struct.pack("<i", -1) + data[4:], "is cut or damaged"),
        (lambda data: data[:8] + b"\xff\xbf" + data[10:], "code that its dictionary does not"),
        (lambda data: struct.pack("<iHh", 2, 0, 0) + b"\xff\xff", "fewer than two samples"),
        (lambda data: data * 1025, "packs more than 1,024 leads"),
    ],
)
def test_what_cannot_be_unpacked_is_refused(change, message):
    with pytest.raises(CorruptedFileError, match=message):
        unpack_xli(change(packed([1, 2, 4, 7, 3, 1])))
