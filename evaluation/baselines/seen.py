"""What rules look at: a record in, its measurements and the amplitudes of its waves out.

In: records of a material. Out: `Seen` of each, made once; None where no heart beats or no beat is like another.
Decided here: what `measure` withholds as unsure is taken all the same, as a rule has to answer; P and PR only where a
wave is tied to QRS.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np

from ...signals import ECGRecord
from ...signals.analysis.atrial_waves import flutter_share
from ...signals.analysis.dominant_beat import P_STANDARD_ERRORS, p_wave_evidence, wave_lengths
from ...signals.analysis.measurements import Measurements, measure_beats
from ...signals.analysis.single_beats import SingleBeats, single_beats
from ...signals.analysis.wave_amplitudes import WaveAmplitudes, wave_amplitudes
from ..material import Material
from ..protocol import ShownECG

_UNSURE = 0.6
"""Share of the usual threshold by which a QRS is measured whose end is unclear, as the end of a wide one is."""


@dataclass(frozen=True)
class Seen:
    """rate in bpm; rr in ms [beats - 1]; pr, p, qrs, qt, qtc_bazett, qtc_fridericia in ms and axis in degrees, NaN
    where there is none. p_evidence: standard errors by which a wave before QRS stands out. flutter: as from
    `flutter_share`. spikes: a pacemaker's, per beat. age in years, NaN where unknown; female: False where it is
    unknown, too."""

    measurements: Measurements
    waves: WaveAmplitudes
    beats: SingleBeats
    rate: float
    rr: np.ndarray
    pr: float
    p: float
    qrs: float
    qtc_bazett: float
    qtc_fridericia: float
    axis: float
    p_evidence: float
    flutter: float
    paced: bool
    spikes: float
    age: float
    female: bool


def seen_in(record: ECGRecord, age: float | None = None, sex: str | None = None) -> Seen | None:
    """What is seen in a record; None where no heart beats, or no two beats are alike."""
    found, beats = measure_beats(record)
    if beats is None or beats.beat is None:
        return None
    values, lengths = found.values(), wave_lengths(beats.beat)
    rr = np.diff(found.beats) * 1000
    evidence = p_wave_evidence(beats.beat)
    p_lengths = lengths if evidence >= P_STANDARD_ERRORS and not found.paced else {}
    qt, seconds = values.get("qt", lengths.get("qt", np.nan)), float(np.median(rr)) / 1000
    return Seen(
        measurements=found,
        waves=wave_amplitudes(beats.beat, beats.leads),
        beats=single_beats(beats.signal, beats.peaks, beats.beat),
        rate=values.get("heart_rate", 60_000 / float(np.mean(rr))),
        rr=rr,
        pr=values.get("pr", p_lengths.get("pr", np.nan)),
        p=values.get("p", p_lengths.get("p", np.nan)),
        qrs=values.get("qrs", wave_lengths(beats.beat, _UNSURE)["qrs"]),
        qtc_bazett=values.get("qtc_bazett", qt / np.sqrt(seconds)),
        qtc_fridericia=values.get("qtc_fridericia", qt / np.cbrt(seconds)),
        axis=values.get("axis", np.nan),
        p_evidence=evidence,
        flutter=flutter_share(beats.signal, beats.leads, beats.peaks),
        paced=found.paced,
        spikes=beats.spikes / len(found.beats),
        age=np.nan if age is None else float(age),
        female=sex == "female",
    )


_SEEN: WeakKeyDictionary[Material, dict[str, Seen | None]] = WeakKeyDictionary()


def seen_of(material: Material, record_ids: Iterable[str]) -> dict[str, Seen | None]:
    """Record id -> what is seen in it; each record of a material is measured once."""
    known = _SEEN.setdefault(material, {})
    for record_id in dict.fromkeys(record_ids):
        if record_id not in known:
            about = material.about[record_id]
            known[record_id] = seen_in(material.ecgs[ShownECG(record_id)], about["age"], about["sex"])
    return known
