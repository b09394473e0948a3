"""Which questions are asked of a model at all: what names nothing known, and what no ECG answers, is refused."""

import itertools
from string import Formatter

import pytest

from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.findings import VOCABULARY
from ecgllm.findings.question_scope import negates, why_not_answered
from ecgllm.findings.statement_texts import also_called


@pytest.mark.parametrize(
    ("question", "ecgs", "words"),
    [
        ("Should I give thrombolysis?", 1, "It asks for what to do"),
        ("There is atrial fibrillation: which anticoagulant is best?", 1, "what to do (anticoagulant)"),
        ("Will the patient survive this infarction?", 1, "the future"),
        ("What is the patient's name?", 1, "something about the person"),
        ("What is the ejection fraction?", 1, "something else"),
        ("Is there ST elevation in the third ECG?", 2, "the third ECG, and 2 ECGs were given"),
        ("What is new in the second ECG?", 1, "the second ECG, and one ECG was given"),
        ("Is there ST elevation in lead V15?", 1, "lead V15, and there is no such lead"),
        ("Does it show a florbic zandulation?", 1, "It names nothing that is known"),
        ("Is there T wave inversion in lead V9?", 1, "lead V9, and there is no such lead"),
        ("Is there ST elevation in lead aVX?", 1, "lead AVX"),
        ("Is there anything new since the last ECG?", 1, "two ECGs (since the last ecg)"),
        ("Will there be atrial fibrillation?", 1, "the future"),
        ("Does the patient have chest pain?", 1, "something else (pain)"),
        ("Give amiodarone?", 1, "something else (amiodarone)"),
        ("How many mm is the ST elevated in V3?", 1, "how high a wave or a segment is"),
        ("How deep are the Q waves?", 1, "how high a wave or a segment is"),
        ("What is the R wave amplitude in mV?", 1, "how high a wave or a segment is"),
        ("Ist die Herzfrequenz normal?", 1, "asked in German, and questions are read in English"),
        ("Ist der QRS-Komplex verbreitert?", 1, "asked in German"),  # it names QRS, which a model would answer
        ("Quel est le rythme ?", 1, "asked in French"),
        ("¿Hay una elevación del ST?", 1, "asked in Spanish"),
        ("Hello", 1, "It names nothing that is known"),
        ("", 1, "It names nothing that is known"),
        ("What is the meaning of life?", 1, "It names nothing that is known"),
    ],
)
def test_what_is_refused_and_why(question: str, ecgs: int, words: str) -> None:
    assert words in why_not_answered(question, ecgs)


@pytest.mark.parametrize(
    ("question", "ecgs"),
    [
        ("Is there atrial fibrilation?", 1),  # a slip
        ("AF?", 1),
        ("Any PVCs", 1),
        ("What is the rhythm?", 1),
        ("What do you see in lead V2?", 1),
        ("What is new in the second ECG?", 2),
        ("Is the second recording different?", 2),
        ("Is this ECG normal?", 1),
        ("How long is the PR interval?", 1),
        ("What does lead aVR show?", 1),
        ("Is there an old infarct of the inferior wall?", 1),
        ("How old is the myocardial infarction in this ECG?", 1),
        ("How long is the QRS?", 1),
        ("How high is the heart rate?", 1),
        ("How many premature beats are there?", 1),
        ("Is the heart beating irregularly?", 1),
        ("What does this ECG show?", 1),
        ("Should the report say that there is AF?", 1),
        ("HR?", 1),
        ("Rule out right bundle branch block.", 1),
        ("What are the abnormalities?", 1),
        ("She has palpitations. Is there atrial fibrillation?", 1),
        ("On amiodarone: is the QT interval prolonged?", 1),
    ],
)
def test_what_is_asked(question: str, ecgs: int) -> None:
    assert why_not_answered(question, ecgs) is None


@pytest.mark.parametrize(
    ("question", "negated"),
    [
        ("Is there no atrial fibrillation?", True),
        ("Is this ECG free of atrial fibrillation?", True),
        ("Isn't there AF?", True),
        ("Is AF absent?", True),
        ("AF: yes or no?", False),
        ("Is there nonspecific repolarization abnormality?", False),
        ("Is noise seen on this normal ECG?", False),
    ],
)
def test_a_negation_is_seen(question: str, negated: bool) -> None:
    assert negates(question) is negated


def test_every_finding_in_every_paraphrase_is_asked() -> None:
    own = PARAPHRASES["verify-finding"]
    for name in VOCABULARY:
        for words in itertools.chain(own["train"], own["test"]):
            question = words.format(**in_a_sentence(name))
            assert why_not_answered(question) is None, question
        for called in also_called(name):
            assert why_not_answered(f"Is there {called}?") is None, called


def test_every_training_paraphrase_and_register_is_asked() -> None:
    filled = {"a": "atrial fibrillation", "b": "sinus rhythm", "group": "arrhythmia", "lead": "V2", "leads": "V2"}
    filled |= {
        "feature": "PR interval",
        "side": "above",
        "limit": "200 ms",
        "kind": "rhythm",
        "stage": "old",
        "range": "normal",
    }
    filled |= {**in_a_sentence("atrial fibrillation"), "name": "AF", "Does": "Does", "noise": "static noise"}
    for template, sets in PARAPHRASES.items():
        ecgs = 2 if template.startswith("compare") else 1
        for words in itertools.chain(sets["train"], sets["test"]):
            names = {name for _, name, _, _ in Formatter().parse(words) if name}
            if names <= set(filled):
                assert why_not_answered(words.format(**filled), ecgs) is None, words
