"""What simulated records say of themselves, against the samples: intervals, territories, noise, follow-ups, leads."""

import numpy as np
import pytest

from ecgllm.signals.analysis.measurements import measure
from ecgllm.signals.simulation import simulate_ecgs, simulate_follow_ups, simulate_with_waves
from ecgllm.signals.simulation.noise import LIMITS
from ecgllm.signals.simulation.wishes import NOISES

# finding: median error of QRS (ms).
CONDUCTION = {
    "normal ecg": 12,
    "complete left bundle branch block": 12,
    "complete right bundle branch block": 12,
    "left axis deviation": 12,
    "prolonged qt interval": 12,
    "left anterior fascicular block": 12,
}
TERRITORIES = {  # finding: (leads of which most rise, leads that none of which does so as much, leads that sink)
    "inferior myocardial infarction": (("II", "III", "aVF"), ("I", "aVL", "V3"), ("aVL",)),
    "lateral myocardial infarction": (("I", "aVL", "V5", "V6"), ("III", "aVR"), ("III",)),
    "anterior myocardial infarction": (("V2", "V3", "V4"), ("II", "aVF"), ()),
    "anteroseptal myocardial infarction": (("V1", "V2", "V3"), ("II", "III", "aVF"), ()),
    "anterolateral myocardial infarction": (("V3", "V4", "V5"), ("III", "aVF"), ("III",)),
    "inferolateral myocardial infarction": (("II", "aVF", "V5", "V6"), ("aVR", "V2"), ("aVR",)),
}


def lead(record, name: str) -> np.ndarray:
    return record.signal[record.leads.index(name)]


def after_j(record, waves, seconds: float = 0.04) -> dict[str, float]:
    """mV in each lead so long after the end of QRS, over the level before QRS; mean over the beats."""
    rate = record.sampling_rate
    beats = [(on, off) for on, off in waves.qrs if on > 0.1 and off + seconds < record.duration - 0.1]
    levels = [
        record.signal[:, round((off + seconds) * rate)] - record.signal[:, round((on - 0.008) * rate)]
        for on, off in beats
    ]
    return dict(zip(record.leads, np.mean(levels, axis=0), strict=True))


@pytest.mark.parametrize("finding", CONDUCTION)
def test_an_independent_delineation_finds_the_true_intervals(finding):
    """measure() finds waves by spatial velocity; its errors on LUDB's marked records are of this size."""
    errors = {name: [] for name in ("heart_rate", "pr", "qrs", "qt", "axis")}
    # At 65 beats per minute P stands clear of T.
    for record in simulate_ecgs(20, 4, 500.0, noise=0.3, findings=(finding,), heart_rate=65):
        found = measure(record).values()
        for name, each in errors.items():
            if name in found:
                each.append(found[name] - record.measurements[name])
    axis = (np.array(errors["axis"]) + 180) % 360 - 180
    median = {name: np.median(np.abs(each)) for name, each in (errors | {"axis": axis}).items()}
    assert all(len(each) >= 10 for each in errors.values())  # the end of a block's QRS is withheld where it is unclear
    assert median["heart_rate"] < 3 and median["pr"] < 10 and median["qrs"] < CONDUCTION[finding]
    assert median["qt"] < 20 and median["axis"] < 10


def test_waves_lie_where_the_samples_move():
    """Just before its onset and after its end nothing of a QRS is left; between them lies its whole height."""
    for record, waves in simulate_with_waves(40, 6, 500.0, noise=0.0, findings=("sinus rhythm",), heart_rate=65):
        for onset, offset in waves.qrs[1:-1]:
            rows = record.signal[:, round((onset - 0.03) * 500) : round((offset + 0.03) * 500)]
            height = np.ptp(rows, axis=1).max()
            before = record.signal[:, round((onset - 0.02) * 500) : round(onset * 500)]
            assert np.ptp(before, axis=1).max() < 0.06 * height
            slope = np.abs(np.diff(rows, axis=1)).max(axis=0)
            steep = np.flatnonzero(slope > 0.25 * slope.max()) / 500
            assert steep[0] > 0.015 and steep[-1] < offset - onset + 0.045
        assert ((waves.t_end > waves.qrs[:, 1]) & (waves.t_end < waves.qrs[:, 0] + 0.6)).all()


@pytest.mark.parametrize("finding", TERRITORIES)
def test_an_acute_infarction_lifts_st_over_its_wall_and_lowers_it_on_the_other_side(finding):
    rising, quiet, sinking = TERRITORIES[finding]
    made = simulate_with_waves(12, 3, 500.0, noise=0.0, findings=(finding, "acute myocardial infarction"))
    for record, waves in made:
        level = after_j(record, waves)
        lifted = sorted(level[name] for name in rising)
        assert lifted[len(lifted) // 2] > 0.06, level
        assert np.mean(lifted) > max(level[name] for name in quiet), level
        assert set(record.finding_leads[finding]) & set(rising)
        for name in record.finding_leads["st elevation"]:
            assert level[name] > 0.08
    for name in sinking:
        levels = [after_j(*each)[name] for each in made]
        assert np.mean(np.array(levels) < -0.02) > 0.8, (name, levels)


def test_leads_of_st_depression_and_t_inversion_show_them():
    for finding in ("st depression", "t wave inversion"):
        for record, waves in simulate_with_waves(12, 5, 500.0, noise=0.0, findings=(finding,)):
            assert len(record.finding_leads[finding]) >= 2
            level = after_j(record, waves, 0.06)
            for name in record.finding_leads[finding]:
                if finding == "st depression":
                    assert level[name] < -0.04
                    continue
                beats = [
                    lead(record, name)[round((off + 0.09) * 500) : round(end * 500)]
                    - lead(record, name)[round((on - 0.008) * 500)]
                    for (on, off), end in zip(waves.qrs, waves.t_end, strict=True)
                    if on > 0.1 and end < record.duration
                ]
                assert np.median([beat.min() for beat in beats]) < -0.08


# --- noise


def noise_of(findings, n=12, seed=2, rate=250.0, **options):
    """(records, their noise alone [leads, samples]): the same hearts with noise and without."""
    noisy = simulate_ecgs(n, seed, rate, findings=findings, **options)
    still = simulate_ecgs(n, seed, rate, noise=0.0, findings=None if findings is None else ())
    return [(one, one.signal - two.signal) for one, two in zip(noisy, still, strict=True)]


def sizes(kind: str, noise: np.ndarray, rate: float) -> np.ndarray:
    """[leads] mV, by which a kind of noise is told."""
    if kind == "baseline drift":
        return np.ptp(noise, axis=1)
    if kind == "static noise":
        window = np.ones(round(0.4 * rate)) / round(0.4 * rate)
        drift = np.stack([np.convolve(row, window, mode="same") for row in noise])
        return (noise - drift)[:, len(window) : -len(window)].std(axis=1)
    if kind == "burst noise":
        window = round(0.4 * rate)
        return np.max([noise[:, k : k + window].std(axis=1) for k in range(0, noise.shape[1] - window, 10)], axis=0)
    return np.abs(noise[:, round(0.03 * rate) :] - noise[:, : -round(0.03 * rate)]).max(axis=1)


@pytest.mark.parametrize("kind", NOISES)
def test_noise_is_in_its_leads_and_in_no_other(kind):
    for record, noise in noise_of((kind,)):
        named = set(record.finding_leads[kind])
        size = dict(zip(record.leads, sizes(kind, noise, 250.0), strict=True))
        assert named and set(NOISES) & set(record.findings) == {kind}
        inside = [size[name] for name in named]
        outside = [size[name] for name in set(record.leads) - named]
        assert min(inside) > 0.85 * LIMITS[kind], size
        # Other kinds are always there a little; a few leads at the limit may be on either side of it.
        assert max(outside, default=0.0) < 1.35 * LIMITS[kind] + 0.03, size


def test_noise_leaves_the_heart_and_what_is_said_of_it_as_they_were():
    noisy, still = simulate_ecgs(60, 5), simulate_ecgs(60, 5, noise=0.0)
    for one, two in zip(noisy, still, strict=True):
        assert tuple(name for name in one.findings if name not in NOISES) == two.findings
        assert one.measurements == two.measurements and not set(two.findings) & set(NOISES)
    kinds = {kind for record in noisy for kind in record.findings if kind in NOISES}
    assert len(kinds) >= 3


def test_noise_tells_nothing_about_the_heart():
    records = simulate_ecgs(3000, 8, sampling_rate=50, duration=5)
    spoilt = np.array([bool(set(NOISES) & set(record.findings)) for record in records])
    assert 0.1 < spoilt.mean() < 0.5
    for finding in ("atrial fibrillation", "normal ecg", "left axis deviation", "premature ventricular complexes"):
        holds = np.array([finding in record.findings for record in records])
        spread = np.sqrt(spoilt.mean() * (1 - spoilt.mean()) / holds.sum())
        assert abs(spoilt[holds].mean() - spoilt[~holds].mean()) < 4 * spread


@pytest.mark.parametrize("level", [0.0, 1.0, 4.0])
def test_einthoven_and_goldberger_hold_whatever_the_noise(level):
    """Electrodes are noisy, not leads; a lead that no electrode makes cannot be noisy alone."""
    for record in simulate_ecgs(60, 9, noise=level):
        one, two = lead(record, "I"), lead(record, "II")
        for name, wanted in {
            "III": two - one,
            "aVR": -(one + two) / 2,
            "aVL": one - two / 2,
            "aVF": two - one / 2,
        }.items():
            np.testing.assert_allclose(lead(record, name), wanted, atol=1e-5)


# --- follow-ups


def test_follow_ups_are_one_patient_and_differ_by_the_change():
    pairs = simulate_follow_ups(60, seed=1)
    assert len({pair.first.patient_id for pair in pairs}) == 60
    for pair in pairs:
        first, second = pair.first, pair.second
        assert first.patient_id == second.patient_id and first.sex == second.sex and first.id != second.id
        assert first.recorded_at < second.recorded_at and 0 <= second.age - first.age <= 4
        heart = [set(each.findings) - set(NOISES) for each in (first, second)]
        assert set(pair.new) == heart[1] - heart[0] and set(pair.resolved) == heart[0] - heart[1]
    changed = [bool(pair.new or pair.resolved) for pair in pairs]
    assert 0.55 < np.mean(changed) < 0.8
    for pair in pairs:  # no rhythm comes with an infarction, no infarction with a rhythm
        change = set(pair.new) | set(pair.resolved)
        if change & {"premature ventricular complexes", "premature atrial complexes", "prolonged qt interval"}:
            assert len(change - {"normal ecg"}) == 1
        if "atrial fibrillation" in change:
            assert not change & {"st elevation", "abnormal q wave", "left axis deviation", "low qrs voltage"}
    gained = [finding for pair in pairs for finding in pair.new]
    assert len(set(gained)) > 8


def test_a_follow_up_without_a_change_shows_the_same_heart():
    """Its beats are those of the first record, but for how the electrodes sit; another patient's are not."""
    pairs = simulate_follow_ups(45, seed=2, sampling_rate=250, noise=0.0)
    same = [pair for pair in pairs if not pair.new and not pair.resolved]
    assert len(same) > 10

    def shape(record) -> np.ndarray:
        at = [round(time * 250) for time in measure(record).beats if 0.4 < time < record.duration - 0.5]
        beat = np.median([record.signal[:, k - 25 : k + 25] for k in at], axis=0)
        return (beat - beat.mean(axis=1, keepdims=True)).ravel()

    shapes = [(shape(pair.first), shape(pair.second)) for pair in same]
    own = [np.corrcoef(one, two)[0, 1] for one, two in shapes]
    other = [np.corrcoef(shapes[i][0], shapes[i - 1][1])[0, 1] for i in range(len(shapes))]
    assert np.median(own) > 0.95 > np.median(other)
    assert np.mean(np.array(own) > np.array(other)) > 0.8


def test_follow_ups_are_the_same_each_time_and_others_for_other_seeds():
    one, two, other = (simulate_follow_ups(6, seed) for seed in (5, 5, 6))
    for a, b, c in zip(one, two, other, strict=True):
        assert a.first.signal.tobytes() == b.first.signal.tobytes() != c.first.signal.tobytes()
        assert a.second.signal.tobytes() == b.second.signal.tobytes()
        assert (a.new, a.resolved, a.second.recorded_at) == (b.new, b.resolved, b.second.recorded_at)
