"""Run folder: what a run leaves behind, and how a killed run is taken up again.

Layout: the root is the checkpoint of the last stage (complete remote code); `recipe.yaml` (resolved), `versions.json`,
`metrics.json`; `corpus/`, `signals/`, `questions/`; one folder per stage with its checkpoints. A stage is over when
its `done.json` exists, which is written last.
"""

from __future__ import annotations

import json
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

from .recipe import Recipe, RecipeError

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "scipy")


class RunFolder:
    """The folder of one run; see the module."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def stage(self, name: str) -> Path:
        return self.folder / name

    def is_done(self, stage: str) -> bool:
        return (self.stage(stage) / "done.json").is_file()

    def mark_done(self, stage: str, metrics: dict[str, Any]) -> None:
        write_json(self.stage(stage) / "done.json", metrics)

    def open(self, recipe: Recipe) -> None:
        """Create the folder, or check that it holds a run of this very recipe, which is then continued.

        Raises: RecipeError when the folder holds something else.
        """
        resolved = self.folder / "recipe.yaml"
        if resolved.is_file():
            found = yaml.safe_load(resolved.read_text(encoding="utf-8"))
            differing = _differences(found, recipe.to_dict())
            if differing:
                raise RecipeError(
                    f"{self.folder} holds a run of another recipe (different: {', '.join(differing[:8])}); choose "
                    "another output, or delete the folder."
                )
            return
        if self.folder.is_dir() and any(self.folder.iterdir()):
            raise RecipeError(f"{self.folder} is not empty and holds no run; choose another output.")
        self.folder.mkdir(parents=True, exist_ok=True)
        versions = {name: metadata.version(name) for name in _PACKAGES}
        write_json(self.folder / "versions.json", {"python": platform.python_version(), **versions})
        write_text(resolved, yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True))

    def last_checkpoint(self, stage: str) -> Path | None:
        """The newest complete checkpoint of a stage: a kill while one is being written leaves it without its state."""
        found = []
        for folder in self.stage(stage).glob("checkpoint-*"):
            number = re.fullmatch(r"checkpoint-(\d+)", folder.name)
            if number and _is_complete(folder):
                found.append((int(number.group(1)), folder))
        return max(found)[1] if found else None


def _is_complete(checkpoint: Path) -> bool:
    try:
        # Trainer writes this file after everything else of a checkpoint.
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    return True


def write_json(path: Path, values: Any) -> None:
    """Write JSON so that the file is either whole or not there."""
    write_text(path, json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file so that it is either whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _differences(found: Any, wanted: Any, key: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [*wanted, *(name for name in found if name not in wanted)]
        nested = (_differences(found.get(name), wanted.get(name), f"{key}.{name}".strip(".")) for name in keys)
        return [difference for differences in nested for difference in differences]
    if isinstance(wanted, tuple):
        wanted = list(wanted)
    return [] if found == wanted else [key]
