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
from .configuration_ecgllm import (
    ECGEncoderAdapterConfig,
    UntrustedConfig,
    as_encoder_config,
    count_tokens,
    migrated,
)
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
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .loading_ecgllm import refuse_missing
from .merl_ecgllm import MERLEncoder


class ECGEncoderAdapter(ECGPreTrainedModel):
    """Makes an ECG encoder of a model that knows nothing of ECGs: cuts them into windows, and averages its tokens.

    Missing leads are zeros; where tokens are of single leads, they are left out of the mean over the leads.
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

    @classmethod
    def from_backbone(
        cls,
        backbone: PreTrainedModel | str | Path,
        feature_extractor: ECGFeatureExtractor | None = None,
        trust_remote_code: bool = False,
        **config_fields: Any,
    ) -> "ECGEncoderAdapter":
        """Wrap a model that has its weights.

        Args:
            backbone: a model, or a folder or Hub name for `AutoModel`. trust_remote_code: whether code that comes with
                it may run.
            feature_extractor: what prepares its ECGs; kept in the configuration, and its leads are the model's.
            config_fields: of `ECGEncoderAdapterConfig`: input_name, input_layout, window, patch_size, ...
        Raises: CheckpointError for a folder that lacks tensors of the model or has them in another shape.
        """
        if not isinstance(backbone, PreTrainedModel):
            name = backbone
            backbone, info = AutoModel.from_pretrained(
                name, trust_remote_code=trust_remote_code, output_loading_info=True
            )
            refuse_missing(backbone, name, info)
        if feature_extractor is not None:
            stated = {"num_leads": len(feature_extractor.leads), "preprocessing": feature_extractor.preprocessing}
            config_fields = stated | config_fields
        config = ECGEncoderAdapterConfig(backbone_config=backbone.config, dtype=backbone.dtype, **config_fields)
        # The shell is built without memory: its part exists, and must not be initialised again.
        with torch.device("meta"):
            model = cls(config)
        model.backbone = backbone
        return model.train(backbone.training)

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
        ecgs, leads, samples = values.shape
        count = count_tokens(samples, window)
        values = nn.functional.pad(values, (0, count * window - samples))
        # [ecgs * windows, leads, window], the windows of an ECG one after the other
        windows = values.unflatten(2, (count, window)).transpose(1, 2).reshape(-1, leads, window)
        tokens = self._tokens(windows, lead_mask, count)
        # A slice would tie an exported graph to lengths at which it leaves out something.
        own = torch.arange(count_tokens(samples, self.config.patch_size), device=tokens.device)
        tokens = tokens.reshape(ecgs, -1, tokens.shape[-1]).index_select(1, own)
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
        weight = tokens.new_ones(windows.shape[:2])
        if lead_mask is not None:
            weight = lead_mask.to(tokens.dtype).repeat_interleave(per_ecg, dim=0)
        if layout == "single":
            tokens = tokens.unflatten(0, windows.shape[:2])
        if tokens.ndim == 4:  # [.., leads, tokens, hidden]
            tokens = (tokens * weight[..., None, None]).sum(dim=1) / weight.sum(dim=1).clamp(min=1)[:, None, None]
        tokens = tokens[:, self.config.skipped_tokens :]
        expected, rows = self.config.window // self.config.patch_size, windows.shape[1] if layout == "joined" else 1
        if tokens.shape[1] < expected * rows:
            raise ECGError(
                f"{type(self.backbone).__name__} gives {tokens.shape[1]} tokens for a window of {self.config.window} "
                f"samples{f' of {rows} leads' if rows > 1 else ''}; expected {expected * rows}, one per patch_size "
                f"{self.config.patch_size}{' of each lead' if rows > 1 else ''}, or more. Choose a larger patch_size."
            )
        if layout == "joined":
            return _by_time(tokens, weight, self.config.window, self.config.patch_size)
        return nn.functional.adaptive_avg_pool1d(tokens.transpose(1, 2), expected).transpose(1, 2)


def _by_time(tokens: torch.Tensor, weight: torch.Tensor, window: int, patch_size: int) -> torch.Tensor:
    """Means of tokens over the leads, [.., window / patch_size, hidden].

    Args: tokens: [.., tokens, hidden] of a row in which all leads stand one behind the other; each belongs to the lead
        and the time of its middle. weight: of the leads, [.., leads].
    """
    count, leads = tokens.shape[1], weight.shape[1]
    middle = (torch.arange(count, device=tokens.device) + 0.5) * (leads * window / count)
    patch = nn.functional.one_hot((middle % window // patch_size).long(), window // patch_size)
    share = patch.T.to(tokens.dtype) * weight[:, None, (middle // window).long()]
    return share @ tokens / share.sum(dim=-1, keepdim=True).clamp(min=1)


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
