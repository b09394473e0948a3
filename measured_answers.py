"""What is measured on an ECG beside what a model says: answers to questions about numbers, and contradictions.

In: a question, an answer, what was measured. Out: an answer from the measurement, or what measures otherwise than the
answer says. Decided here: a number is never asked of a model that writes words; a finding is contradicted by the
limits and margins of `evaluation.contradictions`; the answer stands, and both are shown.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from .answer_calibration_ecgllm import FindingNames
from .evaluation.contradictions import CRITERIA
from .findings import VOCABULARY
from .findings.asked_names import asked_names
from .signals.analysis.measurements import Measurements

_ASKS = re.compile(
    r"^\W*(?:please\s+)?(?:what(?:'s| is| was)|how (?:fast|long|wide|high|many)|give|measure|tell me|state)\b",
    re.IGNORECASE,
)
# The longest names first, and each taken out of the question, so that a corrected QT is no QT.
_OF = {
    "heart_rate": r"(?:heart|ventricular|pulse) rate|pulse|heart beating",
    "qtc_bazett": r"qtc(?: interval)?|corrected qt(?: interval)?",
    "pr": r"(?:pr|pq)(?: (?:interval|duration|time))?",
    "qrs": r"qrs(?: (?:duration|width|interval|complex))?",
    "qt": r"qt(?: (?:interval|duration))?",
}
_CALLED = {"heart_rate": "heart rate", "pr": "PR", "qrs": "QRS", "qtc_bazett": "QTc (Bazett)", "qt": "QT"}
_CALLED |= {"qtc_fridericia": "QTc (Fridericia)", "axis": "axis"}
_UNITS = {"heart_rate": "bpm", "axis": "degrees"}  # all else is in ms
# What may stand beside the measurement in a question for its number.
_BESIDE = re.compile(
    r"^(?:\W|\b(?:the|a|an|of|on|in|this|that|here|is|does|do|take|takes|last|me|ecg|ekg|electrocardiogram|tracing|recording|"
    r"patient|patient's|heart|value|number|exact|current|measured|it|its|his|her|duration|interval|per|minute|in|ms|"
    r"milliseconds|bpm|beats|please|many|there|are|rate|fast|long|wide)\b)*$",
    re.IGNORECASE,
)


def number_asked_for(question: str) -> str | None:
    """Which measurement a question asks for as a number; None of any other question, such as one for its range."""
    start = _ASKS.match(question)
    if start is None:
        return None
    rest, found = question[start.end() :], []
    for name, words in _OF.items():
        rest, times = re.subn(rf"\b(?:{words})\b", " ", rest, flags=re.IGNORECASE)
        found += [name] * bool(times)
    return found[0] if len(found) == 1 and _BESIDE.match(rest) else None


def number_answer(name: str, found: Measurements) -> str:
    """The measurement in words, or why there is none."""
    if getattr(found, name).value is None:
        return f"{_CALLED[name]}: not measured ({'; '.join(found.notes) or 'it could not be told'})"
    return _measured((name,), found, "")


def contradictions(question: str, answer: str, found: Measurements) -> list[str]:
    """What was measured otherwise than an answer about one ECG says, a sentence each.

    Of a yes, the finding that a plain question asks about; of an answer in words, each finding that it names.
    """
    if answer.lower() == "yes":
        named: Sequence[str] = [name] if (name := finding_names().asked_about(question)) is not None else ()
    else:
        named = [part.strip() for part in answer.lower().split(",")]
    return [
        f"the model says {each.finding}, and {_measured(each.measured, found)}; {each} speaks against it"
        for each in CRITERIA
        if each.finding in named and each.contradicted(found)
    ]


@cache
def finding_names() -> FindingNames:
    """All findings of the vocabulary by all their names."""
    return FindingNames({name: asked_names(name) for name in VOCABULARY})


def _measured(names: Sequence[str], found: Measurements, verb: str = "is measured as ") -> str:
    return " and ".join(
        f"{_CALLED[name]} {verb}{getattr(found, name).value:.0f} {_UNITS.get(name, 'ms')}" for name in names
    )
