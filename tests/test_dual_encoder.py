"""Contrastive losses against references, and the dual encoder on tiny random weights."""

import math

import pytest
import torch
from transformers import AutoModel

from ecgllm import (
    ECGTextDualEncoder,
    ECGTextDualEncoderConfig,
)
from ecgllm.losses_ecgllm import contrastive_loss, statement_loss

from .launching import launch_all


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
