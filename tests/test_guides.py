"""The guides' Python examples run, one after the other, as a reader would paste them."""

import pickle
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
from ecgllm.training.data.parquet_windows import ParquetWindows

from .evaluation.models.chat_server import Served
from .evaluation.models.tiny_llava import tiny_llava
from .fake_hub import FakeHub
from .hubert_look_alike import write_hubert_ecg
from .launching import run_without_package
from .published_form import published

DOCS = Path(__file__).resolve().parents[1] / "docs"
ALONE = (
    "baselines",
    "corpora",
    "explain",
    "measurements",
    "plotting",
    "questions",
    "reading",
    "simulation",
)
# What a guide marks runs in a process that cannot import the package, on what its other examples left in the folder.
WITHOUT = """
import json, pickle, sys
with open(sys.argv[1], "rb") as file:
    names, blocks = pickle.load(file)
for name, block in blocks:
    exec(compile(block, name, "exec"), names)
print(json.dumps(len(blocks)))
"""


@pytest.mark.parametrize("name", ALONE)
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    _run(name)


@pytest.mark.parametrize(("name", "without"), [("use", 5), ("classification", 2)])
def test_pipelines_run_with_and_without_the_package(
    name: str, without: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = _run(name)
    ecgs = [{key: ecg[key] for key in ("signal", "sampling_rate", "leads")} for ecg in names["ecgs"]]
    corpus = {"findings": list(names["corpus"]["findings"])}
    plain = {key: str(names[key]) for key in ("folder", "dual_encoder") if key in names}
    assert _run_without(name, tmp_path, ecgs=ecgs, corpus=corpus, **plain) == without


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
    assert _run_without(name, tmp_path) == {"compose": 2, "train-your-own": 1}[name]


def test_examples_on_anybodys_model_run(tmp_path: Path, tiny_tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`models/seeing` is a small model of pictures, untrained; the endpoint answers with "yes"."""
    monkeypatch.chdir(tmp_path)
    for part in tiny_llava(tiny_tokenizer):
        part.save_pretrained("models/seeing")
    with Served() as served:
        monkeypatch.setenv("ENDPOINT", served.address)
        names = _run("evaluate")
    assert names["model"].name.endswith("#some/model") and len(served.got) == len(names["asked"])


def test_examples_of_other_groups_encoders_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files lie where the guide has them, in the authors' form and small."""
    monkeypatch.chdir(tmp_path)
    published("ecgfounder", tmp_path).rename("12_lead_ECGFounder.pth")
    published("merl", tmp_path).rename("vit_tiny_encoder.pth")
    write_hubert_ecg(tmp_path / "hubert-ecg")
    names = _run("encoders")
    assert type(names["model"].ecg_encoder).__name__ == "TheirEncoder" and names["classifier"].config.num_labels == 5
    assert len(names["embed"](simulate_ecgs(1, seed=1)[0])) == names["embed"].model.config.hidden_size
    assert len(next(block for _, block, _ in _blocks("encoders") if "TheirConfig" in block).splitlines()) <= 40


@pytest.mark.slow
def test_what_is_exported_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("onnxruntime", "onnxscript"):
        pytest.importorskip(name, reason="ONNX needs the extra export")
    monkeypatch.chdir(tmp_path)
    names = _run("export")
    assert names["exported"].difference < 1e-4 and names["tokens"].shape == (4, 50, 128)


def test_what_is_shared_runs(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(shipped_checkpoint(), "run")
    names = _run("share")
    assert names["model"].config.trained_on and names["pipe"].task == "ecg-text-to-text"
    assert hub.repos["model", "someone/ecg"].private and hub.repos["dataset", "someone/ecgs"].private
    assert _run_without("share", tmp_path, hub_cache=tmp_path / "cache-of-another", token=hub.token) == 3


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
    count = len(names["both"])
    assert len(load_corpus("mine")) == 4 and len(load_corpus("shards")) == count > 100
    windows = ParquetWindows("shards", "report", [], seed=0)
    assert windows.usable + windows.left_out == count
    program = """
from datasets import load_dataset
rows = [row["ecg"] for split in load_dataset("shards/", streaming=True).values() for row in split]
print(len(rows), end="")
assert all(len(row["bytes"]) for row in rows)
"""
    assert run_without_package(program, tmp_path) == count


def _run(name: str, **names: Any) -> dict:
    """The names that a guide's examples leave behind. names: those that they begin with."""
    for title, block, _ in _blocks(name):
        exec(compile(block, title, "exec"), names)
    return names


def _run_without(
    name: str, work: Path, *, token: str | None = None, hub_cache: Path | None = None, **names: Any
) -> int:
    """How many examples of a guide ran where `ecgllm` cannot be imported. names: plain values that they begin with."""
    plain = [(title, block) for title, block, without in _blocks(name) if without]
    (work / "plain.pickle").write_bytes(pickle.dumps((names, plain)))
    return run_without_package(WITHOUT, work, work / "plain.pickle", hub_cache=hub_cache, token=token)


def _blocks(name: str) -> list[tuple[str, str, bool]]:
    """(title, program, whether it runs without the package) of a guide's examples."""
    text = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    found = re.findall(r"^```python( without-ecgllm)?\n(.*?)^```", text, re.M | re.S)
    assert found
    return [(f"{name}.md, example {number}", block, bool(mark)) for number, (mark, block) in enumerate(found, start=1)]


def test_guides_name_files_that_are_there() -> None:
    root = DOCS.parent
    for guide in [root / "README.md", *DOCS.glob("*.md")]:
        for target in re.findall(r"\]\((?!http)([^)#]+)", guide.read_text(encoding="utf-8")):
            assert (guide.parent / target).exists(), f"{guide.name} links {target}"
