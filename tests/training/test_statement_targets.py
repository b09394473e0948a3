"""Targets of statements: what is known, what is masked, how the sides are balanced, and which wordings a step has."""

import numpy as np
import pytest

from ecgllm.training.statement_targets import StatementTargets

SINUS, AF, FLUTTER = ["sinus rhythm"], ["atrial fibrillation"], ["atrial flutter"]


def test_targets_are_true_false_or_open() -> None:
    findings = [SINUS, AF, ["left bundle branch block", "bundle branch block", "sinus rhythm"]]
    statements = StatementTargets(findings, {name for own in findings for name in own})
    found = dict(zip(statements.names, statements.targets(["bundle branch block", "sinus rhythm"]), strict=True))
    assert found["sinus rhythm"] == 1 and found["atrial fibrillation"] == 0 and found["conduction disturbance"] == 1
    assert found["left bundle branch block"] == -1
    assert set(statements.targets([])) == {-1}


def test_what_tells_no_record_from_another_is_not_stated() -> None:
    statements = StatementTargets([AF, AF, AF], {"atrial fibrillation", "sinus rhythm"})
    assert len(statements) == 0
    statements = StatementTargets([AF, SINUS], {"atrial fibrillation", "sinus rhythm", "atrial flutter"})
    assert "atrial flutter" not in statements.names  # nobody in training has it
    assert {"atrial fibrillation", "arrhythmia"} <= set(statements.names) and "pacing" not in statements.names


def test_both_sides_of_a_statement_weigh_the_same() -> None:
    findings = [AF] * 10 + [SINUS] * 30 + [["bundle branch block"]] * 10
    statements = StatementTargets(findings, {"atrial fibrillation", "sinus rhythm", "bundle branch block"})
    column = statements.names.index("atrial fibrillation")
    targets = np.array([statements.targets(own)[column] for own in findings])
    weight = statements.weights[:, column]
    assert weight[1] * (targets == 1).mean() == pytest.approx(0.5)
    assert weight[0] * (targets == 0).mean() == pytest.approx(0.5)


def test_a_rare_finding_does_not_weigh_without_bound() -> None:
    findings = [AF] + [SINUS] * 999
    statements = StatementTargets(findings, {"atrial fibrillation", "sinus rhythm"})
    assert statements.weights[1, statements.names.index("atrial fibrillation")] == 25


def test_wordings_follow_from_seed_and_step() -> None:
    findings, stated = [AF, SINUS, FLUTTER], {*AF, *SINUS, *FLUTTER}
    statements, same, other = (StatementTargets(findings, stated, seed) for seed in (3, 3, 4))
    assert statements.texts(5) == same.texts(5)
    assert len({tuple(statements.texts(step)) for step in range(10)}) == 10
    assert statements.texts(5) != other.texts(5)
    used = {text for step in range(200) for text in statements.texts(step)}
    assert {"AFib", "finding: atrial fibrillation", "ECG with AF"} <= used
    assert not used & set(statements.measuring_texts()[len(statements) :])


def test_measuring_texts_come_wording_by_wording() -> None:
    statements = StatementTargets([AF, SINUS], {*AF, *SINUS})
    texts, count = statements.measuring_texts(), len(statements)
    assert len(texts) == 3 * count and tuple(texts[:count]) == statements.names
    for position, name in enumerate(statements.names):
        assert name in texts[count + position] and name in texts[2 * count + position]
