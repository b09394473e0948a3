"""Signals as arrays: lead names, derived limb leads, band-limited resampling, baseline wander.

In: arrays in mV with lead names and rates. Out: the same, changed as asked. What these functions do to a signal is
part of what a model saw, so they live in a file that travels with a checkpoint. Reading files uses them without a
model, so that torch is imported only where it is needed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from .errors_ecgllm import ECGError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")

_LEAD_ALIASES = {lead.upper(): lead for lead in LEADS} | {"DI": "I", "DII": "II", "DIII": "III"}
# No hyphen among the separators: "ECG -aVR" is the inverted lead, not aVR.
_LEAD_PREFIX = re.compile(r"(?:MDC_ECG_LEAD_|(?:ECG|LEAD)[\s_:]*)+", re.IGNORECASE)

# A limb lead as (weight of I, weight of II): III = II - I, aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.
# Source: Einthoven 1913 (III), Goldberger 1942 (aVR, aVL, aVF).
LIMB_WEIGHTS = {"I": (1, 0), "II": (0, 1), "III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}

_KAISER_BETA = 5.0
_HALF_LENGTH = 10  # filter half length in samples of the slower of the two rates, as scipy's resample_poly
_MAX_FACTOR = 10_000
_MAX_KERNEL = 2**20  # elements; above it the filter is applied tap by tap instead of as one strided convolution


class ECGInputError(ECGError):
    """An ECG or setting that cannot be used; the message says what was found, what was expected and the way out."""


def standard_lead_name(name: str) -> str:
    """The standard name (one of `LEADS`) of a lead name as files write it.

    Case and surrounding blanks do not matter; accepted are the standard names, DI, DII, DIII, and either of them after
    "Lead", "ECG" or "MDC_ECG_LEAD_" ("lead_V1", "ECG I", "MDC_ECG_LEAD_AVR").

    Raises: ECGInputError (a ValueError) for any other name, inverted leads such as "-aVR" included.
    """
    if isinstance(name, str):
        bare = name.strip()
        prefix = _LEAD_PREFIX.match(bare)
        standard = _LEAD_ALIASES.get(bare[prefix.end() if prefix else 0 :].upper())
        if standard is not None:
            return standard
    raise ECGInputError(
        f"unknown lead name {name!r}; expected {', '.join(LEADS)} (any case), DI, DII, DIII, or one of these after "
        "'Lead', 'ECG' or 'MDC_ECG_LEAD_'. Rename the lead (and change the sign of an inverted one), or leave it out"
    )


def complete_limb_leads(leads: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Add the limb leads that follow from any two of I, II, III, aVR, aVL and aVF.

    Args: standard lead name -> signal, all of one shape and unit. Given leads are returned as they are, never
    recomputed. Lead I and II are the source where both are given, else the first two limb leads in the order of
    `LEADS`; fewer than two derive nothing.
    Returns: a new dict with the given and the derived leads.
    Source: as `LIMB_WEIGHTS`.
    """
    complete = dict(leads)
    given = [lead for lead in LIMB_WEIGHTS if lead in leads]
    if len(given) >= 2:
        (a, b), (c, d) = (LIMB_WEIGHTS[lead] for lead in given[:2])
        first, second = leads[given[0]], leads[given[1]]
        determinant = a * d - b * c  # never 0: no two limb leads are parallel
        limb_i, limb_ii = (d * first - b * second) / determinant, (a * second - c * first) / determinant
        for lead, (weight_i, weight_ii) in LIMB_WEIGHTS.items():
            complete.setdefault(lead, weight_i * limb_i + weight_ii * limb_ii)
    return complete


def resample(signal: np.ndarray, from_rate: float, to_rate: float) -> np.ndarray:
    """Change the sampling rate with a band-limited polyphase filter.

    The result equals `scipy.signal.resample_poly(signal, up, down, axis=-1)` (Kaiser window, beta 5, zeros beyond the
    ends) to about 1e-6 of the largest value. To 100 Hz it is flat to 42 Hz, folds 60 Hz back at -55 dB and all above
    65 Hz below -65 dB; it is symmetric, so no event moves in time. An offset rings at the ends: take each lead's
    median off first and put it back after (scipy's padtype="median"), as `ECGFeatureExtractor` does.

    Args: signal [..., samples], any unit; rates in Hz. Returns: float32 [..., ceil(samples * to_rate / from_rate)].
    Raises: ECGInputError for a rate that is no positive number, or a ratio that up/down <= 10,000 cannot give to 1e-6.
    """
    up, down = _rate_ratio(from_rate, to_rate)
    x = np.ascontiguousarray(signal, dtype=np.float32)
    if up == down:
        return x.copy()
    samples = x.shape[-1]
    samples_out = -(-samples * up // down)
    block = max(1, 16 // up)  # some 16 outputs a step keep the convolution busy; more would multiply zeros
    phases, stride = up * block, down * block
    half = _HALF_LENGTH * max(up, down)
    if phases * (((phases - 1) * down + 2 * half) // up + 2) > _MAX_KERNEL:
        return _resample_by_taps(x, up, down, samples_out)
    kernel, first = _polyphase_kernel(up, down, phases)
    steps = -(-samples_out // phases)
    rows = math.prod(x.shape[:-1])
    padded = np.zeros((rows, 1, max((steps - 1) * stride + kernel.shape[-1], samples - first)), dtype=np.float32)
    padded[:, 0, -first : samples - first] = x.reshape(rows, samples)
    import torch  # here, because it takes seconds and reading a file needs none of it

    with torch.inference_mode():
        y = torch.nn.functional.conv1d(torch.from_numpy(padded), torch.from_numpy(kernel), stride=stride)[..., :steps]
        y = y.transpose(1, 2).reshape(rows, -1)[:, :samples_out]
    return np.ascontiguousarray(y.numpy()).reshape(*x.shape[:-1], samples_out)


def _rate_ratio(from_rate: float, to_rate: float) -> tuple[int, int]:
    ratio = Fraction(positive_rate(to_rate)) / Fraction(positive_rate(from_rate))
    for limit in (1, 10, 100, 1_000, _MAX_FACTOR):
        close = ratio.limit_denominator(limit)
        if 0 < max(close.numerator, close.denominator) <= _MAX_FACTOR and abs(close / ratio - 1) <= 1e-6 and close > 0:
            return close.numerator, close.denominator
    raise ECGInputError(
        f"cannot resample from {from_rate} Hz to {to_rate} Hz: no ratio of whole numbers up to {_MAX_FACTOR:,} is "
        "within 1e-6 of it. Expected an ECG sampling rate such as 100, 257, 500 or 1000 Hz; check the rate, or "
        "resample the signal yourself"
    )


def positive_rate(rate: Any) -> float:
    try:
        value = float(rate)
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise ECGInputError(
            f"the sampling rate is {rate!r}; expected a positive number in Hz. Pass sampling_rate=... as the "
            "device or the file's header states it; it cannot be guessed from the samples"
        )
    return value


def _low_pass(up: int, down: int) -> np.ndarray:
    """Kaiser-windowed sinc [2 * half + 1], gain `up` at 0 Hz: scipy.signal.firwin as resample_poly calls it."""
    slower = max(up, down)
    half = _HALF_LENGTH * slower
    taps = np.sinc(np.arange(-half, half + 1) / slower) * np.kaiser(2 * half + 1, _KAISER_BETA)
    return taps * (up / taps.sum())


@lru_cache(maxsize=32)
def _polyphase_kernel(up: int, down: int, phases: int) -> tuple[np.ndarray, int]:
    """Kernel [phases, 1, taps] and the input offset D of its first tap.

    y[phases * m + r] = sum over D of x[phases * m * down / up + D] * h[r * down + half - D * up]
    """
    h = _low_pass(up, down)
    half = len(h) // 2
    first, last = -(half // up), ((phases - 1) * down + half) // up
    index = np.arange(phases)[:, None] * down + half - np.arange(first, last + 1)[None, :] * up
    kernel = np.where((index >= 0) & (index < len(h)), h[np.clip(index, 0, len(h) - 1)], 0.0)
    return kernel.astype(np.float32)[:, None], first


def _resample_by_taps(x: np.ndarray, up: int, down: int, samples_out: int) -> np.ndarray:
    """The same filter for ratios such as 9999/10000, whose kernel as one convolution would take 400 MB."""
    h = _low_pass(up, down)
    half = len(h) // 2
    position = np.arange(samples_out) * down
    start = -((half - position) // up)  # ceil((position - half) / up): the first input sample under the filter
    y = np.zeros((*x.shape[:-1], samples_out), dtype=np.float64)
    for tap in range(2 * half // up + 1):
        source = start + tap
        weight = position + half - source * up
        inside = (weight >= 0) & (source >= 0) & (source < x.shape[-1])
        y[..., inside] += x[..., source[inside]] * h[weight[inside]]
    return y.astype(np.float32)


def remove_baseline(signal: np.ndarray, sampling_rate: float, cutoff: float = 0.5) -> np.ndarray:
    """Remove baseline wander with a zero-phase high-pass.

    The wander that is subtracted is the smoothest curve through the signal (least squares with a penalty on the second
    difference). Inside a record this is, up to discretisation, the gain of a 2nd-order Butterworth high-pass run
    forward and backward, (f/cutoff)^4 / (1 + (f/cutoff)^4): 1/2 at `cutoff`, -3 dB at 1.25 * cutoff. At the ends the
    wander runs on as a straight line: on 10 s cut from longer real records the first half second then differs from the
    uncut record by half of what scipy.signal.filtfilt leaves, because no complex at the edge is mirrored.

    Args: signal [..., samples >= 3], any unit; rate and cutoff in Hz. Returns: float32, same shape.
    Source: Tarvainen et al. 2002 (IEEE Trans Biomed Eng 49:172) for the method; Kligfield et al. 2007 (AHA/ACC/HRS,
    Circulation 115:1306) allows a low-frequency cut-off up to 0.67 Hz for zero-phase filters: the default's -3 dB
    point is 0.62 Hz.
    """
    samples = signal.shape[-1]
    low_pass, ends, correction = _smoother(samples, float(sampling_rate), float(cutoff))
    wander = _smooth_mirrored(signal.astype(np.float64), low_pass)
    slopes = np.stack([wander[..., 0] - wander[..., 1], wander[..., -1] - wander[..., -2]], axis=-1)
    return (signal - wander - (slopes @ correction) @ ends).astype(np.float32)


def _smooth_mirrored(x: np.ndarray, low_pass: np.ndarray) -> np.ndarray:
    spectrum = np.fft.rfft(np.concatenate([x, x[..., ::-1]], axis=-1), axis=-1)
    return np.fft.irfft(spectrum * low_pass, n=2 * x.shape[-1], axis=-1)[..., : x.shape[-1]]


@lru_cache(maxsize=64)
def _smoother(samples: int, sampling_rate: float, cutoff: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Parts of (1 + p D'D)^-1, D the second difference, p the penalty.

    With mirrored ends D'D is diagonal under the cosine transform; free ends differ from it by a matrix of rank two
    (one slope at each end), which Woodbury's identity puts back: exact, at the cost of one transform. Its 2 x 2 matrix
    1 - p U'BU is summed in the transform's domain, as differences of the directly computed terms would cancel.
    """
    penalty = (2 - 2 * math.cos(2 * math.pi * cutoff / sampling_rate)) ** -2
    omega = np.pi * np.arange(samples + 1) / samples
    low_pass = 1 / (1 + penalty * (2 - 2 * np.cos(omega)) ** 2)
    unit = np.zeros((2, samples))
    unit[0, :2], unit[1, -2:] = (1, -1), (-1, 1)
    ends = _smooth_mirrored(unit, low_pass)
    weight = np.cos(omega[:-1] / 2) ** 2 * low_pass[:-1] * 2 / samples
    weight[0] /= 2
    even, odd = weight[::2].sum(), weight[1::2].sum()
    same, opposite = 1 / even + 1 / odd, 1 / even - 1 / odd
    correction = penalty / 4 * np.array([[same, opposite], [opposite, same]])
    return low_pass, ends, correction


__all__ = [
    "LEADS",
    "ECGInputError",
    "LIMB_WEIGHTS",
    "complete_limb_leads",
    "positive_rate",
    "remove_baseline",
    "resample",
    "standard_lead_name",
]
