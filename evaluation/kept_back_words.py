"""Words kept back for final figures: sentences, names, slips and questions without an answer that nothing else uses.

In: a finding. Out: its question in these words (`worded`, `answerable`), and `UNANSWERABLE`. Only `ecgllm evaluate
--words kept-back` asks them; no recipe, no question set and no other part of an evaluation reads this file, and a test
sees to it. Whoever writes training sentences looks at the other words (`rewording`, `unanswerable_questions`) and
leaves these alone: what has been looked at to choose by is no longer kept back.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from ..corpora.questions.misspelling import kept_back_misspellings
from ..corpora.questions.paraphrases import PARAPHRASES
from ..corpora.questions.sampling import in_a_sentence
from ..findings.asked_names import named
from ..findings.labels import VOCABULARY
from .unanswerable_questions import Unanswerable

SENTENCES = (
    "Do you notice {finding} on this ECG?",
    "Would {finding} be among your findings in this recording?",
    "{Has} {finding} been recorded here?",
    "Are there electrocardiographic signs of {finding}?",
)
NEGATED = (
    "{Is} {finding} nowhere to be seen in this ECG?",
    "Would it be wrong to report {finding} on this ECG?",
    "Can we rule out {finding} here?",
    "There {is_} no {name} to be seen, would you agree?",
)
"""Yes means that it is absent. The last two are asked of what is abnormal alone."""
LEADING = {
    True: "My chief is certain of {finding}. Is my chief right about this ECG?",
    False: "Nobody else noticed {finding}. Do you find {finding} here?",
}
"""What is suggested -> words that suggest it; yes means that it is there."""
SYNONYMS = {
    "anterior myocardial infarction": "infarction of the anterior wall",
    "inferior myocardial infarction": "infarction of the inferior wall",
    "atrial fibrillation": "auricular fibrillation",
    "atrial flutter": "auricular flutter",
    "av block": "a block of AV conduction",
    "bundle branch block": "a block of a bundle branch",
    "fascicular block": "a block of a fascicle",
    "first degree av block": "an AV block of the first degree",
    "second degree av block": "an AV block of the second degree",
    "third degree av block": "an AV block of the third degree",
    "incomplete right bundle branch block": "a partial right bundle branch block",
    "left anterior fascicular block": "a block of the left anterior fascicle",
    "left posterior fascicular block": "a block of the left posterior fascicle",
    "left atrial abnormality": "an abnormality of the left atrium",
    "right atrial abnormality": "an abnormality of the right atrium",
    "left axis deviation": "an axis deviated to the left",
    "right axis deviation": "an axis deviated to the right",
    "left bundle branch block": "a left-sided bundle branch block",
    "right bundle branch block": "a right-sided bundle branch block",
    "left ventricular hypertrophy": "a hypertrophied left ventricle",
    "right ventricular hypertrophy": "a hypertrophied right ventricle",
    "left atrial enlargement": "an enlarged left atrium",
    "right atrial enlargement": "an enlarged right atrium",
    "myocardial infarction": "an infarction of the myocardium",
    "old myocardial infarction": "a healed myocardial infarction",
    "nonspecific intraventricular conduction disturbance": "a nonspecific intraventricular conduction defect",
    "premature atrial complexes": "premature atrial beats",
    "premature supraventricular complexes": "premature supraventricular beats",
    "premature ventricular complexes": "premature ventricular beats",
    "sinus arrhythmia": "irregularity of the sinus rhythm",
    "sinus bradycardia": "a bradycardic sinus rhythm",
    "sinus tachycardia": "a tachycardic sinus rhythm",
    "sinus rhythm": "a rhythm from the sinus node",
    "t wave abnormality": "an abnormality of the T wave",
    "t wave inversion": "inversion of the T wave",
    "st depression": "depression of the ST segment",
    "st elevation": "elevation of the ST segment",
    "prolonged qt interval": "a lengthened QT interval",
    "low qrs voltage": "low voltage of the QRS complexes",
    "ventricular preexcitation": "preexcitation of the ventricles",
    "ventricular tachycardia": "tachycardia from the ventricles",
    "paced rhythm": "an electronically paced rhythm",
}
"""Finding -> a name of it that no training, of statements or of questions, has."""

_ASKED = {
    "unknown finding": (
        (True, "Does this recording show a zwilbert notch?"),
        (True, "Is there hypnoquartic aberrancy?"),
        (True, "Would you diagnose second degree wumble block?"),
        (True, "quixotropic couplets present?"),
        (True, "Is the ECG clear of jurnip waves?"),
        (True, "No ospental flutter, right?"),
        (True, "Is there a takotsubo pattern?"),
        (True, "Does this ECG show T-U fusion?"),
        (False, "Which leads show gwimpular inversion?"),
    ),
    "another organ": (
        (True, "Is the spinal cord compressed?"),
        (True, "Does the patient have shingles?"),
        (True, "Is there a detached retina?"),
        (True, "Are the tonsils swollen?"),
        (True, "Does this tracing show lactose intolerance?"),
        (True, "Is there a rupture of the Achilles tendon?"),
        (False, "What is the diameter of the abdominal aorta?"),
    ),
    "not recorded": (
        (True, "Is the serum lactate raised?"),
        (True, "Is the patient's cardiac output below 4 l/min?"),
        (True, "Are crackles heard over the lungs?"),
        (False, "What is the respiratory minute volume?"),
        (False, "How high is the CRP?"),
        (False, "What did the echocardiogram show?"),
    ),
    "treatment": (
        (True, "Should I give thrombolysis?"),
        (True, "Is it all right to prescribe sotalol?"),
        (True, "Does she need a cardioversion?"),
        (True, "May the patient fly home?"),
        (False, "Whom do I have to call about this patient?"),
        (False, "How many joules should I set?"),
        (False, "What would you prescribe?"),
    ),
    "the person": (
        (True, "Is the patient a twin?"),
        (True, "Has the patient ever been to Spain?"),
        (True, "Does this heart belong to a musician?"),
        (False, "What is the patient called?"),
        (False, "In which year was the patient born?"),
        (False, "What is the patient's marital status?"),
    ),
    "the future": (
        (True, "Will the heart fail before Christmas?"),
        (True, "Is this patient doomed?"),
        (True, "Can one expect another hospital stay?"),
        (False, "How much time does the patient have?"),
        (False, "What comes next for this patient?"),
    ),
    "nonsense": (
        (True, "Is seven less heartbeat than butter?"),
        (True, "Does the ST segment owe money to lead V4?"),
        (True, "Should the baseline apologise?"),
        (False, "Which of these leads tastes best?"),
        (False, "At what time is the PR interval blue?"),
        (False, "Whose are the yesterday of this if?"),
    ),
    "another ECG": (
        (True, "Is the ninth ECG paced?"),
        (True, "Did the recording before this one show an AV block?"),
        (True, "Is there an ST depression in lead V33?"),
        (False, "Which of the three ECGs is the oldest?"),
        (False, "What is different in the ECG from Monday?"),
    ),
}
UNANSWERABLE = tuple(Unanswerable(kind, *one) for kind, asked in _ASKED.items() for one in asked)
"""Asked about one ECG each."""


def worded(finding: str, turn: int) -> Iterator[tuple[str, str]]:
    """(Wording, question) of one finding, as `sections.language` has them; the first is the plain one.

    Args: turn: which of several forms; the i-th yes and the i-th no of a finding have the same.
    """
    turn, own = turn + _begin(finding), in_a_sentence(finding)
    yield "test", SENTENCES[0].format(**own)
    yield from (("test (others)", sentence.format(**own)) for sentence in SENTENCES[1:])
    train = PARAPHRASES["verify-finding"]["train"]
    yield from (("train", train[(2 * turn + number) % len(train)].format(**own)) for number in range(2))
    if (name := SYNONYMS.get(finding)) is not None:
        yield "synonym", SENTENCES[turn % len(SENTENCES)].format(**named(name).in_a_sentence())
    if (slip := _slip(finding, turn)) is not None:
        yield "misspelling", SENTENCES[turn % len(SENTENCES)].format(**own | {"finding": slip})
    negated = NEGATED if VOCABULARY[finding].abnormal else NEGATED[:2]
    yield "negation", negated[turn % len(negated)].format(name=finding, **own)
    for suggested, word in ((True, "yes"), (False, "no")):
        yield f"leading ({word})", LEADING[suggested].format(**own)


def answerable(finding: str, turn: int) -> str:
    """A question that has an answer: in a paraphrase, by another name, or misspelled, in turn."""
    turn += _begin(finding)
    sentence, own = SENTENCES[turn % len(SENTENCES)], in_a_sentence(finding)
    if turn % 3 == 1 and finding in SYNONYMS:
        own = named(SYNONYMS[finding]).in_a_sentence()
    if turn % 3 == 2 and (slip := _slip(finding, turn)) is not None:
        own = own | {"finding": slip}
    return sentence.format(**own)


def _begin(finding: str) -> int:
    """With which form a finding begins: most are asked about once or twice, and all would begin alike."""
    return zlib.crc32(finding.encode())


def _slip(finding: str, turn: int) -> str | None:
    slips = kept_back_misspellings(finding)
    return slips[7 * turn % len(slips)] if slips else None  # in steps, as neighbours are slips in one letter
