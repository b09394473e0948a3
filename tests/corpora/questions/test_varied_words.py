"""Questions in more words: the answers stay right, no form tells the answer, and nobody gets them unasked."""

import re
from collections import Counter, defaultdict

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.corpora import audit, build_questions, debias, debias_with_report, records_to_corpus
from ecgllm.corpora.questions.misspelling import kept_back_misspellings, misspellings
from ecgllm.corpora.questions.refusals import CANNOT_TELL, REFUSALS, invented_words, question_without_answer
from ecgllm.corpora.questions.registers import FORMS, FORMS_OF
from ecgllm.corpora.questions.varied_words import SHARES, TURNED, in_other_words, word_shares
from ecgllm.errors_ecgllm import ECGError
from ecgllm.findings.asked_names import known_names, names_of, printed_name, synonyms_of
from ecgllm.findings.labels import VOCABULARY, group_label, label
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training.data.question_examples import answer_set, answer_text

DENIES = re.compile(
    r"\b(no|not|lack|missing|without|absent|absence|fail|denies|free|clear|ruled out|excluded?|nothing|mistake|"
    r"fall short|anything but|false|negative|against|cross)\b",
    re.IGNORECASE,
)
ABOUT_ONE_ECG = ("verify-finding", "verify-group", "verify-normal", "verify-abnormality", TURNED)


@pytest.fixture(scope="module")
def all_splits() -> Dataset:
    return records_to_corpus(simulate_ecgs(200, seed=0), source="simulation")


@pytest.fixture(scope="module")
def corpus(all_splits) -> Dataset:
    """Of one split, as a stage of training has it: pairs of a yes and a no are of one split."""
    return all_splits.select([row for row, split in enumerate(all_splits["split"]) if split == "train"])


@pytest.fixture(scope="module")
def plain(corpus) -> list[dict]:
    return build_questions(corpus, paraphrases="train", per_record=6).to_list()


@pytest.fixture(scope="module")
def varied(corpus) -> list[dict]:
    return build_questions(corpus, paraphrases="train", per_record=6, words="varied").to_list()


def test_nothing_changes_unasked(corpus, plain):
    assert build_questions(corpus, paraphrases="train", per_record=6, words=None).to_list() == plain
    assert build_questions(corpus, paraphrases="train", per_record=6, words={"names": 0}).to_list() == plain
    assert not {TURNED, "unanswerable"} & {row["template"] for row in plain}


def test_test_paraphrases_are_never_changed(all_splits):
    for paraphrases in ("test", "split"):
        before, after = (
            build_questions(all_splits, ["verify"], paraphrases, words=words).to_list() for words in (None, "varied")
        )
        held_out = [
            [row for row in rows if paraphrases == "test" or row["split"] != "train"] for rows in (before, after)
        ]
        assert held_out[0] == held_out[1] and held_out[0]
    assert before != after


def test_repeatable_and_of_unique_ids(corpus, varied):
    assert build_questions(corpus, paraphrases="train", per_record=6, words="varied").to_list() == varied
    assert len({row["question_id"] for row in varied}) == len(varied)


def test_every_answer_is_right(varied, corpus):
    """By the labels alone: a turned question is answered by whether the finding is absent."""
    shown = {row["id"]: set(row["findings"]) for row in corpus}
    stated = set().union(*shown.values())
    asked = Counter()
    for row in varied:
        if row["template"] not in ABOUT_ONE_ECG:
            continue
        what, findings = row["attribute"], shown[row["ecg_ids"][0]]
        there = label(findings, what, stated) if what in VOCABULARY else group_label(findings, what, stated)
        assert there is ((row["answers"] == ["yes"]) is (row["template"] != TURNED)), row
        asked[row["template"], row["answers"][0]] += 1
    assert min(asked[template, answer] for template in ("verify-finding", TURNED) for answer in ("yes", "no")) > 60


def test_the_turned_sentences_are_those_that_say_that_it_is_absent():
    """Read with a finding whose name denies nothing; those that deny it and then ask whether it is there are open."""
    every = [(form, sentence) for forms in FORMS_OF.values() for form, those in forms.items() for sentence in those]
    for form, sentence in every:
        text = sentence.text.format(**names_of("atrial fibrillation")[0].in_a_sentence())
        *said, asked = re.split(r"(?<=[.:]) ", re.sub(r"yes( or |/)no|y/n|or not", "", text))
        about_what_was_said = re.search(r"\b(right|correct|true)\b", asked) and not re.search(
            "right (one|reading)", asked
        )
        denied = bool(DENIES.search(asked)) or bool(about_what_was_said and said and DENIES.search(" ".join(said)))
        assert denied is sentence.turned, (form, text)


def test_no_form_name_or_sentence_tells_the_answer(varied):
    """As many yes as no in each sentence of each finding, and so in every form and name."""
    answers = defaultdict(Counter)
    for row in varied:
        if row["template"] in ABOUT_ONE_ECG:
            answers[row["question"]][row["answers"][0]] += 1
    assert len(answers) > 200
    assert all(counts["yes"] == counts["no"] for counts in answers.values())


def test_shares_are_kept(plain, varied):
    asked = [row["template"] == "verify-finding" for row in plain]
    new = [row for row, was in zip(varied, asked, strict=False) if was]
    own = {row["question"] for row in plain}
    # Nearly every question ends like a bare one.
    sentences = {form: [re.escape(one.text) for one in those] for form, those in FORMS.items() if form != "bare"}
    found = Counter()
    for row in new:
        for form, texts in sentences.items():
            if any(re.fullmatch(re.sub(r"\\{\w+\\}", ".+", text), row["question"]) for text in texts):
                found[form] += row["question"] not in own
                break
    for form in sentences:
        assert found[form] / len(new) == pytest.approx(SHARES[form], abs=0.06), form
    refusals = sum(row["type"] == "unanswerable" for row in varied)
    assert refusals / len(varied) == pytest.approx(SHARES["unanswerable"], abs=0.005)


def test_bare_questions_are_names_alone(corpus):
    rows = build_questions(corpus, ["verify"], per_record=4, about=["findings"], words={"bare": 1}).to_list()
    answered = defaultdict(set)
    for row in rows:
        answered[row["attribute"], row["question"]] |= set(row["answers"])
    bare = [row for row in rows if row["question"] == f"{row['attribute']}?"]
    # What nobody answers otherwise has no pair, and keeps its words.
    renamed = build_questions(corpus, ["verify"], per_record=4, about=["findings"], words={"bare": 1, "names": 1})
    # A bare abbreviation is what `ecgllm evaluate` asks.
    asked = {row["attribute"] for row in rows} & set(VOCABULARY)
    others = {f"{name.text}?" for finding in asked for name in synonyms_of(finding)}
    assert others and others.isdisjoint(renamed["question"])
    assert len(bare) / len(rows) > 0.8 and Counter(row["answers"][0] for row in bare).keys() == {"yes", "no"}


def test_each_share_does_what_it_says(corpus):
    few = corpus.select(range(60))
    plain = build_questions(few, ["verify", "query", "comparison"], per_record=1).to_list()
    for name in SHARES:
        only = build_questions(few, ["verify", "query", "comparison"], per_record=1, words={name: 0.5}).to_list()
        changed = [new for old, new in zip(plain, only, strict=False) if old != new]
        if name == "unanswerable":
            assert not changed and len(only) == pytest.approx(2 * len(plain), abs=2)
        else:
            assert len(only) == len(plain) and changed
            assert any(row["template"] == TURNED for row in changed) is (name in ("negated", "leading"))
            kept = {row["template"] for row in changed} - {TURNED}
            assert (kept <= set(ABOUT_ONE_ECG)) is (name not in ("names", "misspelt")), name


def test_other_names_are_names_of_the_same_finding_in_every_template(corpus):
    rows = build_questions(corpus, paraphrases="train", words={"names": 1}).to_list()
    plain = build_questions(corpus, paraphrases="train").to_list()
    renamed = Counter()
    for old, new in zip(plain, rows, strict=True):
        if old["question"] == new["question"]:
            continue
        finding = new["attribute"]
        names = [name.text for name in (*names_of(finding), *synonyms_of(finding))]
        assert any(name in new["question"] for name in names), new
        assert {key: old[key] for key in ("ecg_ids", "answers", "attribute")} == {
            key: new[key] for key in ("ecg_ids", "answers", "attribute")
        }
        renamed[new["template"]] += 1
    assert {"verify-finding", "verify-lead", "query-leads", "compare-new", "compare-first"} <= set(renamed)


def test_a_name_means_one_finding():
    means = defaultdict(set)
    for finding in VOCABULARY:
        for name in (*names_of(finding), *synonyms_of(finding)):
            means[name.text.lower()].add(finding)
    assert {name: found for name, found in means.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("finding", "printed", "with_article"),
    [
        ("first degree av block", "first degree AV block", "a first degree AV block"),
        ("wolff-parkinson-white pattern", "Wolff-Parkinson-White pattern", "a Wolff-Parkinson-White pattern"),
        ("mobitz type ii av block", "Mobitz type II AV block", "a Mobitz type II AV block"),
        ("t wave inversion", "T wave inversion", "a T wave inversion"),
        ("st-t change", "ST-T change", "an ST-T change"),
        ("old myocardial infarction", "old myocardial infarction", "an old myocardial infarction"),
        ("unspecified arrhythmia", "unspecified arrhythmia", "an unspecified arrhythmia"),
        ("premature atrial complexes", "premature atrial complexes", "premature atrial complexes"),
        ("low qrs voltage", "low QRS voltage", "low QRS voltage"),
    ],
)  # fmt: skip
def test_names_are_printed_with_capitals_and_articles(finding, printed, with_article):
    last = names_of(finding)[-1]
    assert printed_name(finding) == printed and last.article + last.text == with_article


def test_plural_names_have_plural_verbs():
    sentences = [one.text for those in FORMS.values() for one in those]
    pvcs = next(name for name in synonyms_of("premature ventricular complexes") if name.text == "PVCs")
    asked = [text.format(**pvcs.in_a_sentence()) for text in sentences]
    assert "Are PVCs missing from this tracing?" in asked and "On formal review, are PVCs present?" in asked
    assert not [text for text in asked if re.search(r"\b([Ii]s|[Hh]as|[Dd]oes) PVCs\b|\bthere is (no )?PVCs", text)]


def test_a_slip_is_never_another_name_and_nearly_every_finding_has_some():
    known = known_names()
    without = []
    for finding in VOCABULARY:
        slips = misspellings(finding)
        without += [finding] * (not slips)
        assert len(set(slips)) == len(slips) and finding not in slips
        assert known.isdisjoint(slips)
        assert set(slips).isdisjoint(kept_back_misspellings(finding))
    assert without == ["tall p wave", "high t wave"]  # words of four letters and fewer are left alone
    assert "anormal q wave" not in misspellings("abnormal q wave")  # normal or abnormal?
    assert "interior myocardial infarction" not in misspellings("inferior myocardial infarction")
    assert "mobitz type ii av block" not in misspellings("mobitz type i av block")
    kinds = misspellings("atrial fibrillation")
    assert {"atrial fibrillatipn", "atriial fibrillation", "atrial fibrillatin", "artial fibrillation"} & set(kinds)


def test_refusals_say_why_and_pass_through_training(varied):
    rows = [row for row in varied if row["type"] == "unanswerable"]
    assert {row["attribute"] for row in rows} == set(REFUSALS)
    assert len({row["question"] for row in rows}) > 0.7 * len(rows)
    for row in rows:
        assert row["answers"] == [REFUSALS[row["attribute"]]]
        assert row["answers"][0].startswith(CANNOT_TELL) and row["answers"][0] == row["answers"][0].lower()
        assert answer_set(answer_text(row["answers"])) == set(row["answers"])  # no comma takes it apart
        assert len(row["ecg_ids"]) == 1 and "{" not in row["question"]


def test_refusals_are_asked_of_all_records_alike(varied):
    asked = Counter(row["ecg_ids"][0] for row in varied if row["type"] == "unanswerable")
    assert max(asked.values()) - min(asked.values()) <= 1


def test_invented_findings_are_near_no_known_one():
    """No invented word is one letter away from a word of a known name, so that it is no slip in it."""
    known = {word for name in known_names() for word in re.findall(r"[a-z]{4,}", name)}
    assert len(invented_words()) > 60_000

    def with_a_letter_less(words):
        return {word[:at] + word[at + 1 :] for word in words for at in range(len(word))} | set(words)

    near = with_a_letter_less(invented_words()) & with_a_letter_less(known)
    assert near == set()


def test_unknown_findings_are_asked_about_in_the_sentences_of_known_ones(varied):
    """So that only the name tells that there is no answer."""
    forms = Counter()
    for row in varied:
        if row["attribute"] == "unknown finding":
            forms["leads" if "lead" in row["question"].lower() else "there"] += 1
    assert forms["there"] > forms["leads"] > 0
    rng = np.random.default_rng(0)
    for kind in ("treatment", "future", "another ecg"):
        assert any(
            "atrial fibrillation" in question_without_answer(kind, ["atrial fibrillation"], rng) for _ in range(99)
        )


def test_debiasing_keeps_what_is_balanced_and_leaves_refusals_alone(corpus):
    questions = build_questions(corpus, ["verify"], paraphrases="train", words="varied")
    balanced, report = debias_with_report(questions)
    assert set(balanced["type"]) == {"verify"} and TURNED in set(balanced["template"])
    assert report.not_verify == sum(kind == "unanswerable" for kind in questions["type"])
    assert not report.dropped
    weighted = debias(questions, corpus=corpus, match_on={"severity": [2]}, method="standardise")
    refusals = weighted.filter(lambda kind: kind == "unanswerable", input_columns="type")
    assert len(refusals) == report.not_verify and len(set(refusals["weight"])) == 1


def test_the_audit_leaves_refusals_out_and_says_so(corpus):
    few = corpus.select(range(40))
    questions = build_questions(few, ["verify"], per_record=2, words={"unanswerable": 0.5})
    plain = build_questions(few, ["verify"], per_record=2)
    found, without = audit(questions), audit(plain)
    assert found.questions == without.questions and found.unanswerable == len(questions) - len(plain)
    assert found.overall == without.overall
    assert f"{found.unanswerable} questions that no ECG answers are left out" in str(found)
    only = questions.filter(lambda kind: kind == "unanswerable", input_columns="type")
    with pytest.raises(ECGError, match="no question to audit but"):
        audit(only)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("more", "expected 'varied'"),
        ({"name": 0.1}, "found name"),
        ({"names": 1.5}, "found names=1.5"),
        ({"names": "many"}, "found names='many'"),
        ({"negated": 0.6, "leading": 0.6}, "come to 1.2"),
        ({"names": 0.6, "misspelt": 0.6}, "come to 1.2"),
        ({"unanswerable": 1}, "less than 1"),
        (0.5, "found 0.5"),
    ],
)
def test_what_cannot_be_meant_is_refused(words, message):
    with pytest.raises(ECGError, match=re.escape(message)):
        word_shares(words)


def test_a_normal_ecg_any_abnormality_and_groups_are_negated_too(corpus):
    rows = build_questions(corpus, ["verify"], paraphrases="train", words={"negated": 1}).to_list()
    turned = {row["attribute"]: row["question"] for row in rows if row["template"] == TURNED}
    assert {"normal ecg", "any abnormality", "arrhythmia", "atrial fibrillation"} <= set(turned)
    assert "normal" in turned["normal ecg"] and "arrhythmia" in turned["arrhythmia"]


def test_what_may_be_one_of_two_is_not_asked_about_by_what_is_absent():
    """A recording that lacks "infarction or ischemia" may lack one of them, or both."""
    rows = [
        {
            "question_id": str(place), "template": "verify-group", "attribute": "infarction or ischemia",
            "type": "verify", "question": "Does this ECG show any infarction or ischemia?", "ecg_ids": [str(place)],
            "answers": [("yes", "no")[place % 2]], "severity": [1], "split": "train",
        }
        for place in range(40)
    ]  # fmt: skip
    assert in_other_words(rows, word_shares({"negated": 1}), 0) == rows
    worded = {row["question"] for row in in_other_words(rows, word_shares({"leading": 1}), 0)}
    assert len(worded) > 4 and not [question for question in worded if question.startswith(("No ", "I see no"))]


def test_a_row_without_its_opposite_keeps_its_words(plain):
    alone = [row for row in plain if row["answers"] == ["yes"] and row["template"] == "verify-finding"]
    assert in_other_words(alone, word_shares("varied"), 0) == alone
