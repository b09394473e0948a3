"""EDF and EDF+: the parser of `ecgdatakit` with its faults put right.

Decided here: which contradictions between header and file mean damage, and that gaps between data records are told.
Source: https://www.edfplus.info/specs/edf.html
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from ecgdatakit.exceptions import CorruptedFileError
from ecgdatakit.parsing.parsers.edf import EDFParser as _EDFParser


class EDFParser(_EDFParser):
    """Says where each data record starts if an EDF+D file has gaps; the library joins the records end to end, so that
    beats on both sides of a gap seem to follow each other.

    Refuses headers that contradict the file, of which the library believes one: another length of the header, bytes
    behind the data records that are no record, digital limits that no sample of 16 bits has. Refuses bytes of 0 in
    numbers, too: the library takes "327" and two of them for 327, where 32767 was damaged."""

    def parse(self, file_path: Path) -> Any:
        _check(file_path.read_bytes())
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = super().parse(file_path)
        for message in caught:
            if "gaps between data records" in str(message.message):
                record.raw_metadata["ecgllm_record_onsets"] = record.raw_metadata["record_onsets"]
            else:
                warnings.warn_explicit(message.message, message.category, message.filename, message.lineno)
        return record


def _check(content: bytes) -> None:
    """Raises: CorruptedFileError. What is no number, and a file that is cut, the library refuses itself."""
    try:
        stated, records, signals = (int(content[start:end]) for start, end in ((184, 192), (236, 244), (252, 256)))
    except ValueError:
        return
    head = 256 * (signals + 1)
    if signals < 1 or len(content) < head:
        return
    # Of each signal 8 bytes a number, all signals' first number before their second.
    limits = content[256 + 104 * signals : 256 + 136 * signals]  # physical lowest, highest; digital lowest, highest
    samples = content[256 + 216 * signals : 256 + 224 * signals]
    if b"\0" in limits + samples:
        raise CorruptedFileError("has bytes of 0 within the numbers of its header")
    if stated != head:
        raise CorruptedFileError(f"states a header of {stated:,} bytes; its {signals:,} signals take {head:,}")
    try:
        digital, in_record = _numbers(limits[len(limits) // 2 :]), _numbers(samples)
    except ValueError:
        return
    if any(not -32768 <= limit <= 32767 for limit in digital):
        raise CorruptedFileError("has digital limits beyond -32768 and 32767, which samples of 16 bits never reach")
    record = 2 * sum(in_record)
    more = len(content) - head - records * record
    if records > 0 and record > 0 and more > 0 and more % record:
        raise CorruptedFileError(f"holds {more:,} bytes behind its {records:,} data records of {record:,} bytes each")


def _numbers(text: bytes) -> list[int]:
    return [int(text[place : place + 8]) for place in range(0, len(text), 8)]
