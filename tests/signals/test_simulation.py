"""The simulator: its laws, its truth measured from the samples, and its determinism."""

import time

import numpy as np
import pytest

from ecgllm.signals.simulation import FINDINGS, simulate_ecg, simulate_ecgs
from ecgllm.signals.simulation_plan import FIBRILLATION, LBBB, LEFT_AXIS, NORMAL, PAC, PVC, RBBB, RIGHT_AXIS


def beats(ecg) -> np.ndarray:
    """Times of R peaks (s): peaks of the slope's energy over all leads, at least 0.25 s apart."""
    energy = np.square(np.diff(ecg.signal, axis=1)).sum(axis=0)
    energy = np.convolve(energy, np.ones(9) / 9, mode="same")
    peaks = []
    for k in np.argsort(energy)[::-1]:
        if energy[k] < 0.12 * np.sort(energy)[-30:].mean():
            break
        if all(abs(k - p) > 0.25 * ecg.sampling_rate for p in peaks):
            peaks.append(int(k))
    return np.sort(peaks) / ecg.sampling_rate


def median_beat(ecg, lead: str) -> np.ndarray:
    """Samples from 0.2 s before to 0.3 s after the QRS' middle, median over beats."""
    row, rate = ecg.signal[ecg.leads.index(lead)], ecg.sampling_rate
    middles = [round(t * rate) for t in beats(ecg) if 0.3 < t < ecg.duration - 0.4]
    beat = np.median([row[k - int(0.2 * rate) : k + int(0.3 * rate)] for k in middles], axis=0)
    return beat - np.median(beat[: int(0.05 * rate)])


def qrs_width(ecg) -> float:
    """Seconds for which the slopes of all leads together stay above a tenth of their height."""
    slope = sum(np.abs(np.diff(median_beat(ecg, lead))) for lead in ecg.leads)
    above = np.flatnonzero(slope > 0.12 * slope.max())
    return (above[-1] - above[0] + 1) / ecg.sampling_rate


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
def test_heart_rate_equals_the_truth(rate):
    for seed in range(4):
        ecg = simulate_ecg(("sinus rhythm",), heart_rate=rate, seed=seed, noise=0.3)
        assert ecg.measurements["heart_rate"] == pytest.approx(rate, rel=0.02)
        assert 60 / np.diff(beats(ecg)).mean() == pytest.approx(ecg.measurements["heart_rate"], rel=0.03)
        assert ("sinus bradycardia" in ecg.findings) == (rate < 60)
        assert ("sinus tachycardia" in ecg.findings) == (rate > 100)
        assert (NORMAL in ecg.findings) == (60 <= rate <= 100)


def test_fibrillation_is_irregular_and_has_no_p_wave():
    for seed in range(6):
        sinus = simulate_ecg(("sinus rhythm",), heart_rate=80, seed=seed, noise=0)
        fibrillation = simulate_ecg((FIBRILLATION,), heart_rate=80, seed=seed, noise=0)
        spread = [np.diff(beats(ecg)).std() / np.diff(beats(ecg)).mean() for ecg in (sinus, fibrillation)]
        assert spread[0] < 0.08 < spread[1]
        assert "pr" in sinus.measurements and "pr" not in fibrillation.measurements
        before = [np.ptp(median_beat(ecg, "II")[:13]) for ecg in (sinus, fibrillation)]
        assert before[0] > 0.03


def test_bundle_branch_blocks_are_wide_and_point_the_right_way_in_v1():
    widths = {}
    for finding in (NORMAL, LBBB, RBBB):
        ecgs = [simulate_ecg((finding,), heart_rate=70, seed=seed, sampling_rate=500, noise=0) for seed in range(8)]
        widths[finding] = np.median([qrs_width(ecg) for ecg in ecgs])
        for ecg in ecgs:
            v1, v6 = median_beat(ecg, "V1"), median_beat(ecg, "V6")
            qrs = slice(25, 175)
            if finding == LBBB:
                assert -v1[qrs].min() > 2 * v1[qrs].max() and v6[qrs].max() > -v6[qrs].min()
            if finding == RBBB:  # a late r' in V1, a late s in V6
                assert v1[qrs].max() > 0.2 and v1[qrs].argmax() > v1[qrs].argmin() and v6[qrs].min() < -0.1
    assert widths[NORMAL] < 0.115 and min(widths[LBBB], widths[RBBB]) > widths[NORMAL] + 0.02, widths


@pytest.mark.parametrize(("finding", "low", "high"), [(LEFT_AXIS, -90, -30), (RIGHT_AXIS, 90, 180), (NORMAL, -30, 90)])
def test_axis_is_that_of_the_limb_leads(finding, low, high):
    for seed in range(5):
        ecg = simulate_ecg((finding,), heart_rate=70, seed=seed, sampling_rate=500, noise=0)
        area = {}
        for lead in ("I", "aVF"):
            beat = median_beat(ecg, lead)
            area[lead] = (beat[70:132] - beat[66:70].mean()).sum()  # from the PQ segment to the J point
        axis = np.rad2deg(np.arctan2(area["aVF"] * 2 / np.sqrt(3), area["I"]))
        assert low < ecg.measurements["axis"] < high
        assert abs((axis - ecg.measurements["axis"] + 180) % 360 - 180) < 20, seed


def test_premature_beats_come_early():
    for finding in (PVC, PAC):
        for seed in range(6):
            ecg = simulate_ecg((finding,), heart_rate=70, seed=seed, noise=0)
            intervals = np.diff(beats(ecg))
            assert intervals.min() < 0.85 * np.median(intervals), (finding, seed)
            assert finding in ecg.findings and NORMAL not in ecg.findings


def test_both_kinds_of_premature_beats_find_room_at_any_rate():
    for seed, rate in enumerate(range(32, 180, 4)):
        assert {PVC, PAC} <= set(simulate_ecg((PVC, PAC), heart_rate=rate, seed=seed).findings)


@pytest.mark.parametrize("finding", FINDINGS)
def test_every_finding_can_be_asked_for_and_is_reported(finding):
    for ecg in simulate_ecgs(5, seed=2, findings=(finding,)):
        assert finding in ecg.findings and ecg.report.endswith(".") and ecg.source == "simulation"
        assert len([f for f in ecg.findings if f not in ("sinus rhythm", NORMAL)]) <= 1


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


def test_the_mix_is_balanced_enough_to_learn_from():
    start = time.perf_counter()
    ecgs = simulate_ecgs(1000, seed=5)
    print(f"{1000 / (time.perf_counter() - start):.0f} records/s")
    share = {finding: np.mean([finding in ecg.findings for ecg in ecgs]) for finding in FINDINGS}
    assert 0.15 < share[FIBRILLATION] < 0.25 and min(share.values()) > 0.06, share
    assert 0.12 < share[PVC] < 0.20 and 0.06 < share[RBBB] < 0.15 and 0.06 < share[LBBB] < 0.15
    rates = [ecg.measurements["heart_rate"] for ecg in ecgs]
    assert min(rates) < 45 and max(rates) > 140 and len({ecg.id for ecg in ecgs}) == 1000
