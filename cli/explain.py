"""`explain`: on which leads and stretches an answer rests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..asking import NOTICE
from .ask import Model, quiet
from .options import LanguageModel, OtherLanguageModel, TrustRemoteCode, names, reads_ecgs


@reads_ecgs
def explain(
    reading: dict[str, Any],
    file: Annotated[Path, typer.Argument(help="An ECG file.")],
    question: Annotated[str, typer.Argument(help="The question, in quotes.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Draw it: a .png, .pdf or .svg.")] = None,
    model: Model = None,
    candidates: Annotated[str | None, typer.Option(help="Compare these answers, separated by commas.")] = None,
    answer: Annotated[str | None, typer.Option(help="Explain this answer instead of the model's.")] = None,
    stretch: Annotated[float, typer.Option(help="Seconds that are taken away at once.")] = 0.2,
    layout: Annotated[str, typer.Option(help="Of the picture, as in ecgllm plot.")] = "12x1",
    trust_remote_code: TrustRemoteCode = False,
    language_model: LanguageModel = None,
    allow_other_language_model: OtherLanguageModel = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show on which leads and stretches of an ECG an answer rests: what the model says without each of them.

    Needs the extra `explain`. It explains the model's own answer, not what is measured; where taking away what is
    marked moves the answer no more than as much at random, it says that the explanation means nothing.
    """
    from ..asking import load_answerer
    from ..explanations import draw
    from ..explanations import explain as explain_answer
    from ..shipped import shipped_checkpoint
    from ..signals import read_ecg

    record = read_ecg(file, **reading)
    with quiet():
        name = str(shipped_checkpoint()) if model is None else model
        answerer = load_answerer(name, trust_remote_code, language_model, allow_other_language_model)
        found = explain_answer(
            answerer, record, question, answer, names(candidates) or None, stretch, show_progress=True
        )
    if output is not None:
        from ..signals import save_ecg

        save_ecg(draw(found, record, layout=layout), output)
    if as_json:
        typer.echo(json.dumps(found.to_dict() | {"model": name, "notice": NOTICE}, indent=2, allow_nan=False))
        return
    typer.echo(f"{found.answer}  (log-odds {found.log_odds:.2f}, the model's own)")
    if found.meaningless is not None:
        typer.echo(f"This explanation means nothing. {found.meaningless}")
    else:
        random = found.random_falls.mean()
        falls = f"without the marked tenth by {found.marked_fall:.2f}, without a random tenth by {random:.2f}"
        typer.echo(f"the log-odds fall {falls}")
        leads = sorted(zip(found.by_lead.tolist(), found.leads, strict=True), reverse=True)
        typer.echo("fall without a lead: " + ", ".join(f"{lead} {fall:+.2f}" for fall, lead in leads[:6]))
        typer.echo(
            "fall without a stretch: "
            + ", ".join(
                f"{lead} {start:.1f} to {end:.1f} s {fall:+.2f}" for lead, start, end, fall in found.marked()[:6]
            )
        )
    typer.echo(f"{NOTICE}" if output is None else f"{output}\n{NOTICE}")
