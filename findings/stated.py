"""What may be shown of a file's free text: the findings that a statement names, in the vocabulary's words, or nothing.

In: a statement as a reader gives it ("SNOMED:426783006", "MUSE:Normal sinus rhythm", "MUSE:Reviewed: a name"). Out:
text for a screen, a table or a log. Decided here: what is shown is written by the vocabulary, never by the file, and
only where the whole statement means findings. Statements hold names and dates in more forms than anybody lists ("seen
by", "compared with the ECG of"), so that no phrase is looked for.
"""

from __future__ import annotations

from functools import lru_cache

from .labels import VOCABULARY, findings_from_statements, most_specific
from .machine_statements import mimic_statement
from .statement_texts import also_called


def finding_stated(statement: str) -> str | None:
    """The findings that a statement names, most specific only, joined by ", "; None where it names none, or says more.

    Args: statement: "<kind>:<code or sentence>" as in `ECGRecord.statements`, or a sentence or a finding alone. A
        sentence of a device is known if all of it is a finding's name, another name of it (`statement_texts`), or a
        sentence of `machine_statements`, in any case.
    """
    kind, colon, content = statement.partition(":")
    for known in (statement, f"MIMIC:{content}" if colon else f"MIMIC:{statement}"):
        findings, _ = findings_from_statements([known])
        if findings:
            return ", ".join(most_specific(findings))
    sentence = mimic_statement(content if colon else statement)
    return _by_name().get(sentence)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, str]:
    """Names of findings as `mimic_statement` writes a sentence -> the vocabulary's name."""
    return {mimic_statement(name): finding for finding in VOCABULARY for name in (finding, *also_called(finding))}
