"""What every section counts: whose answers, which of them can be judged, shares and paired differences of them.

In: rows of the table of answers. Out: numbers and `Estimate`s over patients; None where there is nothing to count.
Decided here, for all sections: a question is judged by what the model said, also where its tool would have refused
it; where nothing was said there is no answer, neither right nor wrong (exact match alone, which knows no refusals,
counts it as wrong); an answer that cannot be read is wrong, and says neither yes nor no: shares of yes are of those
that do. How many were refused, unread and silent stands beside, in `left_out`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd

from ..errors_ecgllm import shorten
from ..intervals import Estimate, auroc, share, share_difference

MODEL, AGAINST = "model", "against"
"""By whom: the model that is evaluated, another that it is held against; else a baseline's name."""
FITTED = "fitted"
"""Names of baselines that were fitted on these records begin with it."""


def by_whom(answered: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Whose answers -> rows, the model's first, those of what was fitted to these records last."""
    names = sorted(answered["by"].unique(), key=lambda name: (name != MODEL, name.startswith(FITTED), name))
    return {name: answered[answered["by"] == name] for name in names}


RULES = "rules"
"""The baseline that reads the ECG, by published criteria."""


def best_baseline(found: Mapping[str, Estimate | None]) -> tuple[str, Estimate] | None:
    """Of the baselines that are not fitted to records the one with the highest figure, by name."""
    others = [
        (one.value, by)
        for by, one in found.items()
        if by not in (MODEL, AGAINST) and not by.startswith(FITTED) and one is not None and one.value == one.value
    ]
    best = max(others, default=None)
    return None if best is None else (best[1], found[best[1]])


def named(by: str) -> str:
    """Whose answers, in a sentence: "the model", or a baseline's name."""
    return "the model" if by == MODEL else by


def sentence(text: str) -> str:
    """With a capital, however it begins."""
    return text[0].upper() + text[1:]


def said(rows: pd.DataFrame) -> np.ndarray:
    """bool [rows]: whether the model said anything, also where its tool would have refused the question."""
    return (rows["answer"].notna() | rows["answers"].notna()).to_numpy(bool)


def judged(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows whose answer is right or wrong: something was said to a question that has a right answer."""
    return rows[said(rows) & rows["expected"].notna().to_numpy()]


def read(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that were answered by a readable yes or no."""
    return rows[says_yes(rows).notna()]


def is_right(rows: pd.DataFrame) -> np.ndarray:
    """float [rows], 1 or 0; an answer that cannot be read is wrong."""
    return rows["right"].eq(True).to_numpy(float)


def left_out(rows: pd.DataFrame) -> dict[str, int]:
    """How many rows were asked, refused (the model may have said something all the same), answered by what cannot be
    read, and left without an answer ("silent"), refused or not."""
    heard = said(rows)
    return {
        "asked": len(rows),
        "refused": int(rows["refused"].notna().sum()),
        "unread": int((heard & rows["answers"].isna().to_numpy()).sum()),
        "silent": int((~heard).sum()),
    }


def missing_sentence(by: str, rows: pd.DataFrame) -> list[str]:
    """What was refused, not answered, or not understood, in a sentence; none where all is well."""
    counts, unread = left_out(rows), rows["answer"][said(rows) & rows["answers"].isna().to_numpy()].dropna()
    such_as = f", such as {shorten(' '.join(unread.mode()[0].split()), 60)!r}" if len(unread) else ""
    told = (rows["refused"].notna().to_numpy() & said(rows)).any()
    parts = [
        f"{named(by)} refused {counts['refused']}{' (what it says of them all the same counts)' if told else ''}",
        f"{counts['silent']} have no answer and are left out",
        f"{counts['unread']} answers could not be read and count as wrong{such_as}",
    ]
    happened = [part for part, name in zip(parts, ("refused", "silent", "unread"), strict=True) if counts[name]]
    return [f"Of {counts['asked']} questions {'; '.join(happened)}."] if happened else []


def refused_share(rows: pd.DataFrame) -> Estimate | None:
    """Share of the rows that were refused, whatever the model said all the same."""
    return share_of(rows, rows["refused"].notna())


def wants_yes(rows: pd.DataFrame) -> np.ndarray:
    """bool [rows]: whether the right answer is yes."""
    return np.array([expected is not None and list(expected) == ["yes"] for expected in rows["expected"]], dtype=bool)


def says_yes(rows: pd.DataFrame) -> pd.Series:
    """Whether each row's answer is yes; rows without a readable yes or no are NaN."""
    meaning = {("yes",): 1.0, ("no",): 0.0}
    found = [np.nan if answers is None else meaning.get(tuple(answers), np.nan) for answers in rows["answers"]]
    return pd.Series(found, index=rows.index, dtype=float)


def patients_of(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    return [tuple(own) for own in rows["patients"]]


def share_of(rows: pd.DataFrame, values: np.ndarray | pd.Series) -> Estimate | None:
    """Share of `values` (bool, or from 0 to 1), one a row."""
    return share(np.asarray(values, dtype=float), patients_of(rows)) if len(rows) else None


def right_share(rows: pd.DataFrame) -> Estimate | None:
    """Accuracy over the rows that were answered."""
    rows = judged(rows)
    return share_of(rows, is_right(rows))


def beside(rows: pd.DataFrame, reference: pd.DataFrame, keep: Callable = read) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows that `keep` keeps and, in the same order, the row of `reference` of the same group that it keeps, too.

    reference: one row a group.
    """
    others = keep(reference).set_index("group")
    rows = keep(rows)
    rows = rows[rows["group"].isin(others.index)]
    return rows, others.loc[rows["group"]].reset_index()


def right_difference(rows: pd.DataFrame, reference: pd.DataFrame) -> Estimate | None:
    """Accuracy of `rows` minus that of `reference`, over the questions that have an answer in both (paired)."""
    ours, theirs = beside(rows, reference, judged)
    if not len(ours):
        return None
    patients = [tuple({*one, *two}) for one, two in zip(patients_of(ours), patients_of(theirs), strict=True)]
    return share_difference(is_right(ours), is_right(theirs), patients)


def yes_auroc(rows: pd.DataFrame) -> Estimate | None:
    """AUROC of P(yes), pooled over the questions; rows without P(yes) do not count."""
    rows = rows[rows["p_yes"].notna() & rows["expected"].notna()]
    return auroc(rows["p_yes"].to_numpy(float), wants_yes(rows), patients_of(rows)) if len(rows) else None
