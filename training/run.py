"""A run: corpus, signals, questions, then the stages of a recipe, each on `transformers.Trainer`.

In: a `Recipe`. Out: the run folder. Stages: `pretrain` (encoder and text encoder, ECG-report pairs, contrastive),
`debias` (projector and language model on the de-biased set, encoder frozen), `finetune` (the same on all questions).
Every stage starts from the checkpoint on disk of the one before, so that a run that was killed and taken up again does
what an uninterrupted one does.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from accelerate import PartialState
from datasets import Dataset, load_from_disk
from transformers.utils import logging

from ..corpora import build_questions, debias_with_report, prepare_with_report
from ..corpora.phrasings import PHRASINGS
from ..processing_ecgllm import ECGFeatureExtractor
from .prepared_signals import load_signals, prepare_signals
from .recipe import Recipe
from .run_folder import RunFolder, write_json, write_text
from .stages import StageContext, run_pretrain, run_questions

logger = logging.get_logger(__name__)


def run_recipe(recipe: Recipe) -> Path:
    """Run a recipe, or go on with the run that its output folder holds.

    Returns: the run folder; `pipeline(model=folder, trust_remote_code=True)` loads it.
    Raises: RecipeError and what corpora and files raise, before anything is trained.
    """
    state = PartialState()
    run = RunFolder(recipe.output)
    if state.is_main_process:
        run.open(recipe)
        _prepare_data(recipe, run)
    state.wait_for_everyone()
    corpus = load_from_disk(run.folder / "corpus")
    signals = load_signals(run.folder / "signals")
    context = StageContext(recipe, run, corpus, signals, _texts(recipe, corpus))
    metrics: dict[str, Any] = {}
    for name, stage in recipe.stages.items():
        if run.is_done(name):
            state.print(f"Stage {name}: done before, in {run.stage(name)}")
            continue
        state.print(f"Stage {name}")
        if name == "pretrain":
            run_pretrain(context, stage)
        else:
            questions = {
                split: load_from_disk(run.folder / "questions" / f"{name}-{split}")
                for split in ("train", "validation")
            }
            run_questions(context, name, stage, questions)
        state.wait_for_everyone()
    if state.is_main_process:
        metrics = _collect(recipe, run)
        write_json(run.folder / "metrics.json", metrics)
    state.wait_for_everyone()
    return run.folder


def _prepare_data(recipe: Recipe, run: RunFolder) -> None:
    corpus_folder, signals_folder = run.folder / "corpus", run.folder / "signals"
    if not corpus_folder.is_dir():
        corpus = _load_corpus(recipe)
        partial = corpus_folder.with_name("corpus.partial")
        corpus.save_to_disk(partial)
        partial.replace(corpus_folder)
    corpus = load_from_disk(corpus_folder)
    if not signals_folder.is_dir():
        prepare_signals(corpus, ECGFeatureExtractor(**recipe.feature_extractor), signals_folder)
        signals = load_signals(signals_folder)
        if signals.refused:
            write_json(run.folder / "refused.json", signals.refused)
            logger.warning(f"{len(signals.refused)} records were refused; {run.folder / 'refused.json'} says why.")
    signals = load_signals(signals_folder)
    usable = corpus.filter(lambda record_id: record_id in signals, input_columns="id", load_from_cache_file=False)
    for name in recipe.stages:
        if name == "pretrain":
            continue
        for split, phrasings in (("train", "train"), ("validation", "test")):
            folder = run.folder / "questions" / f"{name}-{split}"
            if not folder.is_dir():
                questions = _questions(recipe, name, usable, split, phrasings, run)
                partial = folder.with_name(folder.name + ".partial")
                questions.save_to_disk(partial)
                partial.replace(folder)


def _load_corpus(recipe: Recipe) -> Dataset:
    if recipe.data is not None and (Path(recipe.data) / "dataset_info.json").is_file():
        corpus = load_from_disk(recipe.data)
        return corpus if recipe.limit is None else corpus.select(range(min(recipe.limit, len(corpus))))
    corpus, report = prepare_with_report(recipe.corpus, recipe.data, seed=recipe.seed, limit=recipe.limit)
    print(report)
    return corpus


def _questions(recipe: Recipe, stage: str, corpus: Dataset, split: str, phrasings: str, run: RunFolder) -> Dataset:
    of_split = corpus.filter(lambda value: value == split, input_columns="split", load_from_cache_file=False)
    if len(of_split) == 0:
        raise ValueError(f"The corpus has no record in its {split} split; {stage} needs some. Take more records.")
    settings = dict(recipe.stages[stage].questions)
    if stage == "debias":
        settings.setdefault("types", ["verify"])
    questions = build_questions(of_split, phrasings=phrasings, seed=recipe.seed, **settings)
    if stage == "debias":
        questions, report = debias_with_report(questions, seed=recipe.seed)
        write_text(run.folder / "questions" / f"{stage}-{split}.txt", f"{report}\n")
    return questions


def _texts(recipe: Recipe, corpus: Dataset) -> list[str]:
    """Texts that a tokenizer made for this run is trained on: never the test wordings or other splits' reports."""
    reports = [
        report for report, split in zip(corpus["report"], corpus["split"], strict=True) if report and split == "train"
    ]
    findings = sorted({finding for findings in corpus["findings"] for finding in findings})
    wordings = [wording for template in PHRASINGS.values() for wording in template["train"]]
    prompts = [
        "User: Here is an electrocardiogram: \nAssistant: yes",
        "User: Here are two electrocardiograms. The first is , and the second is .\nAssistant: no, none, both",
    ]
    return [*reports, *findings, *wordings, *prompts]


def _collect(recipe: Recipe, run: RunFolder) -> dict[str, Any]:
    """Metrics of all stages, and the last stage's checkpoint as the root of the run folder."""
    metrics = {name: json.loads((run.stage(name) / "done.json").read_text(encoding="utf-8")) for name in recipe.stages}
    last = run.stage(list(recipe.stages)[-1]) / "model"
    for file in sorted(last.iterdir()):
        if file.is_file():
            _link(file, run.folder / file.name)
    return metrics


def _link(source: Path, target: Path) -> None:
    """The same file under another name, so that a large model is on disk once; a copy where links are not possible."""
    partial = target.with_name(target.name + ".partial")
    try:
        os.link(source, partial)
    except OSError:
        shutil.copyfile(source, partial)
    partial.replace(target)
