"""The QRS complex in each condition: a `Plan` in, Gaussians of a batch of records out.

A shape is drawn in units of its own duration, its limb vectors are turned until the axis is the wanted one, and time
is scaled until the complex, seen over all twelve leads, lasts exactly as long as it is said to. Decided here:
durations, directions and sizes, which follow published norms and were compared with unlabelled public ECGs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np

from .plan import Plan
from .wave_model import Batch, Waves, frontal_vectors, template

SLOTS = 9
SCAR = 7  # the slot of what an infarcted wall no longer gives
_Q, _R1, _R2, _S, _LATE, _NOTCH1, _NOTCH2, SCAR, _DELTA = range(SLOTS)
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
    u = partial(rng.uniform, size=len(plan.rate))
    pacing = rng.spawn(1)[0]
    kind = _kind(pacing, plan)
    duration = _draw_duration(rng, pacing, plan, kind)
    size, scarred = _draw_size(rng, plan), np.any([each != "none" for each in plan.scars], axis=0)
    # Scars leave less of QRS, and break it.
    size.limb *= np.where(scarred, u(0.55, 1.0), 1)
    size.chest *= np.where(scarred, u(0.7, 1.0), 1)
    centers, widths = _draw_times(rng, pacing, kind)
    frontal, angle, climb = _draw_frontal(rng, pacing, plan, kind)
    frontal[:, [_NOTCH1, _NOTCH2]] *= np.where(scarred, u(1, 4), 1)[:, None]
    frontal *= (size.limb * np.where(kind.hypertrophic, u(1.0, 1.4), 1))[:, None]
    x, z = _draw_chest(rng, kind)
    _pace_chest(rng, pacing, kind, x, z)
    _turn_chest(rng, kind, climb, x, z)
    _resize_chest(rng, kind, plan.poor_r & ~kind.paced & ~kind.ventricular, x, z)
    # The late right ventricle points to the right and forwards; without a block there is every size of its r' in V1.
    faint = np.exp(rng.spawn(1)[0].uniform(np.log(0.18), 0, len(plan.rate)))
    blocked = [kind.right, kind.incomplete]
    z[:, _S] *= np.where(kind.right | kind.incomplete, 0.3, 1)
    x[:, _LATE] = np.select(blocked, [-u(0.28, 0.75), -u(0.12, 0.32) * faint], 0)
    z[:, _LATE] = np.select(blocked, [-u(0.35, 0.85), -u(0.20, 0.45) * faint], 0)
    burdened = kind.right & kind.right_hypertrophic
    x[:, _LATE], z[:, _LATE] = (part[:, _LATE] * np.where(burdened, u(1.5, 2.5), 1) for part in (x, z))

    waves = Waves(centers, widths, frontal_vectors(frontal, angle + plan.axis[:, None]), np.empty(0))
    late = np.select(blocked, [u(0.22, 0.5), u(0.08, 0.22) * faint], 0) * size.chest
    waves.frontal[:, _LATE] = frontal_vectors(late, 180 + u(-28, 28))
    loss, loss_chest = _lost(rng, plan)
    waves.frontal[:, SCAR] = -(size.limb * 0.8)[:, None] * loss
    _turn_to_axis(waves, kind.fascicular, plan.axis)
    scale = size.chest[:, None]
    waves.chest = np.stack([x * scale, 0.7 * waves.frontal[..., 1], z * scale], axis=-1)
    waves.chest[:, SCAR] = -scale * loss_chest
    # R is lost, too: what pointed to the wall shrinks.
    length = np.maximum(np.linalg.norm(loss_chest, axis=1, keepdims=True), 1e-9)
    toward = loss_chest / length
    along = np.maximum((waves.chest[:, _R1] * toward).sum(axis=1, keepdims=True), 0)
    waves.chest[:, _R1] -= np.clip(1.4 * length, 0, 0.8) * along * toward
    return _fitted(waves, duration, plan, chest_rows, u(0.2, 0.46)), duration, size


def _lost(rng: np.random.Generator, plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """What scars take away from QRS, (frontal [records, 2], chest [records, 3]) in limb and chest scales: the early
    forces that point to their walls. A Q wave stands there instead, a taller R on the other side."""
    u = partial(rng.uniform, size=len(plan.rate))
    acute = (plan.repolarization == "acute infarction") & (u(0, 1) < 0.35)
    losses = [(np.where(territory == "none", 0, u(0.45, 1.05)), territory) for territory in plan.scars]
    losses.append((np.where(acute, u(0.2, 0.6), 0), plan.territory))
    walls = [[size[:, None] * part for part in wall_vectors(territory)] for size, territory in losses]
    frontal, chest = (sum(parts) for parts in zip(*walls, strict=True))
    return frontal, chest


def _kind(pacing: np.random.Generator, plan: Plan) -> SimpleNamespace:
    """What decides the shape of a QRS, bool [records] each; `ventricular` ones have any direction."""
    n, paced = len(plan.rate), plan.rhythm == "ventricular pacing"
    # Most pacemakers stimulate the right ventricle. Some the left one, too, and in some beats conduction comes first.
    site = pacing.random(n)
    fused, from_left = paced & (site < 0.18), paced & (site > 0.8)
    paced = paced & ~fused
    ventricular = (plan.rhythm == "ventricular tachycardia") | (plan.conduction == "escape")
    left, right = ((plan.conduction == side) & ~paced & ~ventricular for side in ("lbbb", "rbbb"))
    return SimpleNamespace(
        paced=paced,
        fused=fused,
        from_left=from_left,
        smooth=paced & ~from_left & (pacing.random(n) < 0.65),  # one broad wave instead of two humps
        ventricular=ventricular,
        left=left,
        right=right,
        incomplete=plan.conduction == "irbbb",
        two_humps=left | paced,  # one ventricle after the other
        delta=plan.conduction == "preexcitation",
        delay=plan.conduction == "delay",
        fascicular=(plan.fascicle != "none") & ~paced & ~ventricular & ~left,
        hypertrophic=np.isin(plan.voltage, ("left hypertrophy", "left strain")),
        right_hypertrophic=plan.voltage == "right hypertrophy",
    )


def _draw_duration(
    rng: np.random.Generator, pacing: np.random.Generator, plan: Plan, kind: SimpleNamespace
) -> np.ndarray:
    """[records] seconds."""
    n = len(plan.rate)
    u, paced_u = partial(rng.uniform, size=n), partial(pacing.uniform, size=n)
    duration = np.clip(rng.normal(89, 9.5, n) - 3 * plan.female, 66, 109)
    duration = np.where(kind.hypertrophic, np.minimum(duration + u(2, 12), 112), duration)
    duration = np.where(plan.fascicle != "none", np.minimum(duration + u(0, 14), 115), duration)
    for chosen, length in (
        (kind.right, u(122, 170)), (kind.left, u(124, 175)), (kind.incomplete, u(96, 118)), (kind.delay, u(114, 150)),
        (kind.delta, u(112, 150)), (kind.paced, u(138, 195)), (kind.from_left, paced_u(118, 185)),
        (kind.ventricular, u(126, 190)), (kind.fused, paced_u(92, 1000 * LONGEST_FUSED)),
    ):  # fmt: skip
        duration = np.where(chosen, length, duration)
    return duration / 1000


def _draw_size(rng: np.random.Generator, plan: Plan) -> Size:
    n = len(plan.rate)
    limb = rng.lognormal(np.log(1.24), 0.22, n) * np.where(plan.female, 0.95, 1.05)
    chest = limb**0.4 * rng.lognormal(np.log(1.13), 0.25, n) * np.where(plan.female, 0.94, 1.06)
    return Size(limb, np.where(plan.voltage == "low", chest * rng.uniform(0.45, 0.95, n), chest))


def _draw_times(
    rng: np.random.Generator, pacing: np.random.Generator, kind: SimpleNamespace
) -> tuple[np.ndarray, np.ndarray]:
    """Centres and widths of the slots, [records, slots] in durations."""
    n = len(kind.paced)
    centers = np.tile([0.25, 0.37, 0.50, 0.66, 0.80, 0.43, 0.62, 0.27, 0.12], (n, 1))
    widths = np.tile([0.048, 0.060, 0.057, 0.070, 0.090, 0.044, 0.044, 0.085, 0.10], (n, 1))
    centers[:, :7] += rng.normal(0, 0.022, (n, 7))
    widths[:, :7] *= rng.lognormal(0, 0.13, (n, 7))
    # The left ventricle is done in time, the right one comes late.
    early = [0.62, 0.62, 0.62, 0.62, 1, 0.62, 0.62, 0.7, 1]
    centers = np.where(kind.right[:, None], centers * early, centers)
    widths = np.where(kind.right[:, None], widths * early, widths)
    widths[:, _LATE] = np.where(kind.incomplete, 0.065, widths[:, _LATE])
    two = kind.two_humps[:, None]  # and what lies between them
    humps = np.array([0.1, 0.27, 0.70, 0.8, 0.76, 0.48, 0.58, 0.26, 0.12]) + rng.normal(0, 0.018, (n, 9))
    centers = np.where(two, humps, centers)
    humps = np.array([0.05, 0.092, 0.094, 0.06, 0.095, 0.095, 0.05, 0.085, 0.1]) * rng.lognormal(0, 0.12, (n, 9))
    widths = np.where(two, humps, widths)
    broad = pacing.uniform(0.14, 0.19, n)
    centers[:, _R2] = np.where(kind.smooth, pacing.uniform(0.45, 0.62, n), centers[:, _R2])
    widths[:, _R2] = np.where(kind.smooth, broad, widths[:, _R2])
    slow = (kind.ventricular | kind.delay)[:, None]
    widths = np.where(slow, widths * [1.2, 1.45, 1.5, 1.2, 1, 1.2, 1.2, 1, 1], widths)
    delta = kind.delta
    centers = np.where(delta[:, None], 0.40 + 0.58 * centers, centers)
    widths = np.where(delta[:, None], widths * 0.80, widths)
    # A delta wave climbs into the QRS without a dip: two Gaussians, of which the second is higher.
    centers[:, _DELTA], widths[:, _DELTA] = 0.30, 0.10
    centers[:, _NOTCH1] = np.where(delta, 0.55, centers[:, _NOTCH1])
    widths[:, _NOTCH1] = np.where(delta, 0.10, widths[:, _NOTCH1])
    return centers, widths


def _draw_frontal(
    rng: np.random.Generator, pacing: np.random.Generator, plan: Plan, kind: SimpleNamespace
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(Sizes of the slots in limb scales, their degrees from the axis, how much higher a delta wave ends than begins).

    [records, slots] in the frontal plane, and [records].
    """
    n = len(plan.rate)
    u, zero, rough = partial(rng.uniform, size=n), np.zeros(n), np.where(kind.delay, 2.2, 1.0)
    # The first forces run against the axis; where that points far up or right, they are the r of leads with a deep S.
    turned = (plan.axis < -5) | (plan.axis > 80)
    first = np.where(turned, u(0.08, 0.20), np.maximum(u(-0.05, 0.18), 0) * np.where(kind.delay, 0.5, 1))
    two, delta, smooth = kind.two_humps[:, None], kind.delta, kind.smooth
    size = _slots(
        first, u(0.0, 0.40), u(0.84, 1.10), u(0.02, 0.42), zero, *(rng.normal(0, 0.04, (2, n)) * rough), zero, zero
    )
    angle = _slots(
        150 + u(-55, 50),
        u(-60, 60),
        u(-8, 8),
        rng.choice([-1, 1], n) * u(85, 180),
        zero,
        u(-90, 90),
        u(-90, 90),
        zero,
        u(-50, 50),
    )
    size = np.where(
        two,
        _slots(zero, u(0.25, 0.65), u(0.45, 0.8), zero, zero, u(0.2, 0.75), rng.normal(0, 0.08, n), zero, zero),
        size,
    )
    angle = np.where(two, _slots(zero, u(-35, 35), u(-8, 8), zero, zero, u(-15, 15), u(-90, 90), zero, zero), angle)
    size[:, _R2] = np.where(smooth, pacing.uniform(0.8, 1.5, n), size[:, _R2])
    size[:, [_R1, _NOTCH1]] *= np.where(smooth, pacing.uniform(0, 0.4, n), 1)[:, None]
    size = np.where(kind.ventricular[:, None], size * [0.3, 1.6, 1.1, 0.6, 0, 2, 2, 0, 0], size)
    size[:, _Q] = np.where(kind.fascicular, u(0.16, 0.32), np.where(delta, 0, size[:, _Q]))
    against = np.where(plan.fascicle == "anterior", 112 + u(-18, 18), -58 + u(-15, 15))
    angle[:, _Q] = np.where(kind.fascicular, against - plan.axis, angle[:, _Q])
    size[:, _R1] = np.where(kind.fascicular, u(0, 0.12), size[:, _R1])
    size[:, _DELTA] = np.where(delta, u(0.20, 0.36), 0)
    climb = u(1.2, 1.7)
    size[:, _NOTCH1] = np.where(delta, climb * size[:, _DELTA], size[:, _NOTCH1])
    angle[:, _NOTCH1] = np.where(delta, angle[:, _DELTA], angle[:, _NOTCH1])
    return size, angle, climb


def _draw_chest(rng: np.random.Generator, kind: SimpleNamespace) -> tuple[np.ndarray, np.ndarray]:
    """Of each slot what points to the left (x) and to the back (z), [records, slots] in chest scales: conducted."""
    n = len(kind.paced)
    u, zero, rough = partial(rng.uniform, size=n), np.zeros(n), np.where(kind.delay, 2.2, 1.0)
    q, s, back = u(0.15, 1), u(0.2, 1.15), rng.lognormal(0, 0.22, n)
    # In V5 and V6 many hearts have no Q, or no S.
    q_left, s_left = np.where(u(0, 1) < 0.4, 0.05, -0.20) * q, np.where(u(0, 1) < 0.3, 0.0, -0.40) * s
    x = _slots(q_left, u(0.06, 0.46), u(0.95, 1.30), s_left, zero, *(rng.normal(0, 0.035, (2, n)) * rough), zero, zero)
    z = _slots(
        -0.24 * q, -u(0.08, 0.62), u(0.48, 0.88) * back, u(0.32, 0.90) * s, zero,
        *(rng.normal(0, 0.035, (2, n)) * rough), zero, zero,
    )  # fmt: skip
    last = partial(rng.normal, 0, 0.09, n)
    humps_x = _slots(zero, u(0.3, 0.6), u(0.55, 0.95), zero, zero, u(0.2, 0.7), last(), zero, zero)
    humps_z = _slots(zero, u(0.25, 0.7), u(0.75, 1.35), zero, zero, u(0.6, 1.2), last(), zero, zero)
    two = kind.two_humps[:, None]
    return np.where(two, humps_x, x), np.where(two, humps_z, z)


def _pace_chest(
    rng: np.random.Generator, pacing: np.random.Generator, kind: SimpleNamespace, x: np.ndarray, z: np.ndarray
) -> None:
    """Turn what pacemakers stimulate. Paced from the apex V4 to V6 are negative, from the septum not."""
    n = len(x)
    x[:, _R2] = np.where(kind.paced, rng.uniform(-0.5, 0.85, n), x[:, _R2])
    x[:, _NOTCH1] = np.where(kind.paced, x[:, _R2] + rng.uniform(-0.3, 0.3, n), x[:, _NOTCH1])
    strength, aside = pacing.uniform(0.7, 1.7, n), pacing.uniform(-0.8, 1.0, n)  # radians from straight backwards
    x[:, _R2] = np.where(kind.smooth, strength * np.sin(aside), x[:, _R2])
    z[:, _R2] = np.where(kind.smooth, strength * np.cos(aside), z[:, _R2])
    for part in (x, z):
        part[:, [_R1, _NOTCH1]] *= np.where(kind.smooth, pacing.uniform(0, 0.4, n), 1)[:, None]
    z[:, [_R1, _R2, _NOTCH1]] *= np.where(kind.from_left, -pacing.uniform(0.3, 1.1, n), 1)[:, None]  # R in V1


def _turn_chest(
    rng: np.random.Generator, kind: SimpleNamespace, climb: np.ndarray, x: np.ndarray, z: np.ndarray
) -> None:
    """Turn what begins in a ventricle: anywhere, or by a bundle of its own, in front or behind."""
    u, zero = partial(rng.uniform, size=len(x)), np.zeros(len(x))
    around = u(-np.pi, np.pi)
    for slot, strength, turn in ((_Q, 0.1, zero), (_R1, 0.5, u(-0.7, 0.7)), (_R2, 1.0, zero)):
        x[:, slot] = np.where(kind.ventricular, strength * np.cos(around + turn), x[:, slot])
        z[:, slot] = np.where(kind.ventricular, strength * np.sin(around + turn), z[:, slot])
    z[:, _DELTA] = np.where(kind.delta, rng.choice([-1, 1], len(x)) * u(0.20, 0.38), 0)
    x[:, _DELTA] = np.where(kind.delta, u(0.08, 0.3), 0)
    for part in (x, z):
        part[:, _NOTCH1] = np.where(kind.delta, climb * part[:, _DELTA], part[:, _NOTCH1])


def _resize_chest(
    rng: np.random.Generator, kind: SimpleNamespace, poor: np.ndarray, x: np.ndarray, z: np.ndarray
) -> None:
    """Large ventricles, and (`poor`, [records]) an R that does not grow from V1 to V4."""
    u = partial(rng.uniform, size=len(x))
    large = np.where(kind.hypertrophic, u(1.45, 2.0), 1)
    x[:, _R2] *= large
    z[:, _R2] *= large
    for chosen, slot, to_left, to_back in (
        (kind.right_hypertrophic & ~kind.right, _R2, u(0.0, 0.35), -u(0.75, 1.3)),
        (kind.right_hypertrophic & ~kind.right, _S, -u(0.35, 0.8), u(0.0, 0.2)),
        (kind.right_hypertrophic & kind.right, _R2, u(0.25, 0.6), u(-0.2, 0.4)),  # what is large comes late
        (poor, _R1, u(0.02, 0.15), -u(0.02, 0.12)),
        (poor, _R2, u(0.4, 0.75), u(0.75, 1.1)),
    ):
        x[:, slot] = np.where(chosen, to_left, x[:, slot])
        z[:, slot] = np.where(chosen, to_back, z[:, slot])


def _slots(*values: np.ndarray) -> np.ndarray:
    """[records, slots] of a number [records] for each slot, in their order."""
    return np.stack(values, axis=1)


def _turn_to_axis(waves: Waves, fascicular: np.ndarray, axis: np.ndarray) -> None:
    """Turn the frontal vectors until the axis, read from the net amplitudes of I and aVF, is the wanted one.

    The late right ventricle, a scar and the first forces of a fascicular block keep their own direction.
    """
    keep = np.zeros(waves.centers.shape, dtype=bool)
    keep[:, [_LATE, SCAR]] = True
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
