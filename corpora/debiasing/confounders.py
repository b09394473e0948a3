"""What a corpus knows of a record beside its ECG: patient, severity, age, sex, device, noise.

In: a corpus. Out: values by record, banded where they are numbers: what de-biasing matches on and the audit groups
by. Decided here: which severity a question is compared at (that of the findings it does not ask about).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from datasets import Dataset

from ...errors_ecgllm import ECGError
from ...findings.labels import GROUPS, VOCABULARY, implied
from ...findings.labels import severity as severity_of
from ...findings.vocabulary import NOISES
from ..questions.about_findings import KINDS
from ..questions.about_measurements import FEATURES

AGE_BANDS = ((40, "under 40"), (60, "40 to 59"), (80, "60 to 79"), (1000, "80 and over"))
_HIGHEST_SEVERITY = 6  # and more: few records have more findings, and none could be matched
_NOISE = frozenset(NOISES)
_MEASURED = {feature.name.lower(): feature.findings for feature in FEATURES.values()}
_QUARTILES = (0.25, 0.5, 0.75)
_MOST_VALUES = 8  # a number with more values than these is banded

#: What to match on: names, or names with how to band them: the edges of a number, or a function of the corpus' row.
MatchOn = Sequence[str] | Mapping[str, Sequence[float] | Callable[[dict[str, Any]], Any] | None]


class Records:
    """Look-ups by record id; everything is unknown without a corpus."""

    def __init__(self, corpus: Dataset | None):
        if corpus is not None and "id" not in corpus.column_names:
            raise ECGError(
                f"the corpus has no column id but {', '.join(corpus.column_names[:5])} ...; expected records, as "
                "`ecgllm prepare` or `ecgllm simulate` writes them"
            )
        self._corpus = corpus
        self._columns: dict[str, dict[str, Any]] = {}
        self._ids: list[str] = [] if corpus is None else corpus["id"][:]

    def column(self, name: str) -> dict[str, Any]:
        """Record id -> a column's value; empty where there is no such column."""
        if name not in self._columns:
            known = self._corpus is not None and name in self._corpus.column_names
            self._columns[name] = dict(zip(self._ids, self._corpus[name][:], strict=True)) if known else {}
        return self._columns[name]

    def get(self, name: str, record_id: str) -> Any:
        """A column's value; None where it, or the record, is not there."""
        return self.column(name).get(record_id)

    def computed(self, function: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
        """Record id -> what a function makes of the record's row, which is without its signal."""
        if self._corpus is None:
            return {}
        rows = self._corpus.remove_columns([name for name in ("ecg",) if name in self._corpus.column_names])
        return {row["id"]: function(row) for row in rows.with_format(None)}

    def lacking(self, questions: Dataset) -> tuple[int, int]:
        """How many of the records that the questions are about the corpus lacks, and how many there are.

        Raises: ValueError where a corpus is given that has none of them.
        """
        asked = {name for ids in questions["ecg_ids"][:] for name in ids}
        if self._corpus is None or not asked:
            return 0, len(asked)
        missing = asked.difference(self._ids)
        if missing == asked:
            raise ECGError(
                f"none of the {len(asked)} records that the questions are about ({min(asked)} ...) is in the corpus "
                f"({min(self._ids, default='no record')} ...); give the corpus that they were built from"
            )
        return len(missing), len(asked)

    def patient(self, record_id: str) -> str:
        """The patient, or the record itself where nobody is named."""
        return self.get("patient_id", record_id) or record_id


def other_severity(findings: Sequence[str], attribute: str) -> int:
    """How many abnormal findings a record has beside what a question asks about.

    Left out are the finding itself, what it implies, what implies it, for a group or a kind all of its findings, and
    for a measurement what the vocabulary calls a value outside its range. Otherwise a record that answers yes would be
    more severe by the answer itself, and matching on severity would match records that differ in all else. For "any
    abnormality" nothing remains.
    """
    return _other_severity(frozenset(findings), attribute)


@lru_cache(maxsize=1 << 17)
def _other_severity(findings: frozenset[str], attribute: str) -> int:
    if attribute == "any abnormality" or attribute == "normal ecg":
        return 0
    if attribute in GROUPS:
        return severity_of(name for name in findings if VOCABULARY[name].category != GROUPS[attribute])
    asked = (attribute,) if attribute in VOCABULARY else KINDS.get(attribute) or _MEASURED.get(attribute, ())
    follows = set(implied(asked))
    return severity_of(name for name in findings if name not in follows and not set(asked) & set(implied([name])))


def _severity(records: Records, record_id: str, attribute: str) -> int | None:
    findings = records.get("findings", record_id)
    return None if findings is None else other_severity(findings, attribute)


def _severity_band(records: Records, record_id: str, attribute: str) -> Any:
    severity = _severity(records, record_id, attribute)
    return None if severity is None else min(severity, _HIGHEST_SEVERITY)


def _age_band(records: Records, record_id: str, attribute: str) -> Any:
    age = records.get("age", record_id)
    return None if age is None else next(name for limit, name in AGE_BANDS if age < limit)


def _noise(records: Records, record_id: str, attribute: str) -> Any:
    findings = records.get("findings", record_id)
    return "unknown" if findings is None else "noise" if _NOISE & set(findings) else "no noise"


#: name -> its value for (records, record id, attribute asked about); None is unknown.
CONFOUNDERS: dict[str, Callable[[Records, str, str], Any]] = {
    "severity": _severity_band,
    "age": _age_band,
    "sex": lambda records, record_id, attribute: records.get("sex", record_id),
    "device": lambda records, record_id, attribute: records.get("device", record_id),
    "noise": _noise,
    "source": lambda records, record_id, attribute: records.get("source", record_id),
}


#: The same as numbers, where they are: to say how far apart yes and no are.
NUMBERS: dict[str, Callable[[Records, str, str], Any]] = {
    "severity": _severity,
    "age": lambda records, record_id, attribute: records.get("age", record_id),
}


def confounders_of(
    records: Records, match_on: MatchOn
) -> tuple[dict[str, Callable[[str, str], Any]], dict[str, Callable[[str, str], Any]]]:
    """How to look up what is matched on: name -> its stratum, and its value, for (record id, attribute asked about).

    A name is one of `CONFOUNDERS`, any other column of the corpus (a number with many values is banded by its
    quartiles), or comes with its bands: ascending edges, or a function of the corpus' row (a dict, without the
    signal), whose result is the stratum.
    "source" is among them wherever the records come from several.
    Raises: TypeError for a string, ValueError for a name that is neither, or for edges that do not ascend.
    """
    if isinstance(match_on, str):
        raise TypeError(f"match_on is the string {match_on!r}; expected a sequence such as ({match_on!r},)")
    how = dict(match_on) if isinstance(match_on, Mapping) else dict.fromkeys(match_on)
    if len(set(records.column("source").values())) > 1:
        how.setdefault("source", None)  # each source has labels, patients and devices of its own
    unknown = [name for name, band in how.items() if not callable(band) and not _is_known(records, name)]
    if unknown:
        raise ECGError(
            f"cannot match on {', '.join(unknown)}; known are {', '.join(CONFOUNDERS)}, and every column of the corpus"
        )
    strata, values = {}, {}
    for name, band in how.items():
        if band is None and name in CONFOUNDERS:
            strata[name] = _bound(CONFOUNDERS[name], records)
            values[name] = _bound(NUMBERS.get(name, CONFOUNDERS[name]), records)
            continue
        if name in NUMBERS and not callable(band):
            edges = _edges(name, {}, band)
            values[name] = _bound(NUMBERS[name], records)
            strata[name] = _banded(values[name], edges or [])
            continue
        found = records.computed(band) if callable(band) else records.column(name)
        edges = _edges(name, found, None if callable(band) else band)
        values[name] = _listed(found)
        strata[name] = _listed(found if edges is None else {key: _band(value, edges) for key, value in found.items()})
    return strata, values


def _is_known(records: Records, name: str) -> bool:
    return name in CONFOUNDERS or bool(records.column(name))


def _bound(look: Callable[[Records, str, str], Any], records: Records) -> Callable[[str, str], Any]:
    return lambda record_id, attribute: look(records, record_id, attribute)


def _banded(look: Callable[[str, str], Any], edges: Sequence[float]) -> Callable[[str, str], Any]:
    return lambda record_id, attribute: _band(look(record_id, attribute), edges)


def _listed(found: dict[str, Any]) -> Callable[[str, str], Any]:
    return lambda record_id, attribute: tuple(one) if isinstance(one := found.get(record_id), list) else one


def _edges(name: str, found: dict[str, Any], given: Sequence[float] | None) -> list[float] | None:
    if given is not None:
        edges = list(given)
        if not edges or edges != sorted(set(edges)):
            raise ECGError(f"match_on: the edges of {name} are {edges}; expected ascending numbers")
        return edges
    numbers = [value for value in found.values() if value is not None]
    if any(isinstance(value, (str, bool, list, dict)) for value in numbers) or len(set(numbers)) <= _MOST_VALUES:
        return None
    return sorted({float(edge) for edge in np.quantile(numbers, _QUARTILES)})


def _band(value: float | None, edges: Sequence[float]) -> int | None:
    return None if value is None else int(np.searchsorted(edges, value, side="right"))
