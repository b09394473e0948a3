"""The runs of a cross-validation, and which of them left a record out of its training.

In: a folder with a run of `ecgllm train` in each folder below it (`hold_out` in its recipe). Out: for every record the
run that may be asked about it. Decided here: what a run saw is told by the signals' signatures that it noted
(`corpora.records.recognition`), as for any evaluation, never by names; of several runs that left a record out the
first by name is asked; a record of which it cannot be told is asked of none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml
from datasets import Dataset

from ..corpora.records.recognition import FILE, SeenRecords, signature, signatures
from ..errors_ecgllm import ECGError
from ..signals import ECGRecord

KIND = "folds"


class LeftOut:
    """Runs by name, and the signatures of what each was trained on."""

    def __init__(self, folder: str | Path):
        """Raises: ECGError for a folder without two finished runs, and for runs of different recipes."""
        self.folder = Path(folder)
        below = sorted(one for one in self.folder.iterdir() if one.is_dir()) if self.folder.is_dir() else []
        self.runs = {one.name: one for one in below if (one / FILE).is_file() and (one / "config.json").is_file()}
        unfinished = [one.name for one in below if (one / FILE).is_file() and one.name not in self.runs]
        if len(self.runs) < 2 or unfinished:
            raise ECGError(
                f"{folder} holds {len(self.runs)} finished runs"
                + (f", and {', '.join(unfinished)} is not finished" if unfinished else "")
                + "; expected two or more, one for each part that is held out: "
                "ecgllm train RECIPE hold_out.fold=0 output=FOLDER/fold-0, and so on."
            )
        recipes = {name: _recipe(run) for name, run in self.runs.items()}
        first = next(iter(recipes))
        if other := next((name for name, recipe in recipes.items() if recipe != recipes[first]), None):
            differing = sorted(key for key in {*recipes[first], *recipes[other]}
                               if recipes[first].get(key) != recipes[other].get(key))  # fmt: skip
            raise ECGError(
                f"{first} and {other} in {folder} are runs of different recipes ({', '.join(differing)}); a "
                "cross-validation is of one, which differs in hold_out alone."
            )
        self._seen = {name: SeenRecords.load(run / FILE) for name, run in self.runs.items()}

    @property
    def missing(self) -> tuple[str, ...]:
        """What the runs saw beside what they noted."""
        return tuple(dict.fromkeys(one for seen in self._seen.values() for one in seen.missing))

    def of(self, corpus: Dataset) -> list[str | None]:
        """For each record the name of the run to ask; None where every run was trained on it, or it cannot be told."""
        return self._runs_of(signatures(corpus))

    def of_record(self, record: ECGRecord) -> str | None:
        """The same for one record."""
        return self._runs_of([signature(record.signal, record.sampling_rate, record.leads)])[0]

    def _runs_of(self, own: Sequence[bytes | None]) -> list[str | None]:
        new = {name: seen.is_new(own) for name, seen in self._seen.items()}
        return [_first(name for name in new if new[name][row]) for row in range(len(own))]


def _recipe(run: Path) -> dict[str, Any]:
    """What a run was, beside what it held out and where it lies; empty where that is not known."""
    file = run / "recipe.yaml"
    found = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return {key: value for key, value in found.items() if key not in ("hold_out", "output", "data")}


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)
