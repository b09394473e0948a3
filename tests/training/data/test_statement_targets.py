"""Targets of statements: what is known, what is masked, how yes and no are balanced, and the paraphrases of a step."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from datasets import Dataset

from ecgllm.training.data.pretraining_examples import PretrainingExamples
from ecgllm.training.data.statement_targets import StatementTargets
from ecgllm.training.pretrain_stage import _statements
from ecgllm.training.stage_training import select_split

SINUS, AF, FLUTTER = ["sinus rhythm"], ["atrial fibrillation"], ["atrial flutter"]


def test_targets_are_true_false_or_open() -> None:
    findings = [SINUS, AF, ["left bundle branch block", "bundle branch block", "sinus rhythm"]]
    statements = StatementTargets(findings, {None: {name for own in findings for name in own}})
    found = dict(zip(statements.names, statements.targets(["bundle branch block", "sinus rhythm"]), strict=True))
    assert found["sinus rhythm"] == 1 and found["atrial fibrillation"] == 0 and found["conduction disturbance"] == 1
    assert found["left bundle branch block"] == -1
    assert set(statements.targets([])) == {-1}


def test_a_source_denies_only_what_it_ever_states() -> None:
    findings, sources = [SINUS, AF, SINUS, FLUTTER], ["a", "a", "b", "b"]
    stated = {"a": {*SINUS, *AF}, "b": {*SINUS, *FLUTTER}}
    statements = StatementTargets(findings, stated, sources=sources)
    column = statements.names.index("atrial flutter")
    assert [statements.targets(SINUS, source)[column] for source in "ab"] == [-1, 0]
    assert [statements.targets(FLUTTER, source)[column] for source in "ab"] == [1, 1]
    assert statements.targets(SINUS, "a")[statements.names.index("arrhythmia")] == 0
    # One yes and one no among four records: what is open counts to neither.
    assert statements.weights[:, column] == pytest.approx([2, 2])
    with pytest.raises(ValueError, match="source is 'c'; expected one of 'a', 'b'"):
        statements.targets(SINUS, "c")


def test_examples_of_joined_corpora_are_held_against_what_their_source_states() -> None:
    columns = {
        "id": list("pqrstu"),
        "patient_id": list("pqrstu"),
        "report": ["a report"] * 6,
        "findings": [SINUS, AF, SINUS, FLUTTER, SINUS, AF],
        "source": ["a", "a", "b", "b", "b", "b"],
        "split": ["train"] * 4 + ["validation"] * 2,  # atrial fibrillation is stated by b where nothing trains
    }
    corpus = Dataset.from_dict(columns)
    recipe = SimpleNamespace(seed=0, corpus="joined")
    context = SimpleNamespace(corpus=corpus, split=partial(select_split, corpus), recipe=recipe)
    streamed = {"a": frozenset(FLUTTER), "c": frozenset(AF)}
    statements = _statements(context, SimpleNamespace(text="findings"), streamed)
    examples = PretrainingExamples(corpus, {name: {} for name in columns["id"]}, "findings", statements)
    targets = np.stack([examples[index]["targets"] for index in range(6)])
    # Source a states flutter in the stream alone: its silence means no, there as in the corpus.
    assert list(targets[:, statements.names.index("atrial flutter")]) == [0, 0, 0, 1, 0, 0]
    assert list(targets[:, statements.names.index("atrial fibrillation")]) == [0, 1, 0, 0, 0, 1]
    alone = _statements(context, SimpleNamespace(text="findings"), {})
    assert alone.targets(SINUS, "a")[alone.names.index("atrial flutter")] == -1
    assert statements.targets(SINUS, "c")[statements.names.index("atrial fibrillation")] == 0


def test_what_tells_no_record_from_another_is_not_stated() -> None:
    statements = StatementTargets([AF, AF, AF], {None: {"atrial fibrillation", "sinus rhythm"}})
    assert len(statements) == 0
    statements = StatementTargets([AF, SINUS], {None: {"atrial fibrillation", "sinus rhythm", "atrial flutter"}})
    assert "atrial flutter" not in statements.names  # nobody in training has it
    assert {"atrial fibrillation", "arrhythmia"} <= set(statements.names) and "pacing" not in statements.names


def test_both_sides_of_a_statement_weigh_the_same() -> None:
    findings = [AF] * 10 + [SINUS] * 30 + [["bundle branch block"]] * 10
    statements = StatementTargets(findings, {None: {"atrial fibrillation", "sinus rhythm", "bundle branch block"}})
    column = statements.names.index("atrial fibrillation")
    targets = np.array([statements.targets(own)[column] for own in findings])
    weight = statements.weights[:, column]
    assert weight[1] * (targets == 1).mean() == pytest.approx(0.5)
    assert weight[0] * (targets == 0).mean() == pytest.approx(0.5)


def test_a_rare_finding_does_not_weigh_without_bound() -> None:
    findings = [AF] + [SINUS] * 999
    statements = StatementTargets(findings, {None: {"atrial fibrillation", "sinus rhythm"}})
    assert statements.weights[1, statements.names.index("atrial fibrillation")] == 25


def test_paraphrases_follow_from_seed_and_step() -> None:
    findings, stated = [AF, SINUS, FLUTTER], {None: {*AF, *SINUS, *FLUTTER}}
    statements, same, other = (StatementTargets(findings, stated, seed) for seed in (3, 3, 4))
    assert statements.texts(5) == same.texts(5)
    assert len({tuple(statements.texts(step)) for step in range(10)}) == 10
    assert statements.texts(5) != other.texts(5)
    used = {text for step in range(200) for text in statements.texts(step)}
    assert {"AFib", "finding: atrial fibrillation", "ECG with AF"} <= used
    assert not used & set(statements.measuring_texts()[len(statements) :])


def test_measuring_texts_come_paraphrase_by_paraphrase() -> None:
    statements = StatementTargets([AF, SINUS], {None: {*AF, *SINUS}})
    texts, count = statements.measuring_texts(), len(statements)
    assert len(texts) == 3 * count and tuple(texts[:count]) == statements.names
    for position, name in enumerate(statements.names):
        assert name in texts[count + position] and name in texts[2 * count + position]
