"""The parsers of `ecgdatakit` as this package uses them: the library's own, with its faults put right.

Importing this module needs the extra `formats`. Each class corrects one fault, named in its docstring, that a test
holds; `check_content` refuses what would take memory or time before a parser sees it.
Written against ecgdatakit 2.0.3.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any

from ecgdatakit.exceptions import CorruptedFileError
from ecgdatakit.parsing.codecs.lzw import LzwDecoder
from ecgdatakit.parsing.parser import Parser
from ecgdatakit.parsing.parsers.alivecor_kardia import AliveCorKardiaParser
from ecgdatakit.parsing.parsers.dicom_waveform import DICOMWaveformParser, _import_pydicom
from ecgdatakit.parsing.parsers.edf import EDFParser
from ecgdatakit.parsing.parsers.ge_muse_xml import GEMuseXMLParser
from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser
from ecgdatakit.parsing.parsers.ishne_holter import ISHNEHolterParser
from ecgdatakit.parsing.parsers.mfer import MFERParser
from ecgdatakit.parsing.parsers.scp_ecg import SCPECGParser
from ecgdatakit.parsing.parsers.sierra_xml import SierraXMLParser

from .detection import decode_head
from .record import ECGReadError

_XML = ("muse", "sierra", "hl7")
_ENTITY = re.compile(r"<!ENTITY\b", re.IGNORECASE)
_MUSE_RATE = re.compile(r"<SampleBase>\s*([^<\s]+)\s*<.*?<SampleExponent>\s*([^<\s]+)\s*<", re.DOTALL)
_WAVEFORMS = re.compile(r"<parsedwaveforms\b([^>]*)>([^<]*)<", re.DOTALL)
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # DICOM's Deflated Explicit VR Little Endian
_MAX_XLI_BYTES = 1 << 23  # of one lead, unpacked: two hours at 500 Hz
_MAX_CHANNELS = 1024


def check_content(format: str, source: Path | bytes, name: str) -> None:
    """Refuse, before it is parsed, a file that expands when it is.

    Raises: ECGReadError for entity declarations in XML ("billion laughs", external files), deflated DICOM, and
    packed waveforms of more than `_MAX_XLI_BYTES` a lead.
    """
    if format == "dicom" and _DEFLATED in _first(source, 4096):
        raise ECGReadError(
            f"{name}: is a deflated DICOM file, whose size in memory cannot be known before. Unpack it first, for "
            "instance with dcmconv +te."
        )
    if format not in _XML:
        return
    content = _first(source)
    text = decode_head(content) or content.decode("latin-1")
    if _ENTITY.search(text):
        raise ECGReadError(
            f"{name}: declares XML entities, which no ECG export does and which can fill all memory or read other "
            "files. Do not trust this file."
        )
    if format == "sierra":
        waveforms = _WAVEFORMS.search(text)
        if waveforms and "XLI" in waveforms[1].upper():
            _check_xli(waveforms[2], name)
    if format == "muse":
        for base, exponent in _MUSE_RATE.findall(text):
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


def _first(source: Path | bytes, count: int = -1) -> bytes:
    if isinstance(source, bytes):
        return source if count < 0 else source[:count]
    with source.open("rb") as file:
        return file.read(count)


def _check_xli(text: str, name: str) -> None:
    """Unpack the chunks as the library will, holding no more than one string of the dictionary at a time."""
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return  # the parser says what is wrong
    start = 0
    while start + 8 <= len(data):
        size = int.from_bytes(data[start : start + 4], "little", signed=True)
        if size <= 0:
            return
        decoder = LzwDecoder(data[start + 8 : start + 8 + size], bits=10)
        unpacked = 0
        while length := _next_length(decoder):
            unpacked += length
            if unpacked > _MAX_XLI_BYTES:
                raise ECGReadError(
                    f"{name}: a packed lead grows beyond {_MAX_XLI_BYTES:,} bytes. Do not trust this file; a real one "
                    "holds seconds to minutes."
                )
        start += 8 + size


def _next_length(decoder: LzwDecoder) -> int:
    try:
        return len(decoder._read_next_string())
    except CorruptedFileError:
        return 0  # the parser says what is wrong


class _DICOM(DICOMWaveformParser):
    """Reads from memory: pydicom asks the file for as many bytes as a damaged length says, and a file object sets up
    to 4 GB aside before it finds that there are fewer; bytes in memory do not.

    Takes the longest group that is no median beat. The library takes the first whose label does not say "median",
    "representative" or "average"; where a cart leaves the label out and writes the beat first, it is taken for the
    ECG. Also passes on the exact rate, which the library rounds on its leads."""

    def parse(self, file_path: Path) -> Any:
        dataset = _import_pydicom().dcmread(io.BytesIO(file_path.read_bytes()))
        return self._parse_dataset(dataset, file_path)

    def _parse_dataset(self, ds: Any, file_path: Path) -> Any:
        groups = ds.get("WaveformSequence")
        if groups:

            def duration(group: Any) -> float:
                try:
                    return int(group.NumberOfWaveformSamples) / float(group.SamplingFrequency)
                except (AttributeError, TypeError, ValueError, ZeroDivisionError):
                    return 0.0

            groups[:] = sorted(groups, key=duration, reverse=True)
        record = super()._parse_dataset(ds, file_path)
        found = record.raw_metadata["multiplex_groups"]
        shape = (len(record.leads), len(record.leads[0].samples)) if record.leads else None
        for group in found:
            if (group["channels"], group["samples"]) == shape:
                record.raw_metadata["rhythm_sampling_frequency"] = group["sampling_frequency"]
                break
        return record

    def _read_group(self, wf: Any, index: int, little_endian: bool) -> dict | None:
        channels = int(wf.get("NumberOfWaveformChannels") or 0)
        if channels > _MAX_CHANNELS:
            raise CorruptedFileError(f"{channels:,} channels in one group; at most {_MAX_CHANNELS:,} are read")
        return super()._read_group(wf, index, little_endian)


class _SCP(SCPECGParser):
    """Refuses lengths that the file cannot hold. The library allocates eight bytes for every sample that the header
    promises, up to 34 GB a lead, before it looks for them."""

    def _parse_section3(self, ctx: Any) -> None:
        super()._parse_section3(ctx)
        longest = max(lead.count for lead in ctx.leads)
        if longest > 8 * len(ctx.data):  # a Huffman code has at least one bit
            raise CorruptedFileError(f"promises {longest:,} samples a lead in a file of {len(ctx.data):,} bytes")


class _MFER(MFERParser):
    """Refuses thousands of channels. The library builds a NumPy type with a field for each, which takes minutes."""

    def _add_frame(self, wav: bytes) -> None:
        if self._state.channels > _MAX_CHANNELS:
            raise CorruptedFileError(f"{self._state.channels:,} channels; at most {_MAX_CHANNELS:,} are read")
        super()._add_frame(wav)


class _Sierra(SierraXMLParser):
    """Says when samples are left over. The library cuts the data at the promised duration without a word."""

    def _read_leads(self, parsed: object, signal_node: object) -> list[Any]:
        leads = super()._read_leads(parsed, signal_node)
        self._stored = None
        if isinstance(parsed, dict) and parsed.get("@dataencoding") == "Base64" and "#text" in parsed:
            compression = str(parsed.get("@compression") or parsed.get("@compressmethod") or "")
            if compression.lower() in ("", "none", "uncompressed"):
                self._stored = len(base64.b64decode("".join(parsed["#text"].split()))) // 2
        return leads

    def parse(self, file_path: Path) -> Any:
        record = super().parse(file_path)
        read = sum(len(lead.samples) for lead in record.leads)
        if self._stored is not None and self._stored > read:
            record.raw_metadata["ecgllm_unread"] = (
                f"{self._stored - read} samples beyond the duration that the file states were not read"
            )
        return record


PARSERS: dict[str, type[Parser]] = {
    "dicom": _DICOM,
    "muse": GEMuseXMLParser,
    "sierra": _Sierra,
    "hl7": HL7aECGParser,
    "scp": _SCP,
    "edf": EDFParser,
    "ishne": ISHNEHolterParser,
    "mfer": _MFER,
    "kardia": AliveCorKardiaParser,
}
