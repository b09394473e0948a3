"""Functions behind the protocol: what they are given, what they may give, and how others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ecgllm import ECGError
from ecgllm.evaluation.models.function import FunctionModel, load_function
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG

YES_NO = ("yes", "no")
A, B = ShownECG("a"), ShownECG("b")


def test_a_function_is_given_ecgs_without_identity_and_questions(shown: Any) -> None:
    calls = []

    def answer(records: Any, questions: Any, candidates: Any, findings: Any) -> list[str]:
        calls.append((records, questions, candidates, findings))
        return ["yes"] * len(questions)

    model = FunctionModel(answer, batch_size=2)
    asked = [Asked("One?", (A,), YES_NO, finding="pacing"), Asked("Two?", (A, B)), Asked("None?", ())]
    assert model.answer(asked, shown) == [Answer("yes")] * 3 and model.name == "answer"
    (records, questions, candidates, findings), (rest, *_) = calls
    assert questions == ["One?", "Two?"] and candidates == [YES_NO, None] and findings == ["pacing", None]
    assert [len(own) for own in records] == [1, 2] and rest == [[]]
    np.testing.assert_array_equal(records[1][1].signal, shown[B].signal)
    assert records[0][0].id is None and records[0][0].findings is None


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("no ", Answer("no")),
        (0.75, Answer("yes", {"yes": 0.75, "no": 0.25})),
        (np.float32(0.5), Answer("no", {"yes": 0.5, "no": 0.5})),
        (torch.tensor(1.0), Answer("yes", {"yes": 1.0, "no": 0.0})),
        (np.bool_(True), Answer("yes")),
        ({"no": 3.0, "yes": 1}, Answer("no", {"yes": 0.25, "no": 0.75})),
        (None, Answer(None, refused="it gave no answer")),
        (Answer("no", refused="blurred"), Answer("no", refused="blurred")),
    ],
)
def test_what_a_function_may_give(given: Any, expected: Answer, shown: Any) -> None:
    assert FunctionModel(lambda records, questions: [given]).answer([Asked("?", (A,), YES_NO)], shown) == [expected]


def test_scores_may_be_an_array(shown: Any) -> None:
    asked = [Asked("?", (A,), YES_NO), Asked("?", (B,))]
    answers = FunctionModel(lambda records, questions: np.array([0.25, 1])).answer(asked, shown)
    assert [answer.scores["yes"] for answer in answers] == [0.25, 1.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["yes"], "gave 1 answers to 2 questions"),
        ("yes", "gave a str"),
        (None, "gave a NoneType"),
        ([0.5, 1.2], r"question 2 \('Second\?'\): P\(yes\) is 1.2; expected a number from 0 to 1"),
        ([0.5, float("nan")], "is nan"),
        ([0.5, {"yes": -1.0, "no": 2.0}], "no logits"),
        ([0.5, {"yes": 1.0}], "probabilities of 'yes'; expected one of each of 'yes', 'no'"),
        ([0.5, {"yes": 0, "no": 0}], "all probabilities are 0"),
        ([0.5, ["yes"]], "found a list"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: Any, message: str, shown: Any) -> None:
    asked = [Asked("First?", (A,), YES_NO), Asked("Second?", (A,), YES_NO)]
    with pytest.raises(ECGError, match=message):
        FunctionModel(lambda records, questions: given, name="mine").answer(asked, shown)


def test_a_number_is_no_answer_to_a_choice(shown: Any) -> None:
    with pytest.raises(ECGError, match="which is P.yes.; the answers to choose from are 'left', 'right'"):
        FunctionModel(lambda records, questions: [0.5]).answer([Asked("?", (A,), ("left", "right"))], shown)


def test_the_functions_own_error_is_a_sentence_and_keeps_its_traceback(shown: Any, tmp_path: Path) -> None:
    def broken(records: Any, questions: Any) -> Any:
        return 1 / 0

    with pytest.raises(ECGError, match=r"^broken raised ZeroDivisionError: division by zero \(line \d+\)$") as raised:
        FunctionModel(broken).answer([Asked("?", (A,))], shown)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)
    for code, message in (
        ("import no_such_module_here", "raised ModuleNotFoundError: No module named 'no_such_module_here'"),
        ("def answer(:", "raised SyntaxError"),
        ("import sys; sys.exit(3)", r"raised SystemExit: 3 \(line 1\)"),
    ):
        (tmp_path / "theirs.py").write_text(code)
        with pytest.raises(ECGError, match=message):
            load_function(f"{tmp_path}/theirs.py:answer")


def test_functions_by_name(shown: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "neighbour_of_it.py").write_text("SURE = 0.125\n")
    (tmp_path / "mine_all.py").write_text(
        "from neighbour_of_it import SURE\ndef answer(records, questions):\n    return [SURE] * len(questions)\n"
    )
    monkeypatch.chdir(tmp_path)
    for spec in ("mine_all.py:answer", f"{tmp_path}/mine_all.py:answer", "mine_all:answer"):
        model = load_function(spec)
        assert model.name == spec and model.answer([Asked("?", (A,), YES_NO)], shown)[0].scores["yes"] == 0.125
    for spec, message in (
        ("mine_all.py:other", "no 'other'; it has answer"),
        ("missing.py:answer", "missing.py is no file"),
        ("no_such_module_here:answer", "no module 'no_such_module_here'"),
        ("mine_all.py", "names no function"),
    ):
        with pytest.raises(ECGError, match=message):
            load_function(spec)
