"""No output names the patient or the day, whatever the file says and wherever it says it; the record keeps all.

Files of every format hold the same name in every free text that the format has, and one time of recording. What is
printed, drawn, logged or raised may hold neither; statements are shown as findings, and all of them by `--statements`
alone.
"""

import binascii
import io
import json
import logging
import re
import struct
import sys
import traceback
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import numpy as np
import pytest

from ecgllm.cli import main
from ecgllm.signals import ECGReadError, ECGRecord, iter_ecgs, read_ecg
from ecgllm.signals.recording_time import order_in_time
from ecgllm.signals.simulation import simulate_ecg
from ecgllm.signals.summary import as_text, summarize

pytest.importorskip("ecgdatakit")

NAME, READER = "ZZQNAME", "ZZQREADER"
SAID = (f"Reviewed: {READER}", f"Sinus rhythm, seen by {READER}", "Compared with ECG of 12-MAR-2011", "Sinus rhythm")
# The time of recording, 2 April 2006, 10:15:30, and the day of an earlier ECG, in all forms that a file might use.
DATES = re.compile(
    r"2006.?0?4.?0?2|0?4[-/.]0?2[-/.](?:20)?06|0?2[-/.]0?4[-/.](?:20)?06|apr\w*.2006|10:15|101530|mar.?2011",
    re.IGNORECASE,
)


def check(text, where):
    """Neither the name nor a date in a text, or in bytes of a file."""
    text = text.decode("latin-1") if isinstance(text, bytes) else text
    found = [line for line in text.splitlines() if "zzq" in line.lower() or DATES.search(line)]
    assert not found, f"{where}: {found[:3]}"


@pytest.fixture(scope="module")
def telling(written, tmp_path_factory):
    """Folder of a file of each format that says a name wherever it can, called by the format."""
    folder = tmp_path_factory.mktemp("telling")
    writers = sys.modules[written.muse.__module__]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(writers, "NAME", NAME)
        patch.setattr(writers, "GIVEN", NAME)
        patch.setattr(writers, "NUMBER", f"{NAME}1")
        uv = counts(written.LEADS)
        eight = counts(written.EIGHT)
        for name, content in {
            "muse.xml": muse(written.muse(eight // 5)),
            "sierra.xml": sierra(written.sierra(uv // 5)),
            "hl7.xml": hl7(written.hl7(uv // 5)),
            "scp.scp": written.scp(eight, statements=SAID),
            "edf.edf": written.edf(folder, uv, note=NAME),
            "dicom.dcm": written.dicom(uv, extra=dicom),
            "ishne.ecg": ishne(written.ishne(counts(("V1", "V5", "aVF")) // 3)),
            "mfer.mwf": mfer(written.mfer(uv)),
            "kardia.json": kardia(written.kardia(counts(written.LEADS[:6]) * 2)),
            "csv.csv": written.csv(
                uv, comments=("# sampling_rate: 500", "# unit: uV", *(f"# {text}" for text in SAID))
            ),
            "npz.npz": npz(uv),
        }.items():
            (folder / name).write_bytes(content)
        (folder / "written.edf").unlink()
    wfdb(folder, uv)
    parquet(folder / "parquet.parquet", uv)
    return folder


def counts(leads):
    """Four seconds at 500 Hz in microvolt."""
    record = simulate_ecg(seed=7, duration=5.0, sampling_rate=500.0).select_leads(leads)
    return np.round(record.signal[:, :2000] * 1000).astype(np.int64)


def muse(content):
    statement = "<DiagnosisStatement><StmtFlag>ENDSLINE</StmtFlag><StmtText>{}</StmtText></DiagnosisStatement>"
    diagnosis = "<Diagnosis><Modality>RESTING</Modality>" + "".join(map(statement.format, SAID))
    people = "".join(
        f"<{tag}>{NAME}</{tag}>"
        for tag in ("AcquisitionTechLastName", "OverreaderLastName", "ReferringMDLastName", "LocationName", "RoomID",
                    "SecondaryID", "EditorLastName", "TestReason", "DataType")
    )  # fmt: skip
    text = content.decode("latin-1").replace("<Diagnosis>", diagnosis)
    return text.replace("</TestDemographics>", f"{people}</TestDemographics>").encode("latin-1")


def sierra(content):
    statement = (
        "<statement><statementcode>X</statementcode><leftstatement>{}</leftstatement><rightstatement></rightstatement>"
        "</statement>"
    )
    text = content.decode().replace("<statement>", "".join(map(statement.format, SAID)) + "<statement>", 1)
    comment = f"<mdsignatureline>{NAME}</mdsignatureline><interpretationcomment>{NAME}</interpretationcomment>"
    return text.replace("<interpretation>", f"<interpretation>{comment}").encode()


def hl7(content):
    annotation = (
        '<component><annotation><code code="MDC_ECG_INTERPRETATION_STATEMENT"/>'
        '<value xsi:type="ST">{}</value></annotation></component>'
    )
    texts = "".join(map(annotation.format, SAID))
    own = (
        f'<subjectOf><annotationSet><author><assignedEntity><id extension="{NAME}"/></assignedEntity></author>{texts}'
    )
    text = content.decode().replace("</series>", f"{own}</annotationSet></subjectOf></series>")
    return text.replace('<id root="1.2.3"/>', f'<id root="1.2.3" extension="{NAME}"/><text>{NAME}</text>').encode()


def dicom(dataset):
    from pydicom.dataset import Dataset

    for field in ("PatientComments", "OperatorsName", "ReferringPhysicianName", "InstitutionName", "StudyDescription",
                  "NameOfPhysiciansReadingStudy", "OtherPatientNames", "PatientAddress", "StationName",
                  "AdditionalPatientHistory", "AccessionNumber", "StudyID"):  # fmt: skip
        setattr(dataset, field, NAME)
    for text in SAID:
        note = Dataset()
        note.UnformattedTextValue = text
        dataset.WaveformAnnotationSequence.append(note)


def ishne(content):
    header = bytearray(content[10:522])
    for start, length in ((222, 40), (264, 80), (344, 80)):  # recorder, owner, copyright
        header[start : start + length] = NAME.encode().ljust(length, b"\0")
    return content[:8] + struct.pack("<H", binascii.crc_hqx(bytes(header), 0xFFFF)) + bytes(header) + content[522:]


def mfer(content):
    notes = b"".join(bytes([tag, len(text)]) + text.encode() for tag in (0x15, 0x16, 0x83) for text in SAID)
    return content[:37] + notes + content[37:]  # behind the preamble and the byte order


def kardia(content):
    record = json.loads(content)
    record |= {"note": NAME, "tags": [NAME], "algorithmDetermination": SAID[0], "patientName": NAME, "symptoms": NAME}
    return json.dumps(record).encode()


def npz(counts):
    stream = io.BytesIO()
    leads = np.array(["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"])
    np.savez(stream, signal=counts, sampling_rate=500, leads=leads, unit="uV", patient=np.array(NAME), report=SAID)
    return stream.getvalue()


def wfdb(folder, counts):
    """One header as the CinC Challenges write them, one as LUDB's."""
    leads = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    (folder / "cinc.dat").write_bytes(counts.T.astype("<i2").tobytes())
    (folder / "ludb.dat").write_bytes(counts.T.astype("<i2").tobytes())
    for stem, comments in {
        "cinc": [f"#Dx: 426783006, {SAID[1]}, {SAID[0]}", f"#Name: {NAME}", f"#Hx: {NAME}", f"# {NAME}", "#Age: 61"],
        "ludb": [
            "#<age>: 61",
            "#<sex>: F",
            "#<diagnoses>:",
            "#Rhythm: Sinus rhythm.",
            *(f"#{text}." for text in SAID),
        ],
    }.items():
        signals = [f"{stem}.dat 16 1000(0)/mV 16 0 {row[0]} {row.sum() & 0xFFFF} 0 {lead}"
                   for lead, row in zip(leads, counts, strict=True)]  # fmt: skip
        lines = [f"{stem} 12 500 {counts.shape[1]} 10:15:30 02/04/2006", *signals, *comments]
        (folder / f"{stem}.hea").write_text("\n".join(lines) + "\n")


def telling_record(signal):
    leads = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
    return ECGRecord(
        signal.astype(np.float64) / 1000, 500, leads, id="r1", patient_id=NAME, report=f"{SAID[0]}. {SAID[2]}.",
        statements=(*(f"OWN:{text}" for text in SAID), "SNOMED:427084000"),
        recorded_at=datetime(2006, 4, 2, 10, 15, 30),
    )  # fmt: skip


def parquet(path, counts):
    from ecgllm.corpora import records_to_corpus

    records_to_corpus([telling_record(counts)], "own").to_parquet(path)


def run(capfd, *arguments):
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    return stopped.value.code or 0, out, err


def files(folder):
    return [path for path in sorted(folder.iterdir()) if path.suffix != ".dat"]


def test_the_files_say_what_they_should(telling):
    """Each names the patient in its bytes, and those whose format has statements give them to the record, all of
    them but what is known to be a signature."""
    paths = files(telling)
    assert len(paths) == 14
    stated = {"cinc", "dicom", "hl7", "kardia", "ludb", "muse", "parquet", "scp", "sierra"}
    for path in paths:
        content = path.read_bytes()
        assert b"ZZQ" in content or path.stem in ("npz", "parquet"), path
        record = read_ecg(path, keep_identity=True)
        said = " ".join([*record.statements, record.report or ""])
        assert (READER in said) is (path.stem in stated), (path, said)
        if path.stem not in ("csv", "npz"):
            assert record.recorded_at.isoformat()[:19] == "2006-04-02T10:15:30", path
    assert read_ecg(telling / "parquet.parquet").report.startswith(SAID[0])
    # Without `keep_identity`, too, nothing is taken from a record but sentences that the reader knows as signatures.
    for path in (telling / "ludb.hea", telling / "muse.xml"):
        said = read_ecg(path).statements
        assert all(any(text in statement for statement in said) for text in SAID), said


def test_info_shows_findings_and_a_year(telling, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    paths = files(telling)
    for form in ((), ("--json",)):
        code, out, err = run(capfd, "info", *paths, "--no-measure", *form)
        assert code == 0 and "sinus rhythm" in out and "2006" in out
        check(out + err + caplog.text, form)
    described = json.loads(out)
    code, out, err = run(capfd, "info", *paths, "--no-measure", "--json", "--statements")
    whole = {each["file"]: each for each in json.loads(out)}
    check(err + caplog.text, "--statements")
    for path, shown in zip(paths, described, strict=True):
        told = whole[str(path)]
        known = read_ecg(path)
        assert shown["recorded_in"] == (known.recorded_at.year if known.recorded_at else None)
        assert set(told["statements"]) >= set(known.statements) and not any(told["not_shown"].values())
        assert set(shown["statements"]) <= {"sinus rhythm", "sinus tachycardia"}
        hidden = [text for text in told["statements"] if READER in text or "2011" in text]
        assert shown["not_shown"]["statements"] >= len(hidden), path


def test_nothing_is_drawn_or_answered_that_names_the_patient(telling, tmp_path, capfd, caplog, monkeypatch):
    pytest.importorskip("matplotlib", reason="drawing is an extra: pip install 'ecgllm[plot]'")
    caplog.set_level(logging.DEBUG)

    class Answerer:
        model = SimpleNamespace(config=SimpleNamespace(trained_on="nothing"))
        processor = SimpleNamespace(reads_measured=False, calibration=None, refusal=None)

        def __call__(self, question, ecgs, candidates=None, **options):
            logging.getLogger("answerer").info("asked about %s", ecgs)
            return {"generated_text": "af", "probability": 0.5}

    monkeypatch.setattr("ecgllm.asking.load_answerer", lambda *arguments: Answerer())
    for number, path in enumerate(files(telling)[::2]):
        form = ("--json",) if number % 2 else ()
        code, out, err = run(capfd, "ask", path, "Which rhythm?", "--no-measure", *form)
        assert code == 0 and "2006" in out or path.stem in ("csv", "npz"), err
        check(out + err + caplog.text, path)
    some = (telling / "parquet.parquet", telling / "muse.xml")
    for kind in ("svg", "png", "pdf"):
        code, out, err = run(capfd, "plot", some[0], "-o", tmp_path / f"ecg.{kind}")
        assert code == 0, err
        check(out + err + caplog.text, kind)
        check((tmp_path / f"ecg.{kind}").read_bytes(), kind)
    code, out, err = run(capfd, "plot", *some, "--compare", "-o", tmp_path / "two.svg")
    check(out + err + (tmp_path / "two.svg").read_text(), "compare")


def test_two_ecgs_keep_their_order(telling, tmp_path, capfd):
    text = (telling / "ludb.hea").read_text()
    (tmp_path / "ludb.dat").write_bytes((telling / "ludb.dat").read_bytes())
    (tmp_path / "later.hea").write_text(text.replace("02/04/2006", "03/04/2006"))
    paths = (tmp_path / "later.hea", telling / "ludb.hea")
    _, out, _ = run(capfd, "info", *paths, "--json", "--no-measure")
    assert [(each["recorded_in"], each["recorded_order"]) for each in json.loads(out)] == [(2006, 2), (2006, 1)]
    _, out, _ = run(capfd, "info", *paths, "--no-measure")
    assert out.index("in 2006 (number 2 in time)") < out.index("in 2006 (number 1 in time)")
    _, out, _ = run(capfd, "ask", *paths, "Is there atrial fibrillation?", "--no-measure")
    assert f"recorded, the earliest first: {paths[1]} in 2006, {paths[0]} in 2006" in out
    check(out, "ask")


def test_two_times_of_which_one_has_a_zone_have_no_order():
    there = datetime(2006, 4, 2, tzinfo=timezone.utc)
    assert order_in_time([there, datetime(2006, 4, 3)]) == [None, None]
    assert order_in_time([None, datetime(2006, 4, 3), datetime(2006, 4, 1), datetime(2006, 4, 3)]) == [None, 2, 1, 2]
    assert order_in_time([]) == []


def test_a_picture_of_two_says_which_came_first():
    pytest.importorskip("matplotlib", reason="drawing is an extra: pip install 'ecgllm[plot]'")
    from ecgllm.signals.plotting import plot_ecg
    from ecgllm.signals.plotting.paper_text import earlier_and_later

    records = [telling_record(counts(("I", "II")).repeat(6, 0)), simulate_ecg(seed=1)]
    assert earlier_and_later(records) == ["", ""] and earlier_and_later(records[:1]) == [""]
    records[1] = replace(records[0], recorded_at=datetime(2006, 4, 1), id="r2")
    texts = [text.get_text() for text in plot_ecg(records[0], compare=records[1], measuring=False).axes[0].texts]
    assert any("first, recorded later" in text for text in texts)
    assert any("second, recorded earlier" in text for text in texts)
    check("\n".join(texts), "picture")


def test_what_logs_print_of_records_and_tables(telling, caplog):
    from ecgllm.signals.io.wfdb.header import parse_record_line, read_header

    caplog.set_level(logging.DEBUG)
    for path in files(telling):
        record = read_ecg(path)
        logging.getLogger("any").info("%s %r %s", record, [record], summarize(record))
        check(as_text(summarize(record)), path)
    assert repr(read_ecg(telling / "ludb.hea")) == (
        "ECGRecord(id='ludb', 12 leads x 2,000 samples at 500 Hz, source='wfdb', recorded in 2006, 5 statements)"
    )
    header = read_header("x.hea", (telling / "ludb.hea").read_bytes())
    logging.info("%s %s", header, parse_record_line("x.hea", header_line := "x 12 500 100 10:15:30 02/04/2006"))
    assert header.recorded_at.day == parse_record_line("x.hea", header_line).recorded_at.day == 2
    (telling / "damaged.hea").write_text(f"{NAME} {NAME} 500 100\n")
    (telling / "many.hea").write_text(f"{NAME} 5000 500 100\n")
    (telling / "segments.hea").write_text(f"x/2 12 500 400\n{NAME} seen {NAME}\n{NAME}\n")
    (telling / "outside.hea").write_text(f"x 1 500 400\n../{NAME} 16 1000 16 0 0 0 0 I\n")
    tree = iter_ecgs(telling, workers=1, progress=False)
    logging.info("%s", list(tree))
    for stem in ("damaged", "many", "segments", "outside"):
        (telling / f"{stem}.hea").unlink()
    assert tree.read == 14 and len(tree.unreadable) == 4
    check(str(tree) + repr(tree) + caplog.text, "iter_ecgs")


MUTATED = ("muse.xml", "sierra.xml", "hl7.xml", "kardia.json", "csv.csv", "cinc.hea", "ludb.hea")


def said_of(content, path):
    """All that reading a file says: the notes and summary, or the error as a traceback prints it."""
    if path.suffix == ".hea":
        path = path.with_name(f"mutant-{path.name}")
        path.write_bytes(content)
        content = path
    try:
        record = read_ecg(content, verify_checksum=False)
    except ECGReadError as error:
        return "".join(traceback.format_exception_only(error)) + chain(error), ()
    finally:
        if isinstance(content, type(path)):
            path.unlink()
    return as_text(summarize(record)) + repr(record), record.leads


def chain(error):
    """The errors behind one that a traceback prints, too."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "" if cause is None else str(cause) + chain(cause)


@pytest.mark.parametrize("name", MUTATED)
def test_a_name_in_the_place_of_a_number_is_not_quoted(telling, name, caplog):
    """Each number outside the samples in turn; names of leads and units may be anything and are shown."""
    caplog.set_level(logging.DEBUG)
    path = telling / name
    content = path.read_bytes()
    places = [found.span() for found in re.finditer(rb"(?<=[\s>\":(,/])-?\d[\d.]*(?=[\s<\",)/}])", content)]
    step = max(1, len(places) // 25)
    refused = 0
    for start, end in [*places[:35], *places[35::step]]:
        said, leads = said_of(content[:start] + NAME.encode() + content[end:], path)
        refused += not leads
        if not any(NAME in lead for lead in leads):
            check(said + caplog.text, (name, content[start - 30 : end]))
    assert refused


BINARY = ("scp.scp", "edf.edf", "dicom.dcm", "ishne.ecg", "mfer.mwf", "npz.npz", "parquet.parquet")


@pytest.mark.parametrize("name", BINARY)
def test_a_name_over_any_bytes_of_a_header_is_not_quoted(telling, name, caplog):
    caplog.set_level(logging.DEBUG)
    path = telling / name
    content = path.read_bytes()
    for start in range(0, min(len(content), 2400), 80):
        # Labels and units of 13 channels are shown, of 16 and 8 letters, behind 256 and 1,504 others.
        if name == "edf.edf" and (249 <= start < 256 + 16 * 13 or 1497 <= start < 1504 + 8 * 13):
            continue
        mutant = content[:start] + NAME.encode() + content[start + len(NAME) :]
        said, leads = said_of(mutant, path)
        if not any("Z" in lead for lead in leads):
            check(said + caplog.text, (name, start))


def test_a_corpus_keeps_all_and_its_reports_count(telling, tmp_path, capfd, caplog):
    """What `prepare` prints, logs and writes beside the data; the data themselves hold report, statements and time."""
    from datasets import load_from_disk

    caplog.set_level(logging.DEBUG)
    names = ("ludb.hea", "muse.xml", "scp.scp", "hl7.xml")
    rows = [f"{name},p{number},{'' if number else SAID[0]}" for number, name in enumerate(names)]
    (tmp_path / "labels.csv").write_text("\n".join(["file,patient_id,report", *rows]) + "\n")
    options = ("--table", tmp_path / "labels.csv")
    code, out, err = run(capfd, "prepare", "folder", telling, "-o", tmp_path / "corpus", *options)
    assert code == 0 and re.search(r"not mapped: \d+ different texts, \d+ in all; not shown", err), err
    corpus = load_from_disk(tmp_path / "corpus")
    check(out + err + caplog.text + corpus.info.description, "prepare")
    for path in (tmp_path / "corpus").iterdir():
        if path.suffix != ".arrow":
            check(path.read_bytes(), path)
    whole = {row["id"]: row for row in corpus}
    assert (
        whole["ludb"]["report"] == SAID[0] and SAID[0] in whole["muse"]["report"] and SAID[1] in whole["scp"]["report"]
    )
    assert all(any(SAID[2] in text for text in row["statements"]) for row in corpus)
    assert {row["recorded_at"] for row in corpus} == {"2006-04-02T10:15:30"}

    caplog.clear()
    code, out, err = run(capfd, "prepare", "folder", telling, "-o", tmp_path / "again", *options, "--statements")
    assert code == 0 and f"not mapped: LUDB:{SAID[0]} (1 records)" in err
    check(caplog.text, "--statements")
    check((tmp_path / "again" / "report.txt").read_bytes(), "report.txt")
    for command, *more in (("questions", "-o", tmp_path / "questions"), ("audit", "--json")):
        source = tmp_path / ("corpus" if command == "questions" else "questions")
        code, out, err = run(capfd, command, source, *more)
        assert code == 0, err
        check(out + err + caplog.text, command)
    for row in load_from_disk(tmp_path / "questions"):
        check(json.dumps(row), "questions")


def test_tables_that_shift_a_name_into_another_column_do_not_quote_it(telling, tmp_path):
    from ecgllm.corpora import prepare

    columns = ("ecg_id", "patient_id", "strat_fold", "age", "scp_codes", "recording_date")
    for column in columns:
        row = {**dict.fromkeys(columns, "1"), "scp_codes": "{}", "recording_date": "", column: f"{NAME} 2006-04-02"}
        (tmp_path / "ptbxl_database.csv").write_text(",".join(row) + "\n" + ",".join(row.values()) + "\n")
        with pytest.raises(ValueError) as refused:
            prepare("ptbxl", tmp_path)
        assert "line 2" in str(refused.value), column
        check(str(refused.value) + chain(refused.value), column)
    for column in ("age", "sex", "split", "recorded_at", "findings", "atrial fibrillation"):
        (tmp_path / "labels.csv").write_text(f"file,{column}\nludb.hea,{NAME} 2006-04-02x\n")
        with pytest.raises(ValueError) as refused:
            prepare("folder", telling, table=tmp_path / "labels.csv")
        assert "line 2" in str(refused.value)
        check(str(refused.value) + chain(refused.value), column)


def test_a_librarys_log_is_silent_about_what_is_read_here(written, caplog):
    """pydicom logs what it warns of, here a name in the place of a character set."""

    def encoded(dataset):
        dataset.SpecificCharacterSet = "ISO_IR 100"

    content = written.dicom(written.microvolts(), extra=encoded).replace(b"ISO_IR 100", f"{NAME:<10}".encode())
    caplog.set_level(logging.DEBUG)
    assert any("Unknown encoding (not shown)" in note for note in read_ecg(content).notes)
    check(caplog.text, "pydicom")
    logging.getLogger("pydicom").warning("of another")
    assert "of another" in caplog.text
