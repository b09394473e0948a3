"""A contrastive step whose memory does not grow with the batch: gradient caching.

In: a dual encoder, a batch, the size of a chunk. Out: the loss, and gradients in the parameters, equal to those of one
pass over the whole batch. Every embedding is computed once without a graph; the loss' gradient with respect to the
embeddings is kept; then every chunk is run again with a graph and takes its part of that gradient back. It needs the
memory of one chunk, and the time of about one forward pass more. Source: Gao et al. 2021 (GradCache, arXiv
2101.06983). Decided here: a chunk is run again with the same random numbers, so that dropout is the same; and
gradients are averaged over processes here, once, without DDP's wrapper, which expects a forward pass before each
backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from ...encoder_ecgllm import check_preprocessing
from ..contrastive import ContrastiveModel

_BUCKET = 2**24  # elements whose gradients are averaged in one message


@dataclass(frozen=True, eq=False)
class _Tower:
    """The embedding of one kind of input: the encoder's method and its arguments, each [examples, ...]."""

    embed: Callable[..., torch.Tensor]
    inputs: dict[str, torch.Tensor]

    def chunks(self, size: int) -> Iterator[dict[str, torch.Tensor]]:
        count = len(next(iter(self.inputs.values())))
        for start in range(0, count, size):
            yield {name: value[start : start + size] for name, value in self.inputs.items()}


def cached_step(
    model: ContrastiveModel,
    inputs: dict[str, torch.Tensor],
    chunk: int,
    precision: Callable[[], AbstractContextManager] = nullcontext,
) -> torch.Tensor:
    """Loss of a batch; its gradients are added to `grad` of the parameters, averaged over all processes.

    Args: inputs: as of `ContrastiveModel.forward`. chunk: how many ECGs, reports or statements are embedded at once
        with a graph. precision: context of a forward pass, such as autocast.
    Returns: the loss of this process' ECGs, without a graph.
    """
    check_preprocessing(model.config.encoder_config, inputs.get("preprocessing_id"))
    towers = _towers(model, inputs)
    states: list[_RandomState] = []
    leaves: dict[str, torch.Tensor] = {}
    with torch.no_grad():
        for name, tower in towers.items():
            embeds = []
            for part in tower.chunks(chunk):
                states.append(_RandomState(model.device))
                # One context for each: autocast keeps weights that were cast without a graph until it ends.
                with precision():
                    embeds.append(tower.embed(**part))
            leaves[name] = torch.cat(embeds)
    for leaf in leaves.values():
        leaf.requires_grad_()
    kept = ("report_ids", "statement_targets", "statement_weights")
    with precision():
        loss = model.loss_of_embeds(**leaves, **{name: inputs[name] for name in kept if name in inputs})
    loss.backward()
    remaining = iter(states)
    for name, tower in towers.items():
        parts = zip(tower.chunks(chunk), leaves[name].grad.split(chunk), strict=True)
        for part, gradient in parts:
            next(remaining).restore()
            with precision():
                embeds = tower.embed(**part)
            if embeds.requires_grad:
                embeds.backward(gradient)
    _average_gradients(model)
    return loss.detach()


def _towers(model: ContrastiveModel, inputs: dict[str, torch.Tensor]) -> dict[str, _Tower]:
    def given(**names: str) -> dict[str, torch.Tensor]:
        return {argument: inputs[name] for argument, name in names.items() if inputs.get(name) is not None}

    ecgs = given(ecg_values="ecg_values", lead_mask="lead_mask", ecg_lengths="ecg_lengths")
    towers = {"ecg_embeds": _Tower(model.get_ecg_embeds, ecgs)}
    for name, prefix in (("text_embeds", ""), ("statement_embeds", "statement_")):
        texts = given(input_ids=f"{prefix}input_ids", attention_mask=f"{prefix}attention_mask")
        if texts:
            towers[name] = _Tower(model.get_text_embeds, texts)
    return towers


class _RandomState:
    """The state of the random generators that dropout uses, on the CPU and on the model's device."""

    def __init__(self, device: torch.device):
        self._cpu = torch.get_rng_state()
        self._device = device
        self._module = None if device.type == "cpu" else torch.get_device_module(device)
        self._own = None if self._module is None else self._module.get_rng_state(device)

    def restore(self) -> None:
        torch.set_rng_state(self._cpu)
        if self._module is not None:
            self._module.set_rng_state(self._own, self._device)


def _average_gradients(model: torch.nn.Module) -> None:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    world_size = torch.distributed.get_world_size()
    bucket: list[torch.Tensor] = []

    def send() -> None:
        flat = torch.cat([gradient.reshape(-1) for gradient in bucket])
        torch.distributed.all_reduce(flat)
        flat /= world_size
        for gradient, mean in zip(bucket, flat.split([each.numel() for each in bucket]), strict=True):
            gradient.copy_(mean.view_as(gradient))
        bucket.clear()

    for parameter in model.parameters():
        gradient = parameter.grad
        if gradient is None:
            continue
        if bucket and bucket[0].dtype != gradient.dtype:
            send()
        bucket.append(gradient)
        if sum(each.numel() for each in bucket) >= _BUCKET:
            send()
    if bucket:
        send()
