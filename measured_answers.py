"""What is measured on an ECG beside what a model says: answers to questions about numbers, and contradictions.

In: a question, an answer, what was measured. Out: an answer from the measurement, or what measures otherwise than the
answer says. Decided here: a number, whether it is beyond a limit, and whether it is more in one of two ECGs are never
asked of a model that writes words; a finding is contradicted by the limits and margins of `evaluation.contradictions`;
the answer stands, and both are shown.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from .answer_calibration_ecgllm import FindingNames
from .evaluation.contradictions import CRITERIA
from .findings import VOCABULARY
from .findings.asked_names import asked_names
from .measured_figures_ecgllm import SURE
from .signals.analysis.measurement_limits import CLEAR_CHANGES
from .signals.analysis.measurements import Measurement, Measurements

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


class MeasuredAnswer(NamedTuple):
    """answer: to a question about what is measured. words: what was measured. known: whether it was, in any ECG; else
    both say why it was not."""

    answer: str
    words: str
    known: bool


def measured_answer(question: str, found: Sequence[Measurements]) -> MeasuredAnswer | None:
    """The answer to a question about what is measured on ECGs; None of others."""
    if not found:
        return None
    question = _plain(question)
    if (name := number_asked_for(question)) is not None:
        words = number_answers(name, found)
        said = words, words
    elif (limits := limits_asked_for(question)) is not None:
        name, said = limits.name, limits_answers(limits, found)
    elif (usual := range_asked_for(question)) is not None:
        name, said = usual.name, range_answers(usual, found)
    elif len(found) == 2 and (change := change_asked_for(question)) is not None:
        name, said = change.name, change_answers(change, found)
    else:
        return None
    return MeasuredAnswer(*said, known=any(getattr(one, name).value is not None for one in found))


_POLITE = re.compile(
    r"^\W*(?:(?:please|can you|could you|would you|tell me|say)[\s,:]+)+|"
    r"[\s,.:;?(-]+(?:please\s+)?(?:(?:answer|reply|say)\s+(?:with\s+)?(?:only\s+)?)?yes or no"
    r"(?:\s+(?:only|please))*\W*$",
    re.IGNORECASE,
)
_BY = re.compile(
    r"\s*\(?\b(?:by|after|with|using|according to)\s+(bazett|fridericia)(?:['’]s?)?(?: formula)?\)?", re.IGNORECASE
)


def _plain(question: str) -> str:
    """The question without what is said around it, and with the correction of QT beside its name."""
    question = _POLITE.sub(" ", question).strip()
    if by := _BY.search(question):
        rest = question[: by.start()] + " " + question[by.end() :]
        question = re.sub(
            r"\b(?:qtc|corrected qt)(?: interval)?", rf"\g<0> {by[1]}", rest, count=1, flags=re.IGNORECASE
        )
    return question


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


@dataclass(frozen=True)
class Limits:
    """Whether a measurement lies between two numbers, which may be infinite; closed: whether they belong to it."""

    name: str
    low: float = -math.inf
    high: float = math.inf
    closed: bool = False

    def hold(self, value: float) -> bool:
        return self.low <= value <= self.high if self.closed else self.low < value < self.high


_NUMBER = r"(?P<{}>(?:-|−|minus )?\d+(?:\.\d+)?)"
_UNIT = r"(?:\s*(?P<{}>ms|msec|milliseconds?|s|secs?|seconds?|°|degrees|bpm|beats per minute|/ ?min(?:ute)?)(?!\w))?"
_AT_LEAST, _AT_MOST = r"at least|no less than|>=|≥", r"at most|no more than|<=|≤"
_ABOVE = r"(?:greater|more|higher|longer|wider|larger|bigger|faster) than|above|over|exceed(?:s|ing)?|>"
_BELOW = r"(?:less|lower|shorter|narrower|smaller|slower|fewer) than|below|under|<"
_FIRST, _FIRST_UNIT = _NUMBER.format("first"), _UNIT.format("unit")
_WITHIN = re.compile(
    rf"(?:between|from)\s+{_FIRST}{_FIRST_UNIT}\s+(?:and|to)\s+{_NUMBER.format('second')}{_UNIT.format('unit_2')}",
    re.I,
)
_BEYOND = re.compile(
    rf"(?:(?P<at_least>{_AT_LEAST})|(?P<at_most>{_AT_MOST})|(?P<above>{_ABOVE})|(?P<below>{_BELOW}))\s*"
    rf"{_FIRST}{_FIRST_UNIT}", re.I
)  # fmt: skip
_OR_MORE = re.compile(
    rf"{_FIRST}{_FIRST_UNIT}\s+or\s+(?:(?P<at_least>more|higher|longer|wider|above|greater|faster)|"
    r"(?P<at_most>less|lower|shorter|narrower|below|fewer|slower))", re.I
)  # fmt: skip
# The axis first, which may be called that of QRS.
_OF_AXIS_TOO = {"axis": r"(?:qrs |electrical |heart |mean )?axis"} | {
    name: words for name, words in _OF.items() if name != "axis"
}


_WIDE_MS = 120  # AHA/ACCF/HRS 2009, part III; the usual limit is less, and between them a QRS is neither
_WIDE_QRS = re.compile(
    r"^\W*(?:is|are)\s+(?:the\s+)?qrs(?:\s+(?:complex(?:es)?|duration|width))?\s+(?:(?:too\s+)?(?:wide|broad)|"
    r"widened|broadened|(?P<narrow>narrow))(?:\s+(?:in|on)\s+(?:the|this)\s+(?:ecg|ekg|tracing|recording))?\W*$",
    re.IGNORECASE,
)


def limits_asked_for(question: str) -> Limits | None:
    """Which measurement is asked to lie above, below or between which numbers, in bpm, ms or degrees; None of any
    other question."""
    if wide := _WIDE_QRS.match(question):
        return Limits("qrs", high=_WIDE_MS) if wide["narrow"] else Limits("qrs", low=_WIDE_MS, closed=True)
    if (match := _WITHIN.search(question)) is None:
        match = _OR_MORE.search(question) or _BEYOND.search(question)
    if match is None:
        return None
    name, rest = _one_measurement(question[: match.start()] + " " + question[match.end() :])
    if name is None or not _BESIDE.match(rest):
        return None
    given = match.groupdict()
    numbers = [_as_measured(given.get(place), given.get(unit), name) for place, unit in _PLACES]
    if numbers[0] is None or (given.get("second") is not None and numbers[1] is None):
        return None
    if given.get("second") is not None:
        return Limits(name, *sorted(numbers), closed=True)
    low = given.get("at_least") or given.get("above")
    closed = bool(given.get("at_least") or given.get("at_most"))
    return Limits(name, **{"low" if low else "high": numbers[0]}, closed=closed)


_LEAST_MS = 10
_PLACES = (("first", "unit"), ("second", "unit_2"))


def _as_measured(number: str | None, unit: str | None, name: str) -> float | None:
    """A number in the unit of a measurement; None where it is in one that does not fit."""
    if number is None:
        return None
    value = float(number.replace("−", "-").replace("minus ", "-"))
    kind = (
        {"m": "ms", "s": "s", "b": "bpm", "/": "bpm", "°": "degrees", "d": "degrees"}[unit[0].lower()]
        if unit
        else None
    )
    own = _UNITS.get(name, "ms")
    if kind is None and own == "ms" and abs(value) < _LEAST_MS:
        return None  # of seconds, perhaps
    if kind in (None, own):
        return value
    return 1000 * value if (kind, own) == ("s", "ms") else None


def limits_answers(limits: Limits, found: Sequence[Measurements]) -> tuple[str, str]:
    """(yes or no where all ECGs have the same answer, else the words; the measurements in words)."""
    values = [getattr(one, limits.name).value for one in found]
    # As it is shown: a QRS of "120 ms" is one of at least 120.
    said = [None if value is None else "yes" if limits.hold(round(value)) else "no" for value in values]
    return _of_each(said, [number_answer(limits.name, one) for one in found])


def _of_each(said: Sequence[str | None], measured: Sequence[str]) -> tuple[str, str]:
    """(The answer that all ECGs have, else the words; the answers with what was measured)."""
    each = [words if own is None else f"{own}: {words}" for own, words in zip(said, measured, strict=True)]
    words = (
        each[0] if len(each) == 1 else "; ".join(f"ECG {place}: {text}" for place, text in enumerate(each, start=1))
    )
    return said[0] if len(set(said)) == 1 and said[0] is not None else words, words


@dataclass(frozen=True)
class Range:
    """Whether a measurement is on some of the sides of its usual limits: "below", "within", "above"."""

    name: str
    sides: frozenset[str]


_INTERVALS, _RATE = ("rr", "p", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia"), ("heart_rate",)
# Words -> sides, and the measurements of which they say that.
_SIDES = (
    (r"(?:too )?long|prolonged|lengthened|increased", {"above"}, _INTERVALS),
    (r"(?:too )?short|shortened|decreased|reduced", {"below"}, _INTERVALS),
    (r"(?:too )?(?:wide|broad)|widened|broadened", {"above"}, ("p",)),
    (r"(?:too )?(?:high|fast)|elevated|increased|rapid", {"above"}, _RATE),
    (r"(?:too )?(?:low|slow)|decreased|reduced", {"below"}, _RATE),
    (r"(?:within (?:the )?)?(?:normal|usual)(?: (?:range|limits))?", {"within"}, None),
    (r"abnormal|(?:outside|out of) (?:the )?(?:normal|usual) (?:range|limits)", {"below", "above"}, None),
    (r"above (?:the |its )?(?:normal|usual) (?:range|limits?)", {"above"}, None),
    (r"below (?:the |its )?(?:normal|usual) (?:range|limits?)", {"below"}, None),
)  # fmt: skip
# Of a wave, or of QRS without more, its shape may be meant.
_ALSO_A_SHAPE = {"qrs": r"\bqrs (?:duration|width|interval)\b", "p": r"\bp[- ](?:wave )?duration\b"}


def _one_measurement(text: str) -> tuple[str | None, str]:
    """(The one measurement that a text names, None where it is none or several; the rest of the text)."""
    found = []
    for name, words in _OF_AXIS_TOO.items():
        text, times = re.subn(rf"\b(?:{words})(?!\w)", " ", text, flags=re.IGNORECASE)
        found += [name] * bool(times)
    return (found[0] if len(found) == 1 else None), text


# Findings that are a rate and nothing else; "sinus tachycardia" is more than that.
_BY_RATE = (("tachycardia|tachycardic", "above"), ("bradycardia|bradycardic", "below"))
_TO_BE_SEEN = re.compile(r"\b(?:shows?|have|has|any|an?|present|seen|visible|evidence|signs?)\b", re.IGNORECASE)


def range_asked_for(question: str) -> Range | None:
    """Which measurement is asked to be usual, high, long and so on; None of any other question."""
    for words, side in _BY_RATE:
        rest, times = re.subn(rf"\b(?:{words})\b", " ", question, flags=re.IGNORECASE)
        if times == 1 and _BESIDE.match(_TO_BE_SEEN.sub(" ", rest)):
            return Range("heart_rate", frozenset({side}))
    name, rest = _one_measurement(question)
    if name is None:
        return None
    for words, sides, names in _SIDES:
        without, times = re.subn(rf"\b(?:{words})\b", " ", rest, flags=re.IGNORECASE)
        if times != 1 or not _BESIDE.match(without) or name not in (names or (name,)):
            continue
        if names is None and name in _ALSO_A_SHAPE and not re.search(_ALSO_A_SHAPE[name], question, re.IGNORECASE):
            return None
        # What is usual of QT depends on the rate.
        return Range("qtc_bazett" if name == "qt" else name, frozenset(sides))
    return None


def range_answers(asked: Range, found: Sequence[Measurements]) -> tuple[str, str]:
    """As `limits_answers`; each measurement with its usual limits."""
    each = [getattr(one, asked.name) for one in found]
    said = [None if one.value is None else "yes" if (one.unusual or "within") in asked.sides else "no" for one in each]
    words = [f"{number_answer(asked.name, one)}{_usual(getattr(one, asked.name))}" for one in found]
    return _of_each(said, words)


def _usual(one: Measurement) -> str:
    low, high = one.usual
    if one.value is None or (low is None and high is None):
        return ""
    span = f"up to {high:g}" if low is None else f"from {low:g}" if high is None else f"{low:g} to {high:g}"
    return f" (usual of adults: {span})"


@dataclass(frozen=True)
class Change:
    """Whether a measurement is more, or less, in one of two ECGs than in the other; None: whether it is another.
    of_first: in the first one. asks: whether, which one, or how much."""

    name: str
    more: bool | None
    of_first: bool = False
    asks: str = "whether"


# Name -> (more, less); a wave may be higher or larger, too, so of its duration and of intervals less can be said. What
# has become so stands apart: without "has" or "than", a QTc that is prolonged is one beyond its limit.
_COMPARED = {
    "heart_rate": ("faster|quicker|higher|larger|greater", "slower|lower|smaller"),
    "axis": (r"(?:further|more) (?:to the )?right(?:ward)?", r"(?:further|more) (?:to the )?left(?:ward)?"),
}
_LONGER = "longer|wider|broader", "shorter|narrower"
_BECOME = (
    r"(?:gone|go) up|increased?|risen|rise|accelerated|prolonged|lengthened|widened",
    r"(?:gone|go) down|decreased?|fallen|fall|reduced|slowed(?: down)?|shortened|narrowed",
)
_PLACE = (
    r"(?:(?P<first>first|former)|(?P<second>second|latter))(?: (?:ecg|ekg|electrocardiogram|tracing|recording|one))?"
)
_THAN = re.compile(
    rf"\b(?:than|since|compared (?:to|with)|relative to)\s+(?:it was\s+)?(?:(?:in|on|that of|of)\s+)?(?:the\s+)?"
    rf"(?:{_PLACE}|(?P<before>before|then))(?:['’]s)?\b",
    re.IGNORECASE,
)
_IN = re.compile(rf"\b(?:(?:in|on|of)\s+)?(?:the\s+)?{_PLACE}(?:['’]s)?\b", re.IGNORECASE)
_SINCE = re.compile(r"\b(?:now|has|did|become|get|got(?:ten)?)\b", re.IGNORECASE)
_BECAME = re.compile(r"\b(?:has|did|become|get|got(?:ten)?)\b", re.IGNORECASE)
_SHOWN = re.compile(r"\b(?:show|have|an?|between|two|these|ecgs)\b", re.IGNORECASE)
_WHICH = re.compile(
    r"^\W*(?:in\s+)?which(?: of (?:the|these) (?:two )?)?(?: ?(?:ecgs?|one))?(?:\s+shows?)?\b", re.IGNORECASE
)
_AMOUNT = re.compile(r"^\W*(?:by\s+)?how much\b", re.IGNORECASE)
_OTHER = r"changed?|differs?|different|altered|(?:the |a )?(?:change|difference)"


def change_asked_for(question: str) -> Change | None:
    """Which measurement is asked to be more or less in one of two ECGs; None of any other question.

    The ECG that is named is the one asked about, unless it stands behind "than"; where none is, it is the second.
    """
    asks, rest = "whether", question
    for name, start in (("which", _WHICH), ("how much", _AMOUNT)):
        if start.match(question):
            asks, rest = name, start.sub(" ", question)
    than = _THAN.search(rest)
    rest = rest if than is None else rest[: than.start()] + " " + rest[than.end() :]
    own = _IN.search(rest)
    has_become = than is not None or _BECAME.search(rest) is not None
    of_two = asks == "which" or re.search(r"\b(?:two|both|these) ecgs\b", rest, re.IGNORECASE) is not None
    if own is None and not has_become and not of_two and _SINCE.search(rest) is None:
        return None
    of_first = (than is not None and than["second"] is not None) if own is None else own["first"] is not None
    if own is not None and than is not None and of_first is (than["second"] is None):
        return None  # one ECG beside itself
    name, rest = _one_measurement(_SHOWN.sub(" ", _SINCE.sub(" ", _IN.sub(" ", rest))))
    if name is None:
        return None
    for more, words, become in zip(
        (True, False, None), (*_COMPARED.get(name, _LONGER), _OTHER), (*_BECOME, ""), strict=True
    ):
        said = f"{words}|{become}" if has_become and become and name != "axis" else words
        without, times = re.subn(rf"\b(?:{said})\b", " ", rest, flags=re.IGNORECASE)
        if times == 1 and _BESIDE.match(without) and not (asks == "which" and more is None):
            return Change(name, more, of_first and more is not None and asks == "whether", asks)
    return None


def change_answers(change: Change, found: Sequence[Measurements]) -> tuple[str, str]:
    """(yes or no by `CLEAR_CHANGES`, which ECG, or the words; both measurements in words). QTc is asked of both
    corrections, which may differ where the rates do; the answer says so where they do."""
    names = ("qtc_bazett", "qtc_fridericia") if change.name == "qtc_bazett" else (change.name,)
    answers, words = zip(*(_changed(change, name, found) for name in names), strict=True)
    alike = len(set(answers)) == 1
    text = "; ".join(
        each if alike or said is None else f"{said}: {each}" for said, each in zip(answers, words, strict=True)
    )
    if alike and answers[0] is not None:
        return answers[0], text
    if None in answers:
        return text, text
    return ", ".join(
        f"{said} by {name.removeprefix('qtc_').capitalize()}" for said, name in zip(answers, names, strict=True)
    ), text


def _changed(change: Change, name: str, found: Sequence[Measurements]) -> tuple[str | None, str]:
    words = number_answers(name, found)
    first, second = (getattr(one, name).value for one in found)
    if first is None or second is None:
        return None, words
    by = round(second) - round(first)  # of what is shown
    if name == "axis":
        by = (by + 180) % 360 - 180
    unit, least = _UNITS.get(name, "ms"), CLEAR_CHANGES[name]
    words += f": {by:+.0f} {unit}" + ("" if abs(by) >= least else f", less than the {least:g} {unit} of a change")
    if change.asks == "how much":
        return None, words
    if change.asks == "which":
        second_more = by > 0 if change.more else by < 0
        return ("neither" if abs(by) < least else f"the {'second' if second_more else 'first'} ECG"), words
    asked = -by if change.of_first else by
    asked = abs(by) if change.more is None else asked if change.more else -asked
    return "yes" if asked >= least else "no", words


def number_answers(name: str, found: Sequence[Measurements]) -> str:
    """The measurement of each ECG in words."""
    each = [number_answer(name, one) for one in found]
    return each[0] if len(each) == 1 else "; ".join(f"ECG {place}: {text}" for place, text in enumerate(each, start=1))


def number_answer(name: str, found: Measurements) -> str:
    """The measurement in words, or why there is none."""
    one = getattr(found, name)
    if one.value is None:
        return f"{_CALLED[name]}: not measured ({'; '.join(found.notes) or 'it could not be told'})"
    said = _measured((name,), found, "" if one.confidence >= SURE else "about ")
    return said if one.confidence >= SURE else f"{said} (confidence {one.confidence:.1f} of 1)"


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
