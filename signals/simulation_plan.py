"""What shall hold of a simulated ECG: wishes or a random mix in, a `Plan` of a batch of records out.

Decided here: which findings the simulator knows, which exclude each other, how often each occurs in a mix, and over
which ranges rates and axes spread. How it then looks is decided in `simulation` (rhythm) and `simulation_waves`
(shape).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

NORMAL, SINUS, BRADYCARDIA, TACHYCARDIA = "normal ecg", "sinus rhythm", "sinus bradycardia", "sinus tachycardia"
FIBRILLATION, FIRST_DEGREE = "atrial fibrillation", "first degree av block"
RBBB, LBBB = "complete right bundle branch block", "complete left bundle branch block"
PVC, PAC = "premature ventricular complexes", "premature atrial complexes"
LEFT_AXIS, RIGHT_AXIS = "left axis deviation", "right axis deviation"

#: Every finding that the simulator can show, in the order in which records list them.
FINDINGS = (
    NORMAL,
    SINUS,
    BRADYCARDIA,
    TACHYCARDIA,
    FIBRILLATION,
    FIRST_DEGREE,
    RBBB,
    LBBB,
    PVC,
    PAC,
    LEFT_AXIS,
    RIGHT_AXIS,
)

_EXCLUSIVE = (
    (FIBRILLATION, (SINUS, BRADYCARDIA, TACHYCARDIA, FIRST_DEGREE, PAC)),
    (BRADYCARDIA, (TACHYCARDIA,)),
    (RBBB, (LBBB,)),
    (LEFT_AXIS, (RIGHT_AXIS,)),
    (NORMAL, tuple(finding for finding in FINDINGS if finding not in (NORMAL, SINUS))),
)


def checked_findings(findings: Iterable[str], heart_rate: float | None) -> frozenset[str]:
    """The findings as a set. Raises: ValueError where they are unknown or exclude each other or the heart rate."""
    if isinstance(findings, str):
        raise ValueError(f"findings is the string {findings!r}; expected a sequence such as ({findings!r},).")
    wanted = frozenset(findings)
    unknown = sorted(wanted - set(FINDINGS))
    if unknown:
        raise ValueError(f"cannot simulate {', '.join(unknown)}; known findings: {', '.join(FINDINGS)}.")
    for one, others in _EXCLUSIVE:
        clash = sorted(wanted.intersection(others))
        if one in wanted and clash:
            raise ValueError(f"findings {one!r} and {clash[0]!r} exclude each other; leave one out.")
    limits = {BRADYCARDIA: (0, 60), TACHYCARDIA: (100, 1e3), NORMAL: (60, 100)}
    for finding in wanted.intersection(limits):
        low, high = limits[finding]
        inside = heart_rate is None or (low <= heart_rate <= high if finding == NORMAL else low < heart_rate < high)
        if not inside:
            raise ValueError(f"heart_rate {heart_rate:g} excludes {finding!r}; leave one of them out.")
    if FIRST_DEGREE in wanted and heart_rate is not None and heart_rate > 120:
        raise ValueError(f"heart_rate {heart_rate:g} leaves no room for {FIRST_DEGREE!r}; expected at most 120.")
    return wanted


@dataclass
class Plan:
    """What holds of each record of a batch, [records] each, before any wave is drawn."""

    rate: np.ndarray
    af: np.ndarray
    first_degree: np.ndarray
    rbbb: np.ndarray
    lbbb: np.ndarray
    pvc: np.ndarray
    pac: np.ndarray
    axis: np.ndarray

    def findings(self, i: int) -> tuple[str, ...]:
        """All findings that hold of record `i`, in the order of `FINDINGS`."""
        sinus, rate, axis = not self.af[i], self.rate[i], self.axis[i]
        holds = {
            SINUS: sinus,
            BRADYCARDIA: sinus and rate < 60,
            TACHYCARDIA: sinus and rate > 100,
            FIBRILLATION: self.af[i],
            FIRST_DEGREE: self.first_degree[i],
            RBBB: self.rbbb[i],
            LBBB: self.lbbb[i],
            PVC: self.pvc[i],
            PAC: self.pac[i],
            LEFT_AXIS: axis < -30,
            RIGHT_AXIS: axis > 90,
        }
        holds[NORMAL] = not any(value for finding, value in holds.items() if finding != SINUS)
        return tuple(finding for finding in FINDINGS if holds[finding])


def draw_plan(rng: np.random.Generator, n: int, wanted: frozenset[str] | None, heart_rate: float | None) -> Plan:
    """Either every record as wanted, or a mix in which each finding is frequent enough to be learned."""
    slow, fast, usual = rng.uniform(38, 57.5, n), rng.uniform(103, 150, n), np.clip(rng.normal(76, 11, n), 62, 97)
    fibrillating = np.clip(rng.lognormal(np.log(92), 0.28, n), 45, 150)
    left, right = rng.uniform(-75, -36, n), rng.uniform(97, 150, n)
    normal_axis = np.clip(rng.normal(45, 25, n), -20, 84)
    draw = rng.random((9, n))
    if wanted is None:
        plain = draw[0] < 0.12  # wholly normal ones, or there would be too few
        af = ~plain & (draw[1] < 0.22)
        rbbb = ~plain & (draw[2] < 0.115)
        lbbb = ~plain & (draw[2] > 1 - 0.115)
        pvc = ~plain & (draw[3] < 0.17)
        bradycardia, tachycardia = ~plain & (draw[4] < 0.25), ~plain & (draw[4] > 0.74)
        pac = ~plain & ~af & ~pvc & (draw[5] < 0.19)
        first_degree = ~plain & ~af & ~tachycardia & (draw[6] < 0.19)
        left_axis, right_axis = ~plain & (draw[7] < 0.16), ~plain & (draw[7] > 0.90)
    else:
        af, first_degree, rbbb, lbbb, pvc, pac, bradycardia, tachycardia, left_axis, right_axis = (
            np.full(n, finding in wanted)
            for finding in (
                FIBRILLATION, FIRST_DEGREE, RBBB, LBBB, PVC, PAC, BRADYCARDIA, TACHYCARDIA, LEFT_AXIS, RIGHT_AXIS
            )
        )  # fmt: skip
    rate = np.where(bradycardia, slow, np.where(tachycardia, fast, usual))
    rate = np.where(first_degree & tachycardia, np.minimum(rate, 118), rate)
    rate = np.where(af, fibrillating, rate)
    if heart_rate is not None:
        rate = np.full(n, float(heart_rate))
        first_degree = first_degree & (rate <= 120)
    axis = np.where(left_axis, left, np.where(right_axis, right, normal_axis))
    return Plan(rate, af, first_degree, rbbb, lbbb, pvc, pac, axis)
