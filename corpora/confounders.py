"""What a corpus knows of a record beside its ECG: patient, severity, age, sex, recorder, noise.

In: a corpus. Out: values by record, banded where they are numbers: what de-biasing matches on and the audit groups by.
Decided here: which severity a question is compared at (that of the findings it does not ask about).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from datasets import Dataset

from .findings import GROUPS, VOCABULARY, implied
from .findings import severity as severity_of

AGE_BANDS = ((40, "under 40"), (60, "40 to 59"), (80, "60 to 79"), (1000, "80 and over"))
_HIGHEST_SEVERITY = 4  # and more: few records have more findings, and none could be matched
_NOISE = frozenset(("baseline drift", "static noise", "burst noise", "electrode problems"))
_COLUMNS = ("patient_id", "age", "sex", "device", "severity", "findings")


class Records:
    """Look-ups by record id; everything is unknown without a corpus."""

    def __init__(self, corpus: Dataset | None):
        self._columns: dict[str, dict[str, Any]] = {}
        if corpus is not None:
            ids = corpus["id"][:]
            for name in _COLUMNS:
                if name in corpus.column_names:
                    self._columns[name] = dict(zip(ids, corpus[name][:], strict=True))

    def get(self, name: str, record_id: str) -> Any:
        """A column's value; None where it, or the record, is not there."""
        return self._columns.get(name, {}).get(record_id)

    def patient(self, record_id: str) -> str:
        """The patient, or the record itself where nobody is named."""
        return self.get("patient_id", record_id) or record_id


def other_severity(findings: Sequence[str], attribute: str) -> int:
    """How many abnormal findings a record has beside what a question asks about.

    Left out are the finding itself, what it implies, what implies it, and for a group all of its findings. Otherwise
    a record that answers yes would be more severe by the answer itself, and matching on severity would match records
    that differ in all else. For "any abnormality" nothing remains.
    """
    return _other_severity(frozenset(findings), attribute)


@lru_cache(maxsize=1 << 17)
def _other_severity(findings: frozenset[str], attribute: str) -> int:
    if attribute == "any abnormality" or attribute == "normal ecg":
        return 0
    if attribute in GROUPS:
        return severity_of(name for name in findings if VOCABULARY[name].category != GROUPS[attribute])
    if attribute not in VOCABULARY:
        return severity_of(findings)
    follows = set(implied([attribute]))
    return severity_of(name for name in findings if name not in follows and attribute not in implied([name]))


def _severity_band(records: Records, record_id: str, attribute: str) -> Any:
    findings = records.get("findings", record_id)
    return None if findings is None else min(other_severity(findings, attribute), _HIGHEST_SEVERITY)


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
}
