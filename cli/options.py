"""Options that several commands have, and what they mean to the functions below."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors_ecgllm import ECGError

OutputFolder = Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must be new or empty.")]
QuestionsFolder = Annotated[
    Path, typer.Argument(help="Folder written by `ecgllm questions` or `ecgllm prepare ecg-qa`.")
]
MatchOn = Annotated[
    str | None,
    typer.Option(help="Confounders in which yes and no shall be alike: severity,age,sex,device,noise or a column."),
]
Measuring = Annotated[bool, typer.Option("--measure/--no-measure", help="Measure rate, intervals and axis.")]
LanguageModel = Annotated[
    str | None,
    typer.Option(help="Where the language model lies that a trained-only checkpoint names: a folder or Hub id."),
]
OtherLanguageModel = Annotated[
    bool,
    typer.Option(
        "--allow-other-language-model", help="Take other weights than the checkpoint names; nobody measured them."
    ),
]
Parquet = Annotated[
    bool, typer.Option("--parquet", help="Write Parquet files, for the Hub and other programs, instead of Arrow.")
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the checkpoint, such as an encoder's.")
]
NanPolicy = Annotated[str | None, typer.Option(help="What to do with missing samples: interpolate, or drop_lead.")]
DropUnknownLeads = Annotated[
    bool, typer.Option("--drop-unknown-leads", help="Leave out leads that the model does not know.")
]
AllStatements = Annotated[
    bool,
    typer.Option(
        "--statements",
        help="Show all statements as the source writes them, on the terminal alone; they may name somebody.",
    ),
]


def _from_zero(seed: int) -> int:
    if seed < 0:
        raise ECGError(f"--seed is {seed}; expected a whole number from 0 on")
    return seed


Seed = Annotated[int, typer.Option("--seed", callback=_from_zero, help="Same seed, same result.")]


def reading_options(
    sampling_rate: Annotated[float | None, typer.Option(help="Hz, of a table or array that does not say it.")] = None,
    unit: Annotated[str | None, typer.Option(help="mV or uV, of a table or array that does not say it.")] = None,
    leads: Annotated[str | None, typer.Option(help="Leads of an array that does not name them: I,II,V1.")] = None,
    format: Annotated[
        str | None, typer.Option(help="Format of a file that does not show it: csv, dicom, edf, ...")
    ] = None,
    allow_truncated: Annotated[
        bool, typer.Option("--allow-truncated", help="Read what is there of a file that ends early.")
    ] = False,
    skip_checksum: Annotated[
        bool, typer.Option("--skip-checksum", help="Read a file whose checksum is wrong.")
    ] = False,
) -> dict[str, Any]:
    """The options of `read_ecg` that those of a command mean."""
    return {
        "sampling_rate": sampling_rate,
        "unit": unit,
        "leads": None if leads is None else names(leads),
        "format": format,
        "allow_truncated": allow_truncated,
        "verify_checksum": not skip_checksum,
    }


def reads_ecgs(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `reading_options`; what they mean comes to it as the mapping `reading`."""
    own, added = (inspect.signature(each, eval_str=True).parameters for each in (command, reading_options))
    shown = [each for each in (*own.values(), *added.values()) if each.name != "reading"]

    @wraps(command)
    def with_reading(**given: Any) -> None:
        reading = reading_options(**{name: given.pop(name) for name in added})
        command(**given, reading=reading)

    with_reading.__signature__ = inspect.Signature([each.replace(kind=each.KEYWORD_ONLY) for each in shown])
    with_reading.__annotations__ = {each.name: each.annotation for each in shown}
    return with_reading


def names(text: str | None) -> list[str]:
    """What stands between the commas of an option."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]
