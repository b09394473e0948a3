"""A small recipe on simulated ECGs, and one finished run of it that several tests look at."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from filelock import FileLock

from ..launching import Launched, launch, launch_all

ROOT = Path(__file__).resolve().parents[2]

# What questions are about where a recipe of a test does not say: a few findings, since a run's cost is its questions.
FINDINGS = [
    "sinus rhythm",
    "atrial fibrillation",
    "first degree av block",
    "left bundle branch block",
    "left ventricular hypertrophy",
    "premature ventricular complexes",
]

# No dropout: runs with one and with two processes draw different masks, and are compared step by step.
RECIPE: dict[str, Any] = {
    "description": "Small models for tests",
    "corpus": "simulation",
    "limit": 60,
    "seed": 3,
    "card": {"license": "mit"},
    "encoder": {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "patch_size": 40,
        "stem_channels": [16, 16],
        "stem_kernel_sizes": [15, 7],
        "stem_strides": [2, 2],
    },
    "text_encoder": {
        "config": {
            "model_type": "bert",
            "hidden_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 64,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
        },
        "vocab_size": 500,
    },
    "projector": {"patches_per_token": 5},
    "language_model": {
        "config": {
            "model_type": "llama",
            "hidden_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 96,
            "max_position_embeddings": 1024,
            "tie_word_embeddings": True,
        },
        "vocab_size": 500,
        "tune": "full",
    },
    "lora": {"r": 4, "alpha": 8, "dropout": 0.0},
    "stages": {
        name: {
            "batch_size": 8,
            **({} if name == "pretrain" else {"questions": {"per_record": 2}, "questions_per_row": 8, "evaluate": 16}),
            **({"tune": "lora"} if name == "finetune" else {}),
            "training": {"max_steps": 24, "learning_rate": 2e-3, "logging_steps": 1, "save_steps": 4},
        }
        for name in ("pretrain", "debias", "finetune")
    },
}


STAGES = tuple(RECIPE["stages"])
"""The paper's."""

TRAIN = "from ecgllm.train import main; main(arguments)"


def start_train(recipe: Path, *overrides: str) -> Launched:
    """Start a training in a process of its own."""
    return launch(TRAIN, recipe.parent / "printed.txt", arguments=[str(recipe), *overrides])


def run_train(recipe: Path, *overrides: str, folder: Path | None = None) -> str:
    """Train in a process of its own; returns what it printed (kept in `folder`). Fails with that when it fails."""
    log = (folder or recipe.parent) / "printed.txt"
    return launch(TRAIN, log, arguments=[str(recipe), *overrides]).wait(900)


def run_train_in_two(recipe: Path, *overrides: str, torchrun: bool = False) -> str:
    """The same by two processes, started as here or by `torchrun train.py` as it is typed."""
    if torch.cuda.is_available() and torch.cuda.device_count() < 2:
        pytest.skip("two processes need as many GPUs")
    if not torchrun:
        started = launch_all(TRAIN, recipe.parent, 2, arguments=[str(recipe), *overrides])
        return "".join([process.wait(600) for process in started])
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [*launcher, str(ROOT / "train.py"), str(recipe), *overrides]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ)
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="session")
def write_recipe(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes the recipe above, with top-level keys changed and questions about `FINDINGS`, and returns its file."""

    def about_few(stage: dict[str, Any] | None) -> dict[str, Any] | None:
        questions = (stage or {}).get("questions", {})
        return stage if "path" in questions else (stage or {}) | {"questions": {"attributes": FINDINGS} | questions}

    def write(**changes: Any) -> Path:
        folder = tmp_path_factory.mktemp("recipe")
        values = RECIPE | {"output": str(folder / "run")} | changes
        stages = values["stages"].items()
        values["stages"] = {name: stage if name == "pretrain" else about_few(stage) for name, stage in stages}
        (folder / "recipe.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
        return folder / "recipe.yaml"

    return write


@pytest.fixture(scope="session")
def finished_run(write_recipe: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an uninterrupted run of all three stages by one process; `log.txt` beside it has what it printed.

    To be read only: it is one for all workers of pytest-xdist, made by the first that asks."""
    base = tmp_path_factory.getbasetemp()
    made = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished_run.txt"
    with FileLock(made.with_suffix(".lock")):
        if not made.exists():
            recipe = write_recipe()
            output = run_train(recipe)
            (recipe.parent / "log.txt").write_text(output, encoding="utf-8")
            made.write_text(str(recipe.parent / "run"), encoding="utf-8")
    return Path(made.read_text(encoding="utf-8"))
