"""XLI, in which Philips' carts pack leads: packed bytes in, one array of samples per lead out, each unpacked once.

A chunk a lead: its length (int32), two bytes, the first delta (int16), then LZW codes of ten bits, most significant
bit first, from 256 on for strings and 1023 for the end. They give the high bytes of all words and then the low bytes;
the words are two samples and, from the third on, second differences that were turned about and shifted by 64.
Decided here: how much a lead may grow, and that nothing is built of codes that the dictionary does not hold.
"""

from __future__ import annotations

import numpy as np
from ecgdatakit.exceptions import CorruptedFileError

from ...limits import MAX_LEADS

_MAX_BYTES = 1 << 23  # of one lead, unpacked: two hours at 500 Hz
_HEADER, _BITS, _BIAS = 8, 10, 64
_LAST_CODE = (1 << _BITS) - 2


def unpack_xli(data: bytes) -> list[np.ndarray]:
    """The samples of each chunk, int64.

    Raises: CorruptedFileError for chunks that are cut, codes that mean nothing, more than `MAX_LEADS` chunks, and
        leads of more than `_MAX_BYTES`.
    """
    leads, place = [], 0
    while place < len(data):
        size = int.from_bytes(data[place : place + 4], "little", signed=True)
        start = place + _HEADER
        if not 0 < size <= len(data) - start:
            raise CorruptedFileError(f"packed lead {len(leads) + 1} is cut or damaged")
        first = int.from_bytes(data[place + 6 : start], "little", signed=True)
        words = _words(_strings(data[start : start + size]))
        if len(words) < 2:
            raise CorruptedFileError(f"packed lead {len(leads) + 1} holds fewer than two samples")
        leads.append(_samples(words, first))
        if len(leads) > MAX_LEADS:
            raise CorruptedFileError(f"packs more than {MAX_LEADS:,} leads")
        place = start + size
    return leads


def _strings(packed: bytes) -> bytes:
    """What the LZW codes spell."""
    bits = np.unpackbits(np.frombuffer(packed, np.uint8))
    codes = bits[: len(bits) // _BITS * _BITS].reshape(-1, _BITS) @ (1 << np.arange(_BITS - 1, -1, -1))
    strings = [bytes([value]) for value in range(256)]
    out, length, previous = [], 0, b""
    for code in codes.tolist():
        if code > _LAST_CODE:
            break
        if code < len(strings):
            string = strings[code]
        elif code == len(strings) and previous:  # the string that this very code completes
            string = previous + previous[:1]
        else:
            raise CorruptedFileError("a packed lead holds a code that its dictionary does not")
        length += len(string)
        if length > _MAX_BYTES:
            raise CorruptedFileError(
                f"a packed lead grows beyond {_MAX_BYTES:,} bytes. Do not trust this file; a real one holds seconds "
                "to minutes"
            )
        out.append(string)
        if previous and len(strings) <= _LAST_CODE:
            strings.append(previous + string[:1])
        previous = string
    return b"".join(out)


def _words(unpacked: bytes) -> np.ndarray:
    """int16 of high bytes and low bytes; where the number of bytes is odd, a low byte of 0 is added."""
    values = np.frombuffer(unpacked + b"\0" * (len(unpacked) % 2), np.uint8).astype(np.uint16)
    half = len(values) // 2
    return (values[:half] << 8 | values[half:]).view(np.int16)


def _samples(words: np.ndarray, first: int) -> np.ndarray:
    """x[0], x[1], then x[n] = 2 x[n-1] - x[n-2] - d[n-1]; d[1] is `first`, later ones are words less the bias."""
    deltas = words[1:-1].astype(np.int64) - _BIAS
    if len(deltas):
        deltas[0] = first
    slope = int(words[1]) - int(words[0]) - np.cumsum(deltas)
    return np.concatenate([words[:2].astype(np.int64), int(words[1]) + np.cumsum(slope)])
