"""MIMIC-IV-ECG in its official layout: leads by name, sentinels out, a report only where all of it is understood."""

import numpy as np
import pytest

from ecgllm.corpora import check_patient_split, prepare_with_report
from ecgllm.corpora.records.sources.mimic_iv_ecg import measurements_of
from ecgllm.findings.labels import findings_from_statements
from ecgllm.findings.machine_statements import MIMIC_STATEMENTS, mimic_statement

STUDIES = [(40689238, 10000032), (44458630, 10000032), (49036311, 10000048)]
REPORTS = [
    ["Sinus rhythm with 1st degree A-V block", "Left axis deviation", "", "Abnormal ECG"],
    ["Sinus rhythm", "Possible left ventricular hypertrophy", "Borderline ECG"],
    ["*** Consider acute ST elevation MI ***"],
]


def test_columns(write_mimic, tmp_path):
    folder = write_mimic(tmp_path / "mimic", STUDIES, REPORTS, machine={49036311: {"p_onset": 29999, "qrs_axis": 300}})
    corpus, report = prepare_with_report("mimic-iv-ecg", folder)
    first, second, third = corpus
    assert [row["id"] for row in corpus] == [f"mimic-iv-ecg-{study}" for study, _ in STUDIES]
    assert first["patient_id"] == second["patient_id"] == "mimic-iv-ecg-10000032"
    assert first["report"] == "Sinus rhythm with 1st degree A-V block. Left axis deviation. Abnormal ECG."
    assert first["findings"] == ["av block", "first degree av block", "left axis deviation", "sinus rhythm"]
    assert first["recorded_at"] == "2180-07-23T08:44:00" and first["device"] == "cart 6848296"
    assert first["measurements"] == pytest.approx(
        {"heart_rate": 75, "pr": 130, "qrs": 88, "qt": 348, "qtc": 389.08, "axis": 77}, abs=0.01
    )
    assert third["measurements"]["pr"] is None and third["measurements"]["axis"] == -60
    # "possible" is neither stated nor denied: nothing of that report is used
    assert second["findings"] == third["findings"] == [] and second["report"].startswith("Sinus rhythm.")
    assert set(report.unmapped) == {
        "MIMIC:Possible left ventricular hypertrophy", "MIMIC:*** Consider acute ST elevation MI ***",
    }  # fmt: skip
    check_patient_split(corpus)


def test_leads_go_by_name_and_missing_samples_stay_missing(write_mimic, tmp_path):
    corpus, _ = prepare_with_report("mimic-iv-ecg", write_mimic(tmp_path / "mimic", STUDIES[:1], REPORTS))
    ecg = corpus[0]["ecg"]
    assert ecg["leads"][3:6] == ["aVR", "aVF", "aVL"]
    # the writer gave column k an offset of 0.1 k mV: aVF is the fifth column of the file, aVL the sixth
    means = dict(zip(ecg["leads"], np.nanmean(ecg["signal"], axis=1), strict=True))
    assert means["aVF"] == pytest.approx(0.4, abs=0.02) and means["aVL"] == pytest.approx(0.5, abs=0.02)
    row = ecg["leads"].index("aVF")
    assert np.isnan(ecg["signal"][row, 17]) and np.isnan(ecg["signal"]).sum() == 1


def test_the_order_of_the_tables_does_not_matter(write_mimic, tmp_path):
    same, _ = prepare_with_report("mimic-iv-ecg", write_mimic(tmp_path / "a", STUDIES, REPORTS))
    other, _ = prepare_with_report("mimic-iv-ecg", write_mimic(tmp_path / "b", STUDIES, REPORTS, shuffled=True))
    assert same["report"][:] == other["report"][:] and same["measurements"][:] == other["measurements"][:]


def test_without_measurements_and_without_a_file(write_mimic, tmp_path):
    folder = write_mimic(tmp_path / "mimic", STUDIES, REPORTS)
    (folder / "machine_measurements.csv").unlink()
    next(folder.rglob("49036311.dat")).unlink()
    corpus, report = prepare_with_report("mimic-iv-ecg", folder)
    assert corpus["report"][:] == [None, None] and "machine_measurements.csv is not there" in str(report)
    assert [record for record, _ in report.unreadable] == ["mimic-iv-ecg-49036311"]
    table = folder / "record_list.csv"
    table.write_text(table.read_text().replace("2180-07-23 08:44:00", "yesterday", 1))
    with pytest.raises(ValueError, match="ecg_time of study 40689238 is no time"):
        prepare_with_report("mimic-iv-ecg", folder)
    table.write_text("subject_id,study_id\n1,2\n")
    with pytest.raises(ValueError, match="record_list.csv lacks the column ecg_time, path"):
        prepare_with_report("mimic-iv-ecg", folder)
    (folder / "record_list.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"holds files; expected record_list.csv.* of MIMIC-IV-ECG 1.0"):
        prepare_with_report("mimic-iv-ecg", folder)


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ({"rr_interval": "0"}, {"heart_rate", "qtc"}),
        ({"rr_interval": "65535"}, {"heart_rate", "qtc"}),
        ({"p_onset": "29999"}, {"pr"}),
        ({"p_onset": ""}, {"pr"}),
        ({"t_end": "32767"}, {"qt", "qtc"}),
        ({"qrs_end": "100"}, {"qrs"}),
        ({"qrs_onset": "29999"}, {"pr", "qrs", "qt", "qtc"}),
        ({"qrs_axis": "29999"}, {"axis"}),
        ({"qrs_axis": "?"}, {"axis"}),
    ],
)
def test_what_was_not_measured_is_left_out(row, missing):
    full = {
        "rr_interval": "800",
        "p_onset": "40",
        "qrs_onset": "170",
        "qrs_end": "258",
        "t_end": "518",
        "qrs_axis": "7",
    }
    assert set(measurements_of(full)) - set(measurements_of(full | row)) == missing


def test_only_plain_sentences_are_mapped():
    findings, unmapped = findings_from_statements(["MIMIC:SINUS RHYTHM.", "MIMIC:Summary: Normal ECG"])
    assert findings == ("normal ecg", "sinus rhythm") and not unmapped
    for doubt in ("Possible", "Probable", "Consider", "Borderline", "Cannot rule out"):
        sentence = f"MIMIC:{doubt} left axis deviation"
        assert findings_from_statements([sentence]) == ((), (sentence,))
    assert all(mimic_statement(sentence) == sentence for sentence in MIMIC_STATEMENTS)
    for findings in MIMIC_STATEMENTS.values():
        assert findings_from_statements([])[0] == () and findings
