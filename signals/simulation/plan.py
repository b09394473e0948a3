"""What shall be the matter with a simulated heart: wishes or a random mix in, a `Plan` of a batch of records out.

A plan names causes (a rhythm, a kind of conduction, an infarction), not findings: those are read off the drawn waves
in `labels`, so that a finding is true of the signal. Decided here: which findings can be asked for and what
each asks of the plan, how often each cause occurs in a mix, and how that grows with age.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ...errors_ecgllm import ECGError
from ...findings.vocabulary import NOISES
from .wave_model import Batch

NORMAL, SINUS, BRADYCARDIA, TACHYCARDIA = "normal ecg", "sinus rhythm", "sinus bradycardia", "sinus tachycardia"
FIBRILLATION, FIRST_DEGREE = "atrial fibrillation", "first degree av block"
RBBB, LBBB = "complete right bundle branch block", "complete left bundle branch block"
PVC, PAC = "premature ventricular complexes", "premature atrial complexes"
LEFT_AXIS, RIGHT_AXIS = "left axis deviation", "right axis deviation"
TERRITORIES = ("anteroseptal", "anterior", "anterolateral", "lateral", "inferior", "inferolateral")

# The unremarkable value of every cause; a wish allows others.
_USUAL: dict[str, tuple] = {
    "rhythm": ("sinus",),
    "pace": ("usual",),
    "arrhythmic": (False,),
    "pr": ("usual",),
    "conduction": ("normal",),
    "fascicle": ("none",),
    "ectopy": ("none",),
    "bigeminy": (False,),
    "axis": ("usual",),
    "voltage": ("usual",),
    "left_atrium": ("usual",),
    "right_atrium": ("usual",),
    "repolarization": ("usual",),
    "territory": ("none",),
    "long_qt": (False,),
    "poor_r": (False,),
}
_SINUS_LIKE = ("sinus", "mobitz 1", "mobitz 2", "2:1 block")
_INFARCT = ("acute infarction", "old infarction")

#: Every finding that can be asked for -> the causes of which one must be there. In the order of reports.
_WISHES: dict[str, dict[str, tuple]] = {
    NORMAL: dict(_USUAL),
    SINUS: {"rhythm": ("sinus",)},
    BRADYCARDIA: {"rhythm": ("sinus",), "pace": ("slow",)},
    TACHYCARDIA: {"rhythm": ("sinus",), "pace": ("fast",)},
    "sinus arrhythmia": {"rhythm": ("sinus",), "arrhythmic": (True,), "ectopy": ("none",), "pace": ("usual", "slow")},
    FIBRILLATION: {"rhythm": ("fibrillation",)},
    "atrial flutter": {"rhythm": ("flutter",)},
    "supraventricular tachycardia": {"rhythm": ("supraventricular tachycardia",)},
    "junctional rhythm": {"rhythm": ("junctional",)},
    "ventricular tachycardia": {"rhythm": ("ventricular tachycardia",)},
    "atrial pacing": {"rhythm": ("atrial pacing", "ventricular pacing")},  # alone, or of both chambers
    "ventricular pacing": {"rhythm": ("ventricular pacing",)},
    FIRST_DEGREE: {"rhythm": ("sinus",), "pr": ("long",)},
    "second degree av block": {"rhythm": ("2:1 block", "mobitz 1", "mobitz 2")},
    "mobitz type i av block": {"rhythm": ("mobitz 1",)},
    "mobitz type ii av block": {"rhythm": ("mobitz 2",)},
    "third degree av block": {"rhythm": ("third degree block", "ventricular pacing")},  # with its own beats, or paced
    "wolff-parkinson-white pattern": {"rhythm": ("sinus",), "pr": ("usual",), "conduction": ("preexcitation",)},
    RBBB: {"conduction": ("rbbb",)},
    LBBB: {"conduction": ("lbbb",)},
    "incomplete right bundle branch block": {"conduction": ("irbbb",)},
    "left anterior fascicular block": {"conduction": ("normal", "rbbb"), "fascicle": ("anterior",), "axis": ("left",)},
    "left posterior fascicular block": {
        "conduction": ("normal", "rbbb"), "fascicle": ("posterior",), "axis": ("right",),
    },
    "nonspecific intraventricular conduction disturbance": {"conduction": ("delay",)},
    PVC: {"ectopy": ("ventricular", "both")},
    PAC: {"rhythm": ("sinus",), "ectopy": ("atrial", "both")},
    "ventricular bigeminy": {"ectopy": ("ventricular",), "bigeminy": (True,)},
    "atrial bigeminy": {"rhythm": ("sinus",), "ectopy": ("atrial",), "bigeminy": (True,)},
    LEFT_AXIS: {"axis": ("left",)},
    RIGHT_AXIS: {"axis": ("right",)},
    "low qrs voltage": {"voltage": ("low",)},
    "left ventricular hypertrophy": {
        "voltage": ("left hypertrophy", "left strain"), "conduction": ("normal", "irbbb"),
    },
    "left ventricular strain": {"voltage": ("left strain",), "conduction": ("normal", "irbbb")},
    "right ventricular hypertrophy": {
        "voltage": ("right hypertrophy",), "axis": ("right",), "conduction": ("normal",),
    },
    "left atrial enlargement": {"rhythm": _SINUS_LIKE, "left_atrium": ("large",)},
    "right atrial enlargement": {"rhythm": _SINUS_LIKE, "right_atrium": ("large",)},
    "acute myocardial infarction": {"repolarization": ("acute infarction",), "territory": TERRITORIES},
    "st elevation myocardial infarction": {"repolarization": ("acute infarction",), "territory": TERRITORIES},
    "old myocardial infarction": {"repolarization": ("old infarction",), "territory": TERRITORIES},
    **{
        f"{territory} myocardial infarction": {"repolarization": _INFARCT, "territory": (territory,)}
        for territory in TERRITORIES
    },
    "abnormal q wave": {"repolarization": ("old infarction",), "territory": TERRITORIES},
    "poor r wave progression": {"poor_r": (True,), "conduction": ("normal",)},
    "st elevation": {"repolarization": ("elevation", "acute infarction"), "territory": ("none", *TERRITORIES)},
    "st depression": {"repolarization": ("depression",), "territory": ("none", *TERRITORIES)},
    "t wave inversion": {"repolarization": ("inversion",), "territory": TERRITORIES},
    "low amplitude t wave": {"repolarization": ("flat t",)},
    "early repolarization": {"repolarization": ("early",)},
    "prolonged qt interval": {"long_qt": (True,)},
    **{noise: {} for noise in NOISES},
}  # fmt: skip

#: Every finding that can be asked for, in the order in which records list them.
FINDINGS = tuple(_WISHES)

_ST_T_AND_Q = ("st elevation", "st depression", "t wave inversion", "abnormal q wave", "low amplitude t wave")
_AXES = (LEFT_AXIS, RIGHT_AXIS, "right superior axis")
_ACUTE = ("acute myocardial infarction", "st elevation myocardial infarction")

# What may come with a finding that was asked for, because it belongs to it or follows from it.
_COMPANIONS: dict[str, tuple[str, ...]] = {
    "junctional rhythm": ("accelerated junctional rhythm", "bradycardia"),
    "ventricular tachycardia": _AXES,
    "ventricular pacing": (*_AXES, "atrial pacing", "third degree av block"),  # of two chambers, or of one
    "second degree av block": ("mobitz type i av block", "mobitz type ii av block", "bradycardia"),
    "mobitz type i av block": ("bradycardia",),
    "mobitz type ii av block": ("bradycardia",),
    "third degree av block": ("bradycardia",),
    "wolff-parkinson-white pattern": ("short pr interval",),
    "left anterior fascicular block": (LEFT_AXIS,),
    "left posterior fascicular block": (RIGHT_AXIS,),
    "ventricular bigeminy": (PVC,),
    "atrial bigeminy": (PAC,),
    "left ventricular hypertrophy": ("left ventricular strain", *_ST_T_AND_Q),
    "left ventricular strain": ("left ventricular hypertrophy", *_ST_T_AND_Q),
    "right ventricular hypertrophy": (RIGHT_AXIS, *_ST_T_AND_Q),
    "poor r wave progression": ("abnormal q wave",),
    "low qrs voltage": ("low amplitude t wave",),
    "early repolarization": ("st elevation",),
    "st depression": ("t wave inversion", "st elevation"),
    "t wave inversion": ("st depression",),
    "st elevation": (*_ACUTE, *_ST_T_AND_Q, *(f"{territory} myocardial infarction" for territory in TERRITORIES)),
    **dict.fromkeys(_ACUTE, ("poor r wave progression", *_ACUTE, *_ST_T_AND_Q)),
    "old myocardial infarction": ("poor r wave progression", *_ST_T_AND_Q),
    "abnormal q wave": ("old myocardial infarction", "poor r wave progression", *_ST_T_AND_Q),
    **{
        f"{territory} myocardial infarction": (
            "old myocardial infarction", "poor r wave progression", *_ACUTE, *_ST_T_AND_Q,
        )
        for territory in TERRITORIES
    },
}  # fmt: skip
_STAGED = ("acute myocardial infarction", "st elevation myocardial infarction", "old myocardial infarction")

# bpm: what a rhythm can do. (lowest, highest) for a wished heart rate.
_RATES = {
    "fibrillation": (30, 180), "flutter": (55, 175), "supraventricular tachycardia": (135, 180),
    "junctional": (30, 100), "ventricular tachycardia": (120, 180), "ventricular pacing": (50, 120),
    "atrial pacing": (50, 120), "mobitz 1": (35, 85), "mobitz 2": (30, 75), "2:1 block": (30, 60),
    "third degree block": (30, 55), "sinus": (30, 180),
}  # fmt: skip

# The mix: cause -> (share at 60 years, by which power of the risk it grows with age).
_RHYTHM_MIX = {
    "fibrillation": (0.145, 1.0), "flutter": (0.04, 0.8), "supraventricular tachycardia": (0.028, 0.0),
    "junctional": (0.02, 0.5), "ventricular tachycardia": (0.02, 0.4), "ventricular pacing": (0.06, 1.0),
    "atrial pacing": (0.015, 1.0), "mobitz 1": (0.012, 0.5), "mobitz 2": (0.010, 1.0), "2:1 block": (0.006, 1.0),
    "third degree block": (0.02, 1.0),
}  # fmt: skip
_CONDUCTION_MIX = {
    "rbbb": (0.095, 0.8), "irbbb": (0.09, 0.0), "lbbb": (0.085, 0.9), "delay": (0.05, 0.7),
    "preexcitation": (0.025, -0.5),
}  # fmt: skip
_REPOLARIZATION_MIX = {
    "acute infarction": (0.06, 0.6), "old infarction": (0.075, 0.8), "depression": (0.06, 0.7),
    "inversion": (0.07, 0.5), "flat t": (0.04, 0.5), "elevation": (0.02, 0.0), "early": (0.035, -0.9),
}  # fmt: skip
_VOLTAGE_MIX = {
    "low": (0.055, 0.5), "left hypertrophy": (0.07, 0.5), "left strain": (0.065, 0.7),
    "right hypertrophy": (0.03, 0.3),
}  # fmt: skip
_WIDE_RHYTHMS = ("ventricular tachycardia", "ventricular pacing")


@dataclass
class Plan(Batch):
    """The causes of each record of a batch, [records] each: words, as in `_USUAL`, booleans, years and bpm."""

    age: np.ndarray
    female: np.ndarray
    rate: np.ndarray
    rhythm: np.ndarray
    arrhythmic: np.ndarray
    pr: np.ndarray
    conduction: np.ndarray
    fascicle: np.ndarray
    ectopy: np.ndarray
    bigeminy: np.ndarray
    axis: np.ndarray
    voltage: np.ndarray
    left_atrium: np.ndarray
    right_atrium: np.ndarray
    repolarization: np.ndarray
    territory: np.ndarray
    long_qt: np.ndarray
    poor_r: np.ndarray

    @property
    def wide(self) -> np.ndarray:
        """[records]: whether the QRS begins in a ventricle or passes one bundle only, so that T follows it."""
        return np.isin(self.rhythm, _WIDE_RHYTHMS) | np.isin(self.conduction, ("lbbb", "preexcitation", "escape"))


def checked_findings(findings: Iterable[str], heart_rate: float | None) -> frozenset[str]:
    """The findings as a set. Raises: ValueError where they are unknown or exclude each other or the heart rate."""
    if isinstance(findings, str):
        raise ECGError(f"findings is the string {findings!r}; expected a sequence such as ({findings!r},).")
    wanted = frozenset(findings)
    unknown = sorted(wanted - set(FINDINGS))
    if unknown:
        raise ECGError(f"cannot simulate {', '.join(unknown)}; known findings: {', '.join(FINDINGS)}.")
    allowed, asked_by = {}, {}
    for finding in (name for name in FINDINGS if name in wanted):
        for cause, values in _WISHES[finding].items():
            both = tuple(value for value in allowed.get(cause, values) if value in values)
            if not both:
                raise ECGError(
                    f"findings {asked_by[cause]!r} and {finding!r} exclude each other ({cause}); leave one out."
                )
            allowed[cause], asked_by[cause] = both, finding
    if heart_rate is not None:
        _check_rate(wanted, allowed, heart_rate)
    return wanted


def _check_rate(wanted: frozenset[str], allowed: dict[str, tuple], heart_rate: float) -> None:
    paces = {BRADYCARDIA: heart_rate < 60, TACHYCARDIA: heart_rate > 100, NORMAL: 60 <= heart_rate <= 100}
    for finding, fits in paces.items():
        if finding in wanted and not fits:
            raise ECGError(f"heart_rate {heart_rate:g} excludes {finding!r}; leave one of them out.")
    rhythms = allowed.get("rhythm", ("sinus",))
    if not any(_RATES[rhythm][0] <= heart_rate <= _RATES[rhythm][1] for rhythm in rhythms):
        low, high = min(_RATES[r][0] for r in rhythms), max(_RATES[r][1] for r in rhythms)
        raise ECGError(
            f"heart_rate {heart_rate:g} excludes {' or '.join(rhythms)!r}, made at {low} to {high} beats per minute; "
            "leave one of them out."
        )
    if FIRST_DEGREE in wanted and heart_rate > 120:
        raise ECGError(f"heart_rate {heart_rate:g} leaves no room for {FIRST_DEGREE!r}; expected at most 120.")


def may_show(wanted: frozenset[str], heart_rate: float | None) -> frozenset[str]:
    """What a record that was asked for by `wanted` may show: that, what belongs to it, and what the rate brings."""
    shown = {SINUS, NORMAL, *wanted}
    for finding in wanted:
        shown.update(_COMPANIONS.get(finding, ()))
    if wanted & {*_STAGED, "abnormal q wave"}:
        shown.update(f"{territory} myocardial infarction" for territory in TERRITORIES)
    if heart_rate is not None:
        shown.update((BRADYCARDIA, TACHYCARDIA, "bradycardia"))
    return frozenset(shown)


def draw_plan(rng: np.random.Generator, n: int, wanted: frozenset[str] | None, heart_rate: float | None) -> Plan:
    """Either every record as wanted, or a mix in which each finding is frequent enough to be learned."""
    age = np.clip(np.where(rng.random(n) < 0.75, rng.normal(63, 15, n), rng.uniform(18, 60, n)), 18, 95).round()
    female = rng.random(n) < 0.48
    causes = _mixed(rng, age, female) if wanted is None else _wished(rng, n, wanted, heart_rate)
    pace = causes.pop("pace")
    rate = np.full(n, float(heart_rate)) if heart_rate is not None else _draw_rate(rng, causes["rhythm"], pace)
    causes["axis"] = _draw_axis(rng, causes, age)
    if heart_rate is None:
        long = (causes["pr"] == "long") & (rate > 118)
        rate = np.where(long, rng.uniform(102, 118, n), rate)
    return Plan(age=age, female=female, rate=rate, **causes)


def _wished(
    rng: np.random.Generator, n: int, wanted: frozenset[str], heart_rate: float | None
) -> dict[str, np.ndarray]:
    allowed: dict[str, tuple] = {}
    for finding in (name for name in FINDINGS if name in wanted):
        for cause, values in _WISHES[finding].items():
            allowed[cause] = tuple(value for value in allowed.get(cause, values) if value in values)
    if heart_rate is not None and "rhythm" in allowed:
        allowed["rhythm"] = tuple(r for r in allowed["rhythm"] if _RATES[r][0] <= heart_rate <= _RATES[r][1])
    if PVC in wanted and PAC not in wanted:
        allowed["ectopy"] = ("ventricular",)
    elif PAC in wanted and PVC not in wanted:
        allowed["ectopy"] = ("atrial",)
    causes = {}
    for cause, usual in _USUAL.items():
        values = np.array(allowed.get(cause, usual))
        causes[cause] = values[rng.integers(len(values), size=n)]
    acute = np.isin(causes["repolarization"], (*_INFARCT, "inversion"))
    lost = acute & (causes["territory"] == "none")
    causes["territory"] = np.where(lost, rng.choice(TERRITORIES, n), causes["territory"]).astype("<U16")
    return causes


def _choose(rng: np.random.Generator, risk: np.ndarray, mix: dict[str, tuple[float, float]], usual: str) -> np.ndarray:
    """One value of the mix for each record, or the usual one."""
    shares = np.stack([share * risk**power for share, power in mix.values()], axis=1)
    shares /= np.maximum(shares.sum(axis=1, keepdims=True) / 0.9, 1.0)
    place = (rng.random((len(risk), 1)) > np.cumsum(shares, axis=1)).sum(axis=1)
    return np.array([*mix, usual])[place]


def _mixed(rng: np.random.Generator, age: np.ndarray, female: np.ndarray) -> dict[str, np.ndarray]:
    n = len(age)
    risk = np.clip(np.exp((age - 60) / 24), 0.2, 3.0)
    plain = rng.random(n) < np.clip(0.17 / risk**0.7, 0.04, 0.4)  # wholly normal ones, or there would be too few
    draw = rng.random((14, n))
    rhythm = _choose(rng, risk, _RHYTHM_MIX, "sinus").astype("<U28")
    conduction = _choose(rng, risk, _CONDUCTION_MIX, "normal").astype("<U16")
    repolarization = _choose(rng, risk, _REPOLARIZATION_MIX, "usual").astype("<U16")
    voltage = _choose(rng, risk, _VOLTAGE_MIX, "usual").astype("<U20")
    rhythm[plain], conduction[plain], repolarization[plain], voltage[plain] = "sinus", "normal", "usual", "usual"
    sinus = rhythm == "sinus"
    conduction[np.isin(rhythm, _WIDE_RHYTHMS) | (~sinus & (conduction == "preexcitation"))] = "normal"
    conduction[(rhythm == "third degree block") & (draw[0] < 0.5)] = "escape"
    wide = np.isin(rhythm, _WIDE_RHYTHMS) | np.isin(conduction, ("lbbb", "preexcitation", "escape"))
    repolarization[wide | (rhythm == "supraventricular tachycardia")] = "usual"
    voltage[wide & (voltage != "low")] = "usual"
    voltage[(conduction == "rbbb") & np.isin(voltage, ("left strain", "right hypertrophy"))] = "usual"
    repolarization[np.isin(voltage, ("left strain", "right hypertrophy"))] = "usual"
    # A quarter of the bundle branch blocks of the right side come with a fascicle of the left one.
    narrow = np.isin(conduction, ("normal", "rbbb", "irbbb")) & ~wide & ~plain & (voltage != "right hypertrophy")
    fascicle = np.where(narrow & (draw[1] < 0.075 * risk**0.7), "anterior", "none").astype("<U12")
    fascicle[narrow & (fascicle == "none") & (draw[1] > 0.985)] = "posterior"
    ectopic = ~plain & (sinus | np.isin(rhythm, ("fibrillation", "atrial pacing", "ventricular pacing")))
    ventricular, atrial = ectopic & (draw[2] < 0.15 * risk**0.35), ectopic & sinus & (draw[3] < 0.17 * risk**0.35)
    ectopy = np.select([ventricular & atrial, ventricular, atrial], ["both", "ventricular", "atrial"], "none")
    bigeminy = np.isin(ectopy, ("ventricular", "atrial")) & (draw[4] < 0.15)
    territory = np.where(
        np.isin(repolarization, (*_INFARCT, "inversion")) | ((repolarization == "depression") & (draw[5] < 0.4)),
        rng.choice(TERRITORIES, n), "none",
    )  # fmt: skip
    pace = np.select([plain | ~sinus, draw[6] < 0.25, draw[6] > 0.75], ["usual", "slow", "fast"], "usual")
    left = (draw[7] < 0.15 * risk**0.5) | (fascicle == "anterior")
    right = (draw[7] > 0.95) | (fascicle == "posterior") | (voltage == "right hypertrophy")
    return {
        "rhythm": rhythm,
        "pace": pace,
        "arrhythmic": sinus & ~plain & (ectopy == "none") & (pace != "fast") & (draw[8] < 0.11),
        "pr": np.where(
            sinus & ~plain & (draw[9] < 0.13 * risk**0.6) & (conduction != "preexcitation"), "long", "usual"
        ),
        "conduction": conduction,
        "fascicle": fascicle,
        "ectopy": ectopy,
        "bigeminy": bigeminy,
        "axis": np.select([plain, right & (fascicle != "anterior"), left], ["usual", "right", "left"], "usual"),
        "voltage": voltage,
        "left_atrium": np.where(~plain & (draw[10] < 0.12 * risk**0.6), "large", "usual"),
        "right_atrium": np.where(~plain & (draw[11] < 0.045), "large", "usual"),
        "repolarization": repolarization,
        "territory": territory.astype("<U16"),
        "long_qt": ~plain & (draw[12] < np.where(female, 0.085, 0.055)),
        "poor_r": ~plain & (conduction == "normal") & (voltage != "right hypertrophy") & (draw[13] < 0.055),
    }


def _draw_rate(rng: np.random.Generator, rhythm: np.ndarray, pace: np.ndarray) -> np.ndarray:
    """[records] bpm of the ventricles."""
    n = len(rhythm)

    def u(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, n)

    sinus = np.where(pace == "slow", u(36, 59.5), np.where(pace == "fast", u(100.5, 158), 0))
    usual, instead = rng.normal(75, 11, n), u(60.5, 99.5)  # no heap at the limits
    sinus = np.where(pace == "usual", np.where((usual > 60.5) & (usual < 99.5), usual, instead), sinus)
    rates = {
        "fibrillation": np.clip(rng.lognormal(np.log(92), 0.30, n), 42, 175),
        "flutter": u(70, 165), "supraventricular tachycardia": u(145, 212), "junctional": u(36, 92),
        "ventricular tachycardia": u(125, 212), "ventricular pacing": u(55, 95), "atrial pacing": u(55, 95),
        "mobitz 1": u(42, 78), "mobitz 2": u(36, 70), "2:1 block": u(31, 48), "third degree block": u(26, 52),
    }  # fmt: skip
    return np.select([rhythm == name for name in rates], list(rates.values()), sinus)


def _draw_axis(rng: np.random.Generator, causes: dict[str, np.ndarray], age: np.ndarray) -> np.ndarray:
    """[records] degrees: leftwards with age, and as conduction and pacing turn it."""
    n = len(age)
    usual = np.clip(rng.normal(52 - 0.45 * (age - 25), 26, n), -27, 86)
    axis = np.select(
        [causes["axis"] == "left", causes["axis"] == "right"],
        [rng.uniform(-78, -33, n), rng.uniform(94, 160, n)],
        usual,
    )
    axis = np.where(causes["fascicle"] == "anterior", rng.uniform(-82, -47, n), axis)
    axis = np.where(causes["fascicle"] == "posterior", rng.uniform(95, 140, n), axis)
    lbbb = (causes["conduction"] == "lbbb") & (causes["axis"] == "usual")
    axis = np.where(lbbb, np.clip(axis - rng.uniform(0, 45, n), -29, 85), axis)
    other = rng.spawn(1)[0]
    paced = np.where(other.random(n) < 0.75, rng.uniform(-110, -40, n), other.uniform(-150, 80, n))
    axis = np.where(causes["rhythm"] == "ventricular pacing", paced, axis)
    anywhere = (causes["rhythm"] == "ventricular tachycardia") | (causes["conduction"] == "escape")
    return np.where(anywhere, rng.uniform(-180, 180, n), axis)
