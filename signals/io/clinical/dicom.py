"""DICOM waveforms: the parser of `ecgdatakit` with its faults put right.

Decided here: which multiplex groups are the ECG and how they are joined, what a channel is called, and that nothing of
the file's values reaches a warning or a log.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from ecgdatakit.exceptions import CorruptedFileError, UnsupportedFormatError
from ecgdatakit.parsing.parsers.dicom_waveform import DICOMWaveformParser, _import_pydicom

from ....signal_ecgllm import LEADS
from ...limits import MAX_LEADS
from ...record import known_lead_name
from .dicom_bits import beyond_bits, leaps, unsigned, with_sign
from .dicom_padding import padded
from .lead_groups import join_groups, seconds

_UNDEFINED_LENGTH = 0xFFFFFFFF
_KINDS = {"SB": "i1", "UB": "u1", "SS": "i2", "US": "u2", "SL": "i4", "UL": "u4"}


def _sample_kind(group: Any, little_endian: bool) -> np.dtype | None:
    """How a group's samples are stored; None where that is not stated, or they are companded."""
    kind = _KINDS.get(str(group.get("WaveformSampleInterpretation")))
    bits = group.get("WaveformBitsAllocated")
    return np.dtype(f"{'<' if little_endian else '>'}{kind}") if kind and bits == 8 * int(kind[1]) else None


def _take_padding(group: Any, little_endian: bool) -> float | None:
    """Remove a group's padding value, so that the library does not apply it, and return it; None where it has none or
    its samples are companded."""
    kind, value = _sample_kind(group, little_endian), group.get("WaveformPaddingValue")
    if kind is None or not isinstance(value, bytes) or len(value) < kind.itemsize:
        return None
    del group.WaveformPaddingValue
    return float(np.frombuffer(value, dtype=kind, count=1)[0])


class DICOMParser(DICOMWaveformParser):
    """Reads from memory: pydicom asks the file for as many bytes as a damaged length says, and a file object sets up
    to 4 GB aside before it finds that there are fewer; bytes in memory do not.

    Refuses a sequence of groups that ends with the file, of which pydicom drops the last groups without a word; and
    groups that hold more samples or fewer channel definitions than they promise, of which the library gives the leads
    each other's samples or names.

    Takes for padding what `dicom_padding` says, not every sample of the padding value, which may be 0.

    Takes a lead's name from its channel label where its coded source is none of a standard lead, and refuses two
    standard leads that differ.

    Joins the groups over which carts spread the leads; the library reads the first group alone, in whatever order
    they stand. Notes on that are left in raw_metadata["ecgllm_notes"], the exact rate, which the library rounds on
    its leads, in raw_metadata["rhythm_sampling_frequency"]."""

    def parse(self, file_path: Path) -> Any:
        pydicom = _import_pydicom()
        # Values against their kind's rules are warned of with what they say, a birth date or a name, also in the log.
        settings = pydicom.config.settings
        mode = settings.reading_validation_mode
        settings.reading_validation_mode = pydicom.config.IGNORE
        try:
            return self._parse(pydicom, file_path)
        finally:
            settings.reading_validation_mode = mode

    def _parse(self, pydicom: Any, file_path: Path) -> Any:
        content = file_path.read_bytes()
        dataset = pydicom.dcmread(io.BytesIO(content), force=True)  # detection looked for what a file without mark has
        uid = dataset.get("SOPClassUID")
        kind = uid.name if getattr(uid, "keyword", "") else ""  # an unknown one's name is what the file says
        if "WaveformSequence" not in dataset:
            raise UnsupportedFormatError(f"it holds no waveforms but {kind or 'nothing of a known kind'}")
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
            notes += [note for group in rhythm for note in group["bit_notes"]]
            record.raw_metadata["ecgllm_notes"] = notes
            longest = max(rhythm, key=seconds)
            record.raw_metadata["rhythm_sampling_frequency"] = longest["sampling_frequency"]
            record.recording.acquisition.filters = longest["filters"]
        return record

    def _read_channel(self, ch_def: Any, index: int, values: Any, rate: int) -> tuple[Any, str, dict]:
        if self._padding is not None:
            missing = padded(values, self._padding, rate)
            self._padded[0] += int(missing.sum())
            self._padded[1] += int((values == self._padding).sum()) - int(missing.sum())
            values = np.where(missing, np.nan, values)
        if index in self._signs:
            values = with_sign(values, self._signs[index])
        lead, label, filters = super()._read_channel(ch_def, index, values, rate)
        own = known_lead_name(str((ch_def.get("ChannelLabel") if ch_def is not None else None) or ""))
        coded = known_lead_name(label)
        if own in LEADS and coded in LEADS and own != coded:
            raise CorruptedFileError(f"channel {index + 1} is labelled {own} and coded as {coded}")
        # Some carts code no source, or one of their own, and name the lead beside it.
        return lead, own if own in LEADS and coded not in LEADS else label, filters

    def _lost_signs(self, wf: Any, little_endian: bool) -> tuple[dict[int, int], list[str]]:
        """Channel -> bits of those whose samples are stored without their sign, and what is to be said of bits."""
        kind, channels = _sample_kind(wf, little_endian), int(wf.get("NumberOfWaveformChannels") or 0)
        definitions = list(wf.get("ChannelDefinitionSequence") or ())
        if kind is None or kind.kind != "i" or not channels or len(definitions) != channels:
            return {}, []
        data = bytes(wf.WaveformData)
        rows = np.frombuffer(data, kind, len(data) // kind.itemsize // channels * channels).reshape(-1, channels).T
        bits = {}
        for channel, definition in enumerate(definitions):
            stored = int(definition.get("WaveformBitsStored") or 8 * kind.itemsize)
            if 2 <= stored < 8 * kind.itemsize:
                bits[channel] = stored
        there = {channel: rows[channel][rows[channel] != self._padding].astype(np.int64) for channel in bits}
        beyond = [channel for channel, stored in bits.items() if beyond_bits(there[channel], stored)]
        if not beyond:
            return {}, []
        if all(unsigned(there[channel], stored) for channel, stored in bits.items()) and any(
            leaps(there[channel], bits[channel]) for channel in beyond
        ):
            return bits, [
                f"samples of {bits[beyond[0]]} bits are stored without their sign, which shows in leaps by the whole "
                "range; it was put back"
            ]
        return {}, [f"samples go beyond the {bits[beyond[0]]} bits that the file states; they were read as they stand"]

    def _read_group(self, wf: Any, index: int, little_endian: bool) -> dict | None:
        channels = int(wf.get("NumberOfWaveformChannels") or 0)
        if channels > MAX_LEADS:
            raise CorruptedFileError(f"{channels:,} channels in one group; at most {MAX_LEADS:,} are read")
        self._padding, self._padded = _take_padding(wf, little_endian), [0, 0]
        self._signs, bit_notes = self._lost_signs(wf, little_endian)
        group = super()._read_group(wf, index, little_endian)
        if group is not None:
            group["padded"], group["bit_notes"] = (self._padding, *self._padded), bit_notes
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
