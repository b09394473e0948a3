"""SCP-ECG after EN 1064, built section by section: what writers vary, and what is refused by name."""

import binascii
import struct

import numpy as np
import pytest

from ecgllm.signals import ECGReadError, read_ecg

pytest.importorskip("ecgdatakit")

CODES = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "V7": 9, "V3R": 11, "V4R": 12,
         "V5R": 13, "V6R": 14, "X": 16, "Y": 17, "Z": 18, "III": 61, "aVR": 62, "aVL": 63, "aVF": 64, "V8": 66,
         "V9": 67}  # fmt: skip
# A table of one's own: (bits of the prefix, bits in all, 1 for a value or 0 for a switch, value or table, prefix).
# The first has the values -1, 0, 1, a switch to the second, and 16 bits for all else; the second switches back.
OWN_TABLES = [
    [(1, 1, 1, 0, "0"), (3, 3, 1, 1, "100"), (3, 3, 1, -1, "101"), (3, 3, 0, 2, "110"), (3, 19, 1, 0, "111")],
    [(2, 10, 1, 0, "00"), (2, 2, 0, 1, "01"), (1, 17, 1, 0, "1")],
]


def own_coded(row):
    """Bits of a row under `OWN_TABLES`: small values in the first table, runs of bytes in the second."""
    bits, table = "", 1
    for value in map(int, row):
        wanted = 1 if value in (-1, 0, 1) or not -128 <= value < 128 else 2
        if wanted != table:
            bits += "110" if wanted == 2 else "01"
            table = wanted
        if wanted == 2:
            bits += "00" + f"{value & 0xFF:08b}"
        elif value in (-1, 0, 1):
            bits += {0: "0", 1: "100", -1: "101"}[value]
        else:
            bits += "111" + f"{value & 0xFFFF:016b}"
    bits += "0" * (-len(bits) % 16)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


def plain(row):
    return np.asarray(row).astype("<i2").tobytes()


def tables(own=OWN_TABLES):
    body = struct.pack("<H", len(own))
    for table in own:
        body += struct.pack("<H", len(table))
        for prefix, total, mode, value, code in table:
            body += struct.pack("<BBBhI", prefix, total, mode, value, int(code[::-1], 2))
    return body


def leads(ranges, flags=None):
    """ranges: (lead, first sample, last sample), counted from 1."""
    flags = 0x04 | (len(ranges) << 3 & 0xF8) if flags is None else flags
    return bytes([len(ranges), flags]) + b"".join(
        struct.pack("<IIB", start, end, CODES.get(lead, lead)) for lead, start, end in ranges
    )


def samples(rows, *, coder=plain, avm=1000, interval=2000, differences=0, bimodal=0):
    coded = [coder(np.concatenate([row[:differences], np.diff(row, differences)])) for row in rows]
    sizes = b"".join(struct.pack("<H", len(row)) for row in coded)
    return struct.pack("<HHBB", avm, interval, differences, bimodal) + sizes + b"".join(coded)


def scp(bodies, *, protocol=20, order=None, listed=range(12), crc=lambda value: value, shift=0):
    """order: of the sections in the file; listed: of those in section 0, which lists absent ones with length 0."""
    order = order or sorted(bodies)

    def section(number, body):
        body += b"\0" * (len(body) % 2)
        rest = struct.pack("<HIBB6x", number, 16 + len(body), protocol, protocol) + body
        return struct.pack("<H", crc(binascii.crc_hqx(rest, 0xFFFF))) + rest

    built = {number: section(number, bodies[number]) for number in order}
    length, places = 16 + 10 * len(listed), {}
    place = 7 + length
    for number, content in built.items():
        places[number], place = place, place + len(content)
    entries = {0: (0, length, 7 + shift)}
    entries |= {number: (number, len(built[number]), places[number] + shift) for number in built}
    pointers = b"".join(struct.pack("<HII", *entries.get(number, (number, 0, 0))) for number in listed)
    rest = struct.pack("<HIBB6s", 0, length, protocol, protocol, b"SCPECG") + pointers
    body = struct.pack("<H", crc(binascii.crc_hqx(rest, 0xFFFF))) + rest + b"".join(built.values())
    body = struct.pack("<I", 6 + len(body)) + body
    return struct.pack("<H", crc(binascii.crc_hqx(body, 0xFFFF))) + body


def simple(counts, names, **options):
    return {3: leads([(name, 1, counts.shape[1]) for name in names]), 6: samples(counts, **options)}


def same(content, counts, names):
    ecg = read_ecg(content)
    assert (ecg.leads, ecg.sampling_rate) == (tuple(names), 500)
    np.testing.assert_allclose(ecg.signal, counts / 1000, atol=1e-6)
    return ecg


@pytest.fixture
def counts(written):
    return written.microvolts(leads=written.EIGHT)


@pytest.mark.parametrize("differences", [0, 1, 2])
def test_huffman_tables_of_the_file(written, counts, differences):
    """biosig (2.5.0) refuses any table that is spelled out, the default's codes as well, and is no help here."""
    content = scp(simple(counts, written.EIGHT, coder=own_coded, differences=differences) | {2: tables()})
    same(content, counts, written.EIGHT)


@pytest.mark.parametrize(
    ("order", "listed"),
    [((6, 3, 2), range(12)), ((2, 6, 3), (0, 6, 3, 2)), ((3, 6, 2), (0, 2, 3, 6)), ((2, 3, 6), (6, 3, 2, 0, 1, 9))],
)
def test_sections_stand_in_any_order(written, counts, order, listed):
    bodies = simple(counts, written.EIGHT, coder=own_coded) | {2: tables()}
    same(scp(bodies, order=order, listed=listed), counts, written.EIGHT)


@pytest.mark.parametrize("protocol", [0, 10, 11, 13, 20, 22, 23, 30, 31, 99])
def test_versions_of_the_protocol(written, counts, protocol):
    same(scp(simple(counts, written.EIGHT), protocol=protocol), counts, written.EIGHT)


def test_checksums_of_zero_are_none(written, counts):
    ecg = same(scp(simple(counts, written.EIGHT), crc=lambda value: 0), counts, written.EIGHT)
    assert any("no checksums" in note for note in ecg.notes)
    with pytest.raises(ECGReadError, match="CRC mismatch in: record, Section 0, Section 3, Section 6"):
        read_ecg(scp(simple(counts, written.EIGHT), crc=lambda value: value ^ 1))
    content = bytearray(scp(simple(counts, written.EIGHT), crc=lambda value: 0))
    content[-20:-18] = b"\x55\xaa"  # nothing can tell
    assert read_ecg(bytes(content)).leads == written.EIGHT
    content = bytearray(scp(simple(counts, written.EIGHT)))
    content[:2] = b"\0\0"  # the record's is none, the sections' still tell
    content[-20:-18] = b"\x55\xaa"
    with pytest.raises(ECGReadError, match="CRC mismatch in: Section 6"):
        read_ecg(bytes(content))


def test_more_leads_than_twelve(written):
    names = (*written.LEADS, "V7", "V8", "V9", "V3R", "V4R", "V5R", "V6R", "X", "Y", "Z")
    rows = np.vstack([written.microvolts(), 2 * written.microvolts()[: len(names) - 12]])
    same(scp(simple(rows, names)), rows, names)
    ecg = read_ecg(scp(simple(rows[:2], ("I", 150))))
    assert ecg.leads[0] == "I" and "150" in ecg.leads[1]


@pytest.mark.parametrize("coder", [plain, own_coded])
def test_leads_of_different_lengths_are_placed_in_time(written, counts, coder):
    """Three times four leads one after the other, and a lead that goes through; one that ends early."""
    ranges = [("I", 1, 600), ("V1", 1, 300), ("V2", 301, 600), ("V3", 101, 200), ("V4", 1, 599)]
    rows = [counts[row, start - 1 : end] for row, (_, start, end) in enumerate(ranges)]
    bodies = {3: leads(ranges), 6: samples(rows, coder=coder)} | ({2: tables()} if coder is own_coded else {})
    ecg = read_ecg(scp(bodies))
    assert ecg.leads == ("I", "V1", "V2", "V3", "V4") and ecg.n_samples == 600
    for row, (_, start, end) in enumerate(ranges):
        np.testing.assert_allclose(ecg.signal[row, start - 1 : end], rows[row] / 1000, atol=1e-6)
        assert np.isfinite(ecg.signal[row]).sum() == end - start + 1
    assert any("leads start at different times" in note for note in ecg.notes)
    shorter = {3: leads(ranges[::4]), 6: samples(rows[::4], coder=coder)}
    ecg = read_ecg(scp(bodies | shorter))
    assert np.isnan(ecg.signal[1, 599]) and np.isnan(ecg.signal).sum() == 1
    assert any("leads end at different times" in note for note in ecg.notes)


@pytest.mark.parametrize("bimodal", [0, 1])
def test_decimated_rhythm_of_bimodal_compression_is_refused_by_name(written, counts, bimodal):
    """Outside of QRS complexes the rhythm has every fourth sample, at a rate of its own."""
    beat, zones = counts[:, 60:160], struct.pack("<HHH", 200, 40, 1) + struct.pack("<HIIIII", 0, 61, 100, 160, 80, 120)
    few = counts[:, ::4]
    bodies = {
        3: leads([(name, 1, counts.shape[1]) for name in written.EIGHT], flags=0x04 | 8 << 3 & 0xF8 | 1),
        4: zones,
        5: samples(beat),
        6: samples(few, interval=8000, bimodal=bimodal),
    }
    with pytest.raises(ECGReadError, match="bimodal compression" if bimodal else "holds 150 samples, expected 600"):
        read_ecg(scp(bodies))


def test_long_term_rhythm_of_version_3_is_refused_by_name(written, counts):
    bodies = simple(counts, written.EIGHT)
    bodies[12] = bodies.pop(6)
    with pytest.raises(ECGReadError, match=r"long-term rhythm data \(Section 12"):
        read_ecg(scp(bodies, protocol=30, listed=range(19)))


def test_sections_of_makers_are_passed_over(written, counts):
    bodies = simple(counts, written.EIGHT) | {200: b"maker's own"}
    same(scp(bodies, listed=(*range(12), 200)), counts, written.EIGHT)


def test_healforce_is_named(written, counts, tmp_path):
    """Their recorders count bytes from 0 in section 0, and write samples in a way of their own."""
    content = scp(simple(counts, written.EIGHT), shift=-1)
    mixed = bytearray(content)
    mixed[28:32] = struct.pack("<I", 7)  # section 0 alone counted from 1
    for data in (content, bytes(mixed)):
        with pytest.raises(ECGReadError, match="HealForce.*EDF"):
            read_ecg(data)
    (tmp_path / "62.SCP").write_bytes(content[:8] + b"\xff\0" + content[10:])
    with pytest.raises(ECGReadError, match="called SCP-ECG.*HealForce"):
        read_ecg(tmp_path / "62.SCP")


@pytest.mark.parametrize("differences", [0, 2])
@pytest.mark.parametrize("order", [(2, 3, 4, 5, 6), (6, 5, 4, 3, 2)])
def test_reference_beats_under_tables_of_the_file(written, counts, differences, order):
    """The beat stands at three QRS complexes of two types; only those of type 0 were subtracted."""
    beat, fiducials = counts[:, 60:160], [(0, 100), (1, 250), (0, 471)]
    residual = counts.copy()
    zones = b""
    for kind, fiducial in fiducials:
        first = fiducial - 40
        if kind == 0:
            residual[:, first : first + 100] -= beat
        zones += struct.pack("<HIII", kind, first + 1, fiducial, first + 100)
    protected = b"".join(struct.pack("<II", fiducial - 20, fiducial + 20) for _, fiducial in fiducials)
    bodies = {
        2: tables(),
        3: leads([(name, 1, counts.shape[1]) for name in written.EIGHT], flags=0x04 | 8 << 3 & 0xF8 | 1),
        4: struct.pack("<HHH", 200, 40, 3) + zones + protected,
        5: samples(beat, coder=own_coded, differences=differences),
        6: samples(residual, coder=own_coded, differences=differences),
    }
    same(scp(bodies, order=order), counts, written.EIGHT)
