"""Philips Sierra XML: the parser of `ecgdatakit` with its faults put right.

Decided here: which stored channels are the named leads, and when names and channels contradict each other.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from ecgdatakit.exceptions import CorruptedFileError, UnsupportedFormatError
from ecgdatakit.parsing.parsers.sierra_xml import (
    SierraXMLParser,
    _compression,
    _decode_base64,
    _decode_plain,
    _get,
    _rebuild_limb_leads,
    _text,
    _to_float,
)

from ....signal_ecgllm import LEADS
from ...quotes import NOT_SHOWN
from .xli import unpack_xli

_HIGHEST_INT16 = 32767
_KNOWN_WORD = re.compile(
    r"[\d.]+|Files|of|type|(?:Sierra|Philips)ECG|are|unsupported:?|Compression|XLI|data|with|encoding|Base64|Plain|is|"
    r"Waveform|Representative|beat|missing",
    re.IGNORECASE,
)


class SierraParser(SierraXMLParser):
    """Refuses headers that contradict each other, of which the library believes one without a word, numbers that it
    would round or take for 0, and fewer names than leads, which gives the later leads their neighbours' names. Says
    when samples are left over: the library cuts the data at the stated duration in silence. Where leads stand one
    behind the other, unpacked, it cuts each lead at the wrong place then; that is refused.

    Carts store 16 channels and name 12: those behind the twelve standard leads hold no lead, only the calibration
    pulse, and are left out with a note. Packed III, aVR, aVL and aVF are stored as differences from what I and II
    give, which is known for the standard order alone: other names are refused."""

    def _read_leads(self, parsed: object, signal_node: object) -> list[Any]:
        stated = parsed if isinstance(parsed, dict) else {}
        self._notes: list[str] = []
        _check_agreement(stated, signal_node)
        packed = bool(_compression(parsed))
        labels = self._rhythm_labels(parsed, signal_node)
        if packed and labels[:6] != list(LEADS[:6]):
            raise CorruptedFileError(
                f"packs the leads {', '.join(labels)}; expected them to begin with {', '.join(LEADS[:6])}, without "
                "which the limb leads' packed differences cannot be undone. Export it unpacked"
            )
        rest: list[np.ndarray] = []
        if packed:
            parsed, rest, longer = self._unpacked(stated, signal_node, labels)
        leads = super()._read_leads(parsed, signal_node)
        samples = len(leads[0].samples)
        if packed:
            self._judge_rest(leads, len(leads) + len(rest), rest)
            self._note_longer(longer)
        else:
            counts = _unpacked(parsed, str(stated.get("@dataencoding")))
            whole, more = divmod(len(counts) - len(leads) * samples, samples)
            rest = list(counts[len(leads) * samples :][: whole * samples].reshape(whole, samples))
            if more >= len(leads) or (whole and not _are_alike(rest)):
                raise CorruptedFileError(
                    f"holds {len(counts):,} samples; {len(leads)} leads of the duration that it states take "
                    f"{len(leads) * samples:,}. Which of them belongs to which lead cannot be told"
                )
            self._judge_rest(leads, len(leads) + whole, rest)
            self._note_longer(more)
        unnamed = [lead.label for lead in leads if lead.label.startswith("Channel ")]
        if unnamed and len(unnamed) < len(leads):
            self._notes.append(f"channels without a lead's name were left out: {', '.join(unnamed)}")
            leads = [lead for lead in leads if lead.label not in unnamed]
        return leads

    @staticmethod
    def _unpacked(
        stated: dict, signal_node: object, labels: list[str]
    ) -> tuple[dict[str, str], list[np.ndarray], int]:
        """(the waveforms as if they were not packed, the channels beyond the named leads, samples beyond the stated
        duration), each chunk unpacked once."""
        method, encoding = _compression(stated), str(stated.get("@dataencoding"))
        if method.upper() != "XLI" or encoding != "Base64":
            raise UnsupportedFormatError(f"Compression unsupported: {method} data with encoding {encoding}")
        rate = _to_float(str(stated.get("@samplespersecond") or "")) or _to_float(
            _text(_get(signal_node, "samplingrate"))
        )
        duration = _to_float(str(stated.get("@durationperchannel") or ""))
        if not rate or not duration or rate < 0 or duration < 0:
            raise CorruptedFileError("the waveforms state no sampling rate or no duration")
        samples = round(duration * rate / 1000)
        chunks = unpack_xli(_decode_base64(_text(stated), "parsedwaveforms"))
        _check_chunks(chunks)
        short = [label for label, chunk in zip(labels, chunks, strict=False) if len(chunk) < samples]
        if len(chunks) < len(labels) or short:
            raise CorruptedFileError(
                f"packs {len(chunks)} leads, of which {len(short)} end before {samples:,} samples; expected "
                f"{len(labels)} of that length"
            )
        rows = [chunk[:samples] for chunk in chunks]
        leads = rows[: len(labels)]
        _rebuild_limb_leads(leads)
        counts = np.concatenate(leads)
        if counts.size and np.abs(counts).max() > _HIGHEST_INT16:
            raise CorruptedFileError("packed leads leave the range of 16 bits")
        text = base64.b64encode(counts.astype("<i2").tobytes()).decode()
        plain = stated | {"@compressflag": "False", "@signalsigned": "True", "#text": text}
        return plain, rows[len(labels) :], max(len(chunk) for chunk in chunks) - samples

    def _judge_rest(self, leads: list[Any], stored: int, rest: list[np.ndarray]) -> None:
        """Channels beyond the names. Raises: CorruptedFileError where one of them may be a lead whose name is lost."""
        if not rest:
            return
        alike = _are_alike(rest)
        if [lead.label for lead in leads] != list(LEADS) and not alike:
            raise CorruptedFileError(f"holds {stored} leads' samples and names {len(leads)}; one or more has no name")
        holds = "they are alike, as channels without electrodes are" if alike else "they may hold a signal"
        self._notes.append(f"{len(rest)} stored channels beyond the {len(leads)} named leads were left out; {holds}")

    def _note_longer(self, samples: int) -> None:
        if samples > 0:
            self._notes.append(f"{samples} samples beyond the duration that the file states were not read")

    def parse(self, file_path: Any) -> Any:
        try:
            record = super().parse(file_path)
        except UnsupportedFormatError as error:
            # It names kinds and versions as the file has them, which may be anything.
            words = (word if _KNOWN_WORD.fullmatch(word) else NOT_SHOWN for word in str(error).split())
            raise UnsupportedFormatError(" ".join(words)) from None
        if self._notes:
            record.raw_metadata["ecgllm_notes"] = self._notes
        return record


def _check_chunks(chunks: Sequence[np.ndarray]) -> None:
    """What a flipped bit does to packed data, which have no checksum: a lead of another length, its high bytes then
    taken for low ones, or samples that 16 bits do not hold. Raises: CorruptedFileError."""
    lengths = sorted({len(row) for row in chunks})
    if len(lengths) > 1:
        raise CorruptedFileError(f"its packed leads unpack to {lengths[0]:,} to {lengths[-1]:,} samples; expected one")
    if any(row.min() < -32768 or row.max() > 32767 for row in chunks):
        raise CorruptedFileError("packed leads unpack to samples beyond 16 bits; their differences are damaged")


def _are_alike(rows: Sequence[np.ndarray]) -> bool:
    return len(rows) > 1 and all(np.array_equal(row, rows[0]) for row in rows)


def _unpacked(parsed: object, encoding: str) -> np.ndarray:
    """All samples, one lead behind the other; the library has read them and so can this."""
    if encoding == "Plain":
        return _decode_plain(_text(parsed), "parsedwaveforms")
    content = np.frombuffer(_decode_base64(_text(parsed), "parsedwaveforms"), np.uint8)
    return content[: len(content) // 2 * 2].view("<i2")


def _check_agreement(stated: dict, signal_node: object) -> None:
    """Refuse numbers that are none, fractions where the library rounds, samples of other than 16 bits, two rates, two
    resolutions, or another number of leads than names."""
    for name in ("samplespersecond", "samplingrate", "resolution", "signalresolution", "signaloffset",
                 "durationperchannel", "bitspersample", "nbitspersample"):  # fmt: skip
        for text in (str(stated.get(f"@{name}") or ""), _text(_get(signal_node, name))):
            number = _to_float(text)
            if text.strip() and number is None:
                raise CorruptedFileError(f"the {name} is no number")
            if number is not None and name in ("samplespersecond", "samplingrate", "signaloffset") and number % 1:
                raise CorruptedFileError(f"the {name} is {number:g}, which is no whole number and would be rounded")
            if number is not None and name.endswith("bitspersample") and number != 16:
                raise CorruptedFileError(f"stores samples of {number:g} bits; 16 are read")
    for attribute, elements in (
        ("samplespersecond", ("samplingrate",)),
        ("resolution", ("resolution", "signalresolution")),
    ):
        value = _to_float(str(stated.get(f"@{attribute}") or ""))
        for element in elements:
            other = _to_float(_text(_get(signal_node, element)))
            if None not in (value, other) and value != other:
                raise CorruptedFileError(
                    f"states {attribute} {value:g} for the waveforms and {element} {other:g} for the signal; which of "
                    "them holds cannot be told"
                )
    names, count = str(stated.get("@leadlabels") or "").split(), _to_float(str(stated.get("@numberofleads") or ""))
    if names and count is not None and count != len(names):
        raise CorruptedFileError(f"names {len(names)} leads and promises {count:g}; which is which cannot be told")
