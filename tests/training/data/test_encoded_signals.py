"""What a frozen encoder makes of a record is computed once, is found again, and is never another encoder's."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb

from ecgllm import ECGEncoder, ECGEncoderConfig, ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.configuration_ecgllm import count_tokens
from ecgllm.corpora import records_to_corpus
from ecgllm.processing_ecgllm import ECGFeatureExtractor, ECGInputError
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training import load_recipe, run_recipe
from ecgllm.training.data.augmentations import Augmenter, AugmentRecipe
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals, fingerprint
from ecgllm.training.data.prepared_signals import PreparedSignals, load_signals, prepare_signals

SIZES = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.fixture
def extractor() -> ECGFeatureExtractor:
    return ECGFeatureExtractor()


@pytest.fixture
def encoder(extractor: ECGFeatureExtractor) -> ECGEncoder:
    torch.manual_seed(0)
    return ECGEncoder(ECGEncoderConfig(**SIZES, preprocessing=extractor.preprocessing)).eval()


@pytest.fixture
def signals(extractor: ECGFeatureExtractor, tmp_path: Path) -> PreparedSignals:
    """Four records of 10 s and two of 6.3 s, whose last patch is not full."""
    records = [*simulate_ecgs(4, seed=1), *simulate_ecgs(2, seed=2, duration=6.3)]
    corpus = records_to_corpus(
        [replace(record, id=f"r{i}", patient_id=f"p{i}") for i, record in enumerate(records)], source="test"
    )
    prepare_signals(corpus, extractor, tmp_path / "signals")
    return load_signals(tmp_path / "signals")


def test_they_are_what_the_encoder_gives(encoder, extractor, signals, tmp_path) -> None:
    encode_signals(encoder, extractor, signals, signals, tmp_path / "encoded", batch_size=4)
    encoded = EncodedSignals(tmp_path / "encoded")
    assert set(encoded) == set(signals)
    for record_id in signals:
        features = extractor([signals[record_id]])
        with torch.no_grad():
            expected = encoder(**features).last_hidden_state[0].numpy()
        row = encoded[record_id]
        np.testing.assert_allclose(row["ecg_embeds"], expected, atol=1e-5)
        assert row["ecg_length"] == encoded.length(record_id) == signals.length(record_id)


def test_varied_ones_are_what_the_encoder_gives_of_varied_ecgs(encoder, extractor, signals, tmp_path) -> None:
    augmenter = Augmenter(AugmentRecipe(crop=0.3, amplitude=0.2, lead_dropout=0.2), extractor)
    plain, varied, few = (tmp_path / name for name in ("plain", "varied", "few"))
    encode_signals(encoder, extractor, signals, signals, plain)
    encode_signals(encoder, extractor, signals, signals, varied, augmenter=augmenter)
    encode_signals(encoder, extractor, signals, ["r4", "r1"], few, augmenter=augmenter)
    plain, varied, few = map(EncodedSignals, (plain, varied, few))
    lengths = {name: varied.length(name) for name in signals}
    assert all(0.7 * signals.length(name) - 1 <= lengths[name] <= signals.length(name) for name in signals)
    assert len(set(lengths.values())) == len(lengths)  # each in its own way
    for name in signals:
        patches = count_tokens(lengths[name], encoder.config.patch_size)
        assert varied[name]["ecg_embeds"].shape == (patches, SIZES["hidden_size"])
        assert not np.allclose(varied[name]["ecg_embeds"], plain[name]["ecg_embeds"][:patches], atol=1e-2)
    for name in few:  # whichever others are there
        assert few.length(name) == lengths[name]
        np.testing.assert_allclose(few[name]["ecg_embeds"], varied[name]["ecg_embeds"], atol=1e-5)


def test_what_varied_them_has_a_part_in_the_fingerprint(encoder, extractor) -> None:
    augmenters = [
        None,
        Augmenter(AugmentRecipe(crop=0.3), extractor),
        Augmenter(AugmentRecipe(crop=0.2), extractor),
        Augmenter(AugmentRecipe(crop=0.3), extractor, seed=1),
    ]
    assert len({fingerprint(encoder, extractor, augmenter) for augmenter in augmenters}) == 4


def test_other_noise_of_the_same_folder_has_a_part_in_the_fingerprint(encoder, extractor, tmp_path) -> None:
    """Or records that were varied with the old noise would be trained on."""
    names, rng = [], np.random.default_rng(0)
    for scale in (0.1, 0.1, 0.2):
        if scale != 0.1 or not names:
            noise = (rng.normal(size=(3000, 2)) * scale).round(4)
            wfdb.wrsamp("em", 300, ["mV"] * 2, ["I", "II"], noise, fmt=["16"] * 2, write_dir=str(tmp_path))
        varied = Augmenter(AugmentRecipe(noise=0.5, noise_source=str(tmp_path)), extractor)
        names.append(fingerprint(encoder, extractor, varied))
    assert names[0] == names[1] != names[2]


def test_other_weights_or_preprocessing_have_another_fingerprint(encoder, extractor) -> None:
    before = fingerprint(encoder, extractor)
    assert before == fingerprint(encoder, extractor)
    assert before != fingerprint(encoder, ECGFeatureExtractor(scaling="zscore"))
    with torch.no_grad():
        encoder.norm.bias[0] += 1e-6
    assert before != fingerprint(encoder, extractor)


def test_a_saved_and_loaded_encoder_keeps_its_fingerprint(encoder, extractor, tmp_path) -> None:
    encoder.save_pretrained(tmp_path / "encoder")
    loaded = ECGEncoder.from_pretrained(tmp_path / "encoder")
    assert loaded.config.dtype != encoder.config.dtype  # which is a setting of the file alone
    assert fingerprint(loaded, extractor) == fingerprint(encoder, extractor)


def test_the_processor_refuses_what_another_preprocessing_encoded(finished_run, encoder, extractor, signals, tmp_path):
    processor = ECGProcessor.from_pretrained(finished_run, trust_remote_code=True)
    encode_signals(encoder, extractor, signals, ["r0"], tmp_path / "encoded")
    encoded = EncodedSignals(tmp_path / "encoded")["r0"] | {"preprocessing_id": 1}
    conversation = processor.build_conversation("Is it normal?", [{}], answer="yes")
    tokens = processor.encode_conversation(conversation, [1000])
    with pytest.raises(ECGInputError, match="Encode all ECGs of a batch with one encoder"):
        processor.collate([tokens], [[encoded]])


def test_logits_from_encoded_ecgs_are_those_from_signals(finished_run: Path, signals, tmp_path) -> None:
    """Of prompts with one and two ECGs of two lengths in one batch."""
    processor = ECGProcessor.from_pretrained(finished_run, trust_remote_code=True)
    model = ECGLLMForConditionalGeneration.from_pretrained(finished_run).eval()
    encode_signals(model.ecg_encoder, processor.feature_extractor, signals, signals, tmp_path / "encoded")
    encoded = EncodedSignals(tmp_path / "encoded")
    asked = [["r0"], ["r4", "r1"], ["r5"]]
    tokens = [
        processor.encode_conversation(
            processor.build_conversation("Is it normal?", [{}] * len(ids), answer="yes"),
            [signals.length(record_id) for record_id in ids],
        )
        for ids in asked
    ]
    with torch.no_grad():
        from_signals, from_encoded = (
            model(**processor.collate(tokens, [[source[record_id] for record_id in ids] for ids in asked]))
            for source in (signals, encoded)
        )
    torch.testing.assert_close(from_encoded.logits, from_signals.logits, atol=1e-5, rtol=0)
    torch.testing.assert_close(from_encoded.loss, from_signals.loss, atol=1e-6, rtol=0)


@pytest.mark.slow
def test_training_from_them_has_the_losses_of_training_without(
    finished_run: Path, write_recipe: Callable[..., Path]
) -> None:
    overrides = [f"stages.{stage}.cache_encoder=false" for stage in ("debias", "finetune")]
    without = run_recipe(load_recipe(write_recipe(), overrides))
    assert (finished_run / "encoded").is_dir() and not (without / "encoded").exists()
    for stage in ("debias", "finetune"):
        losses = [
            [
                entry["loss"]
                for entry in json.loads((run / stage / "metrics.json").read_text())["log"]
                if "loss" in entry
            ]
            for run in (finished_run, without)
        ]
        assert len(losses[0]) == 24
        np.testing.assert_allclose(*losses, rtol=2e-5)
