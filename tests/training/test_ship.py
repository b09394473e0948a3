"""What ships of a run: all that a pipeline needs and no more, code as links, and nothing that may not ship."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from transformers import AutoModelForCausalLM, BertModel, LlamaConfig, PreTrainedTokenizerBase

from ecgllm import (
    ECGEncoder,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    ECGTextDualEncoder,
    ECGTextDualEncoderProcessor,
)
from ecgllm.asking import load_answerer
from ecgllm.errors_ecgllm import CheckpointError
from ecgllm.saving_ecgllm import code_files
from ecgllm.training import ship

from ..test_composition import LORA

ROOT = Path(__file__).resolve().parents[2]
CODE_FILES = code_files("modeling_ecgllm")
ASK = """
import sys, numpy
from transformers import pipeline
from transformers.utils import logging

logging.disable_progress_bar()
signal = numpy.random.default_rng(0).normal(scale=0.3, size=(2, 500))
ecg = {"signal": signal, "sampling_rate": 100, "leads": ["I", "II"]}
asked = {"candidates": ["yes", "no"], "require_heart": False}
for checkpoint in sys.argv[1:]:
    pipe = pipeline(model=checkpoint, trust_remote_code=True)
    print(pipe("Is there atrial fibrillation?", ecgs=ecg, **asked)["probability"])
"""


@pytest.fixture
def run(tmp_path: Path, tiny_llm: Callable) -> Path:
    """What is at the root of a finished run, and some of what else is there."""
    folder = tmp_path / "run"
    model, processor = tiny_llm(trained_on="three simulated ECGs")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "debias" / "checkpoint-4").mkdir(parents=True)
    (folder / "debias" / "checkpoint-4" / "optimizer.pt").write_bytes(b"0")
    for name in ("recipe.yaml", "versions.json", "corpus.txt", "metrics.json"):
        (folder / name).write_text("{}")
    (folder / "README.md").write_text("# A model\n\n## Limits\n\nMany.\n")
    return folder


def ask(*checkpoints: str | Path, cwd: Path) -> list[str]:
    done = subprocess.run([sys.executable, "-c", ASK, *map(str, checkpoints)], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.slow
def test_a_shipped_folder_answers_as_the_run_does_through_links(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "package"
    package.mkdir()
    for name in CODE_FILES:
        shutil.copy(ROOT / name, package)
    monkeypatch.setattr(ship, "_ROOT", package)
    shipped = package / "checkpoints" / "tiny"
    ship.ship(run, shipped)
    assert all((shipped / name).is_symlink() and (shipped / name).samefile(package / name) for name in CODE_FILES)
    package.rename(tmp_path / "moved")  # the links are relative
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    through_links, direct = ask("../moved/checkpoints/tiny", run, cwd=elsewhere)
    assert through_links == direct


def test_only_what_a_user_needs_is_taken_and_old_files_go(run: Path, tmp_path: Path) -> None:
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "old.json").write_text("{}")
    ship.ship(run, shipped)
    names = {path.name for path in shipped.iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json", "README.md"} <= names
    assert set(CODE_FILES) <= names
    assert not names & {"old.json", "recipe.yaml", "versions.json", "corpus.txt", "metrics.json", "debias"}
    assert not any(path.is_symlink() for path in shipped.iterdir())  # outside the package nothing is there to link to
    assert all(path.read_bytes() == (run / path.name).read_bytes() for path in shipped.iterdir())


def test_what_may_not_ship_is_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(error: type[Exception], words: str) -> None:
        with pytest.raises(error, match=words):
            ship.ship(run, tmp_path / "shipped")
        assert not (tmp_path / "shipped").exists()

    size = (run / "model.safetensors").stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(ship, "MOST_BYTES", size - 1)
        refused(ValueError, f"take {size:,} bytes; at most {size - 1:,} may ship")
        patch.setattr(ship, "MOST_BYTES", size)
        ship.ship(run, tmp_path / "fits")
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"trained_on": ""}))
    refused(ValueError, "does not say what the model learned from")
    (run / "config.json").write_text(json.dumps(config))
    (run / "processor_config.json").rename(run / "kept")
    refused(FileNotFoundError, r"lacks processor_config\.json")
    (run / "kept").rename(run / "processor_config.json")
    (run / "metrics.json").unlink()
    refused(FileNotFoundError, "is no finished run")


def test_only_float32_ships(run: Path, tmp_path: Path, tiny_llm: Callable) -> None:
    tiny_llm(trained_on="three simulated ECGs")[0].bfloat16().save_pretrained(run)
    with pytest.raises(ValueError, match="weights of type BF16; expected F32 alone"):
        ship.ship(run, tmp_path / "shipped")


def test_an_adapter_ships_in_half_the_bytes_and_without_its_language_model(
    run: Path,
    tmp_path: Path,
    tiny_encoder_config,
    tiny_tokenizer: PreTrainedTokenizerBase,
    make_ecg: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)  # a checkout may have fetched the real one
    base = tmp_path / "smollm2-135m-instruct"
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(base)
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, base, tokenizer=tiny_tokenizer, patches_per_token=5, trained_on="three simulated ECGs"
    )
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    for name in ("model.safetensors", "config.json"):
        (run / name).unlink()
    get_peft_model(model, LORA).get_base_model().save_pretrained(run, trained_only=True)
    processor.save_pretrained(run)
    (run / "README.md").write_text("# A model\n\n## Limits\n\nMany.\n")
    shipped = tmp_path / "shipped"
    ship.ship(run, shipped)
    whole, half = (folder / "adapter" / "adapter_model.safetensors" for folder in (run, shipped))
    assert half.stat().st_size < 0.7 * whole.stat().st_size  # of a large one half
    assert ship.weights_bytes(shipped) == half.stat().st_size + (shipped / "model.safetensors").stat().st_size

    asked = {"ecgs": make_ecg(2.0), "candidates": ["yes", "no"], "require_heart": False}
    found = [
        load_answerer(folder, language_model=str(base))("Is there atrial fibrillation?", **asked)["candidates"]["yes"]
        for folder in (run, shipped)
    ]
    assert found[1] == pytest.approx(found[0], abs=1e-3)
    kept = ECGLLMForConditionalGeneration.from_pretrained(shipped, language_model=str(base))
    assert {parameter.dtype for parameter in kept.parameters()} == {torch.float32}
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match=r"Fetch it, or say where .*ecgllm fetch \S* fetches it, once"):
        load_answerer(shipped)


def test_a_dual_encoder_ships_with_the_code_of_its_own(
    tmp_path: Path, encoder: ECGEncoder, text_encoder: BertModel, tiny_tokenizer: PreTrainedTokenizerBase
) -> None:
    run = tmp_path / "run"
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder, projection_dim=16)
    dual.config.trained_on = "three simulated ECGs"
    dual.save_pretrained(run)
    tiny_tokenizer.pad_token = "</s>"
    ECGTextDualEncoderProcessor.for_model(dual, tiny_tokenizer).save_pretrained(run)
    (run / "metrics.json").write_text("{}")
    (run / "README.md").write_text("# A model\n\n## Limits\n\nMany.\n")
    ship.ship(run, tmp_path / "shipped")
    names = {path.name for path in (tmp_path / "shipped").glob("*.py")}
    assert names == set(code_files("dual_encoder_ecgllm")) and "modeling_ecgllm.py" not in names
