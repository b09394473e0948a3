"""The stage `classify`: a head for labels on the run's encoder, as a linear probe and, by `tune_encoder`, fine-tuned.

In: a `StageContext` and the stage's recipe. Out: `classify/probe` and `classify/model`, each an
`ECGForSequenceClassification` with its feature extractor, and `classify/metrics.json`, written last. Decided here: the
probe comes first in either case. It says what the encoder knows already, and fine-tuning starts from its head, which
distorts an encoder less than a random one would (Kumar et al. 2022, arXiv 2202.10054).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from datasets import Dataset
from transformers import PreTrainedModel, set_seed

from ..classification_ecgllm import ECGForSequenceClassification
from ..corpora import finding_labels, ptbxl_labels
from ..encoder_adapter_ecgllm import as_encoder
from ..errors_ecgllm import ECGError
from ..modeling_ecgllm import ECGTextDualEncoder
from .classification import LinearProbe, auroc_metrics, classify, encode, is_measurable, macro_auroc
from .data.classification_examples import ClassificationCollator, ClassificationExamples
from .recipe import STAGES, ClassifyStage, RecipeError
from .run_folder import versions
from .stage_training import StageContext, print_skipped, save_checkpoint, train_stage, training_arguments, whole_model
from .start_from import trusts_code
from .trainers.classification_trainer import ClassificationTrainer
from .tuning import learn_in_float32

NAME = "classify"


def run_classify(context: StageContext, stage: ClassifyStage) -> None:
    """Fit a linear probe, and fine-tune from there where the encoder shall learn; saves a classifier."""
    folder, extractor = context.run.stage(NAME), context.feature_extractor
    labelled, names = labels_of(context.corpus, stage.labels)
    examples = ClassificationExamples(labelled, context.signals)
    parts = {split: examples.of_split(split) for split in ("train", "validation", "test")}
    print_skipped(len(context.corpus) - len(examples), "records have no label or no usable signal")
    if not len(parts["train"]):
        raise RecipeError(f"{NAME}: no record of the train split has a label; take more records, or another split.")
    probe_folder = folder / "probe"
    if PartialState().is_main_process and not probe_folder.is_dir():
        save_checkpoint(_probe(context, stage, parts, names), probe_folder, [extractor])
    context.wait()
    model, metrics = ECGForSequenceClassification.from_pretrained(probe_folder), {"steps": 0, "versions": versions()}
    if PartialState().is_main_process:
        metrics["linear_probe"] = _figures(model, parts[stage.evaluate_split], names, context, "linear probe")
    if stage.tune_encoder:
        metrics |= _fine_tune(context, stage, model, parts)
    if PartialState().is_main_process:
        model = metrics.pop("model", model)
        if stage.tune_encoder:
            metrics["fine_tuned"] = _figures(model, parts[stage.evaluate_split], names, context, "fine-tuned")
        save_checkpoint(model, folder / "model", [extractor])
        context.run.mark_done(NAME, metrics | {"measured_on": stage.evaluate_split, "labels": list(names)})


def labels_of(corpus: Dataset, labels: str | list[str]) -> tuple[Dataset, tuple[str, ...]]:
    """(records with labels, names of the labels) by a stage's `labels`. Raises: RecipeError."""
    try:
        if isinstance(labels, str) and labels.startswith("ptbxl-"):
            return ptbxl_labels(corpus, labels.removeprefix("ptbxl-"))
        return finding_labels(corpus, None if labels == "findings" else labels)
    except ECGError as error:
        raise RecipeError(f"stages.{NAME}.labels: {error}.") from error


def _encoder(context: StageContext) -> PreTrainedModel:
    """That of the run's own pre-training, else the checkpoint's to start from, else an untrained one."""
    if "pretrain" in context.recipe.stages:
        return ECGTextDualEncoder.from_pretrained(
            context.run.stage("pretrain") / "model", trust_remote_code=trusts_code(context.recipe)
        ).ecg_encoder
    set_seed(context.recipe.seed)
    return as_encoder(context.encoder_config() if context.start is None else context.start.encoder())


def _probe(
    context: StageContext, stage: ClassifyStage, parts: dict[str, ClassificationExamples], names: tuple[str, ...]
) -> ECGForSequenceClassification:
    model = ECGForSequenceClassification.from_encoder(
        _encoder(context),
        id2label=dict(enumerate(names)),
        problem_type="multi_label_classification",
    )
    context.describe(model)
    model.to("cpu" if stage.training.get("use_cpu") else PartialState().device)

    def features(split: str) -> tuple[np.ndarray, np.ndarray]:
        return encode(model, parts[split], context.feature_extractor, stage.batch_size), parts[split].labels

    if is_measurable(parts["validation"].labels):
        probe = LinearProbe.chosen(*features("train"), *features("validation"))
    else:
        probe = LinearProbe().fit(*features("train"))
        print("  the strength of the linear probe is not chosen: validation has no label with both sides")
    probe.put_on(model)
    return model


def _fine_tune(
    context: StageContext,
    stage: ClassifyStage,
    model: ECGForSequenceClassification,
    parts: dict[str, ClassificationExamples],
) -> dict[str, Any]:
    """Metrics of the training, and under "model" what was trained."""
    recipe, folder = context.recipe, context.run.stage(NAME)
    set_seed(recipe.seed + STAGES.index(NAME))
    train, validation = parts["train"], parts["validation"]
    measured = is_measurable(validation.labels)
    if not measured and (stage.training.get("metric_for_best_model") or "").endswith("macro_auroc"):
        raise RecipeError(
            f"stages.{NAME}.training.metric_for_best_model is macro_auroc, and no label has both sides among the "
            f"{len(validation)} validation records; take more records, or leave it out."
        )
    train.augmenter = context.augmenter(stage)
    trainer = ClassificationTrainer(
        model=learn_in_float32(model),
        args=training_arguments(recipe, stage, folder, len(train), label_names=["labels"]),
        train_dataset=train,
        eval_dataset=validation if len(validation) else None,
        data_collator=ClassificationCollator(context.feature_extractor, numbered=True),
        compute_metrics=auroc_metrics if measured else None,
        optimizer=stage.optimizer,
    )
    metrics = train_stage(trainer, context, NAME)
    again: Path = folder / "probe"
    return metrics | {
        "model": whole_model(trainer, model, lambda: ECGForSequenceClassification.from_pretrained(again))
    }


def _figures(
    model: ECGForSequenceClassification,
    examples: ClassificationExamples,
    names: tuple[str, ...],
    context: StageContext,
    what: str,
) -> dict[str, Any] | None:
    """Macro AUROC on some examples, printed; None where no class has both sides."""
    split = set(examples.splits)
    if not is_measurable(examples.labels):
        print(f"  {what}: not measured, no label has both sides among {len(examples)} records")
        return None
    scores = classify(model, examples, context.feature_extractor)
    found = macro_auroc(scores, examples.labels, names, examples.patients)
    print(
        f"  {what}: macro AUROC {found['macro_auroc']:.3f} [{found['low']:.3f}, {found['high']:.3f}] of "
        f"{found['classes']} labels, {len(examples)} {'/'.join(sorted(split))} records"
    )
    return found
