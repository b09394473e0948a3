"""Yes-or-no questions about single findings: rows to be planned, and a balanced sample of records for them.

In: `Material`. Out: rows for `predictions.planned`. Decided here: that findings are asked about in the words of
`labels_of_records.question_about` unless a section asks in others on purpose, so that a question that several sections
need is the same question; and that a sample has as many records that answer yes as no, of each finding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from ..corpora.questions.about_findings import Stated, verify
from ..corpora.questions.sampling import Rows, facts_of, question_id
from .labels_of_records import question_about, template_of
from .material import Material
from .predictions import YES_NO


def finding_row(material: Material, record_id: str, finding: str, answer: bool | None, **columns: Any) -> dict:
    """A planned row that asks one record about one finding; more columns of `PLANNED` replace these.

    Args: answer: what is right, None where the record leaves it open.
    """
    question = columns.get("question") or question_about(finding)
    template = template_of(finding)
    return {
        "group": f"{record_id}/{finding}",
        "question_id": question_id(template, finding, "verify", question, [record_id]),
        "template": template,
        "attribute": finding,
        "type": "verify",
        "question": question,
        "record_ids": [record_id],
        "patients": [material.patient(record_id)],
        "expected": None if answer is None else ["yes" if answer else "no"],
        "candidates": list(YES_NO),
        "finding": finding,
    } | columns


def balanced_sample(
    material: Material, number: int, without: Collection[str] = (), among: Collection[str] | None = None
) -> list[tuple[str, str, bool]]:
    """About `number` times (record id, finding, whether it shows it): of each finding as many that do as do not.

    The draw is that of `build_questions`, by the seed of the settings alone: sections that sample ask about the same
    records. Findings that all records or none show are left out. Where there are more than `number` / 2 others, only
    the ones are asked about that split the records most evenly.

    Args: without: findings. among: ids of the records to choose from; None: all.
    """
    facts = [record for record in facts_of(material.corpus) if among is None or record.id in among]
    shown = Counter(name for record in facts for name in record.findings)
    names = [name for name in Stated(facts, 1, None).findings if name not in without]
    names.sort(key=lambda name: (abs(shown[name] - len(facts) / 2), name))
    asked = Stated(facts, 1, names[: max(1, number // 2)])
    rows = Rows("test", material.settings.seed)
    verify(asked, rows, number)
    return [(row["ecg_ids"][0], row["attribute"], row["answers"] == ["yes"]) for row in rows.rows]
