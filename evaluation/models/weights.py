"""What tells a loaded model from others, and what it says that it learned from."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ...weights_ecgllm import tensors_sha256


class WithWeights:
    """A model of the protocol around `self.model`, a transformers model."""

    model: Any

    @cached_property
    def identity(self) -> str:
        """16 hex digits of all its tensors."""
        return tensors_sha256(sorted(self.model.state_dict().items()))[:16]

    @property
    def trained_on(self) -> str | None:
        """What the checkpoint says of its data; None where it says nothing."""
        return getattr(self.model.config, "trained_on", None)
