"""Published criteria of findings: what is seen of a record in, how clearly each is met out.

`CRITERIA`: finding -> `Criterion`, in words, with its source, and as a margin (`margins`) of `Seen`. Frozen: limits
are those of the sources, and none was chosen on a record. Decided here: which published criterion stands for a finding
that is defined by several; that findings which are another name of the same sign (enlargement, overload and
hypertrophy of an atrium) have the same one; and that a group holds as clearly as the clearest of its findings. What no
criterion of waves tells (digitalis, noise, diagnoses of the patient) is not in the table, and not answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...findings.labels import GROUPS, VOCABULARY
from . import rhythm_criteria as rhythm
from . import shape_criteria as shape
from .margins import any_of
from .seen import Seen

ANY_ABNORMALITY, NORMAL = "any abnormality", "normal ecg"


@dataclass(frozen=True)
class Criterion:
    """margin: of what is seen. words: what is asked. source: who published it."""

    margin: Callable[[Seen], float]
    words: str
    source: str


_2006 = "ACC/AHA/HRS 2006 key data elements (Buxton)"
_III = "AHA/ACCF/HRS 2009 part III (Surawicz)"
_IV = "AHA/ACCF/HRS 2009 part IV (Rautaharju)"
_V = "AHA/ACCF/HRS 2009 part V (Hancock)"
_MI = "Fourth Universal Definition of Myocardial Infarction (Thygesen 2018)"
_MINNESOTA = "Minnesota Code (Prineas 2010)"
_DASH = "Dash 2009 for RR; that P is absent: any textbook"
_EARLY = "prematurity 1.15: Tsipouras 2005; wide QRS: part III"
_RHYTHM: dict[str, tuple] = {
    "sinus rhythm": (rhythm.sinus, "P tied to QRS, upright in II, 60-100 bpm, no spikes", _2006),
    "bradycardia": (rhythm.slow, "below 60 bpm", _2006),
    "tachycardia": (rhythm.fast, "over 100 bpm", _2006),
    "sinus bradycardia": (rhythm.sinus_bradycardia, "below 60 bpm, neither fibrillation nor spikes", _2006),
    "sinus tachycardia": (
        rhythm.sinus_tachycardia,
        "over 100 bpm and below 220 - age, neither fibrillation nor spikes",
        f"{_2006}; Fox 1971 for the highest rate",
    ),
    "sinus arrhythmia": (
        rhythm.sinus_arrhythmia,
        "P tied to QRS, longest and shortest RR over 120 ms apart, no premature beats",
        "Chou, Electrocardiography in Clinical Practice",
    ),
    "atrial fibrillation": (
        rhythm.fibrillation,
        "root mean square of successive differences of RR over 0.1 of their mean, no P tied to QRS",
        _DASH,
    ),
    "atrial flutter": (
        rhythm.flutter,
        "half of the power between QRS complexes near one of 240 to 340 waves a minute",
        "Saoudi 2001 for the rate; the share is our own",
    ),
    "supraventricular tachycardia": (
        rhythm.supraventricular_tachycardia,
        "over 100 bpm, QRS below 120 ms, regular, no P ahead of QRS",
        "ACC/AHA/HRS 2015 (Page)",
    ),
    "ventricular tachycardia": (
        rhythm.ventricular_tachycardia,
        "three beats in a row over 100 bpm with QRS over 120 ms",
        _2006,
    ),
    "junctional rhythm": (rhythm.junctional, "below 60 bpm, narrow, regular, no P ahead of QRS", _2006),
    "premature ventricular complexes": (
        rhythm.ventricular_beats,
        "a beat early by 1.15, QRS over 120 ms, unlike the others",
        _EARLY,
    ),
    "premature atrial complexes": (
        rhythm.atrial_beats,
        "a beat early by 1.15, QRS like the others, P tied to the others",
        _EARLY,
    ),
    "ventricular bigeminy": (
        rhythm.ventricular_bigeminy,
        "three premature ventricular beats, every other one",
        _EARLY,
    ),
    "paced rhythm": (rhythm.paced, "a spike for every other beat", "signals.analysis.pacing"),
    "ventricular pacing": (rhythm.ventricular_pacing, "spikes that QRS follows", "signals.analysis.pacing"),
    "first degree av block": (rhythm.long_pr, "PR over 200 ms", _2006),
    "prolonged pr interval": (rhythm.long_pr, "PR over 200 ms", _2006),
    "short pr interval": (rhythm.short_pr, "PR below 120 ms", _2006),
    "third degree av block": (rhythm.complete_av_block, "below 50 bpm, regular, no P tied to QRS", _2006),
    "av block": (rhythm.av_block, "PR over 200 ms, or third degree", _2006),
}
_CONDUCTION: dict[str, tuple] = {
    "complete right bundle branch block": (
        shape.complete_right,
        "QRS from 120 ms; R' in V1 or V2, or R over S in V1 that peaks after 50 ms; S of 40 ms in I or V6",
        _III,
    ),
    "incomplete right bundle branch block": (
        shape.incomplete_right,
        "the same shape, QRS below 120 ms",
        f"{_III}, without its lower limit of 110 ms, as {_MINNESOTA} 7-3",
    ),
    "right bundle branch block": (shape.right_block, "complete or incomplete", _III),
    "complete left bundle branch block": (
        shape.complete_left,
        "QRS from 120 ms, S over R in V1, no Q in I, V5 and V6, R of V5 and V6 that peaks after 60 ms",
        _III,
    ),
    "incomplete left bundle branch block": (shape.incomplete_left, "the same, QRS from 110 to 120 ms", _III),
    "left bundle branch block": (shape.left_block, "complete or incomplete", _III),
    "bundle branch block": (shape.bundle_branch_block, "right or left", _III),
    "nonspecific intraventricular conduction disturbance": (
        shape.nonspecific_delay,
        "QRS over 110 ms without the shape of either block",
        _III,
    ),
    "left anterior fascicular block": (
        shape.left_anterior,
        "axis from -45 to -90 degrees, rS in II, III and aVF",
        _III,
    ),
    "left posterior fascicular block": (
        shape.left_posterior,
        "axis from 90 to 180 degrees, rS in I and aVL, qR in III and aVF",
        _III,
    ),
    "fascicular block": (shape.fascicular_block, "anterior or posterior", _III),
    "ventricular preexcitation": (shape.preexcitation, "PR below 120 ms, QRS over 110 ms", "WHO/ISFC 1985 (Willems)"),
    "wolff-parkinson-white pattern": (
        shape.preexcitation,
        "PR below 120 ms, QRS over 110 ms",
        "WHO/ISFC 1985 (Willems)",
    ),
    "normal axis": (shape.axis_between(-30, 90), "-30 to 90 degrees", _III),
    "left axis deviation": (shape.axis_between(-90, -30), "-30 to -90 degrees", _III),
    "right axis deviation": (shape.axis_between(90, 180), "90 to 180 degrees", _III),
    "right superior axis": (shape.axis_between(-180, -90), "-90 to 180 degrees", _III),
    "leftward axis": (shape.axis_between(-90, 0), "left of 0 degrees", "Chou"),
    "horizontal axis": (shape.axis_between(0, 30), "0 to 30 degrees", "German Lagetypen (Cabrera)"),
    "vertical axis": (shape.axis_between(60, 90), "60 to 90 degrees", "German Lagetypen: Steiltyp"),
}
_VOLTAGE_WORDS = (
    "Sokolow-Lyon S V1 + R V5/6 3.5 mV, Cornell S V3 + R aVL 2.8 (women 2.0) mV, Cornell product 244 uV s, R aVL "
    "1.1 mV, or Peguero-Lo Presti 2.8 (2.3) mV"
)
_VOLTAGE = f"{_V}; Sokolow 1949, Casale 1985, Molloy 1992, Peguero 2017"
_LEFT_ATRIUM = ("P over 120 ms, or terminal force in V1 over 0.004 mV s", f"{_V}; Morris 1964")
_RIGHT_ATRIUM = ("P over 0.25 mV in II or 0.15 mV in V1", _V)
_SIZE: dict[str, tuple] = {
    **dict.fromkeys(
        ("left ventricular hypertrophy", "left ventricular high voltage", "high qrs voltage"),
        (shape.left_voltage, _VOLTAGE_WORDS, _VOLTAGE),
    ),
    **dict.fromkeys(
        ("left ventricular strain", "left ventricular overload"),
        (shape.left_strain, "voltage, with ST depression or T inversion in V5 or V6", _V),
    ),
    "right ventricular hypertrophy": (
        shape.right_hypertrophy,
        "highest R of V1, V2 + deepest S of I, V6 - S V1 over 0.7 mV",
        f"{_V}; Butler 1986",
    ),
    **{
        f"left atrial {what}": (shape.left_atrium, *_LEFT_ATRIUM)
        for what in ("abnormality", "enlargement", "hypertrophy", "overload")
    },
    **{
        f"right atrial {what}": (shape.right_atrium, *_RIGHT_ATRIUM)
        for what in ("abnormality", "enlargement", "hypertrophy", "overload")
    },
    "low qrs voltage": (shape.low_voltage, "QRS below 0.5 mV in all limb leads or 1 mV in all chest leads", _III),
    "poor r wave progression": (shape.poor_r, "R of V3 up to 0.3 mV", "DePace 1983"),
}
_Q_WORDS = "Q of 30 ms and 0.1 mV (V1-V3: 20 ms) in two contiguous leads"
_ST_WORDS = "J elevated in two contiguous leads by 0.1 mV (V2, V3: 0.2, men below 40 0.25, women 0.15)"
_ISCHEMIA_WORDS = "ST depressed by 0.05 mV or T inverted by 0.1 mV in two contiguous leads"
_REPOLARIZATION_WORDS = f"{_ISCHEMIA_WORDS}, or T below a tenth of R"
_WAVES: dict[str, tuple] = {
    "myocardial infarction": (shape.infarction(), f"{_Q_WORDS}, or {_ST_WORDS}", _MI),
    "old myocardial infarction": (shape.q_waves(), _Q_WORDS, _MI),
    "abnormal q wave": (shape.q_waves(), _Q_WORDS, _MI),
    **{
        name: (shape.st_elevation(), _ST_WORDS, _MI)
        for name in ("acute myocardial infarction", "st elevation myocardial infarction", "st elevation")
    },
    **{
        f"{wall} myocardial infarction": (shape.infarction(wall), f"the same in {', '.join(leads)}", _MI)
        for wall, leads in shape.WALLS.items()
    },
    "posterior myocardial infarction": (shape.posterior_infarction, "R over S in V1 or V2, upright T", _MI),
    "st depression": (shape.st_depression(), "ST depressed by 0.05 mV in two contiguous leads", _MI),
    "inferior st depression": (shape.st_depression("inferior"), "the same in II, III, aVF", _MI),
    "t wave inversion": (shape.t_inversion(), "T inverted by 0.1 mV in two contiguous leads", _MI),
    "low amplitude t wave": (shape.low_t, "T below a tenth of R in two of I, II, aVL, V4-V6", _IV),
    **{
        name: (shape.ischemia(), _ISCHEMIA_WORDS, _MI)
        for name in ("ischemia", "undefined ischemia or infarction", "abnormal st segment")
    },
    **{
        name.format(wall): (shape.ischemia(wall), f"the same in {', '.join(leads)}", _MI)
        for wall, leads in shape.WALLS.items()
        for name in ("{} ischemia", "undefined {} ischemia or infarction", "{} nonspecific repolarization abnormality")
    },
    **{
        name: (shape.repolarization(), _REPOLARIZATION_WORDS, f"{_IV}; {_MI}")
        for name in ("t wave abnormality", "nonspecific t wave abnormality", "nonspecific repolarization abnormality",
                     "nonspecific st-t abnormality", "nonspecific st change")
    },
    "st-t change": (shape.st_t_change, f"{_REPOLARIZATION_WORDS}, or ST elevation", f"{_IV}; {_MI}"),
    "early repolarization": (
        shape.early_repolarization,
        "J elevated by 0.1 mV in two contiguous inferior or lateral leads, QRS below 120 ms",
        "Macfarlane 2015",
    ),
    "prolonged qt interval": (shape.long_qt, "QTc (Bazett and Fridericia) from 450 ms, women 460 ms", _IV),
    "short qt interval": (shape.short_qt, "QTc (Bazett and Fridericia) up to 390 ms", _IV),
}  # fmt: skip

CRITERIA: dict[str, Criterion] = {
    name: Criterion(*row)
    for name, row in (_RHYTHM | _CONDUCTION | _SIZE | _WAVES).items()
    if name in VOCABULARY  # of the walls, those that the vocabulary knows for that finding
}
"""Finding -> its criterion."""

_ABNORMAL = tuple(name for name in CRITERIA if VOCABULARY[name].abnormal)


def margins_of(seen: Seen) -> dict[str, float]:
    """Finding or group -> margin; NaN where its waves cannot be measured, none for a finding without a criterion."""
    by_function = {margin: margin(seen) for margin in {criterion.margin for criterion in CRITERIA.values()}}
    found = {name: by_function[criterion.margin] for name, criterion in CRITERIA.items()}
    for group, category in GROUPS.items():
        members = [found[name] for name in _ABNORMAL if VOCABULARY[name].category == category]
        if members:
            found[group] = any_of(*members)
    found[ANY_ABNORMALITY] = any_of(*(found[name] for name in _ABNORMAL))
    found[NORMAL] = -found[ANY_ABNORMALITY]
    return {name: float(np.nan if margin is None else margin) for name, margin in found.items()}
