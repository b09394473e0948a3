"""What a measurement may be: where it is usual, beyond which it cannot be what it is called, and what is a change.

In: a measurement's name and the patient's sex. Out: its limits, each with its source, or its least change. What lies
outside the usual limits is shown as such and never left out, since a rate of 22 or a QT of 618 ms can be real, and
deadly; only what cannot be is.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """usual, possible: lowest and highest, None where there is no limit. source: of both."""

    usual: tuple[float | None, float | None]
    possible: tuple[float | None, float | None]
    source: str


_NONE = (None, None)
# AHA/ACCF/HRS Recommendations for the Standardization and Interpretation of the Electrocardiogram (2009), for adults:
# part III (Surawicz et al.), IV (Rautaharju et al.), V (Hancock et al.).
_LIMITS = {
    "heart_rate": Limits(
        (60, 100),
        (None, 272),
        "usual: convention (sinus bradycardia, tachycardia); possible: beats within 220 ms are not told apart",
    ),
    "rr": Limits((600, 1000), (220, None), "as the heart rate"),
    "p": Limits((None, 120), (20, 250), "usual: part V, left atrial abnormality; possible: what is looked for here"),
    "pr": Limits(
        (120, 200),
        (50, 500),
        "usual: convention (first-degree block, pre-excitation); possible: what is looked for",
    ),
    "qrs": Limits(
        (None, 110),
        (40, 300),
        "usual: part III; possible: newborns have 50 ms (Davignon 1980), and beyond 300 ms, as in the sine waves of "
        "hyperkalaemia, no end of QRS can be told from ST",
    ),
    "qt": Limits(_NONE, (150, 800), "usual: depends on the rate, see QTc; possible: what is looked for here"),
    "qtc_bazett": Limits((390, 460), (200, 900), "usual: part IV, women from 460, men from 450 ms on prolonged"),
    "qtc_fridericia": Limits((390, 460), (200, 900), "usual: part IV, women from 460, men from 450 ms on prolonged"),
    "axis": Limits((-30, 90), _NONE, "usual: part III"),
}
_LONG_QTC_OF_MEN = 450
CLEAR_CHANGES = {
    "heart_rate": 10.0, "rr": 100.0, "p": 20.0, "pr": 20.0, "qrs": 16.0, "qt": 30.0, "qtc_bazett": 30.0,
    "qtc_fridericia": 30.0, "axis": 30.0,
}  # fmt: skip
"""By what two ECGs of one patient have to differ to be called different (bpm, ms, degrees): more than automatic
measurements of one ECG differ by, so a choice of this project, the same in questions, in evaluation and in answers."""


def limits_of(name: str, sex: str | None = None) -> Limits:
    """Limits of a measurement by its name in `Measurements`; none for a name without any.

    Args: sex: "male" or "female"; for an unknown one the limit is that of women, which is the higher one.
    """
    found = _LIMITS.get(name, Limits(_NONE, _NONE, ""))
    if name.startswith("qtc") and sex == "male":
        return Limits((found.usual[0], _LONG_QTC_OF_MEN), found.possible, found.source)
    return found


def beyond(value: float, limits: tuple[float | None, float | None]) -> str | None:
    """ "below" or "above" the limits, None within."""
    low, high = limits
    if low is not None and value < low:
        return "below"
    return "above" if high is not None and value > high else None
