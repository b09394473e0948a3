"""Evaluation of a dual encoder: retrieval of reports by ECGs and back, and zero-shot classification of findings.

In: unit vectors of ECGs and texts, reports as text, targets of statements. Out: recall and median rank both ways
(`retrieval`), AUROC per finding with intervals (`zero_shot`). Decided here: ECGs with word-for-word the same
report count as matches of each other's report, ties count half, and intervals are over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..intervals import Estimate, auroc, macro_auroc

RECALL_AT = (1, 5, 10)
LEAST = 5
"""Positives and negatives that a finding needs for its AUROC to be worth a number."""
_ROWS = 1024


def normalised(report: str) -> str:
    """A report as it is compared: whitespace joined, case folded. "ß" and "ss", "É" and "é" are the same then."""
    return " ".join(report.split()).casefold()


def retrieval(ecgs: np.ndarray, texts: np.ndarray, reports: Sequence[str]) -> dict[str, float]:
    """Recall at 1, 5 and 10 and median rank, from ECG to report and from report to ECG.

    Args: ecgs, texts: float [records, dim], unit length, of the same records. reports: their texts.
    Returns: e.g. `ecg_to_report_recall_at_5`, `report_to_ecg_median_rank`, and `reports`, how many different ones
        there are to choose from. The rank of an ECG's report is among the different reports; the rank for a report is
        that of the nearest ECG that bears it. Ties count half, so that equal vectors for all are at chance.
    """
    keys = [normalised(report) for report in reports]
    rows_of: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    position = {key: number for number, key in enumerate(rows_of)}
    own = np.array([position[key] for key in keys])
    different = texts[[rows[0] for rows in rows_of.values()]]
    to_report = np.empty(len(ecgs))
    best = np.full(len(rows_of), -np.inf, dtype=np.float32)
    for start in range(0, len(ecgs), _ROWS):
        part, right = slice(start, start + _ROWS), own[start : start + _ROWS]
        similarity = ecgs[part] @ different.T
        value = similarity[np.arange(len(right)), right]
        to_report[part] = _rank(similarity, value[:, None], axis=1)
        np.maximum.at(best, right, value)
    to_ecg = np.zeros(len(rows_of))
    for start in range(0, len(ecgs), _ROWS):
        part, right = slice(start, start + _ROWS), own[start : start + _ROWS]
        similarity = ecgs[part] @ different.T
        # Other ECGs with the same report do not compete.
        similarity[np.arange(len(right)), right] = -np.inf
        to_ecg += (similarity > best).sum(axis=0) + 0.5 * (similarity == best).sum(axis=0)
    return {
        **_ranks("ecg_to_report", to_report),
        **_ranks("report_to_ecg", to_ecg + 1),
        "reports": float(len(rows_of)),
    }


def _rank(similarity: np.ndarray, own: np.ndarray, axis: int) -> np.ndarray:
    above = (similarity > own).sum(axis=axis)
    return 1 + above + 0.5 * ((similarity == own).sum(axis=axis) - 1)


def _ranks(name: str, ranks: np.ndarray) -> dict[str, float]:
    found = {f"{name}_recall_at_{k}": float((ranks <= k).mean()) for k in RECALL_AT}
    return found | {f"{name}_median_rank": float(np.median(ranks))}


def zero_shot(
    scores: np.ndarray,
    targets: np.ndarray,
    names: Sequence[str],
    patients: Sequence[str],
    sources: Sequence[str] | None = None,
    least: int = LEAST,
) -> dict[str, Any]:
    """AUROC of every finding with at least `least` positives and negatives, and their mean (macro).

    Args: scores: float [records, findings]. targets: int [records, findings], 1, 0, or -1 where it is unknown: such a
        record does not count for that finding. patients: whose record it is, for the 95 % intervals (`intervals`).
        sources: who labelled a record. Sources differ in their criteria: if one labels a finding earlier than
        another, no score ranks both correctly.
    Returns: {"macro": [auroc, low, high], "findings": {name: {"auroc", "low", "high", "positives", "negatives"}}};
        empty where no finding is frequent enough; from 0 to 1 where one patient has all of a label. With sources also
        "within", as "macro", and "within" of each finding: among pairs of records of one source; None where no source
        has positives and negatives.
    """
    counts = [((targets[:, column] == 1).sum(), (targets[:, column] == 0).sum()) for column in range(len(names))]
    measured = [column for column, (yes, no) in enumerate(counts) if min(yes, no) >= least]
    if not measured:
        return {}
    macro, each = macro_auroc(scores[:, measured], targets[:, measured], patients)
    findings: dict[str, Any] = {}
    for column, one in zip(measured, each, strict=True):
        value, low, high = _limits(one)
        yes, no = (int(count) for count in counts[column])
        findings[names[column]] = {"auroc": value, "low": low, "high": high, "positives": yes, "negatives": no}
    found: dict[str, Any] = {"macro": _limits(macro), "findings": findings}
    if sources is None:
        return found
    compared = []
    for column in measured:
        known = np.flatnonzero(targets[:, column] >= 0)
        whose, source = ([of[row] for row in known] for of in (patients, sources))
        within = auroc(scores[known, column], targets[known, column] == 1, whose, groups=source).value
        findings[names[column]]["within"] = None if np.isnan(within) else within
        compared += [] if np.isnan(within) else [column]
    if compared:
        found["within"] = _limits(macro_auroc(scores[:, compared], targets[:, compared], patients, groups=sources)[0])
    return found


def _limits(one: Estimate) -> list[float]:
    """[value, low, high]; what is not known is anything."""
    return [one.value, *((0.0, 1.0) if np.isnan(one.low) else (one.low, one.high))]
