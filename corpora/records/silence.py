"""What each source of a corpus ever states: by that its records' silence about a finding is judged.

In: a corpus, of one source or joined from several. Out: the source of every record, and the findings that each source
states of any record. Decided here: that sources are told apart by the column `source`; records without it, or without
a value in it, count as one source.
"""

from __future__ import annotations

from collections.abc import Iterable

from datasets import Dataset


def sources_of(corpus: Dataset) -> list[str | None]:
    """The source of every record, in the corpus' order; None where it is not known."""
    if "source" not in corpus.column_names:
        return [None] * len(corpus)
    return corpus.select_columns(["source"]).with_format(None)["source"][:]


def stated_by_source(
    findings: Iterable[Iterable[str] | None], sources: Iterable[str | None]
) -> dict[str | None, frozenset[str]]:
    """Source -> every finding that it states of some record. findings, sources: of the records, in the same order."""
    found: dict[str | None, set[str]] = {}
    for own, source in zip(findings, sources, strict=True):
        found.setdefault(source, set()).update(own or ())
    return {source: frozenset(stated) for source, stated in found.items()}
