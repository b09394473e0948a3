"""What a simulated ECG shows: its waves measured without noise, findings by published criteria out.

The normal beat of each record is drawn in twelve leads and measured; a finding holds if the signal fulfils its
criterion, whatever was planned, and a plan that failed its criterion is not claimed. Decided here: the criteria, whose
limits are those of whoever reads the record (`criteria`). Sources: AHA/ACCF/HRS Recommendations for the
Standardization and Interpretation of the ECG, parts III to VI (2009); Fourth Universal Definition of Myocardial
Infarction (2018) for ST and Q; Sokolow and Lyon 1949, Casale (Cornell) 1987 for hypertrophy, beside a left bundle
branch block Klein 1984 (Am Heart J 108:502), of the right ventricle beside a block of the right bundle Barker and
Valencia 1949 (Am Heart J 38:376). ST and T that follow a wide QRS belong to it and are not stated; of Q waves under a
left bundle branch block those are that would not be there without the scar.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ...signal_ecgllm import LEADS
from .criteria import Limits
from .plan import Plan
from .qrs import SCAR
from .rhythm import ATRIAL, USUAL, VENTRICULAR, Rhythm, seen
from .wave_model import Waves, template
from .wishes import (
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
    TERRITORIES,
)

_TIMES = np.arange(-0.04, 0.70, 0.004)  # seconds from QRS onset
_SMALLEST_MV = 0.03

#: Leads that look at a territory; of an infarction two of them must show it.
TERRITORY_LEADS = {
    "anteroseptal": ("V1", "V2", "V3", "V4"),
    "anterior": ("V2", "V3", "V4", "V5"),
    "anterolateral": ("I", "aVL", "V3", "V4", "V5", "V6"),
    "lateral": ("I", "aVL", "V5", "V6"),
    "inferior": ("II", "III", "aVF"),
    "inferolateral": ("II", "III", "aVF", "V5", "V6"),
}
_NEIGHBOURS = np.zeros((12, 12), dtype=np.float32)
for _one, _two in (
    ("II", "aVF"), ("III", "aVF"), ("II", "III"), ("I", "aVL"), ("V1", "V2"), ("V2", "V3"), ("V3", "V4"), ("V4", "V5"),
    ("V5", "V6"),
):  # fmt: skip
    _NEIGHBOURS[LEADS.index(_one), LEADS.index(_two)] = _NEIGHBOURS[LEADS.index(_two), LEADS.index(_one)] = 1


@dataclass
class Labels:
    """Of a batch. measurements: name -> [records], NaN where there is nothing to measure. holds: finding -> whether it
    does [records]. leads: finding -> in which leads, bool [records, 12]."""

    measurements: dict[str, np.ndarray]
    holds: dict[str, np.ndarray]
    leads: dict[str, np.ndarray]

    def findings(self, i: int) -> tuple[str, ...]:
        """All findings that hold of record `i`."""
        return tuple(finding for finding, holds in self.holds.items() if holds[i])

    def __getitem__(self, rows: np.ndarray) -> Labels:
        """The labels of these records only."""
        parts = (self.measurements, self.holds, self.leads)
        return Labels(*({name: values[rows] for name, values in part.items()} for part in parts))

    def finding_leads(self, i: int) -> dict[str, tuple[str, ...]]:
        """Finding -> leads of record `i`, for those that hold and are local."""
        return {
            finding: tuple(lead for lead, shows in zip(LEADS, rows[i], strict=True) if shows)
            for finding, rows in self.leads.items()
            if self.holds[finding][i]
        }


@dataclass(frozen=True)
class _Beat:
    """The usual beat of each record: lengths of QRS and QT in seconds, QRS alone (`pure`) and all of it (`whole`), mV
    [records, 12, samples] at `_TIMES`. unscarred: QRS without what scars take, of the rows `scarred_blocks` alone."""

    qrs: np.ndarray
    qt: np.ndarray
    pure: np.ndarray
    whole: np.ndarray
    scarred_blocks: np.ndarray
    unscarred: np.ndarray

    @cached_property
    def r(self) -> np.ndarray:
        """[records, 12] mV: the highest of QRS."""
        return self.pure.max(axis=2)

    @cached_property
    def s(self) -> np.ndarray:
        """[records, 12] mV: the lowest of QRS, negative."""
        return self.pure.min(axis=2)

    @cached_property
    def axis(self) -> np.ndarray:
        """[records] degrees."""
        net = self.r + self.s
        return np.rad2deg(np.arctan2(2 / np.sqrt(3) * net[:, 5], net[:, 0]))


def _lead(*names: str) -> list[int]:
    return [LEADS.index(name) for name in names]


def _in_two(shows: np.ndarray) -> np.ndarray:
    """Only leads of which a neighbour shows it, too."""
    return shows & ((shows.astype(np.float32) @ _NEIGHBOURS) > 0)


def measured_labels(
    plan: Plan, rhythm: Rhythm, beat: Waves, slots: int, qrs: np.ndarray, qt: np.ndarray, p: Waves,
    p_length: np.ndarray, electrodes: np.ndarray, duration: float, limits: Limits,
) -> Labels:  # fmt: skip
    """The labels of a batch.

    beat: QRS (its first `slots` Gaussians) and repolarization of the normal beat. qrs, qt, p_length: seconds.
    electrodes: as from `chest_electrodes`. duration: of the record, seconds. limits: of whoever reads each record.
    """
    n = len(qrs)
    depolarization = Waves(
        beat.centers[:, :slots], beat.widths[:, :slots], beat.frontal[:, :slots], beat.chest[:, :slots]
    )
    scarred = np.flatnonzero((plan.conduction == "lbbb") & np.any([each != "none" for each in plan.scars], axis=0))
    whole_wall = depolarization[scarred]
    whole_wall.frontal[:, SCAR], whole_wall.chest[:, SCAR] = 0, 0
    usual = _Beat(
        qrs, qt, *(template(waves, electrodes, _TIMES) for waves in (depolarization, beat)), scarred,
        template(whole_wall, electrodes[scarred], _TIMES),
    )  # fmt: skip
    axis = usual.axis
    measurements, holds = _rhythm_labels(plan, rhythm, duration, limits)
    rate = measurements["heart_rate"]
    holds |= {
        LEFT_AXIS: (axis < limits["left axis"]) & (axis >= -90),
        RIGHT_AXIS: (axis > limits["right axis"]) & (axis <= 180),
        "right superior axis": axis < -90,
    }
    measurements |= {"qrs": qrs * 1000, "qt": qt * 1000, "qtc": qt * 1000 * np.sqrt(rate / 60), "axis": axis}
    holds |= _conduction_labels(plan, usual, limits)
    holds |= _voltage_labels(plan, usual, limits)
    holds |= _atrial_labels(plan, rhythm, p, p_length, electrodes, limits)
    local = _repolarization_labels(plan, usual, limits)
    leads = {finding: rows for finding, rows in local.items() if rows.ndim == 2}
    holds |= {finding: rows.any(axis=1) if rows.ndim == 2 else rows for finding, rows in local.items()}
    # Both corrections must agree: Bazett's alone calls every fast heart's QT long (AHA/ACCF/HRS 2009 part IV).
    limit = np.where(plan.female, 460, 450) + limits["qtc"] + np.maximum(qrs * 1000 - 110, 0)
    fridericia = qt * 1000 * np.cbrt(rate / 60)
    holds["prolonged qt interval"] = (fridericia >= limit) & (measurements["qtc"] >= limit)
    holds["left ventricular strain"] = (
        (plan.voltage == "left strain")
        & holds["left ventricular hypertrophy"]
        & leads["t wave inversion"][:, _lead("V5", "V6")].any(axis=1)
    )
    abnormal = np.zeros(n, dtype=bool)
    for finding, rows in holds.items():
        if finding != SINUS:
            abnormal |= rows
    holds[NORMAL] = holds[SINUS] & ~abnormal
    order = [*FINDINGS, *(name for name in holds if name not in FINDINGS)]
    return Labels(measurements, {name: holds[name] for name in order if name in holds}, leads)


def _rhythm_labels(plan: Plan, rhythm: Rhythm, duration: float, limits: Limits) -> tuple[dict, dict]:
    kind, rate = plan.rhythm, rhythm.rate
    beats, waves = seen(rhythm.qrs, duration), seen(rhythm.p, duration)
    pvc = (beats & (rhythm.kind == VENTRICULAR)).sum(axis=1)
    pac = (beats & (rhythm.kind == ATRIAL)).sum(axis=1)
    sinus = kind == "sinus"
    intervals = np.diff(rhythm.qrs, axis=1)
    shown = beats[:, 1:] & beats[:, :-1]
    longest = np.where(shown, intervals, -np.inf).max(axis=1)
    # How the sinus node sways is told from intervals that no premature beat shortens or lengthens.
    early = rhythm.kind != USUAL
    undisturbed = shown & ~early[:, 1:] & ~early[:, :-1]
    sway = np.where(undisturbed, intervals, -np.inf).max(axis=1) - np.where(undisturbed, intervals, np.inf).min(axis=1)
    # A dropped beat: two P waves, and no QRS between them. One such pause must be seen from end to end.
    dropped = (waves.sum(axis=1) > beats.sum(axis=1)) & (longest > 0)
    slow = rate < limits["slow"]
    measurements = {"heart_rate": rate}
    constant = np.where(np.isin(kind, ("sinus", "atrial pacing", "mobitz 2", "2:1 block")), 1.0, np.nan)
    conducted = np.where(beats & (rhythm.kind == 0), rhythm.pr, np.nan)
    paced = kind == "ventricular pacing"
    tracked = paced[:, None] & np.isnan(rhythm.pr)
    # P waves faster than the beats of the pacemaker, and none of them is followed: nothing passes to the ventricles.
    with np.errstate(all="ignore"):
        last, first = np.where(waves, rhythm.p, -np.inf).max(axis=1), np.where(waves, rhythm.p, np.inf).min(axis=1)
        cycle = (last - first) / (waves.sum(axis=1) - 1)
    period = np.divide(60.0, rate, out=np.full(len(rate), np.inf), where=rate > 0)  # s, of a beat
    unheard = paced & np.isnan(rhythm.pr).all(axis=1) & (waves.sum(axis=1) >= 3) & (cycle < period)
    with np.errstate(all="ignore"):
        measurements["pr"] = constant * 1000 * _first(np.where(tracked, np.nan, conducted))
    holds = {
        SINUS: sinus,
        BRADYCARDIA: sinus & slow,
        TACHYCARDIA: sinus & (rate > limits["fast"]),
        "sinus arrhythmia": sinus & (sway > limits["sinus arrhythmia"]) & (sway > 0.15 * period),
        "bradycardia": ~sinus & slow & ~np.isin(kind, ("ventricular pacing", "atrial pacing")),
        FIBRILLATION: plan.fibrillating,
        "atrial flutter": kind == "flutter",
        "supraventricular tachycardia": kind == "supraventricular tachycardia",
        "junctional rhythm": (kind == "junctional") & (rate <= limits["slow"]),
        "accelerated junctional rhythm": (kind == "junctional") & (rate > limits["slow"]),
        "ventricular tachycardia": kind == "ventricular tachycardia",
        "atrial pacing": rhythm.paced_p,
        "ventricular pacing": paced,
        FIRST_DEGREE: np.isin(kind, ("sinus", "atrial pacing")) & (measurements["pr"] > limits["pr"]),
        "second degree av block": (kind == "2:1 block") & dropped,
        "mobitz type i av block": (kind == "mobitz 1") & dropped,
        "mobitz type ii av block": (kind == "mobitz 2") & dropped,
        "third degree av block": (kind == "third degree block") | unheard,
        PVC: pvc > 0,
        PAC: pac > 0,
        "ventricular bigeminy": plan.bigeminy & (pvc >= 3),
        "atrial bigeminy": plan.bigeminy & (pac >= 3),
    }
    return measurements, holds


def _first(values: np.ndarray) -> np.ndarray:
    """The first number of each row, NaN where there is none."""
    known = ~np.isnan(values)
    return np.where(known.any(axis=1), values[np.arange(len(values)), known.argmax(axis=1)], np.nan)


def _conduction_labels(plan: Plan, beat: _Beat, limits: Limits) -> dict[str, np.ndarray]:
    qrs, axis = beat.qrs, beat.axis
    late = _late_in_v1(beat)
    own = ~np.isin(plan.rhythm, ("ventricular tachycardia", "ventricular pacing"))  # through the bundles
    kind = np.where(own, plan.conduction, "none")
    anterior = own & (plan.fascicle == "anterior") & (kind != "lbbb")
    posterior = own & (plan.fascicle == "posterior") & (kind != "lbbb")
    complete = limits["qrs"] / 1000
    right = (kind == "rbbb") | (kind == "irbbb") & (late > limits["r prime"])
    inferior = (-beat.s > beat.r)[:, _lead("II", "III", "aVF")]  # rS
    return {
        "wolff-parkinson-white pattern": kind == "preexcitation",
        "short pr interval": kind == "preexcitation",
        RBBB: right & (qrs >= complete),
        LBBB: (kind == "lbbb") & (qrs >= complete),
        "incomplete right bundle branch block": right & (qrs < complete),
        "left anterior fascicular block": anterior
        & (axis <= limits["anterior fascicle axis"])
        & (axis >= -90)
        & inferior.all(axis=1),
        "left posterior fascicular block": posterior & (axis > limits["right axis"]),
        # What is not wide enough for a left bundle branch block is not normal either.
        "nonspecific intraventricular conduction disturbance": (kind == "delay") & (1000 * qrs > limits["delayed qrs"])
        | (kind == "lbbb") & (qrs < complete),
    }


def _late_in_v1(beat: _Beat) -> np.ndarray:
    """[records] mV: R' in V1."""
    phase = _TIMES / beat.qrs[:, None]
    return np.where((phase > 0.5) & (phase < 1), beat.pure[:, LEADS.index("V1")], -np.inf).max(axis=1)


def _voltage_labels(plan: Plan, beat: _Beat, limits: Limits) -> dict[str, np.ndarray]:
    r, s = beat.r, beat.s
    through = ~plan.wide & (plan.conduction != "rbbb")  # both ventricles in their usual order
    narrow = through & (plan.conduction != "delay")
    v1, v2, v3, v5, v6 = (LEADS.index(name) for name in ("V1", "V2", "V3", "V5", "V6"))
    sokolow = -s[:, v1] + np.maximum(r[:, v5], r[:, v6])
    cornell = r[:, LEADS.index("aVL")] - s[:, v3]
    # Sokolow and Lyon 1949, Casale 1985
    over = (sokolow > limits["sokolow"]) | (cornell > limits["cornell"] * np.where(plan.female, 2.0, 2.8))
    # Klein 1984: S V2 + R V6 over 4.5 mV where a left bundle branch block makes every S V1 deep.
    blocked = (plan.conduction == "lbbb") & ~np.isin(plan.rhythm, ("ventricular tachycardia", "ventricular pacing"))
    blocked &= r[:, v6] - s[:, v2] > 4.5 / 3.5 * limits["sokolow"]
    # R in V1; beside a block of the right bundle R' of 1.5 mV (Barker and Valencia 1949), which is 2.5 times as much.
    high = np.where(plan.conduction == "rbbb", _late_in_v1(beat) / 2.5, r[:, v1])
    right = (
        (plan.voltage == "right hypertrophy")
        & ~plan.wide
        & (high > limits["right r"])
        & (r[:, v1] > -s[:, v1])
        & (beat.axis > limits["right axis"])
    )
    return {
        "low qrs voltage": (r - s)[:, :6].max(axis=1) < limits["low voltage"],
        "left ventricular hypertrophy": through & over & ~right | blocked,
        "right ventricular hypertrophy": right,
        "poor r wave progression": narrow & ~right & (np.maximum(r[:, v2], r[:, v3]) < limits["poor r"]),
    }


def _atrial_labels(
    plan: Plan, rhythm: Rhythm, p: Waves, length: np.ndarray, electrodes: np.ndarray, limits: Limits
) -> dict:
    times = np.arange(-0.02, 0.20, 0.004)
    wave = template(p, electrodes, times)
    two, one = wave[:, LEADS.index("II")], wave[:, LEADS.index("V1")]
    late = np.where(times > 0.4 * length[:, None], one, 0)
    force = (-np.minimum(late, 0)).sum(axis=1) * 0.004  # mV s
    there = np.isin(plan.rhythm, ("sinus", "mobitz 1", "mobitz 2", "2:1 block", "third degree block"))
    there |= (plan.rhythm == "ventricular pacing") & ~rhythm.paced_p & ~np.isnan(rhythm.p).all(axis=1)
    return {
        "left atrial enlargement": there & ((length >= limits["p length"]) | (force > limits["p force"])),
        "right atrial enlargement": there & (two.max(axis=1) > limits["p height"]),
    }


def _repolarization_labels(plan: Plan, beat: _Beat, limits: Limits) -> dict[str, np.ndarray]:
    """Findings of ST, T and Q, bool [records, 12] or [records]."""
    primary = ~plan.wide[:, None]  # nothing is said of ST and T that follow the QRS
    seen_in = np.tile(np.array(LEADS) != "aVR", (len(beat.qrs), 1))
    own = seen_in.copy()
    own[:, _lead("V1", "V2", "V3")] &= ~(plan.conduction == "rbbb")[:, None]  # there it is the block's
    segments = _st_labels(plan, beat, limits, seen_in & primary, own & primary)
    q = _q_labels(plan, beat, limits)
    return {
        **_infarction_labels(plan, segments["st elevation"], q),
        "abnormal q wave": q,
        **segments,
        **_t_labels(beat, limits, own, primary),
    }


def _st_labels(
    plan: Plan, beat: _Beat, limits: Limits, rising: np.ndarray, sinking: np.ndarray
) -> dict[str, np.ndarray]:
    """rising, sinking: bool [records, 12], where elevation and depression may be stated."""
    rows, leads, end = np.arange(len(beat.qrs))[:, None], np.arange(12), np.searchsorted(_TIMES, beat.qrs)[:, None]

    def level(after: float) -> np.ndarray:
        return beat.whole[rows, leads, end + round(after / 0.004)]

    # Both, as T begins early in a fast heart; what only climbs into T is no elevation.
    lift, sink = np.minimum(level(0.020), level(0.040)), level(0.060)
    j_point = np.maximum(level(0.008), level(0.016))
    limit = np.full(lift.shape, 0.1)
    limit[:, _lead("V2", "V3")] = np.where(plan.female, 0.15, np.where(plan.age < 40, 0.25, 0.2))[:, None]
    deeper = limits["st depression"][:, None]
    notched = _in_two(j_point >= limits["j point"][:, None]).any(axis=1)
    return {
        "st elevation": _in_two((lift >= limit * limits["st elevation"][:, None]) & rising),
        "st depression": _in_two((sink <= -0.05 * deeper) & (lift <= -0.03 * deeper) & sinking),
        "early repolarization": (plan.repolarization == "early") & notched,
    }


def _t_labels(beat: _Beat, limits: Limits, own: np.ndarray, primary: np.ndarray) -> dict[str, np.ndarray]:
    """own: bool [records, 12], leads of which T says something. primary: [records, 1], whether it does in any."""
    after = (_TIMES - beat.qrs[:, None] > 0.09) & (beat.qt[:, None] - _TIMES > -0.03)
    t = np.where(after[:, None], beat.whole, 0)
    high, deep = t.max(axis=2), t.min(axis=2)
    facing = own & (beat.r > -beat.s * 0.6)
    facing[:, _lead("V1", "III")] = False
    facing[:, _lead("V2", "V3")] = own[:, _lead("V2", "V3")]
    main = _lead("I", "II", "V4", "V5", "V6")
    low = (np.maximum(high, -deep)[:, main] < limits["t low"][:, None]).all(axis=1)
    return {
        "t wave inversion": _in_two((deep <= -limits["t inversion"][:, None]) & (-deep > high) & facing & primary),
        "low amplitude t wave": low & primary[:, 0] & ((beat.r - beat.s)[:, main].max(axis=1) > 0.5),
    }


def _q_labels(plan: Plan, beat: _Beat, limits: Limits) -> np.ndarray:
    """Q waves that are stated, bool [records, 12]."""
    shown = _q_waves(beat.pure, limits)
    q = _in_two(shown & ~plan.wide[:, None])
    q &= (np.any([each != "none" for each in plan.scars], axis=0) | (q.sum(axis=1) >= 2))[:, None]
    # A left bundle branch block has Q waves of its own (QS in V1 to V3).
    rows = beat.scarred_blocks
    own = _q_waves(beat.unscarred, {name: limit[rows] for name, limit in limits.items()})
    q[rows] = _in_two(shown[rows] & ~own)
    return q


def _q_waves(pure: np.ndarray, limits: Limits) -> np.ndarray:
    """Bool [records, 12] of QRS complexes: how long and deep each is negative before it first turns positive; all of
    it where it never does."""
    positive = (pure > _SMALLEST_MV) & (_TIMES > -0.004)
    ever = positive.any(axis=2)
    first = np.where(ever, positive.argmax(axis=2), len(_TIMES))
    before = np.arange(len(_TIMES)) < first[..., None]
    length, depth = (before & (pure < -0.02)).sum(axis=2) * 0.004, -np.where(before, pure, 0).min(axis=2)
    deep = (length >= limits["q length"][:, None]) & (depth >= 0.1)
    deep[:, _lead("V1", "aVR")] = False
    alone = ~ever & (depth >= 0.2)
    alone[:, _lead("aVR")] = False
    small = np.isin(LEADS, ("V2", "V3")) & (length >= 0.02) & (depth >= 0.08)
    return deep | alone | small


def _infarction_labels(plan: Plan, up: np.ndarray, q: np.ndarray) -> dict[str, np.ndarray]:
    """Infarctions whose territory shows ST elevation (acute) or Q waves (old) in two leads, bool [records, 12]."""
    holds: dict[str, np.ndarray] = {}
    acute, old = np.zeros(up.shape, dtype=bool), np.zeros(up.shape, dtype=bool)
    fresh = np.where(plan.repolarization == "acute infarction", plan.territory, "none")
    for territory in TERRITORIES:
        leads = np.isin(LEADS, TERRITORY_LEADS[territory])
        now, past = (
            shown & (np.any([each == territory for each in where], axis=0) & (shown.sum(axis=1) >= 2))[:, None]
            for where, shown in (((fresh,), up & leads), (plan.scars, q & leads))
        )
        acute |= now
        old |= past
        holds[f"{territory} myocardial infarction"] = now | past
    return holds | {
        "acute myocardial infarction": acute,
        "st elevation myocardial infarction": acute,
        "old myocardial infarction": old,
    }
