"""The simulator as a whole: its laws, wishes, refusals, mix, follow-ups, and its determinism.

What each finding looks like is tested in test_simulation_findings.py, measured from the samples.
"""

import numpy as np
import pytest

from ecgllm.findings.labels import VOCABULARY
from ecgllm.signals.analysis.measurements import measure
from ecgllm.signals.simulation import (
    FINDINGS,
    simulate_ecg,
    simulate_ecgs,
    simulate_with_waves,
)
from ecgllm.signals.simulation.plan import draw_plan
from ecgllm.signals.simulation.rhythm import draw_rhythm
from ecgllm.signals.simulation.wishes import (
    ARMS_EXCHANGED,
    FIBRILLATION,
    LBBB,
    LEFT_AXIS,
    NOISES,
    NORMAL,
    PAC,
    PVC,
    RBBB,
    RIGHT_AXIS,
)

# What follows from a finding by definition, or belongs to it, and may stand beside it.
TERRITORIES = ("anteroseptal", "anterior", "anterolateral", "lateral", "inferior", "inferolateral")
INFARCTIONS = {f"{territory} myocardial infarction" for territory in TERRITORIES}
ISCHAEMIA = {"st elevation", "st depression", "t wave inversion", "abnormal q wave", "low amplitude t wave"}
STAGES = {"acute myocardial infarction", "st elevation myocardial infarction", "old myocardial infarction"}
RELATED = {
    "junctional rhythm": {"accelerated junctional rhythm", "bradycardia"},
    "ventricular tachycardia": {LEFT_AXIS, RIGHT_AXIS, "right superior axis"},
    "ventricular pacing": {LEFT_AXIS, RIGHT_AXIS, "right superior axis", "atrial pacing", "third degree av block"},
    "second degree av block": {"bradycardia"},
    "mobitz type i av block": {"bradycardia"},
    "mobitz type ii av block": {"bradycardia"},
    "third degree av block": {"bradycardia"},
    "wolff-parkinson-white pattern": {"short pr interval"},
    "left anterior fascicular block": {LEFT_AXIS},
    "left posterior fascicular block": {RIGHT_AXIS},
    "ventricular bigeminy": {PVC},
    "atrial bigeminy": {PAC},
    "left ventricular hypertrophy": {"left ventricular strain", *ISCHAEMIA},
    "left ventricular strain": {"left ventricular hypertrophy", *ISCHAEMIA},
    "right ventricular hypertrophy": {RIGHT_AXIS, *ISCHAEMIA},
    "low qrs voltage": {"low amplitude t wave"},
    "poor r wave progression": {"abnormal q wave"},
    "early repolarization": {"st elevation"},
    "st depression": {"st elevation", "t wave inversion"},
    "t wave inversion": {"st depression"},
    **dict.fromkeys(
        ("st elevation", "abnormal q wave", *STAGES, *INFARCTIONS),
        {"poor r wave progression", *ISCHAEMIA, *STAGES, *INFARCTIONS},
    ),
}


def intervals(ecg) -> np.ndarray:
    """RR intervals (s) between beats that an independent detector finds in the samples."""
    return np.diff(measure(ecg).beats)


def test_einthoven_and_goldberger_hold():
    for ecg in simulate_ecgs(30, seed=1):
        one, two, three, avr, avl, avf = ecg.signal[:6]
        for left, right in ((three, two - one), (avr, -(one + two) / 2), (avl, one - two / 2), (avf, two - one / 2)):
            np.testing.assert_allclose(left, right, atol=1e-5)


def test_same_seed_same_bytes_other_seed_other_bytes():
    first, again, other = simulate_ecgs(5, seed=3), simulate_ecgs(5, seed=3), simulate_ecgs(5, seed=4)
    for a, b, c in zip(first, again, other, strict=True):
        assert a.signal.tobytes() == b.signal.tobytes() != c.signal.tobytes()
        assert (a.findings, a.report, a.measurements, a.id, a.age) == (
            b.findings,
            b.report,
            b.measurements,
            b.id,
            b.age,
        )


@pytest.mark.parametrize(("rate", "duration", "samples"), [(100, 10, 1000), (500, 10, 5000), (250, 7.5, 1875)])
def test_rate_and_duration(rate, duration, samples):
    ecg = simulate_ecg(seed=1, sampling_rate=rate, duration=duration)
    assert ecg.signal.shape == (12, samples) and ecg.signal.dtype == np.float32 and ecg.duration == duration
    assert np.isfinite(ecg.signal).all() and 0.5 < np.ptp(ecg.signal) < 12


@pytest.mark.parametrize("rate", [42, 60, 75, 98, 130, 148])
def test_heart_rate_equals_its_label(rate):
    for seed in range(4):
        ecg = simulate_ecg(("sinus rhythm",), heart_rate=rate, seed=seed, noise=0.3)
        assert ecg.measurements["heart_rate"] == pytest.approx(rate, rel=0.02)
        # The median, as the detector may err at a record's edges.
        assert 60 / np.median(intervals(ecg)) == pytest.approx(ecg.measurements["heart_rate"], rel=0.03)
        assert ("sinus bradycardia" in ecg.findings) == (rate < 60)
        assert ("sinus tachycardia" in ecg.findings) == (rate > 100)
        assert (NORMAL in ecg.findings) == (60 <= rate <= 100)


def test_both_kinds_of_premature_beats_find_room_at_any_rate():
    for seed, rate in enumerate(range(32, 180, 4)):
        assert {PVC, PAC} <= set(simulate_ecg((PVC, PAC), heart_rate=rate, seed=seed).findings)


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_can_be_asked_for_and_comes_alone(finding):
    for ecg in simulate_ecgs(5, seed=2, findings=(finding,)):
        assert finding in ecg.findings and ecg.report.endswith(".") and ecg.source == "simulation"
        others = set(ecg.findings) - {finding, "sinus rhythm", NORMAL} - RELATED.get(finding, set())
        assert not others
        assert set(ecg.findings) <= set(VOCABULARY)
        assert (NORMAL in ecg.findings) <= (set(ecg.findings) <= {NORMAL, "sinus rhythm", *NOISES})


@pytest.mark.parametrize(
    ("findings", "heart_rate", "says"),
    [
        (("atrial fibrillation", "sinus rhythm"), None, "exclude each other"),
        ((RBBB, LBBB), None, "exclude each other"),
        ((NORMAL, PVC), None, "exclude each other"),
        (("sinus bradycardia",), 70, "excludes"),
        ((NORMAL,), 120, "excludes"),
        (("infarct",), None, "known findings"),
        (NORMAL, None, "sequence"),
        ((), 400, "30 to 180"),
    ],
)
def test_contradictory_wishes_are_refused(findings, heart_rate, says):
    with pytest.raises(ValueError, match=says):
        simulate_ecg(findings, heart_rate=heart_rate)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"duration": 3}, "at least 5 s"),
        ({"sampling_rate": 20}, "at least 50 Hz"),
        ({"noise": -1}, "at least 0"),
        ({"n": -1}, "at least 0"),
        ({"noise": 0, "findings": ("burst noise",)}, "noise is 0"),
    ],
)
def test_what_cannot_be_simulated_is_refused(options, says):
    with pytest.raises(ValueError, match=says):
        simulate_ecgs(**{"n": 1, "seed": 0} | options)


def test_the_mix_is_broad_enough_to_learn_from():
    ecgs = simulate_ecgs(2000, seed=5)
    share = {finding: np.mean([finding in ecg.findings for ecg in ecgs]) for finding in FINDINGS}
    # Of 100,000 records the rarest leaves hundreds; whole groups are as frequent as in hospitals or more.
    rare = {finding: round(each, 4) for finding, each in share.items() if each < 0.004}
    assert not rare
    assert 0.09 < share[FIBRILLATION] < 0.20 and 0.15 < share[NORMAL] < 0.30
    assert 0.10 < share[PVC] < 0.25 and 0.05 < share[RBBB] < 0.15 and 0.05 < share[LBBB] < 0.15
    rates = [ecg.measurements["heart_rate"] for ecg in ecgs]
    assert min(rates) < 40 and max(rates) > 150 and len({ecg.id for ecg in ecgs}) == 2000
    assert {ecg.sex for ecg in ecgs} == {"female", "male"}
    ages = np.array([ecg.age for ecg in ecgs])
    fibrillating = np.array([FIBRILLATION in ecg.findings for ecg in ecgs])
    assert ages.min() >= 18 and ages[fibrillating].mean() > ages[~fibrillating].mean() + 3


def test_records_do_not_depend_on_how_many_are_drawn():
    few, many = simulate_ecgs(130, seed=8), simulate_ecgs(256, seed=8)
    assert [ecg.signal.tobytes() for ecg in few[:128]] == [ecg.signal.tobytes() for ecg in many[:128]]
    alone = simulate_ecgs(128, seed=8, first=128)
    assert [(ecg.id, ecg.signal.tobytes()) for ecg in alone] == [(ecg.id, ecg.signal.tobytes()) for ecg in many[128:]]
    with pytest.raises(ValueError, match="multiple of 128"):
        simulate_ecgs(1, 0, first=5)


def test_a_pacemaker_may_stimulate_both_chambers():
    for record, waves in simulate_with_waves(4, 0, 500.0, findings=("atrial pacing", "ventricular pacing"), noise=0.0):
        assert {"atrial pacing", "ventricular pacing"} <= set(record.findings)
        rows = np.abs(np.diff(record.signal.astype(float), 2, axis=1)).max(axis=0)
        inside = waves.p[(waves.p[:, 0] > 0.1)]
        # One spike stands at each P, and no other P wave comes in between.
        sharp = [rows[round((onset - 0.07) * 500) : round((onset + 0.012) * 500)].max() for onset in inside[:, 0]]
        assert min(sharp) > 5 * np.median(rows)
        assert len(inside) <= len(waves.qrs) + 1


def test_flutter_waves_have_the_rate_of_flutter():
    plan = draw_plan(np.random.default_rng(0), 1024, frozenset({"atrial flutter"}), None)
    rhythm = draw_rhythm(np.random.default_rng(1), plan, np.full(1024, 0.16), 10.0)
    waves = 60 / rhythm.cycle
    assert 240 < np.median(waves) < 320 and np.quantile(waves, 0.95) < 345
    assert waves.min() > 180 and waves.max() < 400


def test_a_third_degree_block_with_its_own_beats_or_paced():
    both = ("ventricular pacing", "third degree av block")
    assert all({*both} <= set(ecg.findings) for ecg in simulate_ecgs(16, seed=5, findings=both))
    assert not any(both[0] in ecg.findings for ecg in simulate_ecgs(16, seed=5, findings=both[1:]))


def test_exchanged_arms_turn_lead_i_and_swap_ii_with_iii_and_are_named():
    usual, exchanged = (simulate_ecgs(40, 3, exchanged_arms=share) for share in (0.0, 0.5))
    named = [ARMS_EXCHANGED in ecg.findings for ecg in exchanged]
    assert 8 < sum(named) < 32 and not any(ARMS_EXCHANGED in ecg.findings for ecg in usual)
    for one, two, wrong in zip(usual, exchanged, named, strict=True):
        order = [0, 2, 1, 4, 3, 5, *range(6, 12)] if wrong else list(range(12))
        sign = np.where(np.arange(12)[:, None] == 0, -1 if wrong else 1, 1)
        np.testing.assert_allclose(two.signal, sign * one.signal[order], atol=1e-5)
        assert set(two.findings) - {ARMS_EXCHANGED} == set(one.findings)
        assert ("axis" in two.measurements) != wrong
        if wrong:
            assert not {"I", "II", "III", "aVR", "aVL", "aVF"} & {
                lead for own in two.finding_leads.values() for lead in own
            }
    for share in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="exchanged_arms is"):
            simulate_ecgs(1, 0, exchanged_arms=share)
