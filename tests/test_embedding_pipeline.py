"""`ECGFeatureExtractionPipeline` on a tiny random model: any input, batches of any durations, refusals."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset, Features
from transformers import pipeline
from transformers.pipelines.pt_utils import KeyDataset

from ecgllm import (
    ECGEncoder,
    ECGEncoderConfig,
    ECGError,
    ECGFeatureExtractionPipeline,
    ECGFeatureExtractor,
    ECGLLMForConditionalGeneration,
    ECGRecord,
)
from ecgllm.corpora import ECG

from .test_pipeline import make_ecg


@pytest.fixture
def pipe(encoder: ECGEncoder) -> ECGFeatureExtractionPipeline:
    return ECGFeatureExtractionPipeline(model=encoder, feature_extractor=ECGFeatureExtractor())


@pytest.fixture
def ecgs() -> list[dict[str, Any]]:
    """Of several durations and leads."""
    shapes = ((2, ("I", "II", "V2")), (5, ("II",)), (3.3, ("I", "II", "V2")), (2, ("V1", "V2")), (4, ("I", "II")))
    return [make_ecg(seconds, leads, seed) for seed, (seconds, leads) in enumerate(shapes)]


def test_an_embedding_is_what_the_encoder_gives(
    pipe: ECGFeatureExtractionPipeline, ecgs: list[dict[str, Any]]
) -> None:
    for ecg in ecgs:
        with torch.no_grad():
            expected = pipe.model(**ECGFeatureExtractor()(ecg))
        found = pipe(ecg, return_tokens=True)
        assert isinstance(found["embedding"], np.ndarray) and found["embedding"].dtype == np.float32
        np.testing.assert_array_equal(found["embedding"], expected.pooler_output[0].numpy())
        np.testing.assert_array_equal(found["tokens"], expected.last_hidden_state[0].numpy())
        np.testing.assert_array_equal(pipe(ecg), found["embedding"])


@pytest.mark.parametrize("batch_size", [1, 2, 5, 8])
def test_a_batch_changes_nothing(
    pipe: ECGFeatureExtractionPipeline, ecgs: list[dict[str, Any]], batch_size: int
) -> None:
    found = pipe(ecgs, batch_size=batch_size, return_tokens=True)
    assert isinstance(found, list)
    for ecg, own in zip(ecgs, found, strict=True):
        alone = pipe(ecg, return_tokens=True)
        np.testing.assert_allclose(own["embedding"], alone["embedding"], atol=1e-5)
        assert own["tokens"].shape == alone["tokens"].shape  # without the padding of the batch
        np.testing.assert_allclose(own["tokens"], alone["tokens"], atol=1e-5)


def test_ecgs_come_in_every_form(
    pipe: ECGFeatureExtractionPipeline, ecgs: list[dict[str, Any]], tmp_path: Path
) -> None:
    ecg = ecgs[0]
    expected = pipe(ecg)
    record = ECGRecord(ecg["signal"], ecg["sampling_rate"], tuple(ecg["leads"]))
    np.savez(tmp_path / "ecg.npz", unit="mV", **ecg)
    rows = Dataset.from_dict({"ecg": [record, record]}, features=Features({"ecg": ECG()}))
    settings = {"sampling_rate": ecg["sampling_rate"], "leads": ecg["leads"]}
    forms: list[tuple[Any, dict[str, Any]]] = [
        (record, {}),
        (ecg["signal"], settings),
        (torch.from_numpy(ecg["signal"]), settings),
        (str(tmp_path / "ecg.npz"), {}),
        (tmp_path / "ecg.npz", {}),
        (pipe.feature_extractor.prepare(ecg)[0], {}),
    ]
    for form, given in forms:
        np.testing.assert_allclose(pipe(form, **given), expected, atol=1e-5)
        np.testing.assert_allclose(pipe([form], **given)[0], expected, atol=1e-5)
    several = (KeyDataset(rows, "ecg"), rows["ecg"], (one for one in [ecg, ecg]), iter([ecg, ecg]), (ecg, ecg))
    for form in several:
        found = pipe(form, batch_size=2)
        assert isinstance(found, list) == isinstance(form, tuple)
        for own in found:
            np.testing.assert_allclose(own, expected, atol=0.02)  # a corpus stores whole steps of a gain
    assert pipe([]) == []
    assert torch.equal(pipe(ecg, return_tensors="pt"), torch.from_numpy(expected))


def test_several_processes_prepare_alike(pipe: ECGFeatureExtractionPipeline, ecgs: list[dict[str, Any]]) -> None:
    for inputs in (ecgs, iter(ecgs)):  # what has no length would be gone through once a process
        found = list(pipe(inputs, batch_size=2, num_workers=2))
        for own, alone in zip(found, pipe(ecgs), strict=True):
            np.testing.assert_allclose(own, alone, atol=1e-5)


def test_what_it_refuses(pipe: ECGFeatureExtractionPipeline, ecgs: list[dict[str, Any]], encoder: ECGEncoder) -> None:
    noise = {"signal": np.random.default_rng(0).normal(size=(2, 1000)), "sampling_rate": 100, "leads": ["I", "II"]}
    with pytest.raises(ECGError, match="no heart beats were found"):
        pipe(noise)
    assert pipe(noise, require_heart=False).shape == (32,)
    with pytest.raises(TypeError, match=r"Unknown arguments \['pool'\]; expected some of return_tokens"):
        pipe(ecgs[0], pool=True)
    with pytest.raises(ECGError, match="return_tensors is 'tf'; expected 'np' or 'pt'"):
        pipe(ecgs[0], return_tensors="tf")
    with pytest.raises(ECGError, match="Found 2 ECGs in one item"):
        pipe([[ecgs[0], ecgs[1]]])
    with pytest.raises(ECGError, match="sampling_rate: 200.0 instead of 100.0"):
        ECGFeatureExtractionPipeline(model=encoder, feature_extractor=ECGFeatureExtractor(sampling_rate=200))
    unstated = ECGEncoder(ECGEncoderConfig(**encoder.config.to_diff_dict() | {"preprocessing": None}))
    with pytest.raises(ECGError, match="does not say how its ECGs were prepared"):
        ECGFeatureExtractionPipeline(model=unstated)


def test_dropout_of_training_is_off(pipe: ECGFeatureExtractionPipeline, ecgs: list[dict[str, Any]]) -> None:
    model = ECGEncoder(ECGEncoderConfig(**pipe.model.config.to_diff_dict() | {"hidden_dropout": 0.5})).train()
    pipe = pipeline("ecg-feature-extraction", model=model)
    np.testing.assert_array_equal(pipe(ecgs[0]), pipe(ecgs[0]))


def test_a_language_model_s_encoder(tiny_llm: Callable[..., Any], ecgs: list[dict[str, Any]], tmp_path: Path) -> None:
    """By name, where the package is installed; and taken out of its folder."""
    model, processor = tiny_llm()
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    expected = pipeline("ecg-feature-extraction", model=model.ecg_encoder)(ecgs[0])
    for held in (model, str(tmp_path), ECGEncoder.from_pretrained(tmp_path)):
        np.testing.assert_allclose(pipeline("ecg-feature-extraction", model=held)(ecgs[0]), expected, atol=1e-6)


def test_an_encoder_out_of_a_pipeline_goes_on(
    encoder: ECGEncoder, tiny_llm: Callable[..., Any], tmp_path: Path
) -> None:
    """Before a language model, and saved by the pipeline."""
    encoder.save_pretrained(tmp_path / "encoder")
    pipe = pipeline(model=str(tmp_path / "encoder"), trust_remote_code=True)
    model, processor = tiny_llm()
    joined = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        pipe.model, model.language_model, tokenizer=processor.tokenizer, patches_per_token=2
    )
    joined.save_pretrained(tmp_path / "joined")
    pipe.save_pretrained(tmp_path / "again")
    again = pipeline(model=str(tmp_path / "again"), trust_remote_code=True)
    ecg = make_ecg()
    np.testing.assert_array_equal(again(ecg), pipe(ecg))
