"""An ECG as callers give it: its signal, rate and lead names found, ordered and checked.

In: an array, a mapping, an object or the path of a file. Out: signal float32 [leads, samples] in mV, in the order of
`LEADS`. Decided here: what is unclear is refused with the way out, and nothing is guessed: no rate, no lead, no unit.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from .signal_ecgllm import LEADS, ECGInputError, positive_rate, standard_lead_name

# Robust peak-to-peak amplitudes of the median lead in LUDB, PTB-XL, CinC 2021 and CODE-15 % (631 records) lie between
# 0.4 and 34 mV, the latter a saturated recording; in microvolt the same records start at 400. Device noise alone
# exceeds 0.01 mV.
_MAX_MEDIAN_AMPLITUDE = 50.0
_MIN_LARGEST_AMPLITUDE = 0.01
FLAT_AMPLITUDE = 1e-6


def is_list(value: Any) -> bool:
    """Whether a value is several ECGs: a list, a tuple, or a column of a `datasets.Dataset`."""
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))


def check_choice(name: str, value: Any, choices: tuple[Any, ...]) -> Any:
    if value not in choices:
        raise ECGInputError(f"{name} is {value!r}; expected one of {', '.join(repr(choice) for choice in choices)}")
    return value


def unpack(ecg: Any, sampling_rate: float | None, leads: Sequence[str] | None) -> tuple[np.ndarray, float, list[str]]:
    """Signal float32 [leads, samples], rate and lead names as given, of one ECG in any accepted form."""
    if isinstance(ecg, (str, os.PathLike)):
        ecg = _read(ecg)
    if isinstance(ecg, Mapping):
        signal, own_rate, own_leads = (ecg.get(key) for key in ("signal", "sampling_rate", "leads"))
    elif hasattr(ecg, "signal"):
        signal, own_rate, own_leads = (getattr(ecg, key, None) for key in ("signal", "sampling_rate", "leads"))
    else:
        signal, own_rate, own_leads = ecg, None, None
    if isinstance(ecg, Mapping) and str(ecg.get("unit", "mV")).lower() not in ("mv", "millivolt", "millivolts"):
        raise ECGInputError(
            f"the ECG's unit is {ecg['unit']!r}; expected mV. Convert the signal, then leave the unit out"
        )
    if isinstance(signal, torch.Tensor):
        signal = signal.detach().cpu().numpy()
    elif isinstance(signal, list):  # what JSON gives
        try:
            signal = np.asarray(signal, dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise ECGInputError(
                "the signal's lists are no numbers in rows of one length; expected [leads, samples] in mV"
            ) from error
    if not isinstance(signal, np.ndarray) or signal.dtype.kind not in "fiu":
        found = f"an array of {signal.dtype}" if isinstance(signal, np.ndarray) else type(signal).__name__
        raise ECGInputError(
            f"the ECG's signal is {found}; expected a real-valued array [leads, samples] in mV, a mapping or object "
            "with signal, sampling_rate and leads, or the path of a file"
        )
    if signal.ndim != 2 or 0 in signal.shape:
        raise ECGInputError(
            f"the signal has shape {signal.shape}; expected [leads, samples], neither empty. Give several ECGs as a "
            "list, and a single lead as signal[None]"
        )
    rate = _own_or_given("sampling_rate", own_rate, sampling_rate)
    names = _own_or_given("leads", _as_names(own_leads), _as_names(leads))
    if names is None:
        raise ECGInputError(
            f"the signal of shape {signal.shape} comes without lead names; expected one for each row. Pass "
            "leads=[...] in the order of the rows: the order differs between sources and cannot be guessed"
        )
    if len(names) != len(signal):
        transposed = len(names) == signal.shape[1]
        raise ECGInputError(
            f"the signal has {signal.shape[0]} rows for {len(names)} lead names; expected [leads, samples]. "
            + ("It looks transposed: pass signal.T" if transposed else "Name every row once, in the order of the rows")
        )
    return signal.astype(np.float32, copy=False), positive_rate(rate), names


def _read(path: str | os.PathLike[str]) -> Any:
    # By name: the readers do not travel with a checkpoint, where a written import of them would fail.
    try:
        signals = importlib.import_module("ecgllm.signals")
    except ModuleNotFoundError as error:
        raise ImportError(
            f"cannot read {os.fspath(path)}: files are read by the ecgllm package, which is not installed completely "
            f"({error}). Install ecgllm, or pass a mapping with signal [leads, samples] in mV, sampling_rate and leads"
        ) from error
    return signals.read_ecg(path)


def _as_names(leads: Any) -> list[str] | None:
    return None if leads is None else [leads] if isinstance(leads, str) else list(leads)


def _own_or_given(name: str, own: Any, given: Any) -> Any:
    if own is not None and given is not None and own != given:
        raise ECGInputError(
            f"the ECG says {name} {own}, the call {given}; expected one of them or equal ones. Leave out the wrong one"
        )
    return given if own is None else own


def order_leads(signal: np.ndarray, names: Sequence[str], drop_unknown: bool) -> tuple[np.ndarray, list[str]]:
    """Rows in the order of `LEADS`, so that the order of the input cannot matter, and their standard names."""
    rows: dict[str, int] = {}
    unknown = []
    for row, name in enumerate(names):
        try:
            standard = standard_lead_name(name)
        except ECGInputError:
            unknown.append(name)
            continue
        if standard in rows:
            raise ECGInputError(
                f"lead {standard} is given twice, as {names[rows[standard]]!r} in row {rows[standard]} and {name!r} "
                f"in row {row}; expected every lead once. Leave one of the rows out"
            )
        rows[standard] = row
    if unknown and not drop_unknown:
        raise ECGInputError(
            f"unknown lead names {unknown}; expected {', '.join(LEADS)} or a usual alias. Rename them, or pass "
            "drop_unknown_leads=True (ask: --drop-unknown-leads) to leave them out"
        )
    if not rows:
        raise ECGInputError(
            f"no usable lead: the names are {list(names)}; expected at least one of {', '.join(LEADS)}"
        )
    ordered = [lead for lead in LEADS if lead in rows]
    return signal[[rows[lead] for lead in ordered]], ordered


def handle_non_finite(signal: np.ndarray, names: list[str], policy: str) -> tuple[np.ndarray, list[str]]:
    finite = np.isfinite(signal)
    if finite.all():
        return signal, names
    total = signal.shape[-1]
    counts = {name: total - int(row.sum()) for name, row in zip(names, finite, strict=True) if not row.all()}
    found = ", ".join(f"{name} {count} of {total}" for name, count in counts.items())
    if policy == "raise":
        raise ECGInputError(
            f"samples that are not finite (NaN or infinite) in lead {found}; expected finite values in mV. Pass "
            "nan_policy='interpolate' to fill short gaps, nan_policy='drop_lead' to count the leads as missing (ask: "
            "--nan-policy interpolate, drop_lead), or cut a clean segment"
        )
    if policy == "drop_lead":
        kept = [row for row, name in enumerate(names) if name not in counts]
        if not kept:
            raise ECGInputError(
                f"no usable lead: every lead has samples that are not finite ({found}); expected one clean lead at "
                "least"
            )
        return signal[kept], [names[row] for row in kept]
    sparse = [name for name, count in counts.items() if count > total / 2]
    if sparse:
        raise ECGInputError(
            f"fewer than half of the samples are finite in lead {', '.join(sparse)} ({found} are not); expected half "
            "at least to interpolate. Pass nan_policy='drop_lead' (ask: --nan-policy drop_lead), or cut a clean "
            "segment"
        )
    filled = signal.copy()
    time = np.arange(total)
    for name in counts:
        row = names.index(name)
        filled[row] = np.interp(time, time[finite[row]], signal[row, finite[row]])
    return filled, names


def check_millivolt(signal: np.ndarray) -> None:
    """Refuse [leads, samples] whose amplitudes no ECG in mV has; exactly flat input passes."""
    amplitude = np.ptp(signal, axis=-1)
    varying = amplitude > FLAT_AMPLITUDE
    if not varying.any():
        return
    largest = float(amplitude.max())
    if largest < _MIN_LARGEST_AMPLITUDE:
        raise ECGInputError(
            f"the largest lead spans {largest:.2g} mV peak to peak; expected an ECG in mV, which spans some 0.2 to "
            "10. This looks like volts: multiply the signal by 1000"
        )
    if np.median(amplitude[varying]) <= _MAX_MEDIAN_AMPLITUDE:
        return
    # Only now, because it takes time: without the largest and smallest half per cent of samples, as pacing spikes are
    # not the unit.
    low, high = np.percentile(signal[varying], [0.5, 99.5], axis=-1)
    median = float(np.median(high - low))
    if median > _MAX_MEDIAN_AMPLITUDE:
        raise ECGInputError(
            f"the leads span {median:.3g} mV peak to peak (median lead); expected an ECG in mV, which spans some 0.2 "
            "to 10. This looks like microvolts or raw ADC counts: divide the signal by 1000, or by the gain that the "
            "file's header states"
        )


__all__ = [
    "FLAT_AMPLITUDE",
    "check_choice",
    "check_millivolt",
    "handle_non_finite",
    "is_list",
    "order_leads",
    "unpack",
]
