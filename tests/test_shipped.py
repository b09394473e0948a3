"""The checkpoint in this checkout: complete, small, its code the package's own, honest about what it learned from."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import wfdb
from sklearn.metrics import roc_auc_score
from transformers import pipeline

from ecgllm import shipped
from ecgllm.saving_ecgllm import LIMITS, code_files
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training.ship import MOST_BYTES

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tiny() -> Path:
    return shipped.shipped_checkpoint()


@pytest.fixture(params=["ecgllm-tiny", "ecgllm-tiny-real", "ecgllm-tiny-dual"])
def shipped_with_code(request: pytest.FixtureRequest) -> tuple[Path, str]:
    """A checkpoint, and the file of its class."""
    folder = {one.name: one for one in (shipped.TINY, shipped.TINY_REAL, shipped.TINY_DUAL_ENCODER)}[request.param]
    return folder, "dual_encoder_ecgllm" if request.param.endswith("dual") else "modeling_ecgllm"


def test_its_code_is_the_package_s_own(shipped_with_code: tuple[Path, str]) -> None:
    folder, module = shipped_with_code
    links = {path.name: path.readlink().as_posix() for path in folder.iterdir() if path.is_symlink()}
    assert links == {name: f"../../{name}" for name in code_files(module)}
    assert all((folder / name).samefile(ROOT / name) for name in links)


def test_it_is_small_and_says_what_it_learned_from(shipped_with_code: tuple[Path, str]) -> None:
    folder, _ = shipped_with_code
    assert sum(path.stat().st_size for path in folder.glob("*.safetensors")) <= MOST_BYTES
    trained_on = json.loads((folder / "config.json").read_text(encoding="utf-8"))["trained_on"]
    assert "simulated ECGs" in trained_on and "no patient" in trained_on
    assert ("ECGs of " in trained_on) is (folder == shipped.TINY_REAL)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert trained_on in card and LIMITS in card


def test_what_real_labels_are_whose_is_said() -> None:
    """The corpora's licences ask for it, in the repository and wherever the checkpoint goes alone."""
    notice, card = (ROOT / "NOTICE").read_text("utf-8"), (shipped.TINY_REAL / "README.md").read_text("utf-8")
    for corpus in ("LUDB", "Challenge 2021", "PTB-XL"):
        assert corpus in notice and corpus in card
    assert "license: cc-by-4.0" in card


def test_zero_shot_tells_simulated_ecgs_apart_in_words_that_it_never_saw() -> None:
    """Of ECGs with a finding and ECGs without, the former score higher; labels are nobody's training text. What the
    simulator has since learned (fibrillation with a pacemaker) the checkpoint has not seen."""
    records = simulate_ecgs(160, seed=77)
    pipe = pipeline("zero-shot-ecg-classification", model=str(shipped.shipped_dual_encoder()), trust_remote_code=True)
    said = {
        "atrial fibrillation": "auricular fibrillation",
        "complete left bundle branch block": "full left bundle block",
    }
    ecgs = [{"signal": one.signal, "sampling_rate": one.sampling_rate, "leads": list(one.leads)} for one in records]
    scored = pipe(ecgs, candidate_labels=list(said.values()), batch_size=32, require_heart=False)
    for finding, label in said.items():
        shown = np.array([finding in record.findings for record in records])
        scores = np.array([next(each["score"] for each in found if each["label"] == label) for found in scored])
        assert shown.sum() >= 5 and roc_auc_score(shown, scores) > 0.85


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
    assert re.match(r"((sure|likely) )?(yes|no)\b|cannot tell", done.stdout) and "Not a medical device" in done.stdout
    assert "Warning" not in done.stderr and "deprecated" not in done.stderr


def test_a_package_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "TINY", tmp_path / "ecgllm-tiny")
    monkeypatch.setattr(shipped, "TINY_DUAL_ENCODER", tmp_path / "ecgllm-tiny-dual")
    with pytest.raises(FileNotFoundError, match="came without the one that ships.*--model"):
        shipped.shipped_checkpoint()
    with pytest.raises(FileNotFoundError, match="came without the one that ships.*sim-zero-shot"):
        shipped.shipped_dual_encoder()
