"""`ECGClassificationPipeline` on a tiny random model: scores by what the classifier learned, any input, refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from ecgllm import ECGClassificationPipeline, ECGEncoder, ECGError, ECGFeatureExtractor, ECGForSequenceClassification

from .test_pipeline import make_ecg

NAMES = {0: "NORM", 1: "MI", 2: "CD"}


def classifier(encoder: ECGEncoder, problem_type: str | None = "multi_label_classification") -> Any:
    return ECGForSequenceClassification.from_encoder(encoder, id2label=NAMES, problem_type=problem_type)


@pytest.fixture
def folder(encoder: ECGEncoder, tmp_path: Path) -> str:
    classifier(encoder).save_pretrained(tmp_path / "classifier")
    ECGFeatureExtractor().save_pretrained(tmp_path / "classifier")
    return str(tmp_path / "classifier")


@pytest.fixture
def ecgs() -> list[dict[str, Any]]:
    """Of several durations and leads."""
    shapes = ((2, ("I", "II", "V2")), (5, ("II",)), (3.3, ("I", "II", "V2")))
    return [make_ecg(seconds, leads, seed) for seed, (seconds, leads) in enumerate(shapes)]


@pytest.mark.parametrize(
    ("problem_type", "function"),
    [
        ("multi_label_classification", torch.sigmoid),
        ("single_label_classification", lambda logits: logits.softmax(dim=-1)),
        ("regression", lambda logits: logits),
    ],
)
def test_scores_are_what_the_classifier_learned_to_give(
    encoder: ECGEncoder, ecgs: list[dict[str, Any]], problem_type: str, function: Any
) -> None:
    model = classifier(encoder, problem_type)
    pipe = pipeline("ecg-classification", model=model)
    with torch.no_grad():
        logits = [model(**pipe.feature_extractor(ecg)).logits[0] for ecg in ecgs]
    for found, own in zip(pipe(ecgs, batch_size=3), logits, strict=True):
        expected = {NAMES[number]: pytest.approx(float(score), abs=1e-5) for number, score in enumerate(function(own))}
        assert {each["label"]: each["score"] for each in found} == expected
        assert found == sorted(found, key=lambda each: -each["score"])
    raw = {each["label"]: each["score"] for each in pipe(ecgs[0], function_to_apply="none")}
    assert raw == {NAMES[number]: pytest.approx(float(value), abs=1e-5) for number, value in enumerate(logits[0])}


def test_found_by_its_folder_for_every_form_of_ecgs(folder: str, ecgs: list[dict[str, Any]], tmp_path: Path) -> None:
    pipe = pipeline(model=folder, trust_remote_code=True, top_k=2)
    assert type(pipe).__name__ == "ECGClassificationPipeline" and pipe.task == "ecg-classification"
    path = tmp_path / "ecg.npz"
    np.savez(path, unit="mV", **ecgs[0])
    expected = pipe(ecgs[0])
    assert len(expected) == 2 and pipe(ecgs[0], top_k=9)[:2] == expected and len(pipe(ecgs[0], top_k=9)) == 3
    corpus = Dataset.from_dict({"ecg": [ecgs[0]] * 2, "path": [str(path)] * 2})
    assert pipe(path) == pipe(str(path)) == expected and pipe([]) == []
    for many in (KeyDataset(corpus, "ecg"), KeyDataset(corpus, "path"), corpus["ecg"], (one for one in [ecgs[0]] * 2)):
        for found in pipe(many, batch_size=2):
            assert [each["label"] for each in found] == [each["label"] for each in expected]
            np.testing.assert_allclose(
                [each["score"] for each in found], [each["score"] for each in expected], atol=1e-6
            )
    pipe.save_pretrained(tmp_path / "again")
    assert pipeline(model=str(tmp_path / "again"), trust_remote_code=True)(ecgs[0], top_k=2) == expected


def test_what_it_refuses(encoder: ECGEncoder, ecgs: list[dict[str, Any]]) -> None:
    pipe = ECGClassificationPipeline(model=classifier(encoder))
    for given, message in (
        ({"top_k": 0}, "top_k is 0; expected a number of labels from 1 on"),
        ({"function_to_apply": "relu"}, "function_to_apply is 'relu'; expected one of 'sigmoid', 'softmax', 'none'"),
    ):
        with pytest.raises(ECGError, match=message):
            pipe(ecgs[0], **given)
    with pytest.raises(TypeError, match=r"Unknown arguments \['labels'\]; expected some of top_k"):
        pipe(ecgs[0], labels=["MI"])
    noise = {"signal": np.random.default_rng(0).normal(size=(2, 1000)), "sampling_rate": 100, "leads": ["I", "II"]}
    with pytest.raises(ECGError, match="no heart beats were found"):
        pipe(noise)
    assert len(pipe(noise, require_heart=False)) == 3
    unknown = ECGClassificationPipeline(model=classifier(encoder, None))
    with pytest.raises(ECGError, match="problem_type is None, as of one that was never trained"):
        unknown(ecgs[0])
    assert len(unknown(ecgs[0], function_to_apply="sigmoid")) == 3
    with pytest.raises(ECGError, match="is a ECGEncoder, which has no head for labels"):
        ECGClassificationPipeline(model=encoder)
