"""What every section counts: whose answers, which of them can be judged, shares and paired differences of them.

In: rows of the table of answers. Out: numbers and `Estimate`s over patients; None where there is nothing to count.
Decided here: an answer that cannot be read is wrong, and says neither yes nor no; a question that was refused counts
for neither, and how many there were is counted by `left_out`, and said.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from ..intervals import Estimate, auroc, share, share_difference

MODEL = "model"


def by_whom(answered: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Whose answers -> rows, the model's first."""
    names = sorted(answered["by"].unique(), key=lambda name: (name != MODEL, name))
    return {name: answered[answered["by"] == name] for name in names}


def named(by: str) -> str:
    """Whose answers, in a sentence: "the model", or a baseline's name."""
    return "the model" if by == MODEL else by


def sentence(text: str) -> str:
    """With a capital, however it begins."""
    return text[0].upper() + text[1:]


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose answer is right or wrong: not refused, to a question that has a right answer."""
    return rows[rows["refused"].isna() & rows["expected"].notna()]


def read(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that were answered by a readable yes or no, and not refused."""
    return rows[rows["refused"].isna() & says_yes(rows).notna()]


def is_right(rows: pd.DataFrame) -> np.ndarray:
    """float [rows], 1 or 0; an answer that cannot be read is wrong."""
    return rows["right"].eq(True).to_numpy(float)


def left_out(rows: pd.DataFrame) -> dict[str, int]:
    """How many rows were asked, refused, and answered by what cannot be read."""
    refused = rows["refused"].notna()
    unread = ~refused & rows["answers"].isna()
    return {"asked": len(rows), "refused": int(refused.sum()), "unread": int(unread.sum())}


def missing_sentence(by: str, rows: pd.DataFrame) -> list[str]:
    """What was not answered, in a sentence; none where all was."""
    counts = left_out(rows)
    if not counts["refused"] and not counts["unread"]:
        return []
    unread = f"{counts['unread']} answers could not be read"
    return [f"Of {counts['asked']} questions {named(by)} refused {counts['refused']}; {unread}."]


def says_yes(rows: pd.DataFrame) -> pd.Series:
    """Whether each row's answer is yes; rows without a readable yes or no are NaN."""
    meaning = {("yes",): 1.0, ("no",): 0.0}
    found = [np.nan if answers is None else meaning.get(tuple(answers), np.nan) for answers in rows["answers"]]
    return pd.Series(found, index=rows.index, dtype=float)


def patients_of(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(own) for own in rows["patients"]]


def share_of(rows: pd.DataFrame, values: np.ndarray | pd.Series, level: float) -> Estimate | None:
    """Share of `values` (bool, or from 0 to 1), one a row."""
    return share(np.asarray(values, dtype=float), patients_of(rows), level) if len(rows) else None


def right_share(rows: pd.DataFrame, level: float) -> Estimate | None:
    """Accuracy over the rows that were not refused."""
    rows = judged(rows)
    return share_of(rows, is_right(rows), level)


def beside(
    rows: pd.DataFrame, reference: pd.DataFrame, key: str = "group", keep: Callable = read
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that `keep` keeps and, in the same order, the row of `reference` with the same key that it keeps, too.

    reference: one row a key.
    """
    others = keep(reference).set_index(key)
    rows = keep(rows)
    rows = rows[rows[key].isin(others.index)]
    return rows, others.loc[rows[key]].reset_index()


def right_difference(rows: pd.DataFrame, reference: pd.DataFrame, level: float, key: str = "group") -> Estimate | None:
    """Accuracy of `rows` minus that of `reference`, over the questions that both did not refuse (paired)."""
    ours, theirs = beside(rows, reference, key, judged)
    if not len(ours):
        return None
    patients = [tuple({*one, *two}) for one, two in zip(patients_of(ours), patients_of(theirs), strict=True)]
    return share_difference(is_right(ours), is_right(theirs), patients, level)


def yes_auroc(rows: pd.DataFrame, level: float) -> Estimate | None:
    """AUROC of P(yes), pooled over the questions; rows refused or without P(yes) do not count."""
    rows = rows[rows["refused"].isna() & rows["p_yes"].notna() & rows["expected"].notna()]
    if not len(rows):
        return None
    positive = [list(expected) == ["yes"] for expected in rows["expected"]]
    return auroc(rows["p_yes"].to_numpy(float), positive, patients_of(rows), level)
