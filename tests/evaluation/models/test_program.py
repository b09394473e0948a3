"""Programs behind the protocol: JSON lines there and back, and every way in which a program can fail."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ecgllm import ECGError
from ecgllm.evaluation.models.program import ProgramModel
from ecgllm.evaluation.protocol import Answer, Asked, ShownECG

YES_NO = ("yes", "no")
A, B = ShownECG("a"), ShownECG("b")
ASKED = [Asked("One?", (A,), YES_NO, finding="pacing"), Asked("Two?", (A, B))]


def program(folder: Path, code: str, **options: Any) -> ProgramModel:
    (folder / "model.py").write_text(f"import base64, json, struct, sys, time\n{code}")
    return ProgramModel([sys.executable, "-I", "-S", str(folder / "model.py")], **options)


def test_samples_come_as_they_are_and_answers_in_any_order(shown: Any, tmp_path: Path) -> None:
    model = program(tmp_path, """
for line in reversed(sys.stdin.readlines()):
    asked = json.loads(line)
    ecg = asked["ecgs"][-1]
    values = struct.unpack(f"<{len(ecg['leads']) * ecg['samples']}f", base64.b64decode(ecg["signal"]))
    said = [asked[name] for name in ("question", "candidates", "finding")]
    said += [ecg["sampling_rate"], len(asked["ecgs"]), values[0]]
    print(json.dumps({"id": asked["id"], "answer": json.dumps(said), "probability": 0.5}))
""")  # fmt: skip
    first, second = model.answer(ASKED, shown)
    rate = shown[A].sampling_rate
    assert json.loads(first.text) == ["One?", ["yes", "no"], "pacing", rate, 1, float(shown[A].signal[0, 0])]
    assert json.loads(second.text) == ["Two?", None, None, rate, 2, float(shown[B].signal[0, 0])]
    assert first.probability == 0.5 and first.refused is None


@pytest.mark.parametrize(("form", "read"), [("csv", 'e["csv"]'), ("path", 'open(e["path"]).read()')])
def test_tables(form: str, read: str, shown: Any, tmp_path: Path) -> None:
    model = program(tmp_path, f"""
for line in sys.stdin:
    asked = json.loads(line)
    heads = [{read}.splitlines()[:3] for e in asked["ecgs"]]
    paths = [e.get("path", "") for e in asked["ecgs"]]
    print(json.dumps({{"id": asked["id"], "answer": json.dumps(heads + paths)}}), flush=True)
""", ecgs_as=form)  # fmt: skip
    first, second = (json.loads(answer.text) for answer in model.answer(ASKED, shown))
    assert first[0] == ["# sampling_rate: 100", "# unit: mV", ",".join(shown[A].leads)]
    assert first[1] == second[2] and "48151" not in first[1] and not Path(first[1] or "/none").exists()


def test_kinds_of_answers(shown: Any, tmp_path: Path) -> None:
    model = program(tmp_path, """
given = [{"p_yes": 0.75}, {"scores": {"yes": 1, "no": 3}}, {"answer": "no", "refused": "blurred"}, {"answer": None},
         {"answer": "Yes, surely", "p_yes": 0.5}]
for line, one in zip(sys.stdin, given):
    print(json.dumps(one | {"id": json.loads(line)["id"]}))
""")  # fmt: skip
    assert model.answer([Asked("?", (), YES_NO)] * 5, shown) == [
        Answer("yes", {"yes": 0.75, "no": 0.25}),
        Answer("no", {"yes": 0.25, "no": 0.75}),
        Answer("no", refused="blurred"),
        Answer(None, refused="it gave no answer"),
        Answer("Yes, surely", {"yes": 0.5, "no": 0.5}),
    ]


ECHO = 'for line in sys.stdin: print(json.dumps({"id": json.loads(line)["id"], "answer": "yes"}))\n'


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            'sys.stderr.write("no weights found"); sys.exit(3)',
            r"0 of 2 questions and ended with exit code 3.*no weights",
        ),
        (
            ECHO.replace("sys.stdin", "list(sys.stdin)[:1]"),
            "1 of 2 questions; .* without one is id 1. It wrote no error",
        ),
        (ECHO + "sys.exit(1)", "answered all questions and ended with exit code 1"),
        ('print("loading ...")', "'loading ...' as line 1; expected a JSON object .* standard error"),
        ('print("[1]")', "as line 1; expected a JSON object"),
        ('print(\'{"id": 7, "answer": "yes"}\')', "the id 7 in line 1; expected that of a question, 0 to 1"),
        ('print(\'{"answer": "yes"}\')', "the id None"),
        ('print(\'{"id": 0, "text": "yes"}\')', "wrote 'text' in line 1; expected some of answer, p_yes"),
        ('print(\'{"id": 0, "answer": ["yes"]}\')', "answer is .* expected a text or null"),
        ('print(\'{"id": 0, "p_yes": 7}\')', "line 1, id 0: P.yes. is 7.0; expected a number from 0 to 1"),
        (ECHO + 'print(\'{"id": 0, "answer": "no"}\')', "answered id 0 twice"),
        ("time.sleep(60)", "wrote nothing for 1 s"),
    ],
)
def test_what_goes_wrong_is_said(code: str, message: str, shown: Any, tmp_path: Path) -> None:
    model = program(tmp_path, code, timeout_s=1.0 if "sleep" in code else 60.0)
    with pytest.raises(ECGError, match=f"(?s){message}"):
        model.answer(ASKED, shown)


def test_a_program_that_answers_while_it_reads_never_waits_for_its_reader(shown: Any, tmp_path: Path) -> None:
    model = program(
        tmp_path, 'for line in sys.stdin: print(json.dumps({"id": json.loads(line)["id"], "answer": "x" * 9999}))'
    )
    answers = model.answer([Asked("?", (B,))] * 40, shown)  # more than pipes hold, both ways
    assert len(answers) == 40 and {len(answer.text) for answer in answers} == {9999}


def test_a_program_that_is_kept_is_started_once(shown: Any, tmp_path: Path) -> None:
    model = program(tmp_path, """
import os
for line in sys.stdin:
    asked = json.loads(line)
    if asked["question"] == "Die?":
        sys.exit("gone")
    print(json.dumps({"id": asked["id"], "answer": f"{os.getpid()} {asked['id']}"}), flush=True)
""", keep=True)  # fmt: skip
    first, second = (model.answer(ASKED, shown) for _ in range(2))
    assert [answer.text.split()[1] for answer in first + second] == ["0", "1", "2", "3"]
    assert len({answer.text.split()[0] for answer in first + second}) == 1
    with pytest.raises(ECGError, match="(?s)1 of 2 questions and ended with exit code 1; .* is id 5. .*gone"):
        model.answer([ASKED[0], Asked("Die?", ())], shown)
    assert model.answer(ASKED, shown)[0].text.split()[1] == "0"  # started anew
    process = model._running.process
    del model
    assert process.poll() is not None  # it does not stay behind


@pytest.mark.parametrize("keep", [True, False])
def test_an_ecg_that_cannot_be_shown_is_the_error(keep: bool, shown: Any, tmp_path: Path) -> None:
    model = program(tmp_path, ECHO.replace("}))", "}), flush=True)"), keep=keep, timeout_s=20.0)
    with pytest.raises(KeyError, match="missing"):
        model.answer([*ASKED, Asked("Three?", (ShownECG("missing"),))], shown)


def test_commands_that_are_none() -> None:
    for command, message in (("", "is empty"), ("no-such-program-here --x", "cannot be started")):
        with pytest.raises(ECGError, match=message):
            ProgramModel(command).answer(ASKED[:1], {A: None})
