"""Damaged headers read twice: by `read_ecg` and by a reader that shares no code with it. They agree, or ours refuses.

Run as a program: python second_readers.py READER FOLDER COUNT SEED, with FOLDER laid out as `damage.py` has it. It
prints a line of JSON: how many mutants each has read or refused, and how they differ where both have read one.
What may differ, and why, stands in each `as_...`.
"""

import binascii
import collections
import faulthandler
import json
import random
import signal
import struct
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import damage
import numpy as np

THEIRS_S = 10.0  # of the other reader, which owes nothing
IN_MV = {"mv": 1.0, "uv": 1e-3, "µv": 1e-3, "μv": 1e-3, "v": 1e3, "nv": 1e-6}


class Second:
    """What another reader has found: names of leads, Hz, [leads, samples] in mV."""

    def __init__(self, leads, rate, signal):
        self.leads, self.rate, self.signal = tuple(leads), float(rate), np.asarray(signal, dtype=np.float64)


def as_wfdb(path, own):
    """Ours lays a lead of another unit aside, ends a line at "#", and shows bytes that are no UTF-8, which the library
    leaves out: a unit of such bytes is none to it, which means mV, and to ours an unknown one. In a record of several
    segments the library takes names and units from the first one that has any."""
    import wfdb

    from ecgllm.signals.record import known_lead_name

    theirs = wfdb.rdrecord(str(path.with_suffix("")), m2s=True)
    names = [known_lead_name((name or f"signal {row}").partition("#")[0]) for row, name in enumerate(theirs.sig_name)]
    rows = [row for row, unit in enumerate(theirs.units) if unit.lower() in IN_MV]
    aside = [note for note in own.notes if "their unit is no voltage" in note and "\ufffd" in note]
    rows = [row for row in rows if names[row] in own.leads or not any(names[row] in note for note in aside)]
    volts = [theirs.p_signal[:, row] * IN_MV[theirs.units[row].lower()] for row in rows]
    return Second([names[row] for row in rows], theirs.fs, volts)


def as_pydicom(path, own):
    """The group that has as many channels and samples as the record; names where the channels' labels are those of
    leads. What a code means (CodeMeaning) is text for people: the code's value decides, as the standard has it.
    Samples that ours takes for padding are no difference: pydicom leaves them as they are stored."""
    import pydicom

    from ecgllm.signal_ecgllm import LEADS
    from ecgllm.signals.record import known_lead_name

    dataset = pydicom.dcmread(path)
    for number, group in enumerate(dataset.WaveformSequence):
        if (group.NumberOfWaveformChannels, group.NumberOfWaveformSamples) != own.signal.shape:
            continue
        scales, names = [], []
        for row, channel in enumerate(group.ChannelDefinitionSequence):
            unit = channel.ChannelSensitivityUnitsSequence[0].CodeValue
            scales.append(IN_MV[unit.lower()])
            label = known_lead_name(str(channel.get("ChannelLabel", "")))
            names.append(label if label in LEADS else own.leads[row])
        volts = dataset.waveform_array(number).T * np.array(scales)[:, None]
        volts[np.isnan(own.signal)] = np.nan
        return Second(names, group.SamplingFrequency, volts)
    raise LookupError("no group of this shape")


def as_pyedflib(path, own):
    """The signals that ours has taken for an ECG, by name."""
    import pyedflib

    from ecgllm.signals.io.clinical.ecg_channels import lead_name

    with pyedflib.EdfReader(str(path)) as reader:
        rows = {lead_name(label): row for row, label in enumerate(reader.getSignalLabels())}
        picked = [rows[lead] for lead in own.leads]
        volts = [reader.readSignal(row) * IN_MV[reader.getPhysicalDimension(row).strip().lower()] for row in picked]
        (rate,) = {reader.getSampleFrequency(row) for row in picked}
        return Second(own.leads, rate, volts)


def as_sierraecg(path, own):
    """It gives steps, here of 5 microvolt. It adds I, II and III in 16 bits, which wrap around."""
    import sierraecg

    found = sierraecg.read_file(str(path))
    (rate,) = {lead.sampling_freq for lead in found.leads}
    one, two, three = (lead.samples.astype(int) for lead in found.leads[:3])
    if max(np.abs(total).max() for total in (one + two, one - three, two + three)) > 32767:
        raise OverflowError("sums of I, II and III beyond 16 bits")
    return Second([lead.label for lead in found.leads], rate, [lead.samples * 0.005 for lead in found.leads])


def as_biosig(path, own):
    """Converted to ASCII by biosig's `save2gdf`: a header, and a text file of numbers a channel. It may give a sample
    more at the end, a zero, where leads are counted from 0."""
    from ecgllm.signals.record import known_lead_name

    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "a.asc"
        done = subprocess.run(
            ["save2gdf", "-f=ASCII", str(path), str(target)], capture_output=True, timeout=THEIRS_S, cwd=folder
        )
        if done.returncode or not target.is_file():
            raise OSError(f"save2gdf: {done.stderr[-200:]!r}")
        leads, rates, volts = [], set(), []
        channels = target.read_text(errors="replace").partition("[Header 2]")[2]
        for part in channels.split("Filename")[1:]:
            said = dict(
                map(str.strip, line.partition("#")[0].split("=", 1))
                for line in f"Filename{part}".splitlines()
                if "=" in line
            )
            if int(said["NumberOfSamples"]):
                leads.append(known_lead_name(said["Label"]))
                rates.add(float(said["SamplingRate"]))
                steps = np.loadtxt(Path(folder) / said["Filename"], ndmin=1)
                volts.append(steps * IN_MV[said["PhysicalUnits"].lower()])
        (rate,) = rates
        samples = own.signal.shape[1]
        volts = [row[:samples] if len(row) == samples + 1 else row for row in volts]
        if (
            abs(own.sampling_rate / rate - 1) < 1e-3
        ):  # whole microseconds: ours takes the whole rate within their rounding
            rate = own.sampling_rate
        return Second(leads, rate, volts)


READERS = {
    "wfdb": as_wfdb,
    "pydicom": as_pydicom,
    "pyedflib": as_pyedflib,
    "sierraecg": as_sierraecg,
    "biosig": as_biosig,  # SCP-ECG
    "biosig-hl7": as_biosig,
}
# Where the headers of binary files end; of text, samples are as likely hit as anything.
HEADER_BYTES = {"pydicom": 6000, "pyedflib": 4096, "biosig": 2048, "biosig-hl7": 8000}
_HEADER_KINDS = (damage._number, damage._number, damage._number, damage._field, damage._flip, damage._lead,
                 damage._line, damage._delete, damage._duplicate, damage._swap, damage._random,
                 damage._zeros)  # fmt: skip


def mutate_header(content: bytes, size: int, rng: random.Random) -> bytes:
    """One or two kinds of damage among the first `size` bytes, most often a number that is another."""
    head, rest = bytearray(content[:size]), content[size:]
    for _ in range(rng.choice((1, 1, 2))):
        if not head:
            break
        kind = rng.choice(_HEADER_KINDS)
        numbers = list(damage._NUMBER.finditer(head)) if kind is damage._number else []
        if numbers and rng.random() < 0.6:  # a number that may be right
            number = rng.choice(numbers)
            value = int(float(number[0])) + rng.choice((1, -1, 2, 10)) if len(number[0]) < 15 else 3
            digits = str(value).encode()
            head[number.start() : number.end()] = digits.ljust(len(number[0]), b" ") if rest else digits
        else:
            place = rng.randrange(len(head))
            kind(head, place, min(rng.choice((1, 1, 2, 3, 8)), len(head) - place), rng)
    return bytes(head) + rest


def seal_scp(content: bytes) -> bytes:
    """SCP-ECG with its checksums made right: else each mutant would be refused for them, and nothing compared."""
    data = bytearray(content)
    for entry in range(22, 142, 10):
        if len(data) < entry + 10:
            break
        _, length, index = struct.unpack_from("<HII", data, entry)
        if length >= 3 and index >= 1 and index - 1 + length <= len(data):
            struct.pack_into("<H", data, index - 1, binascii.crc_hqx(data[index + 1 : index - 1 + length], 0xFFFF))
    if len(data) > 2:
        struct.pack_into("<H", data, 0, binascii.crc_hqx(data[2:], 0xFFFF))
    return bytes(data)


SEALS = {"biosig": seal_scp}


def difference(own, second):
    """How the two differ, None where they agree within float32's rounding."""
    from ecgllm.signal_ecgllm import LEADS

    if abs(own.sampling_rate - second.rate) > 1e-6 * own.sampling_rate:
        return f"rate: {own.sampling_rate} and {second.rate}"
    # Bytes that were no UTF-8 are shown or left out; leads beyond the standard ones have many names.
    names = [[name.replace("\ufffd", "") for name in found.leads] for found in (own, second)]
    if len(names[0]) != len(names[1]) or any(a != b and {a, b} & set(LEADS) for a, b in zip(*names, strict=True)):
        return f"leads: {own.leads} and {second.leads}"
    if own.signal.shape != second.signal.shape:
        return f"shape: {own.signal.shape} and {second.signal.shape}"
    missing = np.isnan(own.signal)
    if (missing != np.isnan(second.signal)).any():
        return f"missing: {missing.sum()} and {np.isnan(second.signal).sum()} samples"
    excess = np.abs(own.signal - second.signal)[~missing] - 1e-5 - 1e-6 * np.abs(second.signal[~missing])
    return f"signal: by {excess.max():.4g} mV" if excess.size and excess.max() > 0 else None


def run(reader: str, folder: Path, count: int, seed: str) -> dict:
    from ecgllm.signals import read_ecg

    rng = random.Random(f"{damage.SEED} {reader} {seed}")
    records = sorted(folder.iterdir())
    undamaged = {}
    for record in records:
        own = read_ecg(record / record.name)
        undamaged[record] = Second(own.leads, own.sampling_rate, own.signal)
        found = difference(own, READERS[reader](record / record.name, own))
        assert found is None, f"{record.name} undamaged: {found}"
    damage.limit_memory()
    counts, differences, alone, failures = collections.Counter(), [], [], []
    for number in range(count):
        record = rng.choice(records)
        headers = [file for file in sorted(record.iterdir()) if reader != "wfdb" or file.suffix == ".hea"]
        file = rng.choice(headers)
        whole = file.read_bytes()
        content = mutate_header(whole, HEADER_BYTES.get(reader, len(whole)), rng)
        content = SEALS.get(reader, bytes)(content)
        file.write_bytes(content)
        own, refusal, failure = damage.outcome(record / record.name)
        if failure:
            failures.append(f"{number} ({file.name}): {failure}"[:300])
        elif refusal is not None:
            counts["refused"] += 1
        else:
            try:
                second = second_opinion(reader, record / record.name, own)
            except (Exception, damage.Hang) as error:
                # Damage to what ours does not use leaves the record as it was; other damage is worth a look.
                counts["read by ours alone"] += 1
                if found := difference(own, undamaged[record]):
                    reason = f"{type(error).__name__}: {error}"[:200]
                    alone.append([number, file.name, found, reason, list(own.notes)])
                    (folder.parent / f"alone-{reader}-{number}-{file.name}").write_bytes(content)
            else:
                counts["read by both"] += 1
                if found := difference(own, second):
                    differences.append([number, file.name, found, list(own.notes)])
                    (folder.parent / f"differs-{reader}-{number}-{file.name}").write_bytes(content)
        file.write_bytes(whole)
    lists = {"differences": differences, "changed and read by ours alone": alone, "failures": failures}
    return {"reader": reader, "mutants": count, **counts, **lists}


def second_opinion(reader, path, own):
    signal.signal(signal.SIGPROF, damage.hang)
    signal.setitimer(signal.ITIMER_PROF, THEIRS_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return READERS[reader](path, own)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


if __name__ == "__main__":
    faulthandler.enable()
    print(json.dumps(run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))
