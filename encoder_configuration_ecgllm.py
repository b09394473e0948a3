"""Configurations of ECG encoders: ours, other groups', and any other model as one.

`ECGEncoderConfig` describes our encoder and keeps the preprocessing (`ECGFeatureExtractor.preprocessing`) that its
weights were trained with, `ECGBeatEncoderConfig` one that sees beats, too; `ECGFounderConfig` and `MERLConfig` are of
other groups' encoders, and `ECGEncoderAdapterConfig` makes an ECG encoder of any other model.

What the configuration of any ECG encoder must state, whatever its model_type: `num_leads`, `patch_size` (input samples
behind a token), `hidden_size` and `preprocessing` (None where it is unknown). `encoder_ecgllm` states what the model
must do.
"""

from math import prod
from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig

from .configuration_base_ecgllm import OwnConfig, UntrustedConfig, as_sub_config
from .errors_ecgllm import ECGError

_LOWEST_BEAT_RATE = 75
_ENCODER_FIELDS = ("num_leads", "patch_size", "hidden_size", "preprocessing")
"""What a configuration says of an ECG encoder."""


class ECGEncoderConfig(OwnConfig):
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


class ECGFounderConfig(OwnConfig):
    """Configuration of `ECGFounderEncoder`, the convolutional network Net1D of ECGFounder (arXiv 2410.04133).

    Args:
        num_leads: 12, or 1 in the authors' encoder for a single lead.
        base_channels: of the first convolution. stage_channels, stage_depths: channels and blocks of each stage; the
            first convolution and the first block of each stage halve the number of samples.
        kernel_size: of the strided and grouped convolutions. group_width: channels of a group.
        preprocessing: as for `ECGEncoderConfig`.
    """

    model_type = "ecgllm_ecgfounder"
    base_config_key = "encoder_config"

    num_leads: int = 12
    base_channels: int = 64
    stage_channels: list[int] | tuple[int, ...] = (64, 160, 160, 400, 400, 1024, 1024)
    stage_depths: list[int] | tuple[int, ...] = (2, 2, 2, 3, 3, 4, 4)
    kernel_size: int = 16
    group_width: int = 16
    initializer_range: float = 0.02
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self.stage_channels, self.stage_depths = list(self.stage_channels), list(self.stage_depths)
        self._check_sizes("num_leads", "base_channels", "stage_channels", "stage_depths", "kernel_size", "group_width")
        if not self.stage_channels or len(self.stage_channels) != len(self.stage_depths):
            raise ECGError(
                f"stage_channels has {len(self.stage_channels)} stages and stage_depths {len(self.stage_depths)}; "
                "expected one number of each for every stage, and one stage at least."
            )
        if self.kernel_size % 2:
            raise ECGError(
                f"kernel_size is {self.kernel_size}; expected an even one (the authors' is 16), for which the zeros "
                "ahead of an ECG do not depend on its length."
            )
        if any(channels % self.group_width for channels in self.stage_channels):
            raise ECGError(
                f"stage_channels is {self.stage_channels}; expected multiples of group_width {self.group_width}."
            )

    @property
    def patch_size(self) -> int:
        """Samples per token: the total stride."""
        return 2 ** (1 + len(self.stage_channels))

    @property
    def hidden_size(self) -> int:
        """Channels of the last stage."""
        return self.stage_channels[-1]


class MERLConfig(OwnConfig):
    """Configuration of `MERLEncoder`, the vision transformer of MERL (arXiv 2403.06659); defaults are its ViT-tiny.

    Args:
        num_leads: rows of the input. patch_size: samples per token.
        max_tokens: learned positions; ECGs of more tokens are read in windows of as many.
        hidden_size, num_hidden_layers, num_attention_heads, intermediate_size, layer_norm_eps: as in every
            transformer. head_dim: of an attention head; together they need not have hidden_size.
        preprocessing: as for `ECGEncoderConfig`.
    """

    model_type = "ecgllm_merl"
    base_config_key = "encoder_config"

    num_leads: int = 12
    patch_size: int = 50
    max_tokens: int = 100
    hidden_size: int = 192
    num_hidden_layers: int = 12
    num_attention_heads: int = 3
    head_dim: int = 64
    intermediate_size: int = 768
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    preprocessing: dict[str, Any] | None = None

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        self._check_sizes("num_leads", "patch_size", "max_tokens", "hidden_size", "num_hidden_layers")
        self._check_sizes("num_attention_heads", "head_dim", "intermediate_size")


class ECGEncoderAdapterConfig(OwnConfig):
    """Configuration of `ECGEncoderAdapter`: any model that `AutoModel` knows, or that brings its code, as ECG encoder.

    Args:
        backbone_config: the model, which gives `last_hidden_state` [.., tokens, hidden].
        input_name: the argument of its `forward` that takes the signal, such as "input_values" or "past_values".
        input_layout: what it takes there. "leads": [ecgs, leads, samples]; "samples": [ecgs, samples, leads], as
            time-series models have it; "joined": [ecgs, leads * samples], one lead after the other; "single": [ecgs *
            leads, samples], every lead by itself, as audio models have it.
        window: samples that the model sees at once; longer ECGs are cut, and the last window is padded with zeros.
        patch_size: samples per token. The model's tokens of a window are averaged, in the order of time, to window /
            patch_size tokens; those of a joined row over the leads.
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
        self.backbone_config = as_sub_config(self.backbone_config, "backbone_config")
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


def as_encoder_config(value: Any) -> PreTrainedConfig:
    """The configuration of an ECG encoder, from one or from its fields.

    Args: value: a configuration; a dict with a `model_type`; or a dict of fields of `ECGEncoderConfig`, or, where it
        has a `beat_sampling_rate`, of `ECGBeatEncoderConfig`. None is the default encoder.
    Raises: ECGError for a model that is no ECG encoder.
    """
    if not isinstance(value, PreTrainedConfig):
        # A recipe says null for what it takes back.
        value = {key: each for key, each in (value or {}).items() if each is not None or not key.startswith("beat_")}
        default = ECGBeatEncoderConfig if "beat_sampling_rate" in value else ECGEncoderConfig
        kind = _KINDS.get(value.get("model_type", default.model_type))
        value = as_sub_config(value, "encoder_config") if kind is None else kind(**_without_model_type(value))
    lacking = [name for name in _ENCODER_FIELDS if not hasattr(value, name)]
    if lacking and not isinstance(value, UntrustedConfig):
        raise ECGError(
            f"encoder_config is of a {value.model_type!r} model, which says no {', '.join(lacking)}; expected the "
            "configuration of an ECG encoder. Wrap another model's in ECGEncoderAdapterConfig(backbone_config=...)."
        )
    return value


_KINDS = {
    kind.model_type: kind
    for kind in (ECGEncoderConfig, ECGBeatEncoderConfig, ECGFounderConfig, MERLConfig, ECGEncoderAdapterConfig)
}


def _without_model_type(values: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if key != "model_type"}
