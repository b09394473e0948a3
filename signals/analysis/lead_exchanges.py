"""Electrodes in each other's places: the leads of a record in, the exchanges that explain them best out.

An exchange of electrodes turns leads into sums of others, which can be undone on paper. Each arrangement that a record
might come from is undone, and what comes out is judged by how it resembles leads in their places (`lead_shapes`);
where another arrangement does so far better than the one that is stored, it is named. An exchange with the right
leg's electrode, which feeds no lead, leaves lead II or III almost flat instead, as both legs have nearly the same
potential (Haisty et al. 1993, Am J Cardiol 71:1490; Batchvarov et al. 2007, Europace 9:1081). Decided here: which
exchanges are looked for, when one is named, and which others are named with it. Nothing is ever repaired.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...heart_ecgllm import FLAT_BELOW_MV, find_heart
from ...signal_ecgllm import LEADS, complete_limb_leads, remove_baseline
from ..electrodes import ELECTRODES, eight_leads
from .lead_exchange_weights import EVIDENCE, PRECISIONS, WEIGHTS
from .lead_shapes import BEAT_LEADS, GRID_S, average, describe

EXCHANGES = (
    ("RA", "LA"), ("RA", "LL"), ("LA", "LL"), ("V1", "V2"), ("V2", "V3"), ("V3", "V4"), ("V4", "V5"), ("V5", "V6"),
    ("V1", "V3"), ("V1", "V6"), ("V4", "V6"),
)  # fmt: skip
"""Pairs of electrodes that `find_exchange` undoes; RA-RL and LA-RL are found by the lead that they leave flat."""

NOT_LOOKED_FOR = (
    "an exchange of the left and the right leg's electrode, which changes next to nothing; of three electrodes or "
    "more; of chest electrodes further apart, but for V1 with V3 or V6 and V4 with V6; electrodes in a wrong place"
)
"""What `check_leads` says nothing about, so that silence is not taken for a finding."""

# Of what the other two limb leads span from P to T. In 71 records of LUDB lead II spans .52 and more, lead III .29.
_FLAT = 0.1
_FLAT_LEADS = {
    "II": ("RA-RL", "the right arm's electrode may lie on the right leg"),
    "III": ("LA-RL", "the left arm's electrode may lie on the right leg"),
    "I": ("RA-RL and LA-LL", "both arms' electrodes may lie on the legs"),
}
_ALSO_FLAT = "or electrodes touch; nothing was changed"
_ALSO = "dextrocardia, an infarction, pacing or electrodes put too high can look alike; nothing was changed"

_LONGEST_S, _PRESENT = 60.0, 0.5  # what is looked at of a record, and how much of it must be there in all leads
AS_WELL = 0.2  # share of the best explanation's probability from which another is named, too


@dataclass(frozen=True)
class Exchange:
    """names: exchanges that explain the leads far better than leads in their places do, the best first, more than one
    where they look alike; empty where none does. evidence: logarithm of the odds of any exchange, one arrangement as
    usual as another; None where a flat lead tells. reason: a sentence, None without a name."""

    names: tuple[str, ...]
    evidence: float | None = None
    reason: str | None = None


def find_exchange(leads: dict[str, np.ndarray], rate: float) -> Exchange | None:
    """Say whether electrodes look exchanged.

    Args: leads: by standard names, samples in mV, NaN where missing; limb leads that fit together. rate: Hz.
    Returns: an `Exchange`; None where it cannot be said: without two limb leads and V1 to V6, none of which is flat,
    without a heart, or with fewer than two whole beats.
    """
    beats = dominant_beats(leads, rate)
    if beats is None:
        return None
    flat = flat_limb_lead(beats)
    if flat is not None:
        name, text = _FLAT_LEADS[flat]
        return Exchange((name,), None, f"lead {flat} is nearly flat: {text} ({name}), {_ALSO_FLAT}")
    evidence, order, shares = _weigh(scores(beats[None])[0])
    if evidence <= EVIDENCE:
        return Exchange((), evidence)
    names = tuple("-".join(EXCHANGES[each]) for each in order if shares[each] >= AS_WELL * shares[order[0]])
    text = f"the electrodes {' or '.join(names)} may be exchanged: so the leads would look more usual ({_ALSO})"
    return Exchange(names, evidence, text)


def dominant_beats(leads: dict[str, np.ndarray], rate: float) -> np.ndarray | None:
    """The dominant beat of `BEAT_LEADS` [8, samples] on the grid of `lead_shapes`, None where there is none."""
    limb = complete_limb_leads({name: leads[name] for name in LEADS[:6] if name in leads})
    known = limb | {name: leads[name] for name in LEADS[6:] if name in leads}
    if not set(BEAT_LEADS) <= set(known):
        return None
    signal = np.stack([known[name][: round(_LONGEST_S * rate)] for name in BEAT_LEADS]).astype(np.float64)
    present = np.isfinite(signal).all(axis=0)
    if present.mean() < _PRESENT:
        return None
    if not present.all():
        index = np.arange(signal.shape[1])
        signal = np.stack([np.interp(index, index[present], row[present]) for row in signal])
    heart = find_heart(signal, rate)
    if not heart.found:
        return None
    beats = average(remove_baseline(signal, rate).astype(np.float64), rate, heart.beats)
    if beats is None or np.ptp(beats[2:], axis=1).min() < FLAT_BELOW_MV:
        return None
    return beats


def flat_limb_lead(beats: np.ndarray) -> str | None:
    """Which of I, II and III is nearly flat beside the other two, if any. Args: beats: [8, samples]."""
    wave = beats[:2, GRID_S >= -0.2]
    spans = np.ptp(np.stack([wave[0], wave[1], wave[1] - wave[0]]), axis=1)
    return ("I", "II", "III")[int(spans.argmin())] if spans.min() < _FLAT * np.median(spans) else None


def scores(beats: np.ndarray) -> np.ndarray:
    """How much leads in their places the beats would be as they are, and with each of `EXCHANGES` undone.

    Args: beats: [records, 8, samples]. Returns: [records, 1 + exchanges], logarithms of odds but for a constant.
    """
    undone = arrangements() @ beats[:, None]
    return describe(undone, np.array(PRECISIONS)) @ np.array(WEIGHTS)


def _weigh(found: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Evidence for any exchange, exchanges from the likeliest to the least likely, and their odds."""
    odds = found[1:] - found[0]
    return float(np.logaddexp.reduce(odds)), np.argsort(-odds), np.exp(odds - odds.max())


@lru_cache(maxsize=1)
def arrangements() -> np.ndarray:
    """[1 + exchanges, 8, 8]: what each exchange makes of `BEAT_LEADS`, and so what undoes it; first none."""
    return np.stack([np.eye(8), *(exchanged(first, second) for first, second in EXCHANGES)])


def exchanged(first: str, second: str) -> np.ndarray:
    """What an exchange of two electrodes makes of `BEAT_LEADS`: a matrix [8, 8].

    The chest leads are measured against Wilson's central terminal, the mean of the limbs' electrodes, and so keep
    their shape when limbs are exchanged, but not with the right leg, which is taken to have the left leg's potential.
    """
    # Potentials against the terminal from the leads, and leads from potentials.
    potentials = np.zeros((9, 8))
    potentials[:3, :2] = np.array([[-1, -1], [2, -1], [-1, 2]]) / 3
    potentials[3:, 2:] = np.eye(6)
    leads = eight_leads(np.eye(9)[None])[0]
    order = np.eye(9)
    if "RL" in (first, second):
        moved = second if first == "RL" else first
        if moved != "LL":
            order[ELECTRODES.index(moved)] = order[ELECTRODES.index("LL")]
    else:
        pair = [ELECTRODES.index(first), ELECTRODES.index(second)]
        order[pair] = order[pair[::-1]]
    return leads @ order @ potentials
