"""Reports of simulated ECGs: findings in, one to few short English sentences in varied words out.

Decided here: what the findings are called, and which of them go without saying beside others.
"""

from __future__ import annotations

import numpy as np

from .wishes import BRADYCARDIA, NORMAL, SINUS, TACHYCARDIA, TERRITORIES

_PARAPHRASES = {
    NORMAL: ("Normal ECG", "Within normal limits", "No abnormality"),
    SINUS: ("Sinus rhythm", "Regular sinus rhythm", "Normal P waves before each QRS, sinus rhythm"),
    BRADYCARDIA: ("Sinus bradycardia", "Slow sinus rhythm, bradycardia"),
    TACHYCARDIA: ("Sinus tachycardia", "Fast sinus rhythm, tachycardia"),
    "sinus arrhythmia": ("Sinus arrhythmia", "Irregular sinus rhythm"),
    "bradycardia": ("Bradycardia", "Slow ventricular rate"),
    "atrial fibrillation": (
        "Atrial fibrillation", "Irregularly irregular rhythm without P waves: atrial fibrillation", "AFib",
    ),
    "atrial flutter": ("Atrial flutter", "Flutter waves, atrial flutter"),
    "supraventricular tachycardia": ("Supraventricular tachycardia", "SVT", "Narrow complex tachycardia, SVT"),
    "ventricular tachycardia": ("Ventricular tachycardia", "Wide complex tachycardia, ventricular tachycardia", "VT"),
    "atrial pacing": ("Atrial pacing", "Atrial paced rhythm"),
    "ventricular pacing": ("Ventricular pacing", "Ventricular paced rhythm", "Paced ventricular complexes"),
    "first degree av block": (
        "First degree AV block", "Prolonged PR interval, first degree AV block", "1st degree AV block",
    ),
    "second degree av block": ("Second degree AV block, 2:1", "2:1 AV block, second degree"),
    "mobitz type i av block": ("Second degree AV block, Mobitz type I", "Wenckebach AV block (Mobitz I)"),
    "mobitz type ii av block": ("Second degree AV block, Mobitz type II", "Mobitz II AV block"),
    "third degree av block": ("Third degree AV block", "Complete AV block", "Complete heart block"),
    "wolff-parkinson-white pattern": ("Wolff-Parkinson-White pattern", "Delta wave, preexcitation (WPW)"),
    "complete right bundle branch block": (
        "Complete right bundle branch block", "RBBB", "Wide QRS, complete right bundle branch block",
    ),
    "complete left bundle branch block": (
        "Complete left bundle branch block", "LBBB", "Wide QRS, complete left bundle branch block",
    ),
    "incomplete right bundle branch block": ("Incomplete right bundle branch block", "Incomplete RBBB"),
    "left anterior fascicular block": ("Left anterior fascicular block", "Left anterior hemiblock", "LAFB"),
    "left posterior fascicular block": ("Left posterior fascicular block", "LPFB"),
    "nonspecific intraventricular conduction disturbance": (
        "Nonspecific intraventricular conduction delay", "Intraventricular conduction disturbance",
    ),
    "premature ventricular complexes": ("Premature ventricular complexes", "Ventricular extrasystoles", "PVCs"),
    "premature atrial complexes": ("Premature atrial complexes", "Supraventricular extrasystoles", "PACs"),
    "ventricular bigeminy": ("Ventricular bigeminy", "PVCs in bigeminy"),
    "atrial bigeminy": ("Atrial bigeminy", "PACs in bigeminy"),
    "left axis deviation": ("Left axis deviation", "Leftward electrical axis"),
    "right axis deviation": ("Right axis deviation", "Rightward electrical axis"),
    "right superior axis": ("Right superior axis", "Northwest axis"),
    "low qrs voltage": ("Low QRS voltage", "Low voltage in the limb leads"),
    "left ventricular hypertrophy": ("Left ventricular hypertrophy", "LVH by voltage", "LVH"),
    "left ventricular strain": ("Left ventricular strain", "Strain pattern"),
    "right ventricular hypertrophy": ("Right ventricular hypertrophy", "RVH"),
    "left atrial enlargement": ("Left atrial enlargement", "Wide P waves, left atrial enlargement"),
    "right atrial enlargement": ("Right atrial enlargement", "Tall P waves, right atrial enlargement"),
    "poor r wave progression": ("Poor R wave progression", "Poor precordial R progression"),
    "abnormal q wave": ("Abnormal Q waves", "Pathological Q waves"),
    "st elevation": ("ST elevation", "ST segment elevation"),
    "st depression": ("ST depression", "ST segment depression"),
    "t wave inversion": ("T wave inversion", "Inverted T waves"),
    "low amplitude t wave": ("Low amplitude T waves", "Flat T waves"),
    "early repolarization": ("Early repolarization", "Early repolarization pattern"),
    "prolonged qt interval": ("Prolonged QT interval", "Long QT"),
    "baseline drift": ("Baseline drift", "Wandering baseline"),
    "static noise": ("Static noise", "Noisy recording"),
    "burst noise": ("Burst noise", "Muscle artefact"),
    "electrode problems": ("Electrode problems", "Poor electrode contact"),
}  # fmt: skip

# Said only where what follows from them is not said.
_IMPLIED = {
    SINUS: (BRADYCARDIA, TACHYCARDIA, "sinus arrhythmia"),
    "premature ventricular complexes": ("ventricular bigeminy",),
    "premature atrial complexes": ("atrial bigeminy",),
    "short pr interval": ("wolff-parkinson-white pattern",),
    "st elevation": ("acute myocardial infarction",),
    "abnormal q wave": ("old myocardial infarction",),
}
_STAGES = ("acute myocardial infarction", "st elevation myocardial infarction", "old myocardial infarction")


def write_report(
    rng: np.random.Generator, findings: tuple[str, ...], leads: dict[str, tuple[str, ...]], rate: float
) -> str:
    """Every finding in one of several paraphrases; some with the heart rate, or the leads that show it."""
    said = [name for name in findings if not set(_IMPLIED.get(name, ())) & set(findings) and name not in _STAGES]
    said = [*[name for name in said if name != NORMAL], *[name for name in said if name == NORMAL]]
    choice, with_leads, with_rate = rng.integers(6, size=len(said)), rng.random(len(said)) < 0.3, rng.random() < 0.5
    phrases = []
    for position, name in enumerate(said):
        territory = name.removesuffix(" myocardial infarction")
        if territory in TERRITORIES:
            phrase = _infarction(territory, _stages(leads, name), int(choice[position]))
        else:
            paraphrases = _PARAPHRASES.get(name) or (name[0].upper() + name[1:],)
            phrase = paraphrases[choice[position] % len(paraphrases)]
        if with_leads[position] and leads.get(name):
            phrase += f" in {', '.join(leads[name])}"
        phrases.append(phrase)
    if with_rate and phrases:
        phrases[0] += f", rate {rate:.0f} bpm"
    return ". ".join(phrases) + "."


def _stages(leads: dict[str, tuple[str, ...]], infarction: str) -> set[str]:
    """Which stages an infarction may be of, by the leads that show it."""
    shown = set(leads.get(infarction, ()))
    stages = {"acute": "acute myocardial infarction", "old": "old myocardial infarction"}
    return {stage for stage, name in stages.items() if name in leads and shown <= set(leads[name])}


def _infarction(territory: str, stages: set[str], choice: int) -> str:
    if stages == {"old"}:
        return (f"Old {territory} myocardial infarction", f"{territory.capitalize()} infarct, age old")[choice % 2]
    if stages != {"acute"}:  # an old one and a fresh one in the same leads
        return f"{territory.capitalize()} myocardial infarction"
    return (
        f"Acute {territory} myocardial infarction",
        f"{territory.capitalize()} STEMI",
        f"ST elevation, acute {territory} myocardial infarction",
    )[choice % 3]
