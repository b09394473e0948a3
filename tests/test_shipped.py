"""The checkpoint in this checkout: complete, small, its code the package's own, honest about what it learned from."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wfdb

from ecgllm import shipped
from ecgllm.saving_ecgllm import LIMITS, code_files
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training.ship import MOST_BYTES

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tiny() -> Path:
    return shipped.shipped_checkpoint()


def test_its_code_is_the_package_s_own(tiny: Path) -> None:
    links = {path.name: path.readlink().as_posix() for path in tiny.iterdir() if path.is_symlink()}
    assert links == {name: f"../../{name}" for name in code_files("modeling_ecgllm")}
    assert all((tiny / name).samefile(ROOT / name) for name in links)


def test_it_is_small_and_says_what_it_learned_from(tiny: Path) -> None:
    assert sum(path.stat().st_size for path in tiny.glob("*.safetensors")) <= MOST_BYTES
    trained_on = json.loads((tiny / "config.json").read_text(encoding="utf-8"))["trained_on"]
    assert "simulated ECGs" in trained_on and "no patient" in trained_on
    card = (tiny / "README.md").read_text(encoding="utf-8")
    assert trained_on in card and LIMITS in card


def test_ask_answers_about_a_file_in_a_process_of_its_own(tiny: Path, tmp_path: Path) -> None:
    """What a newcomer runs first; nothing but the answer on either stream, whatever the releases in use warn of."""
    record = simulate_ecgs(1, seed=5)[0]
    wfdb.wrsamp(
        "r", record.sampling_rate, ["mV"] * len(record.leads), list(record.leads), record.signal.T.astype(float),
        fmt=["16"] * len(record.leads), write_dir=str(tmp_path),
    )  # fmt: skip
    command = [sys.executable, "-m", "ecgllm.cli", "ask", str(tmp_path / "r.hea"), "Is there atrial fibrillation?"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("yes", "no") and "Not a medical device" in done.stdout
    assert "Warning" not in done.stderr and "deprecated" not in done.stderr


def test_a_package_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "TINY", tmp_path / "ecgllm-tiny")
    with pytest.raises(FileNotFoundError, match="came without the one that ships.*--model"):
        shipped.shipped_checkpoint()
