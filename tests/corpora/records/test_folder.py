"""Your own folder and table: what a column means, and what is refused."""

from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset

from ecgllm import cli
from ecgllm.corpora import check_patient_split, prepare, prepare_with_report
from ecgllm.corpora.records.prepared_findings import check_prepared_findings
from ecgllm.corpora.records.sources import folder as folder_source
from ecgllm.errors_ecgllm import ECGError
from ecgllm.feature_extraction_ecgllm import ECGFeatureExtractor
from ecgllm.signal_ecgllm import ECGInputError


@pytest.fixture
def ecgs(tmp_path: Path) -> Path:
    """Files a, b and c as CSV with rate and unit, of 5 s; d is no ECG."""
    folder = tmp_path / "ecgs"
    (folder / "deep").mkdir(parents=True)
    for seed, name in enumerate(("a.csv", "b.csv", "deep/c.csv")):
        signal = np.random.default_rng(seed).normal(scale=0.3, size=(500, 3)).round(4)
        lines = ["# sampling_rate: 100", "# unit: mV", "I,II,V1", *(",".join(map(str, row)) for row in signal)]
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    (folder / "d.csv").write_text("nothing here", encoding="utf-8")
    return folder


def table(folder: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    path = folder.parent / name
    path.write_text(text, encoding=encoding)
    return path


def test_findings_by_name_and_reports(ecgs):
    labels = table(
        ecgs,
        "file;Patient_ID;report;findings;age;sex;split;recorded_at;device;ward\n"
        'a.csv;p1;"Vorhofflimmern, überdrehter Linkstyp";Atrial Fibrillation;61;F;train;2020-01-02T03:04:05;X1;3\n'
        "b;p1;;sinus_bradycardia;;w;train;;;3\n"
        "deep/c.csv;p2;;;90,0;;test;;;\n".replace("90,0", "90.0"),
        encoding="utf-8-sig",
    )
    corpus, report = prepare_with_report("folder", ecgs, table=labels)
    first, second, third = corpus
    assert [row["id"] for row in corpus] == ["a", "b", "deep/c"]
    assert first["findings"] == ["atrial fibrillation"] and first["device"] == "X1" and first["sex"] == "female"
    assert first["report"] == "Vorhofflimmern, überdrehter Linkstyp" and first["recorded_at"] == "2020-01-02T03:04:05"
    assert second["findings"] == ["bradycardia", "sinus bradycardia"] and second["report"] == "Sinus bradycardia."
    assert third["findings"] == [] and third["age"] == 90 and third["split"] == "test"
    assert report.notes == [
        "columns of labels.csv that are not used: ward",
        "files below ecgs that no row of labels.csv is about, left out: 1",
    ]
    check_patient_split(corpus)


def test_one_column_a_finding(ecgs):
    labels = table(ecgs, "id,atrial fibrillation,Left_Axis_Deviation,potassium\na,1,0,4.1\nb,0.0,true,3.9\nc,,,\n")
    corpus, report = prepare_with_report("folder", ecgs, table=labels)
    assert corpus["findings"][:] == [["atrial fibrillation"], ["left axis deviation"]]
    assert "columns of labels.csv that are not used: potassium" in report.notes
    assert any("each of its 3 records counts as a patient of its own" in note for note in report.notes)
    assert [record for record, _ in report.unreadable] == ["c"]  # it lies in deep/


def test_findings_that_exclude_each_other_are_said_and_kept(ecgs):
    labels = table(
        ecgs,
        "file,patient_id,findings,tachycardia\na.csv,p1,normal ecg;atrial fibrillation;sinus rhythm,0\n"
        "b.csv,p2,sinus bradycardia,1\ndeep/c.csv,p3,sinus rhythm;normal ecg;sinus bradycardia,0\n",
    )
    corpus, report = prepare_with_report("folder", ecgs, table=labels)
    assert corpus["findings"][0] == ["atrial fibrillation", "normal ecg", "sinus rhythm"]
    (note,) = (note for note in report.notes if "exclude" in note)
    assert note == (
        "findings of labels.csv that exclude each other, in 2 of 3 rows, taken as they are: sinus rhythm with atrial "
        "fibrillation (line 2); normal ecg with atrial fibrillation (line 2); sinus bradycardia with tachycardia "
        "(line 3)"
    )
    assert f"note: {note}" in str(report)


def people(folder: Path, *rows: str) -> list[str]:
    """Notes on a table of these rows of patient_id, age, sex, recorded_at."""
    lines = ["file,id,patient_id,age,sex,recorded_at", *(f"a.csv,{number},{row}" for number, row in enumerate(rows))]
    labels = table(folder, "\n".join(lines))
    notes = folder_source.entries(folder, labels).notes
    return [note for note in notes if note.startswith(("two sexes", "ages"))]


def test_rows_of_one_patient_that_cannot_be_of_one_person_are_said(ecgs):
    assert people(ecgs, "p1,50,f,", "secret,40,m,", "secret,41,F,", "p3,20,m,", "secret,41,m,") == [
        "two sexes of 1 patient_id in labels.csv, taken as they are: lines 3, 4"
    ]
    # As old as the years between say, to two years; without a time only what no archive spans.
    assert people(ecgs, "p,50,,2001-01-01", "p,62,,2012-06-01T10:00:00+02:00", "p,70,,", "q,30,,", "q,50,,") == []
    assert people(ecgs, "p,50,,2001-01-01", "p,52,,2012-06-01", "q,81,,", "q,18,,", "q,40,,2012-06-01") == [
        "ages that do not fit each other of 2 patient_ids in labels.csv, taken as they are: lines 2, 3; lines 4, 5"
    ]


def test_what_readers_noticed_is_counted_over_all_files(ecgs):
    for name, empty in (("a.csv", 3), ("b.csv", 5)):
        path = ecgs / name
        *lines, _ = path.read_text(encoding="utf-8").split("\n")
        path.write_text("\n".join([*lines, *[",0.1,0.1"] * empty, "0.1,0.1,0.1"]), encoding="utf-8")
    labels = table(ecgs, "file,patient_id,report\na.csv,1,x\nb.csv,2,x\ndeep/c.csv,3,x\n")
    _, report = prepare_with_report("folder", ecgs, table=labels)
    assert report.noticed == {"... missing samples are NaN": 2}
    assert "notes of readers: 2 files: ... missing samples are NaN" in str(report).splitlines()


def test_what_models_refuse_is_said_of_records_that_were_prepared(ecgs):
    signal = np.random.default_rng(0).normal(scale=0.3, size=(3, 500)).round(4)
    for name, leads, samples in (("one", ["watch"], 500), ("more", ["I", "II", "X"], 500), ("short", ["II"], 80)):
        own = signal[: len(leads), :samples]
        np.savez(ecgs / f"{name}.npz", signal=own, sampling_rate=100, unit="mV", leads=leads)
    rows = "a.csv,1,x\none.npz,2,x\nmore.npz,3,x\nshort.npz,4,x\n"
    corpus, report = prepare_with_report("folder", ecgs, table=table(ecgs, f"file,patient_id,report\n{rows}"))
    assert report.refused == {
        "its one lead has no standard name (I to V6)": ["one"],
        "it has other leads beside standard ones": ["more"],
        "it is shorter than 1 s": ["short"],
    }
    said = "train will leave out 1 of 4 records (one): its one lead has no standard name (I to V6)"
    assert said in str(report).splitlines()
    for row in corpus:  # as the feature extractor itself does
        refused = any(row["id"] in ids for ids in report.refused.values())
        with pytest.raises(ECGInputError) if refused else nullcontext():
            ECGFeatureExtractor().prepare(row["ecg"])


def test_an_unreadable_file_is_listed(ecgs):
    corpus, report = prepare_with_report("folder", ecgs, table=table(ecgs, "file,patient_id\nd.csv,1\na.csv,2\n"))
    assert corpus["id"][:] == ["a"] and [record for record, _ in report.unreadable] == ["d"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,age\na,1\n", "has no column 'file' or 'id'"),
        ("file,patient_id\na.csv,1\nb.csv,\n", "line 3: has no patient_id"),
        ("file,findings\na.csv,flu\n", "1 of its findings, 1 different ones, are none of .*: line 2, number 1. Put"),
        (
            "file,findings\na.csv,normal ecg;LBBB\nb.csv,atrial fibrilation;lbbb\n",
            r"3 of its findings, 2 different .*: line 2, number 2 \(perhaps left bundle branch block\); line 3, "
            r"number 1 \(perhaps atrial fibrillation\); line 3, number 2 .*VOCABULARY",
        ),
        # A word more, a numeral, another beginning: nothing that is meant by a slip.
        ("file,findings\na.csv,no atrial fibrillation\n", "line 2, number 1. Put"),
        ("file,findings\na.csv,i degree av block\n", "line 2, number 1. Put"),
        ("file,findings\na.csv,nstemi\n", "line 2, number 1. Put"),
        ("file,atrial fibrillation\na.csv,maybe\n", "atrial fibrillation: holds something else than 0 or 1"),
        ("file,sex\na.csv,x\n", "line 2: sex is none of female"),
        ("file,split\na.csv,holdout\n", "line 2: split is none of train"),
        ("file,split\na.csv,train\nb.csv,\n", "some rows have a split and some have none"),
        ("file,age\na.csv,old\n", "line 2: age is no number; expected years"),
        ("file,recorded_at\na.csv,yesterday\n", "line 2: recorded_at is no time; expected one such as 2024-05"),
        ("file,recorded_at\na.csv,31.12.2024 08:15\n", "recorded_at is a date with the day first, between dots; "),
        ("file,recorded_at\na.csv,12/31/2024\n", "recorded_at is a date between slashes; expected"),
        ("file,recorded_at\na.csv,45657\n", "recorded_at is a mere number, as spreadsheets count days; expected"),
        ("file;age\na.csv;61,5\n", "line 2: age has a decimal comma; expected years, with a decimal point"),
        ("file,path\na.csv,a.csv\n", "more than one column means file"),
        ("file\n", "has no row below its header"),
        ("file,age\na.csv,1,2\n", "line 2: has more cells"),
        ("file,patient_id,split\na.csv,p,train\nb.csv,p,test\n", "p in test and train"),
        ("file,id\na.csv,x\nb.csv,x\n", "two records of folder have the id 'x'"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused(ecgs, text, message):
    with pytest.raises(ValueError, match=message):
        prepare("folder", ecgs, table=table(ecgs, text))


def test_other_refusals(ecgs):
    with pytest.raises(ValueError, match="needs a table: .*--table"):
        prepare("folder", ecgs)
    with pytest.raises(FileNotFoundError, match="nosuch.csv: there is no such table"):
        prepare("folder", ecgs, table="nosuch.csv")
    with pytest.raises(FileNotFoundError, match="is no folder"):
        prepare("folder", ecgs / "nosuch", table="labels.csv")
    with pytest.raises(ValueError, match="is no UTF-8 text"):
        prepare("folder", ecgs, table=table(ecgs, "file,report\na.csv,größer\n", encoding="latin-1"))
    with pytest.raises(ValueError, match="the corpus 'ludb' has no option table; it has none"):
        prepare("ludb", ecgs, table="labels.csv")


def test_paths_as_windows_writes_them(ecgs):
    labels = table(ecgs, "file,patient_id,report\na.csv,1,x\ndeep\\c.csv,2,x\nD:\\secret\\b.csv,3,x\n")
    corpus, report = prepare_with_report("folder", ecgs, table=labels)
    assert corpus["id"][:] == ["a", "deep/c"]
    (reason,) = (reason for _, reason in report.unreadable)
    assert "path has backslashes, from a drive" in reason and "expected a path below" in reason
    assert "secret" not in reason


@pytest.fixture
def unsaid(ecgs) -> Path:
    """Beside a and b a table e that says neither rate nor unit, and an array f that says nothing at all."""
    signal = np.random.default_rng(9).normal(scale=300, size=(500, 3)).round(1)
    (ecgs / "e.csv").write_text("I,II,V1\n" + "\n".join(",".join(map(str, row)) for row in signal), encoding="utf-8")
    np.save(ecgs / "f.npy", signal.T)
    return table(ecgs, "file,patient_id,report\na.csv,1,x\ne.csv,2,x\nf.npy,3,x\n")


def test_files_that_do_not_say_how_they_are_to_be_read(ecgs, unsaid):
    _, report = prepare_with_report("folder", ecgs, table=unsaid)
    reasons = dict(report.unreadable)
    assert "(--unit)" in reasons["e"] and "(--leads I,II,...)" in reasons["f"]
    said = {"sampling_rate": 250, "unit": "uV", "leads": ["I", "II", "V1"]}
    corpus, report = prepare_with_report("folder", ecgs, table=unsaid, **said)
    assert not report.unreadable
    # What a file says itself stays: a is in mV, at 100 Hz.
    assert [row["ecg"]["sampling_rate"] for row in corpus] == [100, 250, 250]
    assert [float(np.abs(row["ecg"]["signal"]).max()) > 0.5 for row in corpus] == [True] * 3
    assert all(float(np.abs(row["ecg"]["signal"]).max()) < 3 for row in corpus)
    _, report = prepare_with_report("folder", ecgs, table=unsaid, sampling_rate=250)
    assert "With sampling_rate as given" not in dict(report.unreadable)["e"]
    assert "(--unit)" in dict(report.unreadable)["e"]
    with pytest.raises(ValueError, match="the corpus 'ludb' has no option leads"):
        prepare("ludb", ecgs, leads=["I"])


def test_reading_options_from_the_command_line(ecgs, unsaid, tmp_path, capsys):
    options = ["--table", str(unsaid), "--sampling-rate", "250", "--unit", "uV", "--leads", "I,II,V1"]
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "folder", str(ecgs), *options, "-o", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert end.value.code == 0 and "3 records in" in out and "unreadable" not in err


def test_from_the_command_line(ecgs, tmp_path, capsys):
    labels = table(ecgs, "file,patient_id,report\na.csv,1,größer\nd.csv,2,\n")
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "folder", str(ecgs), "--table", str(labels), "-o", str(tmp_path / "out")])
    out, err = capsys.readouterr()
    assert end.value.code == 0 and "1 records in" in out and "unreadable: d" in err
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "simulation", str(ecgs), "-o", str(tmp_path / "sim")])
    assert end.value.code == 2 and "(for more: ecgllm simulate); found the folder" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        cli.main(["prepare", "ludb", str(ecgs), "-o", str(tmp_path / "ludb"), "--wording", "template"])
    assert end.value.code == 2 and "are options of ecg-qa" in capsys.readouterr().err


def test_a_table_may_say_otherwise_than_its_files() -> None:
    row = {"id": "a", "findings": ["left axis deviation"], "statements": ["LUDB:Electric axis of the heart:normal"]}
    check_prepared_findings(Dataset.from_list([{**row, "source": "folder"}]))
    with pytest.raises(ECGError, match="its axis is left axis deviation"):
        check_prepared_findings(Dataset.from_list([{**row, "source": "ludb"}]))
