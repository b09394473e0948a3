"""The ECG encoder on tiny random weights: what it must ignore, keep and refuse."""

import pytest
import torch

from ecgllm import (
    ECGEncoder,
    ECGEncoderConfig,
)
from ecgllm.configuration_ecgllm import count_tokens
from ecgllm.encoder_ecgllm import rotary_embedding, rotate


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_padded_ecg_gives_the_tokens_it_gives_alone(encoder, attention):
    encoder.set_attn_implementation(attention)
    lengths = torch.tensor([230, 400, 37])
    values = torch.randn(3, 12, 400)
    with torch.no_grad():
        # Whatever the padding holds, it must not be read.
        batch = encoder(values, ecg_lengths=lengths)
        for row, length in enumerate(lengths.tolist()):
            alone = encoder(values[row : row + 1, :, :length])
            patches = alone.last_hidden_state.shape[1]
            assert patches == -(-length // 20) == count_tokens(length, encoder.config.patch_size)
            torch.testing.assert_close(
                batch.last_hidden_state[row, :patches], alone.last_hidden_state[0], atol=1e-5, rtol=1e-4
            )
            assert not batch.last_hidden_state[row, patches:].any()
            torch.testing.assert_close(batch.pooler_output[row], alone.pooler_output[0], atol=1e-5, rtol=1e-4)


def test_missing_lead_is_ignored_and_named(encoder):
    values, mask = torch.randn(1, 12, 200), torch.ones(1, 12, dtype=torch.bool)
    with torch.no_grad():
        whole = encoder(values, lead_mask=mask).pooler_output
        assert torch.equal(whole, encoder(values).pooler_output)
        mask[0, 3] = False
        without = encoder(values, lead_mask=mask).pooler_output
        other = values.clone()
        other[0, 3] = 9.0
        assert torch.equal(without, encoder(other, lead_mask=mask).pooler_output)
        zeroed = values.clone()
        zeroed[0, 3] = 0.0
        # A flat lead is a finding, a missing lead is not.
        assert not torch.allclose(without, encoder(zeroed).pooler_output, atol=1e-4)


def test_amplitude_reaches_the_output(encoder):
    values = torch.randn(1, 12, 200)
    with torch.no_grad():
        assert not torch.allclose(encoder(values).pooler_output, encoder(2 * values).pooler_output, atol=1e-2)


def test_every_parameter_learns_whether_leads_are_missing_or_not(encoder):
    encoder(torch.randn(2, 12, 100)).last_hidden_state.pow(2).mean().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_encoder_returns_hidden_states_and_attentions(encoder):
    encoder.set_attn_implementation("eager")
    out = encoder(torch.randn(2, 12, 100), output_hidden_states=True, output_attentions=True)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, 5, 32)] * 3
    assert [tuple(a.shape) for a in out.attentions] == [(2, 4, 5, 5)] * 2
    assert isinstance(encoder(torch.randn(2, 12, 100), return_dict=False), tuple)


@pytest.mark.parametrize("shape", [(12, 100), (1, 8, 100), (1, 100, 12)])
def test_encoder_refuses_other_shapes(encoder, shape):
    with pytest.raises(ValueError, match=r"expected \[ecgs, 12 leads, samples\]"):
        encoder(torch.zeros(shape))


def test_rotation_is_that_of_complex_numbers_by_their_position():
    """RoFormer, equation 34, with a head's first half as the real and the second as the imaginary parts."""
    states = torch.randn(2, 3, 7, 8)
    found = rotate(states, *rotary_embedding(7, 8, 100.0, states))
    frequency = 100.0 ** (-torch.arange(4) / 4)
    turn = torch.exp(1j * torch.arange(7)[:, None] * frequency)
    expected = torch.complex(states[..., :4], states[..., 4:]) * turn
    torch.testing.assert_close(found, torch.cat((expected.real, expected.imag), dim=-1))


def test_attention_knows_how_far_apart_patches_are_and_not_where(encoder):
    cos, sin = rotary_embedding(20, 8, encoder.config.rope_theta, torch.zeros(()))
    query, key = torch.randn(2, 8)
    queries, keys = (rotate(one.expand(1, 1, 20, 8), cos, sin)[0, 0] for one in (query, key))
    products = queries @ keys.T
    for apart in (1, -4):
        torch.testing.assert_close(products.diagonal(apart), products.diagonal(apart)[:1].expand(20 - abs(apart)))
    assert (products[0, 1:] - products[0, 0]).abs().min() > 1e-4


def test_order_of_patches_matters_to_a_layer(encoder):
    """Patches in another order are not the same patches elsewhere, which they would be without positions."""
    hidden, order = torch.randn(1, 9, 32), torch.randperm(9)
    positions = rotary_embedding(9, 8, encoder.config.rope_theta, hidden)
    nowhere = torch.ones_like(positions[0]), torch.zeros_like(positions[1])
    with torch.no_grad():
        for given, same in ((nowhere, True), (positions, False)):
            found = encoder.layers[0](hidden[:, order], position_embeddings=given)
            moved = encoder.layers[0](hidden, position_embeddings=given)[:, order]
            assert torch.allclose(found, moved, atol=1e-5) == same


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_layer_is_torchs_pre_norm_layer_but_for_its_positions(encoder, attention):
    encoder.set_attn_implementation(attention)
    layer, config = encoder.layers[1], encoder.config
    for name, parameter in layer.named_parameters():
        torch.nn.init.normal_(parameter, mean=float("norm.weight" in name), std=0.2)
    torchs = torch.nn.TransformerEncoderLayer(
        config.hidden_size,
        config.num_attention_heads,
        config.intermediate_size,
        activation="gelu",
        layer_norm_eps=config.layer_norm_eps,
        batch_first=True,
        norm_first=True,
    ).eval()
    own = layer.state_dict()
    projections = [f"attention.{name}_proj" for name in "qkv"]
    given = {f"self_attn.in_proj_{kind}": torch.cat([own[f"{name}.{kind}"] for name in projections]) for kind in KINDS}
    places = {
        "attention.o_proj": "self_attn.out_proj",
        "up_proj": "linear1",
        "down_proj": "linear2",
        "attention_norm": "norm1",
        "mlp_norm": "norm2",
    }
    given |= {f"{theirs}.{kind}": own[f"{ours}.{kind}"] for ours, theirs in places.items() for kind in KINDS}
    torchs.load_state_dict(given)
    hidden = torch.randn(2, 9, config.hidden_size)
    nowhere = torch.ones(1, 1, 9, 8), torch.zeros(1, 1, 9, 8)
    with torch.no_grad():
        torch.testing.assert_close(layer(hidden, position_embeddings=nowhere), torchs(hidden), atol=1e-5, rtol=1e-4)


KINDS = ("weight", "bias")


def test_odd_head_size_is_refused():
    with pytest.raises(ValueError, match="hidden_size 36 over 12 attention heads"):
        ECGEncoder(ECGEncoderConfig(hidden_size=36, num_attention_heads=12, num_hidden_layers=1))
