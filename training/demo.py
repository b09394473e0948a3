"""The first run of a newcomer: a small model is asked about simulated ECGs and, on request, about a file.

In: the checkpoint that ships, or one that is first trained; optionally a real file. Out: answers on the screen, each
with the label where there is one; of the file a lead in characters, what is measured, and the findings with how likely
they are. Nothing is downloaded and no patient's data is used. No recipe trains on its paraphrases.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from ..answer_calibration_ecgllm import LIKELY_NO
from ..shipped import shipped_checkpoint
from ..signals import ECGRecord, measure, read_ecg
from ..signals.plotting.terminal import braille_lines
from ..signals.simulation import simulate_ecg
from ..signals.summary import measured, measured_line
from .trainers.progress import quiet_libraries

_LIMITS = (
    "It shows how everything works together; its answers about a real ECG mean nothing clinically.\n"
    "Not a medical device."
)

_AF = "Does this tracing exhibit atrial fibrillation?"
_LBBB = "Is complete left bundle branch block evident on this recording?"
_SLOW = "Is sinus bradycardia evident on this recording?"
_NEW = "Has complete right bundle branch block newly developed on the second tracing?"

# (findings of each simulated ECG, question, label)
_SIMULATED = (
    ([("atrial fibrillation",)], _AF, "yes"),
    ([("sinus rhythm", "sinus bradycardia")], _AF, "no"),
    ([("sinus rhythm", "complete left bundle branch block")], _LBBB, "yes"),
    ([("normal ecg",)], _LBBB, "no"),
    ([("sinus rhythm", "sinus bradycardia")], _SLOW, "yes"),
    ([("sinus rhythm", "sinus tachycardia")], _SLOW, "no"),
    ([("normal ecg",), ("sinus rhythm", "complete right bundle branch block")], _NEW, "yes"),
    ([("sinus rhythm", "complete right bundle branch block"), ("normal ecg",)], _NEW, "no"),
)
_OF_A_FILE = (
    "Is sinus rhythm evident on this recording?",
    _AF,
    _SLOW,
    "Is sinus tachycardia evident on this recording?",
    _LBBB,
    "Are ectopic beats of any sort evident on this recording?",
    "Does this tracing exhibit left axis deviation?",
    "Does this tracing exhibit st elevation?",
)
_FREELY = "How would you classify the rhythm on this tracing?"
_DRAWN_S = 5.0
_MOST = 12  # findings of a file
_FIRST_SEED = 900_000  # far from the seeds of the training corpus


def run_demo(ecg: Path | None = None, training: bool = False, folder: Path = Path("runs/demo")) -> None:
    """Ask the model that ships or, with `training`, one that is trained in `folder` (once; a second demo uses it
    again).

    Args: ecg: a file for `read_ecg`, asked about at the end.
    Raises: ECGReadError for the file, and FileNotFoundError for the model that ships, before anything is done.
    """
    record = None if ecg is None else read_ecg(ecg)
    model = folder if training else shipped_checkpoint()
    if training:
        _train(folder)
    # Imported late: it takes seconds, and an error about the file should come first.
    from ..asking import load_answerer

    with quiet_libraries():
        pipe = load_answerer(model)
        what_it_is = f"This small model learned from {pipe.model.config.trained_on}.\n{_LIMITS}"
        print(f"\n{what_it_is}")
        for title, count in (("About one simulated ECG at a time", 1), ("About two simulated ECGs at a time", 2)):
            print(f"\n{title}, none seen in training ([what they show]):")
            for index, (shown, question, label) in enumerate(_SIMULATED):
                if len(shown) == count:
                    ecgs = [
                        simulate_ecg(findings, seed=_FIRST_SEED + 10 * index + i) for i, findings in enumerate(shown)
                    ]
                    names = " / ".join(", ".join(findings) for findings in shown)
                    print(f"  [{names}]\n    {question:<78} {_answer(pipe, ecgs, question)}; label: {label}")
        if record is not None:
            _ask_about_file(pipe, record, ecg)
            print(f"\n{what_it_is}")
    named = f" --model {folder}" if training else ""
    print(f'\nYour own questions: ecgllm ask FILE... "QUESTION"{named}')


def _train(folder: Path) -> None:
    from .recipe_loading import load_recipe
    from .run import run_recipe

    started = time.monotonic()
    print("Training on simulated ECGs takes some five minutes on two CPU cores; a second demo takes the same model.")
    run_recipe(load_recipe("sim-demo", [f"output={folder}"]))
    print(f"\nThe model is in {folder} ({time.monotonic() - started:.0f} s). On held-out ECGs and unseen paraphrases:")
    _print_figures(folder)


def _answer(pipe: Any, ecgs: list[ECGRecord], question: str) -> str:
    answer = pipe(question, ecgs=ecgs, candidates=["yes", "no"], **_told(pipe, ecgs))
    return f"{answer['generated_text']:<3} ({answer['probability']:.0%})"


def _told(pipe: Any, ecgs: list[ECGRecord]) -> dict[str, Any]:
    """What is measured, for a model that was trained with it."""
    return {"measured": [measure(ecg).figures() for ecg in ecgs]} if pipe.processor.reads_measured else {}


def _ask_about_file(pipe: Any, record: ECGRecord, path: Path) -> None:
    print(f"\nAbout {path} ({len(record.leads)} leads, {record.duration:g} s at {record.sampling_rate:g} Hz):")
    _draw(record)
    print(f"  measured, not by the model: {measured_line(measured(record))}")
    _print_findings(pipe, record)
    for question in _OF_A_FILE:
        print(f"  {question:<80} {_answer(pipe, [record], question)}")
    freely = pipe(_FREELY, ecgs=[record], **_told(pipe, [record]))
    print(f"  {_FREELY:<80} {freely['generated_text']} ({freely['probability']:.0%})")


def _draw(record: ECGRecord) -> None:
    try:
        braille_lines(np.zeros(2), 1, 1)[0].encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return  # a terminal without these characters
    lead = record.leads.index("II") if "II" in record.leads else 0
    samples = record.signal[lead, : round(_DRAWN_S * record.sampling_rate)]
    print(f"  lead {record.leads[lead]}, {min(_DRAWN_S, record.duration):g} s:")
    columns = min(100, max(40, shutil.get_terminal_size().columns - 4))
    for line in braille_lines(samples, columns):
        print(f"  {line}")


def _print_findings(pipe: Any, record: ECGRecord) -> None:
    """Those that are not unlikely, the likeliest first."""
    from ..finding_overview import ask_findings

    found = ask_findings(pipe, record)
    if found[0].calibrated is None:
        shown = [f"{one.finding} {one.p_yes:.2f}" for one in found if one.p_yes > 0.5][:_MOST]
        print(
            f"  findings, by P(yes) beside P(no), of {len(found)} asked about: {', '.join(shown) or 'none above .5'}"
        )
        return
    shown = [one for one in found if one.probability > LIKELY_NO][:_MOST]
    fitted_on = re.sub(r"\s*\(\w+\)$", "", pipe.processor.calibration.fitted_on)  # without the hash of these
    frequent = f"where they are as frequent as in {fitted_on}"
    print(f"  findings, of {len(found)} asked about, {frequent}:")
    for one in shown:
        said = one.calibrated.said if one.calibrated.answer != "no" else "likely not"
        print(f"    {one.probability:4.0%}  {'#' * round(20 * one.probability):<20}  {one.finding} ({said})")
    print(f"    all others: {LIKELY_NO:.0%} and less" if len(shown) < _MOST else "    ...")


def _print_figures(folder: Path) -> None:
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for kind, shares in metrics["finetune"]["answers"].items():
        if kind != "all":
            print(
                f"  {kind:<30} {shares['exact_match']:>4.0%} of {shares['questions']} questions right "
                f"(always the commonest answer: {shares['commonest_answer']:.0%})"
            )
