"""Questions about one of two ECGs are true of it, balanced, and open unless one knows which ECG is meant."""

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from ecgllm.corpora import build_questions, debias, records_to_corpus
from ecgllm.corpora.questions.comparisons import CHANGED_OR_NOT
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

ONE = {"compare-first": 0, "compare-second": 1}
LISTS = {"compare-new-query", "compare-resolved-query", "compare-both-query"}
KINDS = ("comparison-verify", "comparison-irrelevant-verify")
FINDINGS = ("sinus rhythm", "atrial fibrillation", "left axis deviation", "premature ventricular complexes")
SIGNAL = np.zeros((1, 10), dtype=np.float32)


def record(i: int, findings: tuple[str, ...], source: str = "test") -> ECGRecord:
    name, patient = f"{source}{i}", f"{source}-p{i // 2}"
    return ECGRecord(SIGNAL, 10.0, ("I",), id=name, patient_id=patient, findings=findings, source=source)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    """Two records of each patient; every finding comes and goes, and more often stays as it was."""
    rng = np.random.default_rng(0)
    records = []
    for patient in range(100):
        shows = rng.random(len(FINDINGS)) < 0.5
        for visit in range(2):
            shows = shows ^ (rng.random(len(FINDINGS)) < 0.25 * visit)
            findings = tuple(name for name, shown in zip(FINDINGS, shows, strict=True) if shown)
            records.append(record(2 * patient + visit, findings))
    return records_to_corpus(records, "test")


@pytest.fixture(scope="module")
def questions(corpus) -> Dataset:
    return build_questions(corpus, types=("comparison",), per_record=5)


@pytest.fixture(scope="module")
def shown(corpus) -> dict[str, set[str]]:
    return {row["id"]: set(row["findings"]) for row in corpus}


@pytest.fixture(scope="module")
def strangers() -> Dataset:
    """One record of each patient."""
    rng = np.random.default_rng(1)
    shows = rng.random((160, len(FINDINGS))) < 0.3
    findings = [tuple(name for name, shown in zip(FINDINGS, row, strict=True) if shown) for row in shows]
    return records_to_corpus([record(2 * i, own) for i, own in enumerate(findings)], "test")


def of_one(rows: Dataset) -> list[dict]:
    return [row for row in rows if row["template"] in ONE]


def asked_and_other(row: dict, shown: dict[str, set[str]]) -> tuple[bool, bool]:
    """Whether the ECG asked about and the other one show the finding."""
    both = [row["attribute"] in shown[name] for name in row["ecg_ids"]]
    asked = ONE[row["template"]]
    return both[asked], both[1 - asked]


def test_answers_are_those_of_the_ecg_asked_about(questions, shown) -> None:
    seen = Counter()
    for row in of_one(questions):
        name, other = ("first", "second") if row["template"] == "compare-first" else ("second", "first")
        text = row["question"].replace(f"whatever the {other} shows", "")
        assert f" the {name} " in text and f" {other} " not in text
        asked, _ = asked_and_other(row, shown)
        assert row["answers"] == ["yes" if asked else "no"], row
        seen[row["template"], row["type"]] += 1
    assert set(seen) == {(template, kind) for template in ONE for kind in KINDS} and min(seen.values()) > 20


def test_yes_and_no_are_as_frequent_for_each_finding(questions) -> None:
    yes, no = Counter(), Counter()
    for row in of_one(questions):
        (yes if row["answers"] == ["yes"] else no)[row["template"], row["type"], row["attribute"]] += 1
    assert yes == no and {key[2] for key in yes} == set(FINDINGS)


def test_of_either_answer_half_show_the_finding_in_exactly_one_ecg(questions, shown) -> None:
    for template in ONE:
        for kind in KINDS:
            for answer in ("yes", "no"):
                rows = [row for row in of_one(questions) if (row["template"], row["type"]) == (template, kind)]
                pairs = [asked_and_other(row, shown) for row in rows if row["answers"] == [answer]]
                assert len(pairs) > 14
                assert np.mean([asked != other for asked, other in pairs]) == pytest.approx(0.5, abs=0.1)


def test_half_do_so_even_where_a_finding_is_asked_about_once(corpus, shown) -> None:
    told = []
    for seed in range(10):
        rows = of_one(build_questions(corpus, types=("comparison",), per_record=0.1, seed=seed))
        assert 8 <= len(rows) <= 20
        told += [len(set(asked_and_other(row, shown))) == 2 for row in rows]
    assert np.mean(told) == pytest.approx(0.5, abs=0.15)


def test_a_pair_that_shows_it_in_one_ecg_is_asked_about_both(questions, shown) -> None:
    asked = {template: set() for template in ONE}
    for row in of_one(questions):
        if len(set(asked_and_other(row, shown))) == 2:
            asked[row["template"]].add((row["attribute"], *row["ecg_ids"]))
    assert len(asked["compare-first"] & asked["compare-second"]) > 0.9 * len(asked["compare-first"]) > 40


def test_each_paraphrase_meets_pairs_that_show_it_in_one_ecg_and_others(corpus, shown) -> None:
    """Of two paraphrases in turn, one would meet only such pairs if these came in turn with the others."""
    arguments = {"types": ("comparison",), "attributes": ["atrial fibrillation"], "paraphrases": "test"}
    told: dict[tuple[str, str, str], list[bool]] = {}
    for row in of_one(build_questions(corpus, **arguments)):
        key = row["type"], row["question"], row["answers"][0]
        told.setdefault(key, []).append(len(set(asked_and_other(row, shown))) == 2)
    assert len(told) == 2 * 2 * 2 * 2 and min(map(len, told.values())) >= 4
    assert all(0.2 <= np.mean(one) <= 0.8 for one in told.values())


def test_findings_that_rarely_change_are_asked_about_as_often_as_they_do() -> None:
    """One patient of 40 gains the finding and one loses it: few questions, not many that either ECG answers."""
    records = [
        record(i, ("sinus rhythm", *(("atrial fibrillation",) if i < 40 and i != 1 or i == 79 else ())))
        for i in range(80)
    ]
    corpus = records_to_corpus(records, "test")
    shown = {row["id"]: set(row["findings"]) for row in corpus}
    rows = [
        row
        for row in of_one(build_questions(corpus, types=("comparison",), attributes=["atrial fibrillation"]))
        if row["type"] == "comparison-verify"
    ]
    one = [len(set(asked_and_other(row, shown))) == 2 for row in rows]
    assert sum(one) >= 2 and len(rows) <= 4 * sum(one)


def test_as_many_as_of_what_changed_and_lists_beside_them() -> None:
    corpus = records_to_corpus(
        [record(2 * i, FINDINGS[i % 3 : 2 + i % 3]) for i in range(160)], "test"
    )  # no own pairs
    questions = build_questions(corpus, types=("comparison",), per_record=4)
    counts = Counter(row["template"] for row in questions)
    one = counts["compare-first"] + counts["compare-second"]
    changed, same = (
        sum(counts[name] for name in names)
        for names in (("compare-new", "compare-resolved"), ("compare-both", "compare-neither"))
    )
    assert one == pytest.approx(changed + same, rel=0.1) and changed == pytest.approx(2 * same, rel=0.1)
    lists = sum(counts[template] for template in LISTS)
    assert lists > 0.2 * len(questions)
    assert 4 * 160 * 0.9 < len(questions) <= 4 * 160 + 8


def test_two_patients_ecgs_are_asked_about_several_times() -> None:
    """A model that has read two ECGs can answer more than one question about them."""
    corpus = records_to_corpus(simulate_ecgs(400, seed=0), "simulation")
    rows = build_questions(corpus, types=("comparison",), per_record=4)
    asked = Counter(tuple(row["ecg_ids"]) for row in rows)
    assert sum(asked.values()) / len(asked) > 3


def test_a_rare_finding_is_asked_about_all_the_same() -> None:
    """Four of 400 records show it: of as many pairs as there are questions, some do."""
    records = [record(2 * i, FINDINGS[: 1 + (i % 100 == 7)]) for i in range(400)]
    rows = build_questions(records_to_corpus(records, "test"), types=("comparison",), per_record=1)
    rare = [row for row in rows if row["attribute"] == FINDINGS[1]]
    assert {(row["template"], *row["answers"]) for row in rare} == {
        (template, answer) for template in (*ONE, *CHANGED_OR_NOT) for answer in ("yes", "no")
    }
    asked = {(row["template"], row["answers"][0], *row["ecg_ids"]) for row in rare}
    assert len(asked) > 40


def test_neither_one_ecg_nor_that_they_differ_tells_a_change(strangers) -> None:
    """The best rule by what one ECG shows, or by whether they show the same, is right in five of six questions about
    what is new, gone, in both, or in neither."""
    shown = {row["id"]: set(row["findings"]) for row in strangers}
    questions = build_questions(strangers, types=("comparison",), per_record=4)
    for template, shows in CHANGED_OR_NOT.items():
        rows = [row for row in questions if row["template"] == template]
        by_kind: dict[tuple[str, bool], Counter] = {}
        for row in rows:
            pair = tuple(row["attribute"] in shown[name] for name in row["ecg_ids"])
            for rule, seen in zip(("first", "second", "differ"), (*pair, pair[0] != pair[1]), strict=True):
                by_kind.setdefault((rule, seen), Counter())[row["answers"][0]] += 1
            assert row["answers"] == ["yes" if pair == shows else "no"]
        for rule in ("first", "second", "differ"):
            right = sum(max(by_kind[rule, seen].values()) for seen in (True, False))
            assert right / len(rows) == pytest.approx(5 / 6, abs=0.05), (template, rule)


def test_lists_are_asked_where_only_groups_are(strangers) -> None:
    rows = build_questions(strangers, types=("comparison",), attributes=["any abnormality"], per_record=1)
    assert {row["template"] for row in rows} == LISTS and len(rows) > 10


def test_what_a_source_leaves_open_is_not_asked() -> None:
    """A source that never states the finding: its silence is no answer, whichever ECG of the pair it is."""
    wide = [record(i, ("sinus rhythm", "atrial fibrillation")[: 1 + i % 2], "wide") for i in range(40)]
    narrow = [record(i, ("sinus rhythm", "left axis deviation")[: 1 + i % 2], "narrow") for i in range(40)]
    corpus = concatenate_datasets([records_to_corpus(wide, "wide"), records_to_corpus(narrow, "narrow")])
    named = dict(zip(corpus["id"], corpus["source"], strict=True))
    rows = [
        row
        for row in of_one(build_questions(corpus, types=("comparison",), per_record=8))
        if row["attribute"] == "atrial fibrillation"
    ]
    assert rows and {named[name] for row in rows for name in row["ecg_ids"]} == {"wide"}


def test_they_can_be_debiased(questions) -> None:
    balanced = debias(questions, by_split=False)
    counts = Counter((row["template"], row["question"], row["answers"][0]) for row in of_one(balanced))
    assert {template for template, _, _ in counts} == set(ONE)
    for template, question, _ in counts:
        assert counts[template, question, "yes"] == counts[template, question, "no"]
    assert len(of_one(balanced)) > 0.8 * len(of_one(questions))


def test_paraphrases_are_as_many_as_of_what_changed_and_apart() -> None:
    for part in ("train", "test"):
        for template in ONE:
            assert len(PARAPHRASES[template][part]) == len(PARAPHRASES["compare-new"][part])
    train, test = (
        {text.lower() for template in PARAPHRASES for text in PARAPHRASES[template][part]}
        for part in ("train", "test")
    )
    assert not train & test
    for first, second in zip(*(PARAPHRASES[template]["train"] for template in ONE), strict=True):
        assert first != second  # word for word the same but for which ECG is meant
        swapped = {"first": "second", "second": "first"}
        assert " ".join(swapped.get(word, word) for word in first.split()) == second
