"""read_ecg: one file in, whatever its format, one ECGRecord out.

Decided here: that a file's content names its format, which reader it goes to, how much of it may be read, and what is
said of amplitudes that no heart makes. The readers: `wfdb`, `clinical` (through ecgdatakit) and those of `tables`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ...errors_ecgllm import ECGError
from ..limits import DEFAULT_MAX_BYTES, check_rate, implausible_amplitude
from ..record import ECGReadError, ECGRecord
from .clinical.reader import CLINICAL_FORMATS, read_clinical
from .detection import ALIASES, FORMATS, HEAD_BYTES, describe, described_by_suffix, detect_format
from .tables.csv_tables import read_csv
from .tables.numpy_arrays import read_numpy
from .tables.parquet_rows import read_parquet
from .tables.tabular import TableDescription
from .wfdb.reader import read_wfdb


def read_ecg(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO,
    format: str | None = None,
    *,
    allow_truncated: bool = False,
    verify_checksum: bool = True,
    keep_identity: bool = False,
    sampling_rate: float | None = None,
    unit: str | None = None,
    leads: Sequence[str] | None = None,
    max_bytes: int = DEFAULT_MAX_BYTES,
) -> ECGRecord:
    """Read one ECG file.

    Args:
        source: a path, the bytes of a file, or a binary file object. A WFDB record has several files and needs a
            path: its .hea, .dat or .mat file, or their common path without suffix.
        format: a key of `ecgllm.signals.io.detection.FORMATS`, such as "dicom"; None finds it from the content,
            whatever the file is called.
        allow_truncated: read what is there of a file that ends early, instead of refusing it. The record's notes say
            so.
        verify_checksum: compare samples with the checksum that the file carries, where it carries one.
        keep_identity: keep the patient's number as `patient_id`, and statements that name somebody. A name or a birth
            date is never kept.
        sampling_rate, unit, leads: Hz, "mV" or "uV", and names of a table or array that does not say them itself. A
            file that says another rate is refused; formats that always state unit and leads ignore the two.
        max_bytes: the largest file, and the largest signal in memory, that is read.

    Returns: the record in millivolt, leads under their standard names (others as the file writes them), in the order
        of the file; `source` is the format, `notes` say what was left out, changed or doubtful.
    Raises: ECGReadError if the file is missing, of an unsupported kind, damaged, too large or contradicts itself; the
        message says what was found, what was expected, and the way out.
    """
    options = {"allow_truncated": allow_truncated, "verify_checksum": verify_checksum, "max_bytes": max_bytes}
    if format is None and sampling_rate is None and isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        if path.endswith(".hea"):  # which names its format, the commonest, so that the rest need not be asked
            text, size = _head(path)
            if text is not None:
                return read_wfdb(path, text=text if size < HEAD_BYTES else None, **options)
    described = TableDescription(sampling_rate, unit, leads)
    records = _records(source, _known_format(format), described, keep_identity, options)
    record = next(records, None)
    if record is None or next(records, None) is not None:
        raise ECGReadError(
            f"{_name(source)}: holds {'no ECG' if record is None else 'several ECGs'}; expected one. Rows of a "
            "Parquet file are read in Python: by iter_ecgs on its folder, or by `datasets`."
        )
    return record


def read_all_ecgs(source: str | os.PathLike[str] | bytes, **options: Any) -> Iterator[ECGRecord]:
    """Read every ECG of one file: the rows of a Parquet file, the one record of any other. Options as `read_ecg`."""
    described = TableDescription(
        options.pop("sampling_rate", None), options.pop("unit", None), options.pop("leads", None)
    )
    format, keep_identity = _known_format(options.pop("format", None)), options.pop("keep_identity", False)
    defaults = {"allow_truncated": False, "verify_checksum": True, "max_bytes": DEFAULT_MAX_BYTES}
    unknown = set(options) - set(defaults)
    if unknown:
        raise TypeError(f"read_ecg has no option {', '.join(sorted(unknown))}")
    return _records(source, format, described, keep_identity, defaults | options)


def _known_format(format: str | None) -> str | None:
    if format is None:
        return None
    key = ALIASES.get(format.lower(), format.lower())
    if key not in FORMATS:
        raise ECGError(f"format is {format!r}; expected one of {', '.join(FORMATS)}, or None to find it.")
    return key


def _records(
    source: Any, format: str | None, described: TableDescription, keep_identity: bool, options: dict[str, Any]
) -> Iterator[ECGRecord]:
    """Every ECG of one file. Raises: ECGReadError for one of another rate than the caller says."""
    given = described.sampling_rate
    for record in _read(source, format, described, keep_identity, options):
        if given is not None and abs(record.sampling_rate - given) > 1e-3 * given:
            raise ECGReadError(
                f"{_name(source)}: says {record.sampling_rate:g} Hz, sampling_rate={given:g} was passed; drop it, or "
                "correct the file."
            )
        yield record


def _read(
    source: Any, format: str | None, described: TableDescription, keep_identity: bool, options: dict[str, Any]
) -> Iterator[ECGRecord]:
    max_bytes = options["max_bytes"]
    if isinstance(source, (str, os.PathLike)):
        path: str | None = os.fspath(source)
        head, size = _head(path)
        data = None
    else:
        path = None
        data = _content(source, max_bytes)
        head, size = data[:HEAD_BYTES], len(data)
    name = _name(source)
    if path is not None:
        wfdb = _wfdb_header(path, head, format)
        if wfdb is not None:
            header, text = wfdb
            yield read_wfdb(header, text=text, signal_file=None if head is None or header == path else path, **options)
            return
        if head is None:
            raise ECGReadError(f"{path}: there is no such file, and no {os.path.basename(path)}.hea either.")
    if format is None:
        format = detect_format(head)
    if format is None or format == "bdf":
        kind = describe(head)
        if kind == "a binary file of no known kind":
            kind = described_by_suffix(name) or kind
        way_out = (
            " If it is a table of samples, pass format='csv' (--format csv), and leads=[...] (--leads I,II,...) "
            "where its first line names none."
            if kind == "text"
            else ""
        )
        raise ECGReadError(f"{name}: is {kind}, in which no ECG is known. This version reads {_known()}.{way_out}")
    if format == "wfdb":
        raise ECGReadError(
            f"{name}: a WFDB header names the files that hold its samples; expected its path, not its bytes. Write "
            "the files into one folder and pass the path of the .hea."
        )
    if size > max_bytes:
        raise ECGReadError(
            f"{name}: holds {size:,} bytes; the limit is {max_bytes:,}. If you trust the file, read it in "
            "Python with max_bytes=...."
        )
    record_id = _record_id(path)
    content = data if data is not None else Path(path)
    if format in CLINICAL_FORMATS:
        record = read_clinical(content, format, name=name, record_id=record_id, keep_identity=keep_identity, **options)
        yield _judged(record, name)
    elif format == "parquet":
        yield from read_parquet(content, name=name, record_id=record_id, max_bytes=max_bytes)
    else:
        reader = read_csv if format == "csv" else read_numpy
        data = data if data is not None else content.read_bytes()
        yield _judged(reader(data, described, name=name, record_id=record_id, max_bytes=max_bytes), name)


def _head(path: str) -> tuple[bytes | None, int]:
    """(first bytes, size) of a file; (None, 0) where there is none, as for a WFDB record's name."""
    try:
        # Without waiting: opening a named pipe would last until somebody writes into it.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            status = os.fstat(handle)
            if stat.S_ISREG(status.st_mode):
                return os.read(handle, min(HEAD_BYTES, status.st_size)), status.st_size
        finally:
            os.close(handle)
    except FileNotFoundError:
        return None, 0
    except OSError as error:
        raise ECGReadError(
            f"{path}: cannot be opened: {error.strerror or error}. Check the path and rights."
        ) from error
    except ValueError as error:  # a NUL in the name
        raise ECGReadError(f"{path!r}: is no path: {error}.") from error
    if stat.S_ISDIR(status.st_mode) and os.path.isfile(f"{path}.hea"):
        return None, 0
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device or pipe"
    raise ECGReadError(f"{path}: is {kind}; expected a file. Read its files one by one, in Python with iter_ecgs.")


def _wfdb_header(path: str, head: bytes | None, format: str | None) -> tuple[str, bytes | None] | None:
    """(path of the WFDB header that this path means, its text if it is at hand), or None for other files."""
    if format not in (None, "wfdb"):
        return None
    if head is None:
        if path.endswith(".hea"):
            raise ECGReadError(f"{path}: there is no such file.")
        header = f"{path}.hea"  # a record may be called "a.b"
        return (header, None) if os.path.isfile(header) else None
    text = head if len(head) < HEAD_BYTES else None
    if path.endswith(".hea"):
        return path, text
    kind = detect_format(head)
    if kind == "wfdb":
        return path, text
    # Signal files bear no mark; a header of the same name beside one makes it one. MFER's marks are loose.
    if kind in (None, "mfer"):
        header = _beside(path)
        if header is not None:
            return header, None
        if not os.path.splitext(path)[1] and os.path.isfile(f"{path}.hea"):
            return f"{path}.hea", None
        if kind is None and (path[-4:].lower() in (".dat", ".mat") or format == "wfdb"):
            raise ECGReadError(
                f"{path}: a WFDB signal file is read through its header, and there is no "
                f"{os.path.basename(os.path.splitext(path)[0])}.hea beside it. Put the header there; it holds the "
                "leads, the gains and the sampling rate."
            )
    return None


def _beside(path: str) -> str | None:
    header = f"{os.path.splitext(path)[0]}.hea"
    return header if header != path and os.path.isfile(header) else None


def _content(source: Any, max_bytes: int) -> bytes:
    if isinstance(source, (bytes, bytearray, memoryview)):
        if len(source) > max_bytes:
            raise ECGReadError(f"{len(source):,} bytes were given; the limit is {max_bytes:,}. Pass max_bytes=....")
        return bytes(source)
    if not hasattr(source, "read"):
        raise TypeError(f"source is {type(source).__name__}; expected a path, bytes or a binary file object.")
    content = source.read(max_bytes + 1)
    if not isinstance(content, bytes):
        raise TypeError("the file object gives text; open it in binary mode ('rb').")
    if len(content) > max_bytes:
        raise ECGReadError(f"{_name(source)}: holds more than {max_bytes:,} bytes, the limit. Pass max_bytes=....")
    return content


def _name(source: Any) -> str:
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "the given bytes"


def _record_id(path: str | None) -> str | None:
    return None if path is None else os.path.splitext(os.path.basename(path))[0]


def _known() -> str:
    return ", ".join(FORMATS.values())


def _judged(record: ECGRecord, name: str) -> ECGRecord:
    """The record, with a note where its amplitudes are none of a heart. Raises: ECGReadError for such a rate."""
    check_rate(name, record.sampling_rate)
    high, low = float(record.signal.max()), float(record.signal.min())
    if high != high:
        high, low = float(np.nanmax(record.signal)), float(np.nanmin(record.signal))
    doubt = implausible_amplitude(low, high)
    return replace(record, notes=(*record.notes, doubt)) if doubt else record
