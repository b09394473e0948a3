"""The runs of a cross-validation, and which of them left a record out.

In: a folder with a run of `ecgllm train` in each folder below it (`hold_out` in its recipe). Out: for every record the
runs that may be asked about it. Decided here: what a run saw is told by the signals' signatures that it noted
(`corpora.records.recognition`), as for any evaluation, never by names; a run left a record out if neither its weights
nor its settings were chosen on it; a record is part of the cross-validation only if another run did learn from it, so
that patients of whom nobody knows what a run saw are not asked about.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from datasets import Dataset

from ..corpora.records.recognition import FILE, NEW, TRAINED, SeenRecords, signature, signatures
from ..errors_ecgllm import ECGError
from ..signals import ECGRecord

KIND = "folds"


def cross_validation(spec: str) -> LeftOut | None:
    """The runs that "folds:FOLDER" names; None of any other model. Raises: ECGError as `LeftOut`."""
    kind, _, folder = spec.partition(":")
    return LeftOut(folder) if kind == KIND else None


class LeftOut:
    """Runs by name, and the signatures of what each saw."""

    def __init__(self, folder: str | Path):
        """Raises: ECGError for a folder without two finished runs, for runs of different recipes, and for two that
        held out the same."""
        self.folder = Path(folder)
        below = sorted(one for one in self.folder.iterdir() if one.is_dir()) if self.folder.is_dir() else []
        self.runs = {one.name: one for one in below if (one / FILE).is_file() and (one / "config.json").is_file()}
        begun = [one.name for one in below if (one / FILE).is_file() or (one / "recipe.yaml").is_file()]
        unfinished = [name for name in begun if name not in self.runs]
        if len(self.runs) < 2 or unfinished:
            raise ECGError(
                f"{folder} holds {len(self.runs)} finished runs"
                + (f", and {', '.join(unfinished)} is not finished" if unfinished else "")
                + "; expected two or more, one for each part that is held out: "
                "ecgllm train RECIPE hold_out.fold=0 output=FOLDER/fold-0, and so on."
            )
        self._check_recipes({name: read_recipe(run) for name, run in self.runs.items()})
        self._seen = {name: SeenRecords.load(run / FILE) for name, run in self.runs.items()}

    def _check_recipes(self, recipes: dict[str, dict[str, Any]]) -> None:
        alike = {name: {key: value for key, value in recipe.items() if key not in _OF_A_RUN}
                 for name, recipe in recipes.items()}  # fmt: skip
        first = next(iter(alike))
        if other := next((name for name, recipe in alike.items() if recipe != alike[first]), None):
            differing = sorted(key for key in {*alike[first], *alike[other]}
                               if alike[first].get(key) != alike[other].get(key))  # fmt: skip
            raise ECGError(
                f"{first} and {other} in {self.folder} are runs of different recipes ({', '.join(differing)}); a "
                "cross-validation is of one, which differs in hold_out alone."
            )
        held = [repr(recipe.get("hold_out")) for recipe in recipes.values() if recipe]
        if twice := next((one for one in held if held.count(one) > 1), None):
            raise ECGError(f"two runs in {self.folder} have the same hold_out, {twice}; expected another in each.")

    @property
    def missing(self) -> tuple[str, ...]:
        """What the runs saw beside what they noted."""
        return tuple(dict.fromkeys(one for seen in self._seen.values() for one in seen.missing))

    def of(self, corpus: Dataset) -> list[Asking]:
        """For each record who may be asked about it."""
        return self._askings(signatures(corpus))

    def of_record(self, record: ECGRecord) -> Asking:
        """The same for one record."""
        return self._askings([signature(record.signal, record.sampling_rate, record.leads)])[0]

    def _askings(self, own: Sequence[bytes | None]) -> list[Asking]:
        uses = {name: seen.uses(own) for name, seen in self._seen.items()}
        return [_asking({name: found[row] for name, found in uses.items()}) for row in range(len(own))]


class Asking(NamedTuple):
    """runs: that left a record out, by name. why: there is none: "all" learned from it or chose on it, "none" did, or
    it "cannot be told" (no leads I, II, V2); None where there are runs."""

    runs: tuple[str, ...]
    why: str | None = None


LEARNED, STRANGE, UNTOLD = "all", "none", "cannot be told"


def _asking(uses: dict[str, str | None]) -> Asking:
    if None in uses.values():
        return Asking((), UNTOLD)
    if TRAINED not in uses.values():
        return Asking((), STRANGE)
    runs = tuple(name for name, use in uses.items() if use == NEW)
    return Asking(runs, None if runs else LEARNED)


def read_recipe(run: Path) -> dict[str, Any]:
    """The recipe of a run; empty where it is not known."""
    file = run / "recipe.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


def check_same_model(left_out: LeftOut, checkpoint: Path) -> None:
    """Raises: ECGError where a checkpoint is no model of the kind and sizes that the runs are."""
    run = next(iter(left_out.runs.values()))
    configs = [_config(folder) for folder in (checkpoint, run)]
    if configs[0] != configs[1]:
        differing = sorted(key for key in {*configs[0], *configs[1]} if configs[0].get(key) != configs[1].get(key))
        raise ECGError(
            f"{checkpoint} is another model than {run} ({', '.join(differing)}); expected the cross-validation of "
            "what the checkpoint was made by."
        )


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    if not file.is_file():
        raise ECGError(f"{folder} is no folder with a checkpoint: config.json is missing.")
    found = json.loads(file.read_text(encoding="utf-8"))
    return {key: value for key, value in found.items() if key not in _NOT_OF_THE_MODEL}


_OF_A_RUN = ("hold_out", "output", "data")
_NOT_OF_THE_MODEL = ("trained_on", "card_data", "transformers_version", "dtype", "_name_or_path")
