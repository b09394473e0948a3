"""GE MUSE XML: the parser of `ecgdatakit` with its faults put right.

Decided here: which encodings of samples are refused by name, and what is said of waveforms and leads that are left out
or missing.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from typing import Any

from ecgdatakit.exceptions import UnsupportedFormatError
from ecgdatakit.parsing.parsers.ge_muse_xml import GEMuseXMLParser, _get, _num

_HEXADECIMAL = re.compile(r"[0-9A-Fa-f]{64,}")  # as long a run of no other letters does not occur in Base64 by chance


class MuseParser(GEMuseXMLParser):
    """Refuses samples written in hexadecimal or packed by zlib, which the library takes for Base64 where the file
    states no counts, and a file without a rhythm with the kinds of waveforms that it has.

    Says which further waveforms were left out, that leads are missing of those that a waveform promises, and which
    leads the cart marks as off."""

    def parse(self, file_path: Any) -> Any:
        self._notes: list[str] = []
        record = super().parse(file_path)
        record.raw_metadata["ecgllm_notes"] = self._notes
        return record

    def _read_waveforms(self, root: Any, record: Any, file_path: Any) -> tuple[list[Any], list[Any]]:
        waveforms = root.findall("Waveform")
        kinds = [_get(waveform, "WaveformType").lower() or "rhythm" for waveform in waveforms]
        if "rhythm" not in kinds:
            found = ", ".join(map(_shown, kinds)) or "none"
            raise UnsupportedFormatError(f"it holds no rhythm waveform; expected one beside: {found}")
        leads, beats = super()._read_waveforms(root, record, file_path)
        self._warnings = [each for each in self._warnings if not each[0].startswith("Additional ")]
        for number, (waveform, kind) in enumerate(zip(waveforms, kinds, strict=True), 1):
            names = [_get(lead, "LeadID") for lead in waveform.findall("LeadData")]
            if kinds.index(kind) < number - 1 or kind not in ("rhythm", "median"):
                self._notes.append(f"waveform {number} of the file ({_shown(kind)}: {', '.join(names)}) was left out")
        first = waveforms[kinds.index("rhythm")]
        promised = _num(_get(first, "NumberofLeads"))
        if promised is not None and promised != len(leads):
            self._notes.append(f"the file promises {promised:g} leads and holds {len(leads)}")
        off = [lead.label for lead in leads if lead.annotations.get("LeadOff", "").upper() in ("TRUE", "1", "YES")]
        if off:
            self._notes.append(f"the cart marks as off: {', '.join(off)}")
        return leads, beats

    def _read_lead(self, ld: Any, *rest: Any) -> Any:
        text = "".join(_get(ld, "WaveFormData").split())
        if _HEXADECIMAL.fullmatch(text):
            raise UnsupportedFormatError("its samples are written in hexadecimal; expected Base64")
        if _is_zlib(text):
            raise UnsupportedFormatError("its samples are packed (zlib); expected Base64 of 16-bit numbers")
        return super()._read_lead(ld, *rest)


def _shown(kind: str) -> str:
    """The kind of a waveform, if it is one of MUSE's own: any other text may be a name."""
    return kind if kind in ("rhythm", "median") else "another kind"


def _is_zlib(text: str) -> bool:
    """Whether Base64 holds the start of a zlib stream: its two bytes, and some that unpack to something."""
    try:
        start = base64.b64decode(text[:400], validate=True)
    except (binascii.Error, ValueError):
        return False
    if len(start) < 32 or start[0] & 0x0F != 8 or int.from_bytes(start[:2], "big") % 31:
        return False
    try:
        return len(zlib.decompressobj().decompress(start, 1 << 16)) > len(start)
    except zlib.error:
        return False
