"""`evaluate`: a model and records in, a report that says whether it reads the ECG out."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors_ecgllm import ECGError
from .ask import quiet
from .folders import load_corpora, load_questions
from .options import LanguageModel, Seed, TrustRemoteCode, names

if TYPE_CHECKING:
    from datasets import Dataset

    from ..evaluation.material import Material, Settings
    from ..evaluation.protocol import Model
    from ..evaluation.seen import Seen


EvaluatedModel = Annotated[
    str,
    typer.Argument(
        help="Folder or Hub id of a checkpoint; folds:FOLDER of a cross-validation; pipeline:FOLDER; "
        "file.py:function; program:COMMAND; https://host/v1#model of a server. docs/evaluate.md has examples."
    ),
]
Data = Annotated[
    list[str],
    typer.Argument(
        metavar="CORPUS|QUESTIONS...",
        help="Folders of `ecgllm prepare` or `simulate`; or SOURCE=FOLDER of a public corpus as it was unpacked, "
        "such as ludb=path; or one folder or file of questions, with --corpus.",
    ),
]
Report = Annotated[
    Path, typer.Option("--output", "-o", help="Folder of the report; an unfinished one is gone on with.")
]
QuestionsCorpus = Annotated[
    list[str] | None, typer.Option(help="The records that questions are about; may be repeated.")
]
Number = Annotated[int, typer.Option("--questions", min=1, help="About so many questions in each part.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Take so many records of each corpus.")]
Split = Annotated[str | None, typer.Option(help="Only records of this split: train, validation or test.")]
Sections = Annotated[str | None, typer.Option(help="Only these parts, separated by commas; see the guide.")]
Words = Annotated[
    str,
    typer.Option(
        help="kept-back: language and unanswerable in words that no recipe and no other evaluation has, for final "
        "figures."
    ),
]
Least = Annotated[int, typer.Option(min=1, help="Patients of either label that a finding needs for an AUROC.")]
Margin = Annotated[float, typer.Option(help="Difference in accuracy that would be no use, for the verdict.")]
Against = Annotated[str | None, typer.Option(help="Another model, or the folder of its report on the same questions.")]
ChosenOn = Annotated[
    bool,
    typer.Option("--chosen-on", help="Settings of the model were chosen on these records; the report says so."),
]
TrainedRecords = Annotated[
    Path | None,
    typer.Option(help="File that a run of `ecgllm train` left; by default looked for beside the checkpoint."),
]
KeepTrained = Annotated[
    bool, typer.Option("--keep-trained", help="Ask about records that the model was trained on, too.")
]
Baselines = Annotated[bool, typer.Option("--baselines/--no-baselines", help="Baselines beside the model.")]
Card = Annotated[
    bool,
    typer.Option(
        "--card", help="Sum the report up in the card of the checkpoint's folder, and lay it beside the card."
    ),
]
CardOf = Annotated[
    Path | None,
    typer.Option(
        help="The same for the card of this checkpoint: of what learned from all records, by folds:FOLDER of its "
        "cross-validation."
    ),
]
Explained = Annotated[
    int, typer.Option("--explain", min=0, help="Draw so many answers of yes with what they rest on, and delete it.")
]
Processes = Annotated[int, typer.Option(min=1, help="Processes that ask; each loads the model.")]
SettingsOfModel = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=VALUE",
        help="A setting of the kind of model, such as ecgs_as=picture or batch_size=16; may be repeated.",
    ),
]


def evaluate(
    model: EvaluatedModel,
    data: Data,
    output: Report,
    corpus: QuestionsCorpus = None,
    number: Number = 2000,
    limit: Limit = None,
    split: Split = None,
    sections: Sections = None,
    words: Words = "usual",
    least: Least = 5,
    margin: Margin = 0.05,
    against: Against = None,
    chosen_on: ChosenOn = False,
    trained_records: TrainedRecords = None,
    keep_trained: KeepTrained = False,
    baselines: Baselines = True,
    card: Card = False,
    card_of: CardOf = None,
    explained: Explained = 0,
    processes: Processes = 1,
    settings_of_model: SettingsOfModel = None,
    trust_remote_code: TrustRemoteCode = False,
    language_model: LanguageModel = None,
    seed: Seed = 0,
) -> None:
    """Find out whether a model reads the ECG, and how well: one report, with intervals and baselines.

    The report is index.html, the same as report.md, metrics.json, and predictions.parquet with every answer.
    """
    from ..evaluation.material import KEPT_BACK, Settings
    from ..evaluation.models import stated_options
    from ..evaluation.run import Options, check_before, evaluate_to_folder
    from ..evaluation.suite import IN_KEPT_BACK_WORDS, chosen_sections

    chosen = None if sections is None else names(sections)
    if words == KEPT_BACK and chosen is None:
        chosen = list(IN_KEPT_BACK_WORDS)
    chosen_sections(chosen)
    if card and card_of is not None:
        raise ECGError("--card and --card-of both say whose card is written; leave one out")
    if card_of is not None:
        _check_cross_validation(model, card_of)
    card_folder = Path(model) if card else card_of
    check_before(output, card_folder)
    stated = stated_options(settings_of_model or ())
    settings = Settings(questions=number, seed=seed, least=least, margin=margin, words=words)
    load = partial(_load, model, stated, {"trust_remote_code": trust_remote_code, "language_model": language_model})
    with quiet():
        loaded = load(model)  # before records are read, which takes longer than to say that there is no such model
        material, seen = material_of(
            data,
            corpus,
            limit,
            split,
            settings,
            partial(without_trained, model, trained_records, keep_trained, chosen_on),
            model,
        )
        command = shlex.join(["ecgllm", *sys.argv[1:]])
        options = Options(chosen, baselines, processes, card_folder, explained, date.today().isoformat(), command)
        try:
            done = evaluate_to_folder(load, model, material, output, seen, options, against, loaded)
        except KeyboardInterrupt:
            typer.echo(f"interrupted; the same command goes on with what is in {output}", err=True)
            raise
    for sentence in done.verdict:
        typer.echo(sentence)
    typer.echo(f"report in {output / 'index.html'} ({done.seconds:.0f} s)")


def _load(model: str, stated: dict[str, Any], common: dict[str, Any], name: str) -> Model:
    """The model of that name; what is stated is of the one that is evaluated, not of one that it is held against."""
    from ..evaluation.models import model_of

    return model_of(name, **common, **(stated if name == model else {}))


def _check_cross_validation(model: str, checkpoint: Path) -> None:
    """Raises: ECGError where a card would get another model's figures."""
    from ..evaluation.left_out import KIND, check_same_model, cross_validation

    left_out = cross_validation(model)
    if left_out is None:
        raise ECGError(f"--card-of is for {KIND}:FOLDER, the cross-validation of a checkpoint; the model is {model}.")
    check_same_model(left_out, checkpoint)


def without_trained(
    model: str, file: Path | None, keep: bool, declared: bool, corpus: Dataset
) -> tuple[Dataset, Seen]:
    from ..evaluation.seen import without_seen

    kept, seen = without_seen(corpus, model, file, keep, declared)
    for sentence in (one for own in seen.sentences() for one in own):
        typer.echo(sentence, err=True)
    return kept, seen


def material_of(
    data: list[str],
    corpora: list[str] | None,
    limit: int | None,
    split: str | None,
    settings: Settings,
    unseen: Callable[[Dataset], tuple[Dataset, Seen]],
    model: str = "",
) -> tuple[Material, Seen]:
    from ..evaluation.building import build_material
    from ..evaluation.seen import groups_of

    questions, records = None, list(data)
    if corpora:
        if len(data) != 1:
            raise ECGError(f"with --corpus, one folder or file of questions is expected; found {', '.join(data)}")
        questions, records = _questions(Path(data[0])), list(corpora)
    corpus = load_corpora(records, limit)
    whole = len(corpus)
    if split is not None:
        present = sorted(set(corpus["split"]))
        if split not in present:
            raise ECGError(f"no record is of the split {split!r}; there are {', '.join(present)}")
        corpus = corpus.filter(lambda value: value == split, input_columns="split")
    corpus, seen = unseen(corpus)
    if questions is not None and (len(corpus) < whole or limit is not None):
        asked = len(questions)
        questions = questions.filter(set(corpus["id"]).issuperset, input_columns="ecg_ids")
        typer.echo(f"{len(questions)} of {asked} questions are about the records that remain", err=True)
    groups = groups_of(corpus, model)
    if questions is not None and groups is not None:
        run, asked = dict(zip(corpus["id"], groups, strict=True)), len(questions)
        questions = questions.filter(lambda ids: len({run.get(one) for one in ids}) < 2, input_columns="ecg_ids")
        typer.echo(f"{len(questions)} of {asked} questions are about ECGs that one run left out", err=True)
    return build_material(corpus, questions, settings, groups), seen


def _questions(path: Path) -> Dataset:
    """A question set, or questions of somebody's own, in a folder or a file."""
    from ..corpora import QUESTION_FEATURES
    from ..corpora.questions.given import question_set, read_questions

    if path.is_file():
        return read_questions(path)
    found = load_questions(path)
    return found if set(QUESTION_FEATURES) <= set(found.column_names) else question_set(found.to_list(), str(path))
