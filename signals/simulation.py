"""Simulated 12-lead ECGs whose truth is known: a seed and wishes in, ECGRecords with findings and report out.

`simulate_ecgs` draws a balanced mix (or records that all bear given findings); `simulate_ecg` gives one. A record
lists all findings of `FINDINGS` that hold of it, since the simulator decides each of them. Decided here: the rhythm,
and what is said of it. The records are no substitute for real ones: shapes are simplified, and severe or rare
disease is absent.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from .record import ECGRecord
from .simulation_plan import (
    BRADYCARDIA,
    FIBRILLATION,
    FINDINGS,
    FIRST_DEGREE,
    LBBB,
    LEFT_AXIS,
    NORMAL,
    PAC,
    PVC,
    RBBB,
    RIGHT_AXIS,
    SINUS,
    TACHYCARDIA,
    Plan,
    checked_findings,
    draw_plan,
)
from .simulation_waves import draw_p_waves, draw_pr, draw_qrs, draw_qt, draw_t_waves, draw_ventricular_waves
from .wave_model import chest_electrodes, electrode_noise, fibrillation_waves, render, twelve_leads

__all__ = ["FINDINGS", "simulate_ecg", "simulate_ecgs"]

_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_CHUNK = 128  # records rendered at once: small enough for the cache, large enough for numpy
_MIN_DURATION = 5.0  # seconds; a premature beat must fit at any rate
_PVC, _PAC = 1, 2


def simulate_ecgs(
    n: int,
    seed: int,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    noise: float = 1.0,
    findings: Iterable[str] | None = None,
    heart_rate: float | None = None,
) -> list[ECGRecord]:
    """Simulate `n` 12-lead ECGs; the same arguments give the same bytes.

    Args:
        n: how many. seed: of the random generator. sampling_rate: Hz. duration: seconds, at least 5.
        noise: scale of the electrodes' noise, 0 for none.
        findings: what every record shall show, of `FINDINGS`; what is not named is normal. None draws a mix.
        heart_rate: beats per minute of every record, or None to draw it.

    Returns: records of float32 [12, duration * sampling_rate] in mV, each of its own patient, with all findings that
    hold, an
        English report, age, sex, and measurements: heart_rate (bpm over the record), qrs (ms), axis (degrees), and in
        sinus rhythm pr (ms).
    Raises: ValueError for unknown or contradictory findings, or a heart rate that they exclude.
    """
    if n < 0 or duration < _MIN_DURATION or sampling_rate < 50 or noise < 0:
        raise ValueError(
            f"n={n}, duration={duration} s, sampling_rate={sampling_rate} Hz, noise={noise}; expected n and noise of "
            "at least "
            f"0, a duration of at least {_MIN_DURATION:g} s and a rate of at least 50 Hz."
        )
    wanted = None if findings is None else checked_findings(findings, heart_rate)
    if heart_rate is not None and not 30 <= heart_rate <= 180:
        raise ValueError(f"heart_rate is {heart_rate}; the simulator makes 30 to 180 beats per minute.")
    records: list[ECGRecord] = []
    for chunk in range(0, n, _CHUNK):
        rng = np.random.default_rng([seed, chunk])
        plan = draw_plan(rng, min(_CHUNK, n - chunk), wanted, heart_rate)
        records.extend(_simulate(rng, plan, f"sim-{seed}", chunk, sampling_rate, duration, noise, wanted is not None))
    return records


def simulate_ecg(
    findings: Iterable[str] = (NORMAL,),
    heart_rate: float | None = None,
    seed: int = 0,
    sampling_rate: float = 100.0,
    duration: float = 10.0,
    noise: float = 1.0,
) -> ECGRecord:
    """Simulate one ECG that shows `findings`, everything else normal; see `simulate_ecgs`."""
    return simulate_ecgs(1, seed, sampling_rate, duration, noise, findings, heart_rate)[0]


def _simulate(
    rng: np.random.Generator,
    plan: Plan,
    name: str,
    first: int,
    sampling_rate: float,
    duration: float,
    noise: float,
    strict: bool,
) -> list[ECGRecord]:
    """Render a plan. In a mix a premature beat may find no room, and then is not claimed; `strict` refuses that."""
    n = len(plan.rate)
    times = np.arange(round(duration * sampling_rate)) / sampling_rate
    beats, kinds, rates = _beats(rng, plan, duration)
    visible = (beats >= 0) & (beats <= duration - 0.2)
    asked = plan.pvc.copy(), plan.pac.copy()
    plan.pvc, plan.pac = (((kinds == kind) & visible).any(axis=1) for kind in (_PVC, _PAC))
    if strict and ((asked[0] & ~plan.pvc).any() or (asked[1] & ~plan.pac).any()):
        raise ValueError(f"no room for the premature beats asked for in {duration:g} s at this rate; make it longer.")
    electrodes = chest_electrodes(rng, n)
    # An acquisition filter; below 200 Hz it also has to keep the waves free of aliases.
    smoothing = np.maximum(rng.uniform(0.002, 0.0045, (n, 1)), 0.35 / sampling_rate)

    qrs, qrs_ms, scale = draw_qrs(rng, plan)
    qt = draw_qt(rng, plan, qrs_ms)
    eight = render(qrs, np.where(kinds == _PVC, np.nan, beats), electrodes, times, smoothing)
    t_waves = draw_t_waves(rng, plan, qrs, qt, scale)
    eight += render(t_waves, np.where(kinds == _PVC, np.nan, beats), electrodes, times, 0.0)

    rows = np.flatnonzero(plan.pvc)
    if len(rows):
        ectopic = np.where(kinds == _PVC, beats, np.nan)[rows]
        ventricular, discordant = draw_ventricular_waves(rng, scale[rows], qt[rows])
        eight[rows] += render(ventricular, ectopic, electrodes[rows], times, smoothing[rows])
        eight[rows] += render(discordant, ectopic, electrodes[rows], times, 0.0)

    pr = draw_pr(rng, plan)
    p_waves = draw_p_waves(rng, n)
    for kind in (0, _PAC):  # a premature atrial beat starts elsewhere in the atria: another shape
        events = np.where((kinds == kind) & ~plan.af[:, None], beats - pr[:, None], np.nan)
        if kind == _PAC:
            p_waves.rotate_frontal(rng.uniform(50, 160, n) * rng.choice([-1, 1], n))
            p_waves.chest *= rng.uniform(-0.6, 1.2, (n, 1, 1))
        eight += render(p_waves, events, electrodes, times, 0.0)
    rows = np.flatnonzero(plan.af)
    if len(rows):
        eight[rows] += fibrillation_waves(rng, len(rows), times)
    if noise > 0:
        eight += electrode_noise(rng, n, times, noise)

    signal = twelve_leads(eight.astype(np.float32))
    ages, sexes = rng.uniform(20, 90, n).round(), rng.random(n) < 0.5
    records = []
    for i in range(n):
        measurements = {"heart_rate": float(rates[i]), "qrs": float(qrs_ms[i]), "axis": float(plan.axis[i])}
        if not plan.af[i]:
            measurements["pr"] = float(pr[i] * 1000)
        findings = plan.findings(i)
        records.append(
            ECGRecord(
                signal=signal[i],
                sampling_rate=sampling_rate,
                leads=_LEADS,
                id=f"{name}-{first + i:06d}",
                patient_id=f"{name}-patient-{first + i:06d}",
                report=_report(rng, findings, rates[i]),
                findings=findings,
                measurements=measurements,
                age=float(ages[i]),
                sex="female" if sexes[i] else "male",
                source="simulation",
            )
        )
    return records


def _beats(rng: np.random.Generator, plan: Plan, duration: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(QRS onsets [records, beats] s, kind of each beat, mean heart rate within the record in bpm)."""
    n = len(plan.rate)
    mean = (60 / plan.rate)[:, None]
    count = int(np.ceil(duration / (0.7 * mean.min()))) + 8
    breath = np.sin(2 * np.pi * (rng.uniform(0.13, 0.38, (n, 1)) * mean * np.arange(count) + rng.random((n, 1))))
    sinus = (
        1
        + rng.uniform(0.002, 0.035, (n, 1)) * breath
        + rng.uniform(0.003, 0.012, (n, 1)) * rng.normal(size=(n, count))
    )
    # Above some rate the AV node cannot follow: no interval under 0.28 s.
    fibrillating = np.maximum(rng.lognormal(0, rng.uniform(0.15, 0.33, (n, 1)), (n, count)), 0.28 / mean)
    relative = np.where(plan.af[:, None], fibrillating, sinus)
    start = rng.random((n, 1)) * mean
    onsets = -2 * mean + start + np.cumsum(relative * mean, axis=1)

    for _ in range(2):  # before places are chosen, so that the chosen ones stay within the record
        stretch = (_mean_rates(onsets, duration) / plan.rate)[:, None]
        onsets, mean, start = onsets * stretch, mean * stretch, start * stretch
    kinds = np.zeros((n, count), dtype=int)
    inside = (onsets > 1.25 * mean + 0.2) & (onsets < duration - 0.5)
    score, density = rng.random((2, n, count)), np.where(rng.random((2, n)) < 0.15, 0.5, rng.uniform(0, 0.15, (2, n)))
    for i in np.flatnonzero(plan.pvc | plan.pac):
        free = np.flatnonzero(inside[i])
        chosen = [kind for kind, flag in ((_PVC, plan.pvc), (_PAC, plan.pac)) if flag[i]]
        # One of each kind is certain, more may follow. Of two kinds one takes the first place, to leave room.
        certain = [(kind, free[:1] if len(chosen) == 2 and kind == _PVC else free) for kind in chosen]
        more = [(kind, free[score[kind - 1, i, free] < density[kind - 1, i]]) for kind in chosen]
        for number, (kind, places) in enumerate([*certain, *more]):
            best_first = places[np.argsort(score[kind - 1, i, places])]
            for k in best_first:
                if not kinds[i, k - 1 : k + 2].any():
                    kinds[i, k] = kind
                    if number < len(certain):
                        break
    premature = rng.uniform(0.52, 0.72, (n, 1))
    early = kinds > 0
    following = np.roll(early, 1, axis=1)
    following[:, 0] = False
    pause = np.where(np.roll(kinds, 1, axis=1) == _PVC, 2 - premature, rng.uniform(1.0, 1.15, (n, 1)))
    # A premature beat keeps its coupling to the last beat; a ventricular one is followed by a full pause.
    relative = np.where(early, premature * np.where(plan.af[:, None], 1, relative), relative)
    relative = np.where(following & ~early, pause * np.where(plan.af[:, None], 1, relative), relative)
    onsets = -2 * mean + start + np.cumsum(relative * mean, axis=1)
    for _ in range(3):  # stretch time a little, so that the record as a whole has the rate it was meant to have
        onsets = onsets * (_mean_rates(onsets, duration) / plan.rate)[:, None]
    return onsets, kinds, _mean_rates(onsets, duration)


def _mean_rates(onsets: np.ndarray, duration: float) -> np.ndarray:
    """[records] bpm from the first to the last QRS that lies in the record as a whole."""
    inside = (onsets >= 0) & (onsets <= duration - 0.2)
    first = np.where(inside, onsets, np.inf).min(axis=1)
    last = np.where(inside, onsets, -np.inf).max(axis=1)
    return 60 * (inside.sum(axis=1) - 1) / (last - first)


_WORDINGS = {
    NORMAL: ("Normal ECG", "Within normal limits", "No abnormality"),
    SINUS: ("Sinus rhythm", "Regular sinus rhythm", "Normal P waves before each QRS, sinus rhythm"),
    BRADYCARDIA: ("Sinus bradycardia", "Slow sinus rhythm, bradycardia"),
    TACHYCARDIA: ("Sinus tachycardia", "Fast sinus rhythm, tachycardia"),
    FIBRILLATION: ("Atrial fibrillation", "Irregularly irregular rhythm without P waves: atrial fibrillation", "AFib"),
    FIRST_DEGREE: ("First degree AV block", "Prolonged PR interval, first degree AV block", "1st degree AV block"),
    RBBB: ("Complete right bundle branch block", "RBBB", "Wide QRS, complete right bundle branch block"),
    LBBB: ("Complete left bundle branch block", "LBBB", "Wide QRS, complete left bundle branch block"),
    PVC: ("Premature ventricular complexes", "Ventricular extrasystoles", "PVCs"),
    PAC: ("Premature atrial complexes", "Supraventricular extrasystoles", "PACs"),
    LEFT_AXIS: ("Left axis deviation", "Leftward electrical axis"),
    RIGHT_AXIS: ("Right axis deviation", "Rightward electrical axis"),
}


def _report(rng: np.random.Generator, findings: tuple[str, ...], rate: float) -> str:
    """One to few short sentences that say every finding, in one of several wordings, some with the heart rate."""
    said = [finding for finding in findings if finding != SINUS or not {BRADYCARDIA, TACHYCARDIA} & set(findings)]
    said = [*[finding for finding in said if finding != NORMAL], *[finding for finding in said if finding == NORMAL]]
    phrases = [_WORDINGS[finding][rng.integers(len(_WORDINGS[finding]))] for finding in said]
    if rng.random() < 0.5:
        phrases[0] += f", rate {rate:.0f} bpm"
    return ". ".join(phrases) + "."
