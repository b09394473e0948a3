"""Whether a prepared corpus says its findings as today's vocabulary does.

In: a corpus as it was saved, perhaps by an earlier version. Out: nothing, or a refusal. Decided here: four marks of
an earlier mapping, none of which needs a signal: a name that is no more, a finding without a broader one that follows
from it, an axis of PTB-XL's or LUDB's that is mapped otherwise today, and CinC 2021 as one source. Such a corpus is
never mixed with a new one.
"""

from __future__ import annotations

from collections.abc import Iterable

from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...findings.labels import VOCABULARY, check_findings, findings_from_statements, implied
from .sources.cinc2021 import database_of

_AXES = ("PTBXL:axis:", "LUDB:Electric axis of the heart:")


def check_prepared_findings(corpus: Dataset) -> None:
    """Raises: ECGError for a corpus of an earlier mapping, with the first record that shows it."""
    if "findings" not in corpus.column_names:
        return
    columns = [name for name in ("id", "findings", "statements", "source") if name in corpus.column_names]
    rows = corpus.select_columns(columns).with_format(None)
    seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
    for position, row in enumerate(rows):
        findings = tuple(row["findings"] or ())
        if row.get("source") == "cinc2021" and database_of(row["id"].rpartition("-")[2]) != "cinc2021":
            raise ECGError(
                f"record {row['id']!r}: its source is cinc2021 as a whole, of which each database labels differently. "
                "The corpus was prepared by an earlier version: prepare it again (ecgllm prepare)"
            )
        # Findings of a folder's table are not what its files state.
        own = row.get("source") in (None, "ptbxl", "ludb")
        axes = tuple(one for one in row.get("statements") or () if own and one.startswith(_AXES))
        if (findings, axes) in seen:
            continue
        seen.add((findings, axes))
        wrong = _earlier(findings, axes)
        if wrong:
            raise ECGError(
                f"record {row.get('id', position)!r}: {wrong}. The corpus was prepared by an earlier version, whose "
                "findings do not mean the same: prepare it again (ecgllm prepare); or it was made by hand: state what "
                "follows from a finding, too"
            )


def _earlier(findings: tuple[str, ...], axes: Iterable[str]) -> str:
    try:
        check_findings(findings)
    except ECGError as error:
        return str(error)
    lacking = sorted(set(implied(findings)) - set(findings))
    if lacking:
        return f"its findings lack {', '.join(lacking)}, which follows from {', '.join(findings)}"
    found, wanted = (
        {name for name in names if VOCABULARY[name].category == "axis"} for names in (findings, _of(axes))
    )
    if axes and found and found != wanted:
        return f"its axis is {', '.join(sorted(found))}; {', '.join(axes)} means {', '.join(sorted(wanted))}"
    return ""


def _of(axes: Iterable[str]) -> tuple[str, ...]:
    return findings_from_statements(axes)[0]
