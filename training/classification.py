"""Labels from ECGs: what an encoder gives, a linear probe of it, and the figure that papers print.

In: examples (`data.classification_examples`) and any ECG encoder. Out: features (`encode`), a logistic regression on
them (`LinearProbe`), which becomes the head of an `ECGForSequenceClassification`, and macro AUROC with intervals over
patients (`macro_auroc`). Decided here: an encoder that stays as it is sees every record once; and a class without a
positive and a negative example has no AUROC, is named, and does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader
from transformers import EvalPrediction, PreTrainedModel

from ..classification_ecgllm import ECGForSequenceClassification
from ..errors_ecgllm import ECGError
from ..processing_ecgllm import ECGFeatureExtractor
from .data.classification_examples import ClassificationCollator, ClassificationExamples
from .pretraining_metrics import zero_shot

STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of regularisation that a linear probe is offered."""


def encode(
    encoder: PreTrainedModel,
    examples: ClassificationExamples,
    feature_extractor: ECGFeatureExtractor,
    batch_size: int = 64,
) -> np.ndarray:
    """float32 [examples, hidden]: the encoder's `pooler_output`, on the device where the encoder lies."""
    encoder = getattr(encoder, "ecg_encoder", encoder)
    return _run(encoder, "pooler_output", examples, feature_extractor, batch_size)


def classify(
    model: ECGForSequenceClassification,
    examples: ClassificationExamples,
    feature_extractor: ECGFeatureExtractor,
    batch_size: int = 64,
) -> np.ndarray:
    """float32 [examples, labels]: a classifier's logits, on the device where it lies."""
    return _run(model, "logits", examples, feature_extractor, batch_size)


@torch.no_grad()
def _run(
    model: PreTrainedModel,
    output: str,
    examples: ClassificationExamples,
    feature_extractor: ECGFeatureExtractor,
    batch_size: int,
) -> np.ndarray:
    was_training = model.training
    model.eval()
    found = []
    for batch in DataLoader(examples, batch_size=batch_size, collate_fn=ClassificationCollator(feature_extractor)):
        inputs = {name: batch[name].to(model.device) for name in ("ecg_values", "lead_mask", "ecg_lengths")}
        found.append(model(**inputs, return_dict=True)[output].float().cpu().numpy())
    model.train(was_training)
    return np.concatenate(found)


class LinearProbe:
    """One logistic regression for each label, on features that are standardised by those of training.

    Args: strength: inverse strength of regularisation (scikit-learn's C). A label that training knows from one side
        alone gets the same score for all.
    """

    def __init__(self, strength: float = 0.1):
        self.strength = strength
        self.weight = self.bias = np.empty(0)  # [labels, features] and [labels], of features as they are

    def fit(self, features: np.ndarray, labels: np.ndarray) -> LinearProbe:
        """features: [examples, features]. labels: [examples, labels], 1, 0, or NaN where nobody knows."""
        mean, scale = features.mean(axis=0), features.std(axis=0)
        scale = np.where(scale > 1e-6 * scale.max(), scale, 1.0)
        standard = (features - mean) / scale
        weights, biases = [], []
        for column in labels.T:
            known = ~np.isnan(column)
            target = column[known] > 0.5
            if target.all() or not target.any():
                share = np.clip(target.mean() if len(target) else 0.5, 1e-3, 1 - 1e-3)
                weights.append(np.zeros(features.shape[1]))
                biases.append(np.log(share / (1 - share)))
                continue
            fitted = LogisticRegression(C=self.strength, max_iter=2000).fit(standard[known], target)
            weights.append(fitted.coef_[0])
            biases.append(fitted.intercept_[0])
        self.weight = np.stack(weights) / scale
        self.bias = np.asarray(biases) - self.weight @ mean
        return self

    def logits(self, features: np.ndarray) -> np.ndarray:
        """[examples, labels]."""
        return features @ self.weight.T + self.bias

    @classmethod
    def chosen(
        cls,
        features: np.ndarray,
        labels: np.ndarray,
        validation_features: np.ndarray,
        validation_labels: np.ndarray,
        strengths: Sequence[float] = STRENGTHS,
    ) -> LinearProbe:
        """The probe whose strength gives the best macro AUROC on the validation examples.

        Raises: ECGError where these have no class with both sides.
        """
        probes = [cls(strength).fit(features, labels) for strength in strengths]
        return max(probes, key=lambda probe: mean_auroc(probe.logits(validation_features), validation_labels)[0])

    def put_on(self, model: ECGForSequenceClassification) -> None:
        """Make it the head of a classifier with the encoder whose features it was fitted to."""
        head: nn.Linear = model.classifier
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(self.weight))
            head.bias.copy_(torch.from_numpy(self.bias))


def is_measurable(labels: np.ndarray) -> bool:
    """Whether some class of labels [examples, classes] has a positive and a negative example."""
    return bool(((labels > 0.5).any(axis=0) & (labels <= 0.5).any(axis=0)).any())


def mean_auroc(scores: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """(Macro AUROC, classes that it is the mean of): `macro_auroc` without intervals. Raises: ECGError as that."""
    found = []
    for score, column in zip(np.asarray(scores).T, labels.T, strict=True):
        known = ~np.isnan(column)
        target = column[known] > 0.5
        if target.any() and not target.all():
            found.append(roc_auc_score(target, score[known]))
    if not found:
        raise ECGError(f"none of {labels.shape[1]} classes has a positive and a negative among {len(labels)} examples")
    return float(np.mean(found)), len(found)


def macro_auroc(
    scores: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    patients: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Mean over classes of the area under the ROC curve, as `sklearn.metrics.roc_auc_score(average="macro")` has it.

    Args: scores: float [examples, classes], any that rank. labels: [examples, classes], 1, 0, or NaN where nobody
        knows. patients: whose each example is, for the 95 % intervals (`intervals`); None: each is a patient's own.
    Returns: "macro_auroc", "low", "high"; "classes" that were measured; "by_class": name -> auroc, low, high,
        positives and negatives; "left_out": names of classes without a positive or without a negative example.
    Raises: ECGError where no class has both.
    """
    targets = np.where(np.isnan(labels), -1, np.nan_to_num(labels) > 0.5).astype(int)
    whose = [str(number) for number in range(len(labels))] if patients is None else patients
    found = zero_shot(np.asarray(scores), targets, names, whose, least=1)
    if not found:
        raise ECGError(f"none of {len(names)} classes has a positive and a negative among {len(labels)} examples")
    point, low, high = found["macro"]
    return {
        "macro_auroc": point,
        "low": low,
        "high": high,
        "classes": len(found["findings"]),
        "by_class": found["findings"],
        "left_out": [name for name in names if name not in found["findings"]],
    }


def auroc_metrics(prediction: EvalPrediction) -> dict[str, float]:
    """`compute_metrics` for Trainer: macro_auroc, and how many classes it is the mean of."""
    logits = prediction.predictions[0] if isinstance(prediction.predictions, tuple) else prediction.predictions
    auroc, classes = mean_auroc(logits, prediction.label_ids)
    return {"macro_auroc": auroc, "classes": float(classes)}
