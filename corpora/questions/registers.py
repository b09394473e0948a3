"""Sentences that ask whether an ECG shows a finding, beside the paraphrases: as this or that person writes, stated,
negated, leading. All of them are for training.

Nothing flows in; `FORMS_OF` (template -> form -> its sentences) flows out to `varied_words`, which fills them
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
            "handover - any {name} on this ecg?",
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
    # The same beginnings as of what is negated, so that these tell nothing.
    "stated": (
        *_sentences(
            "Is it true that this ECG shows {finding}?",
            "Is it correct that there {is_} {finding} in this ECG?",
            "Is this a recording with {finding}?",
            "Would you say that {finding} {is_} present here?",
            "Is the presence of {finding} what this ECG shows?",
            "Would a report that states {finding} be right for this ECG?",
            "Is the statement '{name}' true of this ECG?",
            "Do you agree that there {is_} {finding} on this ECG?",
            "Should the report say that there {is_} {finding}?",
            "{name} present, y/n",
            "with {name}?",
        ),
        *_sentences(
            "Is this ECG positive for {finding}?",
            "positive for {name}?",
            "Does this ECG speak for {finding}?",
            "Can {finding} be confirmed on this tracing?",
            "Would you put {finding} on the list for this ECG?",
            abnormal=True,
        ),
    ),
    "negated": (
        *_sentences(
            "Is it true that this ECG does not show {finding}?",
            "Is it false that this ECG shows {finding}?",
            "Is it correct that there {is_} no {name} in this ECG?",
            "Does this ECG lack {finding}?",
            "{Is} {finding} missing from this tracing?",
            "Is this a recording without {finding}?",
            "Would you say that {finding} {is_} absent here?",
            "Does the tracing fail to show {finding}?",
            "Is the absence of {finding} what this ECG shows?",
            "Would a report that denies {finding} be right for this ECG?",
            "Is the statement 'no {name}' true of this ECG?",
            "Is the statement '{name}' false of this ECG?",
            "Do you agree that there {is_} no {name} on this ECG?",
            "Should the report say that there {is_} no {name}?",
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
            "Is this ECG negative for {finding}?",
            "negative for {name}?",
            "Does this ECG speak against {finding}?",
            "Would you cross {finding} off the list for this ECG?",
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
            "The paramedic reported {finding}. Was the paramedic right?",
            "The consultant believes that there {is_} {finding}. Is that so?",
            "A friend of mine reads {finding} from this ECG. Would you say the same?",
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
            "Our resident saw no {name} at all. What about you, do you see {finding}?",
        ),
        # That it is not there, and what is asked is whether that is right.
        *_sentences(
            "No {name}, right?",
            "There {is_} no {name} here, correct?",
            "I see no {name}. Am I right?",
            "The machine found no {name}. Is that right?",
            "So this ECG does not show {finding}. Is that correct?",
            "The report denies {finding}. Is the report right?",
            "The computer excluded {finding}. Was that correct?",
            "The consultant sees no {name} here. Is the consultant right?",
            "My tutor says that there {is_} no {name}. Is my tutor right?",
            "No {name} in this ECG: is this statement true?",
            turned=True,
        ),
    ),
    "bare": _sentences("{name}?"),  # the fewest tokens with which a model can learn what an ECG shows
}

_NORMAL: dict[str, tuple[Sentence, ...]] = {
    "terse": _sentences("normal?", "ECG normal y/n?", "normal ECG - yes or no", "all normal?", "normal (yes/no)?"),
    "cardiologist": _sentences(
        "Would you report this 12-lead ECG as normal?",
        "Is this ECG normal by all criteria?",
        "Would you sign this off as a normal ECG?",
    ),
    "emergency": _sentences("triage ecg normal? y/n", "ED ECG, all normal? pls advise", "bedside ecg: normal or not?"),
    "student": _sentences(
        "I think I see nothing wrong. Is this ECG normal?",
        "Is this an example of a normal ECG?",
        "Could you tell me whether this ECG is normal?",
        "Sorry if this is a silly question, but is this ECG normal?",
    ),
    "stated": _sentences(
        "Is it true that this ECG is normal?",
        "Would it be right to call this tracing normal?",
        "Do you agree that this ECG is normal?",
    ),
    "negated": _sentences(
        "Is it true that this ECG is not normal?",
        "Is it false that this ECG is normal?",
        "Do you agree that this ECG is not normal?",
        "Is this ECG anything but normal?",
        "Would it be a mistake to call this tracing normal?",
        "Does this ECG fall short of a normal one?",
        turned=True,
    ),
    "leading": (
        *_sentences(
            "This ECG is normal, right?",
            "It looks normal to me. Is it normal?",
            "Nobody here likes this ECG. Is it normal?",
            "The machine printed that this ECG is normal. Is that right?",
        ),
        *_sentences(
            "This ECG is not normal, right?",
            "I would not call this ECG normal. Am I right?",
            "The report says that this ECG is not normal. Is the report right?",
            turned=True,
        ),
    ),
    "bare": _sentences("normal ecg?"),
}
_ABNORMALITY: dict[str, tuple[Sentence, ...]] = {
    "terse": _sentences("anything abnormal?", "abnormal y/n?", "any abnormality?", "abnormal ECG - yes or no"),
    "cardiologist": _sentences(
        "Would you report any abnormality on this 12-lead ECG?",
        "Is there anything abnormal that belongs in the final report of this ECG?",
        "On formal review, is there any abnormality?",
    ),
    "emergency": _sentences("triage ecg - anything abnormal y/n", "ED ECG, abnormal? pls advise", "ecg abnormal? thx"),
    "student": _sentences(
        "Could you tell me whether anything is abnormal in this ECG?",
        "I am still learning to read ECGs: is there anything abnormal in this one?",
        "For my logbook: is this an abnormal ECG?",
    ),
    "stated": _sentences(
        "Is it true that something is abnormal in this ECG?",
        "Is it correct that this tracing shows an abnormality?",
        "Do you agree that there is something abnormal?",
    ),
    "negated": _sentences(
        "Do you agree that there is nothing abnormal?",
        "Is this ECG free from abnormal findings?",
        "Is it true that nothing is abnormal in this ECG?",
        "Does this ECG lack any abnormality?",
        "Is it correct that this tracing shows no abnormality?",
        turned=True,
    ),
    "leading": (
        *_sentences(
            "There is something abnormal here, right?",
            "The machine printed that this ECG is abnormal. Is that right?",
            "I could not find anything abnormal. Is there an abnormality all the same?",
        ),
        *_sentences(
            "Nothing abnormal here, right?",
            "I see no abnormality. Am I right?",
            "The report says that nothing is abnormal. Is the report right?",
            turned=True,
        ),
    ),
    "bare": _sentences("abnormality?"),
}
FORMS_OF = {
    "verify-finding": FORMS,
    "verify-group": FORMS,
    "verify-normal": _NORMAL,
    "verify-abnormality": _ABNORMALITY,
}
"""Template -> form -> its sentences. A group is asked about as a finding is."""
