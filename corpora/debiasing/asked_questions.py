"""Questions as de-biasing and the audit take them: ours, or others' in the same columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from datasets import Dataset

from ...errors_ecgllm import ECGError

COLUMNS = ("template", "type", "attribute", "question", "ecg_ids", "answers")


def check_columns(questions: Dataset) -> None:
    """Raises: ECGError where a column is missing."""
    missing = [name for name in COLUMNS if name not in questions.column_names]
    if missing:
        raise ECGError(f"the questions lack the column {', '.join(missing)}; make them by build_questions")


def asked(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """(template, type, attribute): what a question asks, in whatever words."""
    return row["template"], row["type"], row["attribute"] or ""


def is_answered_yes_or_no(row: Mapping[str, Any]) -> bool:
    return row["type"].endswith("verify") and row["answers"] in (["yes"], ["no"])
