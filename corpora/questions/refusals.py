"""Questions that one ECG does not answer, and the refusal that answers each, for training.

In: a kind, a random generator. Out: a question; `REFUSALS` has the answer of each kind. Decided here: what has no
answer, in kinds, and that every refusal begins with the same words (`CANNOT_TELL`) and then says why, in lower case
and without a comma, as all answers of a question set are. Unknown findings are asked about in the very sentences of
known ones, and known findings stand in questions about treatment or the future, so that only the meaning tells the two
apart. Names that are invented here are built of syllables; none of these, and no question, is one of evaluation's
(`evaluation.unanswerable_questions`, `evaluation.kept_back_words`): a test holds them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from ...findings.asked_names import Name, named, printed_name, with_article
from ...signal_ecgllm import LEADS
from .paraphrases import PARAPHRASES
from .registers import FORMS

CANNOT_TELL = "cannot tell"
REFUSALS = {
    "unknown finding": f"{CANNOT_TELL}: this finding is not known here",
    "not in an ecg": f"{CANNOT_TELL}: an ecg does not show this",
    "treatment": f"{CANNOT_TELL}: an ecg alone does not decide treatment",
    "future": f"{CANNOT_TELL}: an ecg does not show the future",
    "person": f"{CANNOT_TELL}: an ecg does not say who somebody is or how they live",
    "another ecg": f"{CANNOT_TELL}: no such ecg or lead was given",
    "nonsense": f"{CANNOT_TELL}: this question makes no sense",
}
"""Why there is no answer -> what is answered."""
KINDS = (
    "unknown finding", "not in an ecg", "treatment",
    "unknown finding", "future", "person",
    "unknown finding", "another ecg", "nonsense",
)  # fmt: skip
"""Kinds in turn: of three questions one is about an unknown finding."""

# Findings of ECGs that this vocabulary has no name for.
_UNLISTED = (
    "Osborn waves", "an epsilon wave", "electrical alternans", "Wellens pattern", "a De Winter pattern",
    "pericarditis", "an S1Q3T3 pattern", "a spiked helmet sign", "Cabrera sign", "Chapman sign", "a crochetage sign",
    "a T wave alternans", "a Lown-Ganong-Levine pattern", "an R on T phenomenon", "a Mahaim fibre", "a Lambda wave",
    "dextrocardia",
)  # fmt: skip
# What no ECG has, though its name is nearly that of what some have.
_NEAR_MISSES = (
    "fourth degree AV block", "Mobitz type V AV block", "middle bundle branch block", "a prolonged QZ interval",
    "a K wave", "an inverted W wave", "lateral axis elevation", "ventricular shivering", "a sinus staircase",
    "premature axis complexes", "an upside-down PR interval",
)  # fmt: skip
_SHAPES = (
    ("bl cr dr fr gl kr pl sk tr v", "a e o", "rv st mb nk lp dd", "a i o", "l m n r t"),
    (" hyper pseudo para sub", "or al en us im", "pr cl gr sp v", "a e i o", "lt rn nd st"),
    ("m n t z j w", "a i u", "b d x zz rp", "e i o", "b k nt sk", "a e o", "l m n"),
)
"""Syllables in their order; of those that begin a word some are left out."""
_STEMS = tuple("".join(parts) for shape in _SHAPES for parts in product(*(one.split(" ") for one in shape)))
_ENDINGS = ("ic", "al", "oid", "ian", "ent", "ous", "ar", "")
_NOUNS = (
    "block", "wave", "rhythm", "pattern", "sign", "tachycardia", "deviation", "hypertrophy", "complexes", "beats",
    "syndrome", "elevation", "depression", "interval", "segment", "conduction", "pacing", "infarction", "voltage",
    "fibrillation", "noise",
)  # fmt: skip
_ABOUT_UNKNOWN, _HOW_OFTEN = ("verify-finding", "verify-lead", "query-leads"), (0.8, 0.1, 0.1)
_DISORDERS = (
    "pneumonia", "appendicitis", "gallstones", "diabetes", "arthritis", "osteoporosis", "a hip fracture", "migraine",
    "asthma", "liver cirrhosis", "hepatitis", "pancreatitis", "a thyroid nodule", "glaucoma", "hearing loss",
    "a herniated disc", "bronchitis", "tuberculosis", "psoriasis", "gout", "dementia", "tonsillitis",
    "an ovarian cyst", "lung cancer", "multiple sclerosis", "epilepsy", "leukemia", "a torn ligament",
    "varicose veins", "scoliosis", "celiac disease", "endometriosis", "sinusitis", "a bowel obstruction",
    "a mitral valve prolapse", "a thrombus in the left atrium", "calcification of the coronary arteries",
    "vegetations on the aortic valve", "a coronary stent", "a leaking tricuspid valve",
)  # fmt: skip
_QUANTITIES = (
    "oxygen saturation", "creatinine", "blood glucose", "ejection fraction", "pulmonary artery pressure",
    "sodium level", "white cell count", "INR", "body weight", "vitamin D level", "lung volume", "bone density",
    "urine output", "TSH",
)  # fmt: skip
_ORGANS = ("thyroid", "kidney", "pancreas", "prostate", "gallbladder", "bladder", "left lung", "knee", "stomach wall")
_DRUGS = (
    "metoprolol", "bisoprolol", "digoxin", "adenosine", "heparin", "warfarin", "apixaban", "atropine", "lidocaine",
    "flecainide", "ramipril", "morphine", "oxygen", "nitroglycerin", "magnesium", "insulin", "clopidogrel",
    "atorvastatin", "verapamil", "antibiotics",
)  # fmt: skip
_PROCEDURES = (
    "a pacemaker", "an ablation", "a coronary angiogram", "bypass surgery", "a defibrillator", "a cardiac MRI",
    "dialysis", "a blood transfusion", "intubation", "a new valve", "physiotherapy",
)  # fmt: skip
_FATES = (
    "have a stroke", "die", "recover fully", "be back at work", "be admitted again", "need surgery", "run a marathon",
    "collapse", "go home", "have another infarction", "outlive the doctor",
)  # fmt: skip
_LATER = ("within a year", "next month", "by spring", "before turning ninety", "in ten years", "tonight", "one day")
_PRIVATE = (
    "date of birth", "phone number", "address", "first name", "insurance number", "occupation", "religion",
    "mother tongue", "eye colour", "shoe size", "favourite food", "salary", "home town", "nationality",
    "email address",
)  # fmt: skip
_HABITS = (
    "drink alcohol", "play football", "speak French", "own a dog", "drive to work", "go to church", "read newspapers",
    "sleep well", "eat meat", "work at night", "travel a lot",
)  # fmt: skip
_TRAITS = (
    "a woman", "a vegetarian", "a teacher", "divorced", "rich", "happy", "tall", "related to a doctor", "retired",
    "an only child", "from abroad", "colour-blind",
)  # fmt: skip
_NOWHERE = ("V12", "V20", "aVX", "IX", "Z", "V0", "aVZ", "XIV")
_ORDINALS = ("third", "fourth", "fifth", "sixth", "seventh")
_THINGS = (
    "a bicycle", "the moon", "an umbrella", "Latin grammar", "a sandwich", "the colour green", "a violin", "rain",
)  # fmt: skip
_VERBS = ("sing", "swim", "vote", "bake", "whistle", "dream", "park", "knit")

_ASKED: dict[str, tuple[str, ...]] = {
    "not in an ecg": (
        "Does the patient suffer from {disorder}?",
        "Can you see {disorder} in this ECG?",
        "{disorder}?",
        "Does this tracing point to {disorder}?",
        "Could this be {disorder}?",
        "No {bare}, right?",
        "ED pt, ?{bare}",
        "Would you diagnose {disorder} from this ECG?",
        "Does the patient have {disorder}, yes or no?",
        "What is the {quantity}?",
        "Is the {quantity} too high?",
        "Is the {quantity} below normal?",
        "Is the {quantity} within the normal range?",
        "How much is the {quantity}, please?",
        "{quantity}?",
        "Does the {organ} look normal?",
        "Is there anything wrong with the {organ}?",
        "Is there a tumour in the {organ}?",
        "How big is the {organ}?",
        "Does this ECG show that the {organ} is swollen?",
    ),
    "treatment": (
        "Should {drug} be started?",
        "Is {drug} indicated here?",
        "Would you give {drug}?",
        "ok to give {drug}?",
        "Start {drug}?",
        "Is {drug} dangerous with this ECG?",
        "What dose of {drug} is right?",
        "How much {drug} does one give here?",
        "Can {drug} be stopped now?",
        "Does the patient need {procedure}?",
        "Is {procedure} necessary?",
        "Should we arrange {procedure}?",
        "When should {procedure} be done?",
        "How should {known} be treated?",
        "Does {known} in this ECG need treatment?",
        "Which drug is best against {known}?",
        "The ECG may show {known}. Should I give {drug}?",
        "Can the patient be discharged?",
        "Should I call the surgeon?",
        "What is the next step of treatment?",
        "Which therapy do you recommend?",
        "Is the patient fit for surgery?",
        "Does the patient have to be admitted to intensive care?",
    ),
    "future": (
        "Will the patient develop {known}?",
        "Will {known} come back?",
        "Will the next ECG show {known}?",
        "How likely is {known} in five years?",
        "Will the patient die of {known}?",
        "Can {known} be expected {later}?",
        "What will this ECG look like {later}?",
        "Will the patient {fate} {later}?",
        "Is the patient going to {fate}?",
        "How likely is it that the patient will {fate}?",
        "When will the patient {fate}?",
        "Could the patient {fate} {later}, judging by this ECG?",
        "How long will the patient live?",
        "How many years are left to the patient?",
        "Will the patient survive this illness?",
        "What is the risk of sudden death within a year?",
        "Is a good outcome to be expected?",
        "What is the life expectancy?",
        "prognosis?",
        "outcome in 5 years?",
    ),
    "person": (
        "Who is the patient?",
        "How old is the patient?",
        "age of patient?",
        "Is this the ECG of a man?",
        "Is this the ECG of somebody famous?",
        "What is the patient's {private}?",
        "Can you tell me the {private} of the patient?",
        "{private}?",
        "pls give {private} of pt",
        "Do you know the patient's {private}?",
        "Does the patient {habit}?",
        "How often does the patient {habit}?",
        "Would you say that this patient likes to {habit}?",
        "Is the patient {trait}?",
        "pt {trait}?",
        "Does this ECG come from somebody who is {trait}?",
        "Who is with the patient right now?",
        "Does the patient like {thing}?",
        "Where was the patient born?",
        "What did the patient do yesterday?",
    ),
    "another ecg": (
        "{Is} {known} present in the {ordinal} ECG?",
        "Does the {ordinal} recording show {known}?",
        "Compared with the {ordinal} ECG, what has changed?",
        "What does the {ordinal} tracing show?",
        "Name the findings of the {ordinal} ECG.",
        "What is the rhythm of the {ordinal} ECG?",
        "{Is} {known} new in the second ECG?",
        "{Has} {known} resolved in the second ECG?",
        "Relative to the first ECG, {is_} {known} new in the second?",
        "{Is} {known} new since the last ECG?",
        "Has anything changed since the ECG of last year?",
        "Does lead {nowhere} show {known}?",
        "{Is} {known} visible in lead {nowhere} of this recording?",
        "What can be seen in lead {nowhere}?",
        "Does the ECG of the patient's brother show {known}, too?",
        "Do the two ECGs show the same rhythm?",
    ),
    "nonsense": (
        "Can this ECG {verb} like {thing}?",
        "Is the P wave fonder of {thing} than of {thing2}?",
        "How many litres of {thing} does this rhythm weigh?",
        "Does the QRS {verb} on Sundays?",
        "Why did lead II {verb} {thing}?",
        "What does this ECG smell of?",
        "If the T wave were {thing}, would it {verb}?",
        "{thing} or {thing2}: which one is lead V3 thinking of?",
        "Is {thing} a rhythm of {thing2}?",
        "the is of not ECG whether {thing}?",
        "Does {thing} show this ECG?",
        "Which wave would {verb} first?",
        "{mash} {mash2}?",
        "Is this ECG {mash}?",
        "{mash}",
        "Do the leads agree with {thing}?",
        "Does {thing} have {known}?",
        "How loud is the colour of this ECG?",
        "Is lead {lead} older than {thing}?",
        "What would {thing} say of {known}?",
        "Has {known} ever eaten {thing}?",
        "Please {verb} the axis into {thing}.",
        "{known} {verb} {thing} {mash}?",
        "Is the answer to this question {thing}?",
    ),
}


def question_without_answer(kind: str, known: Sequence[str], rng: np.random.Generator) -> str:
    """A question of one of `KINDS`. known: findings that stand in questions about something else."""
    return _about_the_unknown(rng) if kind == "unknown finding" else _filled(kind, known, rng)


def invented_words() -> frozenset[str]:
    """Every word that is invented for names of findings, but those of two stems (stem + "o" + stem + "ia")."""
    return frozenset(stem + ending for stem in _STEMS for ending in (*_ENDINGS, "osis"))


def _about_the_unknown(rng: np.random.Generator) -> str:
    """A question about a finding that nobody knows, in a sentence that asks about known ones."""
    real = rng.random() < 0.3
    text = _one_of((*_UNLISTED, *_NEAR_MISSES), rng) if real else _invented(rng)
    name = with_article(text) if rng.random() < 0.5 else named(text)
    # As often as known findings are asked about: mostly whether they are there, seldom where.
    sentences: Sequence[str] = PARAPHRASES[str(rng.choice(_ABOUT_UNKNOWN, p=_HOW_OFTEN))]["train"]
    if sentences is PARAPHRASES["verify-finding"]["train"] and rng.random() < 0.5:
        sentences = [sentence.text for sentence in FORMS[_one_of(list(FORMS), rng)]]
    return _one_of(sentences, rng).format(lead=_one_of(LEADS, rng), **name.in_a_sentence())


def _invented(rng: np.random.Generator) -> str:
    stem, noun = _one_of(_STEMS, rng), _one_of(_NOUNS, rng)
    plain = f"{stem}{_one_of(_ENDINGS, rng)} {noun}"
    of_two_stems = f"{stem}o{_one_of(_STEMS, rng)}ia"
    forms = (plain, plain, plain, f"left {plain}", f"type II {plain}", f"{stem}osis", of_two_stems)
    return _one_of(forms, rng)


def _filled(kind: str, known: Sequence[str], rng: np.random.Generator) -> str:
    sentence = _one_of(_ASKED[kind], rng)
    disorder, thing = _one_of(_DISORDERS, rng), _one_of(_THINGS, rng)
    name = named(printed_name(_one_of(known, rng))) if known else Name("this finding")
    fields = {
        **name.in_a_sentence(),
        "known": name.text,
        "disorder": disorder,
        "bare": disorder.removeprefix("a ").removeprefix("an "),
        "quantity": _one_of(_QUANTITIES, rng),
        "organ": _one_of(_ORGANS, rng),
        "drug": _one_of(_DRUGS, rng),
        "procedure": _one_of(_PROCEDURES, rng),
        "fate": _one_of(_FATES, rng),
        "later": _one_of(_LATER, rng),
        "private": _one_of(_PRIVATE, rng),
        "habit": _one_of(_HABITS, rng),
        "trait": _one_of(_TRAITS, rng),
        "nowhere": _one_of(_NOWHERE, rng),
        "ordinal": _one_of(_ORDINALS, rng),
        "lead": _one_of(LEADS, rng),
        "thing": thing,
        "thing2": _one_of([other for other in _THINGS if other != thing], rng),
        "verb": _one_of(_VERBS, rng),
        "mash": _mash(rng),
        "mash2": _mash(rng),
    }
    return sentence.format(**fields)


def _mash(rng: np.random.Generator) -> str:
    """Keys struck at random."""
    return "".join(_one_of("asdfghjklqwertyuiopzxcvbnm", rng) for _ in range(int(rng.integers(3, 9))))


def _one_of(options: Sequence, rng: np.random.Generator):
    return options[int(rng.integers(len(options)))]
