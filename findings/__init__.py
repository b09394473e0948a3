"""Findings: what ECGs are said to show, in one vocabulary.

`vocabulary` has every finding with the codes and statements that mean it; `labels` turns a source's statements into
findings and says what a list of findings decides; `exclusions` says which contradict each other; `statement_texts`
words findings as short statements; `stated` says what of a file's free text may be shown. Nothing here knows of
signals, corpora or models. A new finding is one entry of `vocabulary.VOCABULARY`.
"""

from .labels import GROUPS, VOCABULARY, Finding, findings_from_statements, severity
from .stated import finding_stated

__all__ = ["GROUPS", "VOCABULARY", "Finding", "finding_stated", "findings_from_statements", "severity"]
