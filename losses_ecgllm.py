"""Contrastive losses, and the gather over processes that their negatives need.

In: unit vectors of this process' ECGs and texts. Out: the loss; the mean over processes of equally many pairs is the
loss of all of them.
"""

from typing import Any

import torch
from torch import nn


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
    """Sigmoid loss of ECGs against statements, each of which holds of an ECG, does not hold, or is left open.

    Args:
        logits: [ecgs, statements]. targets: int [ecgs, statements], 1 where the statement holds, 0 where it does not,
        -1 where nobody knows: no loss, no gradient. weights: [2, statements], of targets 0 (first row) and 1; None: 1.
    Returns: the sum over statements divided by their number, the mean over ECGs. Nothing is divided by the number of
        known targets, so that the mean over processes of equally many ECGs is the loss of all. Source: the pairwise
        sigmoid loss of arXiv 2303.15343, with more than one positive per ECG.
    """
    sign = targets.clamp(min=0).to(logits.dtype) * 2 - 1
    losses = -nn.functional.logsigmoid(sign * logits)
    if weights is not None:
        losses = losses * torch.where(targets == 1, weights[1], weights[0])
    return (losses * (targets >= 0)).mean()


__all__ = ["contrastive_loss", "gather_with_gradient", "statement_loss"]
