"""The demo says what it is, asks about one ECG, two, and a file, and trains once."""

from pathlib import Path

import numpy as np
import pytest
import wfdb

from ecgllm.signals import ECGReadError
from ecgllm.signals.simulation import simulate_ecg
from ecgllm.training import demo

SMALL = [
    "limit=150",
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


def test_it_trains_once_and_asks_about_one_two_and_a_file(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    load = demo.load_recipe
    monkeypatch.setattr(demo, "load_recipe", lambda name, overrides: load(name, [*overrides, *SMALL]))
    demo.run_demo(file, tmp_path / "run")
    said = capsys.readouterr().out
    assert said.count("Not a medical device") == 2  # before the answers, and after those about the file
    assert said.count("; truth: yes") == said.count("; truth: no") == 4
    one, two = said.index("About one simulated ECG at a time"), said.index("About two simulated ECGs at a time")
    assert one < two < said.index(f"About {file} (12 leads, 10 s at 100 Hz)")
    assert "learned from simulated ECGs alone" in said
    assert f"--model {tmp_path / 'run'}" in said

    weights = (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns
    demo.run_demo(None, tmp_path / "run")
    again = capsys.readouterr().out
    assert "done before" in again
    assert "About " + str(file) not in again
    assert (tmp_path / "run" / "model.safetensors").stat().st_mtime_ns == weights


def test_a_file_that_cannot_be_read_is_said_before_training(tmp_path: Path) -> None:
    broken = tmp_path / "broken.hea"
    broken.write_text("not a header\n")
    with pytest.raises(ECGReadError):
        demo.run_demo(broken, tmp_path / "run")
    assert not (tmp_path / "run").exists()
