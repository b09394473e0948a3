"""The first run of a newcomer: train a small model on simulated ECGs, then ask it about simulated ECGs and a file.

In: a folder for the run and, optionally, the record of a real file. Out: answers on the screen, each beside the truth
where it is known. Nothing is downloaded and no patient's data is used.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ..signals import ECGRecord, read_ecg
from ..signals.simulation import simulate_ecg
from .recipe import load_recipe
from .run import run_recipe

WHAT_IT_IS = (
    "This small model learned from simulated ECGs alone, for a few minutes. It shows how everything works together; "
    "its answers about a real ECG mean nothing clinically. Not a medical device."
)

# (findings of the simulated ECGs, question, finding that decides a yes or no, None for an open question)
_QUESTIONS = (
    ((("atrial fibrillation",),), "Does this tracing exhibit atrial fibrillation?", "yes"),
    ((("sinus rhythm", "sinus tachycardia"),), "Does this tracing exhibit atrial fibrillation?", "no"),
    (
        (("sinus rhythm", "complete left bundle branch block"),),
        "Is complete left bundle branch block evident on this recording?",
        "yes",
    ),
    ((("normal ecg",),), "Is complete left bundle branch block evident on this recording?", "no"),
    ((("sinus rhythm", "sinus bradycardia"),), "Is sinus bradycardia evident on this recording?", "yes"),
)


def run_demo(ecg: Path | None = None, folder: Path = Path("runs/demo")) -> None:
    """Train (or take the model that an earlier demo trained in `folder`), then ask.

    Args: ecg: a file for `read_ecg`, asked about at the end.
    """
    record = None if ecg is None else read_ecg(ecg)  # a file that cannot be read is said before minutes are spent
    started = time.monotonic()
    run_recipe(load_recipe("sim-demo", [f"output={folder}"]))
    print(f"\nTrained (or found) in {time.monotonic() - started:.0f} s: {folder}")
    _print_metrics(folder)
    from transformers import pipeline  # after training, which takes the time

    pipe = pipeline(model=str(folder), trust_remote_code=True)
    print(
        f"\n{WHAT_IT_IS}\n\nQuestions in wordings that it was not trained on, about simulated ECGs that it has not "
        "seen:\n"
    )
    for index, (records, question, truth) in enumerate(_QUESTIONS):
        ecgs = [simulate_ecg(findings, seed=900_000 + index) for findings in records]
        _ask(pipe, ecgs, question, truth)
    before, after = (
        simulate_ecg(("normal ecg",), seed=910_000),
        simulate_ecg(("sinus rhythm", "complete right bundle branch block"), seed=910_001),
    )
    _ask(pipe, [before, after], "Is complete right bundle branch block new in the second ECG?", "yes")
    _ask(pipe, [after, before], "Is complete right bundle branch block new in the second ECG?", "no")
    if record is not None:
        _ask_about_file(pipe, record, ecg)


def _ask(pipe: Any, ecgs: list[ECGRecord], question: str, truth: str | None) -> None:
    answer = pipe(question, ecgs=ecgs, candidates=["yes", "no"])
    print(f"  {question}\n    {answer['generated_text']} ({answer['probability']:.0%}); truth: {truth}")


def _ask_about_file(pipe: Any, record: ECGRecord, path: Path) -> None:
    print(f"\n{path}: {len(record.leads)} leads, {record.duration:g} s at {record.sampling_rate:g} Hz")
    for note in record.notes:
        print(f"  note: {note}")
    for question in (
        "Is sinus bradycardia evident on this recording?",
        "Does this tracing exhibit atrial fibrillation?",
    ):
        answer = pipe(question, ecgs=record, candidates=["yes", "no"])
        print(f"  {question}\n    {answer['generated_text']} ({answer['probability']:.0%})")
    print(f"\n{WHAT_IT_IS}")


def _print_metrics(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for stage, values in metrics.items():
        for kind, shares in values.get("answers", {}).items():
            print(
                f"  {stage}, {kind}: {shares['exact_match']:.0%} right on {shares['questions']} held-out questions "
                f"(always the commonest answer: {shares['commonest_answer']:.0%})"
            )
