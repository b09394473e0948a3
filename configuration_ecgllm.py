"""Configurations: what a checkpoint must carry to be rebuilt and used right.

`ECGEncoderConfig` describes the ECG encoder and keeps the preprocessing (`ECGFeatureExtractor.preprocessing`) that its
weights were trained with; `ECGTextDualEncoderConfig` adds a text encoder for contrastive pre-training;
`ECGLLMConfig` joins the encoder, the projector and any causal language model. This file is uploaded with every
checkpoint, so it imports nothing but transformers.
"""

import json
import zlib
from math import prod
from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .errors_ecgllm import CheckpointError, ECGError

_LOWEST_BEAT_RATE = 75

ECG_TOKEN = "<|ecg|>"
"""The placeholder that stands for one ECG in a text; the processor repeats it once per ECG token."""


def preprocessing_fingerprint(preprocessing: dict[str, Any]) -> int:
    """Number that identifies a signal path: CRC-32 of its canonical JSON, so that a tensor can carry it along."""
    return zlib.crc32(json.dumps(preprocessing, sort_keys=True).encode("utf-8"))


def describe_difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The fields in which two signal paths differ, for error messages."""
    fields = sorted(set(found) | set(expected))
    return ", ".join(
        f"{field}: {found.get(field)!r} instead of {expected.get(field)!r}"
        for field in fields
        if found.get(field) != expected.get(field)
    )


def count_tokens(lengths: Any, samples_per_token: int, samples_trimmed: int = 0) -> Any:
    """Tokens of ECGs: the one formula, for encoder, language model and processor.

    Args:
        lengths: samples, an int or a tensor of ints. samples_trimmed: those that the encoder's stem takes away. With 0
            a last token that is not full counts; above 0 it is left out, but every ECG has one token.
    Returns: what `lengths` is, of the same shape.
    """
    if samples_trimmed == 0:
        return (lengths + samples_per_token - 1) // samples_per_token
    full = (lengths - samples_trimmed) // samples_per_token
    return full.clamp(min=1) if hasattr(full, "clamp") else max(full, 1)


def _as_sub_config(value: Any, default_model_type: str, field: str) -> PreTrainedConfig:
    """Turn a dict (as read from config.json) into the configuration class that its `model_type` names."""
    if isinstance(value, PreTrainedConfig):
        return value
    value = dict(value or {})
    model_type = value.pop("model_type", default_model_type)
    if model_type not in CONFIG_MAPPING:
        raise ECGError(
            f"{field} has model_type {model_type!r}, which this version of transformers does not know. Expected the "
            "model_type of a model inside transformers: upgrade transformers, or pass a configuration object."
        )
    return CONFIG_MAPPING[model_type](**value)


class _OwnConfig(PreTrainedConfig):
    """A configuration that is read from a checkpoint of its own type alone; transformers only warns of another's."""

    def _check_sizes(self, *names: str) -> None:
        """Raises: ECGError for a size, or one in a list of sizes, that is no whole number from 1 on."""
        for name in names:
            value = getattr(self, name)
            sizes = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
                raise ECGError(f"{name} is {value!r}; expected 1 or more (whole numbers).")

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers. Raises: CheckpointError for a model of another type, such as a plain language model."""
        found = config_dict.get("model_type") or cls.model_type
        if found != cls.model_type:
            raise CheckpointError(
                f"the checkpoint holds a model of type {found!r}; expected {cls.model_type!r}. A language model "
                "without an ECG encoder gets one by ECGLLMForConditionalGeneration.from_encoder_and_language_model."
            )
        return super().from_dict(config_dict, **kwargs)


class ECGEncoderConfig(_OwnConfig):
    """Configuration of `ECGEncoder`, a vision transformer over time.

    Args:
        num_leads: rows of the input signal; 12 standard leads in the order of the feature extractor.
        patch_size: input samples per patch (token); 20 samples at 100 Hz are 0.2 s.
        stem_channels, stem_kernel_sizes, stem_strides: the convolutions ahead of the patch convolution. Kernels 15 and
            7 follow the authors' anyECG-chat code; the product of the strides must divide `patch_size`.
        stem_padding: "same", or "valid" as the authors have it: convolutions without padding, which shorten the signal
            by the sum of kernel - 1 (`samples_trimmed`), and samples that fill no patch are left out. An ECG too short
            for one patch is completed with zeros to one. For strides of 1.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act, hidden_dropout,
            attention_dropout, layer_norm_eps, initializer_range: as in every transformer. Defaults are ViT-base.
        rope_theta: base of the rotary positions; they extrapolate to any duration.
        beat_sampling_rate: sampling rate of the input in Hz, with which the encoder finds the QRS complexes and adds
            aligned beats and RR intervals to the patches (`ECGBeatEmbedding`); None: patches alone, as in the paper.
        beat_window: seconds of a beat before and behind the middle of its QRS. beat_hidden_size: width of its layers.
        preprocessing: the signal path of the feature extractor that the weights were trained with; None when unknown.
            The model refuses input that was prepared in another way.
    """

    model_type = "ecgllm_encoder"
    base_config_key = "encoder_config"

    num_leads: int = 12
    patch_size: int = 20
    stem_channels: list[int] | tuple[int, ...] = (64, 64)
    stem_kernel_sizes: list[int] | tuple[int, ...] = (15, 7)
    stem_strides: list[int] | tuple[int, ...] = (1, 1)
    stem_padding: str = "same"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    beat_sampling_rate: float | None = None
    beat_window: list[float] | tuple[float, float] = (0.4, 0.6)
    beat_hidden_size: int = 192
    initializer_range: float = 0.02
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.stem_channels = list(self.stem_channels)
        self.stem_kernel_sizes = list(self.stem_kernel_sizes)
        self.stem_strides = list(self.stem_strides)
        self.beat_window = list(self.beat_window)
        self._check_sizes("num_leads", "patch_size", "stem_channels", "stem_kernel_sizes", "stem_strides")
        self._check_sizes("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        self._check_sizes("beat_hidden_size")
        if not len(self.stem_channels) == len(self.stem_kernel_sizes) == len(self.stem_strides):
            raise ECGError(
                f"The stem has {len(self.stem_channels)} stem_channels, {len(self.stem_kernel_sizes)} "
                f"stem_kernel_sizes and {len(self.stem_strides)} stem_strides; expected the same number of each."
            )
        if any(kernel % 2 == 0 for kernel in self.stem_kernel_sizes):
            raise ECGError(
                f"stem_kernel_sizes is {self.stem_kernel_sizes}; expected odd sizes, so that a convolution is centred."
            )
        if self.patch_size % prod(self.stem_strides):
            raise ECGError(
                f"patch_size {self.patch_size} is not a multiple of the stem's total stride {prod(self.stem_strides)}"
                "; choose strides whose product divides patch_size."
            )
        self._check_stem_padding()
        self._check_beats()

    def _check_stem_padding(self) -> None:
        if self.stem_padding not in ("same", "valid"):
            raise ECGError(f"stem_padding is {self.stem_padding!r}; expected 'same' or 'valid'.")
        if self.stem_padding == "same":
            return
        if any(stride != 1 for stride in self.stem_strides):
            raise ECGError(
                f"stem_padding is 'valid' with stem_strides {self.stem_strides}; expected strides of 1, or "
                "stem_padding 'same'."
            )
        if self.samples_trimmed == 0:
            raise ECGError(
                f"stem_padding is 'valid' with stem_kernel_sizes {self.stem_kernel_sizes}, which need no padding; "
                "expected a kernel above 1, or stem_padding 'same'."
            )

    def _check_beats(self) -> None:
        if self.beat_sampling_rate is None:
            return
        rate = (self.preprocessing or {}).get("sampling_rate", self.beat_sampling_rate)
        if self.beat_sampling_rate != rate:
            raise ECGError(
                f"beat_sampling_rate is {self.beat_sampling_rate} Hz, but the feature extractor gives {rate} Hz; set "
                "both to the same."
            )
        if self.beat_sampling_rate < _LOWEST_BEAT_RATE:
            raise ECGError(
                f"beat_sampling_rate is {self.beat_sampling_rate} Hz; expected {_LOWEST_BEAT_RATE} Hz or more, as QRS "
                "is sought up to 30 Hz. Use a higher sampling rate, or null for patches alone."
            )
        if len(self.beat_window) != 2 or min(self.beat_window) <= 0:
            raise ECGError(
                f"beat_window is {self.beat_window}; expected seconds before and behind QRS, both above 0, such as "
                "[0.4, 0.6]."
            )

    @property
    def samples_trimmed(self) -> int:
        """Samples that the stem takes away from an ECG, half of them at either end; an even number."""
        return 0 if self.stem_padding == "same" else sum(kernel - 1 for kernel in self.stem_kernel_sizes)

    def num_patches(self, lengths: Any) -> Any:
        """Patches of ECGs of these lengths (samples), for an int an int and for a tensor a tensor."""
        return count_tokens(lengths, self.patch_size, self.samples_trimmed)

    @property
    def preprocessing_id(self) -> int | None:
        """Fingerprint of `preprocessing`; None where it is unknown."""
        return None if self.preprocessing is None else preprocessing_fingerprint(self.preprocessing)


class ECGTextDualEncoderConfig(_OwnConfig):
    """Configuration of `ECGTextDualEncoder`: an ECG encoder and any Hugging Face text encoder in one embedding space.

    Args:
        encoder_config: the ECG encoder. text_config: any text encoder that `AutoModel` knows (default BERT).
        projection_dim: size of the common space.
        loss_type: "infonce" (CLIP, arXiv 2103.00020) or "sigmoid" (SigLIP, arXiv 2303.15343).
        logit_scale_init_value: logarithm of the initial inverse temperature; None gives the published start of either
            loss, ln(1/0.07) or ln(10). logit_bias_init_value: start of the sigmoid loss' bias (-10 as published).
        statement_targets: whether the model also learns which statements hold of an ECG (`statement_loss`), with a
            temperature and a bias of their own.
        statement_names: names of statements that get a learned vector beside their wordings, in the order of the
            targets (`ECGTextDualEncoder.get_statement_prototypes`); None: wordings alone.
    """

    model_type = "ecgllm_dual_encoder"
    sub_configs = {"encoder_config": ECGEncoderConfig, "text_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int = 256
    loss_type: str = "infonce"
    logit_scale_init_value: float | None = None
    logit_bias_init_value: float = -10.0
    statement_targets: bool = False
    statement_names: list[str] | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        if not isinstance(self.encoder_config, PreTrainedConfig):
            self.encoder_config = ECGEncoderConfig(**_without_model_type(self.encoder_config))
        self.text_config = _as_sub_config(self.text_config, "bert", "text_config")
        super().__post_init__(**kwargs)
        self._check_sizes("projection_dim")
        if self.loss_type not in ("infonce", "sigmoid"):
            raise ECGError(f"loss_type is {self.loss_type!r}; expected 'infonce' or 'sigmoid'.")
        if self.statement_names and not self.statement_targets:
            raise ECGError("statement_names are given, but statement_targets is False; set it to True.")


class ECGLLMConfig(_OwnConfig):
    """Configuration of `ECGLLMForConditionalGeneration`: ECG encoder, projector and any causal language model.

    Args:
        encoder_config: the ECG encoder. text_config: any model that `AutoModelForCausalLM` knows (default Llama).
        projector_type: "linear" (the paper, arXiv 2411.14795) or "mlp" (two layers, as LLaVA 1.5, arXiv 2310.03744).
        projector_hidden_size: width of the MLP projector; None takes the language model's hidden size.
        projector_hidden_act: activation of the MLP projector.
        patches_per_token: neighbouring patches that are joined into one token for the language model, whose cost grows
            linearly with tokens; 1 where the encoder has the stem_padding "valid".
        projector_summary: whether each token gets the projected mean of the ECG's patches, too. That mean is what
            contrastive pre-training laid beside the report; of a single patch it asked nothing.
        ecg_token_id: id of the placeholder token in the language model's vocabulary.
        trained_on: one line that says what the checkpoint learned from; shown with answers and in the model card.
    """

    model_type = "ecgllm"
    sub_configs = {"encoder_config": ECGEncoderConfig, "text_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projector_type: str = "linear"
    projector_hidden_size: int | None = None
    projector_hidden_act: str = "gelu"
    patches_per_token: int = 1
    projector_summary: bool = False
    ecg_token_id: int | None = None
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    trained_on: str | None = None

    def __post_init__(self, **kwargs):
        if not isinstance(self.encoder_config, PreTrainedConfig):
            self.encoder_config = ECGEncoderConfig(**_without_model_type(self.encoder_config))
        self.text_config = _as_sub_config(self.text_config, "llama", "text_config")
        # The language model ties its own weights; transformers asks the outer configuration.
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        super().__post_init__(**kwargs)
        if self.projector_type not in ("linear", "mlp"):
            raise ECGError(f"projector_type is {self.projector_type!r}; expected 'linear' or 'mlp'.")
        self._check_sizes("patches_per_token")
        if self.projector_hidden_size is not None:
            self._check_sizes("projector_hidden_size")
        if self.patches_per_token > 1 and self.encoder_config.samples_trimmed:
            # The processor knows samples per token alone: a token that is not full would count, a patch would not.
            raise ECGError(
                f"patches_per_token is {self.patches_per_token} with the encoder's stem_padding 'valid'; expected 1, "
                "or stem_padding 'same'."
            )

    @property
    def samples_per_token(self) -> int:
        """Input samples behind one ECG token of the language model."""
        return self.encoder_config.patch_size * self.patches_per_token

    @property
    def max_positions(self) -> int | None:
        """Tokens that the language model was made for, ECG tokens included; None where it has no end."""
        return getattr(self.text_config.get_text_config(), "max_position_embeddings", None)

    @property
    def samples_trimmed(self) -> int:
        """Input samples that the encoder's stem takes away; see `ECGEncoderConfig`."""
        return self.encoder_config.samples_trimmed

    def num_ecg_tokens(self, lengths: Any) -> Any:
        """Language model tokens of ECGs of these lengths (samples), for an int an int and for a tensor a tensor."""
        return count_tokens(lengths, self.samples_per_token, self.samples_trimmed)


def _without_model_type(values: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if key != "model_type"}


__all__ = ["ECG_TOKEN", "ECGEncoderConfig", "ECGLLMConfig", "ECGTextDualEncoderConfig"]
