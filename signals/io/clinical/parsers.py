"""The parsers of `ecgdatakit` as this package uses them: the library's own, with its faults put right.

Importing this module needs the extra `formats`. Each class corrects one fault, named in its docstring, that a test
holds; `check_content` refuses what would take memory or time before a parser sees it.
Written against ecgdatakit 2.0.3.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ecgdatakit.exceptions import CorruptedFileError
from ecgdatakit.parsing.parser import Parser
from ecgdatakit.parsing.parsers.alivecor_kardia import AliveCorKardiaParser
from ecgdatakit.parsing.parsers.ishne_holter import ISHNEHolterParser
from ecgdatakit.parsing.parsers.mfer import MFERParser

from ...limits import MAX_LEADS
from ...record import ECGReadError
from ..detection import decode_head
from .dicom import DICOMParser
from .edf import EDFParser
from .hl7 import HL7Parser
from .muse import MuseParser
from .scp import SCPParser
from .sierra import SierraParser

_XML = ("muse", "sierra", "hl7")
_ENTITY = re.compile(r"<!ENTITY\b", re.IGNORECASE)
_DECLARATION = re.compile(r"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.-]+)[\"'][^>]{0,200}\?>")
_AECG_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]{0,50}:)?AnnotatedECG\b")
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_MUSE_BASE = re.compile(r"<SampleBase>([^<]*)<")
_MUSE_EXPONENT = re.compile(r"<SampleExponent>([^<]*)<")
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # DICOM's Deflated Explicit VR Little Endian
_EXPLICIT = b"1.2.840.10008.1.2.1"
_MAX_INFLATED_BYTES = 1 << 28


def check_content(format: str, source: Path | bytes, name: str) -> Path | bytes:
    """Refuse, before it is parsed, a file that expands when it is.

    Returns: the source; deflated DICOM inflated; XML that declares UTF-16 and is none as UTF-8 (programs write it
        into a string, which is UTF-16 to them, and then save it otherwise); and aECG that uses the prefix xsi
        without declaring it with the declaration.
    Raises: ECGReadError for entity declarations in XML ("billion laughs", external files) and deflated DICOM of more
        than `_MAX_INFLATED_BYTES`.
    """
    if format == "dicom" and _DEFLATED in _first(source, 4096):
        return _inflated(_first(source), name)
    if format not in _XML:
        return source
    content = _first(source)
    text = decode_head(content) or content.decode("latin-1")
    if _ENTITY.search(text):
        raise ECGReadError(
            f"{name}: declares XML entities, which no ECG export does and which can fill all memory or read other "
            "files. Do not trust this file."
        )
    if format == "muse":
        for base, exponent in _muse_rates(text):
            # The library rounds the rate to a whole number without a word.
            try:
                rate = float(base) * 10 ** float(exponent)
            except (ValueError, OverflowError):
                continue
            if rate != round(rate, 6) or rate % 1:
                raise ECGReadError(
                    f"{name}: has the sampling rate {rate:g} Hz, which is no whole number and would be rounded. "
                    "Export it again at a whole rate."
                )
    if format == "hl7" and "xsi:" in text and "xmlns:xsi" not in text:
        text, added = _AECG_ROOT.subn(rf'\g<0> xmlns:xsi="{_XSI}"', text, count=1)
        declared = _DECLARATION.match(text)
        return text[declared.end() if declared else 0 :].encode() if added else source
    declared = _DECLARATION.match(text)
    if declared and declared[1].lower().startswith("utf-16") and b"\0" not in content[:100]:
        return text[declared.end() :].encode()
    return source


def _first(source: Path | bytes, count: int = -1) -> bytes:
    if isinstance(source, bytes):
        return source if count < 0 else source[:count]
    with source.open("rb") as file:
        return file.read(count)


def _inflated(content: bytes, name: str) -> bytes:
    """Deflated DICOM as explicit little endian: what stands behind the meta elements, whose length the first of them
    says, is one raw deflate stream (PS3.5, A.5)."""
    meta = 144 + int.from_bytes(content[140:144], "little")
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        dataset = unpacker.decompress(content[meta:], _MAX_INFLATED_BYTES)
    except zlib.error as error:
        raise ECGReadError(
            f"{name}: is a deflated DICOM file that cannot be unpacked ({error}). Copy it again."
        ) from error
    if unpacker.unconsumed_tail:
        raise ECGReadError(
            f"{name}: is a deflated DICOM file that grows beyond {_MAX_INFLATED_BYTES:,} bytes. If you trust it, "
            "unpack it first, for instance with dcmconv +te."
        )
    if not unpacker.eof:
        raise ECGReadError(f"{name}: is a deflated DICOM file that ends before its end. It was cut; copy it again.")
    return content[:meta].replace(_DEFLATED, _EXPLICIT.ljust(len(_DEFLATED), b"\0")) + dataset


def _muse_rates(text: str) -> Iterator[tuple[str, str]]:
    """(base, exponent) of each rate that MUSE's XML states; each character is looked at once."""
    place = 0
    while (base := _MUSE_BASE.search(text, place)) and (exponent := _MUSE_EXPONENT.search(text, base.end())):
        yield base[1], exponent[1]
        place = exponent.end()


class _MFER(MFERParser):
    """Refuses thousands of channels: the library builds a NumPy type with a field for each, which takes minutes. Also
    refuses samples beyond those that a frame's definition takes, which the library leaves out without a word."""

    def _add_frame(self, wav: bytes) -> None:
        if self._state.channels > MAX_LEADS:
            raise CorruptedFileError(f"{self._state.channels:,} channels; at most {MAX_LEADS:,} are read")
        super()._add_frame(wav)
        frame = self._frames[-1]
        read = sum(len(row) * kind.itemsize for row, kind in zip(frame["channels"], frame["dtypes"], strict=True))
        if len(wav) > read + 1:  # a byte may fill up
            raise CorruptedFileError(f"a frame holds {len(wav):,} bytes of samples, its definition takes {read:,}")


class _ISHNE(ISHNEHolterParser):
    """Refuses a number of leads that makes the samples a whole multiple of what the header promises, such as two leads
    for the samples of three: the library deals them to the wrong leads."""

    def parse(self, file_path: Path) -> Any:
        record = super().parse(file_path)
        promised, leads = record.raw_metadata["ecg_size"], len(record.leads)
        rows, rest = divmod(record.raw_metadata["samples_per_lead"] * leads, promised) if promised > 0 else (0, 1)
        if not rest and rows > 1 and rows != leads:
            raise CorruptedFileError(f"names {leads} leads and holds {rows} x {promised:,} samples")
        return record


PARSERS: dict[str, type[Parser]] = {
    "dicom": DICOMParser,
    "muse": MuseParser,
    "sierra": SierraParser,
    "hl7": HL7Parser,
    "scp": SCPParser,
    "edf": EDFParser,
    "ishne": _ISHNE,
    "mfer": _MFER,
    "kardia": AliveCorKardiaParser,
}
