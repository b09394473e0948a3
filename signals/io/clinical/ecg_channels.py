"""Which channels of a clinical file are its ECG: what `ecgdatakit` parsed in, leads of one rate in millivolt out.

Decided here: what is an ECG lead and what another signal, which rate is exact, that leads of different starts are
placed in time, and which samples are missing. What is left out or doubtful is added to the notes.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import numpy as np

from ....signal_ecgllm import LEADS
from ...limits import check_leads, check_size
from ...record import ECGReadError, known_lead_name
from ..wfdb.header import unit_in_millivolt

_OTHER_SIGNALS = re.compile(
    r"^(?:EEG|EMG|EOG|ERG|MEG|MCG|EP|Resp|Airflow|Flow|Nasal|Thor|Thorax|Thoracic|Abd|Abdo|Abdomen|Abdominal|Effort|"
    r"Snore|SaO2|SpO2|Pleth|PPG|Pulse|ABP|ART|CVP|PAP|ICP|NIBP|Chin|Leg|Temp|Pos|Position|Light|Sound|Event|Acc)\b",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"(?:ch|chan|channel|sig|signal|lead)?[ _.-]*\d{1,3}", re.IGNORECASE)
_BEFORE_LEAD = re.compile(
    r"^(?:POL[\s_-]+)?(?:E[CK]G[\s_-]+)?(?:(?:lead|ableitung|abl|d[e\xe9]rivation|derivaci[o\xf3]n|derivazione)[\s._-]+)?",
    re.IGNORECASE,
)
_ECG = re.compile(r"(?:^|[\s._-])E[CK]G", re.IGNORECASE)  # "EKG-Ref", "POL ECG", "EEG EKG1-REF"
_OTHER_LEAD = re.compile(r"(?:MLI|CM5|CC5|V\dR?$|(?:Frank[\s_-]*)?V[XYZ]$|Frank[\s_-]*[XYZ]$)", re.IGNORECASE)
_AXES, _MANY_LEADS = ("X", "Y", "Z"), 8
_LOWEST_INT16 = -32768  # what ISHNE's specification proposes for a lead that is off, and carts write there


def lead_name(label: str) -> str:
    """The standard name of a lead; also of "EKG-II", "ECG-aVR" and "Ableitung V1", and not of "ECG 1"."""
    bare = known_lead_name(_BEFORE_LEAD.sub("", label.strip()))
    return bare if bare in LEADS else known_lead_name(label)


def ecg_leads(parsed: Any, format: str, name: str, notes: list[str]) -> tuple[list[Any], float]:
    """The leads that are an ECG of one rate and length, and that rate."""
    leads = list(parsed.leads)
    check_leads(name, len(leads))
    if format == "edf":
        leads = _of_polygraph(leads, name, notes)
    no_voltage = [lead for lead in leads if unit_in_millivolt(lead.resolution_unit) is None]
    if no_voltage:
        described = ", ".join(f"{lead.label} ({lead.resolution_unit or _why_no_unit(lead)})" for lead in no_voltage)
        if len(no_voltage) == len(leads):
            raise ECGReadError(
                f"{name}: the file gives no voltage unit or no gain for {described}; expected uV or mV per step. A "
                "unit is never guessed: convert the file to CSV and pass unit=... (--unit) if you know it."
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

    names = [lead_name(lead.label) for lead in leads]
    # The library numbers repeated names: "II", "II_2".
    repeated = [n for n in names if _first_of(n) in names]
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


def _why_no_unit(lead: Any) -> str:
    """The library drops the unit of an EDF signal whose ranges give no gain."""
    ranges = [
        lead.annotations.get(f"{kind}_{end}") for kind in ("physical", "digital") for end in ("minimum", "maximum")
    ]
    if None in ranges or not lead.adc_resolution_unit:
        return "no unit"
    return "no gain: {} to {} {unit} for {} to {} steps".format(*ranges, unit=lead.adc_resolution_unit)


def _of_polygraph(leads: list[Any], name: str, notes: list[str]) -> list[Any]:
    """The ECG among the signals of an EDF file, of which most hold EEG, respiration and the like.

    If some are named as ECG leads, they are it. If none is, signals named by number alone are taken, such as "ch 1".
    X, Y and Z are Frank's leads where nothing else is in the file, or eight standard leads and more; beside anything
    else they are the axes of an accelerometer.
    """
    ecg = [
        lead for lead in leads if _is_lead(lead) and (_ECG.search(lead.label) or not _OTHER_SIGNALS.match(lead.label))
    ]
    axes = [lead for lead in leads if lead.label.strip().upper() in _AXES]
    if _are_frank(axes, ecg, leads):
        ecg = _among(leads, [*ecg, *axes])
    if not ecg:
        ecg = [lead for lead in leads if _NUMBERED.fullmatch(lead.label.strip())]
    if not ecg:
        raise ECGReadError(
            f"{name}: none of its {len(leads)} signals is named as an ECG lead; expected names such as II, V1, ECG or "
            "EKG. If one of them is an ECG, give it such a name, or convert it to CSV with a header of lead names."
        )
    labels = {lead.label for lead in ecg}
    ecg = _among(leads, [*ecg, *(lead for lead in leads if _first_of(lead.label) in labels)])  # twice: refused later
    other = [lead.label for lead in leads if not any(lead is kept for kept in ecg)]
    if other:
        notes.append(f"left out, as they are no ECG: {', '.join(other)}")
    return ecg


def _among(leads: list[Any], wanted: list[Any]) -> list[Any]:
    """Those wanted, in the order of the leads."""
    return [lead for lead in leads if any(lead is each for each in wanted)]


def _are_frank(axes: list[Any], ecg: list[Any], leads: list[Any]) -> bool:
    if len(axes) != len(_AXES):
        return False
    return len(axes) == len(leads) or sum(_is_standard(lead.label) for lead in ecg) >= _MANY_LEADS


def _first_of(label: str) -> str | None:
    """ "II" of "II_2", as the library numbers a name that stands twice."""
    first, _, number = label.rpartition("_")
    return first if number.isdigit() else None


def _kind(lead: Any, rates: Any) -> tuple[float, int]:
    return rates(lead), len(lead.samples)


def _is_standard(label: str) -> bool:
    return lead_name(label) in LEADS


def _is_lead(lead: Any) -> bool:
    return _is_standard(lead.label) or bool(_ECG.search(lead.label) or _OTHER_LEAD.match(lead.label.strip()))


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
    """First sample (from 0) of each lead where the file states it (SCP-ECG, groups of DICOM), else None."""
    if not any("start_sample" in lead.annotations for lead in leads):
        return None
    return [int(lead.annotations.get("start_sample", 1)) - 1 for lead in leads]


def millivolts(
    parsed: Any, leads: list[Any], rate: float, format: str, name: str, max_bytes: int, notes: list[str]
) -> np.ndarray:
    """float32 [leads, samples] in mV from the stored counts."""
    starts = _starts(leads) or [0] * len(leads)
    ends = [start + len(lead.samples) for start, lead in zip(starts, leads, strict=True)]
    samples = max(ends)
    onsets = parsed.raw_metadata.get("ecgllm_record_onsets")
    places = None if onsets is None else _places(onsets, samples, rate, name)
    if places is not None:
        samples = int(places[-1]) + 1
    check_size(name, len(leads), samples, max_bytes)
    signal = np.full((len(leads), samples), np.nan, dtype=np.float32)
    lowest: list[str] = []
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
                volts[counts == _LOWEST_INT16] = np.nan
            signal[row, slice(start, start + len(counts)) if places is None else places] = volts
        if format != "ishne" and (marked := int((counts == _LOWEST_INT16).sum())):
            lowest.append(f"{lead.label} ({marked})")
    if lowest:
        notes.append(
            f"samples hold -32768, the lowest number there is, in {', '.join(lowest)}; carts write it where there is "
            "no signal, but this file does not say so: they were read as voltages"
        )
    negative = [lead.label for lead in leads if lead.resolution < 0]
    if negative:
        notes.append(
            f"the gain is negative, so that the stored curve was turned upside down, in {', '.join(negative)}"
        )
    if places is not None:
        notes.append("the recording has gaps, in which samples are NaN")
    if any(starts) or min(ends) < samples:
        differ = "start" if any(starts) else "end"
        notes.append(f"leads {differ} at different times; where one has no samples, it is NaN")
    missing = int(np.isnan(signal).sum())
    if missing == signal.size:
        raise ECGReadError(f"{name}: all {missing:,} samples are marked as missing. The file holds no ECG.")
    if missing:
        rows = np.isnan(signal).any(axis=1)
        lacking = ", ".join(lead.label for lead, lacks in zip(leads, rows, strict=True) if lacks)
        notes.append(f"{missing} samples marked as missing are NaN, in {lacking}")
    return signal


def _places(onsets: list[float], samples: int, rate: float, name: str) -> np.ndarray:
    """Where each sample belongs, counted from the first, when data records of equal length start at `onsets` (s).

    Raises: ECGReadError if records overlap or go back in time.
    """
    length, odd = divmod(samples, len(onsets))
    starts = np.round((np.asarray(onsets) - onsets[0]) * rate)
    if odd or not np.isfinite(starts).all() or (np.diff(starts) < length).any() or starts[-1] > 2**40:
        raise ECGReadError(
            f"{name}: its {len(onsets)} data records overlap, go back in time or end beyond any recording; expected "
            "each to start where the one before ends, or later. The file is damaged."
        )
    return (starts.astype(np.int64)[:, None] + np.arange(length)).ravel()
