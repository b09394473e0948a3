"""`calibrate`: a checkpoint and records with labels in, the same checkpoint with what its yes is worth out."""

from __future__ import annotations

import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors_ecgllm import ECGError
from .ask import quiet
from .evaluate import Data, KeepTrained, Limit, Split, TrainedRecords, material_of, without_trained
from .options import LanguageModel, Seed, TrustRemoteCode

if TYPE_CHECKING:
    from ..evaluation.models.folds import FoldsModel

Checkpoint = Annotated[Path, typer.Argument(help="Folder of the checkpoint of an ECG language model.")]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="New folder of the calibrated checkpoint; without it the file goes beside it."
    ),
]
Least = Annotated[int, typer.Option(min=1, help="Patients of either label that a finding needs to be calibrated.")]
Asking = Annotated[
    str | None,
    typer.Option(
        help="folds:FOLDER of the cross-validation of a checkpoint that learned from these records: its answers about "
        "records that it left out are fitted to, in place of the checkpoint's own about what it knows."
    ),
]


def calibrate(
    checkpoint: Checkpoint,
    data: Data,
    output: Output = None,
    limit: Limit = None,
    split: Split = None,
    least: Least = 5,
    trained_records: TrainedRecords = None,
    keep_trained: KeepTrained = False,
    trust_remote_code: TrustRemoteCode = False,
    language_model: LanguageModel = None,
    asking: Asking = None,
    seed: Seed = 0,
) -> None:
    """Find out what a checkpoint's yes about each finding is worth, on records with labels.

    Two numbers a finding go into calibration.json beside the checkpoint, nothing of any record. `ask` and the pipeline
    then say how likely a finding is and how sure an answer, at the frequency of these records or at --prevalence.
    """
    from ..answer_calibration_ecgllm import FILE, seeing_weights, write_calibration
    from ..atomic_writing import new_folder
    from ..evaluation.calibrating import calibrated, few_patients, sentences
    from ..evaluation.material import Settings
    from ..evaluation.models import model_of
    from ..evaluation.models.checkpoint import CheckpointModel
    from ..evaluation.run import records_hash

    if not checkpoint.is_dir():
        raise ECGError(f"{checkpoint} is no folder; expected that of a checkpoint, to lay {FILE} beside it.")
    if output is not None and output.exists():
        raise ECGError(f"{output} exists; name a new folder, or leave -o out to lay {FILE} into {checkpoint} itself.")
    with quiet():
        model = model_of(str(checkpoint), trust_remote_code=trust_remote_code, language_model=language_model)
        if not isinstance(model, CheckpointModel):
            raise ECGError(f"{checkpoint} is no ECG language model; only its answers of yes and no are calibrated.")
        model.processor.calibration = None
        asked = model if asking is None else _folds(asking, checkpoint, trust_remote_code, language_model)
        unseen = partial(without_trained, asking or str(checkpoint), trained_records, keep_trained, False)
        material, _ = material_of(data, None, limit, split, Settings(least=least, seed=seed), unseen)
        sources = ", ".join(dict.fromkeys(material.corpus["source"][:]))
        fitted_on = f"{len(material.corpus):,} records of {sources} ({records_hash(material.corpus)})"
        if asking is not None:
            fitted_on += ", answered by the models of a cross-validation"
        with tempfile.TemporaryDirectory() as answers:
            found, figures = calibrated(
                asked, material, Path(answers), asked.name, fitted_on, seeing_weights(model.model)
            )
        if output is None:
            file = write_calibration(found, checkpoint)
        else:
            with new_folder(output) as folder:
                shutil.copytree(checkpoint, folder, dirs_exist_ok=True, ignore=partial(_of_a_run, checkpoint))
                write_calibration(found, folder)
            file = str(output / FILE)
    typer.echo(f"{len(found.findings)} findings calibrated on {fitted_on}")
    for line in sentences(figures):
        typer.echo(line)
    if (little := few_patients(found, figures)) is not None:
        typer.echo(little)
    typer.echo(f"calibration in {file}")


def _of_a_run(checkpoint: Path, folder: str, names: list[str]) -> list[str]:
    """What a run keeps beside its model, its records among it, which is not to be passed on with it."""
    if Path(folder) != checkpoint or not (checkpoint / "recipe.yaml").is_file():
        return []
    return [
        name for name in names if (checkpoint / name).is_dir() or name in ("measured.json", ".lock", ".owner.json")
    ]


def _folds(asking: str, checkpoint: Path, trust_remote_code: bool, language_model: str | None) -> FoldsModel:
    from ..evaluation.left_out import KIND, check_same_model, cross_validation
    from ..evaluation.models.folds import load_folds

    left_out = cross_validation(asking)
    if left_out is None:
        raise ECGError(f"--asking is {asking}; expected {KIND}:FOLDER, the runs of a cross-validation.")
    check_same_model(left_out, checkpoint)
    return load_folds(left_out.folder, trust_remote_code=trust_remote_code, language_model=language_model)
