"""`ecgllm evaluate` as a user meets it: forms of its arguments, what it prints, how it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sklearn.metrics import roc_auc_score

from ecgllm.cli import main
from ecgllm.corpora import load_corpus, save_corpus
from ecgllm.corpora.records.dataset_folders import save_rows
from ecgllm.evaluation.asking import read_predictions
from ecgllm.evaluation.material import Material

RATE = '''
"""Says yes where the heart is fast, by the distance of the largest peaks in lead II."""
import numpy as np

def answer(records, questions):
    found = []
    for own in records:
        if not own:
            found.append(0.5)
            continue
        lead = own[0].signal[list(own[0].leads).index("II")]
        steep = np.abs(np.diff(lead))
        found.append(float((steep > steep.max() / 3).mean() * 5 % 1))
    return found
'''


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return int(end.value.code or 0), out, err


@pytest.fixture(scope="module")
def folder(material: Material, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model in `model.py`, records in `corpus`, questions about them in `questions`."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "model.py").write_text(RATE)
    save_corpus(material.corpus.select(range(60)), folder / "corpus")
    kept = set(material.corpus["id"][:60])
    (folder / "questions").mkdir()
    save_rows(material.questions.filter(kept.issuperset, input_columns="ecg_ids"), folder / "questions", "arrow")
    return folder


def test_a_function_is_evaluated_and_its_figures_follow_from_the_predictions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"{folder / 'model.py'}:answer"
    arguments = ("evaluate", model, folder / "corpus", "-o", tmp_path / "report", "--questions", 300)
    code, out, err = run(capsys, *arguments, "--sections", "findings,reliance", "--least", 3, "--no-baselines")
    assert code == 0, err
    assert "report in" in out
    assert "Not known" in err
    report = (tmp_path / "report" / "report.md").read_text()
    assert "AUROC" in report
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    own = table[(table["section"] == "findings") & (table["attribute"] == "atrial fibrillation")]
    expected = roc_auc_score([one == ["yes"] for one in own["expected"]], own["p_yes"])
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    found = metrics["sections"]["findings"]["values"]["model"]["auroc"]["atrial fibrillation"]["value"]
    assert found == pytest.approx(expected, abs=1e-6)


def test_settings_of_a_model_are_its_kinds_own(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = f"{folder / 'model.py'}:answer"
    arguments = ("evaluate", model, folder / "corpus", "-o", tmp_path / "report", "--sections", "findings")
    for settings, message in (
        ("ecgs_as=picture", "no option of this kind of model; it has batch_size"),
        ("batch_size=0", "expected at least 1"),
        ("batch_size", "expected name=value"),
    ):
        code, _, err = run(capsys, *arguments, "--with", settings)
        assert code != 0 and message in " ".join(err.split()) and "Traceback" not in err


def test_a_question_set_is_asked_about_its_records(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = f"{folder / 'model.py'}:answer"
    code, out, err = run(
        capsys, "evaluate", model, folder / "questions", "--corpus", folder / "corpus", "-o", tmp_path / "report",
        "--sections", "questions", "--no-baselines", "--questions", 50,
    )  # fmt: skip
    assert code == 0, err
    assert "was not asked" in out
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    assert len(table) == 50


def test_questions_of_ones_own_are_asked(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [
        {"ecg_ids": [record_id], "question": "Is it fast?", "answers": "yes" if number % 2 else "no"}
        for number, record_id in enumerate(load_corpus(folder / "corpus")["id"][:20])
    ]
    (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    arguments = (f"{folder / 'model.py'}:answer", tmp_path / "mine.jsonl", "--corpus", folder / "corpus")
    more = ("-o", tmp_path / "report", "--sections", "questions,reliance", "--no-baselines")
    code, out, err = run(capsys, "evaluate", *arguments, *more)
    assert code == 0, err
    assert "with a random patient's ECG" in out
    table = read_predictions(tmp_path / "report" / "predictions.parquet")
    assert table[table["section"] == "questions"]["type"].eq("verify").sum() == 20
    for added, message in (
        (rows[:1], r"stands in the set 2 times"),
        ([{**rows[0], "ecg_ids": "q"}], r"such as q: it"),
    ):
        (tmp_path / "mine.jsonl").write_text("\n".join(map(json.dumps, rows + added)))
        code, _, err = run(capsys, "evaluate", *arguments, "-o", tmp_path / "other")
        assert code == 2 and re.search(message, err), err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.py:answer", "corpus"), r"nothing\.py"),
        (("model.py:answer", "elsewhere"), "elsewhere"),
        (("model.py:answer", "ptbxll=somewhere"), "no corpus; known are"),
        (("model.py:answer", "corpus", "--sections", "readings"), "no section is called readings"),
        (("model.py:answer", "corpus", "--sections", ""), "no section is named; there are reliance"),
        (("model.py:answer", "elsewhere", "--margin", "2"), "margin is 2.0; expected a gain"),
        (("model.py:answer", "elsewhere", "--questions", "0"), "Invalid value"),
        (("model.py:answer", "corpus", "--trained-records", "no.parquet"), r"no\.parquet is no file"),
        (("model.py:answer", "simulation=many"), "names no number of simulated ECGs"),
        (("model.py:answer", "corpus", "--sections", "groups"), "groups reads the answers of questions"),
        (("model.py:answer", "corpus", "--split", "holdout"), "no record is of the split 'holdout'"),
        (("model.py:answer", "questions"), "no corpus"),
        (("model.py:answer", "corpus", "--card"), r"no folder with a README\.md"),
        (("model.py:answer", "corpus", "--card-of", "nowhere"), "--card-of is for folds:FOLDER"),
        (("model.py:answer", "corpus", "--card", "--card-of", "nowhere"), "leave one out"),
        (("folds:corpus", "corpus"), "holds 0 finished runs"),
        (("model.py:other", "elsewhere"), r"model\.py has no 'other'"),  # before any record is looked for
    ],
)
def test_refusals_name_what_was_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    code, _, err = run(capsys, "evaluate", *arguments, "-o", tmp_path / "report")
    assert code == 2
    assert re.search(message, err), err
    assert not (tmp_path / "report" / "index.html").exists()


SLEEPS = """
import os, pathlib, time

def answer(records, questions):
    here = pathlib.Path(__file__)
    here.with_name(f"{os.getpid()}.pid").touch()
    if not here.with_name("fast").exists():
        time.sleep(0.5)
    return ["no"] * len(questions)
"""


@pytest.mark.slow
def test_processes_end_with_the_one_that_was_killed_and_the_run_goes_on(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text(SLEEPS)
    options = ["--sections", "questions,findings", "--no-baselines", "--processes", "2"]
    model, report = f"{tmp_path / 'model.py'}:answer", tmp_path / "report"
    command = [sys.executable, "-m", "ecgllm.cli", "evaluate", model, folder / "corpus", "-o", report, *options]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    answers = report / "answers"
    waited_for(lambda: len(list(tmp_path.glob("*.pid"))) == 2 and any(answers.glob("*.parquet")))
    started.kill()
    started.wait()
    children = [int(path.stem) for path in tmp_path.glob("*.pid")]
    waited_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))
    done = len(list(answers.glob("*.parquet")))
    (tmp_path / "fast").touch()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert done and (report / "index.html").is_file()


def waited_for(happens: Callable[[], bool], seconds: float = 400) -> None:
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
