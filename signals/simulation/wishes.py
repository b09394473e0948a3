"""What can be asked of a simulated heart: findings in, the causes that show them out.

Decided here: which findings can be asked for, what each asks of a plan, which exclude each other, and what may come
with one that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...errors_ecgllm import ECGError
from ...findings.vocabulary import NOISES

NORMAL, SINUS, BRADYCARDIA, TACHYCARDIA = "normal ecg", "sinus rhythm", "sinus bradycardia", "sinus tachycardia"
FIBRILLATION, FIRST_DEGREE = "atrial fibrillation", "first degree av block"
RBBB, LBBB = "complete right bundle branch block", "complete left bundle branch block"
PVC, PAC = "premature ventricular complexes", "premature atrial complexes"
ARMS_EXCHANGED = "suspected arm lead reversal"  # no finding of a heart: not to be asked for, but let happen
LEFT_AXIS, RIGHT_AXIS = "left axis deviation", "right axis deviation"
TERRITORIES = ("anteroseptal", "anterior", "anterolateral", "lateral", "inferior", "inferolateral")

# The unremarkable value of every cause; a wish allows others.
USUAL: dict[str, tuple] = {
    "rhythm": ("sinus",),
    "fibrillating": (False,),
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
    "scar": ("none",),
    "long_qt": (False,),
    "poor_r": (False,),
}
_SINUS_LIKE = ("sinus", "mobitz 1", "mobitz 2", "2:1 block")
WIDE_RHYTHMS = ("ventricular tachycardia", "ventricular pacing")
INFARCT = ("acute infarction", "old infarction")

#: Every finding that can be asked for -> the causes of which one must be there. In the order of reports.
_WISHES: dict[str, dict[str, tuple]] = {
    NORMAL: dict(USUAL),
    SINUS: {"rhythm": ("sinus",)},
    BRADYCARDIA: {"rhythm": ("sinus",), "pace": ("slow",)},
    TACHYCARDIA: {"rhythm": ("sinus",), "pace": ("fast",)},
    "sinus arrhythmia": {"rhythm": ("sinus",), "arrhythmic": (True,), "pace": ("usual", "slow")},
    # With beats that it conducts, with a pacemaker's, or with those of an escape below a complete block.
    FIBRILLATION: {"rhythm": ("fibrillation", "ventricular pacing", "third degree block"), "fibrillating": (True,)},
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
    "left anterior fascicular block": {
        "conduction": ("normal", "rbbb", "delay"), "fascicle": ("anterior",), "axis": ("left",),
    },
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
        "voltage": ("left hypertrophy", "left strain"), "conduction": ("normal", "irbbb", "delay", "lbbb"),
    },
    "left ventricular strain": {"voltage": ("left strain",), "conduction": ("normal", "irbbb")},
    "right ventricular hypertrophy": {
        "voltage": ("right hypertrophy",), "axis": ("right",), "conduction": ("normal", "irbbb", "rbbb"),
    },
    "left atrial enlargement": {"rhythm": _SINUS_LIKE, "left_atrium": ("large",)},
    "right atrial enlargement": {"rhythm": _SINUS_LIKE, "right_atrium": ("large",)},
    "acute myocardial infarction": {"repolarization": ("acute infarction",), "territory": TERRITORIES},
    "st elevation myocardial infarction": {"repolarization": ("acute infarction",), "territory": TERRITORIES},
    "old myocardial infarction": {"repolarization": ("old infarction",), "territory": TERRITORIES},
    **{
        f"{territory} myocardial infarction": {"repolarization": INFARCT, "territory": (territory,)}
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

# A value of a cause that is a finding by itself -> that finding: nobody who did not ask for it gets it.
_OWN_FINDINGS = {
    "ventricular pacing": "ventricular pacing", "third degree block": "third degree av block", "rbbb": RBBB,
    "lbbb": LBBB, "irbbb": "incomplete right bundle branch block",
    "delay": "nonspecific intraventricular conduction disturbance",
}  # fmt: skip
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
RATES = {
    "fibrillation": (30, 180), "flutter": (55, 175), "supraventricular tachycardia": (135, 180),
    "junctional": (30, 100), "ventricular tachycardia": (120, 180), "ventricular pacing": (50, 120),
    "atrial pacing": (50, 120), "mobitz 1": (35, 85), "mobitz 2": (30, 75), "2:1 block": (30, 60),
    "third degree block": (30, 55), "sinus": (30, 180),
}  # fmt: skip


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
        _check_rate(wanted, heart_rate)
    return wanted


def allowed_causes(wanted: frozenset[str]) -> dict[str, tuple]:
    """Cause -> values that fit all of `wanted`, none of them a finding that is not among them if others do."""
    allowed: dict[str, tuple] = {}
    for finding in (name for name in FINDINGS if name in wanted):
        for cause, values in _WISHES[finding].items():
            allowed[cause] = tuple(value for value in allowed.get(cause, values) if value in values)
    return {
        cause: tuple(value for value in values if _OWN_FINDINGS.get(value) in (None, *wanted)) or values
        for cause, values in allowed.items()
    }


def _check_rate(wanted: frozenset[str], heart_rate: float) -> None:
    paces = {BRADYCARDIA: heart_rate < 60, TACHYCARDIA: heart_rate > 100, NORMAL: 60 <= heart_rate <= 100}
    for finding, fits in paces.items():
        if finding in wanted and not fits:
            raise ECGError(f"heart_rate {heart_rate:g} excludes {finding!r}; leave one of them out.")
    rhythms = allowed_causes(wanted).get("rhythm", ("sinus",))
    if not any(RATES[rhythm][0] <= heart_rate <= RATES[rhythm][1] for rhythm in rhythms):
        low, high = min(RATES[r][0] for r in rhythms), max(RATES[r][1] for r in rhythms)
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
