"""Other groups' encoders: beside figures of their own code, loaded from files like theirs, and used like ours."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, AutoModelForSequenceClassification, LlamaConfig, LlamaForCausalLM

from ecgllm import (
    ECGForSequenceClassification,
    ECGFounderConfig,
    ECGFounderEncoder,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    MERLConfig,
    MERLEncoder,
)
from ecgllm.encoder_adapter_ecgllm import as_encoder
from ecgllm.errors_ecgllm import CheckpointError, ECGError
from ecgllm.processor_parts_ecgllm import feature_extractor_for

from .launching import run_without_package
from .published_form import THEIRS, published, state_dict, tensor

KINDS = {"ecgfounder": ECGFounderEncoder, "merl": MERLEncoder}


@pytest.fixture(params=KINDS)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


def loaded(name: str, folder: Path) -> Any:
    return KINDS[name].from_published(published(name, folder))


def test_they_give_what_the_authors_code_gives(name: str, tmp_path: Path) -> None:
    encoder, theirs = loaded(name, tmp_path), THEIRS[name]
    values = tensor("ecg", [2, 12, theirs["samples"]]) * 10
    with torch.no_grad():
        found = encoder(values)
    torch.testing.assert_close(found.last_hidden_state, torch.tensor(theirs["tokens"]), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found.pooler_output, torch.tensor(theirs["pooled"]), atol=1e-5, rtol=1e-5)
    assert feature_extractor_for(encoder.config).preprocessing == encoder.config.preprocessing


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_padded_ecg_gives_the_tokens_of_the_ecg_alone(name: str, attention: str, tmp_path: Path) -> None:
    """Of any length, longer than the authors' too, and shorter than one token."""
    encoder, values = loaded(name, tmp_path), torch.randn(4, 12, 333)
    encoder.set_attn_implementation(attention)
    lengths = torch.tensor([333, 201, 98, 5])
    with torch.no_grad():
        batch = encoder(values, ecg_lengths=lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(values[row : row + 1, :, :length])
            tokens = -(-length // encoder.config.patch_size)
            assert alone.last_hidden_state.shape[1] == tokens
            torch.testing.assert_close(batch.last_hidden_state[row, :tokens], alone.last_hidden_state[0])
            torch.testing.assert_close(batch.pooler_output[row], alone.pooler_output[0])
            assert not batch.last_hidden_state[row, tokens:].any()


def test_a_missing_lead_is_zeros(name: str, tmp_path: Path) -> None:
    encoder, values = loaded(name, tmp_path), torch.randn(1, 12, 100)
    mask, zeros = torch.ones(1, 12, dtype=torch.bool), values.clone()
    mask[0, 3], zeros[0, 3] = False, 0
    with torch.no_grad():
        found, expected = encoder(values, lead_mask=mask), encoder(zeros)
    assert torch.equal(found.last_hidden_state, expected.last_hidden_state)


def test_merl_reads_longer_ecgs_in_windows(tmp_path: Path) -> None:
    encoder, values = loaded("merl", tmp_path), torch.randn(1, 12, 250)
    with torch.no_grad():
        whole = encoder(values).last_hidden_state
        parts = [encoder(part).last_hidden_state for part in values.split(100, dim=2)]
    torch.testing.assert_close(whole, torch.cat(parts, dim=1))


def test_ecgfounder_for_one_lead(tmp_path: Path) -> None:
    first = "first_conv.conv.weight"
    path = published("ecgfounder", tmp_path, **{first: state_dict("ecgfounder")[first][:, :1]})
    encoder = ECGFounderEncoder.from_published(path)
    assert feature_extractor_for(encoder.config).leads == ["I"]
    assert encoder(torch.randn(1, 1, 64)).last_hidden_state.shape == (1, 8, 7)


def test_merl_from_the_file_of_the_whole_model(tmp_path: Path) -> None:
    whole = {f"ecg_encoder.{key}": value for key, value in state_dict("merl").items()}
    whole |= {
        "proj_e.0.weight": torch.zeros(2, 2),
        "lm_model.pooler.bias": torch.zeros(2),
        "linear1.bias": torch.ones(1),
    }
    torch.save(whole, tmp_path / "whole.pth")
    encoder, alone = MERLEncoder.from_published(tmp_path / "whole.pth"), loaded("merl", tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(encoder.parameters(), alone.parameters(), strict=True))
    torch.save(whole | {"another.weight": torch.zeros(1)}, tmp_path / "whole.pth")
    with pytest.raises(CheckpointError, match=r"1 unknown \(another.weight\)"):
        MERLEncoder.from_published(tmp_path / "whole.pth")


SOME = {"ecgfounder": "stage_list.1.block_list.1.se_fc1.weight", "merl": "block1.ff.fn.net.3.bias"}
LEFT_OUT = {"ecgfounder": "stage_list.1.block_list.0.bn1.running_mean", "merl": "head.weight"}


def test_every_tensor_is_accounted_for(name: str, tmp_path: Path) -> None:
    def refused(because: str, **changes: torch.Tensor | None) -> None:
        with pytest.raises(CheckpointError, match=because):
            KINDS[name].from_published(published(name, tmp_path, **changes))

    some, left_out = SOME[name], LEFT_OUT[name]
    refused(rf"1 missing \({some}\)", **{some: None})
    refused(rf"1 of another shape \({some} \[7\] instead of \[", **{some: torch.zeros(7)})
    refused(r"1 unknown \(extra.weight\)", **{"extra.weight": torch.zeros(1)})
    refused(rf"1 of another shape \({left_out} \[7, 7, 7\] instead of", **{left_out: torch.zeros(7, 7, 7)})
    refused(rf"1 not finite \({some}\)", **{some: torch.full_like(state_dict(name)[some], torch.nan)})
    refused("lacks the tensor", **dict.fromkeys(THEIRS[name]["tensors"], None), other=torch.zeros(1))


@pytest.mark.parametrize("as_zip", [True, False])
def test_what_lies_beside_the_tensors_does_not_run(as_zip: bool, tmp_path: Path) -> None:
    class Runs:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1, momentum=0.9)
    beside = {"more": Runs(), "scheduler": torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)}
    beside |= {"scores": np.arange(3.0), "optimizer": optimizer, "args": Namespace(lr=[1])}
    saved = {"state_dict": state_dict("ecgfounder")} | beside
    torch.save(saved, tmp_path / "more.pth", _use_new_zipfile_serialization=as_zip)
    more, alone = ECGFounderEncoder.from_published(tmp_path / "more.pth"), loaded("ecgfounder", tmp_path)
    assert not (tmp_path / "ran").exists()
    assert all(torch.equal(a, b) for a, b in zip(more.parameters(), alone.parameters(), strict=True))
    torch.save({"state_dict": {"first_conv.conv.weight": Runs()}}, tmp_path / "more.pth")
    with pytest.raises(CheckpointError, match="expected a state dict"):
        ECGFounderEncoder.from_published(tmp_path / "more.pth")
    assert not (tmp_path / "ran").exists()


def test_files_without_weights_are_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match="cannot be read as weights .*Download it again"):
        ECGFounderEncoder.from_published(tmp_path / "damaged.pth")
    with pytest.raises(CheckpointError, match="is no file"):
        ECGFounderEncoder.from_published(tmp_path / "none.pth")
    torch.save({"epoch": 1}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match=r"holds \['epoch'\]; expected .* under the key 'state_dict'"):
        ECGFounderEncoder.from_published(tmp_path / "empty.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "resnet.pth")
    with pytest.raises(CheckpointError, match="MERL's ResNet; expected its ViT"):
        MERLEncoder.from_published(tmp_path / "resnet.pth")


def test_sizes_that_cannot_be_are_refused() -> None:
    with pytest.raises(ECGError, match="1 stages and stage_depths 2"):
        ECGFounderConfig(stage_channels=[16], stage_depths=[1, 1])
    with pytest.raises(ECGError, match="expected an even one"):
        ECGFounderConfig(kernel_size=15)
    with pytest.raises(ECGError, match="multiples of group_width 16"):
        ECGFounderConfig(stage_channels=[20], stage_depths=[1])
    with pytest.raises(ECGError, match="max_tokens is 0"):
        MERLConfig(max_tokens=0)


WITHOUT = """
import sys
sys.modules["ecgllm"] = None
import numpy as np, torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoProcessor
model_folder, classifier, work = sys.argv[1:]
trust = {"trust_remote_code": True}
model, processor = (auto.from_pretrained(model_folder, **trust) for auto in (AutoModel, AutoProcessor))
ecg = {"signal": np.load(work + "/signal.npy"), "sampling_rate": 100, "leads": ["I", "II", "III"]}
inputs = processor("<|ecg|>?", [ecg])
one = {name: inputs[name][0] for name in ("ecg_values", "lead_mask")}
with torch.no_grad():
    np.save(work + "/logits.npy", model.eval()(**inputs).logits.numpy())
    labels = AutoModelForSequenceClassification.from_pretrained(classifier, **trust).eval()(**one).logits
    np.save(work + "/labels.npy", labels.numpy())
print("null")
"""


def test_they_are_used_like_ours(name: str, tiny_tokenizer: Any, make_ecg: Any, tmp_path: Path) -> None:
    """Before a language model and behind a head, saved, and loaded where this package is and where it is not."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    language_model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tiny_tokenizer), **sizes))
    loaded(name, tmp_path).save_pretrained(tmp_path / "encoder")
    encoder = as_encoder(tmp_path / "encoder")
    assert type(encoder) is KINDS[name] is type(AutoModel.from_pretrained(tmp_path / "encoder"))
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tmp_path / "encoder", language_model, tokenizer=tiny_tokenizer, patches_per_token=4
    ).eval()
    processor = ECGProcessor.for_model(model, tiny_tokenizer)
    ecg = make_ecg(2.0, leads=3)
    np.save(tmp_path / "signal.npy", ecg["signal"])
    inputs = processor("<|ecg|>?", [ecg])
    tokens = -(-1000 // (4 * encoder.config.patch_size))
    assert int((inputs["input_ids"] == processor.ecg_token_id).sum()) == tokens
    model(**inputs, labels=inputs["input_ids"]).loss.backward()
    without = {key for key, parameter in model.ecg_encoder.named_parameters() if parameter.grad is None}
    assert without == ({"norm.weight", "norm.bias"} if name == "merl" else set())  # of its pooled output alone
    model.save_pretrained(tmp_path / "llm")
    processor.save_pretrained(tmp_path / "llm")
    classifier = ECGForSequenceClassification.from_pretrained(tmp_path / "llm", num_labels=3).eval()
    classifier.save_pretrained(tmp_path / "classifier")
    run_without_package(WITHOUT, tmp_path, tmp_path / "llm", tmp_path / "classifier", tmp_path)
    again = ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "llm").eval()
    heads = AutoModelForSequenceClassification.from_pretrained(tmp_path / "classifier").eval()
    with torch.no_grad():
        expected = model(**inputs).logits
        torch.testing.assert_close(again(**inputs).logits, expected)
        np.testing.assert_allclose(np.load(tmp_path / "logits.npy"), expected.numpy(), atol=1e-5)
        found = heads(**{key: inputs[key][0] for key in ("ecg_values", "lead_mask")}).logits
        np.testing.assert_allclose(np.load(tmp_path / "labels.npy"), found.numpy(), atol=1e-5)
