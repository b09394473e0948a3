"""The names by which people ask about a finding: as it is printed, with an article, synonyms, abbreviations.

In: a name of `VOCABULARY`. Out: its names, each with what English needs to put it into a sentence (`Name`). Decided
here: a name counts only if it means this finding and no other, so that the answer to a question does not change with
it. Statements, which describe an ECG that is known to show the finding, are freer (`statement_texts`); of their other
names `_LOOSE` are left out here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from .statement_texts import also_called
from .vocabulary import VOCABULARY

# Signs that other findings give as well, names that mean another finding in a question, and words that are vague.
_LOOSE = frozenset(
    (
        "regular sinus rhythm",
        "normal sinus rhythm",
        "a P wave before each QRS complex",
        "sinus rhythm below 60 bpm",
        "sinus rhythm above 100 bpm",
        "irregularly irregular rhythm without P waves",
        "narrow complex tachycardia",
        "wide complex tachycardia",
        "wolff-parkinson-white syndrome",
        "a wide, notched P wave",
        "a tall, peaked P wave",
        "a strain pattern",
        "leftward electrical axis",
        "rightward electrical axis",
        "pacemaker",
        "a noisy recording",
        "muscle artefact",
        "high voltage",
        "infarct, age old",
        "intraventricular conduction delay",
    )
)
# As statements call the complete block; in a question they are the block, complete or not.
_MEANS = {"RBBB": "right bundle branch block", "LBBB": "left bundle branch block"}
_MORE = {
    "atrial fibrillation": ("A-fib",),
    "ventricular tachycardia": ("V-tach",),
    "ventricular fibrillation": ("VF", "V-fib"),
    "av nodal reentrant tachycardia": ("AVNRT",),
    "av reentrant tachycardia": ("AVRT",),
    "paroxysmal supraventricular tachycardia": ("PSVT",),
    "av block": ("AVB",),
    "first degree av block": ("first-degree AV block", "1st degree AVB"),
    "second degree av block": ("second-degree AV block", "2nd degree AVB"),
    "third degree av block": ("third-degree AV block", "3rd degree AVB"),
    "mobitz type i av block": ("Wenckebach block", "Mobitz I AV block"),
    "mobitz type ii av block": ("Mobitz II AV block",),
    "short pr interval": ("short PR",),
    "prolonged pr interval": ("PR prolongation",),
    "premature supraventricular complexes": ("supraventricular premature beats", "supraventricular ectopic beats"),
    "premature atrial complexes": ("atrial ectopic beats", "atrial premature complexes"),
    "premature ventricular complexes": ("ventricular ectopic beats", "ventricular premature complexes"),
    "left atrial abnormality": ("LA abnormality",),
    "right atrial abnormality": ("RA abnormality",),
    "left atrial enlargement": ("LA enlargement", "left atrial dilatation"),
    "right atrial enlargement": ("RA enlargement", "right atrial dilatation"),
    "left ventricular hypertrophy": ("LV hypertrophy",),
    "right ventricular hypertrophy": ("RV hypertrophy",),
    "left ventricular strain": ("LV strain",),
    "low qrs voltage": ("low QRS amplitude",),
    "abnormal q wave": ("pathologic Q waves",),
    "poor r wave progression": ("poor R progression", "PRWP"),
    "old myocardial infarction": ("old infarct", "old infarction"),
    "acute myocardial infarction": ("acute infarct",),
    "st elevation myocardial infarction": ("ST-elevation MI",),
    "ischemia": ("ischaemia",),
    "t wave inversion": ("TWI",),
    "t wave abnormality": ("T-wave abnormality", "abnormal T waves"),
    "low amplitude t wave": ("low T waves",),
    "prolonged qt interval": ("long QT interval",),
    "short qt interval": ("shortened QT interval",),
    "nonspecific intraventricular conduction disturbance": (
        "nonspecific intraventricular conduction delay",
        "nonspecific IVCD",
    ),
    "left axis deviation": ("left-axis deviation",),
    "right axis deviation": ("right-axis deviation", "deviation of the axis to the right"),
    "baseline drift": ("baseline wander",),
    "paced rhythm": ("pacemaker-driven rhythm",),
    "brugada pattern": ("Brugada-type ECG pattern",),
}
# Words of a finding's name that English writes otherwise than this vocabulary, which is in lower case.
_PRINTED = (
    (r"\b(st-t|st|qt|qrs|pr|av|ecg)\b", lambda found: found[0].upper()),
    (r"\b[pqrtu](?= wave\b|-synchronous\b)", lambda found: found[0].upper()),
    (r"(?<=type )ii?\b", lambda found: found[0].upper()),
    (r"\b(mobitz|wolff|parkinson|white|brugada)\b", lambda found: found[0].capitalize()),
)
# By sound: an ECG, an ST change, an R wave, a U wave.
_VOWEL = re.compile(r"[aeio]|un(?!i)|(?:[AEFHILMNORSX][A-Z]*\b)")
# Last words of names that English counts, so that one of them is "a" or "an": a left bundle branch block.
_COUNTED = frozenset(
    (
        "abnormality", "arrhythmia", "arrest", "axis", "block", "bradycardia", "change", "deviation", "dissociation",
        "disturbance", "drift", "effect", "ecg", "escape", "infarct", "infarction", "injury", "interval", "inversion",
        "pacemaker", "pattern", "qrs", "rhythm", "segment", "syndrome", "tachycardia", "wave",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """text: as it stands in a sentence without an article. article: "a ", "an " or "". plural: of its verb."""

    text: str
    article: str = ""
    plural: bool = False

    def in_a_sentence(self) -> dict[str, str]:
        """What fills a paraphrase: the name with its article, bare, and the verbs in its number."""
        filled = {"Is": "Are", "is_": "are", "Has": "Have", "has": "have", "Does": "Do"}
        if not self.plural:
            filled = {"Is": "Is", "is_": "is", "Has": "Has", "has": "has", "Does": "Does"}
        return filled | {"finding": self.article + self.text, "name": self.text}


@cache
def printed_name(finding: str) -> str:
    """The finding's own name with the capitals that English gives it: "first degree AV block"."""
    for pattern, written in _PRINTED:
        finding = re.sub(pattern, written, finding)
    return finding


@cache
def names_of(finding: str) -> tuple[Name, ...]:
    """The finding as the vocabulary writes it, as it is printed, and that with an article, where they differ."""
    printed = printed_name(finding)
    own = (named(finding), named(printed), with_article(printed))
    return tuple(dict.fromkeys(own))


@cache
def synonyms_of(finding: str) -> tuple[Name, ...]:
    """Its other names, abbreviations among them; none where there is no usual one."""
    texts = [text for text in also_called(finding) if text not in _LOOSE and text not in _MEANS]
    texts += [text for text, meant in _MEANS.items() if meant == finding]
    texts += _MORE.get(finding, ())
    if finding.endswith(" myocardial infarction") and not finding.startswith("st "):
        where = finding.removesuffix(" myocardial infarction")
        texts += [f"{where} MI", f"{where} infarction"]
    if finding.endswith(" ischemia"):
        texts.append(finding.replace("ischemia", "ischaemia"))
    return tuple(dict.fromkeys(named(text) for text in texts))


@cache
def asked_names(finding: str) -> tuple[str, ...]:
    """All texts by which a question may ask about it, its own name first."""
    return tuple(dict.fromkeys(name.text for name in (*names_of(finding), *synonyms_of(finding))))


def known_names() -> frozenset[str]:
    """Every name of every finding, in lower case."""
    return frozenset(name.lower() for finding in VOCABULARY for name in asked_names(finding))


def named(text: str) -> Name:
    """A name as it is written, perhaps with an article: "a delta wave"."""
    article = next((article for article in ("a ", "an ") if text.startswith(article)), "")
    return Name(text[len(article) :], article, _is_plural(text))


def with_article(text: str) -> Name:
    """A name with "a" or "an" where English counts what it names."""
    plain = named(text)
    if plain.plural or plain.article or text.split(" of ")[0].split()[-1].lower() not in _COUNTED:
        return plain
    return Name(text, "an " if _VOWEL.match(text) else "a ")


def _is_plural(text: str) -> bool:
    head = re.split(r" (?:of|in) ", text)[0].split()[-1]
    return head.endswith("s") and not head.endswith(("ss", "us", "is", "ans")) and head.lower() != "qrs"
