"""Philips Sierra XML: the parser of `ecgdatakit` with its faults put right.

Decided here: which stored channels are the named leads, and when names and channels contradict each other.
"""

from __future__ import annotations

import base64
import re
from typing import Any

import numpy as np
from ecgdatakit.exceptions import CorruptedFileError, UnsupportedFormatError
from ecgdatakit.parsing.codecs.xli import xli_decode
from ecgdatakit.parsing.parsers.sierra_xml import (
    SierraXMLParser,
    _compression,
    _decode_base64,
    _get,
    _text,
    _to_float,
)

from ..signal_ecgllm import LEADS
from .quotes import NOT_SHOWN

_KNOWN_WORD = re.compile(
    r"[\d.]+|Files|of|type|(?:Sierra|Philips)ECG|are|unsupported:?|Compression|XLI|data|with|encoding|Base64|Plain|is|"
    r"Waveform|Representative|beat|missing",
    re.IGNORECASE,
)


class SierraParser(SierraXMLParser):
    """Refuses headers that contradict each other, of which the library believes one without a word, and fewer names
    than leads, which gives the later leads their neighbours' names. Says when samples are left over: the library cuts
    the data at the stated duration in silence.

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
        leads = super()._read_leads(parsed, signal_node)
        samples = len(leads[0].samples)
        if packed:
            chunks = xli_decode(_decode_base64(_text(parsed), "parsedwaveforms"))
            self._judge_rest(leads, len(chunks), [row[:samples] for row in chunks[len(leads) :]])
            self._note_longer(max(len(row) for row in chunks) - samples)
        elif str(stated.get("@dataencoding")) == "Base64":
            counts = np.frombuffer(base64.b64decode("".join(_text(parsed).split())), np.uint8)
            rest = counts[: len(counts) // 2 * 2].view("<i2")[len(leads) * samples :]
            whole = len(rest) // samples
            self._judge_rest(leads, len(leads) + whole, list(rest[: whole * samples].reshape(whole, samples)))
            self._note_longer(len(rest) - whole * samples)
        unnamed = [lead.label for lead in leads if lead.label.startswith("Channel ")]
        if unnamed and len(unnamed) < len(leads):
            self._notes.append(f"channels without a lead's name were left out: {', '.join(unnamed)}")
            leads = [lead for lead in leads if lead.label not in unnamed]
        return leads

    def _judge_rest(self, leads: list[Any], stored: int, rest: list[np.ndarray]) -> None:
        """Channels beyond the names. Raises: CorruptedFileError where one of them may be a lead whose name is lost."""
        if not rest:
            return
        alike = all(np.array_equal(row, rest[0]) for row in rest) and len(rest) > 1
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


def _check_agreement(stated: dict, signal_node: object) -> None:
    """Refuse two rates, two resolutions, or another number of leads than names."""
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
