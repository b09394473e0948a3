"""Encoder, dual encoder and ECG language model on tiny random weights: what they must refuse, ignore and keep."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, BertModel, LlamaConfig

from ecgllm import (
    ECGEncoder,
    ECGEncoderConfig,
    ECGFeatureExtractor,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    ECGTextDualEncoder,
    ECGTextDualEncoderConfig,
)
from ecgllm.encoder_ecgllm import rotary_embedding, rotate
from ecgllm.losses_ecgllm import contrastive_loss, statement_loss

from .launching import launch_all


@pytest.fixture
def encoder(tiny_encoder_config):
    torch.manual_seed(0)
    return ECGEncoder(tiny_encoder_config).eval()


@pytest.fixture
def text_encoder():
    torch.manual_seed(1)
    return BertModel(
        BertConfig(vocab_size=60, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32)
    ).eval()


# ---------------------------------------------------------------------------------------------------------------------
# Encoder
# ---------------------------------------------------------------------------------------------------------------------


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
            assert patches == -(-length // 20) == encoder.num_patches(torch.tensor(length))
            torch.testing.assert_close(
                batch.last_hidden_state[row, :patches], alone.last_hidden_state[0], atol=1e-5, rtol=1e-4
            )
            assert not batch.last_hidden_state[row, patches:].any()
            torch.testing.assert_close(batch.pooler_output[row], alone.pooler_output[0], atol=1e-5, rtol=1e-4)


@pytest.fixture
def valid_encoder(tiny_encoder_config):
    """As anyECG-chat has it: kernels of 15 and 7 without padding, patches of 16."""
    tiny_encoder_config.update({"stem_padding": "valid", "stem_strides": [1, 1], "patch_size": 16})
    torch.manual_seed(0)
    return ECGEncoder(tiny_encoder_config).eval()


def test_stem_without_padding_sees_each_patch_and_its_neighbours_alone(valid_encoder):
    values = torch.randn(1, 12, 1000)
    embed = valid_encoder.patch_embedding
    with torch.no_grad():
        tokens = embed(values, None, None)
        assert tokens.shape == (1, 61, 32) == valid_encoder(values).last_hidden_state.shape
        # A patch of 16 samples after the stem is made of 16 + 14 + 6, whatever stands beside them.
        cut = values[0].unfold(1, 36, 16).transpose(0, 1)
        torch.testing.assert_close(embed(cut, None, None).transpose(0, 1), tokens, atol=1e-5, rtol=1e-4)
        last = values.clone()
        last[..., 996:] = 9.0
        assert torch.equal(embed(last, None, None), tokens)


def test_padded_ecg_gives_the_tokens_it_gives_alone_without_stem_padding(valid_encoder):
    lengths = torch.tensor([1000, 513, 52, 51, 36, 35, 7])
    values = torch.randn(len(lengths), 12, 1000)
    with torch.no_grad():
        batch = valid_encoder(values, ecg_lengths=lengths)
        short = valid_encoder(values[-2:, :, :35], ecg_lengths=lengths[-2:])
        torch.testing.assert_close(short.pooler_output, batch.pooler_output[-2:], atol=1e-5, rtol=1e-4)
        for row, (length, patches) in enumerate(zip(lengths.tolist(), (61, 30, 2, 1, 1, 1, 1), strict=True)):
            alone = valid_encoder(values[row : row + 1, :, :length]).last_hidden_state[0]
            assert len(alone) == patches == valid_encoder.num_patches(torch.tensor(length))
            torch.testing.assert_close(batch.last_hidden_state[row, :patches], alone, atol=1e-5, rtol=1e-4)
            assert not batch.last_hidden_state[row, patches:].any()
        completed = torch.nn.functional.pad(values[-1:, :, :7], (0, 29))
        torch.testing.assert_close(
            valid_encoder(completed).last_hidden_state[0], batch.last_hidden_state[-1, :1], atol=1e-5, rtol=1e-4
        )


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


# ---------------------------------------------------------------------------------------------------------------------
# Contrastive pre-training
# ---------------------------------------------------------------------------------------------------------------------


def reference_loss(ecg, text, scale, bias, loss_type, report_ids):
    """Pair by pair, as the papers write it; all pairs with the same report are positives in equal shares."""
    n = ecg.shape[0]
    same = [[report_ids[i] == report_ids[j] for j in range(n)] for i in range(n)]
    logit = [[scale * float(ecg[i] @ text[j]) for j in range(n)] for i in range(n)]
    total = 0.0
    for i in range(n):
        if loss_type == "sigmoid":
            for j in range(n):
                sign = 1.0 if same[i][j] else -1.0
                total += torch.tensor(-sign * (logit[i][j] + bias)).exp().log1p().item()
        else:
            for row in ([logit[i][j] for j in range(n)], [logit[j][i] for j in range(n)]):
                log_total = torch.tensor(row).logsumexp(0).item()
                positives = [log_total - row[j] for j in range(n) if same[i][j]]
                total += sum(positives) / len(positives) / 2
    return total / n


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
@pytest.mark.parametrize("report_ids", [None, [4, 7, 4, 1, 7, 4]], ids=["unique", "shared"])
def test_loss_equals_the_papers(loss_type, report_ids):
    ecg = torch.nn.functional.normalize(torch.randn(6, 5), dim=-1)
    text = torch.nn.functional.normalize(torch.randn(6, 5), dim=-1)
    scale, bias = torch.tensor(3.0), torch.tensor(-1.5)
    ids = None if report_ids is None else torch.tensor(report_ids)
    loss = contrastive_loss(ecg, text, scale, bias if loss_type == "sigmoid" else None, loss_type, ids)
    expected = reference_loss(ecg, text, 3.0, -1.5, loss_type, report_ids or list(range(6)))
    assert loss.item() == pytest.approx(expected, abs=1e-5)


def test_statement_loss_is_weighted_masked_and_a_mean_over_ecgs():
    logits = torch.randn(5, 4, requires_grad=True)
    targets = torch.tensor([[1, 0, -1, 0], [0, 0, 1, 1], [-1] * 4, [0, 1, 0, -1], [1, 1, 1, 0]])
    weights = torch.rand(2, 4) + 0.5
    loss = statement_loss(logits, targets, weights)
    total = 0.0
    for i in range(5):
        for j in range(4):
            if targets[i, j] >= 0:
                probability = torch.sigmoid(logits[i, j]).item()
                right = probability if targets[i, j] == 1 else 1 - probability
                total -= weights[targets[i, j], j].item() * math.log(right)
    assert loss.item() == pytest.approx(total / 20, abs=1e-6)
    loss.backward()
    assert torch.equal(logits.grad == 0, targets == -1)
    # Halves of a batch, as processes see it, have the batch's loss as their mean.
    parts = [statement_loss(logits[[i]], targets[[i]], weights).item() for i in range(5)]
    assert sum(parts) / 5 == pytest.approx(loss.item(), abs=1e-6)


DISTRIBUTED = """
import os, torch, torch.distributed as dist
from ecgllm.modeling_ecgllm import contrastive_loss
rank = int(os.environ["RANK"])
torch.manual_seed(0)
ecg, text = (torch.nn.functional.normalize(torch.randn(6, 4), dim=-1) for _ in range(2))
report_ids = torch.tensor([3, 1, 3, 2, 1, 5])
cases = [(loss_type, ids) for loss_type in ("infonce", "sigmoid") for ids in (None, report_ids)]
def loss_and_gradient(part, loss_type, ids):
    own = ecg[part].clone().requires_grad_(), text[part].clone().requires_grad_()
    own_ids = None if ids is None else ids[part]
    loss = contrastive_loss(*own, torch.tensor(4.0), torch.tensor(-1.0), loss_type, own_ids)
    loss.backward()
    return loss.detach(), torch.stack([x.grad for x in own])
wholes = [loss_and_gradient(slice(0, 6), *case) for case in cases]
dist.init_process_group("gloo")
part = slice(3 * rank, 3 * rank + 3)
for case, (whole, gradient) in zip(cases, wholes):
    loss, own = loss_and_gradient(part, *case)
    dist.all_reduce(loss)
    torch.testing.assert_close(loss / 2, whole)
    # DDP takes the mean of the gradients over processes.
    torch.testing.assert_close(own / 2, gradient[:, part])
dist.destroy_process_group()
"""


def test_two_processes_learn_what_one_does(tmp_path):
    for process in launch_all(DISTRIBUTED, tmp_path, 2):
        process.wait()


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
    assert torch.equal(out.loss, again.loss) and torch.equal(out.logits_per_ecg, again.logits_per_ecg)
    torch.testing.assert_close(short[0], out.text_embeds[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(out.ecg_embeds.norm(dim=-1), torch.ones(3))
    assert torch.equal(out.logits_per_ecg.T, out.logits_per_text)


@pytest.mark.parametrize(("loss_type", "start"), [("infonce", 1 / 0.07), ("sigmoid", 10.0)])
def test_dual_encoder_has_the_parameters_of_its_loss(tiny_encoder_config, text_encoder, loss_type, start):
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(tiny_encoder_config, text_encoder, loss_type=loss_type)
    assert dual.logit_scale.exp().item() == pytest.approx(start, rel=1e-3)
    assert (dual.logit_bias is not None) == (loss_type == "sigmoid")
    dual(input_ids=torch.randint(5, 60, (3, 7)), ecg_values=torch.randn(3, 12, 100)).loss.backward()
    own = [p for name, p in dual.named_parameters() if not name.startswith("text_encoder")]
    assert all(parameter.grad is not None for parameter in own)


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
def test_inverse_temperatures_end_at_100(tiny_encoder_config, text_encoder, loss_type):
    """Above, training becomes unstable (CLIP): logits stay, and nothing pulls further."""
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(
        tiny_encoder_config, text_encoder, loss_type=loss_type, statement_targets=True
    ).eval()
    inputs = {"input_ids": torch.randint(5, 60, (3, 7)), "ecg_values": torch.randn(3, 12, 100)}
    inputs |= {"statement_input_ids": torch.randint(5, 60, (4, 7)), "statement_targets": torch.randint(0, 2, (3, 4))}
    found = []
    for start in (math.log(100), 6.0):
        for scale in (dual.logit_scale, dual.statement_scale):
            torch.nn.init.constant_(scale, start)
        found.append(dual(**inputs))
    found[1].loss.backward()
    assert dual.logit_scale.grad == 0 and dual.statement_scale.grad == 0
    for name in ("loss", "logits_per_ecg", "statement_logits"):
        torch.testing.assert_close(found[1][name], found[0][name], rtol=1e-4, atol=1e-4)
    cosines = found[1].ecg_embeds @ found[1].text_embeds.T
    torch.testing.assert_close(found[1].logits_per_ecg, 100 * cosines, rtol=1e-4, atol=1e-4)
    torch.nn.init.constant_(dual.logit_scale, 4.0)
    dual.zero_grad()
    dual(**inputs).loss.backward()
    assert dual.logit_scale.grad != 0


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
def test_mixed_precision_leaves_the_loss_its_digits(tiny_encoder_config, text_encoder, loss_type):
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(
        tiny_encoder_config, text_encoder, loss_type=loss_type, projection_dim=32, statement_targets=True
    )
    torch.nn.init.constant_(dual.logit_scale, math.log(100))
    ecgs, texts = (torch.nn.functional.normalize(torch.randn(16, 32), dim=-1) for _ in range(2))
    given = {"statement_embeds": texts, "statement_targets": torch.randint(0, 2, (16, 16))}
    expected = dual.loss_of_embeds(ecgs, texts, **given)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(dual.loss_of_embeds(ecgs, texts, **given), expected)


def test_dual_encoder_learns_from_statements_alone_or_beside_reports(tiny_encoder_config, text_encoder, tmp_path):
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(
        tiny_encoder_config, text_encoder, projection_dim=16, statement_targets=True
    ).eval()
    assert dual.statement_scale.exp().item() == pytest.approx(10, rel=1e-3) and dual.statement_bias.item() == 0
    ecg, report = {"ecg_values": torch.randn(3, 12, 100)}, {"input_ids": torch.randint(5, 60, (3, 7))}
    texts = {
        "statement_input_ids": torch.randint(5, 60, (4, 5)),
        "statement_attention_mask": torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [1] * 5, [1, 0, 0, 0, 0]]),
    }
    held = texts | {"statement_targets": torch.randint(-1, 2, (3, 4)), "statement_weights": torch.ones(2, 4)}
    alone, beside, both = dual(**ecg, **held), dual(**ecg, **report), dual(**ecg, **report, **held)
    torch.testing.assert_close(alone.loss + beside.loss, both.loss)
    torch.testing.assert_close(alone.statement_logits, both.statement_logits)
    assert alone.text_embeds is None and alone.statement_logits.shape == (3, 4)
    assert dual(**ecg, **texts).loss is None
    with pytest.raises(ValueError, match="No text was given"):
        dual(**ecg)
    dual.save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path, trust_remote_code=True).eval()
    assert torch.equal(loaded(**ecg, **held).statement_logits, alone.statement_logits)
    plain = ECGTextDualEncoder.from_encoder_and_text_encoder(tiny_encoder_config, text_encoder, projection_dim=16)
    with pytest.raises(ValueError, match=r"statement_targets is False.*text: findings"):
        plain(**ecg, **held)


def test_statement_prototypes_add_their_loss_and_learn(tiny_encoder_config, text_encoder, tmp_path):
    torch.manual_seed(0)
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(
        tiny_encoder_config, text_encoder, projection_dim=16, statement_targets=True, statement_names=["a", "b", "c"]
    ).eval()
    prototypes = dual.get_statement_prototypes()
    torch.testing.assert_close(prototypes.norm(dim=-1), torch.ones(3))
    ecgs = torch.nn.functional.normalize(torch.randn(5, 16), dim=-1)
    texts = torch.nn.functional.normalize(torch.randn(3, 16), dim=-1)
    targets, weights = torch.randint(-1, 2, (5, 3)), torch.rand(2, 3)
    loss = dual.loss_of_embeds(ecgs, None, None, texts, targets, weights)
    by_words, by_prototypes = (
        statement_loss(dual.get_statement_logits(ecgs, each), targets, weights) for each in (texts, prototypes)
    )
    torch.testing.assert_close(loss, by_words + by_prototypes)
    # Two more texts that are only measured, with weights that keep the mean: the same loss.
    more = torch.cat((texts, texts[:2]))
    padded = torch.nn.functional.pad(targets, (0, 2), value=-1), torch.nn.functional.pad(weights * 5 / 3, (0, 2))
    torch.testing.assert_close(dual.loss_of_embeds(ecgs, None, None, more, *padded), loss)
    loss.backward()
    assert dual.statement_prototypes.grad.abs().sum() > 0
    dual.save_pretrained(tmp_path)
    loaded = ECGTextDualEncoder.from_pretrained(tmp_path)
    assert loaded.config.statement_names == ["a", "b", "c"]
    assert torch.equal(loaded.get_statement_prototypes(), prototypes)
    with pytest.raises(ValueError, match="statement_targets is False"):
        ECGTextDualEncoderConfig(statement_names=["a"])
    with pytest.raises(ValueError, match="by their wordings alone"):
        ECGTextDualEncoder.from_encoder_and_text_encoder(
            tiny_encoder_config, text_encoder, statement_targets=True
        ).get_statement_prototypes()


# ---------------------------------------------------------------------------------------------------------------------
# Building the ECG language model
# ---------------------------------------------------------------------------------------------------------------------


def llama(vocab_size=300, **fields):
    return LlamaConfig(
        **{
            "vocab_size": vocab_size,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "bos_token_id": 0,
            "eos_token_id": 1,
        }
        | fields
    )


@pytest.mark.parametrize("tied", [True, False])
def test_placeholder_takes_a_spare_row(tiny_encoder_config, tiny_tokenizer, tied):
    language_model = AutoModelForCausalLM.from_config(llama(320, tie_word_embeddings=tied))
    before = language_model.get_input_embeddings().weight.clone()
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, language_model, tokenizer=tiny_tokenizer
    )
    assert model.config.ecg_token_id == tiny_tokenizer.convert_tokens_to_ids("<|ecg|>") == len(tiny_tokenizer) - 1
    assert torch.equal(model.get_input_embeddings().weight, before)


@pytest.mark.parametrize("tied", [True, False])
def test_the_language_model_keeps_its_rows_where_none_is_spare(tiny_encoder_config, tiny_tokenizer, tied):
    rows = len(tiny_tokenizer)
    language_model = AutoModelForCausalLM.from_config(llama(rows, tie_word_embeddings=tied))
    before = [
        e.weight.clone() for e in (language_model.get_input_embeddings(), language_model.get_output_embeddings())
    ]
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, language_model, tokenizer=tiny_tokenizer
    )
    assert model.config.ecg_token_id == model.config.text_config.vocab_size == rows
    for embedding, old in zip((model.get_input_embeddings(), model.get_output_embeddings()), before, strict=True):
        assert torch.equal(embedding.weight, old)


def test_loaded_language_model_needs_its_tokenizer(tiny_encoder_config):
    with pytest.raises(ValueError, match="tokenizer is missing"):
        ECGLLMForConditionalGeneration.from_encoder_and_language_model(
            tiny_encoder_config, AutoModelForCausalLM.from_config(llama())
        )


def test_built_from_folders(encoder, text_encoder, tiny_tokenizer, tmp_path):
    language_model = AutoModelForCausalLM.from_config(llama())
    language_model.save_pretrained(tmp_path / "lm")
    tiny_tokenizer.save_pretrained(tmp_path / "lm")
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder)
    dual.save_pretrained(tmp_path / "dual")
    encoder.save_pretrained(tmp_path / "encoder")
    for folder in ("dual", "encoder"):
        model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(tmp_path / folder, tmp_path / "lm")
        assert_same_weights(model.ecg_encoder, encoder)
        kept = model.get_input_embeddings().weight[:300]
        assert torch.equal(kept, language_model.get_input_embeddings().weight)


def assert_same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())


def test_encoder_loads_from_whatever_holds_one(tiny_llm, text_encoder, tmp_path):
    model, _ = tiny_llm()
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(model.ecg_encoder, text_encoder)
    for holder, folder in ((model, tmp_path / "llm"), (dual, tmp_path / "dual"), (model.ecg_encoder, tmp_path / "e")):
        holder.save_pretrained(folder)
        loaded, info = ECGEncoder.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not info["mismatched_keys"]
        assert loaded.config.preprocessing_id == model.ecg_encoder.config.preprocessing_id
        assert_same_weights(loaded, model.ecg_encoder)


def test_placeholder_is_never_generated(tiny_llm, tmp_path):
    model, processor = tiny_llm(llama(320))  # with a row for it
    assert model.language_model.generation_config.suppress_tokens is None
    model.save_pretrained(tmp_path)
    loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.generation_config.suppress_tokens == [processor.ecg_token_id]
    with torch.no_grad():
        # A head that wants nothing but the placeholder
        loaded.get_output_embeddings().weight[processor.ecg_token_id] *= 100
    tokens = loaded.generate(**processor("Hello"), do_sample=True, max_new_tokens=20, min_new_tokens=20)
    assert processor.ecg_token_id not in tokens


def test_checkpoint_is_complete_as_remote_code(tiny_llm, tmp_path):
    model, _ = tiny_llm(trained_on="simulated ECGs")
    (tmp_path / "README.md").write_text("# mine\n", encoding="utf-8")
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"{part}_ecgllm.py" for part in ("configuration", "modeling", "processing", "pipeline")} <= names
    assert Path(tmp_path, "README.md").read_text(encoding="utf-8") == "# mine\n"
    (tmp_path / "README.md").unlink()
    model.save_pretrained(tmp_path)
    assert "simulated ECGs" in Path(tmp_path, "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("projector", ["linear", "mlp"])
@pytest.mark.parametrize("patches_per_token", [1, 3])
@pytest.mark.parametrize("summary", [False, True])
def test_projectors(tiny_llm, make_ecg, projector, patches_per_token, summary):
    settings = {"projector": projector, "patches_per_token": patches_per_token, "projector_summary": summary}
    model, processor = tiny_llm(**settings)
    inputs = processor("<|ecg|> <|ecg|>", [make_ecg(1.0), make_ecg(1.5)])
    # 5 and 8 patches
    expected = {1: 13, 3: 2 + 3}[patches_per_token]
    assert int((inputs["input_ids"] == processor.ecg_token_id).sum()) == expected
    assert tuple(model(**inputs).ecg_hidden_states.shape) == (expected, 32)


def test_summary_adds_the_mean_of_an_ecgs_own_patches_to_its_tokens(tiny_llm, make_ecg):
    model, processor = tiny_llm(patches_per_token=3, projector_summary=True)
    short, long = make_ecg(1.0, 1), make_ecg(4.0, 2)  # 5 and 20 patches
    names = ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths")
    both, alone = processor("<|ecg|> <|ecg|>", [short, long]), processor("<|ecg|>", [short])
    with torch.no_grad():
        found = model.get_ecg_features(**{name: both[name] for name in names})
        single = model.get_ecg_features(**{name: alone[name] for name in names})
        kept = {name: both[name] for name in ("ecg_mask", "ecg_lengths")}  # as a frozen encoder's outputs are cached
        cached = model.get_ecg_features(ecg_embeds=found.last_hidden_state[None], **kept)
        means = [found.last_hidden_state[row, :patches].mean(dim=0) for row, patches in enumerate((5, 20))]
        added = torch.cat([model.projector.summary(mean).expand(n, -1) for mean, n in zip(means, (2, 7), strict=True)])
        model.projector.summary.weight.zero_()
        without = model.get_ecg_features(**{name: both[name] for name in names})
    torch.testing.assert_close(found.pooler_output - without.pooler_output, added, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.pooler_output[:2], single.pooler_output, atol=1e-5, rtol=1e-4)
    assert torch.equal(cached.pooler_output, found.pooler_output)


def test_dtype_and_attention_are_set_for_all_parts(tiny_llm, make_ecg, tmp_path):
    model, processor = tiny_llm()
    model.save_pretrained(tmp_path)
    parts = {"text_config": "eager", "encoder_config": "sdpa"}
    loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16, attn_implementation=parts)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.language_model.config._attn_implementation == "eager"
    assert loaded.ecg_encoder.config._attn_implementation == "sdpa"
    assert loaded(**processor("<|ecg|>", [make_ecg()])).logits.dtype == torch.bfloat16


# ---------------------------------------------------------------------------------------------------------------------
# Reading ECGs
# ---------------------------------------------------------------------------------------------------------------------


def test_order_of_ecgs_matters(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    text, first, second = "The first is <|ecg|>, the second is <|ecg|>.", make_ecg(seed=1), make_ecg(seed=2)
    with torch.no_grad():
        one = model(**processor(text, [first, second])).logits[0, -1]
        other = model(**processor(text, [second, first])).logits[0, -1]
        assert torch.equal(one, model(**processor(text, [first, second])).logits[0, -1])
    assert not torch.allclose(one, other, atol=1e-5)


def test_right_padded_training_batch_equals_singles(tiny_llm, make_ecg):
    model, processor = tiny_llm(patches_per_token=3)
    texts = ["a <|ecg|> b", "<|ecg|> and <|ecg|> and <|ecg|> are three", "none at all"]
    ecgs = [[make_ecg(3.1, 1)], [make_ecg(1.0, 2), make_ecg(4.0, 3, leads=2), make_ecg(1.3, 4)], []]
    batch = processor(texts, ecgs, padding_side="right")
    with torch.no_grad():
        logits = model(**batch).logits
        for row, (text, own) in enumerate(zip(texts, ecgs, strict=True)):
            alone = model(**processor(text, own)).logits[0]
            torch.testing.assert_close(logits[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_ecg_features_follow_the_conventions(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    model.set_attn_implementation("eager")
    inputs = processor("<|ecg|> <|ecg|>", [make_ecg(1.0), make_ecg(2.0)])
    ecg_inputs = {k: inputs[k] for k in ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths")}
    features = model.get_ecg_features(**ecg_inputs, output_hidden_states=True, output_attentions=True)
    assert tuple(features.last_hidden_state.shape) == (2, 10, 32)
    assert tuple(features.pooler_output.shape) == (3 + 5, 32)
    assert len(features.hidden_states) == 3 and len(features.attentions) == 2
    assert isinstance(model.get_ecg_features(**ecg_inputs, return_dict=False), tuple)


def test_processor_and_model_count_alike_without_stem_padding(
    tiny_encoder_config, tiny_llm, tiny_tokenizer, make_ecg, tmp_path
):
    tiny_encoder_config.update({"stem_padding": "valid", "stem_strides": [1, 1], "patch_size": 16})
    model, processor = tiny_llm(patches_per_token=1)
    texts, ecgs = ["<|ecg|>?", "<|ecg|> <|ecg|>"], [[make_ecg(10.0)], [make_ecg(1.0, 1), make_ecg(5.13, 2)]]
    inputs = processor(texts, ecgs, padding=True)
    placed = (inputs["input_ids"] == model.config.ecg_token_id).sum(dim=1)
    assert placed.tolist() == [61, 5 + 30]
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    again = ECGProcessor.from_pretrained(tmp_path)
    again.check_model(model)
    with torch.no_grad():
        logits = model(**inputs).logits
        loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path).eval()
        assert torch.equal(loaded(**again(texts, ecgs, padding=True)).logits, logits)
        # Encoder outputs of one ECG without its length are all its own
        one = processor(texts[0], ecgs[0])
        embeds = model.ecg_encoder(one["ecg_values"][0]).last_hidden_state[None]
        ids = {name: one[name] for name in ("input_ids", "attention_mask")}
        expected = model(**one).logits
        torch.testing.assert_close(model(**ids, ecg_embeds=embeds).logits, expected, atol=1e-5, rtol=1e-4)
        values = model(**ids, ecg_values=one["ecg_values"]).logits
        torch.testing.assert_close(values, expected, atol=1e-5, rtol=1e-4)
    padded = ECGProcessor(processor.feature_extractor, tiny_tokenizer, samples_per_token=16)
    with pytest.raises(ValueError, match="takes 0 samples away, the model's takes 20"):
        padded.check_model(model)


def test_placeholders_must_fit_the_ecgs(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>?", [make_ecg(1.0)])
    inputs["input_ids"] = inputs["input_ids"][:, 1:]
    inputs["attention_mask"] = inputs["attention_mask"][:, 1:]
    with pytest.raises(ValueError, match=r"hold \[2\] ECG placeholder tokens .* give \[3\] tokens"):
        model(**inputs)


def test_ecg_of_one_prompt_is_never_read_by_another(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor(["<|ecg|> a", "<|ecg|> a"], [[make_ecg(1.0)], [make_ecg(2.0)]])
    # As many placeholders in all, three and five of them, but in the other rows
    inputs["ecg_values"] = inputs["ecg_values"].flip(0)
    inputs["ecg_lengths"] = inputs["ecg_lengths"].flip(0)
    with pytest.raises(ValueError, match=r"hold \[3, 5\] ECG placeholder tokens .* give \[5, 3\] tokens"):
        model(**inputs)


@pytest.mark.parametrize("generate", [False, True])
def test_placeholders_without_ecg_are_refused(tiny_llm, make_ecg, generate):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>?", [make_ecg(1.0)])
    text_only = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="3 ECG placeholder tokens and no ECG was given"):
        model.generate(**text_only) if generate else model(**text_only)


def test_other_preprocessing_is_refused(tiny_llm, tiny_tokenizer, make_ecg):
    model, _ = tiny_llm()
    other = ECGProcessor(ECGFeatureExtractor(scaling="zscore"), tiny_tokenizer, samples_per_token=40)
    inputs = other("<|ecg|>", [make_ecg()])
    for call in (model, model.generate):
        with pytest.raises(ValueError, match="prepared in another way"):
            call(**inputs)
    with pytest.raises(ValueError, match="scaling: 'zscore' instead of 'millivolt'"):
        other.check_model(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ecg_values": torch.zeros(1, 12, 100)}, r"expected \[batch, ecgs, leads, samples\]"),
        ({"ecg_embeds": torch.zeros(1, 1, 5, 32)}, "either ecg_values or ecg_embeds"),
        ({"inputs_embeds": torch.zeros(1, 3, 32)}, "either input_ids or inputs_embeds"),
    ],
)
def test_ambiguous_inputs_are_refused(tiny_llm, make_ecg, change, message):
    model, processor = tiny_llm()
    with pytest.raises(ValueError, match=message):
        model(**processor("<|ecg|>", [make_ecg(1.0)]) | change)


def test_loss_is_that_of_the_next_token(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>? yes", [make_ecg(1.0)])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == processor.ecg_token_id, -100)
    out = model(**inputs, labels=labels)
    expected = torch.nn.functional.cross_entropy(out.logits[0, :-1], labels[0, 1:])
    torch.testing.assert_close(out.loss, expected)


def test_batch_whose_ecgs_are_all_padding_is_text(tiny_llm):
    model, processor = tiny_llm()
    inputs = processor("Hello")
    padding = {
        "ecg_values": torch.zeros(1, 2, 12, 40),
        "ecg_mask": torch.zeros(1, 2, dtype=torch.bool),
        "lead_mask": torch.zeros(1, 2, 12, dtype=torch.bool),
        "ecg_lengths": torch.zeros(1, 2, dtype=torch.long),
    }
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs, **padding).logits, model(**inputs).logits)


def test_logits_to_keep(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>? yes", [make_ecg(1.0)])
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs, logits_to_keep=1).logits, model(**inputs).logits[:, -1:])


# ---------------------------------------------------------------------------------------------------------------------
# Conversations on a cache
# ---------------------------------------------------------------------------------------------------------------------

GREEDY = {"do_sample": False, "max_new_tokens": 4, "min_new_tokens": 4, "return_dict_in_generate": True}


def next_turn(processor, previous, text, ecgs=()):
    turn = processor(text, list(ecgs))
    turn["input_ids"] = torch.cat([previous.sequences, turn["input_ids"]], dim=1)
    turn["attention_mask"] = torch.ones_like(turn["input_ids"])
    return turn


def ecgs_of(processor, *ecgs):
    inputs = processor(" ".join(["<|ecg|>"] * len(ecgs)), list(ecgs))
    return {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}


def test_second_turn_of_text_continues_the_cache(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    first = model.generate(**processor("<|ecg|>\nIs there?", [make_ecg()]), **GREEDY)
    turn = next_turn(processor, first, "\nand now?")
    expected = model.generate(**turn, **ecgs_of(processor, make_ecg()), **GREEDY).sequences
    continued = model.generate(**turn, past_key_values=first.past_key_values, **GREEDY).sequences
    assert torch.equal(continued, expected)


def test_second_turn_with_another_ecg_continues_the_cache(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    before, after = make_ecg(seed=1), make_ecg(3.0, seed=2)
    first = model.generate(**processor("<|ecg|>\nIs there?", [before]), **GREEDY)
    turn = next_turn(processor, first, "\nand in <|ecg|>?", [after])
    both = ecgs_of(processor, before, after)
    expected = model.generate(**{**turn, **both}, **GREEDY)
    for ecg_inputs, message in ((both, "not in the cache yet"), ({}, "no ECG was given")):
        text = {name: turn[name] for name in ("input_ids", "attention_mask")}
        with pytest.raises(ValueError, match=message):
            model.generate(**text, **ecg_inputs, past_key_values=first.past_key_values, **GREEDY)
    continued = model.generate(**turn, past_key_values=first.past_key_values, **GREEDY)
    assert torch.equal(continued.sequences, expected.sequences)
