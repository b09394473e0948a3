"""ECG and text encoder in one space, on tiny random weights."""

import json

import pytest
import torch
from transformers import AutoModel

from ecgllm import ECGTextDualEncoder


def test_dual_encoder_keeps_the_weights_it_is_given(encoder, text_encoder, tmp_path):
    encoder_before = {k: v.clone() for k, v in encoder.state_dict().items()}
    text_before = {k: v.clone() for k, v in text_encoder.state_dict().items()}
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder, projection_dim=16).eval()
    for part, before in ((dual.ecg_encoder, encoder_before), (dual.text_encoder, text_before)):
        assert all(torch.equal(part.state_dict()[name], value) for name, value in before.items())
    inputs = {
        "input_ids": torch.randint(5, 60, (3, 7)),
        "attention_mask": torch.tensor([[1] * 7, [1] * 4 + [0] * 3, [1] * 6 + [0]]),
        "ecg_values": torch.randn(3, 12, 200),
    }
    dual.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, trust_remote_code=True).eval()
    with torch.no_grad():
        out, again = dual(**inputs), loaded(**inputs)
        # Padding of a text is not read.
        short = dual.get_text_embeds(inputs["input_ids"][1:2, :4])
    assert torch.equal(out.logits_per_ecg, again.logits_per_ecg)
    torch.testing.assert_close(short[0], out.text_embeds[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.ecg_embeds.norm(dim=-1), torch.ones(3))
    assert torch.equal(out.logits_per_ecg.T, out.logits_per_text)


@pytest.mark.parametrize(("loss_type", "start"), [("infonce", 1 / 0.07), ("sigmoid", 10.0)])
def test_dual_encoder_has_the_parameters_of_its_loss(tiny_encoder_config, text_encoder, loss_type, start):
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(tiny_encoder_config, text_encoder, loss_type=loss_type)
    assert dual.logit_scale.exp().item() == pytest.approx(start, rel=1e-3)
    assert (dual.logit_bias is not None) == (loss_type == "sigmoid")


def test_an_inverse_temperature_ends_at_100(tiny_encoder_config, text_encoder):
    """Above, training becomes unstable (CLIP)."""
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(tiny_encoder_config, text_encoder).eval()
    torch.nn.init.constant_(dual.logit_scale, 6.0)
    with torch.no_grad():
        found = dual(input_ids=torch.randint(5, 60, (3, 7)), ecg_values=torch.randn(3, 12, 100))
    torch.testing.assert_close(
        found.logits_per_ecg, 100 * found.ecg_embeds @ found.text_embeds.T, rtol=1e-4, atol=1e-4
    )


def test_what_earlier_versions_saved_of_statements_stays_behind(tiny_encoder_config, text_encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(tiny_encoder_config, text_encoder)
    dual.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    learned = {
        "statement_scale": torch.ones(()),
        "statement_bias": torch.ones(()),
        "statement_prototypes": torch.ones(2, 3),
    }
    save_file(tensors | learned, tmp_path / "model.safetensors", metadata={"format": "pt"})
    values = json.loads((tmp_path / "config.json").read_text())
    del values["format_version"]
    (tmp_path / "config.json").write_text(
        json.dumps(values | {"statement_targets": True, "statement_names": ["a", "b"]})
    )
    loaded = ECGTextDualEncoder.from_pretrained(tmp_path)
    assert torch.equal(loaded.logit_scale, dual.logit_scale) and not hasattr(loaded.config, "statement_names")
