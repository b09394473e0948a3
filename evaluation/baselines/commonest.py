"""The commonest answer to a template: how far one comes by always giving it.

In: rows. Out: the answer that the rows of the same section, type and template have most often. Decided here: it is
counted in the evaluated rows themselves, as this baseline is published (VQA's "prior"); counted in other patients'
rows it would be below a half in a balanced set, since a row's own answer is the one that is missing there.
`commonest_answers` counts in other patients' rows, for baselines that know the very words.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd

from ..material import Material
from ..predictions import YES_NO
from .folds import held_out

NOTE = "The commonest answer to the same template, counted in these very rows."

_TEMPLATE = ["section", "type", "template"]


def answers(rows: pd.DataFrame, material: Material) -> pd.DataFrame:
    """The commonest answers; see the module."""
    keys = _keys(rows, _TEMPLATE)
    table = _counted(keys, _expected(rows))
    given = [_commonest([table.get(key, Counter())]) for key in keys]
    p_yes = [_share_of_yes(table.get(key, Counter())) for key in keys]
    return pd.DataFrame({"answers": pd.Series(given, index=rows.index, dtype=object), "p_yes": p_yes}, rows.index)


def commonest_answers(rows: pd.DataFrame, levels: Sequence[list[str]]) -> pd.Series:
    """What other patients' rows answer most often, with index as of the rows; None where there is nothing like it.

    Args: levels: columns by which rows are alike, from the narrowest; the first that others have is taken.
    """
    expected, keys = _expected(rows), [_keys(rows, level) for level in levels]
    given: list[list[str] | None] = [None] * len(rows)
    for asked, seen in held_out(rows["patients"].tolist()):
        tables = [_counted([key[row] for row in seen], [expected[row] for row in seen]) for key in keys]
        for row in asked:
            given[row] = _commonest([table.get(key[row], Counter()) for table, key in zip(tables, keys, strict=True)])
    return pd.Series(given, index=rows.index, dtype=object)


def _keys(rows: pd.DataFrame, level: list[str]) -> list[Hashable]:
    return list(rows[level].itertuples(index=False, name=None))


def _expected(rows: pd.DataFrame) -> list[tuple[str, ...] | None]:
    return [None if given is None else tuple(given) for given in rows["expected"]]


def _counted(keys: list[Hashable], expected: list[tuple[str, ...] | None]) -> dict[Hashable, Counter]:
    table: dict[Hashable, Counter] = defaultdict(Counter)
    for key, answer in zip(keys, expected, strict=True):
        if answer is not None:
            table[key][answer] += 1
    return table


def _commonest(counts: list[Counter]) -> list[str] | None:
    """Of the narrowest level that has been asked; of a tie the commoner one on the level above, then by alphabet."""
    known = [count for count in counts if count]
    if not known:
        return None
    return list(min(known[0], key=lambda answer: (*(-count[answer] for count in known), answer)))


def _share_of_yes(count: Counter) -> float:
    if not count or any(answer not in [(one,) for one in YES_NO] for answer in count):
        return np.nan
    return count[("yes",)] / count.total()
