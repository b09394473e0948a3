"""The `ecgllm` command: one function per command, each a thin layer over a function of the package.

In: the command line. Out: what was asked for on stdout (JSON with `--json`), progress and errors on stderr. A group of
commands is a file, a command a line in `_COMMANDS`, with the example of its `--help`. Nothing heavy is imported before
a command needs it, so that `ecgllm --help` answers at once. What the user can put right (a wrong file, name or value:
an `ECGError` or `OSError`) ends in one line and exit code 2; anything else is a defect and shows its traceback, as
everything does with `--debug`.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from .. import __version__
from .app import app as open_app
from .ask import ask
from .calibrate import calibrate
from .corpora import join, prepare, share, simulate
from .doctor import doctor
from .embed import embed
from .errors import is_the_users, message_of
from .evaluate import evaluate
from .explain import explain
from .export import export
from .files import info, plot
from .questions import audit, confound, debias, questions
from .serve import serve
from .training import demo, fetch, merge, train

app = typer.Typer(
    name="ecgllm",
    help="Ask questions about electrocardiograms with a language model. A research tool, not a medical device.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_COMMANDS = {
    info: "info record.hea scan.dcm --json",
    plot: "plot record.hea -o ecg.png",
    ask: 'ask record.hea "Does this ECG show atrial fibrillation?"',
    embed: "embed records/*.hea -o embeddings.parquet",
    prepare: "prepare ludb path/to/ludb -o corpus",
    join: "join ludb=path/to/ludb ptbxl=path/to/ptb-xl -o corpus",
    questions: "questions corpus -o questions",
    debias: "debias questions --match-on severity,age -o debiased",
    confound: "confound corpus -o confounded",
    audit: "audit questions",
    simulate: "simulate -n 1000 --seed 1 -o corpus",
    share: "share corpus someone/ecgs --license cc-by-4.0",
    fetch: "fetch pretrained",
    train: "train sim-tiny seed=1 output=runs/seed-1",
    merge: "merge checkpoint -o whole",
    evaluate: "evaluate checkpoint corpus -o report",
    calibrate: "calibrate checkpoint corpus",
    export: "export checkpoint -o graph",
    explain: 'explain record.hea "Is there left axis deviation?" -o explained.png',
    serve: "serve --port 8000",
    open_app: "app",
    demo: "demo --ecg record.hea",
    doctor: "doctor",
}
for _command, _example in _COMMANDS.items():
    app.command(epilog=f"Example: ecgllm {_example}")(_command)


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
        if debug or not is_the_users(error):
            raise
        typer.echo(f"ecgllm: {message_of(error)} (ecgllm --debug ... shows where)", err=True)
        raise SystemExit(2) from None


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
