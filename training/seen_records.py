"""Which records a run sees, noted beside its checkpoints, so that an evaluation knows them again.

In: the run's corpus, recipe and start. Out: `trained_records.parquet` in the run folder: signatures of signals
(`corpora.records.recognition`), no names. It is in no checkpoint's folder, so that pushing one does not push it.
Decided here: what a run started from was seen, too; what nobody noted is said to be missing.
"""

from __future__ import annotations

from datasets import Dataset

from ..corpora.records.recognition import FILE, SeenRecords, find_seen_records, seen_records
from .recipe import Recipe
from .run_folder import RunFolder
from .start_from import Start


def note_seen_records(recipe: Recipe, run: RunFolder, corpus: Dataset, start: Start | None) -> None:
    """Write the file, if it is not there. Reads every signal once, a millisecond each."""
    path = run.folder / FILE
    if path.is_file():
        return
    missing = []
    pretrain = recipe.stages.get("pretrain")
    if pretrain is not None and pretrain.stream:
        streamed = "those that the simulator makes for it" if pretrain.stream is True else str(pretrain.stream)
        missing.append(f"what pretrain streams: {streamed}")
    before = None
    if start is not None and start.weights:
        noted = find_seen_records(start.folder)
        if noted is None:
            missing.append("what the checkpoint that it started from was trained on")
        else:
            before = SeenRecords.load(noted)
    found = seen_records(corpus, tuple(missing))
    (found if before is None else found.joined(before)).save(path)
