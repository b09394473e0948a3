"""The same patients at two visits: plans before and after in, changes that medicine knows out.

Decided here: which findings come and go, and what a plan becomes when one does.
"""

from __future__ import annotations

import numpy as np

from .plan import Plan, draw_plan
from .wishes import BRADYCARDIA, NORMAL, SINUS, TACHYCARDIA, TERRITORIES, may_show

# finding -> what the plan must be before it can come (None: anything), and what it is afterwards
_SINUS = {"rhythm": "sinus", "fibrillating": False}
_REGULAR = {"pr": "usual", "arrhythmic": False}
_NO_ECTOPY = _SINUS | {"ectopy": "none"}
_PLAIN = _SINUS | {
    "conduction": "normal", "fascicle": "none", "voltage": "usual", "repolarization": "usual", "scar": "none",
}  # fmt: skip
_CHANGES: dict[str, tuple[dict, dict]] = {
    "atrial fibrillation": (_NO_ECTOPY, {"rhythm": "fibrillation", "fibrillating": True} | _REGULAR),
    "atrial flutter": (_NO_ECTOPY, {"rhythm": "flutter"} | _REGULAR),
    "sinus tachycardia": (_SINUS, {}),
    "sinus bradycardia": (_SINUS, {}),
    "first degree av block": (_SINUS | {"pr": "usual", "conduction": "normal"}, {"pr": "long"}),
    "third degree av block": (_PLAIN | _NO_ECTOPY, {"rhythm": "third degree block"} | _REGULAR),
    "ventricular pacing": (_PLAIN, {"rhythm": "ventricular pacing"} | _REGULAR),
    "complete left bundle branch block": (_PLAIN, {"conduction": "lbbb"}),
    "complete right bundle branch block": ({"conduction": "normal", "voltage": "usual"}, {"conduction": "rbbb"}),
    "premature ventricular complexes": (_SINUS | {"ectopy": "none", "arrhythmic": False}, {"ectopy": "ventricular"}),
    "premature atrial complexes": (_SINUS | {"ectopy": "none", "arrhythmic": False}, {"ectopy": "atrial"}),
    "st elevation myocardial infarction": (_PLAIN, {"repolarization": "acute infarction"}),
    "old myocardial infarction": (_PLAIN, {"repolarization": "old infarction"}),
    "st depression": (_PLAIN, {"repolarization": "depression"}),
    "t wave inversion": (_PLAIN, {"repolarization": "inversion"}),
    "prolonged qt interval": ({"long_qt": False}, {"long_qt": True}),
    "left ventricular strain": (_PLAIN, {"voltage": "left strain"}),
}  # fmt: skip
_RATES = {
    "sinus tachycardia": (104, 140), "sinus bradycardia": (40, 57), "atrial fibrillation": (62, 140),
    "atrial flutter": (70, 150), "third degree av block": (28, 48), "ventricular pacing": (58, 85),
    "first degree av block": (62, 95),
}  # fmt: skip
# What a change of rate or rhythm takes along, and what can no longer be told once there is no P, or a wide QRS.
_RHYTHM = {NORMAL, SINUS, BRADYCARDIA, TACHYCARDIA, "bradycardia", "sinus arrhythmia"}
_NO_P = _RHYTHM | {"first degree av block", "left atrial enlargement", "right atrial enlargement"}
_MASKING = {
    **dict.fromkeys(("atrial fibrillation", "atrial flutter", "third degree av block"), _NO_P),
    **dict.fromkeys(("ventricular pacing", "complete left bundle branch block"), None),
}
_LASTING = ("old myocardial infarction", "left ventricular strain", "ventricular pacing", "third degree av block")


def changed_plans(rng: np.random.Generator, n: int) -> tuple[Plan, Plan, list[tuple[str | None, str | None]]]:
    """(plans of the first visit, of the second, and for each record (what is new or None, what is gone or None))."""
    before = draw_plan(rng, n, None, None)
    columns = {name: values.astype(object) for name, values in vars(before).items()}
    earlier = {name: values.copy() for name, values in columns.items()}
    later = {name: values.copy() for name, values in columns.items()}
    intended: list[tuple[str | None, str | None]] = []
    names = list(_CHANGES)
    for i in range(n):
        course = ("new", "gone", "none")[i % 3]
        finding = names[rng.integers(len(names))]
        if course == "gone" and finding in _LASTING:
            course = "new"
        drift = rng.uniform(0.94, 1.06)
        if course == "none":
            later["rate"][i] = _drifted(later["rate"][i], drift)
            intended.append((None, None))
            continue
        needed, becomes = _CHANGES[finding]
        for plans in (earlier, later):
            for name, value in needed.items():
                plans[name][i] = value
            if "conduction" in needed and earlier["axis"][i] < -30:
                plans["axis"][i] = 20.0
            if needed.get("repolarization"):
                plans["territory"][i] = "none"
            if needed.get("rhythm") == "sinus":
                plans["rate"][i] = 61.5 + (float(before.rate[i]) * 7.3) % 36  # a usual rate, as a sinus node has
        for name, value in becomes.items():
            later[name][i] = value
        if finding in _RATES:
            later["rate"][i] = rng.uniform(*_RATES[finding])
        else:
            later["rate"][i] = _drifted(later["rate"][i], drift)
        if later["repolarization"][i] in ("acute infarction", "old infarction", "inversion"):
            later["territory"][i] = TERRITORIES[rng.integers(len(TERRITORIES))]
        if finding == "ventricular pacing":
            later["axis"][i] = rng.uniform(-110, -40)
        if course == "gone":
            for name in columns:
                earlier[name][i], later[name][i] = later[name][i], earlier[name][i]
        intended.append((finding, None) if course == "new" else (None, finding))
    first, second = (
        Plan(**{name: np.array(values.tolist()) for name, values in plans.items()}) for plans in (earlier, later)
    )
    return first, second, intended


def is_intended(first: tuple[str, ...], second: tuple[str, ...], new: str | None, gone: str | None) -> bool:
    """Whether the findings of two visits differ by the intended change, what belongs to it, and nothing else."""
    if new is None and gone is None:
        return set(first) == set(second)
    without, bearing = (first, second) if new is not None else (second, first)
    finding = new or gone
    gained, lost = set(bearing) - set(without), set(without) - set(bearing)
    masked = _MASKING.get(finding, _RHYTHM)  # None: anything may be hidden
    belongs = gained <= may_show(frozenset({finding}), None) | {finding} | _RHYTHM
    return finding in gained and belongs and (masked is None or lost <= masked)


def _drifted(rate: float, factor: float) -> float:
    """A rate a few percent off, on the same side of 60 and 100 beats per minute."""
    low, high = (0.0, 59.5) if rate < 60 else (60.5, 99.5) if rate <= 100 else (100.5, 1e3)
    return float(np.clip(rate * factor, low, high))
