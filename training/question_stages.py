"""The stages `debias` and `finetune`: what they build, what learns, and what they save.

In: a `StageContext`, the recipe of the stage and its questions. Out: `<stage>/model`, a complete checkpoint, and
`<stage>/metrics.json`, written last. A stage builds its models from the recipe's seed and the checkpoint before it,
and nothing else, so that it can be killed anywhere and started again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from datasets import Dataset
from peft import PeftModel
from transformers import PreTrainedModel, set_seed

from ..atomic_writing import written_whole
from ..corpora.questions.refusals import CANNOT_TELL
from ..corpora.questions.sampling import UNANSWERABLE
from ..encoder_adapter_ecgllm import build_encoder
from ..language_model_base_ecgllm import commit_of, weight_files
from ..measured_figures_ecgllm import Figures
from ..modeling_ecgllm import ECGLLMForConditionalGeneration, ECGTextDualEncoder
from ..processing_ecgllm import ECGFeatureExtractor, ECGProcessor
from .answer_accuracy import answer_metrics
from .data.augmentations import Augmenter
from .data.encoded_signals import EncodedSignals, encode_signals, fingerprint
from .data.measured_records import MeasuredRecords, MeasuredSignals, measure_records
from .data.prepared_signals import PreparedSignals
from .data.question_examples import QuestionCollator, QuestionExamples
from .data.shared_ecgs import sharing_is_exact, why_not_shared
from .projector_start import start_at_word_scale
from .recipe import STAGES, QuestionStage, Recipe, RecipeError
from .stage_training import (
    StageContext,
    print_skipped,
    save_checkpoint,
    train_stage,
    training_arguments,
    whole_model,
)
from .start_from import Start, read_start, trusts_code
from .text_models import build_language_model
from .trainers.progress import data_bars
from .trainers.trainer import EXAMPLE_IDS, StageTrainer
from .tuning import (
    AdapterCheck,
    logits_in_float32,
    parameter_types,
    prepare_for_tuning,
    restore_types,
)


def run_questions(context: StageContext, name: str, stage: QuestionStage, questions: dict[str, Dataset]) -> None:
    """Train on questions with answers; saves an ECG language model.

    A language model by name that stays as it is is left out of it (`composition_ecgllm`); beside a whole one, the
    adapter is saved alone, too.
    """
    recipe, folder = context.recipe, context.run.stage(name)
    tune = stage.tune or recipe.language_model.tune

    def build() -> tuple[PreTrainedModel | PeftModel, ECGProcessor, dict[str, torch.dtype], bool]:
        set_seed(recipe.seed + STAGES.index(name))
        goes_on = tune == "lora" and not recipe.language_model.merge
        begun = _starting_model(context, name, goes_on)
        model, types = begun.model, parameter_types(begun.model)
        apart = begun.by_name and tune != "full" and not recipe.language_model.merge
        if tune == "lora" and not apart:
            _keep_base(model, begun.processor, folder, save=PartialState().is_main_process)
        learning = {"encoder": stage.tune_encoder, "projector": stage.tune_projector, "adapter": begun.adapter}
        tuned = logits_in_float32(prepare_for_tuning(model, tune, recipe.lora, **learning))
        return tuned, begun.processor, types, apart

    model, processor, types, apart = build()
    processor.calibration = None  # that of the weights from which it starts, if any
    signals: dict[str, PreparedSignals | EncodedSignals] = dict.fromkeys(("train", "validation"), context.signals)
    augmenter = context.augmenter(stage)
    if stage.cache_encoder is not False and not stage.tune_encoder:
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        signals = _encoded(context, base.ecg_encoder, processor.feature_extractor, questions, augmenter)
        augmenter = None  # its work is done
    figures = _measured(context) if stage.measured else {}
    if stage.measured:
        processor.reads_measured = True
    if UNANSWERABLE in questions["train"].unique("type"):
        processor.refusal = CANNOT_TELL
    said = {
        split: MeasuredRecords(figures, share, recipe.seed, alone) if stage.measured else None
        for split, share, alone in (("train", stage.measured, stage.measured_alone), ("validation", 1.0, 0.0))
    }
    train = QuestionExamples(questions["train"], signals["train"], processor, augmenter, said["train"])
    validated = questions["validation"]
    if stage.validation_limit is not None:  # shuffled, because questions come type by type
        validated = validated.shuffle(seed=recipe.seed).select(range(min(stage.validation_limit, len(validated))))
    validation = QuestionExamples(validated, signals["validation"], processor, measured=said["validation"])
    print_skipped(train.skipped, "questions are about records without a usable signal")
    collator = QuestionCollator(processor)
    trainer = StageTrainer(
        model=model,
        args=training_arguments(recipe, stage, folder, len(train), label_names=["labels"]),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        data_collator=collator,
        train_collator=QuestionCollator(processor, stage.questions_per_row),
        group_by_length=stage.group_by_length,
        together=stage.questions_per_row,
        optimizer=stage.optimizer,
    )
    # Only now is the model on the device on which it is trained.
    if stage.questions_per_row > 1 and not _can_share(model, train, processor):
        trainer.keep_apart()
    if isinstance(model, PeftModel):
        trainer.add_callback(AdapterCheck(model))
    metrics = train_stage(trainer, context, name)
    model = whole_model(trainer, model, lambda: build()[0])
    if not PartialState().is_main_process:
        return
    model = _saved(model, processor, types, folder, apart)
    metrics |= {"answers": {}, "answers_about": stage.evaluate_split}
    if len(questions.get(stage.evaluate_split, ())) and stage.evaluate:
        # Shuffled, because questions come type by type.
        asked = questions[stage.evaluate_split].shuffle(seed=recipe.seed)
        asked = asked.select(range(min(stage.evaluate, len(asked))))
        metrics["answers"] = answer_metrics(model, processor, asked, MeasuredSignals(context.signals, figures))
    _print_answers(metrics["answers"], stage.evaluate_split)
    context.run.mark_done(name, metrics)


def _saved(
    model: PreTrainedModel | PeftModel,
    processor: ECGProcessor,
    types: dict[str, torch.dtype],
    folder: Path,
    apart: bool,
) -> PreTrainedModel:
    """Write a stage's checkpoint: whole, or (apart) without the language model. Returns: the whole model, merged."""
    if isinstance(model, PeftModel):
        if apart:
            save_checkpoint(model.get_base_model(), folder / "model", [processor], trained_only=True)
        else:
            with written_whole(folder / "adapter") as partial:
                model.save_pretrained(partial)
        model = model.merge_and_unload()
    restore_types(model, types)
    if not (folder / "model").is_dir():
        save_checkpoint(model, folder / "model", [processor], trained_only=apart)
    return model


def _can_share(model: Any, examples: QuestionExamples, processor: ECGProcessor) -> bool:
    """Whether questions about the same ECGs can share a row: whether there are such questions, and whether the model
    can do it. The main process finds out, so that all processes have the same order of examples.
    """
    found = [_shares(model, examples, processor) if PartialState().is_main_process else None]
    return broadcast_object_list(found)[0]


def _shares(model: Any, examples: QuestionExamples, processor: ECGProcessor) -> bool:
    groups = examples.groups()
    pair = np.flatnonzero(groups == np.bincount(groups).argmax())[:2].tolist()
    if len(pair) < 2:
        return False
    reason = why_not_shared(model, int(examples.lengths().max()))
    if reason is None:
        chosen = [examples[number] for number in pair]
        apart, together = (QuestionCollator(processor, count)(chosen) for count in (1, 2))
        del apart[EXAMPLE_IDS], together[EXAMPLE_IDS]
        if sharing_is_exact(model, apart, together):
            return True
        reason = "it answers otherwise then"
    print(f"  several questions in a row are too much for this language model ({reason}): one question a row")
    return False


def _measured(context: StageContext) -> dict[str, Figures]:
    """What is measured on the records of a run, by the main process, once."""
    file = context.run.folder / "measured.json"
    if PartialState().is_main_process:
        with data_bars():
            measure_records(context.corpus, file)
    context.wait()
    return measure_records(context.corpus, file)


def _encoded(
    context: StageContext,
    encoder: PreTrainedModel,
    feature_extractor: ECGFeatureExtractor,
    questions: dict[str, Dataset],
    augmenter: Augmenter | None,
) -> dict[str, PreparedSignals | EncodedSignals]:
    """Split -> the records that its questions are about, encoded by the main process unless an earlier stage did it.
    With an augmenter, the records of train are varied first."""
    splits = {"train": augmenter, "validation": None}
    folders = {
        split: context.run.folder / "encoded" / fingerprint(encoder, feature_extractor, vary)
        for split, vary in splits.items()
    }
    if PartialState().is_main_process:
        for folder in dict.fromkeys(folders.values()):
            own = [split for split in splits if folders[split] == folder]
            asked = {name for split in own for ids in questions[split]["ecg_ids"] for name in ids}
            wanted = {record_id for record_id in asked if record_id in context.signals}
            there = EncodedSignals(folder).keys() if folder.is_dir() else set()
            if wanted <= there:
                continue
            before = encoder.device
            encoder.to(PartialState().device)
            with data_bars():
                encode_signals(
                    encoder, feature_extractor, context.signals, wanted | there, folder, augmenter=splits[own[0]]
                )
            encoder.to(before)  # where the rest of the model still is
    context.wait()
    # Nothing is encoded for a split without questions.
    return {split: EncodedSignals(own) if own.is_dir() else context.signals for split, own in folders.items()}


@dataclass
class _Begun:
    """What a stage begins with.

    adapter: of the language model, which learns on; it is not in the model yet. by_name: whether the language model is
    as it is under its name, so that a checkpoint may leave it out.
    """

    model: ECGLLMForConditionalGeneration
    processor: ECGProcessor
    adapter: Path | None = None
    by_name: bool = False


def _starting_model(context: StageContext, name: str, goes_on: bool) -> _Begun:
    """The model of the question stage before; else that of the checkpoint to start from, or a new one, around the
    pre-trained encoder (else the checkpoint's, else an untrained one).

    goes_on: whether an adapter learns on; else it is added to the language model's weights.
    """
    recipe, run = context.recipe, context.run
    before = [stage for stage in STAGES[: STAGES.index(name)] if stage in recipe.stages]
    if before and before[-1] != "pretrain":
        folder = str(run.stage(before[-1]) / "model")
        return _loaded(read_start(folder, trust_remote_code=trusts_code(recipe)), recipe, goes_on)
    feature_extractor, start = context.feature_extractor, context.start
    encoder = None
    if before:
        encoder = ECGTextDualEncoder.from_pretrained(
            run.stage("pretrain") / "model", trust_remote_code=trusts_code(recipe)
        ).ecg_encoder
    if start is not None and start.has_language_model:
        begun = _loaded(start, recipe, goes_on)
        if encoder is not None:
            begun.model.ecg_encoder = encoder.to(begun.model.dtype)
        if encoder is not None or not start.weights:
            begun.model.name_or_path = ""  # it is no longer that checkpoint, on which an adapter could stand
        context.describe(begun.model)
        return begun
    if recipe.language_model.name is None and recipe.language_model.config is None:
        raise RecipeError(
            f"start_from is {recipe.start_from}, an encoder without a language model; add a language_model."
        )
    language_model, tokenizer = build_language_model(recipe.language_model, [*context.texts, *context.asked_texts])
    if encoder is None:
        encoder = build_encoder(context.encoder_config()) if start is None else start.encoder()
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder,
        language_model,
        tokenizer=tokenizer,
        **recipe.projector.fields(),
    )
    if recipe.projector.start == "words":
        start_at_word_scale(model, feature_extractor, context.signals, context.split("train")["id"][:])
    context.describe(model)
    processor = ECGProcessor.for_model(model, tokenizer, feature_extractor)
    by_name = recipe.language_model.name is not None and bool(weight_files(recipe.language_model.name))
    model.language_model_revision = commit_of(recipe.language_model.name) if by_name else None
    return _Begun(model, processor, by_name=by_name)


def _loaded(start: Start, recipe: Recipe, goes_on: bool) -> _Begun:
    adapter = start.adapter()
    handling = "keep" if adapter is None else "leave" if goes_on else "merge"
    model, processor = start.model(adapter=handling, language_model=recipe.language_model.name)
    by_name = model.config.language_model_base is not None
    return _Begun(model, processor, adapter if handling == "leave" else None, by_name)


def _keep_base(model: ECGLLMForConditionalGeneration, processor: ECGProcessor, folder: Path, save: bool) -> None:
    """Make sure that the base checkpoint of a stage's adapter is on disk, and that the adapter names it. If a stage
    starts from the one before it, the base is that stage's checkpoint. The base of the first question stage is a newly
    built model, which is saved to `<stage>/base`.
    """
    base = Path(model.name_or_path) if model.name_or_path else None
    if base is None or not (base / "processor_config.json").is_file():
        base = folder / "base"
        if save and not base.is_dir():
            save_checkpoint(model, base, [processor])
    # Absolute, because an adapter's base is looked up from wherever it is loaded.
    model.name_or_path = str(base.resolve())


def _print_answers(answers: dict[str, Any], split: str) -> None:
    for kind, shares in answers.items():
        print(
            f"  answers  {kind:<30}{shares['exact_match']:>5.0%} right of {shares['questions']:>4} {split} "
            f"questions (always the commonest answer: {shares['commonest_answer']:.0%})"
        )
