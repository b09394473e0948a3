"""Retrieval and zero-shot figures against their definitions, written out pair by pair."""

import numpy as np
import pytest

from ecgllm.training.pretraining_metrics import retrieval, zero_shot


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def slow_ranks(ecgs: np.ndarray, texts: np.ndarray, reports: list[str]) -> tuple[list[int], list[int]]:
    """Rank of the right report among different ones, and of the nearest right ECG among the ECGs of other reports."""
    first = {report: row for row, report in reversed(list(enumerate(reports)))}
    to_report = [
        1 + sum(ecgs[i] @ texts[row] > ecgs[i] @ texts[first[reports[i]]] for row in first.values())
        for i in range(len(ecgs))
    ]
    to_ecg = []
    for report, row in first.items():
        best = max(ecgs[i] @ texts[row] for i in range(len(ecgs)) if reports[i] == report)
        to_ecg.append(1 + sum(ecgs[i] @ texts[row] > best for i in range(len(ecgs)) if reports[i] != report))
    return to_report, to_ecg


def test_pairs_of_one_source_tell_a_score_from_the_habits_of_sources() -> None:
    """Two sources call the same score at limits of their own: neither ever contradicts it, together they do."""
    score, source = np.tile(np.arange(20.0), 2), np.repeat(["early", "late"], 20)
    positive = score >= np.where(source == "early", 5, 15)
    patients = [str(number) for number in range(40)]

    def measured(of: np.ndarray) -> dict:
        return zero_shot(score[:, None], of.astype(int)[:, None], ["x"], patients, sources=source.tolist())

    found = measured(positive)
    assert found["within"][0] == found["findings"]["x"]["within"] == 1.0
    # Of 20 x 20 pairs 45 of a positive early one and a negative late one are turned round, and 10 are equal.
    assert found["macro"][0] == pytest.approx(1 - (45 + 10 / 2) / 400)
    alone = measured(source == "early")
    assert "within" not in alone and alone["findings"]["x"]["within"] is None


def test_ranks_are_as_defined_with_shared_reports() -> None:
    rng = np.random.default_rng(0)
    reports = [f"report {number}" for number in rng.integers(0, 25, 60)]
    vector = {report: rng.normal(size=8) for report in sorted(set(reports))}
    texts = unit(np.array([vector[report] for report in reports]))
    ecgs = unit(texts + rng.normal(scale=0.8, size=texts.shape))
    found = retrieval(ecgs, texts, reports)
    to_report, to_ecg = slow_ranks(ecgs, texts, reports)
    assert np.median(to_report) > 1 and found["reports"] == len(set(reports))
    for name, ranks in (("ecg_to_report", to_report), ("report_to_ecg", to_ecg)):
        assert found[f"{name}_median_rank"] == np.median(ranks)
        for k in (1, 5, 10):
            assert found[f"{name}_recall_at_{k}"] == pytest.approx(np.mean(np.array(ranks) <= k))


def test_reports_that_differ_in_case_or_blanks_are_the_same() -> None:
    vectors = unit(np.eye(3)[[0, 1, 1]])
    found = retrieval(vectors, vectors, ["Sinusrhythmus", "Überleitungsstörung  im EKG", "überleitungsstörung im ekg"])
    assert found["reports"] == 2
    assert found["ecg_to_report_recall_at_1"] == found["report_to_ecg_recall_at_1"] == 1


def test_equal_vectors_for_all_are_at_chance() -> None:
    same = np.ones((40, 4), dtype=np.float32) / 2
    found = retrieval(same, same, [str(number) for number in range(40)])
    assert found["ecg_to_report_median_rank"] == found["report_to_ecg_median_rank"] == 20.5
    assert found["ecg_to_report_recall_at_10"] == 0


def test_rare_findings_and_unknown_targets_are_left_out() -> None:
    rng = np.random.default_rng(2)
    targets = np.zeros((100, 3), dtype=np.int8)
    targets[:30, 0], targets[:4, 1], targets[:50, 2] = 1, 1, 1
    targets[50:80, 2] = -1
    scores = rng.normal(size=(100, 3))
    scores[50:80, 2] = 1e9  # would ruin the figure if it counted
    scores[:50, 2] += 3
    found = zero_shot(scores, targets, ["often", "rare", "open"], [str(i) for i in range(100)])
    assert set(found["findings"]) == {"often", "open"}
    assert (found["findings"]["open"]["positives"], found["findings"]["open"]["negatives"]) == (50, 20)
    assert found["findings"]["open"]["auroc"] > 0.95
    points = [each["auroc"] for each in found["findings"].values()]
    assert found["macro"][0] == pytest.approx(np.mean(points)) and found["macro"][1] < found["macro"][0]
    assert zero_shot(scores[:, 1:2], targets[:, 1:2], ["rare"], [str(i) for i in range(100)]) == {}


@pytest.mark.filterwarnings("error")
def test_few_records_give_a_wide_interval_and_no_warning() -> None:
    targets = np.array([1] * 5 + [0] * 5, dtype=np.int8)[:, None]
    # Two patients: nothing says how others would do.
    found = zero_shot(np.arange(10.0)[:, None], targets, ["finding"], ["a"] * 5 + ["b"] * 5)
    assert found["macro"] == pytest.approx([0.0, 0.0, 0.975])
    mixed = zero_shot(np.array([3.0, 1, 2, 5, 4] * 2)[:, None], targets, ["finding"], ["a"] * 5 + ["b"] * 5)
    assert mixed["macro"] == [0.5, 0.0, 1.0]


def test_intervals_are_over_patients() -> None:
    rng = np.random.default_rng(3)
    positive = np.arange(20) % 2
    score = positive + rng.normal(scale=1.5, size=20)
    targets, scores = np.repeat(positive, 10)[:, None].astype(np.int8), np.repeat(score, 10)[:, None]

    def width(patients: list[str]) -> float:
        each = zero_shot(scores, targets, ["finding"], patients)["findings"]["finding"]
        assert each["low"] <= each["auroc"] <= each["high"]
        return each["high"] - each["low"]

    # Ten equal records of each patient say no more than one; counted as ten patients they would seem to.
    assert width([str(row // 10) for row in range(200)]) > 2 * width([str(row) for row in range(200)])
