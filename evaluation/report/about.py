"""What a report says beside its figures: which model, which records, by which rules, and what to be careful about."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...signals.record import ECGRecord
from ..figures import Chart

if TYPE_CHECKING:
    from ...explanations import Explanation

SCHEMA = "ecgllm.evaluation/1"
"""Of `metrics.json`; another number where a reader of this one would misread it."""
PAGE, MARKDOWN, METRICS = "index.html", "report.md", "metrics.json"


@dataclass(frozen=True)
class Data:
    """A source of records: its name, how many records of how many patients (None: not known), and their hash."""

    name: str
    records: int
    patients: int | None
    hash: str


@dataclass(frozen=True)
class About:
    """What a report opens with, and what makes it repeatable.

    Args:
        title: of the page, and heading of the section in a model card.
        verdict: two sentences. picture: the one chart below them.
        model: its name. trained_on: what it says that it learned from, or None where it does not say.
        data: what it was evaluated on. protocol: how, a sentence each.
        seed: of all drawing. settings: name -> value. versions: of packages. date: as it shall be written.
        command: the line that makes this report again.
        warnings: what a reader has to know before any figure, a sentence each.
        terms: what words and baselines in the report mean.
    """

    title: str
    verdict: tuple[str, str]
    model: str
    trained_on: str | None
    data: list[Data]
    protocol: list[str]
    seed: int
    settings: dict[str, Any]
    versions: dict[str, str]
    date: str
    command: str
    warnings: list[str] = field(default_factory=list)
    terms: dict[str, str] = field(default_factory=dict)
    picture: Chart | None = None


@dataclass(frozen=True)
class Example:
    """An answer with the ECG (second: or both) that it is about, for `index.html` alone.

    measured: what was measured of the ECG, in words. explanation: what it rests on, which is marked; rests_on: the
    same in words. Of a record the signal is drawn, its rate and its source named;
    the texts must not name a record or a patient either.
    """

    title: str
    question: str
    answer: str
    label: str
    measured: str
    record: ECGRecord
    second: ECGRecord | None = None
    explanation: Explanation | None = None
    rests_on: str = ""
