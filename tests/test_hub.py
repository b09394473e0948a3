"""Checkpoints on the Hub: pushed, loaded by name where `ecgllm` is and where it is not, and offline."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
from transformers import AutoModel, AutoProcessor, pipeline

from .fake_hub import FakeHub

QUESTION = "Is there atrial fibrillation?"

# Run in a process of its own: argv is the repository and a folder; the inputs are there, the outputs go there.
LOADED = """
import json, sys, urllib.request
sys.modules["ecgllm"] = None
import numpy as np, torch
from huggingface_hub import constants
from transformers import AutoModel, AutoProcessor, pipeline
name, work = sys.argv[1:]
ecg = {"signal": np.load(work + "/signal.npy"), "sampling_rate": 100, "leads": json.load(open(work + "/leads.json"))}

def answer(**where):
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=True, **where)
    model = AutoModel.from_pretrained(name, trust_remote_code=True, **where).eval()
    turns = processor.build_conversation("Is there atrial fibrillation?", [ecg])
    inputs = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        return model(**inputs).logits.numpy()

np.save(work + "/online.npy", answer())
pipe = pipeline(model=name, trust_remote_code=True)
print(json.dumps(pipe("Is there atrial fibrillation?", ecgs=ecg, candidates=["yes", "no"], require_heart=False)))
"""


def _login(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", hub.token)


def _logits(name: str, ecg: dict[str, Any], **where: Any) -> np.ndarray:
    processor = AutoProcessor.from_pretrained(name, trust_remote_code=True, **where)
    model = AutoModel.from_pretrained(name, trust_remote_code=True, **where).eval()
    turns = processor.build_conversation(QUESTION, [ecg])
    inputs = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    with torch.no_grad():
        return model(**inputs).logits.numpy()


def test_a_checkpoint_goes_to_the_hub_and_comes_back(
    hub: FakeHub, tiny_llm: Any, make_ecg: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = tiny_llm()
    model.save_pretrained(tmp_path / "saved")
    processor.save_pretrained(tmp_path / "saved")
    ecg = make_ecg(5)
    expected = _logits(str(tmp_path / "saved"), ecg)
    _login(hub, monkeypatch)
    model.push_to_hub("someone/ecg")
    processor.push_to_hub("someone/ecg")
    monkeypatch.delenv("HF_TOKEN")

    np.testing.assert_array_equal(_logits("someone/ecg", ecg), expected)  # a process with ecgllm
    pipe = pipeline(model="someone/ecg", trust_remote_code=True)
    answers = pipe(QUESTION, ecgs=ecg, candidates=["yes", "no"], require_heart=False)

    np.save(tmp_path / "signal.npy", ecg["signal"])
    (tmp_path / "leads.json").write_text(json.dumps(ecg["leads"]))
    found = _run(LOADED, hub, "someone/ecg", tmp_path)
    np.testing.assert_array_equal(np.load(tmp_path / "online.npy"), expected)
    assert found["candidates"] == pytest.approx(answers["candidates"])
    count = len(hub.requests)
    offline = LOADED.split("pipe = ")[0] + 'print("{}")'
    _run(offline, hub, "someone/ecg", tmp_path, offline=True)
    assert len(hub.requests) == count


def _run(program: str, hub: FakeHub, name: str, work: Path, offline: bool = False) -> Any:
    """What a program prints last, as JSON, in a process with the caches `work/home`, with no ecgllm in its path."""
    run = subprocess.run(
        [sys.executable, "-c", program, name, str(work)],
        env=hub.environment(work / "home", offline=offline),
        cwd=work,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


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
    _login(hub, monkeypatch)
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
