"""docs/your-hospital.md, command by command, on files of five formats."""

import csv
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ecgllm.cli import main
from ecgllm.signals.simulation import simulate_ecgs

from .signals.conftest import Written

GUIDE = Path(__file__).resolve().parents[1] / "docs" / "your-hospital.md"
RECORDS = 90
# What makes a command quick, and nothing else.
QUICK = {
    "train": ["stages.finetune.training.num_train_epochs=1", "stages.finetune.evaluate=4"],
    "evaluate": ["--questions", "40"],
    "calibrate": ["--least", "2"],
}


def write_hospital(folder: Path) -> None:
    """ecgs/ and labels.csv: simulated ECGs in the files of five kinds of systems."""
    (folder / "ecgs").mkdir()
    eight = [Written.LEADS.index(lead) for lead in Written.EIGHT]
    writers: list[tuple[str, Callable[[np.ndarray], bytes]]] = [
        ("dcm", Written.dicom),
        ("edf", lambda uv: Written.edf(folder, uv)),
        ("hl7.xml", lambda uv: Written.hl7(uv // 5)),
        ("muse.xml", lambda uv: Written.muse(np.round(uv[eight] / 4.88).astype(int))),
        ("csv", Written.csv),
    ]
    rows: list[dict[str, Any]] = []
    for number, record in enumerate(simulate_ecgs(RECORDS, 5, sampling_rate=500)):
        counts = np.round(record.signal * 1000).astype(int)
        suffix, write = writers[number % len(writers)]
        (folder / "ecgs" / f"{number}.{suffix}").write_bytes(write(counts))
        rows.append(
            {
                "file": f"{number}.{suffix}",
                "patient_id": f"p{number}",
                "age": 30 + number % 50,
                "sex": ("female", "male")[number % 2],
                "findings": ";".join(record.findings),
            }
        )
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(rows)


def commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.M | re.S)
    return [shlex.split(line, comments=True) for block in blocks for line in block.splitlines()]


def test_every_command_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_hospital(tmp_path)
    said: dict[str, str] = {}
    listed = commands()
    assert [words[1] for words in listed][-4:] == ["train", "calibrate", "evaluate", "ask"]
    for program, command, *arguments in listed:
        assert program == "ecgllm"
        with pytest.raises(SystemExit) as ended:
            main([command, *arguments, *QUICK.get(command, ())])
        output = capsys.readouterr()
        assert not ended.value.code, (command, output.err)
        said[command] = output.out + output.err
    assert f"{RECORDS} records" in said["prepare"] or f"{RECORDS} ECGs" in said["prepare"], said["prepare"]
    assert (tmp_path / "report" / "index.html").is_file() and "Not a medical device" in said["ask"]
    assert (tmp_path / "calibrated" / "calibration.json").is_file()
    # The model alone: a run keeps its records.
    assert any(one.is_dir() for one in (tmp_path / "run").iterdir())
    left = {one.name for one in (tmp_path / "calibrated").iterdir() if one.is_dir()}
    assert not left and not (tmp_path / "calibrated" / "measured.json").exists()
