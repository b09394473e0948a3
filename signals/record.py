"""ECGRecord: one ECG in memory, the thing that every reader returns and every other part takes.

In: samples in millivolt, their rate, the lead names and whatever is known about the recording.
Out: an immutable, validated record that can be cut, resampled and reduced to some leads.
Decided here: what a well-formed record is. A record never carries a person's name.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

import numpy as np

from ..errors_ecgllm import ECGError
from ..signal_ecgllm import resample, standard_lead_name

_LONGEST = 2000  # characters of a message or note: what it quotes of a damaged file may be of any length


def shortened(text: str) -> str:
    """The text, its middle replaced by how much that was, where it is too long to be read."""
    if len(text) <= _LONGEST:
        return text
    half = _LONGEST // 2 - 50
    return f"{text[:half]} [... {len(text) - 2 * half:,} characters ...] {text[-half:]}"


class ECGReadError(ECGError):
    """A file that cannot be read as an ECG without guessing; the message says what was found, expected, and the way
    out, in some 2,000 characters at most."""

    def __init__(self, message: str = "") -> None:
        super().__init__(shortened(message))


def known_lead_name(name: str) -> str:
    """The standard spelling of a lead name ("avr" -> "aVR"), or the name itself, stripped, where it is no standard
    lead."""
    try:
        return standard_lead_name(name)
    except ValueError:
        return name.strip()


@dataclass(frozen=True, eq=False, repr=False)
class ECGRecord:
    """One ECG.

    Its `repr`, which logs print, tells id, size, source and year, and counts the rest: free text and dates identify.

    Args:
        signal: float [leads, samples] in millivolt; stored as float32, in whichever memory order it comes. NaN marks
            a sample that is missing.
        sampling_rate: samples per second and lead (Hz), the same for all leads.
        leads: one name per row of `signal`, each once, such as ("I", "II", "V1"); readers write standard names.
        id: name of the record in its source. patient_id: pseudonym that joins records of one patient.
        recorded_at: start of the recording, where the source tells it.
        report: free text of the ECG's interpretation.
        findings: canonical findings that hold, or None where nobody has said which hold.
        measurements: name -> value, such as {"heart_rate": 72.0} (bpm; intervals in ms, axes in degrees).
        age: years. sex: "female" or "male".
        statements: the source's own codes or sentences, such as "SNOMED:426783006".
        finding_leads: finding -> leads in which it shows, where the source tells, such as {"baseline drift": ("V1",)}.
        device: the model of the ECG device, such as "CS-12".
        notes: what a reader did or noticed; one of more than 2,000 characters is shortened.
        source: name of the format or generator.

    Raises:
        TypeError: if `signal` is no array of floats.
        ValueError: if a field does not fit; the message names the field, what was found and what was expected.
    """

    signal: np.ndarray
    sampling_rate: float
    leads: tuple[str, ...]
    id: str | None = None
    patient_id: str | None = None
    recorded_at: datetime | None = None
    report: str | None = None
    findings: tuple[str, ...] | None = None
    measurements: dict[str, float] | None = None
    age: float | None = None
    sex: Literal["female", "male"] | None = None
    statements: tuple[str, ...] = ()
    finding_leads: dict[str, tuple[str, ...]] | None = None
    device: str | None = None
    notes: tuple[str, ...] = ()
    source: str | None = None

    def __post_init__(self) -> None:
        signal = self.signal
        if not isinstance(signal, np.ndarray) or not np.issubdtype(signal.dtype, np.floating):
            found = f"an array of {signal.dtype}" if isinstance(signal, np.ndarray) else type(signal).__name__
            raise TypeError(
                f"signal is {found}; expected a numpy array of floats in millivolt. "
                "Integer counts become millivolt by (counts - baseline) / gain."
            )
        if signal.ndim != 2 or 0 in signal.shape:
            raise ECGError(f"signal has shape {signal.shape}; expected [leads, samples], both at least 1.")
        self._set("signal", signal.astype(np.float32, copy=False))
        samples = self.signal.ravel(order="K")
        # A finite sum of squares takes a fraction of the time, and rules out infinities; NaN and huge values do not.
        with np.errstate(all="ignore"):
            energy = np.dot(samples, samples)
        if not math.isfinite(energy) and np.isinf(samples).any():
            raise ECGError("signal holds infinite values; mark missing samples by NaN.")

        rate = float(self.sampling_rate)
        if not math.isfinite(rate) or rate <= 0:
            raise ECGError(f"sampling_rate is {self.sampling_rate}; expected samples per second (Hz) above 0.")
        self._set("sampling_rate", rate)

        self._set("leads", _strings("leads", self.leads))
        if len(self.leads) != len(self.signal):
            raise ECGError(
                f"leads names {len(self.leads)} leads {self.leads}, signal has {len(self.signal)} rows of "
                f"{signal.shape[1]} samples; expected one name per row. Is the signal [samples, leads]? Then "
                "transpose it."
            )
        if len(set(self.leads)) < len(self.leads):
            duplicates = sorted({lead for lead in self.leads if self.leads.count(lead) > 1})
            raise ECGError(f"leads names {', '.join(duplicates)} more than once in {self.leads}; expected each once.")

        if self.findings is not None:
            self._set("findings", _strings("findings", self.findings))
        if self.statements != ():
            self._set("statements", _strings("statements", self.statements))
        if self.notes != ():
            self._set("notes", tuple(map(shortened, _strings("notes", self.notes))))
        if self.finding_leads is not None:
            leads = {str(name): _strings("finding_leads", where) for name, where in self.finding_leads.items()}
            self._set("finding_leads", leads)
        if self.measurements is not None:
            self._set("measurements", {str(name): float(value) for name, value in self.measurements.items()})
        if self.age is not None and not 0 <= float(self.age) <= 130:
            raise ECGError(f"age is {self.age}; expected years from 0 to 130, or None where it is unknown.")
        if self.sex not in (None, "female", "male"):
            # Readers give what a file says: nothing of it is quoted.
            raise ECGError('sex is neither "female" nor "male", in this spelling, nor None; expected one of them.')
        if self.recorded_at is not None and not isinstance(self.recorded_at, datetime):
            raise TypeError(f"recorded_at is {type(self.recorded_at).__name__}; expected datetime.datetime or None.")

    @classmethod
    def _proven(cls, **fields: object) -> ECGRecord:
        """A record of fields that satisfy all of the above because of how they were made; for a reader to whom the
        checks would be a fifth of its time. Fields that are not given have their defaults."""
        record = object.__new__(cls)
        record.__dict__.update(fields)
        return record

    def __repr__(self) -> str:
        parts = [
            f"id={self.id!r}",
            f"{len(self.leads)} leads x {self.n_samples:,} samples at {self.sampling_rate:g} Hz",
            f"source={self.source!r}",
        ]
        if self.recorded_at is not None:
            parts.append(f"recorded in {self.recorded_at.year}")
        lists = {"findings": self.findings, "statements": self.statements, "notes": self.notes}
        parts += [f"{len(held)} {name}" for name, held in lists.items() if held]
        parts += ["a report"] if self.report else []
        return f"ECGRecord({', '.join(parts)})"

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # the one way to normalise a field of a frozen dataclass

    @property
    def n_samples(self) -> int:
        """Samples per lead."""
        return self.signal.shape[1]

    @property
    def duration(self) -> float:
        """Length of the recording in seconds."""
        return self.n_samples / self.sampling_rate

    def select_leads(self, names: Iterable[str]) -> ECGRecord:
        """The record with these leads only, in this order; any usual spelling of a name is understood.

        Raises: ValueError if a lead is absent or asked for twice.
        """
        wanted = [known_lead_name(name) for name in _strings("names", names)]
        rows = {known_lead_name(lead): row for row, lead in enumerate(self.leads)}
        missing = [name for name in wanted if name not in rows]
        if missing or not wanted:
            raise ECGError(
                f"select_leads: {', '.join(missing) or 'no lead was asked for'}; the record has "
                f"{', '.join(self.leads)}."
            )
        return replace(self, signal=self.signal[[rows[name] for name in wanted]], leads=tuple(wanted))

    def segment(self, start_s: float, duration_s: float) -> ECGRecord:
        """The part from `start_s` on, `duration_s` long (seconds; rounded to whole samples).

        Report, findings and measurements are kept: they speak of the whole recording, which a note says.

        Raises: ValueError if the part does not lie within the recording.
        """
        start, count = round(start_s * self.sampling_rate), round(duration_s * self.sampling_rate)
        if start < 0 or count < 1 or start + count > self.n_samples:
            raise ECGError(
                f"segment: {start_s} s + {duration_s} s asked for; the record lasts {self.duration:.3f} s. "
                "Expected a start of at least 0 and an end within the record."
            )
        note = f"segment of {duration_s:g} s from {start_s:g} s of a record of {self.duration:g} s"
        recorded_at = self.recorded_at
        if recorded_at is not None:
            recorded_at = recorded_at + timedelta(seconds=start / self.sampling_rate)
        signal = self.signal[:, start : start + count].copy()
        return replace(self, signal=signal, recorded_at=recorded_at, notes=(*self.notes, note))

    def resampled(self, rate: float) -> ECGRecord:
        """The record at another sampling rate (Hz), band-limited; the resampler is the models' own."""
        if rate == self.sampling_rate:
            return self
        return replace(self, signal=resample(self.signal, self.sampling_rate, rate), sampling_rate=rate)


def _strings(name: str, values: Iterable[str]) -> tuple[str, ...]:
    """A tuple of strings; one bare string is refused, as it would silently fall into its letters."""
    if isinstance(values, str):
        raise TypeError(f"{name} is one string of {len(values)} letters; expected a sequence of strings: (text,).")
    values = tuple(values)
    for value in values:
        if not isinstance(value, str) or not value:
            found = "an empty string" if value == "" else f"a value of type {type(value).__name__}"
            raise TypeError(f"{name} holds {found}; expected non-empty strings.")
    return values
