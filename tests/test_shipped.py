"""The checkpoint in this checkout: complete, small, its code the package's own, honest about what it learned from."""

import json
from pathlib import Path

import pytest

from ecgllm import shipped
from ecgllm.modeling_ecgllm import CODE_FILES, LIMITS
from ecgllm.training.ship import MOST_BYTES

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def tiny() -> Path:
    return shipped.shipped_checkpoint()


def test_its_code_is_the_package_s_own(tiny: Path) -> None:
    links = {path.name: path.readlink().as_posix() for path in tiny.iterdir() if path.is_symlink()}
    assert links == {name: f"../../{name}" for name in CODE_FILES}
    assert all((tiny / name).samefile(ROOT / name) for name in CODE_FILES)


def test_it_is_small_and_says_what_it_learned_from(tiny: Path) -> None:
    assert sum(path.stat().st_size for path in tiny.glob("*.safetensors")) <= MOST_BYTES
    trained_on = json.loads((tiny / "config.json").read_text(encoding="utf-8"))["trained_on"]
    assert "simulated ECGs" in trained_on and "no patient" in trained_on
    card = (tiny / "README.md").read_text(encoding="utf-8")
    assert trained_on in card and LIMITS in card


def test_a_package_without_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "TINY", tmp_path / "ecgllm-tiny")
    with pytest.raises(FileNotFoundError, match="came without the one that ships.*--model"):
        shipped.shipped_checkpoint()
