"""Clinical formats: a file that `ecgdatakit` can parse in, an ECGRecord in millivolt out.

`ecgdatakit` decodes DICOM, GE MUSE, Philips Sierra, HL7 aECG, SCP-ECG, EDF, ISHNE, MFER and Kardia files. Decided
here: which of the library's warnings mean that samples are missing or damaged (refused), and that nobody's name, birth
date or number is kept. `ecg_channels` decides which channels are the ECG, `notes` what else is kept;
corrections of the library are in `parsers`, each with its cause.
"""

from __future__ import annotations

import logging
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...limits import check_rate
from ...quotes import without_quotes
from ...record import ECGReadError, ECGRecord, shortened
from .ecg_channels import ecg_leads, lead_name, millivolts
from .notes import measurements, note_calibration, note_what_is_left_out, statements

if TYPE_CHECKING:
    import ecgdatakit

CLINICAL_FORMATS = ("dicom", "muse", "sierra", "hl7", "scp", "edf", "ishne", "mfer", "kardia")

# The library reports with Python warnings, which one thread's filters hide from all others.
_WARNINGS = threading.Lock()


def _free_in_child() -> None:
    """A process forked while another thread holds the lock would wait for a thread that it does not have."""
    global _WARNINGS
    _WARNINGS = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_free_in_child)

# Which of the library's warnings say that samples are missing.
_TRUNCATION = re.compile(
    r"truncated|only \d+ are complete|shorter than the frame|no waveform data, they are left out|last byte is ignored",
    re.IGNORECASE,
)
_RAW_METADATA = re.compile(
    r"[;,]? ?\(?see raw_metadata\[[^\]]*\]\)?|, record start times are in raw_metadata\[[^\]]*\]"
)


def read_clinical(
    source: Path | bytes,
    format: str,
    *,
    name: str,
    record_id: str | None = None,
    allow_truncated: bool = False,
    verify_checksum: bool = True,
    keep_identity: bool = False,
    max_bytes: int,
) -> ECGRecord:
    """Read one file of a clinical format.

    Args:
        source: a path, or the file's content. name: what errors call it.
        format: one of `CLINICAL_FORMATS`. record_id: the record's id.
        Others: see `read_ecg`.

    Returns: signal float32 [leads, samples] in mV; leads in the order of the file, under their standard names;
        statements "<FORMAT>:<sentence>"; the report joins the sentences.
    Raises: ECGReadError as `read_ecg` says, also where `ecgdatakit` is not installed.
    """
    parsers = _parsers(name)
    source = parsers.check_content(format, source, name)
    if isinstance(source, bytes):
        # The library reads files only. What it is given may name a patient: the folder is the user's alone and goes.
        with tempfile.TemporaryDirectory(prefix="ecgllm-") as folder:
            path = Path(folder) / "ecg"
            path.write_bytes(source)
            parsed, messages = _parse(parsers, path, format, name, max_bytes)
    else:
        parsed, messages = _parse(parsers, source, format, name, max_bytes)

    notes = _judge(messages, name, [lead.label for lead in parsed.leads], allow_truncated, verify_checksum)
    leads, rate = ecg_leads(parsed, format, name, notes)
    check_rate(name, rate)
    signal = millivolts(parsed, leads, rate, format, name, max_bytes, notes)
    note_what_is_left_out(parsed, format, leads, notes)
    note_calibration(signal, rate, notes)
    stated = _stated(parsed, format, keep_identity, notes)
    try:
        return ECGRecord(
            signal=signal,
            sampling_rate=rate,
            leads=tuple(lead_name(lead.label) for lead in leads),
            id=record_id,
            recorded_at=parsed.recording.date,
            measurements=measurements(parsed) or None,
            source=format,
            **stated,
            notes=tuple(dict.fromkeys(notes)),
        )
    except (TypeError, ValueError) as error:
        raise ECGReadError(f"{name}: {error}") from error


def _stated(parsed: ecgdatakit.ECGRecord, format: str, keep_identity: bool, notes: list[str]) -> dict[str, Any]:
    """What is said of the patient and of the ECG."""
    sentences, report = statements(parsed, format, keep_identity, notes)
    patient = parsed.patient
    age = patient.age
    if age is not None and not 0 <= age <= 130:
        notes.append("the age is not a number of years from 0 to 130; it was left out")
        age = None
    return {
        "statements": sentences,
        "report": report,
        "patient_id": (patient.patient_id or None) if keep_identity else None,
        "age": age,
        "sex": {"M": "male", "F": "female"}.get(patient.sex),
    }


def _parsers(name: str) -> Any:
    try:
        from . import parsers as clinical_parsers
    except ImportError as error:
        raise ECGReadError(
            f"{name}: this format is read by the package ecgdatakit, which cannot be imported ({error}). Install it: "
            "pip install 'ecgllm[formats]'"
        ) from error
    return clinical_parsers


def _parse(
    parsers: Any, path: Path, format: str, name: str, max_bytes: int
) -> tuple[ecgdatakit.ECGRecord, list[warnings.WarningMessage]]:
    with _WARNINGS, _unlogged(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parsed = parsers.PARSERS[format]().parse(path)
        except ImportError as error:
            raise ECGReadError(f"{name}: {error}. Install what is missing: pip install 'ecgllm[formats]'") from error
        # Files are hostile until read: the library's parsers raise their own errors, and what broken bytes make of
        # NumPy, pydicom and expat. These quote the file; they stay in `__context__`, where no traceback prints them.
        except Exception as error:
            cause = _plain(str(error).replace(str(path), Path(name).name))
            raise ECGReadError(
                f"{name}: is no readable {format} file: {type(error).__name__}: {cause}. The file is damaged, cut or "
                "of a kind that is not supported; export or copy it again."
            ) from None
    if not parsed.leads:
        raise ECGReadError(
            f"{name}: holds no rhythm recording"
            + (", only median beats" if parsed.median_beats else "")
            + "; expected at least one lead. Export the recording itself."
        )
    return parsed, list(caught)


def _judge(
    messages: list[warnings.WarningMessage], name: str, labels: list[str], allow_truncated: bool, verify_checksum: bool
) -> list[str]:
    """The library's warnings as notes. Raises: ECGReadError for those that mean damage."""
    notes = []
    for message in messages:
        text = _plain(str(message.message), labels)
        if "birth" in text.lower():
            text = "the birth date cannot be read"
        if message.category.__name__ == "ChecksumWarning" and verify_checksum:
            raise ECGReadError(
                f"{name}: {text}. The file is damaged; copy it again, or pass verify_checksum=False "
                "(--skip-checksum) to read it all the same."
            )
        if _TRUNCATION.search(text) and not allow_truncated:
            raise ECGReadError(
                f"{name}: {text}. Copy the file again, or pass allow_truncated=True (--allow-truncated) to read what "
                "is there."
            )
        notes.append(text)
    return notes


def _plain(text: str, labels: list[str] | tuple[str, ...] = ()) -> str:
    """A message of the library without what it quotes from the file, unless that is a lead's name."""
    return without_quotes(_RAW_METADATA.sub("", shortened(" ".join(text.split()))), labels)


@contextmanager
def _unlogged() -> Iterator[None]:
    """pydicom logs each warning, too, with the value that it complains of. What this thread reads is not logged; the
    warnings become notes."""
    thread, logger = threading.get_ident(), logging.getLogger("pydicom")

    def of_others(entry: logging.LogRecord) -> bool:
        return entry.thread != thread

    logger.addFilter(of_others)
    try:
        yield
    finally:
        logger.removeFilter(of_others)
