"""The shape of the waves in each condition: a `Plan` in, `Waves` for P, QRS and T of a batch of records out.

Decided here: durations, directions and sizes of the waves, normal and in bundle branch block, and of ventricular
beats. Ranges follow published norms; sizes were compared with the median amplitudes of public ECGs.
"""

from __future__ import annotations

import numpy as np

from .simulation_plan import Plan
from .wave_model import Waves, frontal_vectors


def draw_qrs(rng: np.random.Generator, plan: Plan) -> tuple[Waves, np.ndarray, np.ndarray]:
    """(QRS waves relative to QRS onset, QRS duration in ms, [records, 2] limb and chest scale in mV).

    Slots: q, r1, r2, s, terminal (right bundle branch block), notch.
    """
    n = len(plan.rate)
    block = plan.rbbb | plan.lbbb
    ms = np.where(block, rng.uniform(126, 166, n), np.clip(rng.normal(91, 9, n), 70, 110))
    limb = rng.lognormal(np.log(1.48), 0.27, n)
    chest = limb**0.4 * rng.lognormal(np.log(1.28), 0.22, n)

    def u(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, n)

    right, left = plan.rbbb[:, None], plan.lbbb[:, None]
    centers = np.tile([0.17, 0.34, 0.53, 0.74, 0.76, 0.45], (n, 1))
    widths = np.tile([0.050, 0.068, 0.072, 0.066, 0.095, 0.040], (n, 1))
    # Right bundle branch block: the left ventricle is done in time, the right one comes late.
    centers = np.where(right, centers * [0.62, 0.62, 0.62, 0.62, 1, 0.62], centers)
    widths = np.where(right, widths * [0.62, 0.62, 0.62, 0.62, 1, 0.62], widths)
    centers = np.where(left, [0.1, 0.28, 0.60, 0.8, 0.76, 0.47], centers)
    widths = np.where(left, [0.05, 0.098, 0.118, 0.06, 0.095, 0.055], widths)

    zero = np.zeros(n)
    size = np.stack([u(0, 0.16), np.full(n, 0.35), u(0.68, 0.85), u(0, 0.28), zero, u(-0.1, 0.12)], axis=1)
    size = np.where(left, np.stack([zero, u(0.35, 0.5), u(0.6, 0.75), zero, zero, u(-0.22, -0.05)], axis=1), size)
    angle = np.stack([180 + u(-35, 35), u(-25, 25), u(-8, 8), 180 + u(-60, 60), zero, u(-40, 40)], axis=1)
    q, s = u(0.2, 1), u(0.3, 1.1)
    x = np.stack([-0.22 * q, u(0.38, 0.52), u(0.88, 1.08), -0.38 * s, zero, u(-0.1, 0.1)], axis=1)
    z = np.stack([-0.30 * q, -u(0.36, 0.54), u(0.50, 0.80), u(0.25, 0.5) * s, zero, u(-0.1, 0.1)], axis=1)
    x = np.where(left, np.stack([zero, u(0.4, 0.6), u(0.85, 1.1), zero, zero, u(-0.25, -0.08)], axis=1), x)
    z = np.where(left, np.stack([zero, u(0.2, 0.35), u(0.75, 1.05), zero, zero, u(-0.1, 0.1)], axis=1), z)

    waves = Waves(centers * ms[:, None] / 1000, widths * ms[:, None] / 1000, np.empty(0), np.empty(0))
    waves.frontal = frontal_vectors(size * limb[:, None], angle + plan.axis[:, None])
    net = waves.net_frontal()
    waves.rotate_frontal(plan.axis - np.rad2deg(np.arctan2(net[:, 1], net[:, 0])))  # now the axis is exact
    y = waves.frontal[..., 1] * 0.7
    waves.chest = np.stack([x * chest[:, None], y, z * chest[:, None]], axis=-1)
    # The late right ventricle points to the right and forwards. The axis is that of the forces before it, as
    # cardiologists read it.
    late = np.flatnonzero(plan.rbbb)
    waves.frontal[late, 4] = frontal_vectors(u(0.22, 0.5) * chest, 180 + u(-28, 28))[late]
    waves.chest[late, 4] = (np.stack([-u(0.28, 0.62), zero, -u(0.32, 0.75)], axis=1) * chest[:, None])[late]
    return waves, ms, np.stack([limb, chest], axis=1)


def draw_qt(rng: np.random.Generator, plan: Plan, qrs_ms: np.ndarray) -> np.ndarray:
    """QT interval in seconds: corrected QT scaled by the rate, and longer where conduction is slow."""
    n = len(plan.rate)
    corrected = np.clip(rng.normal(0.408, 0.018, n), 0.36, 0.445) + 0.7 * np.maximum(qrs_ms - 110, 0) / 1000
    return np.minimum(corrected * (60 / plan.rate) ** rng.uniform(0.32, 0.48, n), 0.8 * 60 / plan.rate)


def draw_t_waves(rng: np.random.Generator, plan: Plan, qrs: Waves, qt: np.ndarray, scale: np.ndarray) -> Waves:
    """T as a slow rise and a faster fall (two Gaussians) and the ST segment; discordant in bundle branch block."""
    n = len(plan.rate)
    fall = rng.uniform(0.028, 0.040, n) * (60 / plan.rate) ** 0.3
    peak = qt - 2.0 * fall
    size = np.clip(rng.lognormal(np.log(0.26), 0.3, n), 0.12, 0.6)
    frontal = frontal_vectors(size, np.clip(rng.normal(45, 16, n), 10, 80))
    chest = np.stack([size * rng.uniform(0.8, 1.2, n), frontal[:, 1] * 0.7, -size * rng.uniform(0.25, 0.7, n)], axis=1)
    # Secondary changes: T turns away from the wide or late part of the QRS.
    chest -= plan.rbbb[:, None] * rng.uniform(0.30, 0.55, (n, 1)) * qrs.chest[:, 4]
    against = rng.uniform(0.18, 0.34, (n, 1)) * plan.lbbb[:, None]
    frontal = np.where(plan.lbbb[:, None], -against * qrs.frontal.sum(axis=1), frontal)
    chest = np.where(plan.lbbb[:, None], -against * qrs.chest.sum(axis=1), chest)
    st = np.where(plan.lbbb, 0.45, rng.uniform(0.0, 0.10, n))[:, None]
    centers = np.stack([peak - 1.55 * fall, peak - 0.5 * fall, peak, 0.55 * peak], axis=1)
    widths = np.stack([1.7 * fall, 1.3 * fall, fall, 1.5 * fall], axis=1)
    share = np.concatenate([np.tile([0.32, 0.42, 0.45], (n, 1)), st], axis=1)[..., None]
    return Waves(centers, widths, share * frontal[:, None], share * chest[:, None])


def draw_ventricular_waves(rng: np.random.Generator, scale: np.ndarray, qt: np.ndarray) -> tuple[Waves, Waves]:
    """(QRS, T) of premature ventricular beats: wide, bizarre, of any direction, T opposite."""
    n = len(scale)
    width = rng.uniform(0.130, 0.180, (n, 1))
    size = rng.lognormal(np.log(1.15), 0.25, n) * np.clip(scale[:, 0], 0.8, 1.4)
    angle, around = rng.uniform(-180, 180, n), rng.uniform(-np.pi, np.pi, n)
    turn = rng.uniform(-40, 40, n)
    frontal = np.stack([frontal_vectors(0.5 * size, angle + turn), frontal_vectors(size, angle)], axis=1)

    def dipole(strength: np.ndarray, direction: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack([strength * np.cos(direction), 0.6 * y, strength * np.sin(direction)], axis=1)

    chest = np.stack(
        [
            dipole(0.5 * size, around + np.deg2rad(turn), frontal[:, 0, 1]),
            dipole(1.1 * size, around, frontal[:, 1, 1]),
        ],
        axis=1,
    )
    qrs = Waves(width * [0.30, 0.58], width * [0.105, 0.135], frontal, chest)
    peak = np.maximum(qt, 0.30)[:, None] * 0.82 + 0.3 * width - 0.02
    against = -rng.uniform(0.25, 0.45, (n, 1, 1))
    t = Waves(
        np.concatenate([peak - 0.06, peak], axis=1),
        np.tile([0.055, 0.045], (n, 1)),
        against * frontal.sum(axis=1, keepdims=True) * np.array([0.45, 0.55])[:, None],
        against * chest.sum(axis=1, keepdims=True) * np.array([0.45, 0.55])[:, None],
    )
    return qrs, t


def draw_pr(rng: np.random.Generator, plan: Plan) -> np.ndarray:
    """PR interval in seconds; above 200 ms it is a first degree AV block."""
    n, rr = len(plan.rate), 60 / plan.rate
    normal = np.clip(rng.normal(0.155, 0.018, n) * rr**0.15, 0.115, 0.192)
    long = 0.222 + rng.random(n) * np.clip(0.42 * rr - 0.222, 0.0, 0.11)
    return np.where(plan.first_degree, long, normal)


def draw_p_waves(rng: np.random.Generator, n: int) -> Waves:
    """P relative to its onset: the right atrium, pointing forwards, then the left one, pointing to the left and
    backwards."""
    width = rng.uniform(0.085, 0.115, (n, 1))
    size = np.clip(rng.lognormal(np.log(0.115), 0.28, (n, 1)), 0.06, 0.25)
    axis = rng.normal(54, 12, (n, 1))
    frontal = frontal_vectors(size * [0.75, 0.70], axis + [12, -12])
    x, z = size * [0.35, 0.65], size * rng.uniform(0.6, 1.1, (n, 1)) * [-0.5, 0.42]
    return Waves(
        width * [0.36, 0.66], width * [0.155, 0.165], frontal, np.stack([x, 0.6 * frontal[..., 1], z], axis=-1)
    )
