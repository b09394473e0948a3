"""Models: ECG encoder, ECG-text dual encoder, and the ECG encoder in front of any causal language model.

`ECGEncoder` turns a signal [ecgs, leads, samples] into patch tokens; `ECGTextDualEncoder` aligns it with reports
(contrastive pre-training); `ECGLLMForConditionalGeneration` projects the tokens and puts them where the prompt holds
placeholder tokens of a causal language model, which is kept whole: its head, scaling, tying and cache stay its own.
A folder written by `save_pretrained` holds this code, so it imports only torch, transformers and its three neighbours.
"""

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.generation import GenerationMixin, LogitsProcessorList
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPooling, CausalLMOutputWithPast, ModelOutput
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .beats_ecgllm import ECGBeatEmbedding
from .configuration_ecgllm import (
    ECGEncoderConfig,
    ECGLLMConfig,
    ECGTextDualEncoderConfig,
)
from .errors_ecgllm import ECGError
from .feature_extraction_ecgllm import ECGFeatureExtractor
from .loading_ecgllm import WholeWeights

# Imported so that the pipeline's file (and through it the processor's) travels with the model's: transformers copies
# only the files that relative imports reach.
from .pipeline_ecgllm import ECGTextToTextPipeline
from .processing_ecgllm import ECGProcessor, add_ecg_token
from .saving_ecgllm import CompleteFolder

# ---------------------------------------------------------------------------------------------------------------------
# Encoder
# ---------------------------------------------------------------------------------------------------------------------


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

    _code_module = "modeling_ecgllm"
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
        elif isinstance(module, ECGTextDualEncoder):
            init.constant_(module.logit_scale, module.logit_scale_init_value)
            if module.logit_bias is not None:
                init.constant_(module.logit_bias, module.config.logit_bias_init_value)
            if module.statement_scale is not None:
                init.constant_(module.statement_scale, _STATEMENT_SCALE)
                init.zeros_(module.statement_bias)
            if module.statement_prototypes is not None:
                init.normal_(module.statement_prototypes, mean=0.0, std=self.config.initializer_range)

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


# ---------------------------------------------------------------------------------------------------------------------
# Contrastive pre-training
# ---------------------------------------------------------------------------------------------------------------------


class _Gather(torch.autograd.Function):
    """All processes' tensors of one shape; the gradient of each is the sum over the processes that used it."""

    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts, dim=0)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(gradient)
        return gradient.chunk(torch.distributed.get_world_size())[torch.distributed.get_rank()]


def gather_with_gradient(tensor: torch.Tensor) -> torch.Tensor:
    """Concatenate a tensor, of the same shape in all processes, along its first dimension, keeping gradients."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    return tensor if torch.distributed.get_world_size() == 1 else _Gather.apply(tensor)


def contrastive_loss(
    ecg_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor,
    logit_bias: torch.Tensor | None,
    loss_type: str,
    report_ids: torch.Tensor | None = None,
) -> torch.Tensor:
    """Contrastive loss of this process' pairs against the pairs of all processes.

    Args:
        ecg_embeds, text_embeds: [pairs, dim], unit length. logit_scale: inverse temperature. logit_bias: for
        "sigmoid" only.
        report_ids: int [pairs]; pairs with the same id share one report and are positives of each other, not negatives
            (many ECGs have word-for-word the same report). None: every report is its own.
    Returns: the mean over this process' pairs. With equal batches per process, the mean over processes (what DDP takes
        of the gradients) is the loss of the global batch. Sources: arXiv 2103.00020, arXiv 2303.15343.
    """
    all_ecg, all_text = gather_with_gradient(ecg_embeds), gather_with_gradient(text_embeds)
    if report_ids is None:
        rank = torch.distributed.get_rank() if all_ecg.shape[0] != ecg_embeds.shape[0] else 0
        own = torch.arange(ecg_embeds.shape[0], device=ecg_embeds.device) + rank * ecg_embeds.shape[0]
        positive = own[:, None] == torch.arange(all_ecg.shape[0], device=ecg_embeds.device)
    else:
        positive = report_ids[:, None] == gather_with_gradient(report_ids)[None]
    ecg_logits = logit_scale * ecg_embeds @ all_text.T
    text_logits = logit_scale * text_embeds @ all_ecg.T
    if loss_type == "sigmoid":
        sign = positive.to(ecg_logits.dtype) * 2 - 1
        return -nn.functional.logsigmoid(sign * (ecg_logits + logit_bias)).sum(dim=1).mean()
    target = positive.to(ecg_logits.dtype)
    target = target / target.sum(dim=1, keepdim=True)
    per_ecg = nn.functional.cross_entropy(ecg_logits, target)
    per_text = nn.functional.cross_entropy(text_logits, target)
    return (per_ecg + per_text) / 2


def statement_loss(logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Sigmoid loss of ECGs against statements, each of which holds of an ECG, does not hold, or is left open.

    Args:
        logits: [ecgs, statements]. targets: int [ecgs, statements], 1 where the statement holds, 0 where it does not,
        -1 where nobody knows: no loss, no gradient. weights: [2, statements], of targets 0 (first row) and 1; None: 1.
    Returns: the sum over statements divided by their number, the mean over ECGs. Nothing is divided by the number of
        known targets, so that the mean over processes of equally many ECGs is the loss of all. Source: the pairwise
        sigmoid loss of arXiv 2303.15343, with more than one positive per ECG.
    """
    sign = targets.clamp(min=0).to(logits.dtype) * 2 - 1
    losses = -nn.functional.logsigmoid(sign * logits)
    if weights is not None:
        losses = losses * torch.where(targets == 1, weights[1], weights[0])
    return (losses * (targets >= 0)).mean()


def _at_least_float32(embeds: torch.Tensor | None) -> torch.Tensor | None:
    return embeds.float() if embeds is not None and embeds.dtype in (torch.bfloat16, torch.float16) else embeds


_MAX_SCALE = 4.6052  # ln(100), CLIP's bound: an inverse temperature over 100 makes training unstable
_STATEMENT_SCALE = 2.3026  # ln(10), as the sigmoid loss starts


@dataclass
class ECGTextDualEncoderOutput(ModelOutput):
    """loss; logits_per_ecg [ecgs, texts] and its transpose logits_per_text; ecg_embeds, text_embeds and
    statement_embeds [.., projection_dim], unit length; statement_logits [ecgs, statements], whose sigmoid says how
    likely each holds; ecg_model_output and text_model_output: what the two encoders returned. None where there was no
    such input.
    """

    loss: torch.Tensor | None = None
    logits_per_ecg: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    ecg_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
    ecg_model_output: BaseModelOutputWithPooling | None = None
    text_model_output: ModelOutput | None = None
    statement_embeds: torch.Tensor | None = None
    statement_logits: torch.Tensor | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return tuple(value.to_tuple() if isinstance(value, ModelOutput) else value for value in self.values())


class ECGTextDualEncoder(ECGPreTrainedModel):
    """ECG encoder and any Hugging Face text encoder in one space, for contrastive pre-training and zero-shot use."""

    config: ECGTextDualEncoderConfig
    config_class = ECGTextDualEncoderConfig
    base_model_prefix = "dual_encoder"
    main_input_name = "input_ids"
    input_modalities = ("ecg", "text")

    def __init__(self, config: ECGTextDualEncoderConfig):
        super().__init__(config)
        self.ecg_encoder = ECGEncoder(config.encoder_config)
        self.text_encoder = AutoModel.from_config(config.text_config)
        text_size = config.text_config.get_text_config().hidden_size
        self.ecg_projection = nn.Linear(config.encoder_config.hidden_size, config.projection_dim, bias=False)
        self.text_projection = nn.Linear(text_size, config.projection_dim, bias=False)
        start = config.logit_scale_init_value
        if start is None:
            start = 2.6593 if config.loss_type == "infonce" else 2.3026  # ln(1/0.07), ln(10)
        self.logit_scale_init_value = start
        self.logit_scale = nn.Parameter(torch.tensor(start))
        # A parameter that its loss does not use would stop distributed training.
        sigmoid = config.loss_type == "sigmoid"
        self.logit_bias = nn.Parameter(torch.tensor(config.logit_bias_init_value)) if sigmoid else None
        statements = config.statement_targets
        self.statement_scale = nn.Parameter(torch.tensor(_STATEMENT_SCALE)) if statements else None
        self.statement_bias = nn.Parameter(torch.zeros(())) if statements else None
        names = config.statement_names
        self.statement_prototypes = nn.Parameter(torch.zeros(len(names), config.projection_dim)) if names else None
        self.post_init()

    @classmethod
    def from_encoder_and_text_encoder(
        cls, encoder: ECGEncoder | ECGEncoderConfig, text_encoder: str | PreTrainedModel, **config_fields: Any
    ) -> "ECGTextDualEncoder":
        """Join an ECG encoder (or its configuration) with a pretrained text encoder (name, path or model)."""
        if not isinstance(text_encoder, PreTrainedModel):
            text_encoder = AutoModel.from_pretrained(text_encoder)
        encoder_config = encoder if isinstance(encoder, ECGEncoderConfig) else encoder.config
        config = ECGTextDualEncoderConfig(
            encoder_config=encoder_config, text_config=text_encoder.config, **config_fields
        )
        # The pretrained parts come in after the initialisation, which must not touch them.
        model = cls(config)
        model.text_encoder = text_encoder
        if isinstance(encoder, ECGEncoder):
            model.ecg_encoder = encoder
        return model

    def get_input_embeddings(self) -> nn.Module:
        return self.text_encoder.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.text_encoder.set_input_embeddings(value)

    @can_return_tuple
    def get_ecg_features(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """The encoder's output for ECGs [ecgs, leads, samples]; pooler_output [ecgs, projection_dim], projected."""
        encoded = self.ecg_encoder(
            ecg_values, lead_mask=lead_mask, ecg_lengths=ecg_lengths, **kwargs | {"return_dict": True}
        )
        encoded.pooler_output = self.ecg_projection(encoded.pooler_output.to(self.ecg_projection.weight.dtype))
        return encoded

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """The text encoder's output for texts [texts, tokens]; pooler_output [texts, projection_dim], the mean of the
        tokens, projected.
        """
        encoded = self.text_encoder(
            input_ids=input_ids, attention_mask=attention_mask, **kwargs | {"return_dict": True}
        )
        # A text encoder may be in another type than what stands behind it, in whose type the mean is taken.
        hidden = encoded.last_hidden_state.to(self.text_projection.weight.dtype)
        if attention_mask is None:
            pooled = hidden.mean(dim=1)
        else:
            weight = attention_mask[..., None].to(hidden.dtype)
            pooled = (hidden * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1)
        return BaseModelOutputWithPooling(
            last_hidden_state=encoded.last_hidden_state,
            pooler_output=self.text_projection(pooled),
            hidden_states=encoded.get("hidden_states"),
            attentions=encoded.get("attentions"),
        )

    def get_ecg_embeds(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Unit vectors [ecgs, projection_dim] of ECGs [ecgs, leads, samples]."""
        features = self.get_ecg_features(ecg_values, lead_mask, ecg_lengths, return_dict=True)
        return nn.functional.normalize(features.pooler_output, dim=-1)

    def get_text_embeds(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Unit vectors [texts, projection_dim] of texts [texts, tokens]."""
        features = self.get_text_features(input_ids, attention_mask, return_dict=True)
        return nn.functional.normalize(features.pooler_output, dim=-1)

    def get_statement_prototypes(self) -> torch.Tensor:
        """Unit vectors [statements, projection_dim] of `config.statement_names`, learned as they are, without words.

        Raises: ValueError for a model that has none.
        """
        if self.statement_prototypes is None:
            raise ECGError("config.statement_names is empty: this model knows statements by their wordings alone.")
        return nn.functional.normalize(self.statement_prototypes, dim=-1)

    def get_statement_logits(self, ecg_embeds: torch.Tensor, statement_embeds: torch.Tensor) -> torch.Tensor:
        """Logits [ecgs, statements] that a statement holds of an ECG, from unit vectors [.., projection_dim].

        Raises: ValueError for a model that did not learn from statements.
        """
        if self.statement_scale is None:
            raise ECGError(
                "config.statement_targets is False: this model has no temperature and bias for statements. Compare "
                "statements by logits_per_ecg, or train with text: findings or both."
            )
        scale = self.statement_scale.clamp(max=_MAX_SCALE).exp()
        return scale * ecg_embeds @ statement_embeds.T + self.statement_bias

    def loss_of_embeds(
        self,
        ecg_embeds: torch.Tensor,
        text_embeds: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        statement_embeds: torch.Tensor | None = None,
        statement_targets: torch.Tensor | None = None,
        statement_weights: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The loss as a function of unit vectors [.., projection_dim] alone: `contrastive_loss` of ECGs and their
        reports, plus `statement_loss` of ECGs and statements, each where it is given.

        With `config.statement_names`, ECGs are held against the prototypes, too: an untrained text encoder learns over
        hundreds of steps to tell statements apart, and until then hides from the ECG encoder what it shall see.
        """
        # Of a cosine times a scale of up to 100, bfloat16 leaves two digits; mixed precision would compute it so.
        with torch.autocast(ecg_embeds.device.type, enabled=False):
            ecg_embeds, text_embeds, statement_embeds = map(
                _at_least_float32, (ecg_embeds, text_embeds, statement_embeds)
            )
            loss = ecg_embeds.new_zeros(())
            if text_embeds is not None:
                scale = self.logit_scale.clamp(max=_MAX_SCALE).exp()
                loss = loss + contrastive_loss(
                    ecg_embeds, text_embeds, scale, self.logit_bias, self.config.loss_type, report_ids
                )
            if statement_targets is not None:
                logits = self.get_statement_logits(ecg_embeds, statement_embeds)
                loss = loss + statement_loss(logits, statement_targets, statement_weights)
                if self.statement_prototypes is not None:
                    prototypes = _at_least_float32(self.get_statement_prototypes())
                    logits = self.get_statement_logits(ecg_embeds, prototypes)
                    # Further texts, which are only measured, have no target.
                    logits = nn.functional.pad(logits, (0, statement_targets.shape[1] - logits.shape[1]))
                    loss = loss + statement_loss(logits, statement_targets, statement_weights)
            return loss

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        ecg_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        report_ids: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        statement_input_ids: torch.Tensor | None = None,
        statement_attention_mask: torch.Tensor | None = None,
        statement_targets: torch.Tensor | None = None,
        statement_weights: torch.Tensor | None = None,
        return_loss: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ECGTextDualEncoderOutput:
        """Embed ECGs [ecgs, leads, samples] beside their reports [ecgs, tokens], statements [statements, tokens] that
        every ECG is held against, or both; see `contrastive_loss` and `statement_loss` for the targets.
        """
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        if input_ids is None and statement_input_ids is None:
            raise ECGError("No text was given; pass input_ids (a report per ECG), statement_input_ids or both.")
        kwargs = kwargs | {"return_dict": True}
        ecg_output = self.get_ecg_features(ecg_values, lead_mask, ecg_lengths, **kwargs)
        ecg_embeds = nn.functional.normalize(ecg_output.pooler_output, dim=-1)
        text_output = text_embeds = logits = statement_embeds = statement_logits = None
        if input_ids is not None:
            text_output = self.get_text_features(input_ids, attention_mask, **kwargs)
            text_embeds = nn.functional.normalize(text_output.pooler_output, dim=-1)
            logits = self.logit_scale.clamp(max=_MAX_SCALE).exp() * ecg_embeds @ text_embeds.T
        if statement_input_ids is not None:
            statement_embeds = self.get_text_embeds(statement_input_ids, statement_attention_mask)
            if self.statement_scale is not None:
                statement_logits = self.get_statement_logits(ecg_embeds, statement_embeds)
        loss = None
        if return_loss and (text_embeds is not None or statement_targets is not None):
            loss = self.loss_of_embeds(
                ecg_embeds, text_embeds, report_ids, statement_embeds, statement_targets, statement_weights
            )
        return ECGTextDualEncoderOutput(
            loss=loss,
            logits_per_ecg=logits,
            logits_per_text=None if logits is None else logits.T,
            ecg_embeds=ecg_embeds,
            text_embeds=text_embeds,
            ecg_model_output=ecg_output,
            text_model_output=text_output,
            statement_embeds=statement_embeds,
            statement_logits=statement_logits,
        )


# ---------------------------------------------------------------------------------------------------------------------
# ECG encoder in front of a language model
# ---------------------------------------------------------------------------------------------------------------------


class ECGProjector(nn.Module):
    """Encoder tokens to the language model's embedding size: linear (the paper) or a two-layer MLP.

    `patches_per_token` neighbouring patches are joined by concatenation first: [ecgs, patches, size] ->
    [ecgs, ceil(patches / k), lm size]. With `projector_summary` each token gets the mean of all patches, by a linear
    layer of its own.
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
        self.summary = None
        if config.projector_summary:
            self.summary = nn.Linear(config.encoder_config.hidden_size, text_size, bias=False)

    def forward(self, patches: torch.Tensor, num_patches: torch.Tensor | None = None) -> torch.Tensor:
        """Args: num_patches: int [ecgs], how many are an ECG's own; all, if None."""
        patches = patches.to(self.layers[0].weight.dtype)
        padded = nn.functional.pad(patches, (0, 0, 0, -patches.shape[1] % self.patches_per_token))
        joined = padded.reshape(patches.shape[0], -1, patches.shape[2] * self.patches_per_token)
        tokens = self.layers(joined)
        if self.summary is None:
            return tokens
        if num_patches is None:
            mean = patches.mean(dim=1)
        else:
            own = torch.arange(patches.shape[1], device=patches.device) < num_patches[:, None]
            mean = (patches * own[..., None]).sum(dim=1) / num_patches[:, None].clamp(min=1).to(patches.dtype)
        return tokens + self.summary(mean)[:, None]


# What a causal language model calls its cache: `cache` since transformers 5.24; before, `past_key_values` or, in
# state-space models, `cache_params`. The name of this release and this language model is used towards the inside; all
# three are taken from the outside.
_CACHE_NAMES = ("cache", "past_key_values", "cache_params")


@dataclass
class ECGLLMCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Outputs of the language model, and the ECG tokens that it read.

    loss; logits [batch, tokens, vocabulary]; the cache, under the name that this release of transformers gives it;
    hidden_states and attentions of the language model; ecg_hidden_states: projected ECG tokens of the whole batch,
    [tokens, lm size].
    """

    if not hasattr(CausalLMOutputWithPast, "cache"):  # where it is, it stands for all three
        cache_params: Cache | None = None
    ecg_hidden_states: torch.Tensor | None = None


_OF_THE_LANGUAGE_MODEL = tuple(
    field.name
    for field in fields(ECGLLMCausalLMOutputWithPast)
    if field.name not in ("loss", "logits", "ecg_hidden_states")
)
# Named arguments of language models that differ between families: given only to a forward that names them.
_FAMILY_ARGUMENTS = ("position_ids", *_CACHE_NAMES, "logits_to_keep", "cache_position")
_ECG_ARGUMENTS = ("ecg_values", "ecg_embeds", "ecg_mask", "lead_mask", "ecg_lengths", "preprocessing_id")


class ECGLLMForConditionalGeneration(ECGPreTrainedModel, GenerationMixin):
    """An ECG encoder and a projector in front of any causal language model.

    The prompt holds one placeholder token per ECG token (`ECGProcessor` puts them there); the projected ECG tokens
    take their places in the input embeddings. Without ECGs the model is its language model, exactly. Any number of
    ECGs per prompt, of any duration, anywhere in the conversation.
    """

    config: ECGLLMConfig
    config_class = ECGLLMConfig
    base_model_prefix = "language_model"
    main_input_name = "input_ids"
    input_modalities = ("ecg", "text")

    def __init__(self, config: ECGLLMConfig):
        super().__init__(config)
        self.ecg_encoder = ECGEncoder(config.encoder_config)
        self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.projector = ECGProjector(config, _embedding_size(self.language_model))
        # What generation may do with caches is for the language model to say.
        self._is_stateful = self.language_model._is_stateful
        self._can_compile_fullgraph = self.language_model._can_compile_fullgraph
        self.post_init()
        self._suppress_placeholder()

    @classmethod
    def from_encoder_and_language_model(
        cls,
        encoder: "ECGEncoder | ECGTextDualEncoder | ECGEncoderConfig | str | Path",
        language_model: str | Path | PreTrainedModel,
        projector: str = "linear",
        *,
        tokenizer: Any = None,
        patches_per_token: int = 1,
        projector_hidden_size: int | None = None,
        projector_summary: bool = False,
        trained_on: str | None = None,
        **language_model_kwargs: Any,
    ) -> "ECGLLMForConditionalGeneration":
        """Put an ECG encoder in front of a causal language model; only the projector starts untrained.

        Args:
            encoder: an encoder, a dual encoder, the path of a checkpoint of either, or a configuration (random
            weights).
            language_model: name or path for `AutoModelForCausalLM`, or a loaded model.
            projector: "linear" or "mlp". patches_per_token, projector_hidden_size, projector_summary, trained_on: see
            `ECGLLMConfig`.
            tokenizer: the language model's; loaded from `language_model` when that is a name or path. The placeholder
                token is added to it. The language model keeps its rows: the placeholder needs none.
            language_model_kwargs: for `AutoModelForCausalLM.from_pretrained`.
        Raises: ValueError when no tokenizer is given for a loaded model.
        """
        if isinstance(language_model, PreTrainedModel):
            if tokenizer is None:
                raise ECGError(
                    "language_model is a loaded model and tokenizer is missing; pass tokenizer= so that the ECG "
                    "placeholder gets an id."
                )
        else:
            tokenizer = tokenizer if tokenizer is not None else AutoTokenizer.from_pretrained(language_model)
            language_model = AutoModelForCausalLM.from_pretrained(language_model, **language_model_kwargs)
        ecg_token_id = add_ecg_token(tokenizer)
        encoder = _as_encoder(encoder)
        config = ECGLLMConfig(
            encoder_config=encoder.config,
            text_config=language_model.config,
            projector_type=projector,
            projector_hidden_size=projector_hidden_size,
            patches_per_token=patches_per_token,
            projector_summary=projector_summary,
            ecg_token_id=ecg_token_id,
            trained_on=trained_on,
            dtype=language_model.dtype,
        )
        # The shell is built without memory: both parts exist, and must not be initialised again.
        with torch.device("meta"):
            model = cls(config)
        model.ecg_encoder, model.language_model = encoder, language_model
        model.projector = ECGProjector(config, _embedding_size(language_model))
        model.projector.apply(model._init_weights)
        for part in (model.ecg_encoder, model.projector):
            part.to(device=language_model.device, dtype=language_model.dtype)
        if language_model.generation_config is not None:
            model.generation_config = copy.deepcopy(language_model.generation_config)
        if model.generation_config.pad_token_id is None:
            model.generation_config.pad_token_id = tokenizer.pad_token_id
        model._suppress_placeholder()
        return model

    def _auto_map(self) -> dict[str, str]:
        model = f"{self._code_module}.{type(self).__name__}"
        return super()._auto_map() | {
            "AutoModelForCausalLM": model,
            "AutoModelForMultimodalLM": model,
            "AutoProcessor": f"processing_ecgllm.{ECGProcessor.__name__}",
        }

    def save_pretrained(self, save_directory: str | Path, push_to_hub: bool = False, **kwargs: Any) -> None:
        """As `CompleteFolder.save_pretrained`; the folder names its pipeline, too."""
        self.config.custom_pipelines = {
            "ecg-text-to-text": {
                "impl": f"pipeline_ecgllm.{ECGTextToTextPipeline.__name__}",
                "pt": ["AutoModel"],
                "tf": [],
                "type": "multimodal",
            }
        }
        super().save_pretrained(save_directory, push_to_hub, **kwargs)

    def _suppress_placeholder(self) -> None:
        # An untrained or confused model could otherwise emit a placeholder, which stands for a signal that is not
        # there.
        if self.config.ecg_token_id is not None and self.generation_config is not None:
            suppressed = set(self.generation_config.suppress_tokens or ())
            self.generation_config.suppress_tokens = sorted(suppressed | {self.config.ecg_token_id})

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.language_model.get_output_embeddings()

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.language_model.set_output_embeddings(new_embeddings)

    def get_decoder(self) -> nn.Module:
        return self.language_model.get_decoder()

    @can_return_tuple
    def get_ecg_features(
        self,
        ecg_values: torch.Tensor | None = None,
        ecg_embeds: torch.Tensor | None = None,
        ecg_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Encode and project the ECGs of a batch.

        Args:
            ecg_values: [batch, ecgs, leads, samples], or in its place ecg_embeds [batch, ecgs, patches, encoder size],
                the encoder's last_hidden_state. ecg_mask: bool [batch, ecgs], False where a prompt has fewer ECGs.
                lead_mask: bool [batch, ecgs, leads]. ecg_lengths: int [batch, ecgs], samples before padding.
        Returns: last_hidden_state [ecgs, patches, encoder size] of the real ECGs; pooler_output [tokens, lm size], the
            projected tokens of all ECGs one after the other.
        """
        if (ecg_values is None) == (ecg_embeds is None):
            raise ECGError("Pass either ecg_values or ecg_embeds (encoder outputs), not both and not neither.")
        check_preprocessing(self.config.encoder_config, preprocessing_id)
        given = ecg_values if ecg_values is not None else ecg_embeds
        if given.ndim != 4:
            raise ECGError(
                f"ECG input has shape {tuple(given.shape)}; expected [batch, ecgs, leads, samples] for ecg_values and "
                "[batch, ecgs, patches, encoder size] for ecg_embeds, as ECGProcessor returns it."
            )
        if ecg_mask is None:
            ecg_mask = torch.ones(given.shape[:2], dtype=torch.bool, device=given.device)
        ecg_mask = ecg_mask.bool()
        lengths = None if ecg_lengths is None else ecg_lengths[ecg_mask]
        if ecg_values is not None:
            encoded = self.ecg_encoder(
                ecg_values[ecg_mask],
                lead_mask=None if lead_mask is None else lead_mask[ecg_mask],
                ecg_lengths=lengths,
                **kwargs | {"return_dict": True},
            )
        else:
            encoded = BaseModelOutputWithPooling(last_hidden_state=ecg_embeds[ecg_mask])
        patches = encoded.last_hidden_state
        if lengths is None:
            tokens = self.projector(patches)
            flat = tokens.flatten(0, 1)
        else:
            tokens = self.projector(patches, self.ecg_encoder.num_patches(lengths.to(patches.device)))
            num_tokens = self.num_ecg_tokens(lengths)
            flat = tokens[torch.arange(tokens.shape[1], device=tokens.device) < num_tokens[:, None]]
        encoded.pooler_output = flat
        return encoded

    def num_ecg_tokens(self, ecg_lengths: torch.Tensor) -> torch.Tensor:
        """Language model tokens of ECGs of these lengths (samples)."""
        return self.config.num_ecg_tokens(ecg_lengths)

    def get_placeholder_mask(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor,
        ecg_features: torch.Tensor,
        tokens_per_prompt: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Where the ECG tokens go: bool [batch, tokens, size].

        Args: ecg_features: [tokens, size] of the whole batch. tokens_per_prompt: int [batch], how many of them belong
            to each prompt; with it every prompt is checked, without it their sum.
        Raises: ValueError when the prompt's placeholders are not as many as the ECG tokens.
        """
        if self.config.ecg_token_id is None:
            raise ECGError(
                "config.ecg_token_id is None: this model has no placeholder for ECGs. Build it with "
                "from_encoder_and_language_model, which gives it one."
            )
        if input_ids is None and self.config.ecg_token_id >= self.get_input_embeddings().weight.shape[0]:
            raise ECGError(
                "inputs_embeds were given without input_ids, and this language model has no embedding of the "
                "placeholder by which it could be found in them; pass input_ids."
            )
        if input_ids is None:
            placeholder = self.get_input_embeddings()(
                torch.full((), self.config.ecg_token_id, dtype=torch.long, device=inputs_embeds.device)
            )
            mask = (inputs_embeds == placeholder).all(-1)
        else:
            mask = (input_ids == self.config.ecg_token_id).to(inputs_embeds.device)
        if not torch.compiler.is_compiling():
            found, given = [int(mask.sum())], [ecg_features.shape[0]]
            if tokens_per_prompt is not None:
                found, given = mask.sum(dim=1).tolist(), tokens_per_prompt.tolist()
            if found != given:
                raise ECGError(
                    f"The prompts hold {found} ECG placeholder tokens (id {self.config.ecg_token_id}) and their ECGs "
                    f"give {given} tokens; expected the same numbers. Prepare text and ECGs together with "
                    "ECGProcessor, with one ECG per <|ecg|> in the text. With past_key_values, pass only the ECGs "
                    "whose placeholders are not in the cache yet."
                )
        return mask.unsqueeze(-1).expand_as(inputs_embeds)

    def _tokens_per_prompt(
        self,
        ecg_values: torch.Tensor | None,
        ecg_embeds: torch.Tensor | None,
        ecg_mask: torch.Tensor | None,
        ecg_lengths: torch.Tensor | None,
    ) -> torch.Tensor:
        if ecg_lengths is not None:
            tokens = self.num_ecg_tokens(ecg_lengths)
        elif ecg_values is not None:
            count = self.config.num_ecg_tokens(ecg_values.shape[3])
            tokens = torch.full(ecg_values.shape[:2], count, device=ecg_values.device)
        else:
            count = -(-ecg_embeds.shape[2] // self.config.patches_per_token)
            tokens = torch.full(ecg_embeds.shape[:2], count, device=ecg_embeds.device)
        return (tokens if ecg_mask is None else tokens * ecg_mask.bool()).sum(dim=1)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        ecg_values: torch.Tensor | None = None,
        ecg_mask: torch.Tensor | None = None,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        ecg_embeds: torch.Tensor | None = None,
        preprocessing_id: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        cache: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ECGLLMCausalLMOutputWithPast:
        """Read text and ECGs.

        Args:
            input_ids: [batch, tokens], with `config.ecg_token_id` where ECG tokens go. ECG inputs: see
                `get_ecg_features`. preprocessing_id: int [batch], the processor's fingerprint, compared with the
                checkpoint's. labels: [batch, tokens], -100 where there is no loss. cache (transformers 5.24 and
                newer), past_key_values, cache_params: names of one thing, any of which is taken. The rest as in every
                causal LM.
        Raises: ValueError when placeholders and ECGs do not fit, the preprocessing is not the checkpoint's, or a cache
            is given twice.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ECGError("Pass either input_ids or inputs_embeds, not both and not neither.")
        ecg_tokens = None
        has_ecgs = ecg_values is not None or ecg_embeds is not None
        if has_ecgs and ecg_mask is not None and not torch.compiler.is_compiling():
            # Part of a batch may hold nothing but padding, which attention kernels refuse.
            has_ecgs = bool(ecg_mask.any())
        if has_ecgs:
            if inputs_embeds is None:
                # The placeholder's id is replaced before the look-up, which need not know it: the language model keeps
                # its rows.
                known = input_ids.masked_fill(input_ids == self.config.ecg_token_id, 0)
                inputs_embeds = self.get_input_embeddings()(known)
            ecg_tokens = self.get_ecg_features(
                ecg_values, ecg_embeds, ecg_mask, lead_mask, ecg_lengths, preprocessing_id, return_dict=True
            ).pooler_output.to(inputs_embeds.device, inputs_embeds.dtype)
            tokens_per_prompt = self._tokens_per_prompt(ecg_values, ecg_embeds, ecg_mask, ecg_lengths)
            mask = self.get_placeholder_mask(input_ids, inputs_embeds, ecg_tokens, tokens_per_prompt)
            inputs_embeds = inputs_embeds.masked_scatter(mask, ecg_tokens)
        elif input_ids is not None:
            self._refuse_placeholders_without_ecg(input_ids)

        loss_kwargs = {key: kwargs.pop(key) for key in ("num_items_in_batch", "shift_labels") if key in kwargs}
        kwargs |= self._named_cache(
            cache=cache, past_key_values=past_key_values, cache_params=kwargs.pop("cache_params", None)
        )
        inputs = self._language_model_inputs(
            input_ids=None if inputs_embeds is not None else input_ids,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **kwargs,
        )
        try:
            outputs = self.language_model(**inputs, return_dict=True)
        except IndexError as error:
            # Learned positions end somewhere; other language models go on, so that no limit is set beforehand.
            count = (input_ids if inputs_embeds is None else inputs_embeds).shape[1]
            limit = getattr(self.config.get_text_config(), "max_position_embeddings", None)
            if limit is None or count <= limit:
                raise
            raise ECGError(
                f"The prompt has {count} tokens, ECG tokens included; this language model has positions for {limit}. "
                "Use a shorter segment of the ECG, fewer ECGs, or a model with more patches_per_token."
            ) from error
        logits = outputs.logits
        loss = None
        if labels is not None:
            if self.config.ecg_token_id is not None:  # no word: it has no logit, and nothing is to be learned of it
                labels = labels.masked_fill(labels == self.config.ecg_token_id, -100)
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=logits.shape[-1], **loss_kwargs)
        return ECGLLMCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            ecg_hidden_states=ecg_tokens,
            **{name: outputs.get(name) for name in _OF_THE_LANGUAGE_MODEL},
        )

    def _refuse_placeholders_without_ecg(self, input_ids: torch.Tensor) -> None:
        if self.config.ecg_token_id is None or torch.compiler.is_compiling():
            return
        count = int((input_ids == self.config.ecg_token_id).sum())
        if count:
            raise ECGError(
                f"The prompt holds {count} ECG placeholder tokens and no ECG was given; pass ecg_values (or "
                "ecg_embeds) as ECGProcessor returns them, or take <|ecg|> out of the text."
            )

    def _named_cache(self, **caches: Cache | None) -> dict[str, Cache]:
        """The cache under the name that the language model takes; nothing where there is none."""
        given = {name: cache for name, cache in caches.items() if cache is not None}
        if len(given) > 1:
            raise ECGError(f"One cache is given as {' and '.join(given)}; pass it once.")
        parameters = inspect.signature(self.language_model.forward).parameters
        return {
            next((name for name in _CACHE_NAMES if name in parameters), own): cache for own, cache in given.items()
        }

    def _language_model_inputs(self, **inputs: Any) -> dict[str, Any]:
        parameters = inspect.signature(self.language_model.forward).parameters
        takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        if "logits_to_keep" not in parameters and not _keeps_all(inputs["logits_to_keep"]):
            raise ECGError(
                f"{type(self.language_model).__name__} does not take logits_to_keep; leave it at 0 with this "
                "language model."
            )
        return {
            name: value
            for name, value in inputs.items()
            if value is not None and (name in parameters or (takes_any and name not in _FAMILY_ARGUMENTS))
        }

    # What generation does with caches, positions and new tokens is the language model's own business: state-space and
    # attention models differ in all three.

    def prepare_inputs_for_generation(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        ecg_inputs = {name: kwargs.pop(name) for name in _ECG_ARGUMENTS if name in kwargs}
        model_inputs = self.language_model.prepare_inputs_for_generation(
            input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, **kwargs
        )
        # ECGs belong to the step whose ids still hold their placeholders: the prefill, or every step without a cache.
        ids = model_inputs.get("input_ids")
        if ids is not None:
            carries_ecgs = bool((ids == self.config.ecg_token_id).any())
        else:
            carries_ecgs = model_inputs.get("inputs_embeds") is not None
        if carries_ecgs:
            model_inputs.update({name: value for name, value in ecg_inputs.items() if value is not None})
        return model_inputs

    def _get_logits_processor(self, *args: Any, **kwargs: Any) -> LogitsProcessorList:
        processors = super()._get_logits_processor(*args, **kwargs)
        if (self.config.ecg_token_id or 0) < self.get_input_embeddings().weight.shape[0]:
            return processors
        return _BesidePlaceholders(processors, self.config.ecg_token_id)

    def _prepare_cache_for_generation(self, *args: Any, **kwargs: Any) -> Any:
        return self.language_model._prepare_cache_for_generation(*args, **kwargs)

    def _update_model_kwargs_for_generation(self, outputs: ModelOutput, *args: Any, **kwargs: Any) -> dict[str, Any]:
        return self.language_model._update_model_kwargs_for_generation(outputs, *args, **kwargs)


class _BesidePlaceholders(LogitsProcessorList):
    """Processors of logits that look up the prompt's tokens in them (repetition penalty), where the placeholder has no
    logit: they see another token of the same prompt in its place, so that no token is in it that was not.
    """

    def __init__(self, processors: LogitsProcessorList, placeholder: int):
        super().__init__(processors)
        self.placeholder = placeholder

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        if input_ids.shape[1] == 0:  # generated from inputs_embeds
            return super().__call__(input_ids, scores, **kwargs)
        words = input_ids != self.placeholder
        first = input_ids.gather(1, words.int().argmax(dim=1, keepdim=True))
        return super().__call__(torch.where(words, input_ids, first), scores, **kwargs)


def _keeps_all(logits_to_keep: int | torch.Tensor) -> bool:
    return isinstance(logits_to_keep, int) and logits_to_keep == 0


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


def _embedding_size(language_model: PreTrainedModel) -> int:
    # Not the hidden size: some models (OPT-350m) have smaller embeddings.
    return language_model.get_input_embeddings().weight.shape[1]


def _as_encoder(encoder: Any) -> ECGEncoder:
    if isinstance(encoder, ECGEncoderConfig):
        return ECGEncoder(encoder)
    if isinstance(encoder, str | Path):
        # Both load from the checkpoint of either: the encoder's weights have the prefix ecg_encoder in a dual encoder.
        encoder = ECGEncoder.from_pretrained(encoder)
    return encoder if isinstance(encoder, ECGEncoder) else encoder.ecg_encoder


__all__ = [
    "ECGEncoder",
    "ECGLLMForConditionalGeneration",
    "ECGPreTrainedModel",
    "ECGTextDualEncoder",
    "contrastive_loss",
    "statement_loss",
]
