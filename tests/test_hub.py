"""Checkpoints on the Hub: pushed, loaded by name where `ecgllm` is and where it is not, and offline."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, ModelCard, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import AutoModel, AutoProcessor, LlamaConfig, LlamaForCausalLM, pipeline

from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor, ECGTextDualEncoder
from ecgllm.saving_ecgllm import LIMITS

from .fake_hub import FakeHub
from .launching import run_without_package

QUESTION = "Is there atrial fibrillation?"

# Run in a process of its own: argv is a folder with inputs, where the outputs go; HF_ENDPOINT is the fake Hub.
LOADED = """
import json, os, sys, urllib.request
import numpy as np, torch
from huggingface_hub import constants
from transformers import AutoFeatureExtractor, AutoModel, AutoProcessor, pipeline
work = sys.argv[1]
ecg = json.load(open(work + "/ecg.json"))
ecg["signal"] = np.array(ecg["signal"], dtype=np.float32)
loaded = {}

def requests():
    return json.load(urllib.request.urlopen(os.environ["HF_ENDPOINT"] + "/-/requests"))

def answer(name, **where):
    where["trust_remote_code"] = True
    processor = AutoProcessor.from_pretrained(name, **where)
    model = AutoModel.from_pretrained(name, **where).eval()
    turns = processor.build_conversation("Is there atrial fibrillation?", [ecg])
    inputs = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        return model(**inputs).logits.numpy().ravel().tolist()

def embed(name, **where):
    where["trust_remote_code"] = True
    inputs = AutoFeatureExtractor.from_pretrained(name, **where)([ecg], return_tensors="pt")
    model = AutoModel.from_pretrained(name, **where).eval()
    with torch.no_grad():
        if hasattr(model, "get_ecg_embeds"):
            return model.get_ecg_embeds(**inputs).numpy().ravel().tolist()
        return model(**inputs).pooler_output.numpy().ravel().tolist()
"""
ONLINE = """
for name in ("someone/parts", "someone/pipe"):
    loaded[name] = answer(name)
for name in ("someone/encoder", "someone/dual"):
    loaded[name] = embed(name)
before = requests()
loaded["local"] = [answer("someone/pipe", local_files_only=True), embed("someone/dual", local_files_only=True)]
loaded["asked"] = requests() - before
pipe = pipeline(model="someone/pipe", trust_remote_code=True)
loaded["answers"] = pipe("Is there atrial fibrillation?", ecgs=ecg, candidates=["yes", "no"], require_heart=False)
print(json.dumps(loaded))
"""
OFFLINE = """
print(json.dumps([answer("someone/pipe"), embed("someone/dual")]))
"""


@dataclass
class Pushed:
    """What was pushed, and what is to come of it."""

    hub: FakeHub
    home: Path
    ecg: dict[str, Any]
    logits: np.ndarray
    parts: dict[str, Any]

    def run(self, program: str, offline: bool = False) -> Any:
        """What a program prints last, in a process without ecgllm and with a cache of its own."""
        cache = self.home / "cache-of-another"
        return run_without_package(LOADED + program, self.home, self.home, hub_cache=cache, offline=offline)


@pytest.fixture
def pushed(
    hub: FakeHub,
    tiny_llm: Any,
    encoder: Any,
    text_encoder: Any,
    make_ecg: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Pushed:
    """A run folder of somebody called Lovelace: its model by parts and as a pipeline; and encoders by themselves."""
    monkeypatch.setenv("HF_TOKEN", hub.token)
    model, processor = tiny_llm(
        trained_on="ECGs of nobody", card_data={"license": "mit", "datasets": ["someone/ecgs"]}
    )
    run, ecg = tmp_path / "Lovelace" / "run", make_ecg(5)
    model.save_pretrained(run)
    processor.save_pretrained(run)
    (run / "README.md").write_text(
        (run / "README.md").read_text().replace("any-to-any", "text-generation") + "\n## Figures\n\n0.9\n"
    )
    (run / "evaluation.md").write_text("# The whole report\n")
    (run / "train.log").write_text("report of Hopper")
    for folder in ("questions", "debias", "checkpoint-5"):
        (run / folder).mkdir()
        (run / folder / "optimizer.pt").write_bytes(b"report of Hopper")
    text_encoder.save_pretrained(tmp_path / "Lovelace" / "text")
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, tmp_path / "Lovelace" / "text")
    parts = {"model": AutoModel.from_pretrained(run), "processor": AutoProcessor.from_pretrained(run)}
    parts["model"].push_to_hub("someone/parts")
    parts["processor"].push_to_hub("someone/parts")
    pipeline(model=str(run), trust_remote_code=True).push_to_hub("someone/pipe", tags=["mine"])
    for name, part in (("encoder", encoder), ("dual", dual.eval())):
        part.push_to_hub(f"someone/{name}")
        processor.feature_extractor.push_to_hub(f"someone/{name}")
    monkeypatch.delenv("HF_TOKEN")
    (tmp_path / "ecg.json").write_text(json.dumps(ecg | {"signal": ecg["signal"].tolist()}))
    features = processor.feature_extractor([ecg], return_tensors="pt")
    parts |= {"encoder": encoder(**features).pooler_output, "dual": dual.get_ecg_embeds(**features)}
    return Pushed(hub, tmp_path, ecg, _logits(str(run), ecg), parts)


def _logits(name: str, ecg: dict[str, Any], **where: Any) -> np.ndarray:
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=True, **where)
    model = AutoModel.from_pretrained(name, trust_remote_code=True, **where).eval()
    turns = processor.build_conversation(QUESTION, [ecg])
    inputs = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        return model(**inputs).logits.numpy()


def test_what_is_pushed_comes_back_whole(pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, expected = pushed.hub, pushed.logits
    np.testing.assert_array_equal(_logits("someone/pipe", pushed.ecg), expected)  # a process with ecgllm
    pipe = pipeline(model="someone/pipe", trust_remote_code=True)
    answers = pipe(QUESTION, ecgs=pushed.ecg, candidates=["yes", "no"], require_heart=False)
    count = len(hub.requests)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    np.testing.assert_array_equal(_logits("someone/pipe", pushed.ecg), expected)
    assert len(hub.requests) == count

    found = pushed.run(ONLINE)
    for logits in (found["someone/parts"], found["someone/pipe"], found["local"][0]):
        np.testing.assert_array_equal(np.float32(logits), expected.ravel())
    for name in ("encoder", "dual"):
        np.testing.assert_allclose(found[f"someone/{name}"], pushed.parts[name].detach().ravel(), atol=1e-6)
    assert found["answers"]["candidates"] == pytest.approx(answers["candidates"])
    assert found["asked"] == 0

    count = len(hub.requests)
    logits, embeds = pushed.run(OFFLINE, offline=True)
    np.testing.assert_array_equal(np.float32(logits), expected.ravel())
    np.testing.assert_allclose(embeds, pushed.parts["dual"].detach().ravel(), atol=1e-6)
    assert len(hub.requests) == count


def test_nothing_else_of_the_folder_is_pushed(pushed: Pushed) -> None:
    hub = pushed.hub
    assert not hub.holding("Lovelace", "Hopper", str(pushed.home), os.environ["HF_HOME"], str(Path.cwd()), hub.token)
    folders = {path.rpartition("/")[0] for name in ("parts", "pipe") for path in hub.files(f"someone/{name}")}
    assert folders == {""}
    assert len(hub.repos["model", "someone/pipe"].commits) == 2  # the Hub's own first one, and all of the pipeline


def test_what_was_pushed_has_a_card(pushed: Pushed, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pushed.hub
    cards = {name: ModelCard.load(f"someone/{name}") for name in ("parts", "pipe", "encoder", "dual")}
    for name, card in cards.items():
        card.validate()
        assert LIMITS in card.text and "ecg" in card.data.tags and card.data.library_name == "transformers"
        task = "feature-extraction" if name in ("encoder", "dual") else "any-to-any"
        assert card.data.pipeline_tag == task == HfApi().model_info(f"someone/{name}").pipeline_tag
    for name in ("parts", "pipe"):  # as the weights are those of the folder, so is the card
        assert "0.9" in cards[name].text and "ECGs of nobody" in cards[name].text
        assert (cards[name].data.license, cards[name].data.datasets) == ("mit", ["someone/ecgs"])
        assert "evaluation.md" in hub.files(f"someone/{name}")
    assert "mine" in cards["pipe"].data.tags

    monkeypatch.setenv("HF_TOKEN", hub.token)
    model = AutoModel.from_pretrained("someone/pipe", trust_remote_code=True)
    model.push_to_hub("someone/copy")
    assert "0.9" in ModelCard.load("someone/copy").text and "evaluation.md" in hub.files("someone/copy")
    with torch.no_grad():
        next(model.projector.parameters()).add_(1)
    model.push_to_hub("someone/other")
    other = ModelCard.load("someone/other")
    assert "evaluation.md" not in hub.files("someone/other")
    assert "0.9" not in other.text and "ECGs of nobody" in other.text and other.data.license == "mit"


def test_cards_name_the_models_on_the_hub(
    hub: FakeHub, tiny_tokenizer: Any, encoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    hub.add("org/base", tmp_path / "base")
    compose = ECGLLMForConditionalGeneration.from_encoder_and_language_model
    expected = {}
    for name, base in (("hub", "org/base"), ("folder", tmp_path / "base"), ("copy", tmp_path / "copy")):
        if name == "copy":
            shutil.copytree(tmp_path / "base", base)
            (base / "README.md").write_text("---\nbase_model: org/base\n---\n# A copy\n")
        compose(encoder, str(base), trained_on="nothing").save_pretrained(tmp_path / name / "saved")
        AutoModel.from_pretrained(tmp_path / name / "saved").save_pretrained(tmp_path / name / "again")
        expected[name] = ModelCard.load(tmp_path / name / "again" / "README.md").data.base_model
    assert expected == {"hub": "org/base", "folder": None, "copy": "org/base"}


def test_a_folder_is_put_there_at_a_commit(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text("{}")
    first = hub.add("org/name", tmp_path / "folder")
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "config.json").write_text('{"a": 1}')
    (tmp_path / "again" / "model.safetensors").write_bytes(bytes(200_000))
    second = hub.add("org/name", tmp_path / "again")
    read = {revision: Path(hf_hub_download("org/name", "config.json", revision=revision)).read_text()
            for revision in (first, second, "main")}  # fmt: skip
    assert read == {first: "{}", second: '{"a": 1}', "main": '{"a": 1}'}
    assert Path(hf_hub_download("org/name", "model.safetensors")).stat().st_size == 200_000
    assert HfApi().model_info("org/name").sha == second
    assert HfApi().list_repo_files("org/name", revision=first) == ["config.json"]
    for repo, file, revision, error in (
        ("org/name", "config.json", "f" * 40, RevisionNotFoundError),
        ("org/name", "model.safetensors", first, EntryNotFoundError),
        ("org/other", "config.json", None, RepositoryNotFoundError),
    ):
        with pytest.raises(error):
            hf_hub_download(repo, file, revision=revision)


def test_the_fake_tells_what_it_got(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)
    (tmp_path / "a-Lovelace.txt").write_text("nothing")
    (tmp_path / "b.bin").write_bytes(b"of Hopper" + bytes(1000))
    HfApi().create_repo("someone/files", private=True)
    HfApi().upload_folder(repo_id="someone/files", folder_path=tmp_path, commit_message="of Curie")
    assert {found.rsplit(": ")[-1] for found in hub.holding("Lovelace", "Hopper", "Curie", "Noether", hub.token)} == {
        "lovelace",
        "hopper",
        "curie",
    }
    assert {request.token for request in hub.requests if request.path.startswith("/-/content")} == {None}
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(RepositoryNotFoundError):
        hf_hub_download("someone/files", "b.bin")


def test_a_trained_only_checkpoint_is_put_together_from_the_hub(
    hub: FakeHub, tiny_tokenizer: Any, encoder: Any, make_ecg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48
    )
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    tiny_tokenizer.save_pretrained(tmp_path / "base")
    commit = hub.add("org/base", tmp_path / "base")
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(encoder, "org/base").eval()
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    model.save_pretrained(tmp_path / "trained", trained_only=True)
    processor.save_pretrained(tmp_path / "trained")
    loaded = AutoModel.from_pretrained(tmp_path / "trained", trust_remote_code=True)
    loaded.push_to_hub("someone/trained")
    processor.push_to_hub("someone/trained")
    hub.add("org/base", tmp_path / "trained")  # what main is later does not matter: the commit is named
    assert json.loads(hub.files("someone/trained")["config.json"])["language_model_base"]["revision"] == commit
    assert b"language_model." not in hub.files("someone/trained")["model.safetensors"]
    assert not hub.holding(str(tmp_path))
    assert ModelCard.load("someone/trained").data.base_model == "org/base"
    ecg = make_ecg(3)
    np.testing.assert_allclose(_logits("someone/trained", ecg), _logits(str(tmp_path / "trained"), ecg), atol=1e-6)
