"""Configurations: round trips through JSON, the preprocessing that travels along, and what is refused."""

import json

import pytest
import torch
from transformers import AutoConfig, GPT2Config, LlamaConfig

from ecgllm import (
    ECGBeatEncoderConfig,
    ECGClassifierConfig,
    ECGEncoderAdapterConfig,
    ECGEncoderConfig,
    ECGFeatureExtractor,
    ECGLLMConfig,
    ECGTextDualEncoderConfig,
)
from ecgllm.configuration_ecgllm import FORMAT_VERSION, count_tokens, describe_difference
from ecgllm.errors_ecgllm import CheckpointError

BACKBONE = {"model_type": "bert"}


@pytest.mark.parametrize(
    "config",
    [
        ECGEncoderConfig(hidden_size=32, num_attention_heads=4, stem_channels=(8, 8), preprocessing={"scaling": "x"}),
        ECGBeatEncoderConfig(beat_window=(0.3, 0.3)),
        ECGEncoderAdapterConfig(backbone_config={"model_type": "patchtst", "d_model": 24}, num_leads=8),
        ECGTextDualEncoderConfig(encoder_config={"hidden_size": 32}, projection_dim=5, loss_type="sigmoid"),
        ECGClassifierConfig(encoder_config={"hidden_size": 32}, id2label={0: "NORM", 1: "MI", 2: "CD"}),
        ECGLLMConfig(
            text_config=GPT2Config(n_embd=48),
            projector_type="mlp",
            patches_per_token=3,
            projector_summary=True,
            ecg_token_id=7,
        ),
    ],
    ids=["encoder", "beats", "adapter", "dual encoder", "classifier", "language model"],
)
def test_round_trip(config, tmp_path):
    config.save_pretrained(tmp_path)
    loaded = type(config).from_pretrained(tmp_path)
    assert loaded.to_dict() == config.to_dict()
    for name in config.sub_configs:
        assert type(getattr(loaded, name)) is type(getattr(config, name))


def test_parts_are_read_from_dicts_by_their_model_type():
    config = ECGLLMConfig(text_config={"model_type": "gpt2", "n_embd": 48}, encoder_config={"hidden_size": 96})
    assert isinstance(config.text_config, GPT2Config) and config.text_config.hidden_size == 48
    assert config.encoder_config.hidden_size == 96
    assert config.get_text_config() is config.text_config
    assert isinstance(ECGLLMConfig().text_config, LlamaConfig)


def test_encoder_configuration_is_found_inside_the_others(tmp_path):
    encoder = ECGEncoderConfig(hidden_size=96, preprocessing=ECGFeatureExtractor().preprocessing)
    for folder, config in (
        ("llm", ECGLLMConfig(encoder_config=encoder)),
        ("dual", ECGTextDualEncoderConfig(encoder_config=encoder)),
    ):
        config.save_pretrained(tmp_path / folder)
        loaded = ECGEncoderConfig.from_pretrained(tmp_path / folder)
        assert loaded.hidden_size == 96 and loaded.preprocessing == encoder.preprocessing


def test_folder_of_a_language_model_is_no_checkpoint(tmp_path):
    GPT2Config(n_embd=48).save_pretrained(tmp_path)
    for config, own in (
        (ECGLLMConfig, "'ecgllm'"),
        (ECGEncoderConfig, "_encoder'"),
        (ECGTextDualEncoderConfig, "_dual"),
    ):
        with pytest.raises(CheckpointError, match=f"type 'gpt2'; expected .*{own}.*from_encoder_and_language_model"):
            config.from_pretrained(tmp_path)


@pytest.mark.parametrize("tied", [True, False])
def test_tying_is_the_language_models(tied):
    assert ECGLLMConfig(text_config=LlamaConfig(tie_word_embeddings=tied)).tie_word_embeddings is tied


def test_samples_per_token():
    assert ECGLLMConfig(encoder_config={"patch_size": 50}, patches_per_token=3).samples_per_token == 150


def test_tokens_are_counted_alike_for_ints_and_tensors():
    config = ECGLLMConfig(encoder_config={"patch_size": 16})
    counts = {1: 1, 16: 1, 17: 2, 980: 62, 1000: 63, 5000: 313}
    lengths, expected = torch.tensor(list(counts)), list(counts.values())
    for count in (config.num_ecg_tokens, lambda samples: count_tokens(samples, 16)):
        assert [count(length) for length in counts] == count(lengths).tolist() == expected


def write_config(folder, values):
    (folder / "config.json").write_text(json.dumps(values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("holder", [ECGLLMConfig, ECGTextDualEncoderConfig])
@pytest.mark.parametrize("beats", [None, 100.0])
def test_a_configuration_of_the_first_format_is_read(holder, beats, tmp_path):
    """It knew no versions, no encoder type for beats, and wrote every field of an encoder."""
    encoder = {"model_type": "ecgllm_encoder", "hidden_size": 96, "stem_padding": "same", "beat_sampling_rate": beats,
               "beat_window": [0.3, 0.5], "beat_hidden_size": 24}  # fmt: skip
    write_config(tmp_path, {"model_type": holder.model_type, "encoder_config": encoder})
    found = holder.from_pretrained(tmp_path).encoder_config
    kind = ECGEncoderConfig if beats is None else ECGBeatEncoderConfig
    assert type(found) is kind and found.hidden_size == 96 and found.format_version == FORMAT_VERSION
    assert not hasattr(found, "stem_padding")
    if beats:
        assert (found.beat_sampling_rate, found.beat_window, found.beat_hidden_size) == (100.0, [0.3, 0.5], 24)
    assert type(kind.from_pretrained(write_config(tmp_path, encoder))) is kind


@pytest.mark.parametrize("kind", [ECGLLMConfig, ECGTextDualEncoderConfig, ECGEncoderConfig])
def test_a_later_format_is_refused(kind, tmp_path):
    for version in (FORMAT_VERSION + 1, "2", 0):
        write_config(tmp_path, kind().to_dict() | {"format_version": version})
        with pytest.raises(
            CheckpointError, match=f"has the format {version!r}; .* knows 1 to {FORMAT_VERSION}. Update"
        ):
            kind.from_pretrained(tmp_path)


def test_a_stem_that_is_no_longer_there_is_refused(tmp_path):
    write_config(tmp_path, {"model_type": "ecgllm_encoder", "stem_padding": "valid"})
    with pytest.raises(CheckpointError, match="stem_padding 'valid', which this version of ecgllm no longer has"):
        ECGEncoderConfig.from_pretrained(tmp_path)


def test_difference_names_the_fields():
    assert describe_difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == "b: 2 instead of 3, c: None instead of 4"


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (ECGEncoderConfig, {"stem_channels": [8]}, "1 stem_channels, 2 stem_kernel_sizes"),
        (ECGEncoderConfig, {"stem_kernel_sizes": [4, 7]}, "expected odd sizes"),
        (ECGEncoderConfig, {"stem_strides": [3, 1]}, "not a multiple of the stem's total stride 3"),
        (ECGEncoderConfig, {"stem_padding": "same"}, "ECGEncoderConfig has no stem_padding"),
        (ECGEncoderConfig, {"beat_sampling_rate": 100}, "no beat_sampling_rate; .*ECGBeatEncoderConfig"),
        (
            ECGEncoderAdapterConfig,
            {"backbone_config": BACKBONE, "window": 990},
            "990 is not a multiple of patch_size 20",
        ),
        (
            ECGEncoderAdapterConfig,
            {"backbone_config": BACKBONE, "input_layout": "flat"},
            "input_layout is 'flat'; exp",
        ),
        (ECGEncoderAdapterConfig, {}, "backbone_config has model_type None"),
        (
            ECGLLMConfig,
            {"encoder_config": BACKBONE},
            "'bert' model, which says no num_leads, patch_size, preprocessing",
        ),
        (ECGTextDualEncoderConfig, {"loss_type": "triplet"}, "expected 'infonce' or 'sigmoid'"),
        (ECGLLMConfig, {"projector_type": "conv"}, "expected 'linear' or 'mlp'"),
        (ECGLLMConfig, {"patches_per_token": 0}, "expected 1 or more"),
        (ECGLLMConfig, {"projector_hidden_size": -1}, "projector_hidden_size is -1; expected 1 or more"),
        (ECGLLMConfig, {"encoder_config": {"hidden_size": 0}}, "hidden_size is 0; expected 1 or more"),
        (ECGTextDualEncoderConfig, {"projection_dim": -5}, "projection_dim is -5; expected 1 or more"),
        (ECGEncoderConfig, {"num_attention_heads": -4}, "num_attention_heads is -4; expected 1 or more"),
        (ECGEncoderConfig, {"stem_channels": [8, -8]}, "stem_channels is .8, -8.; expected 1 or more"),
        (ECGEncoderConfig, {"stem_strides": [0, 1]}, "stem_strides is .0, 1.; expected 1 or more"),
        (ECGEncoderConfig, {"patch_size": 0}, "patch_size is 0; expected 1 or more"),
        (ECGLLMConfig, {"text_config": {"model_type": "no-such-model"}}, "text_config has model_type 'no-such-model'"),
    ],
)
def test_what_cannot_be_is_refused(config_class, fields, message):
    with pytest.raises(ValueError, match=message):
        config_class(**fields)


def test_auto_config_reads_a_checkpoint_with_trust(tiny_llm, tmp_path):
    model, _ = tiny_llm()
    model.save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path, trust_remote_code=True)
    assert config.model_type == "ecgllm" and config.ecg_token_id == model.config.ecg_token_id
