"""Tables and JSON of corpora that are damaged, hostile or in another encoding: refused with file and line."""

import json

import pytest

from ecgllm.corpora import load_ecg_qa, prepare
from ecgllm.corpora.records.dataset_folders import saved_rows
from ecgllm.corpora.records.text_files import python_literal, read_json, table_rows
from ecgllm.errors_ecgllm import ECGError

TABLES = {
    "another encoding": ("a,b\n1,Kühl\n".encode("latin-1"), "no UTF-8 text"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "no UTF-8 text"),
    "a quote that is never closed": (b'a,b\n1,"' + b"x" * 200_000, "beyond line 1: field larger.*quote"),
    "too many cells": (b"a,b\n1,2\n1,2,3\n", "line 3: has more cells"),
    "a column twice": (b"a,b,a\n1,2,3\n", "has the column a twice"),
    "a column missing": (b"a,c\n1,2\n", "lacks the column b; it has a, c"),
    "nothing": (b"", "lacks the column a, b; it has none"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_that_cannot_be_read(tmp_path, name):
    content, match = TABLES[name]
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(ECGError, match=f"(?s)corpus X: .*t.csv.*{match}"):
        list(table_rows(tmp_path / "t.csv", ("a", "b"), "corpus X"))


def test_a_table_gives_text_for_every_cell(tmp_path):
    (tmp_path / "t.csv").write_bytes('\ufeffa;b\r\n1\r\n\r\n"x\r\ny";Kühl\r\n'.encode())
    rows = list(table_rows(tmp_path / "t.csv", ("a", "b"), "X", ";"))
    assert rows == [(2, {"a": "1", "b": ""}), (5, {"a": "x\r\ny", "b": "Kühl"})]


JSONS = {
    "deep": (b"[" * 100_000, "nested too deeply"),
    "deep objects": (b'{"a":' * 100_000, "nested too deeply"),
    "long number": (b"[" + b"9" * 10_000 + b"]", "no JSON: Exceeds the limit"),
    "another encoding": ('["Kühl"]'.encode("latin-1"), "no JSON.*utf-8"),
    "cut": (b'[{"a": 1}, {"b"', "no JSON"),
}


@pytest.mark.parametrize("name", JSONS)
def test_json_that_cannot_be_read(tmp_path, name):
    content, match = JSONS[name]
    (tmp_path / "train").mkdir()
    path = tmp_path / "train" / "t.json"
    path.write_bytes(content)
    for read in (read_json, load_ecg_qa):
        with pytest.raises(ECGError, match=match):
            read(path)


def test_numbers_that_no_column_holds(tmp_path):
    question = {"template_id": 1, "question_id": 1, "sample_id": 1 << 31, "question_type": "single-verify",
                "attribute_type": "noise", "question": "?", "answer": ["yes"], "ecg_id": [1]}  # fmt: skip
    (tmp_path / "train.json").write_text(json.dumps([question]))
    with pytest.raises(ECGError, match="sample_id is 2147483648; expected a number"):
        load_ecg_qa(tmp_path / "train.json")


@pytest.mark.parametrize("cell", ["-" * 15_000 + "1", "(" * 15_000, "[" * 15_000, "[1]", "1" * 30_000, "{}[0]", "{"])
def test_cells_that_spell_no_dict(cell):
    with pytest.raises(ECGError, match="is no Python dict") as raised:
        python_literal(cell, dict)
    assert len(str(raised.value)) < 200
    assert python_literal("{'NORM': 100.0}", dict) == {"NORM": 100.0}


# A row as published, and what is put into one of its cells.
PTBXL = {"ecg_id": "1", "patient_id": "2", "strat_fold": "3", "age": "61", "scp_codes": "{'NORM': 100.0}"}
CELLS = {"ecg_id": "1e400", "patient_id": "inf", "strat_fold": "x", "age": "old", "scp_codes": "-" * 5000 + "1"}


@pytest.mark.parametrize("column", CELLS)
def test_cells_of_ptbxl_that_cannot_be_right(tmp_path, column):
    row = {**PTBXL, column: CELLS[column]}
    (tmp_path / "ptbxl_database.csv").write_text(",".join(row) + "\n" + ",".join(f'"{cell}"' for cell in row.values()))
    with pytest.raises(ECGError, match="ptbxl_database.csv, line 2: "):
        prepare("ptbxl", tmp_path)


def test_short_rows_are_refused_by_their_line(tmp_path):
    (tmp_path / "ptbxl_database.csv").write_text("ecg_id,patient_id,strat_fold\n1\n")
    with pytest.raises(ECGError, match="line 2: "):
        prepare("ptbxl", tmp_path)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json"])
@pytest.mark.parametrize("content", [b"[" * 100_000, b"[]", b"\xff\xfe", b"{}", b"3"])
def test_a_saved_data_set_whose_description_is_damaged(tmp_path, name, content):
    from datasets import Dataset

    Dataset.from_dict({"a": [1]}).save_to_disk(tmp_path / "d")
    (tmp_path / "d" / name).write_bytes(content)
    try:
        saved_rows(tmp_path / "d")
    except (ECGError, FileNotFoundError) as error:
        assert str(tmp_path / "d") in str(error)
