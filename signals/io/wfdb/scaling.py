"""From the counts of a WFDB record to millivolt.

In: header and counts. Out: float32 [leads, samples], equal to the last bit to what wfdb computes, NaN where a sample
is marked as missing. Decided here: when the gains of a header are not to be believed.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...limits import implausible_amplitude
from ...record import ECGReadError, known_lead_name
from .header import SignalLine

# What marks a missing sample. Source: https://physionet.org/physiotools/wag/signal-5.htm
MISSING = {16: -(1 << 15), 24: -(1 << 23), 32: -(1 << 31), 61: -(1 << 15), 80: -(1 << 7), 160: -(1 << 15),
            212: -(1 << 11), 310: -(1 << 9), 311: -(1 << 9), 508: -(1 << 7), 516: -(1 << 15),
            524: -(1 << 23)}  # fmt: skip
_LARGEST_EXACT_BASELINE = 1 << 23  # an int16 less such a number is still a whole number of float32

# What two roundings can leave of II = I + III, in steps of the converter; real records leave 3 at most.
_EINTHOVEN_STEPS = 5

_FOLD = 100
_lead_name = lru_cache(maxsize=1024)(known_lead_name)


def to_millivolt(
    path: str,
    lines: tuple[SignalLine, ...],
    counts: np.ndarray,
    notes: list[str],
    *,
    has_ludb_comments: bool = False,
    truncated: bool = False,
) -> np.ndarray:
    """Scale counts by the gains of their signal lines.

    Args: path: of the header, for errors. counts [leads, samples], contiguous in either order. notes: what is noticed
        is added to them. truncated: whether samples are missing at the end.
    Returns: float32 [leads, samples] in mV, in the order of the counts; rows of another unit than a voltage stay in
        that unit.
    Raises: ECGReadError where the gains are wrong in a way whose right value is not known.
    """
    amplitudes = {(line.gain, line.baseline, line.millivolts_per_unit) for line in lines}
    if len(amplitudes) > 1:
        lows, highs = fold_samples(np.minimum, counts), fold_samples(np.maximum, counts)  # one number a lead
    else:
        lows, highs = (ufunc.reduce(counts.ravel(order="K")) for ufunc in (np.minimum, np.maximum))
    low, high = int(lows.min()), int(highs.max())
    is_missing = _missing(lines, counts, low)
    if len(amplitudes) > 1 and _gains_are_wrong(
        path, lines, counts, (lows, highs), is_missing, truncated and has_ludb_comments
    ):
        notes.append(
            "the header's gains scale every lead to 1 mV peak to peak and contradict II = I + III, which the samples "
            "obey (LUDB); read as 1 step = 1 microvolt"
        )
        amplitudes = {(1000.0, 0, 1.0)}
    signal = _scaled(lines, counts, amplitudes)
    if is_missing is not None:
        signal[is_missing] = np.nan
        leads = [line.name for line, row in zip(lines, is_missing, strict=True) if row.any()]
        notes.append(f"{int(is_missing.sum())} samples marked as missing are NaN, in {', '.join(leads)}")
    doubt = _doubt(lines, signal, amplitudes, (low, high), is_missing)
    if doubt:
        notes.append(doubt)
    return signal


def fold_samples(ufunc: np.ufunc, counts: np.ndarray) -> np.ndarray:
    """Reduce counts [leads, samples] to one number per lead, of their own type (sums of int16 wrap around).

    Samples that lie beside each other in memory, as in a file, are folded a hundred at a time: per sample, numpy
    would start anew for a dozen leads.
    """
    if counts.flags.c_contiguous:
        return ufunc.reduce(counts, axis=1, dtype=counts.dtype)
    return fold_interleaved(ufunc, counts.ravel(order="K"), len(counts))


def fold_interleaved(ufunc: np.ufunc, counts: np.ndarray, n_leads: int) -> np.ndarray:
    """`fold_samples` of a flat array in which the leads' samples alternate."""
    whole = counts.size - counts.size % (_FOLD * n_leads)
    rest = counts[whole:].reshape(-1, n_leads)
    if not whole:
        return ufunc.reduce(rest, axis=0, dtype=counts.dtype)
    wide = ufunc.reduce(counts[:whole].reshape(-1, _FOLD * n_leads), axis=0, dtype=counts.dtype)
    folded = ufunc.reduce(wide.reshape(_FOLD, n_leads), axis=0, dtype=counts.dtype)
    return ufunc(folded, ufunc.reduce(rest, axis=0, dtype=counts.dtype)) if rest.size else folded


def _missing(lines: tuple[SignalLine, ...], counts: np.ndarray, low: int) -> np.ndarray | None:
    """Which samples are marked as missing; None where none is. `low`: the smallest count."""
    if counts.dtype == np.int16 and low > MISSING[16]:
        return None
    marks = np.array([MISSING.get(line.format, np.iinfo(np.int64).min) for line in lines])
    is_missing = counts == marks[:, None]
    return is_missing if is_missing.any() else None


def _scaled(lines: tuple[SignalLine, ...], counts: np.ndarray, amplitudes: set) -> np.ndarray:
    """float32 (counts - baseline) / gain in millivolt, equal to wfdb's double precision rounded to float32.

    Where counts, baseline and gain are float32 numbers, one division in float32 gives just that: rounding a quotient
    to 53 bits and then to 24 never differs from rounding it to 24 at once (Figueroa 1995: 53 >= 2 x 24 + 2).
    """
    if len(amplitudes) == 1:
        ((gains, baselines, factors),) = amplitudes
        factors = factors or 1.0
    else:
        gains, baselines = (np.array([[getattr(line, name)] for line in lines]) for name in ("gain", "baseline"))
        factors = np.array([[line.millivolts_per_unit or 1.0] for line in lines])
    with np.errstate(over="ignore", invalid="ignore"):  # an absurd gain gives infinity, which ECGRecord refuses
        if counts.dtype == np.int16 and all(is_exact_in_float32(*amplitude) for amplitude in amplitudes):
            if not any(baseline for _, baseline, _ in amplitudes):
                return np.divide(counts, np.float32(gains), dtype=np.float32)
            signal = counts.astype(np.float32)
            signal -= np.float32(baselines)
            signal /= np.float32(gains)
            return signal
        # In double precision and in wfdb's order of operations, so that results agree to the last bit.
        physical = (counts - np.asarray(baselines, dtype=np.int64)) / gains
        if any((factor or 1.0) != 1.0 for _, _, factor in amplitudes):
            physical *= factors
        return physical.astype(np.float32)


def is_exact_in_float32(gain: float, baseline: int, factor: float | None) -> bool:
    return (factor or 1.0) == 1.0 and abs(baseline) < _LARGEST_EXACT_BASELINE and float(np.float32(gain)) == gain


def _doubt(
    lines: tuple[SignalLine, ...],
    signal: np.ndarray,
    amplitudes: set,
    extremes: tuple[int, int],
    is_missing: np.ndarray | None,
) -> str | None:
    """What the extremes say against gain and unit; those of the counts spare a look at every sample."""
    if is_missing is None and len(amplitudes) == 1 and lines[0].millivolts_per_unit is not None:
        ((gain, baseline, factor),) = amplitudes
        ends = [(count - baseline) / gain * factor for count in extremes]
        return implausible_amplitude(min(ends), max(ends))
    volts = [line.millivolts_per_unit is not None for line in lines]
    voltages = signal if all(volts) else signal[volts]
    finite = voltages[np.isfinite(voltages)]
    return implausible_amplitude(float(finite.min()), float(finite.max())) if finite.size else None


def _gains_are_wrong(
    path: str,
    lines: tuple[SignalLine, ...],
    counts: np.ndarray,
    extremes: tuple[np.ndarray, np.ndarray],
    is_missing: np.ndarray | None,
    is_truncated_ludb: bool,
) -> bool:
    """Whether the limb leads contradict the gains: II = I + III holds for the counts and fails for the millivolts.

    LUDB's headers carry one gain per lead that makes each lead 1 mV peak to peak. The samples themselves are
    microvolts (inferred: Einthoven's law then holds in all 150 records that were looked at, and amplitudes are those
    of other corpora).

    Raises: ECGReadError where the gains are wrong in a way whose right value is not known.
    """
    rows = {_lead_name(line.name): row for row, line in enumerate(lines)}
    limb = [rows.get(lead) for lead in ("I", "II", "III")]
    if None in limb or len({(lines[row].gain, lines[row].unit) for row in limb}) == 1:
        return False
    steps = [counts[row] for row in limb]
    lows, highs = extremes
    if max(int(highs.max()), -int(lows.min())) > 10_000:  # the sum of three would not fit int16
        steps = [row.astype(np.int32 if counts.dtype == np.int16 else np.int64) for row in steps]
    if is_missing is not None:
        present = ~is_missing[limb].any(axis=0)
        steps = [row[present] for row in steps]
    excess = steps[1] - steps[0] - steps[2]
    if not excess.size or max(int(excess.max()), -int(excess.min())) > _EINTHOVEN_STEPS:
        return False
    if is_missing is not None:
        limits = np.iinfo(counts.dtype)
        lows = np.min(counts, axis=1, where=~is_missing, initial=limits.max)
        highs = np.max(counts, axis=1, where=~is_missing, initial=limits.min)
    spans_mv = np.array(
        [
            (high - low) * (line.millivolts_per_unit or 1.0) / abs(line.gain)
            for line, low, high in zip(lines, lows.tolist(), highs.tolist(), strict=True)
        ]
    )
    # A truncated LUDB file no longer spans its 1 mV; then its comments tell.
    if np.abs(spans_mv - 1).max() < 0.01 or (is_truncated_ludb and spans_mv.max() < 1.01):
        return True
    one, two, three = (
        (row - lines[position].baseline) / lines[position].gain * (lines[position].millivolts_per_unit or 1.0)
        for row, position in zip(steps, limb, strict=True)
    )
    excess_mv = float(np.abs(two - one - three).max())
    rounding_mv = _EINTHOVEN_STEPS / min(abs(lines[row].gain) for row in limb)
    if excess_mv > max(0.05, rounding_mv):
        raise ECGReadError(
            f"{path}: the gains of I, II and III differ, and contradict II = I + III by {excess_mv:.3f} mV, "
            f"though the raw samples obey it within {_EINTHOVEN_STEPS} steps. The header's gains are wrong; correct "
            "them."
        )
    return False
