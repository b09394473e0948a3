"""The run folder: what a run leaves behind, and how a killed run is resumed.

Layout: the root is the checkpoint of the last stage (complete remote code) with `recipe.yaml` (resolved),
`versions.json` and `metrics.json`; `corpus/`, `signals/`, `questions/`; one folder per stage with its checkpoints.
Decided here: nothing is visible before it is complete, so that whatever exists can be used; one run at a time works in
a folder. A stage is finished when its `metrics.json` exists, which is written last; so is a run.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..atomic_writing import LOCK, OWNER, PARTIAL, owned, remove_partial, write_json, write_text
from ..corpora.records.text_files import read_json
from ..errors_ecgllm import ECGError
from .recipe import Recipe, RecipeError
from .recipe.yaml_file import read_yaml, to_yaml
from .recipe_loading import recipe_from_dict
from .start_from import Start

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "scipy")


class RunFolder:
    """The folder of one run; see the module."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def stage(self, name: str) -> Path:
        return self.folder / name

    def is_done(self, stage: str) -> bool:
        return (self.stage(stage) / "metrics.json").is_file()

    def mark_done(self, stage: str, metrics: dict[str, Any]) -> None:
        write_json(self.stage(stage) / "metrics.json", metrics)

    def stage_metrics(self, stage: str) -> dict[str, Any]:
        return read_json(self.stage(stage) / "metrics.json")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder as the only run in it, and remove what a killed one left incomplete.

        Raises: RecipeError when the folder holds something else; InUseError that names who holds it.
        """
        self._check_ours()
        with owned(self.folder):
            remove_partial(self.folder)
            yield

    def _check_ours(self) -> None:
        if not self.folder.is_dir() or (self.folder / "recipe.yaml").is_file():
            return
        if any(file.name not in (LOCK, OWNER) and not file.name.endswith(PARTIAL) for file in self.folder.iterdir()):
            raise RecipeError(f"{self.folder} is not empty and holds no run; choose another output.")

    def open(self, recipe: Recipe) -> list[str]:
        """Create the folder, or check that it holds a run of the same recipe, which is then resumed.

        Returns: remarks for the user, such as packages that changed since the run began.
        Raises: RecipeError when the folder holds something else.
        """
        resolved = self.folder / "recipe.yaml"
        if resolved.is_file():
            return self._reopen(recipe, resolved)
        self._check_ours()
        # Written first: its presence marks the folder as that of a run.
        write_text(resolved, to_yaml(recipe.to_dict()))
        write_json(self.folder / "versions.json", versions())
        return []

    def _reopen(self, recipe: Recipe, resolved: Path) -> list[str]:
        if not (self.folder / "corpus").is_dir():
            # The run ended before it did anything, for instance because of a wrong path: the corrected recipe replaces
            # its recipe.
            write_text(resolved, to_yaml(recipe.to_dict()))
            write_json(self.folder / "versions.json", versions())
            return []
        try:
            found = recipe_from_dict(read_yaml(resolved), str(resolved))
        except RecipeError as error:
            raise RecipeError(
                f"{self.folder} holds a run whose recipe this version of ecgllm cannot read ({error}); choose another "
                "output, or continue it with the version in its versions.json."
            ) from error
        # A folder may be moved, and is then the same run.
        differing = [key for key in _differences(found.to_dict(), recipe.to_dict()) if key != "output"]
        if differing:
            raise RecipeError(
                f"{self.folder} holds a run of another recipe (different: {', '.join(differing[:8])}); choose "
                "another output, or delete the folder."
            )
        file, now = self.folder / "versions.json", versions()
        if not file.is_file():
            write_json(file, now)
        began = read_json(file)
        changed = [f"{name} {began.get(name)} -> {now[name]}" for name in now if began.get(name) != now[name]]
        if changed:
            return [f"Versions changed since this run began ({', '.join(changed)}): results may differ slightly."]
        return []

    def note_start(self, start: Start) -> None:
        """Record which checkpoint the run starts from. Raises: RecipeError when it is no longer the same."""
        began = self.start()
        if began is None:
            write_json(self.folder / "start.json", start.identity())
        elif not start.has_weights(began["weights"]):
            raise RecipeError(
                f"The checkpoint that {self.folder} started from has changed since (it had the weights "
                f"{began['weights']}); choose another output."
            )

    def start(self) -> dict[str, Any] | None:
        """What `note_start` wrote."""
        file = self.folder / "start.json"
        return read_json(file) if file.is_file() else None

    def last_checkpoint(self, stage: str) -> Path | None:
        """The newest complete checkpoint of a stage: one that was being written at a kill lacks its state."""
        found = []
        for folder in self.stage(stage).glob("checkpoint-*"):
            number = re.fullmatch(r"checkpoint-(\d+)", folder.name)
            if number and _is_complete(folder):
                found.append((int(number.group(1)), folder))
        return max(found)[1] if found else None


def versions() -> dict[str, str | None]:
    """Versions of Python, of this package and of the packages on which results depend; None where one is not
    installed."""
    found: dict[str, str | None] = {"python": platform.python_version(), "ecgllm": __version__}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    found["torch"] = torch.__version__  # with the build, which the package's name may lack: +cpu, +cu130
    return found


def _is_complete(checkpoint: Path) -> bool:
    try:
        # Trainer writes this file after everything else of a checkpoint.
        read_json(checkpoint / "trainer_state.json")
    except (FileNotFoundError, ECGError):
        return False
    return True


def _differences(found: Any, wanted: Any, key: str = "") -> list[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        keys = [*wanted, *(name for name in found if name not in wanted)]
        nested = (_differences(found.get(name), wanted.get(name), f"{key}.{name}".strip(".")) for name in keys)
        return [difference for differences in nested for difference in differences]
    return [] if found == wanted else [key]
