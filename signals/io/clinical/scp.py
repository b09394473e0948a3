"""SCP-ECG: the parser of `ecgdatakit` with its faults put right.

Decided here: which samples a lead's range means where it does not count from 1, how many bytes a lead takes that is
longer than its 16-bit length field can say, and which checksums count.
"""

from __future__ import annotations

import binascii
from typing import Any

import numpy as np
from ecgdatakit.exceptions import ChecksumWarning, CorruptedFileError, UnsupportedFormatError
from ecgdatakit.parsing.parsers.scp_ecg import (
    SCPECGParser,
    _huffman_decode,
    _LeadDef,
    _u16,
    _u32,
    _undo_differences,
)

_LAST_SECTION = 11  # makers' own sections behind it have headers of their own
_WRAP = 1 << 16  # lengths of leads are written in 16 bits


class SCPParser(SCPECGParser):
    """Refuses lengths that the file cannot hold. The library allocates eight bytes for every sample that the header
    promises, up to 34 GB a lead, before it looks for them.

    Reads ranges that start at sample 0, as SCP-ECG 1.3 of some devices has, where the bytes of the leads say how
    many samples are meant; and leads of more than 65,535 bytes, whose length is written modulo 65,536.

    Takes a checksum of 0 for none, as writers leave it that compute none. Leads bear their first sample wherever
    their ranges differ, so that one that ends early is placed in time like one that starts late."""

    def _verify_crcs(self, ctx: Any) -> bool:
        content, none, wrong = ctx.data, [], []
        parts = {"record": content} | {
            f"Section {number}": content[section.offset : section.offset + section.length]
            for number, section in sorted(ctx.sections.items())
            if number <= _LAST_SECTION
        }
        for part, held in parts.items():
            stated = _u16(held, 0)
            if stated != binascii.crc_hqx(held[2:], 0xFFFF):
                (wrong if stated else none).append(part)
        if wrong:
            ctx.warn(f"SCP-ECG CRC mismatch in: {', '.join(wrong)}", ChecksumWarning)
        if none:
            ctx.warn(f"it holds no checksums (0) of: {', '.join(none)}; damage there cannot be told")
        return not wrong

    def _parse_section6(self, ctx: Any, record: Any, median: Any) -> None:
        super()._parse_section6(ctx, record, median)
        if len({(lead.start, lead.end) for lead in ctx.leads}) > 1:
            for lead, stated in zip(record.leads, ctx.leads, strict=True):
                lead.annotations["start_sample"] = str(stated.start)

    def _parse_section3(self, ctx: Any) -> None:
        body = ctx.sections[3].body(ctx.data)
        count = body[0] if len(body) >= 2 else 0
        ranges = [
            (_u32(body, 2 + 9 * lead), _u32(body, 6 + 9 * lead), body[10 + 9 * lead])
            for lead in range(min(count, (len(body) - 2) // 9))
        ]
        if len(ranges) == count and any(start == 0 for start, _, _ in ranges):
            ctx.lead_flags = body[1]
            ctx.leads = self._from_zero(ctx, ranges)
        else:
            super()._parse_section3(ctx)
        longest = max(lead.count for lead in ctx.leads)
        if longest > 8 * len(ctx.data):  # a Huffman code has at least one bit
            raise CorruptedFileError(f"promises {longest:,} samples a lead in a file of {len(ctx.data):,} bytes")

    @staticmethod
    def _from_zero(ctx: Any, ranges: list[tuple[int, int, int]]) -> list[Any]:
        """Ranges "0 to n": n samples, or n + 1, whichever the leads' bytes hold."""
        if any(start for start, _, _ in ranges) or len({end for _, end, _ in ranges}) != 1 or 6 not in ctx.sections:
            raise CorruptedFileError("some of its leads start at sample 0, others not; expected all to start at 1")
        if ctx.tables is not None:
            raise UnsupportedFormatError(
                "its leads start at sample 0 and are Huffman-coded, so that their length cannot be told; expected 1"
            )
        end, body = ranges[0][1], ctx.sections[6].body(ctx.data)
        sizes = (
            {_u16(body, 6 + 2 * lead) for lead in range(len(ranges))} if len(body) >= 6 + 2 * len(ranges) else set()
        )
        for samples in (end, end + 1):
            if samples and sizes == {2 * samples % _WRAP}:
                ctx.warn(f"leads are given as samples 0 to {end:,} and hold {samples:,}; all {samples:,} were read")
                return [_LeadDef(1, samples, code) for _, _, code in ranges]
        raise CorruptedFileError(
            f"its leads are given as samples 0 to {end:,} and hold {', '.join(f'{size:,}' for size in sorted(sizes))} "
            f"bytes; expected {2 * end:,} or {2 * end + 2:,}"
        )

    def _decode_leads(self, ctx: Any, sid: int, counts: list[int] | None) -> Any:
        section, leads = ctx.sections[sid], len(ctx.leads)
        body = section.body(ctx.data)
        start = 6 + 2 * leads
        if len(body) < start or counts is None:
            return super()._decode_leads(ctx, sid, counts)
        sizes = [_u16(body, 6 + 2 * lead) for lead in range(leads)]
        missing = len(body) - start - sum(sizes)
        if missing < _WRAP:
            return super()._decode_leads(ctx, sid, counts)
        if body[4] not in (0, 1, 2):
            raise CorruptedFileError(f"section {sid} has the unknown difference encoding {body[4]}")
        rows = []
        for size, count in zip(sizes, counts, strict=True):
            if ctx.tables is None:
                if (2 * count - size) % _WRAP:
                    raise CorruptedFileError(f"a lead of {count:,} samples has {size:,} bytes, modulo {_WRAP:,}")
                size = 2 * count
                if start + size > len(body):
                    raise CorruptedFileError(f"section {sid} is shorter than its leads")
                values = np.frombuffer(body, dtype="<i2", count=count, offset=start).astype(np.int64)
            else:
                # At least a bit a sample; the smallest length of that remainder that holds them all.
                size += max(0, -(-(count // 8 - size) // _WRAP)) * _WRAP
                while True:
                    try:
                        values = _huffman_decode(body[start : start + size], count, ctx.tables, f"section {sid}")
                        break
                    except CorruptedFileError as error:
                        if "data ends" not in str(error) or start + size + _WRAP > len(body):
                            raise
                        size += _WRAP
            rows.append(_undo_differences(values, body[4]))
            start += size
        if len(body) - start > 1:  # a byte may fill up
            raise CorruptedFileError(f"section {sid} holds {len(body) - start:,} bytes beyond its leads")
        return _u16(body, 0), _u16(body, 2), body[4], body[5], rows
