"""QRS complexes against those that were simulated and those that cardiologists marked in LUDB."""

from pathlib import Path

import numpy as np
import pytest

from ecgllm.signals import read_ecg
from ecgllm.signals.beats import qrs_complexes
from ecgllm.signals.simulation import simulate_with_waves

RATE = 500
NEAR_S = 0.06


def compared(signal: np.ndarray, qrs: np.ndarray) -> tuple[int, int, int]:
    """How many complexes were found, missed and invented, but for the ends of the record, where they are cut."""
    found, seconds = qrs_complexes(signal.astype(float)) / RATE, signal.shape[1] / RATE
    away = np.maximum(np.maximum(qrs[:, 0] - found[:, None], found[:, None] - qrs[:, 1]), 0)
    if not len(found) or not len(qrs):
        return 0, len(qrs), len(found)
    right = np.zeros(len(qrs), dtype=bool)
    invented = 0
    for time, row in zip(found, away, strict=True):
        nearest = int(row.argmin())
        if row[nearest] <= NEAR_S and not right[nearest]:
            right[nearest] = True
        else:
            invented += bool(0.2 < time < seconds - 0.25)
    inside = (qrs[:, 0] > 0.2) & (qrs[:, 1] < seconds - 0.2)
    return int(right.sum()), int((inside & ~right).sum()), invented


@pytest.mark.parametrize(
    "findings",
    [
        ("sinus bradycardia",),
        ("sinus tachycardia",),
        ("first degree av block",),
        ("first degree av block", "low qrs voltage"),
        ("first degree av block", "right atrial enlargement"),
        ("mobitz type i av block",),
        ("mobitz type ii av block",),
        ("third degree av block",),
        ("atrial fibrillation",),
        ("atrial flutter",),
        ("supraventricular tachycardia",),
        ("ventricular tachycardia",),
        ("ventricular pacing",),
        ("atrial pacing",),
        ("premature ventricular complexes",),
        ("ventricular bigeminy",),
        ("complete left bundle branch block",),
        ("low qrs voltage",),
        ("prolonged qt interval",),
        ("burst noise",),
    ],
    ids=" + ".join,
)
def test_simulated_complexes_are_found_and_no_others(findings: tuple[str, ...]) -> None:
    # P waves that go their own way beside a small, slow paced QRS are as steep as it is: one record in some hundred.
    n = 48 if "ventricular pacing" in findings else 12
    made = simulate_with_waves(n, seed=5, sampling_rate=RATE, findings=findings)
    found, missed, invented = np.sum([compared(record.signal, waves.qrs) for record, waves in made], axis=0)
    print(f"\n{', '.join(findings)}: {found} found, {missed} missed, {invented} invented")
    assert missed <= 0.03 * found and invented <= 0.01 * found


@pytest.mark.parametrize("heart_rate", [45, 65, 90])
def test_a_long_pr_at_any_rate_makes_no_beat_of_p(heart_rate: float) -> None:
    made = simulate_with_waves(
        12, seed=6, sampling_rate=RATE, findings=("first degree av block",), heart_rate=heart_rate
    )
    results = [compared(record.signal, waves.qrs) for record, waves in made]
    assert max(record.measurements["pr"] for record, _ in made) > 300
    assert all(missed == invented == 0 for _, missed, invented in results)


@pytest.mark.parametrize("noise", [1, 2, 3])
def test_a_mix_under_noise(noise: float) -> None:
    made = simulate_with_waves(64, seed=7, sampling_rate=RATE, noise=noise)
    found, missed, invented = np.sum([compared(record.signal, waves.qrs) for record, waves in made], axis=0)
    print(f"\nnoise {noise}: {found} found, {missed} missed, {invented} invented")
    assert missed <= 0.02 * found and invented <= 0.02 * found


def test_most_p_waves_half_as_large_as_qrs_are_no_beats() -> None:
    # The known limit: a P wave that no QRS follows, in a record whose QRS is hardly larger.
    made = simulate_with_waves(12, seed=5, sampling_rate=RATE, findings=("third degree av block", "low qrs voltage"))
    found, missed, invented = np.sum([compared(record.signal, waves.qrs) for record, waves in made], axis=0)
    waves = sum(len(waves.p) for _, waves in made)
    print(f"\nthird degree, low voltage: {found} found, {missed} missed, {invented} invented of {waves} P waves")
    assert missed == 0 and invented <= 0.15 * waves


def test_complexes_marked_in_ludb(shared_data: Path) -> None:
    import wfdb

    folder = shared_data / "ludb" / "data"
    headers = sorted(folder.glob("*.hea")) if folder.is_dir() else []
    if len(headers) < 20:
        pytest.skip(f"no LUDB with annotations in {shared_data}")
    total, missed, invented = 0, 0, 0
    for header in headers:
        record = read_ecg(header)
        marks = wfdb.rdann(str(header.with_suffix("")), "ii")
        marked = marks.sample[np.array(marks.symbol) == "N"] / record.sampling_rate
        found = qrs_complexes(record.signal.astype(float)) / RATE
        found = found[(found > marked[0] - 0.15) & (found < marked[-1] + 0.15)]  # none is marked near the ends
        distance = np.abs(found[:, None] - marked)
        total += len(marked)
        missed += int((distance.min(axis=0) > 0.1).sum())
        invented += int((distance.min(axis=1) > 0.1).sum())
    print(f"\nLUDB: {missed} missed and {invented} false of {total} marked complexes")
    assert missed <= 0.002 * total and invented <= 0.002 * total


def test_an_artefact_of_one_lead_is_no_beat() -> None:
    record, waves = simulate_with_waves(1, seed=8, sampling_rate=RATE, noise=0.0, findings=("normal ecg",))[0]
    signal = record.signal.astype(float)
    between = round((waves.qrs[3, 1] + waves.qrs[4, 0]) / 2 * RATE)
    signal[7, between : between + 20] += 5
    clean, spoilt = qrs_complexes(record.signal.astype(float)), qrs_complexes(signal)
    assert len(clean) >= 8 and clean.tolist() == spoilt.tolist()


def test_neither_silence_nor_a_pulse_of_zero_length_has_beats() -> None:
    assert qrs_complexes(np.zeros((12, 5000))).tolist() == []
    assert qrs_complexes(np.full((1, 1000), 0.3)).tolist() == []
