"""MERL's vision transformer (`MERLEncoder`), with its published weights.

In: ECGs [ecgs, leads, samples] at 500 Hz, prepared as the authors do (`MERLEncoder.feature_extractor`). Out: the
tokens before the authors' mean over time, [ecgs, tokens, hidden] with one for 50 samples, and that mean, normalised.
Decided here: the names of the layers are those of the authors' state dict, so that their weights load as they are;
positions were learned for 10 s, so that a longer ECG is read in windows of as many, each by itself.

Source of the architecture: MERL (arXiv 2403.06659), code at https://github.com/cheliu-computation/MERL-ICML2024.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_ecgllm import MERLConfig
from .encoder_ecgllm import (
    EMBEDDING_PIPELINE,
    ECGEncoder,
    ECGPreTrainedModel,
    as_recorded,
    check_shape,
    eager_attention_forward,
    pooled_output,
    tokens_within,
)
from .errors_ecgllm import CheckpointError
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .published_weights_ecgllm import load_published, read_published, size_of

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")
"""In the order of MIMIC-IV-ECG, from which the weights learned: aVF before aVL."""

_HEAD_DIM = 64  # of every size that the authors define
_OF_ENCODER = "ecg_encoder."
_OF_WHOLE_MODEL = r"(lm_model|proj_t|proj_e|linear1|linear2)\."
"""Beside the encoder in a whole model of theirs: text model, and what projects both into one space."""


class _Attention(nn.Module):
    def __init__(self, config: MERLConfig):
        super().__init__()
        self.config = config
        width = config.num_attention_heads * config.head_dim
        self.scaling, self.is_causal = config.head_dim**-0.5, False
        self.to_qkv = nn.Linear(config.hidden_size, 3 * width)
        self.to_out = nn.ModuleList([nn.Linear(width, config.hidden_size)])

    def forward(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        heads, head_dim = self.config.num_attention_heads, self.config.head_dim
        query, key, value = self.to_qkv(hidden).unflatten(-1, (3, heads, head_dim)).permute(2, 0, 3, 1, 4)
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, _ = attention(
            self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, is_causal=False
        )
        return self.to_out[0](output.flatten(2))


class _FeedForward(nn.Module):
    def __init__(self, config: MERLConfig):
        super().__init__()
        # 2 and 4 are the authors' dropout, which they run at zero.
        self.net = nn.ModuleDict(
            {
                "0": nn.Linear(config.hidden_size, config.intermediate_size),
                "3": nn.Linear(config.intermediate_size, config.hidden_size),
            }
        )

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return self.net["3"](nn.functional.gelu(self.net["0"](hidden)))


class _Normalised(nn.Module):
    """A layer behind a norm."""

    def __init__(self, config: MERLConfig, layer: nn.Module):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fn = layer

    def forward(self, hidden: torch.Tensor, *arguments: Any) -> torch.Tensor:
        return self.fn(self.norm(hidden), *arguments)


class MERLLayer(GradientCheckpointingLayer):
    """Pre-norm transformer layer."""

    def __init__(self, config: MERLConfig):
        super().__init__()
        self.attn = _Normalised(config, _Attention(config))
        self.ff = _Normalised(config, _FeedForward(config))

    def forward(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        hidden = hidden + self.attn(hidden, attention_mask)
        return hidden + self.ff(hidden)


class MERLEncoder(ECGPreTrainedModel):
    """MERL's ViT, of any of its sizes. ECGs of 10 s are read as the authors do; shorter ones without their padding.

    Missing leads are zeros. The authors never leave a lead out.
    """

    config: MERLConfig
    config_class = MERLConfig
    _code_module = "merl_ecgllm"
    _hub_task = "feature-extraction"
    _pipelines = EMBEDDING_PIPELINE
    base_model_prefix = "ecg_encoder"
    main_input_name = "ecg_values"
    _no_split_modules = ["MERLLayer"]
    _left_in_folder = ECGEncoder._left_in_folder

    def __init__(self, config: MERLConfig):
        super().__init__(config)
        self.to_patch_embedding = nn.Conv1d(
            config.num_leads, config.hidden_size, config.patch_size, stride=config.patch_size, bias=False
        )
        self.pos_embedding = nn.Parameter(torch.zeros(1, config.max_tokens, config.hidden_size))
        for number in range(config.num_hidden_layers):
            self.add_module(f"block{number}", MERLLayer(config))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if module is self:
            init.normal_(self.pos_embedding, mean=0.0, std=self.config.initializer_range)

    def get_input_embeddings(self) -> nn.Module:
        return self.to_patch_embedding

    @staticmethod
    def feature_extractor(**settings: Any) -> ECGFeatureExtractor:
        """What prepares ECGs as the authors do: 500 Hz, aVF before aVL, all leads together from 0 to 1, no filter.

        Args: settings: of `ECGFeatureExtractor`, to change what is said here.
        """
        signal_path = {"sampling_rate": 500, "leads": MIMIC_LEADS, "baseline": "none", "scaling": "record_minmax"}
        return ECGFeatureExtractor(**signal_path | settings)

    @classmethod
    def from_published(cls, path: str | Path) -> "MERLEncoder":
        """The encoder with weights as the authors publish them: of an encoder alone (`..._encoder.pth`), or of their
        whole model (`..._ckpt.pth`), of which text model and projections are left out.

        Sizes are found from the tensors' shapes. Left out is the head of a fine-tuned encoder.
        Raises: CheckpointError as `read_published` and `load_published`, and for their ResNet.
        """
        tensors = read_published(path)
        if any(name.startswith(_OF_ENCODER) for name in tensors):
            tensors = {
                name.removeprefix(_OF_ENCODER): value
                for name, value in tensors.items()
                if not re.match(_OF_WHOLE_MODEL, name)
            }
        if "conv1.weight" in tensors:
            raise CheckpointError(
                f"{path} holds MERL's ResNet; expected its ViT (vit_tiny), whose tensors begin with block0."
            )
        model = cls(_config_of(tensors, path))
        load_published(model, tensors, {"head.weight": (None, model.config.hidden_size), "head.bias": (None,)}, path)
        return model.eval()

    def forward(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """As `ECGEncoder.forward`, but that pooler_output is normalised and the tokens are not, as the authors have
        it; attentions are not passed on. Raises: ECGError for another shape."""
        check_shape(self.config, ecg_values)
        values, lengths = as_recorded(ecg_values, lead_mask, ecg_lengths)
        values = nn.functional.pad(values, (0, -values.shape[-1] % self.config.patch_size))
        tokens = self.to_patch_embedding(values.to(self.to_patch_embedding.weight.dtype)).transpose(1, 2)
        inside = tokens_within(lengths, self.config, tokens)
        windows = (each.split(self.config.max_tokens, dim=1) for each in (tokens, inside))
        tokens = torch.cat([self._window(part, mask) for part, mask in zip(*windows, strict=True)], dim=1)
        output = pooled_output(tokens, inside if ecg_lengths is not None else None)
        output.pooler_output = self.norm(output.pooler_output)
        return output.to_tuple() if return_dict is False else output

    def _window(self, tokens: torch.Tensor, inside: torch.Tensor) -> torch.Tensor:
        """Tokens [ecgs, tokens of a window, hidden] behind all layers. Args: inside: which of them are no padding."""
        hidden = tokens + self.pos_embedding[:, : tokens.shape[1]]
        # Of an ECG that ended before this window nothing is attended to, and what comes out is set to zero.
        mask = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=inside)
        for number in range(self.config.num_hidden_layers):
            hidden = getattr(self, f"block{number}")(hidden, mask)
        return hidden


def _config_of(tensors: dict[str, torch.Tensor], where: Any) -> MERLConfig:
    patches, feed = "to_patch_embedding.weight", "block0.ff.fn.net.0.weight"
    numbers = {int(found[1]) for name in tensors if (found := re.match(r"block(\d+)\.", name))}
    return MERLConfig(
        num_leads=size_of(tensors, patches, 1, where),
        patch_size=size_of(tensors, patches, 2, where),
        max_tokens=size_of(tensors, "pos_embedding", 1, where),
        hidden_size=size_of(tensors, patches, 0, where),
        num_hidden_layers=len(numbers),
        num_attention_heads=size_of(tensors, "block0.attn.fn.to_qkv.weight", 0, where) // (3 * _HEAD_DIM),
        head_dim=_HEAD_DIM,
        intermediate_size=size_of(tensors, feed, 0, where),
        preprocessing=MERLEncoder.feature_extractor().preprocessing,
    )


__all__ = ["MERLEncoder"]
