"""Training and its tests ask in other words, and words kept back are read by nothing else."""

import ast
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import ecgllm
from ecgllm.corpora.questions.misspelling import misspellings
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.corpora.questions.refusals import _STEMS, KINDS, REFUSALS, invented_words, question_without_answer
from ecgllm.corpora.questions.registers import FORMS
from ecgllm.corpora.questions.sampling import in_a_sentence
from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation import kept_back_words, rewording
from ecgllm.evaluation.labels_of_records import question_about
from ecgllm.evaluation.material import Settings
from ecgllm.evaluation.sections import language, unanswerable
from ecgllm.evaluation.suite import IN_KEPT_BACK_WORDS, material_hash, planned_rows
from ecgllm.evaluation.unanswerable_questions import UNANSWERABLE, says_it_does_not_know
from ecgllm.findings.asked_names import known_names, names_of, synonyms_of
from ecgllm.findings.labels import VOCABULARY

ROOT = Path(ecgllm.__file__).parent
# Findings that evaluation words itself.
FINDINGS = [name for name in VOCABULARY if VOCABULARY[name].category != "clinical" and name != "normal ecg"]
TURNS = range(len(PARAPHRASES["verify-finding"]["train"]))


def alike(question: str) -> str:
    """A question as a reader takes it, whatever its capitals, blanks and marks."""
    return " ".join(re.findall(r"[a-z0-9'-]+", question.lower()))


@pytest.fixture(scope="module")
def tested() -> set[str]:
    """All that an evaluation asks about one ECG in words of its own, usual or kept back."""
    questions = {one.question for one in (*UNANSWERABLE, *kept_back_words.UNANSWERABLE)}
    for finding in FINDINGS:
        for turn in TURNS:
            questions |= {text for kind, text in language._worded(finding, turn) if kind != "train"}
            questions |= {text for kind, text in kept_back_words.worded(finding, turn) if kind != "train"}
            questions.add(kept_back_words.answerable(finding, turn))
    return {alike(question) for question in questions}


def test_no_sentence_of_training_is_one_that_is_tested(tested):
    trained = set()
    for finding in FINDINGS:
        trained |= {alike(one.text.format(name=finding)) for one in FORMS["bare"]}  # by this name alone
        own = [in_a_sentence(finding) | {"name": finding, "Does": "Does"}]
        for fields in [*own, *(name.in_a_sentence() for name in (*names_of(finding), *synonyms_of(finding)))]:
            trained |= {
                alike(one.text.format(**fields)) for form, those in FORMS.items() if form != "bare" for one in those
            }
        for name in synonyms_of(finding):
            sentences = PARAPHRASES["verify-finding"]["train"]
            trained |= {alike(text.format(**name.in_a_sentence())) for text in sentences if text != "{finding}?"}
    assert len(trained) > 20_000
    assert trained & tested == set()


def test_no_question_without_an_answer_is_one_that_is_tested(tested):
    rng = np.random.default_rng(0)
    trained = {alike(question_without_answer(kind, FINDINGS, rng)) for kind in KINDS for _ in range(1500)}
    assert trained & tested == set()


def test_no_tested_name_can_be_invented_for_training():
    """None of the words of evaluation's questions is built of the syllables of training."""
    sets = (*UNANSWERABLE, *kept_back_words.UNANSWERABLE)
    words = {word for one in sets for word in re.findall(r"[a-z]{4,}", one.question.lower())}
    assert {"florbic", "zandulation", "quimmel", "blenk", "snorvic", "zwilbert", "hypnoquartic", "wumble"} <= words
    assert words.isdisjoint(invented_words())
    stem = f"(?:{'|'.join(_STEMS)})"
    assert not [word for word in words if re.fullmatch(f"{stem}o{stem}ia", word)]


def test_no_slip_of_training_is_one_that_is_tested():
    for finding in FINDINGS:
        tested = {rewording.misspelled(finding, way) for way in ("swapped", "dropped")}
        tested |= {kept_back_words._slip(finding, turn) for turn in range(40)}
        for name in (*names_of(finding), *synonyms_of(finding)):
            assert {slip.lower() for slip in misspellings(name.text)}.isdisjoint(tested)


def test_names_kept_back_are_names_of_findings_that_no_training_has():
    assert set(kept_back_words.SYNONYMS) <= set(VOCABULARY)
    texts = {re.sub("^an? ", "", text.lower()) for text in kept_back_words.SYNONYMS.values()}
    assert len(texts) == len(kept_back_words.SYNONYMS) and texts.isdisjoint(known_names())
    held_out = {name for name in VOCABULARY if name in ("atrial fibrillation", "sinus arrhythmia", "fascicular block")}
    assert held_out <= set(kept_back_words.SYNONYMS)


def test_nothing_that_trains_reads_the_words_kept_back():
    readers = {
        str(path.relative_to(ROOT))
        for folder in ("corpora", "training", "findings", "signals", "cli", "evaluation", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
        if any("kept_back_words" in name or "kept_back_misspellings" in name for name in imported(path))
    }
    assert readers == {
        "evaluation/kept_back_words.py",
        "evaluation/sections/language.py",
        "evaluation/sections/unanswerable.py",
    }
    recipes = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "recipes").rglob("*.yaml"))
    assert "kept_back" not in recipes and "kept-back" not in recipes


def imported(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names += [*(alias.name for alias in node.names), getattr(node, "module", None) or ""]
    return names


def test_every_refusal_of_training_is_read_as_one():
    assert all(says_it_does_not_know(refusal) for refusal in REFUSALS.values())
    assert not any(says_it_does_not_know(name) for name in (*VOCABULARY, "yes", "no", "none"))


def test_kept_back_questions_have_yes_and_no_in_every_wording(material):
    kept = replace(material, settings=replace(material.settings, words="kept-back"))
    planned = language.plan(kept)
    true = planned[planned["condition"] == "true"]
    answers = true.groupby(["attribute", "wording"])["expected"].agg(lambda own: sorted(one[0] for one in own))
    assert all(own.count("yes") == own.count("no") for own in answers)
    assert {"test", "test (others)", "train", "synonym", "misspelling", "negation", "leading (yes)"} <= set(
        true["wording"]
    )
    usual = language.plan(material)
    own = true[true["wording"] != "train"]
    assert set(own["question"]).isdisjoint(usual["question"])
    for _, group in true.groupby("group"):
        [expected] = {one[0] for one in group.loc[group["wording"] != "negation", "expected"]}
        [negated] = {one[0] for one in group.loc[group["wording"] == "negation", "expected"]}
        assert {expected, negated} == {"yes", "no"}
    other = planned[planned["condition"] == language.OTHER_ECG]
    assert set(other["question"]) <= set(true.loc[true["wording"] == "test", "question"])


def test_kept_back_questions_without_an_answer_stand_beside_known_ones_in_kept_back_words(material):
    planned = unanswerable.plan(replace(material, settings=replace(material.settings, words="kept-back")))
    known = planned["wording"] == unanswerable.ANSWERABLE
    assert set(planned.loc[~known, "question"]) == {one.question for one in kept_back_words.UNANSWERABLE}
    assert "unknown finding" in set(planned["wording"])
    asked = planned[known & (planned["attribute"] != "normal ecg")]
    assert len(asked) > 10 and set(asked["question"]).isdisjoint(map(question_about, FINDINGS))
    answers = [one[0] for one in asked["expected"]]
    assert 0.4 < answers.count("yes") / len(answers) < 0.6


def test_what_is_asked_by_default_is_as_before_there_were_words_kept_back(material):
    """Unfinished evaluations go on, and finished reports can be held against new ones."""
    settings = Settings(questions=900)
    before = {"questions": 900, "seed": 0, "least": 5, "margin": 0.05}
    assert settings.stated() == before
    digest = hashlib.sha256(json.dumps(before, sort_keys=True).encode())
    for dataset in (material.corpus, material.questions):
        digest.update(str(dataset._fingerprint).encode())
    assert material_hash(replace(material, settings=settings)) == digest.hexdigest()[:16]
    kept = replace(material, settings=replace(settings, words="kept-back"))
    assert material_hash(kept) != digest.hexdigest()[:16]


def test_other_sections_cannot_be_asked_in_words_kept_back(material):
    kept = replace(material, settings=replace(material.settings, words="kept-back"))
    assert set(planned_rows(kept, IN_KEPT_BACK_WORDS)["section"]) == set(IN_KEPT_BACK_WORDS)
    with pytest.raises(ECGError, match="findings cannot be asked in words kept back; ask for the sections language"):
        planned_rows(kept, ["findings", "language"])
    with pytest.raises(ECGError, match="words is 'other'; expected one of usual, kept-back"):
        Settings(words="other")
