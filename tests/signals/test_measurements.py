"""Rate, intervals and axis against what simulated records know of themselves and what cardiologists marked in LUDB."""

import json
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ecgllm.signals import ECGRecord, assess_quality, measure, read_ecg
from ecgllm.signals.simulation import simulate_ecg, simulate_ecgs

pytest.importorskip("neurokit2", reason="measuring needs the extra `measure`")

INTERVALS = ("p", "pr", "qrs", "qt")


def marked_intervals(path: Path, leads: tuple[str, ...], rate: float) -> tuple[dict[str, float], np.ndarray]:
    """Median of each interval (ms) over beats, then over leads, as marked in LUDB's annotation files; and where the
    QRS complexes are marked in lead II (s)."""
    import wfdb

    found: dict[str, list[float]] = {name: [] for name in INTERVALS}
    for lead in leads:
        marks = wfdb.rdann(str(path.with_suffix("")), lead.lower())
        waves = [
            (marks.symbol[i], marks.sample[i - 1], marks.sample[i + 1])
            for i in range(1, len(marks.symbol) - 1)
            if marks.symbol[i - 1] == "(" and marks.symbol[i + 1] == ")"
        ]
        if lead == "II":
            is_qrs = np.array(marks.symbol) == "N"
            beats = marks.sample[is_qrs] / rate
        here: dict[str, list[float]] = {name: [] for name in INTERVALS}
        for i, (symbol, onset, offset) in enumerate(waves):
            if symbol != "N":
                continue
            here["qrs"].append(offset - onset)
            if i and waves[i - 1][0] == "p":
                here["pr"].append(onset - waves[i - 1][1])
                here["p"].append(waves[i - 1][2] - waves[i - 1][1])
            if i + 1 < len(waves) and waves[i + 1][0] == "t":
                here["qt"].append(waves[i + 1][2] - onset)
        for name, lengths in here.items():
            if lengths:
                found[name].append(float(np.median(lengths)) * 1000 / rate)
    return {name: float(np.median(each)) for name, each in found.items() if len(each) >= 3}, beats


@pytest.fixture(scope="module")
def ludb(shared_data: Path) -> list[tuple]:
    """(record, marked intervals, marked beats in s, measurements) of every LUDB record, and the time it took."""
    folder = shared_data / "ludb" / "data"
    headers = sorted(folder.glob("*.hea"), key=lambda path: int(path.stem)) if folder.is_dir() else []
    if len(headers) < 20:
        pytest.skip(f"no LUDB with annotations in {shared_data}")
    found, seconds = [], 0.0
    for header in headers:
        record = read_ecg(header)
        started = time.perf_counter()
        measured = measure(record)
        seconds += time.perf_counter() - started
        found.append((record, *marked_intervals(header, record.leads, record.sampling_rate), measured))
    print(f"\n{len(found)} LUDB records measured, {len(found) / seconds:.0f} a second")
    return found


def test_heart_rate_on_ludb(ludb: list[tuple]) -> None:
    errors, clean = [], []
    for record, _, marked, measured in ludb:
        beats = np.array(
            measured.beats
        )  # LUDB marks no beat near the ends: the rate of the marked stretch is compared
        beats = beats[(beats > marked[0] - 0.15) & (beats < marked[-1] + 0.15)]
        errors.append(abs(60 / np.diff(beats).mean() - 60 / np.diff(marked).mean()) if len(beats) > 1 else math.inf)
        clean.append(assess_quality(record).verdict in ("good", "acceptable"))
    errors, clean = np.array(errors), np.array(clean)
    share = np.mean(errors[clean] <= 2)
    print(
        f"\nheart rate within 2 bpm: {share:.1%} of {clean.sum()} clean records (graded good or acceptable), "
        f"{np.mean(errors <= 2):.1%} of all {len(errors)}; median error {np.median(errors):.2f} bpm"
    )
    assert share >= 0.95


def test_intervals_on_ludb(ludb: list[tuple]) -> None:
    limits = {"p": 12, "pr": 8, "qrs": 8, "qt": 10}
    for name, limit in limits.items():
        errors, confidence, missed, invented = [], [], 0, 0
        for _, marked, _, measured in ludb:
            found = getattr(measured, name)
            if name not in marked:
                invented += found.value is not None
            elif found.value is None:
                missed += 1
            else:
                errors.append(found.value - marked[name])
                confidence.append(found.confidence)
        errors, sure = np.array(errors), np.array(confidence) >= np.median(confidence)
        print(
            f"{name}: {len(errors)} records, median absolute error {np.median(np.abs(errors)):.0f} ms, median error "
            f"{np.median(errors):+.0f}, 90 % within {np.percentile(np.abs(errors), 90):.0f} ms "
            f"({np.percentile(np.abs(errors[sure]), 90):.0f} in the more confident half, "
            f"{np.percentile(np.abs(errors[~sure]), 90):.0f} in the other); {missed} not measured, "
            f"{invented} where none is marked"
        )
        assert np.median(np.abs(errors)) <= limit
        assert missed <= 0.1 * len(ludb)
        assert np.percentile(np.abs(errors[sure]), 90) <= np.percentile(np.abs(errors[~sure]), 90)


def test_no_pr_in_the_atrial_fibrillation_of_ludb(ludb: list[tuple]) -> None:
    fibrillating = [each for each in ludb if any("Atrial fibrillation" in text for text in each[0].statements)]
    invented = sum(measured.pr.value is not None for *_, measured in fibrillating)
    print(f"\nPR claimed in {invented} of {len(fibrillating)} records with atrial fibrillation")
    assert invented <= 0.1 * len(fibrillating)


def test_axis_on_ludb(ludb: list[tuple]) -> None:
    classes = {"left axis deviation": (-90, 0), "horizontal": (0, 30), "normal": (30, 70), "vertical": (70, 90)}
    exact, near, total = 0, 0, 0
    for record, _, _, measured in ludb:
        stated = [text.split(":")[-1].strip() for text in record.statements if "lectric axis" in text]
        if stated and stated[0] in classes and measured.axis.value is not None:
            low, high = classes[stated[0]]
            total += 1
            exact += low <= measured.axis.value <= high
            near += low - 15 <= measured.axis.value <= high + 15
    print(f"\naxis in the class that LUDB states: {exact} of {total}; within 15 degrees of it: {near}")
    assert near >= 0.75 * total


def test_simulated_records_are_measured_as_they_were_made() -> None:
    errors: dict[str, list[float]] = {"heart_rate": [], "qrs": [], "axis": [], "pr": []}
    for record in simulate_ecgs(40, seed=2, sampling_rate=500, findings=["sinus rhythm"]):
        found = measure(record).values()
        for name, each in errors.items():
            if name in found and name in record.measurements:
                difference = found[name] - record.measurements[name]
                each.append(abs((difference + 180) % 360 - 180 if name == "axis" else difference))
    print("\nsimulated, median absolute errors:", {name: round(float(np.median(e)), 1) for name, e in errors.items()})
    assert np.median(errors["heart_rate"]) <= 1
    assert np.median(errors["axis"]) <= 15
    assert all(len(each) >= 30 for each in errors.values())


@pytest.mark.parametrize("heart_rate", [45, 65, 75])
def test_a_long_pr_is_measured_and_its_p_is_no_beat(heart_rate: float) -> None:
    records = simulate_ecgs(24, seed=3, sampling_rate=500, findings=["first degree av block"], heart_rate=heart_rate)
    pr = np.array([record.measurements["pr"] for record in records])
    found = [measure(record).values() for record in records]
    errors = np.array([abs(each.get("pr", math.nan) - true) for each, true in zip(found, pr, strict=True)])
    print(
        f"\nPR {pr.min():.0f} to {pr.max():.0f} ms at {heart_rate}: median error {np.nanmedian(errors):.0f} ms, "
        f"{np.mean(errors <= 20):.0%} within 20 ms, of the {np.sum(pr > 320)} above 320 ms "
        f"{np.mean(errors[pr > 320] <= 20):.0%}"
    )
    rates = [record.measurements["heart_rate"] for record in records]
    assert all(abs(each["heart_rate"] - rate) < 3 for each, rate in zip(found, rates, strict=True))
    assert np.sum(pr > 320) >= 2 and np.mean(errors[pr > 320] <= 20) >= 0.8
    assert np.mean(errors <= 20) >= 0.9


def test_a_p_wave_within_t_gives_no_pr_rather_than_a_short_one() -> None:
    records = simulate_ecgs(16, seed=3, sampling_rate=500, findings=["supraventricular tachycardia"])
    measured = [measure(record) for record in records]
    assert sum(each.pr.value is None for each in measured) >= 14


def test_simulated_atrial_fibrillation_has_no_pr() -> None:
    records = simulate_ecgs(15, seed=0, sampling_rate=250, findings=["atrial fibrillation"])
    measured = [measure(record) for record in records]
    assert sum(each.pr.value is None for each in measured) >= 13
    assert any("no P wave" in note for each in measured for note in each.notes)
    assert all(each.qrs.value is not None for each in measured)


@pytest.fixture(scope="module")
def normal() -> ECGRecord:
    return simulate_ecg(heart_rate=70, seed=4, sampling_rate=500)


@pytest.mark.parametrize("rate", [100, 250, 257, 1000])
def test_the_sampling_rate_changes_little(normal: ECGRecord, rate: float) -> None:
    at_500, here = measure(normal).values(), measure(normal.resampled(rate)).values()
    assert here["heart_rate"] == pytest.approx(at_500["heart_rate"], abs=0.5)
    for name in ("qrs", "qt", "pr"):
        assert here[name] == pytest.approx(at_500[name], abs=15)


def test_corrected_qt_follows_bazett_and_fridericia(normal: ECGRecord) -> None:
    found = measure(normal)
    seconds = found.rr.value / 1000
    assert found.qtc_bazett.value == pytest.approx(found.qt.value / seconds**0.5)
    assert found.qtc_fridericia.value == pytest.approx(found.qt.value / seconds ** (1 / 3))
    assert found.heart_rate.value == pytest.approx(60 / seconds)


def test_one_lead_gives_all_but_the_axis_and_less_confidence(normal: ECGRecord) -> None:
    whole, single = measure(normal), measure(normal.select_leads(["II"]))
    assert single.axis.value is None
    assert single.heart_rate.value == pytest.approx(whole.heart_rate.value, abs=1)
    assert single.qrs.confidence < whole.qrs.confidence


def test_inverting_leads_changes_no_interval(normal: ECGRecord) -> None:
    found, turned = measure(normal).values(), measure(replace(normal, signal=-normal.signal)).values()
    assert {name: found[name] for name in INTERVALS} == {name: turned[name] for name in INTERVALS}
    assert abs(found["axis"] - turned["axis"]) == pytest.approx(180, abs=1)


def test_bad_leads_are_left_out_and_named(normal: ECGRecord) -> None:
    signal = normal.signal.copy()
    signal[6], signal[7, :3000] = 0, np.nan
    found = measure(replace(normal, signal=signal))
    assert len(found.leads) == 10
    assert any(note.startswith("lead V1 was left out: it is flat") for note in found.notes)
    assert any(note.startswith("lead V2 was left out: 60%") for note in found.notes)
    assert found.heart_rate.value == pytest.approx(measure(normal).heart_rate.value, abs=0.5)


def test_rr_intervals_over_missing_samples_do_not_count(normal: ECGRecord) -> None:
    signal = normal.signal.copy()
    signal[:, 2000:2700] = np.nan
    assert measure(replace(normal, signal=signal)).heart_rate.value == pytest.approx(70, abs=6)


def test_values_fit_a_record_and_are_json(normal: ECGRecord) -> None:
    found = measure(normal)
    assert replace(normal, measurements=found.values()).measurements["qrs"] == found.values()["qrs"]
    exported = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert 0 <= exported["pr"]["confidence"] <= 1
    assert exported["beats"] == len(found.beats)


def test_what_is_no_ecg_gives_none_and_says_why() -> None:
    rng = np.random.default_rng(0)
    flat = measure(ECGRecord(np.zeros((2, 5000), np.float32), 500, ("I", "II")))
    short = measure(ECGRecord(rng.normal(size=(2, 300)).astype(np.float32), 500, ("I", "II")))
    assert flat.heart_rate.value is None and "no lead can be measured" in flat.notes
    assert short.heart_rate.value is None and "too short" in short.notes[-1]
    noise = measure(ECGRecord(rng.normal(size=(12, 5000)).astype(np.float32), 500, simulate_ecg().leads))
    assert noise.qrs.value is None or noise.qrs.confidence < 0.5


def test_without_neurokit2_the_error_says_what_to_install(normal: ECGRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(ImportError, match=r"pip install 'ecgllm\[measure\]'"):
        measure(normal)


@pytest.mark.slow
def test_the_averaged_beat_beats_the_librarys_delineator_on_qrs(ludb: list[tuple]) -> None:
    """Why QRS is not delineated by neurokit2: its `prominence` on each lead and the same beats, every fifth record."""
    import neurokit2

    ours, theirs = [], []
    for record, marked, _, measured in ludb[::5]:
        widths = []
        for samples in record.signal.astype(float):
            cleaned = neurokit2.ecg_clean(samples, record.sampling_rate)
            peaks = (np.array(measured.beats) * record.sampling_rate).round().astype(int)
            try:
                _, waves = neurokit2.ecg_delineate(cleaned, peaks, record.sampling_rate, method="prominence")
            except (ValueError, IndexError, KeyError):  # it fails on some leads
                continue
            onsets, ends = (np.array(waves[name], float) for name in ("ECG_R_Onsets", "ECG_R_Offsets"))
            if len(onsets) == len(ends) and np.isfinite(ends - onsets).any():
                widths.append(np.nanmedian(ends - onsets) * 1000 / record.sampling_rate)
        if widths and measured.qrs.value is not None:
            theirs.append(abs(np.median(widths) - marked["qrs"]))
            ours.append(abs(measured.qrs.value - marked["qrs"]))
    print(f"\nQRS, median absolute error: ours {np.median(ours):.0f} ms, neurokit2 {np.median(theirs):.0f} ms")
    assert np.median(ours) < np.median(theirs)
