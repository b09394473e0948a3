"""What was measured on an ECG, in words that stand beside it in a prompt.

In: figures by name, each a number, or (number, confidence from 0 to 1). Out: "rate 72, PR 160 ms, QRS about 92 ms,
QTc 410 ms, axis 40, regular". A part {"type": "ecg", "ecg": ..., "measured": figures} of a conversation has them
behind its ECG; a model takes them if it was trained with them (`ECGProcessor.reads_measured`), and answers without
them, too. Whoever shows the ECG measures it: in this package `signals.measure(record).figures()`. Decided here: which
figures there are, their units, and that whole numbers are enough.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real

from .errors_ecgllm import ECGError, shorten

Figures = Mapping[str, "float | tuple[float, float] | bool | None"]
"""heart_rate (beats per minute), pr, qrs, qtc (ms), axis (degrees): numbers, or (number, confidence); regular, paced:
bool. What is None, or missing, is not known."""

NUMBERS = {
    "heart_rate": ("rate", "", (10, 400)),
    "pr": ("PR", " ms", (40, 800)),
    "qrs": ("QRS", " ms", (30, 400)),
    "qtc": ("QTc", " ms", (150, 900)),
    "axis": ("axis", "", (-180, 180)),
}
"""Name -> what a prompt calls it, its unit there, and the lowest and highest number that can be one."""
FLAGS = {"regular": ("regular", "irregular"), "paced": ("paced", "")}
"""Name -> what a prompt says where it is so, and where not."""
SURE = 0.5
"""Confidence below which a number is called "about" so much."""


def measured_text(figures: Figures) -> str:
    """The figures in words, in the order of `NUMBERS` and `FLAGS`; "" of none.

    Raises: ECGError for another name, what is no number or bool, and a number that cannot be one, as in another unit.
    """
    if not isinstance(figures, Mapping):
        raise ECGError(f"Measured is {shorten(repr(figures))}; expected figures by name, such as {_EXAMPLE}.")
    if unknown := [name for name in figures if name not in NUMBERS and name not in FLAGS]:
        raise ECGError(
            f"Measured are {', '.join(map(repr, unknown))}; expected some of {', '.join((*NUMBERS, *FLAGS))}."
        )
    said = [_number(name, figures.get(name)) for name in NUMBERS] + [_flag(name, figures.get(name)) for name in FLAGS]
    return ", ".join(one for one in said if one)


_EXAMPLE = '{"heart_rate": 72, "pr": (160, 0.9), "regular": True}'


def _number(name: str, given: object) -> str:
    if given is None:
        return ""
    value, confidence = given if isinstance(given, tuple | list) and len(given) == 2 else (given, 1.0)
    called, unit, (low, high) = NUMBERS[name]
    if any(isinstance(one, bool) or not isinstance(one, Real) for one in (value, confidence)):
        raise ECGError(f"Measured {name} is {shorten(repr(given))}; expected a number, or (number, confidence).")
    if not (low <= value <= high and 0 <= confidence <= 1):
        raise ECGError(
            f"Measured {name} is {given}; expected {low} to {high}{unit or _UNITLESS[name]}"
            + (", with a confidence from 0 to 1." if not math.isclose(confidence, 1.0) else ".")
        )
    about = "about " if confidence < SURE else ""
    return f"{called} {about}{value:.0f}{unit}"


_UNITLESS = {"heart_rate": " beats per minute", "axis": " degrees"}


def _flag(name: str, given: object) -> str:
    if given is None:
        return ""
    if not isinstance(given, bool):
        raise ECGError(f"Measured {name} is {shorten(repr(given))}; expected True or False.")
    return FLAGS[name][not given]


__all__ = ["FLAGS", "NUMBERS", "SURE", "Figures", "measured_text"]
