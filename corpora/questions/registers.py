"""Sentences that ask whether an ECG shows a finding, beside the paraphrases: as this or that person writes, negated,
leading. All of them are for training.

Nothing flows in; `FORMS` (form -> its sentences) flows out to `varied_words`, which fills them
(`findings.asked_names.Name`: {finding} has an article where it is given one, {name} has none). Decided here: only
sentences whose yes and no are beyond doubt. A sentence that says that the finding is absent and asks whether that is
so is `turned`: yes means absent. "Is there no X?" and "rule out X" can be answered either way and are left out; a tag
("no X, right?") asks whether what was said is right. What evaluation asks in (`evaluation.rewording`,
`evaluation.kept_back_words`) is in no sentence here; a test holds them apart.
"""

from __future__ import annotations

from typing import NamedTuple


class Sentence(NamedTuple):
    """turned: yes means that the finding is absent. abnormal: only of what is abnormal; of a sinus rhythm nobody asks
    whether "any" is there, or whether an ECG is clear of it."""

    text: str
    turned: bool = False
    abnormal: bool = False


def _sentences(*texts: str, turned: bool = False, abnormal: bool = False) -> tuple[Sentence, ...]:
    return tuple(Sentence(text, turned, abnormal) for text in texts)


FORMS: dict[str, tuple[Sentence, ...]] = {
    "terse": (
        *_sentences(
            "{name} present?",
            "{name} seen?",
            "{name} y/n?",
            "{name} - yes or no",
            "{name} (yes/no)?",
            "?{name}, yes or no",
            "ECG: {name}?",
            "{name} in this one?",
        ),
        *_sentences("any {name}?", "any sign of {name}?", "Any {name} on this?", abnormal=True),
    ),
    "cardiologist": (
        *_sentences(
            "Would you report {finding} on this 12-lead ECG?",
            "On formal review, {is_} {finding} present?",
            "{Does} {finding} belong in the final report of this ECG?",
            "In your reading, does this tracing show {finding}?",
            "Would you sign off this ECG as showing {finding}?",
            "Is the reading of {finding} borne out by this tracing?",
            "Do the twelve leads, taken together, show {finding}?",
            "Does the surface ECG support a reading of {finding}?",
        ),
        *_sentences(
            "Are the criteria for {finding} met in this ECG?",
            "Does this tracing fulfil the criteria of {finding}?",
            "Is the diagnosis of {finding} justified by this ECG?",
            "{Is} {finding} electrocardiographically present?",
            abnormal=True,
        ),
    ),
    "emergency": (
        *_sentences(
            "ED ECG, {name}? pls advise",
            "triage ecg - {name} y/n",
            "Quick read please: {name} or not?",
            "Bedside ECG. {name}?",
            "Need answer now: {name} on ECG?",
            "ECG done, ?{name}",
            "{name} on ecg? thx",
            "Ambulance ECG attached, {name} seen?",
            "pls check ecg for {name}, present y/n",
        ),
        *_sentences(
            "Resus: ECG with {name}? Y/N",
            "handover - any {name} on last ecg?",
            "query {name}. ECG positive?",
            abnormal=True,
        ),
    ),
    "student": (
        *_sentences(
            "I am still learning to read ECGs: does this one show {finding}?",
            "Sorry if this is a silly question, but {is_} there {finding} in here?",
            "I'm practising. Would {finding} be a right reading of this ECG?",
            "Could you tell me whether this ECG shows {finding}?",
            "Is this ECG an example of {finding}?",
            "For my logbook: {is_} {finding} visible in this ECG?",
            "My tutor asked whether there {is_} {finding} in this ECG. What would you say, yes or no?",
            "How would you answer this one: does the ECG show {finding}?",
            "I read about {finding} today. {Is} there {finding} in this tracing?",
            "Help me please, {is_} that {finding} that I see in this ECG?",
        ),
    ),
    "negated": (
        *_sentences(
            "Is it true that this ECG does not show {finding}?",
            "Is it correct that there {is_} no {name} in this ECG?",
            "Does this ECG lack {finding}?",
            "{Is} {finding} missing from this tracing?",
            "Is this a recording without {finding}?",
            "Would you say that {finding} {is_} absent here?",
            "Does the tracing fail to show {finding}?",
            "Is the absence of {finding} what this ECG shows?",
            "Would a report that denies {finding} be right for this ECG?",
            "{name} absent?",
            "{name} absent, y/n",
            "without {name}?",
            turned=True,
        ),
        *_sentences(
            "Is the tracing free from {finding}?",
            "Is the ECG clear of {name}?",
            "Is the recording free of any {name}?",
            "{Is} {finding} ruled out by this ECG?",
            "Can {finding} be excluded on this tracing?",
            "Would you exclude {finding} on this ECG?",
            "{name} excluded?",
            "ED ECG clear of {name}, y/n?",
            turned=True,
            abnormal=True,
        ),
    ),
    "leading": (
        # What is suggested is that it is there, and that is what is asked.
        *_sentences(
            "This ECG shows {finding}, right?",
            "There {is_} {finding} here, correct?",
            "Surely this tracing shows {finding}?",
            "The machine printed {finding}. Is that what the ECG shows?",
            "The nurse suspects {finding}. Is she right?",
            "It must be {finding}, I guess. Does the ECG really show {finding}?",
            "{name}, right?",
            "Everybody here says {finding}. Do you see {finding}, too?",
        ),
        # That it is not there, and what is asked is whether it is there all the same.
        *_sentences(
            "I could not find {finding}. {Is} there {finding} in this ECG all the same?",
            "The machine says nothing of {finding}. Does the ECG show {finding}?",
            "They told me that there {is_} no {name}. Does the tracing show {finding} nevertheless?",
            "Hard to believe, but {is_} there {finding} on this ECG?",
        ),
        # That it is not there, and what is asked is whether that is right.
        *_sentences(
            "No {name}, right?",
            "There {is_} no {name} here, correct?",
            "I see no {name}. Am I right?",
            "The machine found no {name}. Is that right?",
            "So this ECG does not show {finding}. Is that correct?",
            "The report denies {finding}. Is the report right?",
            "My tutor says that there {is_} no {name}. Is my tutor right?",
            "No {name} in this ECG: is this statement true?",
            turned=True,
        ),
    ),
}
