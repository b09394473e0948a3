"""`export`: a checkpoint in, a graph for ONNX Runtime or torch out."""

from __future__ import annotations

from typing import Annotated

import typer

from .ask import quiet
from .options import OutputFolder, TrustRemoteCode


def export(
    checkpoint: Annotated[
        str,
        typer.Argument(
            help="Folder of an encoder, ECG language model, dual encoder or classifier, or a Hub id with "
            "--trust-remote-code."
        ),
    ],
    output: OutputFolder,
    part: Annotated[
        str | None,
        typer.Option(
            help="encoder, ecg-tokens (of a language model: what it reads of an ECG), ecg-embeds or text-embeds (of a "
            "dual encoder), logits (of a classifier); by default what the checkpoint is for."
        ),
    ] = None,
    format: Annotated[str, typer.Option(help="onnx, or torch (a program of torch.export, .pt2).")] = "onnx",
    trust_remote_code: TrustRemoteCode = False,
) -> None:
    """Write part of a checkpoint as a graph that runs without ecgllm, for any number and length of ECGs.

    It is compared with the model at several numbers and lengths before the folder appears, beside the settings that
    prepare its input (preprocessor_config.json, or the tokenizer).
    """
    from ..exporting import export_checkpoint

    with quiet():
        found = export_checkpoint(checkpoint, output, part, format, trust_remote_code)
    typer.echo(f"{found.file}: {found.part}, {found.file.stat().st_size / 1e6:.1f} MB")
    for kind, values in (("in", found.inputs), ("out", found.outputs)):
        for name, dtype, shape in values:
            typer.echo(f"  {kind:3} {name}: {dtype} [{', '.join(map(str, shape))}]")
    sizes = ", ".join(f"{count} x {length}" for count, length in found.sizes)
    typer.echo(f"  differs from the model by {found.difference:.1e} at most (at {sizes})")
