"""ST segment, T and U wave, and the P wave: a `Plan` and its QRS in, Gaussians of a batch of records out.

Decided here: QT, how T stands in health, how it turns away from a wide QRS, what ischaemia does to ST and T over each
territory (opposite walls see the opposite, as one dipole draws both), and the shape of P in large atria.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from .plan import Plan
from .qrs import LONGEST_FUSED, wall_vectors
from .wave_model import Waves, frontal_vectors

_LATE, _DELTA, _R2 = 4, 8, 2  # slots of the QRS that T turns away from
# Standard deviations of its fall after the peak of T: where a sixth of its steepest fall is left, without a tail and
# with one.
_T_END, _FADING_T_END = 2.6, 2.5


def draw_qt(rng: np.random.Generator, plan: Plan, qrs: np.ndarray) -> np.ndarray:
    """QT interval in seconds: corrected QT scaled by the rate, and longer where conduction is slow."""
    n, rr = len(plan.rate), 60 / plan.rate
    corrected = np.clip(rng.normal(0.408, 0.019, n) + 0.008 * plan.female, 0.355, 0.446)
    corrected = np.where(plan.long_qt, rng.uniform(0.478, 0.58, n), corrected) + 0.7 * np.maximum(qrs - 0.110, 0)
    return np.minimum(corrected * rr ** rng.uniform(0.30, 0.46, n), 0.80 * rr + 0.03)


def draw_repolarization(rng: np.random.Generator, plan: Plan, qrs: Waves, length: np.ndarray, qt: np.ndarray) -> Waves:
    """ST (two Gaussians), J wave, T (a slow rise and a faster fall, three Gaussians) and U, relative to QRS onset.

    qrs: as from `draw_qrs`; length: its duration, qt: both in seconds. T ends at `qt`, where a sixth of its
    steepest fall is left, as cardiologists mark it in LUDB.
    """
    u = partial(rng.uniform, size=len(qt))
    fall = np.minimum(u(0.027, 0.041) * (60 / plan.rate) ** 0.3, 0.22 * np.maximum(qt - length, 0.1))
    st, t = _resting(rng, plan)
    st, t = _secondary(rng, plan, qrs, length, st, t)
    st, t, inner = _primary(rng, plan, st, t)
    early = plan.repolarization == "early"
    notch = np.where(early, u(0.08, 0.22), 0)[:, None]
    # T fades slowly, or U follows: a tenth of T or so.
    apart = early | (u(0, 1) < 0.25)
    wave = np.where(apart, u(0.02, 0.11), u(0.04, 0.14))[:, None]
    tilt, peak = u(0.7, 1.3)[:, None], qt - np.where(apart, _T_END, _FADING_T_END) * fall
    vectors = np.stack([st, tilt * st, notch * inner, 0.32 * t, 0.42 * t, 0.45 * t, wave * t], axis=1)
    centers = np.stack(
        [length + 0.030, length + 0.095, length + 0.010, peak - 1.55 * fall, peak - 0.5 * fall, peak,
         qt + np.where(apart, u(0.05, 0.09), u(-0.01, 0.03))], axis=1,
    )  # fmt: skip
    widths = np.stack(
        [np.full(len(qt), 0.028), np.full(len(qt), 0.038), u(0.008, 0.013), u(1.3, 1.9) * fall, 1.3 * fall, fall,
         np.where(apart, 0.032, u(0.035, 0.05))], axis=1,
    )  # fmt: skip
    wide = _turns_all(plan)
    centers[:, :2] += np.where(wide, 0.012, 0)[:, None]  # where QRS ends is then as plain as in real blocks
    widths[:, 0] += np.where(wide, 0.008, 0)
    runs_on = (plan.repolarization == "acute infarction") | (plan.voltage == "left strain")
    widths[:, 1] += np.where(runs_on, 0.016, 0)  # ST runs on into T
    # A fast heart leaves ST no time: its second half gives way to T.
    centers[:, 1] = np.minimum(centers[:, 1], np.maximum(centers[:, 3], length + 0.05))
    return Waves(centers, widths, vectors[..., :2], vectors[..., 2:])


# A direction of ST or T: [records, 6], the frontal plane's two, the chest's dipole, and what of V1 to V6 is no dipole.
_CHEST, _NEAR = slice(2, 5), 5


def _resting(rng: np.random.Generator, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """ST and T in health, and of hearts that are known by no more than the size of T."""
    n, kind = len(plan.rate), plan.repolarization
    u = partial(rng.uniform, size=n)
    size = np.clip(rng.lognormal(np.log(0.235), 0.45, n), 0.075, 0.80) * np.where(plan.female, 0.9, 1.08)
    size = np.select([kind == "flat t", kind == "early"], [u(0.015, 0.055), size * u(1.1, 1.6)], size)
    size = np.where((plan.voltage == "low") & (kind != "flat t"), size * u(0.5, 0.9), size)
    angle = rng.normal(30, 14, n) + 0.35 * np.clip(plan.axis, -30, 95)  # T follows QRS some of the way
    x, y = frontal_vectors(size, np.clip(angle, 5, 80)).T
    t = np.stack([x, y, size * u(0.62, 1.20), 0.7 * y, -size * u(0.2, 1.5), size * u(0.2, 1.6)], axis=1)
    # At rest ST is not quite at the baseline: a little forwards, and any way at random.
    x, y = rng.normal(-0.004, 0.020, (n, 2)).T
    st = [x, y, rng.normal(-0.004, 0.020, n), 0.7 * y, rng.normal(-0.043, 0.023, n), rng.normal(0.035, 0.02, n)]
    return np.stack(st, axis=1), t


def _turns_all(plan: Plan) -> np.ndarray:
    return plan.wide & (plan.conduction != "preexcitation")


def _secondary(
    rng: np.random.Generator, plan: Plan, qrs: Waves, length: np.ndarray, st: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """ST and T that follow from QRS: T turns away from its wide or late part, ST goes with it."""
    n = len(length)
    u = partial(rng.uniform, size=n)
    heart = np.concatenate([qrs.frontal, qrs.chest, np.zeros((*qrs.widths.shape, 1))], axis=-1)
    right = plan.conduction == "rbbb"
    t[:, 4] *= np.where(right, 0.25, 1)
    t = t - (right * u(0.42, 0.70))[:, None] * heart[:, _LATE] * np.array([0, 0, 0.4, 1, 1, 0])
    t = t - ((plan.conduction == "preexcitation") * u(0.3, 1.1))[:, None] * heart[:, _DELTA]
    wide, against, area = _turns_all(plan)[:, None], u(0.06, 0.16)[:, None], np.ones(qrs.widths.shape)
    # In paced hearts T follows the area of QRS, so that one broad wave has as tall a T as two humps have.
    paced = (plan.rhythm == "ventricular pacing") & (length > LONGEST_FUSED)
    area[paced] = rng.spawn(1)[0].uniform(1, 1.6, (n, 1))[paced] * qrs.widths[paced] / (0.094 * length[paced, None])
    t = np.where(wide, -against * (area[..., None] * heart).sum(axis=1), t)
    st = np.where(wide, u(0.15, 0.45)[:, None] * t, st)
    strain, main = (plan.voltage == "left strain")[:, None], heart[:, _R2]
    turned, sunk = u(0.14, 0.30)[:, None], -u(0.035, 0.10)[:, None]
    t = np.where(strain, -turned * main * np.array([1, 1, 1, 1, 0.5, 0]), t)
    st = np.where(strain, sunk * main, st)
    burdened = (plan.voltage == "right hypertrophy") & (u(0, 1) < 0.6)
    t[:, _CHEST] = np.where(burdened[:, None], -u(0.15, 0.3)[:, None] * main[:, _CHEST], t[:, _CHEST])
    t[plan.wide | strain[:, 0] | burdened, _NEAR] = 0
    return st, t


def _primary(
    rng: np.random.Generator, plan: Plan, st: np.ndarray, t: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(ST, T, the direction in which the inner layer of the heart is injured): ischaemia, and early repolarization."""
    n, kind = len(st), plan.repolarization
    u = partial(rng.uniform, size=n)
    wall = np.concatenate([*wall_vectors(plan.territory), np.zeros((n, 1))], axis=1)
    inner = np.concatenate(
        [frontal_vectors(np.full(n, 0.85), 58 + u(-20, 20)), np.tile([0.72, 0.42, -0.16, 0], (n, 1))], axis=1
    )
    wall = np.where((plan.territory == "none")[:, None], inner, wall)
    # Over an old scar T has turned in part of the patients, whatever else the repolarization shows.
    beside = np.concatenate([*wall_vectors(plan.scar), np.zeros((n, 1))], axis=1)
    beside *= -np.where((u(0, 1) < 0.6) & ~plan.wide, u(0.05, 0.4), 0)[:, None]
    acute = kind == "acute infarction"
    lift = np.select(
        [acute, kind == "elevation", kind == "early", kind == "depression"],
        [np.clip(rng.lognormal(np.log(0.26), 0.45, n), 0.13, 0.9), u(0.14, 0.28), u(0.04, 0.13), -u(0.10, 0.30)], 0.0,
    )  # fmt: skip
    with_t = np.select(
        [acute, kind == "inversion", kind == "old infarction", kind == "depression"],
        [np.where(u(0, 1) < 0.7, u(0.1, 1.4), -u(0.6, 1.5)) * lift, -u(0.25, 0.62),
         -np.where(u(0, 1) < 0.6, u(0.05, 0.4), 0), -u(-0.5, 0.3) * lift], 0.0,
    )  # fmt: skip
    flattened = (kind == "depression") & (u(0, 1) < 0.5)  # a little of ST sinks, and nothing is left of T
    lift *= np.where(flattened, 0.5, 1)
    damped = np.select(
        [flattened, acute | (kind == "depression"), kind == "inversion"], [u(0.05, 0.4), u(0.5, 1), u(0.1, 0.5)], 1.0
    )
    with_t = np.where(flattened, 0.2 * with_t, with_t)
    return st + lift[:, None] * wall, damped[:, None] * t + with_t[:, None] * wall + beside, inner


def draw_pr(rng: np.random.Generator, plan: Plan) -> np.ndarray:
    """PR interval in seconds: usual ones up to 200 ms, and longer ones."""
    n, rr = len(plan.rate), 60 / plan.rate
    normal = np.clip(rng.normal(0.162, 0.021, n) * rr**0.15, 0.121, 0.199)
    long = 0.202 + np.minimum(rng.random(n) ** 1.5 * 0.154, np.maximum(0.46 * rr - 0.202, 0.004))
    normal = np.where(plan.rhythm == "mobitz 1", np.clip(normal, 0.14, 0.19), normal)
    pr = np.where(plan.pr == "long", long, normal)
    return np.where(plan.conduction == "preexcitation", rng.uniform(0.070, 0.112, n), pr)


def draw_p_waves(rng: np.random.Generator, plan: Plan) -> tuple[Waves, np.ndarray]:
    """(P relative to its onset, its duration in s): the right atrium, pointing forwards, then the left one, pointing
    to the left and backwards."""
    n = len(plan.rate)
    left, right = (plan.left_atrium == "large")[:, None], (plan.right_atrium == "large")[:, None]

    def u(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, (n, 1))

    width = np.where(left, u(0.112, 0.150), np.clip(rng.normal(0.099, 0.010, (n, 1)), 0.076, 0.119))
    size = np.clip(rng.lognormal(np.log(0.152), 0.27, (n, 1)), 0.07, 0.28)
    # Large atria differ from usual ones by degrees, in each respect for itself: a shape that only they had would be
    # learned in place of height, length and the force in V1, by which they are called.
    axis = np.where(right, np.clip(rng.normal(66, 12, (n, 1)), 30, 88), np.clip(rng.normal(52, 17, (n, 1)), 8, 82))
    first = np.where(right, u(1.2, 2.5), u(0.62, 0.88))
    second = np.where(right, u(0.45, 0.9), np.where(left, u(0.6, 1.05), u(0.57, 0.83)))
    size = np.where(right, np.clip(size, 0.13, 0.2), size)
    frontal = frontal_vectors(size * np.hstack([first, second]), axis + u(4, 20) * [1, -1])
    forwards, backwards = np.where(right, u(1.0, 2.2), u(0.8, 1.2)), np.where(left, u(1.0, 3.2), u(0.8, 1.2))
    # Beside V1 P is small in the chest leads, and alike in all of them.
    x = size * [0.20, 0.34] * u(0.7, 1.3)
    z = size * u(0.6, 1.1) * np.hstack([-0.16 * forwards, 0.06 * backwards])
    near = size * np.hstack([0.36 * forwards * u(0.1, 1.7), -0.36 * backwards * u(0.3, 1.7)])
    apart = np.hstack([np.where(left, u(0.25, 0.33), u(0.28, 0.36)), np.where(left, u(0.67, 0.75), u(0.65, 0.71))])
    waves = Waves(
        width * apart,
        width * np.hstack([apart[:, :1] / 2.1, (1 - apart[:, 1:]) / 2]) * rng.uniform(0.9, 1.05, (n, 2)),
        frontal,
        np.stack([x, 0.6 * frontal[..., 1], z, np.zeros_like(z), near], axis=-1),
    )
    return waves, width[:, 0]
