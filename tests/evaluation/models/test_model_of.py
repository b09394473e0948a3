"""From what a person names to a model: each kind, and names and options of none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ecgllm import ECGError
from ecgllm.evaluation.models import model_of, stated_options
from ecgllm.evaluation.models.checkpoint import CheckpointModel
from ecgllm.evaluation.models.endpoint import EndpointModel
from ecgllm.evaluation.models.function import FunctionModel
from ecgllm.evaluation.models.program import ProgramModel
from ecgllm.shipped import shipped_checkpoint


def test_each_kind_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("def answer(records, questions):\n    return [0.5] * len(questions)\n")
    checkpoint = model_of(shipped_checkpoint(), batch_size=3, language_model=None, trust_remote_code=False)
    assert isinstance(checkpoint, CheckpointModel) and (checkpoint.name, checkpoint.batch_size) == ("ecgllm-tiny", 3)
    assert isinstance(model_of("mine.py:answer", trust_remote_code=False), FunctionModel)
    program = model_of(f"program:{sys.executable} -m x --flag 'a b'", ecgs_as="path")
    assert isinstance(program, ProgramModel) and program.command[1:] == ["-m", "x", "--flag", "a b"]
    endpoint = model_of("https://host:8000/v1#org/name", ecgs_as="picture", say_choice=False)
    assert isinstance(endpoint, EndpointModel) and (endpoint.model, endpoint.say_choice) == ("org/name", False)
    assert model_of("https://host/v1#x", more={"seed": 1}, timeout_s=5, name="it").name == "it"
    with pytest.raises(ECGError, match="nan_policy is 'guess'; expected one of 'raise'"):
        model_of(shipped_checkpoint(), nan_policy="guess")


def test_options_of_a_command() -> None:
    assert stated_options(["ecgs_as=picture", "at_once=8", "say_choice=false", "more={seed: 1}", "name=a=b"]) == {
        "ecgs_as": "picture", "at_once": 8, "say_choice": False, "more": {"seed": 1}, "name": "a=b",
    }  # fmt: skip
    for text in ("picture", "=1", "a b=1", "more={"):
        with pytest.raises(ECGError):
            stated_options([text])
    with pytest.raises(ECGError, match="found 'x=2' after another of it"):
        stated_options(["x=1", "x=2"])


@pytest.mark.parametrize(
    ("spec", "options", "message"),
    [
        ("https://host/v1", {}, "names no model; expected https://host/v1#NAME"),
        ("gpt-4", {}, "is no model, and no folder; expected FOLDER"),
        ("program:", {}, "is no model"),
        ("org/name", {}, "needs --trust-remote-code"),
        ("pipeline:no/such", {}, "no/such cannot be loaded"),
        (
            "program:x",
            {"batch_size": 3},
            "batch_size: no option of this kind of model; it has ecgs_as, keep, timeout_s, name",
        ),
        ("program:'x", {}, "cannot be split as a shell does: No closing quotation"),
        ("program:x", {"timeout_s": "long"}, "timeout_s is 'long'; expected a number"),
        ("program:x", {"timeout_s": -1}, "timeout_s is -1; expected seconds, more than 0"),
        ("program:x", {"keep": 1}, "keep is 1; expected true or false"),
        ("https://host/v1#x", {"at_once": True}, "at_once is True; expected a whole number"),
        ("pipeline:x", {"pipe": "y"}, "pipe: no option"),
        ("pipeline:x", {"ecgs_as": "picture"}, "ecgs_as: no option .* it has .*max_new_tokens"),
    ],
)
def test_names_and_options_of_none(spec: str, options: dict, message: str) -> None:
    with pytest.raises(ECGError, match=f"(?s){message}"):
        model_of(spec, **options)
