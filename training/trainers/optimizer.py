"""Muon, an optimizer that needs fewer steps than AdamW, for the matrices of a model, and AdamW for the rest.

In: a model and `TrainingArguments`. Out: one optimizer for Trainer, its scheduler and its checkpoints. Both halves are
torch's. Decided here: matrices are the weights of linear layers, except those tied to embeddings, whose rows learn
only when their token occurs; one learning rate serves both, as Muon's steps are scaled to the size of AdamW's.
Sources: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; the scale: Liu et al. 2025,
arXiv 2502.16982, section 2.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import TrainingArguments

from ...errors_ecgllm import ECGError


class MuonAdamW(torch.optim.Optimizer):
    """torch's Muon and AdamW as one optimizer.

    Args: matrices: groups of parameters [rows, columns] for Muon, others: groups for AdamW, each a mapping with
    "params" and "lr", "weight_decay"; adamw: further arguments of torch's AdamW.
    """

    def __init__(self, matrices: Iterable[dict[str, Any]], others: Iterable[dict[str, Any]], **adamw: Any):
        matrices, others = list(matrices), list(others)
        self._muon = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw")
        self._adamw = torch.optim.AdamW(others, **adamw)
        super().__init__([*self._muon.param_groups, *self._adamw.param_groups], {})
        self._share()

    def _share(self) -> None:
        """Let both halves have this optimizer's groups and state, which a scheduler changes and a checkpoint holds."""
        count = len(self._muon.param_groups)
        self._muon.param_groups, self._adamw.param_groups = self.param_groups[:count], self.param_groups[count:]
        self._muon.state = self._adamw.state = self.state

    def __getstate__(self) -> dict[str, Any]:
        # What pickle and deepcopy take; torch's own knows nothing of halves. Groups and state stay one thing.
        return super().__getstate__() | {"_muon": self._muon, "_adamw": self._adamw}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        self._muon.step()
        self._adamw.step()
        return loss


def muon(model: nn.Module, args: TrainingArguments, decayed: Callable[[nn.Module], Iterable[str]]) -> MuonAdamW:
    """The optimizer of a model's trainable parameters.

    decayed: names of the parameters with weight decay. Raises: ECGError where no linear layer is trainable.
    """
    decaying, matrices = set(decayed(model)), matrices_of(model)
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups.setdefault((id(parameter) in matrices, name in decaying), []).append(parameter)
    common = {"lr": args.learning_rate}
    made = {
        kind: [
            {"params": parameters, "weight_decay": args.weight_decay if decay else 0.0} | common
            for (own, decay), parameters in sorted(groups.items(), reverse=True)
            if own is kind
        ]
        for kind in (True, False)
    }
    if not made[True]:
        raise ECGError(
            f"{Path(args.output_dir).name}: optimizer muon is for the weights of linear layers, of which none learns; "
            "take adamw"
        )
    # Where everything else is frozen, an empty group stands for it.
    return MuonAdamW(
        made[True],
        made[False] or [{"params": [], "weight_decay": 0.0} | common],
        betas=(args.adam_beta1, args.adam_beta2),
        eps=args.adam_epsilon,
    )


def matrices_of(model: nn.Module) -> set[int]:
    """Ids of the parameters that Muon is for: the weights of linear layers that are no embeddings."""
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for module in model.modules():
        output = module.get_output_embeddings() if hasattr(module, "get_output_embeddings") else None
        if output is not None:
            embeddings.add(id(output.weight))
    linear = {id(module.weight) for module in model.modules() if isinstance(module, nn.Linear)}
    return linear - embeddings
