"""Corpora from records and from the real layouts: nothing lost in silence, no patient on two sides."""

import csv
import shutil
from collections import Counter
from datetime import datetime

import numpy as np
import pytest
from datasets import Dataset, load_from_disk

from ecgllm.corpora import (
    CORPUS_FEATURES,
    VOCABULARY,
    CorpusReport,
    build_questions,
    check_patient_split,
    prepare,
    prepare_with_report,
    records_to_corpus,
    split_of,
)
from ecgllm.corpora.questions.sampling import facts_of
from ecgllm.corpora.records.prepare import CORPORA
from ecgllm.corpora.records.sources.ptbxl import statements_of
from ecgllm.findings.labels import label
from ecgllm.signals import ECGRecord


def record(record_id: str | None = "a", **fields) -> ECGRecord:
    signal = np.arange(200, dtype=np.float32).reshape(2, 100) / 1000
    return ECGRecord(signal=signal, sampling_rate=100.0, leads=("I", "II"), id=record_id, **fields)


def test_records_keep_what_is_known_and_nothing_else():
    report = "Sinusrhythmus, überdrehter Linkstyp; ST-Hebung möglich — größer als früher"
    known = record(
        patient_id="p1", report=report, findings=("left anterior fascicular block",), age=61.0, sex="female",
        recorded_at=datetime(1999, 5, 6, 7, 8), statements=("SCP:LAFB:100",),
    )  # fmt: skip
    corpus = records_to_corpus([known, record(None)], "own")
    assert corpus.features == CORPUS_FEATURES
    row, bare = corpus
    assert row["report"] == report and row["age"] == 61.0 and row["recorded_at"] == "1999-05-06T07:08:00"
    assert row["findings"] == ["fascicular block", "left anterior fascicular block"] and row["severity"] == 1
    np.testing.assert_array_equal(row["ecg"]["signal"], known.signal)
    assert bare["id"] == bare["patient_id"] == "own-000001"
    assert bare["report"] is None and bare["findings"] == [] and bare["sex"] is None


def test_german_reports_survive_saving(tmp_path):
    corpus = records_to_corpus([record(report="unauffälliges Ekg, größenmäßig grenzwertig ß")], "own")
    corpus.save_to_disk(tmp_path / "corpus")
    assert load_from_disk(tmp_path / "corpus")[0]["report"] == "unauffälliges Ekg, größenmäßig grenzwertig ß"


def test_statements_are_mapped_and_unmapped_ones_counted():
    corpus = records_to_corpus([record(statements=("SNOMED:426177001", "SNOMED:999"))], "own")
    assert (
        corpus[0]["findings"] == ["bradycardia", "sinus bradycardia"] and corpus[0]["report"] == "Sinus bradycardia."
    )
    assert "not mapped: 1 different texts, 1 in all; not shown" in corpus.info.description


@pytest.mark.parametrize(
    ("records", "message"),
    [([], "not one record"), ([record(), record()], "two records"), ([record(findings=("flu",))], "'flu'")],
)
def test_refusals(records, message):
    with pytest.raises(ValueError, match=message):
        records_to_corpus(records, "own")


def test_a_corpus_that_cannot_be_read_is_refused_with_one_reason(tmp_path):
    write_headers(tmp_path, [f"A{number:04d}" for number in range(60)], ["#Dx: 426177001"])
    for path in tmp_path.glob("*.dat"):
        path.unlink()
    with pytest.raises(ValueError, match="not one record could be read of 60; the first, cinc2021-A0000: ") as refused:
        prepare("cinc2021", tmp_path)
    assert len(str(refused.value)) < 400


def test_prepare_names_what_it_knows(tmp_path):
    with pytest.raises(ValueError, match="ludb, cinc2021, .*ptbxl, .*folder, simulation"):
        prepare("nosuch", tmp_path)
    with pytest.raises(ValueError, match="needs its folder"):
        prepare("ludb")
    for name in ("ludb", "cinc2021", "ptbxl"):
        with pytest.raises(FileNotFoundError, match="expected .* of"):
            prepare(name, tmp_path)


def test_simulation_takes_no_folder(tmp_path):
    with pytest.raises(ValueError, match="no option but reader_spread .*; found the folder .*, table"):
        prepare("simulation", tmp_path, table="labels.csv")


def test_a_long_report_is_cut_where_it_is_printed():
    report = CorpusReport("own", unreadable=[(f"r{i}", "broken") for i in range(60)])
    lines = str(report).splitlines()
    assert len(lines) == 52 and lines[50] == "... and 10 more like these"
    assert lines[-1] == "own: 0 records, 0 without any finding, 60 could not be read"
    assert len(report.text().splitlines()) == 61 and "more" not in report.text()


def test_split_is_by_patient_and_depends_on_the_seed_alone():
    patients = [f"p{i}" for i in range(2000)]
    splits = [split_of(patient, seed=3) for patient in patients]
    assert splits == [split_of(patient, seed=3) for patient in patients]
    assert splits != [split_of(patient, seed=4) for patient in patients]
    shares = Counter(splits)
    assert abs(shares["test"] - 200) < 60 and abs(shares["validation"] - 200) < 60
    corpus = records_to_corpus([record(f"r{i}", patient_id=f"p{i % 7}") for i in range(60)], "own")
    check_patient_split(corpus)


def test_a_leak_is_found():
    leaking = Dataset.from_dict({"patient_id": ["a", "b", "a"], "split": ["train", "test", "test"]})
    with pytest.raises(ValueError, match="a in test and train"):
        check_patient_split(leaking)


def test_ptbxl_statements():
    row = {"scp_codes": "{'NORM': 100.0, 'SR': 0.0}", "heart_axis": "MID", "static_noise": " , I-V1,  "}
    assert statements_of(row) == ["SCP:NORM:100", "SCP:SR:0", "PTBXL:axis:MID", "PTBXL:noise:static_noise"]
    labels = statements_of({"labels": "MI;AMI;NST;LAFB/LPFB;SR"})
    assert labels == ["PTBXL:class:MI", "PTBXL:class:AMI", "SCP:NST_", "PTBXL:class:LAFB/LPFB", "SCP:SR"]


def test_simulation():
    corpus = prepare("simulation", limit=6, seed=1)
    assert len(corpus) == 6 and all(corpus["report"]) and all(corpus["findings"])
    again = prepare("simulation", limit=6, seed=1)
    assert corpus["findings"][:] == again["findings"][:]


def test_ludb(shared_data):
    corpus, report = prepare_with_report("ludb", shared_data / "ludb", limit=30)
    assert len(corpus) == 30 and not report.unmapped and not report.unreadable and report.without_findings == 0
    first = corpus[0]
    assert first["id"] == "ludb-1" and {"sinus bradycardia", "leftward axis"} <= set(first["findings"])
    assert first["report"].startswith("Sinus bradycardia.") and (first["age"], first["sex"]) == (51.0, "female")
    assert first["ecg"]["signal"].shape == (12, 5000)


def test_cinc2021(shared_data):
    corpus, report = prepare_with_report("cinc2021", shared_data / "cinc2021")
    assert len(corpus) == 122 and not report.unmapped and not report.unreadable
    assert set(corpus["recorded_at"]) == {None}
    rates = {row["ecg"]["sampling_rate"] for row in corpus}
    assert rates == {500.0, 1000.0}
    assert Counter(corpus["source"]) == {
        "chapman-shaoxing": 12, "ningbo": 45, "georgia": 47, "cpsc2018": 9, "cpsc2018-extra": 7, "ptb": 2,
    }  # fmt: skip
    assert report.notes[-1] == "2 records of PTB have diagnoses of the patient, of which no finding is made"
    of_patients = corpus.filter(lambda row: row["source"] == "ptb")
    assert all(statements and not findings for statements, findings in
               zip(of_patients["statements"], of_patients["findings"], strict=True))  # fmt: skip


def test_a_database_of_the_challenge_denies_nothing_that_only_another_states(shared_data):
    """CPSC 2018 has nine labels and no axis: what Ningbo says of its own decides nothing there."""
    corpus = prepare("cinc2021", shared_data / "cinc2021")
    facts = {facts.id: facts for facts in facts_of(corpus)}
    sources = dict(zip(corpus["id"], corpus["source"], strict=True))
    stated = {source: {name for own in facts if sources[own] == source for name in facts[own].findings}
              for source in set(sources.values())}  # fmt: skip
    assert "left axis deviation" in stated["ningbo"] and "left axis deviation" not in stated["cpsc2018"]
    questions = build_questions(corpus, per_record=20, seed=0, min_positives=1)
    asked = Counter()
    for row in questions:
        if row["type"] in ("verify", "comparison-irrelevant-verify") and row["attribute"] in VOCABULARY:
            for name in row["ecg_ids"]:
                known = label(facts[name].findings, row["attribute"], facts[name].stated)
                if known is False:
                    assert row["attribute"] in stated[sources[name]], (row, sources[name])
                    asked[sources[name]] += 1
    print(f"denied, by source: {dict(asked)}")
    assert asked["georgia"] > 50 and asked["cpsc2018"] > 5 and asked["ptb"] == 0
    with pytest.raises(ValueError, match="source is cinc2021 as a whole"):
        joined = corpus.remove_columns("source").add_column("source", ["cinc2021"] * len(corpus))
        build_questions(joined)


def test_the_axis_of_ptb_xl_within_the_challenge_is_ptb_xl_s(tmp_path):
    """There 39732003 is LAD or ALAD, and 251200008 is AXL, AXR or SAG: neither says what it says elsewhere."""
    write_headers(tmp_path, ["HR00001"], ["#Dx: 426783006,39732003"])
    write_headers(tmp_path, ["HR00002"], ["#Dx: 426783006,251200008"])
    write_headers(tmp_path, ["E00001"], ["#Dx: 426783006,39732003"])
    corpus, report = prepare_with_report("cinc2021", tmp_path)
    found = {row["id"][-7:].lstrip("-"): (set(row["findings"]), row["source"]) for row in corpus}
    assert found == {
        "HR00001": ({"sinus rhythm", "leftward axis"}, "cinc2021-ptb-xl"),
        "HR00002": ({"sinus rhythm"}, "cinc2021-ptb-xl"),
        "E00001": ({"sinus rhythm", "left axis deviation"}, "georgia"),
    }
    assert not report.unmapped and "SNOMED:251200008" in corpus[2]["statements"]


def test_parts_of_the_challenge_have_names_of_their_own(shared_data):
    corpus, report = prepare_with_report("cpsc2018", shared_data / "cinc2021" / "cpsc2018")
    assert len(corpus) == 9 and set(corpus["source"]) == {"cpsc2018"} and corpus[0]["id"].startswith("cpsc2018-A")
    assert report.notes == ["no patient ids are given: every record counts as a patient of its own"]


def write_headers(folder, names, comments=()):
    """Flat WFDB records of two leads, each with these comments."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        lines = [f"{name} 2 100 500", *[f"{name}.dat 16 1000/mV 0 0 0 0 0 {lead}" for lead in ("I", "II")]]
        (folder / f"{name}.hea").write_text("\n".join([*lines, *comments, ""]), encoding="utf-8")
        (folder / f"{name}.dat").write_bytes(bytes(2 * 2 * 500))


LUDB_COMMENTS = ("#<age>: 51", "#<sex>: F", "#<diagnoses>:", "#Rhythm: Sinus bradycardia.")


@pytest.mark.parametrize("name", ["cinc2021", "chapman-shaoxing", "ningbo", "chapman-ningbo", "cpsc2018"])
def test_the_challenge_is_not_read_from_ludbs_folder(name, tmp_path):
    write_headers(tmp_path / "data", ["1", "2", "3"], LUDB_COMMENTS)
    with pytest.raises(ValueError) as refused:
        prepare(name, tmp_path)
    message = str(refused.value)
    assert f"{tmp_path} is not {name}" in message and "of 3 headers looked at 0 have '#Dx:'" in message
    assert "3 have '#<diagnoses>:'" in message and "1.hea is not labelled" in message
    assert "`ecgllm prepare ludb`" in message and "`ecgllm prepare folder`" in message


def test_the_challenge_is_not_read_from_a_folder_without_labels(tmp_path):
    write_headers(tmp_path / "records500" / "00000", ["00001_hr", "00002_hr"])
    with pytest.raises(ValueError, match="of 2 headers looked at 0 have '#Dx:'; .*`ecgllm prepare ptbxl`"):
        prepare("cinc2021", tmp_path)


def test_ludb_is_not_read_from_the_challenges_folder(tmp_path):
    write_headers(tmp_path / "data", ["A0001", "A0002"], ["#Age: 64", "#Dx: 426177001"])
    with pytest.raises(ValueError, match="is not LUDB .* 0 have '#<diagnoses>:' and 2 have '#Dx:'.*prepare cinc2021"):
        prepare("ludb", tmp_path)


def test_a_part_of_the_challenge_is_not_read_from_another_parts_folder(tmp_path):
    write_headers(tmp_path, ["A0001", "E00001", "E00002"], ["#Dx: 426177001"])
    with pytest.raises(ValueError, match=r"2 of its 3 records .*E00001.hea; expected A and a number. .*cinc2021"):
        prepare("cpsc2018", tmp_path)
    assert len(prepare("cinc2021", tmp_path)) == 3


def test_a_few_records_of_the_challenge_may_lack_their_codes(tmp_path):
    write_headers(tmp_path, ["A0001", "A0002", "A0003"], ["# Dx: 426177001"])  # with a blank, as some headers have it
    write_headers(tmp_path, ["A0004", "A0005"])
    (tmp_path / "A0006.hea").mkdir()  # cannot be read, and is listed as such
    corpus, report = prepare_with_report("cinc2021", tmp_path)
    assert len(corpus) == 5 and report.without_findings == 2
    assert [record_id for record_id, _ in report.unreadable] == ["cinc2021-A0006"]


# Names under which the slices of real records may be read; every other name is refused.
@pytest.mark.parametrize(
    ("folder", "names"),
    [
        ("ludb", {"ludb"}), ("ptbxl", {"ptbxl"}), ("code15", set()), ("ecg-qa", set()), (".", set()),
        ("cinc2021", {"cinc2021"}), ("cinc2021/georgia", {"cinc2021"}),
        ("cinc2021/cpsc2018", {"cinc2021", "cpsc2018"}),
    ],
)  # fmt: skip
def test_real_folders_are_taken_for_no_other_corpus(folder, names, shared_data):
    taken = set()
    for name in set(CORPORA) - {"simulation", "folder"}:
        try:
            taken |= {name} if prepare(name, shared_data / folder, limit=2) else set()
        except (FileNotFoundError, ValueError) as error:
            assert str(shared_data) in str(error) and "xpected" in str(error) or "labelled as" in str(error)
    assert taken == names


def test_ptbxl(shared_data):
    corpus, report = prepare_with_report("ptbxl", shared_data / "ptbxl")
    assert len(corpus) == 51 and not report.unmapped and not report.unreadable
    first = corpus[0]
    assert first["report"] == "sinusrhythmus periphere niederspannung"
    assert first["findings"] == ["low qrs voltage", "normal ecg", "sinus rhythm", "static noise"]
    with open(shared_data / "ptbxl" / "ptbxl_database.csv", newline="", encoding="utf-8") as file:
        folds = {f"ptbxl-{row['ecg_id']}": int(row["strat_fold"]) for row in csv.DictReader(file)}
    assert all((row["split"] == "test") == (folds[row["id"]] == 10) for row in corpus)


def test_an_unreadable_file_is_listed_and_the_rest_read(shared_data, tmp_path):
    (tmp_path / "data").mkdir()
    for number in (1, 2):
        for suffix in ("hea", "dat"):
            shutil.copy(shared_data / "ludb" / "data" / f"{number}.{suffix}", tmp_path / "data")
    signal = (tmp_path / "data" / "2.dat").read_bytes()
    (tmp_path / "data" / "2.dat").write_bytes(signal[:1000])
    corpus, report = prepare_with_report("ludb", tmp_path)
    assert corpus["id"][:] == ["ludb-1"]
    assert [record_id for record_id, _ in report.unreadable] == ["ludb-2"] and "truncated" in report.unreadable[0][1]
    assert "unreadable: ludb-2" in corpus.info.description
