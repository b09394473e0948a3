"""The vocabulary covers every statement that the corpora make, and says no more than they do."""

import ast
import re

import pandas as pd
import pytest
from datasets import Dataset

from ecgllm.corpora.records.prepared_findings import check_prepared_findings
from ecgllm.corpora.records.sources.ptbxl import statements_of
from ecgllm.findings.labels import (
    GROUPS,
    VOCABULARY,
    describe,
    findings_from_statements,
    group_label,
    implied,
    label,
    most_specific,
    severity,
)
from ecgllm.findings.vocabulary import CATEGORIES

# The diagnoses scored by the PhysioNet/CinC Challenge 2021.
SCORED = [
    "164889003",
    "164890007",
    "6374002",
    "426627000",
    "733534002",
    "713427006",
    "270492004",
    "713426002",
    "39732003",
    "445118002",
    "164909002",
    "251146004",
    "698252002",
    "426783006",
    "284470004",
    "10370003",
    "365413008",
    "427172004",
    "164947007",
    "111975006",
    "164917005",
    "47665007",
    "59118001",
    "427393009",
    "426177001",
    "427084000",
    "63593006",
    "164934002",
    "59931005",
    "17338001",
]


def mapped(*statements: str) -> set[str]:
    findings, unmapped = findings_from_statements(statements)
    assert not unmapped
    return set(findings)


def test_vocabulary_is_consistent():
    for name, finding in VOCABULARY.items():
        assert name == finding.name == name.lower() and finding.category in CATEGORIES
        assert {*finding.broader, *finding.blurs} <= VOCABULARY.keys()
        assert name not in implied(finding.broader), f"{name} implies itself"
    assert set(GROUPS.values()) <= set(CATEGORIES)


def test_a_code_means_one_finding():
    for kind in ("snomed", "scp", "ptbxl"):
        codes = [code for finding in VOCABULARY.values() for code in getattr(finding, kind)]
        assert len(codes) == len(set(codes))


def test_all_scored_snomed_codes_are_mapped():
    assert len(mapped(*(f"SNOMED:{code}" for code in SCORED))) > 25


def test_snomed_sinus_rhythm_is_not_a_normal_ecg():
    assert mapped("SNOMED:426783006") == {"sinus rhythm"}
    assert mapped("SCP:NORM:100") == {"normal ecg"}


def test_there_are_71_scp_codes():
    assert sum(len(finding.scp) for finding in VOCABULARY.values()) == 71


def test_likelihood():
    assert mapped("SCP:AFIB:0") == {"atrial fibrillation"}
    assert mapped("SCP:IMI:0") == set()
    assert "inferior myocardial infarction" in mapped("SCP:IMI:15")
    assert findings_from_statements(["SCP:IMI:15"], min_likelihood=50) == ((), ())


def test_unmapped_statements_come_back():
    assert findings_from_statements(["SNOMED:1", "SCP:XYZ:100", "SCP:SR:0"]) == (
        ("sinus rhythm",),
        ("SNOMED:1", "SCP:XYZ:100"),
    )


def test_a_territory_brings_the_broad_finding_along():
    assert mapped("LUDB:STEMI: anterior wall.") == {
        "anterior myocardial infarction",
        "acute myocardial infarction",
        "myocardial infarction",
        "st elevation myocardial infarction",
    }
    assert most_specific(mapped("SCP:ISCAL:100")) == ("anterolateral ischemia",)


def test_the_glued_header_line_of_ludb_20():
    glued = mapped("LUDB:Non-specific repolarization abnormalities: posterior wall. 20 12 500 5000")
    assert glued == mapped("LUDB:Non-specific repolarization abnormalities: posterior wall")


def test_every_ludb_statement_is_mapped(shared_data):
    headers = sorted((shared_data / "ludb" / "data").glob("*.hea"))
    lines = {line[1:] for path in headers for line in path.read_text().splitlines() if re.match("#[^<]", line)}
    assert len(lines) > 60
    assert findings_from_statements([f"LUDB:{line}" for line in sorted(lines)])[1] == ()
    readme = (shared_data / "ludb" / "README").read_text()
    counted = re.findall(r"^(.*[^ ]) \d+$", readme, re.MULTILINE)
    kinds = (
        "STEMI",
        "Ischemia:",
        "Scar",
        "Undefined",
        "Atrial ex",
        "Ventricular ex",
        "Sinoat",
        "I degree",
        "III degree",
    )
    known = [
        line for line in counted if line.startswith(kinds) or re.search("pacing|block|overload|hypertrophy", line)
    ]
    assert len(known) > 50
    known += [f"Rhythm: {name}" for name in ("Atrial flutter, typical", "Irregular sinus rhythm")]
    assert findings_from_statements([f"LUDB:{line}" for line in known])[1] == ()


def test_every_ludb_table_statement_is_mapped(shared_data):
    table = pd.read_csv(shared_data / "ludb" / "ludb.csv").drop(columns=["ID", "Sex", "Age"])
    statements = []
    for column, values in table.items():
        prefix = "Rhythm: " if column == "Rhythms" else ""
        statements += [f"LUDB:{prefix}{line}" for cell in values.dropna() for line in cell.split("\n") if line.strip()]
    unmapped = findings_from_statements(sorted(set(statements)))[1]
    assert unmapped == ("LUDB:Rhythm: Wandering atrial pacemaker",)  # the headers write it without "Rhythm:"


def test_every_snomed_code_of_the_challenge_files_is_mapped(shared_data):
    codes = set()
    for path in (shared_data / "cinc2021").rglob("*.hea"):
        codes.update(re.search(r"#\s*Dx: *(.*)", path.read_text()).group(1).strip().split(","))
    assert len(codes) > 40
    assert findings_from_statements([f"SNOMED:{code}" for code in sorted(codes)])[1] == ()


def test_every_statement_of_ptbxl_is_mapped(shared_data):
    rows = pd.read_parquet(shared_data / "ptbxl" / "metadata_10356.parquet")
    rows = rows.assign(scp_codes=rows.scp_codes.astype(str), heart_axis=rows.heart_axis.fillna(""))
    seen = {code for cell in rows.scp_codes for code in ast.literal_eval(cell)}
    assert len(seen) == 71
    assert findings_from_statements([f"SCP:{code}:100" for code in sorted(seen)])[1] == ()
    axes = [f"PTBXL:axis:{axis}" for axis in rows.heart_axis.unique() if axis]
    assert findings_from_statements(axes)[1] == ()


def test_ptbxl_classes_agree_with_the_published_ones(shared_data):
    labels = pd.read_parquet(shared_data / "ptbxl" / "merl_labels_21799.parquet")
    parts = labels.labels.str.split(";").explode().unique()
    statements = [statement for part in parts for statement in statements_of({"labels": part})]
    assert findings_from_statements(statements)[1] == ()


def test_severity_counts_no_finding_twice():
    assert severity(["normal ecg", "sinus rhythm"]) == 0
    assert severity(mapped("SCP:ASMI:100", "SCP:SR:0", "PTBXL:noise:static_noise")) == 1
    assert severity(["complete left bundle branch block", "atrial fibrillation"]) == 2


@pytest.mark.parametrize(
    ("present", "name", "expected"),
    [
        (["sinus rhythm"], "atrial fibrillation", False),
        (["bundle branch block"], "left bundle branch block", None),
        (["right bundle branch block"], "left bundle branch block", False),
        (["right bundle branch block"], "complete right bundle branch block", None),
        (["incomplete right bundle branch block"], "complete right bundle branch block", False),
        (["old myocardial infarction"], "inferior myocardial infarction", None),
        (["anterior myocardial infarction"], "inferior myocardial infarction", False),
        (["undefined apical ischemia or infarction"], "inferior myocardial infarction", None),
        (["sinus bradycardia"], "sinus rhythm", None),
        (["atrial fibrillation"], "sinus rhythm", False),
        (["t wave inversion"], "sinus rhythm", None),
        (["sinus rhythm"], "normal ecg", None),
        (["atrial fibrillation"], "normal ecg", False),
        (["sinus rhythm"], "left axis deviation", None),
        (["normal axis"], "left axis deviation", False),
        ([], "atrial fibrillation", None),
    ],
)
def test_what_is_not_said_is_not_denied(present, name, expected):
    assert label(implied(present), name) is expected


def test_without_a_named_normal_axis_silence_denies_a_deviation():
    assert label(("sinus rhythm",), "left axis deviation", {"sinus rhythm", "left axis deviation"}) is False


def test_groups():
    assert group_label(["first degree av block"], "conduction disturbance") is True
    assert group_label(["sinus rhythm"], "conduction disturbance") is False
    assert group_label(["normal ecg", "low qrs voltage"], "any abnormality") is None
    assert group_label(["normal ecg", "sinus rhythm"], "any abnormality") is False
    assert group_label(["sinus rhythm"], "any abnormality", {"sinus rhythm", "atrial fibrillation"}) is False
    assert group_label(["no noise"], "noise") is False


def test_what_a_source_never_states_it_does_not_deny():
    stated = {"sinus rhythm", "atrial fibrillation"}
    assert label(["sinus rhythm"], "atrial fibrillation", stated) is False
    assert label(["sinus rhythm"], "t wave inversion", stated) is None
    assert label(["atrial fibrillation"], "normal ecg", stated) is None
    assert group_label(["sinus rhythm"], "arrhythmia", stated) is False
    assert group_label(["sinus rhythm"], "st-t abnormality", stated) is None
    assert group_label(["sinus rhythm"], "noise", {*stated, "no noise"}) is None
    assert group_label(["sinus rhythm"], "any abnormality", {"sinus rhythm"}) is None
    assert group_label(["sinus rhythm", "normal ecg"], "any abnormality", {"sinus rhythm", "normal ecg"}) is False


def test_unknown_findings_are_refused_and_described():
    with pytest.raises(ValueError, match="'flu'"):
        implied(["flu"])
    assert describe(implied(["left axis deviation", "sinus rhythm"])) == "Sinus rhythm. Left axis deviation."


def test_ptbxl_s_axes_say_what_its_reports_say(shared_data):
    """AXL is a borderline left axis, LAD the Linkstyp; AXR is steep, and none is beyond -30 degrees."""
    table = pd.read_parquet(shared_data / "ptbxl" / "metadata_10356.parquet")
    reports = {axis: rows.report.str.lower() for axis, rows in table.groupby("heart_axis")}
    assert reports["AXL"].str.contains("borderline left axis deviation").mean() > 0.95
    assert reports["AXR"].str.contains("steil|slt|vertical").mean() > 0.9
    assert reports["ALAD"].str.contains("berdrehter? linkstyp|berdreht").mean() > 0.95
    assert (
        reports["LAD"].str.contains("linkstyp").mean() > 0.7
        and not reports["LAD"].str.contains("berdreht").mean() > 0.01
    )
    found = {axis: findings_from_statements([f"PTBXL:axis:{axis}"])[0] for axis in reports}
    assert found["AXL"] == found["LAD"] == ("leftward axis",) and found["AXR"] == ("vertical axis",)
    assert found["ALAD"] == ("left axis deviation",) and found["RAD"] == ("right axis deviation",)
    assert severity(found["LAD"]) == severity(found["AXR"]) == 0
    stated = {name for names in found.values() for name in names}
    assert label(found["LAD"], "left axis deviation", stated) is None
    assert label(found["LAD"], "right axis deviation", stated) is False


def test_a_diagnosis_of_the_patient_is_no_finding_of_the_ecg():
    clinical = {one.name for one in VOCABULARY.values() if one.category == "clinical"}
    assert clinical == {"heart failure", "heart valve disorder", "transient ischemic attack", "coronary heart disease"}
    for name in clinical:
        assert severity([name]) == 0
        assert group_label([name], "any abnormality") is None
        # coronary disease leaves infarction and ischemia open, and with them whether the ECG is abnormal
        expected = None if name == "coronary heart disease" else False
        assert (
            group_label([name, "sinus rhythm"], "any abnormality", {"sinus rhythm", name, "bradycardia"}) is expected
        )
        assert label(["sinus rhythm"], name) is None and label([name], "atrial fibrillation") is None
        assert describe([name, "sinus rhythm"]) == "Sinus rhythm."
    assert label(["coronary heart disease", "sinus rhythm"], "ischemia") is None


def test_the_rate_follows_from_the_rhythm_s_name_or_is_open():
    assert implied(["sinus bradycardia"]) == ("bradycardia", "sinus bradycardia")
    for fast in (
        "sinus tachycardia",
        "av nodal reentrant tachycardia",
        "ventricular tachycardia",
        "junctional tachycardia",
    ):
        assert "tachycardia" in implied([fast])
    assert severity(implied(["sinus bradycardia"])) == 1
    assert label(["sinus rhythm"], "bradycardia") is False
    assert label(["atrial fibrillation"], "bradycardia") is None
    assert label(["atrial fibrillation"], "sinus bradycardia") is False
    assert label(["bradycardia"], "sinus bradycardia") is None


def test_a_corpus_of_an_earlier_mapping_is_refused():
    def corpus(findings, *statements):
        return Dataset.from_dict({"id": ["a"], "findings": [findings], "statements": [list(statements)]})

    check_prepared_findings(corpus(["leftward axis"], "PTBXL:axis:LAD", "PTBXL:noise:none"))
    check_prepared_findings(corpus(["bradycardia", "sinus bradycardia"]))
    with pytest.raises(ValueError, match="lack bradycardia.*prepare it again"):
        check_prepared_findings(corpus(["sinus bradycardia"]))
    with pytest.raises(ValueError, match="'wolff-parkinson-white pattern' now"):
        check_prepared_findings(corpus(["wolff-parkinson-white syndrome", "ventricular preexcitation"]))
    with pytest.raises(ValueError, match="left axis deviation; PTBXL:axis:LAD means leftward axis"):
        check_prepared_findings(corpus(["left axis deviation"], "PTBXL:axis:LAD"))


def test_a_group_is_open_where_a_finding_leaves_one_of_its_findings_open():
    """PTB-XL's Linkstyp may lie beyond -30 degrees: whether the axis deviates is not said."""
    stated = {"leftward axis", "left axis deviation", "normal axis", "sinus rhythm", "left ventricular hypertrophy",
              "left ventricular high voltage", "horizontal axis"}  # fmt: skip
    assert group_label(["leftward axis", "sinus rhythm"], "axis deviation", stated) is None
    assert group_label(["leftward axis", "sinus rhythm"], "any abnormality", stated) is None
    assert group_label(["horizontal axis", "sinus rhythm"], "axis deviation", stated) is False
    assert group_label(["left ventricular high voltage"], "hypertrophy or enlargement", stated) is None
    assert group_label(["left ventricular high voltage"], "any abnormality", stated) is True
