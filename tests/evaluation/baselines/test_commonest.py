"""The commonest answer, and the question alone: what other patients' rows tell, and nothing of the own."""

import numpy as np
import pandas as pd

from ecgllm.evaluation.baselines import commonest, question_only
from ecgllm.evaluation.baselines.folds import held_out
from ecgllm.evaluation.predictions import planned


def asked(expected: list[list[str]], **columns: object) -> pd.DataFrame:
    """A row a patient."""
    base = {"section": "findings", "template": "verify-finding", "attribute": "atrial fibrillation", "type": "verify",
            "question": "Does this ECG show atrial fibrillation?", "finding": "atrial fibrillation"}  # fmt: skip
    return planned(
        [
            base | {"record_ids": [f"r{number}"], "patients": [f"p{number}"], "expected": answer} | columns
            for number, answer in enumerate(expected)
        ]
    )


def test_folds_ask_every_row_once_and_share_no_patient() -> None:
    patients = [["a"], ["a", "b"], ["c"], ["d", "e"], ["f"], ["b", "c"]] + [[f"x{n}"] for n in range(20)]
    asked_rows = []
    for rows, others in held_out(patients):
        asked_rows += rows.tolist()
        own = {name for row in rows for name in patients[row]}
        assert not own & {name for row in others for name in patients[row]}
    assert sorted(asked_rows) == list(range(len(patients)))


def test_commonest_answer_is_that_of_the_template() -> None:
    rows = asked([["no"]] * 30 + [["yes"]] * 10)
    rows.index = rows.index + 100
    found = commonest.answers(rows, None)
    assert list(found.index) == list(rows.index)
    assert all(answer == ["no"] for answer in found["answers"])
    assert np.allclose(found["p_yes"], 0.25)


def test_commonest_answer_is_never_below_a_half_of_yes_and_no() -> None:
    rows = pd.concat(
        [asked([["yes"]] * 3 + [["no"]] * 3), asked([["yes"]] * 2 + [["no"]] * 2, attribute="av block")],
        ignore_index=True,
    )
    found = commonest.answers(rows, None)
    assert (found["answers"].map(tuple) == rows["expected"].map(tuple)).mean() == 0.5
    listed = asked([["sinus rhythm"]], template="query-rhythm", type="query")
    assert commonest.answers(listed, None)["answers"][0] == ["sinus rhythm"]
    assert np.isnan(commonest.answers(listed, None)["p_yes"][0])


def test_sections_are_counted_each_by_itself() -> None:
    rows = pd.concat([asked([["yes"]] * 20, section="questions"), asked([["no"]] * 40)], ignore_index=True)
    found = commonest.answers(rows, None)
    assert found["answers"][0] == ["yes"] and found["answers"][30] == ["no"]


def test_words_that_tell_the_answer_are_found() -> None:
    telling = pd.concat(
        [asked([["yes"]] * 20, question="Surely atrial fibrillation?"), asked([["no"]] * 20, question="Any at all?")],
        ignore_index=True,
    )
    telling["patients"] = [[f"p{number}"] for number in range(40)]
    found = question_only.answers(telling, None)
    assert (found["answers"].map(tuple) == telling["expected"].map(tuple)).mean() > 0.95
    assert found["p_yes"][:20].mean() > 0.9 > 0.1 > found["p_yes"][20:].mean()


def test_balanced_words_tell_nothing() -> None:
    found = question_only.answers(asked([["yes"], ["no"]] * 20), None)
    assert np.allclose(found["p_yes"], 0.5, atol=0.2)


def test_other_answers_come_from_the_same_words_of_other_patients() -> None:
    rows = asked([["sinus rhythm"]] * 30, template="query-rhythm", type="query", attribute="rhythm", finding=None)
    found = question_only.answers(rows, None)
    assert all(answer == ["sinus rhythm"] for answer in found["answers"])
    assert found["p_yes"].isna().all()
