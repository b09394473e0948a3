"""What shall be the matter with a simulated heart: wishes or a random mix in, a `Plan` of a batch of records out.

A plan names causes (a rhythm, a kind of conduction, an infarction), not findings: those are read off the drawn waves
in `labels`, so that a finding is true of the signal. Decided here: how often each cause occurs in a mix, which
keep company, and how that grows with age.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .wave_model import Batch
from .wishes import INFARCT, PAC, PVC, RATES, TERRITORIES, USUAL, WIDE_RHYTHMS, allowed_causes

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


@dataclass
class Plan(Batch):
    """The causes of each record of a batch, [records] each: words, as in `USUAL`, booleans, years and bpm.

    fibrillating: the atria, whatever moves the ventricles. territory: where `repolarization` is at work. scar:
    territory of an old infarction that comes with anything else, a second infarction among them.
    """

    age: np.ndarray
    female: np.ndarray
    rate: np.ndarray
    rhythm: np.ndarray
    fibrillating: np.ndarray
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
    scar: np.ndarray
    long_qt: np.ndarray
    poor_r: np.ndarray

    @property
    def wide(self) -> np.ndarray:
        """[records]: whether the QRS begins in a ventricle or passes one bundle only, so that T follows it."""
        return np.isin(self.rhythm, WIDE_RHYTHMS) | np.isin(self.conduction, ("lbbb", "preexcitation", "escape"))

    @property
    def scars(self) -> tuple[np.ndarray, np.ndarray]:
        """[records] each: territories of old infarctions, "none" where there is none."""
        return np.where(self.repolarization == "old infarction", self.territory, "none"), self.scar


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
    allowed = allowed_causes(wanted)
    if heart_rate is not None and "rhythm" in allowed:
        allowed["rhythm"] = tuple(r for r in allowed["rhythm"] if RATES[r][0] <= heart_rate <= RATES[r][1])
    if PVC in wanted and PAC not in wanted:
        allowed["ectopy"] = ("ventricular",)
    elif PAC in wanted and PVC not in wanted:
        allowed["ectopy"] = ("atrial",)
    causes = {}
    for cause, usual in USUAL.items():
        values = np.array(allowed.get(cause, usual))
        causes[cause] = values[rng.integers(len(values), size=n)]
    acute = np.isin(causes["repolarization"], (*INFARCT, "inversion"))
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
    plain = rng.random(n) < np.clip(0.20 / risk**0.7, 0.05, 0.45)  # wholly normal ones, or there would be too few
    draw = rng.random((19, n))
    rhythm = _choose(rng, risk, _RHYTHM_MIX, "sinus").astype("<U28")
    conduction = _choose(rng, risk, _CONDUCTION_MIX, "normal").astype("<U16")
    repolarization = _choose(rng, risk, _REPOLARIZATION_MIX, "usual").astype("<U16")
    voltage = _choose(rng, risk, _VOLTAGE_MIX, "usual").astype("<U20")
    rhythm[plain], conduction[plain], repolarization[plain], voltage[plain] = "sinus", "normal", "usual", "usual"
    sinus = rhythm == "sinus"
    # A burdened right ventricle is where most of its blocks are.
    burdened = voltage == "right hypertrophy"
    conduction[burdened & (draw[14] < 0.5)] = "rbbb"
    conduction[burdened & (draw[14] > 0.8)] = "irbbb"
    conduction[np.isin(rhythm, WIDE_RHYTHMS) | (~sinus & (conduction == "preexcitation"))] = "normal"
    conduction[(rhythm == "third degree block") & (draw[0] < 0.5)] = "escape"
    begun_below = np.isin(rhythm, WIDE_RHYTHMS) | np.isin(conduction, ("preexcitation", "escape"))
    left_block, right_block = conduction == "lbbb", conduction == "rbbb"
    wide = begun_below | left_block
    repolarization[wide | (rhythm == "supraventricular tachycardia")] = "usual"
    voltage[left_block & (voltage == "left strain")] = "left hypertrophy"  # its T turns by the block
    voltage[begun_below & (voltage != "low") | (left_block & (voltage == "right hypertrophy"))] = "usual"
    voltage[right_block & (voltage == "left strain")] = "usual"
    repolarization[np.isin(voltage, ("left strain", "right hypertrophy"))] = "usual"
    burdened = voltage == "right hypertrophy"
    fascicle = _draw_fascicle(draw[1], conduction, risk, ~wide & ~plain & ~burdened)
    scar, territory = _draw_scars(rng, draw[5], draw[15], plain | begun_below, conduction, fascicle, repolarization)
    ectopic = ~plain & (sinus | np.isin(rhythm, ("fibrillation", "atrial pacing", "ventricular pacing")))
    ventricular, atrial = ectopic & (draw[2] < 0.15 * risk**0.35), ectopic & sinus & (draw[3] < 0.17 * risk**0.35)
    ectopy = np.select([ventricular & atrial, ventricular, atrial], ["both", "ventricular", "atrial"], "none")
    bigeminy = np.isin(ectopy, ("ventricular", "atrial")) & (draw[4] < 0.15)
    pace = np.select([plain | ~sinus, draw[6] < 0.25, draw[6] > 0.75], ["usual", "slow", "fast"], "usual")
    blocked = left_block | right_block | (fascicle != "none")
    # What turns the axis: blocks of the left side and an inferior scar to the left, others to the right.
    leftwards = np.select([left_block | (conduction == "preexcitation"), scar == "inferior"], [2.4, 1.6], 1.0)
    rightwards = np.select([np.isin(scar, ("lateral", "anterolateral")), right_block], [3.0, 1.6], 1.0)
    left = (draw[7] < 0.14 * leftwards * risk**0.5) | (fascicle == "anterior")
    right = (draw[7] > 1 - 0.045 * rightwards) | (fascicle == "posterior") | burdened
    axis = np.select([plain, right & (fascicle != "anterior"), left], ["usual", "right", "left"], "usual")
    left_atrium = ~plain & (draw[10] < 0.12 * risk**0.6)
    # Tall P waves keep company: with a right axis or ventricle, a fast heart, a large left atrium.
    tall = 0.025 * np.where(axis == "right", 5, 1) * np.where(pace == "fast", 2, 1) * np.where(left_atrium, 2, 1)
    return {
        "rhythm": rhythm,
        "fibrillating": (rhythm == "fibrillation")
        | (rhythm == "ventricular pacing") & (draw[16] < 0.25)
        | (rhythm == "third degree block") & (draw[16] < 0.2),
        "pace": pace,
        "arrhythmic": sinus
        & ~plain
        & ~bigeminy
        & (pace != "fast")
        & (draw[8] < np.where(ectopy == "none", 0.11, 0.20)),
        "pr": np.where(
            sinus
            & ~plain
            & (draw[9] < 0.11 * np.where(blocked, 2.4, 1) * risk**0.6)
            & (conduction != "preexcitation"),
            "long",
            "usual",
        ),
        "conduction": conduction,
        "fascicle": fascicle,
        "ectopy": ectopy,
        "bigeminy": bigeminy,
        "axis": axis,
        "voltage": voltage,
        "left_atrium": np.where(left_atrium, "large", "usual"),
        "right_atrium": np.where(~plain & (draw[11] < tall), "large", "usual"),
        "repolarization": repolarization,
        "territory": territory,
        "scar": scar,
        "long_qt": ~plain & (draw[12] < np.where(female, 0.085, 0.055)),
        "poor_r": ~plain & (conduction == "normal") & ~burdened & (draw[13] < 0.055),
    }


def _draw_fascicle(draw: np.ndarray, conduction: np.ndarray, risk: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Which fascicle of the left bundle is blocked, most often beside a block of the right one. free: [records], where
    one can be told."""
    free = free & np.isin(conduction, ("normal", "rbbb", "irbbb", "delay"))
    right = conduction == "rbbb"
    fascicle = np.where(free & (draw < np.where(right, 0.28, 0.07) * risk**0.6), "anterior", "none").astype("<U12")
    fascicle[free & (fascicle == "none") & (draw > np.where(right, 0.88, 0.987))] = "posterior"
    return fascicle


def _draw_scars(
    rng: np.random.Generator, draw: np.ndarray, second: np.ndarray, none: np.ndarray, conduction: np.ndarray,
    fascicle: np.ndarray, repolarization: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(Territories of what is old beside everything else, territories of what the repolarization shows), [records].

    draw, second: uniform, [records]. none: [records], hearts without any, or in which none could be told.
    """
    n = len(draw)
    territory = np.where(
        np.isin(repolarization, (*INFARCT, "inversion")) | ((repolarization == "depression") & (draw < 0.4)),
        _walls(rng, n), "none",
    ).astype("<U16")  # fmt: skip
    share = np.where((conduction != "normal") | (fascicle != "none"), 0.13, 0.045)
    ischaemic = np.isin(repolarization, ("depression", "inversion", "flat t", "acute infarction"))
    share = np.select([repolarization == "old infarction", ischaemic], [0.33, 0.2], share)
    # What is called an infarction under the present one's ST would be the same infarction.
    scar = np.where(~none & (second < share), _walls(rng, n), "none").astype("<U16")
    same = (scar == territory) & np.isin(repolarization, INFARCT)
    return np.where(same, "none", scar), territory


def _walls(rng: np.random.Generator, n: int) -> np.ndarray:
    """Territories, the septum and the lower wall the most often, as in PTB-XL."""
    return rng.choice(TERRITORIES, n, p=[0.30, 0.14, 0.10, 0.09, 0.25, 0.12])


def _draw_rate(rng: np.random.Generator, rhythm: np.ndarray, pace: np.ndarray) -> np.ndarray:
    """[records] bpm of the ventricles."""
    n = len(rhythm)

    def u(low: float, high: float) -> np.ndarray:
        return rng.uniform(low, high, n)

    sinus = np.where(pace == "slow", u(36, 59.5), np.where(pace == "fast", u(100.5, 158), 0))
    sinus = np.where(pace == "usual", 60.5 + 39 * rng.beta(1.2, 2.6, n), sinus)  # no heap at the limits
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
