"""Configurations: round trips through JSON, the preprocessing that travels along, and what is refused."""

import pytest
import torch
from transformers import AutoConfig, GPT2Config, LlamaConfig

from ecgllm import ECGEncoderConfig, ECGFeatureExtractor, ECGLLMConfig, ECGTextDualEncoderConfig
from ecgllm.configuration_ecgllm import describe_difference, preprocessing_fingerprint
from ecgllm.errors_ecgllm import CheckpointError

VALID = {"stem_padding": "valid"}


@pytest.mark.parametrize(
    "config",
    [
        ECGEncoderConfig(hidden_size=32, num_attention_heads=4, stem_channels=(8, 8), preprocessing={"scaling": "x"}),
        ECGEncoderConfig(stem_padding="valid"),
        ECGTextDualEncoderConfig(encoder_config={"hidden_size": 32}, projection_dim=5, loss_type="sigmoid"),
        ECGLLMConfig(
            text_config=GPT2Config(n_embd=48),
            projector_type="mlp",
            patches_per_token=3,
            projector_summary=True,
            ecg_token_id=7,
        ),
    ],
    ids=["encoder", "valid", "dual encoder", "language model"],
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
        assert loaded.hidden_size == 96 and loaded.preprocessing_id == encoder.preprocessing_id


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


@pytest.mark.parametrize(
    ("padding", "counts"),
    [
        ("same", {1: 1, 16: 1, 17: 2, 980: 62, 1000: 63, 5000: 313}),
        # anyECG-chat: 1000 samples are 61 tokens
        ("valid", {1: 1, 20: 1, 35: 1, 36: 1, 51: 1, 52: 2, 996: 61, 1000: 61, 1011: 61, 1012: 62, 5000: 311}),
    ],
)
def test_patches_are_counted_alike_for_ints_and_tensors(padding, counts):
    encoder = ECGEncoderConfig(patch_size=16, stem_padding=padding)
    config = ECGLLMConfig(encoder_config=encoder)
    lengths, expected = torch.tensor(list(counts)), list(counts.values())
    for count in (encoder.num_patches, config.num_ecg_tokens):
        assert [count(length) for length in counts] == count(lengths).tolist() == expected
    assert encoder.samples_trimmed == config.samples_trimmed == (20 if padding == "valid" else 0)


def test_preprocessing_id_is_that_of_the_feature_extractor():
    extractor = ECGFeatureExtractor(sampling_rate=125)
    config = ECGEncoderConfig(preprocessing=extractor.preprocessing)
    assert config.preprocessing_id == extractor.preprocessing_id == preprocessing_fingerprint(extractor.preprocessing)
    assert (
        config.preprocessing_id != ECGEncoderConfig(preprocessing=ECGFeatureExtractor().preprocessing).preprocessing_id
    )
    assert ECGEncoderConfig().preprocessing_id is None


def test_difference_names_the_fields():
    assert describe_difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == "b: 2 instead of 3, c: None instead of 4"


@pytest.mark.parametrize(
    ("config_class", "fields", "message"),
    [
        (ECGEncoderConfig, {"stem_channels": [8]}, "1 stem_channels, 2 stem_kernel_sizes"),
        (ECGEncoderConfig, {"stem_kernel_sizes": [4, 7]}, "expected odd sizes"),
        (ECGEncoderConfig, {"stem_strides": [3, 1]}, "not a multiple of the stem's total stride 3"),
        (ECGEncoderConfig, {"stem_padding": "full"}, "stem_padding is 'full'; expected 'same' or 'valid'"),
        (ECGEncoderConfig, {"stem_padding": "valid", "stem_strides": [2, 1]}, "expected strides of 1"),
        (ECGEncoderConfig, {"stem_padding": "valid", "stem_kernel_sizes": [1, 1]}, "expected a kernel above 1"),
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
        (ECGLLMConfig, {"encoder_config": VALID, "patches_per_token": 2}, "patches_per_token is 2 .* expected 1"),
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
