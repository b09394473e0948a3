"""Questions of somebody's own as a question set."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ecgllm.corpora import QUESTION_FEATURES
from ecgllm.corpora.questions.given import read_questions
from ecgllm.errors_ecgllm import ECGError

ROWS = [
    {"ecg_ids": ["a"], "question": "Is it regular?", "answers": "Yes"},
    {"ecg_ids": "b", "question": "Is it regular?", "answers": ["no"]},
    {"ecg_ids": ["a"], "question": "What is it?", "answers": ["Sinus Rhythm", "atrial flutter", "sinus rhythm"]},
    {"ecg_ids": ["a", "b"], "question": "What is new?", "answers": [], "type": "comparison", "template": "new"},
]


def test_what_a_question_lacks_is_filled_in(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("\n\n".join(map(json.dumps, ROWS)))
    found = read_questions(tmp_path / "mine.jsonl")
    assert found.features == QUESTION_FEATURES
    assert found["answers"][:] == [["yes"], ["no"], ["atrial flutter", "sinus rhythm"], ["none"]]
    assert found["ecg_ids"][:] == [["a"], ["b"], ["a"], ["a", "b"]]
    assert found["type"][:] == ["verify", "verify", "query", "comparison"]
    assert found["template"][:] == ["own", "own", "own", "new"]
    assert found["attribute"][:2] == ["is it regular?"] * 2 and len(set(found["question_id"])) == 4
    lists = zip(found["ecg_ids"], found["answers"], strict=True)
    empty = {"type": None, "template": None}  # a table has all columns in all rows
    rows = [
        empty | row | {"ecg_ids": ids, "answers": answers} for row, (ids, answers) in zip(ROWS, lists, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    assert read_questions(tmp_path / "mine.parquet").to_list() == found.to_list()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no question"),
        ("question,answers", r"line 1: found 'question,answers' .* expected JSON lines"),
        ('{"question": "Is it?"}', "question 1: found .* expected ecg_ids, question, answers"),
        ('{"ecg_ids": [], "question": "Is it?", "answers": "yes"}', "about 0 ECGs; expected one or two"),
        ('{"ecg_ids": ["a"], "question": " ", "answers": "yes"}', "expected its words"),
        ('{"ecg_ids": ["a"], "question": "Is it?", "answers": true}', "answers is True; expected texts"),
    ],
)
def test_what_is_no_question_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text(text)
    with pytest.raises(ECGError, match=message):
        read_questions(tmp_path / "mine.jsonl")
