"""Any model as an ECG encoder (`ECGEncoderAdapter`), and the encoder that a configuration or a folder names.

In: prepared ECGs [ecgs, leads, samples]. Out: what `ECGEncoder` gives. `build_encoder` and `as_encoder` know those of
this package, and every model whose configuration and `forward` are those of an ECG encoder (`encoder_ecgllm`). Decided
here: how ECGs of any duration go through a model that takes one shape.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import PreTrainedModel

from .beats_ecgllm import ECGBeatEncoder
from .configuration_ecgllm import ECGEncoderAdapterConfig, UntrustedConfig, as_encoder_config, migrated
from .ecgfounder_ecgllm import ECGFounderEncoder
from .encoder_ecgllm import (
    EMBEDDING_PIPELINE,
    ECGEncoder,
    ECGPreTrainedModel,
    as_recorded,
    check_shape,
    pooled_output,
    tokens_within,
)
from .errors_ecgllm import CheckpointError, ECGError
from .merl_ecgllm import MERLEncoder


class ECGEncoderAdapter(ECGPreTrainedModel):
    """Makes an ECG encoder of a model that knows nothing of ECGs: cuts them into windows, and averages its tokens.

    Missing leads are zeros; where the model reads each lead by itself, they are left out of the mean.
    """

    config: ECGEncoderAdapterConfig
    config_class = ECGEncoderAdapterConfig
    _code_module = "encoder_adapter_ecgllm"
    _hub_task = "feature-extraction"
    _pipelines = EMBEDDING_PIPELINE
    base_model_prefix = "ecg_encoder"
    main_input_name = "ecg_values"
    _left_in_folder = ECGEncoder._left_in_folder

    def __init__(self, config: ECGEncoderAdapterConfig):
        super().__init__(config)
        self.backbone = _from_config(config.backbone_config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.backbone.get_input_embeddings()

    def forward(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """As `ECGEncoder.forward`; the model's own attentions and hidden states are not passed on.

        Raises: ECGError for another shape, and for a model that gives fewer tokens than it was configured to.
        """
        check_shape(self.config, ecg_values)
        values, _ = as_recorded(ecg_values, lead_mask, ecg_lengths)
        window = self.config.window
        values = nn.functional.pad(values, (0, -values.shape[-1] % window))
        ecgs, leads, samples = values.shape
        # [ecgs * windows, leads, window], the windows of an ECG one after the other
        windows = values.unflatten(2, (samples // window, window)).transpose(1, 2).flatten(0, 1)
        tokens = self._tokens(windows, lead_mask, samples // window)
        tokens = tokens.unflatten(0, (ecgs, samples // window)).flatten(1, 2)
        tokens = tokens[:, : -(-ecg_values.shape[-1] // self.config.patch_size)]
        mask = None if ecg_lengths is None else tokens_within(ecg_lengths, self.config, tokens)
        output = pooled_output(tokens, mask)
        return output.to_tuple() if return_dict is False else output

    def _tokens(self, windows: torch.Tensor, lead_mask: torch.Tensor | None, per_ecg: int) -> torch.Tensor:
        """[ecgs * windows, tokens of a window, hidden]. Args: windows: [ecgs * windows, leads, samples]."""
        layout = self.config.input_layout
        if layout == "samples":
            given = windows.transpose(1, 2)
        elif layout == "joined":
            given = windows.flatten(1)
        else:
            given = windows.flatten(0, 1) if layout == "single" else windows
        tokens = self.backbone(**{self.config.input_name: given.to(self.backbone.dtype)}).last_hidden_state
        if layout == "single":
            tokens = tokens.unflatten(0, windows.shape[:2])
        if tokens.ndim == 4:  # [.., leads, tokens, hidden]
            weight = tokens.new_ones(windows.shape[:2])
            if lead_mask is not None:
                weight = lead_mask.to(tokens.dtype).repeat_interleave(per_ecg, dim=0)
            tokens = (tokens * weight[..., None, None]).sum(dim=1) / weight.sum(dim=1).clamp(min=1)[:, None, None]
        tokens = tokens[:, self.config.skipped_tokens :]
        expected = self.config.window // self.config.patch_size
        if tokens.shape[1] < expected:
            raise ECGError(
                f"{type(self.backbone).__name__} gives {tokens.shape[1]} tokens for a window of {self.config.window} "
                f"samples; expected {expected}, one per patch_size {self.config.patch_size}, or more. Choose a larger "
                "patch_size."
            )
        return nn.functional.adaptive_avg_pool1d(tokens.transpose(1, 2), expected).transpose(1, 2)


ENCODERS = (ECGEncoder, ECGBeatEncoder, ECGFounderEncoder, MERLEncoder, ECGEncoderAdapter)
"""Encoders whose code is part of this package."""
_OURS = {kind.config_class.model_type: kind for kind in ENCODERS}


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """The encoder of a configuration, with random weights. Raises: CheckpointError for code that nobody trusts."""
    kind = _OURS.get(config.model_type)
    return _from_config(config) if kind is None else kind(config)


def as_encoder(encoder: Any) -> PreTrainedModel:
    """The ECG encoder that an argument names.

    Args: encoder: an encoder; a model that holds one; the path of a checkpoint of either; a configuration.
    Raises: ECGError for a model that is no ECG encoder.
    """
    if isinstance(encoder, str | Path):
        config = as_encoder_config(_encoder_values(encoder))
        if config.model_type not in _OURS:
            raise ECGError(
                f"{encoder} holds an encoder of type {config.model_type!r}; load it with AutoModel.from_pretrained, "
                "and pass the model."
            )
        return _OURS[config.model_type].from_pretrained(encoder, config=config)
    if isinstance(encoder, PreTrainedConfig):
        return build_encoder(as_encoder_config(encoder))
    encoder = getattr(encoder, "ecg_encoder", encoder)
    as_encoder_config(encoder.config)
    return encoder


def _encoder_values(folder: str | Path) -> dict[str, Any]:
    values = migrated(PreTrainedConfig.get_config_dict(folder)[0])
    return values.get("encoder_config", values)


def _from_config(config: PreTrainedConfig) -> PreTrainedModel:
    if isinstance(config, UntrustedConfig):
        raise CheckpointError(
            f"the checkpoint's ECG encoder, of type {config.model_type!r}, comes with code of its own, which runs "
            "only where it is trusted: read it, and pass trust_remote_code=True."
        )
    # A configuration whose class comes from a folder was loaded by somebody who trusts its code.
    trusted = type(config).__module__.startswith("transformers_modules.")
    return AutoModel.from_config(config, **({"trust_remote_code": True} if trusted else {}))


__all__ = ["ENCODERS", "ECGEncoderAdapter", "as_encoder", "build_encoder"]
