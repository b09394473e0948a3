"""Any ECG encoder: behind the adapter, by itself, or with code of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PatchTSTConfig,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2Config,
)
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ecgllm import (
    ECGEncoder,
    ECGEncoderAdapter,
    ECGEncoderAdapterConfig,
    ECGFeatureExtractor,
    ECGForSequenceClassification,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    ECGTextDualEncoder,
)
from ecgllm.encoder_adapter_ecgllm import as_encoder
from ecgllm.errors_ecgllm import CheckpointError, ECGError

from . import hubert_look_alike
from .hubert_look_alike import write_hubert_ecg

SIZES = {"num_hidden_layers": 1, "num_attention_heads": 2}
PATCHTST = PatchTSTConfig(
    d_model=16, ffn_dim=24, context_length=200, patch_length=20, patch_stride=20, num_input_channels=12, **SIZES
)
WAV2VEC2 = Wav2Vec2Config(
    hidden_size=16, intermediate_size=24, conv_dim=[8], conv_stride=[20], conv_kernel=[20], **SIZES,
    num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, num_feat_extract_layers=1,
)  # fmt: skip
ADAPTED = {
    "patchtst": {"backbone_config": PATCHTST, "input_name": "past_values", "input_layout": "samples"},
    "wav2vec2": {"backbone_config": WAV2VEC2, "input_layout": "single"},
}


def adapter(name: str) -> ECGEncoderAdapter:
    torch.manual_seed(0)
    preprocessing = ECGFeatureExtractor().preprocessing
    config = ECGEncoderAdapterConfig(**ADAPTED[name], window=200, patch_size=40, preprocessing=preprocessing)
    return ECGEncoderAdapter(config).eval()


@pytest.mark.parametrize("name", ADAPTED)
def test_a_model_that_knows_no_ecgs_is_an_encoder(name: str) -> None:
    encoder = adapter(name)
    lengths = torch.tensor([500, 200, 37])
    values = torch.randn(3, 12, 500)
    with torch.no_grad():
        batch = encoder(values, ecg_lengths=lengths)
        assert batch.last_hidden_state.shape == (3, 13, 16)
        for row, (length, tokens) in enumerate(zip(lengths.tolist(), (13, 5, 1), strict=True)):
            alone = encoder(values[row : row + 1, :, :length])
            assert alone.last_hidden_state.shape[1] == tokens
            torch.testing.assert_close(batch.last_hidden_state[row, :tokens], alone.last_hidden_state[0])
            torch.testing.assert_close(batch.pooler_output[row], alone.pooler_output[0])
            assert not batch.last_hidden_state[row, tokens:].any()
        later = values.clone()
        later[..., 400:] += 1
        after = encoder(later, ecg_lengths=lengths).last_hidden_state[0]
    assert torch.equal(after[:10], batch.last_hidden_state[0, :10])  # the windows before are not touched
    assert not torch.allclose(after[10:], batch.last_hidden_state[0, 10:])


@pytest.mark.parametrize("name", ADAPTED)
def test_a_missing_lead_is_not_read(name: str) -> None:
    encoder, mask = adapter(name), torch.ones(1, 12, dtype=torch.bool)
    mask[0, 3] = False
    values = torch.randn(1, 12, 200)
    other = values.clone()
    other[0, 3] = 9.0
    with torch.no_grad():
        found = [encoder(each, lead_mask=mask).pooler_output for each in (values, other)]
        assert torch.equal(*found)
        assert not torch.allclose(found[0], encoder(values).pooler_output)


@pytest.mark.parametrize("name", ADAPTED)
def test_leads_that_are_read_one_by_one_are_averaged_where_they_are_there(name: str) -> None:
    encoder, mask = adapter(name), torch.zeros(2, 12, dtype=torch.bool)
    mask[0, 3], mask[1, 7] = True, True
    values = torch.randn(2, 12, 300)  # of two windows
    alike = torch.stack((values[0, 3], values[1, 7]))[:, None].expand(-1, 12, -1)
    with torch.no_grad():
        found, expected = encoder(values, lead_mask=mask), encoder(alike)
    torch.testing.assert_close(found.last_hidden_state, expected.last_hidden_state, atol=1e-5, rtol=1e-4)


def test_tokens_of_a_window_are_averaged_in_their_order() -> None:
    class Counting(nn.Module):
        dtype = torch.float32

        def forward(self, input_values: torch.Tensor) -> BaseModelOutputWithPooling:
            tokens = torch.tensor([100.0, *range(10)]).repeat(len(input_values), 1)  # a class token ahead
            return BaseModelOutputWithPooling(last_hidden_state=tokens[..., None] + input_values[:, :1, :1])

    config = ECGEncoderAdapterConfig(backbone_config=PATCHTST, window=200, patch_size=40, skipped_tokens=1)
    encoder = ECGEncoderAdapter(config)
    encoder.backbone = Counting()
    values = torch.zeros(1, 12, 390)
    values[0, 0, 200:] = 50
    found = encoder(values).last_hidden_state[0, :, 0]
    assert found.tolist() == [0.5, 2.5, 4.5, 6.5, 8.5, 50.5, 52.5, 54.5, 56.5, 58.5]


@pytest.mark.parametrize("name", ADAPTED)
def test_it_is_trained_and_saved_like_ours(name: str, tiny_tokenizer, text_encoder, make_ecg, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(adapter(name), text_encoder, projection_dim=8)
    dual.save_pretrained(tmp_path / "dual")
    encoder = as_encoder(tmp_path / "dual")
    assert type(encoder) is ECGEncoderAdapter
    language_model = AutoModelForCausalLM.from_config(
        LlamaConfig(hidden_size=16, intermediate_size=24, vocab_size=len(tiny_tokenizer), **SIZES)
    )
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tiny_tokenizer
    ).eval()
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    inputs = processor("<|ecg|> and <|ecg|>?", [make_ecg(1.0), make_ecg(5.0)])
    assert int((inputs["input_ids"] == processor.ecg_token_id).sum()) == 3 + 13
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    assert all(p.grad is not None for n, p in encoder.backbone.named_parameters() if n.startswith("encoder.layers"))
    model.save_pretrained(tmp_path / "llm")
    loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "llm").eval()
    with torch.no_grad():
        torch.testing.assert_close(loaded(**inputs).logits, model(**inputs).logits)
        torch.testing.assert_close(
            AutoModel.from_pretrained(tmp_path / "llm").eval()(**inputs).logits, model(**inputs).logits
        )


def test_what_an_adapter_cannot_do_is_said() -> None:
    few = ECGEncoderAdapter(ECGEncoderAdapterConfig(**ADAPTED["patchtst"], window=200, patch_size=10)).eval()
    with pytest.raises(ECGError, match="PatchTSTModel gives 10 tokens for a window of 200 samples; expected 20"):
        few(torch.zeros(1, 12, 200))
    with pytest.raises(ECGError, match="expected .ecgs, 12 leads, samples."):
        few(torch.zeros(1, 8, 200))
    with pytest.raises(
        ECGError, match="'patchtst' model, which says no num_leads, patch_size, preprocessing.*Adapter"
    ):
        as_encoder(AutoModel.from_config(PATCHTST))


class MeanConfig(PreTrainedConfig):
    model_type = "mean_of_patches"
    num_leads: int = 12
    patch_size: int = 25
    hidden_size: int = 16
    preprocessing: dict | None = None


class MeanEncoder(PreTrainedModel):
    """An encoder of somebody else: keeps to the protocol, and is none of our classes."""

    config_class = MeanConfig
    main_input_name = "ecg_values"

    def __init__(self, config: MeanConfig):
        super().__init__(config)
        self.out = nn.Linear(config.num_leads, config.hidden_size)
        self.post_init()

    def forward(self, ecg_values, lead_mask=None, ecg_lengths=None, **kwargs):
        patches = nn.functional.pad(ecg_values, (0, -ecg_values.shape[-1] % self.config.patch_size))
        tokens = self.out(patches.unflatten(2, (-1, self.config.patch_size)).mean(dim=-1).transpose(1, 2))
        return BaseModelOutputWithPooling(last_hidden_state=tokens, pooler_output=tokens.mean(dim=1))


def test_a_model_that_keeps_to_the_protocol_needs_no_adapter(
    tiny_llm, tiny_tokenizer, make_ecg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    AutoConfig.register("mean_of_patches", MeanConfig)
    AutoModel.register(MeanConfig, MeanEncoder)
    monkeypatch.setattr(CONFIG_MAPPING, "_extra_content", dict(CONFIG_MAPPING._extra_content))
    torch.manual_seed(0)
    encoder = MeanEncoder(MeanConfig(preprocessing=ECGFeatureExtractor().preprocessing))
    language_model = tiny_llm()[0].language_model
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tiny_tokenizer, patches_per_token=2
    ).eval()
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    inputs = processor("<|ecg|>?", [make_ecg(2.0)])
    assert int((inputs["input_ids"] == processor.ecg_token_id).sum()) == 4
    model.save_pretrained(tmp_path)
    loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path).eval()
    assert type(loaded.ecg_encoder) is MeanEncoder
    with torch.no_grad():
        assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    CONFIG_MAPPING._extra_content.pop("mean_of_patches")
    with pytest.raises(ECGError, match="encoder_config has model_type 'mean_of_patches', which .* register"):
        ECGLLMForConditionalGeneration.from_pretrained(tmp_path)


REMOTE = """
import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
class RemoteConfig(PreTrainedConfig):
    model_type = "remote_backbone"
    hidden_size: int = 16
class RemoteModel(PreTrainedModel):
    config_class = RemoteConfig
    def __init__(self, config):
        super().__init__(config)
        self.out = nn.Linear(12 * 20, config.hidden_size)
        self.post_init()
    def forward(self, input_values):
        patches = input_values.unflatten(2, (-1, 20)).transpose(1, 2).flatten(2)
        return BaseModelOutput(last_hidden_state=self.out(patches))
"""


def test_an_encoder_with_code_of_its_own_takes_its_code_along_and_asks_for_trust(
    tiny_llm, tiny_tokenizer, make_ecg, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "remote_backbone.py").write_text(REMOTE)
    names = {"AutoConfig": "remote_backbone.RemoteConfig", "AutoModel": "remote_backbone.RemoteModel"}
    (theirs / "config.json").write_text(json.dumps({"model_type": "remote_backbone", "auto_map": names}))
    config = AutoConfig.from_pretrained(theirs, trust_remote_code=True)
    torch.manual_seed(0)
    adapted = ECGEncoderAdapter(
        ECGEncoderAdapterConfig(
            backbone_config=config, window=100, patch_size=20, preprocessing=ECGFeatureExtractor().preprocessing
        )
    )
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        adapted, tiny_llm()[0].language_model, tokenizer=tiny_tokenizer
    ).eval()
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    inputs = processor("<|ecg|>?", [make_ecg(2.0)])
    model.save_pretrained(tmp_path / "ours")
    assert (tmp_path / "ours" / "remote_backbone.py").is_file()
    (theirs / "remote_backbone.py").unlink()  # nothing may point back at it

    for load in (ECGLLMForConditionalGeneration.from_pretrained, AutoModel.from_pretrained):
        with pytest.raises(CheckpointError, match="'remote_backbone', comes with code of its own.*trust_remote_code"):
            load(tmp_path / "ours")
        loaded = load(tmp_path / "ours", trust_remote_code=True).eval()
        assert type(loaded.ecg_encoder.backbone).__name__ == "RemoteModel"
        assert "ours" in sys.modules[type(loaded.ecg_encoder.backbone).__module__].__file__
        with torch.no_grad():
            assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    loaded.save_pretrained(tmp_path / "again")
    assert (tmp_path / "again" / "remote_backbone.py").read_text() == REMOTE

    own = {"id2label": {0: "NORM", 1: "MI", 2: "CD"}}
    with pytest.raises(CheckpointError, match="comes with code of its own"):
        ECGForSequenceClassification.from_pretrained(tmp_path / "ours", **own)
    classifier = ECGForSequenceClassification.from_pretrained(tmp_path / "ours", trust_remote_code=True, **own).eval()
    assert type(classifier.ecg_encoder.backbone).__name__ == "RemoteModel" and classifier.config.id2label[2] == "CD"
    classifier.save_pretrained(tmp_path / "classifier")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier", trust_remote_code=True).eval()
    ecgs = {name: inputs[name][0] for name in ("ecg_values", "lead_mask")}
    with torch.no_grad():
        assert torch.equal(again(**ecgs).logits, classifier(**ecgs).logits)


def test_our_encoders_are_found_in_any_checkpoint_of_ours(encoder: ECGEncoder, tmp_path: Path) -> None:
    encoder.save_pretrained(tmp_path)
    found = as_encoder(tmp_path)
    assert type(found) is ECGEncoder
    assert as_encoder(encoder) is encoder
    assert all(torch.equal(a, b) for a, b in zip(found.parameters(), encoder.parameters(), strict=True))


def test_tokens_of_a_joined_row_are_put_in_the_order_of_time() -> None:
    """Three leads of 200 samples one behind the other, a token for 24 samples that holds the lead and the time of its
    middle: a patch of time is the mean over the leads that are there."""

    class Placed(nn.Module):
        dtype = torch.float32

        def forward(self, input_values: torch.Tensor) -> BaseModelOutputWithPooling:
            middle = torch.arange(25) * 24 + 12.0
            place = torch.stack((middle // 200, middle % 200), dim=-1)
            return BaseModelOutputWithPooling(last_hidden_state=place.repeat(len(input_values), 1, 1))

    config = ECGEncoderAdapterConfig(
        backbone_config=PATCHTST, input_layout="joined", window=200, patch_size=50, num_leads=3
    )
    encoder = ECGEncoderAdapter(config)
    encoder.backbone = Placed()
    values, mask = torch.zeros(2, 3, 120), torch.tensor([[True] * 3, [False, True, False]])
    found = encoder(values, lead_mask=mask, ecg_lengths=torch.tensor([120, 60])).last_hidden_state
    assert found.shape == (2, 3, 2)
    torch.testing.assert_close(found[0, :, 1], torch.tensor([25.0, 75.0, 125.0]), atol=12, rtol=0)
    torch.testing.assert_close(found[0, :, 0], torch.ones(3), atol=0.35, rtol=0)
    assert found[1, :2, 0].tolist() == [1, 1] and not found[1, 2].any()
    config.patch_size = 20
    with pytest.raises(ECGError, match="gives 25 tokens for a window of 200 samples of 3 leads; expected 30, one per"):
        encoder(values)


def test_hubert_ecgs_form_goes_before_a_language_model(tiny_llm, tiny_tokenizer, make_ecg, tmp_path: Path) -> None:
    hubert_ecg, extractor = write_hubert_ecg(tmp_path / "hubert-ecg"), ECGFeatureExtractor(**hubert_look_alike.SIGNAL)
    fields = hubert_look_alike.ADAPTER
    with pytest.raises(ValueError, match="trust_remote_code"):
        ECGEncoderAdapter.from_backbone(hubert_ecg, extractor, **fields)
    encoder = ECGEncoderAdapter.from_backbone(hubert_ecg, extractor, trust_remote_code=True, **fields).eval()
    theirs = AutoModel.from_pretrained(hubert_ecg, trust_remote_code=True).eval()
    ecg = make_ecg(8.0)
    values = extractor(ecg)["ecg_values"]
    with torch.no_grad():
        found = encoder(values).last_hidden_state
        tokens = theirs(values[..., :500].flatten(1)).last_hidden_state
    assert found.shape == (1, 8, 16) and tokens.shape[1] == 93
    middle = (torch.arange(93) + 0.5) * 6000 / 93
    for second in range(5):
        of_second = tokens[0, (middle % 500).div(100, rounding_mode="floor") == second]
        torch.testing.assert_close(found[0, second], of_second.mean(dim=0))
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, tiny_llm()[0].language_model, tokenizer=tiny_tokenizer
    ).eval()
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    inputs = processor("<|ecg|>?", [ecg])
    model.save_pretrained(tmp_path / "ours")
    with pytest.raises(CheckpointError, match="'hubert_ecg', comes with code of its own.*trust_remote_code"):
        ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "ours")
    again = ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "ours", trust_remote_code=True).eval()
    with torch.no_grad():
        torch.testing.assert_close(again(**inputs).logits, model(**inputs).logits)
    weights = hubert_ecg / "model.safetensors"
    kept = {
        key: value for key, value in load_file(weights).items() if not key.startswith("encoder.layers.0.attention")
    }
    save_file(kept, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="tensors are missing"):
        ECGEncoderAdapter.from_backbone(hubert_ecg, extractor, trust_remote_code=True, **fields)
