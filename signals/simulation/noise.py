"""What spoils a recording: baseline wander, static noise, powerline interference, bursts of muscle, bad contacts.

Noise arises at the nine electrodes RA, LA, LL, V1-V6 and reaches the leads as their potentials do, so Einthoven's and
Goldberger's laws stay true. Out: noise in I, II, V1-V6 and, for each kind, the leads in which it is large enough to
be called so. Decided here: sizes, spectra, limits, and what recorders' filters leave of noise. Nothing here knows of
findings of the heart, so noise tells nothing about them. Sizes and spectra were fitted to what is left between the
beats of public records without their labels (LUDB, CinC 2021, PTB-XL): its power falls with the frequency to the
power of 0.6 to 1.9, and it swells and fades within a record.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import numpy as np
from scipy import fft

from ...findings.vocabulary import NOISES
from ...signal_ecgllm import LEADS
from ..electrodes import eight_leads, twelve_leads

_DRIFT, _STATIC, _BURST, _ELECTRODE = NOISES

# mV from which on a kind of noise is called so in a lead: span of the drift, root mean square of static noise and, in
# its worst 0.4 s, of a burst; largest jump of a bad contact.
LIMITS = {_DRIFT: 0.60, _STATIC: 0.042, _BURST: 0.055, _ELECTRODE: 0.20}
_HIGH_PASS_HZ, _HIGH_PASS_SHARES = (0.05, 0.5), (0.65, 0.35)  # recorders' filters against drift
_MUSCLE_WIDTH = 0.0014  # seconds: a Gaussian low-pass of about 110 Hz
_FLOORS = (0.01, 0.06)  # of the slow noise's amplitude: what comes behind the filters
_FLAT_BELOW_HZ, _NORM_HZ = 2.5, np.arange(0.5, 150, 0.5)  # from where power falls; in which noise has its stated size
_SHARES = {_DRIFT: 0.10, _STATIC: 0.08, _BURST: 0.08, _ELECTRODE: 0.04}  # of records that are spoilt on purpose


def draw_low_pass(rng: np.random.Generator, n: int) -> np.ndarray:
    """[n, 1] seconds: the standard deviation of each recorder's low-pass. They pass up to 150 Hz, 100, or 40 Hz, where
    a Gaussian of this width has lost 3 dB."""
    cut = rng.choice([150.0, 100.0, 40.0], (n, 1), p=[0.4, 0.25, 0.35]) * rng.lognormal(0, 0.1, (n, 1))
    return np.sqrt(np.log(2)) / (2 * np.pi * cut)


def draw_noise(
    rng: np.random.Generator,
    n: int,
    times: np.ndarray,
    level: float,
    wanted: Collection[str] | None,
    smoothing: np.ndarray,
) -> tuple[np.ndarray, list[dict[str, tuple[str, ...]]]]:
    """Noise of a batch.

    Args: times [samples] seconds. level: scale of everything, 1 as in public ECGs. wanted: kinds that every record
    shall show, others stay under their limits; None draws a mix. smoothing [n, 1]: as from
    `draw_low_pass`.
    Returns: (float32 [n, 8, samples] mV in I, II, V1-V6; for each record: kind -> leads).
    """
    total = np.zeros((n, 8, len(times)), dtype=np.float32)
    found: list[dict[str, tuple[str, ...]]] = [{} for _ in range(n)]
    makers = {
        _DRIFT: _drift,
        _STATIC: partial(_static, smoothing=smoothing),
        _BURST: _bursts,
        _ELECTRODE: _contacts,
    }
    rate = 1 / (times[1] - times[0])
    for kind, share in _SHARES.items():
        spoilt = rng.random(n) < share
        if wanted is not None:
            spoilt[:] = kind in wanted
        where = _affected(rng, n)  # [n, 9], how much each electrode suffers
        rows = np.arange(n) if kind in (_DRIFT, _STATIC) else np.flatnonzero(spoilt)
        if not len(rows):
            continue
        noise = makers[kind](rng, spoilt[rows], where[rows], times, rate) * np.float32(level)
        eight = eight_leads(noise)
        measure = _measured(kind, eight, rate)
        limit = LIMITS[kind]
        if wanted is not None:
            # Asked for: the worst lead is well over the limit. Not asked for: all are under it.
            worst = measure.max(axis=1)
            over = 1.4 * limit / np.maximum(worst, 1e-9)
            factor = np.where(spoilt[rows], np.maximum(over, 1), np.minimum(over / 1.6, 1)).astype(np.float32)
            eight *= factor[:, None, None]
            measure = measure * factor[:, None]
        total[rows] += eight
        for row, lead_is_bad in zip(rows.tolist(), measure > limit, strict=True):
            if lead_is_bad.any():
                found[row][kind] = tuple(lead for lead, bad in zip(LEADS, lead_is_bad, strict=True) if bad)
    return total, found


def _affected(rng: np.random.Generator, n: int) -> np.ndarray:
    """[n, 9]: all electrodes to some degree, or one or a few of them alone."""
    share = np.where(rng.random((n, 1)) < 0.5, 1.0, rng.random((n, 9)) < 0.2) * rng.lognormal(0, 0.5, (n, 9))
    share[np.arange(n), rng.integers(0, 9, n)] += 1.0
    return share


def _measured(kind: str, eight: np.ndarray, rate: float) -> np.ndarray:
    """[records, 12] mV, as `LIMITS` says."""
    twelve = twelve_leads(eight)
    if kind == _DRIFT:
        return twelve.max(axis=2) - twelve.min(axis=2)
    if kind == _STATIC:
        return twelve.std(axis=2)
    if kind == _BURST:
        window = max(1, round(0.4 * rate))
        power = np.cumsum(np.pad(twelve.astype(np.float64) ** 2, ((0, 0), (0, 0), (1, 0))), axis=2)
        return np.sqrt((power[..., window:] - power[..., :-window]).max(axis=2) / window)
    step = max(1, round(0.03 * rate))
    return np.abs(twelve[..., step:] - twelve[..., :-step]).max(axis=2)


def _coloured(
    rng: np.random.Generator, slope: np.ndarray, smoothing: np.ndarray | float, samples: int, rate: float
) -> np.ndarray:
    """[n, 9, samples] float32 whose power falls with the frequency to the power of `slope` [n, 1], as a Gaussian
    low-pass (`smoothing`, seconds) leaves it; standard deviation 1 in the band of a recorder, whatever the rate."""

    floor = _log_uniform(rng, *_FLOORS, slope.shape)

    def shape(hz: np.ndarray) -> np.ndarray:
        fall = (1 + np.square(hz / _FLAT_BELOW_HZ)) ** (-slope / 4)
        return fall * np.exp(-0.5 * np.square(2 * np.pi * hz * smoothing)) + floor

    hz = fft.rfftfreq(samples, 1 / rate)
    power = np.square(shape(_NORM_HZ)).sum(axis=1, keepdims=True) * (_NORM_HZ[1] - _NORM_HZ[0])  # per mean square
    # Each frequency's share of a mean square of 1, as the inverse transform counts it.
    size = shape(hz) * np.sqrt(hz[1] / power) * (samples / 2) * (hz >= 0.5)
    parts = rng.standard_normal((len(slope), 9, len(hz), 2), dtype=np.float32).view(np.complex64)[..., 0]
    parts *= size.astype(np.float32)[:, None]
    return fft.irfft(parts, samples, axis=-1)


def _swelling(rng: np.random.Generator, n: int, times: np.ndarray) -> np.ndarray:
    """[n, 1, samples] float32, about 1: noise is louder and quieter within a second."""
    place = (times - times[0]) / 0.4
    knots = rng.standard_normal((n, 1, int(place[-1]) + 2), dtype=np.float32)
    before = place.astype(int)
    share = (place - before).astype(np.float32)
    course = knots[..., before] * (1 - share) + knots[..., before + 1] * share
    return np.exp(rng.uniform(0.05, 0.45, (n, 1, 1)).astype(np.float32) * course)


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def _drift(
    rng: np.random.Generator, spoilt: np.ndarray, where: np.ndarray, times: np.ndarray, rate: float
) -> np.ndarray:
    """Breath, its second harmonic and slower sways; in spoilt records a wandering of single electrodes on top."""
    n = len(spoilt)
    breath = rng.uniform(0.13, 0.38, (n, 1))
    phase = rng.random((n, 1)) + breath * times
    rates = rng.uniform(0.02, 0.12, (n, 2, 1))
    slow = rates * times + rng.random((n, 2, 1))
    waves = np.concatenate(
        [np.sin(2 * np.pi * phase)[:, None], np.cos(4 * np.pi * phase)[:, None], np.sin(2 * np.pi * slow)], axis=1
    )
    base = _log_uniform(rng, 0.020, 0.170, (n, 1, 1)) * rng.lognormal(0, 0.4, (n, 9, 1))
    mix = rng.normal(0, [0.6, 0.25, 0.7, 0.7], (n, 9, 4)) * base
    size = spoilt[:, None, None] * _log_uniform(rng, 0.15, 0.7, (n, 1, 1)) * where[:, :, None]
    mix += rng.normal(0, [0.6, 0.3, 1.0, 0.8], (n, 9, 4)) * size
    # Recorders filter without a shift of phase, which spares ST; of a spoilt record too little was filtered away.
    cut = rng.choice(_HIGH_PASS_HZ, (n, 1), p=_HIGH_PASS_SHARES)
    cut = np.where(spoilt[:, None], _HIGH_PASS_HZ[0], cut) * rng.uniform(0.8, 1.2, (n, 1))
    ratio = np.square(np.concatenate([breath, 2 * breath, rates[..., 0]], axis=1) / cut)
    mix *= (ratio / (1 + ratio))[:, None]
    return np.matmul(mix.astype(np.float32), waves.astype(np.float32))


def _static(
    rng: np.random.Generator, spoilt: np.ndarray, where: np.ndarray, times: np.ndarray, rate: float,
    smoothing: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Noise of skin, muscle and amplifier, and powerline interference where the device lets it pass and the rate can
    show it."""
    n = len(spoilt)
    size = np.clip(rng.lognormal(np.log(0.0062), 0.4, (n, 1)), 0.0018, 0.020) * rng.lognormal(0, 0.45, (n, 9))
    size += spoilt[:, None] * _log_uniform(rng, 0.02, 0.08, (n, 1)) * where
    slope = np.where(spoilt[:, None], rng.uniform(0.0, 1.2, (n, 1)), rng.uniform(0.6, 1.9, (n, 1)))
    noise = _coloured(rng, slope, smoothing, len(times), rate)
    noise *= size.astype(np.float32)[..., None] * _swelling(rng, n, times)
    powerline_hz = rng.choice([50.0, 60.0], (n, 1))
    present = np.where(spoilt[:, None], rng.random((n, 1)) < 0.4, rng.random((n, 1)) < 0.1) & (
        powerline_hz < 0.45 * rate
    )
    size = present * _log_uniform(rng, 0.002, 0.02, (n, 1)) * (1 + 3 * spoilt[:, None]) * rng.lognormal(0, 0.5, (n, 9))
    rows = np.flatnonzero(present[:, 0])
    if len(rows):
        wave = np.sin(2 * np.pi * (powerline_hz[rows] * times + rng.random((len(rows), 1))))
        noise[rows] += (size[rows, :, None] * wave[:, None]).astype(np.float32)
    return noise


def _bursts(
    rng: np.random.Generator, spoilt: np.ndarray, where: np.ndarray, times: np.ndarray, rate: float
) -> np.ndarray:
    """One to three bursts of muscle activity: fast, swelling and fading."""
    n = len(spoilt)
    envelope = np.zeros((n, len(times)))
    for number in range(3):
        center, width = rng.uniform(times[0], times[-1], (n, 1)), rng.uniform(0.15, 1.3, (n, 1))
        present = (rng.random((n, 1)) < 0.4) | (number == 0)
        envelope = np.maximum(envelope, present * np.exp(-0.5 * np.square((times - center) / width)))
    muscle = _coloured(rng, rng.uniform(0, 0.6, (n, 1)), _MUSCLE_WIDTH, len(times), rate)
    step = max(1, round(0.01 * rate))
    muscle -= 0.6 * np.roll(muscle, step, axis=-1)
    size = _log_uniform(rng, 0.05, 0.22, (n, 1)) * where
    return (size[..., None] * envelope[:, None]).astype(np.float32) * muscle


def _contacts(
    rng: np.random.Generator, spoilt: np.ndarray, where: np.ndarray, times: np.ndarray, rate: float
) -> np.ndarray:
    """Electrodes that lose contact: jumps that fade, and a stretch of noise while the contact is open."""
    n, samples = len(spoilt), len(times)
    bad = np.zeros((n, 9))
    bad[np.arange(n), rng.integers(0, 9, n)] = 1.0
    bad *= np.maximum(where, 0.6)
    course = np.zeros((n, samples))
    for number in range(4):
        at = rng.uniform(times[0], times[-1] - 0.1, (n, 1))
        fade = rng.uniform(0.15, 1.5, (n, 1))
        jump = rng.choice([-1, 1], (n, 1)) * _log_uniform(rng, 0.3, 1.5, (n, 1))
        present = (rng.random((n, 1)) < 0.5) | (number == 0)
        since = np.maximum(times - at, 0)
        course += present * (times >= at) * jump * np.exp(-since / fade)
    at, length = rng.uniform(times[0], times[-1], (n, 1)), rng.uniform(0.2, 1.5, (n, 1))
    open_contact = (times >= at) & (times < at + length) & (rng.random((n, 1)) < 0.5)
    course += open_contact * rng.normal(0, 0.2, (n, samples))
    return (bad[..., None] * course[:, None]).astype(np.float32)
