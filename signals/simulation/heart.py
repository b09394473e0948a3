"""From a plan to a signal: the hearts of a batch of patients, and their leads in millivolt.

In: a `Plan` and two random generators, one for what stays with a patient (shape, size, geometry), one for the visit
(beats, how electrodes were placed). Out: `Hearts` with all waves and times, and their rendering. Decided here: which
waves belong to which beats, and the waves of fibrillating and fluttering atria and of pacemakers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .criteria import Limits
from .labels import Labels, measured_labels
from .noise import draw_low_pass
from .plan import Plan
from .qrs import LONGEST_FUSED, SLOTS, draw_qrs, draw_ventricular_beats
from .repolarization import draw_p_waves, draw_pr, draw_qt, draw_repolarization
from .rhythm import VENTRICULAR, Rhythm, draw_rhythm
from .wave_model import Batch, Waves, chest_electrodes, frontal_vectors, render

_SPIKE_WIDTH = 0.0012  # seconds


@dataclass
class Hearts(Batch):
    """A batch.

    beat: QRS and repolarization of the usual beat; ectopic: those of ventricular beats. p, early_p, back_p: P waves of
    the sinus node, of premature beats, and from the ventricles. spike: of a pacemaker; spike_sway [records]: how far
    its size changes from beat to beat. Lengths in seconds. smoothing [records, 1]: width of the device's low-pass.
    seeds: of what is drawn while rendering.
    """

    plan: Plan
    rhythm: Rhythm
    beat: Waves
    ectopic: Waves
    p: Waves
    early_p: Waves
    back_p: Waves
    spike: Waves
    spike_sway: np.ndarray
    qrs: np.ndarray
    ectopic_qrs: np.ndarray
    qt: np.ndarray
    p_length: np.ndarray
    electrodes: np.ndarray
    smoothing: np.ndarray
    seeds: np.ndarray


def draw_hearts(body: np.random.Generator, visit: np.random.Generator, plan: Plan, duration: float) -> Hearts:
    """The hearts of a plan; a body generator of the same state gives the same patients."""
    n = len(plan.rate)
    electrodes = chest_electrodes(body, visit, n)
    qrs, length, size = draw_qrs(body, plan, electrodes)
    qt = draw_qt(body, plan, length)
    repolarization = draw_repolarization(body, plan, qrs, length, qt)
    p, p_length = draw_p_waves(body, plan)
    ectopic, ectopic_length = draw_ventricular_beats(body, size, qt, electrodes)
    early = Waves(p.centers, p.widths, p.frontal, p.chest * body.uniform(-0.6, 1.2, (n, 1, 1)))
    early.rotate_frontal(body.uniform(50, 160, n) * body.choice([-1, 1], n))
    back = Waves(p.centers, p.widths, p.frontal * 0.9, p.chest * -0.6)
    back.rotate_frontal(180 + body.uniform(-25, 25, n))  # from below: negative in II, III and aVF
    smoothing = draw_low_pass(body, n)
    # P ends before QRS begins, but in preexcitation.
    pr = draw_pr(body, plan)
    pr = np.where(plan.conduction == "preexcitation", pr, np.maximum(pr, p_length + 0.02))
    rhythm = draw_rhythm(visit, plan, pr, duration)
    alone = (plan.rhythm == "ventricular pacing") & np.isnan(rhythm.p).all(axis=1) & ~plan.fibrillating
    wide_paced = alone & (length > LONGEST_FUSED)
    spike, spike_sway = _spikes(body, wide_paced)
    return Hearts(
        plan, rhythm, qrs.joined(repolarization), ectopic, p, early, back, spike, spike_sway, length, ectopic_length,
        qt, p_length, electrodes, smoothing, visit.integers(0, 2**63, n),
    )  # fmt: skip


def labels_of(hearts: Hearts, duration: float, limits: Limits) -> Labels:
    """Findings and measurements of a batch, read off its waves as the device passes them, by limits [records]."""
    beat, p = (waves.smoothed(hearts.smoothing) for waves in (hearts.beat, hearts.p))
    return measured_labels(
        hearts.plan, hearts.rhythm, beat, SLOTS, hearts.qrs, hearts.qt, p, hearts.p_length, hearts.electrodes,
        duration, limits,
    )  # fmt: skip


def rendered(hearts: Hearts, times: np.ndarray) -> np.ndarray:
    """[records, 8, samples] float32 mV in I, II, V1-V6 at `times` [samples], seconds, evenly spaced; without noise."""
    plan, rhythm, electrodes = hearts.plan, hearts.rhythm, hearts.electrodes
    # Samples 1/rate apart must not alias: at 100 Hz this leaves 2 % of the power at 80 Hz.
    smoothing = np.maximum(hearts.smoothing, 0.29 * (times[1] - times[0]))
    ventricular = rhythm.kind == VENTRICULAR
    usual = np.where(ventricular, np.nan, rhythm.qrs)
    eight = render(hearts.beat, usual, electrodes, times, smoothing, rhythm.size)

    def add(waves: Waves, events: np.ndarray, gains: np.ndarray | None = None) -> None:
        rows = np.flatnonzero(~np.isnan(events).all(axis=1))
        if len(rows):
            gains = None if gains is None else gains[rows]
            eight[rows] += render(waves[rows], events[rows], electrodes[rows], times, smoothing[rows], gains)

    add(hearts.ectopic, np.where(ventricular, rhythm.qrs, np.nan))
    add(hearts.p, rhythm.p)
    add(hearts.early_p, rhythm.early_p)
    add(hearts.back_p, rhythm.retrograde_p)
    paced = (plan.rhythm == "ventricular pacing")[:, None] & ~ventricular
    paced_p = rhythm.paced_p[:, None]
    for chamber, events in enumerate((np.where(paced, rhythm.qrs, np.nan), np.where(paced_p, rhythm.p, np.nan))):
        add(hearts.spike, events, _spike_gains(hearts, events, chamber))
    for atria, waves in ((plan.fibrillating, _fibrillation_waves), (plan.rhythm == "flutter", _flutter_waves)):
        for row in np.flatnonzero(atria):
            eight[row] += waves(np.random.default_rng(int(hearts.seeds[row])), times, hearts.rhythm.cycle[row])
    return eight


def _spikes(rng: np.random.Generator, wide_paced: np.ndarray) -> tuple[Waves, np.ndarray]:
    """(A pacemaker's spike and its recoil, relative to the wave that it makes; how far its size sways, [records] 0-1).

    wide_paced [records]: where a wide QRS that no P wave leads tells of the pacemaker, too; there devices may filter
    the spike away. It is small if bipolar, large if unipolar. The tissue answers 4 to 60 ms later. Half a millisecond
    is shorter than the distance of samples: what is left of a spike differs from beat to beat, unless the device
    draws it anew.
    """
    n = len(wide_paced)
    size = np.where(rng.random(n) < 0.7, rng.lognormal(np.log(0.5), 0.6, n), rng.lognormal(np.log(2.0), 0.5, n))
    size = np.maximum(size, 0.4)
    angle, around = rng.uniform(-180, 180, n), rng.uniform(-np.pi, np.pi, n)
    size = np.where(wide_paced & (rng.random(n) < 0.3), rng.uniform(0, 0.1, n), size)
    latency = np.exp(rng.uniform(np.log(0.004), np.log(0.06), n))
    sway = np.where(rng.random(n) < 0.5, rng.uniform(0.2, 0.8, n), 0)
    frontal = frontal_vectors(size, angle)
    chest = np.stack([size * np.cos(around), 0.5 * frontal[:, 1], size * np.sin(around)], axis=1)
    share = np.array([1.0, -0.12])[:, None]
    waves = Waves(
        np.array([0.0, 0.006]) - latency[:, None],
        np.tile([_SPIKE_WIDTH, 0.004], (n, 1)),
        share * frontal[:, None],
        share * chest[:, None],
    )
    return waves, sway


def _spike_gains(hearts: Hearts, events: np.ndarray, chamber: int) -> np.ndarray:
    """[records, events]: what of each spike is left between the samples."""
    left = np.ones(events.shape)
    for row in np.flatnonzero((hearts.spike_sway > 0) & ~np.isnan(events).all(axis=1)):
        rng = np.random.default_rng([int(hearts.seeds[row]), 1 + chamber])
        left[row] = 1 - hearts.spike_sway[row] * rng.random(events.shape[1])
    return left


def _fibrillation_waves(rng: np.random.Generator, times: np.ndarray, cycle: float) -> np.ndarray:
    """[8, samples] mV: three wandering sines of 4.2-8.5 Hz, largest in V1, as the fibrillating atria show."""
    base = rng.uniform(4.6, 7.8)
    rate = np.clip(base + rng.uniform(-0.8, 0.8, (3, 1)), 4.2, 8.5)
    sway = rng.uniform(0.2, 0.9, (3, 1)) * np.sin(
        2 * np.pi * (rng.uniform(0.1, 0.5, (3, 1)) * times + rng.random((3, 1)))
    )
    swell = 1 + 0.5 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.6, (3, 1)) * times + rng.random((3, 1))))
    wave = (swell * np.sin(2 * np.pi * (rate * times + rng.random((3, 1))) + 2 * sway)).sum(axis=0)
    gains = np.array([0.3, 0.6, 1.0, 0.6, 0.35, 0.25, 0.2, 0.2]) * rng.lognormal(0, 0.25, 8)
    size = np.exp(rng.uniform(np.log(0.009), np.log(0.075)))  # mV per sine in V1
    return (size * gains[:, None] * wave).astype(np.float32)


def _flutter_waves(rng: np.random.Generator, times: np.ndarray, cycle: float) -> np.ndarray:
    """[8, samples] mV: a saw of three harmonics, negative in II and positive in V1, in three of ten the other way."""
    phase = 2 * np.pi * (times / cycle + rng.random())
    shift = rng.uniform(-0.4, 0.4, 3)
    wave = sum(np.sin(h * phase + shift[h - 1]) / h ** rng.uniform(1, 1.4) for h in (1, 2, 3))
    gains = np.array([0.12, -0.85, 0.6, 0.3, 0.1, -0.1, -0.2, -0.25]) * rng.lognormal(0, 0.4, 8)
    size = np.exp(rng.uniform(np.log(0.03), np.log(0.20))) * rng.choice([1, -1], p=[0.7, 0.3])
    return (size * gains[:, None] * wave).astype(np.float32)
