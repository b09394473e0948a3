"""What spoils a recording: baseline wander, static noise, powerline interference, bursts of muscle, bad contacts.

Noise arises at the nine electrodes RA, LA, LL, V1-V6 and reaches the leads as their potentials do, so Einthoven's and
Goldberger's laws stay true. Out: noise in I, II, V1-V6 and, for each kind, the leads in which it is large enough to
be called so. Decided here: sizes and limits. Nothing here knows of findings of the heart, so noise tells nothing
about them.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from ...findings.vocabulary import NOISES
from ...signal_ecgllm import LEADS
from ..electrodes import eight_leads, twelve_leads

_DRIFT, _STATIC, _BURST, _ELECTRODE = NOISES

# mV from which on a kind of noise is called so in a lead: span of the drift, root mean square of static noise and, in
# its worst 0.4 s, of a burst; largest jump of a bad contact.
LIMITS = {_DRIFT: 0.60, _STATIC: 0.042, _BURST: 0.055, _ELECTRODE: 0.20}
_NOISE_WIDTH = 0.0014  # seconds: a Gaussian low-pass of about 110 Hz
_SHARES = {_DRIFT: 0.10, _STATIC: 0.08, _BURST: 0.08, _ELECTRODE: 0.04}  # of records that are spoilt on purpose


def draw_noise(
    rng: np.random.Generator,
    n: int,
    times: np.ndarray,
    level: float,
    wanted: Collection[str] | None,
) -> tuple[np.ndarray, list[dict[str, tuple[str, ...]]]]:
    """Noise of a batch.

    Args: times [samples] seconds. level: scale of everything, 1 as in public ECGs. wanted: kinds that every record
    shall show, others stay under their limits; None draws a mix.
    Returns: (float32 [n, 8, samples] mV in I, II, V1-V6; for each record: kind -> leads).
    """
    total = np.zeros((n, 8, len(times)), dtype=np.float32)
    found: list[dict[str, tuple[str, ...]]] = [{} for _ in range(n)]
    makers = {_DRIFT: _drift, _STATIC: _static, _BURST: _bursts, _ELECTRODE: _contacts}
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


def _white(rng: np.random.Generator, n: int, samples: int, rate: float) -> np.ndarray:
    """[n, 9, samples] float32 of standard deviation 1, up to about 110 Hz, as devices let it pass."""
    noise = rng.standard_normal((n, 9, samples), dtype=np.float32)
    width = _NOISE_WIDTH * rate  # in samples
    if width < 0.4:
        return noise
    reach = int(np.ceil(3 * width))
    kernel = np.exp(-0.5 * np.square(np.arange(-reach, reach + 1) / width))
    kernel /= np.sqrt(np.square(kernel).sum())
    padded = np.pad(noise, ((0, 0), (0, 0), (reach, reach)), mode="reflect")
    return sum(np.float32(weight) * padded[..., k : k + samples] for k, weight in enumerate(kernel))


def _slow(rng: np.random.Generator, n: int, times: np.ndarray) -> np.ndarray:
    """[n, 9, samples] float32 of standard deviation about 0.8, under 5 Hz: skin and electrodes."""
    place = (times - times[0]) / 0.11
    knots = rng.standard_normal((n, 9, int(place[-1]) + 2), dtype=np.float32)
    before = place.astype(int)
    share = (place - before).astype(np.float32)
    return knots[..., before] * (1 - share) + knots[..., before + 1] * share


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def _drift(
    rng: np.random.Generator, spoilt: np.ndarray, where: np.ndarray, times: np.ndarray, rate: float
) -> np.ndarray:
    """Breath, its second harmonic and slower sways; in spoilt records a wandering of single electrodes on top."""
    n = len(spoilt)
    breath = rng.uniform(0.13, 0.38, (n, 1))
    phase = rng.random((n, 1)) + breath * times
    slow = rng.uniform(0.02, 0.12, (n, 2, 1)) * times + rng.random((n, 2, 1))
    waves = np.concatenate(
        [np.sin(2 * np.pi * phase)[:, None], np.cos(4 * np.pi * phase)[:, None], np.sin(2 * np.pi * slow)], axis=1
    )
    base = _log_uniform(rng, 0.015, 0.100, (n, 1, 1)) * rng.lognormal(0, 0.4, (n, 9, 1))
    mix = rng.normal(0, [0.6, 0.25, 0.7, 0.7], (n, 9, 4)) * base
    size = spoilt[:, None, None] * _log_uniform(rng, 0.15, 0.7, (n, 1, 1)) * where[:, :, None]
    mix += rng.normal(0, [0.6, 0.3, 1.0, 0.8], (n, 9, 4)) * size
    return np.matmul(mix.astype(np.float32), waves.astype(np.float32))


def _static(
    rng: np.random.Generator, spoilt: np.ndarray, where: np.ndarray, times: np.ndarray, rate: float
) -> np.ndarray:
    """White and slow noise, and powerline interference where the device lets it pass and the rate can show it."""
    n = len(spoilt)
    white = _log_uniform(rng, 0.0015, 0.011, (n, 1)) * rng.lognormal(0, 0.3, (n, 9))
    white += spoilt[:, None] * _log_uniform(rng, 0.015, 0.06, (n, 1)) * where
    noise = _white(rng, n, len(times), rate)
    noise += 1.6 * _slow(rng, n, times)
    noise *= white.astype(np.float32)[..., None]
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
    muscle = _white(rng, n, len(times), rate)
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
