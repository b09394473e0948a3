"""Memory and operations of a training step, by formula, for a dry run.

In: a model (on any device, also "meta") and how many tokens a step has. Out: bytes and floating-point operations.
Decided here: formulas that a reader can check, with their source; they are estimates, right within a factor of two.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from ..trainers.optimizer import matrices_of

ACTIVATIONS_TEXT = (
    "activations: 17 x tokens x size x layers numbers, of 1 in checkpointed layers (Korthikanti et al., "
    "arXiv 2205.05198, without the attention matrix), and three sets of logits"
)


@dataclass
class Memory:
    """Bytes in one process. sharded: weights, gradients and optimizer states, which FSDP or DeepSpeed would divide."""

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        return self.sharded + self.activations

    @property
    def sharded(self) -> int:
        return self.weights + self.gradients + self.optimizer


@dataclass
class Part:
    """A transformer in a step. tokens: of the part of the batch that is worked off at once, padding left out.

    frozen_below: nothing before it is trainable, so that a frozen part needs no backward pass.
    """

    model: PreTrainedModel
    tokens: int
    frozen_below: bool = True
    output_tokens: int = 0

    @property
    def learns(self) -> bool:
        return any(parameter.requires_grad for parameter in self.model.parameters())

    @property
    def has_graph(self) -> bool:
        return self.learns or not self.frozen_below

    def flops(self) -> float:
        """Forward 2 operations per weight and token, backward 2 for the activations and 2 for weights that learn
        (Kaplan et al., arXiv 2001.08361, section 2.1, without the attention's own term); embeddings are look-ups."""
        embeddings = {id(module.weight) for module in self.model.modules() if isinstance(module, torch.nn.Embedding)}
        output = self._output()
        if output is not None:
            embeddings.add(id(output.weight))
        work = 0.0
        for parameter in self.model.parameters():
            if id(parameter) not in embeddings:
                work += (
                    (6 if parameter.requires_grad else 4 if self.has_graph else 2) * parameter.numel() * self.tokens
                )
        if output is not None:
            work += (6 if output.weight.requires_grad else 4) * output.weight.numel() * self.output_tokens
        return work

    def activations(self, bytes_per_number: int, checkpointed: bool) -> int:
        """Bytes kept for the backward pass; 34 bytes a token, size and layer at 2 bytes a number are 17 numbers."""
        if not self.has_graph:
            return 0
        config = self.model.config.get_text_config()
        layers, size = config.num_hidden_layers, config.hidden_size
        numbers = self.tokens * size * ((layers + 17) if checkpointed else 17 * layers)
        # Logits, their float32 copy and its gradient.
        logits = 3 * 4 * self.output_tokens * getattr(config, "vocab_size", 0)
        return numbers * bytes_per_number + logits

    def _output(self) -> torch.nn.Module | None:
        return self.model.get_output_embeddings() if hasattr(self.model, "get_output_embeddings") else None


def memory_of(
    model: torch.nn.Module,
    parts: list[Part],
    bytes_per_number: int,
    checkpointed: bool,
    optimizer: str = "adamw",
) -> Memory:
    """A gradient and two moments for every trainable number, each of the weight's type; one moment under Muon."""
    weights = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    learning = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    activations = sum(part.activations(bytes_per_number, checkpointed) for part in parts)
    with_one = matrices_of(model) if optimizer == "muon" else ()
    moments = sum(
        (1 if id(p) in with_one else 2) * p.numel() * p.element_size() for p in model.parameters() if p.requires_grad
    )
    return Memory(weights, learning, moments, activations)


def measured_rate(seconds: float = 0.3) -> float:
    """Operations per second of a large matrix product on this machine's training device (bf16 on a GPU)."""
    gpu = torch.cuda.is_available()
    device, dtype, size = ("cuda", torch.bfloat16, 4096) if gpu else ("cpu", torch.float32, 1024)
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    a @ b
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        a @ b
        if gpu:
            torch.cuda.synchronize()
        count += 1
    return 2 * size**3 * count / (time.perf_counter() - started)


def text_of_bytes(count: float) -> str:
    """1536 -> "1.5 kB"; powers of 1000, as disks and memory are sold."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.3g} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def text_of_seconds(seconds: float) -> str:
    """75 -> "1 min 15 s"."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    if seconds < 2 * 86400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.1f} days"
