"""Short statements of findings and of groups of findings: what an ECG is held against in statement training.

In: a name of `VOCABULARY` or a group (`GROUPS`, "any abnormality"). Out: its paraphrases for training and, in other
sentences, for measuring (`statement_paraphrases`), and whether it holds of a record (`holds`). Decided here: the other
names of findings. An abbreviation is listed only where it means one finding on an ECG.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..errors_ecgllm import ECGError
from ..trained_words_ecgllm import HYPOTHESIS_TEMPLATE
from .labels import GROUPS, VOCABULARY, group_label, label

ANY_ABNORMALITY = "any abnormality"

_SENTENCES = {
    "train": ("{}", HYPOTHESIS_TEMPLATE, "{} is seen", "this ECG shows {}", "finding: {}"),
    "test": ("electrocardiogram showing {}", "the tracing demonstrates {}"),
}

_ALSO_CALLED = {
    "normal ecg": (
        "normal electrocardiogram",
        "ECG within normal limits",
        "no abnormality",
        "normal tracing",
        "unremarkable ECG",
    ),
    "sinus rhythm": ("regular sinus rhythm", "a P wave before each QRS complex", "normal sinus rhythm"),
    "sinus bradycardia": ("slow sinus rhythm", "sinus rhythm below 60 bpm", "sinus brady"),
    "sinus tachycardia": ("fast sinus rhythm", "sinus rhythm above 100 bpm", "sinus tach"),
    "sinus arrhythmia": ("irregular sinus rhythm",),
    "tachycardia": ("fast ventricular rate",),
    "bradycardia": ("slow ventricular rate",),
    "atrial fibrillation": ("AF", "AFib", "irregularly irregular rhythm without P waves", "a-fib"),
    "atrial flutter": ("flutter waves", "AFL"),
    "supraventricular tachycardia": ("SVT", "narrow complex tachycardia"),
    "ventricular tachycardia": ("VT", "wide complex tachycardia"),
    "junctional rhythm": ("nodal rhythm", "AV junctional rhythm"),
    "av block": ("atrioventricular block", "heart block"),
    "first degree av block": (
        "1st degree AV block",
        "AV block I",
        "first degree atrioventricular block",
        "first degree heart block",
    ),
    "prolonged pr interval": ("long PR interval",),
    "second degree av block": ("2nd degree AV block", "AV block II", "second degree atrioventricular block"),
    "mobitz type i av block": ("Wenckebach AV block", "second degree AV block, Mobitz I"),
    "mobitz type ii av block": ("second degree AV block, Mobitz II",),
    "third degree av block": (
        "complete AV block",
        "complete heart block",
        "AV block III",
        "complete atrioventricular block",
        "third degree heart block",
    ),
    "ventricular preexcitation": ("preexcitation", "delta wave", "ventricular pre-excitation"),
    "wolff-parkinson-white pattern": ("WPW", "wolff-parkinson-white syndrome"),
    "bundle branch block": ("BBB",),
    "right bundle branch block": ("a block of the right bundle branch",),
    "left bundle branch block": ("a block of the left bundle branch",),
    "complete right bundle branch block": ("RBBB", "CRBBB", "complete RBBB"),
    "complete left bundle branch block": ("LBBB", "CLBBB", "complete LBBB"),
    "incomplete right bundle branch block": ("IRBBB", "incomplete RBBB"),
    "incomplete left bundle branch block": ("ILBBB", "incomplete LBBB"),
    "fascicular block": ("hemiblock",),
    "left anterior fascicular block": ("LAFB", "left anterior hemiblock", "left anterior hemi-block", "LAHB"),
    "left posterior fascicular block": ("LPFB", "left posterior hemiblock"),
    "nonspecific intraventricular conduction disturbance": ("intraventricular conduction delay", "IVCD"),
    "premature supraventricular complexes": ("supraventricular extrasystoles",),
    "premature atrial complexes": (
        "PACs",
        "atrial extrasystoles",
        "atrial premature beats",
        "premature atrial contractions",
    ),
    "premature ventricular complexes": (
        "PVCs",
        "ventricular extrasystoles",
        "ventricular premature beats",
        "premature ventricular contractions",
        "VPBs",
    ),
    "ventricular bigeminy": ("PVCs in bigeminy",),
    "atrial bigeminy": ("PACs in bigeminy",),
    "left atrial enlargement": ("LAE", "a wide, notched P wave", "enlargement of the left atrium", "P mitrale"),
    "right atrial enlargement": ("RAE", "a tall, peaked P wave", "enlargement of the right atrium", "P pulmonale"),
    "left ventricular hypertrophy": ("LVH", "hypertrophy of the left ventricle"),
    "right ventricular hypertrophy": ("RVH", "hypertrophy of the right ventricle"),
    "left ventricular strain": ("a strain pattern",),
    "left axis deviation": ("leftward electrical axis", "deviation of the axis to the left"),
    "right axis deviation": ("rightward electrical axis",),
    "right superior axis": ("northwest axis", "extreme axis deviation"),
    "normal axis": ("a normal electrical axis",),
    "low qrs voltage": ("low voltage", "reduced QRS amplitude"),
    "high qrs voltage": ("high voltage",),
    "abnormal q wave": ("pathological Q waves",),
    "poor r wave progression": ("poor precordial R progression",),
    "myocardial infarction": ("MI", "infarction", "infarct"),
    "acute myocardial infarction": ("acute MI", "acute infarction"),
    "old myocardial infarction": ("old MI", "infarct, age old", "previous myocardial infarction"),
    "st elevation myocardial infarction": ("STEMI",),
    "anterior myocardial infarction": ("anterior infarct", "anterior wall infarction"),
    "inferior myocardial infarction": ("inferior infarct", "inferior wall infarction"),
    "lateral myocardial infarction": ("lateral infarct", "lateral wall infarction"),
    "septal myocardial infarction": ("septal infarct", "septal wall infarction"),
    "posterior myocardial infarction": ("posterior infarct",),
    "ischemia": ("myocardial ischemia",),
    "st elevation": ("ST segment elevation", "elevated ST segments", "ST-segment elevation"),
    "st depression": ("ST segment depression", "depressed ST segments", "ST-segment depression"),
    "t wave inversion": ("inverted T waves", "negative T waves", "T-wave inversion"),
    "low amplitude t wave": ("flat T waves", "flattened T waves"),
    "high t wave": ("tall T waves",),
    "early repolarization": ("an early repolarization pattern",),
    "prolonged qt interval": ("long QT", "a prolonged QTc", "QT prolongation"),
    "short qt interval": ("short QT",),
    "paced rhythm": ("pacemaker rhythm", "pacing spikes", "pacemaker"),
    "atrial pacing": ("an atrial paced rhythm",),
    "ventricular pacing": ("a ventricular paced rhythm",),
    "baseline drift": ("a wandering baseline",),
    "static noise": ("a noisy recording",),
    "burst noise": ("muscle artefact",),
    "electrode problems": ("poor electrode contact",),
    ANY_ABNORMALITY: ("an abnormal ECG", "something abnormal"),
    "arrhythmia": ("a rhythm other than sinus rhythm at a normal rate",),
    "ectopic beats": ("extrasystoles", "premature beats"),
    "st-t abnormality": ("ST-T changes",),
    "noise": ("a disturbed recording",),
}


def statement_names(findings: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """What can be stated about records with these findings: every finding that occurs, then the groups."""
    stated = {name for own in findings for name in own}
    return (
        *(name for name in VOCABULARY if name in stated and VOCABULARY[name].category != "clinical"),
        *GROUPS,
        ANY_ABNORMALITY,
    )


def also_called(name: str) -> tuple[str, ...]:
    """Other names of a finding or a group, beside its canonical one."""
    return _ALSO_CALLED.get(name, ())


def statement_paraphrases(name: str, which: str = "train") -> tuple[str, ...]:
    """Paraphrases of a statement, the plainest first.

    which: "train": every name of the finding in every sentence; "test": its canonical name in sentences that training
    does not use, to see how much a figure depends on paraphrases learned by heart.
    Raises: ValueError for a name that is neither a finding nor a group.
    """
    if name not in VOCABULARY and name not in GROUPS and name != ANY_ABNORMALITY:
        raise ECGError(f"{name!r} is neither a finding of the vocabulary nor a group; nothing states it.")
    names = (name, *also_called(name)) if which == "train" else (name,)
    return tuple(sentence.format(each) for sentence in _SENTENCES[which] for each in names)


def holds(findings: Iterable[str], name: str, stated_by_source: Iterable[str]) -> bool | None:
    """Whether a statement holds of a record: True, False, or None where its source leaves it open (`label`)."""
    if name in VOCABULARY:
        return label(findings, name, stated_by_source)
    return group_label(findings, name, stated_by_source)
