"""A classifier by plain Trainer and by a linear probe, and the figure that papers print."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import concatenate_datasets
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from transformers import AutoFeatureExtractor, Trainer, TrainingArguments

from ecgllm import ECGEncoder, ECGError, ECGFeatureExtractor, ECGForSequenceClassification, ECGRecord
from ecgllm.corpora import finding_labels, records_to_corpus
from ecgllm.signals.simulation import simulate_ecg
from ecgllm.training.classification import LinearProbe, auroc_metrics, encode, macro_auroc, mean_auroc
from ecgllm.training.data.classification_examples import ClassificationCollator, ClassificationExamples

NAMES = ("atrial fibrillation", "complete left bundle branch block")
NAN = float("nan")


@pytest.fixture(scope="module")
def examples() -> ClassificationExamples:
    """24 simulated ECGs of different lengths with two labels; and one that is too short, which is refused."""
    records = [
        simulate_ecg(findings=[(*NAMES, "sinus rhythm")[number % 3]], seed=number, duration=5 + number % 2)
        for number in range(24)
    ]
    short = ECGRecord(np.zeros((12, 100), dtype=np.float32), 500, records[0].leads)
    corpus = concatenate_datasets([records_to_corpus(records, "sim"), records_to_corpus([short], "short")])
    labelled, names = finding_labels(corpus.map(lambda row: {"source": "sim"}), NAMES)
    assert names == NAMES
    return ClassificationExamples.prepare(labelled, ECGFeatureExtractor())


def test_what_is_refused_is_left_out_and_named(examples) -> None:
    assert len(examples) == 24 and set(examples.refused) == {"short-000000"}
    assert "lasts 0.2 s" in examples.refused["short-000000"]
    assert examples.labels.sum(axis=0).tolist() == [8, 8]
    some = examples.select([3, 5])
    assert some.ids == [examples.ids[3], examples.ids[5]] and len(some) == 2
    np.testing.assert_array_equal(some[1]["ecg_values"], examples[5]["ecg_values"])
    parts = {name: examples.of_split(name) for name in ("train", "validation", "test")}
    assert sorted(own for part in parts.values() for own in part.ids) == sorted(examples.ids)
    assert set(parts["train"].splits) == {"train"} and len(parts["train"]) > 12


def test_labels_of_another_kind_and_without_are_told_apart(examples) -> None:
    from datasets import Dataset

    numbers = Dataset.from_dict({"id": examples.ids[:3], "labels": [2, 0, 1]})
    single = ClassificationExamples(numbers, examples._signals)
    batch = ClassificationCollator(ECGFeatureExtractor())([single[0], single[2]])
    assert batch["labels"].tolist() == [2, 1] and batch["labels"].dtype == torch.int64
    assert batch["ecg_lengths"].tolist() == [500, 500] and batch["ecg_values"].shape == (2, 12, 500)
    # Rows of a `datasets.Dataset`, as `map` leaves them.
    rows = Dataset.from_list([{**single[number], "labels": [1.0, 0.0]} for number in (0, 2)])
    again = ClassificationCollator(ECGFeatureExtractor())([rows[0], rows[1]])
    assert torch.equal(again["ecg_values"], batch["ecg_values"]) and again["labels"].tolist() == [[1, 0], [1, 0]]
    with pytest.raises(ECGError, match="lacks the column labels; ptbxl_labels and finding_labels"):
        ClassificationExamples(numbers.remove_columns("labels"), examples._signals)


def test_plain_trainer_trains_measures_saves_and_goes_on(examples, encoder: ECGEncoder, tmp_path: Path) -> None:
    model = ECGForSequenceClassification.from_encoder(
        encoder, id2label=dict(enumerate(NAMES)), problem_type="multi_label_classification"
    )
    extractor = ECGFeatureExtractor()
    arguments = TrainingArguments(
        tmp_path / "run", max_steps=12, per_device_train_batch_size=4, gradient_accumulation_steps=2, warmup_steps=2,
        learning_rate=3e-3, logging_steps=1, report_to=[], save_strategy="no", disable_tqdm=True, use_cpu=True, seed=0,
    )  # fmt: skip
    trainer = Trainer(
        model,
        arguments,
        train_dataset=examples,
        eval_dataset=examples,
        data_collator=ClassificationCollator(extractor),
        compute_metrics=auroc_metrics,
        processing_class=extractor,
    )
    assert not trainer.model_accepts_loss_kwargs  # else it would not divide by the steps that it accumulates
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[0] < 1 and np.mean(losses[-3:]) < losses[0]
    measured = trainer.evaluate()
    assert measured["eval_classes"] == 2 and 0.5 < measured["eval_macro_auroc"] <= 1
    trainer.save_model(tmp_path / "model")
    again = ECGForSequenceClassification.from_pretrained(tmp_path / "model").eval()
    own = AutoFeatureExtractor.from_pretrained(tmp_path / "model")
    assert own.preprocessing_id == extractor.preprocessing_id
    batch = ClassificationCollator(own)([examples[0], examples[1]])
    batch.pop("labels")
    with torch.no_grad():
        torch.testing.assert_close(again(**batch).logits, trainer.model.eval()(**batch).logits)


def test_features_do_not_depend_on_the_batch(examples, encoder: ECGEncoder) -> None:
    extractor = ECGFeatureExtractor()
    together = encode(encoder, examples, extractor, batch_size=7)
    model = ECGForSequenceClassification.from_encoder(encoder, num_labels=2)
    np.testing.assert_allclose(encode(model, examples, extractor, batch_size=1), together, atol=1e-5)


def test_a_linear_probe_is_scikit_learns_and_becomes_the_head(examples, encoder: ECGEncoder) -> None:
    features = encode(encoder, examples, ECGFeatureExtractor())
    labels = np.column_stack([examples.labels, np.zeros(24)])  # of the third training knows one side alone
    labels[:4, 1] = NAN
    probe = LinearProbe(0.1).fit(features, labels)
    for column, rows in ((0, slice(None)), (1, slice(4, None))):
        # Standardised by all examples, labels of some of them known.
        standard = StandardScaler().fit(features)
        fitted = LogisticRegression(C=0.1, max_iter=2000).fit(
            standard.transform(features[rows]), labels[rows, column] > 0
        )
        expected = make_pipeline(standard, fitted).decision_function(features)
        np.testing.assert_allclose(probe.logits(features)[:, column], expected, atol=1e-3)
    assert len(np.unique(probe.logits(features)[:, 2].round(6))) == 1 and probe.bias[2] < -3
    model = ECGForSequenceClassification.from_encoder(encoder, num_labels=3).eval()
    probe.put_on(model)
    batch = ClassificationCollator(ECGFeatureExtractor())([examples[number] for number in range(5)])
    batch.pop("labels")
    with torch.no_grad():
        np.testing.assert_allclose(model(**batch).logits.numpy(), probe.logits(features[:5]), atol=1e-3)


def test_the_strength_is_that_which_is_best_on_validation_examples() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random((400, 1)) < 0.5).astype(float)
    features = np.column_stack([labels[:, 0] + rng.normal(size=400), rng.normal(size=(400, 60))])
    train, rest = slice(0, 40), slice(40, None)
    found = LinearProbe.chosen(features[train], labels[train], features[rest], labels[rest])
    scores = [
        mean_auroc(LinearProbe(strength).fit(features[train], labels[train]).logits(features[rest]), labels[rest])[0]
        for strength in (1e-3, 10.0, found.strength)
    ]
    assert scores[2] == max(scores) and len(set(scores)) > 1


def test_macro_auroc_is_the_mean_over_classes_with_both_sides() -> None:
    rng = np.random.default_rng(1)
    labels = (rng.random((60, 4)) < [0.5, 0.2, 0.03, 0]).astype(float)
    labels[0, 2] = 1
    scores = labels + rng.normal(size=labels.shape)
    found = macro_auroc(scores, labels, "abcd", patients=[str(row // 2) for row in range(60)])
    expected = roc_auc_score(labels[:, :3], scores[:, :3], average="macro")
    assert found["macro_auroc"] == pytest.approx(expected) == mean_auroc(scores, labels)[0]
    assert (found["classes"], found["left_out"]) == (3, ["d"]) and mean_auroc(scores, labels)[1] == 3
    assert found["low"] < found["macro_auroc"] < found["high"]
    assert found["by_class"]["a"]["positives"] == int(labels[:, 0].sum())

    known = labels.copy()
    known[:30, 0] = NAN
    expected = np.mean([roc_auc_score(labels[30:, 0], scores[30:, 0]), *(
        roc_auc_score(labels[:, column], scores[:, column]) for column in (1, 2)
    )])  # fmt: skip
    assert macro_auroc(scores, known, "abcd")["macro_auroc"] == pytest.approx(expected)
    assert mean_auroc(scores, known)[0] == pytest.approx(expected)
    for measure in (mean_auroc, lambda *both: macro_auroc(*both, "d")):
        with pytest.raises(ECGError, match="none of 1 classes has a positive and a negative among 60 examples"):
            measure(scores[:, 3:], labels[:, 3:])
