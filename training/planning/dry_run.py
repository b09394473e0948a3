"""A dry run: what a recipe would train, on what, in how much memory and time; nothing is trained or kept.

In: a recipe. Out: lines on the screen. Decided here: small untrained models take three real steps on a sample of the
data, in a temporary folder, so that their time is measured; no other time is given.
"""

from __future__ import annotations

import copy
import io
import math
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainingArguments
from transformers.utils import logging

from ...configuration_ecgllm import count_tokens
from ...corpora.records.dataset_folders import save_rows
from ...errors_ecgllm import ECGError
from ...processing_ecgllm import ECGFeatureExtractor, ecg_prompt
from ..recipe import ClassifyStage, PretrainStage, QuestionStage, Recipe, StageRecipe
from ..run import run_recipe
from ..trainers.progress import quiet_libraries
from ..tuning import trainable_table
from .data_survey import SAMPLE, DataSurvey, survey_data
from .estimates import (
    ACTIVATIONS_TEXT,
    Memory,
    Part,
    measured_rate,
    memory_of,
    text_of_bytes,
    text_of_seconds,
)
from .planned_models import UnknownSizeError, is_pretrained, planned_model

_STEPS = 3
_MOST_SCALED = 4.0  # times the sample's batch that a step may have and still be taken from its time
_AFFORDABLE = 90.0  # seconds that measuring may take, by formula at a tenth of the machine's rate
_USUAL_SECONDS = 10.0  # of an ECG, where none can be looked at
_USUAL_WORDS = 12  # of a question, likewise
_MEASURED_TOKENS = 36  # all that is said to have been measured on an ECG
_ANSWER_TOKENS = 8
_CHARACTERS_PER_TOKEN = 4


@dataclass
class _Plan:
    """What is known about one stage. steps, memory, flops: None where sizes or data are unknown."""

    name: str
    lines: list[str]
    steps: int | None = None
    memory: Memory | None = None
    flops: float | None = None


def dry_run(recipe: Recipe, processes: int | None = None) -> None:
    """Print what a run of this recipe would do. processes: to plan for; those that were launched by default."""
    processes = processes or int(os.environ.get("WORLD_SIZE", "1"))
    if int(os.environ.get("RANK", "0")):
        return
    with quiet_libraries(), _errors_only():
        print(
            f"Dry run of {recipe.description or recipe.corpus}: nothing is kept, nothing is written to {recipe.output}"
        )
        print("\nData")
        survey = survey_data(recipe)
        print("\n".join(survey.lines(recipe.corpus)))
        plans = [_plan(recipe, name, survey, processes) for name in recipe.stages]
        seconds, how = _step_seconds(recipe, plans, survey, processes)
        total: float | None = 0.0
        for number, plan in enumerate(plans, start=1):
            print(f"\n[{number}/{len(plans)}] {plan.name}")
            print("\n".join(plan.lines))
            if plan.steps == 0:
                continue
            needed = seconds.get(plan.name)
            if needed is None or plan.steps is None:
                print(f"  time: {'unknown' if needed is None else text_of_seconds(needed) + ' a step; steps unknown'}")
                total = None
                continue
            print(f"  time: {text_of_seconds(needed)} a step, {text_of_seconds(needed * plan.steps)} in all")
            total = None if total is None else total + needed * plan.steps
        print(f"\nTime of all stages: {'unknown' if total is None else text_of_seconds(total)} ({how})")
        print("Beside it: preparing signals, encoding each record once, validation, answers at the end, saving.")
        if any(plan.memory for plan in plans):
            print(ACTIVATIONS_TEXT[0].upper() + ACTIVATIONS_TEXT[1:] + ". No allocator's overhead is counted.")


# ---------------------------------------------------------------------------------------------------------------------
# One stage
# ---------------------------------------------------------------------------------------------------------------------


def _plan(recipe: Recipe, name: str, survey: DataSurvey, processes: int) -> _Plan:
    stage = recipe.stages[name]
    # What is streamed is not the corpus.
    examples = None if isinstance(stage, PretrainStage) and stage.stream else survey.examples(name)
    if isinstance(stage, ClassifyStage) and not stage.tune_encoder:
        return _Plan(name, ["  a linear probe: every record is encoded once, and no step is taken"], steps=0)
    plan = _Plan(name, [], _steps(stage, examples))
    epochs = ""
    if plan.steps is not None and examples:
        epochs = f", {plan.steps * stage.batch_size / examples:.1f} times each of {examples:,} training examples"
    parts_of_batch = f"{processes} process{'es' if processes > 1 else ''}"
    if stage.gradient_accumulation_steps > 1:
        parts_of_batch += f" x {stage.gradient_accumulation_steps} parts one after another"
    steps = "unknown number of" if plan.steps is None else f"{plan.steps:,}"
    plan.lines.append(f"  {steps} steps of {stage.batch_size} examples ({parts_of_batch}){epochs}")
    parts = processes * stage.gradient_accumulation_steps
    if stage.batch_size % parts:
        plan.lines.append(f"  the batch cannot be divided by {parts}: choose a batch_size that is a multiple of it")
    if examples is not None and examples < stage.batch_size:
        plan.lines.append(f"  {examples} examples do not fill one batch: this stage would be refused")
    try:
        model, source = planned_model(recipe, name, survey.labels)
    except UnknownSizeError as error:
        plan.lines.append(f"  sizes and memory unknown: {error}")
        return plan
    plan.lines.append(f"  text model: {source}")
    plan.lines.append(trainable_table(model))
    at_once = max(1, stage.batch_size // parts)
    bf16 = stage.training.get("bf16", False) or stage.training.get("fp16", False)
    number = 2 if bf16 else next(model.parameters()).element_size()
    names = ("gradient_checkpointing", "activation_checkpointing")  # transformers renames it
    checkpointed = any(stage.training.get(name, False) for name in names)
    in_parts = _parts(recipe, name, model, survey, at_once)
    plan.memory = memory_of(model, in_parts, number, checkpointed, stage.optimizer)
    plan.flops = sum(part.flops() for part in in_parts) * parts * (4 / 3 if checkpointed else 1)
    plan.lines += _memory_lines(plan.memory, processes)
    plan.lines.append(_written(recipe, name, model))
    plan.lines.append(f"  work: {plan.flops / 1e12:.3g} TFLOP a step")
    return plan


def _written(recipe: Recipe, name: str, model: Any) -> str:
    """How large the weights of a stage's checkpoint are, and why."""
    language = recipe.language_model
    tune = getattr(recipe.stages[name], "tune", None) or language.tune
    apart = name != "pretrain" and language.name is not None and tune != "full" and not language.merge
    sizes = {
        parameter: value.numel() * value.element_size()
        for parameter, value in model.named_parameters()
        if ".original_module." not in parameter  # PEFT's copy of the projector before training
    }
    if apart:
        own = sum(size for key, size in sizes.items() if "language_model." not in key or ".lora_" in key)
        return f"  writes: {text_of_bytes(own)} of weights (what is trained; the language model stays {language.name})"
    return f"  writes: {text_of_bytes(sum(size for key, size in sizes.items() if '.lora_' not in key))} of weights"


def _steps(stage: StageRecipe, examples: int | None) -> int | None:
    steps = stage.training.get("max_steps", -1)
    if steps > 0:
        return int(steps)
    if not examples:
        return None
    epochs = stage.training.get("num_train_epochs", TrainingArguments.num_train_epochs)
    return math.ceil((examples // stage.batch_size) * epochs)


def _parts(recipe: Recipe, name: str, model: Any, survey: DataSurvey, at_once: int) -> list[Part]:
    """The transformers of a stage, and how many tokens of `at_once` examples each processes."""
    stage = recipe.stages[name]
    extractor = ECGFeatureExtractor(**recipe.feature_extractor)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    samples = math.ceil(_usual_seconds(survey) * extractor.sampling_rate)
    patches = count_tokens(samples, base.ecg_encoder.config.patch_size)
    if name == "classify":
        return [Part(base.ecg_encoder, at_once * patches, frozen_below=not stage.tune_encoder)]
    if name == "pretrain":
        words = _usual_text([report for report in survey.sample["report"][:500] if report] if survey.sample else [])
        return [Part(base.ecg_encoder, at_once * patches), Part(base.text_encoder, at_once * min(words, 512))]
    types = survey.questions.get(name, {}).get("train")
    ecgs = 1.0
    if types:
        ecgs = 1 + sum(count for kind, count in types.items() if kind.startswith("comparison")) / types.total()
    prompt = _usual_text([" ".join(part.get("text", "") for part in ecg_prompt("word " * _USUAL_WORDS, 1))])
    of_ecg = math.ceil(patches / recipe.projector.patches_per_token) + (_MEASURED_TOKENS if stage.measured else 0)
    tokens = prompt + _ANSWER_TOKENS + ecgs * of_ecg
    found = [
        Part(
            base.language_model,
            round(at_once * tokens),
            frozen_below=not (stage.tune_encoder or stage.tune_projector),
            # The positions of all answers of a batch are taken together.
            output_tokens=at_once * 2 * _ANSWER_TOKENS,
        )
    ]
    if stage.tune_encoder or stage.cache_encoder is False:
        found.append(Part(base.ecg_encoder, round(at_once * ecgs * patches)))
    return found


def _usual_seconds(survey: DataSurvey) -> float:
    """Mean duration of a few ECGs."""
    if survey.sample is None or not len(survey.sample):
        return _USUAL_SECONDS
    few = survey.sample.select(range(min(20, len(survey.sample))))
    seconds = [row["ecg"]["signal"].shape[-1] / row["ecg"]["sampling_rate"] for row in few]
    return sum(seconds) / len(seconds)


def _usual_text(texts: list[str]) -> int:
    """Tokens of a text, at four characters each."""
    if not texts:
        return _USUAL_WORDS * 2
    return math.ceil(sum(map(len, texts)) / len(texts) / _CHARACTERS_PER_TOKEN)


def _memory_lines(memory: Memory, processes: int) -> list[str]:
    kinds = ("weights", "gradients", "optimizer", "activations")
    parts = ", ".join(f"{kind} {text_of_bytes(getattr(memory, kind))}" for kind in kinds)
    lines = [f"  memory per process: {text_of_bytes(memory.total)} ({parts})"]
    if processes > 1:
        sharded = memory.sharded / processes + memory.activations
        lines.append(f"  with FSDP or DeepSpeed ZeRO-3 over {processes} processes: {text_of_bytes(sharded)}")
    return lines


# ---------------------------------------------------------------------------------------------------------------------
# Time
# ---------------------------------------------------------------------------------------------------------------------


def _step_seconds(
    recipe: Recipe, plans: list[_Plan], survey: DataSurvey, processes: int
) -> tuple[dict[str, float], str]:
    """Seconds of a step by stage, where three steps could be taken here, and how they were found or why they were not.

    No other time is given: a rate from a data sheet is off by as much as a machine differs from that sheet.
    """
    plans = [plan for plan in plans if plan.steps != 0]
    if not plans:
        return {}, "no steps are taken"
    known = [plan for plan in plans if plan.flops is not None]
    if len(known) < len(plans):
        return {}, "not measured: sizes are not known"
    if processes > 1:
        return {}, f"not measured: it is planned for {processes} processes"
    if any(is_pretrained(recipe, name) for name in recipe.stages):
        return {}, "not measured: pretrained weights would have to be loaded"
    if sum(plan.flops for plan in known) * _STEPS / (0.1 * measured_rate()) >= _AFFORDABLE:
        return {}, f"not measured: three steps would take more than {_AFFORDABLE:g} s here"
    try:
        if survey.records is not None:
            return _measured_seconds(recipe, survey, known), "three steps measured on this machine"
        # The time of a step hardly depends on which ECGs are used.
        stand_in = recipe.model_copy(update={"corpus": "simulation", "data": None, "limit": SAMPLE})
        seconds = _measured_seconds(stand_in, survey_data(stand_in), known)
    except (ValueError, OSError) as error:  # too few records in the sample, for example
        return {}, f"not measured: {str(error).rstrip('.')}"
    return seconds, "three steps measured on this machine, on simulated ECGs in place of what is not there"


def _measured_seconds(recipe: Recipe, survey: DataSurvey, plans: list[_Plan]) -> dict[str, float]:
    """Take three steps of every stage on the sample; the first, which warms up, does not count.

    If the sample holds only a small part of a stage's batch, the stage takes the rate of the others, where there are
    any: the fixed cost of a step would be multiplied.
    """
    small = copy.deepcopy(recipe)
    scale = {}
    small.stages = {plan.name: small.stages[plan.name] for plan in plans}
    for name, stage in small.stages.items():
        examples = survey.sampled.get(name, 0)
        parts = stage.gradient_accumulation_steps
        size = min(stage.batch_size, examples // parts * parts)
        if not size:
            raise ECGError(f"the sample has {examples} training examples of {name}")
        scale[name] = stage.batch_size / size
        # Nothing is validated, so there is neither a best checkpoint nor a validation without a gain.
        stage.batch_size, stage.early_stopping_patience = size, None
        if isinstance(stage, QuestionStage):
            stage.evaluate = 0
        left_out = (
            "num_train_epochs",
            "eval_steps",
            "load_best_model_at_end",
            "metric_for_best_model",
            "greater_is_better",
        )
        own = {"max_steps": _STEPS, "save_strategy": "no", "eval_strategy": "no", "report_to": "none"}
        stage.training = {key: value for key, value in stage.training.items() if key not in left_out} | own
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="ecgllm-dry-run-") as folder:
        save_rows(survey.sample, Path(folder) / "sample")
        small.data, small.limit, small.output = str(Path(folder) / "sample"), None, str(Path(folder) / "run")
        with redirect_stdout(io.StringIO()):
            run_recipe(small, [clock])
    seconds = {name: clock.seconds[name] * scale[name] for name in small.stages}
    flops = {plan.name: plan.flops for plan in plans}
    sure = [name for name in seconds if scale[name] <= _MOST_SCALED]
    for name in seconds:
        if sure and name not in sure:
            rate = sum(flops[other] for other in sure) / sum(seconds[other] for other in sure)
            seconds[name] = min(seconds[name], flops[name] / rate)
    return seconds


class _Clock(TrainerCallback):
    """Seconds from the end of one step to the end of the next, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        now, stage = time.perf_counter(), Path(args.output_dir).name
        if state.global_step > 1:
            self.seconds[stage] = min(now - self._last, self.seconds.get(stage, math.inf))
        self._last = now


@contextmanager
def _errors_only() -> Iterator[None]:
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
