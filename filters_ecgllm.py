"""Filters that other groups' encoders were trained behind: notch, band-pass, FIR, running median; all zero phase.

In: signals [..., samples] and their rate, and what a feature extractor's `filters` says. Out: the same shape. The
linear ones equal `scipy.signal.filtfilt` with that filter, ends included, to rounding. SciPy itself is not imported,
since a checkpoint must bring all that it needs beside a plain transformers install.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from .signal_ecgllm import ECGInputError

_NUMBERS = {
    "notch": ("frequency", "quality"),
    "butterworth": ("low", "high", "order"),
    "fir": ("low", "high", "seconds"),
    "median_baseline": ("seconds",),
}
"""A kind of filter -> its numbers."""
FILTER_KINDS = tuple(_NUMBERS)


def checked_filters(filters: Sequence[Mapping[str, Any]], sampling_rate: float) -> list[dict[str, Any]]:
    """Filters as plain values that can be saved.

    Args: filters: mappings with a `kind` and its numbers, in the order in which they are run:
            notch: frequency in Hz, quality (frequency / bandwidth at -3 dB).
            butterworth: a band-pass from low to high in Hz, of an order (its design's; it is run twice).
            fir: a band-pass from low to high in Hz with a Hamming window, seconds long.
            median_baseline: the running median over seconds is taken off.
            Seconds are rounded down to whole samples, and up to an odd number of them.
        sampling_rate: in Hz, at which they run.
    Raises: ECGInputError for another kind, another number or a frequency that the rate does not hold.
    """
    if isinstance(filters, Mapping | str) or not isinstance(filters, Sequence):
        raise ECGInputError(f"filters is {filters!r}; expected a list of mappings such as {{'kind': 'notch', ...}}")
    return [_checked(each, sampling_rate) for each in filters]


def _checked(each: Any, rate: float) -> dict[str, Any]:
    kind = each.get("kind") if isinstance(each, Mapping) else None
    if kind not in _NUMBERS:
        raise ECGInputError(f"filters has {each!r}; expected a mapping whose kind is one of {', '.join(FILTER_KINDS)}")
    names = _NUMBERS[kind]
    if set(each) != {"kind", *names}:
        raise ECGInputError(f"the filter {dict(each)!r} is a {kind} and needs exactly {', '.join(names)} beside kind")
    for name in names:
        value = each[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
            raise ECGInputError(f"{name} of the filter {kind} is {value!r}; expected a positive finite number")
    highest = each.get("high", each.get("frequency"))
    if highest is not None and highest >= rate / 2:
        raise ECGInputError(
            f"the filter {kind} reaches {highest} Hz, and at {rate:g} Hz there are frequencies below {rate / 2:g} Hz "
            "only"
        )
    if each.get("low", 0) >= each.get("high", math.inf):
        raise ECGInputError(f"the filter {kind} goes from {each['low']} Hz to {each['high']} Hz; expected low < high")
    if each.get("order", 1) != int(each.get("order", 1)) or each.get("order", 1) > 8:
        raise ECGInputError(f"the filter {kind} has the order {each['order']!r}; expected a whole number from 1 to 8")
    return dict(each)


def apply_filters(signal: np.ndarray, sampling_rate: float, filters: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Run filters (`checked_filters`) one after the other.

    Args: signal [..., samples], any unit; rate in Hz. Returns: float32, same shape.
    Raises: ECGInputError for a signal that is no longer than a filter's mirrored ends.
    """
    filtered = signal.astype(np.float64)
    for each in filters:
        numbers = {name: float(each[name]) for name in _NUMBERS[each["kind"]]}
        if each["kind"] == "median_baseline":
            filtered = filtered - running_median(filtered, _odd(numbers["seconds"] * sampling_rate))
        else:
            design = {"notch": _notch, "butterworth": _butterworth, "fir": _fir}[each["kind"]]
            filtered = _zero_phase(filtered, design(float(sampling_rate), **numbers))
    return filtered.astype(np.float32)


def running_median(signal: np.ndarray, samples: int) -> np.ndarray:
    """The median of an odd number of samples around each, zeros beyond the ends, as `scipy.signal.medfilt`."""
    half = samples // 2
    medians = np.empty_like(signal)
    for row in np.ndindex(signal.shape[:-1]):
        values = [0.0] * half + signal[row].tolist() + [0.0] * half
        # The window stays in order; one value comes and one goes, which is faster than to order each window anew.
        window = sorted(values[:samples])
        found = [window[half]]
        for gone, come in zip(values, values[samples:], strict=False):
            del window[bisect_left(window, gone)]
            insort(window, come)
            found.append(window[half])
        medians[row] = found
    return medians


class _Filter:
    """A linear filter: its response to an impulse (`response(samples)`), its gain at 0 Hz, and how many samples are
    mirrored ahead of and behind a signal (three times its length, as `scipy.signal.filtfilt` does)."""

    def __init__(self, gain: float, zeros: np.ndarray, poles: np.ndarray, taps: np.ndarray | None = None):
        self._gain, self._zeros, self._poles, self._taps = gain, zeros, poles, taps
        self.mirrored = 3 * (1 + len(poles) if taps is None else len(taps))
        self.at_zero = float(np.real(gain * np.prod(1 - zeros) / np.prod(1 - poles)) if taps is None else taps.sum())
        self._responses: dict[int, np.ndarray] = {}

    def response(self, samples: int) -> np.ndarray:
        if samples not in self._responses:
            if len(self._responses) > 8:
                self._responses.clear()
            self._responses[samples] = self._impulse(samples)
        return self._responses[samples]

    def _impulse(self, samples: int) -> np.ndarray:
        if self._taps is not None:
            return np.pad(self._taps, (0, max(0, samples - len(self._taps))))[:samples]
        # As many zeros as poles, all poles different: partial fractions, a geometric series for each pole.
        response = np.zeros(samples)
        response[0] = self._gain
        for number, pole in enumerate(self._poles):
            others = np.delete(self._poles, number)
            residue = self._gain * np.prod(pole - self._zeros) / np.prod(pole - others)
            response[1:] += np.real(residue * np.power(pole, np.arange(samples - 1)))
        return response


def _zero_phase(signal: np.ndarray, design: _Filter) -> np.ndarray:
    """Forward and backward over a signal that is mirrored at its ends, from the steady state of its first value."""
    length = design.mirrored
    if signal.shape[-1] <= length:
        raise ECGInputError(
            f"the signal has {signal.shape[-1]} samples; expected more than the {length} that a filter mirrors at its "
            "ends"
        )
    before = 2 * signal[..., :1] - signal[..., length:0:-1]
    behind = 2 * signal[..., -1:] - signal[..., -2 : -length - 2 : -1]
    extended = np.concatenate([before, signal, behind], axis=-1)
    for _ in range(2):
        first = extended[..., :1]
        extended = (_convolved(extended - first, design) + first * design.at_zero)[..., ::-1]
    return extended[..., length:-length]


def _convolved(signal: np.ndarray, design: _Filter) -> np.ndarray:
    samples = signal.shape[-1]
    size = 1 << (2 * samples - 1).bit_length()
    spectrum = np.fft.rfft(signal, size, axis=-1) * np.fft.rfft(design.response(samples), size)
    return np.fft.irfft(spectrum, size, axis=-1)[..., :samples]


@lru_cache(maxsize=16)
def _notch(rate: float, frequency: float, quality: float) -> _Filter:
    """As `scipy.signal.iirnotch`: zeros on the unit circle at the frequency (Orfanidis, Introduction to Signal
    Processing, 1996)."""
    centre = 2 * math.pi * frequency / rate
    gain = 1 / (1 + math.tan(centre / quality / 2))
    zeros = np.exp([1j * centre, -1j * centre])
    return _Filter(gain, zeros, np.roots([1, -2 * gain * math.cos(centre), 2 * gain - 1]))


@lru_cache(maxsize=16)
def _butterworth(rate: float, low: float, high: float, order: float) -> _Filter:
    """As `scipy.signal.butter(order, [low, high], "bandpass")`: analog poles, to a band-pass, by the bilinear
    transform to digital."""
    order, edges = int(order), 4 * np.tan(math.pi * np.array([low, high]) / rate)
    width, centre = edges[1] - edges[0], edges[0] * edges[1]
    prototype = -np.exp(1j * math.pi * np.arange(1 - order, order, 2) / (2 * order)) * width / 2
    root = np.sqrt(prototype**2 - centre)
    analog = np.concatenate([prototype + root, prototype - root])
    gain = np.real((4 * width) ** order / np.prod(4 - analog))
    zeros = np.array([1.0] * order + [-1.0] * order)
    return _Filter(gain, zeros, (4 + analog) / (4 - analog))


@lru_cache(maxsize=16)
def _fir(rate: float, low: float, high: float, seconds: float) -> _Filter:
    """As `scipy.signal.firwin(samples, [low, high], pass_zero=False)`: windowed sincs, gain 1 amid the band."""
    samples = _odd(seconds * rate)
    time = np.arange(samples) - (samples - 1) / 2
    edges = 2 * np.array([low, high]) / rate
    taps = np.hamming(samples) * (edges[1] * np.sinc(edges[1] * time) - edges[0] * np.sinc(edges[0] * time))
    return _Filter(1.0, np.array([]), np.array([]), taps / (taps * np.cos(math.pi * time * edges.mean())).sum())


def _odd(samples: float) -> int:
    return int(samples + 1e-9) // 2 * 2 + 1


__all__ = ["FILTER_KINDS", "apply_filters", "checked_filters", "running_median"]
