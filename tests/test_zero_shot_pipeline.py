"""The dual encoder's processor, and `ZeroShotECGClassificationPipeline`, on tiny random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, BertConfig, BertModel, pipeline

from ecgllm import (
    ECGEncoder,
    ECGError,
    ECGFeatureExtractor,
    ECGTextDualEncoder,
    ECGTextDualEncoderProcessor,
    ZeroShotECGClassificationPipeline,
)
from ecgllm.findings.statement_texts import statement_paraphrases
from ecgllm.trained_words_ecgllm import HYPOTHESIS_TEMPLATE

from .test_pipeline import make_ecg

LABELS = ["atrial fibrillation", "sinus rhythm", "left bundle branch block"]


@pytest.fixture(params=["infonce", "sigmoid"])
def parts(request: Any, encoder: ECGEncoder, tiny_tokenizer: Any) -> tuple[ECGTextDualEncoder, Any]:
    tiny_tokenizer.pad_token = "</s>"
    torch.manual_seed(1)
    text_encoder = BertModel(
        BertConfig(
            vocab_size=300, hidden_size=24, num_hidden_layers=1, num_attention_heads=4, intermediate_size=32,
            max_position_embeddings=64, initializer_range=0.3,
        )
    )  # fmt: skip
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(
        encoder, text_encoder, projection_dim=16, loss_type=request.param, logit_bias_init_value=-1.0
    )
    return dual, ECGTextDualEncoderProcessor.for_model(dual, tiny_tokenizer)


def test_scores_follow_from_the_loss(parts: tuple[ECGTextDualEncoder, Any]) -> None:
    dual, processor = parts
    pipe = ZeroShotECGClassificationPipeline(model=dual.train(), processor=processor)
    ecgs = [make_ecg(seconds, seed=seed) for seed, seconds in enumerate((2, 5, 3.3))]
    inputs = processor(text=[f"ECG with {label}" for label in LABELS], ecgs=ecgs)
    sigmoid = dual.config.loss_type == "sigmoid"
    with torch.no_grad():
        logits = dual.eval()(**inputs).logits_per_ecg
        scores = logits.sigmoid() if sigmoid else logits.softmax(dim=-1)
    for batch_size in (1, 2, 3):
        for found, own in zip(pipe(ecgs, candidate_labels=LABELS, batch_size=batch_size), scores, strict=True):
            assert [each["score"] for each in found] == sorted((each["score"] for each in found), reverse=True)
            by_label = {each["label"]: each["score"] for each in found}
            assert by_label == pytest.approx(dict(zip(LABELS, own.tolist(), strict=True)), abs=1e-5)
    assert pipe(ecgs[0], candidate_labels=LABELS) == pipe(ecgs[:1], candidate_labels=LABELS)[0]
    # One label alone, and whole texts.
    one = pipe(ecgs[0], candidate_labels=["ECG with sinus rhythm"], hypothesis_template="{}")
    assert one[0]["score"] == pytest.approx(float(scores[0, 1]) if sigmoid else 1.0, abs=1e-5)
    assert list(pipe(iter(ecgs), LABELS)) == pipe(ecgs, LABELS)
    assert pipe([], LABELS) == []


def test_labels_may_be_given_once(parts: tuple[ECGTextDualEncoder, Any]) -> None:
    dual, processor = parts
    pipe = ZeroShotECGClassificationPipeline(model=dual, processor=processor, candidate_labels=LABELS)
    ecg = make_ecg()
    before = pipe(ecg)
    assert {each["label"] for each in before} == set(LABELS)
    with torch.no_grad():
        dual.text_projection.weight.neg_()
    assert pipe(ecg) != before  # texts are not kept from one call to the next


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "candidate_labels is missing"),
        ({"candidate_labels": []}, "expected a list of one or more labels"),
        ({"candidate_labels": "yes"}, "expected a list of one or more labels"),
        ({"candidate_labels": ["a", " "]}, "expected a list of one or more labels"),
        ({"candidate_labels": ["a", "a"]}, "expected different labels"),
        ({"candidate_labels": LABELS, "hypothesis_template": "an ECG"}, "expected a text with one {}"),
        ({"candidate_labels": ["long " * 80]}, "tokens.*this model takes 64. Shorten it"),
        ({"candidate_labels": LABELS, "leads": ["I", "II", "V2"], "sampling_rate": 100}, "the ECG says"),
    ],
)
def test_what_it_refuses(parts: tuple[ECGTextDualEncoder, Any], given: dict[str, Any], message: str) -> None:
    pipe = ZeroShotECGClassificationPipeline(model=parts[0], processor=parts[1])
    with pytest.raises(ECGError, match=message):
        pipe(make_ecg(), **given)


def test_an_ecg_without_a_heart_is_refused(parts: tuple[ECGTextDualEncoder, Any]) -> None:
    pipe = ZeroShotECGClassificationPipeline(model=parts[0], processor=parts[1])
    noise = {"signal": np.random.default_rng(0).normal(size=(2, 1000)), "sampling_rate": 100, "leads": ["I", "II"]}
    with pytest.raises(ECGError, match="no heart beats"):
        pipe(noise, LABELS)
    assert len(pipe(noise, LABELS, require_heart=False)) == 3
    with pytest.raises(TypeError, match="Unknown arguments"):
        pipe(noise, LABELS, multi_label=True)


def test_a_folder_has_both_tasks_by_name(parts: tuple[ECGTextDualEncoder, Any], tmp_path: Path) -> None:
    dual, processor = parts
    dual.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    folder, trust = str(tmp_path), {"trust_remote_code": True}
    again = AutoProcessor.from_pretrained(folder)
    assert type(again) is ECGTextDualEncoderProcessor and again.max_text_length == 64
    with pytest.raises(RuntimeError, match="multiple tasks available. Pick one in ecg-feature-extraction, zero-shot"):
        pipeline(model=folder, **trust)
    ecg = make_ecg()
    zero_shot = pipeline("zero-shot-ecg-classification", model=folder, **trust)
    expected = ZeroShotECGClassificationPipeline(model=dual, processor=processor)(ecg, LABELS)
    assert_same(zero_shot(ecg, LABELS), expected)
    with torch.no_grad():
        embedding = dual.get_ecg_features(**ECGFeatureExtractor()(ecg)).pooler_output[0]
    found = pipeline("ecg-feature-extraction", model=folder, **trust)(ecg)
    np.testing.assert_allclose(found, embedding.numpy(), atol=1e-6)
    # By the package alone, for models that are there already.
    assert_same(pipeline("zero-shot-ecg-classification", model=dual, processor=processor)(ecg, LABELS), expected)


def assert_same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The same labels in the same order; sums in other memory may round otherwise."""
    assert [one["label"] for one in found] == [one["label"] for one in expected]
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in expected], abs=1e-6)


def test_the_processor_prepares_texts_and_ecgs(parts: tuple[ECGTextDualEncoder, Any]) -> None:
    dual, processor = parts
    inputs = processor(text=["sinus rhythm", "AF"], ecgs=[make_ecg(), make_ecg(3), make_ecg(4)])
    assert {name: len(value) for name, value in inputs.items()} == {
        "input_ids": 2, "attention_mask": 2, "ecg_values": 3, "lead_mask": 3, "ecg_lengths": 3, "preprocessing_id": 3,
    }  # fmt: skip
    assert set(inputs) == set(processor.model_input_names)
    assert dual(**inputs).logits_per_ecg.shape == (3, 2)
    assert set(processor(text="AF", return_tensors="np")) == {"input_ids", "attention_mask"}
    assert processor(text="long " * 80, truncation=True)["input_ids"].shape == (1, 64)
    with pytest.raises(ECGError, match="Both text and ecgs are missing"):
        processor()
    with pytest.raises(ECGError, match="sampling_rate: 200.0 instead of 100.0"):
        ECGTextDualEncoderProcessor(ECGFeatureExtractor(sampling_rate=200), processor.tokenizer).check_model(dual)
    with pytest.raises(ECGError, match="no ECG and text encoder in one space"):
        processor.check_model(dual.ecg_encoder)


def test_the_default_template_is_a_sentence_of_training() -> None:
    assert HYPOTHESIS_TEMPLATE.format("sinus rhythm") in statement_paraphrases("sinus rhythm")
