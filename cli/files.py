"""`info` and `plot`: what ECG files hold, in words and on paper."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors_ecgllm import ECGError
from .errors import message_of
from .options import AllStatements, Measuring, reads_ecgs


@reads_ecgs
def info(
    context: typer.Context,
    reading: dict[str, Any],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="ECG files: WFDB, DICOM, XML, SCP-ECG, EDF, CSV and more.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; for several files a list.")] = False,
    measuring: Measuring = True,
    all_statements: AllStatements = False,
) -> None:
    """Say what ECG files hold: leads, rate, duration, amplitudes, findings that they state, quality, rate and
    intervals.

    Nothing that names the patient is printed, but the names of several files are: of statements those that are known
    findings, of the time the year, and of several files which comes first. Of several files those that cannot be read
    are named on stderr (and with --json have an "error"), the others described; the exit code is then 2.
    """
    from ..findings import finding_stated
    from ..signals import read_ecg
    from ..signals.summary import as_text, summarize

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
            listed.append({"file": str(path), "error": message_of(error)})
    _show_several(listed, times, as_json)


def _show_several(listed: list[dict[str, Any]], times: list[datetime | None], as_json: bool) -> None:
    """times: of those that could be read. Raises: typer.Exit where some could not."""
    from ..signals.recording_time import order_in_time
    from ..signals.summary import as_text

    described, unread = ([each for each in listed if ("error" in each) is bad] for bad in (False, True))
    for each, place in zip(described, order_in_time(times), strict=True):
        if place is not None:
            each["recorded_order"] = place
    if as_json:
        typer.echo(json.dumps(listed, indent=2, allow_nan=False))
    elif described:
        typer.echo("\n\n".join(f"{each['file']}\n{as_text(each)}" for each in described))
    for each in unread:
        named = each["error"] if each["file"] in each["error"] else f"{each['file']}: {each['error']}"
        typer.echo(f"ecgllm: {named}", err=True)
    if unread:
        typer.echo(f"ecgllm: {len(unread)} of {len(listed)} files could not be read", err=True)
        raise typer.Exit(2)


@reads_ecgs
def plot(
    reading: dict[str, Any],
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
) -> None:
    """Draw ECGs on millimetre paper, true to scale. The header shows a record's id; no other sign of the patient."""
    from ..signals.plotting.files import plot_files

    options = {"layout": layout, "start": start, "duration": duration, "speed": speed, "gain": gain, "style": style}
    for path in plot_files(
        files, output, compare=compare, whole=whole, reading=reading, measuring=measuring, **options
    ):
        typer.echo(path)
