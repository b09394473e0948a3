"""An ECG encoder with a linear head: losses, and loading from whatever holds an encoder."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

from ecgllm import (
    ECGClassifierConfig,
    ECGEncoderAdapter,
    ECGEncoderAdapterConfig,
    ECGError,
    ECGFeatureExtractor,
    ECGForSequenceClassification,
    ECGTextDualEncoder,
)
from ecgllm.encoder_adapter_ecgllm import as_encoder
from ecgllm.errors_ecgllm import CheckpointError

NAMES = {0: "NORM", 1: "MI", 2: "CD"}
NAN = float("nan")


@pytest.fixture
def model(encoder) -> ECGForSequenceClassification:
    torch.manual_seed(0)
    return ECGForSequenceClassification.from_encoder(encoder, id2label=NAMES).eval()


@pytest.fixture
def folders(encoder, text_encoder, tiny_llm, tmp_path: Path) -> dict[str, tuple[Path, nn.Module]]:
    """Folders that hold an encoder, and which."""
    language_model, processor = tiny_llm()
    held = {
        "encoder": encoder,
        "dual": ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder, projection_dim=8),
        "llm": language_model,
        "classifier": ECGForSequenceClassification.from_encoder(encoder, num_labels=2),
    }
    for name, each in held.items():
        each.save_pretrained(tmp_path / name)
    return {name: (tmp_path / name, as_encoder(each)) for name, each in held.items()}


def logits_of(model: nn.Module, seed: int = 0) -> torch.Tensor:
    values = torch.randn(2, 12, 200, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(values, ecg_lengths=torch.tensor([200, 130])).logits


def test_labels_say_what_problem_it_is_and_unknown_ones_teach_nothing(model) -> None:
    values = torch.randn(3, 12, 100)
    several = torch.tensor([[1.0, 0, NAN], [0, 0, 1], [NAN, NAN, NAN]])
    out = model(values, labels=several)
    known = ~several.isnan()
    bce = nn.functional.binary_cross_entropy_with_logits
    torch.testing.assert_close(out.loss, bce(out.logits[known], several[known]))
    assert model.config.problem_type == "multi_label_classification"
    out.loss.backward()
    assert model.classifier.weight.grad.isfinite().all() and model.classifier.weight.grad.any()
    torch.testing.assert_close(model(values, labels=known.long()).loss, bce(out.logits, known.float()))
    assert model(values[:1], labels=torch.full((1, 3), NAN)).loss == 0

    model.config.problem_type = None
    out = model(values, labels=torch.tensor([0, 2, 1]))
    torch.testing.assert_close(out.loss, nn.functional.cross_entropy(out.logits, torch.tensor([0, 2, 1])))
    assert model.config.problem_type == "single_label_classification"

    one = ECGForSequenceClassification.from_encoder(model.ecg_encoder, num_labels=1).eval()
    out = one(values, labels=torch.tensor([60.0, NAN, 72]))
    torch.testing.assert_close(out.loss, ((out.logits[[0, 2], 0] - torch.tensor([60.0, 72])) ** 2).mean())
    assert one.config.problem_type == "regression"


@pytest.mark.parametrize(
    ("problem", "labels", "said"),
    [
        ("multi_label_classification", torch.tensor([[0.0, 1, -1]]), "lie between -1 and 1; expected 0 to 1"),
        ("multi_label_classification", torch.tensor([[0.0, 1]]), r"shape \[1, 2\]; expected \[1, 3\]"),
        ("single_label_classification", torch.tensor([[0, 1, 0]]), r"shape \[1, 3\]; expected \[1\]"),
        ("single_label_classification", torch.tensor([1.0]), "float32; expected whole numbers"),
        ("regression", torch.tensor([1.0, 2.0, 3.0]), r"shape \[3\]; expected \[1, 3\]"),
    ],
)
def test_labels_of_another_shape_or_range_are_refused(model, problem: str, labels: torch.Tensor, said: str) -> None:
    model.config.problem_type = problem
    with pytest.raises(ECGError, match=said):
        model(torch.randn(1, 12, 100), labels=labels)


def test_ecgs_that_were_prepared_in_another_way_are_refused(model) -> None:
    own = torch.tensor([ECGFeatureExtractor().preprocessing_id])
    model(torch.randn(1, 12, 100), preprocessing_id=own)
    with pytest.raises(ECGError, match="prepared in another way"):
        model(torch.randn(1, 12, 100), preprocessing_id=own + 1)


@pytest.mark.parametrize("name", ["encoder", "dual", "llm", "classifier"])
def test_a_new_head_goes_on_whatever_holds_an_encoder(folders, name: str) -> None:
    folder, expected = folders[name]
    model = ECGForSequenceClassification.from_encoder(folder, id2label=NAMES)
    assert model.config.label2id == {"NORM": 0, "MI": 1, "CD": 2} and model.classifier.out_features == 3
    for key, value in expected.state_dict().items():
        assert torch.equal(model.ecg_encoder.state_dict()[key], value)


@pytest.mark.parametrize("name", ["encoder", "dual", "llm"])
def test_from_pretrained_takes_an_encoder_and_says_that_the_head_is_new(folders, name: str, caplog) -> None:
    folder, expected = folders[name]
    with caplog.at_level(logging.WARNING):
        model = ECGForSequenceClassification.from_pretrained(
            folder, id2label=NAMES, problem_type="multi_label_classification"
        )
    assert model.config.id2label == NAMES and model.config.label2id["CD"] == 2
    assert model.config.problem_type == "multi_label_classification"
    assert f"{folder} holds an ECG encoder and no head for 3 labels" in caplog.text
    for key, value in expected.state_dict().items():
        assert torch.equal(model.ecg_encoder.state_dict()[key], value)
    assert 0.01 < model.classifier.weight.std() < 0.04 and not model.classifier.bias.any()


@pytest.mark.parametrize("name", ["encoder", "llm", "classifier"])
def test_a_damaged_encoder_is_refused_and_so_is_a_head_that_should_be_there(folders, name: str) -> None:
    from safetensors.torch import load_file, save_file

    folder = folders[name][0]
    whole = load_file(folder / "model.safetensors")
    gone = "layers.1.attention.q_proj.weight" if name == "encoder" else "ecg_encoder.layers.1.attention.q_proj.weight"
    damages = {gone: gone} | ({"classifier.bias": "classifier.bias"} if name == "classifier" else {})
    for key, said in damages.items():
        save_file({k: v for k, v in whole.items() if k != key}, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(CheckpointError, match=rf"missing \(.*{said}"):
            ECGForSequenceClassification.from_pretrained(folder)


def test_another_number_of_labels_than_the_folders_is_refused(folders) -> None:
    folder = folders["classifier"][0]
    with pytest.raises(CheckpointError, match=r"another shape \(all 2 of classifier\)"):
        ECGForSequenceClassification.from_pretrained(folder, num_labels=5)


def test_saved_and_loaded_by_every_door(model, tmp_path: Path) -> None:
    import ecgllm.modeling_ecgllm  # noqa: F401 (which registers the classes)

    model.config.problem_type = "multi_label_classification"
    model.save_pretrained(tmp_path)
    for door in (ECGForSequenceClassification, AutoModelForSequenceClassification, AutoModel):
        again = door.from_pretrained(tmp_path).eval()
        assert type(again) is ECGForSequenceClassification and again.config.id2label == NAMES
        assert torch.equal(logits_of(again), logits_of(model))
    config = AutoConfig.from_pretrained(tmp_path)
    assert type(config) is ECGClassifierConfig and config.id2label == NAMES


def test_any_encoder_by_the_protocol(tmp_path: Path) -> None:
    from transformers import PatchTSTConfig

    backbone = PatchTSTConfig(
        d_model=16, ffn_dim=24, context_length=200, patch_length=20, patch_stride=20, num_input_channels=12,
        num_hidden_layers=1, num_attention_heads=2,
    )  # fmt: skip
    config = ECGEncoderAdapterConfig(
        backbone_config=backbone, input_name="past_values", input_layout="samples", window=200, patch_size=40
    )
    torch.manual_seed(0)
    model = ECGForSequenceClassification.from_encoder(config, num_labels=4).eval()
    assert type(model.ecg_encoder) is ECGEncoderAdapter
    model.save_pretrained(tmp_path)
    assert torch.equal(logits_of(ECGForSequenceClassification.from_pretrained(tmp_path).eval()), logits_of(model))


def test_hidden_states_attentions_and_tuples(encoder) -> None:
    model = ECGForSequenceClassification.from_encoder(encoder, num_labels=2)
    model.set_attn_implementation("eager")
    out = model(torch.randn(2, 12, 100), output_hidden_states=True, output_attentions=True)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, 5, 32)] * 3 and len(out.attentions) == 2
    assert isinstance(model(torch.randn(2, 12, 100), return_dict=False), tuple)


def test_a_linear_probe_moves_the_head_alone_and_checkpointing_changes_no_gradient(model) -> None:
    values, labels = torch.randn(2, 12, 100), torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    gradients = []
    for checkpointed in (False, True):
        if checkpointed:
            model.train().gradient_checkpointing_enable()
        model.zero_grad()
        model(values, labels=labels).loss.backward()
        gradients.append([parameter.grad.clone() for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    model.zero_grad()
    model.freeze_base_model()
    model(values, labels=labels).loss.backward()
    moved = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_lora_as_peft_has_it_for_classifiers(model, tmp_path: Path) -> None:
    base = tmp_path / "base"
    model.save_pretrained(base)
    adapted = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", target_modules=["q_proj"], r=2)).eval()
    values = torch.randn(2, 12, 100)
    adapted(ecg_values=values, labels=torch.tensor([[1.0, 0, 1], [0, 1, 1]])).loss.backward()
    learning = {name for name, parameter in adapted.named_parameters() if parameter.grad is not None}
    assert all("lora" in name or "classifier" in name for name in learning)
    assert any("classifier" in name for name in learning) and any("lora" in name for name in learning)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    again = PeftModel.from_pretrained(ECGForSequenceClassification.from_pretrained(base), tmp_path / "adapter").eval()
    with torch.no_grad():
        torch.testing.assert_close(again(ecg_values=values).logits, adapted(ecg_values=values).logits)
