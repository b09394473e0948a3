"""Encoder tokens -> tokens of the language model: `ECGProjector`, and its form with a summary."""

import torch
from torch import nn
from transformers.activations import ACT2FN

from .configuration_ecgllm import ECGLLMConfig, count_tokens
from .errors_ecgllm import ECGError


class ECGProjector(nn.Module):
    """Encoder tokens to the language model's embedding size: linear (the paper) or a two-layer MLP.

    `patches_per_token` neighbouring patches are joined by concatenation first: [ecgs, patches, size] ->
    [ecgs, ceil(patches / k), lm size].
    """

    def __init__(self, config: ECGLLMConfig, text_size: int):
        super().__init__()
        self.patches_per_token = config.patches_per_token
        in_size = config.encoder_config.hidden_size * config.patches_per_token
        if config.projector_type == "linear":
            self.layers = nn.Sequential(nn.Linear(in_size, text_size))
        else:
            hidden_size = config.projector_hidden_size or text_size
            self.layers = nn.Sequential(
                nn.Linear(in_size, hidden_size), ACT2FN[config.projector_hidden_act], nn.Linear(hidden_size, text_size)
            )

    def forward(self, patches: torch.Tensor, num_patches: torch.Tensor | None = None) -> torch.Tensor:
        """Args: num_patches: int [ecgs], how many are an ECG's own; all, if None."""
        patches = patches.to(self.layers[0].weight.dtype)
        tokens = count_tokens(patches.shape[1], self.patches_per_token)
        padded = nn.functional.pad(patches, (0, 0, 0, tokens * self.patches_per_token - patches.shape[1]))
        return self.layers(padded.unflatten(1, (tokens, self.patches_per_token)).flatten(2))

    @torch.no_grad()
    def start_at_norm(self, norm: float, patches: torch.Tensor, num_patches: torch.Tensor) -> None:
        """Shift and scale what comes out: the tokens of these ECGs have a mean of zero, and the mean norm `norm`.

        As it is initialised, a linear layer makes tokens whose norm has nothing to do with that of word embeddings,
        around a mean that is the same for all ECGs: a frozen language model hardly tells one from another then.

        Args: patches [ecgs, patches, size], num_patches int [ecgs], as for `forward`.
        Raises: ECGError where all tokens are alike, which no factor changes.
        """
        tokens = self(patches, num_patches)
        counts = (num_patches + self.patches_per_token - 1) // self.patches_per_token
        own = torch.arange(tokens.shape[1], device=tokens.device) < counts.to(tokens.device)[:, None]
        tokens = tokens[own].double()
        mean = tokens.mean(dim=0)
        spread = (tokens - mean).norm(dim=1).mean()
        if not spread > 0:
            raise ECGError(
                f"The {len(tokens)} tokens that the projector makes of these ECGs are all alike, so that they cannot "
                "be scaled; take more ECGs, or leave the projector as it is initialised (projector.start: random)."
            )
        factor = norm / spread
        last = self.layers[-1]
        last.bias.copy_((last.bias - mean) * factor)
        for weight in self._last_weights():
            weight.mul_(factor)

    def _last_weights(self) -> list[torch.Tensor]:
        """Weights that what comes out is linear in."""
        return [self.layers[-1].weight]


class ECGSummaryProjector(ECGProjector):
    """A projector whose tokens also get the mean of all patches, by a linear layer of its own."""

    def __init__(self, config: ECGLLMConfig, text_size: int):
        super().__init__(config, text_size)
        self.summary = nn.Linear(config.encoder_config.hidden_size, text_size, bias=False)

    def forward(self, patches: torch.Tensor, num_patches: torch.Tensor | None = None) -> torch.Tensor:
        patches = patches.to(self.layers[0].weight.dtype)
        if num_patches is None:
            mean = patches.mean(dim=1)
        else:
            own = torch.arange(patches.shape[1], device=patches.device) < num_patches[:, None]
            mean = (patches * own[..., None]).sum(dim=1) / num_patches[:, None].clamp(min=1).to(patches.dtype)
        return super().forward(patches) + self.summary(mean)[:, None]

    def _last_weights(self) -> list[torch.Tensor]:
        return [*super()._last_weights(), self.summary.weight]


def new_projector(config: ECGLLMConfig, text_size: int) -> ECGProjector:
    """The untrained projector of a configuration. Args: text_size: of the language model's input embeddings."""
    return (ECGSummaryProjector if config.projector_summary else ECGProjector)(config, text_size)


__all__ = ["ECGProjector", "ECGSummaryProjector", "new_projector"]
