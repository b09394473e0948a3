"""Lead systems and the laws between limb leads."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecgllm.signals import ECGRecord, check_leads, iter_ecgs
from ecgllm.signals.analysis.lead_check import lead_system
from ecgllm.signals.simulation import simulate_ecg


@pytest.fixture(scope="module")
def record() -> ECGRecord:
    return simulate_ecg(seed=3, sampling_rate=250)


@pytest.mark.parametrize(
    ("leads", "system"),
    [
        ("I II III aVR aVL aVF V1 V2 V3 V4 V5 V6", "12-lead"),
        ("V6 V5 V4 V3 V2 V1 AVF AVL AVR DIII DII DI", "12-lead"),
        ("I II V1 V2 V3 V4 V5 V6", "8-lead"),
        ("I II III", "limb only"),
        ("II", "single lead"),
        ("X Y Z", "Frank XYZ"),
        ("vx vy vz", "Frank XYZ"),
        ("I II V1", "other"),
        ("ML2 V5", "other"),
        ("I II III aVR aVL aVF V1 V2 V3 V4 V5 V6 vx vy vz", "12-lead"),
    ],
)
def test_lead_systems(leads: str, system: str) -> None:
    assert lead_system(tuple(leads.split())) == system


def test_twelve_leads_that_fit_together(record: ECGRecord) -> None:
    before = record.signal.copy()
    check = check_leads(record)
    assert "right leg" in check.to_dict()["not_looked_for"]
    assert check.lead_system == "12-lead"
    assert check.einthoven_holds is True
    assert len(check.laws) == 5
    assert (check.derivable, check.missing, check.other) == ((), (), ())
    assert check.arm_reversal is False
    assert check.reasons == ()
    np.testing.assert_array_equal(record.signal, before)


def test_eight_leads_say_what_follows_from_them(record: ECGRecord) -> None:
    check = check_leads(record.select_leads(["I", "II", "V1", "V2", "V3", "V4", "V5", "V6"]))
    assert check.derivable == ("III", "aVR", "aVL", "aVF")
    assert check.missing == ()
    assert check.einthoven_holds is None
    assert check.arm_reversal is False


def test_one_lead_leaves_all_others_missing(record: ECGRecord) -> None:
    check = check_leads(record.select_leads(["II"]))
    assert check.lead_system == "single lead"
    assert len(check.missing) == 11
    assert check.arm_reversal is None


def test_stored_leads_that_are_sums_of_others_are_called_derived(record: ECGRecord) -> None:
    stored = replace(record, signal=np.round(record.signal, 3))
    assert check_leads(stored).derived == ("III", "aVR", "aVL", "aVF")
    noisy = record.signal.copy()
    noisy[2] += np.random.default_rng(0).normal(scale=0.02, size=record.n_samples)
    assert check_leads(replace(record, signal=noisy)).derived == ("aVR", "aVL", "aVF")


@pytest.mark.parametrize("change", ["exchanged names", "inverted", "wrong scale"])
def test_leads_that_do_not_fit_are_reported_with_figures(record: ECGRecord, change: str) -> None:
    signal = record.signal.copy()
    if change == "exchanged names":  # as in released code that assumed another order
        signal[[3, 4]] = signal[[4, 3]]
    elif change == "inverted":
        signal[2] *= -1
    else:
        signal[1] *= 2
    check = check_leads(replace(record, signal=signal))
    assert check.einthoven_holds is False
    assert any("times the noise" in reason and "%" in reason for reason in check.reasons)


def test_missing_samples_and_offsets_break_no_law(record: ECGRecord) -> None:
    signal = record.signal.copy()
    signal[0, 100:300] = np.nan
    signal[5] += 1.5  # an amplifier's offset
    assert check_leads(replace(record, signal=signal)).einthoven_holds is True


@given(seed=st.integers(0, 2**32 - 1), noise=st.floats(0, 1))
def test_any_two_independent_limb_leads_and_what_follows_hold_together(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    one, two = rng.normal(scale=0.3, size=(2, 400))
    rows = np.stack([one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2])
    rows += rng.normal(scale=0.001 * noise, size=rows.shape)
    record = ECGRecord(rows.astype(np.float32), 100.0, ("I", "II", "III", "aVR", "aVL", "aVF"))
    assert check_leads(record).einthoven_holds is True


@pytest.mark.parametrize("half", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_the_laws_hold_in_real_records(half: int, shared_data: Path) -> None:
    records = list(iter_ecgs(shared_data, workers=1, progress=False))[half::2]
    if len(records) < 50:
        pytest.skip(f"only {len(records)} records in {shared_data}")
    checks = [check_leads(record) for record in records]
    worst = [max(law.noise_ratio for law in check.laws) for check in checks if check.laws]
    flagged = [check.exchange for check in checks if check.exchange]
    told = sum(check.exchange is not None for check in checks)
    print(
        f"\n{len(records)} real records: residual of the laws: median {np.median(worst):.2f}, largest "
        f"{max(worst):.2f} times the noise; exchanges flagged in {len(flagged)} of {told}: {flagged}"
    )
    assert all(check.einthoven_holds for check in checks if check.laws)
    assert len(flagged) <= 0.02 * told  # half of LUDB among them chose the weights
