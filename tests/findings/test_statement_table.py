"""The page that a cardiologist reviews says what the code does, of every statement."""

from pathlib import Path

from ecgllm.findings.labels import findings_from_statements, implied
from ecgllm.findings.statement_names import AHA_STATEMENTS, SCP_NAMES, SNOMED_NAMES
from ecgllm.findings.statement_table import statement_page, statements_by_source
from ecgllm.findings.vocabulary import VOCABULARY

PAGE = Path(__file__).resolve().parents[2] / "docs" / "statements.md"


def test_the_page_is_what_the_code_says():
    assert PAGE.read_text(encoding="utf-8") == statement_page(), (
        "run python -m ecgllm.findings.statement_table docs/statements.md, and read what changed"
    )


def test_every_statement_is_in_it_and_every_code_is_named():
    tables = statements_by_source()
    assert set(tables["SNOMED"]) == set(SNOMED_NAMES) and len(SNOMED_NAMES) == 133
    assert set(tables["SCP"]) == set(SCP_NAMES) and len(SCP_NAMES) == 71
    assert set(AHA_STATEMENTS) <= set(VOCABULARY)
    for kind, statements in tables.items():
        for content, findings in statements.items():
            assert findings_from_statements([f"{kind}:{content}"]) == (implied(findings), ()), content
