"""`ecgllm export`: parts of checkpoints as graphs that give what the model gives, at any number and length of ECGs."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoFeatureExtractor, BertConfig, BertModel, LlamaConfig, LlamaForCausalLM

from ecgllm import (
    ECGBeatEncoder,
    ECGBeatEncoderConfig,
    ECGEncoder,
    ECGEncoderConfig,
    ECGFeatureExtractor,
    ECGForSequenceClassification,
    ECGLLMForConditionalGeneration,
    ECGTextDualEncoder,
    exporting,
)
from ecgllm.cli import main
from ecgllm.encoder_adapter_ecgllm import build_encoder
from ecgllm.encoder_configuration_ecgllm import ECGFounderConfig, MERLConfig
from ecgllm.errors_ecgllm import CheckpointError, ECGError, MissingExtraError
from ecgllm.exporting import export_checkpoint

from .test_encoder_adapter import ADAPTED, adapter

SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
ECGS = {
    "ecg_values": torch.randn(2, 12, 777),
    "lead_mask": torch.arange(24).view(2, 12) % 5 != 0,
    "ecg_lengths": torch.tensor([777, 240]),
}


@pytest.fixture
def encoder() -> ECGEncoder:
    return ECGEncoder(small_config()).eval()


def small_config() -> ECGEncoderConfig:
    return ECGEncoderConfig(**SIZES, stem_channels=[8], stem_kernel_sizes=[7], stem_strides=[4])


@pytest.fixture
def checkpoint(encoder: ECGEncoder, tmp_path: Path) -> Path:
    encoder.save_pretrained(tmp_path / "encoder")
    ECGFeatureExtractor().save_pretrained(tmp_path / "encoder")
    return tmp_path / "encoder"


def graph(path: Path) -> Any:
    """From inputs to outputs by name, as the file itself says."""
    if path.suffix == ".pt2":
        program = torch.export.load(path).module()
        return lambda **inputs: program(**inputs)
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    return lambda **inputs: [
        torch.from_numpy(value) for value in session.run(None, {name: each.numpy() for name, each in inputs.items()})
    ]


def test_an_encoder_is_a_graph(
    checkpoint: Path, encoder: ECGEncoder, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as done:
        main(["export", str(checkpoint), "-o", str(tmp_path / "out"), "--format", "torch"])
    said = capsys.readouterr().out
    assert done.value.code == 0 and "last_hidden_state: float32 [ecgs, tokens, 32]" in said
    tokens, mask, mean = graph(tmp_path / "out" / "model.pt2")(**ECGS)
    with torch.no_grad():
        expected = encoder(**ECGS)
    torch.testing.assert_close(tokens, expected.last_hidden_state, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(mean, expected.pooler_output, atol=1e-5, rtol=1e-4)
    assert mask.sum(dim=1).tolist() == [39, 12]
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "out", trust_remote_code=True)
    assert extractor.preprocessing == ECGFeatureExtractor().preprocessing


def test_a_graph_that_differs_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(program: None, module: torch.nn.Module, path: Path) -> Any:
        path.touch()
        return lambda inputs: {
            name: value + 3e-4 for name, value in zip(module.outputs, module(**inputs), strict=True)
        }

    monkeypatch.setattr(exporting, "_program", lambda *arguments: None)
    monkeypatch.setattr(exporting, "_write_torch", write)
    with pytest.raises(ECGError, match="differs from the model's by 0.0003 for input"):
        export_checkpoint(checkpoint, tmp_path / "out", format="torch")
    assert not (tmp_path / "out").exists()


def test_a_graph_for_one_length_alone_is_not_written(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(program: None, module: torch.nn.Module, path: Path) -> Any:
        def run(inputs: dict) -> dict:
            assert inputs["ecg_values"].shape[2] == 1013, "Guard failed"
            return dict(zip(module.outputs, module(**inputs), strict=True))

        return run

    monkeypatch.setattr(exporting, "_program", lambda *arguments: None)
    monkeypatch.setattr(exporting, "_write_torch", write)
    with pytest.raises(ECGError, match=r"does not hold for input \[1, 12, 500\]: AssertionError: Guard failed"):
        export_checkpoint(checkpoint, tmp_path / "out", format="torch")
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_is_refused(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CheckpointError, match="of type 'ecgllm_encoder', which has no logits"):
        export_checkpoint(checkpoint, tmp_path / "out", "logits", "torch")
    with pytest.raises(ECGError, match="part is 'vectors'"):
        export_checkpoint(checkpoint, tmp_path / "out", "vectors", "torch")
    with pytest.raises(ECGError, match="format is 'keras'"):
        export_checkpoint(checkpoint, tmp_path / "out", format="keras")
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ecgllm\[export\]'"):
        export_checkpoint(checkpoint, tmp_path / "out")
    (checkpoint / "preprocessor_config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no preprocessor_config\.json"):
        export_checkpoint(checkpoint, tmp_path / "out", format="torch")


def test_an_encoder_without_a_graph_says_why(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ECGEncoder, "embed", lambda self, values, *rest: values[:, :, : int(values.abs().max())])
    with pytest.raises(ECGError, match=r"no graph can be made of .*encoder \(encoder\): GuardOnDataDependent"):
        export_checkpoint(checkpoint, tmp_path / "out", format="torch")


def save_beat_encoder(folder: Path, tokenizer: Any) -> Any:
    config = ECGBeatEncoderConfig(**SIZES, stem_channels=[8], stem_kernel_sizes=[7], stem_strides=[4])
    model = ECGBeatEncoder(config)
    model.save_pretrained(folder)
    return lambda: model(**ECGS).last_hidden_state


def save_language_model(folder: Path, tokenizer: Any, trained_only: bool = False) -> Any:
    base = folder.with_name("lm")
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **SIZES)).save_pretrained(base)
    tokenizer.save_pretrained(base)
    encoder = ECGEncoder(small_config())
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, base, patches_per_token=3, projector_summary=True
    )
    model.save_pretrained(folder, trained_only=trained_only)
    if trained_only:
        (base / "model.safetensors").unlink()  # which no graph needs
    return lambda: model.get_ecg_features(**{name: value[:, None] for name, value in ECGS.items()}).pooler_output


def save_trained_only(folder: Path, tokenizer: Any) -> Any:
    return save_language_model(folder, tokenizer, trained_only=True)


def save_classifier(folder: Path, tokenizer: Any) -> Any:
    model = ECGForSequenceClassification.from_encoder(ECGEncoder(small_config()), num_labels=3)
    model.save_pretrained(folder)
    return lambda: model(**ECGS).logits


def dual_encoder(folder: Path, tokenizer: Any) -> ECGTextDualEncoder:
    text = BertModel(BertConfig(vocab_size=len(tokenizer), **SIZES))
    model = ECGTextDualEncoder.from_encoder_and_text_encoder(ECGEncoder(small_config()), text, projection_dim=8)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return model


def save_dual_encoder(folder: Path, tokenizer: Any) -> Any:
    model = dual_encoder(folder, tokenizer)
    return lambda: model.eval().get_ecg_embeds(**ECGS)


TEXTS = {"input_ids": torch.arange(5, 19).view(2, 7), "attention_mask": torch.tensor([[1] * 7, [1] * 3 + [0] * 4])}


def save_text_side(folder: Path, tokenizer: Any) -> Any:
    model = dual_encoder(folder, tokenizer)
    return lambda: model.eval().get_text_embeds(**TEXTS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["patchtst", "wav2vec2", "merl", "founder"])
def test_encoders_of_others(name: str, tmp_path: Path) -> None:
    if name in ADAPTED:
        model = adapter(name)
    else:
        founder = ECGFounderConfig(stage_channels=[16, 16], stage_depths=[1, 1])
        model = build_encoder(founder if name == "founder" else MERLConfig(num_hidden_layers=1)).eval()
    model.save_pretrained(tmp_path / "checkpoint")
    ECGFeatureExtractor().save_pretrained(tmp_path / "checkpoint")
    found = export_checkpoint(tmp_path / "checkpoint", tmp_path / "out", format="torch")
    with torch.no_grad():
        torch.testing.assert_close(graph(found.file)(**ECGS)[0], model(**ECGS).last_hidden_state)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize(
    ("save", "part", "inputs"),
    [
        (save_beat_encoder, "encoder", ECGS),
        (save_language_model, "ecg-tokens", ECGS),
        (save_trained_only, "ecg-tokens", ECGS),
        (save_classifier, "logits", ECGS),
        (save_dual_encoder, "ecg-embeds", ECGS),
        (save_text_side, "text-embeds", TEXTS),
    ],
)
def test_parts_of_every_kind_of_checkpoint(
    save: Any, part: str, inputs: dict, format: str, tiny_tokenizer: Any, tmp_path: Path
) -> None:
    if format == "onnx":
        pytest.importorskip("onnxruntime", reason="ONNX needs the extra export")
        pytest.importorskip("onnxscript", reason="ONNX needs the extra export")
    torch.manual_seed(0)
    expected_of = save(tmp_path / "checkpoint", tiny_tokenizer)
    ECGFeatureExtractor().save_pretrained(tmp_path / "checkpoint")
    found = export_checkpoint(
        tmp_path / "checkpoint", tmp_path / "out", None if part != "text-embeds" else part, format
    )
    assert found.part == part and found.difference < 1e-4
    value, *mask = graph(found.file)(**inputs)
    with torch.no_grad():
        expected = expected_of()
    if part == "ecg-tokens":  # one after the other, without padding
        value = value[mask[0]]
    torch.testing.assert_close(value, expected, atol=1e-4, rtol=1e-4)
