"""The simulator's heart: wave templates and event times in, twelve leads in millivolt out.

Every wave is a Gaussian in time with a direction: a frontal vector that Einthoven's triangle turns into the limb
leads, and a dipole that Dower's matrix turns into the chest leads. Only I, II and V1-V6 are modelled; III, aVR, aVL
and aVF are derived from them, so that Einthoven's and Goldberger's laws hold exactly. Everything is vectorised over a
batch of records. Decided here: geometry, rendering and noise. What the waves look like in which disease is
`simulation`'s matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Dower 1968 / Dower, Machado, Osborne 1980, rows V1-V6; columns X (to the left), Y (to the feet), Z (to the back).
DOWER_CHEST = np.array(
    [
        [-0.515, 0.157, -0.917],
        [0.044, 0.164, -1.387],
        [0.882, 0.098, -1.277],
        [1.213, 0.127, -0.601],
        [1.125, 0.127, -0.086],
        [0.831, 0.076, 0.230],
    ]
)
# Fitted to the median amplitudes of public ECGs: with one dipole alone V1 comes out too large, V2-V4 too small.
_CHEST_GAIN = np.array([0.75, 1.10, 1.08, 1.12, 1.0, 0.98])
_SIXTY_DEGREES = np.pi / 3
_NEVER = 1e6  # seconds; an event that is not there


@dataclass
class Waves:
    """Waves of one kind of beat for a batch: K Gaussians per record, placed relative to the beat's event.

    centers, widths: [records, K] seconds. frontal: [records, K, 2] mV, (to the left, to the feet). chest: [records,
    K, 3] mV, (X, Y, Z) of the dipole behind the chest leads.
    """

    centers: np.ndarray
    widths: np.ndarray
    frontal: np.ndarray
    chest: np.ndarray

    def rotate_frontal(self, degrees: np.ndarray) -> None:
        """Turn all frontal vectors of a record by so many degrees (towards the feet is positive)."""
        angle = np.deg2rad(degrees)[:, None]
        x, y = self.frontal[..., 0], self.frontal[..., 1]
        self.frontal = np.stack(
            [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1
        )

    def net_frontal(self) -> np.ndarray:
        """Area of the waves, [records, 2] mV·s: its direction is their electrical axis."""
        return (self.frontal * (self.widths * np.sqrt(2 * np.pi))[..., None]).sum(axis=1)

    def amplitudes(self, chest_rows: np.ndarray) -> np.ndarray:
        """[records, K, 8] mV in I, II, V1-V6; chest_rows [records, 6, 3] stand for where the electrodes sit."""
        x, y = self.frontal[..., 0], self.frontal[..., 1]
        limb = np.stack([x, x * np.cos(_SIXTY_DEGREES) + y * np.sin(_SIXTY_DEGREES)], axis=-1)
        return np.concatenate([limb, np.einsum("nkd,nvd->nkv", self.chest, chest_rows)], axis=-1)


def frontal_vectors(magnitude: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """[..., 2] from magnitude (mV) and angle in the frontal plane: 0 is to the left, 90 to the feet."""
    angle = np.deg2rad(degrees)
    return np.stack([magnitude * np.cos(angle), magnitude * np.sin(angle)], axis=-1)


def chest_electrodes(rng: np.random.Generator, n: int) -> np.ndarray:
    """[n, 6, 3]: Dower's rows for chest electrodes that slipped along their line, with skin contacts that differ."""
    position = np.arange(6) + rng.normal(0, 0.3, (n, 1)) + rng.normal(0, 0.12, (n, 6))
    position = np.clip(position, -0.5, 5.5)
    low = np.clip(np.floor(position).astype(int), 0, 4)
    weight = (position - low)[..., None]
    rows = DOWER_CHEST[low] * (1 - weight) + DOWER_CHEST[low + 1] * weight
    return rows * _CHEST_GAIN[:, None] * rng.lognormal(0, 0.13, (n, 6, 1))


def render(
    waves: Waves, events: np.ndarray, chest_rows: np.ndarray, times: np.ndarray, smoothing: np.ndarray | float
) -> np.ndarray:
    """Sum of the waves around their events, [records, 8, samples] float32 mV in I, II, V1-V6.

    Args: events [records, events] seconds, NaN where there is none; times [samples] seconds; smoothing [records, 1]
    or number,
        seconds: the standard deviation of a Gaussian low-pass that keeps the samples free of aliases.
    Each sample sees the waves of the event before it and of the event after it, which is all that matters for beats.
    """
    events = np.sort(np.where(np.isnan(events), _NEVER, events), axis=1)
    pad = np.full((len(events), 1), _NEVER)
    events = np.concatenate([-pad, events, pad], axis=1)
    after = np.stack([np.searchsorted(row, times, side="right") for row in events])
    after = np.minimum(after, events.shape[1] - 1)
    widths = np.sqrt(waves.widths**2 + np.square(smoothing))
    amplitudes = waves.amplitudes(chest_rows) * (waves.widths / widths)[..., None]
    out = np.zeros((len(events), 8, len(times)), dtype=np.float32)
    weights = amplitudes.transpose(0, 2, 1).astype(np.float32)  # [records, 8, K]
    for index in (after - 1, after):
        since = (times - np.take_along_axis(events, index, axis=1)).astype(np.float32)[:, None, :]
        distance = (since - waves.centers.astype(np.float32)[..., None]) / widths.astype(np.float32)[..., None]
        distance = np.minimum(np.abs(distance), 12.0)  # beyond, nothing is left of a Gaussian; the square stays finite
        out += np.matmul(weights, np.exp(-0.5 * distance * distance))
    return out


def fibrillation_waves(rng: np.random.Generator, n: int, times: np.ndarray) -> np.ndarray:
    """[n, 8, samples] mV: three wandering sines of 4.2-8.5 Hz, largest in V1, as the fibrillating atria show."""
    wave = np.zeros((n, len(times)))
    base = rng.uniform(4.6, 7.8, (n, 1))
    for _ in range(3):
        rate = np.clip(base + rng.uniform(-0.8, 0.8, (n, 1)), 4.2, 8.5)
        sway = rng.uniform(0.2, 0.9, (n, 1)) * np.sin(
            2 * np.pi * (rng.uniform(0.1, 0.5, (n, 1)) * times + rng.random((n, 1)))
        )
        swell = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.6, (n, 1)) * times + rng.random((n, 1))))
        wave += swell * np.sin(2 * np.pi * (rate * times + rng.random((n, 1))) + 2 * sway)
    gains = np.array([0.3, 0.6, 1.0, 0.6, 0.35, 0.25, 0.2, 0.2]) * rng.lognormal(0, 0.25, (n, 8))
    size = np.exp(rng.uniform(np.log(0.008), np.log(0.06), (n, 1, 1)))  # mV per sine in V1
    return (size * gains[..., None] * wave[:, None, :]).astype(np.float32)


def electrode_noise(rng: np.random.Generator, n: int, times: np.ndarray, level: float) -> np.ndarray:
    """[n, 8, samples] mV in I, II, V1-V6: noise of the nine electrodes RA, LA, LL, V1-V6, combined as the leads
    combine them.

    Per electrode: white noise of 0.8-13 microvolt, baseline wander at the breath's rate, a slow drift, and in some
    records bursts of muscle activity. `level` scales it all; 0 gives none.
    """
    samples = len(times)
    white = np.exp(rng.uniform(np.log(0.0008), np.log(0.013), (n, 1, 1))) * rng.lognormal(0, 0.3, (n, 9, 1))
    noise = rng.standard_normal((n, 9, samples), dtype=np.float32)
    bursts = _bursts(rng, n, times)
    if len(bursts[0]):
        rows, envelope = bursts
        muscle = rng.standard_normal((len(rows), 9, samples), dtype=np.float32)
        muscle -= 0.7 * np.roll(muscle, 1, axis=-1)  # muscle is mostly fast
        strength = rng.uniform(0.01, 0.06, (len(rows), 1, 1)) * rng.lognormal(0, 0.6, (len(rows), 9, 1))
        noise *= white.astype(np.float32)
        noise[rows] += (strength * envelope[:, None, :]).astype(np.float32) * muscle
    else:
        noise *= white.astype(np.float32)

    breath = rng.uniform(0.13, 0.38, (n, 1))
    size = np.exp(rng.uniform(np.log(0.005), np.log(0.12), (n, 1, 1))) * rng.lognormal(0, 0.4, (n, 9, 1))
    phase = rng.random((n, 1)) + breath * times
    wander = np.stack([np.sin(2 * np.pi * phase), np.cos(2 * np.pi * phase), np.sin(2 * np.pi * 0.31 * phase)], axis=1)
    mix = rng.normal(0, 0.6, (n, 9, 3)) * size
    noise += np.matmul(mix.astype(np.float32), wander.astype(np.float32))

    noise *= np.float32(level)
    ra, la, ll = noise[:, 0], noise[:, 1], noise[:, 2]
    chest = noise[:, 3:] - ((ra + la + ll) / 3)[:, None]
    return np.concatenate([(la - ra)[:, None], (ll - ra)[:, None], chest], axis=1)


def _bursts(rng: np.random.Generator, n: int, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(records with muscle bursts, their envelopes [those, samples] from 0 to 1)."""
    rows = np.flatnonzero(rng.random(n) < 0.15)
    center = rng.uniform(times[0], times[-1], (len(rows), 1))
    width = rng.uniform(0.2, 1.5, (len(rows), 1))
    return rows, np.exp(-0.5 * np.square((times - center) / width))


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """[records, 12, samples] in the standard order from [records, 8, samples] in I, II, V1-V6.

    Source: Einthoven, III = II - I; Goldberger 1942, aVR = -(I + II)/2, aVL = I - II/2, aVF = II - I/2.
    """
    one, two = eight[:, 0], eight[:, 1]
    limb = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2], axis=1)
    return np.concatenate([limb, eight[:, 2:]], axis=1)
