"""Evaluation of a dual encoder: retrieval of reports by ECGs and back, and zero-shot classification of findings.

In: unit vectors of ECGs and texts, reports as text, targets of statements. Out: recall and median rank both ways
(`retrieval`), AUROC per finding with bootstrap intervals (`zero_shot`). Decided here: ECGs with word-for-word the same
report count as matches of each other's report, ties count half, and intervals are over patients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

RECALL_AT = (1, 5, 10)
LEAST = 5
"""Positives and negatives that a finding needs for its AUROC to be worth a number."""
_RESAMPLES = 300
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
    seed: int = 0,
    sources: Sequence[str] | None = None,
    least: int = LEAST,
) -> dict[str, Any]:
    """AUROC of every finding with at least `least` positives and negatives, and their mean (macro).

    Args: scores: float [records, findings]. targets: int [records, findings], 1, 0, or -1 where it is unknown: such a
        record does not count for that finding. patients: whose record it is; intervals (95 %, percentile) come from
        resampling patients with replacement, the same draws for all findings. sources: who labelled a record. Sources
        differ in their criteria: if one labels a finding earlier than another, no score ranks both correctly.
    Returns: {"macro": [auroc, low, high], "findings": {name: {"auroc", "low", "high", "positives", "negatives"}}};
        empty where no finding is frequent enough. With sources also "within", as "macro", and "within" of each
        finding: among pairs of records of one source; None where no source has positives and negatives.
    """
    counts = [((targets[:, column] == 1).sum(), (targets[:, column] == 0).sum()) for column in range(len(names))]
    measured = [column for column, (yes, no) in enumerate(counts) if min(yes, no) >= least]
    if not measured:
        return {}
    draws = patient_draws(patients, seed)
    points, resampled, findings = [], [], {}
    within, within_resampled = [], []
    for column in measured:
        known = targets[:, column] >= 0
        positive, score = targets[known, column] == 1, scores[known, column]
        point = float(auroc(score, positive)[0])
        again = auroc(score, positive, draws[:, known])
        low, high = interval(again)
        findings[names[column]] = {
            "auroc": point,
            "low": low,
            "high": high,
            "positives": int(counts[column][0]),
            "negatives": int(counts[column][1]),
        }
        points.append(point)
        resampled.append(again)
        if sources is not None:
            groups = np.asarray(sources, dtype=str)[known]
            own = float(auroc(score, positive, groups=groups)[0])
            findings[names[column]]["within"] = None if np.isnan(own) else own
            if not np.isnan(own):
                within.append(own)
                within_resampled.append(auroc(score, positive, draws[:, known], groups))
    found: dict[str, Any] = {"macro": _mean(points, resampled), "findings": findings}
    return found | {"within": _mean(within, within_resampled)} if within else found


def _mean(points: list[float], resampled: list[np.ndarray]) -> list[float]:
    """[mean over findings, low, high]."""
    drawn = np.stack(resampled)
    # A resample in which no finding has positives and negatives has no mean.
    return [float(np.mean(points)), *interval(np.nanmean(drawn[:, ~np.isnan(drawn).all(axis=0)], axis=0))]


def auroc(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray | None = None, groups: np.ndarray | None = None
) -> np.ndarray:
    """Area under the ROC curve [draws]; ties count half; NaN where a draw lacks positives or negatives.

    Args: scores: float [records]. positive: bool [records]. weights: how often each record counts, [draws, records];
        None: once. groups: [records]; only pairs of a positive and a negative record of one group count. Source: Mann
        and Whitney 1947, with weights.
    """
    if weights is None:
        weights = np.ones((1, len(scores)), dtype=np.float32)
    groups = np.zeros(len(scores)) if groups is None else groups
    won, pairs = np.zeros(len(weights)), np.zeros(len(weights))
    for group in np.unique(groups):
        rows = groups == group
        own = _won(scores[rows], positive[rows], weights[:, rows])
        won, pairs = won + own[0], pairs + own[1]
    with np.errstate(invalid="ignore", divide="ignore"):
        return won / pairs


def _won(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Pairs [draws] in which the positive record has the higher score, all pairs)."""
    order = np.argsort(scores, kind="stable")
    ordered = scores[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # where each group of equal scores begins
    yes = np.add.reduceat(weights[:, order] * positive[order], first, axis=1, dtype=np.float64)
    no = np.add.reduceat(weights[:, order] * ~positive[order], first, axis=1, dtype=np.float64)
    below = np.cumsum(no, axis=1) - no
    return (yes * (below + no / 2)).sum(axis=1), yes.sum(axis=1) * no.sum(axis=1)


def patient_draws(patients: Sequence[str], seed: int) -> np.ndarray:
    """How often each record counts in each resample, float32 [resamples, records]."""
    _, patient = np.unique(np.asarray(patients, dtype=str), return_inverse=True)
    number = int(patient.max()) + 1
    rng = np.random.default_rng([seed, 5])
    return rng.multinomial(number, np.full(number, 1 / number), size=_RESAMPLES).astype(np.float32)[:, patient]


def interval(values: np.ndarray) -> list[float]:
    known = values[~np.isnan(values)]
    # A resample without positives or without negatives gives NaN; if all do, the interval is NaN, too.
    return [float(value) for value in np.percentile(known, [2.5, 97.5])] if len(known) else [0.0, 1.0]
