"""When the heart beats: a `Plan` and PR intervals in, times of QRS complexes and P waves of a batch of records out.

Every rhythm is a sequence of RR intervals relative to their mean; premature beats shorten some and lengthen the next;
time is then stretched a little, so that the record as a whole has the rate that it was meant to have. P waves precede
the beats that they cause, or come on their own. Decided here: the irregularity of each rhythm, the groups of AV
blocks, and where premature beats fall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .plan import Plan
from .wave_model import Batch

USUAL, VENTRICULAR, ATRIAL = 0, 1, 2  # kinds of beats
_LEAD_IN = 2.0  # mean RR intervals before the record
_EDGE = 0.2  # seconds at the end of a record in which a beat is not seen as a whole


@dataclass
class Rhythm(Batch):
    """Events in seconds, NaN where there is none.

    qrs, kind [records, beats]: onsets and what kind of beat each is. p [records, waves]: P onsets; early_p: those of
    premature atrial beats; retrograde_p: those that the ventricles cause. pr [records, beats]: of conducted beats,
    else NaN. rate [records]: bpm within the record. cycle [records]: seconds of one flutter wave. size [records,
    beats]: of the QRS, as breath moves the heart. paced_p [records]: whether a pacemaker makes the P waves, too.
    """

    qrs: np.ndarray
    kind: np.ndarray
    p: np.ndarray
    early_p: np.ndarray
    retrograde_p: np.ndarray
    pr: np.ndarray
    rate: np.ndarray
    cycle: np.ndarray
    size: np.ndarray
    paced_p: np.ndarray


def draw_rhythm(rng: np.random.Generator, plan: Plan, pr: np.ndarray, duration: float) -> Rhythm:
    """The events of each record from two beats before its start to beyond its end."""
    n = len(plan.rate)
    mean = (60 / plan.rate)[:, None]
    count = int(np.ceil(duration / (0.7 * mean.min()))) + 8
    breath = np.sin(2 * np.pi * (rng.uniform(0.13, 0.38, (n, 1)) * mean * np.arange(count) + rng.random((n, 1))))
    group = np.where(plan.rhythm == "2:1 block", 1, np.clip(rng.integers(2, 5, n), 2, 4))[:, None]  # conducted beats
    turn = (np.arange(count) + rng.integers(0, 12, (n, 1))) % group
    increments = rng.uniform(0.045, 0.090, (n, 1)) * (1 - 0.55**turn) / 0.45 * (plan.rhythm == "mobitz 1")[:, None]
    relative, ratio = _relative(rng, plan, mean, breath, group, turn, increments)
    start = rng.random((n, 1)) * mean
    onsets = -_LEAD_IN * mean + start + np.cumsum(relative * mean, axis=1)
    for _ in range(2):  # before places are chosen, so that the chosen ones stay within the record
        stretch = (_mean_rates(onsets, duration) / plan.rate)[:, None]
        onsets, mean, start = onsets * stretch, mean * stretch, start * stretch
    kinds = _premature_places(rng, plan, onsets, mean, duration)
    relative = _with_premature(rng, plan, kinds, relative, ratio)
    onsets = -_LEAD_IN * mean + start + np.cumsum(relative * mean, axis=1)
    for _ in range(3):
        onsets = onsets * (_mean_rates(onsets, duration) / plan.rate)[:, None]
    rate = _mean_rates(onsets, duration)

    driven = np.isin(plan.rhythm, ("sinus", "atrial pacing", "mobitz 1", "mobitz 2", "2:1 block"))
    tracked = (plan.rhythm == "ventricular pacing") & (rng.random(n) < 0.5) & ~plan.fibrillating
    conducted = (driven | tracked)[:, None] & (kinds != VENTRICULAR)
    lag = np.where(conducted, np.where(driven, pr, rng.uniform(0.12, 0.2, n))[:, None] + increments, np.nan)
    caused = onsets - lag
    early = np.where(kinds == ATRIAL, caused, np.nan)
    usual = np.where(kinds == ATRIAL, np.nan, caused)
    # The beat that is dropped: a P wave one atrial interval after the last one that was conducted.
    blocked = np.isin(plan.rhythm, ("mobitz 1", "mobitz 2", "2:1 block"))[:, None] & (turn == group - 1)
    following = np.concatenate([caused[:, 1:], caused[:, -1:] + mean], axis=1)
    dropped = np.where(blocked, (caused + following) / 2, np.nan)
    own = np.where(tracked[:, None], np.nan, _own_atria(rng, plan, duration))
    back = np.isin(plan.rhythm, ("junctional", "supraventricular tachycardia"))
    back &= rng.random(n) < np.where(plan.rhythm == "junctional", 0.4, 0.5)
    # Behind QRS, or, from the upper junction, shortly before it.
    gap = np.where(rng.random(n) < 0.3, -rng.uniform(0.06, 0.10, n), rng.uniform(0.09, 0.15, n))
    gap = np.where(plan.rhythm == "junctional", gap, np.abs(gap))
    retrograde = np.where(back[:, None], onsets + gap[:, None], np.nan)
    cycle = np.where(plan.rhythm == "flutter", (60 / plan.rate) / ratio[:, 0], 1.0)
    size = 1 + (rng.uniform(0, 0.07, (n, 1)) * breath + rng.normal(0, 0.012, (n, count)))
    waves = np.concatenate([usual, dropped, own], axis=1)
    paced_p = (plan.rhythm == "atrial pacing") | (tracked & (rng.spawn(1)[0].random(n) < 0.3))  # one chamber, or two
    return Rhythm(onsets, kinds, waves, early, retrograde, lag, rate, cycle, size, paced_p)


def _relative(
    rng: np.random.Generator, plan: Plan, mean: np.ndarray, breath: np.ndarray, group: np.ndarray, turn: np.ndarray,
    increments: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(RR intervals relative to their mean [records, beats], flutter waves per beat on average [records, 1])."""
    n, count = breath.shape
    normal = rng.normal(size=(n, count))
    sway = np.where(plan.arrhythmic[:, None], rng.uniform(0.10, 0.22, (n, 1)), rng.uniform(0.003, 0.048, (n, 1)))
    sinus = 1 + sway * breath + rng.uniform(0.003, 0.010, (n, 1)) * normal
    steady = 1 + rng.uniform(0.0005, 0.006, (n, 1)) * normal
    # Above some rate the AV node cannot follow: no interval under 0.28 s.
    fibrillating = np.maximum(np.exp(rng.uniform(0.15, 0.33, (n, 1)) * rng.normal(size=(n, count))), 0.28 / mean)
    # Of the atrial cycles of a group, one more passes without a beat.
    atrial = group / (group + 1)
    change = increments - np.where(group > 1, np.roll(increments, 1, axis=1), increments)
    blocked = sinus * atrial * np.where(turn == 0, 2.0, 1.0) + change / mean
    # Flutter of 230 to 340 waves a minute: a whole number of waves for each beat.
    wanted = rng.uniform(235, 335, (n, 1)) * mean / 60
    most = np.maximum(np.floor(345 * mean / 60), 2.0)  # rounding must not make the atria faster than they go
    constant = np.clip(np.round(wanted), 2.0, most)
    varied = np.maximum(np.round(wanted + rng.choice([-1.0, 0.0, 1.0], (n, count), p=[0.3, 0.4, 0.3])), 2.0)
    uneven = (rng.random((n, 1)) < 0.55) & (constant > 2)
    ratios = np.where(uneven, varied, constant)
    ratio = np.where(uneven, ratios.mean(axis=1, keepdims=True), constant)
    rhythm = plan.rhythm[:, None]
    relative = np.where(rhythm == "fibrillation", fibrillating, sinus)
    relative = np.where(rhythm == "flutter", ratios / ratio, relative)
    regular = (
        "supraventricular tachycardia",
        "junctional",
        "ventricular pacing",
        "atrial pacing",
        "third degree block",
    )
    relative = np.where(np.isin(rhythm, regular), steady, relative)
    relative = np.where(rhythm == "ventricular tachycardia", 1 + 2.5 * (steady - 1), relative)
    return np.where(np.isin(rhythm, ("mobitz 1", "mobitz 2", "2:1 block")), blocked, relative), ratio


def _premature_places(
    rng: np.random.Generator, plan: Plan, onsets: np.ndarray, mean: np.ndarray, duration: float
) -> np.ndarray:
    """[records, beats] kind of each beat."""
    n, count = onsets.shape
    kinds = np.zeros((n, count), dtype=int)
    inside = (onsets > 1.25 * mean + 0.2) & (onsets < duration - 0.5)
    score, density = rng.random((2, n, count)), np.where(rng.random((2, n)) < 0.15, 0.5, rng.uniform(0, 0.15, (2, n)))
    ventricular, atrial = (np.isin(plan.ectopy, (name, "both")) for name in ("ventricular", "atrial"))
    for i in np.flatnonzero(ventricular | atrial):
        free = np.flatnonzero(inside[i])
        chosen = [kind for kind, flag in ((VENTRICULAR, ventricular), (ATRIAL, atrial)) if flag[i]]
        if plan.bigeminy[i]:
            kinds[i, free[::2]] = chosen[0]
            continue
        # One of each kind is certain, more may follow. Of two kinds one takes the first place, to leave room.
        certain = [(kind, free[:1] if len(chosen) == 2 and kind == VENTRICULAR else free) for kind in chosen]
        more = [(kind, free[score[kind - 1, i, free] < density[kind - 1, i]]) for kind in chosen]
        for number, (kind, places) in enumerate([*certain, *more]):
            best_first = places[np.argsort(score[kind - 1, i, places])]
            for k in best_first:
                if not kinds[i, k - 1 : k + 2].any():
                    kinds[i, k] = kind
                    if number < len(certain):
                        break
    return kinds


def _with_premature(
    rng: np.random.Generator, plan: Plan, kinds: np.ndarray, relative: np.ndarray, ratio: np.ndarray
) -> np.ndarray:
    """A premature beat keeps its coupling to the last beat; a ventricular one is followed by a full pause, or, in a
    slow heart, by none at all; an atrial one by about a normal interval."""
    n = len(kinds)
    slow, fibrillating = plan.rate < 75, (plan.rhythm == "fibrillation")[:, None]
    floor = np.clip(0.36 * plan.rate / 60, 0.50, 0.66)
    premature = rng.uniform(floor, np.maximum(floor + 0.05, 0.76))[:, None]
    between = (slow & (rng.random(n) < 0.12) & (premature[:, 0] < 0.62))[:, None]
    full = np.where(between, np.maximum(1.04 - premature, 0.3), 2 - premature)
    early, last = kinds > 0, np.roll(kinds, 1, axis=1)
    last[:, 0] = USUAL
    pause = np.where(last == VENTRICULAR, full, rng.uniform(1.0, 1.17, (n, 1)))
    out = np.where(early, premature * np.where(fibrillating, 1, relative), relative)
    return np.where((last > 0) & ~early, pause * np.where(fibrillating, 1, relative), out)


def _own_atria(rng: np.random.Generator, plan: Plan, duration: float) -> np.ndarray:
    """P waves that nothing follows: in third degree block, and in some ventricular rhythms. [records, waves]"""
    n = len(plan.rate)
    alone = plan.rhythm == "third degree block"
    alone |= (plan.rhythm == "ventricular tachycardia") & (rng.random(n) < 0.3)
    # A pacemaker of the ventricles alone, most often because the atria's beats no longer pass.
    alone |= (plan.rhythm == "ventricular pacing") & (rng.random(n) < 0.5)
    alone &= ~plan.fibrillating
    interval = 60 / rng.uniform(58, 112, (n, 1))
    # A whole number of P waves for each beat would look like conduction.
    ratio = (60 / plan.rate)[:, None] / interval
    whole = np.floor(ratio)
    interval = (60 / plan.rate)[:, None] / (whole + np.clip(ratio - whole, 0.2, 0.8))
    count = int(np.ceil((duration + 2) / 0.5))
    steps = interval * (1 + rng.normal(0, 0.012, (n, count)))
    times = -1 - rng.random((n, 1)) * interval + np.cumsum(steps, axis=1)
    return np.where(alone[:, None], times, np.nan)


def seen(onsets: np.ndarray, duration: float) -> np.ndarray:
    """Which events lie in the record as a whole."""
    return (onsets >= 0) & (onsets <= duration - _EDGE)


def _mean_rates(onsets: np.ndarray, duration: float) -> np.ndarray:
    """[records] bpm from the first to the last QRS that lies in the record as a whole."""
    inside = seen(onsets, duration)
    first = np.where(inside, onsets, np.inf).min(axis=1)
    last = np.where(inside, onsets, -np.inf).max(axis=1)
    return 60 * (inside.sum(axis=1) - 1) / (last - first)
