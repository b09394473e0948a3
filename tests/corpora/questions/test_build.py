"""Questions are true of their records, drawn evenly, worded apart for training and testing, the same every time."""

from collections import Counter
from string import Formatter

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from ecgllm.corpora import (
    QUESTION_FEATURES,
    DebiasReport,
    audit,
    build_questions,
    debias,
    debias_with_report,
    prepare,
    records_to_corpus,
)
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.findings.labels import GROUPS, VOCABULARY, label, most_specific
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

COMMON = [
    ("normal ecg", "sinus rhythm"),
    ("atrial fibrillation",),
    ("sinus rhythm", "complete left bundle branch block"),
    ("sinus rhythm", "first degree av block", "left axis deviation"),
    ("sinus bradycardia", "premature ventricular complexes"),
]


def make_corpus(n: int = 60, per_patient: int = 1) -> Dataset:
    signal = np.zeros((1, 10), dtype=np.float32)
    records = []
    for i in range(n):
        findings = COMMON[i % 5] if i % 10 else ("atrial flutter",)
        patient, visit = f"p{i // per_patient}", i % per_patient
        records.append(
            ECGRecord(signal, 10.0, ("I",), id=f"r{i}-{visit}", patient_id=patient, findings=findings, source="test")
        )
    return records_to_corpus(records, "test")


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return make_corpus()


@pytest.fixture(scope="module")
def questions(corpus) -> Dataset:
    return build_questions(corpus)


def test_columns_ids_and_answers(questions, corpus):
    assert questions.features == QUESTION_FEATURES
    assert len(set(questions["question_id"])) == len(questions)
    known = set(corpus["id"])
    for row in questions:
        assert set(row["ecg_ids"]) <= known and len(row["ecg_ids"]) == (2 if "comparison" in row["type"] else 1)
        assert row["answers"] == sorted(row["answers"]) and row["answers"]
        assert set(row["answers"]) <= {"yes", "no", "none"} or set(row["answers"]) <= VOCABULARY.keys() | GROUPS.keys()
        assert not [field for _, field, _, _ in Formatter().parse(row["question"]) if field]
    assert {"verify", "choose", "query", "comparison-irrelevant-verify"} <= set(questions["type"])


def test_answers_are_true(questions, corpus):
    present = {row["id"]: set(row["findings"]) for row in corpus}
    stated = set().union(*present.values())
    for row in questions:
        sets = [present[name] for name in row["ecg_ids"]]
        if row["template"] in ("verify-finding", "verify-normal"):
            assert label(sets[0], row["attribute"], stated) is (row["answers"] == ["yes"])
        elif row["template"] == "choose-finding":
            options = row["attribute"].split(" or ")
            assert all(option in row["question"] for option in options)
            shown = sorted(option for option in options if option in sets[0])
            assert row["answers"] == (shown or ["none"])
        elif row["template"] in ("compare-new", "compare-resolved"):
            before, after = sets if row["template"] == "compare-new" else sets[::-1]
            new = row["attribute"] in after and row["attribute"] not in before
            assert new is (row["answers"] == ["yes"])
        elif row["template"] == "query-abnormalities":
            assert row["answers"] == ([f for f in most_specific(sets[0]) if VOCABULARY[f].abnormal] or ["none"])
        elif row["template"] == "compare-new-query":
            new = [f for f in most_specific(sets[1]) if VOCABULARY[f].abnormal and f not in sets[0]]
            assert row["answers"] == (new or ["none"])


def test_only_what_the_corpus_states_is_asked(questions, corpus):
    stated = {name for findings in corpus["findings"] for name in findings}
    asked = {row["attribute"] for row in questions if row["template"] in ("verify-finding", "compare-new")}
    assert asked <= stated and "atrial flutter" in asked


def test_of_joined_corpora_a_source_denies_only_what_it_ever_states(corpus):
    """A source of two findings, joined to one of many: its silence about the others means nothing."""
    signal, findings = np.zeros((1, 10), dtype=np.float32), [("sinus rhythm",), ("atrial fibrillation",)]
    records = [ECGRecord(signal, 10.0, ("I",), id=f"n{i}", findings=findings[i % 2]) for i in range(60)]
    joined = concatenate_datasets([corpus, records_to_corpus(records, "narrow")])
    shown = {row["id"]: set(row["findings"]) for row in joined}
    narrow = {row["id"] for row in joined if row["source"] == "narrow"}
    stated = {"sinus rhythm", "atrial fibrillation", "arrhythmia", "any abnormality"}
    denied = set()
    for row in build_questions(joined, per_record=12):
        for record_id in narrow.intersection(row["ecg_ids"]):
            # Whatever the answer, a finding that is asked about and not shown was taken to be absent.
            asked = {name for name in row["attribute"].split(" or ") if name in VOCABULARY}
            assert asked <= shown[record_id] | stated, row
            if row["answers"] == ["no"]:
                assert row["attribute"] in stated, row
                denied.add(row["attribute"])
            assert row["template"] != "query-group", row
    assert denied == stated


def test_records_without_a_source_are_of_one(corpus):
    assert build_questions(corpus.remove_columns("source"))[:] == build_questions(corpus)[:]


def test_yes_and_no_are_drawn_alike(corpus):
    counts = Counter(row["answers"][0] for row in build_questions(corpus, types=("verify",)))
    assert counts["yes"] == counts["no"]
    skewed = Counter(row["answers"][0] for row in build_questions(corpus, types=("verify",), no_per_yes=2.0))
    assert skewed["no"] > 1.5 * skewed["yes"]


def test_half_of_the_unchanged_pairs_need_both_ecgs(questions, corpus):
    present = {row["id"]: set(row["findings"]) for row in corpus}
    no = [row for row in questions if row["template"] == "compare-new" and row["answers"] == ["no"]]
    shown = [any(row["attribute"] in present[name] for name in row["ecg_ids"]) for row in no]
    assert len(no) > 5 and np.mean(shown) >= 0.45


def test_comparisons_prefer_the_same_patient_and_stay_in_one_split():
    corpus = make_corpus(60, per_patient=3)
    rows = build_questions(corpus, types=("comparison",))
    patient, split = ({row["id"]: row[key] for row in corpus} for key in ("patient_id", "split"))
    kinds = Counter()
    for row in rows:
        first, second = row["ecg_ids"]
        same = patient[first] == patient[second]
        assert same is not row["type"].startswith("comparison-irrelevant")
        assert split[first] == split[second] == row["split"]
        kinds[same] += 1
    assert kinds[True] > 0


def test_size_follows_per_record(corpus):
    few = build_questions(corpus, per_record=1)
    many = build_questions(corpus, per_record=3)
    assert len(few) < len(many)
    for kind in ("verify", "choose", "query"):
        assert few["type"][:].count(kind) <= 1.1 * len(corpus) + 10


def test_each_type_has_a_number_of_its_own(corpus):
    rows = build_questions(corpus, per_record={"choose": 2, "verify": 0.5})
    counts = Counter(rows["type"])
    assert set(counts) == {"verify", "choose"}
    assert counts["verify"] == pytest.approx(0.5 * len(corpus), rel=0.2)
    assert counts["choose"] == pytest.approx(2 * len(corpus), rel=0.2)
    alone = build_questions(corpus, types=["choose"], per_record=2)
    assert [row for row in rows if row["type"] == "choose"] == list(alone)


def test_same_seed_same_questions(corpus):
    first, again, other = (build_questions(corpus, seed=seed, per_record=1)[:] for seed in (5, 5, 6))
    assert first == again and first != other


def test_paraphrases_are_apart():
    texts = [text for sets in PARAPHRASES.values() for kind in ("train", "test") for text in sets[kind]]
    assert len(texts) == len(set(texts))
    for template, sets in PARAPHRASES.items():
        assert len(sets["train"]) >= 5 and len(sets["test"]) >= 2, template
        assert not {text.lower() for text in sets["train"]} & {text.lower() for text in sets["test"]}


def test_built_questions_share_no_paraphrase(corpus):
    train, test = (set(build_questions(corpus, paraphrases=kind)["question"]) for kind in ("train", "test"))
    assert train and test and not train & test


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"types": ["why"]}, "why"),
        ({"paraphrases": "dev"}, "dev"),
        ({"attributes": ["flu"]}, "flu"),
        ({"per_record": {}}, "per_record is an empty mapping"),
        ({"per_record": float("inf")}, "found inf; expected positive numbers"),
        ({"per_record": 0}, "found 0; expected positive numbers"),
        ({"per_record": {"verify": "many"}}, "found 'many'; expected positive numbers"),
        ({"per_record": {"why": 1}}, "unknown question types .'why'"),
        ({"per_record": {"verify": 1}, "types": ["verify", "query"]}, "numbers for verify, types are verify, query"),
        ({"about": ["flu"]}, "expected some of findings, leads, measurements"),
        ({"about": []}, "expected some of findings, leads, measurements"),
        ({"no_per_yes": -1}, "no_per_yes=-1; expected a number from 0"),
    ],
)
def test_refusals(corpus, arguments, message):
    with pytest.raises(ValueError, match=message):
        build_questions(corpus, **arguments)


def test_each_split_has_paraphrases_of_its_own(corpus):
    rows = build_questions(corpus, paraphrases="split")
    assert set(rows["split"]) == set(corpus["split"]) > {"train"}
    split = dict(zip(corpus["id"], corpus["split"], strict=True))
    paraphrases = {part: set() for part in ("train", "test")}
    for row in rows:
        assert {split[name] for name in row["ecg_ids"]} == {row["split"]}
        paraphrases["train" if row["split"] == "train" else "test"].add(row["question"])
    assert not paraphrases["train"] & paraphrases["test"]
    assert build_questions(corpus, phrasings="split")[:] == rows[:], "the option's former name"
    assert audit(rows).paraphrase_leaks == []
    # The training part is what asking the training records alone gives.
    train = corpus.filter(lambda name: name == "train", input_columns="split")
    assert build_questions(train)[:] == rows.filter(lambda row: row["split"] == "train")[:]


def test_attributes_can_be_chosen(corpus):
    rows = build_questions(corpus, types=("verify",), attributes=["atrial fibrillation", "any abnormality"])
    assert set(rows["attribute"]) == {"atrial fibrillation", "any abnormality"}


@pytest.mark.parametrize("about", [("findings",), ("leads",), ("measurements",), ("findings", "leads")])
def test_what_is_asked_about_can_be_chosen(about):
    records = records_to_corpus(simulate_ecgs(40, seed=3), "simulation")
    kinds = {"lead": "leads", "leads": "leads", "range": "measurements", "limit": "measurements"}
    rows = build_questions(records, types=("verify", "query"), about=about)
    assert {kinds.get(name.split("-")[-1], "findings") for name in rows["template"]} == set(about)
    assert len(rows) > 200  # of 320: what is not asked about leaves its share to the rest


def sides(rows: Dataset, *columns: str) -> tuple[Counter, Counter]:
    counts = {"yes": Counter(), "no": Counter()}
    for row in rows:
        counts[row["answers"][0]][tuple(row[column] for column in columns)] += 1
    return counts["yes"], counts["no"]


@pytest.mark.parametrize("no_per_yes", [0.5, 1.0, 3.0])
def test_debias_balances_attributes_and_paraphrases_exactly(corpus, no_per_yes):
    rows = build_questions(corpus, no_per_yes=no_per_yes)
    balanced, report = debias_with_report(rows, seed=1)
    for columns in (("template", "attribute"), ("template", "type", "attribute"), ("question",)):
        yes, no = sides(balanced, *columns)
        assert yes == no and yes
    assert {"verify", "comparison-irrelevant-verify"} <= set(balanced["type"])
    lost = sum(sum(counts.values()) for counts in report.dropped.values())
    assert report.kept == len(balanced) == report.questions - report.not_verify - lost
    assert debias(rows, seed=1)[:] == balanced[:]


def test_debias_lists_what_it_loses(corpus):
    rows = build_questions(corpus, types=("verify",), attributes=["atrial fibrillation", "atrial flutter"])
    one_sided = rows.filter(lambda row: row["attribute"] != "atrial flutter" or row["answers"] == ["yes"])
    balanced, report = debias_with_report(one_sided)
    assert set(balanced["attribute"]) == {"atrial fibrillation"}
    assert report.lost == [("verify-finding", "verify", "atrial flutter")] and "nothing is left" in str(report)


def test_a_debias_report_lists_the_largest_losses_first_and_what_was_kept_last():
    dropped = {("verify-finding", "verify", f"finding {n}"): {"yes": n, "no": 1} for n in range(60)}
    report = DebiasReport(questions=2000, kept=100, not_verify=40, dropped=dropped)
    lines = report.text(most=10, all_in="out/report.txt").splitlines()
    assert lines[0] == "dropped of verify-finding / verify / finding 59: 59 yes, 1 no"
    assert lines[10] == "... and 50 more (all are in out/report.txt)"
    kept = "kept 100 of 2000 questions; 40 are not answered by yes or no, 1860 could not be balanced"
    assert lines[11:] == [kept]
    assert len(report.text().splitlines()) == 61 and str(report).splitlines()[50:] == [
        "... and 10 more like these",
        kept,
    ]


def test_debias_refuses_what_has_one_side_only(corpus):
    rows = build_questions(corpus, types=("verify",)).filter(lambda row: row["answers"] == ["yes"])
    with pytest.raises(ValueError, match="both a record that answers yes"):
        debias(rows)


def test_debias_uses_records_evenly(corpus):
    balanced = debias(build_questions(corpus, types=("verify",), per_record=8), by_split=False)
    use = Counter(name for row in balanced for name in row["ecg_ids"])
    assert len(use) == len(corpus) and max(use.values()) <= 4 * min(use.values())


def test_real_corpora(shared_data):
    for name in ("ludb", "ptbxl", "cinc2021"):
        corpus = prepare(name, shared_data / name, limit=50)
        rows = build_questions(corpus, per_record=2)
        balanced = debias(rows)
        assert len(balanced) > 50 and balanced["answers"][:].count(["yes"]) * 2 == len(balanced)
        assert not any("no noise" in question for question in rows["question"])
