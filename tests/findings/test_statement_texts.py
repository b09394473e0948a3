"""Statements: every finding and group can be said, no two say the same, and measuring uses other paraphrases."""

import pytest

from ecgllm.corpora import VOCABULARY
from ecgllm.findings.labels import GROUPS
from ecgllm.findings.statement_texts import ANY_ABNORMALITY, holds, statement_names, statement_paraphrases

NAMES = [*VOCABULARY, *GROUPS, ANY_ABNORMALITY]


def test_no_paraphrase_stands_for_two_statements() -> None:
    owners: dict[str, str] = {}
    for name in NAMES:
        said = [*statement_paraphrases(name), *statement_paraphrases(name, "test")]
        assert len(said) == len(set(said))
        for text in said:
            assert owners.setdefault(text.lower(), name) == name


def test_measuring_and_training_share_no_paraphrase() -> None:
    for name in NAMES:
        assert not set(statement_paraphrases(name)) & set(statement_paraphrases(name, "test"))
        assert statement_paraphrases(name)[0] == name and "AFib" not in statement_paraphrases(name, "test")
    assert "AFib" in statement_paraphrases("atrial fibrillation")


def test_what_is_no_finding_is_refused() -> None:
    with pytest.raises(ValueError, match="'atrial fibrilation' is neither a finding"):
        statement_paraphrases("atrial fibrilation")


def test_names_are_the_findings_that_occur_and_the_groups() -> None:
    names = statement_names([["sinus rhythm"], ["left axis deviation", "sinus rhythm"], []])
    assert names == ("sinus rhythm", "left axis deviation", *GROUPS, ANY_ABNORMALITY)


def test_what_holds() -> None:
    findings = ["atrial fibrillation", "bundle branch block"]
    stated = VOCABULARY
    assert holds(findings, "atrial fibrillation", stated) is True
    assert holds(findings, "atrial flutter", stated) is False
    assert holds(findings, "left bundle branch block", stated) is None  # the side was not said
    assert holds(findings, "conduction disturbance", stated) is True
    assert holds(findings, "pacing", stated) is False
    assert holds(findings, ANY_ABNORMALITY, stated) is True
    assert holds([], "atrial fibrillation", stated) is None
