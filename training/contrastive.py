"""Contrastive pre-training: its losses, the gather over processes, and statements.

In: a batch of ECGs with reports, with statements that each ECG is compared with, or with both. Out: the loss. With
equally many pairs per process, the mean over processes is the loss of all pairs. The dual encoder itself
(`dual_encoder_ecgllm`) has no loss. `ContrastiveModel` is the form in which it is trained, with the temperature, bias
and vectors of statements that only training needs; `ContrastiveModel.dual_encoder` returns the trained dual encoder.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from ..configuration_ecgllm import ECGTextDualEncoderConfig
from ..encoder_ecgllm import check_preprocessing
from ..modeling_ecgllm import ECGTextDualEncoder

_STATEMENT_SCALE = 2.3026  # ln(10), as the sigmoid loss starts


class _Gather(torch.autograd.Function):
    """All processes' tensors of one shape; the gradient of each is the sum over the processes that used it."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts, dim=0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(gradient)
        return gradient.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """Concatenate a tensor, of the same shape in all processes, along its first dimension, keeping gradients."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    return tensor if torch.distributed.get_world_size() == 1 else _Gather.apply(tensor)


def contrastive_loss(
    ecg_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor | None,
    loss_type: str,
    report_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """Contrastive loss of this process' pairs against the pairs of all processes.

    Args:
        ecg_embeds, text_embeds: [pairs, dim], unit length. logit_scale: inverse temperature. logit_bias: for
        "sigmoid" only.
        report_ids: int [pairs]; pairs with the same id share one report and are positives of each other, not negatives
            (many ECGs have word-for-word the same report). None: every report is its own.
    Returns: the mean over this process' pairs. With equal batches per process, the mean over processes (what DDP takes
        of the gradients) is the loss of the global batch. Sources: arXiv 2103.00020, arXiv 2303.15343.
    """
    all_ecg, all_text = gather_with_gradient(ecg_embeds), gather_with_gradient(text_embeds)
    if report_ids is None:
        rank = torch.distributed.get_rank() if all_ecg.shape[0] != ecg_embeds.shape[0] else 0
        own = torch.arange(ecg_embeds.shape[0], device=ecg_embeds.device) + rank * ecg_embeds.shape[0]
        positive = own[:, None] == torch.arange(all_ecg.shape[0], device=ecg_embeds.device)
    else:
        positive = report_ids[:, None] == gather_with_gradient(report_ids)[None]
    ecg_logits = logit_scale * ecg_embeds @ all_text.T
    text_logits = logit_scale * text_embeds @ all_ecg.T
    if loss_type == "sigmoid":
        sign = positive.to(ecg_logits.dtype) * 2 - 1
        return -nn.functional.logsigmoid(sign * (ecg_logits + logit_bias)).sum(dim=1).mean()
    target = positive.to(ecg_logits.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    per_ecg = nn.functional.cross_entropy(ecg_logits, target)
    per_text = nn.functional.cross_entropy(text_logits, target)
    return (per_ecg + per_text) / 2


def statement_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Sigmoid loss of ECGs and statements. A statement holds for an ECG, does not hold, or is unknown.

    Args:
        logits: [ecgs, statements]. targets: int [ecgs, statements], 1 where the statement holds, 0 where it does not,
            -1 where it is unknown: no loss, no gradient. weights: [2, statements], of targets 0 (first row) and 1;
            None: 1.
    Returns: the sum over statements divided by their number, the mean over ECGs. Nothing is divided by the number of
        known targets, so that the mean over processes of equally many ECGs is the loss of all. Source: the pairwise
        sigmoid loss of arXiv 2303.15343, with more than one positive per ECG.
    """
    sign = targets.clamp(min=0).to(logits.dtype) * 2 - 1
    losses = -nn.functional.logsigmoid(sign * logits)
    if weights is not None:
        losses = losses * torch.where(targets == 1, weights[1], weights[0])
    return (losses * (targets >= 0)).mean()


@dataclass
class ContrastiveOutput(ModelOutput):
    """loss; ecg_embeds, text_embeds and statement_embeds [.., projection_dim], unit length; None where there was no
    such input."""

    loss: torch.Tensor | None = None
    ecg_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    statement_embeds: torch.Tensor | None = None


class ContrastiveModel(ECGTextDualEncoder):
    """A dual encoder that learns from reports, from statements, or from both.

    Statements have a temperature and a bias of their own, and each a learned vector beside its paraphrases: an
    untrained text encoder needs hundreds of steps to distinguish statements, and until then gives the ECG encoder
    nothing to learn from.
    """

    def __init__(self, config: ECGTextDualEncoderConfig):
        super().__init__(config)
        # A parameter that no loss uses would stop distributed training.
        for name in ("statement_scale", "statement_bias", "statement_prototypes"):
            self.register_parameter(name, None)
        self._encoded: dict[tuple[int, ...], torch.Tensor] = {}  # token ids -> a statement's mean, of a frozen encoder

    def learn_statements(self, names: Sequence[str]) -> None:
        """Add the learned parameters of statements, in the order of their targets."""
        device = self.logit_scale.device
        self.statement_scale = nn.Parameter(torch.tensor(_STATEMENT_SCALE, device=device))
        self.statement_bias = nn.Parameter(torch.zeros((), device=device))
        vectors = torch.randn(len(names), self.config.projection_dim, device=device)
        self.statement_prototypes = nn.Parameter(vectors * self.config.initializer_range)

    def dual_encoder(self) -> ECGTextDualEncoder:
        """The dual encoder, of the same parts.

        Where statements were learned, its temperature and bias are theirs: a logit is then how likely a statement
        holds of an ECG, yes and no being equally frequent, as each statement was weighted. Those of reports would say
        how likely one report of a batch belongs to an ECG, which nobody asks of a text.
        """
        kept = {key: getattr(self.config, key) for key in ("projection_dim", "loss_type", "initializer_range")}
        parts = {name: getattr(self, name) for name in ("ecg_projection", "text_projection", "logit_scale")}
        if self.statement_scale is not None:
            kept["loss_type"] = "sigmoid"  # of which `statement_loss` is one
            parts |= {"logit_scale": self.statement_scale, "logit_bias": self.statement_bias}
        elif self.logit_bias is not None:
            parts["logit_bias"] = self.logit_bias
        dual = ECGTextDualEncoder.from_encoder_and_text_encoder(self.ecg_encoder, self.text_encoder, **kept)
        for name, part in parts.items():
            setattr(dual, name, part)
        return dual

    def statement_logits(self, ecg_embeds: torch.Tensor, statement_embeds: torch.Tensor) -> torch.Tensor:
        """Logits [ecgs, statements] that a statement holds of an ECG, from unit vectors [.., projection_dim]."""
        return self.temperature(self.statement_scale) * ecg_embeds @ statement_embeds.T + self.statement_bias

    def _statement_embeds(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Unit vectors [statements, projection_dim]. They are a few hundred sentences that come again and again: what
        a frozen text encoder makes of them is kept. Reports, of which there is no end, are not."""
        if any(parameter.requires_grad for parameter in self.text_encoder.parameters()):
            return self.get_text_embeds(input_ids, attention_mask)
        texts = [
            tuple(ids[mask.bool()].tolist()) for ids, mask in zip(input_ids.cpu(), attention_mask.cpu(), strict=True)
        ]
        new = [place for place, text in enumerate(texts) if text not in self._encoded]
        if new:
            with torch.no_grad():
                encoded = self.text_encoder(input_ids=input_ids[new], attention_mask=attention_mask[new])
                means = self._mean(encoded.last_hidden_state, attention_mask[new])
            self._encoded |= {texts[place]: mean for place, mean in zip(new, means, strict=True)}
        means = torch.stack([self._encoded[text] for text in texts])
        return nn.functional.normalize(self.text_projection(means), dim=-1)

    def loss_of_embeds(
        self,
        ecg_embeds: torch.Tensor,
        text_embeds: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        statement_embeds: torch.Tensor | None = None,
        statement_targets: torch.Tensor | None = None,
        statement_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss as a function of unit vectors [.., projection_dim] alone: `contrastive_loss` of ECGs and their
        reports, plus `statement_loss` of ECGs against statements and against their vectors, each where it is given.
        """
        # A cosine times a scale of up to 100 keeps two digits in bfloat16, in which mixed precision would compute it.
        with torch.autocast(ecg_embeds.device.type, enabled=False):
            ecg_embeds, text_embeds, statement_embeds = map(
                _at_least_float32, (ecg_embeds, text_embeds, statement_embeds)
            )
            loss = ecg_embeds.new_zeros(())
            if text_embeds is not None:
                scale = self.temperature(self.logit_scale)
                loss = loss + contrastive_loss(
                    ecg_embeds, text_embeds, scale, self.logit_bias, self.config.loss_type, report_ids
                )
            if statement_targets is not None:
                vectors = _at_least_float32(nn.functional.normalize(self.statement_prototypes, dim=-1))
                for embeds in (statement_embeds, vectors):
                    logits = self.statement_logits(ecg_embeds, embeds)
                    # Further texts, which are only measured, have no target, and no vector.
                    logits = nn.functional.pad(logits, (0, statement_targets.shape[1] - logits.shape[1]))
                    loss = loss + statement_loss(logits, statement_targets, statement_weights)
            return loss

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        ecg_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        statement_input_ids: torch.Tensor | None = None,
        statement_attention_mask: torch.Tensor | None = None,
        **targets: torch.Tensor,
    ) -> ContrastiveOutput:
        """Embed ECGs [ecgs, leads, samples] with their reports [ecgs, tokens], with statements [statements, tokens]
        that every ECG is compared with, or with both; targets: as for `loss_of_embeds`.
        """
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        ecgs = self.get_ecg_embeds(ecg_values, lead_mask, ecg_lengths)
        texts = None if input_ids is None else self.get_text_embeds(input_ids, attention_mask)
        statements = None
        if statement_input_ids is not None:
            statements = self._statement_embeds(statement_input_ids, statement_attention_mask)
        loss = self.loss_of_embeds(ecgs, texts, report_ids, statements, **targets)
        return ContrastiveOutput(loss=loss, ecg_embeds=ecgs, text_embeds=texts, statement_embeds=statements)


def _at_least_float32(embeds: torch.Tensor | None) -> torch.Tensor | None:
    return embeds.float() if embeds is not None and embeds.dtype in (torch.bfloat16, torch.float16) else embeds
