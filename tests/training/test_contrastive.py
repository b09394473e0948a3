"""Contrastive losses against references, and a dual encoder that learns by them, on tiny random weights."""

import math

import pytest
import torch
from transformers import AutoModel

from ecgllm import ECGTextDualEncoder
from ecgllm.training.contrastive import ContrastiveModel, contrastive_loss, statement_loss

from ..launching import launch_all


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
from ecgllm.training.contrastive import contrastive_loss
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


STATEMENTS = ("a", "b", "c", "d")


def learner(encoder, text_encoder, statements=STATEMENTS, **fields):
    model = ContrastiveModel.from_encoder_and_text_encoder(encoder, text_encoder, **fields)
    if statements:
        model.learn_statements(statements)
    return model.eval()


def make_inputs():
    return {"input_ids": torch.randint(5, 60, (3, 7)), "ecg_values": torch.randn(3, 12, 100)}


def statement_inputs():
    return {
        "statement_input_ids": torch.randint(5, 60, (4, 5)),
        "statement_attention_mask": torch.tensor([[1] * 5, [1] * 3 + [0] * 2, [1] * 5, [1, 0, 0, 0, 0]]),
        "statement_targets": torch.randint(0, 2, (3, 4)),
        "statement_weights": torch.ones(2, 4),
    }


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
def test_all_that_learns_gets_a_gradient(tiny_encoder_config, text_encoder, loss_type):
    for statements in ((), STATEMENTS):
        model = learner(tiny_encoder_config, text_encoder, statements, loss_type=loss_type)
        model(**make_inputs(), **(statement_inputs() if statements else {})).loss.backward()
        own = {name: p for name, p in model.named_parameters() if not name.startswith("text_encoder")}
        assert all(parameter.grad is not None for parameter in own.values())
        assert ("statement_scale" in own) == bool(statements)
        model.zero_grad()


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
def test_inverse_temperatures_end_at_100(tiny_encoder_config, text_encoder, loss_type):
    """Above, training becomes unstable (CLIP): the loss stays, and nothing pulls further."""
    model = learner(tiny_encoder_config, text_encoder, loss_type=loss_type)
    inputs = make_inputs() | statement_inputs()
    found = []
    for start in (math.log(100), 6.0):
        for scale in (model.logit_scale, model.statement_scale):
            torch.nn.init.constant_(scale, start)
        found.append(model(**inputs).loss)
    found[1].backward()
    assert model.logit_scale.grad == 0 and model.statement_scale.grad == 0
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-4)
    torch.nn.init.constant_(model.logit_scale, 4.0)
    model.zero_grad()
    model(**inputs).loss.backward()
    assert model.logit_scale.grad != 0


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
def test_mixed_precision_leaves_the_loss_its_digits(tiny_encoder_config, text_encoder, loss_type):
    model = learner(tiny_encoder_config, text_encoder, ["s"] * 16, loss_type=loss_type, projection_dim=32)
    torch.nn.init.constant_(model.logit_scale, math.log(100))
    ecgs, texts = (torch.nn.functional.normalize(torch.randn(16, 32), dim=-1) for _ in range(2))
    given = {"statement_embeds": texts, "statement_targets": torch.randint(0, 2, (16, 16))}
    expected = model.loss_of_embeds(ecgs, texts, **given)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model.loss_of_embeds(ecgs, texts, **given), expected)


def test_reports_and_statements_are_learned_from_alone_or_beside_each_other(tiny_encoder_config, text_encoder):
    model = learner(tiny_encoder_config, text_encoder)
    assert model.statement_scale.exp().item() == pytest.approx(10, rel=1e-3) and model.statement_bias.item() == 0
    given, held = make_inputs(), statement_inputs()
    ecg = {"ecg_values": given["ecg_values"]}
    alone, beside, both = model(**ecg, **held), model(**given), model(**given, **held)
    torch.testing.assert_close(alone.loss + beside.loss, both.loss)
    assert alone.text_embeds is None and beside.statement_embeds is None and both.statement_embeds.shape[0] == 4


def test_a_frozen_text_encoder_reads_each_statement_once(tiny_encoder_config, text_encoder):
    given, held = make_inputs(), statement_inputs()
    learning = learner(tiny_encoder_config, text_encoder)
    frozen = learner(learning.ecg_encoder, learning.text_encoder)
    frozen.load_state_dict(learning.state_dict())
    expected = learning(**given, **held)
    frozen.text_encoder.requires_grad_(False)
    read = []
    frozen.text_encoder.register_forward_hook(lambda *_: read.append(_[-1]))
    # As another batch would have them: in another order, and with other padding.
    order = torch.tensor([2, 0, 3, 1])
    more = {
        name: torch.nn.functional.pad(held[name], (0, 2))[order]
        for name in ("statement_input_ids", "statement_attention_mask")
    }
    for again in (False, True):
        torch.testing.assert_close(frozen(**given, **held).statement_embeds, expected.statement_embeds)
        found = frozen(**given, **held | more).statement_embeds
        torch.testing.assert_close(found, expected.statement_embeds[order])
        assert len(read) == (5 if again else 3)  # the statements once; reports, of which there is no end, each time
    frozen(**given, **held).loss.backward()
    assert frozen.text_projection.weight.grad is not None and expected.loss.isfinite()


def test_vectors_of_statements_add_their_loss_and_learn(tiny_encoder_config, text_encoder):
    torch.manual_seed(0)
    model = learner(tiny_encoder_config, text_encoder, STATEMENTS[:3], projection_dim=16)
    ecgs, texts = (torch.nn.functional.normalize(torch.randn(n, 16), dim=-1) for n in (5, 3))
    targets, weights = torch.randint(-1, 2, (5, 3)), torch.rand(2, 3)
    loss = model.loss_of_embeds(ecgs, None, None, texts, targets, weights)
    vectors = torch.nn.functional.normalize(model.statement_prototypes, dim=-1)
    by_words, by_vectors = (
        statement_loss(model.statement_logits(ecgs, each), targets, weights) for each in (texts, vectors)
    )
    torch.testing.assert_close(loss, by_words + by_vectors)
    # Two more texts that are only measured, with weights that keep the mean: the same loss.
    more = torch.cat((texts, texts[:2]))
    padded = torch.nn.functional.pad(targets, (0, 2), value=-1), torch.nn.functional.pad(weights * 5 / 3, (0, 2))
    torch.testing.assert_close(model.loss_of_embeds(ecgs, None, None, more, *padded), loss)
    loss.backward()
    assert model.statement_prototypes.grad.abs().sum() > 0


@pytest.mark.parametrize("loss_type", ["infonce", "sigmoid"])
@pytest.mark.parametrize("statements", [(), STATEMENTS], ids=["reports", "statements"])
def test_what_came_of_it_is_a_dual_encoder_without_what_training_needs(
    tiny_encoder_config, text_encoder, loss_type, statements, tmp_path
):
    """Its logits are those of statements, where these were learned, which the sigmoid makes a probability."""
    model = learner(tiny_encoder_config, text_encoder, statements, loss_type=loss_type, projection_dim=16)
    torch.nn.init.constant_(model.logit_scale, 1.5)
    if statements:
        torch.nn.init.constant_(model.statement_scale, 0.5)
        torch.nn.init.constant_(model.statement_bias, -0.7)
    elif loss_type == "sigmoid":
        torch.nn.init.constant_(model.logit_bias, -3.0)
    model.dual_encoder().save_pretrained(tmp_path)
    loaded = AutoModel.from_pretrained(tmp_path).eval()
    assert type(loaded) is ECGTextDualEncoder
    assert loaded.config.loss_type == ("sigmoid" if statements else loss_type)
    assert not [name for name in loaded.state_dict() if name.startswith("statement_")]
    inputs = make_inputs()
    with torch.no_grad():
        found, expected = loaded(**inputs), model(**inputs)
        similarity = expected.ecg_embeds @ expected.text_embeds.T
        if statements:
            logits = model.statement_logits(expected.ecg_embeds, expected.text_embeds)
        else:
            logits = math.exp(1.5) * similarity + (-3.0 if loss_type == "sigmoid" else 0.0)
    torch.testing.assert_close(found.ecg_embeds, expected.ecg_embeds)
    torch.testing.assert_close(found.text_embeds, expected.text_embeds)
    torch.testing.assert_close(found.logits_per_ecg, logits)
    own = {name: value for name, value in loaded.state_dict().items() if not name.startswith("logit_")}
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in own.items())
