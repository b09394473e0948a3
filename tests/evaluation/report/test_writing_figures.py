from math import nan

import pytest

from ecgllm.errors_ecgllm import ECGError
from ecgllm.evaluation.figures import Chart, Series, Table
from ecgllm.evaluation.report.writing_figures import notes_of, shown_rows, trimmed, unit_of
from ecgllm.intervals import Estimate

HALF, ZERO = 0.5, 0.0


def estimate(value: float, low: float = nan, high: float = nan, against: float = HALF) -> Estimate:
    return Estimate(value, low, high, 0.01, 30, 60, 0.04, against)


@pytest.mark.parametrize(
    ("title", "head", "cell", "text"),
    [
        ("", "right", estimate(0.816, 0.79, 0.84), "81.6 % [79.0, 84.0]"),
        ("", "AUROC", estimate(0.816, 0.79, 0.84), ".816 [.790, .840]"),
        ("", "average precision", estimate(1.0, 0.97, 1.0), "1.000 [.970, 1.000]"),
        ("AUROC of P(yes), a finding", "rules", estimate(0.7, 0.6, 0.8), ".700 [.600, .800]"),
        ("PTB-XL, super: AUROC of each label", "rules", estimate(0.7, 0.6, 0.8), ".700 [.600, .800]"),
        ("AUROC of P(yes), a finding", "right", estimate(0.7, 0.6, 0.8), "70.0 % [60.0, 80.0]"),
        ("", "difference", estimate(-0.032, -0.06, 0.004, ZERO), "−3.2 points [−6.0, +0.4]"),
        ("", "AUROC, less the other", estimate(0.02, -0.0004, 0.04, ZERO), "+.020 [.000, +.040]"),
        ("", "right", estimate(0.5), "50.0 % [–]"),
        ("", "right", estimate(nan), "–"),
        ("", "right", 0.0625, "6.2 %"),
        ("", "Brier score", 0.1204, ".120"),
        ("", "calibration error", nan, "–"),
        ("", "p (Holm)", 0.00002, "< .001"),
        ("", "p, adjusted", 0.04, ".040"),
        ("", "median error, bpm", 0.021, "0.021"),
        ("", "questions", 12345, "12,345"),
        ("", "answered", True, "yes"),
        ("", "group", "over 80", "over 80"),
        ("", "rules", None, ""),
    ],
)
def test_a_cell_as_text(title: str, head: str, cell: object, text: str) -> None:
    rows = shown_rows(Table(title, ("what", head), [("all", cell)]))
    assert rows[0][1].text == text


def test_bare_numbers_are_written_as_the_estimates_beside_them() -> None:
    table = Table("Pairs", ("what", "found", "by tossing coins"), [("both right", estimate(0.4, 0.3, 0.5), 0.25)])
    assert [cell.text for cell in shown_rows(table)[0]] == ["both right", "40.0 % [30.0, 50.0]", "25.0 %"]


def test_a_row_that_begins_with_the_name_of_a_score_holds_scores() -> None:
    rows = [("AUROC", estimate(0.8, 0.7, 0.9)), ("right answers", estimate(0.8, 0.7, 0.9))]
    texts = [row[1].text for row in shown_rows(Table("", ("what", "model"), rows))]
    assert texts == [".800 [.700, .900]", "80.0 % [70.0, 90.0]"]


def test_dashes_are_explained_where_there_are_some() -> None:
    for cell, words in ((estimate(nan), "cannot be computed"), (estimate(0.5), "too few patients"), (0.5, "")):
        table = Table("", ("what", "right"), [("all", cell)], "A note.")
        note = notes_of(table, shown_rows(table))
        assert note.startswith("A note.") and words in note and bool(words) == (len(note) > len("A note."))


def test_a_row_that_does_not_fit_its_columns_is_refused() -> None:
    with pytest.raises(ECGError, match=r"'Groups'.*2 cells.*expected 3"):
        shown_rows(Table("Groups", ("a", "b", "c"), [("x", 1)]))


@pytest.mark.parametrize(
    ("label", "values", "unit"),
    [
        ("right", [estimate(0.5)], "share"),
        ("AUROC", [estimate(0.5)], "score"),
        ("right", [estimate(0.1, against=ZERO)], "points"),
        ("AUROC", [estimate(0.1, against=ZERO)], "difference"),
        ("rate, bpm", [70.0, 72.0], "number"),
        ("coverage", [0.5, nan], "share"),
    ],
)
def test_the_unit_of_a_chart(label: str, values: list[Estimate | float], unit: str) -> None:
    assert unit_of(Chart("", "dots", [Series("", [*range(len(values))], values)], "", label)) == unit


def test_a_column_in_which_nothing_is_said_does_not_stand_there() -> None:
    table = Table("", ("shown", "right", "P(yes) moves by"), [("true", estimate(0.8), None), ("noise", None, None)])
    assert trimmed(table).columns == ("shown", "right") and len(trimmed(table).rows[0]) == 2
    assert trimmed(Table("", ("a", "b"), [("x", 1)])).columns == ("a", "b")
