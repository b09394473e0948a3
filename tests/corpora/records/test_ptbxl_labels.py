"""PTB-XL's published label sets, against labels that another group made of them, and findings as labels."""

import ast

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset

from ecgllm.corpora import finding_labels, prepare, ptbxl_labels
from ecgllm.corpora.records.sources.ptbxl_labels import PTBXL_CLASSES, classes_of
from ecgllm.errors_ecgllm import ECGError

CORPUS = Dataset.from_dict(
    {
        "id": ["a", "b", "c", "d", "e"],
        "split": ["train", "validation", "test", "train", "train"],
        "statements": [
            ["SCP:NORM:100", "SCP:SR:0", "PTBXL:noise:none"],
            ["SCP:IPLMI:15", "SCP:LAFB:100", "SCP:ABQRS:0"],  # a likelihood of 15 counts as one of 100 does
            ["SCP:AFIB:0"],
            [],
            ["SCP:NDT:100", "SCP:1AVB:50"],
        ],
    }
)


def test_classes_are_those_of_the_benchmark() -> None:
    """Strodthoff et al. 2020, table 1: 71 statements, 44 of them diagnostic, in 23 subclasses and 5 superclasses, 19
    of form (4 of them diagnostic, too) and 12 of rhythm."""
    assert {task: len(names) for task, names in PTBXL_CLASSES.items()} == {
        "super": 5, "sub": 23, "diagnostic": 44, "form": 19, "rhythm": 12, "all": 71,
    }  # fmt: skip
    assert len(set(PTBXL_CLASSES["diagnostic"]) & set(PTBXL_CLASSES["form"])) == 4


@pytest.mark.parametrize(
    ("task", "kept", "borne"),
    [
        ("super", "abe", [{"NORM"}, {"MI", "CD"}, {"STTC", "CD"}]),
        ("sub", "abe", [{"NORM"}, {"IMI", "LAFB/LPFB"}, {"STTC", "_AVB"}]),
        ("diagnostic", "abe", [{"NORM"}, {"IPLMI", "LAFB"}, {"NDT", "1AVB"}]),
        ("form", "be", [{"ABQRS"}, {"NDT"}]),
        ("rhythm", "ac", [{"SR"}, {"AFIB"}]),
        ("all", "abce", [{"NORM", "SR"}, {"IPLMI", "LAFB", "ABQRS"}, {"AFIB"}, {"NDT", "1AVB"}]),
    ],
)
def test_records_without_a_class_of_the_task_take_no_part(task: str, kept: str, borne: list[set[str]]) -> None:
    labelled, names = ptbxl_labels(CORPUS, task)
    assert names == PTBXL_CLASSES[task] == tuple(sorted(names)) and "".join(labelled["id"]) == kept
    found = [{name for name, one in zip(names, row, strict=True) if one} for row in labelled["labels"]]
    assert found == borne and all(len(row) == len(names) for row in labelled["labels"])
    assert labelled["split"][0] == CORPUS["split"]["abcde".index(kept[0])]


def test_rows_of_a_published_split_tell_of_some_tasks_only(caplog) -> None:
    with_codes = CORPUS.select([0])
    rows = [*with_codes["statements"], ["PTBXL:class:MI", "PTBXL:class:AMI", "SCP:LVH", "SCP:SR"]]
    corpus = Dataset.from_dict({"id": ["a", "p"], "split": ["train", "test"], "statements": rows})
    labelled, names = ptbxl_labels(corpus, "super")
    assert [name for name, one in zip(names, labelled["labels"][1], strict=True) if one] == ["HYP", "MI"]
    assert list(ptbxl_labels(corpus, "rhythm")[0]["id"]) == ["a", "p"] and not caplog.records
    for task in ("sub", "diagnostic", "all"):
        assert list(ptbxl_labels(corpus, task)[0]["id"]) == ["a"]
        assert f"1 of 2 records have the labels of a published split and no SCP codes, by which the task '{task}'" in (
            caplog.text
        )


@pytest.mark.parametrize(
    ("corpus", "task", "said"),
    [
        (CORPUS, "superclass", "there is no task 'superclass' of PTB-XL; expected one of super, sub"),
        (CORPUS.remove_columns("statements"), "super", "lacks the column statements"),
        (CORPUS.select([2, 3]), "super", "not one of 2 records bears a class of the task 'super'"),
    ],
)
def test_what_has_no_such_labels_is_refused(corpus: Dataset, task: str, said: str) -> None:
    with pytest.raises(ECGError, match=said):
        ptbxl_labels(corpus, task)


def test_the_table_gives_the_labels_that_others_made(shared_data) -> None:
    """The labels are MERL's; six of the records have other codes in the table at hand."""
    theirs = pd.read_parquet(shared_data / "ptbxl" / "merl_labels_21799.parquet").set_index("ecg_id")
    rows = pd.read_parquet(shared_data / "ptbxl" / "metadata_10356.parquet").set_index("ecg_id")
    rows = rows.loc[rows.index.intersection(theirs.index)]
    statements = [
        [f"SCP:{code}:{likelihood:g}" for code, likelihood in ast.literal_eval(codes).items()]
        for codes in rows["scp_codes"]
    ]
    for task, column in (("super", "super_class"), ("sub", "sub_class"), ("form", "form"), ("rhythm", "rhythm")):
        expected = [set(text.split(";")) - {""} for text in theirs.loc[rows.index, column]]
        found = [{name.strip("_") for name in classes_of(own, task)} for own in statements]
        differ = sum(one != other for one, other in zip(found, expected, strict=True))
        assert differ <= 6 and len(found) > 10_000, task


def test_records_as_prepared_have_them(shared_data) -> None:
    corpus = prepare("ptbxl", shared_data / "ptbxl")
    theirs = pd.read_parquet(shared_data / "ptbxl" / "merl_labels_21799.parquet").set_index("ecg_id")
    labelled, names = ptbxl_labels(corpus, "super")
    for record_id, own in zip(labelled["id"], labelled["labels"], strict=True):
        expected = theirs.loc[int(record_id.removeprefix("ptbxl-")), "super_class"]
        assert {name for name, one in zip(names, own, strict=True) if one} == set(expected.split(";")), record_id


def test_what_a_source_never_states_is_not_known() -> None:
    corpus = Dataset.from_dict(
        {
            "findings": [
                ["atrial fibrillation"],
                ["sinus rhythm"],
                ["left ventricular hypertrophy"],
                ["sinus rhythm"],
            ],
            "source": ["one", "one", "two", "two"],
        }
    )
    labelled, names = finding_labels(corpus, ["atrial fibrillation", "left ventricular hypertrophy"])
    np.testing.assert_array_equal(labelled["labels"], [[1, np.nan], [0, np.nan], [np.nan, 1], [np.nan, 0]])
    frequent, names = finding_labels(corpus, least=1)
    assert "sinus rhythm" in names and np.shape(frequent["labels"]) == (4, len(names))
    with pytest.raises(ECGError, match="no record's source states pericarditis"):
        finding_labels(corpus, ["pericarditis"])
    with pytest.raises(ECGError, match="no finding holds of 10 of the 4 records"):
        finding_labels(corpus)
