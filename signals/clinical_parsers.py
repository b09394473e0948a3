"""The parsers of `ecgdatakit` as this package uses them: the library's own, with its faults put right.

Importing this module needs the extra `formats`. Each class corrects one fault, named in its docstring, that a test
holds; `check_content` refuses what would take memory or time before a parser sees it.
Written against ecgdatakit 2.0.3.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ecgdatakit.exceptions import CorruptedFileError
from ecgdatakit.models import _normalize_unit
from ecgdatakit.parsing.parser import Parser
from ecgdatakit.parsing.parsers.alivecor_kardia import AliveCorKardiaParser
from ecgdatakit.parsing.parsers.dicom_waveform import DICOMWaveformParser, _import_pydicom
from ecgdatakit.parsing.parsers.edf import EDFParser
from ecgdatakit.parsing.parsers.ge_muse_xml import GEMuseXMLParser
from ecgdatakit.parsing.parsers.hl7_aecg import HL7aECGParser, _attr, _child, _float
from ecgdatakit.parsing.parsers.ishne_holter import ISHNEHolterParser
from ecgdatakit.parsing.parsers.mfer import MFERParser

from ..signal_ecgllm import LEADS
from .detection import decode_head
from .dicom_padding import padded
from .limits import MAX_LEADS
from .record import ECGReadError, known_lead_name
from .scp_parser import SCPParser
from .sierra_parser import SierraParser

_XML = ("muse", "sierra", "hl7")
_ENTITY = re.compile(r"<!ENTITY\b", re.IGNORECASE)
_MUSE_BASE = re.compile(r"<SampleBase>([^<]*)<")
_MUSE_EXPONENT = re.compile(r"<SampleExponent>([^<]*)<")
_DEFLATED = b"1.2.840.10008.1.2.1.99"  # DICOM's Deflated Explicit VR Little Endian
_UNDEFINED_LENGTH = 0xFFFFFFFF


def check_content(format: str, source: Path | bytes, name: str) -> None:
    """Refuse, before it is parsed, a file that expands when it is.

    Raises: ECGReadError for entity declarations in XML ("billion laughs", external files) and deflated DICOM.
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


def _first(source: Path | bytes, count: int = -1) -> bytes:
    if isinstance(source, bytes):
        return source if count < 0 else source[:count]
    with source.open("rb") as file:
        return file.read(count)


def _muse_rates(text: str) -> Iterator[tuple[str, str]]:
    """(base, exponent) of each rate that MUSE's XML states; each character is looked at once."""
    place = 0
    while (base := _MUSE_BASE.search(text, place)) and (exponent := _MUSE_EXPONENT.search(text, base.end())):
        yield base[1], exponent[1]
        place = exponent.end()


def _take_padding(group: Any, little_endian: bool) -> float | None:
    """Remove a group's padding value, so that the library does not apply it, and return it; None where it has none or
    its samples are companded."""
    kinds = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}
    kind, value = kinds.get(str(group.get("WaveformSampleInterpretation"))), group.get("WaveformPaddingValue")
    if kind is None or not isinstance(value, bytes) or len(value) < int(kind[1]):
        return None
    del group.WaveformPaddingValue
    return float(np.frombuffer(value, dtype=f"{'<' if little_endian else '>'}{kind}", count=1)[0])


class _DICOM(DICOMWaveformParser):
    """Reads from memory: pydicom asks the file for as many bytes as a damaged length says, and a file object sets up
    to 4 GB aside before it finds that there are fewer; bytes in memory do not.

    Refuses a sequence of groups that ends with the file, of which pydicom drops the last groups without a word; and
    groups that hold more samples or fewer channel definitions than they promise, of which the library gives the leads
    each other's samples or names.

    Takes for padding what `dicom_padding` says, not every sample of the padding value, which may be 0.

    Takes a lead's name from its channel label where its coded source is none of a standard lead.

    Joins the groups over which carts spread the leads; the library reads the first group alone, in whatever order
    they stand. Notes on that are left in raw_metadata["ecgllm_notes"], the exact rate, which the library rounds on
    its leads, in raw_metadata["rhythm_sampling_frequency"]."""

    def parse(self, file_path: Path) -> Any:
        content = file_path.read_bytes()
        dataset = _import_pydicom().dcmread(io.BytesIO(content))
        if "WaveformSequence" in dataset:
            start = dataset["WaveformSequence"].file_tell or 0  # the element's value; its length stands before it
            length = int.from_bytes(content[start - 4 : start], "little" if self._is_little_endian(dataset) else "big")
            if length != _UNDEFINED_LENGTH and start + length > len(content):
                raise CorruptedFileError(
                    f"its waveforms take {length:,} bytes, the file holds {len(content) - start:,} of them"
                )
        return self._parse_dataset(dataset, file_path)

    def _parse_dataset(self, ds: Any, file_path: Path) -> Any:
        self._groups: list[dict] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = super()._parse_dataset(ds, file_path)
        for message in caught:
            if "additional multiplex group" not in str(message.message):  # `join_groups` says which
                warnings.warn_explicit(message.message, message.category, message.filename, message.lineno)
        rhythm = [group for group in self._groups if not group["is_median"]]
        if rhythm:
            record.leads, notes = join_groups(rhythm)
            for padding, missing, kept in (group["padded"] for group in rhythm):
                if kept:
                    notes.append(
                        f"the padding value is {padding:g}, which {kept} samples hold as a voltage, too: {missing} in "
                        "runs at an end, or unlike the samples near them, were taken for padding, the others were kept"
                    )
            record.raw_metadata["ecgllm_notes"] = notes
            longest = max(rhythm, key=_seconds)
            record.raw_metadata["rhythm_sampling_frequency"] = longest["sampling_frequency"]
            record.recording.acquisition.filters = longest["filters"]
        return record

    def _read_channel(self, ch_def: Any, index: int, values: Any, rate: int) -> tuple[Any, str, dict]:
        if self._padding is not None:
            missing = padded(values, self._padding, rate)
            self._padded[0] += int(missing.sum())
            self._padded[1] += int((values == self._padding).sum()) - int(missing.sum())
            values = np.where(missing, np.nan, values)
        lead, label, filters = super()._read_channel(ch_def, index, values, rate)
        own = known_lead_name(str((ch_def.get("ChannelLabel") if ch_def is not None else None) or ""))
        # Some carts code no source, or one of their own, and name the lead beside it.
        return lead, own if own in LEADS and known_lead_name(label) not in LEADS else label, filters

    def _read_group(self, wf: Any, index: int, little_endian: bool) -> dict | None:
        channels = int(wf.get("NumberOfWaveformChannels") or 0)
        if channels > MAX_LEADS:
            raise CorruptedFileError(f"{channels:,} channels in one group; at most {MAX_LEADS:,} are read")
        self._padding, self._padded = _take_padding(wf, little_endian), [0, 0]
        group = super()._read_group(wf, index, little_endian)
        if group is not None:
            group["padded"] = (self._padding, *self._padded)
            defined = len(wf.get("ChannelDefinitionSequence") or ())
            if defined != channels:
                raise CorruptedFileError(f"group {index + 1} has {channels} channels and defines {defined}")
            bits = int(wf.WaveformBitsAllocated)
            promised, held = channels * group["num_samples"] * bits // 8, len(wf.WaveformData)
            if held > promised + 1:  # a byte may fill up to an even number
                raise CorruptedFileError(
                    f"group {index + 1} promises {channels} channels x {group['num_samples']:,} samples = "
                    f"{promised:,} bytes and holds {held:,}"
                )
            offset = wf.get("MultiplexGroupTimeOffset")
            group["offset_ms"] = None if offset is None else float(offset)
            self._groups.append(group)
        return group


def join_groups(groups: list[dict]) -> tuple[list[Any], list[str]]:
    """The leads of DICOM's multiplex groups as one recording, and what is to be said of it.

    The longest group is the recording. Another joins it if it has the same rate, leads that are not yet there, and
    the same start and length, or a start of its own that the file states; its leads then bear "start_sample" (from
    1). All others are left out, and named. An unlabelled median beat repeats the leads and so is left out, too.
    """
    groups = sorted(groups, key=_seconds, reverse=True)  # stable: of equal ones the first in the file
    first, rate = groups[0], groups[0]["sampling_frequency"]
    joined, notes = [first], []
    for group in groups[1:]:
        there = {known_lead_name(lead.label) for other in joined for lead in other["leads"]}
        leads = [lead.label for lead in group["leads"]]
        offsets = first["offset_ms"], group["offset_ms"]
        together = group["num_samples"] == first["num_samples"] and offsets[0] == offsets[1]
        placed = None not in offsets and offsets[0] != offsets[1]
        reason = None
        if group["sampling_frequency"] != rate:
            reason = f"its rate is {group['sampling_frequency']:g} Hz, not {rate:g} Hz"
        elif there & {known_lead_name(label) for label in leads}:
            reason = "it repeats leads"
        elif not (together or placed):
            reason = "its length differs and no start in time is stated"
        if reason is None:
            joined.append(group)
        else:
            described = f"{', '.join(leads)}, {_seconds(group):.2f} s"
            notes.append(f"group {group['index']} of the file ({described}) was left out: {reason}")
    if len(joined) > 1:
        numbers = ", ".join(str(group["index"]) for group in sorted(joined, key=lambda group: group["index"]))
        stated = "" if first["offset_ms"] is not None else "; no start is stated, they were taken as simultaneous"
        notes.append(f"the leads of groups {numbers} of the file were joined{stated}")
        earliest = min(group["offset_ms"] or 0.0 for group in joined)
        for group in joined:
            start = round(((group["offset_ms"] or 0.0) - earliest) / 1000 * rate) + 1
            for lead in group["leads"]:
                lead.annotations["start_sample"] = str(start)
    in_order = sorted(joined, key=lambda group: group["index"])
    return [lead for group in in_order for lead in group["leads"]], notes


def _seconds(group: dict) -> float:
    return group["num_samples"] / group["sampling_frequency"]


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


class _HL7(HL7aECGParser):
    """Refuses a lead without a readable scale or origin. The library reads a scale of "5,0" as none and then counts
    each digit as one microvolt, and an origin in a unit that it does not know as one in the scale's."""

    @staticmethod
    def _make_lead(label: str, samples: Any, value: Any, rate: int) -> Any:
        for part in ("scale", "origin"):
            element = _child(value, part)
            number, unit = _attr(element, "value"), _attr(element, "unit")
            if (part == "scale" or number) and _float(number) is None:
                raise CorruptedFileError(f"lead {label} has the {part} {number or 'none'}; expected a number")
            if part == "origin" and unit and _normalize_unit(unit) is None and _float(number):
                raise CorruptedFileError(f"lead {label} has an {part} in {unit}; expected uV or mV")
        return HL7aECGParser._make_lead(label, samples, value, rate)


class _EDF(EDFParser):
    """Says where each data record starts if an EDF+D file has gaps; the library joins the records end to end, so that
    beats on both sides of a gap seem to follow each other."""

    def parse(self, file_path: Path) -> Any:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            record = super().parse(file_path)
        for message in caught:
            if "gaps between data records" in str(message.message):
                record.raw_metadata["ecgllm_record_onsets"] = record.raw_metadata["record_onsets"]
            else:
                warnings.warn_explicit(message.message, message.category, message.filename, message.lineno)
        return record


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
    "dicom": _DICOM,
    "muse": GEMuseXMLParser,
    "sierra": SierraParser,
    "hl7": _HL7,
    "scp": SCPParser,
    "edf": _EDF,
    "ishne": _ISHNE,
    "mfer": _MFER,
    "kardia": AliveCorKardiaParser,
}
