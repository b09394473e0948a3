"""Clinical formats: a file that `ecgdatakit` can parse in, an ECGRecord in millivolt out.

`ecgdatakit` decodes DICOM, GE MUSE, Philips Sierra, HL7 aECG, SCP-ECG, EDF, ISHNE, MFER and Kardia files; this module
decides what of them is an ECG: which leads, at which exact rate, in which unit, and which of the library's warnings
mean that samples are missing or damaged (refused) or are worth a note. Nobody's name, birth date or number is kept.
Corrections of the library are in `clinical_parsers`, each with its cause.
"""

from __future__ import annotations

import re
import tempfile
import threading
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .limits import check_size
from .record import ECGReadError, ECGRecord, known_lead_name
from .wfdb_header import unit_in_millivolt

if TYPE_CHECKING:
    import ecgdatakit

CLINICAL_FORMATS = ("dicom", "muse", "sierra", "hl7", "scp", "edf", "ishne", "mfer", "kardia")

# The library reports with Python warnings, which one thread's filters hide from all others.
_WARNINGS = threading.Lock()

# Which of the library's warnings say that samples are missing.
_TRUNCATION = re.compile(
    r"truncated|only \d+ are complete|shorter than the frame|no waveform data, they are left out|last byte is ignored",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|<[^>\n]*>")
_STANDARD_MEASUREMENTS = {
    "heart_rate": "heart_rate",
    "rr_interval": "rr",
    "pr_interval": "pr",
    "qrs_duration": "qrs",
    "qt_interval": "qt",
    "qtc_bazett": "qtc_bazett",
    "qtc_fridericia": "qtc_fridericia",
    "p_axis": "p_axis",
    "qrs_axis": "axis",
    "t_axis": "t_axis",
}
# Who signed stands among the statements of carts' reports.
_SIGNATURE = re.compile(
    r"\b(?:confirm(?:ed|ing)|referr(?:ed|ing)|sign(?:ed|ature)|review(?:ed|er)|over-?read|interpreted|edited|ordered)\b"
    r".{0,20}?\b(?:by|md)\b|electronically|\bdr\.?\s|\bm\.?d\.?\s*$|\b(?:patient|name|dob|born|birth|mrn|technician)\b",
    re.IGNORECASE,
)
_OTHER_SIGNALS = re.compile(
    r"^(?:EEG|EMG|EOG|ERG|MEG|MCG|EP|Resp|Airflow|SaO2|SpO2|Light|Sound|Event)\b", re.IGNORECASE
)
_ISHNE_FAULT = -32768  # the value that ISHNE's specification proposes for a lead that is off
_CALIBRATION_S = 0.2  # stretch at the end of which a calibration pulse is at least this long


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
    parsers.check_content(format, source, name)
    if isinstance(source, bytes):
        # The library reads files only. What it is given may name a patient: the folder is the user's alone and goes.
        with tempfile.TemporaryDirectory(prefix="ecgllm-") as folder:
            path = Path(folder) / "ecg"
            path.write_bytes(source)
            parsed, messages = _parse(parsers, path, format, name, max_bytes)
    else:
        parsed, messages = _parse(parsers, source, format, name, max_bytes)

    notes = _judge(messages, name, [lead.label for lead in parsed.leads], allow_truncated, verify_checksum)
    leads, rates = _ecg_leads(parsed, format, name, notes)
    signal = _millivolts(leads, format, name, max_bytes, notes)
    _note_what_is_left_out(parsed, format, leads, notes)
    _note_calibration(signal, rates, notes)
    statements, report = _statements(parsed, format, keep_identity, notes)
    patient = parsed.patient
    age = patient.age
    if age is not None and not 0 <= age <= 130:
        notes.append("the age is not a number of years from 0 to 130; it was left out")
        age = None
    try:
        return ECGRecord(
            signal=signal,
            sampling_rate=rates,
            leads=tuple(known_lead_name(lead.label) for lead in leads),
            id=record_id,
            patient_id=(patient.patient_id or None) if keep_identity else None,
            recorded_at=parsed.recording.date,
            report=report,
            measurements=_measurements(parsed) or None,
            age=age,
            sex={"M": "male", "F": "female"}.get(patient.sex),
            statements=statements,
            notes=tuple(dict.fromkeys(notes)),
            source=format,
        )
    except (TypeError, ValueError) as error:
        raise ECGReadError(f"{name}: {error}") from error


def _parsers(name: str) -> Any:
    try:
        from . import clinical_parsers
    except ImportError as error:
        raise ECGReadError(
            f"{name}: this format is read by the package ecgdatakit, which cannot be imported ({error}). Install it: "
            "pip install 'ecgllm[formats]'"
        ) from error
    return clinical_parsers


def _parse(
    parsers: Any, path: Path, format: str, name: str, max_bytes: int
) -> tuple[ecgdatakit.ECGRecord, list[warnings.WarningMessage]]:
    with _WARNINGS, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parsed = parsers.PARSERS[format]().parse(path)
        except ImportError as error:
            raise ECGReadError(f"{name}: {error}. Install what is missing: pip install 'ecgllm[formats]'") from error
        # Files are hostile until read: the library's parsers raise their own errors, and what broken bytes make of
        # NumPy, pydicom and expat.
        except Exception as error:
            cause = _without_quotes(str(error).replace(str(path), Path(name).name), ())
            raise ECGReadError(
                f"{name}: is no readable {format} file: {type(error).__name__}: {cause}. The file is damaged, cut or "
                "of a kind that is not supported; export or copy it again."
            ) from error
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
        text = _without_quotes(str(message.message), labels)
        if "birth" in text.lower():
            text = "the birth date cannot be read"
        if message.category.__name__ == "ChecksumWarning" and verify_checksum:
            raise ECGReadError(
                f"{name}: {text}. The file is damaged; copy it again, or pass verify_checksum=False to read it all "
                "the same."
            )
        if _TRUNCATION.search(text) and not allow_truncated:
            raise ECGReadError(
                f"{name}: {text}. Copy the file again, or pass allow_truncated=True to read what is there."
            )
        notes.append(text)
    return notes


def _without_quotes(text: str, labels: list[str] | tuple[str, ...]) -> str:
    """The text without what it quotes from the file, unless that is a lead's name: it could be a patient's."""
    return _QUOTED.sub(lambda found: found[0] if found[0][1:-1] in labels else "(not shown)", " ".join(text.split()))


def _ecg_leads(parsed: Any, format: str, name: str, notes: list[str]) -> tuple[list[Any], float]:
    """The leads that are an ECG of one rate and length, and that rate."""
    leads = list(parsed.leads)
    if format == "edf":
        other = [lead.label for lead in leads if _OTHER_SIGNALS.match(lead.label)]
        if other and len(other) < len(leads):
            notes.append(f"left out, as they are no ECG: {', '.join(other)}")
            leads = [lead for lead in leads if lead.label not in other]
    no_voltage = [lead for lead in leads if unit_in_millivolt(lead.resolution_unit) is None]
    if no_voltage:
        described = ", ".join(f"{lead.label} ({lead.resolution_unit or 'no unit'})" for lead in no_voltage)
        if len(no_voltage) == len(leads):
            raise ECGReadError(
                f"{name}: the file gives no voltage unit or no gain for {described}; expected uV or mV per step. A "
                "unit is never guessed: convert the file to CSV and pass unit=... if you know it."
            )
        notes.append(f"left out, as their unit is no voltage: {described}")
        leads = [lead for lead in leads if lead not in no_voltage]
    empty = [lead.label for lead in leads if not len(lead.samples)]
    if empty:
        raise ECGReadError(f"{name}: {', '.join(empty)} hold no samples. The file is damaged or cut; copy it again.")

    rates = _exact_rates(parsed, format)
    kinds = Counter((rates(lead), len(lead.samples)) for lead in leads)
    if len(kinds) > 1 and len({rate for rate, _ in kinds}) == 1 and _starts(leads) is not None:
        kinds = Counter({(rates(leads[0]), 0): 1})  # same rate, stated starts: placed in time by _millivolts
    if len(kinds) > 1:
        # Several rates: a polygraph. The ECG is the group that bears leads' names, if only one does.
        named = [kind for kind in kinds if any(_is_lead(lead) for lead in leads if _kind(lead, rates) == kind)]
        if len(named) != 1:
            described = ", ".join(f"{lead.label} {rates(lead):g} Hz x {len(lead.samples):,}" for lead in leads)
            raise ECGReadError(
                f"{name}: its leads differ in rate or length ({described}); expected one rate and one length. "
                "Export the leads of one rate, or resample them first."
            )
        other = [lead.label for lead in leads if _kind(lead, rates) != named[0]]
        notes.append(f"left out, as their rate or length differs from the ECG's: {', '.join(other)}")
        leads = [lead for lead in leads if _kind(lead, rates) == named[0]]

    names = [known_lead_name(lead.label) for lead in leads]
    # The library numbers repeated names: "II", "II_2".
    repeated = [n for n in names if "_" in n and n.rpartition("_")[2].isdigit() and n.rpartition("_")[0] in names]
    standard = [n for n in repeated if _is_standard(n.rpartition("_")[0])]
    if standard or len(set(names)) < len(names):
        raise ECGReadError(
            f"{name}: names a lead more than once ({', '.join(names)}); expected each once. Which of them is the lead "
            "cannot be told; correct the names at the source."
        )
    if repeated:
        notes.append(f"names that the file gives twice were numbered: {', '.join(repeated)}")
    if not any(_is_lead(lead) for lead in leads):
        notes.append(f"none of the signals bears the name of a standard lead: {', '.join(names)}")
    return leads, rates(leads[0])


def _kind(lead: Any, rates: Any) -> tuple[float, int]:
    return rates(lead), len(lead.samples)


def _is_standard(label: str) -> bool:
    return known_lead_name(label) in ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")


def _is_lead(lead: Any) -> bool:
    return _is_standard(lead.label) or bool(
        re.match(r"(?:ECG|EKG|MLI|CM5|CC5|V\dR?$|[XYZ]$)", lead.label, re.IGNORECASE)
    )


def _exact_rates(parsed: Any, format: str) -> Any:
    """Rate of a lead in Hz. The library's leads carry it rounded to a whole number; its metadata has what the file
    says."""
    meta = parsed.raw_metadata

    def rate(lead: Any) -> float:
        exact: float | None = None
        if format == "edf":
            exact = meta.get("exact_sampling_rates", {}).get(lead.label)
        elif format == "dicom":
            exact = meta.get("rhythm_sampling_frequency")
        elif format == "hl7":
            exact = meta["rhythm_time"].get("sampling_rate_exact")
        elif format == "mfer":
            exact = meta.get("sampling_rates", [lead.sampling_rate] * len(parsed.leads))[_index(parsed.leads, lead)]
        elif format == "kardia":
            exact = float(meta["raw"]["frequency"])
        elif format == "scp":
            # Whole microseconds: 600 Hz is written as 1,667 us. A whole rate within that rounding is meant.
            interval = meta["rhythm_sample_interval_us"]
            nearest = round(1e6 / interval)
            exact = nearest if 1e6 / (interval + 0.5) <= nearest <= 1e6 / (interval - 0.5) else 1e6 / interval
        if exact is None:
            exact = float(lead.sampling_rate)
        # 0.0039 s written for 256 Hz stays 256.41 Hz; 1 / 0.002 is 500 but for the last bit.
        return float(round(exact)) if abs(exact - round(exact)) < 1e-6 * exact else float(exact)

    return rate


def _index(leads: list[Any], lead: Any) -> int:
    return next(index for index, other in enumerate(leads) if other is lead)


def _starts(leads: list[Any]) -> list[int] | None:
    """First sample (from 0) of each lead where the file states it (SCP-ECG), else None."""
    starts = [int(lead.annotations.get("start_sample", 1)) - 1 for lead in leads]
    return starts if any(starts) else None


def _millivolts(leads: list[Any], format: str, name: str, max_bytes: int, notes: list[str]) -> np.ndarray:
    """float32 [leads, samples] in mV from the stored counts."""
    starts = _starts(leads) or [0] * len(leads)
    samples = max(start + len(lead.samples) for start, lead in zip(starts, leads, strict=True))
    check_size(name, len(leads), samples, max_bytes)
    signal = np.full((len(leads), samples), np.nan, dtype=np.float32)
    faults = 0
    for row, (start, lead) in enumerate(zip(starts, leads, strict=True)):
        scale = unit_in_millivolt(lead.resolution_unit)
        if not np.isfinite(lead.resolution) or lead.resolution == 0 or not np.isfinite(lead.offset):
            raise ECGReadError(
                f"{name}: lead {lead.label} has the gain {lead.resolution} {lead.resolution_unit} per step and the "
                f"offset {lead.offset}; expected numbers, the gain other than 0. The header is damaged."
            )
        counts = np.asarray(lead.samples, dtype=np.float64)
        if np.isinf(counts).any():
            raise ECGReadError(f"{name}: lead {lead.label} holds infinite samples. The file is damaged.")
        with np.errstate(over="ignore", invalid="ignore"):
            # As the file writes it: counts times gain, plus offset; a decimal gain such as 4.88 uV is exact only so.
            volts = (counts * lead.resolution + lead.offset) * scale
            if format == "ishne":
                # The library keeps the fault value as a voltage of -32,768 steps.
                fault = counts == _ISHNE_FAULT
                faults += int(fault.sum())
                volts[fault] = np.nan
            signal[row, start : start + len(counts)] = volts
    if any(starts):
        notes.append("leads start at different times; where one has no samples, it is NaN")
    missing = int(np.isnan(signal).sum())
    if missing == signal.size:
        raise ECGReadError(f"{name}: all {missing:,} samples are marked as missing. The file holds no ECG.")
    if missing:
        rows = np.isnan(signal).any(axis=1)
        lacking = ", ".join(lead.label for lead, lacks in zip(leads, rows, strict=True) if lacks)
        notes.append(f"{missing} samples marked as missing are NaN, in {lacking}")
    return signal


def _note_what_is_left_out(parsed: Any, format: str, leads: list[Any], notes: list[str]) -> None:
    """Whatever else the file holds, so that nothing is lost in silence."""
    if parsed.median_beats:
        beat = parsed.median_beats[0]
        length = f" of {len(beat.samples) / beat.sampling_rate:.2f} s" if beat.sampling_rate else ""
        notes.append(f"{len(parsed.median_beats)} median beats{length} were left out; the rhythm was read")
    if parsed.leads_enhanced:
        notes.append("the device's filtered version of the signal was left out; the unfiltered one was read")
    filters = parsed.recording.acquisition.filters
    band = [
        f"{what} {value:g} Hz"
        for what, value in (("high-pass", filters.highpass), ("low-pass", filters.lowpass), ("notch", filters.notch))
        if value
    ]
    if band:
        notes.append(f"filters that the file states: {', '.join(band)}")
    events = parsed.raw_metadata.get("edf_annotations") or parsed.raw_metadata.get("events")
    if events:
        notes.append(f"{len(events)} annotations in time were left out")
    skewed = [lead.label for lead in leads if lead.annotations.get("sample_skew_ms")]
    if skewed:
        notes.append(f"stated skew between channels was not corrected, in {', '.join(skewed)}")
    if format == "ishne":
        promised, found = parsed.raw_metadata["ecg_size"], parsed.raw_metadata["samples_per_lead"]
        if promised != found:
            # Recorders write the length in several ways, so that it proves no truncation.
            notes.append(f"the header promises {promised:,} samples, the file holds {found:,} per lead; it may be cut")
    extra = parsed.raw_metadata.get("ecgllm_unread")
    if extra:
        notes.append(extra)


def _note_calibration(signal: np.ndarray, rate: float, notes: list[str]) -> None:
    """Some carts end a recording with the same calibration pulse in all leads."""
    if len(signal) < 3 or signal.shape[1] < 2:
        return
    same = np.ptp(signal, axis=0) < 1e-6  # False where a lead is NaN
    tail = int(np.argmin(same[::-1])) if not same.all() else 0
    if tail >= _CALIBRATION_S * rate and np.ptp(signal[0, -tail:]) > 0.1:
        notes.append(
            f"the last {tail / rate:.2f} s are the same in all leads, as a calibration pulse is; cut them with "
            f"record.segment(0, {(signal.shape[1] - tail) / rate:.2f})"
        )


def _statements(parsed: Any, format: str, keep_identity: bool, notes: list[str]) -> tuple[tuple[str, ...], str | None]:
    """(statements, report): the interpretation's sentences without those that name somebody."""
    interpretation = parsed.interpretation
    sentences = [" ".join(" ".join(part for part in pair if part).split()) for pair in interpretation.statements]
    sentences = [sentence for sentence in sentences if sentence]
    if not keep_identity:
        names = _identifying_words(parsed)
        kept = [s for s in sentences if not _SIGNATURE.search(s) and not (names & set(_words(s)))]
        if len(kept) < len(sentences):
            notes.append(f"{len(sentences) - len(kept)} statements that may name a person were left out")
        sentences = kept
    if not sentences:
        return (), None
    if interpretation.source == "machine":
        notes.append("statements are the device's own interpretation, not a physician's")
    return tuple(f"{format.upper()}:{sentence}" for sentence in sentences), "\n".join(sentences)


def _words(text: str) -> list[str]:
    return [word for word in re.split(r"[^\w]+", text.lower()) if len(word) > 2]


def _identifying_words(parsed: Any) -> set[str]:
    patient, recording = parsed.patient, parsed.recording
    fields = (
        patient.first_name,
        patient.last_name,
        patient.patient_id,
        recording.technician,
        recording.referring_physician,
        parsed.interpretation.interpreter,
    )
    return {word for field in fields for word in _words(field or "")}


def _measurements(parsed: Any) -> dict[str, float]:
    """Intervals in ms, axes in degrees, rate in bpm; carts write 0 or 29999 for what they did not measure."""
    found = {}
    for field, measurement in _STANDARD_MEASUREMENTS.items():
        value = getattr(parsed.measurements, field)
        if value is None or (abs(value) > 360 if field.endswith("axis") else not 0 < value < 10_000):
            continue
        found[measurement] = float(value)
    return found
