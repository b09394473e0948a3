"""Small files of every format, each written by something other than the reader under test.

pydicom writes DICOM, pyedflib EDF, wfdb WFDB, pandas and pyarrow tables; the rest is written here by hand after the
formats' own specifications. Every writer takes counts [leads, samples], in steps of a microvolt if not said otherwise.
"""

import base64
import binascii
import io
import json
import struct
import zlib
from datetime import datetime

import numpy as np
import pytest

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
EIGHT = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")
NAME, GIVEN, NUMBER, BORN = "Featherstonehaugh", "Marmaduke", "MRN0815471", "19450203"


def microvolts(samples=600, leads=LEADS, seed=7):
    """int64 [leads, samples] of a simulated ECG at 100 Hz in microvolt."""
    from ecgllm.signals.simulation import simulate_ecg

    record = simulate_ecg(seed=seed, duration=max(5.0, samples / 100)).select_leads(leads)
    return np.round(record.signal[:, :samples] * 1000).astype(np.int64)


def dicom(counts, leads=LEADS, rate=500, *, bits=16, unit="uV", sensitivity=1.0, correction=1.0, baseline=0.0,
          medians=False, labels=True, median_first=False, padding=None, deflated=False, signed=True, scheme="MDC",
          big_endian=False, extra=None, groups=None):  # fmt: skip
    """groups: (counts, leads, label, rate, offset in ms or None) of each, in place of one group of `counts`."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, generate_uid

    numbers = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63,
               "aVF": 64}  # fmt: skip

    def code(value, designator, meaning):
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, designator, meaning
        return Sequence([item])

    def group(values, label, frequency, leads=leads, offset=None):
        item = Dataset()
        if offset is not None:
            item.MultiplexGroupTimeOffset = str(offset)
        item.WaveformOriginality = "ORIGINAL"
        item.NumberOfWaveformChannels, item.NumberOfWaveformSamples = values.shape
        item.SamplingFrequency = str(frequency)
        if labels:
            item.MultiplexGroupLabel = label
        item.WaveformBitsAllocated = bits
        item.WaveformSampleInterpretation = {8: "SB", 16: "SS", 32: "SL"}[bits] if signed else "US"
        channels = []
        for number, lead in enumerate(leads):
            channel = Dataset()
            channel.ChannelLabel = lead
            channel.ChannelSourceSequence = (
                code(f"2:{numbers[lead]}", "MDC", f"Lead {lead}")
                if scheme == "MDC"
                else code(f"5.6.3-9-{numbers[lead]}", "SCPECG", f"Lead {lead}")
            )
            if sensitivity is not None:
                channel.ChannelSensitivity = str(sensitivity)
                channel.ChannelSensitivityUnitsSequence = code(unit, "UCUM", unit)
                channel.ChannelSensitivityCorrectionFactor = str(correction)
                channel.ChannelBaseline = str(baseline)
            channel.ChannelSampleSkew = "0"
            channel.WaveformBitsStored = bits
            channel.WaveformChannelNumber = number + 1
            channels.append(channel)
        item.ChannelDefinitionSequence = Sequence(channels)
        order = ">" if big_endian else "<"
        kind = f"{order}{'i' if signed else 'u'}{bits // 8}"
        item.WaveformData = np.ascontiguousarray(values.T).astype(kind).tobytes()
        if padding is not None:
            item.WaveformPaddingValue = np.array([padding], dtype=kind).tobytes()
        return item

    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.9.1.1"
    dataset.SOPInstanceUID = generate_uid()
    dataset.Modality = "ECG"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = f"{NAME}^{GIVEN}", NUMBER, BORN
    dataset.PatientSex, dataset.PatientAge = "F", "061Y"
    dataset.AcquisitionDateTime = "20060402101530"
    if groups is None:
        items = [group(counts, "RHYTHM", rate)]
        if medians:
            items.append(group(counts[:, :120], "MEDIAN BEAT", rate))
    else:
        items = [group(values, label, frequency, names, offset) for values, names, label, frequency, offset in groups]
    dataset.WaveformSequence = Sequence(items[::-1] if median_first else items)
    note = Dataset()
    note.UnformattedTextValue = "Sinus rhythm"
    signed_by = Dataset()
    signed_by.UnformattedTextValue = f"Confirmed by {NAME}, {GIVEN}"
    heart_rate = Dataset()
    heart_rate.ConceptNameCodeSequence = code("2:16770", "MDC", "Ventricular Heart Rate")
    heart_rate.MeasurementUnitsCodeSequence = code("{beats}/min", "UCUM", "beats per minute")
    heart_rate.NumericValue = "71"
    dataset.WaveformAnnotationSequence = Sequence([note, signed_by, heart_rate])
    if extra:
        extra(dataset)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    if deflated:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, dataset, enforce_file_format=True)
    return stream.getvalue()


def edf(folder, counts, leads=LEADS, rate=500, *, plus=True, unit="uV", scale=1.0, others=(), note=""):
    """others: (label, unit, rate, samples). note: what every free text of the header and an annotation say. Physical
    range and digital range make one step of `scale` units."""
    pyedflib = pytest.importorskip("pyedflib")
    path = folder / "written.edf"
    kind = pyedflib.FILETYPE_EDFPLUS if plus else pyedflib.FILETYPE_EDF
    with pyedflib.EdfWriter(str(path), len(leads) + len(others), file_type=kind) as writer:
        if plus:
            writer.setPatientName(f"{NAME},{GIVEN}")
            writer.setPatientCode(NUMBER)
            writer.setSex(0)
            writer.setBirthdate(datetime(1945, 2, 3))
        if note:
            writer.setPatientAdditional(note)
            writer.setRecordingAdditional(note)
            writer.setTechnician(note)
            writer.setEquipment(note)
            writer.setAdmincode(note)
        writer.setStartdatetime(datetime(2006, 4, 2, 10, 15, 30))
        signals = [*((lead, unit, rate, row * scale) for lead, row in zip(leads, counts, strict=True)), *others]
        for number, (lead, dimension, frequency, _) in enumerate(signals):
            header = {"label": lead, "dimension": dimension, "sample_frequency": frequency, "transducer": note,
                      "physical_min": -32768 * scale, "physical_max": 32767 * scale, "digital_min": -32768,
                      "digital_max": 32767, "prefilter": "HP:0.05Hz LP:150Hz"}  # fmt: skip
            writer.setSignalHeader(number, header)
        writer.writeSamples([np.ascontiguousarray(row, dtype=np.float64) for *_, row in signals])
        if note:
            writer.writeAnnotation(0.5, -1, note)
    return path.read_bytes()


def muse(counts, leads=EIGHT, rate=500, *, units_per_bit=4.88, unit="MICROVOLTS", medians=True, crc=True, dtd=True,
         exponent=0):  # fmt: skip
    """RestingECG after GE's restecg.dtd: base64 of little-endian int16, one element per lead. counts: steps."""

    def waveform(kind, values):
        parts = []
        for lead, row in zip(leads, values, strict=True):
            data = row.astype("<i2").tobytes()
            check = zlib.crc32(data) + (0 if crc else 1)
            parts.append(
                f"<LeadData><LeadByteCountTotal>{len(data)}</LeadByteCountTotal><LeadTimeOffset>0</LeadTimeOffset>"
                f"<LeadSampleCountTotal>{len(row)}</LeadSampleCountTotal>"
                f"<LeadAmplitudeUnitsPerBit>{units_per_bit}</LeadAmplitudeUnitsPerBit>"
                f"<LeadAmplitudeUnits>{unit}</LeadAmplitudeUnits><LeadID>{lead}</LeadID>"
                f"<LeadOffsetFirstSample>0</LeadOffsetFirstSample><FirstSampleBaseline>0</FirstSampleBaseline>"
                f"<LeadSampleSize>2</LeadSampleSize><LeadDataCRC32>{check}</LeadDataCRC32>"
                f"<WaveFormData>{base64.b64encode(data).decode()}</WaveFormData></LeadData>"
            )
        return (
            f"<Waveform><WaveformType>{kind}</WaveformType><NumberofLeads>{len(leads)}</NumberofLeads>"
            f"<SampleBase>{rate}</SampleBase><SampleExponent>{exponent}</SampleExponent>"
            f"<HighPassFilter>5</HighPassFilter><LowPassFilter>150</LowPassFilter><ACFilter>50</ACFilter>"
            f"{''.join(parts)}</Waveform>"
        )

    return (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
        + ('<!DOCTYPE RestingECG SYSTEM "restecg.dtd">\n' if dtd else "")
        + f"<RestingECG><MuseInfo><MuseVersion>8.0.1.10673</MuseVersion></MuseInfo><PatientDemographics>"
        f"<PatientID>{NUMBER}</PatientID><PatientAge>61</PatientAge><AgeUnits>YEARS</AgeUnits>"
        f"<DateofBirth>02-03-1945</DateofBirth><Gender>FEMALE</Gender><PatientLastName>{NAME}</PatientLastName>"
        f"<PatientFirstName>{GIVEN}</PatientFirstName></PatientDemographics><TestDemographics>"
        "<AcquisitionDate>04-02-2006</AcquisitionDate><AcquisitionTime>10:15:30</AcquisitionTime></TestDemographics>"
        "<RestingECGMeasurements><VentricularRate>71</VentricularRate><PRInterval>160</PRInterval><RAxis>-12</RAxis>"
        "</RestingECGMeasurements><Diagnosis><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>Normal sinus "
        "rhythm</StmtText></DiagnosisStatement><DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>Confirmed "
        f"by {NAME}, {GIVEN} (12) on 4/2/2006</StmtText></DiagnosisStatement></Diagnosis>"
        + (waveform("Median", counts[:, :100]) if medians else "")
        + waveform("Rhythm", counts)
        + "</RestingECG>"
    ).encode("latin-1")


def xli(row):
    """One lead packed as Philips does: second differences, high bytes before low bytes, 10-bit LZW (literals only)."""
    s = [int(value) for value in row]
    deltas = [s[0], s[1]]
    start = 2 * s[1] - s[0] - s[2]
    deltas += [64 + 2 * s[i - 1] - s[i - 2] - s[i] for i in range(3, len(s))] + [64]
    words = np.array(deltas, dtype=np.int64).astype(np.int16).view(np.uint16)
    data = bytes((words >> 8).astype(np.uint8)) + bytes((words & 255).astype(np.uint8))
    bits = "".join(f"{byte:010b}" for byte in data) + f"{1023:010b}"
    bits += "0" * (-len(bits) % 8)
    packed = int(bits, 2).to_bytes(len(bits) // 8, "big")
    return struct.pack("<iHh", len(packed), 0, start) + packed


def sierra(counts, leads=LEADS, rate=500, *, resolution=5.0, packed=False, encoding="utf-8", version="1.04", spare=0,
           compressed=None):  # fmt: skip
    """restingecgdata of documenttype SierraECG. counts: steps of `resolution` microvolt."""
    rows = counts.astype(np.int64)
    if packed:
        rows = rows.copy()
        one, two, three = rows[0], rows[1], rows[2]
        stored = [one, two, two - one - three, -(one + two) // 2 * 0 - (rows[3] + (one + two) // 2)]
        stored += [(one - three) // 2 - rows[4], (two + three) // 2 - rows[5], *rows[6:]]
        data = b"".join(xli(row) for row in stored)
    else:
        data = rows.astype("<i2").tobytes() + b"\0\0" * spare
    if compressed is not None:
        data = compressed
    text = (
        f'<?xml version="1.0" encoding="{encoding}"?>\n'
        '<restingecgdata xmlns="http://www3.medical.philips.com"><documentinfo><documentname>x</documentname>'
        f"<documenttype>SierraECG</documenttype><documentversion>{version}</documentversion></documentinfo>"
        '<dataacquisition date="2006-04-02" time="10:15:30"><signalcharacteristics>'
        f"<samplingrate>{rate}</samplingrate><resolution>{resolution}</resolution><signaloffset>0</signaloffset>"
        f"<signalsigned>true</signalsigned><numberchannelsallocated>{len(leads)}</numberchannelsallocated>"
        "<acquisitiontype>STD-12</acquisitiontype></signalcharacteristics></dataacquisition>"
        f"<patient><generalpatientdata><patientid>{NUMBER}</patientid><name><lastname>{NAME}</lastname>"
        f"<firstname>{GIVEN}</firstname></name><age><dateofbirth>1945-02-03</dateofbirth><years>61</years></age>"
        "<sex>Female</sex></generalpatientdata></patient>"
        "<interpretations><interpretation><globalmeasurements><heartrate>71</heartrate></globalmeasurements>"
        "<statement><statementcode>SR</statementcode><leftstatement>SINUS RHYTHM</leftstatement><rightstatement>"
        "normal P axis</rightstatement></statement></interpretation></interpretations>"
        f'<waveforms><parsedwaveforms dataencoding="Base64" compression="{"XLI" if packed or compressed else ""}" '
        f'numberofleads="{len(leads)}" leadlabels="{" ".join(leads)}" samplespersecond="{rate}" '
        f'resolution="{resolution}" durationperchannel="{1000 * counts.shape[1] / rate:g}">'
        f"{base64.b64encode(data).decode()}</parsedwaveforms></waveforms></restingecgdata>"
    )
    return text.encode(encoding)


def hl7(counts, leads=LEADS, *, increment=0.002, increment_unit="s", scale=5.0, unit="uV", origin=0.0):
    """AnnotatedECG after HL7 V3 ECG R1: value = origin + scale x digit. counts: digits."""
    sequences = "".join(
        f'<component><sequence><code code="MDC_ECG_LEAD_{lead.upper()}" codeSystem="2.16.840.1.113883.6.24"/>'
        f'<value xsi:type="SLIST_PQ"><origin value="{origin}" unit="{unit}"/><scale value="{scale}" unit="{unit}"/>'
        f"<digits>{' '.join(map(str, row.tolist()))}</digits></value></sequence></component>"
        for lead, row in zip(leads, counts, strict=True)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><AnnotatedECG xmlns="urn:hl7-org:v3" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><id root="1.2.3"/>'
        '<code code="93000" codeSystem="2.16.840.1.113883.6.12"/><effectiveTime><low value="20060402101530"/>'
        '<high value="20060402101540"/></effectiveTime><componentOf><timepointEvent><componentOf><subjectAssignment>'
        f'<subject><trialSubject><id root="1" extension="{NUMBER}"/><subjectDemographicPerson><name><family>{NAME}'
        f'</family><given>{GIVEN}</given></name><administrativeGenderCode code="F"/><birthTime value="{BORN}"/>'
        "</subjectDemographicPerson></trialSubject></subject></subjectAssignment></componentOf></timepointEvent>"
        '</componentOf><component><series><code code="RHYTHM"/><component><sequenceSet><component><sequence>'
        '<code code="TIME_ABSOLUTE"/><value xsi:type="GLIST_TS"><head value="20060402101530"/>'
        f'<increment value="{increment}" unit="{increment_unit}"/></value></sequence></component>{sequences}'
        "</sequenceSet></component></series></component></AnnotatedECG>"
    ).encode()


# EN 1064's default Huffman table: value -> code, most significant bit first; 10 bits precede 8 or 16 bits of others.
SCP_CODES = {
    0: "0", 1: "100", -1: "101", 2: "1100", -2: "1101", 3: "11100", -3: "11101", 4: "111100", -4: "111101",
    5: "1111100", -5: "1111101", 6: "11111100", -6: "11111101", 7: "111111100", -7: "111111101",
    8: "1111111100", -8: "1111111101",
}  # fmt: skip


def scp(counts, leads=EIGHT, *, interval=2000, avm=1000, huffman=False, starts=None, bad_crc=False, differences=0,
        beats=(), beat_avm=1000, statements=()):  # fmt: skip
    """SCP-ECG (EN 1064) of sections 0, 1, 3 and 6. counts: steps of `avm` nanovolt; huffman: the default table;
    differences: 0 for samples, 1 or 2 for first or second differences after the first one or two samples; beats: the
    fiducial points (samples from 1) of QRS complexes from which the first is subtracted as a reference beat, stored
    in steps of `beat_avm` nanovolt (sections 4 and 5); statements: of section 8, with the patient's name in every
    free text of section 1."""
    codes = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63,
             "aVF": 64}  # fmt: skip

    def section(number, body):
        if len(body) % 2:
            body += b"\0"
        rest = struct.pack("<HIBB6x", number, 16 + len(body), 20, 20) + body
        return struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest

    def tag(number, value):
        return struct.pack("<BH", number, len(value)) + value

    def packed(row):
        """Each value by its code, or by an escape code of 10 bits and 8 or 16 bits."""
        bits = "".join(
            SCP_CODES.get(value)
            or (
                "1111111110" + f"{value & 0xFF:08b}"
                if -128 <= value < 128
                else "1111111111" + f"{value & 0xFFFF:016b}"
            )
            for value in map(int, row)
        )
        bits += "0" * (-len(bits) % 16)
        return int(bits, 2).to_bytes(len(bits) // 8, "big")

    def coded(row):
        return np.concatenate([row[:differences], np.diff(row, differences)])

    def stored(values, nanovolt):
        rows = [packed(coded(row)) if huffman else coded(row).astype("<i2").tobytes() for row in values]
        sizes = b"".join(struct.pack("<H", len(row) % 65536) for row in rows)  # long leads wrap around
        return struct.pack("<HHBB", nanovolt, interval, differences, 0) + sizes + b"".join(rows)

    bodies = {}
    if beats:
        before, length = 40, 100  # samples of the reference beat to its fiducial point, and in all
        start = beats[0] - before
        beat = counts[:, start : start + length] * avm // beat_avm
        counts = counts.copy()
        zones = []
        for fiducial in beats:
            first = fiducial - before  # the sample that the beat's first one is subtracted from, from 0
            counts[:, first : first + length] -= beat * beat_avm // avm
            zones.append(struct.pack("<HIII", 0, first + 1, fiducial, first + length))
        protected = b"".join(struct.pack("<II", fiducial - 20, fiducial + 20) for fiducial in beats)
        bodies[4] = struct.pack("<HHH", length * interval // 1000, before, len(beats)) + b"".join(zones) + protected
        bodies[5] = stored(beat, beat_avm)
    machine = (
        struct.pack("<HHHBB6sBBBBB", 1, 1, 1, 0, 0, b"CART\0\0", 20, 0xA0, 0, 0xC0, 1) + bytes(17) + b"1\0\0\0\0\0"
    )
    one = (
        tag(0, NAME.encode() + b"\0")
        + tag(1, GIVEN.encode() + b"\0")
        + tag(2, NUMBER.encode() + b"\0")
        + tag(5, struct.pack("<HBB", 1945, 2, 3))
        + tag(8, b"\2")
        + tag(14, machine)
        + tag(25, struct.pack("<HBB", 2006, 4, 2))
        + tag(26, bytes([10, 15, 30]))
        + b"".join(tag(field, NAME.encode() + b"\0") for field in (20, 21, 22, 23, 30, 35) if statements)
        + tag(255, b"")
    )
    if statements:
        texts = [text.encode() + b"\0" for text in statements]
        bodies[8] = struct.pack("<BHBBBBBB", 1, 2006, 4, 2, 10, 15, 30, len(texts)) + b"".join(
            struct.pack("<BH", number, len(text)) + text for number, text in enumerate(texts, 1)
        )
    starts = starts or [1] * len(leads)
    three = bytes([len(leads), 0x04 | bool(beats) | (len(leads) << 3 & 0xF8)]) + b"".join(
        struct.pack("<IIB", start, start + len(row) - 1, codes[lead])
        for start, lead, row in zip(starts, leads, counts, strict=True)
    )
    bodies |= {1: one, 3: three, 6: stored(counts, avm)}
    if huffman:
        bodies[2] = struct.pack("<H", 19999)
    sections = {number: section(number, bodies[number]) for number in sorted(bodies)}
    length = 16 + 10 * 12
    place, pointers = 7 + length, b""
    for number in range(12):
        if number == 0:
            pointers += struct.pack("<HII", 0, length, 7)
        elif number in sections:
            pointers += struct.pack("<HII", number, len(sections[number]), place)
            place += len(sections[number])
        else:
            pointers += struct.pack("<HII", number, 0, 0)
    rest = struct.pack("<HIBB6s", 0, length, 20, 20, b"SCPECG") + pointers
    body = struct.pack("<H", binascii.crc_hqx(rest, 0xFFFF)) + rest + b"".join(sections.values())
    body = struct.pack("<I", 6 + len(body)) + body
    return struct.pack("<H", binascii.crc_hqx(body, 0xFFFF) ^ (1 if bad_crc else 0)) + body


def ishne(counts, leads=("V1", "V5", "aVF"), rate=200, *, resolution=2500, promised=None, crc=True, zero=False):
    """ISHNE Holter 1.0 (Badilini 1998). counts: steps of `resolution` nanovolt."""
    codes = {"I": 5, "II": 6, "III": 7, "aVR": 8, "aVL": 9, "aVF": 10, **{f"V{n}": 10 + n for n in range(1, 7)}}
    header = bytearray(512)
    struct.pack_into("<iiiih", header, 0, 0, promised or counts.shape[1], 522, 522, 1)
    header[18 : 18 + len(GIVEN)] = GIVEN.encode()
    header[58 : 58 + len(NAME)] = NAME.encode()
    header[98 : 98 + len(NUMBER)] = NUMBER.encode()
    struct.pack_into("<hh", header, 118, 2, 0)
    struct.pack_into("<3h3h3h3h", header, 122, 3, 2, 1945, 2, 4, 2006, 2, 4, 2006, 10, 15, 30)
    struct.pack_into("<h", header, 146, len(leads))
    struct.pack_into("<12h", header, 148, *[*(codes[lead] for lead in leads), *[-9] * (12 - len(leads))])
    struct.pack_into("<12h", header, 172, *[0] * 12)
    gains = [0 if zero else resolution] * len(leads)
    struct.pack_into("<12h", header, 196, *[*gains, *[-9] * (12 - len(leads))])
    header[222:229] = b"digital"
    struct.pack_into("<h", header, 262, rate)
    check = binascii.crc_hqx(bytes(header), 0xFFFF) ^ (0 if crc else 0x55)
    return b"ISHNE1.0" + struct.pack("<H", check) + bytes(header) + counts.T.astype("<i2").tobytes()


def mfer(counts, leads=LEADS, *, rate=500, step_nv=1000, preamble=True, big_endian=False, blocks=1, null=None):
    """MFER (ISO 22077-1): one frame of `blocks` sequences. counts: steps of `step_nv` nanovolt."""
    codes = {"I": 1, "II": 2, "V1": 3, "V2": 4, "V3": 5, "V4": 6, "V5": 7, "V6": 8, "III": 61, "aVR": 62, "aVL": 63,
             "aVF": 64}  # fmt: skip
    order = ">" if big_endian else "<"

    def item(tag, value):
        size = len(value)
        length = bytes([size]) if size < 128 else bytes([0x84]) + size.to_bytes(4, "big")
        return bytes([tag]) + length + value

    def number(value, size):
        return value.to_bytes(size, "big" if big_endian else "little", signed=True)

    samples = counts.shape[1] // blocks
    data = b"".join(
        counts[:, block * samples : (block + 1) * samples].astype(f"{order}i2").tobytes() for block in range(blocks)
    )
    return b"".join(
        [
            item(0x40, b"MFR Standard 12 leads ECG".ljust(32)) if preamble else b"",
            item(0x01, b"\0" if big_endian else b"\1"),
            item(0x81, f"{NAME}^{GIVEN}".encode()),
            item(0x82, NUMBER.encode()),
            item(0x84, b"\2"),
            item(0x85, struct.pack(f"{order}H", 2006) + bytes([4, 2, 10, 15, 30])),
            item(0x08, struct.pack(f"{order}H", 1)),
            item(0x0B, b"\0\0" + number(rate, 4)),  # frequency in Hz
            item(0x0C, b"\0" + (-9).to_bytes(1, "big", signed=True) + number(step_nv, 4)),
            item(0x12, struct.pack(f"{order}h", null)) if null is not None else b"",
            item(0x05, number(len(leads), 2)),
            item(0x04, number(samples, 4)),
            item(0x06, number(blocks, 4)),
            *(
                bytes([0x3F, ch]) + bytes([4]) + item(0x09, struct.pack(f"{order}H", codes[lead]))
                for ch, lead in enumerate(leads)
            ),
            item(0x1E, data),
            bytes([0x80]),
        ]
    )


def kardia(counts, leads=("I", "II", "III", "aVR", "aVL", "aVF"), *, rate=300, step_nv=500):
    """A recording of the Kardia API. counts: steps of `step_nv` nanovolt."""
    keys = {"I": "leadI", "II": "leadII", "III": "leadIII", "aVR": "AVR", "aVL": "AVL", "aVF": "AVF"}
    block = {
        "frequency": rate,
        "mainsFrequency": 50,
        "amplitudeResolution": step_nv,
        "numLeads": len(leads),
        "samples": {keys[lead]: row.tolist() for lead, row in zip(leads, counts, strict=True)},
    }
    return json.dumps(
        {
            "id": "rec1",
            "patientID": NUMBER,
            "recordedAt": "2006-04-02T10:15:30Z",
            "duration": 1000 * counts.shape[1] / rate,
            "heartRate": 71.2,
            "algorithmDetermination": "normal",
            "data": {"raw": block, "enhanced": block},
        }
    ).encode()


def csv(counts, leads=LEADS, *, comments=("# sampling_rate: 500", "# unit: uV"), delimiter=","):
    lines = [*comments, delimiter.join(leads), *(delimiter.join(map(str, row)) for row in counts.T.tolist())]
    return ("\n".join(lines) + "\n").encode()


def npz(counts, leads=LEADS):
    stream = io.BytesIO()
    np.savez(stream, signal=counts, sampling_rate=500, leads=np.array(leads), unit="uV")
    return stream.getvalue()


def npy(counts):
    stream = io.BytesIO()
    np.save(stream, counts)
    return stream.getvalue()


def parquet(records, **columns):
    """Rows of the package's own feature, written by `datasets`."""
    from datasets import Dataset, Features, Value

    from ecgllm.corpora import ECG

    features = Features({"ecg": ECG(), **{name: Value("string") for name in columns}})
    stream = io.BytesIO()
    Dataset.from_dict({"ecg": records, **columns}, features=features).to_parquet(stream)
    return stream.getvalue()


class Written:
    """The writers and constants above, as tests take them."""

    LEADS, EIGHT, NAME, GIVEN, NUMBER, BORN = LEADS, EIGHT, NAME, GIVEN, NUMBER, BORN
    microvolts, dicom, edf, muse, sierra = map(staticmethod, (microvolts, dicom, edf, muse, sierra))
    hl7, scp, ishne, mfer, kardia = map(staticmethod, (hl7, scp, ishne, mfer, kardia))
    csv, npz, npy, parquet, xli = map(staticmethod, (csv, npz, npy, parquet, xli))


@pytest.fixture(scope="session")
def written():
    return Written


@pytest.fixture(scope="session")
def one_of_each(tmp_path_factory):
    """format -> (content, signal in mV, leads, rate), small and undamaged."""
    uv, eight = microvolts(), microvolts(leads=EIGHT)
    three = microvolts(leads=("V1", "V5", "aVF"))
    six = microvolts(leads=LEADS[:6])
    return {
        "dicom": (dicom(uv), uv / 1000, LEADS, 500),
        "edf": (
            edf(tmp_path_factory.mktemp("edf"), np.hstack([uv, uv[:, :400]])),
            np.hstack([uv, uv[:, :400]]) / 1000,
            LEADS,
            500,
        ),
        "muse": (muse(eight // 5), eight // 5 * 4.88 / 1000, EIGHT, 500),
        "sierra": (sierra(uv // 5), uv // 5 * 5 / 1000, LEADS, 500),
        "hl7": (hl7(uv // 5), uv // 5 * 5 / 1000, LEADS, 500),
        "scp": (scp(eight), eight / 1000, EIGHT, 500),
        "ishne": (ishne(three // 3), three // 3 * 2.5 / 1000, ("V1", "V5", "aVF"), 200),
        "mfer": (mfer(uv), uv / 1000, LEADS, 500),
        "kardia": (kardia(six * 2), six / 1000, LEADS[:6], 300),
        "csv": (csv(uv), uv / 1000, LEADS, 500),
        "npz": (npz(uv), uv / 1000, LEADS, 500),
    }
