"""Criteria of rate, rhythm, premature beats, pacing and AV conduction, as margins of what is seen; `criteria` has
their sources."""

from __future__ import annotations

import numpy as np

from ...signals.analysis.dominant_beat import P_STANDARD_ERRORS, P_STANDARD_ERRORS_IRREGULAR
from .margins import BPM, NEVER, PR_MS, QRS_MS, above, all_of, any_of, below, there, times
from .seen import Seen

_EARLY = 1.15  # RR before a premature beat, times which the usual one is longer
_UNLIKE = 0.85  # correlation with the dominant beat, as of beats that are averaged (`signals.analysis`)


def slow(seen: Seen) -> float:
    return below(seen.rate, 60, BPM)


def fast(seen: Seen) -> float:
    return above(seen.rate, 100, BPM)


def irregular(seen: Seen) -> float:
    """Root mean square of successive differences of RR over their mean, but for RR around ectopic ventricular beats;
    above 0.1."""
    rr = _without_wide_beats(seen)
    if len(rr) < 3:
        return np.nan
    steps = np.diff(rr)
    steps = steps[np.isfinite(steps)]
    if len(steps) < 2:
        return np.nan
    return times(float(np.sqrt((steps**2).mean()) / np.nanmean(rr)), 0.1)


def _without_wide_beats(seen: Seen) -> np.ndarray:
    """RR intervals, NaN before and behind a premature ventricular beat."""
    odd = _ectopic(seen) > 0
    return np.where(odd[1:] | odd[:-1], np.nan, seen.rr)


def p_wave(seen: Seen) -> float:
    """A wave tied to QRS ahead of it."""
    return times(seen.p_evidence, P_STANDARD_ERRORS, 0.5)


def fibrillation(seen: Seen) -> float:
    """Irregular, and no wave tied to QRS."""
    return all_of(irregular(seen), -times(seen.p_evidence, P_STANDARD_ERRORS_IRREGULAR, 0.5), -paced(seen))


def flutter(seen: Seen) -> float:
    """Half of the power between QRS complexes near one frequency of 240 to 340 a minute."""
    return all_of(times(seen.flutter, 0.5), -paced(seen))


def sinus(seen: Seen) -> float:
    """P tied to QRS and upright in II, PR 120 ms or more, not paced, 60 to 100 bpm."""
    upright = there(float(np.sum(seen.waves.of("p_high", "II") + seen.waves.of("p_low", "II"))) / 0.04)
    return all_of(p_wave(seen), upright, -paced(seen), -slow(seen), -fast(seen))


def sinus_bradycardia(seen: Seen) -> float:
    return all_of(slow(seen), -fibrillation(seen), -paced(seen))


def sinus_tachycardia(seen: Seen) -> float:
    """Over 100 bpm, below the rate that a sinus node reaches at that age (220 - age), regular, narrow or as usual."""
    highest = 220 - (seen.age if np.isfinite(seen.age) else 40)
    return all_of(fast(seen), below(seen.rate, highest, BPM), -fibrillation(seen), -paced(seen))


def sinus_arrhythmia(seen: Seen) -> float:
    """P tied to QRS, longest and shortest RR more than 120 ms apart, no premature beats."""
    spread = float(seen.rr.max() - seen.rr.min()) if len(seen.rr) else np.nan
    return all_of(p_wave(seen), above(spread, 120, 20), -ventricular_beats(seen), -atrial_beats(seen))


def supraventricular_tachycardia(seen: Seen) -> float:
    """Over 100 bpm, narrow, regular, no P ahead of QRS."""
    return all_of(fast(seen), below(seen.qrs, 120, QRS_MS), -irregular(seen), -p_wave(seen))


def ventricular_tachycardia(seen: Seen) -> float:
    """Three wide beats in a row, over 100 bpm."""
    wide = above(seen.beats.qrs_ms, 120, QRS_MS)
    rates = above(60_000 / np.r_[np.inf, seen.rr], 100, BPM)
    runs = [
        all_of(*wide[start : start + 3], *rates[start + 1 : start + 3], -paced(seen)) for start in range(len(wide) - 2)
    ]
    return any_of(*runs)


def _ectopic(seen: Seen) -> np.ndarray:
    """Of each beat: early, wide, and unlike the others [beats]; NaN where it is not known."""
    early = np.log(seen.beats.early / _EARLY) / np.log(1.1)
    unlike = (_UNLIKE - seen.beats.alike) / 0.02
    wide = above(seen.beats.qrs_ms, 120, QRS_MS)
    return np.minimum(np.minimum(early, unlike), wide)


def ventricular_beats(seen: Seen) -> float:
    return there(any_of(*_ectopic(seen)))


def atrial_beats(seen: Seen) -> float:
    """Early, like the others, in a rhythm with P tied to QRS."""
    early = np.log(seen.beats.early / _EARLY) / np.log(1.1)
    alike = (seen.beats.alike - _UNLIKE) / 0.02
    return all_of(there(any_of(*np.minimum(early, alike))), p_wave(seen))


def ventricular_bigeminy(seen: Seen) -> float:
    """Every other beat for three in a row."""
    ectopic = _ectopic(seen)
    runs = [all_of(*ectopic[start : start + 5 : 2]) for start in range(len(ectopic) - 4)]
    return there(any_of(*runs))


def paced(seen: Seen) -> float:
    """A pacemaker's spikes: QRS follows them, or there is one for at least every other beat."""
    return -NEVER if seen.paced else max(NEVER, times(seen.spikes, 0.5))


def ventricular_pacing(seen: Seen) -> float:
    """Spikes that QRS follows."""
    return -NEVER if seen.paced else min(-1.0, paced(seen))


def long_pr(seen: Seen) -> float:
    return there(above(seen.pr, 200, PR_MS))


def short_pr(seen: Seen) -> float:
    return there(below(seen.pr, 120, PR_MS))


def complete_av_block(seen: Seen) -> float:
    """Below 50 bpm, regular, no P tied to QRS."""
    return all_of(below(seen.rate, 50, BPM), -irregular(seen), -p_wave(seen), -paced(seen))


def av_block(seen: Seen) -> float:
    return any_of(long_pr(seen), complete_av_block(seen))


def junctional(seen: Seen) -> float:
    """Below 60 bpm, narrow, regular, no P ahead of QRS."""
    return all_of(slow(seen), below(seen.qrs, 120, QRS_MS), -irregular(seen), -p_wave(seen))
