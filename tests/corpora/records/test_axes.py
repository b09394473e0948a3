"""What sources call an axis, against the axis that their signals show."""

from collections import defaultdict

import numpy as np

from ecgllm.corpora import VOCABULARY, findings_from_statements, prepare
from ecgllm.corpora.records.sources.ptbxl import statements_of
from ecgllm.heart_ecgllm import find_qrs
from ecgllm.signals import ECGRecord


def frontal_axis(record):
    """Degrees, from the net area of QRS in I and aVF, the median of all beats: another way than `measure` takes."""
    one, foot = (np.nan_to_num(record.signal[[name.lower() for name in record.leads].index(lead)], nan=0.0)
                 for lead in ("i", "avf"))  # fmt: skip
    rate, found = record.sampling_rate, []
    for beat in find_qrs(np.stack([one, foot]), rate):
        middle, half = round(float(beat) * rate), round(0.06 * rate)
        before = slice(middle - round(0.11 * rate), middle - round(0.07 * rate))
        if before.start >= 0 and middle + half < len(one):
            found.append(
                [(lead[middle - half : middle + half] - np.median(lead[before])).sum() for lead in (one, foot)]
            )
    right, down = np.median(np.array(found), axis=0)
    return float(np.degrees(np.arctan2(2 * down / np.sqrt(3), right)))


def test_an_axis_means_what_the_signals_show(shared_data):
    """Every record with signals of which a source states the axis; takes 4 to 8 s."""
    measured = defaultdict(list)
    for name in ("ludb", "ptbxl", "cinc2021"):
        for row in prepare(name, shared_data / name):
            found = {one: findings_from_statements([one])[0] for one in row["statements"]}
            axes = [one for one, names in found.items() if names and VOCABULARY[names[0]].category == "axis"]
            if axes:
                ecg = row["ecg"]
                measured[axes[0]].append(frontal_axis(ECGRecord(ecg["signal"], ecg["sampling_rate"], ecg["leads"])))
    degrees = defaultdict(list)
    for statement, values in sorted(measured.items()):
        low, middle, high = np.percentile(values, [0, 50, 100])
        beyond = (np.array(values) <= -30).sum()
        print(f"{statement:55} {len(values):3} {low:5.0f} {middle:5.0f} {high:5.0f}, {beyond} at -30 or beyond")
        for finding in findings_from_statements([statement])[0]:
            degrees[finding] += values
    limits = {"left axis deviation": (-90, -30), "normal axis": (-30, 90), "horizontal axis": (-30, 60),
              "vertical axis": (45, 90), "leftward axis": (-90, 45), "right axis deviation": (90, 180)}  # fmt: skip
    for finding, (low, high) in limits.items():
        inside = [low - 10 <= value <= high + 10 for value in degrees[finding]]
        assert len(inside) and (np.mean(inside) >= 0.75 or len(inside) <= 3), (finding, degrees[finding])


def test_ptb_xl_s_lad_is_left_axis_deviation_where_the_report_says_so():
    for report, expected in (
        ("sinus rhythm. left axis deviation. otherwise normal ecg.", "left axis deviation"),
        ("sinusrhythmus ueberdrehter linkstyp", "left axis deviation"),
        ("sinusrhythmus linkstyp normales ekg", "leftward axis"),
        ("sinus rhythm. borderline left axis deviation.", "leftward axis"),
        ("", "leftward axis"),
    ):
        statements = statements_of({"scp_codes": "{}", "heart_axis": "LAD", "report": report, "ecg_id": "1"})
        assert expected in findings_from_statements(statements)[0], report
    statements = statements_of({"scp_codes": "{}", "heart_axis": "MID", "report": "left axis deviation"})
    assert findings_from_statements(statements) == (("no noise", "normal axis"), ())
