"""Questions about kinds of findings, which of two, what a lead shows, and ranges are true of their records."""

from collections import Counter

import numpy as np
import pytest
from datasets import Dataset, concatenate_datasets

from ecgllm.corpora import build_questions, debias, records_to_corpus
from ecgllm.corpora.questions.about_findings import DIAGNOSTIC, KINDS, STAGES, WAVEFORM
from ecgllm.corpora.questions.about_measurements import FEATURES, OUTSIDE
from ecgllm.findings.labels import GROUPS, VOCABULARY, implied, label, most_specific
from ecgllm.signals import ECGRecord
from ecgllm.signals.simulation import simulate_ecgs

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SIGNAL = np.zeros((1, 10), dtype=np.float32)


@pytest.fixture(scope="module")
def corpus() -> Dataset:
    return records_to_corpus(simulate_ecgs(250, seed=2), source="simulation")


@pytest.fixture(scope="module")
def known(corpus) -> dict[str, dict]:
    rows = {row["id"]: row for row in corpus.remove_columns("ecg")}
    for row in rows.values():
        row["findings"] = frozenset(row["findings"])
        row["leads"] = {one["finding"]: set(one["leads"]) for one in row["finding_leads"]}
    return rows


@pytest.fixture(scope="module")
def stated(known) -> frozenset[str]:
    return frozenset().union(*(row["findings"] for row in known.values()))


@pytest.fixture(scope="module")
def questions(corpus) -> Dataset:
    return build_questions(corpus, per_record=6)


def of(questions: Dataset, *templates: str) -> list[dict]:
    rows = [row for row in questions if row["template"] in templates]
    assert {row["template"] for row in rows} == set(templates)
    return rows


def lead_in(question: str) -> str:
    words = question.replace("?", " ").replace(",", " ").replace(".", " ").replace(":", " ").split()
    return words[words.index("lead") + 1]


def category(name: str) -> str:
    return VOCABULARY[name].category


def test_kinds_of_findings(questions, known) -> None:
    categories = {DIAGNOSTIC: {"conduction", "hypertrophy", "ischemia_infarction"}, WAVEFORM: {"st_t", "voltage"}}
    waves = {"abnormal q wave", "abnormal r wave", "poor r wave progression"}
    seen = Counter()
    for row in of(questions, "verify-kind", "query-kind"):
        findings, kind = known[row["ecg_ids"][0]]["findings"], row["attribute"]
        assert ("hypertrophy" in row["question"]) is (kind == DIAGNOSTIC)
        assert ("ST segment" in row["question"]) is (kind == WAVEFORM)
        shown = sorted(
            name
            for name in most_specific(findings)
            if VOCABULARY[name].abnormal
            and (category(name) in categories[kind] or (kind == WAVEFORM and name in waves))
        )
        if row["template"] == "verify-kind":
            assert row["answers"] == ["yes" if shown else "no"]
        else:
            assert row["answers"] == (shown or ["none"])
        if kind == WAVEFORM and not shown:  # what changes the waveform all the same leaves it open
            assert {category(name) for name in findings} <= {"rhythm", "axis", "noise", "other"}
            assert not any(name.startswith("ventricular") for name in findings)
        seen[row["template"], kind, bool(shown)] += 1
    assert len(seen) == 8 and set(KINDS) == {DIAGNOSTIC, WAVEFORM}
    for kind in KINDS:
        assert seen["verify-kind", kind, True] == seen["verify-kind", kind, False]


def test_a_kind_of_which_a_category_is_open_is_not_denied() -> None:
    """A source that never states hypertrophy or infarction: its silence about them is no "no"."""
    findings = [("sinus rhythm",), ("sinus rhythm", "first degree av block")]
    records = [ECGRecord(SIGNAL, 10.0, ("I",), id=f"r{i}", findings=findings[i % 2], source="x") for i in range(40)]
    rows = build_questions(records_to_corpus(records, "x"), types=("verify", "query"), per_record=20)
    assert not [row for row in rows if row["template"] == "verify-kind"]
    listed = [row for row in rows if row["template"] == "query-kind"]
    assert listed and all(row["answers"] == ["first degree av block"] for row in listed)


def test_which_of_two(questions, known, stated) -> None:
    seen = Counter()
    for row in of(questions, "choose-stage", "choose-noise", "choose-group", "choose-noise-lead", "choose-finding"):
        record, template = known[row["ecg_ids"][0]], row["template"]
        options = GROUPS if template == "choose-group" else VOCABULARY
        words = row["attribute"].split(" or ")
        [pair] = [
            names
            for names in ((" or ".join(words[:i]), " or ".join(words[i:])) for i in range(1, len(words)))
            if set(names) <= set(options)
        ]
        assert all(name in row["question"] for name in pair)
        if template == "choose-group":
            shows = [
                any(VOCABULARY[f].abnormal and category(f) == GROUPS[name] for f in record["findings"])
                for name in pair
            ]
        else:
            shows = [label(record["findings"], name, stated) for name in pair]
        if template == "choose-noise-lead":
            lead = lead_in(row["question"])
            shows = [lead in record["leads"].get(name, ()) for name in pair]
        assert None not in shows
        assert row["answers"] == ([name for name, shown in zip(pair, shows, strict=True) if shown] or ["none"]), row
        if template == "choose-stage":
            assert set(pair) <= STAGES
        if template.startswith("choose-noise"):
            assert {category(name) for name in pair} == {"noise"}
        seen[template, sum(shows)] += 1
    for template in {template for template, _ in seen}:
        assert seen[template, 1] > seen[template, 0] > 0, template


def test_the_wrong_one_is_of_the_right_ones_category(corpus, known, stated) -> None:
    rows = build_questions(corpus, types=("choose",), about=("findings",), per_record=10)
    alike = others = commoner = 0
    times = Counter(name for record in known.values() for name in record["findings"])
    for row in of(rows, "choose-finding"):
        pair = row["attribute"].split(" or ")
        if len(row["answers"]) == 2 or row["answers"] == ["none"]:
            continue
        [right] = row["answers"]
        [wrong] = set(pair) - {right}
        commoner += times[right] > times[wrong]
        if category(right) == category(wrong):
            alike += 1
            continue
        others += 1
        absent = [
            name
            for name in stated - {"normal ecg"}
            if category(name) == category(right)
            and label(known[row["ecg_ids"][0]]["findings"], name, stated) is False
            and right not in implied([name])
        ]
        assert not absent, (row, absent)
    assert alike > 200 and alike > 5 * others
    assert commoner < 0.7 * (alike + others), "the commoner of two is not nearly always right"


def test_no_choice_is_between_a_finding_and_what_it_implies(corpus) -> None:
    """Both would hold, or neither could be told from the other."""
    rows = build_questions(corpus, types=["choose"], per_record=8).filter(lambda name: name == "choose-finding",
                                                                           input_columns="template")  # fmt: skip
    pairs = [attribute.split(" or ") for attribute in rows["attribute"]]
    pairs = [pair for pair in pairs if len(pair) == 2 and set(pair) <= set(VOCABULARY)]
    assert len(pairs) > 20
    assert not [pair for pair in pairs if pair[0] in implied([pair[1]]) or pair[1] in implied([pair[0]])]


def test_what_a_lead_shows(questions, known) -> None:
    seen, elsewhere = Counter(), Counter()
    for row in of(questions, "verify-noise-lead", "query-noise-lead", "query-waveform-lead"):
        record, lead, template = known[row["ecg_ids"][0]], lead_in(row["question"]), row["template"]
        names = [
            name
            for name in most_specific(record["findings"])
            if (category(name) == "noise" if "noise" in template else name in KINDS[WAVEFORM])
        ]
        assert all(name in record["leads"] for name in names), "of one that is not located nothing is asked"
        shown = sorted(name for name in names if lead in record["leads"][name])
        if template == "verify-noise-lead":
            assert row["answers"] == ["yes" if shown else "no"]
        else:
            assert row["answers"] == (shown or ["none"])
        seen[template, bool(shown)] += 1
        elsewhere[template] += not shown and bool(names)
    assert len(seen) == 6
    assert seen["verify-noise-lead", True] == seen["verify-noise-lead", False]
    for template in ("verify-noise-lead", "query-noise-lead", "query-waveform-lead"):
        assert seen[template, False] <= seen[template, True] and elsewhere[template] > 0.3 * seen[template, False]


def test_a_source_that_states_exchanged_electrodes_alone_says_nothing_of_noise(corpus) -> None:
    """Both are of the category noise."""
    findings = [("sinus rhythm",), ("sinus rhythm", "suspected arm lead reversal")]
    records = [ECGRecord(SIGNAL, 10.0, ("I",), id=f"r{i}", findings=findings[i % 2]) for i in range(60)]
    joined = concatenate_datasets([corpus, records_to_corpus(records, "exchanges")])
    rows = build_questions(joined, types=("verify", "choose", "query"), about=("leads",), per_record=8)
    rows = of(rows, "verify-noise-lead", "query-noise-lead", "choose-noise-lead")
    assert {name for row in rows for name in row["ecg_ids"]} <= set(corpus["id"])


def sides(record: dict) -> dict[str, str | None]:
    values = record["measurements"]
    return {
        feature.name.lower(): None if values[column] is None else feature.range_of(values[column], record["sex"])
        for column, feature in FEATURES.items()
    }


def test_measurements_in_a_range(questions, known) -> None:
    seen = Counter()
    for row in of(questions, "query-in-range"):
        found = sides(known[row["ecg_ids"][0]])
        [asked] = [side for side in ("below", "within", "above") if f" {side} " in row["question"]]
        assert None not in found.values()
        assert row["answers"] == (sorted(name for name, side in found.items() if side == asked) or ["none"])
        seen[asked, row["answers"] == ["none"]] += 1
    assert {asked for asked, _ in seen} == {"below", "within", "above"}
    for asked in ("below", "above"):
        assert 0 < seen[asked, True] < seen[asked, False]


def test_a_range_in_two_ecgs(questions, known) -> None:
    seen = Counter()
    lists = [f"compare-range-{name}-query" for name in ("abnormal", "normal", "still-abnormal")]
    for row in of(questions, *OUTSIDE, *lists):
        both = [sides(known[name]) for name in row["ecg_ids"]]
        outside = {name: tuple(side and side != "within" for side in (own[name] for own in both)) for name in both[0]}
        wanted = OUTSIDE[row["template"].removesuffix("-query")]
        if row["template"] in OUTSIDE:
            assert None not in outside[row["attribute"]] and row["attribute"] in row["question"].lower()
            assert row["answers"] == ["yes" if outside[row["attribute"]] == wanted else "no"]
        else:
            assert not any(None in own.values() for own in both)
            assert row["answers"] == (sorted(name for name, own in outside.items() if own == wanted) or ["none"])
        seen[row["template"], row["answers"][0] in ("no", "none")] += 1
    for template in OUTSIDE:
        assert seen[template, True] == seen[template, False] > 0
    assert all(seen[template, False] > seen[template, True] for template in lists)


def test_lists_of_measurements_need_all_of_them(corpus) -> None:
    """Where one is never measured, or not asked about, what the list lacks would be open."""
    rows = build_questions(corpus, types=("query", "comparison"), attributes=["heart rate", "qrs duration"])
    assert not [row for row in rows if row["attribute"] == "measurements"]
    unmeasured = corpus.map(lambda row: {"measurements": row["measurements"] | {"pr": None}})
    rows = build_questions(unmeasured, types=("query", "comparison"), about=("measurements",))
    assert len(rows) > 100 and "measurements" not in set(rows["attribute"])


def test_what_two_ecgs_both_show(questions, known, stated) -> None:
    seen = Counter()
    for row in of(questions, "compare-both", "compare-neither", "compare-both-query"):
        first, second = (known[name]["findings"] for name in row["ecg_ids"])
        if row["template"] == "compare-both-query":
            common = [name for name in most_specific(first & second) if VOCABULARY[name].abnormal]
            assert row["answers"] == (sorted(common) or ["none"])
            for one, other in ((first, second), (second, first)):
                assert all(label(other, name, stated) is not None for name in one if VOCABULARY[name].abnormal)
        else:
            shown = [label(own, row["attribute"], stated) for own in (first, second)]
            assert row["answers"] == ["yes" if shown == [row["template"] == "compare-both"] * 2 else "no"]
        seen[row["template"], row["answers"][0]] += 1
    assert seen["compare-both", "yes"] == seen["compare-both", "no"] > 20
    assert seen["compare-neither", "yes"] == seen["compare-neither", "no"] > 20


def test_they_can_be_debiased(questions) -> None:
    templates = {"verify-kind", "verify-noise-lead", "compare-both", "compare-neither", *OUTSIDE}
    rows = questions.filter(lambda template: template in templates, input_columns="template")
    balanced = debias(rows, by_split=False)
    assert set(balanced["template"]) == templates
    assert len(balanced) > 0.6 * len(rows)


@pytest.mark.parametrize("attribute", [DIAGNOSTIC, WAVEFORM, "noise"])
def test_kinds_can_be_asked_for_alone(corpus, attribute) -> None:
    rows = build_questions(corpus, types=("verify",), attributes=[attribute])
    assert set(rows["attribute"]) == {attribute}
