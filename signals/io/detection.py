"""Which format a file is in, told by what it holds: its first bytes in, a format's name out.

Suffixes are not asked: a hospital's export is as often called ".xml" as ".txt" or nothing. Decided here: the marks by
which each format is known, and what a file that is no ECG is called in an error.
"""

from __future__ import annotations

import os
import re
import struct
from itertools import islice

from ...signal_ecgllm import standard_lead_name

HEAD_BYTES = 1 << 16  # of a file's start; the root of an XML file may stand behind long comments

# name -> what a person calls it. "bdf" is known in order to be refused by name.
FORMATS = {
    "wfdb": "WFDB (a .hea header with .dat or .mat files)",
    "dicom": "DICOM waveform",
    "muse": "GE MUSE XML",
    "sierra": "Philips Sierra XML",
    "hl7": "HL7 aECG",
    "scp": "SCP-ECG",
    "edf": "EDF or EDF+",
    "ishne": "ISHNE Holter",
    "mfer": "MFER",
    "kardia": "Kardia JSON",
    "csv": "CSV or TSV with a header of lead names",
    "npy": "NumPy .npy",
    "npz": "NumPy .npz",
    "parquet": "Parquet with rows of the ECG feature",
}
ALIASES = {
    "tsv": "csv",
    "hea": "wfdb",
    "edf+": "edf",
    "aecg": "hl7",
    "numpy": "npy",
    "philips": "sierra",
    "dcm": "dicom",
}

_XML_ROOTS = {"annotatedecg": "hl7", "restingecg": "muse", "restingecgdata": "sierra"}
_XML_ROOT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)[\s/>]")
_XML_SKIPPED = (("<?", "?>"), ("<!--", "-->"))  # what may stand before the root, and where it ends
_KARDIA_KEYS = re.compile(r'"(recordedAt|algorithmDetermination|patientID|amplitudeResolution|data12L)"')
_WFDB_RECORD_LINE = re.compile(r"\S+\s+\d{1,4}\s+\d+(?:\.\d+)?(?:[/(]\S+)?(?:\s+\d+(?:\s.*)?)?")
_WFDB_NEXT_LINE = re.compile(r"(?![\d.+-]+\s)[^\s,;]+\s+\d+(?:x\d+)?(?::\d+)?(?:\+\d+)?(?:\s.*)?")
_NUMBER = re.compile(r"\s*[+-]?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d+)?\s*")
_DELIMITERS = "\t;,"
_UNIT_LINE = ("", "s", "sec", "seconds", "ms", "n", "v", "mv", "uv", "\xb5v", "\u03bcv", "nv")
DICOM_WAVEFORM = b"1.2.840.10008.5.1.4.1.1.9."  # the SOP classes of waveforms (PS3.4, B.5)
# DICOM without the preamble and mark of a file: the tags of which one comes first, and in big endian.
_DICOM_STARTS = tuple(
    bytes(tag)
    for group, element in ((2, 0), (2, 1), (8, 0), (8, 5), (8, 8), (8, 0x12), (8, 0x16))
    for tag in ((group, 0, element, 0), (0, group, 0, element))
)
_KNOWN_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    (b"MATLAB 5.0 MAT-file", "a MATLAB 5 file"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"\x1f\x8b", "a gzip archive (unpack it first)"),
    (b"BZh", "a bzip2 archive (unpack it first)"),
    (b"\xfd7zXZ", "an xz archive (unpack it first)"),
    (b"7z\xbc\xaf", "a 7-Zip archive (unpack it first)"),
    (b"Rar!", "a RAR archive (unpack it first)"),
    (b"PK\x03\x04", "a ZIP archive without NumPy arrays (unpack it first)"),
    (b"\xffBIOSEMI", "a BDF file (BioSemi, 24 bits; convert it to EDF+)"),
    (b"GDF 1.", "a GDF file (convert it to EDF+, for instance with save2gdf -f=EDF)"),
    (b"GDF 2.", "a GDF file (convert it to EDF+, for instance with save2gdf -f=EDF)"),
    (b"ALIVE", "a Kardia .atc file (export the recording's JSON from the Kardia API instead)"),
    (b"SQLite format 3", "an SQLite database"),
)


_INSTEAD = "export DICOM, HL7 aECG, SCP-ECG or EDF instead"
# They count bytes from 0 where SCP-ECG counts from 1, and pack their samples in a way of their own.
_HEALFORCE = f"a HealForce device's own kind of SCP-ECG ({_INSTEAD})"
_CONTEC = f"a Contec ECG90A's own .ECG file ({_INSTEAD})"
# Its name of the case and the time of recording (rigacci.org, "ECG File Format").
_CONTEC_START = re.compile(rb"[0-9A-Za-z]{1,7}\0[\0-9A-Za-z]{0,6}\0\0\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\0")
_APPLE = (
    "an Apple Watch's CSV, which names the patient (keep the samples alone, below a first line 'I', and pass "
    "format='csv', unit='uV' and the sampling rate; --format csv --unit uV --sampling-rate)"
)
_HERTZ = re.compile(r'^[^,;\n]{1,60}[,;]"?\d{2,4}(?:[.,]\d{1,6})?[ \xa0]hertz', re.IGNORECASE | re.MULTILINE)
_WATCH = re.compile(r"\bWatch\d{1,2},\d{1,2}\b")  # its model, in the line of the device
_OTHER_ROOTS = {
    "cardiologyxml": f"GE CardioSoft XML ({_INSTEAD})",
    "ecg": f"XML with the root <ECG>, as Mortara's ELI devices write ({_INSTEAD})",
}

_KNOWN_SUFFIX = {
    ".ecg": f"a device's own .ecg file, as Contec and HealForce write ({_INSTEAD})",
    ".scp": f"called SCP-ECG and has no list of sections as EN 1064 wants it; HealForce's files have not ({_INSTEAD})",
    ".acq": f"a BIOPAC AcqKnowledge file ({_INSTEAD})",
    ".arc": f"an archive of EDAN's Holter software ({_INSTEAD})",
    ".atc": "a Kardia .atc file (export the recording's JSON from the Kardia API instead)",
    ".gdf": "a GDF file (convert it to EDF+, for instance with save2gdf -f=EDF)",
    ".bdf": "a BDF file (BioSemi, 24 bits; convert it to EDF+)",
}


def detect_format(head: bytes) -> str | None:
    """Name the format of a file by its first `HEAD_BYTES` bytes.

    Returns: a key of `FORMATS`, "bdf" for BioSemi's variant of EDF (which is not read), or None for anything else.
    """
    if not head:
        return None
    binary = _binary_format(head)
    if binary is not None:
        return binary
    text = decode_head(head)
    if text is not None:
        return _text_format(text)
    # The last, because MFER has no mark of its own: a chain of plausible definitions must do.
    return "mfer" if not _CONTEC_START.match(head) and _is_mfer(head) else None


def describe(head: bytes) -> str:
    """What a file that is no known ECG looks like, for an error or a table."""
    if not head:
        return "an empty file"
    for magic, name in _KNOWN_MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        return "a WAVE sound file"
    if _is_healforce(head):
        return _HEALFORCE
    if _CONTEC_START.match(head):
        return _CONTEC
    text = decode_head(head)
    if text is None:
        return "a binary file of no known kind"
    root = xml_root(text)
    if root is not None:
        return _OTHER_ROOTS.get(root.lower(), f"XML with the root <{root}>")
    if _HERTZ.search(text[:4096]) and _WATCH.search(text[:4096]):
        return _APPLE
    return "JSON" if text.lstrip()[:1] in ("{", "[") else "text"


def described_by_suffix(path: str) -> str | None:
    """What a binary file that bears no mark is by its suffix, and what to export instead; None for other files."""
    return _KNOWN_SUFFIX.get(os.path.splitext(path)[1].lower())


def decode_head(head: bytes) -> str | None:
    """The text that the bytes spell, or None if they are no text; the last character may be cut."""
    return decode_text(head, cut=True)


def decode_text(head: bytes, cut: bool = False) -> str | None:
    """The text that the bytes spell, in UTF-16, UTF-8 or else Windows' Latin alphabet, or None if they are no text."""
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return head[: len(head) // 2 * 2].decode("utf-16", errors="replace")
    if head[:4] in (b"<\0?\0", b"<\0r\0"):
        return head[: len(head) // 2 * 2].decode("utf-16-le", errors="replace")
    if b"\0" in head[:4096] or len(head[:4096].translate(None, _CONTROL)) < len(head[:4096]):
        return None
    try:
        return head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if cut and error.start >= len(head) - 3 and error.reason == "unexpected end of data":
            return head[: error.start].decode("utf-8-sig")
        return head.decode("cp1252", errors="replace")  # spreadsheets' own, with "µV" in one byte


_CONTROL = bytes(code for code in range(32) if code not in (9, 10, 12, 13))


def xml_root(text: str) -> str | None:
    """Local name of the root element, or None if this is no XML."""
    start = text.lstrip("\ufeff \t\r\n")
    if not start.startswith("<"):
        return None
    place = start.find("<")
    while place >= 0:
        end = _behind_markup(start, place)
        if end is None:
            found = _XML_ROOT.match(start, place)
            return found[1] if found else None
        place = start.find("<", end)
    return None


def _behind_markup(text: str, place: int) -> int | None:
    """The end of the comment, instruction or document type at `place`; None where none begins there. Each character is
    looked at once, so that a head of nothing but "<?" takes no longer than another."""
    for opening, closing in _XML_SKIPPED:
        if text.startswith(opening, place):
            end = text.find(closing, place + len(opening))
            return len(text) if end < 0 else end + len(closing)
    if not text.startswith("<!DOCTYPE", place):
        return None
    end, subset = text.find(">", place), text.find("[", place)
    if 0 <= subset < end:
        end = text.find(">", text.find("]", subset)) if text.find("]", subset) >= 0 else -1
    return len(text) if end < 0 else end + 1


def table_columns(line: str) -> tuple[str, list[str]] | None:
    """(delimiter, column names) of a line that names at least one lead among its columns, else None."""
    delimiter = max(_DELIMITERS, key=line.count)
    names = [name.strip().strip("\"'").strip() for name in line.split(delimiter)]
    leads = 0
    for name in names:
        try:
            standard_lead_name(split_unit(name)[0])
        except ValueError:
            continue
        leads += 1
    # One column called "I" is an ECG, one lead name among many other words is a sentence.
    return (delimiter, names) if leads and leads * 3 >= len(names) else None


def split_unit(column: str) -> tuple[str, str | None]:
    """("V1", "mV") of "V1 (mV)"; the unit is None where the name carries none."""
    column = column.strip()
    if column.endswith((")", "]")):
        inside = column[:-1]
        # Behind the last bracket that closes, the first that opens.
        closed = max(inside.rfind(")"), inside.rfind("]")) + 1
        opened = min((at for at in (inside.find("(", closed), inside.find("[", closed)) if at >= 0), default=0)
        if opened:
            return column[:opened].strip(), inside[opened + 1 :].strip()
    return column, None


def is_unit_line(fields: list[str]) -> bool:
    """Whether a line below the names gives a unit for each column, such as "s,mV,mV", "(mV)" or "'mV'" among them."""
    bare = [field.strip(" \"'()[]").lower() for field in fields]
    return any(bare) and all(field in _UNIT_LINE for field in bare)


def _binary_format(head: bytes) -> str | None:
    if head[128:132] == b"DICM" or (head[:4] in _DICOM_STARTS and DICOM_WAVEFORM in head[:4096]):
        return "dicom"
    if head.startswith(b"ISHNE1.0"):
        return "ishne"
    if head.startswith(b"\xffBIOSEMI"):
        return "bdf"
    if head.startswith(b"0       ") and len(head) >= 256 and head[252:256].strip(b" \0").isdigit():
        return "edf"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK\x03\x04") and head[30 : 30 + struct.unpack_from("<H", head + bytes(32), 26)[0]].endswith(
        b".npy"
    ):
        return "npz"
    if 7 in _scp_places(head) and not _is_healforce(head):
        return "scp"
    if head[0] == 0x40 and head[2:6] == b"MFR ":
        return "mfer"
    return None


def _scp_entries(head: bytes) -> list[tuple[int, int, int]]:
    """(number, length, place) of each section in the list of sections that begins at the sixth byte; nothing where
    there is no such list."""
    if len(head) < 32:
        return []
    section, length = struct.unpack_from("<HI", head, 8)
    if section != 0 or length < 26 or (length - 16) % 10:
        return []
    return list(struct.iter_unpack("<HII", head[22 : min(6 + length, len(head) - (len(head) - 22) % 10)]))


def _scp_places(head: bytes) -> set[int]:
    """Where the list of sections says that it stands itself: at 7 in SCP-ECG, which counts bytes from 1."""
    length = int.from_bytes(head[10:14], "little")
    return {place for number, size, place in _scp_entries(head) if number == 0 and size == length}


def _is_healforce(head: bytes) -> bool:
    """Whether the list counts bytes from 0: a section's own header, whose third byte is its number, stands there."""

    def stands_at(place: int, number: int) -> bool:
        return head[place + 2 : place + 4] == number.to_bytes(2, "little")

    there = [(number, place) for number, size, place in _scp_entries(head) if size and 0 < number < 12]
    seen = [(number, place) for number, place in there if place + 4 <= len(head)]
    return any(stands_at(place, number) and not stands_at(place - 1, number) for number, place in seen)


def _text_format(text: str) -> str | None:
    root = xml_root(text)
    if root is not None:
        return _XML_ROOTS.get(root.lower())
    stripped = text.lstrip("\ufeff \t\r\n")
    if stripped.startswith("{"):
        return "kardia" if len(set(_KARDIA_KEYS.findall(text))) >= 2 else None
    lines = (line.strip() for line in stripped.splitlines())
    content = list(islice((line for line in lines if line and not is_comment(line)), 3))
    if not content:
        return None
    if (
        _WFDB_RECORD_LINE.fullmatch(content[0].partition("#")[0].rstrip())
        and len(content) >= 2
        and _WFDB_NEXT_LINE.fullmatch(content[1])
    ):
        return "wfdb"
    columns = table_columns(content[0])
    if columns is None or len(content) < 2:
        return None
    # A table of words may name leads too, as LUDB's list of annotators does.
    lines = [[field.strip(" \"'") for field in line.split(columns[0])] for line in content[1:]]
    if is_unit_line(lines[0]):
        lines = lines[1:]
    return "csv" if lines and any(_NUMBER.fullmatch(field) for field in lines[0]) else None


def is_comment(line: str) -> bool:
    """Whether a line above a table says something about it: "# unit: mV", or "sep=;", which spreadsheets ask for."""
    return line.startswith(("#", "%")) or line.lower().startswith("sep=")


def _is_mfer(head: bytes) -> bool:
    try:
        from ecgdatakit.parsing.parsers.mfer import MFERParser
    except ImportError:  # the extra `formats` is absent: only files with MFER's optional preamble are known
        return False
    from pathlib import Path

    return MFERParser.can_parse(Path(), head[:4096])
