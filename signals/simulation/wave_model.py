"""The simulator's heart: wave templates and event times in, twelve leads in millivolt out.

Every wave is a Gaussian in time with a direction: a frontal vector that Einthoven's triangle turns into the limb
leads, and a dipole that Dower's matrix turns into the chest leads. Only I, II and V1-V6 are modelled; III, aVR, aVL
and aVF are derived from them, so that Einthoven's and Goldberger's laws hold exactly. Everything is vectorised over a
batch of records. Decided here: geometry and rendering. What the waves look like in which disease is decided in
`qrs` and `repolarization`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from ..electrodes import twelve_leads

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
_CHEST_GAIN = np.array([0.60, 1.00, 1.10, 1.18, 0.98, 0.90])
# What one dipole does not explain of T: it is lower in V1 and over the heart (V3, V4), higher beside it (V6).
_NEAR_T = np.array([-0.34, 0.0, -0.36, -0.50, 0.0, 0.33])
# V1 lies over the atria, and sees of P what hardly another lead does.
_NEAR_P = np.array([1.0, 0.1, 0.05, 0.12, 0.0, -0.15])
_SIXTY_DEGREES = np.pi / 3
_NEVER = 1e6  # seconds; an event that is not there


class Batch:
    """A dataclass of arrays whose first axis is the record."""

    def __getitem__(self, rows):
        """The same of these records only."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def stacked(cls, parts: Sequence[Batch]):
        """Several batches as one; rows of different lengths are filled up with NaN."""
        columns = {}
        for field in fields(cls):
            values = [getattr(part, field.name) for part in parts]
            if isinstance(values[0], Batch):
                columns[field.name] = type(values[0]).stacked(values)
                continue
            if values[0].ndim == 2 and len({value.shape[1] for value in values}) > 1:
                longest = max(value.shape[1] for value in values)
                fill = np.nan if values[0].dtype.kind == "f" else 0
                values = [
                    np.pad(value, ((0, 0), (0, longest - value.shape[1])), constant_values=fill) for value in values
                ]
            columns[field.name] = np.concatenate(values)
        return cls(**columns)


@dataclass
class Waves(Batch):
    """Waves of one kind of beat for a batch: K Gaussians per record, placed relative to the beat's event.

    centers, widths: [records, K] seconds. frontal: [records, K, 2] mV, (to the left, to the feet). chest: [records,
    K, 3] mV, (X, Y, Z) of the dipole behind the chest leads, or more columns with what is not of a dipole: of T, of P.
    """

    centers: np.ndarray
    widths: np.ndarray
    frontal: np.ndarray
    chest: np.ndarray

    def rotate_frontal(self, degrees: np.ndarray) -> None:
        """Turn the frontal vectors of a record by so many degrees (towards the feet is positive)."""
        angle = np.deg2rad(degrees)[:, None]
        x, y = self.frontal[..., 0], self.frontal[..., 1]
        self.frontal = np.stack(
            [x * np.cos(angle) - y * np.sin(angle), x * np.sin(angle) + y * np.cos(angle)], axis=-1
        )

    def amplitudes(self, chest_rows: np.ndarray) -> np.ndarray:
        """[records, K, 8] mV in I, II, V1-V6; chest_rows [records, 6, 5] stand for where the electrodes sit."""
        x, y = self.frontal[..., 0], self.frontal[..., 1]
        limb = np.stack([x, x * np.cos(_SIXTY_DEGREES) + y * np.sin(_SIXTY_DEGREES)], axis=-1)
        seen = chest_rows[..., : self.chest.shape[-1]]
        return np.concatenate([limb, self.chest @ seen.transpose(0, 2, 1)], axis=-1)

    def smoothed(self, width: np.ndarray | float) -> Waves:
        """As a Gaussian low-pass of this standard deviation (s; a number or [records, 1]) leaves them."""
        widths = np.sqrt(self.widths**2 + np.square(width))
        share = (self.widths / widths)[..., None]
        return Waves(self.centers, widths, self.frontal * share, self.chest * share)

    def joined(self, other: Waves) -> Waves:
        """Both sets of waves as one, for the same events."""
        parts = [(each.centers, each.widths, each.frontal, _in_four(each.chest)) for each in (self, other)]
        return Waves(*(np.concatenate(pair, axis=1) for pair in zip(*parts, strict=True)))


def _in_four(chest: np.ndarray) -> np.ndarray:
    return np.pad(chest, ((0, 0), (0, 0), (0, 4 - chest.shape[-1])))


def frontal_vectors(magnitude: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """[..., 2] from magnitude (mV) and angle in the frontal plane: 0 is to the left, 90 to the feet."""
    angle = np.deg2rad(degrees)
    return np.stack([magnitude * np.cos(angle), magnitude * np.sin(angle)], axis=-1)


def chest_electrodes(body: np.random.Generator, visit: np.random.Generator, n: int) -> np.ndarray:
    """[n, 6, 5]: Dower's rows for chest electrodes that slipped along their line, on chests that conduct differently.

    body: what stays with a patient. visit: how the electrodes were placed this time.
    """
    position = (
        np.arange(6) + body.normal(0, 0.22, (n, 1)) + visit.normal(0, 0.2, (n, 1)) + visit.normal(0, 0.1, (n, 6))
    )
    position = np.clip(position, -0.5, 5.5)
    low = np.clip(np.floor(position).astype(int), 0, 4)
    weight = (position - low)[..., None]
    table = np.concatenate([DOWER_CHEST, _NEAR_T[:, None], _NEAR_P[:, None]], axis=1)
    rows = table[low] * (1 - weight) + table[low + 1] * weight
    near = body.lognormal(0, 0.10, (n, 6, 5)) * body.lognormal(0, 0.14, (n, 6, 1))
    return rows * _CHEST_GAIN[:, None] * near


def template(waves: Waves, chest_rows: np.ndarray, times: np.ndarray) -> np.ndarray:
    """One beat in twelve leads, [records, 12, samples] float32 mV, at `times` [samples] after its event."""
    distance = (times - waves.centers[..., None]) / waves.widths[..., None]
    shapes = np.exp(-0.5 * np.minimum(np.abs(distance), 12.0).astype(np.float32) ** 2)
    return twelve_leads(np.matmul(waves.amplitudes(chest_rows).transpose(0, 2, 1).astype(np.float32), shapes))


def render(
    waves: Waves,
    events: np.ndarray,
    chest_rows: np.ndarray,
    times: np.ndarray,
    smoothing: np.ndarray | float,
    gains: np.ndarray | None = None,
) -> np.ndarray:
    """Sum of the waves around their events, [records, 8, samples] float32 mV in I, II, V1-V6.

    Args: events [records, events] seconds, NaN where there is none; times [samples] seconds; smoothing [records, 1]
    or number, seconds: the standard deviation of a Gaussian low-pass that keeps the samples free of aliases; gains
    [records, events]: size of each event's waves.
    Each sample sees the waves of the event before it and of the event after it, which is all that matters for beats.
    """
    known = np.where(np.isnan(events), _NEVER, events)
    order = np.argsort(known, axis=1, kind="stable")
    pad = np.full((len(events), 1), _NEVER)
    sorted_events = np.concatenate([-pad, np.take_along_axis(known, order, axis=1), pad], axis=1)
    after = np.stack([np.searchsorted(row, times, side="right") for row in sorted_events])
    after = np.minimum(after, sorted_events.shape[1] - 1)
    if gains is not None:
        ones = np.ones((len(events), 1))
        gains = np.concatenate([ones, np.take_along_axis(gains, order, axis=1), ones], axis=1).astype(np.float32)
    waves = waves.smoothed(smoothing)
    widths, amplitudes = waves.widths, waves.amplitudes(chest_rows)
    out = np.zeros((len(events), 8, len(times)), dtype=np.float32)
    weights = amplitudes.transpose(0, 2, 1).astype(np.float32)  # [records, 8, K]
    scale = (1 / widths).astype(np.float32)[..., None]
    offset = (waves.centers / widths).astype(np.float32)[..., None]
    for index in (after - 1, after):
        since = (times - np.take_along_axis(sorted_events, index, axis=1)).astype(np.float32)[:, None, :]
        distance = since * scale - offset
        np.clip(distance, -12.0, 12.0, out=distance)  # beyond, nothing is left of a Gaussian; the square stays finite
        np.multiply(distance, distance, out=distance)
        distance *= np.float32(-0.5)
        np.exp(distance, out=distance)
        part = np.matmul(weights, distance)
        if gains is not None:
            part *= np.take_along_axis(gains, index, axis=1)[:, None, :]
        out += part
    return out
