"""The `ecgllm` command: one function per command, each a thin layer over a function of the package.

In: the command line. Out: what was asked for on stdout (JSON with `--json`), progress and errors on stderr. Nothing
heavy is imported before a command needs it, so that `ecgllm --help` answers at once. What the user can put right (a
wrong file, name or value: an `ECGError` or `OSError`) ends in one line and exit code 2; anything else is a defect and
shows its traceback, as everything does with `--debug`.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import __version__
from .errors_ecgllm import ECGError
from .writing import new_folder, unfinished, write_text

if TYPE_CHECKING:
    from datasets import Dataset

    from .signals import ECGRecord

app = typer.Typer(
    name="ecgllm",
    help="Ask questions about electrocardiograms with a language model. A research tool, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must be new or empty.")]
QuestionsFolder = Annotated[
    Path, typer.Argument(help="Folder written by `ecgllm questions` or `ecgllm prepare ecg-qa`.")
]
MatchOn = Annotated[
    str | None,
    typer.Option(help="Confounders in which yes and no shall be alike: severity,age,sex,device,noise or a column."),
]
Rate = Annotated[float | None, typer.Option(help="Hz, of a table or array that does not say it.")]
Unit = Annotated[str | None, typer.Option(help="mV or uV, of a table or array that does not say it.")]
Leads = Annotated[str | None, typer.Option(help="Leads of an array that does not name them: I,II,V1.")]
Format = Annotated[str | None, typer.Option(help="Format of a file that does not show it: csv, dicom, edf, ...")]
AllowTruncated = Annotated[
    bool, typer.Option("--allow-truncated", help="Read what is there of a file that ends early.")
]
AllStatements = Annotated[
    bool,
    typer.Option(
        "--statements",
        help="Show all statements as the source writes them, on the terminal alone; they may name somebody.",
    ),
]
SkipChecksum = Annotated[bool, typer.Option("--skip-checksum", help="Read a file whose checksum is wrong.")]


def _from_zero(seed: int) -> int:
    if seed < 0:
        raise ECGError(f"--seed is {seed}; expected a whole number from 0 on")
    return seed


Seed = Annotated[int, typer.Option("--seed", callback=_from_zero, help="Same seed, same result.")]

# The commands that read ECG files with the options of `read_ecg`, and the advice of the package's messages, which is
# written for Python, as their options say it.
READING_COMMANDS = ("ask", "info", "plot")
ADVICE = (
    (r"allow_truncated=True", "--allow-truncated"),
    (r"verify_checksum=False", "--skip-checksum"),
    (r"drop_unknown_leads=True", "--drop-unknown-leads"),
    (r"nan_policy='(\w+)'", r"--nan-policy \1"),
    (r"format='(\w+)'", r"--format \1"),
    (r"unit='(\w+)'", r"--unit \1"),
    (r"unit=\.\.\.", "--unit mV or --unit uV"),
    (r"sampling_rate=\.\.\.", "--sampling-rate"),
    (r"sampling_rate=([\d.e+-]+) was passed", r"--sampling-rate \1 was passed"),
    (r"leads=\[[^\]]*\]", "--leads I,II,..."),
    (r"([Pp]ass) max_bytes=\.\.\.", r"\1 max_bytes=... to read_ecg in Python"),
    (r"Read a folder with iter_ecgs", "Name its files one by one, as in FOLDER/*.hea"),
    (
        r"Read the rows of a Parquet file with iter_ecgs on",
        "In Python, read the rows of a Parquet file with iter_ecgs on",
    ),
)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; `arguments` default to those of the process. Always ends in `SystemExit`."""
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = arguments[:1] == ["--debug"]
    try:
        app(args=arguments, prog_name="ecgllm")
    except BrokenPipeError:  # the reader of a pipe (`| head`) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except Exception as error:
        if debug or not _is_the_users(error):
            raise
        command = next((argument for argument in arguments if not argument.startswith("-")), None)
        message = _message(error, translating=command in READING_COMMANDS)
        typer.echo(f"ecgllm: {message} (ecgllm --debug ... shows where)", err=True)
        raise SystemExit(2) from None


def _is_the_users(error: Exception) -> bool:
    """Whether an error says what its reader can put right: a refusal of ours, or the system's about a file.

    By name, because the code that a checkpoint brings has a class `ECGError` of its own.
    """
    return isinstance(error, OSError) or any(kind.__name__ == ECGError.__name__ for kind in type(error).__mro__)


def _message(error: Exception, translating: bool = True) -> str:
    """What an error says, on one line; translating: with the command's options for those of Python."""
    message = " ".join(str(error).split()) or type(error).__name__
    for pattern, option in ADVICE if translating else ():
        message = re.sub(pattern, option, message)
    return message


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"ecgllm {__version__}")
        raise typer.Exit


@app.callback()
def ecgllm(
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options that come before the command; `main` reads `--debug`."""


@app.command()
def info(
    context: typer.Context,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="ECG files: WFDB, DICOM, XML, SCP-ECG, EDF, CSV and more.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; for several files a list.")] = False,
    sampling_rate: Rate = None,
    unit: Unit = None,
    leads: Leads = None,
    format: Format = None,
    allow_truncated: AllowTruncated = False,
    skip_checksum: SkipChecksum = False,
    measuring: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure rate, intervals and axis.")
    ] = True,
    all_statements: AllStatements = False,
) -> None:
    """Say what ECG files hold: leads, rate, duration, amplitudes, findings that they state, quality, rate and
    intervals.

    Nothing that names the patient is printed, but the names of several files are: of statements those that are known
    findings, of the time the year, and of several files which comes first. Of several files those that cannot be read
    are named on stderr (and with --json have an "error"), the others described; the exit code is then 2.
    """
    from .findings import finding_stated
    from .signals import read_ecg
    from .signals.recording_time import order_in_time
    from .signals.summary import as_text, summarize

    reading = _reading(sampling_rate, unit, leads, format, allow_truncated, skip_checksum)
    show = str if all_statements else finding_stated
    if len(files) == 1:
        summary = summarize(read_ecg(files[0], **reading), measuring, show)
        typer.echo(json.dumps(summary, indent=2, allow_nan=False) if as_json else as_text(summary))
        return
    listed: list[dict[str, Any]] = []
    times: list[datetime | None] = []
    for path in files:
        try:
            record = read_ecg(path, **reading)
            listed.append({"file": str(path), **summarize(record, measuring, show)})
            times.append(record.recorded_at)
        except (ECGError, OSError) as error:
            if context.find_root().params["debug"]:
                raise
            listed.append({"file": str(path), "error": _message(error)})
    described = [each for each in listed if "error" not in each]
    for each, place in zip(described, order_in_time(times), strict=True):
        if place is not None:
            each["recorded_order"] = place
    if as_json:
        typer.echo(json.dumps(listed, indent=2, allow_nan=False))
    elif described:
        typer.echo("\n\n".join(f"{each['file']}\n{as_text(each)}" for each in described))
    unread = [each for each in listed if "error" in each]
    for each in unread:
        named = each["error"] if each["file"] in each["error"] else f"{each['file']}: {each['error']}"
        typer.echo(f"ecgllm: {named}", err=True)
    if unread:
        typer.echo(f"ecgllm: {len(unread)} of {len(files)} files could not be read", err=True)
        raise typer.Exit(2)


@app.command()
def plot(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="ECG files.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="A .png, .pdf or .svg; for several ECGs a .pdf or a folder.")
    ],
    layout: Annotated[
        str, typer.Option(help="auto, 3x4, 6x2, 12x1, cabrera, cabrera-3x4, cabrera-6x2 or recorded.")
    ] = "auto",
    compare: Annotated[bool, typer.Option("--compare", help="Draw two ECGs side by side.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="Draw all of a recording, page by page, in a .pdf.")] = False,
    start: Annotated[float, typer.Option(help="Where to start, in seconds.")] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Seconds a page; 10 where there are as many.")] = None,
    speed: Annotated[float, typer.Option(help="Paper speed in mm/s.")] = 25.0,
    gain: Annotated[float, typer.Option(help="Gain in mm/mV.")] = 10.0,
    style: Annotated[str, typer.Option(help="paper (pink grid) or plain (grey grid).")] = "paper",
    measuring: Annotated[
        bool | None,
        typer.Option(
            "--measure/--no-measure",
            help="Rate and intervals in the header as measured, or as the file states them; "
            "by default measured if the file states none.",
            show_default=False,
        ),
    ] = None,
    sampling_rate: Rate = None,
    unit: Unit = None,
    leads: Leads = None,
    format: Format = None,
    allow_truncated: AllowTruncated = False,
    skip_checksum: SkipChecksum = False,
) -> None:
    """Draw ECGs on millimetre paper, true to scale. The header shows a record's id; no other sign of the patient."""
    from .signals.plotting.files import plot_files

    reading = _reading(sampling_rate, unit, leads, format, allow_truncated, skip_checksum)
    options = {"layout": layout, "start": start, "duration": duration, "speed": speed, "gain": gain, "style": style}
    try:
        written = plot_files(
            files, output, compare=compare, whole=whole, reading=reading, measuring=measuring, **options
        )
    except ImportError as error:  # matplotlib is an optional extra
        raise ECGError(str(error)) from error
    for path in written:
        typer.echo(path)


REPORT = "report.txt"  # beside the data set that it is about
NOTICE = "Not a medical device: no answer may guide the care of a person."

# Of the whole answer, which a model trained by cross-entropy gives as its chance to be the recorded one; not the mean
# per token, which grows with every repetition of a text that runs in circles ("lead iiiii"). One chance in ten.
UNSURE_BELOW = 0.1
# Of the likelier of yes and no, relative to the other: where the model that ships gave less about real records, it was
# right no more often than a coin (the table of certainty in its card).
UNDECIDED_BELOW = 0.7


@app.command()
def ask(
    files: Annotated[
        list[str], typer.Argument(metavar="FILE... QUESTION", help="One or more ECG files, and then the question.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Folder of a checkpoint, or a Hub id with --trust-remote-code; by default the one that ships, "
            "which learned from simulated ECGs alone.",
        ),
    ] = None,
    candidates: Annotated[
        str | None, typer.Option(help="Choose among these answers, separated by commas, instead of writing one.")
    ] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run the code that comes with the checkpoint.")
    ] = False,
    nan_policy: Annotated[
        str | None, typer.Option(help="What to do with missing samples: interpolate, or drop_lead.")
    ] = None,
    drop_unknown_leads: Annotated[
        bool, typer.Option("--drop-unknown-leads", help="Leave out leads that the model does not know.")
    ] = False,
    measuring: Annotated[
        bool, typer.Option("--measure/--no-measure", help="Measure rate, intervals and axis.")
    ] = True,
    sampling_rate: Rate = None,
    unit: Unit = None,
    leads: Leads = None,
    format: Format = None,
    allow_truncated: AllowTruncated = False,
    skip_checksum: SkipChecksum = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Ask one question about one ECG or several.

    A folder is loaded by this package's own code. Code that a checkpoint brings or names is run only with
    --trust-remote-code, which a Hub id needs. With candidates, probabilities are relative to these. Rate, intervals
    and axis stand below the answer; they are measured, not asked of the model.
    """
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
    from .answering import check_checkpoint, load_answerer
    from .shipped import shipped_checkpoint

    model = str(shipped_checkpoint()) if model is None else model
    check_checkpoint(model, trust_remote_code)
    from .heart_ecgllm import NO_HEART
    from .signals import assess_quality, read_ecg
    from .signals.summary import SHORT_BELOW_S, measured, shown_notes

    reading = _reading(sampling_rate, unit, leads, format, allow_truncated, skip_checksum)
    records = [read_ecg(path, **reading) for path in paths]  # before the model, which takes longer to find out
    doubts = {}
    for path, record in zip(paths, records, strict=True):
        quality = assess_quality(record)
        if not quality.heart.found and record.duration >= SHORT_BELOW_S:  # shorter ones the model refuses as such
            raise ECGError(f"{path}: {NO_HEART.format(found=quality.heart.missing)}. Nothing can be asked about it")
        doubts[path] = [*shown_notes(record), *quality.reasons]
    ecg_options = {
        "drop_unknown_leads": drop_unknown_leads,
        **({} if nan_policy is None else {"nan_policy": nan_policy}),
    }
    with _quiet():
        answerer = load_answerer(model, trust_remote_code)
        result = answer_question(answerer, records, question, choices, **ecg_options)
        by_file = zip(paths, records, strict=True)
        measurements = {path: measured(record) for path, record in by_file} if measuring else {}
    result = {
        "files": paths,
        "question": question,
        **result,
        "model": model,
        "recorded": _recorded(paths, records),
        "measurements": measurements,
        "doubts": doubts,
        "notice": NOTICE,
    }
    typer.echo(json.dumps(result, indent=2, allow_nan=False) if as_json else _as_answer(result))


def _recorded(paths: list[str], records: list[ECGRecord]) -> list[dict[str, Any]]:
    """The year of each ECG whose time is known, and its place in time among them."""
    from .signals.recording_time import order_in_time

    times = [record.recorded_at for record in records]
    found = zip(paths, times, order_in_time(times), strict=True)
    return [{"file": path, "year": time.year, "order": place} for path, time, place in found if time is not None]


def answer_question(
    answerer: Any,
    records: list[ECGRecord],
    question: str,
    candidates: list[str] | None = None,
    **ecg_options: Any,
) -> dict[str, Any]:
    """Ask a loaded pipeline about records; ecg_options: for `ECGFeatureExtractor`.

    Where the model writes yes or no, the answer is the likelier of the two: what is written token by token follows
    the likeliest beginning, which need not begin the likelier answer.

    Returns: JSON-ready mapping: answer; candidates {answer: probability relative to the others} (None unless
    candidates are given or the model wrote yes or no, when they are yes and no); the answer's probability, relative to
    the candidates where there are some; generated {text, probability}, what the model wrote freely (None where
    candidates are given); unsure: whether the model gives what it wrote, or yes and no together, a probability below
    `UNSURE_BELOW`, or the likelier of yes and no one below `UNDECIDED_BELOW` (None where candidates are given);
    trained_on.
    """
    chosen = {} if candidates is None else {"candidates": candidates}
    found = answerer(question, ecgs=records, **chosen, **ecg_options)
    scores = found.get("candidates")
    answer, probability = found["generated_text"], found["probability"]
    generated = None if candidates is not None else {"text": answer, "probability": probability}
    known, undecided = probability, False  # known: of all the answers that are compared
    if candidates is None and answer.lower() in ("yes", "no"):
        # In the spelling of the answer, as a model that says "Yes" gives "yes" little.
        asked = [word.capitalize() if answer[0].isupper() else word for word in ("yes", "no")]
        scored = answerer(question, ecgs=records, candidates=asked, **ecg_options)["candidates"]
        scores = {word.lower(): score for word, score in scored.items()}  # likeliest first
        known = min(1.0, probability / max(scores[answer.lower()], 1e-12))
        answer, probability = max(scores.items(), key=lambda pair: pair[1])
        undecided = probability < UNDECIDED_BELOW
    return {
        "answer": answer,
        "probability": probability,
        "candidates": scores,
        "generated": generated,
        "unsure": None if generated is None else known < UNSURE_BELOW or undecided,
        "trained_on": getattr(answerer.model.config, "trained_on", None),
    }


def _as_answer(result: dict[str, Any]) -> str:
    from .signals.summary import measured_line

    answer, scores, generated = result["answer"], result["candidates"], result["generated"]
    shown = f"{result['probability']:.3g}"
    if not scores:
        lines = [f"{answer or '(no answer)'}  (probability {shown})"]
    else:
        names = ("yes", "no") if set(scores) == {"yes", "no"} else tuple(scores)
        among = " and ".join(names) if len(names) == 2 else f"{len(names)} candidates"
        lines = [f"{answer}  ({shown} of {among})"]
        relative = ", ".join(f"{each} {score:.3g}" for each, score in scores.items())
        lines.append(f"relative to each other: {relative}")
    if generated is not None and generated["text"].lower() != answer.lower():
        lines.append(f"note: token by token the model wrote {generated['text']!r}, the less likely answer as a whole")
    if result["unsure"] and scores and result["probability"] < UNDECIDED_BELOW:
        lines.append("note: the model is undecided between yes and no; take this for no answer")
    elif result["unsure"]:
        doubted = "yes and no together have" if scores else "this one has"
        lines.append(
            f"note: the model is not sure of any answer; {doubted} a probability below {UNSURE_BELOW:g} "
            "among all that it could write"
        )
    for path, doubts in result["doubts"].items():
        lines += [f"note on {path}: {doubt}" for doubt in doubts]
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


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and warnings of the libraries: the answer is all that is printed."""
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


@app.command()
def prepare(
    name: Annotated[
        str,
        typer.Argument(
            help="ludb, cinc2021, chapman-shaoxing, ningbo, cpsc2018, ptbxl, mimic-iv-ecg, code15, folder, "
            "simulation or ecg-qa."
        ),
    ],
    output: OutputFolder,
    source: Annotated[
        Path | None, typer.Argument(metavar="[SRC]", help="Folder that holds the corpus as published.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take this many records (ecg-qa: questions).")] = None,
    seed: Seed = 0,
    sampling_rate: Annotated[float | None, typer.Option(help="ptbxl: 500 or 100 Hz.")] = None,
    min_likelihood: Annotated[
        float | None, typer.Option(min=0, max=100, help="ptbxl: least likelihood of a diagnosis, in percent.")
    ] = None,
    unit: Annotated[str | None, typer.Option(help="code15: unit of the tracings, where it cannot be told.")] = None,
    table: Annotated[Path | None, typer.Option(help="folder: CSV file with a row per ECG file.")] = None,
    records: Annotated[Path | None, typer.Option(help="ecg-qa: folder of PTB-XL or MIMIC-IV-ECG.")] = None,
    wording: Annotated[str | None, typer.Option(help="ecg-qa: paraphrased (default) or template.")] = None,
    split: Annotated[str | None, typer.Option(help="ecg-qa: split of shards in no folder that says it.")] = None,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="ecg-qa: keep questions about records that are not there.")
    ] = False,
    all_statements: AllStatements = False,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="Of a recording that stands in it more than once keep one record.")
    ] = False,
) -> None:
    """Turn a public ECG corpus, or your own folder, into a `datasets` folder with one vocabulary of findings.

    ecg-qa writes questions, and with --records the corpus of their ECGs into the folder `records` below them.
    """
    with new_folder(output) as folder:
        given = {"sampling_rate": sampling_rate, "unit": unit, "table": table}
        options = {option: value for option, value in given.items() if value is not None}
        try:
            if name == "ecg-qa":
                options |= {"wording": wording, "split": split, "keep_missing": keep_missing, "limit": limit}
                options |= {"drop_copies": drop_copies, "min_likelihood": min_likelihood or 0.0}
                _prepare_ecg_qa(folder, output, source, records, all_statements, **options)
                return
            if records is not None or wording is not None or split is not None or keep_missing:
                raise ECGError("--records, --wording, --split and --keep-missing are options of ecg-qa")
            if min_likelihood is not None and name != "ptbxl":
                raise ECGError(f"--min-likelihood is for PTB-XL's statements; {name} states no likelihoods")
            from .corpora import prepare_with_report

            corpus, report = prepare_with_report(
                name,
                source,
                seed=seed,
                limit=limit,
                min_likelihood=min_likelihood or 0.0,
                drop_copies=drop_copies,
                **options,
            )
        except ImportError as error:  # h5py is an optional extra
            raise ECGError(str(error)) from error
        _save(corpus, folder, output, "records", report, all_statements)


def _prepare_ecg_qa(
    folder: Path, output: Path, source: Path | None, records: Path | None, all_statements: bool, **options: Any
) -> None:
    from .corpora.questions.ecg_qa_records import prepare_ecg_qa

    if source is None:
        raise ECGError("ecg-qa needs its folder: ecgllm prepare ecg-qa FOLDER -o OUT")
    found = prepare_ecg_qa(source, records, **options)
    _save(found.questions, folder, output, "questions", found, all_statements)
    if found.records is not None:
        _save(found.records, folder / "records", output / "records", "records")


@app.command()
def questions(
    corpus: Annotated[Path, typer.Argument(help="Folder written by `ecgllm prepare` or `ecgllm simulate`.")],
    output: OutputFolder,
    phrasings: Annotated[
        str, typer.Option(help="Wordings: train or test, which are disjoint, or split: each split those of its own.")
    ] = "split",
    split: Annotated[str | None, typer.Option(help="Only records of this split: train, validation or test.")] = None,
    balance: Annotated[
        bool, typer.Option("--debias", help="Keep only yes/no questions, each with as many ECGs for yes as for no.")
    ] = False,
    match_on: MatchOn = None,
    types: Annotated[str, typer.Option(help="Some of verify,choose,query,comparison.")] = "",
    attributes: Annotated[
        str | None, typer.Option(help="Ask only for these findings, groups and measurements, separated by commas.")
    ] = None,
    per_record: Annotated[
        float, typer.Option(help="Questions of each type per record, on average and at most.")
    ] = 4.0,
    seed: Seed = 0,
) -> None:
    """Build questions with known answers from the findings and measurements of a corpus."""
    with new_folder(output) as folder:
        from .corpora import build_questions, debias_with_report

        records = _load_corpus(corpus)
        if split is not None:
            present = sorted(set(records["split"]))
            if split not in present:
                raise ECGError(f"{corpus} has no split {split!r}; it has {', '.join(present)}")
            records = records.filter(lambda value: value == split, input_columns="split")
        chosen = {
            name: value for name, value in (("types", _names(types)), ("attributes", _names(attributes))) if value
        }
        built = build_questions(records, phrasings=phrasings, seed=seed, per_record=per_record, **chosen)
        if built.info.description:
            typer.echo(built.info.description, err=True)
        report = None
        if balance or match_on:
            built, report = debias_with_report(built, seed, records, _names(match_on))
        _save(built, folder, output, "questions", report)


@app.command()
def debias(
    questions: Annotated[
        Path, typer.Argument(help="Folder written by `ecgllm questions` or `ecgllm prepare ecg-qa`.")
    ],
    output: OutputFolder,
    corpus: Annotated[Path | None, typer.Option(help="Folder of their records, needed to match.")] = None,
    match_on: MatchOn = None,
    method: Annotated[
        str,
        typer.Option(
            help="match: drop questions until yes and no are alike; weight: a weight for each; standardise: weights "
            "by which every question is asked of alike records (the adjustment formula)."
        ),
    ] = "match",
    by_split: Annotated[
        bool, typer.Option("--by-split/--whole", help="Balance each split by itself, or all questions together.")
    ] = True,
    max_per_record: Annotated[int | None, typer.Option(help="At most so many questions about one record.")] = None,
    crossed: Annotated[
        bool, typer.Option("--crossed", help="Balance every wording within every stratum, at the cost of questions.")
    ] = False,
    seed: Seed = 0,
) -> None:
    """Sample by outcome: yes/no questions for which as many ECGs answer yes as no, in every wording.

    That blocks the way from severity to the answer. The adjustment formula is --method standardise.
    """
    with new_folder(output) as folder:
        from .corpora import debias_with_report

        records = None if corpus is None else _load_corpus(corpus)
        kept, report = debias_with_report(
            _load_questions(questions), seed, records, _names(match_on), max_per_record, method, by_split, crossed
        )
        _save(kept, folder, output, "questions", report)


@app.command()
def confound(
    corpus: Annotated[Path, typer.Argument(help="Folder of records, best those of `ecgllm simulate`.")],
    output: OutputFolder,
    strength: Annotated[float, typer.Option(help="0: no bias; 1: who is asked what depends on severity alone.")] = 1.0,
    phrasings: Annotated[str, typer.Option(help="Wordings to use, train or test; they are disjoint.")] = "train",
    per_record: Annotated[float, typer.Option(help="Questions per record, on average.")] = 2.0,
    seed: Seed = 0,
) -> None:
    """Build the biased questions that a hospital gives: severity decides who is asked what. For experiments."""
    with new_folder(output) as folder:
        from .corpora import confound as biased

        built = biased(_load_corpus(corpus), strength, seed, per_record, phrasings=phrasings)
        _save(built, folder, output, "questions")


@app.command()
def audit(
    questions: Annotated[
        Path, typer.Argument(help="Folder written by `ecgllm questions` or `ecgllm prepare ecg-qa`.")
    ],
    corpus: Annotated[Path | None, typer.Option(help="Folder of their records: severity, age, sex, patients.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for audit.json and audit.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seed: Seed = 0,
) -> None:
    """Say how much of the answers the questions give away without the ECG."""
    from .corpora.debiasing.audit import audit as measure

    found = measure(_load_questions(questions), None if corpus is None else _load_corpus(corpus), seed)
    if output is not None:
        from .corpora.debiasing.audit_plot import plot_audit

        write_text(output / "audit.json", found.to_json() + "\n")
        plot_audit(found, output / "audit.png")
    typer.echo(found.to_json() if as_json else str(found))


@app.command()
def simulate(
    output: OutputFolder,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many ECGs; with --follow-ups how many pairs.")
    ] = 1000,
    seed: Seed = 0,
    sampling_rate: Annotated[float, typer.Option(help="Hz, at least 50.")] = 100.0,
    duration: Annotated[float, typer.Option(help="Seconds of each ECG, at least 5.")] = 10.0,
    noise: Annotated[float, typer.Option(help="Scale of the electrodes' noise; 1 as in public ECGs, 0 none.")] = 1.0,
    findings: Annotated[
        str | None,
        typer.Option(help='What every ECG shows, separated by commas: "atrial fibrillation,st depression".'),
    ] = None,
    heart_rate: Annotated[float | None, typer.Option(help="Beats per minute of every ECG.")] = None,
    reader_spread: Annotated[
        float,
        typer.Option(help="0 for findings by published limits, to 1: each read by the limits of another reader."),
    ] = 0.0,
    follow_ups: Annotated[
        bool, typer.Option("--follow-ups", help="Write pairs: two ECGs of one patient, of which a third is unchanged.")
    ] = False,
) -> None:
    """Write a corpus of simulated 12-lead ECGs with known findings, leads, measurements and reports.

    Without --findings a mix as broad as a hospital's is drawn; with them every record shows them, and what is not
    named is normal. The same options write the same bytes.
    """
    with new_folder(output) as folder:
        from .corpora import records_to_corpus
        from .signals.simulation import stream_ecgs, stream_follow_ups

        options = {
            "sampling_rate": sampling_rate,
            "duration": duration,
            "noise": noise,
            "reader_spread": reader_spread,
        }
        if follow_ups:
            if findings is not None or heart_rate is not None:
                raise ECGError("--follow-ups draws what changes; leave --findings and --heart-rate out")
            pairs = stream_follow_ups(count, seed, **options)
            records = (record for pair in pairs for record in (pair.first, pair.second))
        else:
            wanted = None if findings is None else _names(findings)
            records = stream_ecgs(count, seed, **options, findings=wanted, heart_rate=heart_rate)
        _save(records_to_corpus(records, source="simulation", seed=seed), folder, output, "records")


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, for example recipes/ludb-tiny.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe values.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print data, sizes, memory and time, and train nothing.")
    ] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="With --dry-run: plan for so many processes.")] = None,
) -> None:
    """Train the stages that a recipe names."""
    from .train import main as run_recipe

    if processes is not None and not dry_run:
        raise ECGError("--processes is for --dry-run; a training's processes are the launcher's (torchrun)")
    planning = [*(["--dry-run"] if dry_run else []), *([f"--processes={processes}"] if processes else [])]
    run_recipe([str(recipe), *(overrides or []), *planning])


@app.command()
def demo(
    ecg: Annotated[Path | None, typer.Option("--ecg", help="Also ask about this file.")] = None,
    training: Annotated[
        bool, typer.Option("--train", help="Ask a model that is first trained, in minutes; not the one that ships.")
    ] = False,
) -> None:
    """Ask the model that ships about simulated ECGs, whose truth is known, and about a file."""
    if ecg is not None:
        from .signals import read_ecg

        read_ecg(ecg)  # refuse a file that cannot be read now, not after seconds or minutes of work
    from .training.demo import run_demo

    run_demo(ecg, training)


def _load_corpus(folder: Path) -> Dataset:
    from datasets import Dataset

    from .corpora.records.rows import saved_rows

    if not (folder / "dataset_info.json").is_file():
        why = unfinished(folder) or "no dataset_info.json in it. `ecgllm prepare` writes one"
        raise FileNotFoundError(f"{folder} is no corpus: {why}")
    corpus = saved_rows(folder)
    if not isinstance(corpus, Dataset):
        raise ECGError(f"{folder} holds a {type(corpus).__name__}; expected what `ecgllm prepare` writes")
    return corpus


def _load_questions(folder: Path) -> Dataset:
    from datasets import Dataset

    from .corpora.records.rows import saved_rows

    if not (folder / "dataset_info.json").is_file():
        why = unfinished(folder) or "no dataset_info.json in it. `ecgllm questions` writes it"
        raise FileNotFoundError(f"{folder} holds no questions: {why}")
    questions = saved_rows(folder)
    if not isinstance(questions, Dataset) or "question" not in questions.column_names:
        raise ECGError(f"{folder} holds no questions; expected what `ecgllm questions` writes")
    return questions


def _reading(
    sampling_rate: float | None,
    unit: str | None,
    leads: str | None,
    format: str | None,
    allow_truncated: bool,
    skip_checksum: bool,
) -> dict[str, Any]:
    """The options of `read_ecg` that those of a command mean."""
    return {
        "sampling_rate": sampling_rate,
        "unit": unit,
        "leads": None if leads is None else _names(leads),
        "format": format,
        "allow_truncated": allow_truncated,
        "verify_checksum": not skip_checksum,
    }


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def _save(
    dataset: Dataset, folder: Path, output: Path, noun: str, report: Any = None, all_statements: bool = False
) -> None:
    """Write a data set to `folder`, which becomes `output`, and its report (with a method `text`) whole beside it, of
    which the screen shows less. all_statements: the screen alone shows statements that are no finding, too."""
    dataset.save_to_disk(str(folder))
    if report is not None:
        (folder / REPORT).write_text(report.text() + "\n", encoding="utf-8")
        more = {"statements": True} if all_statements else {}
        typer.echo(report.text(most=10, all_in=output / REPORT, **more), err=True)
    typer.echo(f"{len(dataset)} {noun} in {output}")


if __name__ == "__main__":
    main()
