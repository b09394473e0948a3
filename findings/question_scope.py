"""Which questions can be answered at all: those that name something that an ECG shows and that is known here.

In: the words of a question, and how many ECGs it is about. Out: why it is not answered, a sentence, or None. Decided
here: a question has to name a finding of the vocabulary, by any of its names and with a slip of the pen, or a group, a
measurement, a wave or a change; what asks for treatment, the future, the person, another ECG or a lead that there is
not is not answered, whatever it names, and what is asked in another language than English is not, which no model of
this package has read. The words are only searched: a model reads a question as it was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from functools import cache

from .asked_names import asked_names
from .labels import GROUPS, VOCABULARY
from .statement_texts import also_called

# What questions are about beside findings; in the singular.
_TERMS = (
    *("rhythm", "axis", "heart rate", "rate", "pr interval", "pr", "pq interval", "qrs", "qrs duration", "qt", "qtc"),
    *("qt interval", "rr interval", "p wave", "q wave", "r wave", "s wave", "t wave", "u wave", "st", "st segment"),
    *("interval", "measurement", "abnormal", "abnormality", "abnormalities", "normal", "normal limit", "finding"),
    *("diagnosis", "diagnoses", "diagnostic", "pathology", "arrhythmia", "arrhythmic", "dysrhythmia", "conduction"),
    *("hypertrophy", "enlargement", "ischemia", "infarction", "infarct", "repolarization", "ectopy", "ectopic"),
    *("extrasystole", "extra beat", "premature beat", "pacing", "paced", "pacemaker", "noise", "artifact", "artefact"),
    *("baseline", "drift", "voltage", "new", "newly", "developed", "changed", "change", "resolved", "differ"),
    *("difference", "different", "compare", "both", "gone", "disappeared", "pathological", "regular", "regularly"),
    *(
        "irregular",
        "irregularly",
        "heart beating",
        "beats per minute",
        "hr",
        "nsr",
        "disturb",
        "disturbs",
        "premature",
    ),
    *("wolff parkinson white", "bundle", "hypertrophied", "interpret", "interpretation", "describe", "wrong"),
    *("this ecg show", "the ecg show", "this tracing show", "see in this ecg", "see on this ecg"),
)
_ORDINALS = {
    "first": 1,
    "second": 2,
    "third": 3,
    "fourth": 4,
    "fifth": 5,
    "sixth": 6,
    "previous": 2,
    "earlier": 2,
    "later": 2,
}
_OTHER_ECG = re.compile(
    rf"\b({'|'.join(_ORDINALS)})\s+(?:ecg|ekg|electrocardiogram|tracing|recording|trace)\b", re.IGNORECASE
)
_LEAD = re.compile(r"\b(?:lead\s+([a-z]*\d+[a-z]*|[ivx]{1,4}|av[a-z]+|[a-z])|(v\d+[a-z]*))\b(?!')", re.IGNORECASE)
_LEADS = re.compile(r"(?:i{1,3}|av[rlf]|v[1-6]|[123])", re.IGNORECASE)
_OF_A_LEAD = re.compile(rf"\bleads?\s+{_LEADS.pattern}\b", re.IGNORECASE)
_AN_EARLIER_ECG = re.compile(
    r"\b(?:since|compared (?:with|to)|than|from) (?:the |his |her |my )?(?:last|previous|earlier|prior|old) "
    r"(?:ecg|ekg|electrocardiogram|tracing|recording|one|visit)\b",
    re.IGNORECASE,
)
_NOT_OF_THE_ECG = {
    "what to do": (
        r"should (?:i|we|he|she)|should (?:this|the) patient|(?:which|what|how much) (?:drug|beta blocker)",
        r"doses?|milligrams?|mg|treat(?:ed|ment)?|therap(?:y|ies)|medications?|prescri\w+|administer\w*|thrombol\w+",
        r"anticoag\w+|antiarrhythmics?|surgery|operat(?:e|ed|ion)|ablat\w+|implant\w*|cardiover\w+|defibrillat(?:e|ed)",
        r"discharged?|admit(?:ted)?|hospital|safe to|aspirin|statins?|stent\w*|catheteri[sz]\w*|refer(?:red)?",
        r"recommend\w*|advice",
    ),
    "the future": (
        r"will (?:the|this|he|she|it|they|there)|will \w+ (?:come|recur|return)",
        r"prognosis|surviv\w+|life expectancy|mortality|die|dying|alive|when will",
        r"next (?:week|month|year)|in \w+ years|risk of|likely to (?:die|develop)",
    ),
    "something about the person": (
        r"patient's (?:name|age|sex|gender|weight|height|blood|job|address|religion)|name of the patient|whose",
        r"how old (?:is|are) (?:the|this|that|he|she|they|you)\b(?! [a-z ]*infarct)",
        r"married|smok\w+|occupation|profession|left-handed|pregnan\w+|blood group|ate|eat|eaten|symptoms?",
        r"is (?:he|she|the patient|this) (?:a )?(?:male|female|man|woman)|male or female|man or (?:a )?woman",
        r"insurance",
    ),
    "something else": (
        r"blood pressure|temperature|cholesterol|troponin\w*|ha?emoglobin|glucose|potassium level|creatinine|x-?ray",
        r"mri|ct scan|murmurs?|ejection fraction|oxygen saturation|lungs?|liver|kidneys?|spleen|brain|stomach",
        r"fracture\w*|tumou?rs?|appendix|cataract|ulcers?|pain|angina|dyspno?ea|breathless\w*|palpitations?|syncope",
        r"dizz\w+|fever|amiodarone|adenosine|atropine|heparin|warfarin|calcium ?blockers?",
    ),
}
_KINDS = {kind: re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE) for kind, words in _NOT_OF_THE_ECG.items()}
_HEIGHT = re.compile(
    r"\bhow (?:many|much)\b.*\b(?:mm|mv|millimet(?:er|re)s?|millivolts?)\b|\b(?:in|how) (?:mm|mv|millivolts?)\b|"
    r"\bhow (?:high|deep|tall|large|big|much)\b.*"
    r"\b(?:elevat\w*|depress\w*|amplitude|voltage|[pqrstu][- ]waves?|st|qrs|j[- ]point)\b",
    re.IGNORECASE,
)
# Words that English questions lack; those that are also abbreviations ("la", "de novo") are left out.
_OTHER_LANGUAGES = {
    "German": "ist sind hat liegt gibt zeigt der die das den dem ein eine einen einem im wie welche welcher welches "
    "und oder nicht kein keine auf vor sich bei",
    "French": "est sont une il elle quel quelle quels quelles les dans cet cette ce sur montre avec ou pas du au",
    "Spanish": "hay es el una un tiene muestra este cual cuál que qué con los del son está",
    "Italian": "è il una un questo questa quale mostra presenta con nel nell che sono ha",
    "Portuguese": "há é uma um este neste qual tem mostra com não são está",
    "Dutch": "het een dit deze welk welke wat heeft toont zijn er sprake van op met ritme normaal",
}
_FOREIGN = {language: frozenset(words.split()) for language, words in _OTHER_LANGUAGES.items()}
_ENGLISH = {
    *("the", "there", "this", "these", "that", "does", "do", "did", "are", "was", "what", "which", "any", "show"),
    *("shows", "of", "with", "how", "and", "has", "have", "it", "can", "could", "please"),
}
_LEAST_FOREIGN = 2  # different words: one alone may be a slip or an abbreviation
_ALIKE = 0.84  # of two words' letters: a slip in eight or more
_LEAST = 6  # letters of a name in which a slip is forgiven


def why_not_answered(question: str, ecgs: int = 1, first: bool = True) -> str | None:
    """Why no answer is given, or None. Args: ecgs: how many it is about. first: whether nothing was said before; else
    it may be about that ("Is it fast?"), and need not name anything."""
    if (language := _other_language(question)) is not None:
        return f"It seems to be asked in {language}, and questions are read in English; ask it in English."
    for match in _OTHER_ECG.finditer(question):
        if _ORDINALS[match[1].lower()] > max(ecgs, 1):
            given = "one ECG was given" if ecgs == 1 else f"{ecgs} ECGs were given"
            return f"It asks about the {match[1].lower()} ECG, and {given}."
    if ecgs == 1 and (match := _AN_EARLIER_ECG.search(question)):
        return f"It asks about two ECGs ({match[0].lower()}), and one ECG was given."
    for match in _LEAD.finditer(question):
        if not _LEADS.fullmatch(lead := match[1] or match[2]):
            return f"It asks about lead {lead.upper()}, and there is no such lead."
    if _HEIGHT.search(question):
        return (
            "It asks how high a wave or a segment is, in mm or mV, which is not measured here; the calipers of "
            "`ecgllm app` do that. Ask whether there is ST elevation, say."
        )
    named = _named(question)
    for kind, words in _KINDS.items():
        if (match := words.search(question)) and not (named and kind == "something else"):
            return f"It asks for {kind} ({match[0].lower()}), which an ECG does not say."
    if first and not named:
        return (
            "It names nothing that is known here: a finding, a group of findings, a measurement, a wave or a change. "
            "Ask about one of these, such as atrial fibrillation."
        )
    return None


def _other_language(question: str) -> str | None:
    words = set(re.findall(r"[^\W\d_]+", question.lower()))
    if words & _ENGLISH:
        return None
    counts = {language: len(words & own) for language, own in _FOREIGN.items()}
    language = max(counts, key=counts.__getitem__)
    return language if counts[language] >= _LEAST_FOREIGN else None


def asks_yes_or_no(question: str) -> bool:
    """Whether a question looks as if it were to be answered yes or no, by how it begins or ends."""
    return _ASKS_YES_OR_NO.search(question) is not None


_ASKS_YES_OR_NO = re.compile(
    r"^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|any|no)\b|"
    r"\b(?:yes or no|yes/no|y/n)\W*$",
    re.IGNORECASE,
)


def negates(question: str) -> bool:
    """Whether a question asks for what is absent, or denies it."""
    return _NEGATION.search(_YES_OR_NO.sub("", question)) is not None


_YES_OR_NO = re.compile(r"\byes or no\b", re.IGNORECASE)
_NEGATION = re.compile(
    r"\b(?:no|not|none|nor|neither|never|nowhere|without|free of|absen(?:t|ce)|lacks?|lacking|exclude[sd]?)\b|"
    r"\bruled? out\b|n['’]t\b",
    re.IGNORECASE,
)


def _named(question: str) -> bool:
    words = re.findall(r"[a-z0-9]+", question.lower())
    if _OF_A_LEAD.search(question):
        return True
    exact, by_length = _names()
    text = f" {' '.join(words)} "
    if any(f" {name} " in text or f" {name}s " in text for name in exact):
        return True
    for count, names in by_length.items():
        for window in _windows(words, count):
            if any(_alike(window, name) for name in names):
                return True
    return False


def _windows(words: list[str], count: int) -> Iterator[str]:
    return (" ".join(words[start : start + count]) for start in range(len(words) - count + 1))


def _alike(one: str, other: str) -> bool:
    if abs(len(one) - len(other)) > 2 or one[0] != other[0]:
        return False
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    return matcher.real_quick_ratio() >= _ALIKE and matcher.quick_ratio() >= _ALIKE and matcher.ratio() >= _ALIKE


@cache
def _names() -> tuple[tuple[str, ...], dict[int, tuple[str, ...]]]:
    """(Every name, those in which a slip is forgiven by their number of words.)"""
    given = [*_TERMS, *GROUPS, "any abnormality"]
    for name in VOCABULARY:
        given += [*asked_names(name), *also_called(name)]
    plain = tuple(dict.fromkeys(" ".join(re.findall(r"[a-z0-9]+", name.lower())) for name in given))
    long: dict[int, list[str]] = {}
    for name in plain:
        if len(name) >= _LEAST:
            long.setdefault(len(name.split()), []).append(name)
    return plain, {count: tuple(names) for count, names in long.items()}
