"""Does it read the ECG, in words: `reliance` decides, and two sentences say what was found.

In: what `reliance.reliance` takes. Out: a `Verdict`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..reliance import DOES_NOT_READ, READS, Reliance, reliance
from .figures_in_words import percent


@dataclass(frozen=True)
class Verdict:
    """outcome: "reads", "does not read" or "too few records"; rule: by which it was found, with the margin. figures:
    all of it, with intervals. patients_needed: about how many would do, if there are too few. sentences: two, for the
    top of a report."""

    outcome: str
    rule: str
    figures: Reliance
    patients_needed: int | None
    sentences: tuple[str, str]


def verdict(*args: Any, more: str = "", **kwargs: Any) -> Verdict:
    """The verdict on answers with the true ECG and with others; takes what `reliance.reliance` takes; no
    `says_yes` where no answer can be read. more: how the same records can be asked more, where they can."""
    found = reliance(*args, **kwargs)
    return Verdict(found.outcome, found.rule, found, found.patients_needed, (_first(found, more), _second(found)))


def _first(found: Reliance, more: str) -> str:
    shown = "no ECG" if found.against == "none" else f"{_ARTICLE.get(found.against, found.against)} ECG"
    gain = found.gains[found.against]
    other = percent(found.others[found.against])
    figures = (
        f"right in {percent(found.true)} with the true ECG and in {other} with {shown}, "
        f"a difference of {percent(gain)} over {gain.number:,} questions"
    )
    if found.outcome == READS:
        return f"It reads the ECG: {figures}."
    if found.outcome == DOES_NOT_READ and found.wrong_way:
        return f"It does not read the ECG, it takes it the wrong way round: {figures}."
    if found.outcome == DOES_NOT_READ and _certain(found):
        return (
            f"It hardly reads the ECG: {figures}; certainly something, as of a model that reads a few findings, but "
            f"{100 * found.margin:g} points and less are of no use."
        )
    if found.outcome == DOES_NOT_READ:
        return f"It does not read the ECG: {figures}; {100 * found.margin:g} points and less are of no use."
    if more:
        return f"Too few questions were asked to say whether it reads the ECG: {figures}; {more}."
    return (
        f"Too few records to say whether it reads the ECG: {figures}; about {found.patients_needed:,} patients would "
        f"do, and these are {gain.patients:,}."
    )


def _certain(found: Reliance) -> bool:
    """Whether all gains that decide are above 0, however small."""
    return all(gain.low > 0 for gain in (found.gains[found.against], found.pair_gain) if gain is not None)


def _second(found: Reliance) -> str:
    parts = []
    if found.both_right is not None:
        parts.append(
            f"of two ECGs with opposite answers to the same question it is right about both in "
            f"{percent(found.both_right)} and wrong about both in {percent(found.both_wrong)}"
        )
    else:
        parts.append("it was not asked about two ECGs with opposite answers to the same question")
    if found.yes is not None:
        bias = f", biased towards {found.yes.biased}" if found.yes.biased else ""
        parts.append(
            f"it says yes in {percent(found.yes.share)}, where yes is true in {percent(found.yes.expected)}{bias}"
        )
    else:
        parts.append("none of its answers could be read as yes or no")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


_ARTICLE = {
    "random": "a random patient's",
    "opposite": "the opposite",
    "phase-shuffled": "a phase-shuffled",
    "flat": "a flat",
}
