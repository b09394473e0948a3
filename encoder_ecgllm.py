"""The ECG encoder: signals to patch tokens (`ECGEncoder`), and what all models here share (`ECGPreTrainedModel`).

In: ECGs [ecgs, leads, samples] as `ECGFeatureExtractor` prepares them. Out: tokens [ecgs, patches, hidden] and their
mean. Read from the top down: attention -> layer -> patches -> encoder. Decided here: that a padded ECG gives the
tokens that it gives alone, and that ECGs that were prepared in another way than those of training are refused.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .beats_ecgllm import ECGBeatEmbedding
from .configuration_ecgllm import ECGEncoderConfig
from .errors_ecgllm import ECGError
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .loading_ecgllm import WholeWeights
from .saving_ecgllm import CompleteFolder


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Plain attention, [batch, heads, tokens, head_dim] in, ([batch, tokens, heads, head_dim], weights) out."""
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def rotary_embedding(num_tokens: int, head_dim: int, theta: float, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Cosine and sine [1, 1, tokens, head_dim] of rotary positions (RoFormer, arXiv 2104.09864)."""
    inverse_frequency = theta ** (-torch.arange(0, head_dim, 2, device=like.device, dtype=torch.float32) / head_dim)
    angle = torch.arange(num_tokens, device=like.device, dtype=torch.float32)[:, None] * inverse_frequency
    angle = torch.cat((angle, angle), dim=-1)[None, None]
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def rotate(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Apply rotary positions to [batch, heads, tokens, head_dim]."""
    first, second = states.chunk(2, dim=-1)
    return states * cos + torch.cat((-second, first), dim=-1) * sin


class ECGAttention(nn.Module):
    """Bidirectional multi-head self-attention with rotary positions."""

    def __init__(self, config: ECGEncoderConfig):
        super().__init__()
        if config.hidden_size % config.num_attention_heads or (config.hidden_size // config.num_attention_heads) % 2:
            raise ECGError(
                f"hidden_size {config.hidden_size} over {config.num_attention_heads} attention heads gives no even "
                "head size, which rotary positions need; change one of the two."
            )
        self.config = config
        self.head_dim = config.hidden_size // config.num_attention_heads
        self.scaling = self.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size)
        self.o_proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = rotate(self.q_proj(hidden_states).view(shape).transpose(1, 2), *position_embeddings)
        key = rotate(self.k_proj(hidden_states).view(shape).transpose(1, 2), *position_embeddings)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        attention: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(
            self.config._attn_implementation, eager_attention_forward
        )
        output, weights = attention(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            is_causal=False,
            **kwargs,
        )
        return self.o_proj(output.reshape(*hidden_states.shape[:-1], -1)), weights


class ECGEncoderLayer(GradientCheckpointingLayer):
    """Pre-norm transformer layer."""

    def __init__(self, config: ECGEncoderConfig):
        super().__init__()
        self.attention_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = ECGAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.activation = ACT2FN[config.hidden_act]
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        attended, _ = self.attention(
            self.attention_norm(hidden_states),
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            **kwargs,
        )
        hidden_states = hidden_states + self.dropout(attended)
        mlp = self.down_proj(self.activation(self.up_proj(self.mlp_norm(hidden_states))))
        return hidden_states + self.dropout(mlp)


class ECGPatchEmbedding(nn.Module):
    """Convolutions over time, then one token per patch: [ecgs, leads, samples] -> [ecgs, patches, hidden].

    There is no normalisation in the stem, because it would take the amplitude away that voltage criteria need. Samples
    past a record's length are set to zero after every convolution, so that a padded ECG gives the tokens it gives
    alone. With `stem_padding` "valid" the convolutions shorten the signal and a last patch that is not full is left
    out. A missing lead is a zero row plus a learned vector that says which lead is missing.
    """

    def __init__(self, config: ECGEncoderConfig):
        super().__init__()
        channels = [config.num_leads, *config.stem_channels]
        self.strides = list(config.stem_strides)
        self.patch_size, self.samples_trimmed = config.patch_size, config.samples_trimmed
        padded = config.stem_padding == "same"
        self.trims = [0 if padded else kernel - 1 for kernel in config.stem_kernel_sizes]
        self.convolutions = nn.ModuleList(
            nn.Conv1d(
                channels[i], channels[i + 1], kernel_size=kernel, stride=stride, padding=kernel // 2 if padded else 0
            )
            for i, (kernel, stride) in enumerate(zip(config.stem_kernel_sizes, config.stem_strides, strict=True))
        )
        self.activation = ACT2FN[config.hidden_act]
        patch = config.patch_size
        for stride in self.strides:
            patch //= stride
        self.patch_convolution = nn.Conv1d(channels[-1], config.hidden_size, kernel_size=patch, stride=patch)
        self.missing_lead_embedding = nn.Parameter(torch.zeros(config.num_leads, config.hidden_size))

    def forward(self, ecg_values: torch.Tensor, lead_mask: torch.Tensor | None, ecg_lengths: torch.Tensor | None):
        hidden, lengths = _as_recorded(ecg_values, lead_mask, ecg_lengths)
        hidden = hidden.to(self.patch_convolution.weight.dtype)
        if self.samples_trimmed:
            # The zeros that complete a short ECG to one patch are part of it.
            shortest = self.samples_trimmed + self.patch_size
            hidden = nn.functional.pad(hidden, (0, max(0, shortest - hidden.shape[-1])))
            lengths = lengths.clamp(min=shortest)
        else:
            # A last patch that is not full is completed with zeros: no sample is lost.
            hidden = nn.functional.pad(hidden, (0, -hidden.shape[-1] % self.patch_size))
        for convolution, stride, trim in zip(self.convolutions, self.strides, self.trims, strict=True):
            lengths = (lengths - trim + stride - 1) // stride
            hidden = _zero_past(self.activation(convolution(hidden)), lengths)
        tokens = self.patch_convolution(hidden).transpose(1, 2)
        # Without a mask no lead is missing. The vectors join in with weight zero all the same: a parameter that some
        # batches leave out of the graph stops distributed training.
        missing = torch.zeros_like(ecg_values[..., 0]) if lead_mask is None else ~lead_mask.bool()
        return tokens + (missing.to(tokens.dtype) @ self.missing_lead_embedding)[:, None]


def _as_recorded(
    ecg_values: torch.Tensor, lead_mask: torch.Tensor | None, ecg_lengths: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """(values that are zero in missing leads and past an ECG's end, lengths in samples)."""
    if lead_mask is not None:
        ecg_values = ecg_values * lead_mask[..., None].to(ecg_values.dtype)
    if ecg_lengths is None:
        lengths = torch.full(ecg_values.shape[:1], ecg_values.shape[-1], device=ecg_values.device)
    else:
        lengths = ecg_lengths.to(ecg_values.device)
    return _zero_past(ecg_values, lengths), lengths


def _zero_past(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    inside = torch.arange(hidden.shape[-1], device=hidden.device) < lengths[:, None]
    return hidden * inside[:, None].to(hidden.dtype)


class ECGPreTrainedModel(CompleteFolder, WholeWeights):
    """What all models here share: declarations, initialisation, loading and saving of whole folders."""

    supports_gradient_checkpointing = True
    input_modalities = ("ecg",)
    _no_split_modules = ["ECGEncoderLayer"]
    _skip_keys_device_placement = ["cache", "past_key_values", "cache_params"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, ECGPatchEmbedding):
            init.normal_(module.missing_lead_embedding, mean=0.0, std=self.config.initializer_range)
            # A fixed std of 0.02 would shrink millivolts to nothing before the first layer.
            for convolution in (*module.convolutions, module.patch_convolution):
                init.kaiming_uniform_(convolution.weight, nonlinearity="relu")
                init.zeros_(convolution.bias)

    def _auto_map(self) -> dict[str, str]:
        return super()._auto_map() | {
            "AutoFeatureExtractor": f"feature_extraction_ecgllm.{ECGFeatureExtractor.__name__}"
        }


class ECGEncoder(ECGPreTrainedModel):
    """Vision transformer over ECG patches: stem convolutions, temporal patches, pre-norm layers with rotary positions.

    Takes any duration and any subset of leads. Source: arXiv 2411.14795 (signal -> 1-D convolution -> temporal patches
    -> transformer); sizes are configuration.
    """

    config: ECGEncoderConfig
    config_class = ECGEncoderConfig
    _code_module = "encoder_ecgllm"
    base_model_prefix = "ecg_encoder"
    main_input_name = "ecg_values"
    _input_embed_layer = "patch_embedding"
    # An encoder loads from the checkpoint of any model that holds one.
    _left_in_folder = r"(language_model|projector|text_encoder|(ecg|text)_projection)\.|(logit|statement)_\w+$"
    _can_record_outputs = {"hidden_states": ECGEncoderLayer, "attentions": ECGAttention}

    def __init__(self, config: ECGEncoderConfig):
        super().__init__(config)
        self.patch_embedding = ECGPatchEmbedding(config)
        self.beat_embedding = None if config.beat_sampling_rate is None else ECGBeatEmbedding(config)
        self.layers = nn.ModuleList(ECGEncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.patch_embedding

    def num_patches(self, ecg_lengths: torch.Tensor) -> torch.Tensor:
        """Valid patches of ECGs of these lengths (samples)."""
        return self.config.num_patches(ecg_lengths)

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode ECGs.

        Args:
            ecg_values: [ecgs, leads, samples], prepared by `ECGFeatureExtractor`.
            lead_mask: bool [ecgs, leads], False where a lead is missing. ecg_lengths: int [ecgs], samples before
            padding.
        Returns: last_hidden_state [ecgs, patches, hidden], zero past an ECG's end; pooler_output [ecgs, hidden], the
            mean over valid patches.
        Raises: ValueError for another shape or number of leads.
        """
        if ecg_values.ndim != 3 or ecg_values.shape[1] != self.config.num_leads:
            raise ECGError(
                f"ecg_values has shape {tuple(ecg_values.shape)}; expected [ecgs, {self.config.num_leads} leads, "
                "samples] as ECGFeatureExtractor returns it."
            )
        hidden_states = self.patch_embedding(ecg_values, lead_mask, ecg_lengths)
        num_tokens = hidden_states.shape[1]
        if self.beat_embedding is not None:
            values, lengths = _as_recorded(ecg_values, lead_mask, ecg_lengths)
            hidden_states = hidden_states + self.beat_embedding(values, lengths, num_tokens)
        token_mask = None
        if ecg_lengths is not None:
            positions = torch.arange(num_tokens, device=hidden_states.device)
            token_mask = positions < self.num_patches(ecg_lengths.to(hidden_states.device))[:, None]
        attention_mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden_states, attention_mask=token_mask
        )
        head_dim = self.config.hidden_size // self.config.num_attention_heads
        position_embeddings = rotary_embedding(num_tokens, head_dim, self.config.rope_theta, hidden_states)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask, **kwargs
            )
        hidden_states = self.norm(hidden_states)
        if token_mask is None:
            pooled = hidden_states.mean(dim=1)
        else:
            weight = token_mask[..., None].to(hidden_states.dtype)
            hidden_states = hidden_states * weight
            pooled = hidden_states.sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


def check_preprocessing(config: ECGEncoderConfig, preprocessing_id: torch.Tensor | None) -> None:
    """Refuse signals that were prepared in another way than those the weights were trained with.

    Raises: ValueError. Nothing is checked where either side is unknown.
    """
    expected = config.preprocessing_id
    if expected is None or preprocessing_id is None or torch.compiler.is_compiling():
        return
    if bool((preprocessing_id != expected).any()):
        found = sorted(set(preprocessing_id.flatten().tolist()))
        raise ECGError(
            f"These ECGs were prepared in another way than the checkpoint's: preprocessing id {found}, expected "
            f"{expected} for {config.preprocessing}. Load the processor from the folder of the model "
            "(AutoProcessor.from_pretrained) and do not change its feature extractor."
        )


__all__ = ["ECGEncoder", "ECGPreTrainedModel", "check_preprocessing"]
