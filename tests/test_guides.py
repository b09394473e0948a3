"""The guides' Python examples run, one after the other, as a reader would paste them."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from ecgllm.corpora import load_corpus
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals.simulation import simulate_ecgs

from .fake_hub import FakeHub

DOCS = Path(__file__).resolve().parents[1] / "docs"
ALONE = (
    "classification",
    "corpora",
    "encoders",
    "measurements",
    "plotting",
    "questions",
    "reading",
    "simulation",
    "use",
)


@pytest.mark.parametrize("name", ALONE)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _run(name)


@pytest.mark.parametrize("name", ["compose", "train-your-own"])
def test_examples_on_a_language_model_run(
    name: str, tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`models/lm` is a small one, untrained."""
    monkeypatch.chdir(tmp_path)
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tiny_tokenizer), **sizes)).save_pretrained("models/lm")
    tiny_tokenizer.save_pretrained("models/lm")
    names = _run(name)
    assert "simulated ECGs" in names["model"].config.trained_on
    assert Path("trained/adapter/adapter_model.safetensors").is_file()
    assert {key.split(".")[0] for key in load_file("trained/model.safetensors")} == {"ecg_encoder", "projector"}


def test_what_is_shared_runs(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shipped_checkpoint(), "run")
    names = _run("share")
    assert names["model"].config.trained_on and names["pipe"].task == "ecg-text-to-text"
    assert hub.repos["model", "someone/ecg"].private and hub.repos["dataset", "someone/ecgs"].private


def test_training_runs_where_the_records_are(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its corpora lie in path/to; its `records` are the reader's own, here simulated."""
    monkeypatch.chdir(tmp_path)
    for folder in ("path/to", "shards"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("ludb", "ptbxl"):
        (tmp_path / "path" / "to" / name).symlink_to(shared_data / name)
    names = _run("training", records=simulate_ecgs(4, seed=1))
    assert len(load_corpus("mine")) == 4 and len(load_corpus("real")) == len(names["corpus"]) > 100
    assert len(list(Path("shards").iterdir())) == 64


def _run(name: str, **names: Any) -> dict:
    """The names that a guide's examples leave behind. names: those that they begin with."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{name}.md").read_text(encoding="utf-8"), re.M | re.S)
    assert blocks
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"{name}.md, example {number}", "exec"), names)
    return names


def test_guides_name_files_that_are_there() -> None:
    root = DOCS.parent
    for guide in [root / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", guide.read_text(encoding="utf-8")):
            assert (guide.parent / target).exists(), f"{guide.name} links {target}"
