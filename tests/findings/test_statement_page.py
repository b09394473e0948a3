"""The page that a cardiologist reviews says what the code does, of every statement."""

import importlib
from pathlib import Path

import pytest

from ecgllm.findings.labels import findings_from_statements, implied
from ecgllm.findings.vocabulary import VOCABULARY

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def written(monkeypatch):
    """The module that writes the page; it is no part of the package."""
    monkeypatch.syspath_prepend(str(DOCS))
    return importlib.import_module("statements")


def test_the_page_is_what_the_code_says(written):
    assert (DOCS / "statements.md").read_text(encoding="utf-8") == written.statement_page(), (
        "run python docs/statements.py docs/statements.md, and read what changed"
    )


def test_every_statement_is_in_it_and_every_code_is_named(written):
    tables = written.statements_by_source()
    assert set(tables["SNOMED"]) == set(written.SNOMED_NAMES) and len(written.SNOMED_NAMES) == 133
    assert set(tables["SCP"]) == set(written.SCP_NAMES) and len(written.SCP_NAMES) == 71
    assert set(written.AHA_STATEMENTS) <= set(VOCABULARY)
    for kind, statements in tables.items():
        for content, findings in statements.items():
            assert findings_from_statements([f"{kind}:{content}"]) == (implied(findings), ()), content
