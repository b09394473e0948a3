"""The ECG encoder: signals to patch tokens (`ECGEncoder`), and what all models here share (`ECGPreTrainedModel`).

In: ECGs [ecgs, leads, samples] as `ECGFeatureExtractor` prepares them. Out: tokens [ecgs, patches, hidden] and their
mean. Read from the top down: attention -> layer -> patches -> encoder. Decided here: a padded ECG gives the same
tokens as alone, and ECGs that were prepared in another way than in training are refused.

Any model is an ECG encoder whose configuration says what `configuration_ecgllm` asks for, and whose `forward` takes
`ecg_values`, `lead_mask` and `ecg_lengths` as `ECGEncoder.forward` does and returns, as that does,
`last_hidden_state` with one token per `patch_size` samples, and `pooler_output`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.configuration_utils import PreTrainedConfig
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_ecgllm import ECGEncoderConfig, count_tokens, preprocessing_fingerprint

# Imported so that the pipeline's file travels with the encoder's, too: a folder has what relative imports reach.
from .embedding_pipeline_ecgllm import ECGFeatureExtractionPipeline
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

    There is no normalisation in the stem: it would remove the amplitude, which voltage criteria need. Samples past a
    record's length are set to zero after every convolution, so that a padded ECG gives the same tokens as alone. A
    missing lead is a zero row plus a learned vector that says which lead is missing.
    """

    def __init__(self, config: ECGEncoderConfig):
        super().__init__()
        channels = [config.num_leads, *config.stem_channels]
        self.strides = list(config.stem_strides)
        self.patch_size = config.patch_size
        self.convolutions = nn.ModuleList(
            nn.Conv1d(channels[i], channels[i + 1], kernel_size=kernel, stride=stride, padding=kernel // 2)
            for i, (kernel, stride) in enumerate(zip(config.stem_kernel_sizes, config.stem_strides, strict=True))
        )
        self.activation = ACT2FN[config.hidden_act]
        patch = config.patch_size
        for stride in self.strides:
            patch //= stride
        self.patch_convolution = nn.Conv1d(channels[-1], config.hidden_size, kernel_size=patch, stride=patch)
        self.missing_lead_embedding = nn.Parameter(torch.zeros(config.num_leads, config.hidden_size))

    def forward(self, ecg_values: torch.Tensor, lead_mask: torch.Tensor | None, ecg_lengths: torch.Tensor | None):
        hidden, lengths = as_recorded(ecg_values, lead_mask, ecg_lengths)
        # The last patch is padded with zeros, so that no sample is lost.
        samples = count_tokens(hidden.shape[-1], self.patch_size) * self.patch_size
        hidden = nn.functional.pad(hidden.to(self.patch_convolution.weight.dtype), (0, samples - hidden.shape[-1]))
        for convolution, stride in zip(self.convolutions, self.strides, strict=True):
            lengths = count_tokens(lengths, stride)
            hidden = _zero_past(self.activation(convolution(hidden)), lengths)
        tokens = self.patch_convolution(hidden).transpose(1, 2)
        # Without a mask no lead is missing. The vectors are still used, with weight zero: a parameter that some
        # batches leave out of the graph would stop distributed training.
        missing = torch.zeros_like(ecg_values[..., 0]) if lead_mask is None else ~lead_mask.bool()
        return tokens + (missing.to(tokens.dtype) @ self.missing_lead_embedding)[:, None]


def as_recorded(
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
    """What all models here share: declarations, initialisation, and loading and saving of complete folders."""

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


EMBEDDING_PIPELINE = {"ecg-feature-extraction": f"embedding_pipeline_ecgllm.{ECGFeatureExtractionPipeline.__name__}"}
"""What a folder says of its pipeline, for all models that are ECG encoders or hold one for others to use."""


class ECGEncoder(ECGPreTrainedModel):
    """Vision transformer over ECG patches: stem convolutions, temporal patches, pre-norm layers with rotary positions.

    Takes any duration and any subset of leads. Source: arXiv 2411.14795 (signal -> 1-D convolution -> temporal patches
    -> transformer); sizes are configuration.
    """

    config: ECGEncoderConfig
    config_class = ECGEncoderConfig
    _code_module = "encoder_ecgllm"
    _hub_task = "feature-extraction"
    _pipelines = EMBEDDING_PIPELINE
    base_model_prefix = "ecg_encoder"
    main_input_name = "ecg_values"
    _input_embed_layer = "patch_embedding"
    # An encoder loads from the checkpoint of any model that holds one.
    _left_in_folder = (
        r"(language_model|projector|classifier|text_encoder|(ecg|text)_projection)\.|(logit|statement)_\w+$"
    )
    _can_record_outputs = {"hidden_states": ECGEncoderLayer, "attentions": ECGAttention}

    def __init__(self, config: ECGEncoderConfig):
        super().__init__(config)
        self.patch_embedding = ECGPatchEmbedding(config)
        self.layers = nn.ModuleList(ECGEncoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.patch_embedding

    def embed(
        self, ecg_values: torch.Tensor, lead_mask: torch.Tensor | None, ecg_lengths: torch.Tensor | None
    ) -> torch.Tensor:
        """What goes into the layers, [ecgs, patches, hidden]; arguments as for `forward`."""
        return self.patch_embedding(ecg_values, lead_mask, ecg_lengths)

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
        check_shape(self.config, ecg_values)
        hidden_states = self.embed(ecg_values, lead_mask, ecg_lengths)
        num_tokens = hidden_states.shape[1]
        token_mask = None if ecg_lengths is None else tokens_within(ecg_lengths, self.config, hidden_states)
        attention_mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden_states, attention_mask=token_mask
        )
        head_dim = self.config.hidden_size // self.config.num_attention_heads
        position_embeddings = rotary_embedding(num_tokens, head_dim, self.config.rope_theta, hidden_states)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states, position_embeddings=position_embeddings, attention_mask=attention_mask, **kwargs
            )
        return pooled_output(self.norm(hidden_states), token_mask)


def check_shape(config: PreTrainedConfig, ecg_values: torch.Tensor) -> None:
    """Raises: ECGError for input that is not [ecgs, leads, samples] with the encoder's number of leads."""
    if ecg_values.ndim != 3 or ecg_values.shape[1] != config.num_leads:
        raise ECGError(
            f"ecg_values has shape {tuple(ecg_values.shape)}; expected [ecgs, {config.num_leads} leads, samples] as "
            "ECGFeatureExtractor returns it."
        )


def tokens_within(ecg_lengths: torch.Tensor, config: PreTrainedConfig, tokens: torch.Tensor) -> torch.Tensor:
    """Which tokens [ecgs, tokens, ..] belong to an ECG and are not padding: bool [ecgs, tokens], from lengths [ecgs]
    in samples."""
    counts = count_tokens(ecg_lengths.to(tokens.device), config.patch_size)
    return torch.arange(tokens.shape[1], device=tokens.device) < counts[:, None]


def pooled_output(hidden_states: torch.Tensor, token_mask: torch.Tensor | None) -> BaseModelOutputWithPooling:
    """Tokens [ecgs, tokens, hidden], with padding set to zero, and the mean of the others."""
    if token_mask is None:
        return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=hidden_states.mean(dim=1))
    weight = token_mask[..., None].to(hidden_states.dtype)
    hidden_states = hidden_states * weight
    pooled = hidden_states.sum(dim=1) / weight.sum(dim=1).clamp(min=1)
    return BaseModelOutputWithPooling(last_hidden_state=hidden_states, pooler_output=pooled)


def may_look(tensor: torch.Tensor) -> bool:
    """Whether the values can be read at no cost. On a GPU, reading them waits for the device in every step."""
    return tensor.device.type == "cpu" and not torch.compiler.is_compiling()


def check_values(holds: torch.Tensor, message: Callable[[], str]) -> None:
    """Refuse input for which `holds` is not true everywhere.

    On a GPU (`may_look`) the check is an assertion of the device, which ends the process. A compiled model is not
    checked.
    Args: holds: bool tensor. message: called for the text of the error, where one is raised.
    Raises: ECGError.
    """
    if torch.compiler.is_compiling() or holds.is_meta:
        return
    if holds.is_cuda:
        torch._assert_async(holds.all(), "ECG input does not fit the model; run this batch on a CPU to be told why")
    elif not bool(holds.all()):
        raise ECGError(message())


def check_preprocessing(config: PreTrainedConfig, preprocessing_id: torch.Tensor | None) -> None:
    """Refuse signals that were prepared in another way than those the weights were trained with.

    Args: config: of an encoder. Nothing is checked where either side is unknown. Raises: as `check_values`.
    """
    if config.preprocessing is None or preprocessing_id is None or torch.compiler.is_compiling():
        return
    expected = preprocessing_fingerprint(config.preprocessing)
    check_values(
        preprocessing_id == expected,
        lambda: (
            "These ECGs were prepared in another way than the checkpoint's: preprocessing id "
            f"{sorted(set(preprocessing_id.flatten().tolist()))}, expected {expected} for {config.preprocessing}. "
            "Load the processor from the folder of the model (AutoProcessor.from_pretrained) and do not change its "
            "feature extractor."
        ),
    )


__all__ = ["EMBEDDING_PIPELINE", "ECGEncoder", "ECGPreTrainedModel", "check_preprocessing"]
