"""What labels and machine reports say that are no codes: CODE-15's columns, sentences of MIMIC-IV-ECG.

Nothing flows in; tables flow out to `labels`. Decided here: only a sentence that states a finding plainly is
mapped. "Possible", "probable", "consider", "borderline" and "cannot rule out" are left unmapped, and a report that
holds such a sentence gives no findings at all (`Entry.whole_report`), since it must not deny what it leaves open.
"""

from __future__ import annotations

CODE15_LABELS: dict[str, tuple[str, ...]] = {
    "1dAVb": ("first degree av block",),
    "RBBB": ("right bundle branch block",),
    "LBBB": ("left bundle branch block",),
    "SB": ("sinus bradycardia",),
    "ST": ("sinus tachycardia",),
    "AF": ("atrial fibrillation",),
    "normal_ecg": ("normal ecg",),
}

_SINUS, _PAC, _PVC = "sinus rhythm", "premature atrial complexes", "premature ventricular complexes"
_AV1 = "first degree av block"
_RHYTHMS = {
    "sinus rhythm": _SINUS,
    "normal sinus rhythm": _SINUS,
    "sinus bradycardia": "sinus bradycardia",
    "sinus tachycardia": "sinus tachycardia",
    "sinus arrhythmia": "sinus arrhythmia",
    "atrial fibrillation": "atrial fibrillation",
    "atrial flutter": "atrial flutter",
}
_ADDED = {
    "with 1st degree a-v block": _AV1,
    "with pac(s)": _PAC,
    "with pvc(s)": _PVC,
}
# A sentence in lower case without stars, dashes and the final dot (`mimic_statement`) -> findings.
MIMIC_STATEMENTS: dict[str, tuple[str, ...]] = {
    **{rhythm: (name,) for rhythm, name in _RHYTHMS.items()},
    **{
        f"{rhythm} {added}": (name, more)
        for rhythm, name in _RHYTHMS.items()
        for added, more in _ADDED.items()
        # fibrillation and flutter have neither a PR interval nor P waves that come early
        if not rhythm.startswith("atrial") or more == _PVC
    },
    "atrial fibrillation with rapid ventricular response": ("rapid atrial fibrillation",),
    "supraventricular tachycardia": ("supraventricular tachycardia",),
    "ventricular tachycardia": ("ventricular tachycardia",),
    "atrial pacing": ("atrial pacing",),
    "ventricular pacing": ("ventricular pacing",),
    "normal ecg": ("normal ecg",),
    "left axis deviation": ("left axis deviation",),
    "right axis deviation": ("right axis deviation",),
    "1st degree a-v block": (_AV1,),
    "first degree a-v block": (_AV1,),
    "left bundle branch block": ("left bundle branch block",),
    "right bundle branch block": ("right bundle branch block",),
    "incomplete left bundle branch block": ("incomplete left bundle branch block",),
    "incomplete right bundle branch block": ("incomplete right bundle branch block",),
    "left anterior fascicular block": ("left anterior fascicular block",),
    "left posterior fascicular block": ("left posterior fascicular block",),
    "rbbb with left anterior fascicular block": ("right bundle branch block", "left anterior fascicular block"),
    "left ventricular hypertrophy": ("left ventricular hypertrophy",),
    "right ventricular hypertrophy": ("right ventricular hypertrophy",),
    "left atrial enlargement": ("left atrial enlargement",),
    "right atrial enlargement": ("right atrial enlargement",),
    "prolonged qt interval": ("prolonged qt interval",),
    "low qrs voltages": ("low qrs voltage",),
    "poor r wave progression": ("poor r wave progression",),
    "early repolarization": ("early repolarization",),
}
# Understood, and no finding of their own: a summary of the others.
WITHOUT_FINDING = ("abnormal ecg", "borderline ecg", "otherwise normal ecg", "normal ecg except for rate")


def mimic_statement(text: str) -> str:
    """A sentence of a machine's report in comparable form: lower case, single spaces, no stars, dashes or dot."""
    text = " ".join(text.lower().split()).removeprefix("summary:").removeprefix("diagnosis:")
    return text.lstrip(" *-").rstrip(" *.-")
