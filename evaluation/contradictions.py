"""Which answers about one ECG cannot both be right, and which cannot be right beside what is measured.

Nothing flows in but names of findings; pairs and criteria flow out. Decided here: by how much a measurement has to
miss a limit before it counts against an answer: by its own error, as docs/measurements.md found it in records that it
was not chosen on. Which findings exclude each other stands in `findings.exclusions`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from ..coherence import coherent
from ..findings.exclusions import exclusive_pairs
from ..findings.labels import VOCABULARY, implied
from ..signals.analysis.measurements import Measurements

CORE = ("sinus rhythm", "atrial fibrillation")
"""Asked about in any corpus, whatever it states."""


def implied_pairs(findings: Collection[str]) -> list[tuple[str, str]]:
    """(Finding, broader one that holds whenever it does), of these findings."""
    names = set(findings)
    return [(name, parent) for name in VOCABULARY if name in names for parent in VOCABULARY[name].broader
            if parent in names]  # fmt: skip


def without_contradictions(probabilities: Mapping[str, float]) -> dict[str, float]:
    """The nearest probabilities of one ECG's findings that contradict each other nowhere (`coherence`)."""
    broader = [(name, parent) for name in probabilities for parent in implied([name]) if parent != name]
    return coherent(probabilities, broader, exclusive_pairs(probabilities))


@dataclass(frozen=True)
class Criterion:
    """finding: is there only if the measurement is above `lowest` and below `highest` (None: no limit). measured:
    names in `Measurements`, all of which have to contradict. margin: by which they have to miss a limit. source: of
    limits and margin."""

    finding: str
    measured: tuple[str, ...]
    lowest: float | None
    highest: float | None
    margin: float
    unit: str
    source: str

    def contradicted(self, found: Measurements) -> bool | None:
        """Whether a yes cannot be right; None where it is not measured."""
        values = [getattr(found, name).value for name in self.measured]
        if None in values:
            return None
        if self.measured == ("axis",) and self.highest is None:
            values = [
                value + 360 if value < -90 else value for value in values
            ]  # a right superior axis is no left one
        return all(self._missed(value) for value in values)

    def _missed(self, value: float) -> bool:
        below = self.lowest is not None and value <= self.lowest - self.margin
        return below or (self.highest is not None and value >= self.highest + self.margin)

    def __str__(self) -> str:
        """What contradicts: "PR of 186 ms or less"."""
        limits = [] if self.lowest is None else [f"{self.lowest - self.margin:g} {self.unit} or less"]
        limits += [] if self.highest is None else [f"{self.highest + self.margin:g} {self.unit} or more"]
        return f"{' and '.join(_CALLED[name] for name in self.measured)} of {', or '.join(limits)}"


_CALLED = {
    "pr": "PR", "qrs": "QRS", "heart_rate": "heart rate", "axis": "axis", "qtc_bazett": "QTc (Bazett)",
    "qtc_fridericia": "QTc (Fridericia)",
}  # fmt: skip
_PR = ("pr",), 200, None, 14, "ms", "PR above 200 ms (ACC/AHA/HRS 2018, bradycardia); 90 % of PR within 14 ms"
_WIDE = ("qrs",), 120, None, 14, "ms", "QRS of 120 ms (AHA/ACCF/HRS 2009, part III); 90 % of QRS within 14 ms"
_SLOW = ("heart_rate",), None, 60, 2, "bpm", "below 60 bpm, by convention; rate within 2 bpm"
_FAST = ("heart_rate",), 100, None, 2, "bpm", "above 100 bpm, by convention; rate within 2 bpm"
CRITERIA = (
    Criterion("first degree av block", *_PR),
    Criterion("prolonged pr interval", *_PR),
    Criterion("complete left bundle branch block", *_WIDE),
    Criterion("complete right bundle branch block", *_WIDE),
    Criterion(
        "ventricular tachycardia", ("qrs",), 120, None, 20, "ms",
        "QRS of 120 ms (AHA/ACC/HRS 2017, ventricular arrhythmias), of fascicular ones 100 to 140",
    ),
    Criterion(
        "prolonged qt interval", ("qtc_bazett", "qtc_fridericia"), 450, None, 20, "ms",
        "QTc of 450 ms (men) or 460 (AHA/ACCF/HRS 2009, part IV); 90 % of QT within 19 ms",
    ),
    Criterion("bradycardia", *_SLOW),
    Criterion("sinus bradycardia", *_SLOW),
    Criterion("tachycardia", *_FAST),
    Criterion("sinus tachycardia", *_FAST),
    Criterion("supraventricular tachycardia", *_FAST),
    Criterion(
        "normal axis", ("axis",), -30, 90, 15, "degrees",
        "from -30 to 90 degrees (AHA/ACCF/HRS 2009, part III); 127 of 140 axes within 15 degrees",
    ),
    Criterion(
        "left axis deviation", ("axis",), None, -30, 15, "degrees",
        "from -30 degrees (AHA/ACCF/HRS 2009, part III); 127 of 140 axes within 15 degrees",
    ),
    Criterion(
        "right axis deviation", ("axis",), 90, None, 15, "degrees",
        "from 90 degrees (AHA/ACCF/HRS 2009, part III); 127 of 140 axes within 15 degrees",
    ),
)  # fmt: skip
"""Of adults: limits of children depend on age."""
