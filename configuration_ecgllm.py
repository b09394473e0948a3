"""Configurations: what a checkpoint must carry to be rebuilt and used correctly.

`ECGEncoderConfig` describes the ECG encoder and keeps the preprocessing (`ECGFeatureExtractor.preprocessing`) that its
weights were trained with, `ECGBeatEncoderConfig` one that sees beats, too, and `ECGEncoderAdapterConfig` any other
model as an ECG encoder; `ECGTextDualEncoderConfig` adds a text encoder for contrastive pre-training; `ECGLLMConfig`
joins an encoder, the projector and any causal language model; `ECGClassifierConfig` puts a head for labels on an
encoder. Decided here: what a configuration of an earlier format
means (`migrated`). This file is uploaded with every checkpoint, so it imports nothing but transformers.

What the configuration of any ECG encoder must state, whatever its model_type: `num_leads`, `patch_size` (input samples
behind a token), `hidden_size` and `preprocessing` (None where it is unknown). `encoder_ecgllm` states what the model
must do.
"""

import json
import zlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from .errors_ecgllm import CheckpointError, ECGError

FORMAT_VERSION = 2
"""Of the configurations here. In format 1, which names none, an encoder with beats was an `ECGEncoderConfig`."""

_LOWEST_BEAT_RATE = 75
_ENCODER_FIELDS = ("num_leads", "patch_size", "hidden_size", "preprocessing")
"""What a configuration says of an ECG encoder."""

PROJECTOR_FIELDS = {
    "type": "projector_type",
    "hidden_size": "projector_hidden_size",
    "patches_per_token": "patches_per_token",
    "summary": "projector_summary",
}
"""Options of the projector, as a recipe calls them -> fields of `ECGLLMConfig`."""

ECG_TOKEN = "<|ecg|>"
"""The placeholder that stands for one ECG in a text; the processor repeats it once per ECG token."""


def preprocessing_fingerprint(preprocessing: dict[str, Any]) -> int:
    """Number that identifies a signal path: CRC-32 of its canonical JSON, which fits into a tensor."""
    return zlib.crc32(json.dumps(preprocessing, sort_keys=True).encode("utf-8"))


def describe_difference(found: dict[str, Any], expected: dict[str, Any]) -> str:
    """The fields in which two signal paths differ, for error messages."""
    fields = sorted(set(found) | set(expected))
    return ", ".join(
        f"{field}: {found.get(field)!r} instead of {expected.get(field)!r}"
        for field in fields
        if found.get(field) != expected.get(field)
    )


def count_tokens(lengths: Any, samples_per_token: int) -> Any:
    """Number of tokens of ECGs, in one formula for encoder, language model and processor. A last, partial token
    counts.

    Args: lengths: samples, an int or a tensor of ints. Returns: an int or a tensor, as `lengths` is.
    """
    return (lengths + samples_per_token - 1) // samples_per_token


def migrated(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration, and the encoder's inside it, in today's format.

    Raises: CheckpointError for a later format than this, and for an encoder that this version no longer has.
    """
    values = dict(values)
    version = values.pop("format_version", 1)
    if not isinstance(version, int) or not 1 <= version <= FORMAT_VERSION:
        raise CheckpointError(
            f"the checkpoint's configuration has the format {version!r}; this version of ecgllm knows 1 to "
            f"{FORMAT_VERSION}. Update ecgllm (pip install --upgrade ecgllm)."
        )
    if isinstance(values.get("encoder_config"), dict):
        values["encoder_config"] = migrated(values["encoder_config"])
    if version == 1 and values.get("model_type") == ECGTextDualEncoderConfig.model_type:
        for of_training in ("statement_targets", "statement_names"):
            values.pop(of_training, None)
    if version == 1 and values.get("model_type") == ECGEncoderConfig.model_type:
        if values.pop("stem_padding", "same") != "same":
            raise CheckpointError(
                "the checkpoint's encoder has stem_padding 'valid', which this version of ecgllm no longer has; load "
                "it with the version that made it, or train it again."
            )
        if values.get("beat_sampling_rate") is not None:
            values["model_type"] = ECGBeatEncoderConfig.model_type
        else:
            values = {key: value for key, value in values.items() if not key.startswith("beat_")}
    return values


class UntrustedConfig(PreTrainedConfig):
    """The configuration of a model whose code comes with the checkpoint, as it was saved; its code did not run.

    `loading_ecgllm.run_code_of` turns it into the model's own configuration.
    """


def _as_sub_config(value: Any, field: str, default_model_type: str | None = None) -> PreTrainedConfig:
    """Turn a dict (as read from config.json) into the configuration class that its `model_type` names."""
    if isinstance(value, PreTrainedConfig):
        return value
    value = dict(value or {})
    model_type = value.pop("model_type", default_model_type)
    if model_type in CONFIG_MAPPING:
        return CONFIG_MAPPING[model_type](**value)
    if "auto_map" in value:
        return type("UntrustedConfig", (UntrustedConfig,), {"model_type": model_type})(**value)
    raise ECGError(
        f"{field} has model_type {model_type!r}, which this version of transformers does not know. Expected the "
        "model_type of a model inside transformers: upgrade transformers, register the model's classes (AutoConfig, "
        "AutoModel), or pass a configuration object."
    )


def as_encoder_config(value: Any) -> PreTrainedConfig:
    """The configuration of an ECG encoder, from one or from its fields.

    Args: value: a configuration; a dict with a `model_type`; or a dict of fields of `ECGEncoderConfig`, or, where it
        has a `beat_sampling_rate`, of `ECGBeatEncoderConfig`. None is the default encoder.
    Raises: ECGError for a model that is no ECG encoder.
    """
    own = {kind.model_type: kind for kind in (ECGEncoderConfig, ECGBeatEncoderConfig, ECGEncoderAdapterConfig)}
    if not isinstance(value, PreTrainedConfig):
        # A recipe says null for what it takes back.
        value = {key: each for key, each in (value or {}).items() if each is not None or not key.startswith("beat_")}
        default = ECGBeatEncoderConfig if "beat_sampling_rate" in value else ECGEncoderConfig
        kind = own.get(value.get("model_type", default.model_type))
        value = _as_sub_config(value, "encoder_config") if kind is None else kind(**_without_model_type(value))
    lacking = [name for name in _ENCODER_FIELDS if not hasattr(value, name)]
    if lacking and not isinstance(value, UntrustedConfig):
        raise ECGError(
            f"encoder_config is of a {value.model_type!r} model, which says no {', '.join(lacking)}; expected the "
            "configuration of an ECG encoder. Wrap another model's in ECGEncoderAdapterConfig(backbone_config=...)."
        )
    return value


def encoder_configs(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """The encoder's configuration inside a model's, and that of the model inside an adapter."""
    for part in ("encoder_config", "backbone_config"):
        if hasattr(config, part):
            yield getattr(config, part)
            yield from encoder_configs(getattr(config, part))


def _is_path(name: Any) -> bool:
    return isinstance(name, str) and (Path(name).is_absolute() or Path(name).exists())


class _OwnConfig(PreTrainedConfig):
    """A configuration that refuses the checkpoint of another model type; transformers only warns."""

    format_version: int = FORMAT_VERSION
    trained_on: str | None = None
    """One line that says what the checkpoint learned from; shown with answers and in the model card."""
    card_data: dict[str, Any] | None = None
    """What the model card states beside what is known: license, datasets, language, base_model, ..., as the Hub names
    them (https://huggingface.co/docs/hub/model-cards#model-card-metadata)."""

    def _check_sizes(self, *names: str) -> None:
        """Raises: ECGError for a size, or one in a list of sizes, that is not a whole number of at least 1."""
        for name in names:
            value = getattr(self, name)
            sizes = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes):
                raise ECGError(f"{name} is {value!r}; expected 1 or more (whole numbers).")

    def to_dict(self) -> dict[str, Any]:
        """As in transformers, without the local paths of the models inside."""
        values = super().to_dict()
        for part in values.values():
            if isinstance(part, dict) and _is_path(part.get("_name_or_path")):
                del part["_name_or_path"]
        return values

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers.

        Raises: CheckpointError for a model of another type, such as a plain language model, and for a later format.
        """
        config_dict = migrated(config_dict)
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
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, hidden_act, hidden_dropout,
            attention_dropout, layer_norm_eps, initializer_range: as in every transformer. Defaults are ViT-base.
        rope_theta: base of the rotary positions; they extrapolate to any duration.
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
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout: float = 0.0
    attention_dropout: float = 0.0
    layer_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    initializer_range: float = 0.02
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        # transformers keeps what it does not know as an attribute, and another encoder would be built than is meant.
        if unknown := [key for key in kwargs if key.startswith(("beat_", "stem_"))]:
            raise ECGError(
                f"{type(self).__name__} has no {', '.join(unknown)}; an encoder with beats (ECGBeatEncoderConfig) has "
                "a beat_sampling_rate."
            )
        super().__post_init__(**kwargs)
        self.stem_channels = list(self.stem_channels)
        self.stem_kernel_sizes = list(self.stem_kernel_sizes)
        self.stem_strides = list(self.stem_strides)
        self._check_sizes("num_leads", "patch_size", "stem_channels", "stem_kernel_sizes", "stem_strides")
        self._check_sizes("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
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


class ECGBeatEncoderConfig(ECGEncoderConfig):
    """Configuration of `ECGBeatEncoder`, which also finds the beats and adds them, aligned, to the patches.

    Args: those of `ECGEncoderConfig`, and
        beat_sampling_rate: sampling rate of the input in Hz, with which QRS complexes are found.
        beat_window: seconds before and after the middle of a QRS. beat_hidden_size: width of its layers.
    """

    model_type = "ecgllm_beat_encoder"

    beat_sampling_rate: float = 100.0
    beat_window: list[float] | tuple[float, float] = (0.4, 0.6)
    beat_hidden_size: int = 192

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.beat_window = list(self.beat_window)
        self._check_sizes("beat_hidden_size")
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


class ECGEncoderAdapterConfig(_OwnConfig):
    """Configuration of `ECGEncoderAdapter`: any model that `AutoModel` knows, or that brings its code, as ECG encoder.

    Args:
        backbone_config: the model, which gives `last_hidden_state` [.., tokens, hidden].
        input_name: the argument of its `forward` that takes the signal, such as "input_values" or "past_values".
        input_layout: what it takes there. "leads": [ecgs, leads, samples]; "samples": [ecgs, samples, leads], as
            time-series models have it; "joined": [ecgs, leads * samples], one lead after the other; "single": [ecgs *
            leads, samples], every lead by itself, as audio models have it.
        window: samples that the model sees at once; longer ECGs are cut, and the last window is padded with zeros.
        patch_size: samples per token. The model's tokens of a window are averaged, in order, to window / patch_size
            tokens.
        skipped_tokens: tokens before those of the signal, such as 1 for a class token.
        num_leads, preprocessing: as for `ECGEncoderConfig`.
    """

    model_type = "ecgllm_encoder_adapter"
    base_config_key = "encoder_config"
    sub_configs = {"backbone_config": AutoConfig}

    backbone_config: dict | PreTrainedConfig | None = None
    input_name: str = "input_values"
    input_layout: str = "leads"
    window: int = 1000
    patch_size: int = 20
    skipped_tokens: int = 0
    num_leads: int = 12
    initializer_range: float = 0.02
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        self.backbone_config = _as_sub_config(self.backbone_config, "backbone_config")
        super().__post_init__(**kwargs)
        self._check_sizes("window", "patch_size", "num_leads")
        if self.input_layout not in ("leads", "samples", "joined", "single"):
            raise ECGError(
                f"input_layout is {self.input_layout!r}; expected 'leads', 'samples', 'joined' or 'single'."
            )
        if self.window % self.patch_size:
            raise ECGError(
                f"window {self.window} is not a multiple of patch_size {self.patch_size}; choose one that is."
            )

    @property
    def hidden_size(self) -> int:
        """The backbone's."""
        return self.backbone_config.hidden_size


class ECGTextDualEncoderConfig(_OwnConfig):
    """Configuration of `ECGTextDualEncoder`: an ECG encoder and any Hugging Face text encoder in one embedding space.

    Args:
        encoder_config: the ECG encoder (`as_encoder_config`). text_config: any text encoder that `AutoModel` knows
            (default BERT).
        projection_dim: size of the common space.
        loss_type: "infonce" (CLIP, arXiv 2103.00020) or "sigmoid" (SigLIP, arXiv 2303.15343).
        logit_scale_init_value: logarithm of the initial inverse temperature; None gives the published start of either
            loss, ln(1/0.07) or ln(10). logit_bias_init_value: start of the sigmoid loss' bias (-10 as published).
    """

    model_type = "ecgllm_dual_encoder"
    sub_configs = {"encoder_config": AutoConfig, "text_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    projection_dim: int = 256
    loss_type: str = "infonce"
    logit_scale_init_value: float | None = None
    logit_bias_init_value: float = -10.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        self.encoder_config = as_encoder_config(self.encoder_config)
        self.text_config = _as_sub_config(self.text_config, "text_config", "bert")
        super().__post_init__(**kwargs)
        self._check_sizes("projection_dim")
        if self.loss_type not in ("infonce", "sigmoid"):
            raise ECGError(f"loss_type is {self.loss_type!r}; expected 'infonce' or 'sigmoid'.")


class ECGClassifierConfig(_OwnConfig):
    """Configuration of `ECGForSequenceClassification`: an ECG encoder and a linear head.

    Args:
        encoder_config: the ECG encoder (`as_encoder_config`).
        classifier_dropout: of what the head reads.
        num_labels, id2label, label2id, problem_type: as in transformers. Names give numbers: label2id follows from
            id2label.
    """

    model_type = "ecgllm_classifier"
    sub_configs = {"encoder_config": AutoConfig}

    encoder_config: dict | PreTrainedConfig | None = None
    classifier_dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        self.encoder_config = as_encoder_config(self.encoder_config)
        super().__post_init__(**kwargs)
        self.label2id = {name: number for number, name in self.id2label.items()}

    @classmethod
    def get_config_dict(cls, *args: Any, **kwargs: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """As in transformers. From a folder with another model it takes only the part about the ECG encoder."""
        values, kwargs = super().get_config_dict(*args, **kwargs)
        values = migrated(values) if values else values
        if values and values.get("model_type") != cls.model_type:
            kept = {key: values[key] for key in ("dtype", "trained_on") if values.get(key) is not None}
            values = {"encoder_config": values.get("encoder_config", values), **kept}
        return values, kwargs

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs: Any) -> Any:
        """As in transformers, where names that are passed on come too late for label2id. Errors as of the others."""
        names = {key: kwargs.pop(key) for key in ("id2label",) if kwargs.get(key) is not None}
        return super().from_dict(config_dict | names, **kwargs)


class ECGLLMConfig(_OwnConfig):
    """Configuration of `ECGLLMForConditionalGeneration`: ECG encoder, projector and any causal language model.

    Args:
        encoder_config: the ECG encoder (`as_encoder_config`). text_config: any model that `AutoModelForCausalLM` knows
            (default Llama).
        projector_type: "linear" (the paper, arXiv 2411.14795) or "mlp" (two layers, as LLaVA 1.5, arXiv 2310.03744).
        projector_hidden_size: width of the MLP projector; None takes the language model's hidden size.
        projector_hidden_act: activation of the MLP projector.
        patches_per_token: neighbouring patches that are joined into one token for the language model, whose cost grows
            linearly with tokens.
        projector_summary: whether each token gets the projected mean of the ECG's patches, too. Contrastive
            pre-training compares that mean with the report, never a single patch.
        ecg_token_id: id of the placeholder token in the language model's vocabulary.
        language_model_base: of a trained-only checkpoint (`composition_ecgllm`), the language model that it leaves
            out: name, revision, tensors_sha256, and whether there is an adapter on it. None: it is in the checkpoint.
    """

    model_type = "ecgllm"
    sub_configs = {"encoder_config": AutoConfig, "text_config": AutoConfig}

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
    language_model_base: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        self.encoder_config = as_encoder_config(self.encoder_config)
        self.text_config = _as_sub_config(self.text_config, "text_config", "llama")
        # The language model ties its own weights; transformers asks the outer configuration.
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        super().__post_init__(**kwargs)
        if self.projector_type not in ("linear", "mlp"):
            raise ECGError(f"projector_type is {self.projector_type!r}; expected 'linear' or 'mlp'.")
        self._check_sizes("patches_per_token")
        if self.projector_hidden_size is not None:
            self._check_sizes("projector_hidden_size")

    @property
    def samples_per_token(self) -> int:
        """Input samples behind one ECG token of the language model."""
        return self.encoder_config.patch_size * self.patches_per_token

    @property
    def max_positions(self) -> int | None:
        """Tokens that the language model was made for, ECG tokens included; None where there is no limit."""
        return getattr(self.text_config.get_text_config(), "max_position_embeddings", None)

    def num_ecg_tokens(self, lengths: Any) -> Any:
        """Language model tokens of ECGs of these lengths (samples), for an int an int and for a tensor a tensor."""
        return count_tokens(lengths, self.samples_per_token)


def _without_model_type(values: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if key != "model_type"}


__all__ = [
    "ECG_TOKEN",
    "ECGBeatEncoderConfig",
    "ECGClassifierConfig",
    "ECGEncoderAdapterConfig",
    "ECGEncoderConfig",
    "ECGLLMConfig",
    "ECGTextDualEncoderConfig",
]
