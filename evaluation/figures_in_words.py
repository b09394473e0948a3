"""A figure as text: "81.6 % [79.0, 84.0]" of a share, ".816 [.790, .840]" of a score, the same wherever it stands.

In: an `Estimate`, or a number without an interval. Out: the text, its interval apart from its value for those who set
them apart. Decided here: one decimal of percent, three of a score; a difference (`Estimate.against` is 0) has a sign,
in percentage points or thousandths; a minus is U+2212.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from ..intervals import Estimate

MISSING = "–"


@dataclass(frozen=True)
class Shown:
    """value, and interval with its brackets or ""; number: whether it is written flush right."""

    value: str
    interval: str = ""
    number: bool = True

    @property
    def text(self) -> str:
        return f"{self.value} {self.interval}".strip()


def percent(value: Estimate | float) -> str:
    """A share, or a difference of shares, in a sentence."""
    return shown_estimate(value, False).text if isinstance(value, Estimate) else f"{figure(value, False)} %"


def score(value: Estimate | float) -> str:
    """An AUROC or another score, or a difference of them, in a sentence."""
    return shown_estimate(value, True).text if isinstance(value, Estimate) else figure(value, True)


def p_value(value: float) -> str:
    return "< .001" if value < 0.001 else without_zero(f"{value:.3f}")


def shown_estimate(estimate: Estimate, as_score: bool) -> Shown:
    """An estimate as a share, or as a score."""
    difference = estimate.against == 0.0
    if math.isnan(estimate.value):
        return Shown(MISSING)
    unit = "" if as_score else (" points" if difference else " %")
    value = figure(estimate.value, as_score, difference) + unit
    if math.isnan(estimate.low) or math.isnan(estimate.high):
        return Shown(value, f"[{MISSING}]")
    low, high = (figure(bound, as_score, difference) for bound in (estimate.low, estimate.high))
    return Shown(value, f"[{low}, {high}]")


def figure(value: float, as_score: bool, difference: bool = False) -> str:
    """The number alone, without a unit."""
    if math.isnan(value):
        return MISSING
    text = without_zero(f"{value:.3f}") if as_score else f"{100 * value:.1f}".replace("-", "−")
    return signed(text, value) if difference else text


def signed(text: str, value: float) -> str:
    """With a plus, or without a minus before zeros."""
    zero = not text.strip("−.0 ")
    return text.lstrip("−") if zero else (f"+{text}" if value > 0 else text)


def without_zero(text: str) -> str:
    return re.sub(r"^(-?)0\.", r"\1.", text).replace("-", "−")
