"""A question about a finding in other words than a model was trained on: abbreviated, misspelled, negated, leading.

In: a finding. Out: questions. Decided here: only words whose answer is beyond doubt in plain English. A negated
question asks whether the finding is absent ("Is there no X?" can be answered either way); a leading one says what
somebody believes and then asks openly ("There is no X, right?" can be answered either way, too).
"""

from __future__ import annotations

import re

from ..corpora.questions.sampling import in_a_sentence
from ..findings.labels import VOCABULARY

# Whole words of a finding's name -> the abbreviation that cardiologists write for them, the longest first. Left out
# are those that mean something else as well: ST (sinus tachycardia), LAD, AMI (acute or anterior), STD.
_SHORT = {
    "paroxysmal supraventricular tachycardia": "PSVT",
    "supraventricular tachycardia": "SVT",
    "av nodal reentrant tachycardia": "AVNRT",
    "av reentrant tachycardia": "AVRT",
    "ventricular tachycardia": "VT",
    "ventricular fibrillation": "VF",
    "atrial fibrillation": "AF",
    "atrial flutter": "AFL",
    "first degree av block": "1st degree AVB",
    "second degree av block": "2nd degree AVB",
    "third degree av block": "3rd degree AVB",
    "av block": "AVB",
    "wolff-parkinson-white pattern": "WPW",
    "complete right bundle branch block": "CRBBB",
    "complete left bundle branch block": "CLBBB",
    "incomplete right bundle branch block": "IRBBB",
    "incomplete left bundle branch block": "ILBBB",
    "right bundle branch block": "RBBB",
    "left bundle branch block": "LBBB",
    "bundle branch block": "BBB",
    "left anterior fascicular block": "LAFB",
    "left posterior fascicular block": "LPFB",
    "nonspecific intraventricular conduction disturbance": "IVCD",
    "premature atrial complexes": "PACs",
    "premature ventricular complexes": "PVCs",
    "left ventricular hypertrophy": "LVH",
    "right ventricular hypertrophy": "RVH",
    "left atrial enlargement": "LAE",
    "right atrial enlargement": "RAE",
    "st elevation myocardial infarction": "STEMI",
    "myocardial infarction": "MI",
    "t wave inversion": "TWI",
}
_ABBREVIATED = ("Is there {name}?", "{name}?")
_PLURAL = ("Are there {name}?", "{name}?")
_NEGATED = ("Is this ECG free of {finding}?", "{Is} {finding} absent from this ECG?")
LEADING = {
    True: "I think that this ECG shows {finding}. Does it show {finding}?",
    False: "A colleague did not see {finding} in this ECG. Does it show {finding}?",
}
"""What is suggested (that the finding is there, or not) -> words that suggest it and then ask whether it is there."""


def abbreviation(finding: str) -> str | None:
    """The finding's name with its words abbreviated; None where there is no usual abbreviation.

    Source: abbreviations of AHA/ACC/HRS 2007 (part II) and of SCP-ECG, as far as they are unambiguous in a question.
    """
    for words, short in _SHORT.items():
        found = re.sub(rf"\b{re.escape(words)}\b", short, finding)
        if found != finding:
            return found
    return None


def abbreviated(finding: str, turn: int = 0) -> str | None:
    """A question by the abbreviation; turn: which of two forms."""
    name = abbreviation(finding)
    if name is None:
        return None
    forms = _PLURAL if name.endswith("s") else _ABBREVIATED
    return forms[turn % 2].format(name=name)


def misspelled(finding: str, way: str) -> str:
    """The name with one slip in its longest word. way: "swapped" (two neighbouring letters) or "dropped" (one)."""
    word = max(finding.split(), key=len)
    # The middle pair whose letters differ, so that there is a slip to be seen.
    places = sorted(range(1, len(word) - 1), key=lambda place: abs(place - len(word) // 2))
    at = next(place for place in places if word[place] != word[place + 1])
    rest = word[at + 1] + word[at] + word[at + 2 :] if way == "swapped" else word[at + 1 :]
    return finding.replace(word, word[:at] + rest, 1)


def negated(finding: str, turn: int = 0) -> str:
    """A question whose right answer is the other one; turn: which of two forms. What is no fault is not said to be
    one that an ECG is free of."""
    forms = _NEGATED if VOCABULARY[finding].abnormal else _NEGATED[1:]
    return forms[turn % len(forms)].format(**in_a_sentence(finding))


def leading(finding: str, suggested: bool) -> str:
    """A question after a suggestion; what is right does not depend on what was suggested."""
    return LEADING[suggested].format(**in_a_sentence(finding))
