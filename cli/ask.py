"""`ask`: one question about one ECG or several, to a checkpoint."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..asking import NOTICE, UNDECIDED_BELOW, UNSURE_BELOW
from ..errors_ecgllm import ECGError
from .options import (
    DropUnknownLeads,
    LanguageModel,
    Measuring,
    NanPolicy,
    OtherLanguageModel,
    TrustRemoteCode,
    reads_ecgs,
)

if TYPE_CHECKING:
    from ..signals import ECGRecord

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Folder of a checkpoint, or a Hub id with --trust-remote-code; by default the one that ships, which "
        "learned from simulated ECGs alone.",
    ),
]


Check = Annotated[
    bool,
    typer.Option(
        "--check/--no-check",
        help="Refuse what no ECG answers (treatment, the future, what nobody here knows), or ask the model anyway.",
    ),
]
Prevalence = Annotated[
    float | None,
    typer.Option(
        help="How frequent the finding is among such patients, such as 0.1; by default as among the records that the "
        "checkpoint was calibrated on."
    ),
]


@reads_ecgs
def ask(
    reading: dict[str, Any],
    files: Annotated[
        list[str], typer.Argument(metavar="FILE... QUESTION", help="One or more ECG files, and then the question.")
    ],
    model: Model = None,
    candidates: Annotated[
        str | None, typer.Option(help="Choose among these answers, separated by commas, instead of writing one.")
    ] = None,
    prevalence: Prevalence = None,
    check: Check = True,
    trust_remote_code: TrustRemoteCode = False,
    language_model: LanguageModel = None,
    allow_other_language_model: OtherLanguageModel = False,
    nan_policy: NanPolicy = None,
    drop_unknown_leads: DropUnknownLeads = False,
    measuring: Measuring = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask one question about one ECG or several.

    A folder is loaded by this package's own code. Code that a checkpoint brings or names is run only with
    --trust-remote-code, which a Hub id needs. With candidates, probabilities are relative to these. Rate, intervals
    and axis stand below the answer; they are measured, not asked of the model.
    """
    paths, question, choices = _checked(files, candidates)
    from ..asking import answer_question, check_checkpoint, load_answerer
    from ..shipped import shipped_checkpoint

    model = str(shipped_checkpoint()) if model is None else model
    check_checkpoint(model, trust_remote_code)
    from ..signals.summary import measured
    from ..two_ecgs import doubts_about_two

    records, notes, doubts = _read(paths, reading)  # before the model, which takes longer to find out
    ecg_options = {"drop_unknown_leads": drop_unknown_leads} | ({"nan_policy": nan_policy} if nan_policy else {})
    with quiet():
        answerer = load_answerer(model, trust_remote_code, language_model, allow_other_language_model)
        if prevalence is not None and answerer.processor.calibration is None:
            raise ECGError(f"--prevalence is for a calibrated checkpoint, and {model} is not; see ecgllm calibrate")
        answer = answer_question(answerer, records, question, choices, prevalence, check, **ecg_options)
        measurements = [measured(record) for record in records] if measuring else []
    result = {
        "files": paths,
        "question": question,
        **answer,
        "model": model,
        "prevalence": prevalence,
        "recorded": _recorded(paths, records),
        "measurements": dict(zip(paths, measurements, strict=False)),
        "notes": notes,
        "doubts": doubts,
        "doubts_about_two": doubts_about_two(records, [record.patient_id for record in records]),
        "notice": NOTICE,
    }
    typer.echo(json.dumps(result, indent=2, allow_nan=False) if as_json else _as_answer(result))


def _checked(files: list[str], candidates: str | None) -> tuple[list[str], str, list[str] | None]:
    """(Paths, question, candidates). Raises: ECGError where one is missing, or stands in another's place."""
    *paths, question = files
    if not question.strip():
        raise ECGError("the question is empty; expected ecgllm ask FILE QUESTION, the question in quotes")
    if os.path.exists(question):  # which says no of a name that is too long for one
        raise ECGError(f"{question} is a file; the last argument must be the question, in quotes")
    if not paths:
        raise ECGError(f"no ECG file was given before the question {question!r}; expected ecgllm ask FILE QUESTION")
    choices = None if candidates is None else [answer.strip() for answer in candidates.split(",")]
    if choices is not None and (not all(choices) or len(set(choices)) < len(choices)):
        raise ECGError(f"--candidates is {candidates!r}; expected different answers separated by commas")
    return paths, question, choices


def _read(
    paths: list[str], reading: dict[str, Any]
) -> tuple[list[ECGRecord], dict[str, list[str]], dict[str, list[str]]]:
    """Records; path -> what its reader noticed; path -> what is doubtful about its record.

    Raises: ECGError where no heart beats.
    """
    from ..heart_ecgllm import NO_HEART
    from ..signals import assess_quality, read_ecg
    from ..signals.summary import SHORT_BELOW_S, shown_notes

    records = [read_ecg(path, **reading) for path in paths]
    notes = {path: shown_notes(record) for path, record in zip(paths, records, strict=True)}
    doubts = {}
    for path, record in zip(paths, records, strict=True):
        quality = assess_quality(record)
        if not quality.heart.found and record.duration >= SHORT_BELOW_S:  # shorter ones the model refuses as such
            raise ECGError(f"{path}: {NO_HEART.format(found=quality.heart.missing)}. Nothing can be asked about it")
        doubts[path] = list(quality.reasons)
    return records, notes, doubts


def _recorded(paths: list[str], records: list[ECGRecord]) -> list[dict[str, Any]]:
    """The year of each ECG whose time is known, and its place in time among them."""
    from ..signals.recording_time import order_in_time

    times = [record.recorded_at for record in records]
    found = zip(paths, times, order_in_time(times), strict=True)
    return [{"file": path, "year": time.year, "order": place} for path, time, place in found if time is not None]


def _as_answer(result: dict[str, Any]) -> str:
    from ..signals.summary import measured_line

    answer, scores, generated = result["answer"], result["candidates"], result["generated"]
    calibrated = result["calibrated"]
    shown = None if result["probability"] is None else f"{result['probability']:.3g}"
    if result["refused"] is not None and (own := result["own"]) is not None:
        lines = [f"{result['refused']}  (the model's own answer, probability {own['probability']:.3g})"]
    elif result["refused"] is not None:
        lines = [f"not answered: {result['refused']}", "note: --no-check asks the model all the same"]
    elif result["not_measured"] is not None:
        lines = [f"{result['not_measured']}  (not asked of the model)"]
    elif result["measured"] is not None:
        lines = [f"{result['measured']}  (measured, not asked of the model)"]
    elif calibrated is not None:
        own = result["own"]
        lines = [_calibrated_line(calibrated)]
        lines.append(f"the model's own answer: {own['answer']}, {own['probability']:.3g} of yes and no")
    elif not scores:
        lines = [f"{answer or '(no answer)'}  (probability {shown})"]
    else:
        names = ("yes", "no") if set(scores) == {"yes", "no"} else tuple(scores)
        among = " and ".join(names) if len(names) == 2 else f"{len(names)} candidates"
        lines = [f"{answer}  ({shown} of {among})"]
        relative = ", ".join(f"{each} {score:.3g}" for each, score in scores.items())
        lines.append(f"relative to each other: {relative}")
    answered = result["refused"] is None
    if answered and calibrated is None and generated is not None and generated["text"].lower() != answer.lower():
        lines.append(f"note: token by token the model wrote {generated['text']!r}, the less likely answer as a whole")
    if calibrated is not None or not answered:
        pass  # it says how sure an answer is
    elif result["unsure"] and scores and result["probability"] < UNDECIDED_BELOW:
        lines.append("note: the model is undecided between yes and no; take this for no answer")
    elif result["unsure"]:
        doubted = "yes and no together have" if scores else "this one has"
        lines.append(
            f"note: the model is not sure of any answer; {doubted} a probability below {UNSURE_BELOW:g} "
            "among all that it could write"
        )
    if answered and (result["refusal"] or 0) > 0.5:
        lines.append(
            f"note: the model would rather say that there is no answer ({result['refusal']:.3g} beside the candidates)"
        )
    lines += [f"note: {sentence}" for sentence in result["contradicted"]]
    if result["negated"]:
        lines.append(
            "note: the question negates, and a model may answer as if it did not; ask it without the negation"
        )
    if result["prevalence"] is not None and calibrated is None and not result["refused"]:
        lines.append("note: --prevalence changes nothing here: it is of plain questions about calibrated findings")
    lines += [f"note: {sentence}" for sentence in result["doubts_about_two"]]
    for path, doubts in result["doubts"].items():
        lines += [f"note on {path}: {said}" for said in (*result["notes"][path], *doubts)]
    if recorded := result["recorded"]:
        in_order = sorted(recorded, key=lambda each: each["order"] or 0)
        several = len(recorded) > 1 and recorded[0]["order"] is not None
        named = ", ".join(f"{each['file']} in {each['year']}" for each in in_order)
        lines.append(f"recorded, the earliest first: {named}" if several else f"recorded: {named}")
    for path, found in result["measurements"].items():
        where = f" in {path}" if len(result["measurements"]) > 1 else ""
        lines.append(f"measured{where}, not by the model: {measured_line(found)}")
    trained_on = " ".join((result["trained_on"] or "not stated by its checkpoint").split())
    return "\n".join([*lines, f"The model was trained on: {trained_on}", result["notice"]])


def _calibrated_line(found: dict[str, Any]) -> str:
    """ "likely yes: atrial fibrillation .82, where 10 % of ECGs show it; of such answers 72 % were right"."""
    verdict = found["said"] if found["answer"] is None else f"{found['said']} {found['answer']}"
    line = (
        f"{verdict}  ({found['finding']}: {found['probability']:.2g}, where {found['frequency']:.1%} of ECGs show it)"
    )
    if (measured := found["measured"]) is None:
        return line
    value, low, high = (f"{100 * measured['right'][key]:.0f}" for key in ("value", "low", "high"))
    right = f"{value} % [{low}, {high}] were right"
    return f"{line}\nof such answers, of all findings together, {right}, of {measured['fitted_on']}"


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and warnings of the libraries: what was asked for is all that is printed."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
