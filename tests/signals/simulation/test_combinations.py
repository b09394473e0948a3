"""Findings that occur together in patients occur together here, and each of them is still true of the signal."""

import dataclasses

import numpy as np
import pytest

from ecgllm.findings.labels import implied
from ecgllm.signal_ecgllm import LEADS
from ecgllm.signals.simulation import simulate_ecgs, simulate_with_waves
from ecgllm.signals.simulation.criteria import draw_limits
from ecgllm.signals.simulation.heart import draw_hearts, labels_of, rendered
from ecgllm.signals.simulation.plan import draw_plan
from ecgllm.signals.simulation.qrs import SCAR
from ecgllm.signals.simulation.wishes import FIBRILLATION, LBBB, LEFT_AXIS, PVC, RBBB, RIGHT_AXIS

LVH, RVH, OLD = "left ventricular hypertrophy", "right ventricular hypertrophy", "old myocardial infarction"
PACED, ARRHYTHMIA = "ventricular pacing", "sinus arrhythmia"
DELAY = "nonspecific intraventricular conduction disturbance"
WALLS = {"anteroseptal", "anterior", "anterolateral", "lateral", "inferior", "inferolateral"}
INFERIOR, ANTERIOR = "inferior myocardial infarction", "anterior myocardial infarction"
# (one, other): least share of those with one that show the other; docs/simulation.md has those of PTB-XL.
TOGETHER = {
    (LBBB, LVH): 0.01, (LBBB, OLD): 0.02, (LBBB, LEFT_AXIS): 0.2, (LBBB, "first degree av block"): 0.06,
    (DELAY, LVH): 0.08, (DELAY, OLD): 0.06, (RBBB, RIGHT_AXIS): 0.08, (RBBB, "left anterior fascicular block"): 0.12,
    (RBBB, "left posterior fascicular block"): 0.04, (RVH, RBBB): 0.2, (PACED, FIBRILLATION): 0.1,
    (LVH, OLD): 0.04, (FIBRILLATION, OLD): 0.04, (ARRHYTHMIA, PVC): 0.03, (OLD, "t wave inversion"): 0.06,
    (OLD, "st depression"): 0.06, (INFERIOR, ANTERIOR): 0.03,
    ("left anterior fascicular block", OLD): 0.06, ("right atrial enlargement", RIGHT_AXIS): 0.08,
    ("low amplitude t wave", "st depression"): 0.06,
}  # fmt: skip


def lead(ecg, name: str) -> np.ndarray:
    return ecg.signal[ecg.leads.index(name)]


def usual_beats(ecg, waves, name: str) -> np.ndarray:
    """[beats, samples] mV of a lead over QRS, 0 just before it."""
    row, rate = lead(ecg, name), ecg.sampling_rate
    found = []
    for (onset, offset), kind in zip(waves.qrs, waves.kinds, strict=True):
        if kind == "usual" and onset > 0.1:
            first = round(onset * rate)
            found.append(row[first : first + round((offset - onset) * rate)] - row[first - 3])
    size = min(len(each) for each in found)
    return np.array([each[:size] for each in found])


@pytest.fixture(scope="module")
def mixed() -> list[tuple[str, ...]]:
    """Findings of 8,192 records of the mix, which are not rendered."""
    found = []
    for seed in range(8):
        plan = draw_plan(np.random.default_rng([seed, 0]), 1024, None, None)
        hearts = draw_hearts(np.random.default_rng([seed, 1]), np.random.default_rng([seed, 2]), plan, 10.0)
        labels = labels_of(hearts, 10.0, draw_limits(np.random.default_rng(0), 1024, 0.0))
        found += [implied(labels.findings(row)) for row in range(1024)]
    return found


@pytest.mark.parametrize(("one", "other"), TOGETHER)
def test_what_occurs_together_in_patients_does_here(mixed, one, other):
    both = [other in found for found in mixed if one in found]
    assert np.mean(both) > TOGETHER[one, other], (np.mean(both), len(both))


def test_a_pacemaker_beats_regularly_below_fibrillating_atria():
    for ecg, waves in simulate_with_waves(8, 1, 500.0, findings=(FIBRILLATION, PACED), noise=0.0):
        assert {FIBRILLATION, PACED} <= set(ecg.findings) and not len(waves.p)
        gaps = np.diff(waves.qrs[:, 0])
        assert gaps.std() < 0.02 * gaps.mean() and np.diff(waves.qrs, axis=1).min() > 0.09
        spans = [
            np.ptp(lead(ecg, "V1")[round((end + 0.05) * 500) : round((onset - 0.08) * 500)])
            for end, onset in zip(waves.t_end[:-1], waves.qrs[1:, 0], strict=True)
            if onset - end > 0.25
        ]
        assert not spans or np.median(spans) > 0.01  # the atria tremble between the beats
        assert "third degree av block" not in ecg.findings  # no P wave is there to be blocked


def test_nobody_gets_a_pacemaker_or_a_block_who_did_not_ask_for_it():
    for finding in (FIBRILLATION, LVH, RVH, "atrial pacing", "third degree av block"):
        shown = set().union(*(ecg.findings for ecg in simulate_ecgs(20, 2, findings=(finding,))))
        assert not shown & {PACED, LBBB, RBBB, DELAY}
        assert finding == "third degree av block" or "third degree av block" not in shown


def test_hypertrophy_beside_a_left_bundle_branch_block_is_told_by_deeper_limits():
    for ecg, waves in simulate_with_waves(6, 3, 500.0, findings=(LBBB, LVH), noise=0.0):
        v2, v6 = (usual_beats(ecg, waves, name).mean(axis=0) for name in ("V2", "V6"))
        assert v6.max() - v2.min() > 4.3  # Klein 1984, 4.5 mV; beats differ in size


def test_hypertrophy_of_the_right_ventricle_beside_its_block_shows_a_high_late_wave():
    for ecg, waves in simulate_with_waves(6, 3, 500.0, findings=(RBBB, RVH), noise=0.0):
        assert RIGHT_AXIS in ecg.findings and ecg.measurements["axis"] > 90
        v1 = usual_beats(ecg, waves, "V1").mean(axis=0)
        assert v1[len(v1) // 2 :].max() > 1.4


def test_q_waves_of_a_left_bundle_branch_block_are_those_that_the_scar_makes():
    plan = draw_plan(np.random.default_rng(0), 256, frozenset({LBBB, OLD}), None)
    hearts = draw_hearts(np.random.default_rng(1), np.random.default_rng(2), plan, 10.0)
    limits = draw_limits(np.random.default_rng(3), 256, 0.0)
    labels = labels_of(hearts, 10.0, limits)
    named, holds = labels.leads["abnormal q wave"], labels.holds[OLD]
    assert 0.2 < holds.mean() <= 1
    beat = hearts.beat
    frontal, chest = beat.frontal.copy(), beat.chest.copy()
    frontal[:, SCAR], chest[:, SCAR] = 0, 0
    whole = dataclasses.replace(hearts, beat=dataclasses.replace(beat, frontal=frontal, chest=chest))
    times = np.arange(1000) / 500
    scarred, healthy = rendered(hearts, times), rendered(whole, times)
    for row in np.flatnonzero(holds):
        onset = hearts.rhythm.qrs[row]
        first = round(onset[(onset > 0.3) & (onset < 1.5)][0] * 500)
        length = round(hearts.qrs[row] * 500)
        with_scar, without = (
            signal[row, :, first : first + length] - signal[row, :, first - 2, None] for signal in (scarred, healthy)
        )
        for name, eighth in {"I": 0, "V2": 3, "V3": 4, "V5": 6, "V6": 7}.items():
            if named[row, LEADS.index(name)]:
                assert with_scar[eighth, :30].min() < without[eighth, :30].min() - 0.02
                assert without[eighth].max() > 0.02  # the block alone has an R there, and no QS


def test_two_walls_may_be_infarcted():
    two = [ecg for ecg in simulate_ecgs(1024, 4) if {INFERIOR, ANTERIOR} <= set(ecg.findings)]
    assert two
    for ecg in two:
        assert set(ecg.finding_leads[INFERIOR]) <= {"II", "III", "aVF"}
        assert set(ecg.finding_leads[ANTERIOR]) <= {"V2", "V3", "V4", "V5"}


def test_sinus_arrhythmia_beside_premature_beats_is_told_from_the_other_beats():
    made = simulate_with_waves(1024, 5, 50.0)
    both = [(ecg, waves) for ecg, waves in made if ARRHYTHMIA in ecg.findings and "premature" in str(ecg.findings)]
    assert both
    for _, waves in both:
        usual = np.array([kind == "usual" for kind in waves.kinds])
        gaps = np.diff(waves.qrs[:, 0])[usual[1:] & usual[:-1]]
        assert np.ptp(gaps) > 0.119


def test_a_report_says_which_of_two_infarctions_is_old():
    both = 0
    for ecg in simulate_ecgs(2048, 6, 50.0):
        named = [name for name in ecg.findings if name.removesuffix(" myocardial infarction") in WALLS]
        if {OLD, "acute myocardial infarction"} <= set(ecg.findings) and len(named) == 2:
            both += 1
            fresh = set(ecg.finding_leads["acute myocardial infarction"]) - set(ecg.finding_leads[OLD])
            for name in named:
                wall = name.removesuffix(" myocardial infarction")
                if fresh & set(ecg.finding_leads[name]):
                    assert (
                        f"old {wall} " not in ecg.report.lower()
                        and f"{wall} infarct, age old" not in ecg.report.lower()
                    )
    assert both > 3
