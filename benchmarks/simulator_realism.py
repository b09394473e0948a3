"""How like real ECGs the simulated ones are: the same measurements on both, side by side, without any label.

    python benchmarks/simulator_realism.py FOLDER [FOLDER ...] [--simulated 400] [--seed 0]

Each FOLDER is searched for WFDB headers (.hea) of twelve leads, of which the first 10 s are measured. The table gives
the 10th, 50th and 90th percentile of real and of simulated records, and the Kolmogorov-Smirnov distance of the two
distributions (0 alike, 1 apart), the furthest first. Limits of criteria are counted on the dominant beat of both.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import platform
import warnings
from pathlib import Path

import numpy as np
from scipy.signal import welch
from scipy.stats import ks_2samp

from ecgllm.signal_ecgllm import LEADS, remove_baseline
from ecgllm.signals import ECGRecord, read_ecg
from ecgllm.signals.analysis.dominant_beat import dominant_beat, qrs_bounds, wave_lengths
from ecgllm.signals.analysis.measurements import measure
from ecgllm.signals.simulation import stream_ecgs

RATE = 500
BANDS = ((0.5, 5), (5, 15), (15, 25), (25, 40))  # Hz


def real_records(folders: list[Path]) -> list[ECGRecord]:
    """The first 10 s of every record with twelve leads and at least 8 s."""
    records = []
    for path in sorted(path for folder in folders for path in folder.rglob("*.hea")):
        try:
            record = read_ecg(path).select_leads(LEADS)
        except ValueError as error:
            print(f"left out: {path.name}: {str(error)[:80]}")
            continue
        if record.duration >= 8 and np.isfinite(record.signal).all():
            records.append(record.segment(0, min(10.0, record.duration)))
    return records


def features(record: ECGRecord) -> dict[str, float]:
    """What is measured of one record; a feature that it lacks is missing."""
    signal = remove_baseline(record.resampled(RATE).signal, RATE).astype(float)
    found: dict[str, float] = {}
    frequency, power = welch(signal, RATE, nperseg=1024)
    wanted = (frequency >= 0.5) & (frequency < 40)
    for low, high in BANDS:
        share = power[:, (frequency >= low) & (frequency < high)].sum(axis=1) / power[:, wanted].sum(axis=1)
        found[f"power {low}-{high} Hz"] = float(np.median(share))
    slow = (
        record.signal
        - record.signal.mean(axis=1, keepdims=True)
        - remove_baseline(record.signal, record.sampling_rate)
    )
    found["baseline wander mV"] = float(np.median(np.ptp(slow, axis=1)))
    measured = measure(record)
    peaks = np.array([round(time * RATE) for time in measured.beats], dtype=int)
    if len(peaks) < 3:
        return found
    values = measured.values()
    found |= {name: values[name] for name in ("heart_rate", "pr", "qrs", "qt", "p", "axis") if name in values}
    found["RR change"] = float(np.abs(np.diff(np.diff(peaks))).mean() / np.diff(peaks).mean())
    beat = dominant_beat(signal, peaks, np.zeros(signal.shape[1], dtype=bool))
    if beat is None:
        return found
    onset, offset = qrs_bounds(beat)
    if offset <= onset:
        return found
    lengths = wave_lengths(beat)
    mean = dict(zip(LEADS, beat.mean - beat.mean[:, [max(onset - 4, 0)]], strict=True))
    noise = (beat.error * np.sqrt(beat.averaged))[:, : max(onset - 10, 1)]
    found["scatter between beats uV"] = 1000 * float(np.median(noise))
    r = {lead: float(row[onset:offset].max()) for lead, row in mean.items()}
    s = {lead: float(-row[onset:offset].min()) for lead, row in mean.items()}
    st = {lead: float(row[min(offset + 20, row.size - 1)]) for lead, row in mean.items()}
    t = {}
    stop = onset + round(lengths.get("qt", 380) / 1000 * RATE) + 5
    for lead, row in mean.items():
        wave = row[offset + 35 : max(stop, offset + 60)]
        t[lead] = float(wave[np.abs(wave).argmax()]) if len(wave) else np.nan
        found[f"span {lead}"] = r[lead] + s[lead]
    for lead in ("I", "II", "aVL", "aVF", *LEADS[6:]):
        found |= {f"R {lead}": r[lead], f"S {lead}": s[lead], f"ST {lead}": st[lead], f"T {lead}": t[lead]}
    for lead in ("II", "V2", "V5"):  # how steep, against its height: the inverse of a width
        row = mean[lead][onset:offset]
        found[f"steepness {lead} 1/s"] = float(np.abs(np.gradient(row)).max() * RATE / max(np.ptp(row), 0.05))
        turns = np.diff(np.sign(np.diff(row[np.abs(row) > 0.06 * np.abs(row).max()])))
        found[f"turns of QRS {lead}"] = float((turns != 0).sum())
    if "pr" in values and "p" in lengths:
        first = max(onset - round(lengths["pr"] / 1000 * RATE), 0)
        for lead in ("I", "II", "V1"):
            wave = beat.mean[LEADS.index(lead)][first : first + round(lengths["p"] / 1000 * RATE)]
            wave = wave - np.linspace(wave[0], wave[-1], len(wave))
            found[f"P {lead}"] = float(wave[np.abs(wave).argmax()])
    return found | _criteria(record, r, s, st, t, offset - onset)


def _criteria(record: ECGRecord, r: dict, s: dict, st: dict, t: dict, length: int) -> dict[str, float]:
    """Which limits a record reaches, as 0 or 1; their mean is a share of records."""
    chest, front = LEADS[6:], {"V2", "V3"}
    pairs = [*zip(chest, chest[1:], strict=False), ("II", "aVF"), ("III", "aVF"), ("I", "aVL")]
    up = {lead for lead in LEADS if st[lead] >= (0.2 if lead in front else 0.1)} - {"aVR"}
    down = {lead for lead in LEADS if st[lead] <= -0.05} - {"aVR"}
    inverted = {lead for lead in LEADS if t[lead] <= -0.1} - {"aVR", "V1", "III"}
    narrow = length / RATE < 0.12
    return {
        "share: Sokolow > 3.5 mV": s["V1"] + max(r["V5"], r["V6"]) > 3.5,
        "share: R aVL + S V3 > 2.8 mV": r["aVL"] + s["V3"] > 2.8,
        "share: limbs < 0.5 mV": max(r[lead] + s[lead] for lead in LEADS[:6]) < 0.5,
        "share: R V3 < 0.3 mV": r["V3"] < 0.3,
        "share: narrow, ST up in two": narrow and any(a in up and b in up for a, b in pairs),
        "share: narrow, ST down in two": narrow and any(a in down and b in down for a, b in pairs),
        "share: narrow, T inverted in two": narrow and any(a in inverted and b in inverted for a, b in pairs),
        "share: QRS >= 120 ms": not narrow,
    }


def table(real: list[dict], simulated: list[dict]) -> str:
    rows, shares = [], []
    for name in dict.fromkeys(name for each in (*real, *simulated) for name in each):
        one, two = (np.array([each[name] for each in group if name in each], float) for group in (real, simulated))
        one, two = one[np.isfinite(one)], two[np.isfinite(two)]
        if name.startswith("share"):
            shares.append(f"{name:34s} {one.mean():6.3f} {two.mean():6.3f}")
            continue
        numbers = "".join(f"{value:9.3f}" for group in (one, two) for value in np.percentile(group, (10, 50, 90)))
        rows.append((ks_2samp(one, two).statistic, f"{name:26s}{numbers}"))
    head = f"{'':26s}{'real 10 %':>9s}{'50 %':>9s}{'90 %':>9s}{'sim 10 %':>9s}{'50 %':>9s}{'90 %':>9s}    KS"
    ranked = [f"{line}  {distance:.2f}" for distance, line in sorted(rows, reverse=True)]
    return "\n".join([head, *ranked, "", f"{'':34s}   real    sim", *shares])


def _plain(found: dict[str, float]) -> bool:
    """As measured: QRS under 120 ms, a P wave before it, 50 to 110 beats per minute, hardly irregular."""
    return (
        found.get("qrs", 999) < 120 and "pr" in found and 50 < found["heart_rate"] < 110 and found["RR change"] < 0.1
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--simulated", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--plain", action="store_true", help="only narrow, driven, of a usual rate: like with like")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    real = [features(record) for record in real_records(options.folders)]
    simulated = [features(record) for record in stream_ecgs(options.simulated, options.seed, sampling_rate=RATE)]
    if options.plain:
        real, simulated = ([each for each in group if _plain(each)] for group in (real, simulated))
    print(f"{platform.machine()}, Python {platform.python_version()}, numpy {np.__version__}")
    print(f"{len(real)} real records, {len(simulated)} simulated\n\n{table(real, simulated)}")


if __name__ == "__main__":
    main()
