"""The QRS complex in each condition: a `Plan` in, Gaussians of a batch of records out.

A shape is drawn in units of its own duration, its limb vectors are turned until the axis is the wanted one, and time
is scaled until the complex, seen over all twelve leads, lasts exactly as long as it is said to. Decided here:
durations, directions and sizes, which follow published norms and were compared with unlabelled public ECGs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .plan import Plan
from .wave_model import Batch, Waves, frontal_vectors, template

_Q, _R1, _R2, _S, _LATE, _NOTCH1, _NOTCH2, _SCAR, _DELTA = range(9)
_SLOTS = 9
LONGEST_FUSED = 0.138  # seconds; a paced QRS that is longer owes nothing to conduction
_ONSET_SHARE = 0.008  # of the largest lead: what is below has not begun yet, or has ended
_SHAPE_TIMES = np.arange(-0.6, 1.8, 0.02)  # in durations

#: Where an infarcted wall looks: territory -> (size and angle in the frontal plane, x, z), its largest lead about 1.
DIRECTIONS = {
    "none": (0.0, 0.0, 0.0, 0.0),
    "anteroseptal": (0.12, -80.0, -0.10, -0.74),
    "anterior": (0.20, -30.0, 0.38, -0.62),
    "anterolateral": (0.60, -28.0, 0.62, -0.26),
    "lateral": (0.80, -28.0, 0.62, 0.15),
    "inferior": (1.00, 100.0, -0.05, 0.22),
    "inferolateral": (0.90, 74.0, 0.58, 0.30),
}


@dataclass
class Size(Batch):
    """How large a patient's QRS is: limb and chest scale in mV, [records]."""

    limb: np.ndarray
    chest: np.ndarray


def wall_vectors(territory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(frontal [records, 2], chest [records, 3]) that point to each record's territory."""
    rows = np.array([DIRECTIONS[name] for name in territory.tolist()])
    frontal = frontal_vectors(rows[:, 0], rows[:, 1])
    return frontal, np.stack([rows[:, 2], 0.7 * frontal[:, 1], rows[:, 3]], axis=1)


def draw_qrs(rng: np.random.Generator, plan: Plan, chest_rows: np.ndarray) -> tuple[Waves, np.ndarray, Size]:
    """(QRS relative to its onset, its duration in seconds, the patient's size)."""
    n = len(plan.rate)

    def u(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, n)

    paced, ventricular = plan.rhythm == "ventricular pacing", plan.rhythm == "ventricular tachycardia"
    # Most pacemakers stimulate the right ventricle. Some the left one, too, and in some beats conduction comes first.
    pacing = rng.spawn(1)[0]
    site = pacing.random(n)
    fused, from_left = paced & (site < 0.18), paced & (site > 0.8)
    paced = paced & ~fused
    smooth = paced & ~from_left & (pacing.random(n) < 0.65)  # no two humps as in a bundle branch block: one broad wave
    ventricular |= plan.conduction == "escape"
    left = (plan.conduction == "lbbb") & ~paced & ~ventricular
    right = (plan.conduction == "rbbb") & ~paced & ~ventricular
    incomplete, delta = plan.conduction == "irbbb", plan.conduction == "preexcitation"
    delay, hypertrophic = plan.conduction == "delay", np.isin(plan.voltage, ("left hypertrophy", "left strain"))
    right_hypertrophic = plan.voltage == "right hypertrophy"

    duration = np.clip(rng.normal(89, 9.5, n) - 3 * plan.female, 66, 109)
    duration = np.where(hypertrophic, np.minimum(duration + u(2, 12), 112), duration)
    duration = np.where(plan.fascicle != "none", np.minimum(duration + u(0, 14), 115), duration)
    choices = {
        "right": (right, u(122, 170)), "left": (left, u(124, 175)), "incomplete": (incomplete, u(96, 118)),
        "delay": (delay, u(114, 150)), "delta": (delta, u(112, 150)), "paced": (paced, u(138, 195)),
        "from left": (from_left, pacing.uniform(118, 185, n)), "ventricular": (ventricular, u(126, 190)),
        "fused": (fused, pacing.uniform(92, 1000 * LONGEST_FUSED, n)),
    }  # fmt: skip
    for chosen, length in choices.values():
        duration = np.where(chosen, length, duration)
    duration = duration / 1000

    limb = rng.lognormal(np.log(1.24), 0.22, n) * np.where(plan.female, 0.95, 1.05)
    chest = limb**0.4 * rng.lognormal(np.log(1.13), 0.25, n) * np.where(plan.female, 0.94, 1.06)
    chest = np.where(plan.voltage == "low", chest * u(0.45, 0.95), chest)

    # --- when: centres and widths of the slots, in durations
    centers = np.tile([0.25, 0.37, 0.52, 0.71, 0.80, 0.43, 0.62, 0.27, 0.12], (n, 1))
    widths = np.tile([0.052, 0.060, 0.061, 0.066, 0.090, 0.044, 0.044, 0.085, 0.10], (n, 1))
    centers[:, :7] += rng.normal(0, 0.022, (n, 7))
    widths[:, :7] *= rng.lognormal(0, 0.13, (n, 7))
    # The left ventricle is done in time, the right one comes late.
    early = [0.62, 0.62, 0.62, 0.62, 1, 0.62, 0.62, 0.7, 1]
    centers = np.where(right[:, None], centers * early, centers)
    widths = np.where(right[:, None], widths * early, widths)
    widths[:, _LATE] = np.where(incomplete, 0.065, widths[:, _LATE])
    slow = (left | paced)[:, None]  # one ventricle after the other: two humps and what lies between them
    humps = np.array([0.1, 0.27, 0.70, 0.8, 0.76, 0.48, 0.58, 0.26, 0.12]) + rng.normal(0, 0.018, (n, 9))
    centers = np.where(slow, humps, centers)
    humps = np.array([0.05, 0.092, 0.094, 0.06, 0.095, 0.095, 0.05, 0.085, 0.1]) * rng.lognormal(0, 0.12, (n, 9))
    widths = np.where(slow, humps, widths)
    broad = pacing.uniform(0.14, 0.19, n)
    centers[:, _R2] = np.where(smooth, pacing.uniform(0.45, 0.62, n), centers[:, _R2])
    widths[:, _R2] = np.where(smooth, broad, widths[:, _R2])
    slow = (ventricular | delay)[:, None]
    widths = np.where(slow, widths * [1.2, 1.45, 1.5, 1.2, 1, 1.2, 1.2, 1, 1], widths)
    centers = np.where(delta[:, None], 0.40 + 0.58 * centers, centers)
    widths = np.where(delta[:, None], widths * 0.80, widths)
    # A delta wave climbs into the QRS without a dip: two Gaussians, of which the second is higher.
    centers[:, _DELTA], widths[:, _DELTA] = 0.30, 0.11
    centers[:, _NOTCH1] = np.where(delta, 0.55, centers[:, _NOTCH1])
    widths[:, _NOTCH1] = np.where(delta, 0.10, widths[:, _NOTCH1])

    # --- how large and whereto in the frontal plane: size in limb scales, degrees from the axis
    zero = np.zeros(n)
    rough = np.where(delay, 2.2, 1.0)
    # The first forces run against the axis; where that points far up or right, they are the r of leads with a deep S.
    turned = (plan.axis < -5) | (plan.axis > 80)
    first = np.where(turned, u(0.10, 0.22), u(0.0, 0.18) * np.where(delay, 0.5, 1))
    size = np.stack([
        first, u(0.0, 0.36), u(0.84, 1.10), u(0.0, 0.36), zero, rng.normal(0, 0.04, n) * rough,
        rng.normal(0, 0.04, n) * rough, zero, zero,
    ], axis=1)  # fmt: skip
    angle = np.stack([
        180 + u(-40, 40), u(-40, 40), u(-8, 8), 180 + u(-60, 60), zero, u(-90, 90), u(-90, 90), zero, u(-50, 50),
    ], axis=1)  # fmt: skip
    size = np.where((left | paced)[:, None], np.stack([
        zero, u(0.25, 0.65), u(0.45, 0.8), zero, zero, u(0.2, 0.75), rng.normal(0, 0.08, n), zero, zero,
    ], axis=1), size)  # fmt: skip
    angle = np.where((left | paced)[:, None], np.stack([
        zero, u(-35, 35), u(-8, 8), zero, zero, u(-15, 15), u(-90, 90), zero, zero,
    ], axis=1), angle)  # fmt: skip
    size[:, _R2] = np.where(smooth, pacing.uniform(0.8, 1.5, n), size[:, _R2])
    size[:, [_R1, _NOTCH1]] *= np.where(smooth, pacing.uniform(0, 0.4, n), 1)[:, None]
    size = np.where(ventricular[:, None], size * [0.3, 1.6, 1.1, 0.6, 0, 2, 2, 0, 0], size)
    fascicular = (plan.fascicle != "none") & ~paced & ~ventricular & ~left
    size[:, _Q] = np.where(fascicular, u(0.16, 0.32), np.where(delta, 0, size[:, _Q]))
    against = np.where(plan.fascicle == "anterior", 112 + u(-18, 18), -58 + u(-15, 15))
    angle[:, _Q] = np.where(fascicular, against - plan.axis, angle[:, _Q])
    size[:, _R1] = np.where(fascicular, u(0, 0.12), size[:, _R1])
    size[:, _DELTA] = np.where(delta, u(0.16, 0.34), 0)
    climb = u(1.2, 1.7)
    size[:, _NOTCH1] = np.where(delta, climb * size[:, _DELTA], size[:, _NOTCH1])
    angle[:, _NOTCH1] = np.where(delta, angle[:, _DELTA], angle[:, _NOTCH1])
    scale = limb * np.where(hypertrophic, u(1.0, 1.4), 1)

    # --- how large and whereto in the chest: x to the left, z to the back, in chest scales
    q, s, back = u(0.15, 1), u(0.2, 1.15), rng.lognormal(0, 0.22, n)
    # In V5 and V6 many hearts have no Q, or no S.
    q_left, s_left = np.where(u(0, 1) < 0.3, 0.05, -0.26) * q, np.where(u(0, 1) < 0.4, 0.02, -0.30) * s
    x = np.stack([
        q_left, u(0.16, 0.46), u(0.95, 1.30), s_left, zero, rng.normal(0, 0.035, n) * rough,
        rng.normal(0, 0.035, n) * rough, zero, zero,
    ], axis=1)  # fmt: skip
    z = np.stack([
        -0.30 * q, -u(0.14, 0.50), u(0.62, 1.02) * back, u(0.25, 0.75) * s, zero, rng.normal(0, 0.035, n) * rough,
        rng.normal(0, 0.035, n) * rough, zero, zero,
    ], axis=1)  # fmt: skip
    bundle_x = np.stack([
        zero, u(0.3, 0.6), u(0.55, 0.95), zero, zero, u(0.2, 0.7), rng.normal(0, 0.09, n), zero, zero,
    ], axis=1)  # fmt: skip
    bundle_z = np.stack([
        zero, u(0.25, 0.7), u(0.75, 1.35), zero, zero, u(0.6, 1.2), rng.normal(0, 0.09, n), zero, zero,
    ], axis=1)  # fmt: skip
    x, z = np.where((left | paced)[:, None], bundle_x, x), np.where((left | paced)[:, None], bundle_z, z)
    x[:, _R2] = np.where(paced, u(-0.5, 0.85), x[:, _R2])
    # Paced from the apex V4 to V6 are negative, from the septum not.
    x[:, _NOTCH1] = np.where(paced, x[:, _R2] + u(-0.3, 0.3), x[:, _NOTCH1])
    strength, aside = pacing.uniform(0.7, 1.7, n), pacing.uniform(-0.8, 1.0, n)  # radians from straight backwards
    x[:, _R2] = np.where(smooth, strength * np.sin(aside), x[:, _R2])
    z[:, _R2] = np.where(smooth, strength * np.cos(aside), z[:, _R2])
    x[:, [_R1, _NOTCH1]] *= np.where(smooth, pacing.uniform(0, 0.4, n), 1)[:, None]
    z[:, [_R1, _NOTCH1]] *= np.where(smooth, pacing.uniform(0, 0.4, n), 1)[:, None]
    forwards = np.where(from_left, -pacing.uniform(0.3, 1.1, n), 1)[:, None]  # R in V1
    z = z * np.where(np.isin(np.arange(_SLOTS), (_R1, _R2, _NOTCH1)), forwards, 1)
    around = u(-np.pi, np.pi)
    turn = np.stack([zero, u(-0.7, 0.7), zero], axis=1)
    for column, name in enumerate((_Q, _R1, _R2)):
        strength = np.array([0.1, 0.5, 1.0])[column]
        x[:, name] = np.where(ventricular, strength * np.cos(around + turn[:, column]), x[:, name])
        z[:, name] = np.where(ventricular, strength * np.sin(around + turn[:, column]), z[:, name])
    z[:, _DELTA] = np.where(delta, rng.choice([-1, 1], n) * u(0.15, 0.35), 0)
    x[:, _DELTA] = np.where(delta, u(0.05, 0.3), 0)
    x[:, _NOTCH1] = np.where(delta, climb * x[:, _DELTA], x[:, _NOTCH1])
    z[:, _NOTCH1] = np.where(delta, climb * z[:, _DELTA], z[:, _NOTCH1])
    large = u(1.45, 2.0)
    x[:, _R2] *= np.where(hypertrophic, large, 1)
    z[:, _R2] *= np.where(hypertrophic, large, 1)
    x[:, _R2] = np.where(right_hypertrophic, u(0.0, 0.35), x[:, _R2])
    z[:, _R2] = np.where(right_hypertrophic, -u(0.75, 1.3), z[:, _R2])
    x[:, _S] = np.where(right_hypertrophic, -u(0.35, 0.8), x[:, _S])
    z[:, _S] = np.where(right_hypertrophic, u(0.0, 0.2), z[:, _S])
    poor = plan.poor_r & ~paced & ~ventricular
    x[:, _R1], z[:, _R1] = np.where(poor, u(0.02, 0.15), x[:, _R1]), np.where(poor, -u(0.02, 0.12), z[:, _R1])
    x[:, _R2], z[:, _R2] = np.where(poor, u(0.4, 0.75), x[:, _R2]), np.where(poor, u(0.75, 1.1), z[:, _R2])
    # The late right ventricle points to the right and forwards; without a block there is every size of its r' in V1.
    faint = np.exp(rng.spawn(1)[0].uniform(np.log(0.18), 0, n))
    z[:, _S] *= np.where(right | incomplete, 0.3, 1)
    x[:, _LATE] = np.select([right, incomplete], [-u(0.28, 0.75), -u(0.12, 0.32) * faint], 0)
    z[:, _LATE] = np.select([right, incomplete], [-u(0.35, 0.85), -u(0.20, 0.45) * faint], 0)

    waves = Waves(centers, widths, frontal_vectors(size * scale[:, None], angle + plan.axis[:, None]), np.empty(0))
    late = np.select([right, incomplete], [u(0.22, 0.5), u(0.08, 0.22) * faint], 0) * chest
    waves.frontal[:, _LATE] = frontal_vectors(late, 180 + u(-28, 28))
    # A scar takes the early forces away from its wall: a Q wave there, a taller R on the other side.
    scarred = plan.repolarization == "old infarction"
    acute = (plan.repolarization == "acute infarction") & (u(0, 1) < 0.35)
    loss = np.where(scarred, u(0.45, 1.05), np.where(acute, u(0.2, 0.6), 0))
    away, away_chest = wall_vectors(plan.territory)
    waves.frontal[:, _SCAR] = -(loss * limb * 0.8)[:, None] * away
    fixed = np.zeros(_SLOTS, dtype=bool)
    fixed[[_LATE, _SCAR]] = True
    _turn_to_axis(waves, fixed, fascicular, plan.axis)
    waves.chest = np.stack([x * chest[:, None], 0.7 * waves.frontal[..., 1], z * chest[:, None]], axis=-1)
    waves.chest[:, _SCAR] = -(loss * chest)[:, None] * away_chest
    # R is lost, too: what pointed to the wall shrinks.
    lost = np.clip(loss, 0, 0.8)[:, None]
    toward = away_chest / np.maximum(np.linalg.norm(away_chest, axis=1, keepdims=True), 1e-9)
    for slot in (_R1,):
        along = np.maximum((waves.chest[:, slot] * toward).sum(axis=1, keepdims=True), 0)
        waves.chest[:, slot] -= lost * along * toward
    return _fitted(waves, duration, plan, chest_rows, u(0.2, 0.46)), duration, Size(limb, chest)


def _turn_to_axis(waves: Waves, fixed: np.ndarray, fascicular: np.ndarray, axis: np.ndarray) -> None:
    """Turn the frontal vectors until the axis, read from the net amplitudes of I and aVF, is the wanted one.

    The late right ventricle, a scar and the first forces of a fascicular block keep their own direction.
    """
    keep = np.broadcast_to(fixed, waves.centers.shape).copy()
    keep[:, _Q] |= fascicular
    shapes = np.exp(-0.5 * ((_SHAPE_TIMES - waves.centers[..., None]) / waves.widths[..., None]) ** 2)
    still = np.einsum("nkd,nkt->ndt", waves.frontal * keep[..., None], shapes)
    moving = np.einsum("nkd,nkt->ndt", waves.frontal * ~keep[..., None], shapes)
    angle = np.zeros(len(axis))
    for _ in range(6):
        c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
        horizontal = still[:, 0] + c * moving[:, 0] - s * moving[:, 1]
        vertical = still[:, 1] + s * moving[:, 0] + c * moving[:, 1]
        now = np.arctan2(vertical.max(1) + vertical.min(1), horizontal.max(1) + horizontal.min(1))
        angle = angle + 0.8 * ((np.deg2rad(axis) - now + np.pi) % (2 * np.pi) - np.pi)
    unturned = waves.frontal.copy()
    waves.rotate_frontal(np.rad2deg(angle))
    waves.frontal = np.where(keep[..., None], unturned, waves.frontal)


def _fitted(waves: Waves, duration: np.ndarray, plan: Plan, chest_rows: np.ndarray, low: np.ndarray) -> Waves:
    """Scale time so that QRS starts at 0 and lasts `duration`, and the limb leads of low voltage to `low` mV."""
    beat = template(waves, chest_rows, _SHAPE_TIMES)
    limb = beat[:, :6].max(axis=2) - beat[:, :6].min(axis=2)
    shrink = np.where(plan.voltage == "low", low / limb.max(axis=1), 1.0)
    waves.frontal = waves.frontal * shrink[:, None, None]
    beat[:, :6] *= shrink[:, None, None].astype(np.float32)
    onset, offset = bounds(beat, _SHAPE_TIMES)
    stretch = duration / (offset - onset)
    waves.centers = (waves.centers - onset[:, None]) * stretch[:, None]
    waves.widths = waves.widths * stretch[:, None]
    return waves


def bounds(beat: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(onset, offset) of QRS in the unit of `times`: where the largest of the leads leaves and regains the baseline.

    beat: [records, leads, samples] that holds nothing but QRS. Between samples is interpolated.
    """
    height = np.abs(beat).max(axis=1)
    limit = _ONSET_SHARE * height.max(axis=1, keepdims=True)
    above = height > limit
    rows, step = np.arange(len(beat)), times[1] - times[0]
    first = np.maximum(above.argmax(axis=1), 1)
    last = np.minimum(above.shape[1] - 1 - above[:, ::-1].argmax(axis=1), above.shape[1] - 2)

    def crossing(outside: np.ndarray, inside: np.ndarray) -> np.ndarray:
        out, into = height[rows, outside], height[rows, inside]
        return (limit[:, 0] - out) / np.maximum(into - out, 1e-12)

    return times[first] - step * (1 - crossing(first - 1, first)), times[last] + step * (1 - crossing(last + 1, last))


def draw_ventricular_beats(
    rng: np.random.Generator, size: Size, qt: np.ndarray, chest_rows: np.ndarray
) -> tuple[Waves, np.ndarray]:
    """(QRS and T of premature ventricular beats, their duration in s): wide, of any direction, T opposite."""
    n = len(qt)
    duration = rng.uniform(0.125, 0.185, n)
    amplitude = rng.lognormal(np.log(1.25), 0.28, n) * np.clip(size.chest / 1.3, 0.6, 1.5)
    angle, around = rng.uniform(-180, 180, n), rng.uniform(-np.pi, np.pi, n)
    turn = rng.uniform(-45, 45, (n, 2))
    share = np.stack([rng.uniform(0.25, 0.6, n), np.ones(n), rng.normal(0, 0.14, n), rng.normal(0, 0.2, n)], axis=1)
    bend = np.concatenate([turn[:, :1], np.zeros((n, 1)), 2 * turn[:, 1:], turn[:, :1] - 40], axis=1)
    frontal = frontal_vectors(share * amplitude[:, None], angle[:, None] + bend)
    direction = around[:, None] + np.deg2rad(bend)
    strength = 1.1 * share * amplitude[:, None]
    chest = np.stack([strength * np.cos(direction), 0.6 * frontal[..., 1], strength * np.sin(direction)], axis=-1)
    centers = np.array([0.30, 0.58, 0.44, 0.78]) + rng.normal(0, 0.03, (n, 4))
    widths = np.array([0.10, 0.125, 0.05, 0.075]) * rng.lognormal(0, 0.12, (n, 4))
    qrs = Waves(centers, widths, frontal, chest)
    onset, offset = bounds(template(qrs, chest_rows, _SHAPE_TIMES), _SHAPE_TIMES)
    qrs.centers = (qrs.centers - onset[:, None]) * (duration / (offset - onset))[:, None]
    qrs.widths = qrs.widths * (duration / (offset - onset))[:, None]
    peak = np.clip(qt * 0.82, 0.24, 0.42)[:, None] + 0.3 * duration[:, None] - 0.02
    against = -rng.uniform(0.25, 0.5, (n, 1, 1)) * np.array([0.45, 0.55])[:, None]
    t = Waves(
        np.concatenate([peak - 0.06, peak], axis=1),
        np.tile([0.055, 0.045], (n, 1)),
        against * frontal[:, :2].sum(axis=1, keepdims=True),
        against * chest[:, :2].sum(axis=1, keepdims=True),
    )
    return qrs.joined(t), duration
