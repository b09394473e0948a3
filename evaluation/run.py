"""One evaluation to one folder: ask, count, write the report, and go on after a kill.

In: what loads a model, `Material`, a folder. Out: the folder with index.html, report.md, metrics.json and
predictions.parquet. Decided here: while it is asked, answers lie in the folder's `answers`; which model, records and
settings they belong to stands in `run.json`, and a folder of another run is refused, never mixed; a finished one is
not written over.
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset

from .. import __version__
from ..atomic_writing import owned, write_json
from ..errors_ecgllm import ECGError
from .asking import ask, read_predictions, write_predictions
from .baselines import BASELINES, encoders_of
from .explained import check_explained, explained_answers
from .failures import examples
from .material import KEPT_BACK, Material
from .protocol import Model
from .report import PAGE, About, Data, Example, check_drawing, write_card, write_report
from .sections.against import READ_SECTIONS
from .seen import Seen
from .suite import Evaluation, evaluate, material_hash, planned_rows
from .tallies import AGAINST, MODEL

PREDICTIONS_FILE, RUN_FILE = "predictions.parquet", "run.json"
ANSWERS = "answers"


@dataclass(frozen=True)
class Done:
    """verdict: two sentences. seconds: that it took this time."""

    verdict: tuple[str, str]
    seconds: float
    evaluation: Evaluation


@dataclass(frozen=True)
class Options:
    """sections: names; None: all. baselines: whether to hold them beside the model. processes: that ask. card: folder
    of the checkpoint whose card gets the report's section; None: none. explained: answers whose reasons are drawn.
    date, command: for the report."""

    sections: Sequence[str] | None = None
    baselines: bool = True
    processes: int = 1
    card: Path | None = None
    explained: int = 0
    date: str = ""
    command: str = ""


def evaluate_to_folder(
    load: Callable[[str], Model],
    name: str,
    material: Material,
    folder: Path,
    seen: Seen,
    options: Options | None = None,
    against: str | None = None,
    model: Model | None = None,
) -> Done:
    """Evaluate the model that `load(name)` gives and write the report to `folder`.

    Args: seen: what is known of which records the model saw. against: the name of another model, or the folder of its
        finished report on the same questions. model: what `load(name)` gave already.
    Raises: ECGError as `check_before` and `check_explained`, for a folder that holds answers of another run, for a
        report on other questions, and as `evaluate`.
    """
    options = options or Options()
    check_before(folder, options.card)
    started = time.monotonic()
    with owned(folder):
        other = None if against is None else _reported(Path(against), planned_rows(material, options.sections))
        model = load(name) if model is None else model
        if options.explained:
            check_explained(model, options.sections)
        identity = getattr(model, "identity", None) or model.name
        material = replace(material, told=getattr(model, "reads_measured", False))
        _begin(folder, {"model": identity, "material": material_hash(material)})
        if options.baselines:
            material = replace(material, encoders=encoders_of(model, material.settings.seed))
        found = evaluate(
            model if options.processes <= 1 else partial(load, name),
            material,
            folder / ANSWERS,
            options.sections,
            identity,
            options.processes,
            options.baselines,
        )
        if against is not None:
            if other is None:
                other = _asked(load(against), found, material, folder / ANSWERS)
            found = found.with_rows(other.assign(by=AGAINST), material, options.sections)
        write_predictions(found.predictions, folder / PREDICTIONS_FILE)
        about = _about(model, name, material, found, seen, options, identity)
        explained: list[Example] = []
        if options.explained:
            section, explained = explained_answers(model, found.predictions, material, options.explained)
            found = replace(found, sections=[*found.sections, section])
        write_report(folder, found.sections, about, examples(found.predictions, material), explained)
        if options.card is not None:
            write_card(options.card, found.sections, about)
        shutil.rmtree(folder / ANSWERS, ignore_errors=True)
    return Done(about.verdict, time.monotonic() - started, found)


def check_before(folder: Path, card: Path | None = None) -> None:
    """What can be known to go wrong before records are read and anything is asked.

    Raises: MissingExtraError where charts cannot be drawn; ECGError for a folder that holds a finished report or
        something else, or is a file, and where there is no card to write into.
    """
    check_drawing()
    if card is not None and not (card / "README.md").is_file():
        raise ECGError(f"{card} is no folder with a README.md, which --card writes into; leave --card out.")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ECGError(f"{folder} is a file; name a new or empty folder.")
    if (folder / PAGE).is_file():
        raise ECGError(f"{folder} holds a finished report; choose another folder, or remove this one.")
    found = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    if found and RUN_FILE not in found:
        raise ECGError(f"{folder} holds {', '.join(found[:5])}; expected a new or empty folder.")


def _begin(folder: Path, run: dict[str, str]) -> None:
    """Note what the folder is for. Raises: ECGError where it holds answers of something else."""
    note = folder / RUN_FILE
    if note.is_file() and any((folder / ANSWERS).glob("*.parquet")):
        found = json.loads(note.read_text(encoding="utf-8"))
        differing = [words for key, words in _OF_A_RUN.items() if found.get(key) != run[key]]
        if differing:
            raise ECGError(
                f"{folder} holds an unfinished evaluation of {' and '.join(differing)}; choose another folder, or "
                "remove it."
            )
    write_json(note, run)


_OF_A_RUN = {
    "model": "another model (or of its other settings or files)",
    "material": "other records or questions",
}


def _reported(against: Path, asked: pd.DataFrame) -> pd.DataFrame | None:
    """Another model's answers in its finished report to what is asked and compared; None where there is no report.

    Raises: ECGError where some of these questions are not in it.
    """
    file = against / PREDICTIONS_FILE
    if not file.is_file():
        return None
    rows = read_predictions(file)
    rows = _compared(rows[rows["by"] == MODEL])
    own, there = (list(map(tuple, each[_SAME].to_numpy().tolist())) for each in (_compared(asked), rows))
    wanted = set(own)
    if lacking := wanted - set(there):
        raise ECGError(
            f"{against} answers {len(wanted) - len(lacking)} of the {len(wanted)} questions that are compared; "
            "evaluate both on the same records, with the same questions, seed and version."
        )
    return rows[[question in wanted for question in there]]


def _asked(other: Model, found: Evaluation, material: Material, answers: Path) -> pd.DataFrame:
    """What another model answers to the questions that are compared."""
    rows = found.predictions[found.predictions["by"] == MODEL]
    identity = f"{getattr(other, 'identity', None) or other.name} {material_hash(material)}"
    return ask(other, _compared(rows), material.ecgs, answers, identity)


def _compared(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["section"].isin(READ_SECTIONS)]


_SAME = ["section", "question_id", "condition", "wording", "question"]
"""Columns that are the same of the same question in two reports."""


def _about(
    model: Model, name: str, material: Material, found: Evaluation, seen: Seen, options: Options, identity: str
) -> About:
    reliance = next((one for one in found.sections if one.name == "reliance"), None)
    verdict = _NO_VERDICT
    if reliance is not None:
        decided = reliance.values.get("verdict")
        verdict = decided.sentences if decided else (_NOT_KNOWN, reliance.sentences[0])
    protocol, warnings = seen.sentences()
    remark = getattr(model, "remark", None)
    data = []
    sources = material.corpus["source"][:]
    for source in dict.fromkeys(sources):
        own = material.corpus.select([row for row, one in enumerate(sources) if one == source])
        patients = len(set(own["patient_id"][:])) if all(own["patient_id"][:]) else None
        data.append(Data(source, len(own), patients, records_hash(own)))
    return About(
        title=f"Does {model.name} read the ECG?",
        verdict=verdict,
        model=f"{model.name} ({identity})" if identity != model.name else model.name,
        trained_on=getattr(model, "trained_on", None),
        data=data,
        protocol=[*protocol, *([_KEPT_BACK] if material.settings.words == KEPT_BACK else []), *_PROTOCOL],
        seed=material.settings.seed,
        settings=material.settings.stated() | {"sections": [one.name for one in found.sections]},
        versions={"ecgllm": __version__, "python": platform.python_version()}
        | {package: version(package) for package in _PACKAGES},
        date=options.date,
        command=options.command,
        warnings=warnings if remark is None else [*warnings, remark],
        terms=_TERMS | {one.name: one.note for one in BASELINES if (found.predictions["by"] == one.name).any()},
        picture=reliance.charts[0] if reliance and reliance.charts else None,
    )


def records_hash(corpus: Dataset) -> str:
    """16 hex digits of ids, findings and signals, in their order."""
    digest = hashlib.sha256()
    for row in corpus.select_columns(["id", "findings", "ecg"]).with_format(None):
        ecg = row["ecg"]
        digest.update(json.dumps([row["id"], row["findings"], ecg["leads"], ecg["sampling_rate"]]).encode())
        digest.update(np.ascontiguousarray(ecg["signal"]).tobytes())
    return digest.hexdigest()[:16]


_NOT_KNOWN = "Whether the answers come from the ECG is not known."
_NO_VERDICT = ("Whether the answers come from the ECG was not asked.", "Ask the section reliance, too.")
_KEPT_BACK = "The words are kept back: no recipe has them, and no other evaluation; they are for final figures alone."
_PROTOCOL = (
    "Questions are put in paraphrases that no recipe of this package trains on, unless a question set was given.",
    "Decoding is deterministic; of yes and no the likelier is taken where the model can compare whole answers.",
    "Intervals are 95 %, over patients; an answer that cannot be read as one of the answers counts as wrong.",
)
_TERMS = {
    "81.6 % [79.0, 84.0]": "A share, and its interval of 95 % over patients. A difference, in points, has a sign.",
    "AUROC": "How often an ECG with the finding gets a higher P(yes) than one without it; .5 is guessing.",
    "average precision": "How many are true ones, on average, down to each true one; guessing gives their frequency.",
    "P(yes)": "The probability that the model gives to yes beside no.",
    "as sampled": "As questions are drawn: about half of the answers of yes or no are yes.",
    "as frequent as in the corpus": "Yes is as rare as the findings are among all records: a yes is wrong more often.",
    "none": "As an answer: there is nothing of what is asked for.",
    "p": "How likely such a difference is by chance, adjusted for all that are looked at (Holm).",
}
"""What a report says in words of its own -> what it means."""
_PACKAGES = ("torch", "transformers", "numpy", "scipy", "scikit-learn")
