"""The demo says what it is, asks about one ECG, two, and a file in unseen paraphrases, and by request trains, once."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgllm import shipped
from ecgllm.corpora import VOCABULARY
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.signals import ECGReadError
from ecgllm.signals.simulation import simulate_ecg
from ecgllm.training import demo, recipe_loading

SMALL = [
    "limit=60",
    "stages.debias.questions.per_record=1",
    "stages.finetune.questions.per_record=1",
    *(f"stages.{stage}.batch_size=16" for stage in ("pretrain", "debias", "finetune")),
    *(f"stages.{stage}.training.max_steps=2" for stage in ("pretrain", "debias", "finetune")),
    "stages.debias.evaluate=4",
    "stages.finetune.evaluate=4",
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    record = simulate_ecg(seed=3)
    wfdb.wrsamp(
        "case", 100, ["mV"] * 12, list(record.leads), p_signal=record.signal.T.astype(np.float64), fmt=["16"] * 12,
        write_dir=str(tmp_path),
    )  # fmt: skip
    return tmp_path / "case.hea"


@pytest.mark.slow
def test_it_trains_once_and_asks_about_one_two_and_a_file(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = recipe_loading.load_recipe
    monkeypatch.setattr(recipe_loading, "load_recipe", lambda name, overrides: load(name, [*overrides, *SMALL]))
    demo.run_demo(file, True, tmp_path / "run")
    said = capsys.readouterr().out
    assert said.count("Not a medical device") == 2  # before the answers, and after those about the file
    assert said.count("; label: yes") == said.count("; label: no") == 4
    one, two = said.index("About one simulated ECG at a time"), said.index("About two simulated ECGs at a time")
    assert one < two < said.index(f"About {file} (12 leads, 10 s at 100 Hz)")
    assert re.search(r"learned from \d+ simulated ECGs, no patient's data", said)
    assert f"--model {tmp_path / 'run'}" in said

    weights = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    demo.run_demo(None, True, tmp_path / "run")
    again = capsys.readouterr().out
    assert "done before" in again
    assert "About " + str(file) not in again
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == weights


def test_the_model_that_ships_is_asked_and_nothing_trained(
    tmp_path: Path,
    file: Path,
    tiny_llm: Callable,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model, processor = tiny_llm(trained_on="two simulated ECGs")
    for part in (model, processor):
        part.save_pretrained(tmp_path / "tiny")
    monkeypatch.setattr(shipped, "TINY", tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    demo.run_demo(file)
    said = capsys.readouterr().out
    assert said.count("This small model learned from two simulated ECGs.") == said.count("Not a medical device") == 2
    assert said.count("; label: yes") == said.count("; label: no") == 4
    about = said[said.index(f"About {file}") :]
    assert len(re.findall(r"\?  +(?:yes|no) +\(\d+%\)", about)) == 8
    assert "  measured, not by the model: " in about
    assert re.search(r"lead II, 5 s:\n(  [\u2800-\u28ff]+\n){6}", about)
    assert re.search(r"  findings, by P\(yes\) beside P\(no\), of \d+ asked about: ", about)
    assert "--model" not in said
    assert not (tmp_path / "runs").exists()


def test_its_paraphrases_are_not_trained_on() -> None:
    def pattern(paraphrase: str) -> str:
        # "{finding}?" fits any question, if anything may stand for a finding.
        named = re.escape(paraphrase).replace(r"\{finding\}", findings)
        return re.sub(r"\\{\w+\\}", ".+", named)

    findings = f"(?:{'|'.join(map(re.escape, VOCABULARY))})"

    asked = {question for _, question, _ in demo._SIMULATED} | {*demo._OF_A_FILE, demo._FREELY}
    for question in asked:
        sets = {
            name
            for template in PARAPHRASES.values()
            for name in ("train", "test")
            if any(re.fullmatch(pattern(paraphrase), question) for paraphrase in template[name])
        }
        assert sets == {"test"}, question


@pytest.mark.parametrize("training", [False, True])
def test_what_is_missing_is_said_before_anything_is_done(
    training: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shipped, "TINY", tmp_path / "tiny")
    broken = tmp_path / "broken.hea"
    broken.write_text("not a header\n")
    with pytest.raises(ECGReadError):
        demo.run_demo(broken, training, tmp_path / "run")
    if not training:
        with pytest.raises(FileNotFoundError, match="came without the one that ships"):
            demo.run_demo(None, training, tmp_path / "run")
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "run").exists()
