"""`embed`: ECG files in, a Parquet file of embeddings out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors_ecgllm import ECGError
from .ask import quiet
from .options import DropUnknownLeads, NanPolicy, TrustRemoteCode, reads_ecgs


@reads_ecgs
def embed(
    reading: dict[str, Any],
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="ECG files of any format, and folders with such files.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The .parquet file to write.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Folder of a checkpoint that holds an ECG encoder, or a Hub id with --trust-remote-code; by default "
            "the one that ships.",
        ),
    ] = None,
    trust_remote_code: TrustRemoteCode = False,
    batch_size: Annotated[int, typer.Option(help="ECGs that the model encodes at once.")] = 32,
    workers: Annotated[
        int | None, typer.Option(help="Processes that read; by default one a CPU, at least 2 and at most 8.")
    ] = None,
    nan_policy: NanPolicy = None,
    drop_unknown_leads: DropUnknownLeads = False,
) -> None:
    """Write the embeddings of ECG files: for each a row with its path and a vector, from the encoder of a checkpoint.

    Files that cannot be read or show no heartbeat get no row and are named on stderr; the exit code is then 2. A
    folder's files that are no ECGs are counted. The file says in its metadata which weights and preprocessing made it;
    of patients it has nothing but the paths.
    """
    from ..embedding import embed_files, load_embedder
    from ..shipped import shipped_checkpoint

    if output.suffix.lower() != ".parquet":
        raise ECGError(f"--output is {output}; expected a name that ends in .parquet")
    missing = [path for path in files if not path.exists() and not Path(f"{path}.hea").exists()]
    if missing:
        raise FileNotFoundError(f"{', '.join(map(str, missing[:5]))}: there is no such file")
    settings = {"drop_unknown_leads": drop_unknown_leads} | ({"nan_policy": nan_policy} if nan_policy else {})
    with quiet():
        embedder = load_embedder(str(shipped_checkpoint()) if model is None else model, trust_remote_code)
        settings |= {"batch_size": batch_size, "workers": workers, "progress": sys.stderr.isatty()}
        found = embed_files(files, embedder, reading=reading, **settings)
    if found.paths:
        found.write_parquet(output)
        typer.echo(f"{len(found.paths)} embeddings of {found.vectors.shape[1]} numbers in {output}")
    if found.skipped:
        typer.echo(f"{len(found.skipped)} files in the folders are no ECGs by themselves; left out", err=True)
    for path, reason in found.refused:
        typer.echo(f"ecgllm: {reason if path in reason else f'{path}: {reason}'}", err=True)
    of = len(found.paths) + len(found.refused)
    if not of:
        raise ECGError(f"no ECG in {', '.join(map(str, files[:5]))}; expected ECG files, or folders that hold some")
    if found.refused:
        typer.echo(f"ecgllm: {len(found.refused)} of {of} ECGs have no embedding", err=True)
        raise typer.Exit(2)
