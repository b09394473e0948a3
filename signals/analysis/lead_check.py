"""check_leads: which leads a record has, whether its limb leads agree with each other, and whether electrodes look
exchanged.

In: an `ECGRecord`. Out: a `LeadCheck`, sentences included. Nothing is repaired: an exchange is flagged, and whoever
recorded the ECG decides. Decided here: the names of lead systems and when Einthoven's law holds; `lead_exchanges`
tells exchanged electrodes.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...signal_ecgllm import LEADS, LIMB_WEIGHTS, complete_limb_leads
from ..record import ECGRecord, known_lead_name
from .calibration import without_calibration
from .lead_exchanges import NOT_LOOKED_FOR, find_exchange

LIMB_LEADS, CHEST_LEADS = LEADS[:6], LEADS[6:]


def _terms(lead: str) -> dict[str, float]:
    """The limb lead less what follows from I and II: lead -> weight, a sum that is zero."""
    of_one, of_two = LIMB_WEIGHTS[lead]
    return {lead: 1, "I": -of_one, "II": -of_two}


# Each sums to zero.
_LAWS: dict[str, dict[str, float]] = {
    "II = I + III": _terms("III"),
    "aVR + aVL + aVF = 0": {"aVR": 1, "aVL": 1, "aVF": 1},
    "aVR = -(I + II)/2": _terms("aVR"),
    "aVL = I - II/2": _terms("aVL"),
    "aVF = II - I/2": _terms("aVF"),
}
# A law is broken where its residual is beyond the noise and beyond 5 % of the leads' own size. Rounding leaves at most
# 1.8 times the noise and 4 % in 323 real records (docs/measurements.md); a misnamed or inverted lead leaves its size.
_LARGEST_NOISE_RATIO = 3.0
_LARGEST_SHARE = 0.05

_FRANK = {"X": "X", "Y": "Y", "Z": "Z", "VX": "X", "VY": "Y", "VZ": "Z"}


@dataclass(frozen=True)
class LeadLaw:
    """One law between limb leads: root mean square of its residual in mV, the same in units of the leads' noise and
    as a share of their size, and whether it holds."""

    law: str
    residual_mv: float
    noise_ratio: float
    share: float
    holds: bool


@dataclass(frozen=True)
class LeadCheck:
    """What `check_leads` finds.

    lead_system: "12-lead", "8-lead" (two limb leads or more, V1 to V6), "limb only", "single lead", "Frank XYZ" or
    "other". derived: stored leads that are a sum of others to within rounding. derivable: standard leads that are not
    stored and follow from those that are. missing: standard leads that do not. other: leads that are not standard.
    laws: those that can be checked. exchange: which electrodes look exchanged, the best explanation first and those
    that look alike behind it ("RA-LA", "V1-V2", ...), none of them if none do, None if it cannot be said: not all of
    V1 to V6 and two limb leads are there, a law is broken, or no heart is found. reasons: everything that calls for a
    look, as sentences.

    No exchange named is no proof that there is none: left arm with left leg is found in less than half of records, and
    left with right leg in none (docs/measurements.md has the figures, `NOT_LOOKED_FOR` what is not looked for).
    """

    lead_system: str
    derived: tuple[str, ...]
    derivable: tuple[str, ...]
    missing: tuple[str, ...]
    other: tuple[str, ...]
    laws: tuple[LeadLaw, ...]
    exchange: tuple[str, ...] | None
    reasons: tuple[str, ...]

    @property
    def arm_reversal(self) -> bool | None:
        """Whether the arm electrodes look exchanged, or something that looks like it; None if it cannot be said."""
        return None if self.exchange is None else "RA-LA" in self.exchange

    @property
    def einthoven_holds(self) -> bool | None:
        """Whether every law that can be checked holds; None where there is none to check."""
        return all(law.holds for law in self.laws) if self.laws else None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready mapping."""
        found = asdict(self) | {
            "arm_reversal": self.arm_reversal,
            "einthoven_holds": self.einthoven_holds,
            "not_looked_for": NOT_LOOKED_FOR,
        }
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}


def check_leads(record: ECGRecord) -> LeadCheck:
    """Say which leads a record has and whether they fit together.

    Args: record: any. Samples that are missing (NaN) in one lead are left out of what is computed with it.
    Returns: a `LeadCheck`. The record is not changed.
    """
    record, _, _ = without_calibration(record)  # in which I + III is not II
    leads = {
        known_lead_name(name): row.astype(np.float64) for name, row in zip(record.leads, record.signal, strict=True)
    }
    names = tuple(leads)
    standard = [name for name in LEADS if name in leads]
    complete = complete_limb_leads({name: np.zeros(1) for name in standard})
    laws = tuple(found for law, terms in _LAWS.items() if (found := _law(law, terms, leads)) is not None)
    # Limb leads that do not fit together are misnamed or of two scales, and would pass for exchanged electrodes.
    exchange = find_exchange(leads, record.sampling_rate) if all(law.holds for law in laws) else None
    broken = tuple(
        f"{law.law} does not hold: the residual is {law.residual_mv:.3g} mV, {law.noise_ratio:.3g} times the noise "
        f"and {law.share:.0%} of the leads; a lead is misnamed, inverted or of another scale"
        for law in laws
        if not law.holds
    )
    return LeadCheck(
        lead_system=lead_system(names),
        derived=_derived(leads),
        derivable=tuple(name for name in LEADS if name in complete and name not in leads),
        missing=tuple(name for name in LEADS if name not in complete),
        other=tuple(name for name in names if name not in LEADS),
        laws=laws,
        exchange=None if exchange is None else exchange.names,
        reasons=broken + ((exchange.reason,) if exchange is not None and exchange.reason else ()),
    )


def lead_system(names: tuple[str, ...]) -> str:
    """The name of a set of leads, as `LeadCheck.lead_system` lists them; names in any usual spelling."""
    known = {known_lead_name(name) for name in names}
    limb, chest = known.intersection(LIMB_LEADS), known.intersection(CHEST_LEADS)
    if len(chest) == len(CHEST_LEADS) and len(limb) >= 2:
        return "12-lead" if len(limb) == len(LIMB_LEADS) else "8-lead"
    if len(known) == 1:
        return "single lead"
    if {_FRANK.get(name.upper()) for name in known} == {"X", "Y", "Z"}:
        return "Frank XYZ"
    return "limb only" if limb and limb == known else "other"


def _law(law: str, terms: dict[str, float], leads: dict[str, np.ndarray]) -> LeadLaw | None:
    """The law's residual, its offset taken off: amplifiers for AC do not keep one."""
    if not all(name in leads for name in terms):
        return None
    rows = np.stack([leads[name] for name in terms])
    rows = rows[:, np.isfinite(rows).all(axis=0)]
    if rows.shape[1] < 4:
        return None
    weights = np.array(list(terms.values()))
    off = weights @ rows
    residual = float(np.sqrt(np.mean((off - np.median(off)) ** 2)))
    noise = math.sqrt(sum((weight * _noise(row)) ** 2 for weight, row in zip(weights, rows, strict=True)))
    size = float(rows.std(axis=1).max())
    ratio, share = residual / noise, residual / size if size > 0 else 0.0
    return LeadLaw(law, residual, ratio, share, ratio <= _LARGEST_NOISE_RATIO or share <= _LARGEST_SHARE)


def _noise(samples: np.ndarray) -> float:
    """Standard deviation of a lead's white noise in mV, at least that of rounding to its own steps.

    From the median absolute third difference, to which an ECG's slow waves and rare QRS complexes add nothing; 20 is
    the sum of the squared weights 1, 3, 3, 1.
    """
    white = float(np.median(np.abs(np.diff(samples, 3)))) / 0.6745 / math.sqrt(20)
    return max(white, _step(samples) / math.sqrt(12), 1e-6)


def _step(samples: np.ndarray) -> float:
    """The smallest step between two stored values, in mV: the resolution of the file (0 for a constant lead)."""
    steps = np.diff(np.unique(np.round(samples, 6)))
    return float(steps.min()) if steps.size else 0.0


def _derived(leads: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Limb leads that equal what the first two give, to within rounding."""
    given = [name for name in LIMB_LEADS if name in leads]
    complete = complete_limb_leads({name: leads[name] for name in given[:2]})
    derived = []
    for name in given[2:]:
        off = np.abs(leads[name] - complete[name])
        off = off[np.isfinite(off)]
        steps = max(_step(leads[each][np.isfinite(leads[each])]) for each in (name, *given[:2]))
        if off.size and np.quantile(off, 0.99) <= 2.5 * steps + 1e-6:
            derived.append(name)
    return tuple(derived)
