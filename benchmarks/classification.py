"""Macro AUROC of linear probes on an encoder, on a random one like it, on measurements and amplitudes, side by side.

    python benchmarks/classification.py CHECKPOINT ptbxl=FOLDER [NAME=FOLDER ...] [--task super] [-o F.json]

CHECKPOINT is any folder that holds an ECG encoder; the shipped one by default. With PTB-XL whole, the published folds
are used: 1-8 train, 9 chooses the strength of regularisation, 10 is reported. With a part of it, or other corpora,
records are tested by five-fold cross-validation over patients, in which the strength is chosen within the training
patients, and it says so. --task is one of PTB-XL's label sets; without it findings are the labels, and what a source
never states is not known.

Beside the encoder, all with the same regression: the same encoder with random weights; what `signals.measure` finds
(rates, intervals, axis), with a column each that says whether it could; and the signals themselves, as quantiles of
amplitude and slope in every lead. --fine-tune trains encoder and head by `transformers.Trainer` in each fold, at
settings that no record here chose.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, concatenate_datasets
from sklearn.model_selection import GroupKFold
from transformers import Trainer, TrainingArguments

from ecgllm import ECGFeatureExtractor, ECGForSequenceClassification, ECGRecord
from ecgllm.corpora import finding_labels, prepare, ptbxl_labels
from ecgllm.encoder_adapter_ecgllm import as_encoder
from ecgllm.shipped import shipped_checkpoint
from ecgllm.signals import measure
from ecgllm.training.classification import STRENGTHS, LinearProbe, encode, macro_auroc, mean_auroc
from ecgllm.training.data.classification_examples import ClassificationCollator, ClassificationExamples

FOLDS = 5
MEASURED = ("heart_rate", "rr_sd", "p", "pr", "qrs", "qt", "qtc_bazett", "qtc_fridericia", "axis")


def amplitudes(examples: ClassificationExamples) -> np.ndarray:
    """[examples, leads * 14]: of every lead seven quantiles of its values and of their differences, in mV."""
    shares, found = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99), []
    for index in range(len(examples)):
        values = np.asarray(examples[index]["ecg_values"])
        parts = (np.quantile(each, shares, axis=1) for each in (values, np.diff(values, axis=1)))
        found.append(np.concatenate(list(parts), axis=None))
    return np.stack(found).astype(np.float32)


def measured(corpus: Dataset, ids: list[str]) -> np.ndarray:
    """[examples, 2 * measurements]: values, 0 where there is none, and whether there is one."""
    rows = {record_id: row for row, record_id in enumerate(corpus["id"])}
    found = np.zeros((len(ids), 2 * len(MEASURED)), dtype=np.float32)
    for number, record_id in enumerate(ids):
        ecg = corpus[rows[record_id]]["ecg"]
        values = measure(ECGRecord(np.asarray(ecg["signal"]), ecg["sampling_rate"], tuple(ecg["leads"]))).values()
        for column, name in enumerate(MEASURED):
            if name in values:
                found[number, column], found[number, len(MEASURED) + column] = values[name], 1
    return found


def folds_of(patients: list[str], splits: list[str], published: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """(rows to train on and choose by, rows that are reported) of every fold."""
    if published:
        names = np.asarray(splits)
        return [(np.flatnonzero(names != "test"), np.flatnonzero(names == "test"))]
    return list(GroupKFold(FOLDS, shuffle=True, random_state=0).split(patients, groups=patients))


def chosen_strength(
    features: np.ndarray, labels: np.ndarray, patients: np.ndarray, validation: np.ndarray | None
) -> float:
    """By macro AUROC of the published validation fold, or of all folds of an inner cross-validation together."""
    if validation is not None:
        train = ~validation
        return LinearProbe.chosen(features[train], labels[train], features[validation], labels[validation]).strength
    inner = list(GroupKFold(FOLDS - 1, shuffle=True, random_state=1).split(patients, groups=patients))
    found = {}
    for strength in STRENGTHS:
        scores = np.empty(labels.shape)
        for train, test in inner:
            scores[test] = LinearProbe(strength).fit(features[train], labels[train]).logits(features[test])
        found[strength] = mean_auroc(scores, labels)[0]
    return max(found, key=found.get)


def probe(
    features: np.ndarray,
    examples: ClassificationExamples,
    folds: list[tuple[np.ndarray, np.ndarray]],
    validation: np.ndarray | None,
) -> tuple[np.ndarray, list[float]]:
    """(Scores [examples, labels] of the records that are reported, NaN elsewhere; the strengths that were chosen)."""
    labels, patients, strengths = examples.labels, np.asarray(examples.patients), []
    scores = np.full(labels.shape, np.nan)
    for train, test in folds:
        within = None if validation is None else validation[train]
        strengths.append(chosen_strength(features[train], labels[train], patients[train], within))
        scores[test] = LinearProbe(strengths[-1]).fit(features[train], labels[train]).logits(features[test])
    return scores, strengths


def fine_tuned(
    examples: ClassificationExamples,
    build: Callable[[], ECGForSequenceClassification],
    extractor: ECGFeatureExtractor,
    folds: list[tuple[np.ndarray, np.ndarray]],
    epochs: float,
) -> np.ndarray:
    scores = np.full(examples.labels.shape, np.nan)
    for train, test in folds:
        arguments = TrainingArguments(
            "unused", num_train_epochs=epochs, per_device_train_batch_size=16, learning_rate=3e-4, warmup_steps=10,
            weight_decay=0.05, report_to=[], save_strategy="no", seed=0, disable_tqdm=True, logging_strategy="no",
        )  # fmt: skip
        trainer = Trainer(
            build(),
            arguments,
            train_dataset=examples.select(train),
            data_collator=ClassificationCollator(extractor),
            processing_class=extractor,
        )
        trainer.train()
        scores[test] = trainer.predict(examples.select(test)).predictions
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default=shipped_checkpoint(), type=Path)
    parser.add_argument("corpora", nargs="+", metavar="NAME=FOLDER")
    parser.add_argument("--task", help="a label set of PTB-XL; without it: findings")
    parser.add_argument("--least", type=int, default=15, help="records on either side that a finding needs")
    parser.add_argument("--fine-tune", type=float, default=0, metavar="EPOCHS")
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    logging.getLogger("transformers").setLevel(logging.ERROR)
    corpus = concatenate_datasets([prepare(*named.split("=", 1)) for named in arguments.corpora])
    if arguments.task:
        labelled, names = ptbxl_labels(corpus, arguments.task)
    else:
        labelled, names = finding_labels(corpus, least=arguments.least)
    extractor = ECGFeatureExtractor.from_pretrained(arguments.checkpoint)
    examples = ClassificationExamples.prepare(labelled, extractor)
    published = bool(arguments.task) and len(corpus) > 20_000
    folds = folds_of(examples.patients, examples.splits, published)
    validation = np.asarray(examples.splits) == "validation" if published else None
    how = "PTB-XL's published folds" if published else f"{FOLDS}-fold cross-validation over patients"
    print(f"{len(examples)} records of {len(set(examples.patients))} patients, {len(names)} labels; {how}")

    trained, features = as_encoder(arguments.checkpoint), {}
    features["encoder"] = encode(trained, examples, extractor)
    for seed in range(3):
        torch.manual_seed(seed)
        features[f"random encoder, seed {seed}"] = encode(as_encoder(trained.config), examples, extractor)
    features["measurements"] = measured(labelled, examples.ids)
    features["amplitudes"] = amplitudes(examples)
    scores = {}
    for name, own in features.items():
        scores[name], strengths = probe(own, examples, folds, validation)
        print(f"{name}: {own.shape[1]} features, strengths {', '.join(map(str, strengths))}", flush=True)
    if arguments.fine_tune:
        fields = {"num_labels": len(names), "problem_type": "multi_label_classification"}
        for name, start in (("encoder, fine-tuned", arguments.checkpoint), ("random, fine-tuned", trained.config)):
            began = time.time()

            def build(start: Any = start) -> ECGForSequenceClassification:
                torch.manual_seed(0)
                return ECGForSequenceClassification.from_encoder(start, **fields)

            scores[name] = fine_tuned(examples, build, extractor, folds, arguments.fine_tune)
            print(f"{name}: {time.time() - began:.0f} s")
    found = {}
    for name, own in scores.items():
        tested = ~np.isnan(own).any(axis=1)
        patients = [patient for patient, yes in zip(examples.patients, tested, strict=True) if yes]
        found[name] = macro_auroc(own[tested], examples.labels[tested], names, patients)
        one = found[name]
        print(f"{name:<28}{one['macro_auroc']:.3f} [{one['low']:.3f}, {one['high']:.3f}]  {one['classes']} classes")
    print(f"left out, one side alone: {', '.join(found['encoder']['left_out']) or 'none'}")
    for name, one in found["encoder"]["by_class"].items():
        others = "".join(f"{found[other]['by_class'][name]['auroc']:>8.3f}" for other in scores)
        print(f"{name:<44}{one['positives']:>5}{one['negatives']:>5}{others}")
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
