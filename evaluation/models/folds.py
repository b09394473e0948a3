"""The models of a cross-validation as one model: every ECG is shown to the one that did not learn from it.

In: a folder of runs (`left_out`). Out: a `Model`. Decided here: a question about ECGs that no single run left out is
refused, not asked of a model that knows one of them; where a model is told another record's figures, it is one that
left that record out, too, or else that one alone, since the answer is judged by it.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors_ecgllm import ECGError
from ...signals import ECGRecord
from ..left_out import LeftOut
from ..protocol import Answer, Asked, Model, ShownECG
from .checkpoint import load_checkpoint

_NO_RUN = "no run of the cross-validation left all these ECGs out of its training"


class FoldsModel:
    """Args: left_out: which run left a record out. models: of each run, by its name."""

    def __init__(self, left_out: LeftOut, models: Mapping[str, Model]):
        told = {bool(getattr(model, "reads_measured", False)) for model in models.values()}
        if len(told) > 1:
            raise ECGError(f"{left_out.folder} holds models that are told measurements and models that are not.")
        self.name, self._left_out, self._models = left_out.folder.resolve().name, left_out, dict(models)
        self.reads_measured = told.pop()
        self._runs: dict[str, frozenset[str]] = {}
        self._of: Mapping[ShownECG, ECGRecord] | None = None

    @property
    def identity(self) -> str:
        """16 hex digits of the identities of all."""
        each = [f"{name} {getattr(model, 'identity', model.name)}" for name, model in sorted(self._models.items())]
        return hashlib.sha256("\n".join(each).encode()).hexdigest()[:16]

    @property
    def trained_on(self) -> str | None:
        """What the first says; the others differ in which records they left out."""
        return getattr(next(iter(self._models.values())), "trained_on", None)

    @property
    def remark(self) -> str | None:
        """That of the first."""
        return getattr(next(iter(self._models.values())), "remark", None)

    def answer(self, asked: Sequence[Asked], ecgs: Mapping[ShownECG, ECGRecord]) -> list[Answer]:
        """One answer to each question, of the first run that left its ECGs out; without an ECG the first is asked."""
        if ecgs is not self._of:  # others, whose ids may be the same
            self._runs, self._of = {}, ecgs
        answers: list[Answer] = [Answer(None, refused=_NO_RUN)] * len(asked)
        by_run: dict[str, list[int]] = defaultdict(list)
        for number, one in enumerate(asked):
            if runs := self._runs_for(one):
                by_run[min(runs)].append(number)
        for run, numbers in by_run.items():
            for number, answer in zip(
                numbers, self._models[run].answer([asked[each] for each in numbers], ecgs), strict=True
            ):
                answers[number] = answer
        return answers

    def _runs_for(self, asked: Asked) -> frozenset[str]:
        if not asked.ecgs:
            return frozenset(self._models)
        shown = frozenset.intersection(*(self._runs_of(one.record_id) for one in asked.ecgs))
        told = [self._runs_of(one.told) for one in asked.ecgs if one.told]
        if not told:
            return shown
        judged_by = frozenset.intersection(*told)
        return shown & judged_by or judged_by

    def _runs_of(self, record_id: str) -> frozenset[str]:
        if record_id not in self._runs:
            self._runs[record_id] = frozenset(self._left_out.of_record(self._of[ShownECG(record_id)]).runs)
        return self._runs[record_id]


def load_folds(folder: str | Path, **options: Any) -> FoldsModel:
    """The runs below a folder as one model. options: of `load_checkpoint`. Raises: ECGError as `LeftOut` and that."""
    left_out = LeftOut(folder)
    return FoldsModel(left_out, {name: load_checkpoint(run, **options) for name, run in left_out.runs.items()})
