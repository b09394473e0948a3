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
from .measured_figures_ecgllm import SURE
from .signals.analysis.measurements import Measurements

_ASKS = re.compile(
    r"^\W*(?:please\s+)?(?:(?P<how>how (?:fast|long|wide|many))|what(?:'s| is| was)|give|measure|tell me|state)?\b",
    re.IGNORECASE,
)
# The longest names first, and each taken out of the question, so that a corrected QT is no QT.
_OF = {
    "heart_rate": r"(?:heart|ventricular|pulse) rate|pulse|hr|heart beating|(?:heart ?)?beats per minute|bpm",
    "qtc_fridericia": r"(?:qtc|corrected qt)(?: interval)? \(?(?:by |after )?fridericia\)?",
    "qtc_bazett": r"(?:qtc|corrected qt)(?: interval)?(?: \(?(?:by |after )?bazett\)?)?",
    "rr": r"rr(?: interval)?",
    "p": r"p wave(?: duration)?|p duration",
    "pr": r"(?:pr|pq)(?: (?:interval|duration|time))?",
    "qrs": r"qrs (?:duration|width|interval|complex)|qrs",
    "qt": r"qt(?: (?:interval|duration))?",
    "axis": r"(?:qrs |electrical |heart )?axis(?= (?:of .* )?in degrees)",
}
_CALLED = {"heart_rate": "heart rate", "rr": "RR", "p": "P", "pr": "PR", "qrs": "QRS", "qt": "QT", "axis": "axis"}
_CALLED |= {"qtc_bazett": "QTc (Bazett)", "qtc_fridericia": "QTc (Fridericia)"}
_UNITS = {"heart_rate": "bpm", "axis": "degrees"}  # all else is in ms
# What may stand beside the measurement in a question for its number.
_BESIDE = re.compile(
    r"^(?:\W|\b(?:the|of|on|in|this|that|here|is|does|do|take|takes|last|me|ecg|ekg|electrocardiogram|tracing|recording|"
    r"patient|patient's|heart|value|number|exact|current|measured|it|its|his|her|ms|milliseconds|degrees|per|minute|"
    r"please|there|are|first|second|both)\b)*$",
    re.IGNORECASE,
)


def number_asked_for(question: str) -> str | None:
    """Which measurement a question asks for as a number; None of any other question, such as one for its range."""
    start = _ASKS.match(question)
    rest, found = question[start.end() :] if start else question, []
    for name, words in _OF.items():
        rest, times = re.subn(rf"\b(?:{words})(?!\w)", " ", rest, flags=re.IGNORECASE)
        found += [name] * bool(times)
    if len(found) != 1 or not _BESIDE.match(rest):
        return None
    how = (start["how"] or "").lower() if start else ""
    if found[0] == "p" and not how and not re.search(r"\b(?:duration|ms|milliseconds)\b", question, re.IGNORECASE):
        return None  # perhaps whether there is any
    # How fast, how many: a rate; how long, how wide: an interval.
    fits = not how or ((found[0] == "heart_rate") is (how in ("how fast", "how many")) and found[0] != "axis")
    return found[0] if fits else None


def number_answers(name: str, found: Sequence[Measurements]) -> str:
    """The measurement of each ECG in words."""
    each = [number_answer(name, one) for one in found]
    return each[0] if len(each) == 1 else "; ".join(f"ECG {place}: {text}" for place, text in enumerate(each, start=1))


def number_answer(name: str, found: Measurements) -> str:
    """The measurement in words, or why there is none."""
    one = getattr(found, name)
    if one.value is None:
        return f"{_CALLED[name]}: not measured ({'; '.join(found.notes) or 'it could not be told'})"
    return _measured((name,), found, "" if one.confidence >= SURE else "about ")


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
