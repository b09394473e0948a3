"""A run: corpus, signals, questions, then the stages of a recipe, each on `transformers.Trainer`.

In: a `Recipe`. Out: the run folder. Stages: `pretrain` (encoder and text encoder, ECG-report pairs, contrastive),
`debias` (projector and language model on the de-biased set, encoder frozen), `finetune` (the same on all questions);
or `classify` (a head for labels on the encoder).
Every stage starts from the saved checkpoint of the one before, so that a run that was killed and resumed does the same
as an uninterrupted one. The main process prepares and saves, in a folder that all processes can read.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env
from datasets import Dataset
from transformers import AutoConfig, TrainerCallback

from ..atomic_writing import write_json, write_text, written_whole
from ..chat_template_ecgllm import plain_text
from ..conversation_ecgllm import behind_ecg, ecg_prompt
from ..corpora import QUESTION_FEATURES
from ..corpora.questions.paraphrases import PARAPHRASES
from ..corpora.records.dataset_folders import save_rows, saved_rows
from ..measured_figures_ecgllm import NUMBERS, Figures
from ..processing_ecgllm import ECGFeatureExtractor
from .classify_stage import run_classify
from .data.corpus import load_corpus
from .data.prepared_signals import PreparedSignals, load_signals, prepare_signals
from .data.question_examples import answer_text
from .data.questions import balanced_questions, stage_questions
from .model_card import run_card
from .pretrain_stage import run_pretrain
from .question_stages import run_questions
from .recipe import ClassifyStage, QuestionStage, Recipe, RecipeError
from .run_folder import RunFolder
from .seen_records import note_seen_records
from .stage_training import StageContext, select_split
from .start_from import start_of
from .text_models import check_fetched
from .trainers.progress import data_bars, quiet_libraries


def run_recipe(recipe: Recipe, callbacks: Sequence[TrainerCallback] = ()) -> Path:
    """Run a recipe, or resume the run that its output folder holds.

    callbacks: of every stage's Trainer, beside the trackers that `report_to` names.
    Returns: the run folder; `pipeline(model=folder, trust_remote_code=True)` loads it.
    Raises: RecipeError, and the errors of corpora and files, before anything is trained.
    """
    with quiet_libraries():
        return _run(recipe, tuple(callbacks))


def _run(recipe: Recipe, callbacks: tuple[TrainerCallback, ...]) -> Path:
    state = start_processes(recipe)
    run = RunFolder(recipe.output)
    # One process holds the folder for all: the one that prepares and saves.
    with run.held() if state.is_main_process else nullcontext():
        return _run_in(run, recipe, callbacks, state)


def _run_in(run: RunFolder, recipe: Recipe, callbacks: tuple[TrainerCallback, ...], state: PartialState) -> Path:
    check_fetched(recipe)
    wait = _patient_barrier(state)
    start = start_of(recipe)
    if state.is_main_process:
        for note in run.open(recipe):
            print(note)
        if unused := recipe.unused_parts():
            print(f"Not used, since no stage here has to do with it: {', '.join(unused)}")
        if start is not None:
            run.note_start(start)
        _prepare_data(recipe, run)
        note_seen_records(recipe, run, saved_rows(run.folder / "corpus"), start)
    wait()
    corpus = saved_rows(run.folder / "corpus")
    signals = load_signals(run.folder / "signals")
    texts, asked = _texts(corpus), _asked_texts(recipe, run)
    context = StageContext(recipe, run, corpus, signals, texts, asked, wait, callbacks, start)
    for number, (name, stage) in enumerate(recipe.stages.items(), start=1):
        title = f"[{number}/{len(recipe.stages)}] {name}"
        if run.is_done(name):
            state.print(f"{title}: done before, in {run.stage(name)}")
            continue
        if isinstance(stage, ClassifyStage) and not stage.tune_encoder:
            state.print(f"{title}: a linear probe")
        else:
            state.print(f"{title}: {stage.training.get('max_steps') or 'all'} steps of {stage.batch_size} examples")
        if name == "pretrain":
            run_pretrain(context, stage)
        elif isinstance(stage, ClassifyStage):
            run_classify(context, stage)
        else:
            questions = {split: _load_questions(run, name, split) for split in _splits(stage)}
            run_questions(context, name, stage, questions)
        wait()
    if state.is_main_process:
        _finish(context)
    wait()
    return run.folder


def start_processes(recipe: Recipe) -> PartialState:
    """Connect the processes that a launcher started. Raises: RecipeError when they do not find each other."""
    use_cpu = any(stage.training.get("use_cpu", False) for stage in recipe.stages.values())
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not use_cpu and torch.cuda.is_available() and here > torch.cuda.device_count():
        gpus = torch.cuda.device_count()
        raise RecipeError(
            f"The launcher started {here} processes on a machine with {gpus} GPU{'s' if gpus > 1 else ''}; start one "
            f"for each (--nproc_per_node {gpus}), or set CUDA_VISIBLE_DEVICES= to train on the CPU."
        )
    _check_sharding(recipe, use_cpu)
    # Accelerate joins processes on CPUs only when told so, and else runs the whole training in each of them.
    state = PartialState(cpu=use_cpu or not torch.accelerator.is_available())
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if state.num_processes != launched:
        raise RecipeError(
            f"The launcher started {launched} processes, and {state.num_processes} train together; start them with "
            "torchrun --nproc_per_node N train.py ..., on machines of one kind."
        )
    if launched > 1:
        state.print(f"{launched} processes ({state.backend})")
    return state


def _check_sharding(recipe: Recipe, use_cpu: bool) -> None:
    """On CPUs Accelerate makes whole copies of what FSDP was to divide (DDP), without a word."""
    by_launcher = parse_flag_from_env("ACCELERATE_USE_FSDP")
    stages = [name for name, stage in recipe.stages.items() if stage.training.get("fsdp")]
    if (by_launcher or stages) and (use_cpu or not torch.cuda.is_available()):
        asked = "the launcher's configuration" if by_launcher else f"stages.{stages[0]}.training.fsdp"
        raise RecipeError(
            f"{asked} asks for FSDP, which divides a model over GPUs, and this training runs on CPUs, where each "
            "process would hold a whole copy. Leave FSDP out (torchrun --nproc_per_node N train.py ...), or use GPUs."
        )


def _patient_barrier(state: PartialState) -> Callable[[], None]:
    """A barrier that waits for days: the main process may work alone for hours, and the usual limits are minutes."""
    if state.num_processes == 1:
        return lambda: None
    group = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=7))
    return lambda: torch.distributed.barrier(group)


def _prepare_data(recipe: Recipe, run: RunFolder) -> None:
    corpus_folder, signals_folder = run.folder / "corpus", run.folder / "signals"
    if not corpus_folder.is_dir():
        with data_bars():
            corpus, report = load_corpus(recipe)
        write_text(run.folder / "corpus.txt", report + "\n")
        with written_whole(corpus_folder) as partial:
            save_rows(corpus, partial)
    corpus = saved_rows(corpus_folder)
    if not signals_folder.is_dir():
        with data_bars():
            prepare_signals(corpus, ECGFeatureExtractor(**recipe.feature_extractor), signals_folder)
    signals = load_signals(signals_folder)
    splits = list(corpus["split"])
    counts = ", ".join(f"{splits.count(name)} {name}" for name in ("train", "validation", "test"))
    print(f"{recipe.corpus}: {len(corpus)} ECGs ({counts})")
    if signals.refused:
        write_json(run.folder / "refused.json", signals.refused)
        print(f"{len(signals.refused)} ECGs were refused and are left out; {run.folder / 'refused.json'} says why")
    for name, stage in recipe.stages.items():
        if isinstance(stage, QuestionStage):
            for split in _splits(stage):
                _prepare_questions(recipe, name, corpus, signals, split, run)


def _splits(stage: QuestionStage) -> list[str]:
    """Splits that a stage asks about."""
    return ["train", "validation", *(["test"] if stage.evaluate_split == "test" and stage.evaluate else [])]


def _prepare_questions(
    recipe: Recipe,
    stage: str,
    corpus: Dataset,
    signals: PreparedSignals,
    split: str,
    run: RunFolder,
) -> None:
    folder = run.folder / "questions" / f"{stage}-{split}"
    if folder.is_dir():
        return
    usable = select_split(corpus, split)
    usable = usable.select([row for row, record_id in enumerate(usable["id"]) if record_id in signals])
    questions = stage_questions(recipe, stage, usable, split)
    if recipe.stages[stage].is_balanced and len(questions):
        try:
            questions, report = balanced_questions(recipe, stage, questions, usable)
        except ValueError as error:
            # A few validation records may give every question the same answer; training needs a balanced set.
            if split == "train":
                raise
            questions, report = questions.select([]), str(error)
        write_text(run.folder / "questions" / f"{stage}-{split}.txt", f"{report}\n")
    if not len(questions):
        if split == "train":
            raise RecipeError(
                f"{stage} has no question to learn from: {len(usable)} usable records in the train split. Take more "
                "records, or other question types."
            )
        what = "tested" if split == "test" else "validated"
        print(f"{stage}: no question about the {len(usable)} {split} records; it is not {what}")
    with written_whole(folder) as partial:
        if len(questions):
            save_rows(questions, partial)


def _load_questions(run: RunFolder, stage: str, split: str) -> Dataset:
    folder = run.folder / "questions" / f"{stage}-{split}"
    # A data set without a row cannot be read back; its folder is left empty.
    if not any(folder.iterdir()):
        return Dataset.from_dict({name: [] for name in QUESTION_FEATURES}, features=QUESTION_FEATURES)
    return saved_rows(folder)


def _texts(corpus: Dataset) -> list[str]:
    """Texts on which a new tokenizer of this run is trained: never the test paraphrases or reports of other splits."""
    reports = [
        report for report, split in zip(corpus["report"], corpus["split"], strict=True) if report and split == "train"
    ]
    findings = sorted({finding for findings in corpus["findings"] for finding in findings})
    paraphrases = [text for template in PARAPHRASES.values() for text in template["train"]]
    prompts = []
    for number, answer in ((1, "yes"), (2, "no, none, both")):
        said = "".join(part.get("text", "") for part in ecg_prompt("", number)).strip("\n")
        prompts.append(plain_text([{"role": "user", "content": said}, {"role": "assistant", "content": answer}]))
    # As many of these as of reports: a language model learns from questions alone, and few tokens are fast.
    asked = [*findings, *(f"{prompt} {text}" for prompt in prompts for text in paraphrases)]
    return [*reports, *asked * max(1, len(reports) // len(asked))]


def _asked_texts(recipe: Recipe, run: RunFolder) -> list[str]:
    """Further texts for the tokenizer of a new language model: what stages with words or measurements of their own ask
    in train, behind figures as they could be measured."""
    rng, found = np.random.default_rng([recipe.seed, 19]), []
    if recipe.language_model.config is None:  # a pretrained one has its tokenizer
        return found
    for name, stage in recipe.stages.items():
        if isinstance(stage, QuestionStage) and (stage.measured or stage.questions.get("words")):
            asked = _load_questions(run, name, "train")
            chosen = asked.select(np.sort(rng.permutation(len(asked))[:_ASKED]))
            for question, answers in zip(chosen["question"], chosen["answers"], strict=True):
                beside = behind_ecg(_any_figures(rng)) if rng.random() < stage.measured else ""
                found.append(f"{beside}\n{question} {answer_text(answers)}")
    return found


_ASKED = 20_000  # questions a stage from which words and numbers are learned; more change few tokens


def _any_figures(rng: np.random.Generator) -> Figures:
    low, high = np.array([(40, 150), (110, 260), (70, 170), (340, 520), (-70, 120)]).T
    return dict(zip(NUMBERS, rng.uniform(low, high).tolist(), strict=True)) | {"regular": bool(rng.random() < 0.7)}


def _finish(context: StageContext) -> None:
    """Put the last stage's checkpoint at the root of the run folder, with a card and the metrics of all stages."""
    run, recipe = context.run, context.recipe
    metrics: dict[str, Any] = {name: run.stage_metrics(name) for name in recipe.stages}
    last = run.stage(list(recipe.stages)[-1]) / "model"
    # config.json, by which a folder counts as a checkpoint, comes last, so that nobody loads an incomplete one.
    for file in sorted(last.rglob("*"), key=lambda file: (file.name == "config.json", file.name)):
        if file.is_file() and file.name != "README.md":
            _link(file, run.folder / file.relative_to(last))
    write_text(run.folder / "README.md", run_card(context, metrics, AutoConfig.from_pretrained(last)))
    write_json(run.folder / "metrics.json", metrics)


def _link(source: Path, target: Path) -> None:
    """A hard link, so that a large model is on disk once; a copy where links are not possible."""
    target.parent.mkdir(exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)
